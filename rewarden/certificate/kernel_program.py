"""Certificate kernel, part 3: the program of a claim, "Program" in docs/formats.md, in exact integers.

A layer computes z = (Σ W_s·v_s + b) / bottom from earlier layers v_s (source −1: the claim's variables), W and b
integers; its output is z, max(z, 0), or max(z, 0) behind a gate. The kernel derives the layers itself from the claim
and the artifacts, so a proof can name neurons but not define them. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from operator import mul

from rewarden.certificate.kernel_artifact import Patch, Reward, Tensor
from rewarden.certificate.kernel_json import refuse

INPUT = -1  # the source that stands for the variables
MAX_LAYERS = 20_000
MAX_ENTRIES = 1 << 22  # non-zero weights of one program
MAX_WIDTH = 1 << 14  # of a concatenation; other ops have no more outputs than they have weights or inputs
MAX_BITS = 20_000  # of a common denominator
Row = dict[int, int]  # column → non-zero entry
Rows = list[Row]
Values = tuple[list[int], int]  # entry k is [0][k] / [1]


@dataclass(frozen=True, slots=True)
class Affine:
    """(constant + Σ variables + Σ calls) / bottom, by index."""

    constant: int
    variables: tuple[tuple[int, int], ...]
    calls: tuple[tuple[int, int], ...]
    bottom: int


def affine_of(constant: Fraction, variables: dict[int, Fraction], calls: dict[int, Fraction]) -> Affine:
    bottom = math.lcm(*(x.denominator for x in (constant, *variables.values(), *calls.values())))
    if bottom.bit_length() > MAX_BITS:
        refuse("an affine form has too large a common denominator")

    def over(x: Fraction) -> int:
        return x.numerator * (bottom // x.denominator)

    return Affine(
        over(constant),
        tuple((k, over(x)) for k, x in variables.items()),
        tuple((k, over(x)) for k, x in calls.items()),
        bottom,
    )


@dataclass(frozen=True, slots=True)
class Block:
    """The weights on one source, by row; also as a diagonal, or dense, where that makes the products fast."""

    source: int
    width: int  # of the source
    rows: Rows
    columns: list[list[int]] | None  # dense: Wᵀ
    lines: list[tuple[list[int], list[int]]] | None  # dense: each row of W, and of |W|
    diagonal: list[int] | None  # W is square and has no other entries

    def pull(self, row: list[int]) -> list[int]:
        """row · W."""
        if self.diagonal is not None:
            return list(map(mul, row, self.diagonal))
        used = [k for k, c in enumerate(row) if c]
        if self.columns is not None and 4 * len(used) > len(row):
            return [sum(map(mul, row, column)) for column in self.columns]
        out = [0] * self.width
        for k in used:
            c = row[k]
            for j, w in self.rows[k].items():
                out[j] += c * w
        return out


@dataclass(frozen=True, slots=True)
class Layer:
    kind: str  # linear, relu, gated; twin, which `kernel_twins` adds
    blocks: tuple[Block, ...]
    bias: list[int]
    bottom: int
    gate_layer: int = INPUT  # gated only
    gate: tuple[int, int] = (0, 1)  # gated only: a threshold, over a denominator
    pair: tuple[int, int] | None = None  # twin only: the relu layers whose difference it is


@dataclass(slots=True)
class Program:
    """`outputs[c]` is the layer, of width 1, that computes call c. Grows while it is built, then stands still."""

    variables: int
    layers: list[Layer] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    gates: set[int] = field(default_factory=set)  # layers that open or close a gate
    twins: list[Program] = field(default_factory=list)  # the same with twins, once some leaf has asked for them

    def width(self, layer: int) -> int:
        return self.variables if layer == INPUT else len(self.layers[layer].bias)


def inline(variables: int, calls: Sequence[tuple[Reward, tuple[Affine, ...]]]) -> Program:
    """The program of a claim's calls."""
    builder = Builder(Program(variables))
    for reward, arguments in calls:
        builder.call(reward, arguments)
    return builder.program


