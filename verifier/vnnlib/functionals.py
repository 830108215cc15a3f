"""Linear forms over inputs and calls as further outputs of the joint network.

Most readers of VNN-LIB 1.0 take bounds of inputs and comparisons of an output with a number or another output, and no
arithmetic. So where a condition of a rule is a sum (`0.0078*s.speed + s.steering <= 0.33`), the sum is computed by the
network, as one more output, and the query bounds that. Exactly: the form is scaled until its coefficients are float32
numbers. A form for which there is no such scale is written into the query.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm

import numpy as np

from rewarden.spec_lang.claim import Affine, AffineAtom
from rewarden.verifier.vnnlib.split import Case

MOST = 256  # outputs that a network is given
MAX_FLOAT32 = Fraction((2**24 - 1) * 2**104)
Terms = tuple[tuple[int, Fraction], ...]


@dataclass(frozen=True, slots=True)
class Functional:
    """Σ coefficient·variable + Σ coefficient·call; the coefficients are float32 numbers, the first is positive."""

    variables: Terms
    calls: Terms


def functional_of(affine: Affine) -> tuple[Functional, Fraction] | None:
    """(f, s) with affine = s·f + constant; None where no scale makes the coefficients float32 numbers."""
    numbers = [c for _, c in (*affine.variables, *affine.calls)]
    whole = Fraction(gcd(*(c.numerator for c in numbers)), lcm(*(c.denominator for c in numbers)))
    for size in (Fraction(1), whole):
        scale = size if numbers[0] > 0 else -size
        if all(is_float32(c / scale) for c in numbers):
            return Functional(_divided(affine.variables, scale), _divided(affine.calls, scale)), scale
    return None


def functionals_of(cases: Iterable[Case], ties: Iterable[AffineAtom]) -> tuple[Functional, ...]:
    """Those of all sums in the conditions of some cases, in order of first use, and as many as a network is given."""
    found: dict[Functional, None] = {}
    for affine in _sums(cases, ties):
        made = functional_of(affine)
        if made is not None and len(found) < MOST:
            found[made[0]] = None
    return tuple(found)


def is_sum(affine: Affine) -> bool:
    """Is it neither a number's comparison with one unknown nor a plain comparison of two calls?"""
    if len(affine.variables) + len(affine.calls) == 1:
        return False
    plain = not affine.variables and affine.constant == 0 and len(affine.calls) == 2
    return not (plain and affine.calls[0][1] == -affine.calls[1][1])


def is_float32(value: Fraction) -> bool:
    return abs(value) <= MAX_FLOAT32 and Fraction(float(np.float32(float(value)))) == value


def _sums(cases: Iterable[Case], ties: Iterable[AffineAtom]) -> Iterator[Affine]:
    yield from (atom.affine for atom in ties if is_sum(atom.affine))
    for case in cases:
        for clause in (*case.clauses, *case.goals):
            yield from (atom.affine for atom in clause if is_sum(atom.affine))


def _divided(terms: Terms, scale: Fraction) -> Terms:
    return tuple((index, c / scale) for index, c in terms)
