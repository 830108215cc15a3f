"""A program at a point, exactly: the slow and obvious reading, and the judge of every witness.

Rational arithmetic is done in integers over one common denominator per layer: the weights of a layer are dyadic (or,
for call arguments, rational), so a layer is an integer matrix over a denominator, and its output is reduced by one gcd.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd, lcm
from typing import TYPE_CHECKING

import numpy as np

from rewarden.spec_lang.boxes import RowBoxes, apart
from rewarden.spec_lang.claim import Affine, AffineAtom, Box, Claim, Clause
from rewarden.verifier.program import INPUT, Layer, Program

if TYPE_CHECKING:
    from rewarden.verifier.ball_program import BallProgram

Point = tuple[Fraction, ...]
PRECISIONS = (128, 512, 2048)  # bits; what is open beyond stays open


@dataclass(frozen=True, slots=True)
class Values:
    """A vector of rationals over one positive denominator."""

    numerators: tuple[int, ...]
    denominator: int

    def __getitem__(self, index: int) -> Fraction:
        return Fraction(self.numerators[index], self.denominator)

    def __len__(self) -> int:
        return len(self.numerators)

    def fractions(self) -> Point:
        return tuple(Fraction(n, self.denominator) for n in self.numerators)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A point with the exact value of each call of the claim there; or, where rewards are smooth, with a value that is
    off by at most its radius (None: by who knows what). Everything said of atoms is then certain or not said."""

    point: Point
    calls: Point
    radii: tuple[Fraction | None, ...] = ()  # one per call; none where all values are exact
    spread: Mapping[int, Fraction] = field(default_factory=dict)  # of variables that are known to so much

    def margin(self, affine: Affine) -> Fraction:
        """Exact up to `doubt`."""
        total = affine.constant
        for index, coefficient in affine.variables:
            total += coefficient * self.point[index]
        for index, coefficient in affine.calls:
            total += coefficient * self.calls[index]
        return total

    def doubt(self, affine: Affine) -> Fraction | None:
        """How far the margin may be off; None if there is no saying."""
        total = sum((abs(c) * self.spread[i] for i, c in affine.variables if i in self.spread), Fraction(0))
        for index, coefficient in affine.calls if self.radii else ():
            radius = self.radii[index]
            if radius is None:
                return None
            total += abs(coefficient) * radius
        return total

    def holds(self, atom: AffineAtom) -> bool:
        """Certainly true."""
        margin, doubt = self.margin(atom.affine), self.doubt(atom.affine)
        return doubt is not None and (margin > doubt or (margin >= doubt and not atom.strict))

    def fails(self, atom: AffineAtom) -> bool:
        """Certainly false."""
        margin, doubt = self.margin(atom.affine), self.doubt(atom.affine)
        return doubt is not None and (margin < -doubt or (margin <= -doubt and atom.strict))

    def decided(self, claim: Claim) -> bool:
        """Is every atom of the claim true or false for certain?"""
        clauses = (*claim.clauses, *claim.goals)
        return not (self.radii or self.spread) or all(
            self.holds(atom) or self.fails(atom) for clause in clauses for atom in clause
        )

    def any_holds(self, clause: Clause) -> bool:
        return any(self.holds(atom) for atom in clause)

    def premise_holds(self, claim: Claim) -> bool:
        return all(self.any_holds(clause) for clause in claim.clauses) and apart(claim, self.point)

    def failing_goals(self, claim: Claim) -> tuple[int, ...]:
        """The goals that are exactly false here."""
        return tuple(i for i, goal in enumerate(claim.goals) if all(self.fails(atom) for atom in goal))


Row = tuple[tuple[int, ...] | None, tuple[int, ...]]  # columns (None: all of them), integer weights


@dataclass(frozen=True, slots=True)
class _IntegerLayer:
    """`weights / scale` per source and `bias / scale`, in integers."""

    layer: Layer
    blocks: tuple[tuple[int, tuple[Row, ...]], ...]
    bias: tuple[int, ...]
    scale: int
    gate: Fraction | None


