"""Premises on single variables as cuts: what they exclude is cut off, exactly, before any bounding.

`speed > 1/2` cuts the box at 1/2: the lower side is refuted by the fact itself. A non-strict `speed >= 1/2` allows 1/2,
so the cut is made slightly below, at a short dyadic number, and the sliver between is left to the fact's multiplier.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from rewarden.spec_lang.claim import AffineAtom, Box, Claim
from rewarden.verifier.context import refuted
from rewarden.verifier.exact_bounds import Leaf
from rewarden.verifier.facts import FactId
from rewarden.verifier.proof_tree import ProofTree, halves

SLIVER = 24  # a sliver is at most 2^-SLIVER of the variable's width


@dataclass(frozen=True, slots=True)
class Narrowed:
    """`node` is −1 if the facts exclude the whole box; `share` of the box's volume is left."""

    node: int
    box: Box
    share: float


def narrow(tree: ProofTree, claim: Claim, node: int, box: Box, facts: Sequence[FactId]) -> Narrowed:
    """Cuts off what the facts over at most one variable exclude; closes what is cut off."""
    share = 1.0
    for clause, atom in facts:
        fact = claim.clauses[clause][atom]
        if fact.affine.calls or len(fact.affine.variables) > 1:
            continue
        refutation = Leaf(-1, ((clause, atom, Fraction(1)),))
        if refuted(fact, box):
            tree.close_with(node, refutation)
            return Narrowed(-1, box, 0.0)
        found = _cut(fact, box, tree.discrete)
        if found is None:
            continue
        variable, cut, keep = found
        sides = halves(box[variable], cut, tree.discrete[variable])
        excluded = _with(box, variable, sides[1 - keep])
        assert refuted(fact, excluded), "a premise cut must cut off only what the premise excludes"
        first = tree.cut_exactly(node, variable, cut)
        tree.close_with(first + 1 - keep, refutation)
        share *= _share(box[variable], sides[keep], tree.discrete[variable])
        node, box = first + keep, _with(box, variable, sides[keep])
    return Narrowed(node, box, share)


def _cut(fact: AffineAtom, box: Box, discrete: Sequence[bool]) -> tuple[int, Fraction, int] | None:
    """Variable, cut, and the side to keep (0 below, 1 above) of a fact over one variable; None if there is no cut."""
    if not fact.affine.variables:
        return None
    variable, slope = fact.affine.variables[0]
    threshold = -fact.affine.constant / slope
    lo, hi = box[variable]
    above = slope > 0
    if discrete[variable]:
        if above:
            least = math.floor(threshold) + 1 if fact.strict else math.ceil(threshold)
            cut = Fraction(2 * least - 1, 2)
        else:
            most = math.ceil(threshold) - 1 if fact.strict else math.floor(threshold)
            cut = Fraction(2 * most + 1, 2)
        return (variable, cut, int(above)) if lo <= math.floor(cut) < hi else None
    if not fact.strict:
        step = _power_of_two((hi - lo) / 2**SLIVER) if hi > lo else Fraction(1)
        threshold = (math.ceil(threshold / step) - 1) * step if above else (math.floor(threshold / step) + 1) * step
    return (variable, threshold, int(above)) if lo < threshold < hi else None


def _power_of_two(value: Fraction) -> Fraction:
    """A power of two between value / 4 and value."""
    exponent = value.numerator.bit_length() - value.denominator.bit_length() - 1
    return Fraction(2) ** exponent


def _share(whole: tuple[Fraction, Fraction], part: tuple[Fraction, Fraction], discrete: bool) -> float:
    extra = 1 if discrete else 0
    return float((part[1] - part[0] + extra) / (whole[1] - whole[0] + extra))


def _with(box: Box, variable: int, bounds: tuple[Fraction, Fraction]) -> Box:
    return (*box[:variable], bounds, *box[variable + 1 :])
