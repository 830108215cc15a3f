"""Walks over terms: every subterm, inner ones first, and the variables that are read beside rewards."""

from __future__ import annotations

from collections.abc import Iterator

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


def read_beside_rewards(what: Term | Formula) -> frozenset[int]:
    """The variables that occur outside the arguments of rewards."""
    return frozenset(t.index for t in subterms(what, into_calls=False) if isinstance(t, Var))
