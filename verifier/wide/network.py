"""A claim as dense layers over its variables: what every relu reads, and the rows that a violation needs at most 0.

Source 0 are the variables, source i the outputs of node i. Linear layers are fused away (`fusion`), with their rounding
errors as matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rewarden.spec_lang.claim import Affine
from rewarden.verifier.fusion import Rows, functional_rows, fuse
from rewarden.verifier.program import INPUT, Program
from rewarden.verifier.rounding import Array
from rewarden.verifier.wide.executed import Roundings


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """v ↦ weight·v, [row, source width]; the true weights are within `error` of these, elementwise. `size` is |weight|,
    `single` the weights rounded to binary32."""

    source: int
    weight: Tensor
    size: Tensor
    single: Tensor
    error: Tensor | None

    def cast(self, dtype: torch.dtype) -> Tensor:
        return self.weight if dtype == self.weight.dtype else self.single

    def above(self, dtype: torch.dtype) -> Tensor:
        """|weight| to within a rounding of the format."""
        return self.size if dtype == self.size.dtype else self.single.abs()


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """Affine rows over sources: what the relus of a node read, or what is to be bounded. bias, bias_error [row].
    `executed`: what binary32 may add to them, under float32 semantics."""

    maps: tuple[Map, ...]
    bias: Tensor
    bias_error: Tensor
    executed: Roundings | None = None

    @property
    def width(self) -> int:
        return int(self.bias.shape[0])

    @property
    def terms(self) -> int:
        """The most that one row sums."""
        return sum(m.weight.shape[1] for m in self.maps) + len(self.maps) + 1


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """`nodes[i - 1]` is source i; its layer in the program is `layers[i - 1]`."""

    inputs: int
    nodes: tuple[Node, ...]
    layers: tuple[int, ...]

    @property
    def widest(self) -> int:
        return max([self.inputs, *(node.width for node in self.nodes)])


def network_of(program: Program) -> Network | None:
    """None where some layer is neither linear nor a plain relu."""
    if any(layer.kind not in ("linear", "relu") for layer in program.layers):
        return None
    at = {INPUT: 0}
    nodes, layers = [], []
    for k, rows in enumerate(fuse(program)):
        if program.layers[k].kind == "relu":
            nodes.append(_node(program, rows, at))
            layers.append(k)
            at[k] = len(nodes)
    return Network(len(program.claim.variables), tuple(nodes), tuple(layers))


def rows_of(program: Program, network: Network, affines: list[Affine]) -> Node:
    """Expressions over variables and calls as rows over the network's sources."""
    at = {INPUT: 0, **{layer: i + 1 for i, layer in enumerate(network.layers)}}
    return _node(program, functional_rows(program, affines), at)


def _node(program: Program, rows: Rows, at: dict[int, int]) -> Node:
    terms = sorted((at[s], term) for s, term in rows.terms.items() if s >= INPUT)
    maps = tuple(_map(s, _tensor(t.weight), _tensor(t.error) if t.error.any() else None) for s, t in terms)
    return Node(maps, _tensor(rows.bias), _tensor(rows.bias_error), Roundings.of(program, rows, dict(at)))


def _map(source: int, weight: Tensor, error: Tensor | None) -> Map:
    return Map(source, weight, weight.abs(), weight.float(), error)


def _tensor(values: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))
