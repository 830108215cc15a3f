"""Random programs built by hand, harsher than any artifact: huge and tiny weights, DAGs, gates, rational entries."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from rewarden.spec_lang.claim import Affine, AffineAtom, Box, Claim, ClaimCall, ClaimVariable, Clause
from rewarden.verifier.program import INPUT, Block, Layer, Program

SCALES = (1.0, 1.0, 1.0, 2.0**-30, 2.0**40, 1e-300, 1e30)


def claim_over(
    boxes: tuple[Box, ...],
    goals: tuple[Clause, ...],
    clauses: tuple[Clause, ...] = (),
    *,
    calls: int = 1,
    discrete: tuple[int, ...] = (),
) -> Claim:
    """A claim whose calls are the program's outputs; their arguments are never looked at."""
    variables = tuple(ClaimVariable(f"x{j}", None, j in discrete) for j in range(len(boxes[0])))
    return Claim("rule", "must", variables, (), (), (ClaimCall("R", ()),) * calls, clauses, goals, boxes)


Entries = dict[int, object] | None


def form(constant: object = 0, variables: Entries = None, calls: Entries = None) -> Affine:
    """An affine form from plain numbers."""

    def entries(terms: Entries) -> tuple[tuple[int, Fraction], ...]:
        return tuple((j, Fraction(c)) for j, c in sorted((terms or {}).items()) if Fraction(c) != 0)

    return Affine(Fraction(constant), entries(variables), entries(calls))


def atom(constant: object = 0, variables=None, calls=None, *, strict: bool = False) -> AffineAtom:
    return AffineAtom(form(constant, variables, calls), strict)


def random_weights(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> np.ndarray:
    weights = rng.normal(size=shape) * scale
    weights[rng.random(shape) < 0.2] = 0.0
    return np.where(rng.random(shape) < 0.1, np.round(weights), weights)


def random_box(rng: np.random.Generator, variables: int) -> Box:
    """Rational, float and degenerate bounds."""
    sides = []
    for _ in range(variables):
        lo = Fraction(int(rng.integers(-9, 9)), int(rng.choice([1, 3, 7, 8])))
        kind = rng.integers(4)
        width = Fraction(0) if kind == 0 else Fraction(float(rng.random())) if kind == 1 else Fraction(int(kind), 3)
        sides.append((lo, lo + width))
    return tuple(sides)


class _Maker:
    """Mutable: the layers so far."""

    def __init__(self, rng: np.random.Generator, variables: int, harsh: bool) -> None:
        self.rng, self.variables, self.harsh = rng, variables, harsh
        self.layers: list[Layer] = []

    def width(self, source: int) -> int:
        return self.variables if source == INPUT else self.layers[source].width

    def block(self, source: int, width: int) -> Block:
        scale = float(self.rng.choice(SCALES)) if self.harsh else 1.0
        weight = random_weights(self.rng, (width, self.width(source)), scale)
        if self.rng.random() < 0.2 and weight.size:
            row, column = int(self.rng.integers(width)), int(self.rng.integers(weight.shape[1]))
            value = Fraction(int(self.rng.integers(-5, 6)), 7)
            weight[row, column] = float(value)
            return Block(source, weight, {(row, column): value} if Fraction(float(value)) != value else None)
        return Block(source, weight)

    def add(self, kind: str, sources: tuple[int, ...], width: int, **gate: object) -> int:
        blocks = tuple(self.block(s, width) for s in dict.fromkeys(sources))
        self.layers.append(Layer(kind, blocks, random_weights(self.rng, (width,), 0.5), **gate))  # type: ignore[arg-type]
        return len(self.layers) - 1

    def any_source(self) -> int:
        return int(self.rng.integers(-1, len(self.layers)))

    def gated(self) -> int:
        rows = self.add("linear", (INPUT,), 2)
        gate = float(self.rng.normal())
        return self.add("gated", (self.any_source(),), 1, gate_layer=rows, gate=gate)


def random_program(rng: np.random.Generator, *, harsh: bool = False, layers: int = 5) -> Program:
    """A program with one call over one box and the goal that its output is at least 0."""
    box = random_box(rng, int(rng.integers(1, 4)))
    maker = _Maker(rng, len(box), harsh)
    for _ in range(int(rng.integers(1, layers + 1))):
        kind = str(rng.choice(["linear", "relu", "relu", "relu", "gated"]))
        if kind == "gated":
            maker.gated()
        else:
            maker.add(kind, (maker.any_source(), maker.any_source()), int(rng.integers(1, 5)))
    sources = (len(maker.layers) - 1, maker.any_source(), maker.any_source())
    out = maker.add("linear", sources, 1)
    return Program(claim_over((box,), ((atom(calls={0: 1}),),)), tuple(maker.layers), (out,))


def points_of(rng: np.random.Generator, box: Box, count: int) -> list[tuple[Fraction, ...]]:
    """Corners and points between, exactly inside."""

    def share() -> Fraction:
        return Fraction(int(rng.choice([0, 0, 16, 16, 8, rng.integers(17)])), 16)

    return [tuple(lo + share() * (hi - lo) for lo, hi in box) for _ in range(count)]
