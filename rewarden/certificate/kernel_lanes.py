"""Certificate kernel: neurons of one layer that are left open, bounded together, in lanes of long integers.

One row of long integers stands for as many functionals as there are lanes, and they are replaced side by side as
`kernel_bounds` replaces one. What it says of each is a lower bound for these reasons:

- no number outgrows its lane: coefficients are cut to COEFFICIENT bits before something replaces them, and what does
  is cut so that no number of a row grows by more than ROOM bits: 2**(COEFFICIENT + ROOM), which is 2**(WIDTH − 3);
- a coefficient c that is cut becomes c′ with 0 ≤ c − c′ ≤ u, u its last digit: for an output y ≥ l, c·y ≥ c′·y −
  u·max(0, −l), and that is taken off. So it is with the slopes of lines, for z within l and r: a lower line loses
  u·max(0, −l), an upper one u·max(0, r). Intercepts are rounded up;
- weights and biases that are cut have lost f·u each, 0 ≤ f < 1: in each z together an e between u·Σ min(0, l) and
  u·(Σ max(0, r) + 1), sums over what it reads. A coefficient > 0 takes the least e, one < 0 the largest.

What does not fit is left to exact rows, one neuron at a time; so is, in the end, every leaf that lanes leave open.
Standard library only.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import compress
from operator import add, mul, sub
from typing import NamedTuple
from weakref import WeakKeyDictionary

from rewarden.certificate.kernel_bounds import ROUGHLY, TOGETHER, Box, Facts, Functional, Side
from rewarden.certificate.kernel_json import used
from rewarden.certificate.kernel_program import GRID, INPUT, Ends, Layer, Lines, Program
from rewarden.certificate.kernel_proof import WAYS
from rewarden.certificate.kernel_steps import Stepping

WIDTH, COEFFICIENT = 64, 27  # bits of a lane, and of what is replaced
ROOM = WIDTH - 3 - COEFFICIENT
DIGITS = 29  # of slopes, and of the largest weight of a layer, at the most
FIRST = COEFFICIENT - 1  # digits of ±1, which is where a neuron's functional begins
MAX_LANES, MAX_PACKED = 1 << 8, 1 << 29  # numbers in one, bits of all rows of those that may be held at a time
Row = list[int]
Part = tuple[Row, int, bool]  # a row over 2**digits; whether its coefficients are cut
Term = tuple[int, int, int]  # lanes x, and what to make of them: x·factor / 2**digits
MAX_DENSE = 1 << 20  # weights of a layer that is kept in lanes
MISSES = 8  # leaves in a row that bounds without effort leave open, before only one in so many is tried that way
_missed: WeakKeyDictionary[Program, int] = WeakKeyDictionary()
_columns: WeakKeyDictionary[Layer, tuple[list[int], list[int]] | None] = WeakKeyDictionary()
_weights: WeakKeyDictionary[Layer, Weights] = WeakKeyDictionary()


class Lanes:
    """Many numbers in one integer, Σ number_k · 2**(k·WIDTH), each at most 2**(WIDTH − 3) in size. A sum of such
    integers, or the product of one with a plain number, has in its lanes the sums or products of theirs, while these
    are no larger. With 2**(WIDTH − 1) added to each number, all are ≥ 0, in bits that they share with no other (`t`
    below), of which the highest tells whether the number was ≥ 0."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.ones = ((1 << (count * WIDTH)) - 1) // ((1 << WIDTH) - 1)
        self.half = self.ones << (WIDTH - 1)

    def positive(self, x: int) -> int:
        """Each number where it is > 0, else 0."""
        t = x + self.half
        signs = t & self.half
        return t & (signs - (signs >> (WIDTH - 1)))

    def packed(self, numbers: Iterable[int]) -> int:
        return (
            int.from_bytes(struct.pack(f"<{self.count}Q", *(n + (1 << (WIDTH - 1)) for n in numbers)), "little")
            - self.half
        )

    def each(self, x: int) -> list[int]:
        t = (x + self.half).to_bytes(WIDTH // 8 * self.count, "little")
        return [n - (1 << (WIDTH - 1)) for n in struct.unpack(f"<{self.count}Q", t)]

    def cut(self, row: Row, by: int) -> Row:
        """Each number over 2**by, rounded down."""
        by = min(by, WIDTH - 1)  # all the rest are signs
        kept, low = self.ones * ((1 << (WIDTH - by)) - 1), self.half >> by
        return [((x + self.half) >> by & kept) - low for x in row]

    def bits(self, row: Row) -> int:
        """Every number of the row is at most 2**bits in size. From the second bit on, `t` is the number, or −1 less it
        with all bits turned: leading zeros or ones, and then the highest bit that is told here."""
        found = 0
        for x in row:
            t = x + self.half
            found |= t ^ (t >> 1)
        return max(self.each(found & self.ones * ((1 << (WIDTH - 2)) - 1))).bit_length()

    def fitted(self, parts: list[Part]) -> tuple[Row, int, int]:
        """The sum of rows (each over 2**digits) with at most COEFFICIENT bits: they lose as many digits as that takes.
        What it is over, and how many rows were rounded down."""
        if len(parts) == 1 and parts[0][2]:
            return *parts[0][:2], 0
        fit = COEFFICIENT - (len(parts) - 1).bit_length()
        kept = min(max(digits for _, digits, _ in parts), *(digits + fit - self.bits(row) for row, digits, _ in parts))
        if kept < 0 or fit < 0:
            raise OverflowError
        scaled = []
        for row, digits, _ in parts:
            by = digits - kept
            scaled.append(self.cut(row, by) if by > 0 else [x << -by for x in row] if by else row)
        total = scaled[0] if len(scaled) == 1 else list(map(sum, zip(*scaled, strict=True)))
        return total, kept, sum(digits > kept for _, digits, _ in parts)


class Weights(NamedTuple):
    """Of a layer, over 2**digits, by source and column as in its blocks, and whether these are the identity."""

    blocks: list[tuple[int, list[tuple[list[int], list[int]]], bool]]
    bias: list[int]
    digits: int
    rounded: bool


class Coarse(NamedTuple):
    """`Lines` with slopes over 2**digits, and intercepts over 2**grid."""

    lower: list[int]
    drop: list[int]
    upper: list[int]
    shift: list[int]
    digits: int
    grid: int


class RoughBounds(Stepping):
    """Bounds that round: back-substitution for all open neurons of a layer together, or for none."""

    def __init__(
        self, program: Program, box: Box, slopes: Mapping[tuple[int, int], int], effort: int, signs: Collection[Side]
    ) -> None:
        used.add("kernel_lanes")
        super().__init__(program, box, slopes, effort, signs)
        self.coarse: dict[int, tuple[Lines, Coarse]] = {}

    def add(self, index: int) -> None:
        layer = self.program.layers[index]
        low, high = self.inner[index] = self.known_at_first(index)
        if self.effort == TOGETHER:
            each = enumerate(zip(low, high, strict=True))
            loose = [k for k, ends in each if layer.is_open(*ends, k, self)]
            ends = [(k, side) for side in (0, 1) for k in loose]
            for (k, side), bound in zip(ends, self.together(index, ends), strict=True):
                self.narrow(index, k, side, bound)
        self.settle(index)

    def together(self, index: int, ends: Sequence[tuple[int, int]]) -> list[int]:
        """Lower bounds of z (side 0) or of −z (side 1) of neurons of a layer."""
        layers = self.program.layers[: index + 1]  # a row for each source that each of them reads, and four terms
        numbers = sum(4 + sum(len(block.columns) for block in layer.blocks) for layer in layers)
        count = max(1, min(MAX_LANES, MAX_PACKED // (WIDTH * numbers)))
        found: list[int] = []
        for k in range(0, len(ends), count):
            some = ends[k : k + count]
            row = [0] * len(self.program.layers[index].bias)
            for lane, (neuron, side) in enumerate(some):
                row[neuron] += (-1 if side else 1) << (lane * WIDTH + FIRST)
            functionals = Functionals(self, Lanes(len(some)))
            try:
                functionals.through(index, row, FIRST)
                found += functionals.least()
            except OverflowError:
                found += [self.side(index, neuron, side) for neuron, side in some]
        return found

    def least(self, facts: Facts, functional: Functional | None = None) -> Fraction:
        found = super().least(facts, functional)
        if found > 0 and self.effort == ROUGHLY:
            _missed[self.program] = 0
        return found

    def cut_lines(self, index: int) -> Coarse:
        lines = self.lines[index]
        assert lines is not None, "an output that is z itself has no lines"
        if index not in self.coarse or self.coarse[index][0] is not lines:
            self.coarse[index] = lines, _coarse(lines, *self.inner[index])
        return self.coarse[index][1]

    def intervals(self, index: int) -> Ends:
        """In lanes twice the middle, and twice the radius, of each neuron. Ends are cut, outward, to one bit less than
        coefficients are. Exactly where weights are few, or do not fit."""
        layer = self.program.layers[index]
        if layer not in _columns:
            _columns[layer] = _dense(layer)
        if (found := _columns[layer]) is None:
            return super().intervals(index)
        cut, lanes = weights(layer), Lanes(len(layer.bias))
        low, high = ([x for source, *_ in cut.blocks for x in self.ranges[source][k]] for k in (0, 1))
        by = max(0, max(map(abs, (*low, *high))).bit_length() + 1 - COEFFICIENT)
        below, above = [x >> by for x in low], [-(-x >> by) for x in high]
        middle = lanes.each(sum(map(mul, found[0], map(add, below, above))))
        radius = lanes.each(sum(map(mul, found[1], map(sub, above, below))))
        least, most = lost(self, cut)
        each = list(zip(middle, radius, (b << GRID for b in cut.bias), strict=True))
        low = [(((m - r) << by) // 2 + b + least) >> cut.digits for m, r, b in each]
        return low, [-((((-m - r) << by) // 2 - b - most) >> cut.digits) for m, r, b in each]

    def lower_bound(self, functional: Functional) -> Fraction:
        """In a single lane. Rounded down to the grid."""
        self.advance(max(functional.rows, default=INPUT) + 1)
        functionals = Functionals(self, Lanes(1))
        try:
            for source, (row, bottom) in functional.rows.items():
                digits = COEFFICIENT - 1 - (max(map(abs, row), default=0) // bottom).bit_length()
                if digits < 0:
                    return super().lower_bound(functional)
                cut = [(c << digits) // bottom for c in row]
                functionals.parts[source] = [(cut, digits, True)]
                if any(c << digits != x * bottom for c, x in zip(row, cut, strict=True)):
                    functionals.terms.append((1, sum(x for x in self.ranges[source][0] if x < 0), digits + GRID))
            (least,) = functionals.least()
        except OverflowError:
            return super().lower_bound(functional)
        return sum((Fraction(*constant) for constant in functional.constants), Fraction(least, 1 << GRID))


def rough_ways(program: Program) -> Sequence[int]:
    """The rough ways, and the exact ones. Whether that without effort comes first is told by how many leaves in a row
    it has not settled; all are tried before a leaf is refused."""
    used.add("kernel_lanes")
    _missed[program] = missed = _missed.get(program, -1) + 1
    first, last = ((), (ROUGHLY,)) if missed > MISSES and missed % MISSES else ((ROUGHLY,), ())
    return (*first, TOGETHER, *WAYS, *last)


def _dense(layer: Layer) -> tuple[list[int], list[int]] | None:
    """The columns of a layer's weights, and of their sizes, each in lanes."""
    rows, columns = len(layer.bias), sum(len(block.columns) for block in layer.blocks)
    entries = sum(len(some) for block in layer.blocks for _, some in block.columns)
    if not 4 <= rows <= rows * columns <= min(MAX_DENSE, 4 * entries):
        return None
    try:
        cut = weights(layer)
    except OverflowError:
        return None
    lanes, whole, sizes = Lanes(rows), [], []
    for _, block, _ in cut.blocks:
        for at, some in block:
            each = dict(zip(at or range(rows), some, strict=False))
            whole.append(lanes.packed(each.get(k, 0) for k in range(rows)))
            sizes.append(lanes.packed(abs(each.get(k, 0)) for k in range(rows)))
    return whole, sizes


def lost(bounds: RoughBounds, layer: Weights) -> tuple[int, int]:
    """Between which multiples of 2**-(digits + GRID) what its cut weights and bias have lost of any z lies."""
    if not layer.rounded:
        return 0, 0
    least, most = 0, 1 << GRID
    for source, *_ in layer.blocks:
        least += sum(x for x in bounds.ranges[source][0] if x < 0)
        most += sum(x for x in bounds.ranges[source][1] if x > 0)
    return least, most


class Functionals:
    """A functional in each lane: rows by source, each over 2**digits, and terms (mutable)."""

    def __init__(self, bounds: RoughBounds, lanes: Lanes) -> None:
        self.bounds, self.lanes = bounds, lanes
        self.parts: dict[int, list[Part]] = {}
        self.terms: list[Term] = []

    def least(self) -> list[int]:
        """`Bounds.lower_bound` of each, rounded down to the grid. The layers below are known."""
        bounds, lanes, parts = self.bounds, self.lanes, self.parts
        while (index := max(parts, default=INPUT)) != INPUT:
            row, digits = self.fitted(parts.pop(index), bounds.ranges[index][0])
            if bounds.lines[index] is not None:
                lines = bounds.cut_lines(index)
                row = row * (len(lines.lower) // len(row))
                up = [lanes.positive(x) for x in row]
                down = [p - x for p, x in zip(up, row, strict=True)]
                fall = sum(map(mul, lines.drop, up)) + sum(map(mul, lines.shift, down))
                self.terms.append((fall, -1, digits + lines.grid))
                row = [a * p - b * m for a, p, b, m in zip(lines.lower, up, lines.upper, down, strict=True)]
                digits += lines.digits
                row, digits = self.fitted([(row, digits, False)], bounds.inner[index][0])
            if any(row):
                self.through(index, row, digits)
        return self.over_box()

    def fitted(self, parts: list[Part], low: Iterable[int]) -> tuple[Row, int]:
        """The sum of rows, cut; they are about what is ≥ low."""
        row, digits, rounded = self.lanes.fitted(parts)
        if rounded:
            self.terms.append((self.lanes.ones, rounded * sum(x for x in low if x < 0), digits + GRID))
        return row, digits

    def through(self, index: int, row: Row, digits: int) -> None:
        """Add row·z of a layer, as what it reads."""
        layer = weights(self.bounds.program.layers[index])
        live, digits = [x for x in row if x], digits + layer.digits
        self.terms.append((sum(map(mul, compress(layer.bias, row), live)), 1, digits))
        if layer.rounded:
            least, most = lost(self.bounds, layer)
            up = sum(map(self.lanes.positive, live))
            self.terms += [(up, least, digits + GRID), (up - sum(live), -most, digits + GRID)]
        for source, columns, same in layer.blocks:
            if not same:
                pulled = [
                    sum(map(mul, some, map(row.__getitem__, at)) if at else map(mul, compress(some, row), live))
                    for at, some in columns
                ]
            self.parts.setdefault(source, []).append((row if same else pulled, digits, same))

    def over_box(self) -> list[int]:
        """Of functionals of the variables alone: the least values, exactly, then rounded."""
        box, lanes, parts, terms = self.bounds.box, self.lanes, self.parts.get(INPUT, []), self.terms
        most = max([digits for *_, digits in terms] + [digits for _, digits, _ in parts], default=0)
        found = [0] * lanes.count
        for x, factor, digits in terms:
            factor *= box.bottom << (most - digits)
            found = [n + c * factor for n, c in zip(found, lanes.each(x), strict=True)] if x and factor else found
        for k, (low, high) in enumerate(zip(box.low, box.high, strict=True)):
            each = [[c << (most - digits) for c in lanes.each(row[k])] for row, digits, _ in parts]
            for some in each[1:]:
                each[0] = list(map(add, each[0], some))
            found = [n + c * (low if c > 0 else high) for n, c in zip(found, each[0], strict=True)] if each else found
        return [(n << GRID) // (box.bottom << most) for n in found]


def weights(layer: Layer) -> Weights:
    """Those of a layer, cut: no column of them adds up to more than 2**ROOM, nor does the bias, signs aside."""
    if layer not in _weights:
        _weights[layer] = _cut(layer)
    return _weights[layer]


def _cut(layer: Layer) -> Weights:
    bottom, columns = layer.bottom, [some for block in layer.blocks for _, some in block.columns]
    heavy = [sum(sum(map(abs, block.rows[k].values())) for block in layer.blocks) for k in range(len(layer.bias))]
    reach = max(*heavy, *(sum(map(abs, some)) for some in (layer.bias, *columns)))
    largest = max((abs(w) for some in columns for w in some), default=0)
    digits = min(ROOM - 1 - (reach // bottom).bit_length(), DIGITS - (largest // bottom).bit_length())
    exact = bottom & (bottom - 1) == 0 and bottom.bit_length() - 1 <= digits
    if digits < 0:
        raise OverflowError
    digits = bottom.bit_length() - 1 if exact else digits

    def cut(some: list[int]) -> list[int]:
        return [(w << digits) // bottom for w in some]

    blocks = [(block.source, [(at, cut(some)) for at, some in block.columns]) for block in layer.blocks]
    same = [
        digits == 0
        and len(columns) == len(layer.bias)
        and all(at == [k] and some == [1] for k, (at, some) in enumerate(columns))
        for _, columns in blocks
    ]
    return Weights([(*b, s) for b, s in zip(blocks, same, strict=True)], cut(layer.bias), digits, not exact)


def _coarse(lines: Lines, low: list[int], high: list[int]) -> Coarse:
    one = lines.one
    steep = max(map(abs, (*lines.lower, *lines.upper)), default=0) // one + 1
    digits = min(0 if one == 1 else DIGITS, ROOM - steep.bit_length())
    if digits < 0:
        raise OverflowError
    lower, upper = [(a << digits) // one for a in lines.lower], [(b << digits) // one for b in lines.upper]
    drop = [
        d - (min(end, 0) >> digits if c * one != a << digits else 0)
        for d, c, a, end in zip(lines.drop, lower, lines.lower, low, strict=True)
    ]
    shift = [
        t - (-max(end, 0) >> digits if c * one != b << digits else 0)
        for t, c, b, end in zip(lines.shift, upper, lines.upper, high, strict=True)
    ]
    total = sum(map(abs, (*drop, *shift)))
    by = max(0, total.bit_length() + 1 - ROOM)
    if by > GRID:
        raise OverflowError
    drop, shift = [-(-d >> by) for d in drop], [-(-t >> by) for t in shift]
    return Coarse(lower, drop, upper, shift, digits, GRID - by)
