"""Data constants under float32 semantics: a variable each, anywhere between what executions may make of them.

So a rule is proved for every value that its constants may have, on the side that is worst for each of its atoms, and
equal constants stay equal. A violation is judged with the deployed values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from rewarden.spec_lang.evaluate import statistic_text
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
    Variable,
)
from rewarden.verifier.executed_rows import ExecutedConstant


def with_constants(
    obligation: Obligation, constants: Mapping[Statistic, ExecutedConstant]
) -> tuple[Obligation, dict[int, Fraction]]:
    """The obligation with a variable for each data constant, and the deployed values of those variables."""
    stands: dict[Statistic, Term] = {}
    variables, deployed = list(obligation.variables), dict[int, Fraction]()
    for statistic, constant in constants.items():
        if constant.lo == constant.hi:
            stands[statistic] = Const(constant.lo)
            continue
        stands[statistic] = Var(len(variables))
        deployed[len(variables)] = constant.deployed
        variables.append(Variable("", statistic_text(statistic), False, constant.lo, constant.hi))
    return (
        replace(
            obligation,
            variables=tuple(variables),
            structure=_formula(obligation.structure, stands),
            assume=_formula(obligation.assume, stands),
            premise=_formula(obligation.premise, stands),
            conclusion=_formula(obligation.conclusion, stands),
        ),
        deployed,
    )


def spread_words(constants: Mapping[Statistic, ExecutedConstant]) -> tuple[str, ...]:
    """How far executions may differ in each constant: a threshold at one cannot be held more closely than that."""
    return tuple(
        f"{statistic_text(statistic)} may be anything from {float(c.lo):.9g} to {float(c.hi):.9g} (order of sums): "
        f"what is closer to it than {float(c.hi - c.lo):.2g} stays open"
        for statistic, c in constants.items()
        if c.lo < c.hi
    )


def _formula(formula: Formula, stands: Mapping[Statistic, Term]) -> Formula:
    match formula:
        case And(parts):
            return And(tuple(_formula(part, stands) for part in parts))
        case Or(parts):
            return Or(tuple(_formula(part, stands) for part in parts))
        case Atom(term, strict, origin):
            return Atom(_term(term, stands), strict, origin)


def _term(term: Term, stands: Mapping[Statistic, Term]) -> Term:
    match term:
        case Statistic():
            return stands[term]
        case Const() | Var():
            return term
        case Sum(terms):
            return Sum(tuple(_term(t, stands) for t in terms))
        case Min(terms):
            return Min(tuple(_term(t, stands) for t in terms))
        case Max(terms):
            return Max(tuple(_term(t, stands) for t in terms))
        case Product(left, right):
            return Product(_term(left, stands), _term(right, stands))
        case Quotient(left, right):
            return Quotient(_term(left, stands), _term(right, stands))
        case Ite(condition, then, otherwise):
            return Ite(_formula(condition, stands), _term(then, stands), _term(otherwise, stands))
        case Sqrt(inner):
            return Sqrt(_term(inner, stands))
        case Call(reward, arguments):
            return Call(reward, tuple(_term(t, stands) for t in arguments))
