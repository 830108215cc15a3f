"""One suite for every engine: about the same random claims, none contradicts another, or arithmetic; each keeps the
engines' contract (`verifier/engines/interface.py`).

The engines are those that `VerifyOptions.engine` may name, so that a new one takes part by being named. A `proved` from
one and a witness from another, or from an exactly evaluated sample, would be a soundness bug. `unknown` contradicts
nothing.
"""

from __future__ import annotations

import time
from typing import get_args

import numpy as np
import pytest
from hypothesis import Phase, given, settings

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.graph import AffineMap, Graph, Input, Tanh
from rewarden.verifier import engines
from rewarden.verifier.decision import _region, verify_claim
from rewarden.verifier.engines.interface import Declined, Outcome, Task
from rewarden.verifier.exact_program import ExactProgram
from rewarden.verifier.inline import compile_program
from rewarden.verifier.options import Engine, VerifyOptions
from rewarden.verifier.torch_settings import plain_torch
from rewarden.verifier.verdict import Reason, Verdict
from tests.reference.how_many import ALL
from tests.reference.random_claims import atom, call_values, plain_claim, random_claim, random_point, truth
from tests.reference.random_graphs import MIXED, TWO_REALS, random_artifact, random_mlp, random_record_type, seeds

NAMES = get_args(Engine)
ALONE = [name for name in NAMES if name != "auto"]
BUDGETS = {"budget": 600, "z3_rlimit": 30_000}
ENGINES = {
    name: VerifyOptions(engine=name, falsify_budget=600 if name in ("auto", "falsify") else 0, **BUDGETS)
    for name in NAMES
}
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # a seed does not shrink to anything simpler
RECORD_TYPES = {"mixed": MIXED, "reals": TWO_REALS, "random": None}


def drawn(seed: int, kind: str):
    rng = np.random.default_rng(seed)
    record_type = RECORD_TYPES[kind] or random_record_type(rng)
    rewards = {"R": random_artifact(rng, record_type, size=int(rng.integers(1, 5)), patches=int(rng.integers(0, 3)))}
    if rng.random() < 0.4:
        rewards["Base"] = random_mlp(rng, record_type, (4,))
    return rng, random_claim(rng, record_type, rewards), rewards


@pytest.mark.parametrize("kind", RECORD_TYPES)
@settings(max_examples=4, deadline=None, phases=PHASES)
@given(seed=seeds)
def test_no_disagreement(kind, seed):
    rng, claim, rewards = drawn(seed, kind)
    results = {name: verify_claim(claim, rewards, options) for name, options in ENGINES.items()}
    verdicts = {r.verdict for r in results.values()}
    assert not {Verdict.PROVED, Verdict.VIOLATED} <= verdicts, {k: str(v.verdict) for k, v in results.items()}
    assert not {Verdict.VACUOUS, Verdict.VIOLATED} <= verdicts
    assert not {Verdict.VACUOUS, Verdict.PROVED} <= verdicts
    exact = ExactProgram(compile_program(claim, rewards))
    for _ in range(60):
        evaluation = exact.evaluate(random_point(rng, claim))
        if evaluation.premise_holds(claim):
            assert Verdict.VACUOUS not in verdicts
            assert Verdict.PROVED not in verdicts or not evaluation.failing_goals(claim)
    for result in results.values():
        if result.witness is not None:
            assert truth(claim, rewards, result.witness.point) == (True, False)
        if result.verdict is Verdict.PROVED:
            assert truth(claim, rewards, result.premise_witness.point) == (True, True)


def test_the_generator_reaches_every_verdict():
    """A test of the test: claims that are all violated, or all vacuous, would agree about nothing."""
    claims = [drawn(seed, "reals") for seed in range(12 if ALL else 8)]
    names = ("falsify", "bounds")
    seen = {verify_claim(claim, rewards, ENGINES[name]).verdict for _, claim, rewards in claims for name in names}
    assert {Verdict.PROVED, Verdict.VIOLATED} <= seen


# ── the contract ───────────────────────────────────────────────────────────────────────────────
def task_of(claim, rewards, name: str, *, stop=lambda: False) -> Task:
    program = compile_program(claim, rewards)
    return Task(claim, program, rewards, ENGINES[name], {}, lambda _: None, stop, time.monotonic())


def spelled(outcome: Outcome) -> tuple[object, ...]:
    point = None if outcome.witness is None else outcome.witness.point
    return outcome.status, outcome.reason, outcome.settled, outcome.work, point, outcome.left


