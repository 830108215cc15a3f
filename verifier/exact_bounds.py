"""The bound of one leaf in rational arithmetic: slow, obvious, and the reference for everything else here.

It follows docs/formats.md "Proof" word for word and shares nothing with the batched engine. Tests hold the engine's
bounds against it; branch and bound asks it about leaves that the floats miss by their own rounding only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor

from rewarden.reward.elementary import extent
from rewarden.spec_lang.claim import Affine, Box, Claim
from rewarden.verifier.facts import FactId
from rewarden.verifier.fusion import SparseRow, expand_linear
from rewarden.verifier.program import INPUT, Layer, Program
from rewarden.verifier.rounding import outward
from rewarden.verifier.smooth_lines import Band, product_extent, product_lines, smooth_lines

CHORD = 2**40  # chords have slopes that are multiples of 1/CHORD, rounded down: any line above relu will do
GRID = 2**64  # bounds of pre-activations are rounded outward to multiples of 1/GRID, as the kernel may
Bounds = tuple[Fraction, Fraction]
Multipliers = tuple[tuple[int, int, Fraction], ...]  # clause, atom, λ > 0


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf of a proof, with rationals for its numbers."""

    goal_atom: int
    multipliers: Multipliers = ()
    slopes: tuple[tuple[int, int, int], ...] = ()  # layer, neuron, k
    tight: tuple[tuple[int, int, int, Multipliers], ...] = ()  # layer, neuron, side, multipliers
    form: int = 0  # 1: about the program with twins (`differences`)


def combination(claim: Claim, goal: int, goal_atom: int, multipliers: Multipliers) -> Affine:
    """Goal atom minus Σ λ·fact; 0 in place of the atom if `goal_atom` is −1."""
    parts: list[tuple[Fraction, Affine]] = []
    if goal_atom >= 0:
        parts.append((Fraction(1), claim.goals[goal][goal_atom].affine))
    parts += [(-factor, claim.clauses[c][a].affine) for c, a, factor in multipliers]
    return weighted_sum(parts)


def weighted_sum(parts: Sequence[tuple[Fraction, Affine]]) -> Affine:
    constant, variables, calls = Fraction(0), dict[int, Fraction](), dict[int, Fraction]()
    for factor, affine in parts:
        constant += factor * affine.constant
        for j, value in affine.variables:
            variables[j] = variables.get(j, Fraction(0)) + factor * value
        for j, value in affine.calls:
            calls[j] = calls.get(j, Fraction(0)) + factor * value
    return Affine(constant, _sorted(variables), _sorted(calls))


def _sorted(coefficients: Mapping[int, Fraction]) -> tuple[tuple[int, Fraction], ...]:
    return tuple((j, coefficients[j]) for j in sorted(coefficients) if coefficients[j])


def leaf_holds(program: Program, goal: int, box: Box, leaf: Leaf, facts: frozenset[FactId]) -> bool:
    """Whether the leaf proves what docs/formats.md says it must; only the `facts` given may be used."""
    claim = program.claim
    used = [(c, a) for c, a, _ in leaf.multipliers] + [(c, a) for *_, ms in leaf.tight for c, a, _ in ms]
    factors = [f for *_, f in leaf.multipliers] + [f for *_, ms in leaf.tight for *_, f in ms]
    if any(f not in facts for f in used) or any(f <= 0 for f in factors):
        return False
    if any(layer.pair is not None for layer in program.layers):
        return False  # twins have no exact bounds here
    try:
        bound = leaf_bound(program, goal, box, leaf)
    except OverflowError:  # a line of a curved layer is not finite
        return False
    strict_fact = any(claim.clauses[c][a].strict for c, a, _ in leaf.multipliers)
    if leaf.goal_atom < 0:
        return bound > 0 or (bound == 0 and strict_fact)
    return bound > 0 or (bound == 0 and (strict_fact or not claim.goals[goal][leaf.goal_atom].strict))


def leaf_bound(program: Program, goal: int, box: Box, leaf: Leaf) -> Fraction:
    affine = combination(program.claim, goal, leaf.goal_atom, leaf.multipliers)
    if not affine.calls:
        return _minimum(dict(affine.variables), affine.constant, box)
    return ExactBounds(program, box, leaf).lower(affine)


