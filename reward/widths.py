"""The shape of a graph: which tensors it names, how wide each node is, and that all of it is well formed and bounded.

An artifact may come from a stranger. Before anything is computed, every node index, tensor, shape and constant is
checked here, and size is capped, so that evaluating a hostile artifact costs no more than evaluating a large honest one
(a chain of `concat`s doubles its width with every node).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.graph import (
    Abs,
    Add,
    AffineMap,
    Clip,
    Concat,
    Graph,
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
from rewarden.spec_lang.errors import ArtifactError

MAX_NODES = 4096
MAX_WIDTH = 65536  # `enclosure.py` and `rounding.py` rely on this: sums of up to MAX_WIDTH + 2 terms
MAX_TOTAL_WIDTH = 1 << 20  # over all nodes
MAX_PATCHES = 1000
MAX_ROWS = 4096  # of one patch
MAX_BOXES = 1 << 17  # of one patch near data
MAX_ELEMENTS = 1 << 28  # over all uses of tensors: 1 GiB, and as many multiplications a row

Tensors = Mapping[str, NDArray[np.float32]]


def sources(node: Node) -> tuple[int, ...]:
    """The nodes that this one reads."""
    match node:
        case Input():
            return ()
        case Add(a, b) | Sub(a, b) | Minimum(a, b) | Maximum(a, b) | Product(a, b):
            return (a, b)
        case Concat(parts):
            return parts
        case _:
            return (node.source,)


def node_tensors(node: Node) -> tuple[str, ...]:
    """The names of the tensors that a node uses."""
    match node:
        case Scale(_, scale, shift):
            return (scale, shift)
        case AffineMap(_, weight, bias):
            return (weight, bias)
        case LeakyRelu(_, slope):
            return (slope,)
        case Clip(_, lo, hi):
            return (lo, hi)
        case _:
            return ()


def patch_tensors(patch: Patch) -> tuple[str, ...]:
    """The names of the tensors that a patch uses."""
    return (patch.rows, patch.offsets, patch.level, patch.slope, patch.delta, patch.gate)


def used_tensors(graph: Graph, patches: tuple[Patch, ...]) -> Iterator[str]:
    """Every tensor name in use; repeats are possible (tensors may be shared)."""
    for node in graph.nodes:
        yield from node_tensors(node)
    for patch in patches:
        yield from patch_tensors(patch)


def check_tensors(graph: Graph, patches: tuple[Patch, ...], tensors: Tensors) -> None:
    """Exactly the named tensors are there; all are finite float32 and together not too large."""
    if len(graph.nodes) > MAX_NODES or len(patches) > MAX_PATCHES:
        raise ArtifactError(
            "A20",
            f"the graph has {len(graph.nodes)} nodes and {len(patches)} patches",
            help=f"at most {MAX_NODES} nodes and {MAX_PATCHES} patches are accepted; of a long line of edits, "
            "`rewarden squash` leaves out patches that do nothing any more, `rewarden bake` makes a plain network",
        )
    used = set(used_tensors(graph, patches))
    if missing := sorted(used - set(tensors)):
        raise ArtifactError("A16", f"tensor {missing[0]!r} is used by the graph but not there", help=_RESTORE)
    if extra := sorted(set(tensors) - used):
        raise ArtifactError(
            "A16",
            f"tensor {extra[0]!r} is there but nothing uses it",
            help="drop it: an artifact holds nothing that is not part of the reward",
        )
    if sum(int(tensors[name].size) for name in used_tensors(graph, patches)) > MAX_ELEMENTS:
        raise ArtifactError("A20", f"the graph uses more than {MAX_ELEMENTS} weights (those used twice count twice)")
    for name, tensor in tensors.items():
        if tensor.dtype != np.float32:
            raise ArtifactError(
                "A17", f"tensor {name!r} is {tensor.dtype}, not float32", help="store weights as float32"
            )
        if not np.isfinite(tensor).all():
            raise ArtifactError(
                "A18",
                f"tensor {name!r} holds a number that is not finite",
                help="the training has diverged, or the file is damaged: such a reward means nothing",
            )


def check_widths(graph: Graph, patches: tuple[Patch, ...], tensors: Tensors, width: int) -> tuple[int, ...]:
    """The width of every node, given the input's. Raises ArtifactError A14 (graph), A15 (widths), A17, A19, A20."""
    if not graph.nodes or not isinstance(graph.nodes[0], Input):
        raise ArtifactError("A14", "node 0 is not the input")
    widths: list[int] = []
    for index, node in enumerate(graph.nodes):
        if index and isinstance(node, Input):
            raise ArtifactError("A14", f"node {index} is a second input", help="node 0 is the only input")
        for source in sources(node):
            if not 0 <= source < index:
                raise ArtifactError("A14", f"node {index} reads node {source}", help="a node reads earlier nodes only")
        widths.append(_node_width(index, node, widths, tensors, width))
        if widths[-1] > MAX_WIDTH or sum(widths) > MAX_TOTAL_WIDTH:
            raise ArtifactError(
                "A20",
                f"node {index} makes the graph too wide",
                help=f"at most {MAX_WIDTH} per node and {MAX_TOTAL_WIDTH} in all",
            )
        if widths[-1] < 1:
            raise ArtifactError("A15", f"node {index} has width 0")
    if not 0 <= graph.output < len(widths):
        raise ArtifactError("A14", f"the output is node {graph.output}, which is not there")
    if widths[graph.output] != 1:
        raise ArtifactError("A15", f"the output node has width {widths[graph.output]}, not 1")
    for number, patch in enumerate(patches):
        _check_patch(number, patch, tensors, width)
    return tuple(widths)


