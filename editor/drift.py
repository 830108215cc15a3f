"""What an edit moved, on data: how many rows, how far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward


@dataclass(frozen=True, slots=True)
class Drift:
    """`changed` of `rows` differ in any bit; `largest` and `mean` are absolute changes over all rows, reward units."""

    rows: int
    changed: int
    largest: float
    mean: float


def drift(before: Artifact, after: Artifact, rows: NDArray[np.float64]) -> Drift:
    """Compare two artifacts as deployed (binary32) on rows float64 [n, width] in encoded columns."""
    x = rows.astype(np.float32)
    old, new = forward(before, x), forward(after, x)
    change = np.abs(new.astype(np.float64) - old.astype(np.float64))
    changed = int((old.view(np.uint32) != new.view(np.uint32)).sum())
    return Drift(len(x), changed, float(change.max(initial=0.0)), float(change.mean()) if len(x) else 0.0)
