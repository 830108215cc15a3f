"""Rigorous float64 enclosures of the exact reward, in batches.

Each value v on the way carries a radius e with |v − exact| ≤ e. Let u = 2⁻⁵³.

- A sum of n products and a bias, in any order, fused or not, is off by at most γ·(|W||v| + |b|), γ = (n+2)u/(1−(n+2)u)
  (Higham, *Accuracy and Stability*, 3.5), plus UNDERFLOW per term for products below the normal range. On top of that
  come the operands' own radii, |W| e. As γ·|W||v| + |W| e = |W| (γ|v| + e), one more product gives both.
- relu, leaky relu, abs, min, max and clip are 1-Lipschitz in the maximum norm, so radii pass through (or take the
  maximum), plus the rounding of leaky relu's product. Where a relu or clip is certainly on its constant side, the
  result is exact and its radius is 0: many rows of a clipped reward are then known without exact arithmetic.
- smooth functions stretch a radius by |f′| at most and add their own error (`elementary.py`); a product of two values
  has the radius |a|·δb + |b|·δa + δa·δb and its own rounding.
- Radii are themselves computed in float64: sums of non-negative terms, at most MAX_WIDTH + 2 of them in a row, so their
  relative error is below (2¹⁶ + 8)u·2 < 2⁻³⁶. Multiplying by SLACK = 1 + 2⁻³⁴ after each makes them upper bounds again.
- A value that overflows becomes 0 with an infinite radius at once, so that no comparison ever sees an infinite value,
  and what depends on it ends as the enclosure (−∞, ∞).
- Comparisons that call something certain compare a rounded difference with radius·SLACK (or with 0): rounding is
  monotone and a difference in the subnormal range is exact, so a false one is never taken for true.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.elementary import Function, stretch, value, value_error
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
Wide = dict[str, Array]  # the tensors, in float64 (exactly)
U = 2.0**-53
UNDERFLOW = 2.0**-1021  # per operation; well above the 2^-1074 that a gradual underflow can lose, or 2^-1022 if flushed
SLACK = 1.0 + 2.0**-34
CHUNK_CELLS = 1 << 18


@dataclass(frozen=True, slots=True)
class Ball:
    """|value − exact| ≤ radius, elementwise; arrays [n, width]."""

    value: Array
    radius: Array


def enclose(artifact: Artifact, x: Array) -> tuple[Array, Array]:
    """Bounds (lo, hi), float64 [n] each, on the exact reward of the encoded rows x (float64 [n, width], taken as the
    rationals that they are): lo ≤ exact ≤ hi. Equal where the value is certain."""
    if x.ndim != 2 or x.shape[1] != artifact.width:
        raise ValueError(f"enclose takes float64 [n, {artifact.width}], not {list(x.shape)}")
    order = node_order(artifact.graph)
    wide = {name: widened(tensor) for name, tensor in artifact.tensors.items()}
    rows = max(1, CHUNK_CELLS // max(artifact.node_widths))
    lo, hi = np.empty(len(x)), np.empty(len(x))
    with np.errstate(all="ignore"):
        for start in range(0, len(x), rows):
            part = slice(start, start + rows)
            lo[part], hi[part] = _enclose(artifact, order, wide, np.asarray(x[part], dtype=np.float64))
    return lo, hi


def _enclose(artifact: Artifact, order: tuple[int, ...], tensors: Wide, x: Array) -> tuple[Array, Array]:
    start = _ball(x, np.zeros_like(x))
    values: dict[int, Ball] = {}
    for index in order:
        values[index] = _node(artifact.graph.nodes[index], values, tensors, start)
    reward = values[artifact.graph.output]
    for number, patch in enumerate(artifact.patches):
        reward = _patched(patch, reward, tensors, _distance(artifact, number, tensors, x))
    value, radius = reward.value[:, 0], reward.radius[:, 0]
    # fl(v ± e) is within half an ulp of v ± e, so the next number outwards is a bound; an exact value is its own.
    lo = np.where(radius == 0, value, np.nextafter(value - radius, -np.inf))
    hi = np.where(radius == 0, value, np.nextafter(value + radius, np.inf))
    return lo, hi


def _ball(value: Array, radius: Array) -> Ball:
    """A ball whose value is finite; where it was not, everything is possible."""
    sound = np.isfinite(value) & np.isfinite(radius)
    return Ball(np.where(sound, value, 0.0), np.where(sound, radius, np.inf))


def _node(node: Node, values: dict[int, Ball], tensors: Wide, x: Ball) -> Ball:
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
            below = s * v.value
            # Lipschitz constant 1 for slopes in 0..1; the product rounds once where it is taken
            radius = np.where(v.value >= 0.0, v.radius, (v.radius + U * np.abs(below) + UNDERFLOW) * SLACK)
            return Ball(np.where(v.value >= 0.0, v.value, below), radius)
        case Abs(source):
            return Ball(np.abs(values[source].value), values[source].radius)
        case Add(a, b):
            return _sum(values[a], values[b].value, values[b].radius)
        case Sub(a, b):
            return _sum(values[a], -values[b].value, values[b].radius)
        case Minimum(a, b):
            return _extreme(values[a], values[b], np.minimum)
        case Maximum(a, b):
            return _extreme(values[a], values[b], np.maximum)
        case ReduceMin(source):
            v = values[source]
            return Ball(v.value.min(axis=1, keepdims=True), v.radius.max(axis=1, keepdims=True))
        case ReduceMax(source):
            v = values[source]
            return Ball(v.value.max(axis=1, keepdims=True), v.radius.max(axis=1, keepdims=True))
        case Clip(source, lo, hi):
            return _clip(values[source], tensors[lo][0], tensors[hi][0])
        case Concat(parts):
            return Ball(
                np.concatenate([values[p].value for p in parts], axis=1),
                np.concatenate([values[p].radius for p in parts], axis=1),
            )
        case Smooth(source):
            return _smooth(node.function, values[source])
        case Product(a, b):
            return _times(values[a], values[b])


def _product(weight: Array, v: Ball, bias: Array) -> Ball:
    n = weight.shape[1]
    gamma = (n + 2) * U / (1.0 - (n + 2) * U)
    value = v.value @ weight.T + bias
    radius = (gamma * np.abs(v.value) + v.radius) @ np.abs(weight).T + gamma * np.abs(bias) + (n + 2) * UNDERFLOW
    # the parenthesis, too, is rounded: one more operation per term, within SLACK
    return _ball(value, radius * SLACK)


def _scale(v: Ball, scale: Array, shift: Array) -> Ball:
    product = v.value * scale
    value = product + shift
    radius = v.radius * np.abs(scale) + 4.0 * U * (np.abs(product) + np.abs(shift)) + 4.0 * UNDERFLOW
    nothing = (v.value == 0.0) & (v.radius == 0.0)  # the level of a patch itself, where many rows may lie
    return _ball(value, np.where(nothing, 0.0, radius * SLACK))


def _sum(a: Ball, value: Array, radius: Array) -> Ball:
    total = a.value + value
    return _ball(total, (a.radius + radius + U * np.abs(total)) * SLACK)  # half an ulp of the total at most


def _relu(v: Ball) -> Ball:
    return Ball(np.maximum(v.value, 0.0), np.where(v.value + v.radius <= 0.0, 0.0, v.radius))


def _smooth(function: Function, v: Ball) -> Ball:
    """f moves by at most |f′| times as far as its argument."""
    found = value(function, v.value)
    moved = np.where(v.radius == 0.0, 0.0, stretch(function, v.value, v.radius) * v.radius)
    return _ball(found, (moved + value_error(function, v.value, found)) * SLACK)


def _times(a: Ball, b: Ball) -> Ball:
    """ab + a·δb + b·δa + δa·δb; the product is rounded once."""
    product = a.value * b.value
    moved = np.abs(a.value) * b.radius + np.abs(b.value) * a.radius + a.radius * b.radius
    return _ball(product, (moved + U * np.abs(product) + UNDERFLOW) * SLACK)


def _extreme(a: Ball, b: Ball, choose: np.ufunc) -> Ball:
    """Minimum or maximum; where the balls do not meet, the loser's radius does not matter."""
    value = choose(a.value, b.value)
    apart = np.abs(a.value - b.value) > (a.radius + b.radius) * SLACK
    return Ball(value, np.where(apart, np.where(value == a.value, a.radius, b.radius), np.maximum(a.radius, b.radius)))