class Builder:
    """Emits layers; `pieces` holds what was emitted, by key, so that equal pieces are emitted once."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.pieces: dict[object, int] = {}
        self.entries = 0

    # ── pieces ─────────────────────────────────────────────────────────────────────────────────
    def call(self, reward: Reward, arguments: tuple[Affine, ...]) -> None:
        if len(arguments) != reward.width:
            refuse(f"a call has {len(arguments)} arguments, its reward reads {reward.width}")
        point = self.piece(("arguments", arguments), partial(self.arguments, arguments))
        done = {0: point}  # node → layer
        agenda = [reward.output]
        while agenda:
            index = agenda[-1]
            missing = [k for k in reward.nodes[index].inputs if k not in done]
            if index in done or not missing:
                agenda.pop()
            if missing:
                agenda.append(missing[0])  # inputs in their order, depth first
            elif index not in done:
                node = reward.nodes[index]
                sources = tuple(done[k] for k in node.inputs)
                done[index] = self.piece(
                    (node.op, sources, node.tensors), partial(self.node, node.op, sources, node.tensors)
                )
        layer = done[reward.output]
        if self.program.width(layer) != 1:
            refuse("the output of a reward must have width 1")
        for patch in reward.patches:
            layer = self.piece(("patch", patch, layer, point), partial(self.patch, patch, layer, point))
        self.program.outputs.append(layer)

    def piece(self, key: object, emit: Callable[[], int]) -> int:
        """The layer of the piece with that key, emitted now if none was before."""
        if key not in self.pieces:
            self.pieces[key] = emit()
        return self.pieces[key]

    def arguments(self, arguments: tuple[Affine, ...]) -> int:
        bottom = math.lcm(*(a.bottom for a in arguments))
        rows = [{k: x * (bottom // a.bottom) for k, x in a.variables} for a in arguments]
        return self.emit(
            "linear", [(INPUT, rows, bottom)], [a.constant * (bottom // a.bottom) for a in arguments], bottom
        )

    def node(self, op: str, sources: tuple[int, ...], tensors: tuple[Tensor, ...]) -> int:
        """One op of the table in docs/formats.md."""
        x = sources[0]
        n = self.program.width(x)
        eye = _diagonal([1] * n)
        match op:
            case "scale":
                scale, shift = (self.shaped(t, (n,)) for t in tensors)
                return self.emit("linear", [(x, _diagonal(scale.values), scale.bottom)], shift.values, shift.bottom)
            case "affine":
                weight, bias = tensors
                m = bias.shape[0]
                self.shaped(weight, (m, n))
                self.shaped(bias, (m,))
                return self.emit("linear", [(x, _matrix(weight), weight.bottom)], bias.values, bias.bottom)
            case "relu":
                return self.emit("relu", [(x, eye, 1)])
            case "leaky_relu" | "abs":
                slope = self.shaped(tensors[0], (1,)) if tensors else Tensor((1,), (-1,), 1)  # |x| = h + k
                if op == "leaky_relu" and not 0 <= slope.values[0] <= slope.bottom:
                    refuse("the slope of a leaky ReLU must lie in 0 … 1")
                h = self.emit("relu", [(x, eye, 1)])
                k = self.emit("relu", [(x, _diagonal([-1] * n), 1)])
                return self.emit("linear", [(h, eye, 1), (k, _diagonal([-slope.values[0]] * n), slope.bottom)])
            case "clip":
                lo, hi = (self.shaped(t, (1,)) for t in tensors)
                if lo.values[0] * hi.bottom > hi.values[0] * lo.bottom:
                    refuse("a clip must have lo <= hi")
                minus = _diagonal([-1] * n)
                h = self.emit("relu", [(x, eye, 1)], [-lo.values[0]] * n, lo.bottom)
                span = hi.values[0] * lo.bottom - lo.values[0] * hi.bottom  # hi − lo, over both bottoms
                k = self.emit("relu", [(h, minus, 1)], [span] * n, hi.bottom * lo.bottom)
                return self.emit("linear", [(k, minus, 1)], [hi.values[0]] * n, hi.bottom)
            case "min" | "max":
                return self.extreme(x, 1 if op == "max" else -1)
            case "concat":
                return self.concat(sources)
            case _:
                return self.two(op, x, sources[1], n)

    def two(self, op: str, a: int, b: int, n: int) -> int:
        """add, sub, minimum, maximum."""
        if self.program.width(b) != n:
            refuse(f"{op} of vectors of different widths")
        eye, minus = _diagonal([1] * n), _diagonal([-1] * n)
        if op in ("add", "sub"):
            return self.emit("linear", [(a, eye, 1), (b, eye if op == "add" else minus, 1)])
        if op not in ("minimum", "maximum"):
            refuse(f"no layers for {op}")
        # max(a, b) = b + relu(a − b), min(a, b) = a − relu(a − b)
        h = self.emit("relu", [(a, eye, 1), (b, minus, 1)])
        return self.emit("linear", [(b, eye, 1), (h, eye, 1)] if op == "maximum" else [(a, eye, 1), (h, minus, 1)])

    def concat(self, sources: tuple[int, ...]) -> int:
        total, start, parts = sum(map(self.program.width, sources)), 0, []
        if total > MAX_WIDTH or total * len(sources) > MAX_ENTRIES:
            refuse("the program is too large for this kernel")
        for s in sources:
            width = self.program.width(s)
            rows: Rows = [{} for _ in range(total)]
            rows[start : start + width] = _diagonal([1] * width)
            parts.append((s, rows, 1))
            start += width
        return self.emit("linear", parts)

    def extreme(self, x: int, sign: int) -> int:
        """max (sign 1) or min (sign −1) over a vector: m := m ± relu(±(xᵢ − m))."""
        m = self.emit("linear", [(x, [{0: 1}], 1)])
        for i in range(1, self.program.width(x)):
            parts = [(x, [{i: sign}], 1), (m, [{0: -sign}], 1)]
            h = self.emit("relu", parts[::sign])
            m = self.emit("linear", [(m, [{0: 1}], 1), (h, [{0: sign}], 1)])
        return m

    def patch(self, patch: Patch, reward: int, point: int) -> int:
        rows, offsets, *scalars = patch.tensors
        k = offsets.shape[0]
        self.shaped(rows, (k, self.program.width(point)))
        self.shaped(offsets, (k,))
        level, slope, delta, gate = (self.shaped(t, (1,)) for t in scalars)
        z = self.emit("linear", [(point, _matrix(rows), rows.bottom)], [-b for b in offsets.values], offsets.bottom)
        p = self.emit("relu", [(z, _diagonal([1] * k), 1)], [-delta.values[0]] * k, delta.bottom)
        top = self.extreme(p, 1)
        sign = 1 if patch.kind == "ceiling" else -1
        # ceiling: q = relu(r − level − slope·M), r − q; floor: q = relu(level − slope·M − r), r + q
        parts = [(reward, [{0: sign}], 1), (top, [{0: -slope.values[0]}], slope.bottom)]
        q = self.emit("gated", parts, [-sign * level.values[0]], level.bottom, z, (gate.values[0], gate.bottom))
        self.program.gates.add(z)
        return self.emit("linear", [(reward, [{0: 1}], 1), (q, [{0: -sign}], 1)])

    # ── layers ─────────────────────────────────────────────────────────────────────────────────
    def shaped(self, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
        return tensor if tensor.shape == shape else refuse(f"a tensor of shape {tensor.shape} where {shape} is needed")

    def emit(
        self,
        kind: str,
        parts: Sequence[tuple[int, Rows, int]],  # source, its rows, what they are over
        bias: Sequence[int] = (),
        bias_bottom: int = 1,
        gate_layer: int = INPUT,
        gate: tuple[int, int] = (0, 1),
        pair: tuple[int, int] | None = None,
    ) -> int:
        """Add a layer; everything is brought over one denominator, and parts with the same source are summed."""
        bottom = math.lcm(bias_bottom, *(over for _, _, over in parts))
        if bottom.bit_length() > MAX_BITS:
            refuse("the weights of a layer have too large a common denominator")
        width = len(parts[0][1])
        sums: dict[int, Rows] = {}
        for source, rows, over in parts:
            into = sums.setdefault(source, [{} for _ in range(width)])
            for row, new in zip(into, rows, strict=True):
                for j, w in new.items():
                    row[j] = row.get(j, 0) + w * (bottom // over)
        blocks = tuple(self.block(source, rows) for source, rows in sums.items())
        constants = [b * (bottom // bias_bottom) for b in bias] if bias else [0] * width
        self.program.layers.append(Layer(kind, blocks, constants, bottom, gate_layer, gate, pair))
        if len(self.program.layers) > MAX_LAYERS or self.entries > MAX_ENTRIES:
            refuse("the program is too large for this kernel")
        return len(self.program.layers) - 1

    def block(self, source: int, rows: Rows) -> Block:
        rows = [{j: w for j, w in row.items() if w} for row in rows]
        width, count = self.program.width(source), sum(map(len, rows))
        self.entries += count
        dense = 4 * count > width * len(rows)
        if width == len(rows) and all(row.keys() <= {k} for k, row in enumerate(rows)):
            return Block(source, width, rows, None, None, [row.get(k, 0) for k, row in enumerate(rows)])
        if not dense:
            return Block(source, width, rows, None, None, None)
        full = [[row.get(j, 0) for j in range(width)] for row in rows]
        columns = [[row[j] for row in full] for j in range(width)]
        return Block(source, width, rows, columns, [(row, list(map(abs, row))) for row in full], None)


def _diagonal(entries: Sequence[int]) -> Rows:
    return [{k: x} for k, x in enumerate(entries)]


def _matrix(tensor: Tensor) -> Rows:
    if len(tensor.shape) != 2:
        refuse("a matrix is needed")
    n = tensor.shape[1]
    return [dict(enumerate(tensor.values[k : k + n])) for k in range(0, len(tensor.values), n)]


# ── values ─────────────────────────────────────────────────────────────────────────────────────
def evaluate(program: Program, point: Sequence[Fraction]) -> list[Fraction]:
    """The value of each call at a point, exactly."""
    bottom = math.lcm(*(x.denominator for x in point))
    if bottom.bit_length() > MAX_BITS:
        refuse("a point has too large a common denominator")
    values: dict[int, Values] = {INPUT: ([x.numerator * (bottom // x.denominator) for x in point], bottom)}
    for k, layer in enumerate(program.layers):
        common = math.lcm(*(values[block.source][1] for block in layer.blocks))
        z = [b * common for b in layer.bias]
        for block in layer.blocks:
            source, over = values[block.source]
            for i, row in enumerate(block.rows):
                z[i] += sum(w * source[j] for j, w in row.items()) * (common // over)
        if layer.kind != "linear":
            z = [max(x, 0) for x in z]
        if layer.kind == "gated" and not _closed(layer.gate, values[layer.gate_layer]):
            z = [0] * len(z)
        values[k] = (z, common * layer.bottom)
    return [Fraction(values[k][0][0], values[k][1]) for k in program.outputs]


def _closed(gate: tuple[int, int], rows: Values) -> bool:
    """Every entry is below the gate."""
    return all(x * gate[1] < gate[0] * rows[1] for x in rows[0])
