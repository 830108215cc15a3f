"""A claim's boxes, cut into pieces in each of which few of the stacked patches act.

A patch that is open all over a piece is no part of the reward there (`reward/stacks.py`: exactly, and in any binary32
execution), so a piece is a claim about a reward with few patches, however high the stack. A k-d tree cuts where the
reach of patches ends: the cut after which the fuller half meets fewest. Which half a patch reaches is told by the
halves themselves, so wherever the cuts lie, no patch is missed.

The pieces cover every point of the boxes at which the premise can hold. A box narrowed by the premise's facts about
single variables is the first piece. To cut one replaces lo .. hi of one variable by lo .. at and at .. hi, which both
have the cut itself; by lo .. n and n + 1 .. hi for a variable of whole numbers. Nothing else is done to them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.stacks import reach
from rewarden.reward.tables import has_tables
from rewarden.spec_lang.claim import Box, Claim
from rewarden.verifier.inline import argument_over, arguments_over
from rewarden.verifier.narrowing import root_cell
from rewarden.verifier.proof_tree import halves
from rewarden.verifier.regions import OpenBoxes

Array = NDArray[np.float64]
Acting = tuple[tuple[int, ...], ...]  # for each call of the claim, the numbers of the patches that may act

FEW = 3  # patches that may stay together in a piece
SHARE, LEAST = 8, 256  # pieces at most: so many for each patch, and so many


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of the claim's box number `origin`. `share` of what the premise leaves of that box, by volume."""

    origin: int
    box: Box
    acting: Acting
    share: float

    @property
    def count(self) -> int:
        return sum(map(len, self.acting))


def stacked(claim: Claim, artifacts: Mapping[str, Artifact]) -> bool:
    """Whether enough patches may act in the claim's boxes that cutting them up is worth while."""
    called = [artifacts.get(call.reward) for call in claim.calls]
    if any(artifact is None or has_tables(artifact) for artifact in called):
        return False
    if sum(len(artifact.patches) for artifact in called if artifact is not None) <= FEW:
        return False  # without a look at where they act, which takes long where there are many columns
    return sum(map(len, _acting(claim, artifacts))) > FEW


def roots(claim: Claim) -> tuple[tuple[int, Box, float], ...]:
    """What the premise's facts about single variables leave of the claim's boxes: the number of each, what is left of
    it, and that this is all of it."""
    cells = ((number, root_cell(claim, box)) for number, box in enumerate(claim.boxes))
    return tuple((number, cell, 1.0) for number, cell in cells if cell is not None)


def pieces(claim: Claim, artifacts: Mapping[str, Artifact], left: OpenBoxes | None = None) -> tuple[Piece, ...]:
    """All of the boxes in which the premise can hold, in the order of the boxes; or all that is `left` of them."""
    agenda: list[tuple[int, int, Piece]] = []
    for number, cell, share in roots(claim) if left is None else rest(claim, left):
        first = piece_over(claim, artifacts, number, cell, share)
        agenda.append((-first.count, len(agenda), first))
    heapq.heapify(agenda)
    total = sum(len(artifacts[call.reward].patches) for call in claim.calls)
    most, made, done = len(agenda) + LEAST + SHARE * total, len(agenda), list[tuple[int, Piece]]()
    while agenda:  # those that meet most first, for what is left over at the end
        count, place, piece = heapq.heappop(agenda)
        two = cut_in_two(claim, artifacts, piece) if -count > FEW and made < most else None
        if two is None:
            done.append((place, piece))
            continue
        for half in two:
            made += 1
            heapq.heappush(agenda, (-half.count, made, half))
    return tuple(piece for _, piece in sorted(done, key=lambda pair: (pair[1].origin, pair[1].box)))


def piece_at(claim: Claim, artifacts: Mapping[str, Artifact], number: int, point: Sequence[Fraction]) -> Piece:
    """One point of the claim's box `number`."""
    return piece_over(claim, artifacts, number, tuple((value, value) for value in point), 0.0)


def piece_over(claim: Claim, artifacts: Mapping[str, Artifact], number: int, box: Box, share: float) -> Piece:
    """Part of the claim's box `number`, which is so much of it."""
    return Piece(number, box, _acting(_over(claim, box), artifacts), share)


def there(piece: Piece, claim: Claim, artifacts: Mapping[str, Artifact]) -> dict[str, Artifact]:
    """The rewards as they are in the piece, with the patches that some call meets there."""
    found = dict(artifacts)
    for name in {call.reward for call in claim.calls}:
        kept = {k for call, mine in zip(claim.calls, piece.acting, strict=True) if call.reward == name for k in mine}
        patches = artifacts[name].patches
        if len(kept) < len(patches):
            found[name] = artifacts[name].with_patches(tuple(patches[k] for k in sorted(kept)))
    return found


def rest(claim: Claim, left: OpenBoxes) -> tuple[tuple[int, Box, float], ...]:
    """What is open of each box, once; it is told in binary64, rounded outwards, and cut back to the box."""
    around, seen = {number: box for number, box, _ in roots(claim)}, dict[tuple[int, Box], float]()
    for number, low, high in zip(left.instance.tolist(), left.lo.tolist(), left.hi.tolist(), strict=True):
        if number not in around:
            continue
        sides = tuple(
            (max(Fraction(lo), least), min(Fraction(hi), most))
            for lo, hi, (least, most) in zip(low, high, around[number], strict=True)
        )
        if all(lo <= hi for lo, hi in sides):
            seen[number, sides] = _volume(claim, sides) / _volume(claim, around[number])
    return tuple((number, sides, share) for (number, sides), share in seen.items())


