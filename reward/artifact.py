"""The reward artifact: an immutable value with one name, its digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.graph import Graph, Patch
from rewarden.spec_lang.features import Column, RecordType

if TYPE_CHECKING:
    from rewarden.reward.encode import Policy

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


@dataclass(frozen=True, eq=False)
class Artifact:
    """A checked reward: construction raises ArtifactError (A codes) for anything that could not be saved and loaded.

    `tensors` are held as read-only C-contiguous float32 copies. Identity is the digest; `==` is `is`.
    """

    records: tuple[RewardRecord, ...]
    graph: Graph
    tensors: Mapping[str, NDArray[np.float32]]
    identified: Identified
    patches: tuple[Patch, ...] = ()
    learner: Learner | None = None
    data: tuple[DataSource, ...] = field(default=())
    parent: str | None = None
    edit: Edit | None = None

    def __post_init__(self) -> None:
        from rewarden.reward.schema import check_records
        from rewarden.reward.widths import check_tensors

        check_records(self.records)
        check_tensors(self.graph, self.patches, self.tensors)
        _ = self.node_widths
        object.__setattr__(
            self, "tensors", MappingProxyType({k: _frozen(self.tensors[k]) for k in sorted(self.tensors)})
        )

    @property
    def width(self) -> int:
        """Number of encoded input columns."""
        return sum(r.type.width for r in self.records)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The encoded input columns of all records, in order."""
        return tuple(column for record in self.records for column in record.type.columns())

    @cached_property
    def node_widths(self) -> tuple[int, ...]:
        """The width of every node of the graph."""
        from rewarden.reward.widths import check_widths

        return check_widths(self.graph, self.patches, self.tensors, self.width)

    @cached_property
    def smooth(self) -> bool:
        """Whether its pieces are curved, so that its values may be irrational: they are then enclosed (`balls`)."""
        from rewarden.reward.graph import Product, Smooth
        from rewarden.reward.widths import node_order

        return any(isinstance(self.graph.nodes[i], Smooth | Product) for i in node_order(self.graph))

    @cached_property
    def tensors_bytes(self) -> bytes:
        """What `tensors.safetensors` holds."""
        from rewarden.reward.manifest import tensors_bytes

        return tensors_bytes(self.tensors)

    @cached_property
    def manifest_bytes(self) -> bytes:
        """What `manifest.json` holds: canonical JSON, naming the tensors file by digest."""
        from rewarden.reward.manifest import manifest_bytes

        return manifest_bytes(self)

    @cached_property
    def digest(self) -> str:
        """The artifact's name: `sha256:…` of the canonical manifest."""
        from rewarden.spec_lang.canonical import digest_of

        return digest_of(self.manifest_bytes)

    def score(self, rows: object, out_of_domain: Policy = "refuse") -> NDArray[np.float32]:
        """The deployed reward of rows in problem units, float32 [n].

        `rows`: a mapping or table of columns by feature name, a `Table`, or an array [n, width] of encoded columns
        (`encode.encode` says what is accepted). Rows out of the declared domain raise DataError (`refuse`), come back
        masked in a `numpy.ma.MaskedArray` (`flag`), or are moved to the nearest value in range (`clip`).
        """
        from rewarden.reward.deployed import forward
        from rewarden.reward.encode import encode

        encoded = encode(self.records, rows, out_of_domain)
        scores = forward(self, encoded.values)
        return np.ma.masked_array(scores, mask=encoded.out_of_domain) if out_of_domain == "flag" else scores

    def with_patches(self, patches: tuple[Patch, ...]) -> Artifact:
        """The same reward with these of its patches alone, and without the tensors that only the others use."""
        from rewarden.reward.widths import patch_tensors

        kept = {name for patch in patches for name in patch_tensors(patch)}
        gone = {name for patch in self.patches for name in patch_tensors(patch)} - kept
        tensors = {name: value for name, value in self.tensors.items() if name not in gone}
        return replace(self, patches=patches, tensors=tensors)

    def child(
        self,
        edit: Edit,
        *,
        graph: Graph | None = None,
        patches: tuple[Patch, ...] | None = None,
        tensors: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> Artifact:
        """An edited artifact that names this one as its parent. `tensors` are added to (or replace) this one's."""
        return replace(
            self,
            graph=self.graph if graph is None else graph,
            patches=self.patches if patches is None else patches,
            tensors={**self.tensors, **(tensors or {})},
            parent=self.digest,
            edit=edit,
        )


def _frozen(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    """A read-only, little-endian, C-contiguous copy."""
    copy = np.array(tensor, dtype=np.float32, order="C", copy=True)
    copy.setflags(write=False)
    return copy
