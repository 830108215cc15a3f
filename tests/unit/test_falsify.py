"""Hard examples do get found: thin wedges, corners, discrete needles, one bad row among many, relational violations."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.graph import AffineMap, Graph, Input, Relu
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.verifier import falsify as falsifying
from rewarden.verifier.falsify import Course, falsify, search_premise
from rewarden.verifier.inline import compile_program
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.premise import find_premise
from tests.reference.how_many import ALL
from tests.reference.random_claims import atom, plain_claim, random_claim
from tests.reference.random_graphs import MIXED, TWO_REALS, random_mlp, seeds

OPTIONS = VerifyOptions(falsify_budget=12_000)


def network(layers, record) -> Artifact:
    """ReLU layers [(weight, bias), …] without an activation after the last."""
    nodes, tensors = [Input()], {}
    for k, (weight, bias) in enumerate(layers):
        tensors[f"w{k}"], tensors[f"b{k}"] = np.float32(weight), np.float32(bias)
        nodes.append(AffineMap(len(nodes) - 1, f"w{k}", f"b{k}"))
        if k + 1 < len(layers):
            nodes.append(Relu(len(nodes) - 1))
    return Artifact((RewardRecord("s", record),), Graph(tuple(nodes), len(nodes) - 1), tensors, "exact")


def reals(n: int) -> RecordType:
    return RecordType("P", (Feature("e", "real", Fraction(-1), Fraction(1), None, (), n),))


def search(claim, rewards, rows=None, options=OPTIONS):
    return falsify(compile_program(claim, rewards), rewards, options, rows)


def bump(n: int, centre, width: float) -> Artifact:
    """max(0, 1 − Σ|x − centre|/width), positive in a small diamond only."""
    eye = np.eye(n)
    first = (np.vstack([eye, -eye]), np.concatenate([-np.array(centre), np.array(centre)]))
    second = (np.full((1, 2 * n), -1 / width), [1.0])
    return network([first, second, ([[1.0]], [0.0])], reals(n))


def test_a_bump_that_fills_a_millionth_of_the_box():
    rewards = {"R": bump(3, [0.31, -0.62, 0.17], 0.03)}
    claim = plain_claim(reals(3), rewards, goals=[(atom("1/2", {}, {0: -1}),)])
    rows = {"P": np.array([[0.9, 0.9, 0.9], [0.3, -0.61, 0.17]])}
    assert search(claim, rewards, rows).witness is not None  # a data row stands near by


def test_the_one_bad_corner_of_a_thousand():
    rewards = {"R": network([(np.ones((1, 10)), [-9.9]), ([[1.0]], [0.0])], reals(10))}
    claim = plain_claim(reals(10), rewards, goals=[(atom("9/100", {}, {0: -1}),)])  # only near (1, …, 1)
    found = search(claim, rewards).witness
    assert found is not None
    assert found.violation > 0


def test_a_strict_goal_that_fails_at_one_point_only():
    rewards = {"R": network([([[1.0, 1.0]], [0.0])], TWO_REALS)}
    claim = plain_claim(TWO_REALS, rewards, goals=[(atom(3, {}, {0: -1}, strict=True),)])  # R < 3, and 3 at (1, 2)
    found = search(claim, rewards).witness
    assert found is not None
    assert found.point == (1, 2)


def test_a_discrete_needle():
    zone = RecordType("Z", tuple(Feature(f"b{i}", "bool", Fraction(0), Fraction(1)) for i in range(12)))
    wanted = np.array([1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 1, 0])
    rewards = {"R": network([([2.0 * wanted - 1.0], [0.5 - wanted.sum()]), ([[1.0]], [0.0])], zone)}
    claim = plain_claim(zone, rewards, goals=[(atom(0, {}, {0: -1}),)])  # one of 4,096 settings pays
    found = search(claim, rewards).witness
    assert found is not None
    assert [int(v) for v in found.point] == wanted.tolist()


def test_the_bad_row_among_many_boxes():
    rewards = {"R": network([([[1.0, 0.0]], [0.0])], TWO_REALS)}
    boxes = [((Fraction(k, 1000), Fraction(k + 1, 1000)), (Fraction(0), Fraction(1))) for k in range(900)]
    claim = plain_claim(TWO_REALS, rewards, goals=[(atom("8995/10000", {}, {0: -1}),)], boxes=boxes)
    found = search(claim, rewards).witness
    assert found is not None
    assert found.box == 899


def test_a_relational_violation_with_a_thin_premise():
    rewards = {"R": network([([[3.0, 1.0], [3.0, 1.0]], [0.0, -1.5]), ([[1.0, -1.01]], [0.0])], TWO_REALS)}
    wedge = [(atom(0, {2: 1, 0: -1}),), (atom("1/10000", {2: -1, 0: 1}),)]  # a.x <= b.x <= a.x + 0.0001
    claim = plain_claim(
        TWO_REALS, rewards, records=("a", "b"), varying=("x",), clauses=wedge, goals=[(atom(0, {}, {1: 1, 0: -1}),)]
    )
    found = search(claim, rewards).witness
    assert found is not None
    assert found.violation > 0


def test_a_premise_on_the_reward_itself():
    rewards = {"R": network([([[1.0, 0.0]], [0.0])], TWO_REALS), "S": network([([[-1.0, 1.0]], [0.0])], TWO_REALS)}
    claim = plain_claim(
        TWO_REALS, rewards, clauses=[(atom("-9/10", {}, {0: 1}),)], goals=[(atom("105/100", {}, {1: -1}),)]
    )  # R >= 0.9 implies S <= 1.05
    assert search(claim, rewards).witness is not None


@settings(max_examples=8 if ALL else 4, deadline=None)
@given(seeds)
def test_the_search_is_deterministic_and_keeps_its_budget(seed):
    rng = np.random.default_rng(seed)
    rewards = {"R": random_mlp(rng, MIXED)}
    claim = random_claim(rng, MIXED, rewards)
    options = VerifyOptions(falsify_budget=2000, seed=seed % 1000)
    first, second = (search(claim, rewards, options=options) for _ in range(2))
    assert first == second
    assert first.points <= 2 * options.falsify_budget


@pytest.mark.parametrize("budget", [0, 1, 7, 100])
def test_small_budgets_are_fine(budget):
    rewards = {"R": random_mlp(np.random.default_rng(0), MIXED)}
    claim = plain_claim(MIXED, rewards, goals=[(atom(1000, {}, {0: 1}),)])
    assert search(claim, rewards, options=VerifyOptions(falsify_budget=budget)).witness is None


def test_stop_stops():
    rewards = {"R": random_mlp(np.random.default_rng(0), MIXED)}
    claim = plain_claim(MIXED, rewards, goals=[(atom(1000, {}, {0: 1}),)])
    assert falsify(compile_program(claim, rewards), rewards, OPTIONS, stop=lambda: True).points == 0


@pytest.mark.parametrize("after", [2, 28, 40])
def test_a_stop_within_a_round_is_heard_and_that_round_is_done_again(after):
    """`after`: in the first ascent, in the first polish, in the second ascent."""
    rewards = {"R": random_mlp(np.random.default_rng(0), reals(8), (8, 8))}
    claim = plain_claim(reals(8), rewards, goals=[(atom(10**6, {}, {0: -1}),)])
    program, asked, course = compile_program(claim, rewards), [], Course()

    def stop():
        asked.append(course.rounds)
        return len(asked) > after

    whole = falsify(program, rewards, OPTIONS)
    first = falsify(program, rewards, OPTIONS, stop=stop, course=course)
    assert asked[after] == course.rounds  # within a round, which is not among those that have ended
    assert first.points > course.points
    assert falsify(program, rewards, OPTIONS, course=course).points == whole.points


def test_nothing_is_drawn_first_for_very_many_columns(monkeypatch):
    """Of a premise that holds as good as everywhere the first points will do: ascents of many columns take seconds."""
    monkeypatch.setattr(falsifying, "MANY", 7)
    monkeypatch.setattr(falsifying._Search, "_ascend", None)
    rewards = {"R": network([(np.ones((1, 8)), [0.0])], reals(8))}
    claim = plain_claim(reals(8), rewards, clauses=[(atom("1/2", {0: 1}),)], goals=[(atom(10**6, {}, {0: -1}),)])
    assert search_premise(compile_program(claim, rewards), rewards, OPTIONS).witness is not None


def test_a_search_that_was_stopped_leaves_nothing_to_z3(monkeypatch):
    """Exact programs of wide rewards take seconds, and there is nobody who waits for them."""
    monkeypatch.setattr("rewarden.verifier.premise._by_z3", None)
    rewards = {"R": network([([[1.0, 1.0]], [0.0])], TWO_REALS)}
    claim = plain_claim(TWO_REALS, rewards, goals=[(atom(3, {}, {0: -1}),)])
    assert find_premise(compile_program(claim, rewards), rewards, OPTIONS, stop=lambda: True).status == "open"


def test_a_conclusion_that_is_false_outright():
    rewards = {"R": random_mlp(np.random.default_rng(0), MIXED)}
    for clauses in ([], [(atom(-2, {0: 1}, strict=True),)]):
        found = search(plain_claim(MIXED, rewards, clauses=clauses, goals=[()]), rewards).witness
        assert found.goal_margins == ()
        assert found.deployed == "violated"
    always = plain_claim(MIXED, rewards, goals=[(atom(1),)])
    assert search(always, rewards).witness is None
    assert search(plain_claim(MIXED, rewards), rewards).witness is None


# ── premises ───────────────────────────────────────────────────────────────────────────────────
def test_a_premise_point_is_well_inside_and_float32():
    rewards = {"R": random_mlp(np.random.default_rng(0), MIXED)}
    claim = plain_claim(MIXED, rewards, clauses=[(atom(-2, {0: 1}, strict=True),), (atom(-1, {6: 1}),)], goals=[()])
    found = search_premise(compile_program(claim, rewards), rewards, OPTIONS).witness
    assert found is not None
    assert found.values()["s"]["zone"] == "charger"
    assert found.values()["s"]["speed"] > 2.1
    assert found.calls[0].exact_arguments


def test_equalities_are_left_to_z3():
    rewards = {"R": random_mlp(np.random.default_rng(0), TWO_REALS)}
    line = [(atom("-1/3", {0: 1, 1: 1}),), (atom("1/3", {0: -1, 1: -1}),)]  # x + y = 1/3 exactly
    claim = plain_claim(TWO_REALS, rewards, clauses=line, goals=[(atom(0, {}, {0: 1}),)])
    premise = find_premise(compile_program(claim, rewards), rewards, OPTIONS)
    assert premise.status == "found"
    assert sum(premise.witness.point) == Fraction(1, 3)


def test_an_empty_premise_is_refuted_and_not_merely_missed():
    rewards = {"R": random_mlp(np.random.default_rng(0), TWO_REALS)}
    crossed = [(atom(0, {0: 1, 1: -1}, strict=True),), (atom(0, {0: -1, 1: 1}),)]  # x > y and x <= y
    claim = plain_claim(TWO_REALS, rewards, clauses=crossed, goals=[(atom(0, {}, {0: 1}),)])
    assert find_premise(compile_program(claim, rewards), rewards, OPTIONS).status == "empty"
    false = plain_claim(TWO_REALS, rewards, clauses=[()], goals=[(atom(0, {}, {0: 1}),)])
    assert find_premise(compile_program(false, rewards), rewards, OPTIONS).status == "empty"


def test_equalities_with_simple_numbers_are_met_by_the_search():
    rewards = {"R": network([([[1.0, 0.0]], [0.0])], TWO_REALS)}
    third = [(atom("-1/3", {0: 1}),), (atom("1/3", {0: -1}),), (atom(-1, {1: 1}),)]  # x = 1/3 and y >= 1
    claim = plain_claim(TWO_REALS, rewards, clauses=third, goals=[(atom("1/3", {}, {0: -1}, strict=True),)])
    found = search(claim, rewards).witness
    assert found is not None
    assert found.point[0] == Fraction(1, 3)


def test_equality_in_a_disjunction():
    rewards = {"R": network([([[1.0, 1.0]], [0.0])], TWO_REALS)}
    either = [(atom(-2, {1: 1}), atom(0, {0: 1})), (atom(-2, {1: 1}), atom(0, {0: -1}))]  # y = 2 or x = 0
    claim = plain_claim(TWO_REALS, rewards, clauses=either, goals=[(atom("5/2", {}, {0: -1}),)])
    assert search(claim, rewards).witness is not None


@pytest.mark.parametrize("at_once", [True, False])
def test_a_premise_of_many_clauses_is_met_whether_they_are_asked_at_once_or_not(at_once, monkeypatch):
    """A needle between 48 half-planes, and 40 clauses of several atoms that most points satisfy."""
    monkeypatch.setattr(falsifying, "FEW_CLAUSES", 0 if at_once else 1000)
    rewards = {"R": network([([[1.0, 1.0]], [0.0])], TWO_REALS)}
    claim = plain_claim(TWO_REALS, rewards, goals=[(atom(-100, {}, {0: 1}),)])
    turns = [(Fraction(float(np.cos(t))), Fraction(float(np.sin(t)))) for t in np.linspace(0, 6.2, 48)]
    needle = [(atom(u * Fraction(3, 5) + v * Fraction(7, 5) + Fraction(1, 500), {0: -u, 1: -v}),) for u, v in turns]
    away = [(atom(-k, {0: 40}), atom(k - 1, {0: -40}), atom(-2, {1: 4})) for k in range(-20, 20)]
    claim = replace(claim, clauses=(*needle, *away))
    found = search_premise(compile_program(claim, rewards), rewards, OPTIONS)
    assert found.witness is not None
    x, y = found.witness.point[:2]
    assert abs(x - Fraction(3, 5)) < Fraction(1, 100)
    assert abs(y - Fraction(7, 5)) < Fraction(1, 100)
