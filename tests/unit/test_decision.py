"""One claim to one verdict: the order of engines, and what each may say."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import get_args

import numpy as np
import pytest

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.graph import Abs, AffineMap, Graph, Input
from rewarden.spec_lang.errors import BindingError
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.engines import z3
from rewarden.verifier.options import Engine, VerifyOptions
from rewarden.verifier.unwritten import Unwritten
from rewarden.verifier.verdict import Verdict
from tests.reference.random_claims import atom, plain_claim
from tests.reference.random_graphs import TWO_REALS

QUICK = VerifyOptions(budget=40, falsify_budget=500, z3_rlimit=200_000)
NODES = (Input(), Abs(0), AffineMap(1, "w", "b"))
TENSORS = {"w": np.float32([[1, 1]]), "b": np.float32([0])}
SUM = Artifact((RewardRecord("s", TWO_REALS),), Graph(NODES, 2), TENSORS, "exact")  # |x| + |y|


def decided(*clauses, goals=(), options=QUICK, **kwargs):
    claim = plain_claim(TWO_REALS, {"R": SUM}, clauses=clauses, goals=goals)
    return verify_claim(claim, {"R": SUM}, options, **kwargs)


def test_proved_with_a_proof():
    result = decided(goals=[(atom(4, {}, {0: -1}),)])
    assert (result.verdict, result.engine, result.coverage) == (Verdict.PROVED, "bounds", 1.0)
    assert result.proof["witness"] is not None
    assert result.work.boxes > 0


def test_violated_by_search_after_no_more_than_a_glance():
    result = decided(goals=[(atom(2, {}, {0: -1}),)])
    assert (result.verdict, result.engine, result.work.boxes) == (Verdict.VIOLATED, "search", 1)
    assert result.proof is None
    unseen = decided(goals=[(atom(2, {}, {0: -1}),)], options=replace(QUICK, budget=0))
    assert (unseen.verdict, unseen.engine, unseen.work.boxes) == (Verdict.VIOLATED, "search", 0)


def test_vacuous_only_by_refutation():
    result = decided((atom(-2, {0: 1}),), goals=[(atom(2, {}, {0: -1}),)])
    assert result.verdict is Verdict.VACUOUS


def test_a_conclusion_without_goals_is_proved_with_a_point():
    for engine in ("auto", "z3"):
        result = decided(goals=(), options=replace(QUICK, engine=engine))
        assert result.verdict is Verdict.PROVED
        assert result.premise_witness is not None


@pytest.mark.parametrize("engine", get_args(Engine))
def test_a_conclusion_that_no_number_meets_is_violated_or_open(engine):
    for clauses in ((), [(atom(-1, {0: 1}),)]):  # x >= 1, for a premise
        result = decided(*clauses, goals=[()], options=replace(QUICK, engine=engine, falsify_budget=0))
        assert result.verdict is Verdict.VIOLATED or (engine != "auto" and result.verdict is Verdict.UNKNOWN)


def test_z3_settles_what_bounds_leave():
    # |x| + |y| <= 1 + y, with equality on two sides of the box
    goal = (atom(1, {1: 1}, {0: -1}),)
    result = decided(goals=[goal], options=replace(QUICK, budget=0))
    assert (result.verdict, result.engine) == (Verdict.PROVED, "bounds and z3")
    assert isinstance(result.proof, Unwritten)
    assert result.work.z3_rlimit > 0
    alone = decided(goals=[goal], options=replace(QUICK, budget=0, engine="bounds"))
    assert (alone.verdict, alone.engine, alone.work.z3_rlimit) == (Verdict.UNKNOWN, "bounds", 0)


def test_large_rewards_are_not_given_to_z3_unasked(monkeypatch):
    monkeypatch.setattr(z3, "AUTO_UNSTABLE", 1)  # |x| has two relus that may go either way
    goal = (atom(1, {1: 1}, {0: -1}),)
    result = decided(goals=[goal], options=replace(QUICK, budget=0))
    assert (result.verdict, result.engine, result.work.z3_rlimit) == (Verdict.UNKNOWN, "cells", 0)
    asked = decided(goals=[goal], options=replace(QUICK, engine="z3"))
    assert asked.verdict is Verdict.PROVED


def test_premises_without_a_point_leave_unknown_and_not_proved():
    # The premise |x| + |y| <= 0 holds at the origin alone: the search misses it, z3 within its limit finds it.
    origin = (atom(0, {}, {0: -1}),)
    goal = (atom("1/8", {0: -1}),)
    assert decided(origin, goals=[goal]).verdict is Verdict.PROVED
    starved = decided(origin, goals=[goal], options=replace(QUICK, falsify_budget=0, z3_rlimit=1))
    assert starved.verdict is Verdict.UNKNOWN


def test_the_claim_names_its_artifacts():
    claim = plain_claim(TWO_REALS, {"R": SUM}, goals=[(atom(4, {}, {0: -1}),)])
    other = replace(SUM, tensors={**TENSORS, "b": np.float32([1])})
    with pytest.raises(BindingError, match="B32"):
        verify_claim(claim, {"R": other}, QUICK)
    with pytest.raises(BindingError, match="B30"):
        verify_claim(claim, {}, QUICK)


def test_a_time_limit_only_stops():
    result = decided(goals=[(atom(3, {}, {0: -1}),)], options=replace(QUICK, time_limit=1e-9))
    assert result.verdict is Verdict.UNKNOWN
    generous = decided(goals=[(atom(3, {}, {0: -1}),)], options=replace(QUICK, time_limit=1e6))
    plain = decided(goals=[(atom(3, {}, {0: -1}),)])
    assert generous.to_json() == plain.to_json()


def test_data_rows_seed_the_search():
    narrow = plain_claim(TWO_REALS, {"R": SUM}, goals=[(atom(2, {}, {0: -1}),)])
    rows = {"Point": np.array([[1.0, 2.0]])}
    found = verify_claim(narrow, {"R": SUM}, replace(QUICK, falsify_budget=60), rows=rows).witness
    assert found is not None
    assert found.violation <= Fraction(1)


@pytest.mark.parametrize(("limit", "strict"), [(4, False), (4, True), (Fraction(399, 100), False)])
def test_a_linear_reward_is_settled_at_once_and_exactly(limit, strict):
    """Its greatest value is at a corner of the box: no point is searched for, no box is cut."""
    graph = Graph((Input(), AffineMap(0, "w", "b")), 1)
    tensors = {"w": np.float32([[1, -1]]), "b": np.float32([0])}
    rewards = {"R": Artifact((RewardRecord("s", TWO_REALS),), graph, tensors, "exact")}
    claim = plain_claim(TWO_REALS, rewards, goals=[(atom(limit, {}, {0: -1}, strict=strict),)])
    box = claim.boxes[0]
    most = box[0][1] - box[1][0]
    claim = replace(claim, goals=((atom(most + limit - 4, {}, {0: -1}, strict=strict),),))
    result = verify_claim(claim, rewards, QUICK)
    assert result.verdict is (Verdict.PROVED if limit == 4 and not strict else Verdict.VIOLATED)
    assert (result.engine, result.work.boxes) == ("bounds", 1)
