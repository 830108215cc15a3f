"""The values of rewards at given records as numbers of their own: what Z3 decides polynomials of best."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from rewarden.spec_lang.forms import ONE, combine, extremum, form_of, leaf, product, quotient, square_root
from rewarden.spec_lang.formulas import atom, conjunction, disjunction
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
    Variable,
)

Numbers = dict[Call | Statistic, int]


def with_values(formulas: Sequence[Formula]) -> tuple[tuple[Variable, ...], list[Formula]]:
    """The formulas, which have no variables, over one for each value of a reward and each data constant. Of their
    ranges nothing is known. Records are numbers, so that calls at equal records are one and the same call."""
    numbers: Numbers = {}
    parts = [_formula(formula, numbers) for formula in formulas]
    variables = (Variable("value", f"v{k}", False, Fraction(0), Fraction(0)) for k in range(len(numbers)))
    return tuple(variables), parts


def _formula(formula: Formula, numbers: Numbers) -> Formula:
    match formula:
        case And(parts):
            return conjunction([_formula(part, numbers) for part in parts])
        case Or(parts):
            return disjunction([_formula(part, numbers) for part in parts])
        case Atom(term, strict, origin):
            return atom(form_of(_term(term, numbers)), strict, origin)


def _term(term: Term, numbers: Numbers) -> Term:
    match term:
        case Call() | Statistic():
            return Var(numbers.setdefault(term, len(numbers)))
        case Sum(terms):
            return combine((form_of(_term(t, numbers)), ONE) for t in terms).term()
        case Product(left, right):
            return product(form_of(_term(left, numbers)), form_of(_term(right, numbers))).term()
        case Quotient(left, right):
            return quotient(form_of(_term(left, numbers)), form_of(_term(right, numbers))).term()
        case Min(terms):
            return extremum(Min, [form_of(_term(t, numbers)) for t in terms]).term()
        case Max(terms):
            return extremum(Max, [form_of(_term(t, numbers)) for t in terms]).term()
        case Sqrt(inner):
            return square_root(form_of(_term(inner, numbers))).term()
        case Ite(condition, then, otherwise):
            return leaf(Ite(_formula(condition, numbers), _term(then, numbers), _term(otherwise, numbers))).term()
        case _:
            return term
