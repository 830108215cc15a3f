"""A reward's graph in torch, as a function of its own tensors: what influence and fine-tuning differentiate."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from rewarden.reward import graph as g
from rewarden.spec_lang.errors import EditError

_SMOOTH: Mapping[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": torch.nn.functional.softplus,
    "gelu": torch.nn.functional.gelu,
    "silu": torch.nn.functional.silu,
    "exp": torch.exp,
    "square": torch.square,
}


def trainable(graph: g.Graph) -> list[str]:
    """The names of what fine-tuning may change: weights and biases, not normalisers and limits."""
    return [name for node in graph.nodes if isinstance(node, g.AffineMap) for name in (node.weight, node.bias)]


def evaluate(graph: g.Graph, tensors: Mapping[str, Tensor], rows: Tensor) -> Tensor:
    """Rewards [n] of encoded rows [n, width] in problem units, in the tensors' precision; patches are left out."""
    values: list[Tensor] = []
    for node in graph.nodes:
        values.append(_value(node, values, tensors, rows))
    return values[graph.output].squeeze(-1)


def _value(node: g.Node, at: list[Tensor], tensors: Mapping[str, Tensor], rows: Tensor) -> Tensor:
    match node:
        case g.Input():
            return rows
        case g.Scale():
            return at[node.source] * tensors[node.scale] + tensors[node.shift]
        case g.AffineMap():
            return at[node.source] @ tensors[node.weight].T + tensors[node.bias]
        case g.Relu():
            return torch.relu(at[node.source])
        case g.LeakyRelu():
            x = at[node.source]
            return torch.where(x >= 0, x, x * tensors[node.slope])
        case g.Abs():
            return at[node.source].abs()
        case g.Add():
            return at[node.source] + at[node.other]
        case g.Sub():
            return at[node.source] - at[node.other]
        case g.Minimum():
            return torch.minimum(at[node.source], at[node.other])
        case g.Maximum():
            return torch.maximum(at[node.source], at[node.other])
        case g.Product():
            return at[node.source] * at[node.other]
        case g.ReduceMin():
            return at[node.source].min(dim=-1, keepdim=True).values
        case g.ReduceMax():
            return at[node.source].max(dim=-1, keepdim=True).values
        case g.Clip():
            return torch.minimum(torch.maximum(at[node.source], tensors[node.lo]), tensors[node.hi])
        case g.Concat():
            return torch.cat([at[part] for part in node.parts], dim=-1)
        case g.Smooth() if node.function in _SMOOTH:
            return _SMOOTH[node.function](at[node.source])
    raise EditError("E23", f"{type(node).__name__} cannot be fine-tuned", help="learn in shards, to forget exactly")
