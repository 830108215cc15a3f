"""From a claim and its artifacts to one list of layers (docs/formats.md, "Program").

The order of layers is a contract: the certificate kernel inlines the same artifacts by the same rules, on its own, and
a proof names layers and neurons by number. So nothing here is clever: calls in their order, nodes depth first, and
each piece of work once. Whether two pieces are the same is decided by content, never by identity: the key of a node is
its op, the layers it reads, and the values of its tensors. So a reward and its patched child, or two versions that
differ in the last layer, share everything up to where they differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.reward import graph as g
from rewarden.reward.artifact import Artifact
from rewarden.reward.tables import has_tables, restricted
from rewarden.reward.widen import widened
from rewarden.reward.widths import patch_tensors
from rewarden.spec_lang.boxes import hull
from rewarden.spec_lang.claim import Affine, Box, Claim, ClaimCall
from rewarden.spec_lang.errors import BindingError, Unsupported
from rewarden.verifier.program import INPUT, Block, Layer, Program

Matrix = NDArray[np.float64]
Key = tuple[object, ...]
Term = tuple[int, Matrix]  # a source layer and the weights on it


def compile_program(claim: Claim, artifacts: Mapping[str, Artifact]) -> Program:
    """The program of `claim` with each reward symbol bound to `artifacts[name]`.

    Raises BindingError (B30) for a reward without an artifact, (B31) for one whose input width differs from the
    number of a call's arguments, and Unsupported (X10) for numbers beyond the range of binary64.
    """
    emitter = Emitter(len(claim.variables))
    outputs = inline_calls(emitter, claim, artifacts)
    return Program(claim, tuple(emitter.layers), outputs)


def inline_calls(emitter: Emitter, claim: Claim, artifacts: Mapping[str, Artifact]) -> tuple[int, ...]:
    """The layer of each call, all of them emitted. Raises as `compile_program`."""
    outputs = []
    for call in claim.calls:
        artifact = bound_artifact(call, artifacts)
        there = artifact
        if has_tables(artifact):
            there = restricted(artifact, *emitter.read_over(call.arguments, *arguments_over(claim, call)))
        outputs.append(_inline_call(emitter, there, emitter.arguments(call.arguments)))
    return tuple(outputs)


def bound_artifact(call: ClaimCall, artifacts: Mapping[str, Artifact]) -> Artifact:
    """The artifact that a call asks. Raises as `compile_program`."""
    artifact = artifacts.get(call.reward)
    if artifact is None:
        raise BindingError(
            "B30", f"the claim speaks of reward {call.reward}, and no artifact is bound to it",
            help=f"name one: --reward {call.reward}=DIR",
        )  # fmt: skip
    if artifact.width != len(call.arguments):
        raise BindingError(
            "B31",
            f"reward {call.reward} reads {artifact.width} columns, and the claim passes {len(call.arguments)}",
        )
    return artifact


def arguments_over(claim: Claim, call: ClaimCall) -> tuple[Matrix, Matrix]:
    """Where a call's arguments may lie over all boxes of the claim: lo, hi float64 [arguments], rounded outwards."""
    around = hull(claim.boxes)
    lo, hi = np.empty(len(call.arguments)), np.empty(len(call.arguments))
    for k, argument in enumerate(call.arguments):
        lo[k], hi[k] = argument_over(argument, around)
    return lo, hi


def argument_over(argument: Affine, box: Box) -> tuple[float, float]:
    """Where one argument may lie over a box, rounded outwards."""
    least = argument.constant + sum((c * box[j][0 if c > 0 else 1] for j, c in argument.variables), Fraction(0))
    most = argument.constant + sum((c * box[j][1 if c > 0 else 0] for j, c in argument.variables), Fraction(0))
    return float(np.nextafter(nearest(least), -np.inf)), float(np.nextafter(nearest(most), np.inf))


def _inline_call(emitter: Emitter, artifact: Artifact, arguments: int) -> int:
    """The layer that holds the (patched) reward at the columns in layer `arguments`."""
    reward = _inline_graph(emitter, artifact, arguments)
    for patch in artifact.patches:  # innermost first
        reward = emitter.patch(patch, artifact.tensors, reward, arguments)
    return reward


def _inline_graph(emitter: Emitter, artifact: Artifact, arguments: int) -> int:
    """Depth first from the output, a node's inputs in their order; explicit stack, since graphs may be deep."""
    nodes = artifact.graph.nodes
    done: dict[int, int] = {}
    stack = [artifact.graph.output]
    while stack:
        index = stack[-1]
        if index in done:
            stack.pop()
            continue
        waiting = [i for i in reads(nodes[index]) if i not in done]
        if waiting:
            stack.extend(reversed(waiting))
            continue
        stack.pop()
        if isinstance(nodes[index], g.Input):
            done[index] = arguments
        else:
            done[index] = emitter.node(nodes[index], artifact.tensors, tuple(done[i] for i in reads(nodes[index])))
    return done[artifact.graph.output]


