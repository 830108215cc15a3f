"""Programs without the gates that are decided on their boxes: the same function there, and proofs of the whole."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from rewarden.reward.stacks import parts
from rewarden.verifier.decided_gates import by_gates, ungated
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.exact_program import ExactProgram
from rewarden.verifier.inline import compile_program
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.scribe.late import with_proof
from rewarden.verifier.verdict import Verdict
from tests.differential.test_kernel_accepts_proofs import judged
from tests.reference.how_many import part_of
from tests.reference.random_claims import atom, plain_claim, random_point
from tests.reference.random_graphs import TWO_REALS, random_mlp, seeds
from tests.unit.test_tables import one_by_one, with_table


def parts_of(box, depth: int = 2):
    """The box, cut in the middle of each variable, `depth` times."""
    boxes = [box]
    for _ in range(depth):
        for i in range(len(box)):
            halves = [((b[i][0], sum(b[i]) / 2), (sum(b[i]) / 2, b[i][1]), b) for b in boxes]
            boxes = [(*b[:i], side, *b[i + 1 :]) for low, high, b in halves for side in (low, high)]
    return tuple(boxes)


def patched_claim(rng, patches: int, slack: float = 0.5):
    """R(a) < a level that is above what R is at random points; over 16 boxes."""
    rewards = {"R": random_mlp(rng, TWO_REALS, (5, 4), patches=patches)}
    claim = plain_claim(TWO_REALS, rewards)
    claim = replace(claim, boxes=parts_of(claim.boxes[0]))
    exact = ExactProgram(compile_program(claim, rewards))
    most = max(exact.evaluate(random_point(rng, claim)).calls[0] for _ in range(30))
    level = Fraction(float(most)) + Fraction(slack)
    return replace(claim, goals=((atom(constant=level, calls={0: -1}),),)), rewards


@settings(max_examples=part_of(60), deadline=None)
@given(seeds)
def test_on_its_boxes_a_program_without_decided_gates_is_the_same_function(seed):
    rng = np.random.default_rng(seed)
    claim, rewards = patched_claim(rng, int(rng.integers(1, 4)))
    program = compile_program(claim, rewards)
    whole, kinds = ExactProgram(program), (*by_gates(program), ungated(program))
    assert sorted(b for kind in kinds[:-1] for b in kind.boxes.tolist()) == list(range(len(claim.boxes)))
    for kind in kinds:
        slim = ExactProgram(kind.program)
        for b in kind.boxes.tolist():
            points = [random_point(rng, replace(claim, boxes=(claim.boxes[b],))) for _ in range(2)]
            corner = tuple(claim.boxes[b][i][int(rng.integers(2))] for i in range(len(claim.boxes[b])))
            for point in (*points, corner):
                assert slim.evaluate(point).calls == whole.evaluate(point).calls


@settings(max_examples=part_of(60), deadline=None)
@given(seeds)
def test_premises_narrow_the_boxes_and_all_their_points_are_told_right(seed):
    rng = np.random.default_rng(seed)
    claim, rewards = patched_claim(rng, 2)
    whole_box = plain_claim(TWO_REALS, rewards).boxes
    edges = [random_point(rng, replace(claim, boxes=whole_box)) for _ in range(2)]
    clauses = ((atom(edges[0][0], {0: -1}, strict=True),), (atom(-edges[1][1], {1: 1}),))
    claim = replace(claim, boxes=whole_box, clauses=clauses)
    program = compile_program(claim, rewards)
    whole, slim = ExactProgram(program), ExactProgram(ungated(program).program)
    for point in (random_point(rng, claim) for _ in range(20)):
        one, other = whole.evaluate(point), slim.evaluate(point)
        assert one.premise_holds(claim) == other.premise_holds(claim)
        if one.premise_holds(claim):
            assert one.calls == other.calls


def test_gates_are_decided_at_all_and_layers_go():
    decided, fewer = 0, 0
    for seed in range(30):
        claim, rewards = patched_claim(np.random.default_rng(seed), 2)
        program = compile_program(claim, rewards)
        kinds = by_gates(program)
        decided += any(not kind.gated for kind in kinds)
        fewer += any(len(kind.program.layers) < len(program.layers) for kind in kinds)
    assert decided >= 5
    assert fewer >= 5


def test_of_patches_that_are_open_everywhere_nothing_is_left():
    """However many are stacked, the program is that of the bare reward."""
    found = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        bare = random_mlp(rng, TWO_REALS, (5, 4))
        rewards = {"R": one_by_one(with_table(bare, rng, 6))}
        claim = plain_claim(TWO_REALS, rewards)
        far = [box for box in parts_of(claim.boxes[0], 4) if not meets(rewards["R"], box)]
        if not far:
            continue
        claim = replace(claim, boxes=tuple(far[:3]), goals=((atom(calls={0: -1}),),))
        plain = replace(claim, rewards=(("R", bare.digest),))
        got = ungated(compile_program(claim, rewards)).program
        wanted = compile_program(plain, {"R": bare})
        assert [layer.kind for layer in got.layers] == [layer.kind for layer in wanted.layers]
        assert got.outputs == wanted.outputs
        found += 1
    assert found >= 5


def meets(artifact, box):
    """Whether some patch may act in the box."""
    (stack,) = parts(artifact)
    lo, hi = (np.array([float(ends[side]) for ends in box]) for side in (0, 1))
    return bool(((stack.low <= hi) & (stack.high >= lo)).all(axis=1).any())


@pytest.mark.parametrize("engine", ["bounds", "cells", "neurons", "auto"])
def test_what_is_proved_beside_far_patches_the_kernel_accepts(engine, tmp_path_factory):
    """Boxes that no patch meets: proofs name the layers of the whole program, which are more."""
    proved = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        claim, rewards = patched_claim(rng, 2, slack=0.1)
        slim = ungated(compile_program(claim, rewards))
        far = [b for kind in by_gates(slim.program) if not kind.gated for b in kind.boxes.tolist()]
        if not far:
            continue
        claim = replace(claim, boxes=tuple(claim.boxes[b] for b in far[:2]))
        program = compile_program(claim, rewards)
        if len(ungated(program).program.layers) == len(program.layers):
            continue
        result = verify_claim(claim, rewards, VerifyOptions(engine=engine, budget=400, falsify_budget=200))
        if result.verdict is not Verdict.PROVED:
            continue
        result = with_proof(result, rewards)
        if result.proof is not None:
            report = judged(tmp_path_factory.mktemp("certificate"), claim, rewards, result.proof)
            assert report.accepted, (report.problem, [c.reason for c in report.claims])
            proved += 1
        if proved == 3:
            return
    assert proved >= 1


def test_engines_without_gates_take_boxes_that_patches_leave_alone():
    """A claim over boxes of which a patch meets some: neurons settle the others, and say which are open."""
    found = False
    for seed in range(30):
        claim, rewards = patched_claim(np.random.default_rng(seed), 1, slack=50.0)
        kinds = by_gates(compile_program(claim, rewards))
        met = [b for kind in kinds if kind.gated for b in kind.boxes.tolist()]
        if not met or len(met) == len(claim.boxes):
            continue
        result = verify_claim(claim, rewards, VerifyOptions(engine="neurons", budget=400, falsify_budget=100))
        if result.verdict is Verdict.UNKNOWN:
            assert result.engine == "neurons"
            assert result.coverage <= 1.0 - len(met) / len(claim.boxes)
            found |= result.coverage > 0
    assert found
