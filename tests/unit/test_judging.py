"""Judging a reward by data: intervals, answers, calibration, baselines, held-out rows, label noise."""

from __future__ import annotations

import importlib
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from rewarden.reward.artifact import Artifact, DataSource
from rewarden.reward.judging.baselines import Quantity, contest, feature_quantities
from rewarden.reward.judging.calibration import calibration, temperature, tempered
from rewarden.reward.judging.held_out import held_out, options_of
from rewarden.reward.judging.intervals import Share, clopper_pearson
from rewarden.reward.judging.made_up import against_made_up, judged_pairs, ordinary
from rewarden.reward.judging.noise import noise_curve
from rewarden.reward.judging.pairs import decided, margins_of, pairs_of, taken
from rewarden.reward.learners import source
from rewarden.reward.learners.ensemble import Ensemble
from rewarden.reward.learners.interface import Comparisons, Demonstrations, Judgements, Revision, Run
from rewarden.reward.learners.options import (
    EnsembleOptions,
    LabelOptions,
    PreferenceOptions,
    UpdateOptions,
    options_text,
)
from rewarden.reward.learners.registry import REGISTRY
from rewarden.reward.learners.update import Update
from rewarden.spec_lang.binomial import compare_upper_tail
from rewarden.spec_lang.errors import UsageError
from tests.reference.small_data import RECORD, SMALL, comparisons, demonstrations, judgements, reward, rows, truth

QUICK = PreferenceOptions(hidden=8, epochs=12)
SOURCE = (DataSource("pairs", "bytes", "table", 1),)


# ── intervals ──────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("hits", "count"), [(0, 10), (7, 10), (10, 10), (1, 1), (300, 1000), (9_999, 10_000)])
def test_clopper_pearson_is_the_inversion_of_the_exact_tails(hits: int, count: int) -> None:
    lo, hi = clopper_pearson(hits, count)
    half, grid = Fraction(1, 40), Fraction(1, 2**20)
    if hits:
        assert compare_upper_tail(count, hits, Fraction(lo), half) <= 0
        assert compare_upper_tail(count, hits, Fraction(lo) + grid, half) > 0
    else:
        assert lo == 0.0
    if hits < count:
        assert compare_upper_tail(count, hits + 1, Fraction(hi), 1 - half) >= 0
        assert compare_upper_tail(count, hits + 1, Fraction(hi) - grid, 1 - half) < 0
    else:
        assert hi == 1.0
    assert lo <= hits / count <= hi


def test_known_intervals() -> None:
    assert clopper_pearson(0, 10) == (0.0, pytest.approx(1 - 0.025**0.1, abs=2e-6))
    assert clopper_pearson(10, 10) == (pytest.approx(0.025**0.1, abs=2e-6), 1.0)
    assert Share(0, 0).exact == (0.0, 1.0)
    with pytest.raises(ValueError, match="no share"):
        clopper_pearson(3, 2)


# ── answers ────────────────────────────────────────────────────────────────────────────────────
def test_margins_said_ties_and_margins_of_nought() -> None:
    artifact = reward()
    data = comparisons(40)
    segments = data.segments.copy()
    segments[3, 1] = segments[3, 0]
    ties = np.zeros(40, np.bool_)
    ties[5] = True
    found = margins_of(artifact, replace(data, segments=segments, ties=ties))
    assert len(found.values) == len(found.right) == 39
    assert len(found.ties) == 1
    assert found.undecided == 1
    assert found.accuracy.count == 39


def test_a_coin_decides_fairly_and_always_alike() -> None:
    found = decided(np.zeros(4000))
    assert 0.45 < found.mean() < 0.55
    assert (found == decided(np.zeros(4000))).all()
    assert decided(np.array([1.0, -1.0])).tolist() == [True, False]


def test_of_a_ranking_one_pair_is_drawn_the_better_first() -> None:
    data = pairs_of(comparisons(200, places=4))
    assert data.segments.shape[1] == 2
    assert (truth(data.segments).sum(axis=2) @ np.array([1.0, -1.0]) >= 0).all()
    weighted = pairs_of(replace(comparisons(10), weights=np.array([0.0] * 4 + [1.0] * 6)))
    assert len(weighted.segments) == 6


# ── calibration ────────────────────────────────────────────────────────────────────────────────
def test_margins_that_are_log_odds_are_calibrated_and_doubled_ones_are_not() -> None:
    rng = np.random.default_rng(1)
    odds = rng.normal(0, 2, 6000)
    right = rng.random(6000) < 1 / (1 + np.exp(-odds))
    margins = np.where(right, odds, -odds)
    good, sure = calibration(margins), calibration(3 * margins)
    assert good.sound
    assert not sure.sound
    assert sure.ece > 3 * good.ece
    assert good.brier < sure.brier
    assert temperature(3 * margins) == pytest.approx(3 * temperature(margins), rel=1e-6)
    assert temperature(margins) == pytest.approx(1.0, abs=0.1)
    scaled, _ = tempered(3 * margins)
    assert calibration(scaled).sound


