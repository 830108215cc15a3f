"""One meaning, three readings: exact evaluation, Z3 and the penalty give the same answer at every point."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
import z3
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.spec_lang.boxes import boxes_of
from rewarden.spec_lang.evaluate import truth
from rewarden.spec_lang.naming import named_records
from rewarden.spec_lang.obligation import And, Atom, Call, Const, Formula, Max, Obligation, Product, Sqrt, Sum, Var
from rewarden.spec_lang.penalty.pointwise import penalty, premise_holds
from rewarden.spec_lang.sampling.points import sample_rows
from rewarden.spec_lang.z3_terms import Z3Reading, rational, read
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
    reward_value,
)


def z3_reward(name, arguments):
    return reward_value(name, arguments, lambda a, b: z3.If(a > b, a, b))


def torch_reward(name):
    return lambda x: reward_value(name, x.unbind(1), torch.maximum)


TORCH_REWARDS = {"R": torch_reward("R"), "Q": torch_reward("Q")}


def z3_truth(reading: Z3Reading, formula, values) -> bool:
    """The formula with the point put in, decided by simplification alone."""
    substitution = [
        (variable, z3.IntVal(int(value), reading.context) if variable.is_int() else rational(value, reading.context))
        for variable, value in zip(reading.variables, values, strict=True)
    ]
    result = z3.simplify(z3.substitute(formula, *substitution))
    assert z3.is_true(result) or z3.is_false(result)
    return z3.is_true(result)


def exact_truth(formula: Formula, values) -> bool:
    return truth(formula, values, exact_reward, exact_statistic)


@settings(max_examples=part_of(60), deadline=None)
@given(premise=formulas(), conclusion=formulas(), where=st.lists(points(), min_size=2, max_size=4))
def test_z3_reads_what_exact_evaluation_reads(premise, conclusion, where):
    reading = read(obligation_of(premise, conclusion), z3_reward, STATISTICS)
    for values in where:
        assert z3_truth(reading, reading.premise, values) == exact_truth(premise, values)
        assert z3_truth(reading, reading.conclusion, values) == exact_truth(conclusion, values)


@pytest.mark.parametrize("temperature", [None, 0.125, 1e-3])
@settings(max_examples=part_of(60), deadline=None)
@given(
    premise=formulas(False, with_calls=False, max_leaves=2),
    conclusion=formulas(False),
    where=st.lists(points(False), min_size=2, max_size=6),
)
def test_penalty_is_zero_exactly_where_the_rule_holds(temperature, premise, conclusion, where):
    obligation = obligation_of(premise, conclusion)
    rows = torch.tensor([[float(v) for v in values] for values in where], dtype=torch.float64, requires_grad=True)
    statistics = {MEDIAN: STATISTICS[MEDIAN]}
    found = penalty(obligation, TORCH_REWARDS, rows, temperature, statistics)
    assert torch.isfinite(found).all()
    holds = [not exact_truth(premise, values) or exact_truth(conclusion, values) for values in where]
    assert (found.detach() == 0).tolist() == holds
    assert (found.detach() >= 0).all()
    if found.requires_grad:
        (gradient,) = torch.autograd.grad(found.sum(), rows, allow_unused=True, materialize_grads=True)
        assert torch.isfinite(gradient).all()


@settings(max_examples=part_of(60), deadline=None)
@given(premise=formulas(False, max_leaves=3), where=st.lists(points(False), min_size=1, max_size=6))
def test_premises_about_rewards_decide_too(premise, where):
    rows = torch.tensor([[float(v) for v in values] for values in where], dtype=torch.float64)
    counting = premise_holds(obligation_of(premise), TORCH_REWARDS, rows, STATISTICS)
    assert counting.tolist() == [k for k, values in enumerate(where) if exact_truth(premise, values)]


def satisfiable(obligation: Obligation, rlimit: int = 5_000_000) -> tuple[str, list[Fraction] | None]:
    """What Z3 says of structure, assumptions and premise within the box, and its point where that is rational."""
    reading = read(obligation)
    solver = z3.Solver(ctx=reading.context)
    solver.set("rlimit", rlimit)
    solver.add(reading.structure, reading.assume, reading.premise, reading.definitions)
    solver.add(z3.Or([reading.inside(box) for box in boxes_of(obligation)]))
    status = str(solver.check())
    return status, reading.values(solver.model()) if status == "sat" else None


@settings(max_examples=part_of(40), deadline=None)
@given(premise=formulas(with_calls=False, max_leaves=3), seed=st.integers(0, 99), where=points())
def test_satisfiability_agrees_with_points(premise, seed, where):
    """unsat is never said where a point is known; sat comes with a point that exact evaluation confirms."""
    obligation = obligation_of(premise)
    status, point = satisfiable(obligation, 200_000)
    if point is not None:
        assert truth(premise, point)
        assert all(v.lo <= x <= v.hi for v, x in zip(VARIABLES, point, strict=True))
        assert all(x.denominator == 1 for v, x in zip(VARIABLES, point, strict=True) if v.discrete)
    if status == "unsat":
        assert not truth(premise, where)
        assert len(sample_rows(obligation, 8, seed)) == 0


def l2_rule(limit: Fraction) -> Obligation:
    """√(speed² + gap²) <= limit."""
    square = Sum((Product(Var(0), Var(0)), Product(Var(1), Var(1))))
    return obligation_of(And((Atom(Sum((Const(limit), Product(Const(Fraction(-1)), Sqrt(square)))), False),)))


@settings(max_examples=part_of(40), deadline=None)
@given(where=points(), limit=st.fractions(0, 3, max_denominator=4))
def test_roots_agree(where, limit):
    obligation = l2_rule(limit)
    expected = where[0] ** 2 + where[1] ** 2 <= limit**2
    assert truth(obligation.premise, where) == expected
    reading = read(obligation)
    solver = z3.Solver(ctx=reading.context)
    solver.add(reading.premise, reading.definitions, reading.inside(tuple((v, v) for v in where)))
    assert (str(solver.check()) == "sat") == expected


def test_a_contradictory_premise_is_unsat_and_a_root_can_be_shown():
    below = Atom(Sum((Var(0), Const(Fraction(-5, 2)))), False)
    assert satisfiable(obligation_of(And((below,)))) == ("unsat", None)
    rule = l2_rule(Fraction(1, 2))
    status, point = satisfiable(rule)
    assert status == "sat"
    assert point is not None
    assert set(named_records(rule, point)["a"]) == {"speed", "gap", "count"}


def test_max_of_opposites_pushes_the_rewards_apart():
    """|R - Q| >= 1 where R = Q: torch.maximum would give a gradient of 0."""
    call_r, call_q = (formula_call(name) for name in ("R", "Q"))
    difference = Sum((call_r, Product(Const(Fraction(-1)), call_q)))
    apart = Sum((Max((difference, Product(Const(Fraction(-1)), difference))), Const(Fraction(-1))))
    obligation = obligation_of(conclusion=Atom(apart, False))
    outputs = {name: torch.zeros(1, dtype=torch.float64, requires_grad=True) for name in ("R", "Q")}
    rewards = {name: (lambda x, out=out: out.expand(len(x))) for name, out in outputs.items()}
    found = penalty(obligation, rewards, torch.zeros(3, 4, dtype=torch.float64))
    found.sum().backward()
    assert found.tolist() == [1.0, 1.0, 1.0]
    assert outputs["R"].grad.item() != 0
    assert outputs["Q"].grad.item() != 0


def formula_call(name):
    return Call(name, (Var(0), Var(1), Var(2)))
