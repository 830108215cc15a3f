"""Records of a region, drawn from the box that its rows of one column leave of the declared ranges.

The region may be a small part of the domain, so that drawing from the whole of it would find none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rewarden.editor.patch import closed_box
from rewarden.editor.region import Polytope
from rewarden.reward.agreement import random_rows
from rewarden.reward.artifact import Artifact

Rows = NDArray[np.float32]


def rows_within(artifact: Artifact, polytopes: Sequence[Polytope], count: int, seed: int) -> Rows:
    """At most `count` encoded rows, in equal parts of each polytope; those that fall outside of it are left out."""
    each = max(1, count // max(1, len(polytopes)))
    found = [np.zeros((0, artifact.width), np.float32)]
    whole = np.array([column.discrete for column in artifact.columns])
    for number, polytope in enumerate(polytopes):
        inner = replace(polytope, rows=tuple(replace(row, offset=row.offset - 1) for row in polytope.rows))
        box = closed_box(inner)  # the ring's outer edge moved in by the ring's width: that of the region
        low, high = (np.array([float(side[k]) for side in box]) for k in (0, 1))
        full_low, full_high = (np.array([float(side[k]) for side in polytope.box]) for k in (0, 1))
        rows = random_rows([record.type for record in artifact.records], each, seed + number).astype(np.float64)
        share = (rows - full_low) / np.where(full_high > full_low, full_high - full_low, 1.0)
        moved = low + share * (high - low)
        inside = np.where(whole, np.clip(rows, np.ceil(low), np.floor(high)), moved)
        found.append(inside[within((polytope,), inside)].astype(np.float32))
    return np.concatenate(found)


def within(polytopes: Sequence[Polytope], rows: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which rows lie in one of the polytopes, to binary64."""
    x = rows.astype(np.float64)
    found = np.zeros(len(x), np.bool_)
    for polytope in polytopes:
        a = np.array([[float(c) for c in row.coefficients] for row in polytope.rows]).reshape(-1, x.shape[1])
        b = np.array([float(row.offset) for row in polytope.rows])
        found |= (x @ a.T <= b + 1e-9 * (1 + np.abs(b))).all(axis=1)
    return found