def test_calibration_by_hand() -> None:
    found = calibration(np.log(np.array([3.0, 1 / 3.0])))
    assert found.brier == pytest.approx((0.25**2 + 0.75**2) / 2)
    assert found.ece == pytest.approx(0.25)
    assert [(b.right.hits, b.right.count) for b in found.bins] == [(1, 2)]
    assert found.log_loss == pytest.approx(-(np.log(0.75) + np.log(0.25)) / 2)


def test_a_reward_that_knows_nothing_has_an_endless_temperature() -> None:
    assert temperature(np.array([1.0, -1.0])) > 1e6
    assert temperature(np.array([1.0, 2.0])) < 1e-6


# ── baselines ──────────────────────────────────────────────────────────────────────────────────
def test_a_reward_must_beat_the_best_trivial_rule() -> None:
    data = comparisons(400, steps=1)
    quantities = feature_quantities(data)
    perfect = np.ones(400, np.bool_)
    found = contest(perfect, quantities, "the best single feature")
    assert found is not None
    assert found.verdict == "beats"
    assert "beats the best single feature" in found.sentence()
    same = contest(decided(quantities[0].differences), quantities[:1], "")
    assert same is not None
    assert same.verdict == "undecided"
    assert "DOES NOT BEAT" in same.sentence()
    rule = Quantity("length", np.ones(400))
    worse = contest(np.arange(400) % 2 == 0, [rule], "")
    assert worse is not None
    assert worse.verdict == "loses"
    assert "WORSE" in worse.sentence()
    assert worse.rule == "“more length is better”"


def test_no_answer_is_judged_by_a_rule_that_was_chosen_with_it() -> None:
    """With hundreds of quantities of noise the best in hindsight is right far more often than one half."""
    rng = np.random.default_rng(3)
    noise = [Quantity(f"q{k}", rng.normal(size=60)) for k in range(400)]
    hindsight = max(float((q.differences > 0).mean()) for q in noise)
    found = contest(np.ones(60, np.bool_), noise, "")
    assert found is not None
    assert hindsight > 0.65
    assert found.rule_accuracy.value < 0.65
    assert contest(np.ones(60, np.bool_), [], "") is None


# ── which rows are new ─────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("name", ["preferences", "labels", "energy", "autoencoders", "paper"])
def test_the_split_of_a_learner_is_drawn_again(name: str) -> None:
    data, options = SMALL[name]
    data = replace(data, sources=SOURCE)
    artifact = REGISTRY[name].learner().fit(data, options, Run(11))
    found = held_out(artifact, data)
    record = artifact.learner.record if artifact.learner else {}
    assert found.fresh
    told = " ".join(record.values())
    count = record.get("held-out rows") or f"{len(found.rows)} held out"
    assert count == str(len(found.rows)) or count in told
    assert options_of(name, options_text(options)) == options
    if name == "preferences":
        assert isinstance(data, Comparisons)
        values = margins_of(artifact, taken(data, found.rows)).values
        assert record["accuracy, held out"].startswith(f"{(values > 0).mean():.4f} ")
        assert f"n = {len(values)}" in record["accuracy, held out"]


def test_data_that_an_artifact_does_not_name_are_new() -> None:
    found = held_out(reward(), comparisons(30))
    assert found.fresh
    assert len(found.rows) == 30
    assert "not among those" in found.why or "names no data" in found.why


def test_of_an_ensemble_what_every_member_held_out() -> None:
    data = replace(comparisons(900), sources=SOURCE)
    options = replace(QUICK, held_out=0.4, epochs=2)
    artifact = Ensemble(REGISTRY["preferences"].learner(), EnsembleOptions(members=2)).fit(data, options, Run(1))
    found = held_out(artifact, data)
    assert found.fresh
    assert 60 < len(found.rows) < 240  # 0.16 of them
    few = replace(artifact, learner=replace(artifact.learner, options={**artifact.learner.options, "members": "9"}))  # type: ignore[type-var, union-attr]
    told = held_out(few, data)
    assert not told.fresh
    assert "WAS LEARNED FROM THEM" in told.why


def test_of_an_updated_reward_what_it_was_first_learned_from_is_not_new() -> None:
    """The update's split was drawn over the tables of the reward below: three rows of four had been learned from."""
    first = replace(comparisons(300), sources=SOURCE)
    other = (replace(SOURCE[0], table_digest="other"),)
    then = replace(comparisons(200), sources=other)
    base = REGISTRY["preferences"].learner().fit(first, replace(QUICK, epochs=1), Run(1))
    options = UpdateOptions(hidden=4, epochs=1)
    child = Update().fit(Revision(base, then), options, Run(2))
    assert held_out(base, first).fresh
    assert held_out(child, then).fresh
    assert not held_out(child, first).fresh
    twice = Update().fit(Revision(base, first), options, Run(3))
    assert not held_out(twice, first).fresh


