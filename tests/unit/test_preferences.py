"""Bradley-Terry on segments: it recovers a known reward's order, generalises, and exports what it trained."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewarden.reward.agreement import evaluate, random_rows
from rewarden.reward.artifact import RewardRecord
from rewarden.reward.deployed import forward
from rewarden.reward.figures import auc, share_text, wilson
from rewarden.reward.learners.interface import Comparisons, Run
from rewarden.reward.learners.networks import Network as _Network
from rewarden.reward.learners.networks import pruned as _pruned
from rewarden.reward.learners.options import PreferenceOptions
from rewarden.reward.learners.preferences import Preferences
from rewarden.spec_lang.errors import ArtifactError, DataError, UsageError
from rewarden.spec_lang.features import Feature, RecordType

STEP = RecordType(
    "Step",
    (
        Feature("speed", "real", Fraction(0), Fraction(40), "m/s"),
        Feature("offset", "real", Fraction(-2), Fraction(2), "m"),
        Feature("lead", "bool", Fraction(0), Fraction(1)),
    ),
)
SMALL = PreferenceOptions(hidden=12, epochs=40, batch=64)


def truth(rows: np.ndarray) -> np.ndarray:
    return rows[..., 0] / 20 - 2 * np.abs(rows[..., 1]) + 0.3 * rows[..., 2]


def comparisons(pairs: int = 500, slips: float = 0.0) -> Comparisons:
    rng = np.random.default_rng(11)
    segments = random_rows([STEP], pairs * 2 * 4, 2).astype(np.float64).reshape(pairs, 2, 4, STEP.width)
    sums = truth(segments).sum(axis=2)
    swap = (sums[:, 0] < sums[:, 1]) ^ (rng.random(pairs) < slips)
    segments[swap] = segments[swap][:, ::-1]
    return Comparisons(RewardRecord("s", STEP), segments)


@pytest.fixture(scope="module")
def artifact():
    return Preferences().fit(comparisons(), SMALL, Run(2))


def accuracy(artifact, data: Comparisons) -> float:
    flat = data.segments.reshape(-1, STEP.width).astype(np.float32)
    sums = forward(artifact, flat).astype(np.float64).reshape(data.segments.shape[:3]).sum(axis=2)
    return float(np.mean(sums[:, 0] > sums[:, 1]))


def test_it_orders_segments_as_the_judge_does(artifact):
    assert accuracy(artifact, comparisons()) > 0.93


def test_slips_of_the_hand_do_not_spoil_it():
    artifact = Preferences().fit(comparisons(slips=0.1), SMALL, Run(2))
    assert accuracy(artifact, comparisons(slips=0.0)) > 0.9


def test_the_record_states_held_out_accuracy_with_its_interval(artifact):
    text = artifact.learner.record["accuracy, held out"]
    assert float(text.split()[0]) > 0.85
    assert "95 % interval" in text
    assert "n = 75" in text


def test_rewards_of_recorded_steps_have_mean_0(artifact):
    rows = comparisons().segments.reshape(-1, STEP.width).astype(np.float32)
    assert abs(float(forward(artifact, rows).mean())) < 0.1
    assert artifact.identified == "shift"


def test_the_stated_path_norm_bounds_the_slope(artifact):
    """In normalised units; the normaliser's factors bring it to problem units."""
    bound = float(artifact.learner.record["path norm"]) + 1e-3
    scale = artifact.tensors[artifact.graph.nodes[1].scale].astype(float)
    rows = random_rows([STEP], 400, 9).astype(float)
    step = 1e-4 / scale
    for column in range(STEP.width):
        moved = rows.copy()
        moved[:, column] += step[column]
        slope = np.abs(evaluate(artifact, moved)[0] - evaluate(artifact, rows)[0]) / 1e-4
        assert slope.max() <= bound


def test_smoothness_makes_it_gentler():
    rough = Preferences().fit(comparisons(200), PreferenceOptions(hidden=12, epochs=15, smoothness=0.0), Run(2))
    smooth = Preferences().fit(comparisons(200), PreferenceOptions(hidden=12, epochs=15, smoothness=0.02), Run(2))
    assert float(smooth.learner.record["path norm"]) < float(rough.learner.record["path norm"])


