"""Corrections that are built into a network, told by the nodes at its output: from the outermost in.

    R' = min(max(c − room, R), c + room),  c = min(max(h, L), U),  room >= 0     lies between min(R, L) and max(R, U)
    R' = R − max(0, min(p, cap) − e),  e >= 0                                    lies between R − cap and R

whatever R, h and p are: `editor/envelope.py` and `methods/slope.py` end in these. As deployed the first is exact, since
minima, maxima and clips do not round, and rounding is monotone: c − room <= U, and c + room >= L; so is what the second
takes away. Read off the graph, it is true of every artifact that has the nodes, after squashing and merging as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.graph import Add, AffineMap, Clip, Concat, Graph, Input, Maximum, Minimum, Node, Relu, Scale, Sub
from rewarden.reward.widths import node_order, node_tensors, sources

Array32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Between:
    """The reward lies between what is beneath and `least` … `most`; `alone`: in these, whatever is beneath. `room`: the
    node of what is 0 on the region, −1 where that is everything."""

    least: Fraction
    most: Fraction
    alone: bool = False
    room: int = -1


@dataclass(frozen=True, slots=True)
class Less:
    """The reward is what is beneath, less 0 … `cap`; `room` as above."""

    cap: Fraction
    room: int = -1


Correction = Between | Less


def corrections(artifact: Artifact) -> Iterator[tuple[Correction, int]]:
    """Each with the node of what is beneath it, of a graph without its patches; −1 where nothing is."""
    at = artifact.graph.output
    while at >= 0:
        found = _between(artifact, at) or _less(artifact, at)
        if found is None:
            return
        yield found
        at = found[1]


def on_top(child: Artifact, parent: Artifact) -> list[Correction] | None:
    """The corrections that the child's network has on top of the parent's; None where it has anything else."""
    keys, own = _contents(child), _contents(parent)[parent.graph.output]
    if keys[child.graph.output] == own:
        return []
    made = []
    for correction, beneath in corrections(child):
        made.append(correction)
        if beneath < 0 or keys[beneath] == own:
            return made
    return None


def moves(child: Artifact, parent: Artifact) -> Fraction | None:
    """By how much at most the child's network is beside the parent's, where the values that an envelope holds it in are
    those of what is beneath; None where it is made otherwise."""
    made = on_top(child, parent)
    if made is None:
        return None
    return sum((part.cap if isinstance(part, Less) else part.most - part.least for part in made), Fraction(0))


def regions(child: Artifact, parent: Artifact) -> list[tuple[Array32, Array32]] | None:
    """Rows and offsets, as in patches, of all polytopes on which the child's network may be beside the parent's, in
    ring widths; none of them has rows where that is everywhere. None where it is made otherwise."""
    made = on_top(child, parent)
    found: dict[bytes, tuple[Array32, Array32]] = {}
    nothing = np.zeros((0, child.width), np.float32), np.zeros(0, np.float32)
    for part in made or ():
        if part.room < 0:
            return [nothing]
        waiting = [part.room]
        while waiting:
            node = child.graph.nodes[waiting.pop()]
            if isinstance(node, Minimum):
                waiting += [node.source, node.other]
                continue
            rows = _rows(child, node)
            if rows is None:
                return [nothing]
            found[rows[0].tobytes() + rows[1].tobytes()] = rows
    return None if made is None else list(found.values())


def _rows(artifact: Artifact, node: Node) -> tuple[Array32, Array32] | None:
    nodes, rows = artifact.graph.nodes, dict[bytes, tuple[Array32, np.float32]]()
    parts = nodes[node.source] if isinstance(node, AffineMap) else None
    for index in parts.parts if isinstance(parts, Concat) else ([node.source] if isinstance(node, AffineMap) else []):
        relu = nodes[index]
        scaled = nodes[relu.source] if isinstance(relu, Relu) else None
        read = nodes[scaled.source] if isinstance(scaled, Scale) else None
        if not isinstance(read, AffineMap) or not isinstance(nodes[read.source], Input):
            return None
        row, bias = artifact.tensors[read.weight], artifact.tensors[read.bias]
        rows[row.tobytes() + bias.tobytes()] = row[0], -bias[0]
    if not rows:
        return None
    return np.stack([row for row, _ in rows.values()]), np.array([offset for _, offset in rows.values()], np.float32)


def beneath(artifact: Artifact, node: int) -> Artifact:
    """The reward that a node computes, without patches."""
    return replace(artifact.with_patches(()), graph=Graph(artifact.graph.nodes, node))


def _contents(artifact: Artifact) -> Mapping[int, int]:
    """By node a number that is the same where what is computed is: op, sources, tensors."""
    from hashlib import sha256

    known: dict[int, int] = {}
    for index in node_order(artifact.graph):
        node = artifact.graph.nodes[index]
        parts = [type(node).__name__, *(str(known[s]) for s in sources(node))]
        parts += [f"{artifact.tensors[n].shape} {artifact.tensors[n].tobytes().hex()}" for n in node_tensors(node)]
        known[index] = int.from_bytes(sha256("\n".join(parts).encode()).digest(), "big")
    return known


# ── the two shapes ─────────────────────────────────────────────────────────────────────────────
def _between(artifact: Artifact, at: int) -> tuple[Correction, int] | None:
    nodes = artifact.graph.nodes
    node = nodes[at]
    if isinstance(node, Clip):
        return _ends(artifact, node, alone=True), -1
    if not isinstance(node, Minimum):
        return None
    upper, inner = nodes[node.other], nodes[node.source]
    if not (isinstance(upper, Add) and isinstance(inner, Maximum)):
        return None
    lower = nodes[inner.source]
    if not isinstance(lower, Sub) or (lower.source, lower.other) != (upper.source, upper.other):
        return None
    held = nodes[upper.source]
    if not isinstance(held, Clip) or not _never_negative(artifact, upper.other):
        return None
    return replace(_ends(artifact, held), room=upper.other), inner.other


def _ends(artifact: Artifact, node: Clip, *, alone: bool = False) -> Between:
    least, most = (Fraction(float(artifact.tensors[name][0])) for name in (node.lo, node.hi))
    return Between(least, most, alone)


def _less(artifact: Artifact, at: int) -> tuple[Correction, int] | None:
    nodes = artifact.graph.nodes
    node = nodes[at]
    taken = nodes[node.other] if isinstance(node, Sub) else None
    left = nodes[taken.source] if isinstance(taken, Relu) else None
    capped = nodes[left.source] if isinstance(left, Sub) else left
    if isinstance(left, Sub) and not _never_negative(artifact, left.other):
        return None
    if not isinstance(node, Sub) or not isinstance(capped, Minimum):
        return None
    cap = _constant(artifact, nodes[capped.other])
    fading = left.other if isinstance(left, Sub) else -1
    return None if cap is None or cap < 0 else (Less(cap, fading), node.source)


def _constant(artifact: Artifact, node: Node) -> Fraction | None:
    if not isinstance(node, AffineMap) or artifact.tensors[node.weight].any():
        return None
    bias = artifact.tensors[node.bias]
    return Fraction(float(bias[0])) if bias.shape == (1,) else None


def _never_negative(artifact: Artifact, at: int) -> bool:
    """A weighted sum of relus, or the least of some."""
    nodes = artifact.graph.nodes
    waiting = [at]
    while waiting:
        match nodes[waiting.pop()]:
            case Relu():
                continue
            case Minimum(a, b):
                waiting += [a, b]
            case Concat(parts):
                waiting += parts
            case AffineMap(source, weight, bias) if not _falls(artifact, weight, bias):
                waiting.append(source)
            case _:
                return False
    return True


def _falls(artifact: Artifact, weight: str, bias: str) -> bool:
    return bool((artifact.tensors[weight] < 0).any() or (artifact.tensors[bias] < 0).any()) or not bool(
        np.isfinite(artifact.tensors[weight]).all()
    )
