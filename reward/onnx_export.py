"""An artifact as an ONNX network: the same exact function, in operators that other verifiers read.

The input is the encoded columns in problem units, the normaliser and the patches are inside. Everything piecewise
linear is written with Gemm, Add, Sub and Relu alone, weights bit for bit as stored, by identities over the reals:

    leaky(x) = relu(x) − slope·relu(−x)      |x| = relu(x) + relu(−x)
    max(a, b) = b + relu(a − b)              min(a, b) = a − relu(a − b)
    clip(x) = hi − relu(hi − (lo + relu(x − lo)))

and the maximum of a vector as a tree of those; smooth functions and products with the operators of their names (Gelu
asks for opset 20), silu and squares with Mul. Every constant in them is a stored float32 or its negation, 0 or 1, so
nothing is rounded: over the rationals the network is the artifact, everywhere. In binary32 it may differ from the
deployed reward by rounding, since the sums are other sums.

A patch is discontinuous in form (r where G >= gate, min(r, level + slope·max(0, G − delta)) elsewhere), which no
network of Gemm and Relu is. `states` says what to write for each patch: `kept` is all of it, with Less and Where; the
others are what it is on a part of the space: `open` (G >= gate) nothing, `flat` (G <= delta, G < gate) min(r, level),
`sloped` (in between) the patch without its gate. With no patch `kept` the network is Gemm and Relu alone, and is the
artifact exactly where its patches are in the states given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.graph import (
    Abs,
    Add,
    AffineMap,
    Clip,
    Concat,
    Input,
    LeakyRelu,
    Maximum,
    Minimum,
    Node,
    Patch,
    Product,
    ReduceMax,
    ReduceMin,
    Relu,
    Scale,
    Smooth,
    Sub,
)
from rewarden.reward.onnx_export_writer import Value, Writer
from rewarden.reward.tables import require_no_tables
from rewarden.reward.widths import node_order

Array32 = NDArray[np.float32]
State = Literal["kept", "open", "flat", "sloped"]
ONE = np.ones((1, 1), np.float32)


def to_onnx(artifact: Artifact, states: Sequence[State] | None = None) -> bytes:
    """The ONNX file of an artifact: input `X` [1, columns], output `Y` [1, 1], float32, opset 13 (with GELU: 20).

    `states`: one per patch, innermost first; by default all are `kept`. Raises Unsupported (X30) where the network
    would be too large, which takes an op on vectors of thousands of columns.
    """
    kept: list[State] = ["kept"] * len(artifact.patches)
    writer = Writer(artifact.width)
    reward = write_reward(writer, artifact, writer.input, kept if states is None else states)
    return writer.finish(reward, note_of([artifact]))


def note_of(artifacts: Iterable[Artifact]) -> str:
    """What an exported model says of where it comes from."""
    return "rewards of Rewarden: " + ", ".join(sorted({artifact.digest for artifact in artifacts}))


def write_reward(writer: Writer, artifact: Artifact, x: Value, states: Sequence[State]) -> Value:
    """The (patched) reward of the encoded columns `x`, written into a model that may hold more."""
    assert len(states) == len(artifact.patches), "one state per patch"
    require_no_tables(artifact, "a network of Gemm and Relu alone")
    values: dict[int, Value] = {}
    for index in node_order(artifact.graph):
        values[index] = _node(writer, artifact.graph.nodes[index], values, artifact.tensors, x)
    reward = values[artifact.graph.output]
    for patch, state in zip(artifact.patches, states, strict=True):
        if state != "open":
            reward = _patched(writer, patch, artifact.tensors, reward, x, state)
    return reward


def _node(w: Writer, node: Node, values: Mapping[int, Value], tensors: Mapping[str, Array32], x: Value) -> Value:
    match node:
        case Input():
            return x
        case Scale(source, scale, shift):
            w.identity(values[source].width)  # refuses what is too wide
            return w.gemm(values[source], np.diag(tensors[scale]), tensors[shift])
        case AffineMap(source, weight, bias):
            return w.gemm(values[source], tensors[weight], tensors[bias])
        case Relu(source):
            return w.relu(values[source])
        case LeakyRelu(source, slope):
            return _two_sided(w, values[source], -tensors[slope][0])
        case Abs(source):
            return _two_sided(w, values[source], np.float32(1.0))
        case Add(a, b):
            return w.add(values[a], values[b])
        case Sub(a, b):
            return w.sub(values[a], values[b])
        case Minimum(a, b):
            return w.sub(values[a], w.relu(w.sub(values[a], values[b])))
        case Maximum(a, b):
            return w.add(values[b], w.relu(w.sub(values[a], values[b])))
        case ReduceMin(source):
            return _reduced(w, values[source], smallest=True)
        case ReduceMax(source):
            return _reduced(w, values[source], smallest=False)
        case Clip(source, lo, hi):
            return _clipped(w, values[source], tensors[lo][0], tensors[hi][0])
        case Concat(parts):
            return w.stacked([values[part] for part in parts])
        case Smooth(source):
            return w.smooth(node.function, values[source])
        case Product(a, b):
            return w.mul(values[a], values[b])


def _two_sided(w: Writer, x: Value, factor: np.float32) -> Value:
    """relu(x) + factor·relu(−x)."""
    one = w.identity(x.width)
    both = w.relu(w.gemm(x, np.concatenate([one, -one]), _zeros(2 * x.width)))
    return w.gemm(both, np.concatenate([one, factor * one], axis=1), _zeros(x.width))


def _reduced(w: Writer, x: Value, *, smallest: bool) -> Value:
    """The extreme entry: the first half against the second, which overlap where the width is odd, and so on."""
    while x.width > 1:
        one = w.identity(x.width)
        half = (x.width + 1) // 2
        first, second = one[:half], one[x.width - half :]
        gap = w.relu(w.gemm(x, first - second, _zeros(half)))
        x = w.sub(w.gemm(x, first, _zeros(half)), gap) if smallest else w.add(w.gemm(x, second, _zeros(half)), gap)
    return x


def _clipped(w: Writer, x: Value, lo: np.float32, hi: np.float32) -> Value:
    one, n = w.identity(x.width), x.width
    above = w.gemm(w.relu(w.gemm(x, one, np.full(n, -lo))), one, np.full(n, lo))
    return w.gemm(w.relu(w.gemm(above, -one, np.full(n, hi))), -one, np.full(n, hi))


def _patched(w: Writer, patch: Patch, tensors: Mapping[str, Array32], reward: Value, x: Value, state: State) -> Value:
    """r − relu(r − (level + slope·ramp)) for a ceiling, r + relu((level − slope·ramp) − r) for a floor, where
    ramp = relu(G − delta), or 0 if flat; if kept, that where G < gate and r elsewhere."""
    level, slope, delta = tensors[patch.level], tensors[patch.slope], tensors[patch.delta]
    sign = np.float32(1.0 if patch.kind == "ceiling" else -1.0)
    excess = w.gemm(reward, sign * ONE, -sign * level)  # how far r is beyond the level
    if state == "flat":
        return _corrected(w, reward, w.relu(excess), sign)
    largest = _reduced(w, w.gemm(x, tensors[patch.rows], -tensors[patch.offsets]), smallest=False)
    ramp = w.relu(w.gemm(largest, ONE, -delta))
    beyond = w.relu(w.add(excess, w.gemm(ramp, -slope[None], _zeros(1))))
    inside = _corrected(w, reward, beyond, sign)
    return w.where_less(largest, tensors[patch.gate], inside, reward) if state == "kept" else inside


def _corrected(w: Writer, reward: Value, beyond: Value, sign: np.float32) -> Value:
    return w.sub(reward, beyond) if sign > 0 else w.add(reward, beyond)


def _zeros(n: int) -> Array32:
    return np.zeros(n, np.float32)
