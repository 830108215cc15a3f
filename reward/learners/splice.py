"""Several graphs over the same columns as one: what ensembles and updates are written with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.assembly import Assembled
from rewarden.reward.graph import Graph, Input, Node

Tensors = Mapping[str, NDArray[np.float32]]


class Splice:
    """A graph being put together; all parts read the one input. Mutable until `finish`."""

    def __init__(self) -> None:
        self.nodes: list[Node] = [Input()]
        self.tensors: dict[str, NDArray[np.float32]] = {}

    def graft(self, graph: Graph, tensors: Tensors, prefix: str) -> int:
        """Adds a graph with its tensors, named after `prefix`; the index of its output."""
        place = {0: 0}
        for index, node in enumerate(graph.nodes):
            if index:
                place[index] = self.push(_moved(node, place, prefix))
        names = {value for node in graph.nodes for value in _fields(node).values() if isinstance(value, str)}
        self.tensors |= {prefix + name: tensors[name] for name in names}
        return place[graph.output]

    def push(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def store(self, name: str, value: NDArray[np.float32]) -> str:
        self.tensors[name] = value
        return name

    def finish(self, output: int) -> Assembled:
        return Assembled(Graph(tuple(self.nodes), output), self.tensors)


def _fields(node: Node) -> dict[str, object]:
    """A node's fields: nodes that it reads are ints, or tuples of them, and tensors are texts."""
    return {field.name: getattr(node, field.name) for field in fields(node)}


def _moved(node: Node, place: Mapping[int, int], prefix: str) -> Node:
    changed: dict[str, object] = {}
    for name, value in _fields(node).items():
        match value:
            case int():
                changed[name] = place[value]
            case tuple():
                changed[name] = tuple(place[cast(int, part)] for part in value)
            case str():
                changed[name] = prefix + value
    return replace(node, **changed)  # type: ignore[arg-type]
