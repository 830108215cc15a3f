"""Truth of formulas at rows of data under float32 semantics: for every execution, for none that is known, or open.

Intervals of rationals: a call is anything that an execution may return, a data constant anything that it may come to,
and the rule's own arithmetic is exact. Two readings of one call are not known to be equal here, which can only leave
more open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

from rewarden.spec_lang.obligation import (
    And,
    Atom,
    Call,
    Const,
    Formula,
    Ite,
    Max,
    Min,
    Or,
    Product,
    Quotient,
    Sqrt,
    Statistic,
    Sum,
    Term,
    Var,
)

Interval = tuple[Fraction, Fraction]
ROOT_BITS = 128  # below the point


class OpenError(Exception):
    """Internal: nothing is known of a value."""


class NonFiniteError(Exception):
    """Internal: a reward, as deployed, returned infinity or NaN at a record of the rule."""


@dataclass(frozen=True, slots=True)
class Around:
    """A row, and what its calls and constants may be; `call` raises OpenError where nothing is known."""

    row: tuple[Fraction, ...]
    call: Callable[[str, tuple[Interval, ...]], Interval]
    constant: Callable[[Statistic], Interval]


def settled(formula: Formula, around: Around) -> int:
    """1: true in every execution; −1: false in every one; 0: not known."""
    match formula:
        case And(parts):
            return min((settled(part, around) for part in parts), default=1)
        case Or(parts):
            return max((settled(part, around) for part in parts), default=-1)
        case Atom(term, strict):
            try:
                lo, hi = _interval(term, around)
            except OpenError:
                return 0
            if lo > 0 or (lo == 0 and not strict):
                return 1
            return -1 if hi < 0 or (hi == 0 and strict) else 0


def _interval(term: Term, around: Around) -> Interval:
    match term:
        case Const(value):
            return value, value
        case Var(index):
            return around.row[index], around.row[index]
        case Sum(terms):
            parts = [_interval(t, around) for t in terms]
            return sum((p[0] for p in parts), Fraction(0)), sum((p[1] for p in parts), Fraction(0))
        case Min(terms):
            parts = [_interval(t, around) for t in terms]
            return min(p[0] for p in parts), min(p[1] for p in parts)
        case Max(terms):
            parts = [_interval(t, around) for t in terms]
            return max(p[0] for p in parts), max(p[1] for p in parts)
        case Product(left, right):
            corners = [a * b for a in _interval(left, around) for b in _interval(right, around)]
            return min(corners), max(corners)
        case Quotient(left, right):
            below = _interval(right, around)
            if below[0] <= 0 <= below[1]:
                raise OpenError
            corners = [a / b for a in _interval(left, around) for b in below]
            return min(corners), max(corners)
        case Ite(condition, then, otherwise):
            chosen = settled(condition, around)
            if chosen:
                return _interval(then if chosen > 0 else otherwise, around)
            both = _interval(then, around), _interval(otherwise, around)
            return min(b[0] for b in both), max(b[1] for b in both)
        case Sqrt(inner):
            lo, hi = _interval(inner, around)
            return _root(max(lo, Fraction(0)), False), _root(max(hi, Fraction(0)), True)
        case Call(reward, arguments):
            return around.call(reward, tuple(_interval(t, around) for t in arguments))
        case Statistic():
            return around.constant(term)


def _root(square: Fraction, above: bool) -> Fraction:
    """The root, or a number close below or above it."""
    top, bottom = isqrt(square.numerator), isqrt(square.denominator)
    if top * top == square.numerator and bottom * bottom == square.denominator:
        return Fraction(top, bottom)
    scale = 1 << ROOT_BITS
    return Fraction(isqrt(int(square * scale * scale)) + above, scale)
