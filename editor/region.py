"""The region of a one-record bound: where its premise holds, as polytopes over the reward's input.

A rule can be mended by a min/max patch when it says `R(s) <= c` or `R(s) >= c` of one record and a constant. Its
premise is a union of polytopes; each becomes one patch. Atoms over discrete columns alone gate exactly: their row is
0 or less where the atom is true and 2 or more where it is false, so that there is no ring around a discrete feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from math import lcm
from typing import TYPE_CHECKING, Literal

from rewarden.editor.preconditions import covers, possible
from rewarden.spec_lang.claim import AffineAtom, Box, Claim, Clause
from rewarden.spec_lang.errors import EditError
from rewarden.spec_lang.obligation import TRUE, Obligation

if TYPE_CHECKING:
    from rewarden.editor.near import Near

MOST_POLYTOPES = 64


@dataclass(frozen=True, slots=True)
class Row:
    """One side of a polytope over the encoded columns: `coefficients · x - offset`, at most 0 inside.

    Scaled by the ring's width: at 1 or more the point is beyond the ring (2 or more where a discrete atom is false).
    """

    coefficients: tuple[Fraction, ...]
    offset: Fraction


@dataclass(frozen=True, slots=True)
class Polytope:
    """A conjunction of rows; `box` is the declared range of every column."""

    rows: tuple[Row, ...]
    box: tuple[tuple[Fraction, Fraction], ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """`reward(s) <= level` (ceiling) or `>= level` (floor) wherever one of the polytopes holds, or in one of the boxes
    around data (`near`). `anchor`: what the level is anchored to, in words (`anchor.py`)."""

    rule: str
    reward: str
    kind: Literal["ceiling", "floor"]
    level: Fraction
    strict: bool
    polytopes: tuple[Polytope, ...]
    near: tuple[Near, ...] = ()
    anchor: str = ""


def premise_only(obligation: Obligation) -> Obligation:
    """The obligation without structure and assumptions: a patch covers the whole of the rule's own region."""
    return replace(obligation, structure=TRUE, assume=TRUE)


def bounds_of(obligation: Obligation, claim: Claim, ring: Fraction) -> tuple[Bound, ...]:
    """As `bound_of`, one for each goal: `lo <= R(s) <= hi` is a floor and a ceiling on one region."""
    return tuple(bound_of(obligation, replace(claim, goals=(goal,)), ring) for goal in claim.goals)


def bound_of(obligation: Obligation, claim: Claim, ring: Fraction) -> Bound:
    """Read a one-record bound off a claim made of `premise_only(obligation)`.

    `ring` is the ring's width as a share of each feature's range (language.md, `beyond`): a row is scaled by
    ring·Σ|aⱼ|·rangeⱼ. Raises EditError (E02 … E08, E12) when the rule has another shape.
    """
    rule = obligation.rule.name
    if len(claim.calls) != 1 or len(claim.goals) != 1 or len(claim.goals[0]) != 1:
        raise EditError(
            "E02",
            f"rule {rule} relates several rewards or records: a min/max patch mends one-record bounds",
            help="state it as R(s) <= constant (or >=) in a region, or learn the reward with this rule as a penalty",
        )
    goal = claim.goals[0][0]
    call = claim.calls[0]
    if goal.affine.variables or not goal.affine.calls:
        raise EditError(
            "E03",
            f"rule {rule} bounds {call.reward} by an expression of features, not by a constant",
            help="--method last-layer and --method tuning take such rules, and move weights; or state it with "
            "constants, part by part",
        )
    columns = [argument.variables for argument in call.arguments]
    own = len(call.arguments) if claim.instances is not None else len(claim.variables)  # an anchor is no argument
    identity = [((index, Fraction(1)),) for index in range(own)]
    if columns != identity or any(argument.constant != 0 for argument in call.arguments):
        raise EditError("E04", f"rule {rule} asks for {call.reward} at a changed record: patch the record itself")
    weight = goal.affine.calls[0][1]
    kind: Literal["ceiling", "floor"] = "ceiling" if weight < 0 else "floor"
    level = goal.affine.constant / -weight
    if claim.instances is not None:
        from rewarden.editor.near import near_of

        return Bound(rule, call.reward, kind, level, goal.strict, (), near_of(claim, obligation, ring))
    box = claim.boxes[0]
    discrete = [v.discrete for v in claim.variables]
    polytopes = polytopes_of(claim.clauses, box, discrete, ring, rule)
    if not all(polytope.rows for polytope in polytopes) or covers(polytopes, box, discrete):
        raise EditError(
            "E12",
            f"rule {rule} bounds {call.reward} everywhere: there is no region to patch, and no outside to leave alone",
            help="give the rule a premise, or learn the reward with that range",
        )
    return Bound(rule, call.reward, kind, level, goal.strict, polytopes)