@pytest.mark.parametrize("name", ["preferences", "labels", "energy", "autoencoders", "paper"])
def test_rows_of_large_data_that_were_trained_on_are_not_held_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large data are dealt out by a hash of their rows, and the split of small ones was drawn for them."""
    monkeypatch.setattr(source, "FEW_ROWS", 50)
    monkeypatch.setattr(source, "FEW_CELLS", 50)
    dealt: list[source.Dealt] = []  # type: ignore[type-arg]

    def noted(*given: object) -> object:
        dealt.append(known(*given))  # type: ignore[arg-type]
        return dealt[-1]

    known = source.dealt
    module = importlib.import_module(f"rewarden.reward.learners.{REGISTRY[name].module}")
    monkeypatch.setattr(module, "dealt", noted)
    data, options = SMALL[name]
    data = replace(data, sources=SOURCE)
    artifact = REGISTRY[name].learner().fit(data, options, Run(11))
    found = held_out(artifact, data)
    assert dealt[0].stream is not None
    assert found.fresh
    assert not np.unpackbits(dealt[0].stream)[found.rows].any()


def test_an_unknown_learner_hides_what_it_held_out() -> None:
    data = replace(comparisons(60), sources=SOURCE)
    artifact = REGISTRY["preferences"].learner().fit(data, replace(QUICK, epochs=1), Run(1))
    told = held_out(replace(artifact, learner=replace(artifact.learner, name="other")), data)  # type: ignore[type-var]
    assert not told.fresh


# ── demonstrations and labels as answers ───────────────────────────────────────────────────────
def test_demonstrations_against_made_up_records() -> None:
    data = demonstrations(60)
    holes = data.rows.copy()
    holes[0, 0] = np.nan
    pairs = against_made_up(Demonstrations(RECORD, holes), "shuffled")
    assert pairs.segments.shape == (59, 2, 1, 3)
    real, made = pairs.segments[:, 0, 0], pairs.segments[:, 1, 0]
    assert (np.sort(real, axis=0) == np.sort(made, axis=0)).all()
    assert (real != made).any()
    uniform = against_made_up(data, "uniform")
    rule = ordinary(uniform, data.rows)
    assert (rule.differences < 0).mean() > 0.7


def test_every_judged_row_is_in_one_pair_at_most_the_higher_first() -> None:
    data = judgements(51)
    pairs = judged_pairs(data)
    assert 20 <= len(pairs.segments) <= 25
    assert (truth(pairs.segments[:, 0, 0]) > truth(pairs.segments[:, 1, 0])).all()
    assert len(np.unique(pairs.segments.reshape(-1, 3), axis=0)) == 2 * len(pairs.segments)


# ── label noise ────────────────────────────────────────────────────────────────────────────────
def test_label_noise_starts_at_the_artifact_and_ends_at_its_opposite() -> None:
    data = replace(comparisons(400, steps=1), sources=SOURCE)
    artifact = REGISTRY["preferences"].learner().fit(data, QUICK, Run(2))
    found = noise_curve(artifact, data, (0.0, 1.0))
    kept = held_out(artifact, data).rows
    assert found[0].accuracy == margins_of(artifact, taken(data, kept)).accuracy
    assert found[0].turned == 0
    assert found[1].turned == found[1].trained == 400 - len(kept)
    assert found[1].accuracy.value < 0.4 < 0.6 < found[0].accuracy.value


def test_label_noise_of_judgements() -> None:
    data = replace(judgements(400), sources=SOURCE)
    artifact = REGISTRY["labels"].learner().fit(data, LabelOptions(hidden=8, epochs=30), Run(2))
    clean, noisy = noise_curve(artifact, data, (0.0, 1.0))
    assert clean.accuracy.value > 0.7
    assert noisy.accuracy.value < clean.accuracy.value


def test_label_noise_is_refused_where_it_means_nothing() -> None:
    def refused(artifact: Artifact, data: Comparisons | Judgements | Demonstrations, *levels: float) -> str:
        with pytest.raises(UsageError) as caught:
            noise_curve(artifact, data, levels or (0.1,))
        return caught.value.code

    data = replace(comparisons(60), sources=SOURCE)
    learned = REGISTRY["preferences"].learner().fit(data, replace(QUICK, epochs=1), Run(1))
    assert refused(learned, data, 1.5) == "G12"
    assert refused(learned, demonstrations(30)) == "G34"
    assert refused(learned, comparisons(60)) == "G34"  # not the table that it was learned from
    assert refused(learned, comparisons(60, places=3)) == "G34"
    assert refused(replace(learned, learner=None), data) == "G34"
    assert rows(1, 1).shape == (1, 3)
