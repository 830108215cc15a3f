"""A program and the rows of a goal, laid out in arrays for compiled code.

Node 0 is the input; node q >= 1 is a relu layer, whose pre-activation reads earlier nodes by way of edges (linear
layers are fused away, `fusion`). A row is an affine function over nodes, known up to its conversion errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.claim import Affine
from rewarden.verifier.fusion import Rows, functional_rows, fuse
from rewarden.verifier.program import INPUT, Program

Array = NDArray[np.float64]
Whole = NDArray[np.int64]

LARGEST = 2.0**60  # of any number that takes part: nothing is gained by looking at others
WIDEST = 64  # inputs
MOST = 2_048  # neurons
WIDTH, FIRST, SOURCE = 0, 1, 2  # of Net.graph


class Net(NamedTuple):
    """`graph[q, WIDTH]`: how many neurons node q has (0 beyond the last); its edges are graph[q, FIRST] up to
    graph[q + 1, FIRST], and edge e reads node graph[e, SOURCE].

    `weight[e, i, j]`: edge e, neuron i of its node, neuron j of its source, padded with 0. `error` likewise bounds how
    far the true number may be off; `bias` and `bias_error` are [node, neuron]."""

    graph: Whole  # one array, since compiled code counts references to each that it is given
    weight: Array
    error: Array
    bias: Array
    bias_error: Array
    exact: bool  # all errors are 0


class Aim(NamedTuple):
    """Rows f_k(x) = Σ_q weight[k, q]·y_q + bias[k]: a point violates if for some alternative a all rows from first[a]
    up to first[a + 1] are at most 0 there. The set is closed: it contains every violation of strict comparisons."""

    weight: Array  # [row, node, neuron]
    error: Array
    bias: Array  # [row]
    bias_error: Array
    first: Whole  # [alternative + 1]


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """What of the program's layers has become which node."""

    net: Net
    node: dict[int, int]
    program: Program


def layout(program: Program) -> Layout | None:
    """None where this engine has nothing to say: gates, curves, very many inputs or neurons, numbers of odd sizes."""
    if any(layer.kind not in ("linear", "relu") for layer in program.layers) or len(program.claim.variables) > WIDEST:
        return None
    basis = [k for k, layer in enumerate(program.layers) if layer.kind == "relu"]
    if sum(program.layers[k].width for k in basis) > MOST or not program.claim.variables:
        return None
    fused = fuse(program)
    node = {INPUT: 0, **{k: q for q, k in enumerate(basis, start=1)}}
    width = [len(program.claim.variables), *(program.layers[k].width for k in basis)]
    first, source = [0, 0], list[int]()
    edges = sum(len(fused[k].terms) for k in basis)
    weight, error = np.zeros((edges, max(width), max(width))), np.zeros((edges, max(width), max(width)))
    for k in basis:
        for s, term in sorted(fused[k].terms.items()):
            rows, columns = term.weight.shape
            weight[len(source), :rows, :columns], error[len(source), :rows, :columns] = term.weight, term.error
            source.append(node[s])
        first.append(len(source))
    bias, bias_error = np.zeros((len(width), max(width))), np.zeros((len(width), max(width)))
    for k in basis:
        bias[node[k], : program.layers[k].width] = fused[k].bias
        bias_error[node[k], : program.layers[k].width] = fused[k].bias_error
    graph = np.zeros((max(len(first), len(source)), 3), np.int64)
    graph[: len(width), WIDTH], graph[: len(first), FIRST], graph[: len(source), SOURCE] = width, first, source
    net = Net(graph, weight, error, bias, bias_error, not (error.any() or bias_error.any()))
    return Layout(net, node, program) if _moderate(weight, error, bias, bias_error) else None


def aim(at: Layout, alternatives: Sequence[Sequence[Affine]]) -> Aim | None:
    """`alternatives`: for each, the affine expressions that are all at most 0 at its violations. None likewise."""
    rows = functional_rows(at.program, [affine for one in alternatives for affine in one])
    shape = (len(rows.bias), *at.net.bias.shape)
    weight, error = np.zeros(shape), np.zeros(shape)
    for source, term in rows.terms.items():
        weight[:, at.node[source], : term.weight.shape[1]] = term.weight
        error[:, at.node[source], : term.error.shape[1]] = term.error
    first = _whole([0, *np.cumsum([len(one) for one in alternatives]).tolist()])
    return Aim(weight, error, rows.bias, rows.bias_error, first) if _fits(rows) else None


def _fits(rows: Rows) -> bool:
    parts = [part for term in rows.terms.values() for part in (term.weight, term.error)]
    return _moderate(*parts, rows.bias, rows.bias_error)


def _moderate(*arrays: Array) -> bool:
    return all(bool((np.abs(a) <= LARGEST).all()) for a in arrays)  # false for NaN and infinities


def _whole(values: Sequence[int]) -> Whole:
    return np.array(values, dtype=np.int64)
