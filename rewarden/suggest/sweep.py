"""What a reward does when one feature is changed and nothing else: counterfactual rows, all alternatives at each."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.features import Feature
from rewarden.suggest.scene import Rows, Subject, evenly, possible, score

STEPS = 9  # values of a number's range that are tried
_CELLS = 1 << 24  # of counterfactual rows at a time


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """`scores` [row, alternative]; `valid` where the assumptions hold. Alternatives [j, width] are the feature's
    encoded columns, in ascending order for a number."""

    feature: Feature
    alternatives: Rows
    scores: Rows
    valid: NDArray[np.bool_]

    def movement(self) -> Rows:
        """Per row, how far the reward moves over the feature's valid alternatives."""
        high = np.where(self.valid, self.scores, -np.inf).max(axis=1)
        low = np.where(self.valid, self.scores, np.inf).min(axis=1)
        return np.where(self.valid.sum(axis=1) > 1, high - low, 0.0)

    def moved(self, subject: Subject, row: NDArray[np.intp], alternative: NDArray[np.intp]) -> Rows:
        """The counterfactual records themselves."""
        rows = subject.base[row].copy()
        start = subject.record.offset(self.feature.name)
        rows[:, start : start + self.feature.width] = self.alternatives[alternative]
        return rows


def sweep(subject: Subject, feature: Feature) -> Sweep:
    """The feature at every alternative, at every base row."""
    alternatives = _alternatives(subject, feature)
    start, (n, width) = subject.record.offset(feature.name), subject.base.shape
    scores = np.empty((n, len(alternatives)))
    valid = np.empty((n, len(alternatives)), dtype=np.bool_)
    at_once = max(1, _CELLS // max(1, width * len(alternatives)))
    for first in range(0, n, at_once):
        base = subject.base[first : first + at_once]
        rows = np.repeat(base, len(alternatives), axis=0)
        rows[:, start : start + feature.width] = np.tile(alternatives, (len(base), 1))
        shape = (len(base), len(alternatives))
        scores[first : first + at_once] = score(subject.artifact, rows).reshape(shape)
        valid[first : first + at_once] = possible(subject.scene, subject.record, rows).reshape(shape)
    return Sweep(feature, alternatives, scores, valid)


def _alternatives(subject: Subject, feature: Feature) -> Rows:
    lo, hi = float(feature.lo), float(feature.hi)
    if feature.kind == "enum":
        return np.eye(len(feature.cases))
    if feature.kind == "bool":
        return np.array([[0.0], [1.0]])
    if feature.is_vector:
        start = subject.record.offset(feature.name)
        seen = evenly(subject.base[:, start : start + feature.size], STEPS)
        return np.concatenate([seen, np.full((1, feature.size), lo), np.full((1, feature.size), hi)])
    if feature.kind == "int":
        return np.unique(np.round(np.linspace(ceil(feature.lo), floor(feature.hi), STEPS)))[:, None]
    return np.unique(np.clip(np.linspace(lo, hi, STEPS), _up(lo, feature), _down(hi, feature)))[:, None]


def _up(lo: float, feature: Feature) -> float:
    """The declared end in binary64, inside the range."""
    return lo if lo >= feature.lo else float(np.nextafter(lo, np.inf))


def _down(hi: float, feature: Feature) -> float:
    return hi if hi <= feature.hi else float(np.nextafter(hi, -np.inf))