def reads(node: g.Node) -> tuple[int, ...]:
    """The nodes that this one reads, in order."""
    match node:
        case g.Input():
            return ()
        case g.Concat(parts):
            return parts
        case g.Add(a, b) | g.Sub(a, b) | g.Minimum(a, b) | g.Maximum(a, b) | g.Product(a, b):
            return (a, b)
        case _:
            return (node.source,)


@dataclass(slots=True)
class Emitter:
    """Mutable: the layers so far, and what was already emitted, by content."""

    variables: int
    layers: list[Layer] = field(default_factory=list)
    memo: dict[Key, int] = field(default_factory=dict)

    # ── what a claim and a graph are made of, each at most once ────────────────────────────────
    def read_over(self, rows: tuple[Affine, ...], lo: Matrix, hi: Matrix) -> tuple[Matrix, Matrix]:
        """Where what is read of arguments lies that lie in lo .. hi [arguments]."""
        return lo, hi

    def arguments(self, rows: tuple[Affine, ...]) -> int:
        """One linear layer over the variables; keyed by its affine rows."""
        key: Key = ("arguments", rows)
        if key not in self.memo:
            self.memo[key] = self._argument_layer(rows)
        return self.memo[key]

    def node(self, node: g.Node, tensors: Mapping[str, NDArray[np.float32]], sources: tuple[int, ...]) -> int:
        """The layer of a node's output, given the layers of its inputs; keyed by (op, sources, tensor values)."""
        match node:
            case g.Scale(_, scale, shift):
                names: tuple[str, ...] = (scale, shift)
            case g.AffineMap(_, weight, bias):
                names = (weight, bias)
            case g.LeakyRelu(_, slope):
                names = (slope,)
            case g.Clip(_, lo, hi):
                names = (lo, hi)
            case _:
                names = ()
        values = [_float64(tensors[name]) for name in names]
        key: Key = (type(node).__name__, sources, *map(_content, values))
        if key not in self.memo:
            self.memo[key] = self._emit_node(node, sources, values)
        return self.memo[key]

    def patch(self, patch: g.Patch, tensors: Mapping[str, NDArray[np.float32]], reward: int, point: int) -> int:
        """The layer of the patched reward; keyed by (kind, reward layer, argument layer, tensor values)."""
        values = [_float64(tensors[name]) for name in patch_tensors(patch)]
        key: Key = ("patch", patch.kind, reward, point, *map(_content, values))
        if key not in self.memo:
            self.memo[key] = self._emit_patch(patch.kind, values, reward, point)
        return self.memo[key]

    # ── how each becomes layers ────────────────────────────────────────────────────────────────
    def _argument_layer(self, rows: tuple[Affine, ...]) -> int:
        weight = np.zeros((len(rows), self.variables))
        exact: dict[tuple[int, int], Fraction] = {}
        for r, row in enumerate(rows):
            for index, coefficient in row.variables:
                weight[r, index] = nearest(coefficient)
                if Fraction(weight[r, index]) != coefficient:
                    exact[r, index] = coefficient
        constants = tuple(row.constant for row in rows)
        bias = np.array([nearest(c) for c in constants], dtype=np.float64)
        rounded = any(Fraction(b) != c for b, c in zip(bias.tolist(), constants, strict=True))
        block = Block(INPUT, _frozen(weight), exact or None)
        return self._push(Layer("linear", (block,), _frozen(bias), constants if rounded else None))

    def _emit_node(self, node: g.Node, sources: tuple[int, ...], values: Sequence[Matrix]) -> int:
        x = sources[0]
        n = self._width(x)
        one = np.eye(n)
        match node:
            case g.Scale():
                scale, shift = values
                return self._linear([(x, np.diag(scale))], shift)
            case g.AffineMap():
                weight, bias = values
                return self._linear([(x, weight)], bias)
            case g.Relu():
                return self._relu([(x, one)])
            case g.LeakyRelu():
                h, k = self._relu([(x, one)]), self._relu([(x, -one)])
                return self._linear([(h, one), (k, -float(values[0][0]) * one)])
            case g.Abs():
                h, k = self._relu([(x, one)]), self._relu([(x, -one)])
                return self._linear([(h, one), (k, one)])
            case g.Add():
                return self._linear([(x, one), (sources[1], one)])
            case g.Sub():
                return self._linear([(x, one), (sources[1], -one)])
            case g.Maximum():
                h = self._relu([(x, one), (sources[1], -one)])
                return self._linear([(sources[1], one), (h, one)])
            case g.Minimum():
                h = self._relu([(x, one), (sources[1], -one)])
                return self._linear([(x, one), (h, -one)])
            case g.ReduceMax():
                return self._maximum_of(x)
            case g.ReduceMin():
                return self._minimum_of(x)
            case g.Clip():
                lo, hi = float(values[0][0]), float(values[1][0])
                h = self._relu([(x, one)], np.full(n, -lo))
                k = self._push(_rest(self._blocks([(h, -one)]), n, Fraction(hi) - Fraction(lo)))
                return self._linear([(k, -one)], np.full(n, hi))
            case g.Concat():
                return self._concat(sources)
            case g.Smooth():
                blocks = self._blocks([(x, one)])
                return self._push(Layer("smooth", blocks, _frozen(np.zeros(n)), function=node.function))
            case g.Product():
                none = np.zeros((n, n))
                factors: list[Term] = [(x, np.concatenate((one, none))), (sources[1], np.concatenate((none, one)))]
                return self._push(Layer("product", self._blocks(factors), _frozen(np.zeros(2 * n))))
            case _:
                raise Unsupported("X11", f"no layers for the op {type(node).__name__}")

    def _emit_patch(self, kind: str, values: Sequence[Matrix], reward: int, point: int) -> int:
        matrix, offsets = values[0], values[1]
        level, slope, delta, gate = (float(v[0]) for v in values[2:])
        rows = self._linear([(point, matrix)], -offsets, tight=True)
        k = self._width(rows)
        p = self._relu([(rows, np.eye(k))], np.full(k, -delta), tight=True)
        top = self._maximum_of(p)
        one = np.eye(1)
        sign = 1.0 if kind == "ceiling" else -1.0  # floor: relu(level − slope·M − r), then r + q
        blocks = self._blocks([(reward, sign * one), (top, -slope * one)])
        q = self._push(Layer("gated", blocks, _frozen(np.array([-sign * level])), gate_layer=rows, gate=gate))
        return self._linear([(reward, one), (q, -sign * one)])

    def _maximum_of(self, x: int) -> int:
        n = self._width(x)
        m = self._linear([(x, _pick(n, 0))])
        for i in range(1, n):
            h = self._relu([(x, _pick(n, i)), (m, -np.eye(1))])
            m = self._linear([(m, np.eye(1)), (h, np.eye(1))])
        return m

    def _minimum_of(self, x: int) -> int:
        n = self._width(x)
        m = self._linear([(x, _pick(n, 0))])
        for i in range(1, n):
            h = self._relu([(m, np.eye(1)), (x, -_pick(n, i))])
            m = self._linear([(m, np.eye(1)), (h, -np.eye(1))])
        return m

    def _concat(self, sources: tuple[int, ...]) -> int:
        total = sum(self._width(s) for s in sources)
        terms: list[Term] = []
        start = 0
        for s in sources:
            width = self._width(s)
            weight = np.zeros((total, width))
            weight[start : start + width] = np.eye(width)
            terms.append((s, weight))
            start += width
        return self._linear(terms)

    # ── layers ─────────────────────────────────────────────────────────────────────────────────
    def _width(self, layer: int) -> int:
        return self.layers[layer].width

    def _blocks(self, terms: Sequence[Term]) -> tuple[Block, ...]:
        """One block per source, in order of first appearance; sums are of 0, ±1 and one weight, hence exact."""
        summed: dict[int, Matrix] = {}
        for source, weight in terms:
            summed[source] = summed[source] + weight if source in summed else weight
        return tuple(Block(source, _frozen(weight)) for source, weight in summed.items())

    def _linear(self, terms: Sequence[Term], bias: Matrix | None = None, tight: bool = False) -> int:
        blocks = self._blocks(terms)
        zero = np.zeros(blocks[0].weight.shape[0])
        return self._push(Layer("linear", blocks, _frozen(zero if bias is None else bias), tight=tight))

    def _relu(self, terms: Sequence[Term], bias: Matrix | None = None, tight: bool = False) -> int:
        blocks = self._blocks(terms)
        zero = np.zeros(blocks[0].weight.shape[0])
        return self._push(Layer("relu", blocks, _frozen(zero if bias is None else bias), tight=tight))

    def _push(self, layer: Layer) -> int:
        self.layers.append(layer)
        return len(self.layers) - 1


