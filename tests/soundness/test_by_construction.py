"""What holds by the way a reward is built is proved without a box, strict where it is; nothing else is."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.certificate.check import check
from rewarden.certificate.issue import claims_document
from rewarden.reward import graph as g
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.store import save_artifact
from rewarden.reward.widths import used_tensors
from rewarden.spec_lang.claim import Affine, AffineAtom
from rewarden.verifier.by_construction import goals_hold, monotone_goals_hold, twin_leaf
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.exact_program import ExactProgram
from rewarden.verifier.inline import compile_program
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.scribe.late import with_proof
from rewarden.verifier.verdict import Verdict
from tests.reference.random_claims import atom, plain_claim
from tests.reference.random_graphs import TWO_REALS

QUICK = VerifyOptions(budget=50, falsify_budget=200, z3_rlimit=1000)
seeds = st.integers(0, 2**32 - 1)


def reward(nodes, **tensors) -> Artifact:
    graph = g.Graph(tuple(nodes), len(nodes) - 1)
    arrays = {name: np.asarray(tensors[name], dtype=np.float32) for name in used_tensors(graph, ())}
    return Artifact((RewardRecord("s", TWO_REALS),), graph, arrays, "exact")


def network(rng: np.random.Generator, hidden: int, *end, **tensors) -> Artifact:
    """A random network of two layers with `end` behind it."""
    nodes = [g.Input(), g.AffineMap(0, "v", "c"), g.Relu(1), g.AffineMap(2, "w", "d"), *end]
    weights = {"v": rng.normal(size=(hidden, 2)), "c": rng.normal(size=hidden)}
    return reward(nodes, **weights, w=rng.normal(size=(1, hidden)), d=rng.normal(size=1), **tensors)


def middling(*end, **tensors) -> Artifact:
    """relu(x) − relu(−x), which is x, with `end` behind it."""
    nodes = [g.Input(), g.AffineMap(0, "v", "c"), g.Relu(1), g.AffineMap(2, "w", "d"), *end]
    return reward(nodes, v=[[1, 0], [-1, 0]], c=[0, 0], w=[[1, -1]], d=[0], **tensors)


def settled(artifact: Artifact, *goals: AffineAtom) -> bool:
    claim = plain_claim(TWO_REALS, {"R": artifact}, goals=[(goal,) for goal in goals])
    return goals_hold(compile_program(claim, {"R": artifact}))


def at_least(value, *, strict=False) -> AffineAtom:
    return atom(-Fraction(value), {}, {0: 1}, strict=strict)


def at_most(value, *, strict=False) -> AffineAtom:
    return atom(Fraction(value), {}, {0: -1}, strict=strict)


RNG = np.random.default_rng(0)
ENDS = {  # reward: what holds of it, and what does not or is not known
    "clip": (
        network(RNG, 50, g.Clip(3, "lo", "hi"), lo=[0], hi=[1]),
        [at_least(0), at_most(1)],
        [at_least(0, strict=True), at_most(1, strict=True), at_least("1/1000000"), at_most("999999/1000000")],
    ),
    "exp": (middling(g.Exp(3)), [at_least(0), at_least(0, strict=True)], [at_least("1/10000000000")]),
    "exp of minus an absolute value": (
        reward(
            [g.Input(), g.AffineMap(0, "v", "c"), g.Abs(1), g.AffineMap(2, "m", "n"), g.Exp(3)],
            **{"v": [[1, 0]], "c": [0], "m": [[-1]], "n": [0]},
        ),
        [at_least(0, strict=True), at_most(1)],
        [at_most(1, strict=True)],
    ),
    "sigmoid": (
        middling(g.Sigmoid(3)),
        [at_least(0, strict=True), at_most(1, strict=True)],
        [at_most("1/2"), at_least("1/2")],
    ),
    "tanh": (middling(g.Tanh(3)), [at_least(-1, strict=True), at_most(1, strict=True)], [at_least(0)]),
    "sigmoid of a square": (
        middling(g.Square(3), g.Sigmoid(4)),
        [at_least("1/2"), at_most(1, strict=True)],
        [at_least("1/2", strict=True)],
    ),
    "the larger of a half and it": (
        middling(g.AffineMap(3, "m", "n"), g.Maximum(3, 4), m=[[0]], n=[0.5]),
        [at_least("1/2")],
        [at_least("1/2", strict=True)],
    ),
    "softplus": (middling(g.Softplus(3)), [at_least(0, strict=True)], [at_most(0)]),
}


@pytest.mark.parametrize("name", ENDS)
def test_ends_that_hold_by_construction(name):
    artifact, holds, open_ = ENDS[name]
    assert settled(artifact, *holds)
    for goal in open_:
        assert not settled(artifact, goal)
        assert not settled(artifact, *holds, goal)


@pytest.mark.parametrize("name", ENDS)
def test_they_are_proved_without_a_box(name):
    artifact, holds, _ = ENDS[name]
    claim = plain_claim(TWO_REALS, {"R": artifact}, goals=[(goal,) for goal in holds])
    for engine in ("auto", "bounds"):
        result = verify_claim(claim, {"R": artifact}, VerifyOptions(budget=1, falsify_budget=10, engine=engine))
        assert (result.verdict, result.engine, result.work.boxes) == (Verdict.PROVED, "bounds", 0)


def accepted(folder, claim, rewards, proof) -> bool:
    (folder / "proofs").mkdir(parents=True)
    (folder / "claims.json").write_bytes(claims_document([claim]))
    (folder / "proofs" / "rule.json").write_text(json.dumps(proof, sort_keys=True, separators=(",", ":")))
    save_artifact(rewards["R"], folder / "R.rwz")
    return check(folder, {"R": folder / "R.rwz"}).accepted


def test_a_clip_is_certified_by_one_leaf(tmp_path):
    artifact, holds, _ = ENDS["clip"]
    claim = plain_claim(TWO_REALS, {"R": artifact}, goals=[(goal,) for goal in holds])
    result = with_proof(verify_claim(claim, {"R": artifact}, QUICK), {"R": artifact})
    assert [len(tree) for goal in result.proof["goals"] for tree in goal] == [1, 1]
    assert accepted(tmp_path, claim, {"R": artifact}, result.proof)


# ── monotone networks ──────────────────────────────────────────────────────────────────────────
def monotone_network(rng: np.random.Generator, width: int, end: str) -> tuple[Artifact, dict[str, np.ndarray]]:
    """Rises with x by the signs of its weights; two such networks under `end`, or one that is clipped."""
    weights = {"v": rng.normal(size=(width, 2)), "c": rng.normal(size=width)}
    weights["v"][:, 0] = abs(weights["v"][:, 0])
    weights |= {"w": abs(rng.normal(size=(width, width))), "d": rng.normal(size=width) - 1}
    weights |= {"u": abs(rng.normal(size=(2, width))), "e": rng.normal(size=2) - 1, "lo": [-1], "hi": [9]}
    last = {"min": (g.ReduceMin(5),), "max": (g.ReduceMax(5),), "clip": (g.ReduceMin(5), g.Clip(6, "lo", "hi"))}[end]
    nodes = [g.Input(), g.AffineMap(0, "v", "c"), g.Relu(1), g.AffineMap(2, "w", "d"), g.Relu(3)]
    return reward([*nodes, g.AffineMap(4, "u", "e"), *last], **weights), weights


def rising(artifact: Artifact, *, strict=False):
    """a.x <= b.x gives R(a) <= R(b), y being the same."""
    premise = (AffineAtom(Affine(Fraction(0), ((0, Fraction(-1)), (2, Fraction(1)))), strict),)
    goal = (atom(0, {}, {0: -1, 1: 1}),)
    return plain_claim(TWO_REALS, {"R": artifact}, records=("a", "b"), varying=("x",), clauses=[premise], goals=[goal])


@settings(max_examples=15, deadline=None)
@given(seeds, st.sampled_from(["min", "max", "clip"]), st.booleans())
def test_monotone_networks_are_proved(seed, end, strict):
    rng = np.random.default_rng(seed)
    artifact, _ = monotone_network(rng, int(rng.integers(2, 12)), end)
    claim = rising(artifact, strict=strict)
    assert monotone_goals_hold(compile_program(claim, {"R": artifact}))
    assert not falls(claim, artifact)


def falls(claim, artifact: Artifact) -> bool:
    """Whether it is seen to fall between neighbours on a grid, in rational arithmetic."""
    program = ExactProgram(compile_program(claim, {"R": artifact}))
    steps = [Fraction(i, 8) for i in range(-8, 9)]
    for y, (x, more) in product([Fraction(i, 2) for i in range(5)], pairwise(steps)):
        if program.evaluate((x, y, more)).margin(claim.goals[0][0].affine) < 0:
            return True
    return False


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_one_wrong_sign_is_never_proved_where_it_shows(seed):
    rng = np.random.default_rng(seed)
    artifact, weights = monotone_network(rng, int(rng.integers(2, 5)), "clip")
    name = str(rng.choice(["v", "w", "u"]))
    row = int(rng.integers(weights[name].shape[0]))
    column = 0 if name == "v" else int(rng.integers(weights[name].shape[1]))
    weights[name][row, column] = -1 - 3 * abs(weights[name][row, column])
    wrong = reward(artifact.graph.nodes, **weights)
    claim = rising(wrong)
    if falls(claim, wrong):
        assert not monotone_goals_hold(compile_program(claim, {"R": wrong}))
    # What is said to hold must not be seen to fail.
    if monotone_goals_hold(compile_program(claim, {"R": wrong})):
        assert not falls(claim, wrong)


def test_without_the_premise_nothing_is_monotone():
    artifact, _ = monotone_network(np.random.default_rng(3), 4, "min")
    claim = rising(artifact)
    other = plain_claim(TWO_REALS, {"R": artifact}, records=("a", "b"), varying=("x",), goals=claim.goals)
    assert not monotone_goals_hold(compile_program(other, {"R": artifact}))


def test_a_monotone_network_is_certified_by_one_leaf(tmp_path):
    rng = np.random.default_rng(5)
    artifact, weights = monotone_network(rng, 8, "min")
    single = reward(
        [*artifact.graph.nodes[:5], g.AffineMap(4, "u", "e")], **{**weights, "u": weights["u"][:1], "e": [0.5]}
    )
    claim = rising(single)
    result = verify_claim(claim, {"R": single}, QUICK)
    assert (result.verdict, result.engine, result.work.boxes) == (Verdict.PROVED, "differences", 0)
    # A minimum takes cases, which one leaf has none of.
    assert twin_leaf(compile_program(rising(artifact), {"R": artifact}), 0) is None
    written = with_proof(result, {"R": single})
    assert [len(tree) for goal in written.proof["goals"] for tree in goal] == [1]
    assert accepted(tmp_path, claim, {"R": single}, written.proof)
