"""Ties, rankings, annotators and weights: likelihoods against formulas, learning against a known truth, bad answers."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.reward.learners.answers import Answers, Noise, asked, checked, loss
from rewarden.reward.learners.interface import Comparisons, Run
from rewarden.reward.learners.options import PreferenceOptions
from rewarden.reward.learners.preferences import Preferences
from rewarden.reward.segments import read_comparisons, read_rankings
from rewarden.spec_lang.errors import DataError, UsageError
from tests.reference.small_data import RECORD, STEP, comparisons, rows, truth

SMALL = PreferenceOptions(hidden=12, epochs=30, batch=64)
NOTHING = torch.empty(1, 0)
floats = st.floats(-5, 5)


def likelihood(sums: list[float], noise: Noise, **answer: torch.Tensor) -> float:
    answers = Answers(NOTHING, **answer)
    return float(torch.exp(-loss(torch.tensor([sums], dtype=torch.float64), answers, noise)))


@given(floats, floats, st.floats(-3, 3), st.floats(0, 0.49))
def test_the_three_answers_to_a_pair_are_all_there_are(a: float, b: float, tie: float, slips: float) -> None:
    noise = Noise(slips, torch.tensor([tie], dtype=torch.float64))
    yes, no = torch.tensor([True]), torch.tensor([False])
    found = (
        likelihood([a, b], noise, ties=no) + likelihood([b, a], noise, ties=no) + likelihood([a, b], noise, ties=yes)
    )
    assert found == pytest.approx(1.0)


@given(st.lists(floats, min_size=2, max_size=4), st.floats(0, 0.49))
def test_the_orders_of_a_ranking_are_all_there_are(sums: list[float], slips: float) -> None:
    total = sum(
        likelihood([sums[k] for k in order], Noise(slips), places=torch.tensor([len(sums)]))
        for order in permutations(range(len(sums)))
    )
    assert total == pytest.approx(1.0)


@given(floats, floats, st.floats(0, 0.49))
def test_a_ranking_of_two_is_a_pair(a: float, b: float, slips: float) -> None:
    pair, ranking = likelihood([a, b], Noise(slips)), likelihood([a, b], Noise(slips), places=torch.tensor([2]))
    assert pair == pytest.approx(ranking)
    assert pair == pytest.approx((1 - 2 * slips) / (1 + np.exp(b - a)) + slips)


def test_places_beyond_a_ranking_are_not_looked_at() -> None:
    short = likelihood([1.0, 0.5, 700.0], Noise(0.0), places=torch.tensor([2]))
    assert short == pytest.approx(likelihood([1.0, 0.5], Noise(0.0)))


def test_huge_rewards_give_finite_losses_and_gradients() -> None:
    for answer in ({}, {"ties": torch.tensor([True, False])}, {"places": torch.tensor([2, 2])}):
        sums = torch.tensor([[1e6, -1e6], [-1e6, 1e6]], dtype=torch.float64, requires_grad=True)
        for noise in (
            Noise(0.02, torch.zeros(1, dtype=torch.float64)),
            Noise(0.0, torch.zeros(1, dtype=torch.float64)),
        ):
            found = loss(sums, Answers(NOTHING, **answer), noise)
            (slope,) = torch.autograd.grad(found, sums)
            assert torch.isfinite(found)
            assert torch.isfinite(slope).all()


# ── learning ───────────────────────────────────────────────────────────────────────────────────
def agreement(artifact: Artifact) -> float:
    data = comparisons(400, seed=77)
    flat = data.segments.reshape(-1, STEP.width).astype(np.float32)
    sums = forward(artifact, flat).astype(np.float64).reshape(data.segments.shape[:3]).sum(axis=2)
    return float(np.mean(sums[:, 0] > sums[:, 1]))


def test_rankings_teach_and_may_differ_in_length() -> None:
    whole = comparisons(400, places=4, steps=1)
    places = np.random.default_rng(0).integers(2, 5, 400)
    artifact = Preferences().fit(replace(whole, places=places), replace(SMALL, epochs=60), Run(1))
    assert agreement(artifact) > 0.9
    assert artifact.identified == "shift"
    assert artifact.learner is not None
    assert "rankings" in artifact.learner.record["accuracy, held out"]


def test_ties_teach_that_rewards_are_close() -> None:
    data = comparisons(600, steps=1)
    sums = truth(data.segments).sum(axis=2)
    ties = sums[:, 0] - sums[:, 1] < 0.5
    artifact = Preferences().fit(replace(data, ties=ties), SMALL, Run(1))
    assert agreement(artifact) > 0.9
    assert artifact.learner is not None
    assert float(artifact.learner.record["ties, Davidson's nu"]) > 0.1
    flat = data.segments.reshape(-1, STEP.width).astype(np.float32)
    gaps = np.abs(np.diff(forward(artifact, flat).reshape(-1, 2), axis=1)[:, 0])
    assert gaps[ties].mean() < gaps[~ties].mean() / 2


def test_who_answers_at_random_is_found_out() -> None:
    data = comparisons(600, steps=1)
    who = np.arange(600) % 2
    guessed = (who == 1) & (np.random.default_rng(0).random(600) < 0.5)
    segments = data.segments.copy()
    segments[guessed] = segments[guessed][:, ::-1]
    told = replace(data, segments=segments, annotators=who, names=("careful", "guessing"))
    artifact = Preferences().fit(told, replace(SMALL, annotators="apart", epochs=60), Run(1))
    assert artifact.learner is not None
    careful, guessing = (float(artifact.learner.record[f"share of slips, {n}"]) for n in ("careful", "guessing"))
    assert careful < 0.15
    assert guessing > 0.25


def test_answers_of_weight_0_do_not_teach() -> None:
    data = comparisons(400, steps=1)
    half = np.arange(400) < 200
    segments = data.segments.copy()
    segments[half] = segments[half][:, ::-1]
    artifact = Preferences().fit(replace(data, segments=segments, weights=(~half).astype(float)), SMALL, Run(1))
    assert agreement(artifact) > 0.9


# ── bad answers ────────────────────────────────────────────────────────────────────────────────
def test_answers_that_contradict_each_other_throughout_are_refused() -> None:
    data = comparisons(30)
    both = np.concatenate([data.segments, data.segments[:, ::-1]])
    with pytest.raises(DataError, match="contradict each other throughout") as caught:
        Preferences().fit(Comparisons(RECORD, both), SMALL, Run(0))
    assert caught.value.code == "D22"


@pytest.mark.parametrize("places", [None, np.repeat([2, 3, 4], 20)])
def test_rankings_that_contradict_each_other_throughout_are_refused(places: np.ndarray | None) -> None:
    one = comparisons(60, places=4)
    count = np.full(60, 4) if places is None else places
    back = np.array([[*range(n - 1, -1, -1), *range(n, 4)] for n in count])  # places beyond stay as they are
    other = np.take_along_axis(one.segments, back[:, :, None, None], axis=1)
    segments = np.concatenate([one.segments, other])
    twice = None if places is None else np.concatenate([places, places])
    with pytest.raises(DataError, match="contradict each other throughout") as caught:
        Preferences().fit(replace(one, segments=segments, places=twice), SMALL)
    assert caught.value.code == "D22"
    kept = replace(one, segments=segments[:63], places=None if twice is None else twice[:63])
    artifact = Preferences().fit(kept, SMALL)
    assert artifact.learner is not None
    assert artifact.learner.record["answers to a question that was asked before"] == "3"
    assert artifact.learner.record["answers that contradict another"] == "3"


def test_a_ranking_of_the_same_segments_in_another_order_is_not_held_out() -> None:
    some = comparisons(40, places=3)
    turned = np.concatenate([some.segments[:, [0, 1, 2]], some.segments[:, [1, 2, 0]], some.segments[:, [2, 0, 1]]])
    flat = np.concatenate([some.segments, turned[40:]]).reshape(120, 3, -1)
    key, order = asked(flat)
    assert len(np.unique(key, axis=0)) == 40
    np.testing.assert_array_equal(key[:40], key[40:80])
    np.testing.assert_array_equal(np.take_along_axis(flat, order[:, :, None], axis=1).reshape(120, -1), key)
    with pytest.raises(DataError, match="contradict each other throughout"):  # each is first, second and last, once
        checked(replace(some, segments=turned))


def test_ties_alone_say_nothing() -> None:
    some = comparisons()
    with pytest.raises(DataError, match="all compared pairs are ties") as caught:
        Preferences().fit(replace(some, ties=np.ones(len(some.segments), np.bool_)), SMALL)
    assert caught.value.code == "D22"
    one = np.arange(len(some.segments)) != 1
    artifact = Preferences().fit(replace(some, ties=one), SMALL)
    assert artifact.learner is not None
    assert artifact.learner.record["accuracy, held out"] == "not known (n = 0)"


def test_some_contradictions_and_repeats_are_counted() -> None:
    data = comparisons(60)
    more = np.concatenate([data.segments, data.segments[:5], data.segments[5:8, ::-1]])
    artifact = Preferences().fit(Comparisons(RECORD, more), replace(SMALL, epochs=2), Run(0))
    assert artifact.learner is not None
    assert artifact.learner.record["answers to a question that was asked before"] == "8"
    assert artifact.learner.record["answers that contradict another"] == "3"


def test_a_question_that_was_asked_before_is_not_held_out() -> None:
    """Only ten questions, each asked thirty times: none is both learned from and held out."""
    segments = np.repeat(comparisons(10, steps=1).segments, 30, axis=0)
    artifact = Preferences().fit(Comparisons(RECORD, segments), replace(SMALL, epochs=2), Run(0))
    assert artifact.learner is not None
    assert "210 training, 30 validation, 60 held out" in artifact.learner.record["pairs"]


def test_comparing_everything_with_itself_says_nothing() -> None:
    segments = rows(60, 0).reshape(30, 1, 2, STEP.width).repeat(2, axis=1)
    with pytest.raises(DataError, match="with itself") as caught:
        Preferences().fit(Comparisons(RECORD, segments), SMALL, Run(0))
    assert caught.value.code == "D22"


def test_a_value_that_is_no_number_is_named() -> None:
    data = comparisons(30)
    segments = data.segments.copy()
    segments[17, 1, 0, 0] = np.nan
    with pytest.raises(DataError, match="answer 18") as caught:
        Preferences().fit(Comparisons(RECORD, segments), SMALL, Run(0))
    assert caught.value.code == "D05"


# ── files ──────────────────────────────────────────────────────────────────────────────────────
def ranking_table(**changes: object) -> pa.Table:
    columns: dict[str, object] = {
        "ranking": [1, 1, 1, 2, 2],
        "place": [2, 1, 3, 1, 2],
        "step": [0, 0, 0, 0, 0],
        "speed": [20.0, 30.0, 10.0, 5.0, 4.0],
        "offset": [0.0] * 5,
        "lead": [True] * 5,
    }
    return pa.table(columns | changes)


def test_rankings_are_read_best_first(tmp_path: Path) -> None:
    pq.write_table(ranking_table(annotator=["a", "a", "a", "b", "b"]), tmp_path / "r.parquet")
    data = read_rankings(tmp_path / "r.parquet", STEP)
    assert data.segments.shape == (2, 3, 1, 3)
    assert data.segments[0, :, 0, 0].tolist() == [30.0, 20.0, 10.0]
    assert data.segments[1, :2, 0, 0].tolist() == [5.0, 4.0]
    assert data.places is not None
    assert data.places.tolist() == [3, 2]
    assert data.annotators is not None
    assert [data.names[k] for k in data.annotators] == ["a", "b"]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"place": [1, 1, 2, 1, 2]}, "a step twice(.|\\n)*compare them in pairs, as ties"),
        ({"place": [1, 2, 2, 1, 2]}, "place 2 has 2 steps(.|\\n)*compare them in pairs, as ties"),
        ({"place": [1, 2, 4, 1, 2]}, "ranking 1 has the places 1, 2, 4"),
        ({"ranking": [1, 1, 1, 1, 2], "place": [1, 2, 3, 4, 1]}, "ranking 2 has the places 1"),
        ({"weight": [1.0, 1.0, 2.0, 1.0, 1.0]}, "weight differs within one answer"),
        ({"weight": [0.0] * 5}, "every weight is 0"),
        ({"annotator": ["a", "a", "a", "b", None]}, "annotator is missing"),
        ({"weight": [-1.0] * 5}, "out of the range"),
    ],
)
def test_rankings_that_make_no_sense_are_refused(changes: dict[str, object], words: str, tmp_path: Path) -> None:
    pq.write_table(ranking_table(**changes), tmp_path / "r.parquet")
    with pytest.raises(DataError, match=words):
        read_rankings(tmp_path / "r.parquet", STEP)


def test_ties_and_weights_of_pairs_are_read(tmp_path: Path) -> None:
    columns: dict[str, object] = {"pair": [2, 1], "step": [0, 0], "tie": [True, False], "weight": [2.0, 1.0]}
    for side in ("better.", "worse."):
        columns |= {side + "speed": [1.0, 2.0], side + "offset": [0.0, 0.0], side + "lead": [True, True]}
    pq.write_table(pa.table(columns), tmp_path / "p.parquet")
    data = read_comparisons(tmp_path / "p.parquet", STEP)
    assert data.ties is not None
    assert data.weights is not None
    assert (data.ties.tolist(), data.weights.tolist()) == ([False, True], [1.0, 2.0])


def test_options_of_annotators_are_checked() -> None:
    with pytest.raises(UsageError, match="annotators"):
        PreferenceOptions(annotators="each")
