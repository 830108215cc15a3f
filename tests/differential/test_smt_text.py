"""The SMT-LIB reading of the sanity checks says of a formula what exact evaluation, and the other Z3 reading, say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import z3
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.spec_lang.evaluate import truth, value
from rewarden.spec_lang.obligation import And, Atom, Call, Const, Formula, Product, Sqrt, Statistic, Sum, Term, Var
from rewarden.spec_lang.sanity.smt_text import number
from rewarden.spec_lang.sanity.z3 import Oracle
from rewarden.spec_lang.term_walk import nodes
from rewarden.spec_lang.z3_terms import read
from tests.reference.how_many import part_of
from tests.reference.random_obligations import (
    MEDIAN,
    STATISTICS,
    VARIABLES,
    exact_reward,
    exact_statistic,
    formulas,
    obligation_of,
    points,
)

RLIMIT = 2_000_000


def equal(left: Term, right: Fraction) -> Formula:
    gap = Sum((left, Const(-right)))
    return And((Atom(gap, False), Atom(Product(Const(Fraction(-1)), gap), False)))


def with_known_rewards(formula: Formula, values: Sequence[Fraction]) -> Formula:
    """The formula, beside what the rewards are worth at the records that it mentions when its variables have these
    values."""
    found = list(nodes(formula))
    calls = [node for node in found if isinstance(node, Call)]
    known = [equal(c, exact_reward(c.reward, tuple(value(a, values) for a in c.arguments))) for c in calls]
    constants = [equal(node, STATISTICS[MEDIAN]) for node in found if isinstance(node, Statistic)]
    return And((formula, *known, *constants))


@settings(max_examples=part_of(150), deadline=None)
@given(formula=formulas(), values=points())
def test_at_a_point_it_is_true_exactly_where_the_formula_is(formula: Formula, values: tuple[Fraction, ...]) -> None:
    pinned = [replace(variable, lo=x, hi=x) for variable, x in zip(VARIABLES, values, strict=True)]
    answer = Oracle(10**9).ask(pinned, with_known_rewards(formula, values), RLIMIT)
    assert (answer.status == "sat") == truth(formula, values, exact_reward, exact_statistic)
    assert answer.status in ("sat", "unsat")


@settings(max_examples=part_of(80), deadline=None)
@given(formula=formulas())
def test_both_readings_agree_on_whether_there_is_a_point(formula: Formula) -> None:
    answer = Oracle(10**9).ask(VARIABLES, formula, RLIMIT)
    reading = read(obligation_of(formula))
    solver = z3.Solver(ctx=reading.context)
    solver.set("rlimit", RLIMIT)
    solver.add(reading.premise, reading.definitions, reading.inside(tuple((v.lo, v.hi) for v in VARIABLES)))
    other = str(solver.check())
    assert answer.status == other or "unknown" in (answer.status, other)


@settings(max_examples=part_of(40), deadline=None)
@given(limit=st.integers(0, 12), x=st.integers(-2, 2), y=st.integers(-2, 2))
def test_square_roots(limit: int, x: int, y: int) -> None:
    """sqrt(x² + y²) <= limit/2, at a point."""
    root = Sqrt(Sum((Product(Var(0), Var(0)), Product(Var(1), Var(1)))))
    formula = Atom(Sum((Const(Fraction(limit, 2)), Product(Const(Fraction(-1)), root))), False)
    values = (Fraction(x), Fraction(y), Fraction(0), Fraction(0))
    pinned = [replace(variable, lo=v, hi=v) for variable, v in zip(VARIABLES, values, strict=True)]
    assert (Oracle(10**9).ask(pinned, formula, RLIMIT).status == "sat") == (4 * (x * x + y * y) <= limit * limit)


@given(st.fractions())
def test_numbers_are_exact(x: Fraction) -> None:
    context = z3.Context()
    (found,) = z3.parse_smt2_string(f"(declare-const x Real)(assert (= x {number(x)}))", ctx=context)
    told = z3.simplify(found.arg(1))
    assert Fraction(told.numerator_as_long(), told.denominator_as_long()) == x


@settings(max_examples=part_of(60), deadline=None)
@given(parts=st.lists(formulas(with_calls=False, max_leaves=2), min_size=1, max_size=4))
def test_a_core_clashes_and_each_of_its_parts_is_needed(parts: list[Formula]) -> None:
    oracle = Oracle(10**9)
    wide = [replace(variable, lo=Fraction(-(10**6)), hi=Fraction(10**6)) for variable in VARIABLES]
    core = oracle.core(VARIABLES, parts, RLIMIT)
    if core is None:
        assert oracle.ask(wide, And(tuple(parts)), RLIMIT).status != "unsat" or not parts
        return
    chosen = [parts[k] for k in core]
    assert oracle.ask(wide, And(tuple(chosen)), RLIMIT).status == "unsat"
    for k in range(len(chosen)):
        rest = And(tuple(chosen[:k] + chosen[k + 1 :]))
        assert oracle.core(VARIABLES, [rest], RLIMIT) is None


def test_work_is_counted_and_runs_out() -> None:
    oracle = Oracle(1_000)
    formula = Atom(Var(0), True)
    assert oracle.ask(VARIABLES, formula, RLIMIT).status == "sat"
    while oracle.left > 0:
        assert oracle.ask(VARIABLES, formula, RLIMIT).status in ("sat", "unknown")
    assert oracle.ask(VARIABLES, formula, RLIMIT).status == "unknown"
