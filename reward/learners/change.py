"""A change of a reward as a small network of its own: what updates and corrections learn.

    R'(x) = R(x) + clip(a(x), −most, most)

Artifacts stay what they are below the sum: no weight of R is touched, whatever R is made of. Because the change is
the clip alone, R′ is nowhere farther from R than `most`, over the reals and by construction; and since it is a small
network of its own, what is certified about it is tight: `Reach` bounds its range over the declared domain.
Patches of R stay on top of the sum: min and max, and a gate that returns what it is given, pass no more of a change on
than they get, so that the bound stands with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from rewarden.reward.artifact import Artifact, DataSource, Edit, Learner
from rewarden.reward.assembly import Assembled, Assembly
from rewarden.reward.deployed import forward
from rewarden.reward.graph import Add
from rewarden.reward.learners.interface import Run
from rewarden.reward.learners.networks import Network, initial, written
from rewarden.reward.learners.sampling import uniform
from rewarden.reward.learners.splice import Splice
from rewarden.reward.normaliser import Normaliser, range_normaliser
from rewarden.reward.training import tensor64
from rewarden.spec_lang.errors import ArtifactError, BindingError, DataError

ANCHORS = 1024  # points of the declared domain at which a change is held small
START = 0.1  # a change begins near 0: initial weights are this much smaller than usual


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """a, and where it is anchored; rows are normalised by the declared ranges."""

    artifact: Artifact
    network: Network
    normaliser: Normaliser
    most: float
    anchors: Tensor  # normalised [point, width]

    @classmethod
    def begin(cls, artifact: Artifact, hidden: int, most: float, generator: torch.Generator) -> Change:
        kind = artifact.records[0].type
        network = initial(kind.width, hidden, 1, generator)
        with torch.no_grad():
            network.weights[-1].mul_(START)
        normaliser = range_normaliser(kind)
        held = np.float32(most)
        if float(held) > most:  # the clip is stored in binary32, and "at most" is meant
            held = np.nextafter(held, np.float32(0.0))
        change = cls(artifact, network, normaliser, float(held), torch.empty(0))
        return replace(change, anchors=change.normalised(uniform(kind, ANCHORS, generator)))

    def to(self, dtype: torch.dtype) -> Change:
        """A copy to train in another precision."""
        return replace(self, network=self.network.to(dtype), anchors=self.anchors.to(dtype))

    def normalised(self, rows: Tensor) -> Tensor:
        return rows * tensor64(self.normaliser.scale) + tensor64(self.normaliser.shift)

    def __call__(self, z: Tensor) -> Tensor:
        """The change at normalised rows [..., width]."""
        return self.of(self.network, z)

    def changed(self, rows: Tensor) -> Tensor:
        """R + change at rows [n, width] in problem units, differentiable in the change: what a penalty asks."""
        flat = rows.detach().to(torch.float64)
        z = self.normalised(rows.to(torch.float64)).to(self.anchors.dtype)
        return (scores(self.artifact, flat.numpy()) + self(z)).to(rows.dtype)

    def of(self, network: Network, z: Tensor) -> Tensor:
        """What the change is with other weights, such as rounded ones."""
        return network(z).clamp(-self.most, self.most)

    def typical(self, network: Network) -> str:
        """For a record."""
        anchors = self.anchors.to(network.weights[0].dtype)
        return f"{float((self.of(network, anchors) ** 2).mean().sqrt()):.4g} (root mean square, sampled)"

    def anchor(self, z: Tensor) -> Tensor:
        """The mean squared change over domain and data; not clipped, so that it always has a gradient."""
        return (self.network(self.anchors) ** 2).mean() + (self.network(z) ** 2).mean()

    def assembled(self, network: Network) -> Assembled:
        build = Assembly(len(self.normaliser.scale))
        z = build.scale(build.INPUT, self.normaliser.scale, self.normaliser.shift)
        return build.finish(build.clip(written(network, build, z), -self.most, self.most))

    def alone(self, network: Network) -> Artifact:
        """The change as an artifact of its own: R′ − R, exactly."""
        assembled = self.assembled(network)
        return Artifact(self.artifact.records, assembled.graph, assembled.tensors, "exact")

    def applied(self, network: Network) -> tuple[Assembled, int]:
        """The graph of R + change, and the index of R's old output."""
        graph, tensors = self.artifact.graph, self.artifact.tensors
        splice = Splice()
        splice.nodes = list(graph.nodes)
        splice.tensors = dict(self.artifact.with_patches(()).tensors)
        alone = self.assembled(network)
        prefix = _free(tensors)
        output = splice.graft(alone.graph, alone.tensors, prefix)
        return splice.finish(splice.push(Add(graph.output, output))), graph.output

    def child(
        self, network: Network, run: Run, edit: Edit, learner: Learner, sources: tuple[DataSource, ...]
    ) -> Artifact:
        """The changed artifact; the statement gets the certified bound."""
        bound = self.bound(network, run)
        whole = replace(edit, statement={**edit.statement, "moved at most, anywhere in the domain": bound})
        assembled, _ = self.applied(network)
        child = self.artifact.child(whole, graph=assembled.graph, tensors=assembled.tensors)
        return replace(child, learner=learner, data=(*self.artifact.data, *sources))

    def bound(self, network: Network, run: Run) -> str:
        """By construction, and tighter where somebody certifies the range of the change."""
        clip = Fraction(self.most)
        if run.reach is None:
            return f"{_up(clip):.6g} (real arithmetic, by construction: the change is clipped)"
        lo, hi = run.reach(self.alone(network))
        certified = max(abs(lo), abs(hi))
        if certified >= clip:
            return f"{_up(clip):.6g} (real arithmetic, by construction: the change is clipped)"
        return (
            f"{_up(certified):.6g} (real arithmetic, certified by bound propagation over the declared domain; "
            f"{_down(lo):+.6g} to {_up(hi):+.6g})"
        )


