"""Certificate kernel, part 6: bounds on a program over a box, by interval arithmetic and back-substitution.

Nothing here can be too optimistic: a proof only chooses among lines that are all sound (each kind of layer says why),
and numbers are exact integers, or rounded outward. A functional is replaced from the last layer down: where the
coefficient of an output is > 0 by the line below it, where < 0 by the line above; so it can only get less, and at the
variables its least value over the box is exact. Bounds hold at every point of which a leaf speaks. Neurons are bounded
one at a time; `kernel_lanes` is quicker, and rounds. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from operator import mul

from rewarden.certificate.kernel_program import GRID, INPUT, Affine, Block, Ends, Known, Lines, Program, common

NONE, TOGETHER, OPEN, ALL, ROUGHLY = range(5)  # which neurons are back-substituted: open ones together, or one by one
Side = tuple[int, int, int]  # layer, neuron; 0: z − l ≥ 0, or 1: u − z ≥ 0, with the bounds known where it is used
Facts = Sequence[tuple[Affine | Side, Fraction]]  # ≥ 0 where the leaf speaks (≤ 0 where the weight is negative)


class Box:
    """Closed bounds per variable: exact integers over `bottom`, and rounded outward to the grid."""

    def __init__(self, low: Sequence[Fraction], high: Sequence[Fraction]) -> None:
        ends, bottom = common((*low, *high), "a box")
        self.low, self.high, self.bottom = ends[: len(low)], ends[len(low) :], bottom
        self.coarse = [(x << GRID) // bottom for x in self.low], [-((-x << GRID) // bottom) for x in self.high]


class Functional:
    """Σ constants + Σ row·source: what is being bounded. Each row and each constant is over a denominator."""

    def __init__(self) -> None:
        self.constants: list[tuple[int, int]] = []
        self.rows: dict[int, tuple[list[int], int]] = {}

    def add_row(self, source: int, row: list[int], bottom: int) -> None:
        if source in self.rows:
            other, over = self.rows[source]
            shared = math.lcm(bottom, over)
            x, y = shared // bottom, shared // over
            row, bottom = [a * x + b * y for a, b in zip(row, other, strict=True)], shared
        self.rows[source] = row, bottom


class Bounds(Known):
    """Bounds of the layers of a program over one box, for one leaf of a proof (mutable): one layer after the other, as
    they are needed. `slopes` chooses lower lines."""

    def __init__(self, program: Program, box: Box, slopes: Mapping[tuple[int, int], int], effort: int = OPEN) -> None:
        self.program, self.box, self.slopes, self.effort = program, box, dict(slopes), effort
        self.ranges, self.inner = {INPUT: box.coarse}, {}
        self.lines: dict[int, Lines | None] = {}

    def advance(self, count: int) -> None:
        """Bounds of the first `count` layers, where there are none yet."""
        for index in range(len(self.lines), count):
            self.add(index)

    def add(self, index: int) -> None:
        layer = self.program.layers[index]
        low, high = self.inner[index] = self.known_at_first(index)
        for side in (0, 1) if self.effort else ():
            for k, ends in enumerate(zip(low, high, strict=True)):
                if self.effort == ALL or layer.is_open(*ends, k, self):
                    self.narrow(index, k, side, self.side(index, k, side))
        self.settle(index)

    def known_at_first(self, index: int) -> Ends:
        return self.program.layers[index].narrowed(self.intervals(index), self)

    def intervals(self, index: int) -> Ends:
        """Interval arithmetic over the sources, rounded outward to the grid."""
        layer = self.program.layers[index]
        low = [b << GRID for b in layer.bias]
        high = low.copy()
        for source, rows, _ in layer.blocks:
            below, above = self.ranges[source]
            for k, row in enumerate(rows):
                for j, w in row.items():
                    low[k] += w * (below[j] if w > 0 else above[j])
                    high[k] += w * (above[j] if w > 0 else below[j])
        return [x // layer.bottom for x in low], [-(-x // layer.bottom) for x in high]

    def settle(self, index: int) -> None:
        """What a layer's bounds say of its outputs, and its lines."""
        inner = self.inner[index]
        chosen = [self.slopes.get((index, k)) for k in range(len(inner[0]))]  # checked where they were read
        self.ranges[index], self.lines[index] = self.program.layers[index].lines(inner, chosen, self)

    def narrow(self, index: int, neuron: int, side: int, bound: int) -> None:
        """What a lower bound of z (side 0) or of −z (side 1) says of a neuron."""
        ends = self.inner[index]
        ends[side][neuron] = min(ends[1][neuron], -bound) if side else max(ends[0][neuron], bound)

    def side(self, index: int, neuron: int, side: int, facts: Facts = ()) -> int:
        """A lower bound of z − Σ λ·fact, or of −z − Σ λ·fact, of one neuron, rounded down to the grid."""
        functional, row = Functional(), [0] * len(self.program.layers[index].bias)
        row[neuron] = -1 if side else 1
        self.through(functional, index, row, 1)
        bound = self.least(facts, functional)
        return (bound.numerator << GRID) // bound.denominator

    def least(self, facts: Facts, functional: Functional | None = None) -> Fraction:
        """A lower bound of a functional (or 0) less Σ λ·fact: facts are ≥ 0 where the leaf speaks, so of it, too."""
        functional = functional or Functional()
        for fact, weight in facts:
            self.add_fact(functional, fact, -weight)
        return self.lower_bound(functional)

    def add_fact(self, functional: Functional, fact: Affine | Side, weight: Fraction) -> None:
        """Add weight · fact."""
        assert isinstance(fact, Affine), "bounds of neurons are the business of `kernel_steps`"
        weight /= fact.bottom
        functional.constants.append((weight.numerator * fact.constant, weight.denominator))
        entries = dict(fact.variables)
        row = [weight.numerator * entries.get(k, 0) for k in range(self.program.variables)]
        functional.add_row(INPUT, row, weight.denominator)
        for call, x in fact.calls:
            functional.add_row(self.program.outputs[call], [weight.numerator * x], weight.denominator)

    def through(self, functional: Functional, index: int, row: list[int], bottom: int) -> None:
        """Add row·z of a layer, as what it reads."""
        layer = self.program.layers[index]
        functional.constants.append((sum(map(mul, row, layer.bias)), bottom * layer.bottom))
        for block in layer.blocks:
            functional.add_row(block.source, self.pull(block, row), bottom * layer.bottom)

    def pull(self, block: Block, row: list[int]) -> list[int]:
        """row · W."""
        return [sum(map(mul, weights, map(row.__getitem__, at) if at else row)) for at, weights in block.columns]

    def lower_bound(self, functional: Functional) -> Fraction:
        """A lower bound of a functional over the box, exactly; the functional is used up. Sources are replaced from the
        last layer down, so each is replaced once, after all that read it."""
        rows, constants = functional.rows, functional.constants
        self.advance(max(rows, default=INPUT) + 1)
        while (index := max(rows, default=INPUT)) != INPUT:
            row, bottom = rows.pop(index)
            lines = self.lines[index]
            if lines is not None:
                row = row * (len(lines.lower) // len(row))  # a product's is read by both factors
                fall = sum(c * t if c < 0 else -c * s for c, s, t in zip(row, lines.drop, lines.shift, strict=True))
                constants.append((fall, bottom << GRID))
                row = [c * (a if c > 0 else b) for c, a, b in zip(row, lines.lower, lines.upper, strict=True)]
                bottom *= lines.one
            if any(row):
                self.through(functional, index, row, bottom)
        row, bottom = rows.get(INPUT, ([], 1))
        least = sum(c * (self.box.low[k] if c > 0 else self.box.high[k]) for k, c in enumerate(row))
        constants.append((least, bottom * self.box.bottom))
        shared = math.lcm(*(over for _, over in constants))
        return Fraction(sum(x * (shared // over) for x, over in constants), shared)
