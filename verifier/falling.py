"""Rules about one reward at two records that move together, settled by the signs of its certified slopes.

    R(a) >= R(b) + m, m <= 0, where a and b differ in columns V alone, and s_j·(b_j − a_j) >= 0 for j in V, s_j = ±1

holds if s_j·∂R/∂x_j <= 0 for all j in V, all over a box that holds both records: R is Lipschitz and piecewise linear,
so R(a) − R(b) is the sum over j of (a_j − b_j) times some mean of ∂R/∂x_j along the segment from b to a, which stays in
the box. Nothing is lost where a and b are close, as it is with bounds of the two values. The slopes are those that
`rewarden inspect` certifies (`ranges/sensitivity.py`), over ends that are rounded outwards, between whole numbers too.

**Patches keep what they follow.** Let R satisfy this, and lay on R a ceiling min(R, κ), κ = level + slope·max(0, ĝ − δ)
with slope >= 0 (A19), where all rows ĝ are below the gate (`editor/patch.py`). If ĝᵢ(a) >= ĝᵢ(b) for each row i, then
κ(a) >= κ(b), and where the ceiling acts at a it acts at b. So it acts

    at both:     min(R(a), κ(a)) >= min(R(b) + m, κ(b) + m) = min(R(b), κ(b)) + m, as m <= 0;
    at b alone:  R(a) >= R(b) + m >= min(R(b), κ(b)) + m;
    at neither:  nothing has changed.

(Strictly with m < 0, if R does.) Where some row is at its gate all over the box that holds a, the ceiling never acts
there, and nothing is asked of the rows. A floor is the mirror image: ĝᵢ(a) <= ĝᵢ(b), or never at b. So one patch after
the other, from the innermost, leaves the rule as it is, and the reward without them is all that has to be looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from rewarden.reward.artifact import Artifact
from rewarden.reward.graph import Patch
from rewarden.reward.tables import is_table
from rewarden.spec_lang.claim import Affine, Box, Claim
from rewarden.verifier.narrowing import root_cell, single_atoms

BOXES = 1024  # of each slope


def falls(claim: Claim, rewards: Mapping[str, Artifact]) -> bool:
    """Whether each goal holds for this reason, over the reals."""
    cell, asked = only_cell(claim), _asked(claim)
    if cell is None or asked is None:
        return False
    return all(_falls(claim, rewards[claim.calls[better].reward], cell, better, worse) for better, worse, _ in asked)


def beneath(claim: Claim, rewards: Mapping[str, Artifact]) -> tuple[Claim, dict[str, Artifact]] | None:
    """A claim about the rewards without their patches, and these: the claim holds if that one does, over the reals,
    since all patches follow what it says. None where there are none, or where some do not."""
    cell, asked = only_cell(claim), _asked(claim)
    if cell is None or asked is None or any(atom.affine.calls for clause in claim.clauses for atom in clause):
        return None
    names = {claim.calls[call].reward for better, worse, _ in asked for call in (better, worse)}
    if not any(rewards[name].patches for name in names):
        return None
    facts = facts_of(claim)
    for better, worse, _ in asked:
        artifact = rewards[claim.calls[better].reward]
        if not all(_follows(claim, artifact, patch, cell, facts, (better, worse)) for patch in artifact.patches):
            return None
    bare = {name: artifact.with_patches(()) if name in names else artifact for name, artifact in rewards.items()}
    named = tuple((name, bare[name].digest) for name, _ in claim.rewards)
    goals = tuple((claim.goals[goal][atom],) for goal, (_, _, atom) in enumerate(asked))
    return replace(claim, rewards=named, goals=goals), bare


def only_cell(claim: Claim) -> Box | None:
    """What the facts leave of its only box."""
    if len(claim.boxes) != 1 or claim.loops is not None or claim.instances is not None or claim.near is not None:
        return None
    return root_cell(claim, claim.boxes[0])


def _asked(claim: Claim) -> list[tuple[int, int, int]] | None:
    """Of each goal the better and the worse call, and which atom says so; None where one has no such atom."""
    if len(claim.calls) != 2 or not claim.goals:
        return None
    found = []
    for goal in claim.goals:
        pairs = ((_pair(claim, atom.affine, strict=atom.strict), number) for number, atom in enumerate(goal))
        first = next(((*pair, number) for pair, number in pairs if pair is not None), None)
        if first is None:
            return None
        found.append(first)
    return found


def facts_of(claim: Claim) -> set[Affine]:
    return {atom.affine for atom in single_atoms(claim.clauses) if not atom.affine.calls}


def _follows(
    claim: Claim, artifact: Artifact, patch: Patch, cell: Box, facts: set[Affine], pair: tuple[int, int]
) -> bool:
    """Whether the patch keeps what the pair says (the head of this module)."""
    tensors = artifact.tensors
    if is_table(patch, tensors):
        return False
    one, other = (claim.calls[call].arguments for call in (pair if patch.kind == "ceiling" else pair[::-1]))
    rows = [[Fraction(float(x)) for x in row] for row in tensors[patch.rows]]
    gate = Fraction(float(tensors[patch.gate][0]))
    for row, offset in zip(rows, tensors[patch.offsets], strict=True):
        if _least(row, one, cell) - Fraction(float(offset)) >= gate:
            return True  # it never acts at the one at which it could do harm
    moving = {j: _direction(b, a, cell, facts) for j, (a, b) in enumerate(zip(one, other, strict=True)) if a != b}
    return all(x * sign > 0 or not x for row in rows for j, sign in moving.items() for x in (row[j],))


def _least(row: list[Fraction], arguments: tuple[Affine, ...], cell: Box) -> Fraction:
    """Σ row·arguments is at least that in the cell."""
    ends = (extent_of(form, cell) for form in arguments)
    return sum((x * (lo if x > 0 else hi) for x, (lo, hi) in zip(row, ends, strict=True) if x), Fraction(0))


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
    facts = facts_of(claim)
    for column, (a, b) in enumerate(zip(claim.calls[better].arguments, claim.calls[worse].arguments, strict=True)):
        ends = [extent_of(side, cell) for side in (a, b)]
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


def extent_of(form: Affine, cell: Box) -> tuple[Fraction, Fraction]:
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
        if extent_of(difference, cell)[0] >= 0:
            return sign
        if any(fact.variables == rest and fact.constant <= difference.constant for fact in facts):
            return sign
    return 0