def require_one_record(artifact: Artifact, record: object) -> None:
    """The artifact reads one record, of the answers' type. Raises ArtifactError A13, BindingError B02."""
    if len(artifact.records) != 1:
        raise ArtifactError(
            "A13", f"the reward reads {len(artifact.records)} records", help="answers change rewards of one record"
        )
    kind = getattr(record, "type", None)
    if kind is not None and kind.features != artifact.records[0].type.features:
        raise BindingError(
            "B02",
            "the answers are about other features than the artifact reads",
            help="name the spec, and its record type, that the artifact was learned with",
        )


def scores(artifact: Artifact, rows: np.ndarray) -> Tensor:
    """The deployed reward of encoded rows [..., width], without its patches, as float64 [...]."""
    return deployed(artifact.with_patches(()), rows)


def deployed(artifact: Artifact, rows: np.ndarray) -> Tensor:
    """The deployed reward of encoded rows [..., width] as float64 [...], patches and all."""
    flat = np.ascontiguousarray(rows.reshape(-1, rows.shape[-1]), np.float32)
    found = forward(artifact, flat).astype(np.float64)
    if not np.isfinite(found).all():
        raise DataError("D05", "the artifact has no finite reward at some of the answers' records", help="drop them")
    return tensor64(found).reshape(rows.shape[:-1])


def _free(tensors: Mapping[str, object]) -> str:
    """A prefix that no tensor has yet: an artifact may be changed more than once."""
    k = 1
    while any(name.startswith(f"change{k}.") for name in tensors):
        k += 1
    return f"change{k}."


def _up(value: Fraction) -> float:
    """Six digits that are not below the value."""
    shown = float(f"{float(value):.6g}")
    return shown if Fraction(shown) >= value else float(f"{shown + abs(shown) * 1e-5 + 1e-300:.6g}")


def _down(value: Fraction) -> float:
    return -_up(-value)
