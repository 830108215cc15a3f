"""Rules over many stacked patches, decided in pieces: the same verdicts, and no point is in no piece."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.claim import Claim
from rewarden.verifier import by_parts
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.engines import start
from rewarden.verifier.engines.interface import Task
from rewarden.verifier.exact_program import ExactProgram, inside
from rewarden.verifier.harmless import unhelped
from rewarden.verifier.inline import compile_program
from rewarden.verifier.linear import program_of
from rewarden.verifier.narrowing import root_cell
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.pieces import pieces, there
from rewarden.verifier.regions import OpenBoxes
from rewarden.verifier.scribe.late import with_proof
from rewarden.verifier.verdict import RuleResult, Verdict
from tests.differential.test_kernel_accepts_proofs import judged
from tests.reference.random_claims import atom, plain_claim, random_point, truth
from tests.reference.random_graphs import MIXED, TWO_REALS, random_mlp, seeds
from tests.unit.test_tables import one_by_one, with_table

OPTIONS = VerifyOptions(budget=6000, falsify_budget=1500)
ENDED = (Verdict.PROVED, Verdict.VIOLATED)


def stacked_claim(
    rng: np.random.Generator, kind=TWO_REALS, *, patches: int = 5, slack: float = 0.3, records: int = 1
) -> tuple[Claim, dict[str, Artifact]]:
    """R(a) < level, or R(a) − R(b) < level, which is above what was seen at random points by `slack`. Ceilings and
    floors are on the stack."""
    bare = random_mlp(rng, kind, (5, 4))
    rewards = {"R": one_by_one(with_table(with_table(bare, rng, patches), rng, 2))}
    claim = plain_claim(kind, rewards, records=("a", "b")[:records])
    exact, signs = ExactProgram(compile_program(claim, rewards)), {k: 2 * k - 1 for k in range(records)}
    seen = [exact.evaluate(random_point(rng, claim)).calls for _ in range(40)]
    most = max(sum(-signs[k] * value for k, value in enumerate(calls)) for calls in seen)
    level = Fraction(float(most)) + Fraction(slack)
    return replace(claim, goals=((atom(constant=level, calls=signs),),)), rewards


def as_a_whole(claim: Claim, rewards: dict[str, Artifact], options: VerifyOptions) -> RuleResult:
    with patch.object(by_parts, "decided_in_pieces", lambda *_: None):
        return verify_claim(claim, rewards, options)


@pytest.fixture(autouse=True)
def small_stacks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_parts, "WHOLE", 0)


@pytest.mark.parametrize("records", [1, 2])
@pytest.mark.parametrize("kind", [TWO_REALS, MIXED])
@settings(max_examples=5, deadline=None)
@given(seed=seeds)
def test_every_point_is_in_a_piece_and_the_reward_there_is_the_reward(kind, records, seed):
    rng = np.random.default_rng(seed)
    claim, rewards = stacked_claim(rng, kind, records=records)
    low, high = claim.boxes[0][0]
    claim = replace(claim, clauses=(*claim.clauses, (atom(-(3 * low + high) / 4, {0: 1}),)))
    cut, whole = pieces(claim, rewards), ExactProgram(compile_program(claim, rewards))
    cell = root_cell(claim, claim.boxes[0])
    assert abs(sum(piece.share for piece in cut) - 1) < 1e-9
    corners = [tuple(ends[int(rng.integers(2))] for ends in piece.box) for piece in cut[:2]]
    for point in (*(random_point(rng, claim) for _ in range(4)), *corners):
        met = [piece for piece in cut if inside(piece.box, point)]
        assert bool(met) == inside(cell, point)
        calls = whole.evaluate(point).calls
        for piece in met:
            program = compile_program(own_claim(claim, piece, rewards), there(piece, claim, rewards))
            assert ExactProgram(program).evaluate(point).calls == calls


def own_claim(claim, piece, rewards):
    digests = tuple((name, artifact.digest) for name, artifact in there(piece, claim, rewards).items())
    return replace(claim, boxes=(piece.box,), rewards=digests)


def test_pieces_meet_few_patches_and_do_not_depend_on_the_order_of_the_stack():
    rng = np.random.default_rng(5)
    claim, rewards = stacked_claim(rng, patches=40)
    turned = {"R": rewards["R"].with_patches(rewards["R"].patches[::-1])}
    one, other = pieces(claim, rewards), pieces(claim, turned)
    last = len(rewards["R"].patches) - 1
    assert len(one) > 10
    assert [piece.box for piece in one] == [piece.box for piece in other]
    for piece, twin in zip(one, other, strict=True):
        assert piece.acting == (tuple(sorted(last - k for k in twin.acting[0])),)
    assert max(piece.count for piece in one) < last


@pytest.mark.parametrize("seed", [pytest.param(k, marks=[pytest.mark.slow] * (k not in (2, 6))) for k in range(40)])
def test_verdicts_are_those_on_the_whole(seed):
    rng = np.random.default_rng(seed)
    slack = float(rng.choice([-0.2, 0.05, 0.5]))
    claim, rewards = stacked_claim(rng, slack=slack, records=int(rng.integers(1, 3)))
    own = replace(OPTIONS, engine="bounds", budget=300, falsify_budget=200)
    found, whole = verify_claim(claim, rewards, own), as_a_whole(claim, rewards, own)
    if found.verdict in ENDED and whole.verdict in ENDED:
        assert found.verdict == whole.verdict
    if found.verdict is Verdict.VIOLATED:
        assert truth(claim, rewards, found.witness.point) == (True, False)
    if found.verdict is Verdict.PROVED:
        assert truth(claim, rewards, found.premise_witness.point) == (True, True)
        for point in (random_point(rng, claim) for _ in range(100)):
            assert truth(claim, rewards, point)[1]


def test_proved_and_violated_both_occur_in_pieces():
    seen = {}
    for seed in range(3):
        for slack in (-0.3, 1.0):
            claim, rewards = stacked_claim(np.random.default_rng(seed), slack=slack)
            found = verify_claim(claim, rewards, OPTIONS)
            seen[found.verdict] = found
    assert set(ENDED) <= set(seen)


def test_no_record_of_the_premise_is_not_a_proof():
    claim, rewards = stacked_claim(np.random.default_rng(1), slack=5.0)
    gap = ((atom(-1, {0: 1, 1: 1}),), (atom(0, {0: -1, 1: -1}),))  # a + b >= 1 and a + b <= 0
    found = verify_claim(replace(claim, clauses=gap), rewards, OPTIONS)
    assert found.verdict is Verdict.VACUOUS


def test_what_is_open_is_told_and_numbers_boxes_of_the_claim():
    claim, rewards = stacked_claim(np.random.default_rng(3), slack=0.01)
    low, high = claim.boxes[0][0]
    halves = tuple(((*ends,), *claim.boxes[0][1:]) for ends in ((low, (low + high) / 2), ((low + high) / 2, high)))
    claim = replace(claim, boxes=halves)
    found = verify_claim(claim, rewards, replace(OPTIONS, engine="bounds", budget=1, falsify_budget=0))
    assert found.verdict is Verdict.UNKNOWN
    assert 0 <= found.coverage < 1
    assert set(found.left.instance.tolist()) <= {0, 1}
    assert len(found.left.lo)


@settings(max_examples=5, deadline=None)
@given(seed=seeds)
def test_what_a_first_look_leaves_open_is_cut_up_and_all_of_it(seed):
    rng = np.random.default_rng(seed)
    claim, rewards = stacked_claim(rng)
    low, high = claim.boxes[0][0]
    halves = tuple(((*ends,), *claim.boxes[0][1:]) for ends in ((low, (low + high) / 2), ((low + high) / 2, high)))
    claim = replace(claim, boxes=halves)
    ends = np.array([[float(end) for end in side] for side in halves[1]])
    corner = np.sort(rng.uniform(ends[:, 0], ends[:, 1], (2, len(ends))), axis=0)
    beyond = OpenBoxes(np.array([1, 1]), np.stack([corner[0], ends[:, 0] - 1]), np.stack([corner[1], corner[0]]))
    cut = pieces(claim, rewards, beyond)
    assert {piece.origin for piece in cut} == {1}
    for point in (random_point(rng, claim) for _ in range(60)):
        row = np.array([float(value) for value in point])
        left = inside(halves[1], point) and ((beyond.lo <= row) & (row <= beyond.hi)).all(axis=1).any()
        assert any(inside(piece.box, point) for piece in cut) == left
    assert pieces(claim, rewards, OpenBoxes.of([], len(claim.variables))) == ()


def test_what_bounds_settle_without_the_patches_is_not_cut_up(monkeypatch):
    """The tree of pieces takes longer than all the rest where a stack is high."""
    claim, rewards = stacked_claim(np.random.default_rng(2), patches=20, slack=50.0)
    assert {patch.kind for patch in rewards["R"].patches} == {"ceiling"}
    calls = list[int]()

    def counted(*args):
        found = pieces(*args)
        calls.append(len(found))
        return found

    monkeypatch.setattr(by_parts, "pieces", counted)
    found = verify_claim(claim, rewards, OPTIONS)
    assert (found.verdict, calls) == (Verdict.PROVED, [0])
    assert truth(claim, rewards, found.premise_witness.point) == (True, True)


def test_where_a_search_has_ended_at_a_point_nothing_is_said_of_what_is_open(monkeypatch):
    """What the point lay in is not put back: what is left is not all."""
    claim, rewards = stacked_claim(np.random.default_rng(3), slack=-0.3)
    task = Task(claim, program_of(claim, rewards), rewards, OPTIONS, {}, lambda told: None, lambda: False, 0.0)
    monkeypatch.setattr(Task, "replay", lambda self, point: None)
    outcome = start("bounds", task).go(500)
    assert outcome.status == "open"
    assert (outcome.left, outcome.region) == (None, None)


def test_stopped_at_once_nothing_is_settled():
    claim, rewards = stacked_claim(np.random.default_rng(2), slack=1.0)
    found = verify_claim(claim, rewards, OPTIONS, stop=lambda: True)
    assert found.verdict is Verdict.UNKNOWN


def test_a_verdict_in_float32_is_about_the_same_patches():
    claim, rewards = stacked_claim(np.random.default_rng(4), slack=1.0)
    options = replace(OPTIONS, semantics="float32")
    found, whole = verify_claim(claim, rewards, options), as_a_whole(claim, rewards, options)
    assert {found.verdict, whole.verdict} != set(ENDED)
    assert found.claim is None


def test_rules_over_few_patches_are_decided_as_a_whole_with_a_proof(monkeypatch, tmp_path):
    claim, rewards = stacked_claim(np.random.default_rng(0), patches=3, slack=1.0)
    monkeypatch.setattr(by_parts, "WHOLE", 16)
    written = with_proof(verify_claim(claim, rewards, OPTIONS), rewards)
    assert written.engine != "parts"
    assert judged(tmp_path, claim, rewards, written.proof).accepted


def test_what_is_proved_in_pieces_is_certified_in_pieces(tmp_path):
    claim, rewards = stacked_claim(np.random.default_rng(0), patches=20, slack=1.0)
    found = verify_claim(claim, rewards, OPTIONS)
    assert (found.verdict, found.engine) == (Verdict.PROVED, "parts")
    assert found.reason.endswith("can be certified.")
    told = with_proof(found, rewards)
    assert "pieces" in told.proof
    assert judged(tmp_path, claim, rewards, told.proof).accepted


@settings(max_examples=4, deadline=None)
@given(seed=seeds)
def test_a_goal_that_is_true_without_the_patches_left_out_is_true_with_them(seed):
    rng = np.random.default_rng(seed)
    claim, rewards = stacked_claim(rng, patches=3)
    artifact, points = rewards["R"], [random_point(rng, claim) for _ in range(12)]
    whole = ExactProgram(compile_program(claim, rewards))
    values = [whole.evaluate(point).calls[0] for point in points]
    for patched, sign in zip(artifact.patches[:2], (1, -1), strict=True):
        level = Fraction(float(artifact.tensors[patched.level][0]))
        asked = replace(claim, goals=((atom(constant=-sign * level, calls={0: sign}),),))
        easy = unhelped(asked, rewards, lambda patch, tensors: True) or rewards
        claimed = replace(asked, rewards=(("R", easy["R"].digest),))
        bare = ExactProgram(compile_program(claimed, easy))
        for point, value in zip(points, values, strict=True):
            assert sign * (value - level) >= 0 or sign * (bare.evaluate(point).calls[0] - level) < 0
