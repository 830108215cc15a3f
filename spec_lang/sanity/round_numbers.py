"""Points that a person can read: numbers as round as the formula allows.

Z3 answers with corners such as 79/158 of a range. Each real number is moved to the roundest nearby one at which the
formula is still exactly true, one variable after the other; a number that cannot move stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.evaluate import truth
from rewarden.spec_lang.obligation import Formula, Variable

PLACES = (0, 1, 2, 3)


def rounded(variables: Sequence[Variable], formula: Formula, point: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """A point of the formula (which speaks of features only) that differs from `point` by rounding."""
    values = list(point)
    for index, variable in enumerate(variables):
        if variable.discrete:
            continue
        kept = values[index]
        for candidate in _candidates(variable, kept):
            values[index] = candidate
            if _true(formula, values):
                break
        else:
            values[index] = kept
    return tuple(values)


def _candidates(variable: Variable, value: Fraction) -> Iterator[Fraction]:
    """Rounder numbers in range, the roundest first; none for a number that is round enough."""
    for places in PLACES:
        scale = 10**places
        if (value * scale).denominator == 1:
            return
        middle = Fraction(round(value * scale), scale)
        for candidate in (middle, middle + Fraction(1, scale), middle - Fraction(1, scale)):
            if variable.lo <= candidate <= variable.hi:
                yield candidate


def _true(formula: Formula, values: Sequence[Fraction]) -> bool:
    try:
        return truth(formula, values)
    except Unsupported:
        return False
