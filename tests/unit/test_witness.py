"""Witnesses: judged exactly, told in the domain's words, with the deployed reward beside."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
from hypothesis import given, settings

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.deployed import forward
from rewarden.reward.graph import AffineMap, Graph, Input
from rewarden.spec_lang.claim import ClaimCall
from rewarden.verifier.exact_program import ExactProgram
from rewarden.verifier.inline import compile_program
from rewarden.verifier.witness import replay, replay_premise
from tests.reference.random_claims import affine, atom, plain_claim, random_claim, random_point, truth
from tests.reference.random_graphs import MIXED, TWO_REALS, random_artifact, seeds


def linear(weights, bias=0.0, record=MIXED) -> Artifact:
    tensors = {"w": np.array([weights], dtype=np.float32), "b": np.array([bias], dtype=np.float32)}
    return Artifact((RewardRecord("s", record),), Graph((Input(), AffineMap(0, "w", "b")), 1), tensors, "exact")


SPEED = linear([1, 0, 0, 0, 0, 0, 0, 0, 0])  # columns: speed, gap, count, near, three zones, e[0], e[1]
HERE = tuple(Fraction(v) for v in ("3/2", "-1/2", 3, 1, 0, 1, 0, "1/4", -1))


def witness(goal, point=HERE, artifact=SPEED, **kwargs):
    claim = plain_claim(MIXED, {"R": artifact}, goals=[(goal,)], **kwargs)
    return replay(claim, compile_program(claim, {"R": artifact}), {"R": artifact}, point)


def test_a_witness_speaks_the_domain():
    found = witness(atom(1, {}, {0: -1}))  # R <= 1, and R is 3/2
    assert found is not None
    assert found.values() == {
        "s": {"speed": 1.5, "gap": -0.5, "count": 3, "near": True, "zone": "dock", "e": [0.25, -1.0]}
    }
    assert found.units()["s"]["speed"] == "m/s"
    assert found.exact()["s"]["speed"] == "3/2"
    assert found.exact()["s"]["e"] == ["1/4", "-1"]
    assert (found.goal, found.goal_margins, found.violation) == (0, (Fraction(-1, 2),), Fraction(1, 2))
    (call,) = found.calls
    assert (call.text, call.exact, call.deployed, call.exact_arguments) == ("R(s)", Fraction(3, 2), 1.5, True)
    assert found.deployed == "violated"
    json.dumps(found.details(), allow_nan=False)


def test_strictness_decides_at_the_edge():
    assert witness(atom("3/2", {}, {0: -1})) is None
    assert witness(atom("3/2", {}, {0: -1}, strict=True)).violation == 0


def test_points_outside_are_no_witnesses():
    goal = atom(-100, {}, {0: 1})
    assert witness(goal) is not None
    assert witness(goal, (Fraction(3), *HERE[1:])) is None  # out of range
    assert witness(goal, (*HERE[:2], Fraction(5, 2), *HERE[3:])) is None  # half a count
    assert witness(goal, (*HERE[:4], Fraction(1), Fraction(1), *HERE[6:])) is None  # two zones at once
    assert witness(goal, clauses=[(atom(0, {1: 1}),)]) is None  # premise gap >= 0 is false
    boxes = [tuple((v, v) for v in HERE), tuple((lo, lo + 1) for lo in HERE)]
    assert witness(goal, (HERE[0] + 1, *HERE[1:]), boxes=boxes).box == 1


def test_the_falsest_goal_is_told():
    claim = plain_claim(MIXED, {"R": SPEED}, goals=[(atom(1, {}, {0: -1}),), (atom("1/2", {}, {0: -1}),)])
    assert replay(claim, compile_program(claim, {"R": SPEED}), {"R": SPEED}, HERE).goal == 1


def test_what_ifs_are_told_as_updates():
    claim = plain_claim(MIXED, {"R": SPEED}, goals=[(atom(0, {}, {0: 1, 1: -1}),)])
    moved = list(claim.calls[0].arguments)
    moved[0] = affine("1/2", {0: 1})
    moved[4:7] = [affine(1), affine(0), affine(0)]
    claim = replace(claim, calls=(claim.calls[0], ClaimCall("R", tuple(moved))))
    found = replay(claim, compile_program(claim, {"R": SPEED}), {"R": SPEED}, HERE)
    assert [c.text for c in found.calls] == ["R(s)", "R(s with {speed = 2.0 [m/s], zone = aisle})"]


def test_deployed_and_exact_may_disagree_and_both_are_shown():
    tiny = linear([1, 2.0**-30, 0, 0, 0, 0, 0, 0, 0])  # float32 loses the second term
    point = (Fraction(1), Fraction(1, 4), *HERE[2:])
    found = witness(atom(1, {}, {0: -1}), point, tiny)
    assert found.calls[0].exact > 1 == found.calls[0].deployed
    assert found.deployed == "holds"


def test_non_finite_deployed_output_is_seen():
    huge = linear([3e38, 3e38, 3e38, 0, 0, 0, 0, 0, 0])
    found = witness(atom(0, {}, {0: -1}), artifact=huge)
    assert found.deployed == "non-finite"
    json.dumps(found.details(), allow_nan=False)


def test_undeclared_records_fall_back_to_columns():
    claim = plain_claim(MIXED, {"R": SPEED}, goals=[(atom(-1, {0: 1}),)])
    other = replace(claim, rewards=(), calls=(), goals=((atom(-100, {0: 1}),),))
    found = replay(other, compile_program(other, {}), {}, HERE)
    assert found.values()["s"]["zone=dock"] == 1
    assert found.values()["s"]["speed"] == 1.5


def test_premise_witness():
    claim = plain_claim(MIXED, {"R": SPEED}, clauses=[(atom(0, {3: 1}),), (atom(0, {}, {0: 1}),)], goals=[()])
    found = replay_premise(claim, compile_program(claim, {"R": SPEED}), {"R": SPEED}, HERE)
    assert (found.goal, found.violation) == (None, 0)
    assert found.premise[-1] == Fraction(3, 2)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_replay_agrees_with_the_artifacts_own_arithmetic(seed):
    rng = np.random.default_rng(seed)
    record_type = MIXED if rng.random() < 0.5 else TWO_REALS
    rewards = {"R": random_artifact(rng, record_type, patches=1)}
    claim = random_claim(rng, record_type, rewards)
    exact = ExactProgram(compile_program(claim, rewards))
    point = random_point(rng, claim)
    found = replay(claim, exact, rewards, point)
    premise, conclusion = truth(claim, rewards, point)
    assert (found is not None) == (premise and not conclusion)
    if found is not None:
        assert all(m <= 0 for m in found.goal_margins)
        row = [float(sum((c * point[i] for i, c in a.variables), a.constant)) for a in claim.calls[0].arguments]
        assert found.calls[0].deployed == float(forward(rewards["R"], np.array([row], dtype=np.float32))[0])
