"""The float64 tier: the kernel's leaves bounded in binary64 with numpy, every rounding accounted for.

What is read, walked and replayed stays the kernel's, in exact arithmetic; only `Bounds` is done again here, whole
layers at a time. What is true of the numbers, at every point x of which a leaf speaks:

- `ranges` and `inner` hold: low ≤ value ≤ high. Each was rounded outward by more than it can be wrong.
- A batch of functionals is (rows, constant, error), numbers of binary64 taken as exact: the functional that is meant is
  at least constant + Σ row·source − error. Each operation adds to `error` more than it can be wrong by.
- A sum of n products, in any order and with or without fused operations, is wrong by at most γₙ·Σ|products| (Higham,
  Accuracy and Stability, 3.1), γₙ = n·u / (1 − n·u), u = 2⁻⁵³, and by less than TINY for what underflows. `_eps`
  charges more than twice γ for n + 14 operations: for weights rounded to binary64, for the product of a coefficient
  with a slope, for sums with what other layers have given; and the errors' own sums are wrong by less than half.
- A coefficient that is wrong by e is wrong by e·|v| about a source v, and |v| is bounded by its range: so errors are
  charged as |row| · (|W|·|v| + |b|), a product of the row with what is known of the layer (`reach`).
- Slopes are binary64 numbers; intercepts are rounded up until the line is above (below) the function at both ends.

Whatever is not finite settles nothing. A leaf that is not settled here is checked by the kernel in exact integers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewarden.certificate.kernel_bounds import Box, Facts, Side
from rewarden.certificate.kernel_claim import Claim
from rewarden.certificate.kernel_json import Refused, refuse
from rewarden.certificate.kernel_patches import Gated, Region
from rewarden.certificate.kernel_program import INPUT, MAX_LAYERS, SLOPES, Affine, Block, Layer, Program
from rewarden.certificate.kernel_proof import WAYS, Leaf, Plan, check_leaf, check_leaves, plan
from rewarden.certificate.kernel_twins import CHORD, OFF, ON, Twin

NAME = "float64 with rigorous error terms (numpy), and exact integers where those leave a leaf open"
TINY = 2.0**-960  # more than all underflows of a bound together, relative to what they are multiplied with
UP, DOWN = 1 + 2.0**-49, 1 - 2.0**-49  # more than a few roundings
MAX_DENSE = 1 << 24  # entries of all matrices together, and of what is substituted at a time
Vector = NDArray[np.float64]


class _Block(NamedTuple):
    source: int
    weights: Vector  # m × n, or the diagonal


class _Layer(NamedTuple):
    kind: str
    blocks: tuple[_Block, ...]
    bias: Vector
    region: bool
    pair: tuple[int, int] | None
    gate_layer: int
    gate: tuple[float, float]  # around the threshold


class _Form(NamedTuple):
    """(constant + Σ entries·source) / bottom: an atom, a neuron's z or a variable, over what computes it."""

    constant: int
    parts: Sequence[tuple[int, dict[int, int]]]  # source, its entries
    bottom: int


def _form(program: Program, affine: Affine) -> _Form:
    calls = [(program.outputs[call], {0: x}) for call, x in affine.calls]
    return _Form(affine.constant, [(INPUT, dict(affine.variables)), *calls], affine.bottom)


def _neuron(program: Program, index: int, k: int) -> _Form:
    if index == INPUT:
        return _Form(0, [(INPUT, {k: 1})], 1)
    layer = program.layers[index]
    return _Form(layer.bias[k], [(block.source, block.rows[k]) for block in layer.blocks], layer.bottom)


class _Lines(NamedTuple):
    """lower·z − drop ≤ output ≤ upper·z + shift."""

    lower: Vector
    drop: Vector
    upper: Vector
    shift: Vector


def _eps(n: int) -> float:
    return (n + 14) * 2.0**-51


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


def _around(number: int, bottom: int) -> tuple[float, float]:
    x = number / bottom
    if Fraction(x) == Fraction(number, bottom):
        return x, x
    return float(np.nextafter(x, -np.inf)), float(np.nextafter(x, np.inf))


_known: dict[int, tuple[Program, list[_Layer]]] = {}
_made: dict[int, tuple[Layer, _Layer]] = {}  # programs of the boxes of a claim have most of their layers in common
_entries = [0]  # of the matrices in `_made`


def _layers(program: Program) -> list[_Layer]:
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


