"""Exact truth of formulas at points, one by one in rationals or for many rows with a float64 screen in front.

`truth` and `value` are the reference that every faster reading is held against. A square root that is irrational has
no rational value; an atom around one is decided by enclosures of growing precision, which ends whenever the margin is
not 0 (and a margin with a single irrational root never is).

`truth_of_rows` decides most rows in float64 with a rigorous running error bound and hands the undecided ones to
`truth`, so its answers are exact as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.errors import Unsupported
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


@dataclass(frozen=True, slots=True)
class Enclosed:
    """A value that is no rational, or not known to be: `at(bits)` is lo <= value <= hi, narrower with more bits."""

    at: Callable[[int], tuple[Fraction, Fraction]]


CallValue = Callable[[str, tuple[Fraction, ...]], Fraction | Enclosed]
StatisticValue = Callable[[Statistic], Fraction | Enclosed]

_PRECISIONS = (64, 256, 1024, 4096)  # bits below the point; beyond them an atom is reported, never guessed


class _IrrationalError(Exception):
    """Internal: the term has no rational value."""


def margin(formula: Formula, point: Point) -> Fraction:
    """How far a formula is from changing its truth, as the least of a conjunction's atoms and the greatest of a
    disjunction's: never positive where it is false, never negative where it is true. Unsupported X07 if irrational."""
    match formula:
        case And(parts):
            return min((margin(part, point) for part in parts), default=Fraction(1))
        case Or(parts):
            return max((margin(part, point) for part in parts), default=Fraction(-1))
        case Atom(term):
            return value(term, point.values, point.call, point.statistic)


def no_calls(reward: str, arguments: tuple[Fraction, ...]) -> Fraction:
    """The `call` of formulas over features only."""
    raise Unsupported("X06", f"reward {reward} has no value here", help="only features may be used in this place")


def no_statistics(statistic: Statistic) -> Fraction:
    """The `statistic` of formulas over features only."""
    raise Unsupported(
        "X06", f"{statistic_text(statistic)} has no value until its reward is bound", help="bind the reward first"
    )


def statistic_text(statistic: Statistic) -> str:
    """`quantile(R(demos), 1/20)`: the data constant as claims and messages write it."""
    level = "" if statistic.level is None else f", {statistic.level}"
    return f"{statistic.kind}({statistic.reward}({statistic.data}){level})"


# ── one point, exactly ─────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Point:
    """Values of an obligation's variables, and what calls and data constants are worth there."""

    values: Sequence[Fraction]
    call: CallValue = no_calls
    statistic: StatisticValue = no_statistics


def truth(
    formula: Formula,
    values: Sequence[Fraction],
    call: CallValue = no_calls,
    statistic: StatisticValue = no_statistics,
) -> bool:
    """Is the formula exactly true at `values` (one rational per variable)? Unsupported X07 if a root defeats us."""
    return _truth(formula, Point(values, call, statistic))


def value(
    term: Term,
    values: Sequence[Fraction],
    call: CallValue = no_calls,
    statistic: StatisticValue = no_statistics,
) -> Fraction:
    """The term's exact value. Unsupported X07 if it is irrational."""
    try:
        return _value(term, Point(values, call, statistic))
    except _IrrationalError:
        raise Unsupported("X07", "the expression has an irrational value here", help="compare it instead") from None


def _truth(formula: Formula, point: Point) -> bool:
    match formula:
        case And(parts):
            return all(_truth(part, point) for part in parts)
        case Or(parts):
            return any(_truth(part, point) for part in parts)
        case Atom(term, strict):
            return _atom(term, strict, point)


def _atom(term: Term, strict: bool, point: Point) -> bool:
    try:
        exact = _value(term, point)
        return exact > 0 if strict else exact >= 0
    except _IrrationalError:
        pass
    for bits in _PRECISIONS:
        lo, hi = _enclose(term, point, bits)
        if lo > 0:
            return True
        if hi < 0:
            return False
        if lo == hi:
            return not strict
    message = "irrational values are equal, or so close that they cannot be told apart: leave room, such as + 0.001"
    raise Unsupported("X07", message)


def _value(term: Term, point: Point) -> Fraction:
    match term:
        case Const(constant):
            return constant
        case Var(index):
            return point.values[index]
        case Sum(terms):
            return sum((_value(t, point) for t in terms), Fraction(0))
        case Product(left, right):
            return _value(left, point) * _value(right, point)
        case Quotient(left, right):
            return _value(left, point) / _value(right, point)
        case Min(terms):
            return min(_value(t, point) for t in terms)
        case Max(terms):
            return max(_value(t, point) for t in terms)
        case Ite(condition, then, otherwise):
            return _value(then if _truth(condition, point) else otherwise, point)
        case Sqrt(inner):
            return _exact_root(_value(inner, point))
        case Call(reward, arguments):
            return _rational(point.call(reward, tuple(_value(t, point) for t in arguments)))
        case Statistic():
            return _rational(point.statistic(term))


