"""docs/formats.md read aloud: the exact reward in Fractions, one node at a time, with no thought for speed."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from rewarden.reward import graph as g
from rewarden.reward.artifact import Artifact


def slow_evaluate(artifact: Artifact, x: Sequence[Fraction]) -> Fraction:
    """The exact reward of encoded columns."""

    def tensor(name: str) -> list:
        values = artifact.tensors[name].tolist()
        return [[Fraction(w) for w in row] if isinstance(row, list) else Fraction(row) for row in values]

    def affine(weight: str, v: list[Fraction]) -> list[Fraction]:
        return [sum((w * a for w, a in zip(row, v, strict=True)), Fraction(0)) for row in tensor(weight)]

    values: list[list[Fraction]] = []
    for node in artifact.graph.nodes:
        v = values[node.source] if hasattr(node, "source") else []
        other = values[node.other] if hasattr(node, "other") else []
        match node:
            case g.Input():
                out = list(x)
            case g.Scale():
                out = [a * s + t for a, s, t in zip(v, tensor(node.scale), tensor(node.shift), strict=True)]
            case g.AffineMap():
                out = [a + b for a, b in zip(affine(node.weight, v), tensor(node.bias), strict=True)]
            case g.Relu():
                out = [max(a, Fraction(0)) for a in v]
            case g.LeakyRelu():
                out = [a if a >= 0 else tensor(node.slope)[0] * a for a in v]
            case g.Abs():
                out = [abs(a) for a in v]
            case g.Add():
                out = [a + b for a, b in zip(v, other, strict=True)]
            case g.Sub():
                out = [a - b for a, b in zip(v, other, strict=True)]
            case g.Minimum():
                out = [min(a, b) for a, b in zip(v, other, strict=True)]
            case g.Maximum():
                out = [max(a, b) for a, b in zip(v, other, strict=True)]
            case g.ReduceMin():
                out = [min(v)]
            case g.ReduceMax():
                out = [max(v)]
            case g.Clip():
                out = [min(max(a, tensor(node.lo)[0]), tensor(node.hi)[0]) for a in v]
            case g.Concat():
                out = [a for part in node.parts for a in values[part]]
        values.append(out)
    reward = values[artifact.graph.output][0]
    for patch in artifact.patches:
        level, slope, delta, gate = (tensor(name)[0] for name in (patch.level, patch.slope, patch.delta, patch.gate))
        sums, stored = affine(patch.rows, list(x)), np.atleast_2d(artifact.tensors[patch.offsets])
        far = min(max(a - Fraction(float(b)) for a, b in zip(sums, box, strict=True)) for box in stored)
        ramp = slope * max(Fraction(0), far - delta)
        if far < gate:
            reward = min(reward, level + ramp) if patch.kind == "ceiling" else max(reward, level - ramp)
    return reward
