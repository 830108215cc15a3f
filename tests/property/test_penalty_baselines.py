"""The baselines of the benchmark mean what their papers say: else beating them means nothing."""

from __future__ import annotations

from fractions import Fraction

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.logics import Fuzzy, dl2
from rewarden.spec_lang.evaluate import truth
from rewarden.spec_lang.obligation import TRUE, Atom, Const, Sum, Var
from rewarden.spec_lang.penalty.reading import Reading, asking
from tests.reference.random_obligations import (
    MEDIAN,
    STATISTICS,
    exact_reward,
    exact_statistic,
    formulas,
    obligation_of,
    points,
    reward_value,
)

REWARDS = {name: (lambda x, name=name: reward_value(name, x.unbind(1), torch.maximum)) for name in ("R", "Q")}


def reading(where):
    rows = torch.tensor([[float(v) for v in values] for values in where], dtype=torch.float64)
    return Reading(rows, asking(REWARDS, torch.float64), {MEDIAN: STATISTICS[MEDIAN]})


@settings(max_examples=100, deadline=None)
@given(
    premise=formulas(False, with_calls=False, max_leaves=3),
    conclusion=formulas(False, max_leaves=3),
    where=st.lists(points(False), min_size=1, max_size=4),
)
def test_dl2_is_zero_exactly_where_the_implication_holds(premise, conclusion, where):
    loss = dl2(obligation_of(premise, conclusion), reading(where))
    holds = [not truth(premise, values) or truth(conclusion, values, exact_reward, exact_statistic) for values in where]
    assert (loss >= 0).all()
    assert (loss == 0).tolist() == holds


@settings(max_examples=60, deadline=None)
@given(
    premise=formulas(False, with_calls=False, max_leaves=3),
    conclusion=formulas(False, max_leaves=3),
    where=st.lists(points(False), min_size=1, max_size=4),
)
def test_fuzzy_losses_are_degrees(premise, conclusion, where):
    loss = Fuzzy()(obligation_of(premise, conclusion), reading(where))
    assert ((loss >= 0) & (loss <= 1)).all()


@given(values=st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0]), min_size=2, max_size=2))
def test_fuzzy_truth_grows_with_the_margin(values):
    lower, higher = sorted(values)
    rule = obligation_of(TRUE, Atom(Sum((Var(0), Const(Fraction(1, 2)))), False))
    loss = Fuzzy()(rule, reading([(lower, 0, 0, 0), (higher, 0, 0, 0)]))
    assert loss[0] >= loss[1]
