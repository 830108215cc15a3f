"""How much wrong answers cost: the learner is run again on answers of which a share was turned round.

Held-out answers stay as they are; all others may be turned, so that training and early stopping both see noise. The
same seed chooses who is turned at every level: what is turned at 10 % is turned at 20 % too, and curves are smooth.
Of judged records, a share swap their labels among each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.reward.judging.held_out import ENSEMBLE, held_out, options_of
from rewarden.reward.judging.intervals import Share
from rewarden.reward.judging.made_up import judged_pairs
from rewarden.reward.judging.pairs import margins_of, pairs_of, taken
from rewarden.reward.learners.interface import Comparisons, Demonstrations, Judgements, Progress, Run, silent
from rewarden.reward.learners.registry import REGISTRY
from rewarden.spec_lang.errors import UsageError

LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4)
FITTING = ("preferences", "labels")


@dataclass(frozen=True, slots=True)
class NoisePoint:
    """What the learner made of answers of which `turned` of `trained` were turned round."""

    level: float
    turned: int
    trained: int
    accuracy: Share

    def to_json(self) -> dict[str, Any]:
        return {
            "level": self.level,
            "turned": self.turned,
            "trained": self.trained,
            "accuracy": self.accuracy.to_json(),
        }


def noise_curve(
    artifact: Artifact,
    data: Comparisons | Judgements | Demonstrations,
    levels: Sequence[float] = LEVELS,
    progress: Progress = silent,
) -> tuple[NoisePoint, ...]:
    """Held-out accuracy against the share of turned answers. Learns once per level, as the artifact was learned, but
    for rules in its loss.

    Raises UsageError G12 for levels that are no shares, G34 for a reward that this cannot be asked of.
    """
    if not levels or not all(0.0 <= level <= 1.0 for level in levels):
        raise UsageError("G12", f"noise levels {list(levels)} are not shares", help="give numbers from 0 to 1")
    if isinstance(data, Demonstrations):
        raise UsageError("G34", "demonstrations have no labels", help="label noise goes with preferences and labels")
    learner = artifact.learner
    if learner is None or learner.name not in FITTING:
        name = "one that was not learned here" if learner is None else f"the learner {learner.name!r}"
        why = " (members are learned alone)" if learner is not None and learner.name.startswith(ENSEMBLE) else ""
        raise UsageError(
            "G34", f"label noise cannot be tried with {name}{why}", help="it goes with preferences (pairs) and labels"
        )
    if isinstance(data, Comparisons) and (data.places is not None or data.segments.shape[1] != 2):
        raise UsageError("G34", "label noise cannot be tried with rankings", help="it goes with pairs and labels")
    kept = held_out(artifact, data)
    count = len(data.segments) if isinstance(data, Comparisons) else len(data.rows)
    if not kept.fresh or len(kept.rows) == count:
        raise UsageError(
            "G34", "label noise is tried on the table that the reward was learned from", help="name it with --data"
        )
    others = np.setdiff1d(np.arange(count), kept.rows)
    order = np.random.default_rng(learner.seed).permutation(others)
    entry = REGISTRY[learner.name]
    found = []
    for done, level in enumerate(levels):
        progress("label noise", done, len(levels), f"{level:.0%} turned")
        rows = order[: round(level * len(order))]
        noisy = _turned(data, rows, learner.seed)
        again = entry.learner().fit(noisy, options_of(learner.name, learner.options), Run(learner.seed))
        found.append(NoisePoint(level, len(rows), len(others), _accuracy(again, data, kept.rows)))
    progress("label noise", len(levels), len(levels), "")
    return tuple(found)


def _turned(data: Comparisons | Judgements, rows: np.ndarray, seed: int) -> Comparisons | Judgements:
    if isinstance(data, Comparisons):
        segments = data.segments.copy()
        segments[rows] = segments[rows][:, ::-1]
        return replace(data, segments=segments)
    labels = data.labels.copy()
    labels[rows] = np.random.default_rng(seed).permutation(labels[rows])
    return replace(data, labels=labels)


def _accuracy(artifact: Artifact, data: Comparisons | Judgements, rows: np.ndarray) -> Share:
    if isinstance(data, Comparisons):
        return margins_of(artifact, pairs_of(taken(data, rows))).accuracy
    weights = None if data.weights is None else data.weights[rows]
    judged = replace(data, rows=data.rows[rows], labels=data.labels[rows], weights=weights)
    return margins_of(artifact, judged_pairs(judged)).accuracy
