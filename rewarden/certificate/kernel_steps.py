"""Certificate kernel: proofs of rules with a premise in them. Signs and cases, and what a leaf does in steps.

A sign loses no point: a pre-activation is ≥ 0 or ≤ 0. Nor does a case: wherever the premise holds a clause has a true
atom, and there is a child for each. A leaf speaks of the points of its box at which its signs and facts hold and its
goal fails; the bounds l ≤ z ≤ u of neurons hold at each of them, so z − l ≥ 0 and u − z ≥ 0 are facts, too.

A step bounds ±z by ±z − Σ λ·fact ≤ ±z, λ > 0, with the lines that all bounds known so far allow, and only then puts it
in place of a worse bound: so by induction every bound holds at each point of which the leaf speaks. What is known by
then may serve to know more, later layers included; bounds only ever shrink, and should two cross, there is no such
point. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from fractions import Fraction
from typing import Any

from rewarden.certificate.kernel_bounds import OPEN, Bounds, Box, Facts, Functional, Side
from rewarden.certificate.kernel_claim import Claim
from rewarden.certificate.kernel_json import refuse, used
from rewarden.certificate.kernel_program import GRID, INPUT, Affine, Ends, Program
from rewarden.certificate.kernel_proof import MAX_OPEN, Leaf, facts_of, narrowed, neuron_of, slope_of, weight_of
from rewarden.certificate.kernel_shapes import array, within

MAX_SIGNS = 1_000  # above a leaf: each branch that waits holds its own
MAX_ATOMS = 1 << 23  # of a case, times what each of its branches holds


def branches_of(claim: Claim, at: Leaf, node: object) -> list[Leaf]:
    """The children of a branch at a sign or a case."""
    used.add("kernel_steps")
    if len(at.cases) >= MAX_OPEN or len(at.signs) >= MAX_SIGNS:
        refuse("a tree is too deep")
    match node:
        case ["sign", layer, neuron]:
            k, i = (within(0, 1 << 40)(x, "a layer or a neuron") for x in (layer, neuron))  # `plan` has a program
            return [at._replace(signs=(*at.signs, (k, i, side))) for side in (0, 1)]  # z ≥ 0 first
        case ["case", clause]:
            k = within(0, len(claim.clauses) - 1)(clause, "a case's clause")
            if not claim.clauses[k] or len(claim.clauses[k]) * (len(at.low) + len(at.cases)) > MAX_ATOMS:
                refuse("a case on a clause without atoms, or of too many")
            found = []
            for i, atom in enumerate(claim.clauses[k]):
                low, high = narrowed(at.low, at.high, atom, claim.discrete)
                found.append(at._replace(low=low, high=high, cases=(*at.cases, (k, i))))
            return found
        case _:
            refuse("a node must be a cut, a sign, a case or a leaf")


def bound_of(program: Program, entry: object) -> tuple[Side, Fraction]:
    """A bound of a neuron as a fact, and its weight."""
    used.add("kernel_steps")
    match entry:
        case [layer, neuron, side, weight]:
            return (*neuron_of(program, layer, neuron), within(0, 1)(side, "a side")), weight_of(weight)
        case _:
            refuse("a multiplier must name an atom or a neuron's bound, and its weight")


def moves_of(claim: Claim, program: Program, leaf: Leaf, steps: object) -> list[Callable[[Any], bool | None]]:
    """What a leaf does before its bound: bound all layers again, tighten a bound, or choose a line. True: no point."""
    used.add("kernel_steps")
    return [_move(claim, program, leaf, entry) for entry in array(steps, "steps")]


def _move(claim: Claim, program: Program, leaf: Leaf, entry: object) -> Callable[[Any], bool | None]:
    match entry:
        case ["again"]:
            return lambda bounds: bounds.again()
        case [layer, neuron, side, multipliers]:
            at, end = neuron_of(program, layer, neuron, INPUT), within(0, 1)(side, "a side")
            facts, _ = facts_of(claim, program, leaf, array(multipliers, "multipliers"))
            return lambda bounds: bounds.step(*at, end, facts)
        case _:
            where, slope = slope_of(program, entry)
            return lambda bounds: bounds.choose(*where, slope)


class Stepping(Bounds):
    """Bounds that know signs and get better: `signs` are neurons with z ≥ 0 (side 0) or z ≤ 0 (side 1) where the leaf
    speaks."""

    def __init__(
        self,
        program: Program,
        box: Box,
        slopes: Mapping[tuple[int, int], int],
        effort: int = OPEN,
        signs: Collection[Side] = (),
    ) -> None:
        used.add("kernel_steps")
        super().__init__(program, box, slopes, effort)
        self.signs = frozenset(signs)

    def known_at_first(self, index: int) -> Ends:
        low, high = self.intervals(index)
        known = self.inner.get(index, (low, high))
        for k in range(len(low)):
            low[k], high[k] = max(low[k], known[0][k]), min(high[k], known[1][k])
            low[k] = max(low[k], 0) if (index, k, 0) in self.signs else low[k]
            high[k] = min(high[k], 0) if (index, k, 1) in self.signs else high[k]
        return self.program.layers[index].narrowed((low, high), self)

    def add_fact(self, functional: Functional, fact: Affine | Side, weight: Fraction) -> None:
        if isinstance(fact, Affine):
            super().add_fact(functional, fact, weight)
            return
        layer, neuron, side = fact
        self.advance(layer + 1)
        weight = -weight if side else weight  # times z − l, or times z − u
        row = [0] * len(self.program.layers[layer].bias)
        row[neuron] = weight.numerator
        self.through(functional, layer, row, weight.denominator)
        functional.constants.append((-weight.numerator * self.inner[layer][side][neuron], weight.denominator << GRID))

    def again(self) -> None:
        """All layers once more, with what is known by now."""
        self.advance(len(self.program.layers))
        for index in range(len(self.lines)):
            self.add(index)

    def step(self, layer: int, neuron: int, side: int, facts: Facts) -> bool:
        """A better bound of one pre-activation, or of a variable (layer −1): lower (side 0) or upper. Whether the two
        bounds cross now: then the leaf speaks of no point, and numbers grow no further."""
        if layer == INPUT:
            functional = Functional()
            functional.add_row(INPUT, [(-1 if side else 1) * (k == neuron) for k in range(self.program.variables)], 1)
            cell = [[Fraction(x, self.box.bottom) for x in ends] for ends in (self.box.low, self.box.high)]
            better = Fraction(math.floor(self.least(facts, functional) * (1 << GRID)), 1 << GRID) * (-1 if side else 1)
            cell[side][neuron] = min(cell[1][neuron], better) if side else max(cell[0][neuron], better)
            self.box = Box(*cell)
            self.ranges[INPUT] = self.box.coarse
            return self.box.low[neuron] > self.box.high[neuron]
        bound = self.side(layer, neuron, side, facts)
        self.advance(layer + 1)
        self.narrow(layer, neuron, side, bound)
        ends = self.inner[layer]
        for index in range(layer, len(self.lines)):
            self.settle(index)
        return ends[0][neuron] > ends[1][neuron]

    def choose(self, layer: int, neuron: int, slope: int) -> None:
        """The lower line of a neuron, from here on."""
        self.slopes[layer, neuron] = slope
        if layer < len(self.lines):
            self.settle(layer)
