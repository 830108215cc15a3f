"""The penalty of random obligations: zero exactly where they hold, never flat where they are broken, always finite."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
import z3
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from rewarden.spec_lang.evaluate import truth
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
from rewarden.spec_lang.penalty.pointwise import penalty
from rewarden.spec_lang.penalty.program import compile_penalty
from rewarden.spec_lang.penalty.reading import LARGEST, soft_sum
from rewarden.spec_lang.penalty.share import opposite
from rewarden.spec_lang.sampling.row_truth import RowTruth
from tests.reference.how_many import part_of
from tests.reference.random_obligations import (
    MEDIAN,
    STATISTICS,
    VARIABLES,
    affine_terms,
    exact_reward,
    exact_statistic,
    formulas,
    obligation_of,
    points,
    reward_value,
)

F = Fraction
KNOWN = {MEDIAN: STATISTICS[MEDIAN]}


def torch_reward(name):
    return lambda x: reward_value(name, x.unbind(1), torch.maximum)


REWARDS = {name: torch_reward(name) for name in ("R", "Q")}


def tensor(where):
    return torch.tensor([[float(v) for v in values] for values in where], dtype=torch.float64)


# ── an independent reading: could any outputs satisfy the formula here? ────────────────────────
class Oracle:
    """Z3 over one real unknown per call, everything else put in."""

    def __init__(self, values):
        self.values = values
        self.unknown: dict[Call, z3.ArithRef] = {}

    def possible(self, formula: Formula) -> bool:
        solver = z3.Solver()
        solver.add(self.formula(formula))
        return solver.check() == z3.sat

    def formula(self, formula: Formula):
        match formula:
            case And(parts):
                return z3.And([self.formula(p) for p in parts])
            case Or(parts):
                return z3.Or([self.formula(p) for p in parts])
            case Atom(term, strict):
                return self.term(term) > 0 if strict else self.term(term) >= 0

    def term(self, term: Term):
        match term:
            case Const(value):
                return z3.RealVal(str(value))
            case Var(index):
                return z3.RealVal(str(self.values[index]))
            case Statistic():
                return z3.RealVal(str(STATISTICS[term]))
            case Call():
                return self.unknown.setdefault(term, z3.Real(f"y{len(self.unknown)}"))
            case Sum(terms):
                return z3.Sum([z3.RealVal(0), *(self.term(t) for t in terms)])
            case Product(left, right):
                return self.term(left) * self.term(right)
            case Min(terms) | Max(terms):
                found, *rest = [self.term(t) for t in terms]
                for other in rest:
                    keep = found <= other if isinstance(term, Min) else found >= other
                    found = z3.If(keep, found, other)
                return found
            case Ite(condition, then, otherwise):
                return z3.If(self.formula(condition), self.term(then), self.term(otherwise))


class Watched:
    """Rewards whose outputs are leaves, so that the gradient with respect to them can be read off."""

    def __init__(self):
        self.outputs = []

    def __getitem__(self, name):
        def reward(x):
            output = REWARDS[name](x).detach().requires_grad_()
            self.outputs.append(output)
            return output

        return reward

    def __contains__(self, name):
        return name in REWARDS

    @property
    def pulled(self):
        return any(out.grad is not None and bool((out.grad != 0).any()) for out in self.outputs)


CALL_R, CALL_Q = (Call(name, (Var(0), Var(1), Var(2))) for name in ("R", "Q"))


def above(call, c):
    return Atom(Sum((call, Const(F(-c)))), False)


def below(call, c):
    return Atom(Sum((Product(Const(F(-1)), call), Const(F(c)))), False)


@pytest.mark.parametrize("temperature", [None, 0.5])
@settings(max_examples=part_of(150), deadline=None)
@given(conclusion=formulas(False, max_leaves=5), values=points(False))
# The sum over (R >= 1 or R <= -1) and R <= 1/2 is flat between 1/2 and 1: R has to go down to -1.
@example(
    conclusion=And((Or((above(CALL_R, 1), below(CALL_R, -1))), below(CALL_R, F("1/2")))),
    values=(F("3/4"), F(0), F(0), F(0)),
)
@example(conclusion=Or((Atom(Const(F(0)), False), Atom(Product(Const(F(0)), CALL_R), False))), values=(F(0),) * 4)
@example(
    conclusion=Or((And((above(CALL_R, 2), below(CALL_R, 1))), above(CALL_Q, 9))), values=(F("3/2"), F(0), F(0), F(0))
)
def test_what_is_broken_and_can_be_mended_has_a_gradient(temperature, conclusion, values):
    obligation = obligation_of(conclusion=conclusion)
    assume(not compile_penalty(obligation).others)
    rewards = Watched()
    found = penalty(obligation, rewards, tensor([values]), temperature, KNOWN)
    assert (found.item() == 0) == truth(conclusion, values, exact_reward, exact_statistic)
    if found.item() > 0 and Oracle(values).possible(conclusion):
        found.sum().backward()
        assert rewards.pulled


@pytest.mark.parametrize("temperature", [None, 0.25])
@settings(max_examples=part_of(60), deadline=None)
@given(
    premise=formulas(False, max_leaves=3),
    conclusion=formulas(False, max_leaves=5),
    where=st.lists(points(False), min_size=2, max_size=5),
)
def test_many_points_are_as_one_by_one(temperature, premise, conclusion, where):
    obligation = obligation_of(premise, conclusion)
    together = penalty(obligation, REWARDS, tensor(where), temperature, KNOWN)
    alone = [penalty(obligation, REWARDS, tensor([values]), temperature, KNOWN).item() for values in where]
    assert together.tolist() == pytest.approx(alone, rel=1e-12)
    assert (together == 0).tolist() == [value == 0 for value in alone]


@settings(max_examples=part_of(60), deadline=None)
@given(conclusion=formulas(False, max_leaves=5), values=points(False), margin=st.sampled_from([0.25, 1.0, 3.0]))
def test_a_margin_asks_for_more(conclusion, values, margin):
    """What holds with a margin holds without, and what is broken without is broken more with."""
    obligation = obligation_of(conclusion=conclusion)
    with_margin = penalty(obligation, REWARDS, tensor([values]), None, KNOWN, margin).item()
    assert with_margin >= 0
    if with_margin == 0:
        assert truth(conclusion, values, exact_reward, exact_statistic)


@settings(max_examples=part_of(60), deadline=None)
@given(bound=affine_terms(False), values=points(False), margin=st.sampled_from([0.0, 0.25, 1.0]), strict=st.booleans())
def test_a_margin_is_met_from_there_on(bound, values, margin, strict):
    atom = Atom(Sum((CALL_R, bound)), strict)
    found = penalty(obligation_of(conclusion=atom), REWARDS, tensor([values]), margin=margin).item()
    reached = exact_reward("R", values[:3]) + sum_value(bound, values) - F(margin)
    assert (found == 0) == (reached > 0 if strict and margin == 0 else reached >= 0)


def sum_value(term, values):
    match term:
        case Const(value):
            return value
        case Var(index):
            return values[index]
        case Sum(terms):
            return sum((sum_value(t, values) for t in terms), F(0))
        case Product(left, right):
            return sum_value(left, values) * sum_value(right, values)


LEVELS = [0.0, 1e-45, 1e-30, 3.4e38, -3.4e38, 1e60, -1e60, LARGEST]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [None, 1e-6, 1.0, 1e6])
@settings(max_examples=part_of(40), deadline=None)
@given(
    conclusion=formulas(False, max_leaves=5),
    levels=st.tuples(st.sampled_from(LEVELS), st.sampled_from(LEVELS)),
    where=st.lists(points(False), min_size=1, max_size=3),
)
def test_extreme_outputs_give_finite_penalties_and_gradients(dtype, temperature, conclusion, levels, where):
    largest = min(LARGEST, torch.finfo(dtype).max)
    weights = [torch.tensor(max(-largest, min(largest, v)), dtype=dtype, requires_grad=True) for v in levels]
    rewards = {name: (lambda x, w=w: w.expand(len(x))) for name, w in zip(("R", "Q"), weights, strict=True)}
    found = penalty(obligation_of(conclusion=conclusion), rewards, tensor(where), temperature, KNOWN)
    assert torch.isfinite(found).all()
    if found.requires_grad:
        found.sum().backward()
        assert all(w.grad is None or torch.isfinite(w.grad) for w in weights)


@settings(max_examples=part_of(100), deadline=None)
@given(formula=formulas(max_leaves=5), values=points())
def test_the_opposite_is_the_negation(formula, values):
    assert truth(opposite(formula), values, exact_reward, exact_statistic) != truth(
        formula, values, exact_reward, exact_statistic
    )


@settings(max_examples=part_of(200), deadline=None)
@given(formula=formulas(with_calls=False, max_leaves=6), where=st.lists(points(False), min_size=1, max_size=6))
def test_compiled_truth_is_exact(formula, where):
    rows = np.array([[float(v) for v in values] for values in where])
    assert RowTruth(formula, len(VARIABLES))(rows).tolist() == [truth(formula, values) for values in where]


@settings(max_examples=part_of(200), deadline=None)
@given(
    c=st.sampled_from(["1", "-1", "1/3", "-7/5", "1/10", "1000003/7"]),
    k=st.sampled_from(["0", "1/10", "-1/3", "2/7", "-5"]),
    strict=st.booleans(),
    steps=st.integers(-2, 2),
)
def test_thresholds_are_met_to_the_last_bit(c, k, strict, steps):
    """One variable next to −k/c, a few binary64 up or down."""
    x = float(-F(k) / F(c))
    for _ in range(abs(steps)):
        x = float(np.nextafter(x, np.inf if steps > 0 else -np.inf))
    atom = Atom(Sum((Product(Const(F(c)), Var(0)), Const(F(k)))), strict)
    assert RowTruth(atom, 1)(np.array([[x]])).tolist() == [truth(atom, [F(x)])]


@given(v=st.floats(0, 1e300), temperature=st.sampled_from([1e-6, 1e-3, 1.0]))
def test_one_violation_is_its_own_soft_sum(v, temperature):
    total = soft_sum(torch.tensor([[v]], dtype=torch.float64), temperature).item()
    assert total == pytest.approx(v, rel=1e-9, abs=temperature * 1e-12)


@settings(max_examples=part_of(200), deadline=None)
@given(
    where=st.tuples(*[st.floats(-1e3, 1e3).map(lambda x: x + 0.0)] * 3),
    factors=st.tuples(*[st.sampled_from(["1", "-1", "1/3", "22/7", "-1/10"])] * 3),
    off=st.sampled_from(["0", "1", "-1"]),
    strict=st.booleans(),
)
def test_margins_too_small_for_floats_are_decided_exactly(where, factors, off, strict):
    """Σ cₖ·xₖ − (its exact value) + 0 or ±2⁻⁸⁰: no binary64 sum can tell."""
    exact = sum((F(c) * F(x) for c, x in zip(factors, where, strict=True)), F(0))
    constant = -exact + F(off) / 2**80
    terms = tuple(Product(Const(F(c)), Var(k)) for k, c in enumerate(factors))
    atom = Atom(Sum((*terms, Const(constant))), strict)
    assert RowTruth(And((atom,)), 3)(np.array([where])).tolist() == [F(off) > 0 if strict else F(off) >= 0]


SQUARES = Sum((Product(Var(0), Var(0)), Product(Var(1), Var(1))))


@settings(max_examples=part_of(200), deadline=None)
@given(
    where=points(False),
    c=st.sampled_from(["1", "-1", "-1/2", "3"]),
    bound=affine_terms(False),
    strict=st.booleans(),
)
@example(where=(F("3/2"), F(2), F(0), F(0)), c="-1", bound=Const(F("5/2")), strict=True)  # a root that is met exactly
@example(where=(F(0), F(0), F(0), F(0)), c="1", bound=Const(F(0)), strict=True)
def test_roots_are_judged_exactly(where, c, bound, strict):
    atom = Atom(Sum((Product(Const(F(c)), Sqrt(SQUARES)), bound)), strict)
    rows = np.array([[float(v) for v in where]])
    assert RowTruth(atom, 4)(rows).tolist() == [truth(atom, where)]


@settings(max_examples=part_of(200), deadline=None)
@given(
    where=points(False),
    c=st.sampled_from(["1", "-1", "-1/3"]),
    bound=affine_terms(False),
    below=st.sampled_from(["5/2", "-5/2"]),
    strict=st.booleans(),
)
def test_quotients_are_judged_exactly(where, c, bound, below, strict):
    """speed / (gap ± 5/2): positive or negative wherever gap is in its range."""
    quotient = Quotient(Var(0), Sum((Var(1), Const(F(below)))))
    atom = Atom(Sum((bound, Product(Const(F(c)), quotient))), strict)
    rows = np.array([[float(v) for v in where]])
    assert RowTruth(And((atom,)), 4)(rows).tolist() == [truth(atom, where)]
