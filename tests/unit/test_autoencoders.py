"""The mixture of autoencoders: what it exports is what it trained, and it tells good from made-up situations."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from rewarden.reward.agreement import evaluate, random_rows
from rewarden.reward.artifact import RewardRecord
from rewarden.reward.deployed import forward
from rewarden.reward.figures import auc
from rewarden.reward.graph import Clip, ReduceMax, ReduceMin, Scale
from rewarden.reward.learners.autoencoders import Autoencoders
from rewarden.reward.learners.interface import Demonstrations, Run
from rewarden.reward.learners.options import AutoencoderOptions
from rewarden.spec_lang.errors import ArtifactError, DataError, UsageError
from rewarden.spec_lang.features import Feature, RecordType

STEP = RecordType(
    "Step",
    (
        Feature("speed", "real", Fraction(0), Fraction(40), "m/s"),
        Feature("gap", "real", Fraction(0), Fraction(100), "m"),
        Feature("lead", "bool", Fraction(0), Fraction(1)),
        Feature("lane", "enum", Fraction(0), Fraction(1), None, ("right", "left")),
    ),
)
SMALL = AutoencoderOptions(experts=3, hidden=6, code=2, epochs=25, warm_up=6, batch=64)


def demos(count: int = 400) -> Demonstrations:
    """Drivers who keep a two-second gap, in the right lane when slow."""
    rng = np.random.default_rng(5)
    speed = rng.uniform(5, 35, count)
    gap = np.clip(2 * speed + rng.normal(0, 2, count), 0, 100)
    right = (speed < 20).astype(float)
    rows = np.stack([speed, gap, np.ones(count), right, 1 - right], axis=1)
    return Demonstrations(RewardRecord("s", STEP), rows)


@pytest.fixture(scope="module")
def artifact():
    return Autoencoders().fit(demos(), SMALL, Run(3))


def test_scores_lie_between_0_and_1_and_demonstrations_score_high(artifact):
    rows = demos().rows.astype(np.float32)
    scores = forward(artifact, rows)
    assert scores.min() >= 0.0
    assert scores.max() <= 1.0
    assert np.median(scores) > 0.6
    # 1 is given up to the 10 % quantile of errors, 0 from the 99 %.
    assert 0.05 < np.mean(scores == 1.0) < 0.2
    assert np.mean(scores == 0.0) < 0.05


def test_made_up_situations_score_lower(artifact):
    fake = random_rows([STEP], 500, 1)
    good = forward(artifact, demos().rows.astype(np.float32)).astype(float)
    assert auc(good, forward(artifact, fake).astype(float)) > 0.9


def test_far_outside_the_demonstrations_the_score_is_0(artifact):
    tailgating = np.array([[35.0, 0.0, 1.0, 0.0, 1.0], [5.0, 100.0, 1.0, 0.0, 1.0]], np.float32)
    assert (forward(artifact, tailgating) == 0.0).all()


def test_the_export_is_the_network_that_was_calibrated(artifact):
    """The record's figure comes from the torch side; the graph must reproduce it on the same rows."""
    assert artifact.learner is not None
    value, error = evaluate(artifact, demos().rows)
    rows = demos().rows.astype(np.float32)
    assert np.all(np.abs(forward(artifact, rows) - evaluate(artifact, rows.astype(float))[0]) <= error + 1e-6)
    assert float(artifact.learner.record["mean reward, held out"]) == pytest.approx(value.mean(), abs=0.1)


def test_it_is_piecewise_linear_with_a_normaliser_inside(artifact):
    kinds = [type(node) for node in artifact.graph.nodes]
    assert Scale in kinds
    assert ReduceMin in kinds
    assert isinstance(artifact.graph.nodes[artifact.graph.output], Clip)
    assert artifact.identified == "exact"


def test_weights_have_short_mantissas(artifact):
    for name, tensor in artifact.tensors.items():
        mantissa, _ = np.frexp(np.abs(tensor[tensor != 0]).astype(np.float64))
        assert np.all(mantissa * 2**17 == np.round(mantissa * 2**17)), name


def test_linf_reconstruction_error():
    options = AutoencoderOptions(experts=1, hidden=4, code=2, epochs=4, warm_up=1, error="linf")
    artifact = Autoencoders().fit(demos(100), options, Run(0))
    kinds = [type(node) for node in artifact.graph.nodes]
    assert ReduceMax in kinds
    assert ReduceMin not in kinds  # one expert needs no minimum


def test_the_record_says_how_it_was_learned(artifact):
    learner = artifact.learner
    assert learner is not None
    assert learner.name == "autoencoders"
    assert learner.seed == 3
    assert learner.options["experts"] == "3"
    assert all(isinstance(text, str) for text in (*learner.options.values(), *learner.record.values()))


def test_a_penalty_changes_the_reward_in_the_asked_direction():
    """No reward above 0.2 for driving fast: asked for by a penalty, it is learned."""
    fast = torch.tensor([[s, 2 * s, 1.0, 0.0, 1.0] for s in (28.0, 30.0, 32.0, 34.0)])

    def penalty(reward, generator):
        return torch.relu(reward(fast) - 0.2).mean()

    options = AutoencoderOptions(experts=2, hidden=6, code=2, epochs=20, warm_up=4, penalty_weight=20.0)
    plain = Autoencoders().fit(demos(), options, Run(1))
    tamed = Autoencoders().fit(demos(), options, Run(1, penalty=penalty))
    rows = fast.numpy()
    assert forward(tamed, rows).mean() < forward(plain, rows).mean() - 0.1


def test_progress_is_told_every_epoch():
    calls: list[tuple[str, int, int]] = []
    options = AutoencoderOptions(experts=1, hidden=3, code=1, epochs=3, warm_up=1)
    Autoencoders().fit(demos(50), options, Run(0, progress=lambda s, d, t, n: calls.append((s, d, t))))
    assert calls == [("autoencoders", k, 3) for k in (1, 2, 3)]


@pytest.mark.parametrize("epochs", [2, 25])
def test_of_constant_data_the_one_situation_scores_1_as_the_record_says(epochs):
    rows = np.tile(np.array([[20.0, 40.0, 1.0, 1.0, 0.0]]), (60, 1))
    options = replace(SMALL, epochs=epochs, warm_up=1)
    artifact = Autoencoders().fit(Demonstrations(RewardRecord("s", STEP), rows), options, Run(0))
    assert forward(artifact, rows.astype(np.float32)) == pytest.approx(1.0, abs=0.02)
    assert float(artifact.learner.record["mean reward, held out"]) == pytest.approx(1.0, abs=0.02)


def test_a_training_that_diverges_leaves_no_artifact():
    options = AutoencoderOptions(experts=2, hidden=4, code=2, epochs=3, warm_up=1, learning_rate=1e200)
    with pytest.raises(ArtifactError, match=r"not finite|no epoch had a finite loss"):
        Autoencoders().fit(demos(100), options, Run(0))


def test_too_few_rows_are_refused():
    with pytest.raises(DataError, match="too few") as caught:
        Autoencoders().fit(demos(5), SMALL, Run(0))
    assert caught.value.code == "D20"


@pytest.mark.parametrize(
    "bad",
    [{"experts": 0}, {"error": "l2"}, {"full_quantile": 0.9, "zero_quantile": 0.5}, {"held_out": 1.0}, {"epochs": -1}],
)
def test_options_are_checked(bad):
    with pytest.raises(UsageError) as caught:
        AutoencoderOptions(**bad)
    assert caught.value.code == "G12"
