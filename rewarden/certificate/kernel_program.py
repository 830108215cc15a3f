"""Certificate kernel, part 3: the program of a claim, "Program" in docs/formats.md, in exact integers.

A layer computes z = (Σ W_s·v_s + b) / bottom from earlier layers v_s (source −1: the claim's variables), W and b
integers; its output is z, max(z, 0), or max(z, 0) behind a gate. The kernel derives the layers itself from the claim
and the artifacts, so a proof can name neurons but not define them. Where a reward is patched near data, on thousands of
boxes at once, there is a program for each box of the claim, with the patches that may act there. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import NamedTuple

from rewarden.certificate.kernel_artifact import Node, Reward, Tensor
from rewarden.certificate.kernel_json import refuse

INPUT = -1  # the source that stands for the variables
MAX_LAYERS = 20_000
MAX_WEIGHTS = 5 << 20  # of one program, with the rows and columns of its blocks; zeros not counted
MAX_WIDTH = 1 << 14  # of a concatenation; other ops have no more outputs than they have weights or inputs
MAX_BITS = 20_000  # of a common denominator
MAX_WORK = 1 << 32  # entries of tables of patches, each time that a program is made
Ends = Sequence[tuple[Fraction, Fraction]]  # a box: the ends of each variable
Rows = list[dict[int, int]]  # per neuron: column → non-zero entry


class Affine(NamedTuple):
    """(constant + Σ variables + Σ calls) / bottom, by index."""

    constant: int
    variables: tuple[tuple[int, int], ...]
    calls: tuple[tuple[int, int], ...]
    bottom: int


class Form(NamedTuple):
    """(constant + Σ entries·source) / bottom: an atom, a neuron's z or a variable, over what computes it."""

    constant: int
    parts: Sequence[tuple[int, dict[int, int]]]  # source, its entries
    bottom: int