def polytopes_of(
    clauses: Sequence[Clause], box: Box, discrete: list[bool], ring: Fraction, rule: str
) -> tuple[Polytope, ...]:
    """The polytopes of a conjunction of clauses over the columns. Raises EditError E05 to E08."""
    found = []
    for atoms in _disjuncts(clauses, rule):
        rows = tuple(_row(atom, box, discrete, ring, rule) for atom in atoms)
        if possible(atoms, box, discrete):
            found.append(Polytope(rows, box))
    if not found:
        raise EditError("E06", f"the region of rule {rule} is empty: there is nothing to patch")
    return tuple(found)


def _disjuncts(clauses: Sequence[Clause], rule: str) -> list[tuple[AffineAtom, ...]]:
    count = 1
    for clause in clauses:
        count *= len(clause)
    if count > MOST_POLYTOPES:
        raise EditError(
            "E05",
            f"the region of rule {rule} has {count} polytopes; at most {MOST_POLYTOPES} can be patched",
            help="split the rule",
        )
    if count == 0:
        raise EditError("E06", f"the region of rule {rule} is empty: there is nothing to patch")
    found = {frozenset(choice): tuple(dict.fromkeys(choice)) for choice in product(*clauses)}
    return [atoms for own, atoms in found.items() if not any(other < own for other in found)]  # not within another


def _row(
    atom: AffineAtom, box: tuple[tuple[Fraction, Fraction], ...], discrete: list[bool], ring: Fraction, rule: str
) -> Row:
    affine = atom.affine
    if affine.calls:
        raise EditError("E07", f"the premise of rule {rule} reads a reward: its region is not a polytope of features")
    coefficients = [Fraction(0)] * len(box)
    for index, coefficient in affine.variables:
        coefficients[index] = coefficient
    if affine.variables and all(discrete[index] for index, _ in affine.variables):
        return discrete_row(coefficients, affine.constant, atom.strict)
    spread = sum((abs(c) * (hi - lo) for c, (lo, hi) in zip(coefficients, box, strict=True)), Fraction(0))
    width = ring * spread
    if width == 0:
        raise EditError("E08", f"an atom in the premise of rule {rule} depends on no feature that can vary")
    return Row(tuple(-c / width for c in coefficients), affine.constant / width)


def discrete_row(coefficients: list[Fraction], constant: Fraction, strict: bool) -> Row:
    """The row of `coefficients · x + constant >= 0` (`> 0` if strict).

    Over integers, p = Σ cᵢ·xᵢ + constant takes multiples of 1/d. Non-strict: false means p <= -1/d, so -2·d·p is
    at least 2; strict: true means p >= 1/d and false p <= 0, so 2 - 2·d·p separates them in the same way.
    """
    d = lcm(constant.denominator, *(c.denominator for c in coefficients))
    scale = Fraction(-2 * d)
    offset = -scale * constant - (2 if strict else 0)
    return Row(tuple(scale * c for c in coefficients), offset)
