"""Certificate kernel: neurons of one layer that are left open, bounded together, in lanes of long integers.

One row of long integers stands for as many functionals as there are lanes, and they are replaced side by side as
`kernel_bounds` replaces one. What it says of each is a lower bound for these reasons:

- no number outgrows its lane: before the outputs of a layer are replaced, coefficients are cut to width − 1 − room
  bits, where lines, intercepts, weights and biases make the largest number of a row grow by at most room bits;
- a coefficient c that is cut becomes c′ with 0 ≤ c − c′ ≤ 1 / bottom, so c·y ≥ c′·y − max(0, −l) / bottom for an
  output y ≥ l. That is taken off, for every output of the layer.

Denominators that are no powers of two, and coefficients that do not fit, are left to one neuron at a time; so is, in
the end, every leaf that lanes leave open. Standard library only.
"""

from __future__ import annotations

import math
from fractions import Fraction
from operator import mul
from weakref import WeakKeyDictionary

from rewarden.certificate.kernel_bounds import Bounds, Functional
from rewarden.certificate.kernel_json import used
from rewarden.certificate.kernel_program import GRID, INPUT, Layer

DIGITS = 48  # of coefficients in lanes, at the least
MAX_LANES, MAX_PACKED = 1 << 8, 1 << 29  # numbers in one, bits of a row of those
Parts = list[tuple[list[int], int]]  # rows, each over a denominator, that are to be added
_reaches: WeakKeyDictionary[Layer, int] = WeakKeyDictionary()


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


class Functionals(Functional):
    """A functional in each lane. Rows of one source are added when it is replaced, and not before."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: dict[int, Parts] = {}

    def add_row(self, source: int, row: list[int], bottom: int) -> None:
        self.parts.setdefault(source, []).append((row, bottom))


def together(bounds: Bounds, index: int, neurons: list[int], side: int) -> list[int]:
    """`Bounds.sides` in lanes, where that is possible."""
    used.add("kernel_lanes")
    rooms = [_room(bounds, k) for k in range(index)]
    width = DIGITS + 2 + max(_reach(bounds.program.layers[index]).bit_length(), *rooms, 0)
    widest = max(map(bounds.program.width, range(INPUT, index + 1)))
    count = max(1, min(MAX_LANES, MAX_PACKED // (width * widest)))
    found: list[int] = []
    try:
        for k in range(0, len(neurons), count):
            some = neurons[k : k + count]
            lanes, functionals = Lanes(len(some), width), Functionals()
            row = [0] * len(bounds.program.layers[index].bias)
            for lane, neuron in enumerate(some):
                row[neuron] = (-1 if side else 1) << (lane * lanes.width)
            bounds.through(functionals, index, row, 1)
            found += lower_bounds(bounds, functionals, lanes, rooms)
    except OverflowError:  # numbers of very different sizes
        return [bounds.side(index, k, side) for k in neurons]
    return found


def _room(bounds: Bounds, index: int) -> int:
    """The bits by which numbers grow, at most, when a layer's outputs are replaced. A row of entries that are at most 1
    in size comes to no more than these: the constants of its lines; what is left of it over z, times a column of
    weights or the bias."""
    lines, reach = bounds.lines[index], _reach(bounds.program.layers[index])
    if lines is None:
        return reach.bit_length()
    steep = max(lines.one, *map(abs, (*lines.lower, *lines.upper)))
    return max(sum(map(abs, (*lines.drop, *lines.shift))), steep * reach).bit_length()


def _reach(layer: Layer) -> int:
    """No column of weights adds up to more, nor does the bias, signs aside."""
    if layer not in _reaches:
        columns = (weights for block in layer.blocks for _, weights in block.columns)
        _reaches[layer] = max(sum(map(abs, weights)) for weights in (layer.bias, *columns))
    return _reaches[layer]


def lower_bounds(bounds: Bounds, functionals: Functionals, lanes: Lanes, rooms: list[int]) -> list[int]:
    """`Bounds.lower_bound` in each lane, rounded down to the grid. The layers below are known."""
    parts, constants = functionals.parts, functionals.constants
    lost = Fraction(0)  # to rounding, by each lane
    while (index := max(parts, default=INPUT)) != INPUT:
        row, bottom, rounded = lanes.merged(parts.pop(index), rooms[index])
        lost -= Fraction(rounded * sum(min(x, 0) for x in bounds.ranges[index][0]), bottom << GRID)
        lines = bounds.lines[index]
        if lines is not None:
            row = row * (len(lines.lower) // len(row))
            up = [lanes.positive(x) for x in row]
            down = [p - x for p, x in zip(up, row, strict=True)]
            constants.append((-sum(map(mul, lines.drop, up)) - sum(map(mul, lines.shift, down)), bottom << GRID))
            row = [a * p - b * m for a, p, b, m in zip(lines.lower, up, lines.upper, down, strict=True)]
            bottom *= lines.one
        if any(row):
            bounds.through(functionals, index, row, bottom)
    return _over_box(bounds, functionals, lanes, lost)


def _over_box(bounds: Bounds, functionals: Functionals, lanes: Lanes, lost: Fraction) -> list[int]:
    """Of functionals of the variables alone, less what is lost: the least values, exactly, then rounded."""
    box, parts, constants = bounds.box, functionals.parts.get(INPUT, []), functionals.constants
    over = math.lcm(*(bottom for _, bottom in parts))
    shared = math.lcm(over * box.bottom, lost.denominator, *(bottom for _, bottom in constants))
    found = [-lost.numerator * (shared // lost.denominator)] * lanes.count
    for x, bottom in constants:
        found = [n + c * (shared // bottom) for n, c in zip(found, lanes.each(x), strict=True)]
    by = shared // (over * box.bottom)
    scaled = [[[n * (over // bottom) for n in lanes.each(x)] for x in row] for row, bottom in parts]
    for columns, low, high in zip(zip(*scaled, strict=True), box.low, box.high, strict=bool(parts)):
        total = map(sum, zip(*columns, strict=True))
        found = [n + c * (low if c > 0 else high) * by for n, c in zip(found, total, strict=True)]
    return [(n << GRID) // shared for n in found]
