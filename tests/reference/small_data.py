"""Small data for every learner, over one record type whose truth is known."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from rewarden.reward.agreement import random_rows
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.learners.interface import Comparisons, Demonstrations, Judgements, Revision, Run
from rewarden.reward.learners.options import (
    AutoencoderOptions,
    CorrectionOptions,
    EnergyOptions,
    LabelOptions,
    Options,
    PaperOptions,
    PreferenceOptions,
    UpdateOptions,
)
from rewarden.reward.learners.registry import REGISTRY
from rewarden.spec_lang.features import Feature, RecordType

STEP = RecordType(
    "Step",
    (
        Feature("speed", "real", Fraction(0), Fraction(40), "m/s"),
        Feature("offset", "real", Fraction(-2), Fraction(2), "m"),
        Feature("lead", "bool", Fraction(0), Fraction(1)),
    ),
)
RECORD = RewardRecord("s", STEP)


def truth(rows: np.ndarray) -> np.ndarray:
    """Rises with speed, falls with the distance from the middle."""
    return np.asarray(rows[..., 0] / 20 - 2 * np.abs(rows[..., 1]) + 0.3 * rows[..., 2])


def rows(count: int, seed: int) -> np.ndarray:
    return random_rows([STEP], count, seed).astype(np.float64)


def demonstrations(count: int = 200) -> Demonstrations:
    """Fast and in the middle."""
    found = rows(count * 20, 1)
    return Demonstrations(RECORD, found[np.argsort(-truth(found))[:count]])


def comparisons(answers: int = 300, places: int = 2, steps: int = 2, seed: int = 2) -> Comparisons:
    segments = rows(answers * places * steps, seed).reshape(answers, places, steps, STEP.width)
    order = np.argsort(-truth(segments).sum(axis=2), axis=1)
    return Comparisons(RECORD, np.take_along_axis(segments, order[:, :, None, None], axis=1))


def judgements(count: int = 300) -> Judgements:
    found = rows(count, 3)
    return Judgements(RECORD, found, truth(found))


def reward() -> Artifact:
    """Something to change."""
    return REGISTRY["labels"].learner().fit(judgements(60), LabelOptions(hidden=6, epochs=4), Run(1))


def statements() -> Comparisons:
    better = np.array([[10.0, 1.5, 1.0], [5.0, -1.5, 0.0]])
    worse = np.array([[35.0, 0.0, 1.0], [30.0, 0.2, 0.0]])
    return Comparisons(RECORD, np.stack([better, worse], axis=1)[:, :, None, :])


SMALL: dict[str, tuple[object, Options]] = {
    "autoencoders": (demonstrations(), AutoencoderOptions(experts=2, hidden=4, code=2, epochs=5, warm_up=2)),
    "paper": (demonstrations(), PaperOptions(experts=2, hidden=4, code=1, epochs=5)),
    "energy": (demonstrations(), EnergyOptions(hidden=6, epochs=5, contrasts=3, batch=64)),
    "preferences": (comparisons(), PreferenceOptions(hidden=6, epochs=5, batch=64)),
    "labels": (judgements(), LabelOptions(hidden=6, epochs=5, batch=64)),
    "update": (Revision(reward(), comparisons(seed=5)), UpdateOptions(hidden=5, epochs=5, batch=64)),
    "corrections": (Revision(reward(), statements()), CorrectionOptions(most=5.0)),
}
"""Learner → data and options that take well under a second."""
TRAINED = tuple(name for name in SMALL if name != "corrections")  # those that the loop trains, and so can resume
