"""Does a margin of 2 mean what it says?

Under Bradley and Terry's model the first segment of a pair is preferred with probability σ(margin). So confidence is
σ(|margin|), from a half to 1, and of the answers of one confidence that share should be right.

- Expected calibration error (Naeini et al. 2015): |share right − mean confidence|, over bins of equally many answers,
  weighted by their size. It is above 0 even for a perfect model, by luck alone: `ece_by_luck` is what such a model
  would stay below in 95 of 100 data sets of this size and these confidences (simulated from a fixed seed).
- Brier's score (1950): the mean of (1 − probability given to what was answered)²; 0.25 for a coin.
- `temperature`: margins divided by it would be most likely. Where a reward's scale means nothing (`exact` or `affine`),
  only what is left after that is a fault, so all figures are given twice: as the margins stand, and after a division by
  the temperature that the *other* half of the answers suggests (two folds), so that nothing is fitted to what it is
  judged on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rewarden.reward.judging.intervals import Share
from rewarden.reward.judging.pairs import Bools, decided
from rewarden.reward.learners.interface import Array

BINS = 10
FEWEST_IN_BIN = 20
SIMULATED = 400
COIN_BRIER, COIN_LOSS = 0.25, float(np.log(2.0))
WIDEST = 16.0  # |log temperature|


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of similar confidence: its mean, and how many were right."""

    lo: float
    hi: float
    confidence: float
    right: Share


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Figures of one set of margins."""

    bins: tuple[Bin, ...]
    ece: float
    ece_by_luck: float
    brier: float
    log_loss: float

    @property
    def sound(self) -> bool:
        """Whether luck explains the calibration error."""
        return self.ece <= self.ece_by_luck

    def to_json(self) -> dict[str, Any]:
        return {
            "ece": self.ece,
            "ece_by_luck_95": self.ece_by_luck,
            "brier": self.brier,
            "brier_of_a_coin": COIN_BRIER,
            "log_loss": self.log_loss,
            "log_loss_of_a_coin": COIN_LOSS,
            "reliability": [
                {"from": b.lo, "to": b.hi, "confidence": b.confidence, "right": b.right.to_json()} for b in self.bins
            ],
        }


def calibration(margins: Array) -> Calibration:
    """Of margins [answer], as log-odds; at least one answer."""
    confidence = _sigmoid(np.abs(margins))
    right = decided(margins)
    cuts = _cuts(confidence)
    bins = []
    for rows in cuts:
        c = confidence[rows]
        bins.append(Bin(float(c.min()), float(c.max()), float(c.mean()), Share(int(right[rows].sum()), len(rows))))
    chosen = _sigmoid(margins)
    loss = np.logaddexp(0.0, -margins)
    return Calibration(
        tuple(bins), _ece(confidence, right, cuts), _luck(confidence, cuts), float(((1.0 - chosen) ** 2).mean()),
        float(loss.mean()),
    )  # fmt: skip


def tempered(margins: Array, seed: int = 0) -> tuple[Array, float]:
    """Margins each divided by the temperature of the other half, and the temperature of all."""
    order = np.random.default_rng(seed).permutation(len(margins))
    found = np.empty_like(margins)
    for mine, other in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        found[mine] = margins[mine] / temperature(margins[other] if len(other) else margins[mine])
    return found, temperature(margins)


def temperature(margins: Array) -> float:
    """The most likely one, by bisection of the derivative of the convex loss in 1/temperature; at most e^16 where the
    margins carry nothing, at least e^-16 where they are never wrong."""
    if not margins.any():
        return 1.0
    lo, hi = -WIDEST, WIDEST  # of log(1/temperature)
    for _ in range(60):
        middle = (lo + hi) / 2
        slope = -(margins * _sigmoid(-margins * np.exp(middle))).mean()
        lo, hi = (middle, hi) if slope <= 0 else (lo, middle)  # 0 where all terms underflow
    return float(np.exp(-(lo + hi) / 2))


def _sigmoid(x: Array) -> Array:
    return np.asarray(np.exp(-np.logaddexp(0.0, -x)))


def _cuts(confidence: Array) -> list[np.ndarray]:
    """Bins of equally many answers, in the order of confidence."""
    order = np.argsort(confidence, kind="stable")
    count = max(1, min(BINS, len(order) // FEWEST_IN_BIN))
    return [rows for rows in np.array_split(order, count) if len(rows)]


def _ece(confidence: Array, right: Bools, cuts: list[np.ndarray]) -> float:
    gaps = [len(rows) * abs(float(right[rows].mean()) - float(confidence[rows].mean())) for rows in cuts]
    return sum(gaps) / len(confidence)


def _luck(confidence: Array, cuts: list[np.ndarray], seed: int = 0) -> float:
    rng = np.random.default_rng(seed)
    found = [_ece(confidence, rng.random(len(confidence)) < confidence, cuts) for _ in range(SIMULATED)]
    return float(np.quantile(found, 0.95))