def _node_width(index: int, node: Node, widths: list[int], tensors: Tensors, width: int) -> int:
    match node:
        case Input():
            return width
        case Scale(source, scale, shift):
            _shape(scale, tensors, (widths[source],))
            _shape(shift, tensors, (widths[source],))
            return widths[source]
        case AffineMap(source, weight, bias):
            rows = tensors[weight].shape[0] if tensors[weight].ndim == 2 else 0
            _shape(weight, tensors, (rows, widths[source]))
            _shape(bias, tensors, (rows,))
            return rows
        case LeakyRelu(source, slope):
            if not 0.0 <= scalar(slope, tensors) <= 1.0:
                raise ArtifactError("A19", f"node {index}: slope {scalar(slope, tensors)} is not in 0 .. 1")
            return widths[source]
        case Add(a, b) | Sub(a, b) | Minimum(a, b) | Maximum(a, b) | Product(a, b):
            if widths[a] != widths[b]:
                raise ArtifactError(
                    "A15", f"node {index} combines node {a} of width {widths[a]} with node {b} of width {widths[b]}"
                )
            return widths[a]
        case ReduceMin() | ReduceMax():
            return 1
        case Clip(source, lo, hi):
            if scalar(lo, tensors) > scalar(hi, tensors):
                raise ArtifactError(
                    "A19", f"node {index}: clips to {scalar(lo, tensors)} .. {scalar(hi, tensors)}, which is empty"
                )
            return widths[source]
        case Concat(parts):
            return sum(widths[p] for p in parts)
        case Relu(source) | Abs(source) | Smooth(source):
            return widths[source]


def _check_patch(number: int, patch: Patch, tensors: Tensors, width: int) -> None:
    if patch.kind not in ("ceiling", "floor"):
        raise ArtifactError("A14", f"patch {number} is of kind {patch.kind!r}", help="a patch is a ceiling or a floor")
    rows = tensors[patch.rows].shape[0] if tensors[patch.rows].ndim == 2 else 0
    if not 1 <= rows <= MAX_ROWS:
        raise ArtifactError("A20", f"patch {number} has {rows} rows", help=f"a patch has 1 to {MAX_ROWS} rows")
    _shape(patch.rows, tensors, (rows, width))
    boxes = tensors[patch.offsets].shape[:-1]
    if len(boxes) == 1 and not 1 <= boxes[0] <= MAX_BOXES:
        raise ArtifactError("A20", f"patch {number} has {boxes[0]} boxes", help=f"a patch has 1 to {MAX_BOXES} boxes")
    _shape(patch.offsets, tensors, (*boxes[:1], rows))  # [rows], or [boxes, rows]: `tables`
    scalar(patch.level, tensors)
    scalar(patch.gate, tensors)
    for name in (patch.slope, patch.delta):
        if scalar(name, tensors) < 0.0:
            raise ArtifactError("A19", f"patch {number}: {name!r} is negative")


def scalar(name: str, tensors: Tensors) -> float:
    """The number in a tensor of shape [1]."""
    _shape(name, tensors, (1,))
    return float(tensors[name][0])


def _shape(name: str, tensors: Tensors, shape: tuple[int, ...]) -> None:
    if tensors[name].shape != shape:
        raise ArtifactError(
            "A17", f"tensor {name!r} has shape {list(tensors[name].shape)}, not {list(shape)}", help=_RESTORE
        )


_RESTORE = "the manifest and the tensors do not belong together: restore both from the same artifact"


def node_order(graph: Graph) -> tuple[int, ...]:
    """The nodes that the output depends on, ascending (an evaluation order)."""
    needed = {graph.output}
    for index in range(graph.output, -1, -1):
        if index in needed:
            needed.update(sources(graph.nodes[index]))
    return tuple(sorted(needed))
