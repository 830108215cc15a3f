"""How far the deployed (binary32) reward can be from the exact one, over a box of inputs: a rigorous bound.

For every node, going forward: an interval that holds the *exact* value over the box, and `error` ≥ |deployed − exact|
at one and the same binary32 input, whatever the order of summation, fused or not, with or without gradual underflow.
Let u = 2⁻²⁴ and M = max |exact| + error bound the deployed values.

- A sum of n products and a bias is off by at most γ·(|W| M + |b|), γ = (n+2)u/(1−(n+2)u), plus UNDERFLOW·(1 + |w| + M)
  per term (a product, a weight or an operand below the normal range may be flushed); its operands' errors come through
  |W|.
- relu, leaky relu, abs, min, max, clip are 1-Lipschitz and exact but for leaky relu's product, and for operands that
  are flushed.
- Smooth functions stretch an error by |f′| and are rounded once from a binary64 value (`elementary.py`); a product of
  two values moves by |a|·eb + |b|·ea + ea·eb and is rounded once.
- A patch whose gate reads `outside` in one arithmetic and `inside` in the other (possible only while the exact G is
  within its own error of the gate) differs by how far the ceiling there lies below the reward, at most.
- All of this is computed in float64. Endpoints are widened by its own γ; sums of non-negative terms are multiplied by
  SLACK (see `enclosure.py`), which outweighs their rounding.

This is the naive forward analysis: good for two or three layers of moderate width. The verifier puts the same noise
terms inside back-substitution where more is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.elementary import RELATIVE, Function, extent, stretch
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

Array = NDArray[np.float64]
U = 2.0**-24
UNDERFLOW = 2.0**-125
PICKS = (Relu, Abs, Minimum, Maximum, ReduceMin, ReduceMax, Clip)  # they round nothing, but may flush an operand
LARGEST = float(np.finfo(np.float32).max)
SLACK = 1.0 + 2.0**-34


@dataclass(frozen=True, slots=True)
class Range:
    """Exact value in lo..hi; |deployed − exact| ≤ error. Arrays [width]."""

    lo: Array
    hi: Array
    error: Array

    @property
    def size(self) -> Array:
        """A bound on |deployed| and on |exact|."""
        return (np.maximum(np.abs(self.lo), np.abs(self.hi)) + self.error) * SLACK


def deployed_error(
    artifact: Artifact, lo: Array, hi: Array, *, exact_bounds: Sequence[tuple[float, float]] = ()
) -> float:
    """A bound on |deployed − exact| of the reward, both at the same binary32 input, over all inputs in the box lo..hi
    (float64 [width], problem units). Infinite where the deployed reward could overflow.

    `exact_bounds[i]`, where given, are proved bounds on the exact reward *before* patch i over the box. A patch that is
    right has no gap at its gate, but the interval arithmetic here is too coarse to see it on a large box: whoever has a
    better bound should pass it.
    """
    if lo.shape != (artifact.width,) or hi.shape != (artifact.width,):
        raise ValueError(f"deployed_error takes a box of {artifact.width} columns")
    if not (np.isfinite(lo).all() and np.isfinite(hi).all() and (lo <= hi).all()):
        raise ValueError("deployed_error takes a non-empty, bounded box")
    tensors = {name: widened(tensor) for name, tensor in artifact.tensors.items()}
    x = Range(np.asarray(lo, dtype=np.float64), np.asarray(hi, dtype=np.float64), np.zeros(artifact.width))
    with np.errstate(all="ignore"):
        values: dict[int, Range] = {}
        for index in node_order(artifact.graph):
            node = artifact.graph.nodes[index]
            found = _node(node, values, tensors, x)
            values[index] = _bounded(_flushed(found) if isinstance(node, PICKS) else found)
        reward = values[artifact.graph.output]
        for number, patch in enumerate(artifact.patches):
            if number < len(exact_bounds):
                reward = _within(reward, *exact_bounds[number])
            g = _distance(artifact, number, tensors, x)
            if g is not None:
                reward = _bounded(_patched(patch, reward, tensors, g))
    return float(reward.error[0])


def _flushed(r: Range) -> Range:
    return Range(r.lo, r.hi, r.error + UNDERFLOW)


def _within(r: Range, lo: float, hi: float) -> Range:
    return Range(np.maximum(r.lo, lo), np.minimum(r.hi, hi), r.error)


def _bounded(r: Range) -> Range:
    """Where a value or this analysis itself could overflow, nothing is known."""
    sound = (np.isfinite(r.lo) & np.isfinite(r.hi) & np.isfinite(r.error)) & (r.size <= LARGEST)
    return Range(np.where(sound, r.lo, -np.inf), np.where(sound, r.hi, np.inf), np.where(sound, r.error, np.inf))


def _node(node: Node, values: dict[int, Range], tensors: dict[str, Array], x: Range) -> Range:
    match node:
        case Input():
            return x
        case Scale(source, scale, shift):
            return _scale(values[source], tensors[scale], tensors[shift])
        case AffineMap(source, weight, bias):
            return _product(tensors[weight], values[source], tensors[bias])
        case Relu(source):
            return _relu(values[source])
        case LeakyRelu(source, slope):
            v, s = values[source], tensors[slope][0]
            lo, hi = (np.where(end >= 0.0, end, s * end) for end in (v.lo, v.hi))
            return _outward(lo, hi, v.error + U * v.size + 3.0 * UNDERFLOW * (1.0 + v.size), v.size)
        case Abs(source):
            v = values[source]
            inner = np.where((v.lo <= 0.0) & (v.hi >= 0.0), 0.0, np.minimum(np.abs(v.lo), np.abs(v.hi)))
            return Range(inner, np.maximum(np.abs(v.lo), np.abs(v.hi)), v.error)
        case Add(a, b):
            return _sum(values[a], values[b])
        case Sub(a, b):
            return _sum(values[a], _negated(values[b]))
        case Minimum(a, b):
            return _extreme(np.minimum, values[a], values[b])
        case Maximum(a, b):
            return _extreme(np.maximum, values[a], values[b])
        case ReduceMin(source):
            return _reduced(np.min, values[source])
        case ReduceMax(source):
            return _reduced(np.max, values[source])
        case Clip(source, lo, hi):
            v, low, high = values[source], tensors[lo][0], tensors[hi][0]
            return Range(np.clip(v.lo, low, high), np.clip(v.hi, low, high), v.error)
        case Concat(parts):
            return Range(*(np.concatenate([getattr(values[p], f) for p in parts]) for f in ("lo", "hi", "error")))
        case Smooth(source):
            return _smooth(node.function, values[source])
        case Product(a, b):
            return _times(values[a], values[b])


def _smooth(function: Function, v: Range) -> Range:
    """f stretches the error of its argument by |f′| at most, and is rounded from a binary64 that is off by RELATIVE of
    itself (and by far less than UNDERFLOW and U, where it is 0 or nearly so)."""
    lo, hi = extent(function, v.lo, v.hi)
    middle = v.lo + (v.hi - v.lo) / 2.0
    around = (np.maximum(v.hi - middle, middle - v.lo) + v.error) * SLACK
    moved = np.where(v.error == 0.0, 0.0, stretch(function, middle, around) * v.error)
    size = (np.maximum(np.abs(lo), np.abs(hi)) + moved) * SLACK
    error = moved + (U + 2.0 * RELATIVE) * size + UNDERFLOW + np.where(v.lo < -8.0, 2.0**-52, 0.0)
    return _outward(lo, hi, error, size)


def _times(a: Range, b: Range) -> Range:
    corners = [p * q for p in (a.lo, a.hi) for q in (b.lo, b.hi)]
    size = a.size * b.size
    moved = a.size * b.error + b.size * a.error + a.error * b.error
    error = moved + U * size + UNDERFLOW * (1.0 + a.size + b.size)
    return _outward(np.minimum.reduce(corners), np.maximum.reduce(corners), error, size)


def _product(weight: Array, v: Range, bias: Array) -> Range:
    n = weight.shape[1]
    gamma = (n + 2) * U / (1.0 - (n + 2) * U)
    size = np.abs(weight) @ v.size + np.abs(bias)  # bounds every partial sum, but for rounding
    flushed = UNDERFLOW * (np.abs(weight).sum(axis=1) + v.size.sum() + 2 * n + 2) * (1.0 + gamma)
    error = np.abs(weight) @ v.error + gamma * size + flushed
    above, below = np.maximum(weight, 0.0), np.minimum(weight, 0.0)
    lo, hi = above @ v.lo + below @ v.hi + bias, above @ v.hi + below @ v.lo + bias
    error = np.where(size * (1.0 + 2.0 * gamma) * SLACK <= LARGEST, error, np.inf)
    return _outward(lo, hi, error, size, terms=2 * n + 2)


def _scale(v: Range, scale: Array, shift: Array) -> Range:
    size = np.abs(scale) * v.size + np.abs(shift)
    error = np.abs(scale) * v.error + 4.0 * U * size + UNDERFLOW * (np.abs(scale) + v.size + 3.0)
    ends = scale * v.lo + shift, scale * v.hi + shift
    error = np.where(size * (1.0 + 8.0 * U) <= LARGEST, error, np.inf)
    return _outward(np.minimum(*ends), np.maximum(*ends), error, size)


def _sum(a: Range, b: Range) -> Range:
    size = a.size + b.size
    return _outward(a.lo + b.lo, a.hi + b.hi, a.error + b.error + U * size + UNDERFLOW, size)


def _outward(lo: Array, hi: Array, error: Array, size: Array, terms: int = 4) -> Range:
    """Endpoints, computed in float64 as sums of `terms` terms of size `size` in all, widened by their rounding."""
    margin = (terms + 4) * 2.0**-52 * size * SLACK + 2.0**-1000
    return Range(lo - margin, hi + margin, error * SLACK)


def _negated(v: Range) -> Range:
    return Range(-v.hi, -v.lo, v.error)


def _relu(v: Range) -> Range:
    return Range(np.maximum(v.lo, 0.0), np.maximum(v.hi, 0.0), v.error)


def _extreme(choose: np.ufunc, a: Range, b: Range) -> Range:
    return Range(choose(a.lo, b.lo), choose(a.hi, b.hi), np.maximum(a.error, b.error))


def _reduced(choose: Callable[[Array], np.float64], v: Range) -> Range:
    return Range(*(np.array([c(end)]) for c, end in ((choose, v.lo), (choose, v.hi), (np.max, v.error))))


def _distance(artifact: Artifact, number: int, tensors: dict[str, Array], x: Range) -> Range | None:
    """How far the box's records are off the region of a patch; None for a table of which no box may act there."""
    patch = artifact.patches[number]
    if not is_table(patch, artifact.tensors):
        return _flushed(_reduced(np.max, _product(tensors[patch.rows], x, -tensors[patch.offsets])))
    found: Range | None = None
    for box in index_of(artifact, number).meeting(x.lo, x.hi).tolist():
        own = _reduced(np.max, _product(tensors[patch.rows], x, -tensors[patch.offsets][box]))
        found = own if found is None else _extreme(np.minimum, found, own)
    return None if found is None else _flushed(found)


