"""Whether no binary32 execution of a reward leaves the numbers, whatever it adds up first: sizes, node by node.

What patches alone say of a reward (`caps`) is said of numbers: the smaller of NaN and a cap is NaN. Nor is a patch open
where one of its rows is NaN, whatever the others say. So under float32 semantics nothing is settled by a cap, and no
patch left out of a piece, unless all is a number in every execution. A sum of n products
goes through nothing larger than Σ|w||v| + |b|, times (1 + u)^(n + 1), n at most 2^16; ROOM is more than that, and pays
for these few roundings as well. Where nothing is infinite, nothing is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rewarden.reward import graph as g
from rewarden.reward.artifact import Artifact
from rewarden.reward.graph import Patch
from rewarden.reward.widths import Tensors
from rewarden.spec_lang.claim import Claim
from rewarden.verifier.executed import LARGEST, NORMAL
from rewarden.verifier.inline import arguments_over

Array = NDArray[np.float64]
ROOM = 1.0 + 2.0**-7


def all_finite(claim: Claim, artifacts: Mapping[str, Artifact]) -> bool:
    """At every point of the claim's boxes, in every call."""
    return all(always_finite(artifacts[call.reward], *arguments_over(claim, call)) for call in claim.calls)


def always_finite(artifact: Artifact, lo: Array, hi: Array) -> bool:
    """At every record in the box lo .. hi [width], with all patches. False where it is not known."""
    sizes: list[Array] = []
    first = np.maximum(np.abs(lo), np.abs(hi)) * ROOM + NORMAL
    for node in artifact.graph.nodes:
        found = first if isinstance(node, g.Input) else _size(node, artifact.tensors, sizes)
        if found is None or not (found <= LARGEST).all():
            return False
        sizes.append(found)
    return bool((first <= LARGEST).all()) and all(_is_finite(p, artifact.tensors, first) for p in artifact.patches)


def _size(node: g.Node, tensors: Tensors, sizes: list[Array]) -> Array | None:
    """[width]: what no output of the node, nor anything on the way to it, is larger than; None: not known."""
    match node:
        case g.Scale(x, scale, shift):
            found = _abs(tensors, scale) * sizes[x] + _abs(tensors, shift)
        case g.AffineMap(x, weight, bias):
            found = _abs(tensors, weight) @ sizes[x] + _abs(tensors, bias)
        case g.Relu(x) | g.Abs(x) | g.LeakyRelu(x):  # slopes are in 0 .. 1
            found = sizes[x]
        case g.Clip(x, lo, hi):
            found = np.maximum(sizes[x], max(_abs(tensors, lo)[0], _abs(tensors, hi)[0]))
        case g.Add(a, b) | g.Sub(a, b):
            found = sizes[a] + sizes[b]
        case g.Minimum(a, b) | g.Maximum(a, b):
            found = np.maximum(sizes[a], sizes[b])
        case g.ReduceMin(x) | g.ReduceMax(x):
            found = sizes[x].max(keepdims=True)
        case g.Concat(parts):
            found = np.concatenate([sizes[k] for k in parts])
        case _:
            return None
    return np.asarray(found * ROOM + NORMAL)


def _is_finite(patch: Patch, tensors: Tensors, first: Array) -> bool:
    """Whether its rows and its cap are numbers."""
    offsets = np.atleast_2d(_abs(tensors, patch.offsets)).max(axis=0)
    rows = (_abs(tensors, patch.rows) @ first + offsets) * ROOM + NORMAL
    top = float(rows.max()) + float(_abs(tensors, patch.delta)[0])
    cap = float(_abs(tensors, patch.level)[0]) + float(_abs(tensors, patch.slope)[0]) * top
    return max(top, cap) * ROOM <= LARGEST


def _abs(tensors: Tensors, name: str) -> Array:
    return np.abs(tensors[name].astype(np.float64))
