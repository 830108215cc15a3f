"""Terms gathered into constant + Σ variables + Σ calls + Σ pieces, all coefficients exact.

A *piece* is a Min, Max or Ite that is not constant: what makes a term piecewise affine. Equal calls (same reward, same
affine arguments) are one call. Products of two non-constant terms, roots and non-affine arguments are Unsupported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import isqrt
from typing import TypeVar

from rewarden.spec_lang.claim import Affine, ClaimCall
from rewarden.spec_lang.errors import BindingError, Unsupported
from rewarden.spec_lang.evaluate import statistic_text
from rewarden.spec_lang.obligation import (
    Call,
    Const,
    Ite,
    Max,
    Min,
    Product,
    Quotient,
    Sqrt,
    Statistic,
    Sum,
    Term,
    Var,
)
from rewarden.spec_lang.source import Span

Piece = Min | Max | Ite
K = TypeVar("K", bound=int | Piece)

_ONE = Fraction(1)


@dataclass(frozen=True, slots=True)
class Linear:
    """constant + Σ coefficient·variable + Σ coefficient·call + Σ coefficient·piece; no zero coefficients."""

    constant: Fraction = Fraction(0)
    variables: dict[int, Fraction] = field(default_factory=dict)
    calls: dict[int, Fraction] = field(default_factory=dict)
    pieces: dict[Piece, Fraction] = field(default_factory=dict)

    @property
    def is_constant(self) -> bool:
        return not (self.variables or self.calls or self.pieces)

    @property
    def is_affine_in_variables(self) -> bool:
        return not (self.calls or self.pieces)

    def scaled(self, factor: Fraction) -> Linear:
        return total((self, factor))

    def without(self, piece: Piece) -> Linear:
        return Linear(self.constant, self.variables, self.calls, {p: c for p, c in self.pieces.items() if p != piece})

    def affine(self) -> Affine:
        """As part of a claim; only for a Linear without pieces."""
        return Affine(self.constant, tuple(sorted(self.variables.items())), tuple(sorted(self.calls.items())))


def total(*summands: tuple[Linear, Fraction]) -> Linear:
    """Σ factor·linear."""
    constant = Fraction(0)
    variables: dict[int, Fraction] = {}
    calls: dict[int, Fraction] = {}
    pieces: dict[Piece, Fraction] = {}
    for linear, factor in summands:
        constant += factor * linear.constant
        _accumulate(variables, linear.variables, factor)
        _accumulate(calls, linear.calls, factor)
        _accumulate(pieces, linear.pieces, factor)
    return Linear(constant, variables, calls, pieces)


def _accumulate(into: dict[K, Fraction], what: Mapping[K, Fraction], factor: Fraction) -> None:
    if factor == 0:
        return
    for key, coefficient in what.items():
        value = into.pop(key, Fraction(0)) + factor * coefficient
        if value != 0:
            into[key] = value


class Gathering:
    """Mutable while one claim is made: the calls and data constants met so far, numbered."""

    def __init__(self, statistics: Mapping[Statistic, Fraction]) -> None:
        self.calls: list[ClaimCall] = []
        self.used_statistics: list[Statistic] = []
        self.origin: Span | None = None  # of the atom being lowered, for messages
        self._statistics = statistics
        self._numbers: dict[ClaimCall, int] = {}
        self._known: dict[Term, Linear] = {}

    def linear(self, term: Term) -> Linear:
        """Raises Unsupported (X01, X02, X04, X05) and BindingError (B21), naming the expression."""
        match term:
            case Const(constant):
                return Linear(constant)
            case Var(index):
                return Linear(variables={index: _ONE})
        if term not in self._known:
            self._known[term] = self._gather(term)
        return self._known[term]

    def _gather(self, term: Term) -> Linear:
        match term:
            case Sum(terms):
                return total(*((self.linear(part), _ONE) for part in terms))
            case Product(left, right):
                return self._product(self.linear(left), self.linear(right))
            case Quotient(left, right):
                return self._quotient(self.linear(left), self.linear(right))
            case Min(terms) | Max(terms):
                return self._extreme(term, [self.linear(part) for part in terms])
            case Ite():
                return Linear(pieces={term: _ONE})
            case Sqrt(inner):
                return self._root(self.linear(inner))
            case Call(reward, arguments):
                return self._call(reward, [self.linear(part) for part in arguments])
            case Statistic():
                return Linear(self._constant(term))
            case _:
                raise AssertionError(term)

    def _product(self, left: Linear, right: Linear) -> Linear:
        if left.is_constant:
            return right.scaled(left.constant)
        if right.is_constant:
            return left.scaled(right.constant)
        raise self.unsupported(
            "X01",
            "multiplies two quantities that both vary",
            "one factor must be a constant; for a switch write (if c then x else 0)",
        )

    def _quotient(self, left: Linear, right: Linear) -> Linear:
        if right.is_constant and right.constant != 0:
            return left.scaled(1 / right.constant)
        raise self.unsupported(
            "X05", "divides by a quantity that varies", "multiply both sides of the comparison by the divisor"
        )

    def _extreme(self, term: Min | Max, parts: list[Linear]) -> Linear:
        if all(part.is_constant for part in parts):
            pick = min if isinstance(term, Min) else max
            return Linear(pick(part.constant for part in parts))
        return parts[0] if len(parts) == 1 else Linear(pieces={term: _ONE})

    def _root(self, inner: Linear) -> Linear:
        top, bottom = isqrt(max(inner.constant.numerator, 0)), isqrt(inner.constant.denominator)
        if inner.is_constant and Fraction(top, bottom) ** 2 == inner.constant:
            return Linear(Fraction(top, bottom))
        raise self.unsupported("X02", "takes a square root (an l2 norm)", "use linf(…) or l1(…), which are exact here")

    def _call(self, reward: str, arguments: list[Linear]) -> Linear:
        if not all(part.is_affine_in_variables for part in arguments):
            raise self.unsupported(
                "X04",
                f"applies {reward} to a value that is not affine in the features",
                "make the case distinction in `given`, one rule for each case",
            )
        call = ClaimCall(reward, tuple(part.affine() for part in arguments))
        number = self._numbers.setdefault(call, len(self.calls))
        if number == len(self.calls):
            self.calls.append(call)
        return Linear(calls={number: _ONE})

    def _constant(self, statistic: Statistic) -> Fraction:
        if statistic not in self._statistics:
            raise BindingError(
                "B21", f"the data constant {statistic_text(statistic)} has no value", help="bind its reward first"
            )
        if statistic not in self.used_statistics:
            self.used_statistics.append(statistic)
        return self._statistics[statistic]

    def unsupported(self, code: str, reason: str, help: str) -> Unsupported:
        if self.origin is None:
            return Unsupported(code, f"the rule {reason}", help=help)
        text = " ".join(self.origin.text.split())
        return Unsupported(code, f"`{text}` at {self.origin} {reason}", help=help)
