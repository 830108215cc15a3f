"""What occurs in a term or formula."""

from __future__ import annotations

from collections.abc import Iterator

from rewarden.spec_lang.obligation import (
    And,
    Atom,
    Call,
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


def nodes(what: Term | Formula) -> Iterator[Term | Formula]:
    """It and everything in it. Iterative: definitions written out may nest deeply."""
    stack: list[Term | Formula] = [what]
    while stack:
        node = stack.pop()
        yield node
        match node:
            case And(parts) | Or(parts):
                stack.extend(parts)
            case Sum(terms) | Min(terms) | Max(terms) | Call(_, terms):
                stack.extend(terms)
            case Product(left, right) | Quotient(left, right):
                stack += (left, right)
            case Sqrt(inner) | Atom(inner):
                stack.append(inner)
            case Ite(condition, then, otherwise):
                stack += (condition, then, otherwise)
            case _:
                pass


def mentions(what: Term | Formula, *kinds: type[Call] | type[Statistic]) -> bool:
    """Does a term of one of these kinds occur in it?"""
    return any(isinstance(node, kinds) for node in nodes(what))


def mentions_rewards(what: Term | Formula) -> bool:
    """Does a Call or a Statistic occur in it?"""
    return mentions(what, Call, Statistic)


def variables_of(what: Term | Formula) -> frozenset[int]:
    """The variables that occur in it, inside calls too."""
    return frozenset(node.index for node in nodes(what) if isinstance(node, Var))