def _clip(v: Ball, lo: float, hi: float) -> Ball:
    certain = (v.value - lo <= -v.radius * SLACK) | (v.value - hi >= v.radius * SLACK)
    return Ball(np.minimum(np.maximum(v.value, lo), hi), np.where(certain, 0.0, v.radius))


def _distance(artifact: Artifact, number: int, tensors: Wide, x: Array) -> Ball:
    """How far records are off the region of a patch, [n, 1]. Where no box of a table may act, the gate itself."""
    patch = artifact.patches[number]
    start = Ball(x, np.zeros_like(x))
    if not is_table(patch, artifact.tensors):
        rows = _product(tensors[patch.rows], start, -tensors[patch.offsets])
        return Ball(rows.value.max(axis=1, keepdims=True), rows.radius.max(axis=1, keepdims=True))
    value, radius = np.full(len(x), tensors[patch.gate][0]), np.zeros(len(x))
    records, boxes = index_of(artifact, number).pairs(x)
    if len(records):
        some, place = np.unique(records, return_inverse=True)
        weight = tensors[patch.rows]
        sums = _product(weight, Ball(x[some], np.zeros_like(x[some])), np.zeros(len(weight)))
        value[some] = np.inf
        step = max(1, (1 << 20) // len(weight))
        for begin in range(0, len(records), step):
            part = slice(begin, begin + step)
            here = Ball(sums.value[place[part]], sums.radius[place[part]])
            rows = _sum(here, -tensors[patch.offsets][boxes[part]], np.zeros(1))
            np.minimum.at(value, records[part], rows.value.max(axis=1))  # both move by at most the largest radius
            np.maximum.at(radius, records[part], rows.radius.max(axis=1))
    return Ball(value[:, None], radius[:, None])


def _patched(patch: Patch, reward: Ball, tensors: Wide, g: Ball) -> Ball:
    """Inside and outside are both enclosed; where the gate is uncertain, the result is a ball around both."""
    over = _relu(_sum(g, -tensors[patch.delta], np.zeros(1)))
    sign = 1.0 if patch.kind == "ceiling" else -1.0
    bound = _scale(over, sign * tensors[patch.slope], tensors[patch.level])
    inside = _extreme(reward, bound, np.minimum if patch.kind == "ceiling" else np.maximum)
    gate = tensors[patch.gate][0]
    outside = g.value - gate >= g.radius * SLACK
    surely_inside = g.value - gate < -g.radius * SLACK
    apart = np.abs(inside.value - reward.value)
    both = np.maximum(inside.radius, (reward.radius + apart) * SLACK)
    radius = np.where(outside, reward.radius, np.where(surely_inside, inside.radius, both))
    return Ball(np.where(outside, reward.value, inside.value), radius)
