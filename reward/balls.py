"""Rational enclosures of the exact reward, as narrow as asked for: what smooth functions mean at a point.

A graph with tanh and its kin has irrational values. At a rational point each is enclosed in a ball (python-flint's
`arb`: a midpoint of so many bits and a radius that covers whatever rounding has done), and the ends of the last ball
are rationals. More bits make it narrower, so a comparison is decided sooner or later, unless both sides are equal: then
it stays open, and nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np
from flint import arb, arb_mat, ctx, fmpq

from rewarden.reward.artifact import Artifact
from rewarden.reward.elementary import Function
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

Interval = tuple[Fraction, Fraction]
Balls = list[arb]
LARGEST = 1000  # log2: numbers beyond, as beyond binary64, are only known to be huge
FINEST = 1 << 13  # bits below the point that an end is written with: smaller numbers are only known to be tiny


def within(artifact: Artifact, x: Sequence[Fraction], bits: int) -> Interval | None:
    """lo ≤ exact reward ≤ hi at the encoded columns x, computed with `bits` bits; None where that is out of reach."""
    if len(x) != artifact.width:
        raise ValueError(f"within takes {artifact.width} columns, not {len(x)}")
    with ctx.workprec(bits):
        tensors, order = _prepared(artifact)
        start = [ball(value) for value in x]
        values: dict[int, Balls] = {}
        for index in order:
            values[index] = _node(artifact.graph.nodes[index], values, tensors, start)
        reward = values[artifact.graph.output][0]
        for number, patch in enumerate(artifact.patches):
            offsets = _offsets(artifact, number, tensors, x)
            if offsets:
                rows = tensors[patch.rows] * arb_mat(len(start), 1, start)
                reward = _patched(patch, reward, tensors, rows, offsets)
        return ends(reward)


def interval(artifact: Artifact, x: Sequence[Fraction], bits: int) -> Interval:
    """As `within`; Unsupported X24 where that is out of reach."""
    found = within(artifact, x, bits)
    if found is None:
        raise Unsupported("X24", "a reward is beyond all bounds at a record", help="check its exponentials")
    return found


def ball(value: Fraction) -> arb:
    return arb(fmpq(value.numerator, value.denominator))


def ends(x: arb) -> Interval | None:
    """Rationals on both sides of a ball; None if it is unbounded or huge."""
    if not x.is_finite():
        return None
    lower, upper = _number(x.lower()), _number(-x.upper())
    return None if lower is None or upper is None else (lower, -upper)


def _number(x: arb) -> Fraction | None:
    """A rational that is not above the exact ball x: itself, where that is in reason."""
    mantissa, exponent = (int(v) for v in x.man_exp())
    size = mantissa.bit_length() + exponent
    if mantissa and size > LARGEST:
        return None
    if mantissa and exponent < -FINEST:
        return Fraction(0) if mantissa > 0 else Fraction(-1, 1 << FINEST // 2) if size < -FINEST // 2 else None
    return Fraction(mantissa) * Fraction(2) ** exponent


def smooth(function: Function, x: arb) -> arb:
    """A ball that holds f(t) for all t in the ball x."""
    match function:
        case "tanh":
            return x.tanh()
        case "sigmoid":
            return 1 / (1 + (-x).exp())
        case "softplus":
            return x.exp().log1p()
        case "gelu":
            return x * (-x / arb(2).sqrt()).erfc() / 2
        case "silu":
            return x / (1 + (-x).exp())
        case "exp":
            return x.exp()
        case "square":
            return x * x


def relu(x: arb) -> arb:
    return x.max(arb(0))


@lru_cache(maxsize=16)
def _prepared(artifact: Artifact) -> tuple[dict[str, arb_mat], tuple[int, ...]]:
    """Tensors as exact matrices (vectors as columns), and the order of evaluation."""
    tensors = {}
    large = {patch.offsets for patch in artifact.patches if is_table(patch, artifact.tensors)}
    for name, tensor in artifact.tensors.items():
        if name in large:
            continue
        columns = tensor.shape[1] if tensor.ndim == 2 else 1
        tensors[name] = arb_mat(tensor.shape[0], columns, [arb(v) for v in widened(tensor).reshape(-1).tolist()])
    return tensors, node_order(artifact.graph)


def _node(node: Node, values: dict[int, Balls], tensors: dict[str, arb_mat], x: Balls) -> Balls:
    match node:
        case Input():
            return x
        case Scale(source, scale, shift):
            terms = zip(values[source], tensors[scale].entries(), tensors[shift].entries(), strict=True)
            return [v * s + t for v, s, t in terms]
        case AffineMap(source, weight, bias):
            return _product(tensors[weight], values[source], tensors[bias])
        case Relu(source):
            return [relu(v) for v in values[source]]
        case LeakyRelu(source, slope):
            (s,) = tensors[slope].entries()
            return [v.max(v * s) for v in values[source]]  # 0 ≤ slope ≤ 1
        case Abs(source):
            return [abs(v) for v in values[source]]
        case Add(a, b):
            return [p + q for p, q in zip(values[a], values[b], strict=True)]
        case Sub(a, b):
            return [p - q for p, q in zip(values[a], values[b], strict=True)]
        case Minimum(a, b):
            return [p.min(q) for p, q in zip(values[a], values[b], strict=True)]
        case Maximum(a, b):
            return [p.max(q) for p, q in zip(values[a], values[b], strict=True)]
        case ReduceMin(source):
            return [_extreme(values[source], largest=False)]
        case ReduceMax(source):
            return [_extreme(values[source], largest=True)]
        case Clip(source, lo, hi):
            (low,), (high,) = tensors[lo].entries(), tensors[hi].entries()
            return [v.max(low).min(high) for v in values[source]]
        case Concat(parts):
            return [v for part in parts for v in values[part]]
        case Smooth(source):
            return [smooth(node.function, v) for v in values[source]]
        case Product(a, b):
            return [p * q for p, q in zip(values[a], values[b], strict=True)]


def _product(weight: arb_mat, v: Balls, bias: arb_mat) -> Balls:
    found: Balls = (weight * arb_mat(len(v), 1, v) + bias).entries()
    return found


def _extreme(values: Balls, *, largest: bool) -> arb:
    total = values[0]
    for v in values[1:]:
        total = total.max(v) if largest else total.min(v)
    return total


def _offsets(artifact: Artifact, number: int, tensors: dict[str, arb_mat], x: Sequence[Fraction]) -> list[arb_mat]:
    """The offsets of a patch; of a table, those of every box that may act at x."""
    patch = artifact.patches[number]
    if not is_table(patch, artifact.tensors):
        return [tensors[patch.offsets]]
    _, boxes = index_of(artifact, number).pairs(np.array([[float(v) for v in x]]))
    own = artifact.tensors[patch.offsets]
    return [arb_mat(own.shape[1], 1, [arb(v) for v in widened(own[box]).tolist()]) for box in boxes.tolist()]


def _patched(patch: Patch, reward: arb, tensors: dict[str, arb_mat], rows: arb_mat, offsets: Sequence[arb_mat]) -> arb:
    """Where the gate cannot be told, both sides of it."""
    g = _extreme([_extreme((rows - own).entries(), largest=True) for own in offsets], largest=False)
    (level,), (slope,), (delta,), (gate,) = (
        tensors[name].entries() for name in (patch.level, patch.slope, patch.delta, patch.gate)
    )
    ramp = slope * relu(g - delta)
    inside = reward.min(level + ramp) if patch.kind == "ceiling" else reward.max(level - ramp)
    if g >= gate:
        return reward
    return inside if g < gate else reward.union(inside)
