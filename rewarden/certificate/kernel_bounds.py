"""Certificate kernel, part 5: bounds on a program over a box, by interval arithmetic and back-substitution.

Nothing here can be too optimistic: a proof only chooses among lines that are all sound, and numbers are exact integers,
or rounded outward. With y = max(z, 0) and l ≤ z ≤ u:

- lower line: y ≥ c·z for every 0 ≤ c ≤ 1 (for z ≥ 0 because c ≤ 1, for z < 0 because c·z ≤ 0);
- upper line: for l < 0 < u and any 0 ≤ s ≤ u/(u − l), y ≤ s·z + t with t = u − s·u: both sides meet at u; at l the
  right side is u − s·(u − l) ≥ 0; y is convex, so it stays below the line in between. s is u/(u − l) rounded down,
  and t up;
- a neuron behind a gate is 0 or y. Where the gate may be either: ≥ 0, and below the upper line (which is ≥ 0 there).

A leaf speaks of the points of its box at which its facts hold and its goal fails. The bounds l, u hold at each of
them; should they cross, there is none. So whatever is known by then may serve to know more, later layers included: a
step bounds ±z by ±z − Σ λ·fact ≤ ±z, λ > 0, with the lines that all bounds known so far allow.

What a leaf and its steps ask for has exact coefficients. Neurons that intervals leave open are bounded many at a time,
in lanes of long integers, with coefficients that are rounded down; what that can make too much of a functional is taken
off again. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from fractions import Fraction
from operator import mul
from typing import NamedTuple

from rewarden.certificate.kernel_program import INPUT, Affine, Block, Form, Layer, Program, common

GRID = 64  # ends of intervals are integers over 2**GRID, rounded outward
ONE = 1 << 40  # slopes of upper lines are integers over ONE, rounded down
DIGITS = 48  # of coefficients in lanes, at the least
MIN_LANES, MAX_LANES, MAX_PACKED = 4, 1 << 8, 1 << 29  # numbers in one, bits of a row of those
SLOPES = 1 << 8  # a proof gives slopes of lower lines as integers over SLOPES
Side = tuple[int, int, int]  # layer, neuron; 0: z − l ≥ 0, or 1: u − z ≥ 0, with the bounds known where it is used
Terms = Sequence[tuple[Affine | Side, Fraction]]  # facts, ≥ 0 where the leaf speaks (≤ 0 where the weight is negative)
Ends = tuple[list[int], list[int]]
Parts = list[tuple[list[int], int]]  # rows, each over a denominator, that are to be added


class Box:
    """Closed bounds per variable: exact integers over `bottom`, and rounded outward to the grid."""

    def __init__(self, low: Sequence[Fraction], high: Sequence[Fraction]) -> None:
        ends, self.bottom = common((*low, *high), "a box")
        self.low, self.high = ends[: len(low)], ends[len(low) :]
        self.coarse = (
            [(x << GRID) // self.bottom for x in self.low],
            [-((-x << GRID) // self.bottom) for x in self.high],
        )


class Lanes:
    """Many numbers in one integer, Σ number_k · 2**(k·width), each less than 2**(width − 1) in size. A sum of such
    integers, or the product of one with a plain number, has in its lanes the sums or products of theirs, while these
    are less than that, too. With 2**(width − 1) added to each number, all are ≥ 0, in bits that they share with no
    other (`t` below), of which the highest tells whether the number was ≥ 0."""

    def __init__(self, count: int, width: int) -> None:
        self.count, self.width = count, -(-width // 8) * 8
        self.ones = ((1 << (count * self.width)) - 1) // ((1 << self.width) - 1)
        self.half = self.ones << (self.width - 1)

    def positive(self, x: int) -> int:
        """Each number where it is > 0, else 0."""
        t = x + self.half
        signs = t & self.half
        return t & (signs - (signs >> (self.width - 1)))

    def each(self, x: int) -> list[int]:
        size, half = self.width // 8, 1 << (self.width - 1)
        t = (x + self.half).to_bytes(size * self.count, "little")
        return [int.from_bytes(t[k : k + size], "little") - half for k in range(0, len(t), size)]

    def shifted(self, x: int, by: int) -> int:
        """Each number times 2**by, rounded down."""
        if by >= 0:
            return x << by
        by = min(-by, self.width - 1)  # all the rest are signs
        return (((x + self.half) >> by) & (self.ones * ((1 << (self.width - by)) - 1))) - (self.half >> by)

    def bits(self, row: list[int]) -> int:
        """Every number of the row is less than 2**bits in size."""
        found = 0
        for x in row:
            found |= (positive := self.positive(x)) | (positive - x)
        return max(self.each(found)).bit_length()

    def merged(self, parts: Parts, room: int) -> tuple[list[int], int, int]:
        """The sum of rows, at most 2**(width − 1 − room) in size: they lose as many digits as that takes. Its
        denominator, and how many rows were rounded down."""
        fit = self.width - 1 - room - (len(parts) - 1).bit_length()
        digits = [bottom.bit_length() - 1 for _, bottom in parts]
        kept = min(max(digits), *(d + fit - self.bits(row) for d, (row, _) in zip(digits, parts, strict=True)))
        if fit < 0 or kept < 0 or any(bottom & (bottom - 1) for _, bottom in parts):
            raise OverflowError
        scaled = [[self.shifted(x, kept - d) for x in row] for d, (row, _) in zip(digits, parts, strict=True)]
        return list(map(sum, zip(*scaled, strict=True))), 1 << kept, sum(d > kept for d in digits)


def _merged(parts: Parts) -> tuple[list[int], int]:
    """The sum of rows, over one denominator."""
    if len(parts) == 1:
        return parts[0]
    shared = math.lcm(*(bottom for _, bottom in parts))
    scaled = [[x * (shared // bottom) for x in row] for row, bottom in parts]
    return list(map(sum, zip(*scaled, strict=True))), shared


class Functional:
    """Σ constants + Σ row·source: what is being bounded. Each row and each constant has a denominator of its own.
    With lanes each number is many, and so is the functional."""

    def __init__(self, lanes: Lanes | None = None) -> None:
        self.lanes = lanes
        self.constants: list[tuple[int, int]] = []
        self.rows: dict[int, Parts] = {}

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
        self.rows.setdefault(source, []).append((row, bottom))


class Lines(NamedTuple):
    """Per neuron: lower/one·z − drop ≤ output ≤ upper/one·z + shift; drop and shift are over 2**GRID."""

    lower: Sequence[int]
    drop: Sequence[int]
    upper: Sequence[int]
    shift: Sequence[int]
    one: int


class Bounds:
    """Bounds of every layer of a program over one box, for one leaf of a proof (mutable): layer by layer as they are
    needed, then better where a step says how.

    `slopes` chooses lower lines; `signs` are neurons with z ≥ 0 (side 0) or z ≤ 0 (side 1) where the leaf speaks.
    `effort` is what back-substitution is spent on: 0 no neuron, 1 those that interval arithmetic leaves open, 2 all;
    of those of one layer together, in lanes, unless it is to be `exact`.
    """

    def __init__(
        self,
        program: Program,
        box: Box,
        slopes: Mapping[tuple[int, int], int],
        signs: Collection[Side],
        effort: int = 1,
        exact: bool = False,
    ) -> None:
        self.program, self.box, self.slopes, self.signs = program, box, dict(slopes), signs
        self.effort, self.exact = effort, exact
        self.lines: list[Lines | None] = []
        self.rooms: list[int] = []  # per layer: the bits by which numbers grow, at most, when its outputs are replaced
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
        loose = []
        for k in range(len(low)):
            low[k], high[k] = max(low[k], known[0][k]), min(high[k], known[1][k])
            low[k] = max(low[k], 0) if (index, k, 0) in self.signs else low[k]
            high[k] = min(high[k], 0) if (index, k, 1) in self.signs else high[k]
            if layer.pair is not None:
                a, b = self.copies(layer.pair, k)
                low[k], high[k] = max(low[k], a[0] - b[1]), min(high[k], a[1] - b[0])
                unsettled = _is_open(a, b)
            else:
                unsettled = low[k] < 0 < high[k] if layer.kind != "linear" else index in self.program.gates
            loose += [k] if self.effort + unsettled >= 2 else []
        for k, bound in zip(loose, self.sides(index, loose, 0), strict=True):
            low[k] = max(low[k], bound)
        if self.effort < 2 and layer.kind not in ("linear", "twin"):
            loose = [k for k in loose if low[k] < 0]
        for k, bound in zip(loose, self.sides(index, loose, 1), strict=True):
            high[k] = min(high[k], -bound)
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
            if not any(s % ONE for s in lower + upper):
                lines = Lines([s // ONE for s in lower], drop, [s // ONE for s in upper], shift, 1)
        self.lines[index : index + 1] = [lines]
        # A row of entries that are at most 1 in size comes to no more than these: the constants of its lines; what is
        # left of it over z, times a column of weights or the bias.
        falls = sum(lines.drop) + sum(lines.shift) if lines else 0
        self.rooms[index : index + 1] = [max(falls, (lines.one if lines else 1) * layer.reach).bit_length()]

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

    def sides(self, index: int, neurons: list[int], side: int) -> list[int]:
        """`side` of several neurons of a layer, without facts: in lanes, where that is possible and worth it."""
        if not self.exact and len(neurons) >= MIN_LANES:
            width = DIGITS + 2 + max(self.program.layers[index].reach.bit_length(), *self.rooms[:index], 0)
            widest = max(map(self.program.width, range(INPUT, index + 1)))
            count = max(1, min(MAX_LANES, MAX_PACKED // (width * widest)))
            try:
                parts = [self.packed(index, neurons[k : k + count], side, width) for k in range(0, len(neurons), count)]
                return [bound for part in parts for bound in part]
            except OverflowError:
                pass  # numbers of very different sizes
        return [self.side(index, k, side, ()) for k in neurons]

    def packed(self, index: int, neurons: list[int], side: int, width: int) -> list[int]:
        functional = Functional(lanes := Lanes(len(neurons), width))
        row = [0] * self.program.width(index)
        for k, neuron in enumerate(neurons):
            row[neuron] = (-1 if side else 1) << (k * lanes.width)
        self.through(functional, index, row, 1)
        bounds, bottom = self.lower_bounds(functional)
        return [(bound << GRID) // bottom for bound in bounds]

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

    def through(self, functional: Functional, index: int, row: list[int], bottom: int) -> None:
        """Add row·z of a layer, as what it reads."""
        layer = self.program.layers[index]
        functional.constants.append((sum(map(mul, row, layer.bias)), bottom * layer.bottom))
        for block in layer.blocks:
            functional.add_row(block.source, self.pull(block, row), bottom * layer.bottom)

    def lower_bound(self, functional: Functional) -> Fraction:
        """A lower bound of a functional without lanes over the box; the functional is used up."""
        (bound,), bottom = self.lower_bounds(functional)
        return Fraction(bound, bottom)

    def lower_bounds(self, functional: Functional) -> tuple[list[int], int]:
        """The same in each lane, over one denominator.

        Sources are replaced from the last layer down, so each is replaced once, after all that read it.
        """
        rows, constants, lanes = functional.rows, functional.constants, functional.lanes
        lost = Fraction(0)  # to rounding, by each lane
        self.advance(max(rows, default=INPUT) + 1)
        while (index := max(rows, default=INPUT)) != INPUT:
            if lanes is None:
                row, bottom = _merged(rows.pop(index))
            else:  # what a coefficient loses is at least 0 and less than 1 / bottom
                row, bottom, rounded = lanes.merged(rows.pop(index), self.rooms[index])
                lost -= Fraction(rounded * sum(min(x, 0) for x in self.ranges[index][0]), bottom << GRID)
            lines = self.lines[index]
            if lines is not None:
                if lanes is None:
                    fall = sum(c * t if c < 0 else -c * s for c, s, t in zip(row, lines.drop, lines.shift, strict=True))
                    row = [c * (a if c > 0 else b) for c, a, b in zip(row, lines.lower, lines.upper, strict=True)]
                else:
                    up = [lanes.positive(x) for x in row]
                    down = [p - x for p, x in zip(up, row, strict=True)]
                    fall = -sum(map(mul, lines.drop, up)) - sum(map(mul, lines.shift, down))
                    row = [a * p - b * m for a, p, b, m in zip(lines.lower, up, lines.upper, down, strict=True)]
                constants.append((fall, bottom << GRID))
                bottom *= lines.one
            if any(row):
                self.through(functional, index, row, bottom)
        return self.over_box(functional, lost)

    def over_box(self, functional: Functional, lost: Fraction) -> tuple[list[int], int]:
        """Of a functional of the variables alone, less what is lost: the least value in each lane, exactly."""
        parts, constants, lanes = functional.rows.get(INPUT, []), functional.constants, functional.lanes
        each: Callable[[int], list[int]] = lanes.each if lanes else lambda x: [x]
        over = math.lcm(*(bottom for _, bottom in parts))
        shared = math.lcm(over * self.box.bottom, lost.denominator, *(bottom for _, bottom in constants))
        found = [-lost.numerator * (shared // lost.denominator)] * (lanes.count if lanes else 1)
        for x, bottom in constants:
            found = [n + c * (shared // bottom) for n, c in zip(found, each(x), strict=True)]
        by = shared // (over * self.box.bottom)
        scaled = [[[n * (over // bottom) for n in each(x)] for x in row] for row, bottom in parts]
        for columns, low, high in zip(zip(*scaled, strict=True), self.box.low, self.box.high, strict=bool(parts)):
            total = map(sum, zip(*columns, strict=True))
            found = [n + c * (low if c > 0 else high) * by for n, c in zip(found, total, strict=True)]
        return found, shared


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
    return least, most, lower if gate == "closed" else 0, 0, upper, -(-high * (ONE - upper) // ONE)


def _is_open(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Of a twin: neither both copies on nor both off."""
    return not ((a[0] >= 0 and b[0] >= 0) or (a[1] <= 0 and b[1] <= 0))


def _twin(d: tuple[int, int], a: tuple[int, int], b: tuple[int, int], chosen: int | None) -> tuple[int, ...]:
    """`chosen`: 3·(line below) + (line above)."""
    from rewarden.certificate.kernel_twins import choice, extent, line

    below, above = divmod(choice(d, a, b) if chosen is None else chosen, 3)
    (lower, drop), (upper, shift) = line((-d[1], -d[0]), b, below, ONE), line(d, a, above, ONE)
    return (*extent(d, a, b), lower, -(-drop // ONE), upper, -(-shift // ONE))
