"""Assembling a graph node by node: what learners and importers write artifacts with.

The methods mirror the ops of `docs/formats.md`, take node indices and arrays, give node indices, and know every node's
width, so that a mistake in a learner is an `AssertionError` here and not a wrong reward later. `Assembly` is mutable
until `finish`, which drops nodes that nothing reads. A stranger's network may ask for more than fits in memory: what no
artifact may be (A20) is refused before it is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.graph import (
    Abs,
    Add,
    AffineMap,
    Clip,
    Concat,
    Graph,
    Input,
    LeakyRelu,
    Maximum,
    Minimum,
    Node,
    Product,
    ReduceMax,
    ReduceMin,
    Relu,
    Scale,
    Smooth,
    Sub,
)
from rewarden.reward.widths import MAX_ELEMENTS, MAX_WIDTH, node_tensors, sources
from rewarden.spec_lang.errors import ArtifactError

Array32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Assembled:
    """A finished graph and the tensors that it names."""

    graph: Graph
    tensors: Mapping[str, Array32]


class Assembly:
    """A graph being built. `INPUT` is the index of the input node."""

    INPUT = 0

    def __init__(self, width: int) -> None:
        self._nodes: list[Node] = [Input()]
        self._widths: list[int] = [width]
        self._tensors: dict[str, Array32] = {}
        self._weights = 0

    @property
    def weights(self) -> int:
        """Numbers stored so far, also those that the finished graph may not need."""
        return self._weights

    def width(self, node: int) -> int:
        return self._widths[node]

    def node(self, node: int) -> Node:
        return self._nodes[node]

    def factor(self, node: int) -> tuple[int, float]:
        """(x, c) where the node is c·x with one number c for all columns; (node, 1) where it is nothing of the kind."""
        found = self._nodes[node]
        if isinstance(found, Scale) and not self._tensors[found.shift].any():
            factors = np.unique(self._tensors[found.scale])
            if len(factors) == 1:
                return found.source, float(factors[0])
        return node, 1.0

    def scale(self, source: int, scale: Array32, shift: Array32) -> int:
        """x·scale + shift; arrays [width]."""
        width = self._widths[source]
        assert scale.shape == shift.shape == (width,), "a scale has one factor and one shift per column"
        name = f"n{len(self._nodes)}"
        return self._push(
            Scale(source, self._store(f"{name}.scale", scale), self._store(f"{name}.shift", shift)), width
        )

    def affine(self, source: int, weight: Array32, bias: Array32) -> int:
        """W x + b; arrays [m, width] and [m]."""
        assert weight.shape == (len(bias), self._widths[source]), "an affine map's weight fits its input and bias"
        name = f"n{len(self._nodes)}"
        node = AffineMap(source, self._store(f"{name}.weight", weight), self._store(f"{name}.bias", bias))
        return self._push(node, len(bias))

    def offset(self, source: int, shift: Array32) -> int:
        """x + shift. An affine map without a bias takes the shift as its bias: the same function over the reals, and
        the way that MatMul followed by Add is meant."""
        width = self._widths[source]
        shift = np.broadcast_to(shift, (width,)).astype(np.float32)
        node = self._nodes[source]
        if isinstance(node, AffineMap) and not self._tensors[node.bias].any():
            return self.affine(node.source, self._tensors[node.weight], shift)
        return self.scale(source, np.ones(width, np.float32), shift)

    def columns(self, source: int, start: int, stop: int) -> int:
        """Columns start … stop−1 of a node."""
        width = self._widths[source]
        if (start, stop) == (0, width):
            return source
        self._require_room(stop - start, width)
        pick = np.eye(stop - start, width, start, dtype=np.float32)
        return self.affine(source, pick, np.zeros(stop - start, np.float32))

    def constant(self, values: Array32) -> int:
        """A vector that does not depend on the input: an affine map with zero weight."""
        self._require_room(len(values), self._widths[0])
        return self.affine(self.INPUT, np.zeros((len(values), self._widths[0]), np.float32), values)

    def total(self, source: int) -> int:
        """The sum over a node's columns."""
        return self.affine(source, np.ones((1, self._widths[source]), np.float32), np.zeros(1, np.float32))

    def relu(self, source: int) -> int:
        return self._push(Relu(source), self._widths[source])

    def leaky_relu(self, source: int, slope: float) -> int:
        value = np.array([slope], np.float32)
        assert 0.0 <= float(value[0]) <= 1.0, "a leaky ReLU's slope is in 0..1"
        name = self._store(f"n{len(self._nodes)}.slope", value)
        return self._push(LeakyRelu(source, name), self._widths[source])

    def absolute(self, source: int) -> int:
        return self._push(Abs(source), self._widths[source])

    def add(self, source: int, other: int) -> int:
        return self._push(Add(source, other), self._same_width(source, other))

    def sub(self, source: int, other: int) -> int:
        return self._push(Sub(source, other), self._same_width(source, other))

    def minimum(self, source: int, other: int) -> int:
        return self._push(Minimum(source, other), self._same_width(source, other))

    def maximum(self, source: int, other: int) -> int:
        return self._push(Maximum(source, other), self._same_width(source, other))

    def reduce_min(self, source: int) -> int:
        return self._push(ReduceMin(source), 1)

    def reduce_max(self, source: int) -> int:
        return self._push(ReduceMax(source), 1)

    def clip(self, source: int, lo: float, hi: float) -> int:
        low, high = np.array([lo], np.float32), np.array([hi], np.float32)
        assert low[0] <= high[0], "a clip's bounds are ordered"
        name = f"n{len(self._nodes)}"
        node = Clip(source, self._store(f"{name}.lo", low), self._store(f"{name}.hi", high))
        return self._push(node, self._widths[source])

    def concat(self, parts: Sequence[int]) -> int:
        return self._push(Concat(tuple(parts)), sum(self._widths[part] for part in parts))

    def smooth(self, kind: type[Smooth], source: int) -> int:
        return self._push(kind(source), self._widths[source])

    def product(self, source: int, other: int) -> int:
        return self._push(Product(source, other), self._same_width(source, other))

    def copied(self, node: Node, places: Sequence[int], tensors: Mapping[str, Array32]) -> int:
        """A node of another graph, whose nodes have the places `places` here."""
        match node:
            case Scale(source, scale, shift):
                return self.scale(places[source], tensors[scale], tensors[shift])
            case AffineMap(source, weight, bias):
                return self.affine(places[source], tensors[weight], tensors[bias])
            case LeakyRelu(source, slope):
                return self.leaky_relu(places[source], float(tensors[slope][0]))
            case Clip(source, lo, hi):
                return self.clip(places[source], float(tensors[lo][0]), float(tensors[hi][0]))
            case Concat(parts):
                return self.concat([places[part] for part in parts])
            case ReduceMin(source):
                return self.reduce_min(places[source])
            case ReduceMax(source):
                return self.reduce_max(places[source])
            case _:
                moved = _moved(node, dict(enumerate(places)))
                return self._push(moved, self._widths[sources(moved)[0]])

    def finish(self, output: int) -> Assembled:
        """The graph that ends in `output` (width 1), without the nodes and tensors that it does not need."""
        assert self._widths[output] == 1, "a reward is one number"
        needed = {0, output}
        for index in range(output, 0, -1):
            if index in needed:
                needed.update(sources(self._nodes[index]))
        kept = sorted(needed)
        position = {old: new for new, old in enumerate(kept)}
        nodes = tuple(_moved(self._nodes[old], position) for old in kept)
        names = {name for node in nodes for name in node_tensors(node)}
        tensors = {name: value for name, value in self._tensors.items() if name in names}
        return Assembled(Graph(nodes, position[output]), tensors)

    def _push(self, node: Node, width: int) -> int:
        assert all(0 <= source < len(self._nodes) for source in sources(node)), "nodes read earlier nodes"
        self._require_room(width, 1)
        self._nodes.append(node)
        self._widths.append(width)
        return len(self._nodes) - 1

    def _require_room(self, rows: int, columns: int) -> None:
        if rows > MAX_WIDTH or self._weights + rows * columns > MAX_ELEMENTS:
            raise ArtifactError(
                "A20",
                f"the network has more than {MAX_WIDTH} columns or {MAX_ELEMENTS} weights",
                help="import its head alone",
            )

    def _store(self, name: str, value: Array32) -> str:
        assert value.dtype == np.float32, "tensors are binary32"
        self._tensors[name] = np.ascontiguousarray(value)
        self._weights += value.size
        return name

    def _same_width(self, source: int, other: int) -> int:
        assert self._widths[source] == self._widths[other], "elementwise ops take equal widths"
        return self._widths[source]


def _moved(node: Node, position: Mapping[int, int]) -> Node:
    match node:
        case Input():
            return node
        case Concat(parts):
            return Concat(tuple(position[part] for part in parts))
        case (
            Add(source, other)
            | Sub(source, other)
            | Minimum(source, other)
            | Maximum(source, other)
            | Product(source, other)
        ):
            return replace(node, source=position[source], other=position[other])
        case _:
            return replace(node, source=position[node.source])
