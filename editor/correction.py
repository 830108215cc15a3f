"""A correction: an amount that a reward is moved by, in full on a region, fading to nothing across its ring.

Of each polytope of the region, with its rows ĝᵢ and their δ (`ring.py`), let e(x) = Σᵢ max(0, ĝᵢ(x) − δ), and of
several the least. On the region ĝᵢ <= δ, so that e is 0; where some exact g >= 1 in each of them, e >= 1 − 2δ. With an
amount p(x) that is at most `cap` on the region

    q(x) = max(0, min(p(x), cap) − slope·e(x)),    slope >= cap / (1 − 2δ).

On the region q = max(0, p). Beyond the ring slope·e is at least cap, and q is 0: a maximum with 0 gives 0 itself, in
binary32 too (the slope has room for the rounding of products and sums), and r ± 0 has the bits of r. q is continuous,
and needs no bound of p beyond the region, which is what `cap` is for. A sum, not the greatest of the rows: that each of
them is 0 is all that a proof has to see, neuron by neuron.

The reward stays one graph of the known operators: the parent's nodes, and a few more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.editor.region import Polytope
from rewarden.editor.ring import binary32_above, ring_of
from rewarden.reward.artifact import Artifact
from rewarden.reward.assembly import Assembly
from rewarden.reward.widths import node_order, node_tensors, sources
from rewarden.spec_lang.claim import Affine
from rewarden.spec_lang.errors import EditError

Array32 = NDArray[np.float32]


def room(build: Assembly, polytopes: Sequence[Polytope], rises: Mapping[Fraction, Fraction]) -> tuple[int, Fraction]:
    """The node of min over polytopes of Σᵢ Σ rise·max(0, ĝᵢ − start), `rises` by start (δ for 0), and the largest δ."""
    least, rings = -1, [ring_of(polytope) for polytope in polytopes]
    delta = max(ring.delta for ring in rings)
    for ring in rings:
        parts = []
        for row, offset in zip(ring.rows, ring.offsets, strict=True):
            beyond = build.affine(Assembly.INPUT, row[None], -offset[None])
            parts += [build.relu(build.scale(beyond, _number(Fraction(1)), _number(-(s or delta)))) for s in rises]
        weights = np.array([[float(rise) for _ in ring.rows for rise in rises.values()]], np.float32)
        own = build.affine(build.concat(parts), weights, np.zeros(1, np.float32))
        least = own if least < 0 else build.minimum(least, own)
    return least, delta


def widest(polytopes: Sequence[Polytope]) -> Fraction:
    """The largest δ."""
    return max(ring_of(polytope).delta for polytope in polytopes)


@dataclass(slots=True)
class Workshop:
    """A graph being built of several rewards of the same records (mutable). What they share is there once."""

    width: int
    build: Assembly = field(init=False)
    _known: dict[tuple[object, ...], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.build = Assembly(self.width)

    def reward(self, artifact: Artifact) -> int:
        """The node of a reward without patches: nodes are the same where op, sources and tensors are."""
        if artifact.patches or artifact.width != self.width:
            raise EditError(
                "E16",
                "a correction reads rewards of the same records that have no patches on top",
                help="correct before you patch, or bake the patches first (rewarden bake)",
            )
        places = [0] * len(artifact.graph.nodes)
        for index in node_order(artifact.graph):
            node = artifact.graph.nodes[index]
            if not sources(node):
                continue
            values = (artifact.tensors[name] for name in node_tensors(node))
            key = (
                type(node).__name__,
                tuple(places[s] for s in sources(node)),
                *((value.shape, value.tobytes()) for value in values),
            )
            if key not in self._known:
                self._known[key] = self.build.copied(node, places, artifact.tensors)
            places[index] = self._known[key]
        return places[artifact.graph.output]

    def affine(self, rows: Sequence[Affine], calls: Sequence[int]) -> int:
        """Rows over the columns and over calls, whose nodes are given; numbers to the nearest binary32."""
        parts = [Assembly.INPUT] * any(row.variables for row in rows) + list(calls)
        source = self.build.concat(parts) if len(parts) > 1 else parts[0]
        first = self.width if any(row.variables for row in rows) else 0
        weight = np.zeros((len(rows), first + len(calls)), np.float32)
        for k, row in enumerate(rows):
            for j, coefficient in row.variables:
                weight[k, j] = float(coefficient)
            for j, coefficient in row.calls:
                weight[k, first + j] = float(coefficient)
        return self.build.affine(source, weight, np.array([float(row.constant) for row in rows], np.float32))

    def faded(self, amount: int, cap: Fraction, polytopes: Sequence[Polytope]) -> tuple[int, Faded]:
        """The node of q for the node of p. Without polytopes the region is the domain, and q is max(0, p)."""
        build, top = self.build, binary32_above(cap)
        capped = build.minimum(amount, build.constant(_number(top)))
        if not polytopes:
            return build.relu(capped), Faded(top, Fraction(0), Fraction(0))
        delta = widest(polytopes)
        slope = binary32_above(top * (1 + Fraction(1, 2**16)) / (1 - 3 * delta))
        beyond, _ = room(build, polytopes, {Fraction(0): slope})
        return build.relu(build.sub(capped, beyond)), Faded(top, slope, delta)

    def moved(self, reward: int, amount: int, factor: Fraction) -> int:
        """reward + factor·amount."""
        if abs(factor) != 1:
            amount = self.build.scale(amount, _number(abs(factor)), np.zeros(1, np.float32))
        return (self.build.add if factor > 0 else self.build.sub)(reward, amount)

    def finish(self, output: int, artifact: Artifact) -> Artifact:
        """The artifact (without patches) with this graph in place of its own."""
        done = self.build.finish(output)
        return replace(artifact, graph=done.graph, tensors=done.tensors)


@dataclass(frozen=True, slots=True)
class Faded:
    """`cap` and `slope` (per ring width) of a correction as stored, in units of the amount; `delta` in ring widths."""

    cap: Fraction
    slope: Fraction
    delta: Fraction


def _number(value: Fraction) -> Array32:
    return np.array([float(value)], np.float32)
