"""The exact reward: what an artifact means, in rationals.

Weights are float32, hence dyadic: a tensor is a matrix of integers times one power of two. A vector on the way through
the graph is integers over one denominator `odd · 2^exponent`, where `odd` comes from the input and never changes. So
all the work is on plain integers, and no fraction is reduced but the last: about 0.4 ms for a 64×64 network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, partial, reduce
from math import lcm
from operator import mul

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
from rewarden.reward.tables import index_of, is_table
from rewarden.reward.widen import widened
from rewarden.reward.widths import node_order
from rewarden.spec_lang.errors import Unsupported


@dataclass(frozen=True, slots=True)
class Dyadic:
    """A float32 tensor as rows · 2^-exponent; a vector is one row per element."""

    rows: tuple[tuple[int, ...], ...]
    exponent: int


@dataclass(frozen=True, slots=True)
class Vector:
    """values / (odd · 2^exponent), with `odd` known to the evaluation."""

    values: list[int]
    exponent: int

    def at(self, exponent: int) -> list[int]:
        """The numerators over a larger (or equal) power of two."""
        shift = exponent - self.exponent
        return [v << shift for v in self.values] if shift else self.values


@dataclass(frozen=True, slots=True)
class Evaluation:
    tensors: dict[str, Dyadic]
    odd: int
    x: Vector

    def constants(self, name: str) -> Vector:
        """A tensor [n] over this evaluation's denominator."""
        tensor = self.tensors[name]
        return Vector([row[0] * self.odd for row in tensor.rows], tensor.exponent)


def evaluate(artifact: Artifact, x: Sequence[Fraction]) -> Fraction:
    """The exact value of the reward at the encoded columns x (rationals, problem units).

    A smooth reward has none that is rational (Unsupported X24): `balls.within` encloses it.
    """
    require_rational(artifact)
    if len(x) != artifact.width:
        raise ValueError(f"evaluate takes {artifact.width} columns, not {len(x)}")
    tensors, order = _prepared(artifact)
    start, odd = _common_denominator(x)
    run = Evaluation(tensors, odd, start)
    values: dict[int, Vector] = {}
    for index in order:
        values[index] = _node(artifact.graph.nodes[index], values, run)
    reward = values[artifact.graph.output]
    for number, patch in enumerate(artifact.patches):
        offsets = _offsets(artifact, number, run, x)
        if offsets:
            reward = _patched(patch, reward, _product(tensors[patch.rows], start), offsets, run)
    return Fraction(reward.values[0], odd << reward.exponent)


def require_rational(artifact: Artifact) -> None:
    """Unsupported X24 for a smooth reward, whose values no rational arithmetic gives."""
    if artifact.smooth:
        raise Unsupported("X24", "a smooth reward has no rational values", help="rules over records can be verified")


def evaluate_row(artifact: Artifact, row: NDArray[np.floating]) -> Fraction:
    """The exact value at a row of binary floating-point numbers, each taken as the rational that it is."""
    return evaluate(artifact, [Fraction(float(v)) for v in row])


