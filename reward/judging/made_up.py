"""Demonstrations as answers: each against a made-up record, and a reward should prefer the real one.

Two kinds of made-up records: `shuffled` takes every feature from another demonstration, so that each is right alone and
only what goes together tells; `uniform` is drawn from the declared ranges. Judged records are paired at random with
others that were judged differently.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rewarden.reward.agreement import random_rows
from rewarden.reward.judging.baselines import Quantity
from rewarden.reward.learners.interface import Array, Comparisons, Demonstrations, Judgements
from rewarden.spec_lang.features import RecordType

KINDS: Mapping[str, str] = {
    "shuffled": "real rows against rows whose features come from different rows",
    "uniform": "real rows against rows drawn uniformly from the declared ranges",
}


def against_made_up(data: Demonstrations, kind: str, seed: int = 0) -> Comparisons:
    """One pair for each row without missing values, in their order, the real row first."""
    real = data.rows[~np.isnan(data.rows).any(axis=1)]
    rng = np.random.default_rng(seed)
    made = (
        _shuffled(real, data.record.type, rng)
        if kind == "shuffled"
        else random_rows([data.record.type], len(real), seed).astype(np.float64)
    )
    return Comparisons(data.record, np.stack([real, made], axis=1)[:, :, None, :], data.sources)


def ordinary(data: Comparisons, known: Array) -> Quantity:
    """How far a record is from the average of `known` rows, in spreads of each column: the trivial way to tell real
    records from others."""
    mean, spread = known.mean(axis=0), known.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    far = (np.abs(data.segments - mean) / spread).sum(axis=3).sum(axis=2)
    return Quantity("distance from the average row", far[:, 0] - far[:, 1])


def judged_pairs(data: Judgements, seed: int = 0) -> Comparisons:
    """Every row in one pair at most, the higher label first; rows that are left without a partner are not used."""
    order = np.random.default_rng(seed).permutation(len(data.labels))
    one, other = order[0 : len(order) // 2 * 2 : 2], order[1::2]
    differ = data.labels[one] != data.labels[other]
    one, other = one[differ], other[differ]
    up = data.labels[one] > data.labels[other]
    better, worse = np.where(up, one, other), np.where(up, other, one)
    return Comparisons(
        data.record, np.stack([data.rows[better], data.rows[worse]], axis=1)[:, :, None, :], data.sources
    )


def _shuffled(rows: Array, kind: RecordType, rng: np.random.Generator) -> Array:
    parts, start = [], 0
    for feature in kind.features:
        stop = start + feature.width
        parts.append(rows[rng.permutation(len(rows)), start:stop])
        start = stop
    return np.concatenate(parts, axis=1)
