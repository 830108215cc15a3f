"""Statistics are those of the sorted exact values."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.exact import evaluate_row
from rewarden.reward.graph import Clip, Graph, Input, Scale
from rewarden.reward.statistics import statistic
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.features import Feature, RecordType
from tests.reference.how_many import part_of
from tests.reference.random_graphs import MIXED, TWO_REALS, random_artifact, random_rows, seeds


@given(seeds, st.integers(1, 25), st.fractions(0, 1, max_denominator=40))
@settings(max_examples=part_of(200), deadline=None)
def test_statistics_of_random_rewards(seed, count, level):
    rng = np.random.default_rng(seed)
    artifact = random_artifact(rng, MIXED, patches=int(rng.integers(0, 2)))
    rows = random_rows(rng, MIXED, count)
    rows = rows[rng.integers(0, count, size=count)]  # with ties
    values = sorted(evaluate_row(artifact, row) for row in rows)
    assert statistic(artifact, rows, "quantile", level) == values[max(1, ceil(level * count)) - 1]
    assert statistic(artifact, rows, "min") == values[0]
    assert statistic(artifact, rows, "max") == values[-1]
    assert statistic(artifact, rows, "mean") == sum(values) / count


def test_rows_too_close_for_float64_to_tell_apart():
    rng = np.random.default_rng(3)
    artifact = random_artifact(rng, TWO_REALS, ("affine", "relu"))
    rows = np.tile(random_rows(rng, TWO_REALS, 1), (9, 1))
    for k in range(9):
        rows[k, 0] += k * 2.0**-50
    values = sorted(evaluate_row(artifact, row) for row in rows)
    for k in range(1, 10):
        assert statistic(artifact, rows, "quantile", Fraction(k, 9)) == values[k - 1]


def test_many_rows_that_are_clipped_to_one_value():
    """Their enclosures are single numbers, equal to the answer's: neither below it nor above."""
    record = RewardRecord("s", RecordType("U", (Feature("x", "real", Fraction(-1), Fraction(1)),)))
    tensors = {"lo": np.zeros(1, dtype=np.float32), "hi": np.ones(1, dtype=np.float32)}
    tensors |= {"s": np.full(1, 10, dtype=np.float32), "t": np.zeros(1, dtype=np.float32)}
    artifact = Artifact((record,), Graph((Input(), Scale(0, "s", "t"), Clip(1, "lo", "hi")), 2), tensors, "exact")
    rows = np.array([[-0.9], [-0.5], [0.03], [0.5], [0.7], [0.9]])
    values = [0, 0, 10 * Fraction(0.03), 1, 1, 1]
    for k in range(1, 7):
        assert statistic(artifact, rows, "quantile", Fraction(k, 6)) == values[k - 1]
    assert statistic(artifact, rows, "mean") == sum(values) / 6
    assert statistic(artifact, rows[:2], "max") == statistic(artifact, rows[:2], "min") == 0


def test_no_rows_is_an_error():
    artifact = random_artifact(np.random.default_rng(0))
    with pytest.raises(DataError) as caught:
        statistic(artifact, np.zeros((0, 2)), "mean")
    assert caught.value.code == "D08"
    with pytest.raises(ValueError):
        statistic(artifact, np.zeros((1, 2)), "quantile", Fraction(3, 2))
