"""Linear rewards as one row for each call: the same function as the inlined program, in memory that is not square."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.graph import AffineMap, Graph, Input, Scale
from rewarden.spec_lang.claim import ClaimCall
from rewarden.spec_lang.errors import BindingError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.exact_program import ExactProgram
from rewarden.verifier.inline import compile_program
from rewarden.verifier.linear import linear_program, program_of
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.verdict import Verdict
from tests.differential.test_kernel_accepts_proofs import judged
from tests.reference.random_claims import affine, atom, plain_claim, random_claim, random_point
from tests.reference.random_graphs import MIXED, TWO_REALS, random_artifact, random_mlp, seeds

LINEAR_OPS = ("scale", "affine", "add", "sub", "concat")
QUICK = VerifyOptions(budget=200, falsify_budget=300)


def reward_of(nodes, tensors, record=TWO_REALS) -> Artifact:
    arrays = {name: np.array(values, dtype=np.float32) for name, values in tensors.items()}
    return Artifact((RewardRecord("s", record),), Graph(tuple(nodes), len(nodes) - 1), arrays, "exact")


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_it_is_the_function_that_is_inlined(seed):
    rng = np.random.default_rng(seed)
    rewards = {name: random_artifact(rng, MIXED, LINEAR_OPS, size=int(rng.integers(0, 8))) for name in ("R", "Base")}
    claim = plain_claim(MIXED, rewards, records=("a", "b"), varying=("gap",))
    what_if = list(claim.calls[0].arguments)
    what_if[0], what_if[1] = affine("-1/3", {0: 1}), affine("1/7")
    claim = replace(claim, calls=(*claim.calls, ClaimCall("R", tuple(what_if))))
    linear = linear_program(claim, rewards)
    assert linear is not None
    for _ in range(3):
        point = random_point(rng, claim)
        whole = ExactProgram(compile_program(claim, rewards)).evaluate(point)
        assert ExactProgram(linear).evaluate(point).calls == whole.calls


def test_numbers_of_all_sizes_are_exact():
    tiny, large = float(np.float32(2.0**-149)), float(np.finfo(np.float32).max)
    weights = {"w": [[tiny, large], [0.1, -large]], "b": [tiny, 1], "v": [[1, tiny]], "c": [large]}
    reward = reward_of([Input(), AffineMap(0, "w", "b"), AffineMap(1, "v", "c")], weights)
    claim = plain_claim(TWO_REALS, {"R": reward})
    point = (Fraction(1, 3), Fraction(2, 7))
    linear = linear_program(claim, {"R": reward})
    assert linear is not None
    assert linear.layers[0].exact_bias is not None
    exact = ExactProgram(linear).evaluate(point).calls
    assert exact == ExactProgram(compile_program(claim, {"R": reward})).evaluate(point).calls


def test_equal_rewards_are_one_layer_and_their_difference_is_exactly_zero():
    first = reward_of([Input(), AffineMap(0, "w", "b")], {"w": [[0.1, 0.3]], "b": [0.7]})
    halved = [[np.float32(0.1) * 2, np.float32(0.3) / 2]]
    tensors = {"s": [0.5, 2], "t": [0, 0], "w": halved, "b": [0.7]}
    second = reward_of([Input(), Scale(0, "s", "t"), AffineMap(1, "w", "b")], tensors)
    rewards = {"R": first, "Base": second}
    same = [(atom(0, {}, {0: 1, 1: -1}),), (atom(0, {}, {0: -1, 1: 1}),)]
    claim = plain_claim(TWO_REALS, rewards, goals=same)
    assert len(program_of(claim, rewards).layers) == 1
    assert verify_claim(claim, rewards, QUICK).verdict is Verdict.PROVED


def test_what_is_not_linear_or_beyond_binary64_is_inlined():
    rng = np.random.default_rng(0)
    for reward in (random_mlp(rng), random_mlp(rng, patches=1)):
        claim = plain_claim(TWO_REALS, {"R": reward})
        assert linear_program(claim, {"R": reward}) is None
        assert len(program_of(claim, {"R": reward}).layers) == len(compile_program(claim, {"R": reward}).layers)
    patched = random_artifact(rng, TWO_REALS, LINEAR_OPS, size=2, patches=1)
    assert linear_program(plain_claim(TWO_REALS, {"R": patched}), {"R": patched}) is None
    huge = reward_of(
        [Input(), *(Scale(k, "s", "t") for k in range(9)), AffineMap(9, "w", "b")],
        {"s": [3e38, 3e38], "t": [0, 0], "w": [[1, 1]], "b": [0]},
    )
    claim = plain_claim(TWO_REALS, {"R": huge})
    assert linear_program(claim, {"R": huge}) is None
    assert len(program_of(claim, {"R": huge}).layers) > 1


def test_a_reward_that_does_not_fit_is_refused_as_ever():
    reward = random_artifact(np.random.default_rng(1), TWO_REALS, LINEAR_OPS)
    claim = plain_claim(TWO_REALS, {"R": reward})
    with pytest.raises(BindingError, match="no artifact is bound"):
        program_of(claim, {})
    with pytest.raises(BindingError, match="columns"):
        program_of(replace(claim, calls=(ClaimCall("R", (affine(1),)),)), {"R": reward})


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=seeds)
def test_the_kernel_accepts_what_is_proved(seed, tmp_path_factory):
    """The kernel inlines node by node: a proof about rows says nothing else."""
    rng = np.random.default_rng(seed)
    rewards = {name: random_artifact(rng, MIXED, LINEAR_OPS, size=3) for name in ("R", "Base")}
    claim = random_claim(rng, MIXED, rewards)
    result = verify_claim(claim, rewards, QUICK)
    if result.verdict is Verdict.PROVED and result.engine == "bounds":
        report = judged(tmp_path_factory.mktemp("certificate"), claim, rewards, result.proof)
        assert report.accepted, (report.problem, [c.reason for c in report.claims])


def test_memory_grows_with_the_columns_not_with_their_square():
    wide = RecordType("Wide", (Feature("e", "real", Fraction(-1), Fraction(1), None, (), 4096),))
    rng = np.random.default_rng(0)
    ones = np.ones(4096)
    weights = {"s": ones, "t": ones, "w": rng.normal(size=(1, 4096)), "b": [0.5]}
    reward = reward_of([Input(), Scale(0, "s", "t"), AffineMap(1, "w", "b")], weights, wide)
    most = sum((abs(Fraction(float(w))) + Fraction(float(w)) for w in reward.tensors["w"][0]), Fraction(1, 2))
    for slack, verdict in ((0, Verdict.PROVED), (Fraction(1, 2**60), Verdict.VIOLATED)):
        claim = plain_claim(wide, {"R": reward}, goals=[(atom(most - slack, {}, {0: -1}),)])
        tracemalloc.start()
        result = verify_claim(claim, {"R": reward}, QUICK)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (result.verdict, result.engine, result.work.boxes) == (verdict, "bounds", 1)
        assert peak < 4096**2  # a tenth of one identity
