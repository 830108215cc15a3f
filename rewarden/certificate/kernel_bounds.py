"""Certificate kernel, part 4: bounds on a program over a box, by interval arithmetic and back-substitution.

Nothing here can be too optimistic: a proof only chooses among lines that are all sound, and numbers are exact integers,
or rounded outward. With y = max(z, 0) and l ≤ z ≤ u:

- lower line: y ≥ c·z for every 0 ≤ c ≤ 1 (for z ≥ 0 because c ≤ 1, for z < 0 because c·z ≤ 0);
- upper line: for l < 0 < u and any 0 ≤ s ≤ u/(u − l), y ≤ s·z + t with t = u − s·u: both sides meet at u; at l the
  right side is u − s·(u − l) ≥ 0; y is convex, so it stays below the line in between. s is u/(u − l) rounded down;
- a neuron behind a gate is 0 or y. Where the gate may be either: ≥ 0, and below the upper line (which is ≥ 0 there).

The bounds l, u hold at every point of the box *at which the leaf's facts hold*, which is all that a leaf speaks about;
should they cross, no such point exists. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
Terms = Sequence[tuple[Affine, int, int]]  # affine forms that are ≥ 0, each with a weight m·2**e, as (form, m, e)


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

    def subtract_terms(self, program: Program, terms: Terms) -> None:
        """Subtract Σ m·2**e · form: forms that are ≥ 0, so a lower bound of what is left is one of the whole."""
        for form, m, e in terms:
            self.add_affine(program, form, -(m << max(e, 0)), 1 << max(-e, 0))


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
    """Bounds of every layer of a program over one box, for one leaf of a proof.

    `slopes` chooses lower lines, `tight` lends facts to single bounds (side 0 lower, 1 upper). `thorough` spends
    back-substitution on every neuron; without it, on those that interval arithmetic leaves open.
    """

    def __init__(
        self,
        program: Program,
        box: Box,
        slopes: Mapping[Neuron, int],
        tight: Mapping[tuple[int, int, int], Terms],
        thorough: bool = False,
    ) -> None:
        self.program, self.box, self.slopes, self.tight, self.thorough = program, box, slopes, tight, thorough
        self.lines: list[Lines | None] = []
        self.ranges: dict[int, tuple[list[int], list[int]]] = {INPUT: box.coarse}  # of outputs, on the grid
        self.inner: dict[int, tuple[list[int], list[int]]] = {}  # of the pre-activations of relus
        self.helped = {(layer, neuron) for layer, neuron, _ in tight}
        for index, layer in enumerate(program.layers):
            self.add(index, layer)

    # ── one layer after the other ──────────────────────────────────────────────────────────────
    def add(self, index: int, layer: Layer) -> None:
        low, high = self.intervals(layer)
        gated = index in self.program.gates
        copies = None if layer.pair is None else self.copies(layer.pair)
        for k in range(len(low)):
            if copies is not None:
                (a, b) = copies[k]
                low[k], high[k] = max(low[k], a[0] - b[1]), min(high[k], a[1] - b[0])
                open_question = is_open(a, b)
            else:
                open_question = low[k] < 0 < high[k] if layer.kind != "linear" else gated
            if open_question or self.thorough or (index, k) in self.helped:
                low[k] = max(low[k], self.side(index, k, 0))
                if self.thorough or layer.kind in ("linear", "twin") or low[k] < 0:
                    high[k] = min(high[k], -self.side(index, k, 1))
        if layer.kind == "linear":
            self.lines.append(None)
            self.ranges[index] = (low, high)
            return
        if copies is not None:
            self.twin(index, low, high, copies)
            return
        self.inner[index] = low, high
        gate = self.gate(layer) if layer.kind == "gated" else "closed"
        self.lines.append(self.relaxation(index, low, high, gate))
        zero = [0] * len(low)
        self.ranges[index] = (
            [max(x, 0) for x in low] if gate == "closed" else zero,
            [max(x, 0) for x in high] if gate != "open" else zero,
        )

    def copies(self, pair: tuple[int, int]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """Per neuron, the bounds of z_A and of z_B."""
        sides = [self.inner[pair[i]][end] for i in (0, 1) for end in (0, 1)]
        return [((a, b), (c, d)) for a, b, c, d in zip(*sides, strict=True)]

    def twin(
        self, index: int, low: list[int], high: list[int], copies: Sequence[tuple[tuple[int, int], tuple[int, int]]]
    ) -> None:
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
        self.lines.append(Lines(lower, upper, shift, False, drop))
        self.ranges[index] = least, most

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

    def side(self, index: int, neuron: int, side: int) -> int:
        """A lower bound of z (side 0) or of −z (side 1) of one neuron, rounded down to the grid."""
        layer = self.program.layers[index]
        sign = -1 if side else 1
        functional = Functional()
        functional.add_constant(sign * layer.bias[neuron], layer.bottom)
        for block in layer.blocks:
            row = [0] * block.width
            for j, w in block.rows[neuron].items():
                row[j] = sign * w
            functional.add_row(block.source, row, layer.bottom)
        functional.subtract_terms(self.program, self.tight.get((index, neuron, side), ()))
        number, bottom = self.lower_bound(functional)
        return (number << GRID) // bottom

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