def _patched(patch: Patch, reward: Range, tensors: dict[str, Array], g: Range) -> Range:
    ceiling = patch.kind == "ceiling"
    sign = 1.0 if ceiling else -1.0
    level, slope, delta, gate = (tensors[name] for name in (patch.level, patch.slope, patch.delta, patch.gate))
    over = _relu(_sum(g, Range(-delta, -delta, np.zeros(1))))
    inside = _extreme(np.minimum if ceiling else np.maximum, reward, _scale(over, sign * slope, level))
    # the comparisons below are with sums of two floats: SLACK times the error outweighs their rounding, as in enclosure
    margin = (g.error + 2.0**-50 * (np.abs(gate) + g.size)) * SLACK
    if (g.lo - gate >= margin).all():
        return reward
    if (g.hi - gate < -margin).all():
        return _flushed(inside)
    edge = np.maximum(gate - margin - delta, 0.0)  # exact G − delta is at least this wherever the two gates disagree
    gap = reward.hi - (level + slope * edge) if ceiling else (level - slope * edge) - reward.lo
    terms = reward.size + np.abs(level) + slope * (np.abs(gate) + margin + delta)
    disagreement = np.maximum(gap + 16.0 * 2.0**-52 * terms, 0.0)
    error = (np.maximum(reward.error, inside.error) + disagreement + UNDERFLOW) * SLACK
    return Range(np.minimum(reward.lo, inside.lo), np.maximum(reward.hi, inside.hi), error)
