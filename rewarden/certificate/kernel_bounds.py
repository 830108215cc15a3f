"""Certificate kernel, part 4: bounds on a program over a box, by interval arithmetic and back-substitution.

Nothing here can be too optimistic: a proof only chooses among lines that are all sound, and numbers are exact integers,
or rounded outward. With y = max(z, 0) and l ≤ z ≤ u:

- lower line: y ≥ c·z for every 0 ≤ c ≤ 1 (for z ≥ 0 because c ≤ 1, for z < 0 because c·z ≤ 0);
- upper line: for l < 0 < u and any 0 ≤ s ≤ u/(u − l), y ≤ s·z + t with t = u − s·u: both sides meet at u; at l the
  right side is u − s·(u − l) ≥ 0; y is convex, so it stays below the line in between. s is u/(u − l) rounded down;
- a neuron behind a gate is 0 or y. Where the gate may be either: ≥ 0, and below the upper line (which is ≥ 0 there).

A leaf speaks of the points of its box at which its facts hold and its goal fails. The bounds l, u hold at each of
them; should they cross, there is none. So whatever is known by then may serve to know more, later layers included: a
step bounds ±z by ±z − Σ λ·fact ≤ ±z, λ > 0, with the lines that all bounds known so far allow. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import mul

from rewarden.certificate.kernel_json import refuse
from rewarden.certificate.kernel_program import INPUT, MAX_BITS, Affine, Layer, Program
from rewarden.certificate.kernel_twins import choice, extent, is_open, line

GRID = 64  # interval ends are integers over 2**GRID, rounded outward
SLOPE = 40  # slopes of upper lines are integers over 2**SLOPE, rounded down
ONE = 1 << SLOPE
HALF_SLOPES = 8  # a proof gives slopes of lower lines as integers over 2**8
Neuron = tuple[int, int]
Side = tuple[int, int, int]  # layer, neuron; 0: z − l ≥ 0, or 1: u − z ≥ 0, with the bounds known where it is used
Terms = Sequence[tuple[Affine | Side, int, int]]  # facts: what is ≥ 0 (≤ 0 where m < 0), with a weight m·2**e
Ends = tuple[list[int], list[int]]


class Box:
    """Closed bounds per variable: exact integers over `bottom`, and rounded outward to the grid."""

    __slots__ = ("bottom", "coarse", "high", "low")

    def __init__(self, low: Sequence[Fraction], high: Sequence[Fraction]) -> None:
        self.bottom = math.lcm(*(x.denominator for x in (*low, *high)))
        if self.bottom.bit_length() > MAX_BITS:
            refuse("a box has too large a common denominator")
        self.low = [x.numerator * (self.bottom // x.denominator) for x in low]
        self.high = [x.numerator * (self.bottom // x.denominator) for x in high]
        self.coarse = (
            [(x << GRID) // self.bottom for x in self.low],
            [-((-x << GRID) // self.bottom) for x in self.high],
        )

    def narrowed(self, k: int, side: int, bound: int) -> Box:
        """With a better lower (side 0) or upper bound of variable k: ±bound, over 2**GRID."""
        low, high = ([Fraction(x, self.bottom) for x in ends] for ends in (self.low, self.high))
        if side == 0:
            low[k] = max(low[k], Fraction(bound, 1 << GRID))
        else:
            high[k] = min(high[k], Fraction(-bound, 1 << GRID))
        return Box(low, high)


class Functional:
    """constant + Σ row·source: what is being bounded. Rows and constant each have their own denominator."""

    __slots__ = ("bottom", "constant", "rows")

    def __init__(self) -> None:
        self.constant, self.bottom = 0, 1
        self.rows: dict[int, tuple[list[int], int]] = {}

    def add_constant(self, number: int, bottom: int) -> None:
        common = math.lcm(self.bottom, bottom)
        self.constant = self.constant * (common // self.bottom) + number * (common // bottom)
        self.bottom = common

    def add_row(self, source: int, row: list[int], bottom: int) -> None:
        if source not in self.rows:
            self.rows[source] = (row, bottom)
            return
        old, over = self.rows[source]
        common = math.lcm(over, bottom)
        a, b = common // over, common // bottom
        self.rows[source] = ([x * a + y * b for x, y in zip(old, row, strict=True)], common)

    def add_affine(self, program: Program, form: Affine, number: int, bottom: int) -> None:
        """Add (number / bottom) · form."""
        bottom *= form.bottom
        self.add_constant(number * form.constant, bottom)
        row = [0] * program.variables
        for k, x in form.variables:
            row[k] += number * x
        self.add_row(INPUT, row, bottom)
        for call, x in form.calls:
            self.add_row(program.outputs[call], [number * x], bottom)

    def add_neuron(self, layer: Layer, neuron: int, number: int, bottom: int) -> None:
        """Add (number / bottom) · z of one neuron."""
        bottom *= layer.bottom
        self.add_constant(number * layer.bias[neuron], bottom)
        for block in layer.blocks:
            row = [0] * block.width
            for j, w in block.rows[neuron].items():
                row[j] = number * w
            self.add_row(block.source, row, bottom)


@dataclass(frozen=True, slots=True)
class Lines:
    """Per neuron: output ≥ lower·z − drop and output ≤ upper·z + shift, over 2**SLOPE (drop and shift also over
    2**GRID). Only twins have drops."""

    lower: list[int]
    upper: list[int]
    shift: list[int]
    plain: bool  # all slopes are 0 or 1, and stored as such, over 1; no shifts, no drops
    drop: list[int] | None = None


class Bounds:
    """Bounds of every layer of a program over one box, for one leaf of a proof (mutable): layer by layer as they are
    needed, then better where a step says how.

    `slopes` chooses lower lines; `signs` are neurons with z ≥ 0 (side 0) or z ≤ 0 (side 1) where the leaf speaks.
    `effort` is what back-substitution is spent on: 0 no neuron, 1 those that interval arithmetic leaves open, 2 all.
    """

    def __init__(
        self,
        program: Program,
        box: Box,
        slopes: Mapping[Neuron, int],
        signs: Collection[Side],
        effort: int = 1,
    ) -> None:
        self.program, self.box, self.slopes, self.signs, self.effort = program, box, dict(slopes), signs, effort
        self.lines: list[Lines | None] = []
        self.ranges: dict[int, Ends] = {INPUT: box.coarse}  # of outputs, on the grid
        self.inner: dict[int, Ends] = {}  # of pre-activations

    # ── one layer after the other ──────────────────────────────────────────────────────────────
    def advance(self, count: int) -> None:
        """Bounds of the first `count` layers, where there are none yet."""
        for index in range(len(self.lines), count):
            self.add(index)

    def again(self) -> None:
        """All layers once more, with what is known by now."""
        self.advance(len(self.program.layers))
        for index in range(len(self.lines)):
            self.add(index)

    def add(self, index: int) -> None:
        layer = self.program.layers[index]
        low, high = self.intervals(layer)
        known = self.inner.get(index, (low, high))
        gated = index in self.program.gates
        copies = None if layer.pair is None else self.copies(layer.pair)
        for k in range(len(low)):
            low[k], high[k] = max(low[k], known[0][k]), min(high[k], known[1][k])
            if (index, k, 0) in self.signs:
                low[k] = max(low[k], 0)
            if (index, k, 1) in self.signs:
                high[k] = min(high[k], 0)
            if copies is not None:
                (a, b) = copies[k]
                low[k], high[k] = max(low[k], a[0] - b[1]), min(high[k], a[1] - b[0])
                open_question = is_open(a, b)
            else:
                open_question = low[k] < 0 < high[k] if layer.kind != "linear" else gated
            if self.effort + open_question >= 2:
                low[k] = max(low[k], self.side(index, k, 0, ()))
                if self.effort == 2 or layer.kind in ("linear", "twin") or low[k] < 0:
                    high[k] = min(high[k], -self.side(index, k, 1, ()))
        self.inner[index] = low, high
        self.settle(index)

    def settle(self, index: int) -> None:
        """What a layer's bounds say of its outputs, and its lines."""
        layer, (low, high) = self.program.layers[index], self.inner[index]
        lines: Lines | None = None
        if layer.kind == "linear":
            self.ranges[index] = low, high
        elif layer.pair is not None:
            lines = self.twin(index, low, high, self.copies(layer.pair))
        else:
            gate = self.gate(layer) if layer.kind == "gated" else "closed"
            lines = self.relaxation(index, low, high, gate)
            self.ranges[index] = (
                [max(x, 0) if gate == "closed" else 0 for x in low],
                [max(x, 0) if gate != "open" else 0 for x in high],
            )
        self.lines[index : index + 1] = [lines]

    def step(self, layer: int, neuron: int, side: int, facts: Terms) -> bool:
        """A better bound of one pre-activation, or of a variable (layer −1): lower (side 0) or upper. Whether the two
        bounds cross now: then the leaf speaks of no point, and numbers grow no further."""
        bound = self.side(layer, neuron, side, facts)
        if layer == INPUT:
            self.box = self.box.narrowed(neuron, side, bound)
            self.ranges[INPUT] = self.box.coarse
            return self.box.low[neuron] > self.box.high[neuron]
        self.advance(layer + 1)
        low, high = self.inner[layer]
        low[neuron] = max(low[neuron], bound) if side == 0 else low[neuron]
        high[neuron] = min(high[neuron], -bound) if side == 1 else high[neuron]
        for index in range(layer, len(self.lines)):
            self.settle(index)
        return low[neuron] > high[neuron]

    def choose(self, layer: int, neuron: int, slope: int) -> None:
        """The lower line of a neuron, from here on."""
        self.slopes[layer, neuron] = slope
        if layer < len(self.lines):
            self.settle(layer)

    def copies(self, pair: tuple[int, int]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """Per neuron, the bounds of z_A and of z_B."""
        sides = [self.inner[pair[i]][end] for i in (0, 1) for end in (0, 1)]
        return [((a, b), (c, d)) for a, b, c, d in zip(*sides, strict=True)]

    def twin(
        self, index: int, low: list[int], high: list[int], copies: Sequence[tuple[tuple[int, int], tuple[int, int]]]
    ) -> Lines:
        lower, upper, shift, drop, least, most = [], [], [], [], [], []
        for k, (d, (a, b)) in enumerate(zip(zip(low, high, strict=True), copies, strict=True)):
            below, above = divmod(self.slopes.get((index, k), choice(d, a, b)), 3)  # a proof's choice is 0 … 8
            slope, intercept = line(d, a, above, SLOPE)
            upper.append(slope)
            shift.append(intercept)
            slope, intercept = line((-d[1], -d[0]), b, below, SLOPE)
            lower.append(slope)
            drop.append(intercept)
            ends = extent(d, a, b)
            least.append(ends[0])
            most.append(ends[1])
        self.ranges[index] = least, most
        return Lines(lower, upper, shift, False, drop)

    def intervals(self, layer: Layer) -> tuple[list[int], list[int]]:
        """Interval arithmetic over the sources, rounded outward to the grid.

        Twice the least Σ w·v over below ≤ v ≤ above is Σ w·(below + above) − Σ |w|·(above − below); twice the
        greatest has a plus.
        """
        low = [b << (GRID + 1) for b in layer.bias]
        high = low.copy()
        for block in layer.blocks:
            below, above = self.ranges[block.source]
            middle = [a + b for a, b in zip(below, above, strict=True)]
            spread = [a - b for a, b in zip(above, below, strict=True)]
            for k, row in enumerate(block.rows):
                if block.lines is not None:
                    at = sum(map(mul, block.lines[k][0], middle))
                    reach = sum(map(mul, block.lines[k][1], spread))
                else:
                    at = sum(w * middle[j] for j, w in row.items())
                    reach = sum(abs(w) * spread[j] for j, w in row.items())
                low[k] += at - reach
                high[k] += at + reach
        return [x // (2 * layer.bottom) for x in low], [-(-x // (2 * layer.bottom)) for x in high]

    def side(self, index: int, neuron: int, side: int, facts: Terms) -> int:
        """A lower bound of z (side 0) or of −z (side 1) of one neuron or variable, rounded down to the grid."""
        functional = Functional()
        if index == INPUT:
            functional.add_affine(self.program, Affine(0, ((neuron, 1),), (), 1), -1 if side else 1, 1)
        else:
            functional.add_neuron(self.program.layers[index], neuron, -1 if side else 1, 1)
        self.subtract(functional, facts)
        number, bottom = self.lower_bound(functional)
        return (number << GRID) // bottom

    def subtract(self, functional: Functional, facts: Terms) -> None:
        """Subtract Σ m·2**e · fact: facts are ≥ 0 there, so a lower bound of what is left is one of the whole."""
        for fact, m, e in facts:
            number, bottom = m << max(e, 0), 1 << max(-e, 0)
            if isinstance(fact, Affine):
                functional.add_affine(self.program, fact, -number, bottom)
                continue
            layer, neuron, side = fact
            self.advance(layer + 1)
            sign = -1 if side else 1
            functional.add_neuron(self.program.layers[layer], neuron, -sign * number, bottom)
            functional.add_constant(sign * number * self.inner[layer][side][neuron], bottom << GRID)

    def gate(self, layer: Layer) -> str:
        """`open`: some entry is at or above the gate everywhere; `closed`: none is anywhere; else `either`."""
        low, high = self.ranges[layer.gate_layer]
        number, bottom = layer.gate
        if any(x * bottom >= number << GRID for x in low):
            return "open"
        return "closed" if all(x * bottom < number << GRID for x in high) else "either"

    def relaxation(self, index: int, low: list[int], high: list[int], gate: str) -> Lines:
        n = len(low)
        lower, upper, shift = [0] * n, [0] * n, [0] * n
        if gate == "open":
            return Lines(lower, upper, shift, True)
        plain = True
        default = self.program.layers[index].kind == "gated"  # its default lower line is z
        for k, (below, above) in enumerate(zip(low, high, strict=True)):
            if below >= 0:
                upper[k] = ONE
                lower[k] = ONE if gate == "closed" else 0
            elif above > 0:
                plain = False
                upper[k] = (above << SLOPE) // (above - below)
                shift[k] = above * (ONE - upper[k])
                if gate == "closed":
                    chosen = self.slopes.get((index, k))  # 0 … 2**HALF_SLOPES, checked where it was read
                    if chosen is not None:
                        lower[k] = chosen << (SLOPE - HALF_SLOPES)
                    elif default or above > -below:
                        lower[k] = ONE
        if plain:
            lower, upper = [x >> SLOPE for x in lower], [x >> SLOPE for x in upper]
        return Lines(lower, upper, shift, plain)

    # ── back-substitution ──────────────────────────────────────────────────────────────────────
    def lower_bound(self, functional: Functional) -> tuple[int, int]:
        """A lower bound, number / bottom, of a functional over the box; the functional is used up.

        Sources are replaced from the last layer down, so each is replaced once, after all that read it.
        """
        rows = functional.rows
        self.advance(max(rows, default=INPUT) + 1)
        while (index := max(rows, default=INPUT)) != INPUT:
            row, bottom = rows.pop(index)
            layer, lines = self.program.layers[index], self.lines[index]
            if lines is not None:
                if not lines.plain:
                    fall = sum(c * t for c, t in zip(row, lines.shift, strict=True) if c < 0)
                    if lines.drop is not None:
                        fall -= sum(c * t for c, t in zip(row, lines.drop, strict=True) if c > 0)
                    functional.add_constant(fall, bottom << (SLOPE + GRID))
                    bottom <<= SLOPE
                row = [c * (a if c > 0 else b) for c, a, b in zip(row, lines.lower, lines.upper, strict=True)]
            bottom *= layer.bottom
            functional.add_constant(sum(map(mul, row, layer.bias)), bottom)
            for block in layer.blocks:
                functional.add_row(block.source, block.pull(row), bottom)
        row, bottom = rows.get(INPUT, ([0] * self.program.variables, 1))
        ends = zip(row, self.box.low, self.box.high, strict=True)
        functional.add_constant(sum(c * (a if c > 0 else b) for c, a, b in ends), bottom * self.box.bottom)
        return functional.constant, functional.bottom
