"""Pre-activations back-substituted row by row in binary64: slow, by the same lines as `verifier/wide/sharpen.py`."""

from __future__ import annotations

import torch

from rewarden.verifier.relaxation import relu_lines
from rewarden.verifier.wide.bounds import Known, Lines, all_rows, lower_rows
from rewarden.verifier.wide.network import Map, Network, Node


def back_substituted(network: Network, known: Known) -> None:
    """In place: every neuron of every deeper node."""
    lines = Lines([torch.zeros(0)], [torch.zeros(0)], [torch.zeros(0)], [None])
    for k, node in enumerate(network.nodes, start=1):
        if any(m.source > 0 for m in node.maps):
            known.lo[k][:] = torch.maximum(known.lo[k], lower_rows(network, known, lines, all_rows(known, node)).bound)
            most = lower_rows(network, known, lines, all_rows(known, _negated(node))).bound
            known.hi[k][:] = torch.minimum(known.hi[k], -most)
        one = relu_lines(known.lo[k], known.hi[k])
        for values, new in ((lines.lower, one.lower), (lines.upper, one.upper), (lines.intercept, one.intercept)):
            values.append(new)
        lines.held.append(None)


def _negated(node: Node) -> Node:
    maps = tuple(Map(m.source, -m.weight, m.size, -m.single, m.error) for m in node.maps)
    return Node(maps, -node.bias, node.bias_error)
