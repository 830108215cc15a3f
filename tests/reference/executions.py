"""Legal executions of an artifact in binary32, drawn at random: sums in any order, fused or not, flushing or not.

Slow and obvious, one record at a time: numbers are Python floats that binary32 can hold, every operation is done in
rationals and rounded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import isfinite

import numpy as np

from rewarden.reward import graph as g
from rewarden.reward.artifact import Artifact
from rewarden.reward.widths import node_order

NORMAL = 2.0**-126
Vector = list[float]


def binary32(value: Fraction) -> float:
    """Rounded once, to nearest (ties as they fall when the neighbours are compared); infinite beyond the range."""
    try:
        near = np.float32(float(value))
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    if not np.isfinite(near):
        return float(near)
    around = (near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf)))
    return float(min((c for c in around if np.isfinite(c)), key=lambda c: abs(Fraction(float(c)) - value)))


class Execution:
    """One way to execute: its random state says how each sum is done. `flush`: results and operands below the normal
    range count as 0, now and then (`mixed`) or always."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.style = str(rng.choice(["forward", "backward", "shuffled", "pairwise", "tree", "fused", "mixed"]))
        self.flush = str(rng.choice(["never", "always", "mixed"]))

    # ── numbers ────────────────────────────────────────────────────────────────────────────────
    def flushed(self, value: float) -> float:
        if abs(value) < NORMAL and (self.flush == "always" or (self.flush == "mixed" and self.rng.random() < 0.5)):
            return 0.0
        return value

    def result(self, value: Fraction) -> float:
        return self.flushed(binary32(value))

    def add(self, a: float, b: float) -> float:
        a, b = self.flushed(a), self.flushed(b)
        if not (isfinite(a) and isfinite(b)):
            return a + b
        return self.result(Fraction(a) + Fraction(b))

    def times(self, a: float, b: float) -> float:
        a, b = self.flushed(a), self.flushed(b)
        if not (isfinite(a) and isfinite(b)):
            return a * b
        return self.result(Fraction(a) * Fraction(b))

    def fused(self, a: float, b: float, c: float) -> float:
        a, b, c = self.flushed(a), self.flushed(b), self.flushed(c)
        if not (isfinite(a) and isfinite(b) and isfinite(c)):
            return a * b + c
        return self.result(Fraction(a) * Fraction(b) + Fraction(c))

    def sum_of_products(self, weights: Sequence[float], values: Sequence[float], bias: float) -> float:
        style = str(self.rng.choice(["shuffled", "tree", "fused"])) if self.style == "mixed" else self.style
        order = list(range(len(weights)))
        if style in ("shuffled", "fused", "tree"):
            order = [int(i) for i in self.rng.permutation(len(weights))]
        if style == "backward":
            order.reverse()
        if style == "fused":
            total = bias if self.rng.random() < 0.5 else 0.0
            late = total != bias
            for i in order:
                total = self.fused(weights[i], values[i], total)
            return self.add(total, bias) if late else total
        terms = [self.times(weights[i], values[i]) for i in order]
        if style in ("pairwise", "tree"):
            terms.insert(int(self.rng.integers(len(terms) + 1)), bias)
            return self._tree(terms, style == "tree")
        total = bias if self.rng.random() < 0.5 else terms.pop(0) if terms else bias
        rest = terms if len(terms) == len(order) else [*terms, bias]
        for term in rest:
            total = self.add(total, term)
        return total

    def _tree(self, terms: list[float], anyhow: bool) -> float:
        while len(terms) > 1:
            i = int(self.rng.integers(len(terms) - 1)) if anyhow else 0
            terms[i : i + 2] = [self.add(terms[i], terms[i + 1])]
            if not anyhow:
                terms.append(terms.pop(0))
        return terms[0]

    # ── the network ────────────────────────────────────────────────────────────────────────────
    def reward(self, artifact: Artifact, x: Sequence[float]) -> float:
        """The reward of an encoded record, each entry a binary32 number."""
        tensors = {name: t.astype(np.float64) for name, t in artifact.tensors.items()}
        values: dict[int, Vector] = {}
        for index in node_order(artifact.graph):
            values[index] = self._node(artifact.graph.nodes[index], values, tensors, list(x))
        (reward,) = values[artifact.graph.output]
        for patch in artifact.patches:
            reward = self._patched(patch, reward, tensors, list(x))
        return self.flushed(reward)

    def _affine(self, weight: np.ndarray, v: Vector, bias: np.ndarray) -> Vector:
        return [self.sum_of_products(row.tolist(), v, float(b)) for row, b in zip(weight, bias, strict=True)]

    def _node(self, node: g.Node, values: dict[int, Vector], tensors: dict[str, np.ndarray], x: Vector) -> Vector:
        f = self.flushed
        match node:
            case g.Input():
                return x
            case g.Scale(source, scale, shift):
                both = zip(values[source], tensors[scale].tolist(), tensors[shift].tolist(), strict=True)
                return [self.sum_of_products([w], [v], b) for v, w, b in both]
            case g.AffineMap(source, weight, bias):
                return self._affine(tensors[weight], values[source], tensors[bias])
            case g.Relu(source):
                return [max(f(v), 0.0) for v in values[source]]
            case g.LeakyRelu(source, slope):
                s = float(tensors[slope][0])
                return [v if f(v) >= 0 else self.times(v, s) for v in values[source]]
            case g.Abs(source):
                return [abs(f(v)) for v in values[source]]
            case g.Add(a, b):
                return [self.add(p, q) for p, q in zip(values[a], values[b], strict=True)]
            case g.Sub(a, b):
                return [self.add(p, -q) for p, q in zip(values[a], values[b], strict=True)]
            case g.Minimum(a, b):
                return [min(f(p), f(q)) for p, q in zip(values[a], values[b], strict=True)]
            case g.Maximum(a, b):
                return [max(f(p), f(q)) for p, q in zip(values[a], values[b], strict=True)]
            case g.ReduceMin(source):
                return [min(f(v) for v in values[source])]
            case g.ReduceMax(source):
                return [max(f(v) for v in values[source])]
            case g.Clip(source, lo, hi):
                low, high = float(tensors[lo][0]), float(tensors[hi][0])
                return [min(max(f(v), f(low)), f(high)) for v in values[source]]
            case g.Concat(parts):
                return [v for p in parts for v in values[p]]
            case _:
                raise NotImplementedError(type(node).__name__)

    def _patched(self, patch: g.Patch, reward: float, tensors: dict[str, np.ndarray], x: Vector) -> float:
        level, slope, delta, gate = (
            float(tensors[n][0]) for n in (patch.level, patch.slope, patch.delta, patch.gate)
        )  # fmt: skip
        top = max(self._affine(tensors[patch.rows], x, -tensors[patch.offsets]))
        over = max(self.add(top, -delta), 0.0)
        sign = 1.0 if patch.kind == "ceiling" else -1.0
        bound = self.sum_of_products([sign * slope], [over], level)
        if self.flushed(top) >= self.flushed(gate):
            return reward
        choose = min if patch.kind == "ceiling" else max
        return choose(self.flushed(reward), self.flushed(bound))