def _rational(found: Fraction | Enclosed) -> Fraction:
    if isinstance(found, Enclosed):
        raise _IrrationalError
    return found


def _exact_root(square: Fraction) -> Fraction:
    if square < 0:
        raise ValueError("square root of a negative number")
    top, bottom = isqrt(square.numerator), isqrt(square.denominator)
    if top * top == square.numerator and bottom * bottom == square.denominator:
        return Fraction(top, bottom)
    raise _IrrationalError


def _enclose(term: Term, point: Point, bits: int) -> tuple[Fraction, Fraction]:
    """Rational lo <= term <= hi, with roots to `bits` bits. The arguments of calls must be rational."""
    match term:
        case Sum(terms):
            parts = [_enclose(t, point, bits) for t in terms]
            return sum((p[0] for p in parts), Fraction(0)), sum((p[1] for p in parts), Fraction(0))
        case Product(left, right):
            corners = [a * b for a in _enclose(left, point, bits) for b in _enclose(right, point, bits)]
            return min(corners), max(corners)
        case Quotient(left, right):
            below = _enclose(right, point, bits)
            if below[0] <= 0 <= below[1]:
                raise Unsupported("X07", "a divisor cannot be told from 0 here")
            corners = [a / b for a in _enclose(left, point, bits) for b in below]
            return min(corners), max(corners)
        case Min(terms):
            parts = [_enclose(t, point, bits) for t in terms]
            return min(p[0] for p in parts), min(p[1] for p in parts)
        case Max(terms):
            parts = [_enclose(t, point, bits) for t in terms]
            return max(p[0] for p in parts), max(p[1] for p in parts)
        case Ite(condition, then, otherwise):
            return _enclose(then if _truth(condition, point) else otherwise, point, bits)
        case Sqrt(inner):
            lo, hi = _enclose(inner, point, bits)
            scale = 1 << bits
            below_root = isqrt(int(max(lo, Fraction(0)) * scale * scale))
            above_root = isqrt(-int(-max(hi, Fraction(0)) * scale * scale // 1)) + 1
            return Fraction(below_root, scale), Fraction(above_root, scale)
        case Call() if any(_irrational(t, point) for t in term.arguments):
            raise Unsupported("X07", "a reward is applied to an irrational number here")
        case Call(reward, arguments):
            return _ends(point.call(reward, tuple(_value(t, point) for t in arguments)), bits)
        case Statistic():
            return _ends(point.statistic(term), bits)
        case _:
            exact = _value(term, point)
            return exact, exact


def _ends(found: Fraction | Enclosed, bits: int) -> tuple[Fraction, Fraction]:
    return found.at(bits) if isinstance(found, Enclosed) else (found, found)


def _irrational(term: Term, point: Point) -> bool:
    try:
        _value(term, point)
    except _IrrationalError:
        return True
    return False


# ── many rows ──────────────────────────────────────────────────────────────────────────────────
Rows = NDArray[np.float64]
CallBounds = Callable[[str, Rows], tuple[Rows, Rows]]
"""(reward, encoded rows [n, width]) → (lo, hi), each [n], lo <= exact <= hi."""

_U = 2.0**-52  # twice the unit round-off: pays for the rounding of the error bound itself
_TINY = 2.0**-1000  # pays for underflow, wherever it happens


def truth_of_rows(
    formula: Formula,
    rows: Rows,
    call: CallValue = no_calls,
    statistic: StatisticValue = no_statistics,
    call_bounds: CallBounds | None = None,
) -> NDArray[np.bool_]:
    """Exact truth at every row (float64 [rows, variables], each value taken as the rational that it is).

    With `call_bounds` most comparisons of rewards are settled by them, without them each row is asked exactly.
    """
    decided = screen(formula, rows, None if call_bounds is None else statistic, call_bounds)
    result = decided > 0
    for row in np.flatnonzero(decided == 0):
        point = Point([Fraction(float(v)) for v in rows[row]], call, statistic)
        result[row] = _truth(formula, point)
    return result


def screen(
    formula: Formula, rows: Rows, statistic: StatisticValue | None = None, call_bounds: CallBounds | None = None
) -> NDArray[np.int8]:
    """Per row 1 (certainly true), -1 (certainly false) or 0 (float64 cannot tell, nor where it cannot ask)."""
    with np.errstate(all="ignore"):
        return _Screen(rows, statistic, call_bounds).formula(formula)


class _Screen:
    """One screening; equal calls are bounded once (the cache is the only mutable part)."""

    def __init__(self, rows: Rows, statistic: StatisticValue | None, call_bounds: CallBounds | None) -> None:
        self.rows, self.statistic, self.call_bounds = rows, statistic, call_bounds
        self.calls: dict[Call, tuple[Rows, Rows]] = {}

    def formula(self, formula: Formula) -> NDArray[np.int8]:
        match formula:
            case And(parts):
                verdict = np.ones(len(self.rows), np.int8)
                for part in parts:
                    verdict = np.minimum(verdict, self.formula(part))
                return verdict
            case Or(parts):
                verdict = np.full(len(self.rows), -1, np.int8)
                for part in parts:
                    verdict = np.maximum(verdict, self.formula(part))
                return verdict
            case Atom(term, strict):
                middle, error = self.term(term)
                exact = error == 0  # then the float is the value, and 0 itself is decided
                sure_true = (middle > error) | (exact & (middle >= 0) & (not strict))
                sure_false = (middle < -error) | (exact & (middle <= 0) & strict)
                verdicts: NDArray[np.int8] = sure_true.astype(np.int8) - sure_false.astype(np.int8)
                return verdicts

    def term(self, term: Term) -> tuple[Rows, Rows]:
        """(v, e) with |exact − v| <= e per row; e is infinite or NaN where nothing is known (both decide nothing)."""
        n = len(self.rows)
        match term:
            case Const(constant):
                return _constant(constant, n)
            case Var(index):
                return self.rows[:, index], np.zeros(n)
            case Sum(terms):
                middle, error = np.zeros(n), np.zeros(n)
                for part in terms:
                    m, e = self.term(part)
                    middle, error = _add(middle, error, m, e)
                return middle, error
            case Product(left, right):
                (a, ea), (b, eb) = self.term(left), self.term(right)
                product = a * b
                unit = (ea == 0) & (eb == 0) & ((np.abs(a) == 1) | (np.abs(b) == 1) | (a == 0) | (b == 0))
                error = (np.abs(a) * eb + np.abs(b) * ea + ea * eb + np.abs(product) * _U) * (1 + 8 * _U) + _TINY
                return product, np.where(unit, 0.0, error)
            case Min(terms) | Max(terms):
                parts = [self.term(t) for t in terms]
                pick = np.min if isinstance(term, Min) else np.max
                # Both are 1-Lipschitz in the largest change of an argument.
                middles, errors = np.stack([m for m, _ in parts]), np.stack([e for _, e in parts])
                return pick(middles, axis=0), np.max(errors, axis=0)
            case Ite(condition, then, otherwise):
                chosen = self.formula(condition)
                (a, ea), (b, eb) = self.term(then), self.term(otherwise)
                return np.where(chosen > 0, a, b), np.where(chosen > 0, ea, np.where(chosen < 0, eb, np.inf))
            case Call() if self.call_bounds is not None:
                return self._call(term, self.call_bounds)
            case Statistic() if self.statistic is not None:
                return _between(*_ends(self.statistic(term), _PRECISIONS[0]), n)
            case Quotient() | Sqrt() | Call() | Statistic():
                return np.zeros(n), np.full(n, np.inf)  # rare in premises: left to the exact evaluator

    def _call(self, call: Call, bounds: CallBounds) -> tuple[Rows, Rows]:
        """Where an argument is not a float itself, nothing is known."""
        if call not in self.calls:
            arguments = [self.term(t) for t in call.arguments]
            columns = np.stack([m for m, _ in arguments], axis=1)
            exact = np.all([e == 0 for _, e in arguments], axis=0) & np.all(np.isfinite(columns), axis=1)
            middle, error = np.zeros(len(self.rows)), np.full(len(self.rows), np.inf)
            lo, hi = bounds(call.reward, columns[exact])
            centre = lo + (hi - lo) / 2
            # A sum rounds by half a last place at most, and the larger of two distances is a bound once made larger.
            reach = np.nextafter(np.maximum(hi - centre, centre - lo), np.inf)
            known = np.isfinite(centre) & np.isfinite(reach)
            middle[exact] = np.where(known, centre, 0.0)
            error[exact] = np.where(lo == hi, 0.0, np.where(known, reach, np.inf))
            self.calls[call] = middle, error
        return self.calls[call]


def _constant(constant: Fraction, n: int) -> tuple[Rows, Rows]:
    try:
        nearest = float(constant)
    except OverflowError:
        return np.zeros(n), np.full(n, np.inf)
    exact = Fraction(nearest) == constant
    return np.full(n, nearest), np.full(n, 0.0 if exact else abs(nearest) * _U + _TINY)


def _between(lo: Fraction, hi: Fraction, n: int) -> tuple[Rows, Rows]:
    if lo == hi:
        return _constant(lo, n)
    middle, error = _constant((lo + hi) / 2, n)
    try:
        reach = float(hi - lo)
    except OverflowError:
        reach = float("inf")
    return middle, error + (reach * (1 + _U) + _TINY)


def _add(a: Rows, ea: Rows, b: Rows, eb: Rows) -> tuple[Rows, Rows]:
    """Sum with its error; the rounding of the addition is itself computed (TwoSum), so exact sums stay exact."""
    total = a + b
    part = total - a
    lost = (a - (total - part)) + (b - part)  # exactly a + b − total, overflow aside
    error = (ea + eb) + np.abs(lost)
    return total, np.where(error == 0, 0.0, error * (1 + 4 * _U) + _TINY)
