"""What a glance settles, what it costs, and when there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.graph import Abs, AffineMap, Graph, Input, Tanh
from rewarden.verifier import glance as glances
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.scribe.late import with_proof
from rewarden.verifier.verdict import Verdict
from tests.reference.random_claims import atom, plain_claim
from tests.reference.random_graphs import TWO_REALS

QUICK = VerifyOptions(budget=2_000, falsify_budget=500, z3_rlimit=200_000)
RECORDS = (RewardRecord("s", TWO_REALS),)
TENSORS = {"w": np.float32([[1, 1], [1, -1]]), "b": np.float32([0, 0]), "u": np.float32([[1, 1]]), "c": np.float32([0])}
KINKS = Artifact(RECORDS, Graph((Input(), AffineMap(0, "w", "b"), Abs(1), AffineMap(2, "u", "c")), 3), TENSORS, "exact")
CURVE = Artifact(
    RECORDS,
    Graph((Input(), AffineMap(0, "w", "b"), Tanh(1), AffineMap(2, "u", "c")), 3),
    TENSORS,
    "exact",
)


def at_most(level, reward=KINKS, boxes=None):
    """R(x, y) <= level; of KINKS that is 2 max(|x|, |y|)."""
    claim = plain_claim(TWO_REALS, {"R": reward}, goals=[(atom(level, {}, {0: -1}),)])
    return claim if boxes is None else replace(claim, boxes=claim.boxes * boxes)


def decided(claim, options=QUICK, reward=KINKS, **kwargs):
    return verify_claim(claim, {"R": reward}, options, **kwargs)


def greatest():
    (box,) = at_most(0).boxes
    return max(2 * abs(end) for side in box for end in side)


def test_what_holds_with_room_to_spare_is_not_searched():
    claim = at_most(greatest() + 1)
    result = decided(claim)
    assert result.verdict is Verdict.PROVED
    searched = decided(claim, replace(QUICK, engine="cells"))
    assert searched.verdict is Verdict.PROVED
    assert result.work.points < searched.work.points  # the premise alone
    assert with_proof(result, {"R": KINKS}).proof is not None


@pytest.mark.parametrize("budget", [0, 1, 5])
def test_the_budget_is_kept(budget):
    assert decided(at_most(greatest() + 1), replace(QUICK, budget=budget)).work.boxes <= budget


def test_a_violation_is_shown_where_the_search_finds_none():
    result = decided(at_most(greatest() / 2), replace(QUICK, falsify_budget=0))
    assert result.verdict is Verdict.VIOLATED
    assert result.engine in ("bounds", "cells")
    assert result.witness is not None
    assert decided(at_most(greatest() / 2)).engine == "search"


def test_many_boxes_are_not_glanced_at(monkeypatch):
    asked = []
    monkeypatch.setattr(glances.engines, "start", lambda engine, task: asked.append(engine))
    few, many = at_most(greatest() + 1, boxes=glances.LOOKS), at_most(greatest() + 1, boxes=glances.LOOKS + 1)
    for claim, wanted in ((many, []), (replace(few, boxes=()), []), (replace(few, goals=()), [])):
        glances.glance(_Task(claim))
        assert asked == wanted
    with pytest.raises(AttributeError):
        glances.glance(_Task(few))  # what was put in place of engines cannot go
    assert asked


def test_nothing_is_begun_after_a_stop():
    result = decided(at_most(greatest() + 1), stop=lambda: True)
    assert result.verdict is Verdict.UNKNOWN
    assert result.work.boxes == 0


def test_smooth_rewards_have_bounds_alone_and_a_few_boxes_more():
    claim = at_most(2, CURVE)  # tanh + tanh: the first look leaves a rest open near the corner
    result = decided(claim, reward=CURVE)
    assert (result.verdict, result.engine) == (Verdict.PROVED, "bounds")
    assert result.work.boxes <= glances.BOXES


class _Task:
    """As much of a task as is read."""

    def __init__(self, claim):
        from rewarden.verifier.linear import program_of

        self.claim, self.options = claim, QUICK
        self.slim = type("Slim", (), {"program": program_of(at_most(0), {"R": KINKS})})
        self.stop = lambda: False
