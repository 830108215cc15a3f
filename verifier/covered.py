"""Boxes that flat patches cover: cut at the patches' edges until one of them says enough of each piece.

A rule that needs its patches, `R(s) <= c` of a domain that ceilings tile, is settled by them wherever one is flat
(`caps`), whatever the network does. Bounds would have to find that out near every rim, with all patches that meet
there. Here a k-d tree cuts where some patch ceases to be flat: the cut after which the fuller half meets fewest. What
lies inside one flat patch for each goal is done, and what meets no other is left to somebody else.

Where patches are flat is only nearly known here, and says where to cut; that a piece is settled, `caps` says. Pieces
and what is left are all of the boxes: a side lo .. hi becomes lo .. at and at .. hi, of whole numbers lo .. n and
n + 1 .. hi, and nothing else is done to it.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.tables import has_tables
from rewarden.spec_lang.claim import Box, Claim
from rewarden.verifier.caps import Capped, capped, settled
from rewarden.verifier.proof_tree import halves
from rewarden.verifier.rounding import outward

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Cell = tuple[int, Box, float]  # number of the claim's box, part of it, share of that box by volume

SHARE, LEAST = 8, 256  # pieces at most: so many for each flat patch, and so many
CHECKED = 128  # pieces that `caps` looks at together: near each other, they meet few patches


@dataclass(frozen=True, slots=True)
class Cover:
    """All of some cells: what flat patches settle, and what they leave, each in the order of the boxes."""

    settled: tuple[Cell, ...]
    left: tuple[Cell, ...]

    @property
    def share(self) -> float:
        """Of all cells, by the shares that they were given."""
        whole = sum(cell[2] for cell in (*self.settled, *self.left))
        return sum(cell[2] for cell in self.settled) / whole if whole else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Flats:
    """Where patches are flat whose level is enough for a goal, nearly: lo, hi [flat, variable], `goal` [flat]. `whole`
    [variable]: discrete ones."""

    lo: Array
    hi: Array
    goal: Indices
    whole: NDArray[np.bool_]

    def near(self, box: Box, among: Indices | None = None) -> Indices:
        """Those that have more than a face in common with a box, or a point where that has no more."""
        lo, hi = outward(box)
        some = np.arange(len(self.goal)) if among is None else among
        low, high = np.maximum(self.lo[some], lo), np.minimum(self.hi[some], hi)
        found: Indices = some[((low < high) | ((low == high) & (self.whole | (lo == hi)))).all(axis=1)]
        return found

    def next_cut(self, box: Box, near: Indices, goals: int) -> tuple[int, float] | None:
        """The variable and where to cut it, to get nearer to boxes inside flat patches; None where nothing ends in the
        box of those `near` it that settle a goal which no patch settles all over it."""
        lo, hi = outward(box)
        held = np.isin(np.arange(goals), self.held(box, near))
        return _best(self, near[~held[self.goal[near]]], lo, hi)

    def held(self, box: Box, near: Indices) -> Indices:
        """Goals that one patch settles all over the box, as far as is known here."""
        lo, hi = outward(box)
        holding = ((self.lo[near] <= lo) & (self.hi[near] >= hi)).all(axis=1)
        found: Indices = np.unique(self.goal[near[holding]])
        return found


def cover(
    claim: Claim,
    artifacts: Mapping[str, Artifact],
    cells: Sequence[Cell],
    *,
    wholly: bool = False,
    executed: bool = False,
) -> Cover:
    """What flat patches settle of parts of the claim's boxes. `wholly`: nothing, unless that may be all of it.
    `executed`: in every binary32 execution."""
    flats = flats_of(claim, artifacts, cells)
    if flats is None or (wholly and not all(_may_cover(flats, cell) for cell in cells)):
        return Cover((), tuple(cells))
    found, left = _cut_up(claim, flats, cells)
    sure = _checked(claim, artifacts, found, executed)
    left += [cell for cell, yes in zip(found, sure, strict=True) if not yes]
    done = [cell for cell, yes in zip(found, sure, strict=True) if yes]
    return Cover(tuple(sorted(done, key=_place)), tuple(sorted(left, key=_place)))


def _place(cell: Cell) -> tuple[int, Box]:
    return cell[0], cell[1]


def _checked(claim: Claim, artifacts: Mapping[str, Artifact], cells: list[Cell], executed: bool) -> list[bool]:
    """Whether `caps` settles each cell; these are put in order."""
    cells.sort(key=_place)
    found: list[bool] = []
    for start in range(0, len(cells), CHECKED):
        boxes = tuple(box for _, box, _ in cells[start : start + CHECKED])
        found += settled(replace(claim, boxes=boxes), artifacts, executed=executed).tolist()
    return found


# ── where patches are flat ─────────────────────────────────────────────────────────────────────
def flats_of(claim: Claim, artifacts: Mapping[str, Artifact], cells: Sequence[Cell]) -> Flats | None:
    """None where some goal has no patch that may settle it."""
    if not cells or not claim.goals or any(has_tables(artifacts[call.reward]) for call in claim.calls):
        return None
    ends = [outward(box) for _, box, _ in cells]
    least, most = np.min([lo for lo, _ in ends], axis=0), np.max([hi for _, hi in ends], axis=0)
    whole = np.array([variable.discrete for variable in claim.variables])
    boxes: list[tuple[Array, Array]] = []
    goals: list[int] = []
    for number, goal in enumerate(claim.goals):
        for said in capped(claim, goal):
            artifact = artifacts[claim.calls[said.call].reward]
            for k, patch in enumerate(artifact.patches):
                level = Fraction(float(artifact.tensors[patch.level][0]))
                if (patch.kind == "ceiling") == (said.sign > 0) and said.holds(said.sign * level):
                    boxes.append(_flat_box(artifact, k, said, least, most))
                    goals.append(number)
    if len(set(goals)) < len(claim.goals):
        return None
    lo, hi = (np.array([box[side] for box in boxes]) for side in (0, 1))
    lo, hi = np.where(whole, np.ceil(lo), lo), np.where(whole, np.floor(hi), hi)
    kept = ((lo <= most) & (hi >= least)).all(axis=1)
    return Flats(lo[kept], hi[kept], np.array(goals, np.intp)[kept], whole)


def _flat_box(artifact: Artifact, number: int, said: Capped, least: Array, most: Array) -> tuple[Array, Array]:
    """lo, hi [variable] that the patch's rows of one column leave, with room for what `caps` charges for rounding. What
    rows of several columns ask is not looked at."""
    patch, tensors = artifact.patches[number], artifact.tensors
    rows, offsets = tensors[patch.rows].astype(np.float64), tensors[patch.offsets].astype(np.float64)
    delta = float(tensors[patch.delta][0])
    lo, hi = np.full(len(least), -np.inf), np.full(len(most), np.inf)
    for row, offset in zip(rows, offsets, strict=True):
        (used,) = np.nonzero(row)
        if len(used) != 1:
            continue
        weight, variable = float(row[used[0]]), said.columns[int(used[0])]
        size = max(abs(float(least[variable])), abs(float(most[variable]))) * abs(weight) + abs(float(offset))
        edge = (offset + delta - 2.25 * 2.0**-24 * size) / weight
        if weight > 0:
            hi[variable] = min(hi[variable], edge)
        else:
            lo[variable] = max(lo[variable], edge)
    return lo, hi


def _may_cover(flats: Flats, cell: Cell) -> bool:
    """Whether the volumes would be enough, for each goal."""
    lo, hi = outward(cell[1])
    width = np.where(hi > lo, hi - lo, 1.0)
    met = np.minimum(flats.hi, hi) - np.maximum(flats.lo, lo)
    shares = np.where((met < 0).any(axis=1), 0.0, np.where(hi > lo, (met + 1e-6 * width) / width, 1.0).prod(axis=1))
    return bool((np.bincount(flats.goal, shares) >= 1.0).all())


# ── cuts ───────────────────────────────────────────────────────────────────────────────────────
def _cut_up(claim: Claim, flats: Flats, cells: Sequence[Cell]) -> tuple[list[Cell], list[Cell]]:
    """Cells inside flat patches, and all others; the largest are cut first, while there are few."""
    goals, everything = len(claim.goals), np.arange(len(flats.goal))
    agenda: list[tuple[float, int, Cell, Indices]] = [(-c[2], k, c, everything) for k, c in enumerate(cells)]
    heapq.heapify(agenda)
    made, most = len(cells), len(cells) + LEAST + SHARE * len(flats.goal)
    inside, left = list[Cell](), list[Cell]()
    while agenda:
        _, _, cell, above = heapq.heappop(agenda)
        near = flats.near(cell[1], above)
        if len(flats.held(cell[1], near)) == goals:
            inside.append(cell)
            continue
        at = flats.next_cut(cell[1], near, goals) if made < most else None
        if at is None:
            left.append(cell)
            continue
        for half in _halved(cell, *at, discrete=bool(flats.whole[at[0]])):
            made += 1
            heapq.heappush(agenda, (-half[2], made, half, near))
    return inside, left


def _best(flats: Flats, near: Indices, lo: Array, hi: Array) -> tuple[int, float] | None:
    """The cut at an edge after which the fuller half meets fewest; None where nothing ends in the cell."""
    best: tuple[int, int, float, int, float] | None = None
    for variable in np.flatnonzero(hi > lo).tolist():
        low, high = np.sort(flats.lo[near, variable]), np.sort(flats.hi[near, variable])
        edges = np.unique(np.concatenate([low - flats.whole[variable], high]))
        a, b = float(lo[variable]), float(hi[variable])
        at = edges[(edges > a) & (edges < b)] if not flats.whole[variable] else edges[(edges >= a) & (edges < b)]
        if not len(at):
            continue
        left = np.searchsorted(low, at, side="right" if flats.whole[variable] else "left")
        right = len(high) - np.searchsorted(high, at, side="right")
        fuller, both = np.maximum(left, right), left + right
        off = np.abs(at - (a + b) / 2) / (b - a)
        k = int(np.lexsort((off, both, fuller))[0])
        option = (int(fuller[k]), int(both[k]), float(off[k]), variable, float(at[k]))
        best = option if best is None else min(best, option)
    return None if best is None else (best[3], best[4])


def _halved(cell: Cell, variable: int, at: float, *, discrete: bool) -> tuple[Cell, Cell]:
    number, box, share = cell
    lo, hi = box[variable]
    one, other = halves((lo, hi), Fraction(at), discrete)
    part = float((one[1] - one[0] + int(discrete)) / (hi - lo + int(discrete)))
    first, second = ((*box[:variable], side, *box[variable + 1 :]) for side in (one, other))
    return (number, first, share * part), (number, second, share * (1 - part))
