"""The lp engine by example: equality, parts with facts, gates, what it declines, work that goes on."""

from __future__ import annotations

import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.graph import Abs, AffineMap, Graph, Input, Patch, Relu
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.engines import lp
from rewarden.verifier.engines.interface import Declined, Part, Task
from rewarden.verifier.inline import compile_program
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.unwritten import Unwritten
from rewarden.verifier.verdict import Reason, Verdict
from tests.reference.random_claims import atom, plain_claim
from tests.reference.random_graphs import TWO_REALS, random_mlp

ALONE = VerifyOptions(engine="lp", budget=2_000, falsify_budget=0)
CEILING = Patch("ceiling", "rows", "offsets", "level", "slope", "delta", "gate", "rule")


def reward(nodes, output, tensors, patches=()) -> Artifact:
    arrays = {k: np.asarray(v, dtype=np.float32) for k, v in tensors.items()}
    graph = Graph(tuple(nodes), output)
    return Artifact((RewardRecord("s", TWO_REALS),), graph, arrays, "exact", patches=tuple(patches))


SUM_NODES, SUM_TENSORS = (Input(), Abs(0), AffineMap(1, "w", "b")), {"w": [[1, 1]], "b": [0]}
SUM = reward(SUM_NODES, 2, SUM_TENSORS)  # |x| + |y|, x in −1..1, y in 0..2


def task_of(claim, artifact=SUM, options=ALONE, stop=lambda: False) -> Task:
    program = compile_program(claim, {"R": artifact})
    return Task(claim, program, {"R": artifact}, options, {}, lambda _: None, stop, time.monotonic())


def decided(goal, *, clauses=(), artifact=SUM, options=ALONE):
    claim = plain_claim(TWO_REALS, {"R": artifact}, goals=[goal], clauses=clauses)
    return verify_claim(claim, {"R": artifact}, options)


def test_rules_that_hold_by_equality_alone():
    result = decided((atom(0, {0: -1, 1: -1}, {0: 1}),))  # |x| + |y| >= x + y, equal on a quadrant
    assert (result.verdict, result.engine, result.reason) == (Verdict.PROVED, "lp", Reason.LP)
    assert result.work.lps > 0
    assert isinstance(result.proof, Unwritten)
    strict = decided((atom(0, {0: -1, 1: -1}, {0: 1}, strict=True),))
    assert strict.verdict is Verdict.VIOLATED
    third = Fraction(1, 3)
    claim = plain_claim(TWO_REALS, {"R": SUM}, goals=[(atom(third, {}, {0: 1}),)])
    assert verify_claim(claim, {"R": SUM}, ALONE).verdict is Verdict.PROVED
    edge = decided((atom(0, {}, {0: 1}, strict=True),), clauses=[(atom(0, {0: 1}, strict=True),)])
    assert edge.verdict is Verdict.PROVED  # |x| + |y| > 0 where x > 0: at the edge of the strict premise it is 0


def test_it_takes_its_turn_in_auto():
    """max(x, y) >= (3·x + 2·y)/5, equal where x = y: a slope of 3/5 proves it, and no cut of a box helps."""
    nodes = (Input(), AffineMap(0, "v", "c"), Relu(1), AffineMap(2, "w", "b"))
    larger = reward(nodes, 3, {"v": [[1, -1], [0, 1]], "c": [0, 0], "w": [[1, 1]], "b": [0]})
    options = VerifyOptions(budget=1_000, falsify_budget=100, z3_rlimit=1)
    result = decided((atom(0, {0: "-3/5", 1: "-2/5"}, {0: 1}),), artifact=larger, options=options)
    assert (result.verdict, result.engine) == (Verdict.PROVED, "bounds and lp")


def test_parts_and_their_facts():
    low = (atom("-1/2", {0: 1}), atom("-3/2", {1: 1}))  # x >= 1/2 or y >= 3/2
    claim = plain_claim(TWO_REALS, {"R": SUM}, clauses=[low], goals=[(atom("-3/2", {}, {0: 1}),)])  # R >= 3/2
    task = task_of(claim)
    first, second = ([Part(0, 0, claim.boxes[0], ((0, a),))] for a in (0, 1))
    assert lp.start(task, first).go(100).status == "violated"
    assert lp.start(task, second).go(100).status == "proved"
    assert (
        lp.start(task, [Part(0, 0, ((Fraction(0), Fraction(1, 4)), (Fraction(0), Fraction(1))))]).go(9).status
        == "proved"
    )


def test_gates_are_cases():
    tensors = {**SUM_TENSORS, "rows": [[1, 0]], "offsets": [0], "level": [1], "slope": [4], "delta": [0], "gate": [0.5]}
    patched = reward(SUM_NODES, 2, tensors, [CEILING])
    cap = (atom(1, {}, {0: -1}),)
    assert decided(cap, clauses=[(atom(0, {0: -1}),)], artifact=patched).verdict is Verdict.PROVED
    assert decided(cap, clauses=[(atom("-1/2", {0: 1}),)], artifact=patched).verdict is Verdict.VIOLATED


def test_work_is_counted_and_goes_on():
    rng = np.random.default_rng(3)
    network = random_mlp(rng, TWO_REALS, (8, 8))
    claim = plain_claim(
        TWO_REALS, {"R": network}, goals=[(atom(0, {}, {0: 1}), atom(0, {}, {0: -1}))]
    )  # R >= 0 or R <= 0
    run = lp.start(task_of(claim, network))
    assert run.go(0).status == "open"
    assert run.go(0).left == tuple(task_of(claim, network).everything())
    spent = 0
    for _ in range(500):
        outcome = run.go(1)
        spent += outcome.work.lps
        if outcome.status != "open":
            break
    assert outcome.status == "proved"
    assert spent >= 1
    stopped = lp.start(task_of(claim, network, stop=lambda: True)).go(10)
    assert (stopped.status, stopped.reason) == ("open", Reason.STOPPED)


def test_very_large_rewards_are_declined_at_once(monkeypatch: pytest.MonkeyPatch):
    claim = plain_claim(TWO_REALS, {"R": SUM}, goals=[(atom(4, {}, {0: -1}),)])
    monkeypatch.setattr(lp, "MOST_NEURONS", 3)
    assert lp.start(task_of(claim)) == Declined(Reason.NOT_LP)
    monkeypatch.undo()
    monkeypatch.setattr(lp, "AUTO_UNSTABLE", 0)
    goal = plain_claim(TWO_REALS, {"R": SUM}, goals=[(atom(2, {}, {0: -1}),)])
    unasked = lp.start(task_of(goal, options=replace(ALONE, engine="auto"))).go(10)
    assert (unasked.status, unasked.reason, len(unasked.left)) == ("open", Reason.LP_LIMIT, 1)


@pytest.mark.parametrize("weight", [1e30, 1e-30, 3e-39])
def test_huge_and_tiny_weights_cost_no_answers(weight):
    tensors = {"w": [[weight, -weight]], "b": [0]}
    scaled = reward(SUM_NODES, 2, tensors)  # weight·(|x| − |y|)
    most = Fraction(float(np.float32(weight)))
    claim = plain_claim(TWO_REALS, {"R": scaled}, goals=[(atom(most, {}, {0: -1}),)])
    assert verify_claim(claim, {"R": scaled}, ALONE).verdict is Verdict.PROVED
    strict = plain_claim(TWO_REALS, {"R": scaled}, goals=[(atom(most, {}, {0: -1}, strict=True),)])
    assert verify_claim(strict, {"R": scaled}, ALONE).verdict is Verdict.VIOLATED
