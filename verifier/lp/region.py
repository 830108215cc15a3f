"""A part of a claim, laid out for linear programs.

Neurons are those that the part's rows read, numbered through; linear layers are fused away (`fusion`). A top row is an
affine function over inputs and neurons that is at most 0 at every violation: facts, the negated goal, and, switched on
where a case has been decided, an atom of a clause or what a gate needs. Everything is known up to its conversion error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from rewarden.spec_lang.claim import Affine, Box
from rewarden.verifier.backsub import Engine
from rewarden.verifier.box_minimum import Boxes
from rewarden.verifier.engines.interface import Part
from rewarden.verifier.fusion import SparseRow, Term, expand_linear, functional_row, functional_rows, fuse
from rewarden.verifier.narrowing import narrowed, single_atoms
from rewarden.verifier.program import INPUT, Program
from rewarden.verifier.rounding import INFLATE, TINY, UNIT, outward

Array = NDArray[np.float64]
Phases = NDArray[np.int8]
ExactRow = tuple[SparseRow, Fraction]

# What is known of a neuron: y is 0 and z <= 0; either; y = z >= 0; 0 <= y <= max(z, 0), by a gate; y is 0, by a gate.
OFF, EITHER, ON, LOOSE, SHUT = -1, 0, 1, 2, 3

LARGEST_WHOLE = 2.0**52  # beyond, the next whole number may have no binary64 value, and a cut would lose it


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """Rows over sources: the variables (INPUT) and neurons of layers."""

    terms: dict[int, tuple[Array, Array, Array]]  # source → weight, |weight|, and a bound of what it is off
    bias: Array
    bias_error: Array

    @staticmethod
    def of(terms: dict[int, Term], bias: Array, bias_error: Array) -> Maps:
        return Maps({s: (t.weight, np.abs(t.weight), t.error) for s, t in terms.items()}, bias, bias_error)


@dataclass(frozen=True, slots=True)
class Option:
    """One way to decide a case: rows that hold then, and what becomes of the gated layer (None: no gate)."""

    rows: tuple[int, ...]
    layer: int | None = None
    is_open: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What all parts of one goal share. `layers`: those with neurons, in order; `first[k]`: the number of the first of
    them. `soft` rows are the negated goal's. `always`: rows that hold without a decision."""

    program: Program
    layers: tuple[int, ...]
    first: dict[int, int]
    spans: dict[int, slice]
    neurons: int
    maps: dict[int, Maps]
    top: Maps
    exact_top: tuple[ExactRow, ...]
    strict: NDArray[np.bool_]
    soft: NDArray[np.bool_]
    always: tuple[int, ...]
    atom_rows: dict[tuple[int, int], int]  # (clause, atom) → its row
    gate_rows: dict[int, tuple[tuple[int, ...], tuple[int, ...]]]  # layer → rows of a closed gate, of open ones
    exact_neurons: dict[tuple[int, int], ExactRow] = field(default_factory=dict)  # filled as asked for

    def exact_neuron(self, layer: int, j: int) -> ExactRow:
        """A pre-activation over the variables and neurons, in rationals."""
        if (layer, j) not in self.exact_neurons:
            row: SparseRow = {}
            constant = expand_linear(self.program.layers[layer], {j: Fraction(1)}, row)
            self.exact_neurons[layer, j] = _fused(self.program, row, constant)
        return self.exact_neurons[layer, j]


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """One part: its exact cell, and for each neuron bounds of its pre-activation and its output, [neuron]."""

    frame: Frame
    part: Part
    cell: Box
    lo: Array
    hi: Array
    most: Array
    stable: Phases  # what is so all over the cell, violation or not
    cases: tuple[tuple[Option, ...], ...]
    size: dict[int, Array]  # source → bounds of |v|
    mass: float  # magnitudes that may multiply an underflow

    @property
    def finite(self) -> bool:
        """Numbers beyond binary64 have met with infinities; whole ones that cannot be told apart count as that, too."""
        return bool(np.isfinite(self.mass))


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """What has been decided: phases of neurons, rows that hold, cases, and the box of the variables."""

    phase: Phases
    on: NDArray[np.bool_]
    lo: Array
    hi: Array
    decided: frozenset[int]
    share: float