class ExactBounds:
    """Exact bounds of every layer of `program` over `box`, with a leaf's slopes and tight entries; `signs` are (layer,
    neuron, side) with z >= 0 (side 0) or z <= 0 (side 1)."""

    def __init__(
        self, program: Program, box: Box, leaf: Leaf, signs: Collection[tuple[int, int, int]] = frozenset()
    ) -> None:
        self.program = program
        self.box = box
        self.signs = signs
        self.coarse = tuple(_on_grid(bounds) for bounds in box)
        self.slopes = {(layer, neuron): Fraction(k, 256) for layer, neuron, k in leaf.slopes}
        self.tight = {(layer, neuron, side): ms for layer, neuron, side, ms in leaf.tight}
        self.bounds: list[tuple[Bounds, ...]] = []  # of pre-activations
        self.outputs: list[tuple[Bounds, ...]] = []
        self.gates: dict[int, str] = {}
        self.bands: dict[int, Band] = {}  # of curved layers
        gate_layers = {layer.gate_layer for layer in program.layers if layer.kind == "gated"}
        for k, layer in enumerate(program.layers):
            self._bound_layer(k, layer, k in gate_layers)

    def lower(self, affine: Affine, held: Sequence[tuple[int, int, int, Fraction]] = ()) -> Fraction:
        """The lower bound of an affine expression over variables and calls, less multiples of z − l (side 0) or u − z
        of neurons `held` (layer, neuron, side, multiple)."""
        row: SparseRow = {INPUT: dict(affine.variables)}
        for call, coefficient in affine.calls:
            target = row.setdefault(self.program.outputs[call], {})
            target[0] = target.get(0, Fraction(0)) + coefficient
        constant = affine.constant
        for layer, neuron, side, multiple in held:
            sign = -1 if side else 1
            constant += expand_linear(self.program.layers[layer], {neuron: -sign * multiple}, row)
            constant += sign * multiple * self.bounds[layer][neuron][side]
        return self._lower(row, constant, len(self.program.layers))

    def _bound_layer(self, k: int, layer: Layer, read_by_gate: bool) -> None:
        bounds = []
        for j in range(layer.rows):
            lo, hi = self._interval(layer, j)
            lo = max(lo, Fraction(0)) if (k, j, 0) in self.signs else lo
            hi = min(hi, Fraction(0)) if (k, j, 1) in self.signs else hi
            if self._is_loose(layer, read_by_gate, lo, hi):
                lo = max(lo, self._pre_activation(k, j, 1, ()))
                if self._is_loose(layer, read_by_gate, lo, hi):  # u only of what l has left open, as a checker has it
                    hi = min(hi, -self._pre_activation(k, j, -1, ()))
            for side, sign in ((0, 1), (1, -1)):
                multipliers = self.tight.get((k, j, side))
                if multipliers:
                    bound = sign * self._pre_activation(k, j, sign, multipliers)
                    lo, hi = (max(lo, bound), hi) if side == 0 else (lo, min(hi, bound))
            bounds.append(_on_grid((lo, hi)))
        self.bounds.append(tuple(bounds))
        self.outputs.append(tuple(bounds) if layer.kind == "linear" else self._activated(k, layer, bounds))

    def _is_loose(self, layer: Layer, read_by_gate: bool, lo: Fraction, hi: Fraction) -> bool:
        if layer.curved:
            return lo < hi
        if layer.kind != "linear":
            return lo < 0 < hi
        return read_by_gate

    def _activated(self, k: int, layer: Layer, bounds: Sequence[Bounds]) -> tuple[Bounds, ...]:
        if layer.curved:
            return self._bent(k, layer, bounds)
        zero = Fraction(0)
        outputs = [(max(lo, zero), max(hi, zero)) for lo, hi in bounds]
        if layer.gate_layer is None:
            return tuple(outputs)
        assert layer.gate is not None
        rows, gate = self.bounds[layer.gate_layer], Fraction(layer.gate)
        if any(lo >= gate for lo, _ in rows):
            self.gates[k] = "open"
            return tuple((zero, zero) for _ in outputs)
        if all(hi < gate for _, hi in rows):
            self.gates[k] = "closed"
            return tuple(outputs)
        self.gates[k] = "either"
        return tuple((zero, hi) for _, hi in outputs)

    def _bent(self, k: int, layer: Layer, bounds: Sequence[Bounds]) -> tuple[Bounds, ...]:
        """Curved layers have no exact arithmetic: their lines and ranges are the engine's own, over bounds rounded
        outward. What matters here is that coefficients on them cancel exactly."""
        lo, hi = (side[None, :] for side in outward(bounds))
        if layer.function is None:
            self.bands[k], (least, most) = product_lines(lo, hi), product_extent(lo, hi)
        else:
            self.bands[k], (least, most) = smooth_lines(layer.function, lo, hi), extent(layer.function, lo, hi)
        ends = zip(least[0].tolist(), most[0].tolist(), strict=True)
        return tuple((_rational(low), _rational(high)) for low, high in ends)

    def _bent_lines(self, k: int, coefficients: Mapping[int, Fraction]) -> tuple[dict[int, Fraction], Fraction]:
        """Coefficients on outputs of curved layer k as coefficients on its pre-activations, and what intercepts add."""
        layer, band = self.program.layers[k], self.bands[k]
        replaced, constant = dict[int, Fraction](), Fraction(0)
        for j, a in coefficients.items():
            slopes, intercepts = (band.lower, band.below) if a > 0 else (band.upper, band.above)
            constant += a * _rational(float(intercepts[0, j]))
            for row in range(j, layer.rows, layer.width):
                replaced[row] = a * _rational(float(slopes[0, row]))
        return replaced, constant

    def _interval(self, layer: Layer, j: int) -> Bounds:
        row: SparseRow = {}
        lo = hi = expand_linear(layer, {j: Fraction(1)}, row)
        for source, columns in row.items():
            ranges = self.coarse if source == INPUT else self.outputs[source]
            for column, w in columns.items():
                ends = (w * ranges[column][0], w * ranges[column][1])
                lo, hi = lo + min(ends), hi + max(ends)
        return lo, hi

    def _pre_activation(self, k: int, j: int, sign: int, multipliers: Multipliers) -> Fraction:
        """Lower bound of sign·z − Σ λ·fact for neuron j of layer k."""
        row: SparseRow = {}
        constant = expand_linear(self.program.layers[k], {j: Fraction(sign)}, row)
        target = row.setdefault(INPUT, {})
        for clause, atom, factor in multipliers:
            fact = self.program.claim.clauses[clause][atom].affine
            if fact.calls:
                raise ValueError("facts of tight entries hold variables only")
            constant -= factor * fact.constant
            for variable, value in fact.variables:
                target[variable] = target.get(variable, Fraction(0)) - factor * value
        return self._lower(row, constant, k)

    def _lower(self, row: SparseRow, constant: Fraction, before: int) -> Fraction:
        """Back-substitution of Σ row·v + constant from layer `before` − 1 to the variables."""
        for k in range(before - 1, -1, -1):
            coefficients = {j: a for j, a in row.pop(k, {}).items() if a}
            if not coefficients:
                continue
            layer = self.program.layers[k]
            if layer.curved:
                coefficients, more = self._bent_lines(k, coefficients)
                constant += more
            elif layer.kind != "linear":
                replaced: dict[int, Fraction] = {}
                for j, a in coefficients.items():
                    slope, intercept = self._line(k, j, a > 0)
                    constant += a * intercept
                    if slope:
                        replaced[j] = a * slope
                coefficients = replaced
            constant += expand_linear(layer, coefficients, row)
        return _minimum(row.get(INPUT, {}), constant, self.box)

    def _line(self, k: int, j: int, lower: bool) -> tuple[Fraction, Fraction]:
        """Slope and intercept of the line that replaces neuron j of layer k."""
        lo, hi = self.bounds[k][j]
        zero, one = Fraction(0), Fraction(1)
        gate = self.gates.get(k)
        if gate == "open" or lo < 0 >= hi:
            return zero, zero
        if gate == "either" and lower:
            return zero, zero
        if lo >= 0:
            return one, zero
        if lower:
            default = one if gate == "closed" or hi > -lo else zero
            return self.slopes.get((k, j), default), zero
        slope = Fraction(floor(hi / (hi - lo) * CHORD), CHORD)
        return slope, max(-slope * lo, (1 - slope) * hi)


def _rational(value: float) -> Fraction:
    """OverflowError where it is not a number, either."""
    if value != value:
        raise OverflowError
    return Fraction(value)


def _on_grid(bounds: Bounds) -> Bounds:
    """Rounded outward to the certificate kernel's grid: a leaf that holds by less than that would convince no one."""
    lo, hi = bounds
    return Fraction(floor(lo * GRID), GRID), Fraction(-floor(-hi * GRID), GRID)


def _minimum(coefficients: Mapping[int, Fraction], constant: Fraction, box: Box) -> Fraction:
    return constant + sum((a * (box[j][0] if a > 0 else box[j][1]) for j, a in coefficients.items()), start=Fraction(0))
