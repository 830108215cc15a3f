"""Terms in linear normal form: constant + Σ coefficient · leaf, exactly.

While a rule is lowered its numbers are `Form`s; sums merge like leaves and constants fold, so that `(2*x + 1) - x`
is `x + 1` and a conversion to SI and back leaves no trace. A leaf is any term that is not itself a sum, a
constant, or a constant multiple.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

from rewarden.spec_lang.obligation import Const, Max, Min, Product, Quotient, Sqrt, Sum, Term, Var

ZERO = Fraction(0)
ONE = Fraction(1)
MAX_BITS = 8_000
"""Size of an exact number; beyond it a spec is refused rather than left to fill the memory."""


MAX_DEPTH = 100
"""Terms inside terms. A chain of factors is flat in the text and deep as a term; recursive passes walk terms."""


class TooLarge(Exception):
    """An exact number, or a rule written out, that grew past its limit."""


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """constant + Σ parts[leaf]·leaf; no zero coefficients; insertion order is the order of the text. `depth` is that
    of its leaves, where they were made here."""

    constant: Fraction
    parts: dict[Term, Fraction]
    depth: int = 0

    @property
    def is_constant(self) -> bool:
        return not self.parts

    def __add__(self, other: Form) -> Form:
        return combine([(self, ONE), (other, ONE)])

    def __sub__(self, other: Form) -> Form:
        return combine([(self, ONE), (other, -ONE)])

    def __neg__(self) -> Form:
        return self.scaled(-ONE)

    def scaled(self, by: Fraction) -> Form:
        if by == ONE or not by:
            return self if by else Form(ZERO, {})
        return Form(_bounded(by * self.constant), {t: _bounded(by * c) for t, c in self.parts.items()}, self.depth)

    def shifted(self, by: Fraction) -> Form:
        if not by:
            return self
        return Form(_bounded(self.constant + by), self.parts, self.depth)

    def term(self) -> Term:
        """The same as a term: `Var`, `Product(Const, leaf)`, or a `Sum` with the constant last."""
        terms: list[Term] = [leaf if c == 1 else Product(Const(c), leaf) for leaf, c in self.parts.items()]
        if self.constant != 0 or not terms:
            terms.append(Const(self.constant))
        return terms[0] if len(terms) == 1 else Sum(tuple(terms))


def constant(value: Fraction | int) -> Form:
    return Form(_bounded(Fraction(value)), {})


def leaf(term: Term, *inner: Form) -> Form:
    """A term as a form; `inner` are the forms that it was made of. TooLarge."""
    depth = 1 + max((form.depth for form in inner), default=0)
    if depth > MAX_DEPTH:
        raise TooLarge("the factors and cases of this expression are nested too deeply")
    return Form(ZERO, {term: ONE}, depth)


def variable(index: int) -> Form:
    return leaf(Var(index))


def combine(summands: Iterable[tuple[Form, Fraction]]) -> Form:
    """Σ factor·form."""
    total = ZERO
    depth = 0
    parts: dict[Term, Fraction] = {}
    for form, factor in summands:
        plain = factor is ONE  # nearly always: products and sums of fractions are most of the work here
        if form.constant:
            total += form.constant if plain else factor * form.constant
        depth = max(depth, form.depth)
        for term, coefficient in form.parts.items():
            more = coefficient if plain else factor * coefficient
            known = parts.get(term)
            parts[term] = _bounded(more if known is None else known + more)
    return Form(_bounded(total), {t: c for t, c in parts.items() if c}, depth)


def form_of(term: Term) -> Form:
    """The form of a term that `Form.term` made (any other term is a leaf)."""
    match term:
        case Const(value=value):
            return constant(value)
        case Sum(terms=terms):
            return combine((form_of(t), ONE) for t in terms)
        case Product(left=Const(value=value), right=right):
            return form_of(right).scaled(value)
        case _:
            return leaf(term)


def product(a: Form, b: Form) -> Form:
    if a.is_constant:
        return b.scaled(a.constant)
    if b.is_constant:
        return a.scaled(b.constant)
    return leaf(Product(a.term(), b.term()), a, b)


def quotient(a: Form, b: Form) -> Form:
    """a / b; the caller has shown that b is never 0."""
    if b.is_constant:
        return a.scaled(ONE / b.constant)
    return leaf(Quotient(a.term(), b.term()), a, b)


def extremum(kind: type[Min] | type[Max], forms: list[Form]) -> Form:
    if len(forms) == 1:
        return forms[0]
    if all(f.is_constant for f in forms):
        values = [f.constant for f in forms]
        return constant(min(values) if kind is Min else max(values))
    return leaf(kind(tuple(f.term() for f in forms)), *forms)


def absolute(a: Form) -> Form:
    return extremum(Max, [a, -a])


def square_root(a: Form) -> Form:
    """Of a sum of squares; exact where it is a rational number."""
    if a.is_constant:
        p, q = a.constant.numerator, a.constant.denominator
        if isqrt(p) ** 2 == p and isqrt(q) ** 2 == q:
            return constant(Fraction(isqrt(p), isqrt(q)))
    return leaf(Sqrt(a.term()), a)


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() + value.denominator.bit_length() > MAX_BITS:
        raise TooLarge("a number in this expression becomes too large")
    return value
