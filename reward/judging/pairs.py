"""Answers as pairs, and what a reward makes of them: margins, and how many it orders as people did.

A pair is two segments of which the first was preferred; its margin is the sum of the deployed rewards over the first
less that over the second. Said ties are counted apart. Of a ranking one pair of places is drawn, so that answers stay
independent. Where a margin is exactly 0 the reward has no opinion: a coin (of a fixed seed) decides whether it counts
as right, as chance would have it; how often that was is said.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.reward.judging.intervals import Share
from rewarden.reward.learners.interface import Array, Comparisons

LEVELS = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Margins:
    """`values` [pair] of decided answers, `right` [pair] with coins thrown, `ties` [pair] margins of said ties."""

    values: Array
    right: Bools
    undecided: int
    ties: Array
    weights: Array | None = None

    @property
    def accuracy(self) -> Share:
        return Share(int(self.right.sum()), len(self.right))

    @property
    def weighted(self) -> float | None:
        """The accuracy with answers counted by their weights; it has no interval."""
        if self.weights is None or not self.weights.sum() > 0:
            return None
        return float((self.right * self.weights).sum() / self.weights.sum())

    def quantiles(self) -> dict[str, float]:
        return {f"{level:g}": float(q) for level, q in zip(LEVELS, np.quantile(self.values, LEVELS), strict=True)}

    def to_json(self) -> dict[str, Any]:
        return {
            "accuracy": self.accuracy.to_json(),
            "weighted_accuracy": self.weighted,
            "no_opinion": self.undecided,
            "said_ties": len(self.ties),
            "margin_quantiles": self.quantiles() if len(self.values) else {},
        }


def pairs_of(data: Comparisons, seed: int = 0) -> Comparisons:
    """Pairs alone: of each ranking two of its places, drawn at random. Answers of weight 0 are left out."""
    rng = np.random.default_rng(seed)
    count, most = data.segments.shape[:2]
    if most > 2 or data.places is not None:
        places = np.full(count, most) if data.places is None else data.places
        first = rng.integers(0, places)
        second = (first + rng.integers(1, places)) % places
        chosen = np.stack([np.minimum(first, second), np.maximum(first, second)], axis=1)
        data = replace(data, segments=data.segments[np.arange(count)[:, None], chosen], places=None)
    if data.weights is not None and not (data.weights > 0).all():
        data = taken(data, np.flatnonzero(data.weights > 0))
    return data


def taken(data: Comparisons, rows: NDArray[np.intp]) -> Comparisons:
    """Those answers alone."""
    optional = {
        name: value[rows]
        for name in ("places", "ties", "weights", "annotators", "ids")
        if (value := getattr(data, name)) is not None
    }
    return replace(data, segments=data.segments[rows], **optional)


def segment_sums(artifact: Artifact, segments: Array) -> Array:
    """Sums of deployed rewards [answer, place] over segments [answer, place, step, width]."""
    flat = np.ascontiguousarray(segments.reshape(-1, segments.shape[-1]), np.float32)
    return np.asarray(forward(artifact, flat).astype(np.float64).reshape(segments.shape[:3]).sum(axis=2))


def margins_of(artifact: Artifact, data: Comparisons) -> Margins:
    """What the reward makes of pairs."""
    sums = segment_sums(artifact, data.segments)
    every = sums[:, 0] - sums[:, 1]
    said = np.zeros(len(every), np.bool_) if data.ties is None else data.ties
    values = every[~said]
    weights = None if data.weights is None else data.weights[~said]
    return Margins(values, decided(values), int((values == 0).sum()), every[said], weights)


def decided(margins: Array, seed: int = 0) -> Bools:
    """Whether each margin is right, coins thrown where it is 0."""
    coins = np.random.default_rng(seed).integers(0, 2, len(margins)).astype(np.bool_)
    return np.where(margins == 0, coins, margins > 0)