def _layer(layer: Layer) -> _Layer:
    if id(layer) not in _made:
        blocks = tuple(_Block(b.source, _matrix(b, layer.bottom)) for b in layer.blocks)
        bias = np.array([b / layer.bottom for b in layer.bias])
        _entries[0] += sum(block.weights.size for block in blocks)
        pair = layer.pair if isinstance(layer, Twin) else None
        gate = (layer.gate_layer, _around(*layer.gate)) if isinstance(layer, Gated) else (INPUT, (0.0, 0.0))
        _made[id(layer)] = layer, _Layer(layer.kind, blocks, bias, isinstance(layer, Region), pair, *gate)
    return _made[id(layer)][1]


class _Batch:
    """Functionals, a number for each leaf: arrays are leaf × functional (× entry); see the invariant above."""

    def __init__(self, leaves: int, count: int) -> None:
        self.rows: dict[int, Vector] = {}
        self.constant, self.error = np.zeros((leaves, count)), np.full((leaves, count), TINY)

    def add_constant(self, found: Vector, error: Vector) -> None:
        self.constant = self.constant + found
        self.error = self.error + error + _eps(1) * np.abs(self.constant)

    def add_rows(self, source: int, found: Vector, size: Vector) -> None:
        """`size`: bounds of |v| of the source."""
        if source in self.rows:
            found = self.rows[source] + found
            self.error = self.error + _eps(size.shape[1]) * _times(np.abs(found), size)
        self.rows[source] = found


