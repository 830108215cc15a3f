"""Patches stacked on a reward, evaluated together: each record meets few of a thousand.

Patches act one after the other, innermost first, and which of two comes first matters where both act. But a record far
from a patch does not notice it. So for every record the patches that may act there are found first, and then all
records take their first one at once, then their second one, and so on: as many steps as patches meet at one record,
and the same operations on the same numbers in the same order, hence the same bits, as going through the whole stack.

What confines a patch are its rows of one column (`tables.index_of`). The edges of all patches cut a column into cells;
per cell a bit for each patch says whether it may act there. The words of a record's cells, one per column, are and-ed.
Columns without bits of their own are compared for the few pairs that are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.tables import index_of, is_table

Array = NDArray[np.float32]
Wide = NDArray[np.float64]
Indices = NDArray[np.intp]
Words = NDArray[np.uint64]

FEW = 4  # patches: of more, it pays to look first at where each may act
BITS = 64
MOST_BYTES = 1 << 25  # of bits, for all columns that have some


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """One column cut at the edges: cell 2i lies below edge i, cell 2i + 1 is that edge. `may` [cell, word]."""

    column: int
    edges: Wide
    may: Words

    def words(self, x: Wide) -> Words:
        place = np.searchsorted(self.edges, x)
        at = self.edges[np.minimum(place, len(self.edges) - 1)] == x
        found: Words = self.may[2 * place + at]
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Alike:
    """Patches with the same number of rows. `weight` is [patch, row], and `columns` what each row reads, where every
    row reads one column alone; else [column, patch, row], of the columns that any of them reads."""

    alone: bool
    weight: Array
    columns: Indices
    offsets: Array  # [patch, row], negated

    def farthest(self, patches: Indices, records: Indices, x: Array) -> Array:
        """The largest row, [pair]; summed as `deployed` sums."""
        total = self.offsets[patches]
        if self.alone:
            total += self.weight[patches] * x[self.columns[patches], records[:, None]]
        else:
            for k, column in enumerate(self.columns.tolist()):
                total += self.weight[k][patches] * x[column, records][:, None]
        largest: Array = total.max(axis=1)
        return largest


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Consecutive patches of one box each. Numbers are [patch]; `sign` is 1 for a ceiling, −1 for a floor, which is a
    ceiling of the negated reward (negation does not round)."""

    cells: tuple[Cells, ...]
    low: Wide  # [patch, column]: outside of low .. high a patch is open, exactly and as deployed
    high: Wide
    rest: Indices  # columns that confine some patch and have no cells
    groups: tuple[Alike, ...]
    group: Indices  # of each patch, and its place there
    place: Indices
    sign: Array
    level: Array  # times sign
    slope: Array
    delta: Array
    gate: Array

    def pairs(self, x: Array) -> tuple[Indices, Indices]:
        """(record, patch) of all patches that may act at finite records x [width, n]; ordered by record, then patch."""
        words = np.full((x.shape[1], -(-len(self.sign) // BITS)), ~np.uint64(0))
        for cells in self.cells:
            words &= cells.words(x[cells.column].astype(np.float64))
        rows, word = np.nonzero(words)
        bits = np.unpackbits(words[rows, word].view(np.uint8).reshape(-1, BITS // 8), axis=1, bitorder="little")
        which, bit = np.nonzero(bits)
        records, patches = rows[which], word[which] * BITS + bit
        kept = patches < len(self.sign)
        records, patches = records[kept], patches[kept]
        for column in self.rest.tolist():
            here = x[column, records].astype(np.float64)
            kept = (here >= self.low[patches, column]) & (here <= self.high[patches, column])
            records, patches = records[kept], patches[kept]
        return records, patches

    def on(self, reward: Array, x: Array) -> Array:
        """The reward [n] with these patches around it, at records x [width, n], finite."""
        records, patches = self.pairs(x)
        result = reward.copy()
        counts = np.bincount(records, minlength=len(reward))
        depth = np.arange(len(records)) - np.repeat(np.cumsum(counts) - counts, counts)
        order = np.argsort(depth, kind="stable")
        ends = np.cumsum(np.bincount(depth))
        for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=False):
            now = order[start:end]
            self._step(result, patches[now], records[now], x)
        return result

    def _step(self, reward: Array, patches: Indices, records: Indices, x: Array) -> None:
        """One patch at each of some records, changed in place."""
        groups = self.group[patches]
        g = np.empty(len(patches), np.float32)
        for number, alike in enumerate(self.groups):
            own = np.flatnonzero(groups == number)
            if len(own):
                g[own] = alike.farthest(self.place[patches[own]], records[own], x)
        was, sign = reward[records], self.sign[patches]
        ramp = self.slope[patches] * np.maximum(g - self.delta[patches], np.float32(0.0))
        inside = sign * np.minimum(sign * was, self.level[patches] + ramp)
        reward[records] = np.where(g >= self.gate[patches], was, inside)


@lru_cache(maxsize=16)
def parts(artifact: Artifact) -> tuple[int | Stack, ...]:
    """The artifact's patches in order: numbers of single ones, and stacks. Artifacts are hashed by identity."""
    found: list[int | Stack] = []
    run: list[int] = []
    for number, patch in enumerate(artifact.patches):
        if is_table(patch, artifact.tensors):
            found += [*_joined(artifact, run), number]
            run = []
        else:
            run.append(number)
    return (*found, *_joined(artifact, run))


def _joined(artifact: Artifact, run: Sequence[int]) -> Sequence[int | Stack]:
    return [_stack(artifact, run)] if len(run) > FEW else run


@lru_cache(maxsize=16)
def reach(artifact: Artifact) -> tuple[Wide, Wide]:
    """low, high [patch, column] of an artifact without tables: outside of them a patch is open, exactly and as
    deployed."""
    return _reach(artifact, range(len(artifact.patches)))


def _reach(artifact: Artifact, numbers: Sequence[int]) -> tuple[Wide, Wide]:
    low = np.full((len(numbers), artifact.width), -np.inf)
    high = np.full((len(numbers), artifact.width), np.inf)
    for k, number in enumerate(numbers):
        index = index_of.__wrapped__(artifact, number)
        low[k, index.columns], high[k, index.columns] = index.low[0], index.high[0]
    return low, high


def _stack(artifact: Artifact, numbers: Sequence[int]) -> Stack:
    low, high = _reach(artifact, numbers)
    used = np.flatnonzero((np.isfinite(low) | np.isfinite(high)).any(axis=0))
    cells = _cells(low, high, used)
    patches = [artifact.patches[number] for number in numbers]
    rows = [artifact.tensors[patch.rows] for patch in patches]
    sizes, group = np.unique([len(r) for r in rows], return_inverse=True)
    place = np.empty(len(rows), np.intp)
    groups = []
    for number in range(len(sizes)):
        members = np.flatnonzero(group == number)
        place[members] = np.arange(len(members))
        offsets = np.stack([artifact.tensors[patches[k].offsets] for k in members])
        groups.append(_alike(np.stack([rows[k] for k in members]), offsets))
    sign = np.array([1 if patch.kind == "ceiling" else -1 for patch in patches], np.float32)
    level, slope, delta, gate = (
        np.array([artifact.tensors[getattr(patch, part)][0] for patch in patches], np.float32)
        for part in ("level", "slope", "delta", "gate")
    )
    rest = np.setdiff1d(used, [c.column for c in cells])
    return Stack(
        cells, low, high, rest, tuple(groups), group, place, sign, np.asarray(sign * level), slope, delta, gate
    )  # fmt: skip


def _alike(rows: Array, offsets: Array) -> Alike:
    """Of rows [patch, row, width] and offsets [patch, row]."""
    if bool((np.count_nonzero(rows, axis=2) <= 1).all()):
        columns = np.abs(rows).argmax(axis=2)
        return Alike(True, np.take_along_axis(rows, columns[:, :, None], 2)[:, :, 0], columns, -offsets)
    used = np.flatnonzero(rows.any(axis=(0, 1)))
    return Alike(False, np.ascontiguousarray(rows[:, :, used].transpose(2, 0, 1)), used, -offsets)


def _cells(low: Wide, high: Wide, used: Indices) -> tuple[Cells, ...]:
    """Of the columns in which patches are narrowest, as many as there is room for."""
    found: list[Cells] = []
    room = MOST_BYTES
    for column in sorted(used.tolist(), key=lambda j: _share(low[:, j], high[:, j])):
        edges = np.unique(np.concatenate([low[:, column], high[:, column]]))
        edges = edges[np.isfinite(edges)]
        room -= (2 * len(edges) + 1) * len(low) // 8
        if room < 0:
            break
        found.append(Cells(column, edges, _bits(low[:, column], high[:, column], edges)))
    return tuple(found)


def _share(low: Wide, high: Wide) -> float:
    """How much of the span of all patches each of them covers, in the mean."""
    ends = np.concatenate([low, high])
    ends = ends[np.isfinite(ends)]
    least, most = ends.min(), ends.max()
    width = np.minimum(high, most) - np.maximum(low, least)
    return float((width / max(most - least, 1e-300)).mean())


def _bits(low: Wide, high: Wide, edges: Wide) -> Words:
    """[cell, word]: closed intervals, so that both edges are of it."""
    first = np.where(np.isfinite(low), 2 * np.searchsorted(edges, low) + 1, 0)
    last = np.where(np.isfinite(high), 2 * np.searchsorted(edges, high) + 1, 2 * len(edges))
    number = np.arange(2 * len(edges) + 1)[:, None]
    found = np.zeros((len(number), -(-len(low) // BITS)), np.uint64)
    for word in range(found.shape[1]):
        some = slice(word * BITS, (word + 1) * BITS)
        may = np.zeros((len(number), BITS), np.uint8)
        may[:, : len(first[some])] = (number >= first[some]) & (number <= last[some])
        found[:, word] = np.packbits(may, axis=1, bitorder="little").view(np.uint64)[:, 0]
    return found
