"""One stage of a training that sees its data slice by slice (`shards`): where it begins, and what it may not depend on.

A row that is forgotten must leave no trace in what the other rows do. So a stage holds rows out by a hash of the row
itself, not by a random permutation of all; and all stages share the normaliser of the first one, whose rows they all
depend on anyway. Without a stage a learner does as it always does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rewarden.reward.learners.interface import Array, Run
from rewarden.reward.normaliser import Normaliser, fit_normaliser
from rewarden.reward.training import split_distinct
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.features import RecordType

HELD_OUT, VALIDATION, TRAINING = 2, 1, 0


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """`parameters` are those that the stage before ended with, in the order of the model's groups; None at first."""

    normaliser: Normaliser
    parameters: tuple[Tensor, ...] | None
    identity: str  # names all that came before

    def fits(self, parameters: Sequence[Tensor]) -> bool:
        """Not where the slices before had, say, no ties, and nothing to learn of them: then this one starts afresh."""
        return self.parameters is not None and [p.shape for p in self.parameters] == [p.shape for p in parameters]


def parts_of(run: Run, key: Array, shares: tuple[float, float], generator: torch.Generator) -> tuple[Tensor, ...]:
    """Training, validation and held-out rows of `key` [n, …]; equal rows are always in one part. DataError D20."""
    if run.stage is None:
        return split_distinct(key, shares, generator)
    validation, held_out = shares
    edges = np.array([1.0 - validation - held_out, 1.0 - held_out])
    roles = np.searchsorted(edges, uniform_by_content(key), side="right")
    parts = tuple(torch.from_numpy(np.flatnonzero(roles == role)) for role in (TRAINING, VALIDATION, HELD_OUT))
    if not all(len(part) for part in parts):
        raise DataError(
            "D20",
            f"a slice has too few rows ({len(key)}) to learn from and to hold some out",
            help="make fewer shards and slices under [learner.shards]",
        )
    return parts


def uniform_by_content(key: Array) -> Array:
    """A number in 0 … 1 for each row, by its bytes alone."""
    flat = np.ascontiguousarray(key, np.float64).reshape(len(key), -1) + 0.0  # -0.0 is 0.0
    found = [int.from_bytes(hashlib.sha256(row.tobytes()).digest()[:6], "big") for row in flat]
    return np.array(found, np.float64) / 2.0**48


def normaliser_of(run: Run, rows: Array, kind: RecordType) -> Normaliser:
    """That of the training rows, or of the first stage."""
    return fit_normaliser(rows, kind) if run.stage is None else run.stage.normaliser
