"""The reward artifact: an immutable value with one name, its digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.graph import Graph, Patch
from rewarden.spec_lang.features import RecordType

Identified = Literal["exact", "shift", "affine"]


@dataclass(frozen=True, slots=True)
class RewardRecord:
    """One parameter of the reward."""

    param: str
    type: RecordType


@dataclass(frozen=True, slots=True)
class DataSource:
    """A table that the reward was learned from."""

    name: str
    bytes_digest: str
    table_digest: str
    rows: int


@dataclass(frozen=True, slots=True)
class Learner:
    """How the reward was learned; options and record are text so that no number is rounded in passing."""

    name: str
    options: Mapping[str, str]
    seed: int
    record: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Edit:
    """What made this artifact of its parent, and what that guarantees (sentences by name)."""

    kind: str
    rule: str
    statement: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Artifact:
    records: tuple[RewardRecord, ...]
    graph: Graph
    tensors: Mapping[str, NDArray[np.float32]]
    identified: Identified
    patches: tuple[Patch, ...] = ()
    learner: Learner | None = None
    data: tuple[DataSource, ...] = field(default=())
    parent: str | None = None
    edit: Edit | None = None

    @property
    def width(self) -> int:
        """Number of encoded input columns."""
        return sum(r.type.width for r in self.records)
