"""Rules that bound how much one reward may change between two records, settled by its tangents over one of them.

    R(a) − R(b) >= m,   t = a − b within a box T of differences, a and b within a box B of records.

R is continuous and piecewise linear on B. What ∇R(x)·v is at least for every corner v of T and every x of B with a
gradient, L, bounds R(a) − R(b), too. For a' = (1 − ε)a + εc and b' = (1 − ε)b + εc lie in B for c inside it, and for
almost all c the segment between them lies in no kink, so that R(a') − R(b') is the mean over it of
∇R(x)·(1 − ε)t. That is linear in t, so at least (1 − ε)L. Let ε go to 0. (Where B is flat, R is read as a function on
what is left of it.) L is what `tangents` bounds, of half the variables that two copies have, and loses nothing where
a and b are close.

What facts leave of T is used (0 <= a.y − b.y <= 1/10), of other ties between the two nothing is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import isfinite, prod

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.claim import Affine, AffineAtom, Box, Claim
from rewarden.verifier.falling import extent_of, facts_of, only_cell
from rewarden.verifier.progress import Stop
from rewarden.verifier.rounding import round_up

Bounds = tuple[Fraction, Fraction]
CORNERS = 64  # of the box of differences, at most


def moves_enough(claim: Claim, rewards: Mapping[str, Artifact], budget: int, stop: Stop) -> tuple[bool, int]:
    """Whether each goal holds for this reason, over the reals, and how many boxes it took; `budget`: of each goal."""
    cell, boxes = only_cell(claim), 0
    if cell is None or not may_move(claim):
        return False, 0
    for goal in claim.goals:
        for atom in goal:
            asked = _asked(claim, rewards, cell, atom)
            holds, spent = (False, 0) if asked is None else _holds(asked, budget, stop)
            boxes += spent
            if holds:
                break
        else:
            return False, boxes
    return True, boxes


def may_move(claim: Claim) -> bool:
    """Whether it is about one reward at two records, and nothing else."""
    return len(claim.calls) == 2 and claim.calls[0].reward == claim.calls[1].reward and len(claim.goals) > 0


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """R(x + way) − R(x) >= least, > if `strict`, for x in `box` and each way [column]; 0 too, if `still`."""

    artifact: Artifact
    box: tuple[Bounds, ...]
    ways: tuple[tuple[Fraction, ...], ...]
    still: bool
    least: Fraction
    strict: bool


def _asked(claim: Claim, rewards: Mapping[str, Artifact], cell: Box, atom: AffineAtom) -> _Asked | None:
    """What the atom says, where it is of this kind."""
    form = atom.affine
    if len(form.calls) != 2 or form.variables or form.calls[0][1] + form.calls[1][1] != 0:
        return None
    (first, weight), (second, _) = form.calls
    one, other = (claim.calls[call] for call in ((first, second) if weight > 0 else (second, first)))
    artifact, facts = rewards[one.reward], facts_of(claim)
    box, ways = [], []
    for column, a, b in zip(artifact.columns, one.arguments, other.arguments, strict=True):
        sides = extent_of(a, cell), extent_of(b, cell)
        box.append((min(lo for lo, _ in sides), max(hi for _, hi in sides)))
        ways.append((Fraction(0), Fraction(0)) if a == b else _difference(a, b, cell, facts))
        if a != b and column.discrete and column.hi - column.lo <= 1:
            return None  # a bool, or an enum's: told by its two values
    if prod(len({*side}) for side in ways) > CORNERS:
        return None
    corners = list(product(*(sorted({*side}) for side in ways)))
    moved = tuple(corner for corner in corners if any(corner))
    still = len(moved) < len(corners)
    return _Asked(artifact, tuple(box), moved, still, -form.constant / abs(weight), atom.strict)


def _holds(asked: _Asked, budget: int, stop: Stop) -> tuple[bool, int]:
    from rewarden.verifier.ranges.domain import Region
    from rewarden.verifier.ranges.sensitivity import least_change

    if asked.still and (asked.least > 0 or (asked.least == 0 and asked.strict)):
        return False, 0
    if not asked.ways:
        return True, 0
    region = Region(asked.box, "where both records may be")
    ways = [[(x, x) for x in way] for way in asked.ways]
    share = budget // len(ways)
    found = least_change(asked.artifact, region, ways, budget=share, aim=round_up(asked.least), stop=stop)
    if isinstance(found, str):
        return False, 0
    least, boxes = found
    enough = (isfinite(x) and (x > asked.least or (x == asked.least and not asked.strict)) for x in least)
    return all(enough), boxes


def _difference(a: Affine, b: Affine, cell: Box, facts: set[Affine]) -> Bounds:
    """What a − b may be in the cell, as far as one fact at a time tells."""
    entries = dict(a.variables)
    for k, c in b.variables:
        entries[k] = entries.get(k, Fraction(0)) - c
    form = Affine(a.constant - b.constant, tuple((k, c) for k, c in sorted(entries.items()) if c))
    lo, hi = extent_of(form, cell)
    for fact in facts:
        if len(fact.variables) != len(form.variables) or not form.variables:
            continue
        scale = fact.variables[0][1] / form.variables[0][1]
        if fact.variables != tuple((k, scale * c) for k, c in form.variables):
            continue
        edge = form.constant - fact.constant / scale  # where the fact, which is 0 or more, is 0
        lo, hi = (max(lo, edge), hi) if scale > 0 else (lo, min(hi, edge))
    return lo, hi
