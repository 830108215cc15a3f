"""Certificate kernel, part 5: bounds on a program over a box, by interval arithmetic and back-substitution.

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
from fractions import Fraction
from operator import mul
from typing import NamedTuple

from rewarden.certificate.kernel_program import INPUT, Affine, Block, Form, Layer, Program, common
from rewarden.certificate.kernel_twins import choice, extent, is_open, line

GRID = 64  # ends of intervals are integers over 2**GRID, rounded outward
ONE = 1 << 40  # slopes of upper lines are integers over ONE, rounded down
SLOPES = 1 << 8  # a proof gives slopes of lower lines as integers over SLOPES
Side = tuple[int, int, int]  # layer, neuron; 0: z − l ≥ 0, or 1: u − z ≥ 0, with the bounds known where it is used
Terms = Sequence[tuple[Affine | Side, Fraction]]  # facts, ≥ 0 where the leaf speaks (≤ 0 where the weight is negative)
Ends = tuple[list[int], list[int]]


class Box:
    """Closed bounds per variable: exact integers over `bottom`, and rounded outward to the grid."""

    def __init__(self, low: Sequence[Fraction], high: Sequence[Fraction]) -> None:
        ends, self.bottom = common((*low, *high), "a box")
        self.low, self.high = ends[: len(low)], ends[len(low) :]
        self.coarse = (
            [(x << GRID) // self.bottom for x in self.low],
            [-((-x << GRID) // self.bottom) for x in self.high],
        )


class Functional:
    """Σ constants + Σ row·source: what is being bounded. Each row and each constant has a denominator of its own."""

    def __init__(self) -> None:
        self.constants: list[tuple[int, int]] = []
        self.rows: dict[int, tuple[list[int], int]] = {}

    def add(self, program: Program, form: Form, weight: Fraction) -> None:
        """Add weight · form."""
        weight /= form.bottom
        self.constants.append((weight.numerator * form.constant, weight.denominator))
        for source, entries in form.parts:
            row = [0] * program.width(source)
            for k, x in entries.items():
                row[k] = weight.numerator * x
            self.add_row(source, row, weight.denominator)

    def add_row(self, source: int, row: list[int], bottom: int) -> None:
        if source in self.rows:
            old, over = self.rows[source]
            shared = math.lcm(over, bottom)
            a, b = shared // over, shared // bottom
            row, bottom = [x * a + y * b for x, y in zip(old, row, strict=True)], shared
        self.rows[source] = row, bottom


class Lines(NamedTuple):
    """Per neuron: lower·z − drop ≤ output·one ≤ upper·z + shift; drop and shift are also over 2**GRID."""

    lower: Sequence[int]
    drop: Sequence[int]
    upper: Sequence[int]
    shift: Sequence[int]
    one: int


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
        slopes: Mapping[tuple[int, int], int],
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
        for k in range(len(low)):
            low[k], high[k] = max(low[k], known[0][k]), min(high[k], known[1][k])
            low[k] = max(low[k], 0) if (index, k, 0) in self.signs else low[k]
            high[k] = min(high[k], 0) if (index, k, 1) in self.signs else high[k]
            if layer.pair is not None:
                a, b = self.copies(layer.pair, k)
                low[k], high[k] = max(low[k], a[0] - b[1]), min(high[k], a[1] - b[0])
                unsettled = is_open(a, b)
            else:
                unsettled = low[k] < 0 < high[k] if layer.kind != "linear" else index in self.program.gates
            if self.effort + unsettled >= 2:
                low[k] = max(low[k], self.side(index, k, 0, ()))
                if self.effort == 2 or layer.kind in ("linear", "twin") or low[k] < 0:
                    high[k] = min(high[k], -self.side(index, k, 1, ()))
        self.inner[index] = low, high
        self.settle(index)

    def intervals(self, layer: Layer) -> Ends:
        """Interval arithmetic over the sources, rounded outward to the grid.

        Twice the least Σ w·v over below ≤ v ≤ above is Σ w·(below + above) − Σ |w|·(above − below); twice the
        greatest has a plus.
        """
        low = [b << (GRID + 1) for b in layer.bias]
        high = low.copy()
        for source, rows, _ in layer.blocks:
            ends = list(zip(*self.ranges[source], strict=True))
            middle, spread = [b + a for a, b in ends], [b - a for a, b in ends]
            for k, row in enumerate(rows):
                at = sum(map(mul, row.values(), map(middle.__getitem__, row)))
                reach = sum(map(mul, map(abs, row.values()), map(spread.__getitem__, row)))
                low[k] += at - reach
                high[k] += at + reach
        return [x // (2 * layer.bottom) for x in low], [-(-x // (2 * layer.bottom)) for x in high]

    def copies(self, pair: tuple[int, int], k: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """The bounds of z_A and of z_B of one neuron."""
        (low_a, high_a), (low_b, high_b) = self.inner[pair[0]], self.inner[pair[1]]
        return (low_a[k], high_a[k]), (low_b[k], high_b[k])

    def settle(self, index: int) -> None:
        """What a layer's bounds say of its outputs, and its lines."""
        layer, inner = self.program.layers[index], self.inner[index]
        lines: Lines | None = None
        if layer.kind == "linear":
            self.ranges[index] = inner
        else:
            gate = self.gate(layer) if layer.kind == "gated" else "closed"
            each = []
            for k, d in enumerate(zip(*inner, strict=True)):
                chosen = self.slopes.get((index, k))  # checked where it was read
                if layer.pair is not None:
                    each.append(_twin(d, *self.copies(layer.pair, k), chosen))
                else:
                    each.append(_relu(*d, gate, chosen, ONE if layer.kind == "gated" else 0))
            least, most, lower, drop, upper, shift = map(list, zip(*each, strict=True))
            self.ranges[index] = least, most
            lines = Lines(lower, drop, upper, shift, ONE)
            if not any(drop) and not any(shift) and not any(s % ONE for s in lower + upper):
                lines = Lines([s // ONE for s in lower], drop, [s // ONE for s in upper], shift, 1)
        self.lines[index : index + 1] = [lines]

    def gate(self, layer: Layer) -> str:
        """`open`: some entry is at or above the gate everywhere; `closed`: none is anywhere; else `either`."""
        (number, bottom), (low, high) = layer.gate, self.ranges[layer.gate_layer]
        if any(x * bottom >= number << GRID for x in low):
            return "open"
        return "closed" if all(x * bottom < number << GRID for x in high) else "either"

    # ── what a leaf asks for ───────────────────────────────────────────────────────────────────
    def step(self, layer: int, neuron: int, side: int, facts: Terms) -> bool:
        """A better bound of one pre-activation, or of a variable (layer −1): lower (side 0) or upper. Whether the two
        bounds cross now: then the leaf speaks of no point, and numbers grow no further."""
        bound = self.side(layer, neuron, side, facts)
        if layer == INPUT:
            cell = [[Fraction(x, self.box.bottom) for x in found] for found in (self.box.low, self.box.high)]
            better = Fraction(-bound if side else bound, 1 << GRID)
            cell[side][neuron] = min(cell[1][neuron], better) if side else max(cell[0][neuron], better)
            self.box = Box(*cell)
            self.ranges[INPUT] = self.box.coarse
            return self.box.low[neuron] > self.box.high[neuron]
        self.advance(layer + 1)
        ends = self.inner[layer]
        ends[side][neuron] = min(ends[1][neuron], -bound) if side else max(ends[0][neuron], bound)
        for index in range(layer, len(self.lines)):
            self.settle(index)
        return ends[0][neuron] > ends[1][neuron]

    def choose(self, layer: int, neuron: int, slope: int) -> None:
        """The lower line of a neuron, from here on."""
        self.slopes[layer, neuron] = slope
        if layer < len(self.lines):
            self.settle(layer)

    def side(self, index: int, neuron: int, side: int, facts: Terms) -> int:
        """A lower bound of z (side 0) or of −z (side 1) of one neuron or variable, rounded down to the grid."""
        functional = Functional()
        functional.add(self.program, self.program.neuron(index, neuron), Fraction(-1 if side else 1))
        bound = self.least(facts, functional)
        return (bound.numerator << GRID) // bound.denominator

    def least(self, facts: Terms, functional: Functional | None = None) -> Fraction:
        """A lower bound of a functional (of 0, where there is none) less Σ λ·fact."""
        functional = functional or Functional()
        self.subtract(functional, facts)
        return self.lower_bound(functional)

    def subtract(self, functional: Functional, facts: Terms) -> None:
        """Subtract Σ λ·fact: facts are ≥ 0 there, so a lower bound of what is left is one of the whole."""
        for fact, weight in facts:
            if isinstance(fact, Affine):
                functional.add(self.program, self.program.form(fact), -weight)
                continue
            layer, neuron, side = fact
            self.advance(layer + 1)
            sign = -1 if side else 1
            functional.add(self.program, self.program.neuron(layer, neuron), -sign * weight)
            bound = sign * weight.numerator * self.inner[layer][side][neuron]
            functional.constants.append((bound, weight.denominator << GRID))

    def pull(self, block: Block, row: list[int]) -> list[int]:
        """row · W."""
        return [sum(map(mul, weights, map(row.__getitem__, at) if at else row)) for at, weights in block.columns]

    def lower_bound(self, functional: Functional) -> Fraction:
        """A lower bound of a functional over the box; the functional is used up.

        Sources are replaced from the last layer down, so each is replaced once, after all that read it.
        """
        rows, constants = functional.rows, functional.constants
        self.advance(max(rows, default=INPUT) + 1)
        while (index := max(rows, default=INPUT)) != INPUT:
            row, bottom = rows.pop(index)
            layer, lines = self.program.layers[index], self.lines[index]
            if lines is not None:
                bottom *= lines.one
                if lines.one != 1:
                    fall = sum(c * t if c < 0 else -c * s for c, s, t in zip(row, lines.drop, lines.shift, strict=True))
                    constants.append((fall, bottom << GRID))
                row = [c * (a if c > 0 else b) for c, a, b in zip(row, lines.lower, lines.upper, strict=True)]
            bottom *= layer.bottom
            constants.append((sum(map(mul, row, layer.bias)), bottom))
            for block in layer.blocks:
                functional.add_row(block.source, self.pull(block, row), bottom)
        row, bottom = rows.get(INPUT, ([0] * self.program.variables, 1))
        least = sum(c * (a if c > 0 else b) for c, a, b in zip(row, self.box.low, self.box.high, strict=True))
        constants.append((least, bottom * self.box.bottom))
        shared = math.lcm(*(over for _, over in constants))
        return Fraction(sum(number * (shared // over) for number, over in constants), shared)


# ── one neuron: bounds of its output, then lower, drop, upper, shift of its lines ───────────────
def _relu(low: int, high: int, gate: str, chosen: int | None, default: int) -> tuple[int, ...]:
    """`chosen`: the lower slope, over SLOPES; where there is none, 1 if u > −l, else `default`."""
    most = max(high, 0) if gate != "open" else 0
    least = max(low, 0) if gate == "closed" else 0
    if gate == "open" or (high <= 0 and low < 0):
        return least, most, 0, 0, 0, 0
    if low >= 0:
        return least, most, ONE if gate == "closed" else 0, 0, ONE, 0
    upper = high * ONE // (high - low)
    lower = default if chosen is None and high <= -low else ONE if chosen is None else chosen * (ONE // SLOPES)
    return least, most, lower if gate == "closed" else 0, 0, upper, high * (ONE - upper)


def _twin(d: tuple[int, int], a: tuple[int, int], b: tuple[int, int], chosen: int | None) -> tuple[int, ...]:
    """`chosen`: 3·(line below) + (line above)."""
    below, above = divmod(choice(d, a, b) if chosen is None else chosen, 3)
    return (*extent(d, a, b), *line((-d[1], -d[0]), b, below, ONE), *line(d, a, above, ONE))
