"""A patch on many boxes at once, for rules near data: `offsets` [boxes, rows] in place of [rows].

It means the boxes' patches one after the other, all with the same rows, level, slope, delta and gate. Since the cap
level + slope·max(g − delta, 0) rises with g, all of them together are one patch on the union, with

    G(x) = min over boxes j of max over rows i of (rows_i · x − offsets_ji),

exactly, and in binary32 where each row reads one column (nothing but monotone operations lies between). A record meets
few of thousands of boxes. `TableIndex` finds those that may: rows of one column confine each box. For cells of a
column's values there are masks of the boxes that may act there; a record's masks in the columns that have the fewest,
together, leave few, of which all columns are looked at. What is left out is beyond the gate, exactly and in any
binary32 execution; so everything that evaluates a table looks at the rest alone and comes to the same bits.

`restricted` gives the reward as it is over a given box, with ordinary patches only: for bounds, which know no tables.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.graph import Patch
from rewarden.reward.widths import Tensors
from rewarden.spec_lang.errors import Unsupported

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

MOST_ACTIVE = 256  # boxes of tables over one box of a claim
PAIRS = 1 << 18  # of records and boxes, looked at together
AT_ONCE = 1 << 14  # numbers that are compared without leaving out between columns those that are off
BINS = 64  # cells of a column's values
MASKS = 1 << 28  # bits of all masks of an index
KEYS = 8  # columns by whose masks a record is looked up
FAR = 2.0**-19  # of the numbers compared: a row this far beyond the gate is so in any execution, with room to spare
TINY = 2.0**-100


def is_table(patch: Patch, tensors: Tensors) -> bool:
    return tensors[patch.offsets].ndim == 2


def has_tables(artifact: Artifact) -> bool:
    return any(is_table(patch, artifact.tensors) for patch in artifact.patches)


def require_no_tables(artifact: Artifact, what: str) -> None:
    """Unsupported X25 for a reward that is patched near data."""
    if has_tables(artifact):
        raise Unsupported(
            "X25", f"a reward that is patched near data has no form as {what}", help="see rewarden verify and predict"
        )


@dataclass(frozen=True, slots=True, eq=False)
class TableIndex:
    """`low`, `high` float64 [boxes, used columns]: outside of them a box's patch is open. `columns`: the used ones, the
    most telling first; `alone`: of each row the column it reads, −1 for a row of several."""

    columns: Indices
    low: Array
    high: Array
    alone: Indices

    @property
    def boxes(self) -> int:
        return len(self.low)

    def pairs(self, x: Array) -> tuple[Indices, Indices]:
        """(record, box) of all boxes that may act at records x [n, width], finite, ordered by record."""
        if not len(self.columns) or not self.boxes:
            return np.repeat(np.arange(len(x)), self.boxes), np.tile(np.arange(self.boxes), len(x))
        masks, found = masks_of(self), list[tuple[Indices, Indices]]()
        cells = masks.cells(x)
        sums, done = np.cumsum(masks.most(cells)), 0
        while done < len(x):
            before = int(sums[done - 1]) if done else 0
            until = max(done + 1, int(np.searchsorted(sums, before + PAIRS, side="right")))
            until = min(until, done + max(1, PAIRS // masks.words))
            records, boxes = masks.within(cells[done:until])
            found.append(self._filtered(x, records + done, boxes))
            done = until
        if not found:
            return np.zeros(0, np.intp), np.zeros(0, np.intp)
        return np.concatenate([r for r, _ in found]), np.concatenate([b for _, b in found])

    def _filtered(self, x: Array, records: Indices, boxes: Indices) -> tuple[Indices, Indices]:
        done, step = 0, 16 if len(records) * len(self.columns) > AT_ONCE else len(self.columns)
        while done < len(self.columns) and len(records):
            block = slice(done, done + step)
            here = x[records[:, None], self.columns[block]]
            kept = ((here >= self.low[boxes, block]) & (here <= self.high[boxes, block])).all(axis=1)
            records, boxes = records[kept], boxes[kept]
            done, step = done + step, min(2 * step, 64)
        return records, boxes

    def meeting(self, lo: Array, hi: Array) -> Indices:
        """The boxes that may act somewhere in the box lo, hi [width]."""
        kept = np.arange(self.boxes)
        for place, column in enumerate(self.columns.tolist()):
            kept = kept[(self.low[kept, place] <= hi[column]) & (self.high[kept, place] >= lo[column])]
        return kept


@lru_cache(maxsize=16)
def index_of(artifact: Artifact, number: int) -> TableIndex:
    """Of the patch of that number, a table or one box; artifacts are immutable and hashed by identity."""
    patch, tensors = artifact.patches[number], artifact.tensors
    rows, offsets = tensors[patch.rows].astype(np.float64), np.atleast_2d(tensors[patch.offsets]).astype(np.float64)
    gate = float(tensors[patch.gate][0])
    alone = np.where(np.count_nonzero(rows, axis=1) == 1, np.abs(rows).argmax(axis=1), -1)
    columns = np.unique(alone[alone >= 0])
    low = np.full((len(offsets), len(columns)), -np.inf)
    high = np.full((len(offsets), len(columns)), np.inf)
    with np.errstate(over="ignore"):
        for i, column in enumerate(alone.tolist()):
            if column < 0:
                continue
            place = int(np.searchsorted(columns, column))
            beyond = offsets[:, i] + gate + FAR * (np.abs(offsets[:, i]) + abs(gate)) + TINY
            edge, weight = beyond / rows[i, column], rows[i, column]
            if weight > 0:
                high[:, place] = np.minimum(high[:, place], edge)
            else:
                low[:, place] = np.maximum(low[:, place], edge)
    closed = np.isfinite(low).all(axis=0) & np.isfinite(high).all(axis=0) & bool(len(offsets))
    low0, high0 = np.where(closed, low, 0.0), np.where(closed, high, 0.0)
    spread, width = (low0 / 2 + high0 / 2).std(axis=0), (high0 - low0).mean(axis=0)
    telling = np.where(closed, width / np.maximum(spread, 1e-300), np.inf)
    order = np.argsort(telling, kind="stable")
    return TableIndex(columns[order], np.ascontiguousarray(low[:, order]), np.ascontiguousarray(high[:, order]), alone)


# ── masks ──────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """The boxes that may act where a column has a value, as bits, for each of BINS cells of its values: `bits` uint64
    [column, cell, word], `counts` how many they are. A value's cell is ⌊(value − base)·scale⌋, as computed: that never
    falls as the value rises, so that a box may act in the cells from that of its lower end to that of its upper one."""

    columns: Indices
    base: Array
    scale: Array
    bits: NDArray[np.uint64]
    counts: Indices

    @property
    def words(self) -> int:
        return int(self.bits.shape[2])

    def cells(self, x: Array) -> Indices:
        """[n, column] of records x [n, width]."""
        return _cells(x[:, self.columns], self.base, self.scale)

    def most(self, cells: Indices) -> Indices:
        """[n]: how many boxes there are at most."""
        most: Indices = self.counts[np.arange(len(self.columns)), cells].min(axis=1)
        return most

    def within(self, cells: Indices) -> tuple[Indices, Indices]:
        """(record, box) of the boxes that the KEYS columns leave which have the fewest at that record."""
        place, each = np.arange(len(self.columns)), np.arange(len(cells))
        keys = np.broadcast_to(place, cells.shape)
        if len(place) > KEYS:
            keys = np.argpartition(self.counts[place, cells], KEYS - 1, axis=1)[:, :KEYS]
        found = self.bits[keys[:, 0], cells[each, keys[:, 0]]]
        for k in range(1, keys.shape[1]):
            found &= self.bits[keys[:, k], cells[each, keys[:, k]]]
        record, word = found.nonzero()
        bit = np.unpackbits(found[record, word].view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
        which, place = bit.nonzero()
        return record[which], 64 * word[which] + place


def _cells(values: Array, base: Array, scale: Array) -> Indices:
    cells: Indices = np.fmin(np.fmax(np.floor((values - base) * scale), 0), BINS - 1).astype(np.intp)
    return cells  # fmax and fmin: what is no number has some cell, too


@lru_cache(maxsize=16)
def masks_of(index: TableIndex) -> Masks:
    """Of the most telling columns, as many as MASKS has room for."""
    words = -(-index.boxes // 64)
    some = slice(0, max(1, MASKS // (BINS * 64 * words)))
    low, high = index.low[:, some], index.high[:, some]
    ends = np.concatenate([low, high])
    base = np.nan_to_num(np.where(np.isfinite(ends), ends, np.inf).min(axis=0), posinf=0.0)
    span = np.nan_to_num(np.where(np.isfinite(ends), ends, -np.inf).max(axis=0) - base, neginf=0.0)
    scale = np.where(span > 2.0**-100, BINS / np.maximum(span, 2.0**-100), 1.0)
    first, last = _cells(low, base, scale), _cells(high, base, scale)
    bits = np.zeros((low.shape[1], BINS, 8 * words), np.uint8)
    counts = np.empty((low.shape[1], BINS), np.intp)
    cell = np.arange(BINS)[:, None]
    for k in range(low.shape[1]):
        acting = (cell >= first[:, k]) & (cell <= last[:, k])
        counts[k] = acting.sum(axis=1)
        packed = np.packbits(acting, axis=1, bitorder="little")
        bits[k, :, : packed.shape[1]] = packed
    return Masks(index.columns[some], base, scale, bits.view(np.uint64), counts)


# ── over one box ───────────────────────────────────────────────────────────────────────────────
def active(artifact: Artifact, lo: Array, hi: Array) -> int:
    """How many boxes of its tables may act in the box lo, hi [width]."""
    tables = [k for k, patch in enumerate(artifact.patches) if is_table(patch, artifact.tensors)]
    return sum(len(index_of(artifact, number).meeting(lo, hi)) for number in tables)


def restricted(artifact: Artifact, lo: Array, hi: Array) -> Artifact:
    """The same function over the box lo, hi [width] (float64, finite), with an ordinary patch for each box of a table
    that may act there, without the rows that are flat all over it. Unsupported X25 where these are too many."""
    if not has_tables(artifact):
        return artifact
    count = active(artifact, lo, hi)
    if count > MOST_ACTIVE:
        raise Unsupported(
            "X25",
            f"{count} boxes of patches near data may act where the rule speaks; at most {MOST_ACTIVE} can be bounded",
            help="write the rule near fewer rows, or in a smaller region",
        )
    patches: list[Patch] = []
    tensors = {name: artifact.tensors[name] for name in artifact.with_patches(()).tensors}
    for number, patch in enumerate(artifact.patches):
        if not is_table(patch, artifact.tensors):
            patches.append(patch)
            tensors |= {
                getattr(patch, part): artifact.tensors[getattr(patch, part)] for part in Patch.__match_args__[1:7]
            }
            continue
        for box in index_of(artifact, number).meeting(lo, hi).tolist():
            kept = ~flat_rows(artifact, patch, np.array([box]), lo[None, :], hi[None, :])[0]
            kept[0] |= not kept.any()
            names = {part: f"{getattr(patch, part)}[{box}]" for part in ("rows", "offsets")}
            tensors[names["rows"]] = artifact.tensors[patch.rows][kept]
            tensors[names["offsets"]] = artifact.tensors[patch.offsets][box][kept]
            tensors |= {name: artifact.tensors[name] for name in (patch.level, patch.slope, patch.delta, patch.gate)}
            patches.append(replace(patch, **names))
    return replace(artifact, patches=tuple(patches), tensors=tensors)


def flat_rows(artifact: Artifact, patch: Patch, boxes: Indices, lo: Array, hi: Array) -> NDArray[np.bool_]:
    """[pair, row]: whether a row of the patch's box `boxes[p]` (0 where it has one) is at most delta, and below the
    gate, all over the box lo[p], hi[p] (rows [pair, width]), exactly and in any binary32 execution."""
    rows, delta, gate = (artifact.tensors[name].astype(np.float64) for name in (patch.rows, patch.delta, patch.gate))
    if delta[0] >= gate[0]:
        return np.zeros((len(boxes), len(rows)), np.bool_)
    here = np.atleast_2d(artifact.tensors[patch.offsets])[boxes].astype(np.float64)
    terms, alone = np.count_nonzero(rows, axis=1), np.abs(rows).argmax(axis=1)
    weight = rows[np.arange(len(rows)), alone]
    most = np.where(weight > 0, hi[:, alone], lo[:, alone]) * weight
    size = np.maximum(np.abs(lo[:, alone]), np.abs(hi[:, alone])) * np.abs(weight)
    several = terms > 1
    if several.any():
        mixed = rows[several]
        most[:, several] = hi @ np.maximum(mixed, 0.0).T + lo @ np.minimum(mixed, 0.0).T
        size[:, several] = np.maximum(np.abs(lo), np.abs(hi)) @ np.abs(mixed).T
    # γ of the row's additions, and of these in binary64
    slack = (terms + 1.125) * 2.0**-24 * (size + np.abs(here)) + TINY
    return np.asarray(most - here + slack <= delta[0], dtype=np.bool_)
