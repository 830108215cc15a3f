"""Conversion to binary64 loses nothing, even where the thread takes small operands for 0."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.exact import evaluate
from rewarden.reward.graph import AffineMap, Graph, Input
from rewarden.reward.widen import widened
from rewarden.spec_lang.features import Feature, RecordType

SMALL = np.array([[0.0, -0.0, 2.0**-149, -(2.0**-149)], [2.0**-127, 2.0**-126, -1.5, 3e38]], np.float32)


@pytest.fixture
def flushing():
    assert torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)


def test_the_same_numbers():
    assert (widened(SMALL) == SMALL.astype(np.float64)).all()
    assert widened(SMALL[0, 2]) == 2.0**-149
    assert widened(SMALL[:, 1]).tolist() == [0.0, 2.0**-126]


def test_small_numbers_survive_where_operands_are_flushed(flushing):
    assert SMALL.astype(np.float64)[0, 2] == 0.0
    assert widened(SMALL)[0].tolist() == [0.0, 0.0, 2.0**-149, -(2.0**-149)]


def test_an_exact_reward_keeps_its_smallest_weight(flushing):
    kind = RecordType("One", (Feature("x", "real", Fraction(0), Fraction(1)),))
    tensors = {"w": SMALL[:1, 2:3], "b": np.zeros(1, np.float32)}
    graph = Graph((Input(), AffineMap(0, "w", "b")), 1)
    artifact = Artifact((RewardRecord("s", kind),), graph, tensors, "exact")
    assert evaluate(artifact, [Fraction(1, 3)]) == Fraction(1, 3 * 2**149)