class FloatBounds:
    """`kernel_bounds.Bounds` in binary64, of several leaves at once: arrays are leaf × neuron."""

    def __init__(
        self,
        program: Program,
        boxes: Sequence[Box],
        slopes: Sequence[Mapping[tuple[int, int], int]],
        signs: Sequence[Collection[Side]],
        effort: int,
    ) -> None:
        self.program, self.layers, self.effort, self.leaves = program, _layers(program), effort, len(boxes)
        self.slopes, self.signs = [dict(s) for s in slopes], signs
        low = np.array([[_around(x, box.bottom)[0] for x in box.low] for box in boxes])
        high = np.array([[_around(x, box.bottom)[1] for x in box.high] for box in boxes])
        self.ranges: dict[int, tuple[Vector, Vector]] = {INPUT: (low, high)}
        self.size: dict[int, Vector] = {INPUT: _size(low, high)}  # of |output|
        self.inner: dict[int, tuple[Vector, Vector]] = {}
        self.reach: list[Vector] = []  # per layer: more than |W|·|v| + |b|
        self.lines: list[_Lines | None] = []

    # ── one layer after the other ──────────────────────────────────────────────────────────────
    def advance(self, count: int) -> None:
        for index in range(len(self.lines), count):
            self.add(index)

    def again(self) -> None:
        self.advance(len(self.layers))
        for index in range(len(self.lines)):
            self.add(index)

    def add(self, index: int) -> None:
        layer = self.layers[index]
        low, high = self.intervals(index)
        if index in self.inner:
            low, high = np.maximum(low, self.inner[index][0]), np.minimum(high, self.inner[index][1])
        for leaf, signs in enumerate(self.signs):
            for at, neuron, side in signs:
                if at == index and side == 0:
                    low[leaf, neuron] = max(low[leaf, neuron], 0.0)
                elif at == index:
                    high[leaf, neuron] = min(high[leaf, neuron], 0.0)
        if layer.pair is not None:
            (low_a, high_a), (low_b, high_b) = (self.inner[k] for k in layer.pair)
            low, high = np.maximum(low, _down(low_a - high_b)), np.minimum(high, _up(high_a - low_b))
            unsettled = np.asarray(~(((low_a >= 0) & (low_b >= 0)) | ((high_a <= 0) & (high_b <= 0))))
        elif layer.kind == "linear":
            unsettled = np.full(low.shape, layer.region)
        else:
            unsettled = np.asarray((low < 0) & (high > 0))
        where = np.flatnonzero(unsettled.any(0) if self.effort < 2 else np.ones(low.shape[1]))
        if self.effort and len(where):  # of a leaf in which a neuron was settled it can only be bounded better
            low[:, where] = np.maximum(low[:, where], self.of_neurons(index, where, 1.0))
            high[:, where] = np.minimum(high[:, where], -self.of_neurons(index, where, -1.0))
        self.inner[index] = low, high
        self.settle(index)

    def intervals(self, index: int) -> tuple[Vector, Vector]:
        layer, count = self.layers[index], 0
        at, spread, reach = layer.bias, np.zeros(len(layer.bias)), np.abs(layer.bias)
        for source, weights in layer.blocks:
            low, high = self.ranges[source]
            size = self.size[source]
            at, spread = at + _pull((low + high) / 2, weights.T), spread + _pull((high - low) / 2, np.abs(weights.T))
            reach = reach + _pull(size, np.abs(weights.T)) + TINY * size.sum(1, keepdims=True)
            count += size.shape[1]
        reach = reach * UP + TINY
        self.reach[index : index + 1] = [reach]
        slack = 4 * _eps(count) * reach + TINY
        return at - spread - slack, at + spread + slack

    def settle(self, index: int) -> None:
        layer, (low, high) = self.layers[index], self.inner[index]
        lines: _Lines | None = None
        if layer.kind == "linear":
            self.ranges[index] = low, high
        elif layer.pair is not None:
            lines = self.twin(index, low, high, self.inner[layer.pair[0]], self.inner[layer.pair[1]])
        else:
            lines = self.relu(index, low, high)
        if not all(np.isfinite(x).all() for x in (*self.ranges[index], low, high, *(lines or ()))):
            refuse("a bound is beyond binary64")
        self.size[index] = _size(*self.ranges[index])
        self.lines[index : index + 1] = [lines]

    def relu(self, index: int, low: Vector, high: Vector) -> _Lines:
        layer = self.layers[index]
        opened: NDArray[np.bool_] = np.zeros((self.leaves, 1), dtype=bool)
        closed: NDArray[np.bool_] = ~opened
        if layer.kind == "gated":
            rows = self.ranges[layer.gate_layer]
            opened = np.asarray((rows[0] >= layer.gate[1]).any(1, keepdims=True))
            closed = np.asarray(~opened & (rows[1] < layer.gate[0]).all(1, keepdims=True))
        on, unsettled = low >= 0, (low < 0) & (high > 0)
        upper, shift = _chord(low, high)
        upper, shift = np.where(unsettled, upper, on * 1.0), np.where(unsettled, shift, 0.0)
        lower = np.where(unsettled, 1.0 if layer.kind == "gated" else (high > -low) * 1.0, on * 1.0)
        for leaf, slopes in enumerate(self.slopes):
            for (at, neuron), slope in slopes.items():
                if at == index and unsettled[leaf, neuron]:
                    lower[leaf, neuron] = slope / SLOPES
        self.ranges[index] = np.where(closed, np.maximum(low, 0.0), 0.0), np.where(opened, 0.0, np.maximum(high, 0.0))
        lower, upper, shift = np.where(closed, lower, 0.0), np.where(opened, 0.0, upper), np.where(opened, 0.0, shift)
        return _Lines(lower, np.zeros_like(lower), upper, shift)

    def twin(self, index: int, low: Vector, high: Vector, a: tuple[Vector, Vector], b: tuple[Vector, Vector]) -> _Lines:
        rise, fall = np.maximum(-a[0], 0.0), np.maximum(-b[0], 0.0)
        top, floor = np.maximum(a[1], 0.0), np.maximum(b[1], 0.0)
        on, off = (a[0] >= 0) & (b[0] >= 0), (a[1] <= 0) & (b[1] <= 0)
        twice = low + high
        below = np.argmin([np.where(high <= 0, -twice, np.maximum(-low, 0)), 2 * fall - twice, 2 * floor], 0)
        above = np.argmin([np.where(low >= 0, twice, np.maximum(high, 0)), 2 * rise + twice, 2 * top], 0)
        chosen = np.where(on, 4 * ON, np.where(off, 4 * OFF, 3 * below + above))
        for leaf, slopes in enumerate(self.slopes):
            for (at, neuron), lines in slopes.items():
                if at == index:
                    chosen[leaf, neuron] = lines
        below, above = np.divmod(chosen, 3)
        least = np.maximum(np.minimum(low, 0), np.maximum(_down(low - fall), _down(np.maximum(a[0], 0) - floor)))
        most = np.minimum(np.maximum(high, 0), np.minimum(_up(high + rise), _up(top - np.maximum(b[0], 0))))
        self.ranges[index] = least, most
        return _Lines(*_line(-high, -low, fall, floor, below), *_line(low, high, rise, top, above))

    # ── what a single leaf asks for ────────────────────────────────────────────────────────────
    def step(self, layer: int, neuron: int, side: int, facts: Facts) -> bool:
        batch = _Batch(1, 1)
        self.add_form(batch, 0, _neuron(self.program, layer, neuron), Fraction(-1 if side else 1))
        self.subtract(batch, 0, facts)
        bound = float(self.lower_bounds(batch)[0, 0])
        if layer != INPUT:
            self.advance(layer + 1)
        of = self.ranges if layer == INPUT else self.inner
        low, high = of[layer] = of[layer][0].copy(), of[layer][1].copy()
        if side:
            high[0, neuron] = min(high[0, neuron], -bound)
        else:
            low[0, neuron] = max(low[0, neuron], bound)
        for index in range(layer, len(self.lines)) if layer != INPUT else ():
            self.settle(index)
        return bool(low[0, neuron] > high[0, neuron])

    def choose(self, layer: int, neuron: int, slope: int) -> None:
        self.slopes[0][layer, neuron] = slope
        if layer < len(self.lines):
            self.settle(layer)

    def least(self, facts: Facts) -> float:
        return float(self.least_of([facts])[0])

    def least_of(self, facts: Sequence[Facts]) -> Vector:
        """Per leaf, a lower bound of −Σ λ·fact."""
        batch = _Batch(self.leaves, 1)
        for leaf, terms in enumerate(facts):
            self.subtract(batch, leaf, terms)
        return self.lower_bounds(batch)[:, 0]

    def subtract(self, batch: _Batch, leaf: int, facts: Facts) -> None:
        for fact, weight in facts:
            if isinstance(fact, Affine):
                self.add_form(batch, leaf, _form(self.program, fact), -weight)
                continue
            layer, neuron, side = fact
            self.advance(layer + 1)
            sign = -1 if side else 1
            self.add_form(batch, leaf, _neuron(self.program, layer, neuron), -sign * weight)
            end = float(self.inner[layer][side][leaf, neuron])
            constant = np.zeros_like(batch.constant)
            constant[leaf] = float(weight) * sign * end
            batch.add_constant(constant, _eps(1) * np.abs(constant) + TINY * (1 + abs(end)))

    def add_form(self, batch: _Batch, leaf: int, form: _Form, weight: Fraction) -> None:
        """Add weight · form to the first functional of a leaf."""
        factor = weight / form.bottom
        self.advance(max(source for source, _ in form.parts) + 1)
        constant = np.zeros_like(batch.constant)
        constant[leaf, 0] = float(factor * form.constant)
        batch.add_constant(constant, _eps(1) * np.abs(constant) + TINY)
        for source, entries in form.parts:
            row = np.zeros((*batch.constant.shape, self.program.width(source)))
            row[leaf, 0, list(entries)] = [float(factor * x) for x in entries.values()]
            batch.error = batch.error + _times(_eps(1) * np.abs(row) + TINY, self.size[source])
            batch.add_rows(source, row, self.size[source])

    # ── back-substitution ──────────────────────────────────────────────────────────────────────
    def of_neurons(self, index: int, where: NDArray[np.int_], sign: float) -> Vector:
        """Lower bounds of sign · z of those neurons of one layer."""
        widest = max(self.program.width(k) for k in range(INPUT, index + 1))
        most = max(1, MAX_DENSE // (widest * self.leaves))
        found = []
        for chosen in (where[k : k + most] for k in range(0, len(where), most)):
            batch = _Batch(self.leaves, len(chosen))
            rows = np.zeros((self.leaves, len(chosen), self.program.width(index)))
            rows[:, np.arange(len(chosen)), chosen] = sign
            self.pull(batch, index, rows)
            found.append(self.lower_bounds(batch))
        return np.concatenate(found, 1)

    def pull(self, batch: _Batch, index: int, rows: Vector) -> None:
        """Add rows · z of a layer."""
        layer, reach = self.layers[index], self.reach[index]
        count = reach.shape[1] + sum(self.size[block.source].shape[1] for block in layer.blocks)
        batch.add_constant(rows @ layer.bias, _times(_eps(count) * np.abs(rows) + TINY, reach))
        for source, weights in layer.blocks:
            size = self.size[source]
            batch.error = batch.error + TINY * size.sum(1, keepdims=True)
            batch.add_rows(source, _pull(rows, weights), size)

    def lower_bounds(self, batch: _Batch) -> Vector:
        """A lower bound of each functional; the least number where binary64 does not reach."""
        rows = batch.rows
        self.advance(max(rows, default=INPUT) + 1)
        while (index := max(rows, default=INPUT)) != INPUT:
            row, lines = rows.pop(index), self.lines[index]
            if lines is not None:
                up = row > 0
                fall = row * np.where(up, -lines.drop[:, None], lines.shift[:, None])
                total, n = np.abs(fall).sum(2), fall.shape[2]
                batch.add_constant(fall.sum(2), _eps(n) * total + TINY * n)
                row = row * np.where(up, lines.lower[:, None], lines.upper[:, None])
            self.pull(batch, index, row)
        low, high = self.ranges[INPUT]
        row = rows.get(INPUT, np.zeros((*batch.constant.shape, low.shape[1])))
        least = row * np.where(row > 0, low[:, None], high[:, None])
        batch.add_constant(least.sum(2), _eps(low.shape[1]) * np.abs(least).sum(2) + TINY * low.shape[1])
        found = batch.constant - batch.error * UP
        found = found - 2.0**-50 * np.abs(found)
        return np.where(np.isfinite(found), found, -np.finfo(np.float64).max)


# ── products, and lines rounded outward ────────────────────────────────────────────────────────
def _pull(rows: Vector, weights: Vector) -> Vector:
    """rows · W, of rows with any number of dimensions."""
    if weights.ndim == 1:
        return rows * weights
    found: Vector = rows.reshape(-1, rows.shape[-1]) @ weights
    return found.reshape(*rows.shape[:-1], weights.shape[1])


def _times(rows: Vector, size: Vector) -> Vector:
    """Per leaf and functional: row · size."""
    return (rows @ size[:, :, None])[:, :, 0]


def _size(low: Vector, high: Vector) -> Vector:
    return np.maximum(np.abs(low), np.abs(high))


def _up(x: Vector) -> Vector:
    return x + 2.0**-50 * np.abs(x) + TINY


def _down(x: Vector) -> Vector:
    return x - 2.0**-50 * np.abs(x) - TINY


def _chord(low: Vector, high: Vector) -> tuple[Vector, Vector]:
    """s ≤ u / (u − l), and t ≥ u − s·u; where l < 0 < u."""
    slope = np.where((low < 0) & (high > 0), high / (high - low) * DOWN, 0.0)
    return slope, high * (1 - slope) * UP + TINY


def _line(low: Vector, high: Vector, rise: Vector, top: Vector, chosen: NDArray[np.int_]) -> tuple[Vector, Vector]:
    """(s, t) with v ≤ s·d + t: `kernel_twins.line`."""
    slope, shift = _chord(low, high)
    flat = (low >= 0) | (high <= 0)
    slope, shift = np.where(flat, (low >= 0) * 1.0, slope), np.where(flat, 0.0, shift)
    chord, on = chosen == CHORD, chosen == ON
    return np.where(chord, slope, on * 1.0), np.where(chord, shift, np.where(on, rise, top))


# ── leaves ─────────────────────────────────────────────────────────────────────────────────────
def _one(todo: Plan, effort: int) -> FloatBounds:
    return FloatBounds(todo.program, [todo.box], [todo.slopes], [todo.signs], effort)


def check_leaves_float64(claim: Claim, program: Program, found: Sequence[Leaf]) -> None:
    """The kernel's `check_leaves`, first in binary64: leaves without steps together, in each form of the program."""
    if any(layer.kind in ("smooth", "product") for layer in program.layers):  # their lines are in integers alone
        check_leaves(claim, program, found)
        return
    together: dict[int, list[tuple[Leaf, Plan]]] = {}
    alone = []
    for leaf in found:
        todo = plan(claim, program, leaf)
        if todo is not None and todo.moves:
            alone.append(leaf)
        elif todo is not None:
            together.setdefault(id(todo.program), []).append((leaf, todo))
    with np.errstate(all="ignore"):
        for leaves in together.values():
            if len(leaves) == 1 and _by_intervals(claim, program, leaves[0][0]):
                continue
            for effort in range(3):
                leaves = _unsettled(leaves, effort) if leaves else leaves
            alone += [leaf for leaf, _ in leaves]
        for leaf in alone:
            try:
                check_leaf(claim, program, leaf, _one, range(3))
            except (Refused, OverflowError):
                check_leaf(claim, program, leaf)


def _by_intervals(claim: Claim, program: Program, leaf: Leaf) -> bool:
    """Whether intervals in integers settle a leaf: of one alone (a box near data has a program of its own) they are
    quicker than arrays, and levels are often met exactly."""
    try:
        check_leaf(claim, program, leaf, ways=WAYS[:1])
    except Refused:
        return False
    return True


def _unsettled(leaves: list[tuple[Leaf, Plan]], effort: int) -> list[tuple[Leaf, Plan]]:
    """Those that bounds of this effort leave open."""
    todo = [each for _, each in leaves]
    boxes, signs = [each.box for each in todo], [each.signs for each in todo]
    try:
        bounds = FloatBounds(todo[0].program, boxes, [each.slopes for each in todo], signs, effort)
        values = bounds.least_of([each.facts for each in todo])
    except (Refused, OverflowError):
        return leaves
    return [pair for pair, x in zip(leaves, values, strict=True) if not (x > 0 or (x == 0 and pair[1].strict))]
