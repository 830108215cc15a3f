"""The float64 tier, what it reads: programs, forms and boxes in binary64, and the few ways in which it rounds.

Every number here is the exact one rounded once, or rounded outward where that is said. What is charged for it, and for
what is computed from it, is in `tier_float64_bounds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewarden.certificate.kernel_bounds import Box
from rewarden.certificate.kernel_json import refuse
from rewarden.certificate.kernel_patches import Gated, Region
from rewarden.certificate.kernel_program import INPUT, MAX_LAYERS, Affine, Block, Layer, Program
from rewarden.certificate.kernel_twins import CHORD, ON, Twin

TINY = 2.0**-960  # more than all underflows of a bound together, relative to what they are multiplied with
UP, DOWN = 1 + 2.0**-49, 1 - 2.0**-49  # more than a few roundings
MAX_DENSE = 1 << 24  # entries of all matrices together
MAX_FORMS = 10_000
Vector = NDArray[np.float64]
Flags = NDArray[np.bool_]
Places = NDArray[np.intp]


def eps(n: int) -> float:
    """More than twice γ of n + 14 operations (see `tier_float64_bounds`)."""
    return (n + 14) * 2.0**-51


class FloatBlock(NamedTuple):
    source: int
    weights: Vector  # m × n, or the diagonal


class FloatLayer(NamedTuple):
    kind: str
    blocks: tuple[FloatBlock, ...]
    bias: Vector
    region: bool
    pair: tuple[int, int] | None
    gate_layer: int
    gate: tuple[float, float]  # around the threshold


class Form(NamedTuple):
    """constant + Σ entries·source: an atom, over what computes it."""

    constant: float
    parts: tuple[tuple[int, tuple[int, ...], tuple[float, ...]], ...]  # source, places, entries


# ── programs ───────────────────────────────────────────────────────────────────────────────────
_known: dict[int, tuple[Program, list[FloatLayer]]] = {}
_made: dict[int, tuple[Layer, FloatLayer]] = {}  # programs of the boxes of a claim have most of their layers in common
_entries = [0]  # of the matrices in `_made`


def layers_of(program: Program) -> list[FloatLayer]:
    """The layers in binary64, made once per program."""
    if id(program) not in _known:
        if len(_known) >= 4:
            _known.clear()
        dense = sum(len(b.rows) * len(b.columns) for layer in program.layers for b in layer.blocks if not _diagonal(b))
        if dense > MAX_DENSE:
            refuse("the program is too large for the float64 tier")
        if len(_made) > MAX_LAYERS or _entries[0] > MAX_DENSE:
            _made.clear()
            _entries[0] = 0
        _known[id(program)] = program, [_layer(layer) for layer in program.layers]
    return _known[id(program)][1]


def _layer(layer: Layer) -> FloatLayer:
    if id(layer) not in _made:
        blocks = tuple(FloatBlock(b.source, _matrix(b, layer.bottom)) for b in layer.blocks)
        bias = np.array([b / layer.bottom for b in layer.bias])
        _entries[0] += sum(block.weights.size for block in blocks)
        pair = layer.pair if isinstance(layer, Twin) else None
        gate = (layer.gate_layer, _around(*layer.gate)) if isinstance(layer, Gated) else (INPUT, (0.0, 0.0))
        _made[id(layer)] = layer, FloatLayer(layer.kind, blocks, bias, isinstance(layer, Region), pair, *gate)
    return _made[id(layer)][1]


def _diagonal(block: Block) -> bool:
    return len(block.rows) == len(block.columns) and all(row.keys() <= {k} for k, row in enumerate(block.rows))


def _matrix(block: Block, bottom: int) -> Vector:
    if _diagonal(block):
        return np.array([row.get(k, 0) / bottom for k, row in enumerate(block.rows)])
    found = np.zeros((len(block.rows), len(block.columns)))
    for k, row in enumerate(block.rows):
        if row:
            found[k, list(row)] = [w / bottom for w in row.values()]  # integer / integer is rounded once
    return found


_forms: dict[tuple[int, int], tuple[Affine, Program, Form]] = {}


def form_of(program: Program, affine: Affine) -> Form:
    """An atom's form, made once."""
    key = id(affine), id(program)
    if key not in _forms:
        if len(_forms) >= MAX_FORMS:
            _forms.clear()
        parts = [(program.outputs[call], (0,), (x / affine.bottom,)) for call, x in affine.calls]
        if affine.variables:
            names, entries = zip(*affine.variables, strict=True)
            parts.append((INPUT, names, tuple(x / affine.bottom for x in entries)))
        _forms[key] = affine, program, Form(affine.constant / affine.bottom, tuple(parts))
    return _forms[key][2]


# ── boxes, and numbers between which others lie ─────────────────────────────────────────────────
def ends_of(boxes: Sequence[Box]) -> tuple[Vector, Vector]:
    """Leaf × variable: outside the boxes, or at their very ends."""
    low = np.array([[_beside(x, box.bottom, -1) for x in box.low] for box in boxes])
    return low, np.array([[_beside(x, box.bottom, 1) for x in box.high] for box in boxes])


def _beside(number: int, bottom: int, side: int) -> float:
    """A binary64 number that is number / bottom, or next to it on that side."""
    x = number / bottom
    top, below = x.as_integer_ratio()
    return x if top * bottom == number * below else float(np.nextafter(x, side * np.inf))


def _around(number: int, bottom: int) -> tuple[float, float]:
    return _beside(number, bottom, -1), _beside(number, bottom, 1)


# ── rounded outward ────────────────────────────────────────────────────────────────────────────
def up(x: Vector) -> Vector:
    return x + 2.0**-50 * np.abs(x) + TINY


def down(x: Vector) -> Vector:
    return x - 2.0**-50 * np.abs(x) - TINY


def chord(low: Vector, high: Vector) -> tuple[Vector, Vector]:
    """s ≤ u / (u − l), and t ≥ u − s·u; where l < 0 < u. So small a slope that it may have been rounded up is none."""
    slope = np.where((low < 0) & (high > 0), high / (high - low) * DOWN, 0.0)
    slope = np.where(slope < TINY, 0.0, slope)
    return slope, high * (1 - slope) * UP + TINY


def twin_line(low: Vector, high: Vector, rise: Vector, top: Vector, chosen: Places) -> tuple[Vector, Vector]:
    """(s, t) with v ≤ s·d + t: `kernel_twins.line`."""
    slope, shift = chord(low, high)
    flat = (low >= 0) | (high <= 0)
    slope, shift = np.where(flat, (low >= 0) * 1.0, slope), np.where(flat, 0.0, shift)
    cut, on = chosen == CHORD, chosen == ON
    return np.where(cut, slope, on * 1.0), np.where(cut, shift, np.where(on, rise, top))
