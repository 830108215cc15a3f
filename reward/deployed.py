"""The deployed reward: binary32, as it is executed, in numpy.

A row's result depends on that row alone, bit for bit: not on the batch around it, nor on the number of threads, the
BLAS library or the processor. Matrix products are therefore not given to BLAS, whose kernels (and so the order of
summation) change with the shape; they are sums of elementwise products in the order of the columns, which IEEE 754
fixes completely. Smooth functions are evaluated in binary64 by sums and products of our own (`elementary.py`; no libm)
and rounded to binary32. Rows are laid along the fast axis, so that numpy's elementwise loops keep their speed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.elementary import value
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
from rewarden.reward.stacks import Stack, parts
from rewarden.reward.tables import index_of, is_table
from rewarden.reward.widths import Tensors, node_order

Array = NDArray[np.float32]
CHUNK_CELLS = 1 << 16  # float32 cells of the widest node per chunk of rows: 256 KiB, so that a product stays in cache
MAX_CHUNK = 2048


def forward(artifact: Artifact, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The reward of encoded rows: float32 [n, width] → float32 [n]. Overflow gives infinities or NaN, silently."""
    if x.dtype != np.float32 or x.ndim != 2 or x.shape[1] != artifact.width:
        raise ValueError(f"forward takes float32 [n, {artifact.width}], not {x.dtype} {list(x.shape)}")
    order = node_order(artifact.graph)
    rows = min(MAX_CHUNK, max(1, CHUNK_CELLS // max(artifact.node_widths)))
    result = np.empty(len(x), dtype=np.float32)
    with np.errstate(all="ignore"):
        for start in range(0, len(x), rows):
            columns = np.ascontiguousarray(x[start : start + rows].T)
            result[start : start + rows] = _forward(artifact, order, columns)
    return result


def _forward(artifact: Artifact, order: tuple[int, ...], x: Array) -> Array:
    """x: [width, n] → [n]."""
    values: dict[int, Array] = {}
    for index in order:
        values[index] = _node(artifact.graph.nodes[index], values, artifact.tensors, x)
    reward = values[artifact.graph.output][0].copy()
    # what is not a number, or infinite, has no place in an index
    for part in parts(artifact) if np.isfinite(x).all() else range(len(artifact.patches)):
        if isinstance(part, Stack):
            reward = part.on(reward, x)
            continue
        patch = artifact.patches[part]
        table = is_table(patch, artifact.tensors)
        g = _nearest(artifact, part, x) if table else _farthest(patch, artifact.tensors, x)
        reward = _patched(patch, reward, artifact.tensors, g)
    # −0 becomes +0: which zero max(0, −0) gives may depend on a row's place in a batch
    unsigned: Array = reward + np.float32(0.0)
    return unsigned


def _node(node: Node, values: dict[int, Array], tensors: Tensors, x: Array) -> Array:
    result: Array
    match node:
        case Input():
            result = x
        case Scale(source, scale, shift):
            result = values[source] * tensors[scale][:, None] + tensors[shift][:, None]
        case AffineMap(source, weight, bias):
            result = _product(tensors[weight], values[source], tensors[bias])
        case Relu(source):
            result = np.maximum(values[source], np.float32(0.0))
        case LeakyRelu(source, slope):
            v = values[source]
            result = np.where(v >= 0, v, v * tensors[slope][0])
        case Abs(source):
            result = np.abs(values[source])
        case Add(a, b):
            result = values[a] + values[b]
        case Sub(a, b):
            result = values[a] - values[b]
        case Minimum(a, b):
            result = np.minimum(values[a], values[b])
        case Maximum(a, b):
            result = np.maximum(values[a], values[b])
        case ReduceMin(source):
            result = values[source].min(axis=0, keepdims=True)
        case ReduceMax(source):
            result = values[source].max(axis=0, keepdims=True)
        case Clip(source, lo, hi):
            result = np.minimum(np.maximum(values[source], tensors[lo][0]), tensors[hi][0])
        case Concat(parts):
            result = np.concatenate([values[p] for p in parts])
        case Smooth(source):
            result = value(node.function, values[source].astype(np.float64)).astype(np.float32)
        case Product(a, b):
            result = values[a] * values[b]
    return result


def _farthest(patch: Patch, tensors: Tensors, x: Array) -> Array:
    """The largest row of a patch, [n]."""
    largest: Array = _product(tensors[patch.rows], x, -tensors[patch.offsets]).max(axis=0)
    return largest


def _nearest(artifact: Artifact, number: int, x: Array) -> Array:
    """The least, over a table's boxes, of their largest rows; infinite where none of them is below the gate. The offset
    is subtracted last."""
    patch = artifact.patches[number]
    rows, offsets = artifact.tensors[patch.rows], artifact.tensors[patch.offsets]
    index = index_of(artifact, number)
    g = np.full(x.shape[1], np.inf, np.float32)
    records, boxes = index.pairs(x.T.astype(np.float64))
    if not len(records):
        return g
    some, place = np.unique(records, return_inverse=True)
    alone = index.alone >= 0
    columns = np.maximum(index.alone, 0)
    sums = np.empty((len(rows), len(some)), np.float32)
    sums[alone] = rows[alone, columns[alone]][:, None] * x[columns[alone]][:, some]
    if not alone.all():
        sums[~alone] = _product(rows[~alone], x[:, some], np.zeros(int((~alone).sum()), np.float32))
    step = max(1, (1 << 20) // len(rows))
    for start in range(0, len(records), step):
        part = slice(start, start + step)
        largest = (sums[:, place[part]] - offsets[boxes[part]].T).max(axis=0)
        np.minimum.at(g, records[part], largest)
    return g


def _patched(patch: Patch, reward: Array, tensors: Tensors, g: Array) -> Array:
    """The reward with one patch around it (docs/formats.md), all in binary32; `g` is how far records are off [n]."""
    ramp = tensors[patch.slope][0] * np.maximum(g - tensors[patch.delta][0], np.float32(0.0))
    if patch.kind == "ceiling":
        inside = np.minimum(reward, tensors[patch.level][0] + ramp)
    else:
        inside = np.maximum(reward, tensors[patch.level][0] - ramp)
    return np.where(g >= tensors[patch.gate][0], reward, inside)


def _product(weight: Array, v: Array, bias: Array) -> Array:
    """weight [m, n] · v [n, rows] + bias [m], summed in the order bias, column 0, column 1, …"""
    if v.shape[1] == 1:  # the same sums, without a call for each column
        terms = np.empty((weight.shape[0], weight.shape[1] + 1), dtype=np.float32)
        terms[:, 0] = bias
        np.multiply(weight, v[:, 0], out=terms[:, 1:])
        return np.add.accumulate(terms, axis=1, out=terms)[:, -1:]
    total = np.empty((weight.shape[0], v.shape[1]), dtype=np.float32)
    total[:] = bias[:, None]
    term = np.empty_like(total)
    for k in range(weight.shape[1]):
        np.multiply(weight[:, k, None], v[k], out=term)
        total += term
    return total
