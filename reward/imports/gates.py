"""Products with a flag, as piecewise-linear gates: where a done flag drops a potential, nothing has to be smooth.

For d in {0, 1} and |v| ≤ M, (1 − d)·v = max(v − M·d, 0) − max(−v − M·d, 0), exactly, and bit for bit as executed: for
d = 0 it is max(v, 0) − max(−v, 0), for d = 1 both parts are 0. M is a power of two, at least twice what interval
arithmetic over the declared ranges says of v; where that says nothing useful, the product stays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.assembly import Assembled, Assembly
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
    Product,
    ReduceMax,
    ReduceMin,
    Relu,
    Scale,
    Smooth,
    Sub,
)
from rewarden.spec_lang.features import Column

Array = NDArray[np.float64]
MOST = 2.0**60  # beyond this a gate's own rounding would be the reward
SMALL = {"tanh": 1.0, "sigmoid": 1.0}  # what these never exceed
SHRINKING = ("gelu", "silu")  # no further from 0 than what they read


@dataclass(frozen=True, slots=True)
class Gate:
    """The node `value`, times `factor` where the flag in `column` is 0 (`drops`) or is 1, and times 0 elsewhere."""

    column: int
    drops: bool
    factor: float
    value: int


def with_gates(assembled: Assembled, columns: Sequence[Column]) -> Assembled:
    """The same function of every record, with gates where a column that is 0 or 1 is multiplied."""
    if not any(isinstance(node, Product) for node in assembled.graph.nodes):
        return assembled
    build, places, most = Assembly(len(columns)), [Assembly.INPUT], [_input(columns)]
    flags = [_flag(column) for column in columns]
    for node in assembled.graph.nodes[1:]:
        found = _gate(node, assembled, flags) if isinstance(node, Product) else None
        if found is not None:
            reach = most[found.value] * abs(found.factor)
            if float(reach.max()) < MOST:
                places.append(_gated(build, places[found.value], found, _power(float(reach.max()))))
                most.append(reach)
                continue
        places.append(build.copied(node, places, assembled.tensors))
        most.append(_most(node, most, assembled))
    return build.finish(places[assembled.graph.output])


def _flag(column: Column) -> bool:
    return column.discrete and column.lo == 0 and column.hi == 1


def _input(columns: Sequence[Column]) -> Array:
    return np.array([max(abs(float(column.lo)), abs(float(column.hi))) for column in columns])


def _power(bound: float) -> float:
    return 2.0 ** math.ceil(math.log2(2.0 * max(bound, 1.0)))


def _gated(build: Assembly, value: int, gate: Gate, most: float) -> int:
    """factor·v where the flag keeps it, else 0."""
    width, column, drops = build.width(value), gate.column, gate.drops
    if gate.factor != 1.0:
        value = build.scale(value, np.full(width, gate.factor, np.float32), np.zeros(width, np.float32))
    weight = np.zeros((width, build.width(Assembly.INPUT)), np.float32)
    weight[:, column] = -most if drops else most
    away = build.affine(Assembly.INPUT, weight, np.full(width, 0.0 if drops else -most, np.float32))
    minus = build.scale(value, np.full(width, -1.0, np.float32), np.zeros(width, np.float32))
    return build.sub(build.relu(build.add(value, away)), build.relu(build.add(minus, away)))


def _gate(node: Product, assembled: Assembled, flags: Sequence[bool]) -> Gate | None:
    for one, other in ((node.source, node.other), (node.other, node.source)):
        found = _line(one, assembled, len(flags))
        if found is None:
            continue
        weight, shift = found
        used = np.flatnonzero(weight.any(axis=0))
        if len(used) == 1 and flags[int(used[0])]:
            pairs = {(float(s), float(s + w)) for w, s in zip(weight[:, used[0]], shift, strict=True)}
            if len(pairs) == 1 and 0.0 in (pair := pairs.pop()):
                factor = sum(pair)  # of several steps, it may have no binary32 form: then the product stays
                if float(np.float32(factor)) == factor:
                    return Gate(int(used[0]), pair[1] == 0.0, factor, other)
    return None


def _line(index: int, assembled: Assembled, width: int) -> tuple[Array, Array] | None:
    """(W, b) where the node is W·input + b by a chain of affine steps of small whole numbers; None otherwise."""
    node, tensors = assembled.graph.nodes[index], assembled.tensors
    match node:
        case Input():
            return np.eye(width), np.zeros(width)
        case AffineMap(source, weight, bias):
            inner = _line(source, assembled, width)
            if inner is None or tensors[weight].size > 1 << 16 or width > 1 << 10:
                return None
            whole = tensors[weight].astype(np.float64)
            return whole @ inner[0], whole @ inner[1] + tensors[bias]
        case Scale(source, scale, shift):
            inner = _line(source, assembled, width)
            if inner is None:
                return None
            factors = tensors[scale].astype(np.float64)
            return inner[0] * factors[:, None], inner[1] * factors + tensors[shift]
        case _:
            return None


def _most(node: Node, most: Sequence[Array], assembled: Assembled) -> Array:
    """No column's absolute value is beyond this, over the declared ranges (roundings: see the factor of two)."""
    tensors = assembled.tensors
    with np.errstate(all="ignore"):
        match node:
            case Input():
                raise AssertionError("node 0 alone is the input")
            case Scale(source, scale, shift):
                return most[source] * np.abs(tensors[scale]) + np.abs(tensors[shift])
            case AffineMap(source, weight, bias):
                return np.abs(tensors[weight]).astype(np.float64) @ most[source] + np.abs(tensors[bias])
            case Add(a, b) | Sub(a, b):
                return most[a] + most[b]
            case Minimum(a, b) | Maximum(a, b):
                return np.maximum(most[a], most[b])
            case Product(a, b):
                return most[a] * most[b]
            case Concat(parts):
                return np.concatenate([most[part] for part in parts])
            case ReduceMin(source) | ReduceMax(source):
                return np.array([most[source].max()])
            case Clip(_, lo, hi):
                bound = max(abs(float(tensors[lo][0])), abs(float(tensors[hi][0])))
                return np.full_like(most[node.source], bound)
            case Relu(source) | LeakyRelu(source, _) | Abs(source):
                return most[source]
            case Smooth(source):
                return _smooth(node, most[source])


def _smooth(node: Smooth, most: Array) -> Array:
    name = node.function
    if name in SMALL:
        return np.full(most.shape, SMALL[name])
    if name in SHRINKING:
        return most
    match name:
        case "softplus":
            return most + 1.0
        case "square":
            return most * most
        case _:
            return np.asarray(np.exp(most), np.float64)