# ── the frame ──────────────────────────────────────────────────────────────────────────────────
def frame_of(program: Program, goal: int) -> Frame:
    claim = program.claim
    affines, strict, soft, always = list[Affine](), list[bool](), list[bool](), list[int]()
    atom_rows: dict[tuple[int, int], int] = {}
    for atom in claim.goals[goal]:  # violated: at most 0, and below it unless the goal is strict
        always.append(len(affines))
        affines.append(atom.affine)
        strict.append(not atom.strict)
        soft.append(True)
    for c, clause in enumerate(claim.clauses):
        for a, atom in enumerate(clause):
            atom_rows[c, a] = len(affines)
            affines.append(_negative(atom.affine))
            strict.append(atom.strict)
            soft.append(False)
    exact = [functional_row(program, affine) for affine in affines]
    layers = _read(program, exact)
    fused = fuse(program)
    rows = functional_rows(program, affines)
    terms = dict(rows.terms)
    bias, bias_error = rows.bias, rows.bias_error
    gate_rows: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {}
    for k in layers:
        layer = program.layers[k]
        if layer.gate_layer is None:
            continue
        assert layer.gate is not None
        gate, count = layer.gate, program.layers[layer.gate_layer].width
        below = fused[layer.gate_layer]
        start = len(bias)
        for sign in (1.0, -1.0):  # closed: each entry below the gate; open: one of them not
            terms = _stacked(terms, {s: Term(sign * t.weight, t.error) for s, t in below.terms.items()}, len(bias))
            shifted = sign * (below.bias - gate)
            bias = np.concatenate((bias, shifted))
            error = (below.bias_error + UNIT * np.abs(shifted)) * INFLATE + TINY
            bias_error = np.concatenate((bias_error, error))
            strict += [sign > 0] * count
            soft += [False] * count
            for j in range(count):
                row: SparseRow = {}
                constant = expand_linear(program.layers[layer.gate_layer], {j: Fraction(1)}, row)
                over, constant = _fused(program, row, constant - Fraction(gate))
                factor = Fraction(int(sign))
                exact.append(({s: {i: factor * v for i, v in t.items()} for s, t in over.items()}, factor * constant))
        gate_rows[k] = tuple(range(start, start + count)), tuple(range(start + count, start + 2 * count))
    first, total = {}, 0
    for k in layers:
        first[k] = total
        total += program.layers[k].width
    spans = {k: slice(first[k], first[k] + program.layers[k].width) for k in layers}
    maps = {k: Maps.of(fused[k].terms, fused[k].bias, fused[k].bias_error) for k in layers}
    return Frame(
        program, layers, first, spans, total, maps, Maps.of(terms, bias, bias_error), tuple(exact),
        np.array(strict, dtype=np.bool_), np.array(soft, dtype=np.bool_), tuple(always), atom_rows, gate_rows,
    )  # fmt: skip


def _stacked(terms: dict[int, Term], more: dict[int, Term], before: int) -> dict[int, Term]:
    """`before` rows, then some more, over the sources of both."""
    count = next(t.weight.shape[0] for t in more.values()) if more else 0
    out = {}
    for source in sorted({*terms, *more}):
        pair = [terms.get(source), more.get(source)]
        width = next(t.weight.shape[1] for t in pair if t is not None)
        shapes = ((before, width), (count, width))
        weight = [np.zeros(shape) if t is None else t.weight for t, shape in zip(pair, shapes, strict=True)]
        error = [np.zeros(shape) if t is None else t.error for t, shape in zip(pair, shapes, strict=True)]
        out[source] = Term(np.concatenate(weight), np.concatenate(error))
    return out


def _read(program: Program, rows: Sequence[ExactRow]) -> tuple[int, ...]:
    """The layers with neurons that the rows read, by way of others or of gates, in order."""
    seen: set[int] = set()
    stack = [source for row, _ in rows for source in row]
    while stack:
        k = stack.pop()
        if k == INPUT or k in seen:
            continue
        seen.add(k)
        layer = program.layers[k]
        stack.extend(block.source for block in layer.blocks)
        if layer.gate_layer is not None:
            stack.append(layer.gate_layer)
    return tuple(k for k in sorted(seen) if program.layers[k].kind != "linear")


def _fused(program: Program, row: SparseRow, constant: Fraction) -> ExactRow:
    """The same over the variables and neurons alone."""
    for index in range(len(program.layers) - 1, -1, -1):
        if index in row and program.layers[index].kind == "linear":
            coefficients = {j: a for j, a in row.pop(index).items() if a}
            constant += expand_linear(program.layers[index], coefficients, row)
    kept = {s: {j: a for j, a in columns.items() if a} for s, columns in row.items()}
    return {s: columns for s, columns in kept.items() if columns}, constant


def _negative(affine: Affine) -> Affine:
    return Affine(
        -affine.constant, tuple((j, -v) for j, v in affine.variables), tuple((j, -v) for j, v in affine.calls)
    )


