"""What each autoencoder of a mixture stands for: the demonstrations that it reconstructs best.

The reward of a mixture is the best expert's (`learners.autoencoders`), so every record has one expert that answers for
it. An expert is told by the demonstrations that are its own: how many, what they are worth, what their features are,
and the one that it reconstructs best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import _node, forward
from rewarden.reward.graph import Abs, AffineMap, Concat, ReduceMax, ReduceMin
from rewarden.reward.learners.interface import Array
from rewarden.reward.widths import node_order

LOW, HIGH = 0.1, 0.9
CHUNK = 2048


@dataclass(frozen=True, slots=True)
class Trait:
    """A feature over an expert's own demonstrations: from the 10th to the 90th percentile with the median, or a text
    for bools and cases. `telling`: how far the median is from that of all demonstrations, in their spreads."""

    feature: str
    unit: str | None
    low: float | None
    middle: float | None
    high: float | None
    text: str
    telling: float


@dataclass(frozen=True, slots=True)
class Expert:
    """`row`: the demonstration, by name, that it reconstructs best; `error` is the mean over its own."""

    number: int
    rows: int
    share: float
    mean_reward: float
    error: float
    row: str
    traits: tuple[Trait, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "expert": self.number,
            "rows": self.rows,
            "share": self.share,
            "mean_reward": self.mean_reward,
            "mean_error": self.error,
            "typical_row": self.row,
            "features": [
                {"feature": t.feature, "unit": t.unit, "p10": t.low, "median": t.middle, "p90": t.high, "cases": t.text}
                for t in self.traits
            ],
        }


def experts(artifact: Artifact, rows: Array, name: Callable[[int], str]) -> tuple[Expert, ...]:
    """None for rewards that are no mixture, or of several (an ensemble's members have experts of their own)."""
    errors = _errors(artifact, rows)
    if errors is None or not len(rows):
        return ()
    scores = forward(artifact, np.ascontiguousarray(rows, np.float32)).astype(np.float64)
    mine = errors.argmin(axis=1)
    found = []
    for k in range(errors.shape[1]):
        own = np.flatnonzero(mine == k)
        if not len(own):
            continue
        best = int(own[errors[own, k].argmin()])
        found.append(
            Expert(
                k + 1,
                len(own),
                len(own) / len(rows),
                float(scores[own].mean()),
                float(errors[own, k].mean()),
                name(best),
                _traits(artifact, rows, rows[own]),
            )
        )
    return tuple(sorted(found, key=lambda e: (-e.rows, e.number)))


def _errors(artifact: Artifact, rows: Array) -> Array | None:
    """Reconstruction errors [row, expert], as deployed."""
    nodes = artifact.graph.nodes
    mixtures = []
    for node in nodes:
        if isinstance(node, ReduceMin) and isinstance(parts := nodes[node.source], Concat):
            ends = [nodes[p] for p in parts.parts]
            if all(isinstance(e, AffineMap | ReduceMax) and isinstance(nodes[e.source], Abs) for e in ends):
                mixtures.append(node.source)
    if len(mixtures) != 1:
        return None
    (wanted,) = mixtures
    found = []
    for start in range(0, len(rows), CHUNK):
        x = np.ascontiguousarray(rows[start : start + CHUNK].T, np.float32)
        values: dict[int, Any] = {}
        with np.errstate(all="ignore"):
            for index in node_order(artifact.graph):
                values[index] = _node(nodes[index], values, artifact.tensors, x)
        found.append(values[wanted].T.astype(np.float64))
    return np.concatenate(found)


def _traits(artifact: Artifact, every: Array, own: Array) -> tuple[Trait, ...]:
    traits, start = [], 0
    for record in artifact.records:
        for feature in record.type.features:
            columns = slice(start, start + feature.width)
            start += feature.width
            if feature.kind in ("bool", "enum") and not (feature.kind == "bool" and feature.is_vector):
                shares, usual = own[:, columns].mean(axis=0), every[:, columns].mean(axis=0)
                names = feature.cases or ("true",)
                text = ", ".join(f"{name} {100 * s:.0f} %" for name, s in zip(names, shares, strict=True) if s > 0.005)
                traits.append(
                    Trait(
                        feature.name,
                        None,
                        None,
                        None,
                        None,
                        text or f"{names[0]} 0 %",
                        float(abs(shares - usual).max()),
                    )
                )
            elif not feature.is_vector:
                values, all_values = own[:, columns][:, 0], every[:, columns][:, 0]
                low, middle, high = (float(q) for q in np.quantile(values, (LOW, 0.5, HIGH)))
                spread = float(all_values.std()) or 1.0
                telling = abs(middle - float(np.median(all_values))) / spread
                traits.append(Trait(feature.name, feature.unit, low, middle, high, "", telling))
    return tuple(sorted(traits, key=lambda t: -t.telling))