def common(values: Iterable[Fraction], what: str) -> tuple[list[int], int]:
    """Integers over one denominator."""
    found = list(values)
    bottom = math.lcm(*(x.denominator for x in found))
    if bottom.bit_length() > MAX_BITS:
        refuse(f"{what} has too large a common denominator")
    return [x.numerator * (bottom // x.denominator) for x in found], bottom


def affine_of(constant: Fraction, variables: dict[int, Fraction], calls: dict[int, Fraction]) -> Affine:
    (first, *rest), bottom = common((constant, *variables.values(), *calls.values()), "an affine form")
    n = len(variables)
    return Affine(first, tuple(zip(variables, rest[:n], strict=True)), tuple(zip(calls, rest[n:], strict=True)), bottom)


class Block(NamedTuple):
    """The weights on one source, by row and by column: zeros are left out."""

    source: int
    rows: Rows
    columns: list[tuple[list[int], list[int]]]  # per column: the rows (none named: all) and their weights


class Layer(NamedTuple):
    kind: str  # linear, relu, gated; twin, which `kernel_twins` adds
    blocks: tuple[Block, ...]
    bias: list[int]
    bottom: int
    reach: int  # no column of weights adds up to more, nor does the bias, signs aside
    gate_layer: int = INPUT  # gated only
    gate: tuple[int, int] = (0, 1)  # gated only: a threshold, over a denominator
    pair: tuple[int, int] | None = None  # twin only: the relu layers whose difference it is


@dataclass(slots=True)
class Program:
    """Grows while it is built, then stands still. `pieces` holds what was emitted, by key, so that equal pieces are
    emitted once; `outputs[c]` is the layer, of width 1, that computes call c."""

    variables: int
    layers: list[Layer] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    gates: set[int] = field(default_factory=set)  # layers that open or close a gate
    pieces: dict[object, int] = field(default_factory=dict)
    weights: int = 0
    twins: list[Program] = field(default_factory=list)  # the same with twins, once some leaf has asked for them
    box: Ends | None = None  # where it is the program of the calls: everywhere, if there is none
    reads: dict[object, list[Form]] = field(default_factory=dict)  # rows of tables, over the variables

    # ── reading ────────────────────────────────────────────────────────────────────────────────
    def width(self, layer: int) -> int:
        return self.variables if layer == INPUT else len(self.layers[layer].bias)

    def form(self, affine: Affine) -> Form:
        calls = [(self.outputs[call], {0: x}) for call, x in affine.calls]
        return Form(affine.constant, [(INPUT, dict(affine.variables)), *calls], affine.bottom)

    def neuron(self, index: int, k: int) -> Form:
        if index == INPUT:
            return Form(0, [(INPUT, {k: 1})], 1)
        layer = self.layers[index]
        return Form(layer.bias[k], [(block.source, block.rows[k]) for block in layer.blocks], layer.bottom)

    # ── pieces ─────────────────────────────────────────────────────────────────────────────────
    def call(self, reward: Reward, arguments: tuple[Affine, ...]) -> None:
        if len(arguments) != reward.width:
            refuse(f"a call has {len(arguments)} arguments, its reward reads {reward.width}")
        point = self.once(self.arguments, arguments)
        done = {0: point}  # node → layer
        agenda = [reward.output]
        while agenda:
            index = agenda[-1]
            node = reward.nodes[index]
            missing = [k for k in node.inputs if k not in done]
            if missing:
                agenda.append(missing[0])  # inputs in their order, depth first
                continue
            if index not in done:
                done[index] = self.once(self.node, node.op, tuple(done[k] for k in node.inputs), node.tensors)
            agenda.pop()
        layer = done[reward.output]
        if self.width(layer) != 1:
            refuse("the output of a reward must have width 1")
        for patch in reward.patches:
            if is_table(patch) and self.box is None:
                return  # which of its patches act depends on the box
            for one in self.acting(patch, arguments) if is_table(patch) else (patch,):
                layer = self.once(self.patch, one, layer, point)
        self.outputs.append(layer)

    def once(self, emit: Callable[..., int], *key: object) -> int:
        """The layer of the piece that `emit` makes of the key, made now if none was before."""
        if (emit.__name__, *key) not in self.pieces:
            self.pieces[emit.__name__, *key] = emit(*key)
        return self.pieces[emit.__name__, *key]

    def arguments(self, arguments: tuple[Affine, ...]) -> int:
        bottom = math.lcm(*(a.bottom for a in arguments))
        rows = [{k: x * (bottom // a.bottom) for k, x in a.variables} for a in arguments]
        constants = [a.constant * (bottom // a.bottom) for a in arguments]
        return self.emit("linear", [(INPUT, rows, bottom)], constants, bottom)

    def node(self, op: str, sources: tuple[int, ...], tensors: tuple[Tensor, ...]) -> int:
        """One op of the table in docs/formats.md."""
        x, n = sources[0], self.width(sources[0])
        eye, minus = diagonal([1] * n), diagonal([-1] * n)
        if len(sources) == 2 and op != "concat" and self.width(sources[1]) != n:
            refuse(f"{op} of vectors of different widths")
        match op, tensors:
            case "scale", (scale, shift):
                weights = diagonal(_shaped(scale, n).values)
                return self.emit("linear", [(x, weights, scale.bottom)], _shaped(shift, n).values, shift.bottom)
            case "affine", (weight, bias):
                rows = matrix_of(weight, bias.shape[0], n)
                return self.emit("linear", [(x, rows, weight.bottom)], _shaped(bias, len(rows)).values, bias.bottom)
            case "relu", _:
                return self.emit("relu", [(x, eye, 1)])
            case "leaky_relu" | "abs", _:  # relu(x) − slope·relu(−x); |x| has slope −1
                slope, bottom = scalar_of(tensors[0]) if tensors else (-1, 1)
                if tensors and not 0 <= slope <= bottom:
                    refuse("the slope of a leaky ReLU must lie in 0 … 1")
                h, k = self.emit("relu", [(x, eye, 1)]), self.emit("relu", [(x, minus, 1)])
                return self.emit("linear", [(h, eye, 1), (k, diagonal([-slope] * n), bottom)])
            case "clip", (first, last):  # hi − relu((hi − lo) − relu(x − lo))
                (lo, below), (hi, above) = scalar_of(first), scalar_of(last)
                span = hi * below - lo * above
                if span < 0:
                    refuse("a clip must have lo <= hi")
                h = self.emit("relu", [(x, eye, 1)], [-lo] * n, below)
                k = self.emit("relu", [(h, minus, 1)], [span] * n, above * below)
                return self.emit("linear", [(k, minus, 1)], [hi] * n, above)
            case "min" | "max", _:
                return self.extreme(x, 1 if op == "max" else -1)
            case "concat", _:
                return self.concat(sources)
            case "add" | "sub", _:
                return self.emit("linear", [(x, eye, 1), (sources[1], eye if op == "add" else minus, 1)])
            case "minimum" | "maximum", _:  # max(a, b) = b + relu(a − b), min(a, b) = a − relu(a − b)
                h = self.emit("relu", [(x, eye, 1), (sources[1], minus, 1)])
                first_part = (sources[1], eye, 1) if op == "maximum" else (x, eye, 1)
                return self.emit("linear", [first_part, (h, eye if op == "maximum" else minus, 1)])
            case _:
                refuse(f"no layers for {op}")

    def concat(self, sources: tuple[int, ...]) -> int:
        total, start, parts = sum(map(self.width, sources)), 0, []
        if total > MAX_WIDTH or total * len(sources) > MAX_WEIGHTS:
            refuse("the program is too large for this kernel")
        for source in sources:
            rows: Rows = [{} for _ in range(total)]
            rows[start : start + self.width(source)] = diagonal([1] * self.width(source))
            parts.append((source, rows, 1))
            start += self.width(source)
        return self.emit("linear", parts)

    def extreme(self, x: int, sign: int) -> int:
        """max (sign 1) or min (sign −1) over a vector: m := m ± relu(±(xᵢ − m))."""
        m = self.emit("linear", [(x, [{0: 1}], 1)])
        for i in range(1, self.width(x)):
            h = self.emit("relu", [(x, [{i: sign}], 1), (m, [{0: -sign}], 1)][::sign])
            m = self.emit("linear", [(m, [{0: 1}], 1), (h, [{0: sign}], 1)])
        return m

    def patch(self, patch: Node, reward: int, point: int) -> int:
        rows, offsets, *scalars = patch.tensors
        matrix = matrix_of(rows, offsets.shape[0], self.width(point))
        k = len(matrix)
        (level, over), (slope, bottom), (delta, below), gate = map(scalar_of, scalars)
        shift = [-b for b in _shaped(offsets, k).values]
        z = self.emit("linear", [(point, matrix, rows.bottom)], shift, offsets.bottom)
        top = self.extreme(self.emit("relu", [(z, diagonal([1] * k), 1)], [-delta] * k, below), 1)
        sign = 1 if patch.op == "ceiling" else -1
        # ceiling: q = relu(r − level − slope·M), r − q; floor: q = relu(level − slope·M − r), r + q
        parts = [(reward, [{0: sign}], 1), (top, [{0: -slope}], bottom)]
        q = self.emit("gated", parts, [-sign * level], over, gate=(z, gate))
        self.gates.add(z)
        return self.emit("linear", [(reward, [{0: 1}], 1), (q, [{0: -sign}], 1)])

    def acting(self, table: Node, arguments: tuple[Affine, ...]) -> Iterator[Node]:
        from rewarden.certificate.kernel_near import acting, composed

        if (arguments, table.tensors[0]) not in self.reads:
            self.reads[arguments, table.tensors[0]] = composed(table, arguments)
        assert self.box is not None
        return acting(table, self.reads[arguments, table.tensors[0]], self.box)

    # ── layers ─────────────────────────────────────────────────────────────────────────────────
    def emit(
        self,
        kind: str,
        parts: Sequence[tuple[int, Rows, int]],  # source, its rows, what they are over
        bias: Sequence[int] = (),
        bias_bottom: int = 1,
        gate: tuple[int, tuple[int, int]] = (INPUT, (0, 1)),
        pair: tuple[int, int] | None = None,
    ) -> int:
        """Add a layer; everything is brought over one denominator, and parts with the same source are summed."""
        bottom = math.lcm(bias_bottom, *(over for _, _, over in parts))
        if bottom.bit_length() > MAX_BITS:
            refuse("the weights of a layer have too large a common denominator")
        sums: dict[int, Rows] = {}
        for source, rows, over in parts:
            into = sums.setdefault(source, [{} for _ in rows])
            for row, new in zip(into, rows, strict=True):
                for j, w in new.items():
                    row[j] = row.get(j, 0) + w * (bottom // over)
        blocks = tuple(self.block(source, rows) for source, rows in sums.items())
        constants = [b * (bottom // bias_bottom) for b in bias] if bias else [0] * len(blocks[0].rows)
        columns = (weights for block in blocks for _, weights in block.columns)
        reach = max(sum(map(abs, weights)) for weights in (constants, *columns))
        self.layers.append(Layer(kind, blocks, constants, bottom, reach, *gate, pair))
        if len(self.layers) > MAX_LAYERS or self.weights > MAX_WEIGHTS:
            refuse("the program is too large for this kernel")
        return len(self.layers) - 1

    def block(self, source: int, summed: Rows) -> Block:
        rows = [{j: w for j, w in row.items() if w} for row in summed]
        columns: list[tuple[list[int], list[int]]] = [([], []) for _ in range(self.width(source))]
        self.weights += len(rows) + len(columns) + sum(map(len, rows))
        for i, row in enumerate(rows):
            for j, w in row.items():
                columns[j][0].append(i)
                columns[j][1].append(w)
        return Block(source, rows, [([] if len(w) == len(rows) else at, w) for at, w in columns])


Calls = Sequence[tuple[Reward, tuple[Affine, ...]]]


def inline(variables: int, calls: Calls) -> Program:
    """The program of a claim's calls; where a table of patches comes, only what comes before it."""
    program = Program(variables)
    for number, call in enumerate(calls):
        if len(program.outputs) == number:
            program.call(*call)
    return program


class Programs:
    """The program of a claim's calls over each of its boxes: everywhere the same, where no reward has a table."""

    def __init__(self, variables: int, calls: Calls) -> None:
        self.calls, self.base, self.last, self.work = calls, inline(variables, calls), Program(variables), 0
        self.alike = len(self.base.outputs) == len(calls)

    def over(self, box: Ends) -> Program:
        """Each begins with the pieces of `base`, in the same layers; the last one that was made is kept."""
        if self.alike:
            return self.base
        if self.last.box != box:
            base, tables = self.base, [patch for reward, _ in self.calls for patch in reward.patches if is_table(patch)]
            self.work += sum(len(table.tensors[1].values) for table in tables)
            if self.work > MAX_WORK:
                refuse("there are too many boxes for so large a table of patches")
            self.last = replace(
                base, layers=[*base.layers], outputs=[], gates={*base.gates}, pieces={**base.pieces}, twins=[], box=box
            )
            for call in self.calls:
                self.last.call(*call)
        return self.last


def is_table(patch: Node) -> bool:
    return len(patch.tensors[1].shape) == 2


def diagonal(entries: Iterable[int]) -> Rows:
    return [{k: x} for k, x in enumerate(entries)]


def _shaped(tensor: Tensor, *shape: int) -> Tensor:
    return tensor if tensor.shape == shape else refuse(f"a tensor of shape {tensor.shape} where {shape} is needed")


def matrix_of(tensor: Tensor, m: int, n: int) -> Rows:
    values = _shaped(tensor, m, n).values
    return [dict(enumerate(values[k : k + n])) for k in range(0, len(values), n)]


def scalar_of(tensor: Tensor) -> tuple[int, int]:
    return _shaped(tensor, 1).values[0], tensor.bottom


def evaluate(program: Program, point: Sequence[Fraction]) -> list[Fraction]:
    """The value of each call at a point, exactly."""
    values: dict[int, tuple[list[int], int]] = {INPUT: common(point, "a point")}  # entry k is [0][k] / [1]
    for index, layer in enumerate(program.layers):
        over = math.lcm(*(values[block.source][1] for block in layer.blocks))
        z = [b * over for b in layer.bias]
        for block in layer.blocks:
            source, bottom = values[block.source]
            for i, row in enumerate(block.rows):
                z[i] += sum(w * source[j] for j, w in row.items()) * (over // bottom)
        if layer.kind != "linear":
            z = [max(x, 0) for x in z]
        if layer.kind == "gated":
            (gate, below), (rows, bottom) = layer.gate, values[layer.gate_layer]
            z = [0 if any(x * below >= gate * bottom for x in rows) else x for x in z]
        values[index] = (z, over * layer.bottom)
    return [Fraction(values[k][0][0], values[k][1]) for k in program.outputs]
