"""How hard a rule is, told before any reward exists, and which expression makes it so.

box             every condition reads one variable; rewards are applied to records as they are
linear          conditions and arguments are piecewise affine in several variables
polynomial      products or quotients of quantities that vary, or square roots
transcendental  functions beyond algebra (nothing in the language makes one yet)
data            the rule ranges over rows of data
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from rewarden.spec_lang.obligation import (
    And,
    Atom,
    Call,
    Const,
    Formula,
    Ite,
    Max,
    Min,
    Obligation,
    Or,
    Product,
    Quotient,
    Sqrt,
    Statistic,
    Sum,
    Term,
    Var,
)
from rewarden.spec_lang.sampling.points import variables_of
from rewarden.spec_lang.source import Span

RuleClass = Literal["box", "linear", "polynomial", "transcendental", "data"]

_HARDNESS: dict[RuleClass, int] = {"box": 0, "linear": 1, "polynomial": 2, "transcendental": 3, "data": 4}


def classify(obligation: Obligation) -> tuple[RuleClass, Span]:
    """The rule's class and the span that put it there (the first of the hardest; the rule's own for box and data)."""
    if obligation.instances is not None:
        return "data", obligation.rule.span
    hardest: RuleClass = "box"
    span = obligation.rule.span
    for formula in (obligation.assume, obligation.premise, obligation.conclusion):
        for atom in _atoms(formula):
            found = _class_of_atom(atom)
            if _HARDNESS[found] > _HARDNESS[hardest]:
                hardest, span = found, atom.origin or obligation.rule.span
    return hardest, span


def _atoms(formula: Formula) -> Iterator[Atom]:
    match formula:
        case And(parts) | Or(parts):
            for part in parts:
                yield from _atoms(part)
        case Atom():
            yield formula


def _class_of_atom(atom: Atom) -> RuleClass:
    if not algebraically_affine(atom.term):
        return "polynomial"
    if _arguments_are_records(atom.term) and len(_read_outside_calls(atom.term)) <= 1 and not _mixed(atom.term):
        return "box"
    return "linear"


def algebraically_affine(term: Term) -> bool:
    """Piecewise affine: no product or quotient by a quantity that varies, no root."""
    match term:
        case Const() | Var() | Statistic():
            return True
        case Sum(terms) | Min(terms) | Max(terms) | Call(_, terms):
            return all(algebraically_affine(part) for part in terms)
        case Product(left, right):
            one_fixed = not (_varies(left) and _varies(right))
            return one_fixed and algebraically_affine(left) and algebraically_affine(right)
        case Quotient(left, right):
            return not _varies(right) and algebraically_affine(left) and algebraically_affine(right)
        case Ite(condition, then, otherwise):
            inside = all(algebraically_affine(atom.term) for atom in _atoms(condition))
            return inside and algebraically_affine(then) and algebraically_affine(otherwise)
        case Sqrt(inner):
            return not _varies(inner)


def _varies(term: Term) -> bool:
    return bool(variables_of(term)) or any(True for _ in _calls(term))


def _calls(term: Term) -> Iterator[Call]:
    match term:
        case Call(_, arguments):
            yield term
            for part in arguments:
                yield from _calls(part)
        case Sum(parts) | Min(parts) | Max(parts):
            for part in parts:
                yield from _calls(part)
        case Product(left, right) | Quotient(left, right):
            yield from _calls(left)
            yield from _calls(right)
        case Sqrt(inner):
            yield from _calls(inner)
        case Ite(condition, then, otherwise):
            for atom in _atoms(condition):
                yield from _calls(atom.term)
            yield from _calls(then)
            yield from _calls(otherwise)
        case Const() | Var() | Statistic():
            return


def _arguments_are_records(term: Term) -> bool:
    return all(isinstance(part, Var | Const) for call in _calls(term) for part in call.arguments)


def _read_outside_calls(what: Term | Formula) -> frozenset[int]:
    match what:
        case Call() | Const() | Statistic():
            return frozenset()
        case Var(index):
            return frozenset((index,))
        case Sum(parts) | Min(parts) | Max(parts) | And(parts) | Or(parts):
            return frozenset().union(*(_read_outside_calls(part) for part in parts))
        case Product(left, right) | Quotient(left, right):
            return _read_outside_calls(left) | _read_outside_calls(right)
        case Sqrt(inner) | Atom(inner):
            return _read_outside_calls(inner)
        case Ite(condition, then, otherwise):
            return _read_outside_calls(condition) | _read_outside_calls(then) | _read_outside_calls(otherwise)


def _mixed(term: Term) -> bool:
    """A variable and a reward in one comparison: R(s) >= s.speed is linear, not a box."""
    return bool(_read_outside_calls(term)) and any(True for _ in _calls(term))
