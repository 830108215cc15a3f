"""Interval bounds of terms, and what follows from a premise: for `with` updates and divisors.

Everything is exact and errs on the side of "not shown": an answer of True is a proof.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import isqrt, lcm

from rewarden.spec_lang.forms import ONE, ZERO, Form, TooLarge, combine, form_of
from rewarden.spec_lang.formulas import polytopes, split
from rewarden.spec_lang.obligation import (
    And,
    Atom,
    Const,
    Formula,
    Ite,
    Max,
    Min,
    Product,
    Quotient,
    Sqrt,
    Sum,
    Term,
    Var,
    Variable,
)

Interval = tuple[Fraction | None, Fraction | None]  # None: unbounded on that side
Ranges = Callable[[int], Interval]  # variable → its range

ROUNDS = 4
CASES = 32  # disjuncts of a premise that are looked at one by one
FACTS = 60  # premise atoms used; more would be slow, and fewer only prove less


def interval(term: Term, ranges: Ranges) -> Interval:
    """An interval that contains every value of the term; rewards and data constants are unbounded."""
    match term:
        case Const(value=value):
            return value, value
        case Var(index=index):
            return ranges(index)
        case Sum() | Product(left=Const()):
            return of_form(form_of(term), ranges)
        case Product(left=left, right=right):
            square = left == right
            return _times(interval(left, ranges), interval(right, ranges), square)
        case Quotient(left=left, right=right):
            lo, hi = interval(right, ranges)
            if lo is None or hi is None or lo <= 0 <= hi:
                return None, None
            return _times(interval(left, ranges), (ONE / hi, ONE / lo), False)
        case Min(terms=terms):
            los, his = zip(*(interval(t, ranges) for t in terms), strict=True)
            return _all(min, los), _any(min, his)
        case Max(terms=terms):
            los, his = zip(*(interval(t, ranges) for t in terms), strict=True)
            lo = _any(max, los)
            return (max(lo or ZERO, ZERO) if _magnitude(terms) else lo), _all(max, his)
        case Ite(then=then, otherwise=otherwise):
            los, his = zip(interval(then, ranges), interval(otherwise, ranges), strict=True)
            return _all(min, los), _all(max, his)
        case Sqrt(term=inner):
            lo, hi = interval(inner, ranges)
            return _root(max(lo or ZERO, ZERO), 0), None if hi is None else _root(max(hi, ZERO), 1)
        case _:
            return None, None


def _magnitude(terms: Sequence[Term]) -> bool:
    """Is it |t|, or the largest of several: does it begin with a term and its opposite?"""
    if len(terms) < 2:
        return False
    both = combine([(form_of(terms[0]), ONE), (form_of(terms[1]), ONE)])
    return both.is_constant and both.constant == 0


def of_form(form: Form, ranges: Ranges) -> Interval:
    lo: Fraction | None = form.constant
    hi: Fraction | None = form.constant
    for term, c in form.parts.items():
        a, b = interval(term, ranges)
        if c < 0:
            a, b = b, a
        lo = None if lo is None or a is None else lo + c * a
        hi = None if hi is None or b is None else hi + c * b
    return lo, hi


def at_least_zero(form: Form, premise: Formula, variables: Sequence[Variable], bits: frozenset[int]) -> bool:
    """Whether form >= 0 is shown to hold wherever the premise does.

    Splits the premise into polytopes where there are few (else only its plain conjuncts count), tightens the
    leaves' intervals by each atom in turn, then tries form - λ·atom for every atom and every λ >= 0 at which
    a coefficient vanishes: by linear duality that decides the case of a single relevant atom.
    """
    try:
        cases = polytopes(split(premise, bits, 8 * CASES), CASES)
    except TooLarge:
        plain = premise.parts if isinstance(premise, And) else (premise,)
        cases = [tuple(p for p in plain if isinstance(p, Atom))]
    return all(_follows(form, case, variables) for case in cases)


def _follows(form: Form, atoms: Sequence[Atom], variables: Sequence[Variable]) -> bool:
    def ranges(index: int) -> Interval:
        return variables[index].lo, variables[index].hi

    facts = [_closed(a, variables) for a in atoms[:FACTS]]
    known: dict[Term, Interval] = {t: interval(t, ranges) for f in (form, *facts) for t in f.parts}
    for _ in range(ROUNDS):
        for fact in facts:
            _tighten(fact, known)
    if any(lo is not None and hi is not None and lo > hi for lo, hi in known.values()):
        return True  # the premise cannot hold here
    if _lower(form, known) is not None and (_lower(form, known) or ZERO) >= 0:
        return True
    for fact in facts:
        ratios = {form.parts[t] / c for t, c in fact.parts.items() if t in form.parts}
        for ratio in ratios:
            low = _lower(combine([(form, ONE), (fact, -ratio)]), known) if ratio > 0 else None
            if low is not None and low >= 0:
                return True
    return False


def _closed(fact: Atom, variables: Sequence[Variable]) -> Form:
    """A form that is >= 0 where the atom holds. Over integers t > 0 says t >= 1, once its coefficients are integers."""
    form = form_of(fact.term)
    if not fact.strict or not all(isinstance(t, Var) and variables[t.index].discrete for t in form.parts):
        return form
    whole = form.scaled(Fraction(lcm(form.constant.denominator, *(c.denominator for c in form.parts.values()))))
    return whole.shifted(-ONE)


def _lower(form: Form, known: dict[Term, Interval]) -> Fraction | None:
    total = form.constant
    for term, c in form.parts.items():
        end = known[term][0 if c > 0 else 1]
        if end is None:
            return None
        total += c * end
    return total


def _tighten(fact: Form, known: dict[Term, Interval]) -> None:
    """fact >= 0 bounds each of its leaves by the others' best ends."""
    for term, c in fact.parts.items():
        rest = Form(-fact.constant, {t: -d for t, d in fact.parts.items() if t != term})
        low = _lower(rest, known)  # c·term >= low
        if low is None:
            continue
        lo, hi = known[term]
        bound = low / c
        if c > 0:
            known[term] = (bound if lo is None else max(lo, bound), hi)
        else:
            known[term] = (lo, bound if hi is None else min(hi, bound))


def _times(a: Interval, b: Interval, square: bool) -> Interval:
    ends = (*a, *b)
    if any(e is None for e in ends):
        return (ZERO, None) if square else (None, None)
    products = [x * y for x in a for y in b if x is not None and y is not None]
    lo, hi = min(products), max(products)
    return (max(lo, ZERO), hi) if square else (lo, hi)


def _all(pick: Callable[[list[Fraction]], Fraction], ends: Sequence[Fraction | None]) -> Fraction | None:
    """Unbounded as soon as one is."""
    known = [e for e in ends if e is not None]
    return pick(known) if len(known) == len(ends) else None


def _any(pick: Callable[[list[Fraction]], Fraction], ends: Sequence[Fraction | None]) -> Fraction | None:
    """Bounded as soon as one is."""
    known = [e for e in ends if e is not None]
    return pick(known) if known else None


def _root(value: Fraction, up: int) -> Fraction:
    """A rational at most (up = 0) or at least (up = 1) the square root."""
    whole = isqrt(value.numerator * value.denominator)
    exact = whole * whole == value.numerator * value.denominator
    return Fraction(whole + (0 if exact else up), value.denominator)