def _rest(blocks: tuple[Block, ...], n: int, width: Fraction) -> Layer:
    """relu(width − h): how much of a clip's range is left. A binary32 range's width may need more than binary64."""
    bias = nearest(width)
    exact = None if Fraction(bias) == width else (width,) * n
    return Layer("relu", blocks, _frozen(np.full(n, bias)), exact_bias=exact)


def nearest(value: Fraction) -> float:
    """The binary64 number nearest to a rational; Unsupported (X10) beyond its range."""
    try:
        return float(value)
    except OverflowError:
        raise Unsupported("X10", f"a coefficient of about 2^{_magnitude(value)} is beyond binary64") from None


def _magnitude(value: Fraction) -> int:
    return value.numerator.bit_length() - value.denominator.bit_length()


def _pick(n: int, i: int) -> Matrix:
    row = np.zeros((1, n))
    row[0, i] = 1.0
    return row


def _float64(tensor: NDArray[np.float32]) -> Matrix:
    """Exact; −0 becomes 0, so that tensors equal in value are equal in bytes."""
    wide: Matrix = widened(tensor) + 0.0
    return wide


def _content(values: Matrix) -> Key:
    return (values.shape, values.tobytes())


def _frozen(array: Matrix) -> Matrix:
    copy = np.ascontiguousarray(array, dtype=np.float64) + 0.0
    copy.setflags(write=False)
    kept: Matrix = copy
    return kept
