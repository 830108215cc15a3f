"""Walks over terms: every subterm, inner ones first, and the variables that are read beside rewards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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


def subterms(what: Term | Formula, *, into_calls: bool = True) -> Iterator[Term]:
    """Every term in it, itself included, those inside others first; arguments of rewards unless told otherwise."""
    for part in _children(what):
        if into_calls or not isinstance(what, Call):
            yield from subterms(part, into_calls=into_calls)
    if not isinstance(what, And | Or | Atom):
        yield what


def _children(what: Term | Formula) -> tuple[Term | Formula, ...]:
    match what:
        case Const() | Var() | Statistic():
            return ()
        case Sum(parts) | Min(parts) | Max(parts) | Call(_, parts):
            return parts
        case And(formulas) | Or(formulas):
            return formulas
        case Product(left, right) | Quotient(left, right):
            return left, right
        case Sqrt(inner) | Atom(inner):
            return (inner,)
        case Ite(condition, then, otherwise):
            return condition, then, otherwise


def as_columns(what: Formula, columns: Mapping[Term, int]) -> Formula:
    """With these variables and applications of rewards as variables by their new numbers."""

    def term(t: Term) -> Term:
        if t in columns:
            return Var(columns[t])
        match t:
            case Sum(parts) | Min(parts) | Max(parts):
                return type(t)(tuple(map(term, parts)))
            case Product(left, right) | Quotient(left, right):
                return type(t)(term(left), term(right))
            case Sqrt(inner):
                return Sqrt(term(inner))
            case Ite(condition, then, otherwise):
                return Ite(as_columns(condition, columns), term(then), term(otherwise))
        return t

    match what:
        case And(parts) | Or(parts):
            return type(what)(tuple(as_columns(part, columns) for part in parts))
        case Atom(inner, strict, origin):
            return Atom(term(inner), strict, origin)


def read_beside_rewards(what: Term | Formula) -> frozenset[int]:
    """The variables that occur outside the arguments of rewards."""
    return frozenset(t.index for t in subterms(what, into_calls=False) if isinstance(t, Var))
