"""What a conjunction of clauses leaves of a box, and what the box leaves of the clauses, exactly.

Every point of the box at which the clauses hold stays in the box, and over the narrowed box the clauses that are left
hold together exactly where those that were there do.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil, floor

from rewarden.spec_lang.claim import Affine, AffineAtom, Box, Clause
from rewarden.verifier.vnnlib.forms import scaled, summed

ROUNDS = 8
FACTS = 60  # that atoms are held against

Interval = tuple[Fraction, Fraction]


def propagated(
    box: Sequence[Interval], clauses: Sequence[Clause], discrete: Sequence[bool]
) -> tuple[Box, tuple[Clause, ...]] | None:
    """The box narrowed by facts, and the clauses without what box and facts say already; None where nothing is left.

    Facts over several variables move the bounds of discrete variables alone, so that the continuous bounds of a query
    are those that a reader finds in the rule.
    """
    bounds = [_whole(ends) if d else ends for ends, d in zip(box, discrete, strict=True)]
    if any(lo > hi for lo, hi in bounds):
        return None
    left = kept(clauses, bounds)
    for _ in range(ROUNDS):
        before = list(bounds)
        for fact in _facts_in(left):
            _narrow(bounds, fact, discrete)
            if any(lo > hi for lo, hi in bounds):
                return None
        left = kept(_consistent(kept(left, bounds), bounds), bounds)
        if () in left:
            return None
        if bounds == before:
            break
    return tuple(bounds), left


def _facts_in(clauses: Sequence[Clause]) -> list[AffineAtom]:
    """What certainly holds, of variables alone."""
    return [clause[0] for clause in clauses if len(clause) == 1 and not clause[0].affine.calls]


def kept(clauses: Sequence[Clause], box: Sequence[Interval]) -> tuple[Clause, ...]:
    """The clauses, simplified over the box, without those that are true throughout."""
    return tuple(dict.fromkeys(c for c in (simplified(clause, box) for clause in clauses) if c is not None))


def _consistent(clauses: Sequence[Clause], box: Sequence[Interval]) -> tuple[Clause, ...]:
    """The clauses without atoms that some fact contradicts: where two forms are at least 0, no positive combination of
    them is negative. A region's side in a premise and the opposite of what a patch has stored of it contradict each
    other like this, and not over the box alone."""
    facts = _facts_in(clauses)[:FACTS]
    return tuple(tuple(atom for atom in clause if not _refuted(atom, facts, box)) for clause in clauses)


def _refuted(atom: AffineAtom, facts: Sequence[AffineAtom], box: Sequence[Interval]) -> bool:
    if atom.affine.calls:
        return False
    own = dict(atom.affine.variables)
    for fact in facts:
        for factor in {-own[j] / c for j, c in fact.affine.variables if j in own and own[j] * c < 0}:
            _, top = reach(summed([atom.affine, scaled(fact.affine, factor)]), box)
            if top < 0 or (top == 0 and (atom.strict or fact.strict)):
                return True
    return False


def simplified(clause: Clause, box: Sequence[Interval]) -> Clause | None:
    """The clause over the box, fixed variables written out: None where it is true throughout, without the atoms that
    are false throughout."""
    kept = []
    for atom in clause:
        affine = folded(atom.affine, box)
        if not affine.calls:
            lo, hi = reach(affine, box)
            if lo > 0 or (lo == 0 and not atom.strict):
                return None
            if hi < 0 or (hi == 0 and atom.strict):
                continue
        kept.append(AffineAtom(affine, atom.strict))
    return tuple(dict.fromkeys(kept))


def reach(affine: Affine, box: Sequence[Interval]) -> Interval:
    """The least and the greatest value over the box; variables only."""
    lo = hi = affine.constant
    for j, c in affine.variables:
        a, b = box[j]
        lo, hi = (lo + c * a, hi + c * b) if c > 0 else (lo + c * b, hi + c * a)
    return lo, hi


def folded(affine: Affine, box: Sequence[Interval]) -> Affine:
    """The form with variables that the box fixes written out."""
    if not any(box[j][0] == box[j][1] for j, _ in affine.variables):
        return affine
    constant = affine.constant + sum(
        (c * box[j][0] for j, c in affine.variables if box[j][0] == box[j][1]), Fraction(0)
    )
    return Affine(constant, tuple((j, c) for j, c in affine.variables if box[j][0] < box[j][1]), affine.calls)


def _narrow(box: list[Interval], fact: AffineAtom, discrete: Sequence[bool]) -> None:
    """In place: each variable's bounds by what the others can add at most (they alone, where there are no others)."""
    alone = len(fact.affine.variables) == 1
    _, top = reach(fact.affine, box)
    for j, c in fact.affine.variables:
        if not (alone or discrete[j]):
            continue
        lo, hi = box[j]
        edge = (hi if c > 0 else lo) - top / c  # c·x + (top − c·best end) >= 0
        if c > 0:
            if discrete[j]:
                edge = Fraction(floor(edge) + 1 if fact.strict else ceil(edge))
            box[j] = (max(lo, edge), hi)
        else:
            if discrete[j]:
                edge = Fraction(ceil(edge) - 1 if fact.strict else floor(edge))
            box[j] = (lo, min(hi, edge))
        if box[j] != (lo, hi):
            _, top = reach(fact.affine, box)


def _whole(bounds: Interval) -> Interval:
    return Fraction(ceil(bounds[0])), Fraction(floor(bounds[1]))