def _volume(claim: Claim, box: Box) -> float:
    """Of what has a width; more than nothing."""
    found = 1.0
    for (lo, hi), variable in zip(box, claim.variables, strict=True):
        found *= max(float(hi - lo + int(variable.discrete)), 1e-30) if hi > lo else 1.0
    return found


def _over(claim: Claim, box: Box) -> Claim:
    return replace(claim, boxes=(box,))


def _acting(claim: Claim, artifacts: Mapping[str, Artifact]) -> Acting:
    found = []
    for call in claim.calls:
        low, high = reach(artifacts[call.reward])
        lo, hi = arguments_over(claim, call)
        found.append(tuple(np.flatnonzero(((low <= hi) & (high >= lo)).all(axis=1)).tolist()))
    return tuple(found)


def _acting_in(claim: Claim, artifacts: Mapping[str, Artifact], piece: Piece, variable: int, box: Box) -> Acting:
    """As `_acting`, of a part of the piece that is narrower in one variable: whatever may not act in all of it does not
    in the part, and other arguments lie where they lay."""
    found = []
    for call, acting in zip(claim.calls, piece.acting, strict=True):
        low, high = reach(artifacts[call.reward])
        kept = np.array(acting, np.intp)
        for column, argument in enumerate(call.arguments):
            if any(j == variable for j, _ in argument.variables):
                lo, hi = argument_over(argument, box)
                kept = kept[(low[kept, column] <= hi) & (high[kept, column] >= lo)]
        found.append(tuple(kept.tolist()))
    return tuple(found)


# ── cuts ───────────────────────────────────────────────────────────────────────────────────────
def cut_in_two(claim: Claim, artifacts: Mapping[str, Artifact], piece: Piece) -> tuple[Piece, Piece] | None:
    """The best cut that leaves out some patch on either side; None where there is none."""
    options = sorted(_candidates(claim, artifacts, piece))
    for _, _, variable, at in options[:4]:
        lo, hi = piece.box[variable]
        discrete = claim.variables[variable].discrete
        sides = halves((lo, hi), Fraction(at), discrete)
        if not all(lo <= a <= b <= hi for a, b in sides):
            continue
        width = hi - lo + int(discrete)
        two = []
        for side in sides:
            box = (*piece.box[:variable], side, *piece.box[variable + 1 :])
            share = piece.share * float((side[1] - side[0] + int(discrete)) / width)
            two.append(Piece(piece.origin, box, _acting_in(claim, artifacts, piece, variable, box), share))
        if max(half.count for half in two) < piece.count:
            return two[0], two[1]
    return None


def _candidates(claim: Claim, artifacts: Mapping[str, Artifact], piece: Piece) -> Iterator[tuple[int, int, int, float]]:
    """For each variable the best cut: patches in the fuller half, in both, the variable, where."""
    ends = _ends(claim, artifacts, piece)
    for variable, pairs in sorted(ends.items()):
        low, high = (np.sort(np.concatenate([pair[side] for pair in pairs])) for side in (0, 1))
        lo, hi = (float(end) for end in piece.box[variable])
        discrete = claim.variables[variable].discrete
        beyond = [np.ceil(low) - 1, np.floor(high)] if discrete else [_below(low), -_below(-high)]
        at = np.unique(np.concatenate(beyond))
        at = at[(at > lo) & (at < hi)] if not discrete else at[(at >= lo) & (at < hi)]
        if not len(at):
            continue
        left = np.searchsorted(low, at, side="right")
        right = len(high) - np.searchsorted(high, at + int(discrete), side="left")
        fuller, both = np.maximum(left, right), left + right
        order = np.lexsort((np.abs(at - (lo + hi) / 2), both, fuller))
        best = int(order[0])
        if fuller[best] < len(low):
            yield int(fuller[best]), int(both[best]), variable, float(at[best])


def _below(values: Array) -> Array:
    """Binary32 numbers a little less than these: cuts are written down, and kept short."""
    with np.errstate(over="ignore"):
        return np.nextafter(values.astype(np.float32), np.float32(-np.inf)).astype(np.float64)


def _ends(claim: Claim, artifacts: Mapping[str, Artifact], piece: Piece) -> dict[int, list[tuple[Array, Array]]]:
    """For each variable that a call reads by itself, where the patches that act in the piece begin and end, nearly."""
    found: dict[int, list[tuple[Array, Array]]] = {}
    for call, acting in zip(claim.calls, piece.acting, strict=True):
        low, high = (side[list(acting)] for side in reach(artifacts[call.reward]))
        for column, argument in enumerate(call.arguments):
            if len(argument.variables) != 1:
                continue
            ((variable, factor),) = argument.variables
            one, other = ((side[:, column] - float(argument.constant)) / float(factor) for side in (low, high))
            found.setdefault(variable, []).append((one, other) if factor > 0 else (other, one))
    return found