class ExactProgram:
    """`program`, prepared once for exact evaluation at many points."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._enclosing = program.curved or bool(program.uncertain)
        self._layers = () if self._enclosing else tuple(_integers(layer) for layer in program.layers)
        self._balls: BallProgram | None = None

    def layers(self, point: Sequence[Fraction]) -> tuple[Values, ...]:
        """The output of each layer (a relu's after its activation) at `point`, one rational per variable. Not for
        smooth rewards."""
        claim = self.program.claim
        assert not self._enclosing, "smooth rewards have no rational values"
        if len(point) != len(claim.variables):
            raise ValueError(f"{len(point)} values for {len(claim.variables)} variables")
        inputs = common(point)
        outputs: list[Values] = []
        for layer in self._layers:
            outputs.append(_apply(layer, inputs, outputs))
        return tuple(outputs)

    def evaluate(self, point: Sequence[Fraction]) -> Evaluation:
        if self._enclosing:
            return self._enclosed(point)
        outputs = self.layers(point)
        return Evaluation(tuple(point), tuple(outputs[k][0] for k in self.program.outputs))

    def _enclosed(self, point: Sequence[Fraction]) -> Evaluation:
        """Calls in intervals, narrower and narrower until every atom of the claim is decided, or patience is out."""
        if self._balls is None:
            from rewarden.verifier.ball_program import BallProgram  # needs python-flint, which only smooth rewards do

            self._balls = BallProgram(self.program)
        claim, uncertain = self.program.claim, self.program.uncertain
        known = {i: claim.boxes[0][i] for i in uncertain}  # the same in every box
        point = tuple((known[i][0] + known[i][1]) / 2 if i in known else x for i, x in enumerate(point))
        spread = {i: (hi - lo) / 2 for i, (lo, hi) in known.items()}
        for bits in PRECISIONS:
            intervals = self._balls.calls(point, bits, known)
            calls = tuple(Fraction(0) if i is None else (i[0] + i[1]) / 2 for i in intervals)
            radii = tuple(None if i is None else (i[1] - i[0]) / 2 for i in intervals)
            evaluation = Evaluation(point, calls, radii, spread)
            if evaluation.decided(claim):
                break
        return evaluation


def box_of(claim: Claim, point: Sequence[Fraction]) -> int | None:
    """The first box of the claim that holds the point, with integers where discrete; None if none does."""
    if any(v.discrete and x.denominator != 1 for v, x in zip(claim.variables, point, strict=True)):
        return None
    if isinstance(claim.boxes, RowBoxes):
        return claim.boxes.holding(point)
    return next((i for i, box in enumerate(claim.boxes) if inside(box, point)), None)


def inside(box: Box, point: Sequence[Fraction]) -> bool:
    return all(lo <= x <= hi for (lo, hi), x in zip(box, point, strict=True))


def common(values: Sequence[Fraction]) -> Values:
    denominator = lcm(*(v.denominator for v in values)) if values else 1
    return Values(tuple(v.numerator * (denominator // v.denominator) for v in values), denominator)


def exact_bias(layer: Layer) -> Point:
    return layer.exact_bias if layer.exact_bias is not None else tuple(Fraction(b) for b in layer.bias.tolist())


def _integers(layer: Layer) -> _IntegerLayer:
    sparse = [_sparse_rows(layer, k) for k in range(len(layer.blocks))]
    bias = exact_bias(layer)
    scale = lcm(1, *(b.denominator for b in bias), *(w.denominator for rows in sparse for row in rows for _, w in row))
    blocks = tuple(
        (block.source, tuple(_integer_row(row, scale, block.weight.shape[1]) for row in rows))
        for block, rows in zip(layer.blocks, sparse, strict=True)
    )
    gate = None if layer.gate is None else Fraction(layer.gate)
    return _IntegerLayer(layer, blocks, tuple(int(b * scale) for b in bias), scale, gate)


def _sparse_rows(layer: Layer, k: int) -> list[list[tuple[int, Fraction]]]:
    block = layer.blocks[k]
    exact = block.exact or {}
    rows: list[list[tuple[int, Fraction]]] = [[] for _ in range(block.weight.shape[0])]
    at, columns = np.nonzero(block.weight)
    for r, c, w in zip(at.tolist(), columns.tolist(), block.weight[at, columns].tolist(), strict=True):
        if (r, c) not in exact:
            rows[r].append((c, Fraction(w)))
    # An exact entry may be so small that its nearest binary64 is 0: it still counts.
    for (r, c), value in exact.items():
        if value != 0:
            rows[r].append((c, value))
    return [sorted(row) for row in rows] if exact else rows


def _integer_row(row: list[tuple[int, Fraction]], scale: int, width: int) -> Row:
    weights = tuple(w.numerator * (scale // w.denominator) for _, w in row)
    return (None if len(row) == width else tuple(c for c, _ in row), weights)


def _apply(prepared: _IntegerLayer, inputs: Values, outputs: Sequence[Values]) -> Values:
    sources = [inputs if s == INPUT else outputs[s] for s, _ in prepared.blocks]
    unit = lcm(1, *(s.denominator for s in sources))
    z = [b * unit for b in prepared.bias]
    for (_, rows), source in zip(prepared.blocks, sources, strict=True):
        factor = unit // source.denominator
        for i, (columns, weights) in enumerate(rows):
            values = source.numerators if columns is None else [source.numerators[c] for c in columns]
            z[i] += factor * sum(map(operator.mul, weights, values))
    match prepared.layer.kind:
        case "relu":
            z = [max(v, 0) for v in z]
        case "gated":
            z = [0 if _is_open(prepared, outputs) else max(v, 0) for v in z]
        case _:
            assert prepared.layer.kind == "linear", "smooth rewards are enclosed"
    return _reduced(z, prepared.scale * unit)


def _is_open(prepared: _IntegerLayer, outputs: Sequence[Values]) -> bool:
    assert prepared.layer.gate_layer is not None
    assert prepared.gate is not None
    rows = outputs[prepared.layer.gate_layer]
    return any(n >= prepared.gate * rows.denominator for n in rows.numerators)


def _reduced(numerators: Sequence[int], denominator: int) -> Values:
    divisor = gcd(denominator, *numerators)
    return Values(tuple(n // divisor for n in numerators), denominator // divisor)