def test_pruning_removes_what_does_nothing_and_keeps_the_rest():
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    first, second, last = normal(6, 3), normal(5, 6), normal(1, 5)
    last[0, 1] = 0.0  # nothing reads unit 1 of the second layer
    second[2] = 0.0  # and unit 2 is constant
    network = _Network((first, second, last), (normal(6), normal(5), normal(1)))
    z = normal(50, 3)
    pruned = _pruned(network, z, 1e-9)
    assert [len(bias) for bias in pruned.biases] == [6, 3, 1]
    assert torch.allclose(network(z), pruned(z), atol=1e-12)


def test_a_penalty_is_obeyed():
    """Speed must not pay: the penalty asks for it on pairs that differ in speed only."""
    slow = torch.tensor([[10.0, o, 1.0] for o in np.linspace(-2, 2, 9).tolist()])
    fast = slow + torch.tensor([20.0, 0.0, 0.0])

    def penalty(reward, generator):
        return torch.relu(reward(fast) - reward(slow)).mean()

    options = PreferenceOptions(hidden=12, epochs=25, penalty_weight=10.0, batch=64)
    plain = Preferences().fit(comparisons(), options, Run(2))
    tamed = Preferences().fit(comparisons(), options, Run(2, penalty=penalty))

    def pay(artifact):
        return float((forward(artifact, fast.numpy()) - forward(artifact, slow.numpy())).mean())

    assert pay(plain) > 0.2
    assert pay(tamed) < 0.1


def test_early_stopping_ends_before_the_last_epoch():
    options = PreferenceOptions(hidden=8, epochs=500, patience=2, batch=64)
    artifact = Preferences().fit(comparisons(100, slips=0.3), options, Run(0))
    assert int(artifact.learner.record["epochs"]) < 500


def test_a_training_that_diverges_leaves_no_artifact():
    options = PreferenceOptions(hidden=4, epochs=4, learning_rate=1e200, label_noise=0.0, weight_decay=0.0)
    with pytest.raises(ArtifactError, match="diverged"):
        Preferences().fit(comparisons(60), options, Run(0))


def test_too_few_pairs_are_refused():
    with pytest.raises(DataError) as caught:
        Preferences().fit(comparisons(5), SMALL, Run(0))
    assert caught.value.code == "D20"


@pytest.mark.parametrize(
    "bad", [{"label_noise": 0.5}, {"layers": 0}, {"held_out": 0.5, "validation": 0.4}, {"prune": 0.5}]
)
def test_options_are_checked(bad):
    with pytest.raises(UsageError):
        PreferenceOptions(**bad)


# ── figures ────────────────────────────────────────────────────────────────────────────────────
@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_contains_the_share_and_stays_in_range(case):
    successes, trials = case
    lo, hi = wilson(successes, trials)
    assert -1e-12 <= lo <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= hi <= 1 + 1e-12


def test_wilson_against_a_published_value():
    lo, hi = wilson(15, 148)  # Newcombe 1998, table I: 0.0624 to 0.1605
    assert (round(lo, 4), round(hi, 4)) == (0.0624, 0.1605)
    assert share_text(1, 2).startswith("0.5000 (95 % interval 0.0945 to 0.9055")


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_auc_counts_pairs(above, below):
    a, b = np.array(above, float), np.array(below, float)
    slow = np.mean([(x > y) + 0.5 * (x == y) for x in a for y in b])
    assert auc(a, b) == pytest.approx(slow)


@pytest.mark.parametrize("precision", ["single", "double"])
def test_either_precision_learns_as_well_and_the_same_twice(precision):
    options = replace(SMALL, precision=precision)
    artifact = Preferences().fit(comparisons(), options, Run(2))
    assert accuracy(artifact, comparisons()) > 0.93
    assert Preferences().fit(comparisons(), options, Run(2)).digest == artifact.digest
    with pytest.raises(UsageError, match="precision"):
        PreferenceOptions(precision="half")
