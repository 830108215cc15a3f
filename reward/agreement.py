"""Does an imported graph compute what its source computes? Held against it on random points, to a derived tolerance.

The graph is evaluated in binary64 together with a bound on how far *any* binary32 evaluation (any order of summation,
fused or not) may stray from it: γₙ-style, n·u·Σ|terms| at each affine map, carried through the later ones by |W|. A
source that strays further than that computes another function, and the import is refused. This tests the importer; no
proof rests on it, since proofs are about the artifact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.elementary import Function, stretch
from rewarden.reward.elementary import value as smooth_value
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
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.features import RecordType

POINTS = 256
SEED = 20250711
UNIT = 2.0**-24  # of binary32: half its epsilon
SLACK = 4.0  # for what first-order error terms leave out, and for a source that rounds twice where we count once
Array = NDArray[np.float64]
Pair = tuple[Array, Array]  # value and error bound, both [row, width]


def random_rows(types: Sequence[RecordType], count: int, seed: int) -> NDArray[np.float32]:
    """Encoded rows [count, width], uniform over the declared ranges; discrete features take their values."""
    generator = np.random.default_rng(seed)
    parts: list[Array] = []
    for feature in (feature for record_type in types for feature in record_type.features):
        lo, hi = float(feature.lo), float(feature.hi)
        match feature.kind:
            case "enum":
                cases = len(feature.cases)
                parts.append(np.eye(cases)[generator.integers(0, cases, count)])
            case "real":
                parts.append(generator.uniform(lo, hi, (count, feature.size)))
            case _:
                parts.append(generator.integers(int(lo), int(hi) + 1, (count, feature.size)).astype(np.float64))
    return np.concatenate(parts, axis=1).astype(np.float32)


def check_agreement(
    artifact: Artifact, source: Callable[[NDArray[np.float32]], NDArray[np.float32]], name: str
) -> None:
    """Raise Unsupported (X23) unless `source` ([n, width] → [n], binary32) agrees with the artifact."""
    rows = random_rows([record.type for record in artifact.records], POINTS, SEED)
    with np.errstate(all="ignore"):  # a source may overflow: then it is another function, and refused
        value, error = evaluate(artifact, rows.astype(np.float64))
        theirs = np.asarray(source(rows), np.float64)
    if theirs.shape != value.shape:
        raise Unsupported(
            "X23",
            f"{name} gives an output of shape {theirs.shape} for {len(rows)} rows",
            help="a reward is one number per row",
        )
    with np.errstate(all="ignore"):
        gap = np.abs(theirs - value)
        excess = np.where(gap <= error, 0.0, np.nan_to_num(gap - error, nan=np.inf, posinf=np.inf))
    if bool((excess > 0).any()):
        worst = int(np.argmax(excess))
        if not np.isfinite(theirs[worst]):
            raise Unsupported(
                "X23",
                f"{name} computes {theirs[worst]:g} on a record of the declared ranges",
                help="numbers on the way are beyond binary32: narrow the features' ranges, or scale the weights down",
            )
        raise Unsupported(
            "X23",
            f"{name} computes {theirs[worst]:.9g} where the imported graph computes {value[worst]:.9g}"
            f" (rounding explains {error[worst]:.2g})",
            help="it does something that its operators do not show, such as a reshape across rows; write it plainly",
        )


def evaluate(artifact: Artifact, x: Array) -> tuple[Array, Array]:
    """The graph (without patches) in binary64 on rows [n, width], and how far binary32 may stray; both [n]."""
    tensors = {name: tensor.astype(np.float64) for name, tensor in artifact.tensors.items()}
    values: list[Pair] = []
    for node in artifact.graph.nodes:
        values.append(_node(node, values, tensors, x))
    value, error = values[artifact.graph.output]
    return value[:, 0], SLACK * error[:, 0] + 1e-37


def _node(node: Node, values: list[Pair], tensors: dict[str, Array], x: Array) -> Pair:
    match node:
        case Input():
            return x, np.zeros_like(x)
        case Scale(source, scale, shift):
            v, e = values[source]
            k, s = tensors[scale], tensors[shift]
            return v * k + s, e * np.abs(k) + 2 * UNIT * (np.abs(v * k) + np.abs(s))
        case AffineMap(source, weight, bias):
            v, e = values[source]
            w, b = tensors[weight], tensors[bias]
            terms = (np.abs(v) + e) @ np.abs(w).T + np.abs(b)
            return v @ w.T + b, e @ np.abs(w).T + (w.shape[1] + 2) * UNIT * terms
        case Add(a, b) | Sub(a, b):
            (v, e), (w, f) = values[a], values[b]
            total = v + w if isinstance(node, Add) else v - w
            return total, e + f + UNIT * (np.abs(v) + np.abs(w))
        case Minimum(a, b) | Maximum(a, b):
            (v, e), (w, f) = values[a], values[b]
            return (np.minimum if isinstance(node, Minimum) else np.maximum)(v, w), np.maximum(e, f)
        case Concat(parts):
            return tuple(np.concatenate([values[part][i] for part in parts], axis=1) for i in (0, 1))  # type: ignore[return-value]
        case Product(a, b):
            (v, e), (w, f) = values[a], values[b]
            return v * w, np.abs(v) * f + np.abs(w) * e + e * f + UNIT * np.abs(v * w)
        case Smooth(source):
            return _smooth(node.function, values[source])
        case _:
            return _unary(node, values[node.source], tensors)


def _smooth(function: Function, pair: Pair) -> Pair:
    """Others compute these in binary32, by formulas that lose digits: softplus by 1 + e^x, gelu by 1 + erf."""
    v, e = pair
    found = smooth_value(function, v)
    scale = np.abs(found) + (np.abs(v) if function == "gelu" else 1.0 if function == "softplus" else 0.0)
    return found, stretch(function, v, e) * e + 8 * UNIT * scale


def _unary(node: Relu | LeakyRelu | Abs | ReduceMin | ReduceMax | Clip, pair: Pair, tensors: dict[str, Array]) -> Pair:
    """None of these stretches distances, and only a leaky ReLU rounds."""
    v, e = pair
    match node:
        case Relu():
            return np.maximum(v, 0.0), e
        case LeakyRelu(_, slope):
            return np.where(v >= 0.0, v, v * tensors[slope]), e + UNIT * np.abs(v)
        case Abs():
            return np.abs(v), e
        case ReduceMin():
            return v.min(axis=1, keepdims=True), e.max(axis=1, keepdims=True)
        case ReduceMax():
            return v.max(axis=1, keepdims=True), e.max(axis=1, keepdims=True)
        case Clip(_, lo, hi):
            return np.clip(v, tensors[lo], tensors[hi]), e