# ── one part ───────────────────────────────────────────────────────────────────────────────────
def region_of(frame: Frame, engine: Engine, part: Part) -> tuple[Region, Node] | None:
    """The region and its root; None if no point of the part satisfies the facts on single variables."""
    program, claim = frame.program, frame.program.claim
    discrete = [v.discrete for v in claim.variables]
    facts = [*single_atoms(claim.clauses), *(claim.clauses[c][a] for c, a in part.facts)]
    cell = narrowed(part.box, facts, discrete)
    if cell is None:
        return None
    lo, hi = outward(cell)
    lo, hi = np.where(discrete, np.ceil(lo), lo), np.where(discrete, np.floor(hi), hi)
    if (lo > hi).any():
        return None
    cell = tuple(
        (Fraction(a), Fraction(b)) if whole else bounds
        for a, b, whole, bounds in zip(lo.tolist(), hi.tolist(), discrete, cell, strict=True)
    )
    with torch.no_grad():
        sweep = engine.intermediate(Boxes(torch.from_numpy(lo)[None], torch.from_numpy(hi)[None]), None, {})
    known = frame.neurons
    z_lo, z_hi, most, phase = np.zeros(known), np.zeros(known), np.zeros(known), np.zeros(known, dtype=np.int8)
    on = np.zeros(len(frame.strict), dtype=np.bool_)
    on[list(frame.always)] = True
    cases: list[tuple[Option, ...]] = []
    for k in frame.layers:
        at, layer = frame.spans[k], program.layers[k]
        z_lo[at], z_hi[at] = sweep.lo[k][0].numpy(), sweep.hi[k][0].numpy()
        most[at] = np.maximum(z_hi[at], 0.0)
        phase[at] = signs(z_lo[at], z_hi[at])
        if layer.gate_layer is None:
            continue
        gate_lo, gate_hi = sweep.lo[layer.gate_layer][0].numpy(), sweep.hi[layer.gate_layer][0].numpy()
        closed, opened = frame.gate_rows[k]
        if (gate_lo >= layer.gate).any():
            phase[at] = SHUT
        elif not (gate_hi < layer.gate).all() and (phase[at] != OFF).any():
            phase[at] = np.where(phase[at] == OFF, SHUT, LOOSE)
            cases.append((Option(closed, k), *(Option((row,), k, True) for row in opened)))
    chosen = {c for c, _ in part.facts}
    for fact in part.facts:
        on[frame.atom_rows[fact]] = True
    for c, clause in enumerate(claim.clauses):
        if len(clause) == 1:
            on[frame.atom_rows[c, 0]] = True
        elif c not in chosen:
            cases.append(tuple(Option((frame.atom_rows[c, a],)) for a in range(len(clause))))
    size = {INPUT: np.maximum(np.abs(lo), np.abs(hi)), **{k: most[at] for k, at in frame.spans.items()}}
    mass = _mass(frame, size, z_lo, z_hi)
    if (size[INPUT][discrete] > LARGEST_WHOLE).any():
        mass = np.inf
    region = Region(frame, part, cell, z_lo, z_hi, most, signs(z_lo, z_hi), tuple(cases), size, mass)
    return region, Node(phase, on, lo, hi, frozenset(), 1.0)


def _mass(frame: Frame, size: dict[int, Array], lo: Array, hi: Array) -> float:
    mass = 1.0 + sum(float(s.sum()) for s in size.values()) + float(np.maximum(np.abs(lo), np.abs(hi)).sum())
    for maps in (*frame.maps.values(), frame.top):
        mass += float(np.abs(maps.bias).sum())
        mass += sum(float((weight @ size[source]).sum()) for source, (_, weight, _) in maps.terms.items())
    return mass


def signs(lo: Array, hi: Array) -> Phases:
    """What bounds of pre-activations say of relus."""
    return np.where(lo >= 0, ON, np.where(hi <= 0, OFF, EITHER)).astype(np.int8)


def values(region: Region, point: Array, outputs: Array) -> Array:
    """Pre-activations from given values of variables and neurons, [neuron]: a float, with nothing said of its error."""
    z = np.zeros(region.frame.neurons)
    for k in region.frame.layers:
        maps = region.frame.maps[k]
        z[region.frame.spans[k]] = maps.bias + _applied(region.frame, maps, point, outputs)
    return z


def top_values(region: Region, point: Array, outputs: Array) -> Array:
    top = region.frame.top
    return top.bias + _applied(region.frame, top, point, outputs)


def _applied(frame: Frame, maps: Maps, point: Array, outputs: Array) -> Array:
    total = np.zeros(len(maps.bias))
    for source, (weight, _, _) in maps.terms.items():
        total = total + weight @ (point if source == INPUT else outputs[frame.spans[source]])
    return total