def _common_denominator(x: Sequence[Fraction]) -> tuple[Vector, int]:
    denominator = lcm(*(v.denominator for v in x))
    exponent = (denominator & -denominator).bit_length() - 1
    return Vector([v.numerator * (denominator // v.denominator) for v in x], exponent), denominator >> exponent


@lru_cache(maxsize=16)
def _prepared(artifact: Artifact) -> tuple[dict[str, Dyadic], tuple[int, ...]]:
    """Integer tensors and evaluation order; artifacts are immutable and hashed by identity."""
    large = {patch.offsets for patch in artifact.patches if is_table(patch, artifact.tensors)}
    tensors = {name: dyadic(tensor) for name, tensor in artifact.tensors.items() if name not in large}
    return tensors, node_order(artifact.graph)


def dyadic(tensor: NDArray[np.float32]) -> Dyadic:
    """The tensor as integers times the largest power of two that leaves them integers."""
    mantissas, exponents = np.frexp(widened(tensor))
    integers = (mantissas * 16777216.0).astype(np.int64)  # 24 bits: exact
    used = integers != 0
    low = int(exponents[used].min()) - 24 if used.any() else 0
    flat = [int(m) << (int(e) - 24 - low) if m else 0 for m, e in zip(integers.flat, exponents.flat, strict=True)]
    if low > 0:
        flat, low = [v << low for v in flat], 0
    columns = tensor.shape[1] if tensor.ndim == 2 else 1
    return Dyadic(tuple(tuple(flat[i : i + columns]) for i in range(0, len(flat), columns)), -low)


def _node(node: Node, values: dict[int, Vector], run: Evaluation) -> Vector:
    match node:
        case Input():
            return run.x
        case Scale(source, scale, shift):
            v, s = values[source], run.tensors[scale]
            product = Vector([row[0] * a for row, a in zip(s.rows, v.values, strict=True)], v.exponent + s.exponent)
            return _sum(product, run.constants(shift))
        case AffineMap(source, weight, bias):
            return _sum(_product(run.tensors[weight], values[source]), run.constants(bias))
        case Relu(source):
            v = values[source]
            return Vector([max(a, 0) for a in v.values], v.exponent)
        case LeakyRelu(source, slope):
            v, s = values[source], run.tensors[slope]
            factor, one = s.rows[0][0], 1 << s.exponent
            return Vector([a * (one if a >= 0 else factor) for a in v.values], v.exponent + s.exponent)
        case Abs(source):
            v = values[source]
            return Vector([abs(a) for a in v.values], v.exponent)
        case Add(a, b):
            return _sum(values[a], values[b])
        case Sub(a, b):
            return _sum(values[a], _negated(values[b]))
        case Minimum(a, b):
            return _extreme(min, values[a], values[b])
        case Maximum(a, b):
            return _extreme(max, values[a], values[b])
        case ReduceMin(source):
            return Vector([min(values[source].values)], values[source].exponent)
        case ReduceMax(source):
            return Vector([max(values[source].values)], values[source].exponent)
        case Clip(source, lo, hi):
            v = values[source]
            low, high = (_repeated(run.constants(name), len(v.values)) for name in (lo, hi))
            return _extreme(min, _extreme(max, v, low), high)
        case Concat(parts):
            exponent = max(values[p].exponent for p in parts)
            return Vector([a for p in parts for a in values[p].at(exponent)], exponent)
        case Smooth() | Product():
            raise AssertionError("smooth rewards are refused before")


def _offsets(artifact: Artifact, number: int, run: Evaluation, x: Sequence[Fraction]) -> list[Vector]:
    """The offsets of a patch; of a table, those of every box that may act at x."""
    patch = artifact.patches[number]
    if not is_table(patch, artifact.tensors):
        return [run.constants(patch.offsets)]
    _, boxes = index_of(artifact, number).pairs(np.array([[float(v) for v in x]]))
    stored = [dyadic(artifact.tensors[patch.offsets][box]) for box in boxes.tolist()]
    return [Vector([row[0] * run.odd for row in offsets.rows], offsets.exponent) for offsets in stored]


def _patched(patch: Patch, reward: Vector, rows: Vector, offsets: Sequence[Vector], run: Evaluation) -> Vector:
    distances = [_sum(rows, _negated(own)) for own in offsets]
    tops = [Vector([max(g.values)], g.exponent) for g in distances]
    largest = reduce(partial(_extreme, min), tops)
    if _sum(largest, _negated(run.constants(patch.gate))).values[0] >= 0:
        return reward
    slope = run.tensors[patch.slope]
    over = _sum(largest, _negated(run.constants(patch.delta)))
    ramp = Vector([slope.rows[0][0] * max(over.values[0], 0)], over.exponent + slope.exponent)
    if patch.kind == "ceiling":
        return _extreme(min, reward, _sum(run.constants(patch.level), ramp))
    return _extreme(max, reward, _sum(run.constants(patch.level), _negated(ramp)))


def _product(weight: Dyadic, v: Vector) -> Vector:
    return Vector([sum(map(mul, row, v.values)) for row in weight.rows], v.exponent + weight.exponent)


def _sum(a: Vector, b: Vector) -> Vector:
    exponent = max(a.exponent, b.exponent)
    return Vector([p + q for p, q in zip(a.at(exponent), b.at(exponent), strict=True)], exponent)


def _negated(v: Vector) -> Vector:
    return Vector([-a for a in v.values], v.exponent)


def _repeated(v: Vector, count: int) -> Vector:
    return Vector(v.values * count, v.exponent)


def _extreme(choose: Callable[[int, int], int], a: Vector, b: Vector) -> Vector:
    """Elementwise minimum or maximum."""
    exponent = max(a.exponent, b.exponent)
    return Vector([choose(p, q) for p, q in zip(a.at(exponent), b.at(exponent), strict=True)], exponent)
