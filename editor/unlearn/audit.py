"""What an outsider can still tell: the gap to an oracle that never saw the rows, and an attack on membership.

The attack is LiRA (Carlini et al., IEEE S&P 2022): shadow rewards are learned from random halves of the data; for each
row, what the shadows that saw it and those that did not say about it makes two normal distributions; the score of the
audited reward is the log-ratio of the two. It is made per row, on the forgotten rows against as many rows that nobody
learned from, and told as the share of forgotten rows found where few strangers are taken for them. An average over all
rows would say less than it seems to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.reward.learners.interface import Comparisons, Demonstrations
from rewarden.reward.learners.shards import Data, length, taken

Array = NDArray[np.float64]
Fit = Callable[[Data, int], Artifact]  # data and seed
FALSE_ALARMS = 0.05


@dataclass(frozen=True, slots=True)
class Gap:
    """Rewards of the child against the oracle's, on the data: how far they differ once means are taken off (largest
    and mean, in reward units), and `equal`: the same tensors, byte for byte."""

    equal: bool
    largest: float
    mean: float


@dataclass(frozen=True, slots=True)
class Attack:
    """`auc` 0.5 is a coin. `found`: the share of forgotten rows told at a share of false alarms of at most 5 %."""

    rows: int
    shadows: int
    auc: float
    found: float


@dataclass(frozen=True, slots=True)
class Audit:
    """`retained`: share of the rows that stay which the reward gets right, before and after: pairs and rankings that
    are in order (ties aside), labels in order with the next one of another size; None where the data ask no question.
    No attacks without rows that nobody learned from."""

    gap: Gap
    before: Attack | None
    after: Attack | None
    retained: tuple[float, float] | None


def gap(child: Artifact, oracle: Artifact, data: Data) -> Gap:
    one, other = (_rewards(artifact, data) for artifact in (child, oracle))
    apart = np.abs((one - one.mean()) - (other - other.mean()))
    return Gap(child.tensors_bytes == oracle.tensors_bytes, float(apart.max()), float(apart.mean()))


def retained(before: Artifact, after: Artifact, kept: Data) -> tuple[float, float] | None:
    found = [_right(artifact, kept) for artifact in (before, after)]
    return None if found[0] is None or found[1] is None else (found[0], found[1])


def attack(artifact: Artifact, gone: Data, strangers: Data, scores: tuple[Array, NDArray[np.bool_]]) -> Attack:
    """`scores` [shadow, row] and whether each shadow saw each row, over the rows of `gone` and then `strangers`."""
    said, seen = scores
    target = np.concatenate([score(artifact, gone), score(artifact, strangers)])
    ratio = np.array([_ratio(target[k], said[seen[:, k], k], said[~seen[:, k], k]) for k in range(len(target))])
    inside, outside = ratio[: length(gone)], ratio[length(gone) :]
    above = (inside[:, None] > outside[None, :]).mean() + 0.5 * (inside[:, None] == outside[None, :]).mean()
    limit = np.sort(outside)[::-1][int(FALSE_ALARMS * len(outside))]
    return Attack(length(gone), len(said), float(above), float((inside > limit).mean()))


def shadows(
    fit: Fit, kept: Data, gone: Data, strangers: Data, count: int, progress: Callable[[int], None]
) -> tuple[Array, NDArray[np.bool_]]:
    """Scores of shadow rewards, each learned from a random half of all rows, and which rows each of them saw."""
    from rewarden.editor.unlearn.joined import joined

    every = joined([gone, strangers, kept])
    targets = length(gone) + length(strangers)
    generator = np.random.default_rng(0)
    said, seen = np.zeros((count, targets)), np.zeros((count, targets), np.bool_)
    half = np.zeros((count, targets), np.bool_)
    for row in range(targets):  # each target is seen by exactly half of the shadows
        half[generator.permutation(count)[: count // 2], row] = True
    probes = taken(every, np.arange(targets))
    for k in range(count):
        others = targets + np.flatnonzero(generator.random(length(kept)) < 0.5)
        rows = np.concatenate([np.flatnonzero(half[k]), others])
        shadow = fit(taken(every, rows.astype(np.int64)), k + 1)
        said[k], seen[k] = score(shadow, probes), half[k]
        progress(k + 1)
    return said, seen


def score(artifact: Artifact, data: Data) -> Array:
    """How well each row is known: a pair's (or a ranking's least) margin, a demonstration's reward, minus the squared
    error of a label."""
    rewards = _rewards(artifact, data)
    if isinstance(data, Comparisons):
        sums = rewards.reshape(data.segments.shape[:3]).sum(axis=2)
        margins = sums[:, :-1] - sums[:, 1:]
        if data.places is not None:
            margins[np.arange(margins.shape[1])[None, :] >= (data.places - 1)[:, None]] = np.inf
        return np.asarray(margins.min(axis=1))
    if isinstance(data, Demonstrations):
        return rewards
    return np.asarray(-((rewards - data.labels) ** 2))


def _right(artifact: Artifact, data: Data) -> float | None:
    if isinstance(data, Comparisons):
        asked = np.ones(len(data.segments), np.bool_) if data.ties is None else ~data.ties
        return float((score(artifact, data)[asked] > 0).mean()) if asked.any() else None
    if isinstance(data, Demonstrations):
        return None
    order = np.random.default_rng(0).permutation(len(data.rows))  # a table may be sorted
    apart, moved = np.diff(data.labels[order]), np.diff(_rewards(artifact, data)[order])
    return float((apart * moved > 0)[apart != 0].mean()) if (apart != 0).any() else None


def _rewards(artifact: Artifact, data: Data) -> Array:
    rows = data.segments.reshape(-1, data.record.type.width) if isinstance(data, Comparisons) else data.rows
    return forward(artifact, np.nan_to_num(rows).astype(np.float32)).astype(np.float64)


def _ratio(value: float, inside: Array, outside: Array) -> float:
    """ln N(value; inside) − ln N(value; outside), with a floor on the spreads."""
    floor = 1e-6 + 0.05 * float(np.concatenate([inside, outside]).std())
    found = 0.0
    for sign, sample in ((1.0, inside), (-1.0, outside)):
        spread = max(float(sample.std()), floor)
        found += sign * (-0.5 * ((value - float(sample.mean())) / spread) ** 2 - float(np.log(spread)))
    return found
