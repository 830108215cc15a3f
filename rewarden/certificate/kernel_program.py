"""Certificate kernel, part 4: the program of a claim, "Program" in docs/formats.md, in exact integers.

The kernel derives the layers itself from the claim's calls and the artifacts' graphs, so a proof can name neurons but
not define them. Here are the ops of plain networks; neighbours have the others, and patches. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar, NamedTuple

from rewarden.certificate.kernel_artifact import Reward, Tensor
from rewarden.certificate.kernel_json import refuse

INPUT = -1  # the source that stands for the variables
GRID = 64  # ends of intervals are integers over 2**GRID, rounded outward
ONE = 1 << 40  # slopes of upper lines are integers over ONE, rounded down
SLOPES = 1 << 8  # a proof gives slopes of lower lines as integers over SLOPES
Ends = tuple[list[int], list[int]]  # lower and upper ends, on the grid
Rows = list[dict[int, int]]  # per neuron: column → non-zero entry
Values = Mapping[int, tuple[list[int], int]]  # of layers at a point: entry k is [0][k] / [1]
Line = tuple[int, int, int, int, int, int]  # least, most; lower, drop, upper, shift as `Lines` has them, over ONE
MAX_LAYERS = 20_000
MAX_WEIGHTS = 5 << 20  # of one program, with the rows and columns of its blocks; zeros not counted
MAX_BITS, MAX_POINT = 20_000, 1 << 32  # of a common denominator; of all values at a point
Parts = Sequence[tuple[int, Rows, int]]  # sources of a layer: which, its rows, what these are over


class Affine(NamedTuple):
    """(constant + Σ variables + Σ calls) / bottom, by index."""

    constant: int
    variables: tuple[tuple[int, int], ...]
    calls: tuple[tuple[int, int], ...]
    bottom: int


class Lines(NamedTuple):
    """Per neuron: lower/one·z − drop ≤ output ≤ upper/one·z + shift; drop and shift are over 2**GRID."""

    lower: Sequence[int]
    drop: Sequence[int]
    upper: Sequence[int]
    shift: Sequence[int]
    one: int


class Known:
    """Bounds of layers so far: of z and of the output."""

    inner: dict[int, Ends]
    ranges: dict[int, Ends]


class Block(NamedTuple):
    """The weights on one source, by row and by column: zeros are left out."""

    source: int
    rows: Rows
    columns: list[tuple[list[int], list[int]]]  # per column: the rows (none named: all) and their weights


@dataclass(frozen=True, eq=False)
class Layer:
    """z = (Σ W_s·v_s + b) / bottom from the outputs v_s of earlier layers (source −1: the claim's variables), W and b
    integers. The output is z here; elsewhere a function of z, with lines that hold wherever z is within its bounds."""

    blocks: tuple[Block, ...]
    bias: list[int]
    bottom: int
    kind: ClassVar[str] = "linear"
    choices: ClassVar[int] = SLOPES  # a proof names a line of a neuron by a number in 0 … choices

    def output(self, z: list[int], values: Values) -> list[int]:
        """At a point, over the denominator of z."""
        return z

    def narrowed(self, ends: Ends, known: Known) -> Ends:
        """Bounds of z with what else is known of it."""
        return ends

    def is_open(self, low: int, high: int, k: int, known: Known) -> bool:
        """Would better bounds of a neuron's z make better lines?"""
        return False

    def lines(self, ends: Ends, chosen: Sequence[int | None], known: Known) -> tuple[Ends, Lines | None]:
        """Bounds of the output, and lines: those that a proof has chosen where there is a choice."""
        return ends, None


class Relu(Layer):
    """y = max(z, 0). With l ≤ z ≤ u:

    - lower line: y ≥ c·z for every 0 ≤ c ≤ 1 (for z ≥ 0 because c ≤ 1, for z < 0 because c·z ≤ 0);
    - upper line: for l < 0 < u and any 0 ≤ s ≤ u/(u − l), y ≤ s·z + t with t = u − s·u: both sides meet at u; at l the
      right side is u − s·(u − l) ≥ 0; y is convex, so it stays below the line in between. s is u/(u − l) rounded
      down, and t up.
    """

    kind = "relu"

    def output(self, z: list[int], values: Values) -> list[int]:
        return [max(x, 0) for x in z]

    def is_open(self, low: int, high: int, k: int, known: Known) -> bool:
        return low < 0 < high

    def lines(self, ends: Ends, chosen: Sequence[int | None], known: Known) -> tuple[Ends, Lines | None]:
        return gathered(map(relu_line, *ends, chosen))


def relu_line(low: int, high: int, chosen: int | None) -> Line:
    """`chosen`: the lower slope, over SLOPES; where there is none, 1 if u > −l, else 0."""
    if high <= 0 and low < 0:
        return 0, 0, 0, 0, 0, 0
    if low >= 0:
        return low, max(high, 0), ONE, 0, ONE, 0
    lower = ONE * (high > -low) if chosen is None else chosen * (ONE // SLOPES)
    upper = high * ONE // (high - low)
    return 0, high, lower, 0, upper, -(-high * (ONE - upper) // ONE)


def gathered(each: Iterable[Line]) -> tuple[Ends, Lines]:
    """The lines of a layer from those of its neurons, in small numbers where all slopes are 0 or 1."""
    least, most, lower, drop, upper, shift = map(list, zip(*each, strict=True))
    if any(s % ONE for s in lower + upper):
        return (least, most), Lines(lower, drop, upper, shift, ONE)
    return (least, most), Lines([s // ONE for s in lower], drop, [s // ONE for s in upper], shift, 1)


Calls = Sequence[tuple[Reward, tuple[Affine, ...]]]


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


@dataclass(eq=False)
class Program:
    """Grows while it is built, then stands still. `pieces` holds what was emitted, by key, so that equal pieces are
    emitted once; `outputs[c]` is the layer, of width 1, that computes call c."""

    variables: int
    layers: list[Layer] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    pieces: dict[object, int] = field(default_factory=dict)
    weights: int = 0

    def over(self, box: Sequence[tuple[Fraction, Fraction]]) -> Program:
        """What computes the calls in a box of the claim: everywhere the same, but for `kernel_near`."""
        return self

    def width(self, layer: int) -> int:
        return self.variables if layer == INPUT else len((x := self.layers[layer]).bias) >> (x.kind == "product")

    def call(self, reward: Reward, arguments: tuple[Affine, ...]) -> None:
        layer, point = self.network(reward, arguments)
        for patch in reward.patches:
            from rewarden.certificate.kernel_patches import patched

            layer = self.once(patched, patch, layer, point)
        self.outputs.append(layer)

    def network(self, reward: Reward, arguments: tuple[Affine, ...]) -> tuple[int, int]:
        """The layers that compute a reward before its patches, and its arguments."""
        if len(arguments) != reward.width:
            refuse(f"a call has {len(arguments)} arguments, its reward reads {reward.width}")
        point = self.once(Program.arguments, arguments)
        done = {0: point}  # node → layer
        agenda = [reward.output] if reward.output else []
        while agenda:
            node = reward.nodes[index := agenda.pop()]
            missing = [k for k in node.inputs if k not in done]
            agenda += [index, *reversed(missing)] if missing else ()  # inputs in their order, depth first
            if not missing and index not in done:
                sources = tuple(done[k] for k in node.inputs)
                done[index] = self.once(Program.node, node.op, sources, node.tensors)
        if self.width(done[reward.output]) != 1:
            refuse("the output of a reward must have width 1")
        return done[reward.output], point

    def once(self, emit: Callable[..., int], *key: object) -> int:
        """The layer of the piece that `emit` makes of the key, made now if none was before."""
        if (emit, *key) not in self.pieces:
            self.pieces[emit, *key] = emit(self, *key)
        return self.pieces[emit, *key]

    def arguments(self, arguments: tuple[Affine, ...]) -> int:
        bottom = math.lcm(*(a.bottom for a in arguments))
        rows = [{k: x * (bottom // a.bottom) for k, x in a.variables} for a in arguments]
        return self.emit([(INPUT, rows, bottom)], [a.constant * (bottom // a.bottom) for a in arguments], bottom)

    def node(self, op: str, sources: tuple[int, ...], tensors: tuple[Tensor, ...]) -> int:
        """One op of the table in docs/formats.md."""
        n = self.width(sources[0])
        match op, tensors:
            case "relu", _:
                return self.emit([(sources[0], diagonal([1] * n), 1)], kind=Relu)
            case "scale", (scale, shift):
                weights = diagonal(shaped(scale, n).values)
                return self.emit([(sources[0], weights, scale.bottom)], shaped(shift, n).values, shift.bottom)
            case "affine", (weight, bias):
                rows = matrix_of(weight, bias.shape[0], n)
                return self.emit([(sources[0], rows, weight.bottom)], shaped(bias, len(rows)).values, bias.bottom)
        from rewarden.certificate.kernel_ops import layers_of

        return layers_of(self, op, sources, tensors)

    def emit(self, parts: Parts, bias: Sequence[int] = (), over: int = 1, kind: Callable[..., Layer] = Layer) -> int:
        """Add a layer; everything is brought over one denominator, and parts with the same source are summed."""
        bottom = math.lcm(over, *(part_over for _, _, part_over in parts))
        if bottom.bit_length() > MAX_BITS:
            refuse("the weights of a layer have too large a common denominator")
        sums: dict[int, Rows] = {}
        for source, rows, part_over in parts:
            into = sums.setdefault(source, [{} for _ in rows])
            for row, new in zip(into, rows, strict=True):
                for j, w in new.items():
                    row[j] = row.get(j, 0) + w * (bottom // part_over)
        blocks = tuple(self.block(source, rows) for source, rows in sums.items())
        constants = [b * (bottom // over) for b in bias] if bias else [0] * len(blocks[0].rows)
        self.layers.append(kind(blocks, constants, bottom))
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


def inline(variables: int, calls: Calls) -> Program:
    """The program of a claim's calls."""
    if any(len(patch.tensors[1].shape) == 2 for reward, _ in calls for patch in reward.patches):
        from rewarden.certificate.kernel_near import programs

        return programs(variables, calls)
    program = Program(variables)
    for call in calls:
        program.call(*call)
    return program


def diagonal(entries: Iterable[int]) -> Rows:
    return [{k: x} for k, x in enumerate(entries)]


def shaped(tensor: Tensor, *shape: int) -> Tensor:
    return tensor if tensor.shape == shape else refuse(f"a tensor of shape {tensor.shape} where {shape} is needed")


def matrix_of(tensor: Tensor, m: int, n: int) -> Rows:
    values = shaped(tensor, m, n).values
    return [dict(enumerate(values[k : k + n])) for k in range(0, len(values), n)]


def evaluate(program: Program, point: Sequence[Fraction]) -> list[Fraction]:
    """The value of each call at a point, exactly."""
    values, bits = {INPUT: common(point, "a point")}, 0
    for index, layer in enumerate(program.layers):
        over = math.lcm(*(values[block.source][1] for block in layer.blocks))
        z = [b * over for b in layer.bias]
        for block in layer.blocks:
            source, bottom = values[block.source]
            for i, row in enumerate(block.rows):
                z[i] += sum(w * source[j] for j, w in row.items()) * (over // bottom)
        bits += sum(x.bit_length() for x in z) + over.bit_length()
        if bits > MAX_POINT:
            refuse("the values at a point have too many digits")
        values[index] = layer.output(z, values), over * layer.bottom
    return [values[k][0][0] * Fraction(1, values[k][1]) for k in program.outputs]
