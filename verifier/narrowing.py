"""Facts on single variables narrow the box they hold on, exactly (docs/formats.md, "Proof").

`gap >= 100` on gap in 0 … 100 leaves one value. Cutting could only approach it; a multiplier tells the final bound but
not those of the layers between. So the cell of a proof's node is the box that its cuts leave, less what the facts of
one variable exclude. Sound: every point of the box at which the facts hold stays in it. Strict atoms are taken as
non-strict, but for discrete variables, whose bounds move to the integers that are left.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

from rewarden.spec_lang.claim import AffineAtom, Box, Claim, Clause


def narrowed(box: Box, facts: Iterable[AffineAtom], discrete: Sequence[bool]) -> Box | None:
    """The part of `box` that the facts over one variable leave; None if nothing is left."""
    bounds = list(box)
    for fact in facts:
        if fact.affine.calls or len(fact.affine.variables) != 1:
            continue
        j, slope = fact.affine.variables[0]
        edge = -fact.affine.constant / slope
        lo, hi = bounds[j]
        if slope > 0:
            if discrete[j]:
                edge = Fraction(math.floor(edge) + 1 if fact.strict else math.ceil(edge))
            lo = max(lo, edge)
        else:
            if discrete[j]:
                edge = Fraction(math.ceil(edge) - 1 if fact.strict else math.floor(edge))
            hi = min(hi, edge)
        if lo > hi:
            return None
        bounds[j] = (lo, hi)
    return tuple(bounds)


def root_cell(claim: Claim, box: Box) -> Box | None:
    """An instance box, narrowed by the clauses of one atom."""
    return narrowed(box, single_atoms(claim.clauses), [v.discrete for v in claim.variables])


def single_atoms(clauses: Iterable[Clause]) -> list[AffineAtom]:
    return [clause[0] for clause in clauses if len(clause) == 1]
