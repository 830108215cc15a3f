"""The complete engine against arithmetic that can be done by hand, and against exact evaluation."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.graph import Abs, AffineMap, Graph, Input, Patch
from rewarden.verifier.inline import compile_program
from rewarden.verifier.witness import replay
from rewarden.verifier.z3_engine import Limits, decide_box, decide_premise
from tests.reference.random_claims import atom, plain_claim, random_claim, random_point, truth
from tests.reference.random_graphs import MIXED, TWO_REALS, random_artifact, random_mlp, seeds

LIMITS = Limits(rlimit=5_000_000)
WEIGHTS = {"w": [[1, 1]], "b": [0]}
CEILING = Patch("ceiling", "rows", "offsets", "level", "slope", "delta", "gate", "rule")


def reward(nodes, output, tensors, patches=()) -> Artifact:
    arrays = {k: np.asarray(v, dtype=np.float32) for k, v in tensors.items()}
    return Artifact(
        (RewardRecord("s", TWO_REALS),), Graph(tuple(nodes), output), arrays, "exact", patches=tuple(patches)
    )


ABSOLUTE_SUM = reward([Input(), Abs(0), AffineMap(1, "w", "b")], 2, WEIGHTS)  # |x| + |y|, x in −1..1, y in 0..2


def decided(goal, *, clauses=(), artifact=ABSOLUTE_SUM, facts=()):
    claim = plain_claim(TWO_REALS, {"R": artifact}, goals=[(goal,)], clauses=clauses)
    program = compile_program(claim, {"R": artifact})
    return claim, program, decide_box(program, 0, claim.boxes[0], LIMITS, facts)


def test_strict_and_non_strict_differ_at_the_edge():
    assert decided(atom(0, {}, {0: 1}))[2].status == "unsat"  # R >= 0
    claim, program, decision = decided(atom(0, {}, {0: 1}, strict=True))  # R > 0 fails at the origin alone
    assert decision.point == (0, 0)
    assert replay(claim, program, {"R": ABSOLUTE_SUM}, decision.point) is not None
    assert decided(atom(3, {}, {0: -1}))[2].status == "unsat"  # R <= 3
    assert decided(atom(3, {}, {0: -1}, strict=True))[2].point in {(1, 2), (-1, 2)}


def test_premises_facts_and_disjunctions_restrict():
    small = (atom("1/2", {0: -1}), atom("-3/2", {1: 1}))  # x <= 1/2 or y >= 3/2
    bound = atom("5/2", {}, {0: -1})  # R <= 5/2
    assert decided(bound, clauses=[small])[2].status == "sat"
    assert decided(bound, clauses=[small], facts=[(0, 0)])[2].status == "sat"  # x = −1 is still there
    above = (atom(0, {0: 1}),)
    assert decided(bound, clauses=[small, above], facts=[(0, 0)])[2].status == "unsat"
    assert decided(bound, clauses=[small, above], facts=[(0, 1)])[2].status == "sat"


def test_premises_that_call_the_reward():
    low = (atom(1, {}, {0: -1}),)  # R <= 1
    assert decided(atom(1, {1: -1}), clauses=[low])[2].status == "unsat"  # then y <= 1
    assert decided(atom(1, {1: -1}, strict=True), clauses=[low])[2].point == (0, 1)


def test_a_patch_caps_its_region_and_nothing_beyond_its_gate():
    tensors = {**WEIGHTS, "rows": [[1, 0]], "offsets": [0], "level": [1], "slope": [4], "delta": [0], "gate": [0.5]}
    patched = reward([Input(), Abs(0), AffineMap(1, "w", "b")], 2, tensors, [CEILING])
    inside, beyond = (atom(0, {0: -1}),), (atom("-1/2", {0: 1}),)
    cap = atom(1, {}, {0: -1})
    assert decided(cap, clauses=[inside], artifact=patched)[2].status == "unsat"
    assert decided(cap, clauses=[beyond], artifact=patched)[2].status == "sat"
    claim = plain_claim(
        TWO_REALS, {"R": patched, "Base": ABSOLUTE_SUM}, clauses=[beyond],
        goals=[(atom(0, {}, {0: 1, 1: -1}),), (atom(0, {}, {0: -1, 1: 1}),)],
    )  # fmt: skip
    program = compile_program(claim, {"R": patched, "Base": ABSOLUTE_SUM})
    assert [decide_box(program, g, claim.boxes[0], LIMITS).status for g in (0, 1)] == ["unsat", "unsat"]


def test_vacuity_is_proved_exactly():
    empty = [(atom("-1/3", {0: 1}),), (atom("1/3", {0: -1}, strict=True),)]  # x >= 1/3 and x < 1/3
    claim = plain_claim(TWO_REALS, {"R": ABSOLUTE_SUM}, goals=[(atom(0, {}, {0: 1}),)], clauses=empty)
    program = compile_program(claim, {"R": ABSOLUTE_SUM})
    assert decide_premise(program, claim.boxes[0], LIMITS, variables_only=True).status == "unsat"
    edge = [(atom("-1/3", {0: 1}),), (atom("1/3", {0: -1}),)]
    claim = plain_claim(TWO_REALS, {"R": ABSOLUTE_SUM}, goals=[(atom(0, {}, {0: 1}),)], clauses=edge)
    decision = decide_premise(compile_program(claim, {"R": ABSOLUTE_SUM}), claim.boxes[0], LIMITS)
    assert decision.point is not None
    assert decision.point[0] == Fraction(1, 3)


def test_limits_give_unknown_and_never_a_verdict():
    artifact = random_mlp(np.random.default_rng(1), TWO_REALS, (24, 24))
    claim = plain_claim(TWO_REALS, {"R": artifact}, goals=[(atom("1/1000", {}, {0: 1}),)])
    program = compile_program(claim, {"R": artifact})
    assert decide_box(program, 0, claim.boxes[0], Limits(rlimit=1000)).status == "unknown"
    assert decide_box(program, 0, claim.boxes[0], Limits(rlimit=1000, max_unstable=3)).reason.endswith(
        "undecided relus"
    )


@settings(max_examples=12, deadline=None)
@given(seeds)
def test_models_replay_and_refutations_hold_at_samples(seed):
    rng = np.random.default_rng(seed)
    record_type = MIXED if rng.random() < 0.5 else TWO_REALS
    rewards = {"R": random_artifact(rng, record_type, size=3, patches=int(rng.integers(0, 2)))}
    claim = random_claim(rng, record_type, rewards)
    program = compile_program(claim, rewards)
    statuses = []
    for box in claim.boxes:
        for goal in range(len(claim.goals)):
            decision = decide_box(program, goal, box, Limits(rlimit=100_000))
            statuses.append(decision.status)
            if decision.point is not None:
                assert replay(claim, program, rewards, decision.point) is not None
    if all(s == "unsat" for s in statuses):
        for _ in range(20):
            premise, conclusion = truth(claim, rewards, random_point(rng, claim))
            assert conclusion or not premise


def test_the_same_query_spends_the_same():
    artifact = random_mlp(np.random.default_rng(4), TWO_REALS)
    claim = plain_claim(TWO_REALS, {"R": artifact}, goals=[(atom(0, {}, {0: 1}),)])
    program = compile_program(claim, {"R": artifact})
    first, second = (decide_box(program, 0, claim.boxes[0], LIMITS) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("lo, hi", [(0, 1), (-3, 4), (2, 2)])
def test_discrete_variables_take_integers(lo, hi):
    claim = plain_claim(TWO_REALS, {"R": ABSOLUTE_SUM}, clauses=[(atom("-1/2", {0: 1}),), (atom("3/4", {0: -1}),)])
    discrete = tuple(v.__class__(v.name, v.unit, True) for v in claim.variables)
    claim = claim.__class__(
        **{
            **{f: getattr(claim, f) for f in claim.__slots__},
            "variables": discrete,
            "boxes": (((Fraction(lo), Fraction(hi)),) * 2,),
        }
    )
    program = compile_program(claim, {"R": ABSOLUTE_SUM})
    assert decide_premise(program, claim.boxes[0], LIMITS).status == "unsat"
