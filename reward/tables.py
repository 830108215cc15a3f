"""A patch on many boxes at once, for rules near data: `offsets` [boxes, rows] in place of [rows].

It means the boxes' patches one after the other, all with the same rows, level, slope, delta and gate. Since the cap
level + slope·max(g − delta, 0) rises with g, all of them together are one patch on the union, with

    G(x) = min over boxes j of max over rows i of (rows_i · x − offsets_ji),

exactly, and in binary32 where each row reads one column (nothing but monotone operations lies between). A record meets
few of thousands of boxes. `TableIndex` finds those that may: rows of one column confine each box, and columns are
looked at in turn, the most telling first. What it leaves out is beyond the gate, exactly and in any binary32 execution;
so everything that evaluates a table looks at the rest alone and comes to the same bits.

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
    sorted_middles: Array
    by_middle: Indices
    reach: float  # half of the widest box in the first column

    @property
    def boxes(self) -> int:
        return len(self.low)

    def pairs(self, x: Array) -> tuple[Indices, Indices]:
        """(record, box) of all boxes that may act at records x [n, width], finite, ordered by record."""
        if not len(self.columns):
            return np.repeat(np.arange(len(x)), self.boxes), np.tile(np.arange(self.boxes), len(x))
        values = x[:, self.columns[0]]
        margin = self.reach + 2.0**-40 * (self.reach + np.abs(values))
        start = np.searchsorted(self.sorted_middles, values - margin, side="left")
        counts = np.searchsorted(self.sorted_middles, values + margin, side="right") - start
        found: list[tuple[Indices, Indices]] = []
        done = 0
        sums = np.cumsum(counts)
        while done < len(x):
            before = int(sums[done - 1]) if done else 0
            until = max(done + 1, int(np.searchsorted(sums, before + PAIRS, side="right")))
            found.append(self._filtered(x, done, start[done:until], counts[done:until]))
            done = until
        if not found:
            return np.zeros(0, np.intp), np.zeros(0, np.intp)
        return np.concatenate([r for r, _ in found]), np.concatenate([b for _, b in found])

    def _filtered(self, x: Array, first: int, start: Indices, counts: Indices) -> tuple[Indices, Indices]:
        ends = np.cumsum(counts)
        records = np.repeat(np.arange(first, first + len(counts)), counts)
        boxes = self.by_middle[np.arange(len(records)) + np.repeat(start - (ends - counts), counts)]
        done, step = 0, 1
        while done < len(self.columns) and len(records):
            block = slice(done, done + step)
            here = x[:, self.columns[block]][records]
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
    middle, width = (low + high) / 2, high - low
    closed = np.isfinite(middle).all(axis=0) if len(offsets) else np.zeros(len(columns), np.bool_)
    spread = np.where(closed, np.nan_to_num(middle).std(axis=0), 0.0)
    telling = np.where(closed, np.nan_to_num(width, posinf=0.0).mean(axis=0) / np.maximum(spread, 1e-300), np.inf)
    order = np.argsort(telling, kind="stable")
    if not len(order) or not closed[order[0]]:  # nothing to sort by: every box is a candidate at first
        middles, reach = np.zeros(len(offsets)), np.inf
    else:
        middles, reach = middle[:, order[0]], float(np.abs(width[:, order[0]]).max()) / 2
    by_middle = np.argsort(middles, kind="stable")
    return TableIndex(
        columns[order],
        np.ascontiguousarray(low[:, order]),
        np.ascontiguousarray(high[:, order]),
        alone,
        middles[by_middle],
        by_middle,
        reach,
    )


@lru_cache(maxsize=16)
def _stack(artifact: Artifact) -> tuple[Array, Array]:
    """low, high [patch, width]: outside of them a patch is open, exactly and as deployed. Tables may act anywhere."""
    shape = (len(artifact.patches), artifact.width)
    low, high = np.full(shape, -np.inf), np.full(shape, np.inf)
    for number, patch in enumerate(artifact.patches):
        if not is_table(patch, artifact.tensors):
            index = index_of.__wrapped__(artifact, number)
            low[number, index.columns], high[number, index.columns] = index.low[0], index.high[0]
    return low, high


def acting(artifact: Artifact, x: NDArray[np.float32]) -> NDArray[np.bool_]:
    """[patch, record]: which patches may act at records x [width, n], finite; the others are open there."""
    low, high = _stack(artifact)
    may = np.ones((len(low), x.shape[1]), np.bool_)
    for column in np.flatnonzero(np.isfinite(low).any(axis=0) | np.isfinite(high).any(axis=0)).tolist():
        here = x[column].astype(np.float64)
        may &= (here >= low[:, column, None]) & (here <= high[:, column, None])
    return may


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
    rows, offsets, delta, gate = (
        artifact.tensors[name].astype(np.float64) for name in (patch.rows, patch.offsets, patch.delta, patch.gate)
    )
    if delta[0] >= gate[0]:
        return np.zeros((len(boxes), len(rows)), np.bool_)
    up, down = np.maximum(rows, 0.0), np.minimum(rows, 0.0)
    far = np.maximum(np.abs(lo), np.abs(hi))
    here = np.atleast_2d(offsets)[boxes]
    size = far @ np.abs(rows).T + np.abs(here)
    terms = np.count_nonzero(rows, axis=1)
    slack = (terms + 1.125) * 2.0**-24 * size + TINY  # γ of the row's additions, and of these in binary64
    most: Array = hi @ up.T + lo @ down.T - here
    return np.asarray(most + slack <= delta[0], dtype=np.bool_)
