"""`beyond(g(s), p %)`: the points that are clear of a region, rim included.

It holds where, in every conjunct-polytope of g, a discrete atom is false or a linear atom fails by at least p % of
Σ|aⱼ|·rangeⱼ. An atom over bools, cases and ints alone is discrete, as it is to the gate of a patch: ints have no rim.
So `beyond` implies not g, and between g and beyond g lies a rim in which a continuous edit can end.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from rewarden.spec_lang import limits
from rewarden.spec_lang.forms import TooLarge, form_of
from rewarden.spec_lang.formulas import as_literal, atom, conjunction, disjunction, negate, polytopes, split
from rewarden.spec_lang.obligation import Atom, Formula, Var, Variable
from rewarden.spec_lang.source import Span


class NotLinear(Exception):
    """The region has an atom that is neither linear nor discrete."""

    def __init__(self, origin: Span | None) -> None:
        super().__init__("not linear")
        self.origin = origin


def beyond(region: Formula, rim: Fraction, variables: Sequence[Variable], bits: frozenset[int]) -> Formula:
    """The formula; `rim` > 0 is the fraction p. NotLinear, or TooLarge for a region of too many polytopes."""
    found = polytopes(split(region, bits, 8 * limits.POLYTOPES), limits.POLYTOPES)
    if sum(len(polytope) for polytope in found) > 8 * limits.POLYTOPES:
        raise TooLarge("the region has too many atoms")
    return conjunction([disjunction([_fails(a, rim, variables, bits) for a in polytope]) for polytope in found])


def _fails(part: Atom, rim: Fraction, variables: Sequence[Variable], bits: frozenset[int]) -> Formula:
    """The atom is false, and if it is linear, by a margin. The margin is positive, so that it implies the falsehood."""
    form = form_of(part.term)
    indices = {t.index: c for t, c in form.parts.items() if isinstance(t, Var)}
    if len(indices) < len(form.parts):
        raise NotLinear(part.origin)
    if as_literal(part, bits) is not None or all(variables[i].discrete for i in indices):
        return negate(part, bits)
    margin = rim * sum((abs(c) * (variables[i].hi - variables[i].lo) for i, c in indices.items()), Fraction(0))
    if margin == 0:  # every variable has a single value: nothing to be continuous about
        return negate(part, bits)
    return atom((-form).shifted(-margin), False, part.origin)