@pytest.mark.parametrize("name", ALONE)
def test_what_an_engine_answers(name):
    """Work is bounded and counted, shares are shares, a witness comes with `violated` alone, and twice is the same."""
    said = set()
    for seed in range(6 if ALL else 4):
        _, claim, rewards = drawn(seed, "reals")
        task = task_of(claim, rewards, name)
        with plain_torch(1):
            runs = [engines.start(name, task) for _ in range(2)]
            if isinstance(runs[0], Declined):
                assert runs[0].reason in Reason
                continue
            first, second = (run.go(400) for run in runs)
        assert spelled(first) == spelled(second)
        assert 0.0 <= first.settled <= 1.0
        assert (first.witness is not None) == (first.status == "violated")
        assert first.settled == 1.0 or first.status == "open"
        assert first.status != "violated" or truth(claim, rewards, first.witness.point) == (True, False)
        said.add(first.status)
    assert said != {"open"}, "an engine that settles nothing"


@pytest.mark.parametrize("name", ALONE)
def test_a_run_goes_on_where_it_stopped(name):
    """In slices it comes to no other answer than at once, and it does not start over."""
    for seed in range(4 if ALL else 3):
        _, claim, rewards = drawn(seed, "reals")
        with plain_torch(1):
            whole = engines.start(name, task_of(claim, rewards, name))
            if isinstance(whole, Declined):
                continue
            at_once = whole.go(600)
            run, outcome = engines.start(name, task_of(claim, rewards, name)), None
            for _ in range(8):
                outcome = run.go(75)
                if outcome.status != "open":
                    break
        assert {outcome.status, at_once.status} != {"proved", "violated"}
        if name != "falsify" and at_once.status != "open":
            assert outcome.status in (at_once.status, "open")


@pytest.mark.parametrize("name", ALONE)
def test_an_engine_stops_when_asked(name):
    _, claim, rewards = drawn(1, "reals")
    run = engines.start(name, task_of(claim, rewards, name, stop=lambda: True))
    if not isinstance(run, Declined):
        assert run.go(10**6).reason in (Reason.STOPPED, Reason.BOUNDS, Reason.WITNESS)


@pytest.mark.parametrize("name", ALONE)
def test_curved_rewards_are_bounded_or_declined_in_words(name):
    tensors = {"w": np.float32([[1, 1]]), "b": np.float32([0])}
    nodes = (Input(), AffineMap(0, "w", "b"), Tanh(1))
    curved = Artifact((RewardRecord("s", TWO_REALS),), Graph(nodes, 2), tensors, "exact")
    claim = plain_claim(TWO_REALS, {"R": curved}, goals=[(atom(2, {}, {0: -1}),)])  # tanh <= 2
    run = engines.start(name, task_of(claim, {"R": curved}, name))
    if isinstance(run, Declined):
        assert len(run.reason) > 20
    else:
        assert run.go(50).status in ("proved", "open")


@pytest.mark.parametrize("name", ALONE)
def test_a_rule_that_nothing_can_violate(name):
    """`expect R(s) >= min(R(s), c)` has no goals left: nobody finds a violation, and none stumbles."""
    rng = np.random.default_rng(3)
    rewards = {"R": random_mlp(rng, TWO_REALS)}
    claim = plain_claim(TWO_REALS, rewards, clauses=[(atom(1, {}, {0: 1}),)], goals=[])
    with plain_torch(1):
        run = engines.start(name, task_of(claim, rewards, name))
        assert isinstance(run, Declined) or run.go(50).status in ("proved", "open")
    assert verify_claim(claim, rewards, ENGINES[name]).verdict in (Verdict.PROVED, Verdict.UNKNOWN)


class Blind(Task):
    """A task that sees no violation in any point, so that what violates a rule stays open."""

    def replay(self, point):
        return None


@pytest.mark.parametrize("name", ["cells", "neurons"])
def test_what_is_left_open_holds_every_violation(name):
    """Of two boxes, after budgets that end in the middle of one: the region that is told is a part, and no violation
    lies elsewhere."""
    rng, told = np.random.default_rng(11), 0
    half = tuple((c.lo, (c.lo + c.hi) / 2) for c in TWO_REALS.columns())
    for _ in range(4):
        rewards = {"R": random_mlp(rng, TWO_REALS, (8, 8))}
        whole = tuple((c.lo, c.hi) for c in TWO_REALS.columns())
        plain = plain_claim(TWO_REALS, rewards, boxes=[half, whole])
        points = [random_point(rng, plain) for _ in range(200)]
        values = [call_values(plain, rewards, point)[0] for point in points]
        level = sorted(values)[10]
        claim = plain_claim(TWO_REALS, rewards, goals=[(atom(-level, {}, {0: 1}),)], boxes=[half, whole])
        wrong = [point for point, value in zip(points, values, strict=True) if value < level]
        program = compile_program(claim, rewards)
        task = Blind(claim, program, rewards, ENGINES[name], {}, lambda _: None, lambda: False, time.monotonic())
        with plain_torch(1):
            run = engines.start(name, task)
            for _ in range(4):
                outcome = run.go(20)
                assert outcome.status == "open"
                region = _region(task, outcome)
                if region is None:
                    continue
                told += 1
                for point in wrong:
                    x = np.array([float(v) for v in point])
                    assert ((region.lo <= x) & (x <= region.hi)).all(1).any()
    assert told >= 4
