"""Rules about one reward at two records that move together, settled by the signs of its certified slopes.

    R(a) >= R(b) + m, m <= 0, where a and b differ in columns V alone, and s_j·(b_j − a_j) >= 0 for j in V, s_j = ±1

holds if s_j·∂R/∂x_j <= 0 for all j in V, all over a box that holds both records: R is Lipschitz and piecewise linear,
so R(a) − R(b) is the sum over j of (a_j − b_j) times some mean of ∂R/∂x_j along the segment from b to a, which stays in
the box. Nothing is lost where a and b are close, as it is with bounds of the two values. The slopes are those that
`rewarden inspect` certifies (`ranges/sensitivity.py`), over ends that are rounded outwards, between whole numbers too.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.claim import Affine, Box, Claim
from rewarden.verifier.narrowing import root_cell, single_atoms

BOXES = 1024  # of each slope


def falls(claim: Claim, rewards: Mapping[str, Artifact]) -> bool:
    """Whether each goal holds for this reason, over the reals."""
    if (
        len(claim.boxes) != 1
        or claim.loops is not None
        or claim.instances is not None
        or len(claim.calls) != 2
        or not claim.goals
    ):
        return False
    cell = root_cell(claim, claim.boxes[0])
    if cell is None:
        return False
    asked = set[tuple[int, int]]()
    for goal in claim.goals:
        pair = next((found for atom in goal if (found := _pair(claim, atom.affine, strict=atom.strict))), None)
        if pair is None:
            return False
        asked.add(pair)
    return all(_falls(claim, rewards[claim.calls[better].reward], cell, better, worse) for better, worse in asked)


def _pair(claim: Claim, form: Affine, *, strict: bool) -> tuple[int, int] | None:
    """The better and the worse call of x·(R(a) − R(b)) + c >= 0, x > 0 and c >= 0."""
    if len(form.calls) != 2 or form.variables or form.constant < 0 or (strict and not form.constant):
        return None
    (i, x), (j, y) = form.calls
    if x + y != 0 or claim.calls[i].reward != claim.calls[j].reward:
        return None
    return (i, j) if x > 0 else (j, i)


def _falls(claim: Claim, artifact: Artifact, cell: Box, better: int, worse: int) -> bool:
    from rewarden.verifier.ranges.domain import Region
    from rewarden.verifier.ranges.sensitivity import steepest

    box, moving = [], dict[int, int]()
    facts = {atom.affine for atom in single_atoms(claim.clauses) if not atom.affine.calls}
    for column, (a, b) in enumerate(zip(claim.calls[better].arguments, claim.calls[worse].arguments, strict=True)):
        ends = [_ends(side, cell) for side in (a, b)]
        box.append((min(lo for lo, _ in ends), max(hi for _, hi in ends)))
        if a != b:
            if artifact.columns[column].discrete and artifact.columns[column].hi - artifact.columns[column].lo <= 1:
                return False  # a bool, or an enum's: told by its two values
            sign = _direction(a, b, cell, facts)
            if sign == 0:
                return False
            if box[-1][0] < box[-1][1]:
                moving[column] = sign
    if not moving:
        return True
    found = steepest(artifact, Region(tuple(box), "where both records may be"), moving, budget=BOXES, aim=0.0)
    return not isinstance(found, str) and all(most <= 0 for most in found.values())


def _ends(form: Affine, cell: Box) -> tuple[Fraction, Fraction]:
    least = form.constant + sum((c * cell[k][c < 0] for k, c in form.variables), Fraction(0))
    return least, form.constant + sum((c * cell[k][c > 0] for k, c in form.variables), Fraction(0))


def _direction(a: Affine, b: Affine, cell: Box, facts: set[Affine]) -> int:
    """1 where b >= a everywhere, −1 where a >= b, 0 where that is not known."""
    for sign, (one, other) in ((1, (b, a)), (-1, (a, b))):
        entries = dict(one.variables)
        for k, c in other.variables:
            entries[k] = entries.get(k, Fraction(0)) - c
        rest = tuple((k, c) for k, c in sorted(entries.items()) if c)
        difference = Affine(one.constant - other.constant, rest)
        if _ends(difference, cell)[0] >= 0:
            return sign
        if any(fact.variables == rest and fact.constant <= difference.constant for fact in facts):
            return sign
    return 0
