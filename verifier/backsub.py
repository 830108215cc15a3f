"""CROWN back-substitution of many affine functionals over a program, for a batch of boxes, with a rigorous bound.

Zhang et al., Efficient Neural Network Robustness Certification with General Activation Functions, NeurIPS 2018, over a
DAG: the coefficients of a functional are kept per source and a layer is processed once everything that reads it has
been. Rows are flat: a row is a functional on one box (`box` is its index), so that only the neurons that interval
arithmetic leaves unstable are bounded, and the product with a layer's weights is one matrix product for all boxes.
What binary64 gets wrong is accounted for as `rounding` says; comments name its steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rewarden.reward.elementary import Function, extent
from rewarden.verifier.box_minimum import AffineRows, Boxes, box_minimum
from rewarden.verifier.differences import (
    TwinLines,
    difference_extent,
    difference_lines,
    matters,
    narrowed_difference,
)
from rewarden.verifier.executed_noise import Noise
from rewarden.verifier.facts import Facts, strengthen
from rewarden.verifier.fusion import Rows, block_term, fuse, layer_bias, rounding_of
from rewarden.verifier.program import INPUT, Program
from rewarden.verifier.relaxation import Gate, relu_lines
from rewarden.verifier.rounding import INFLATE, TINY, UNIT, gamma
from rewarden.verifier.smooth_lines import product_extent, product_lines, smooth_lines
from rewarden.verifier.tangents import tangent_extent, tangent_lines

CHUNK = 2**17  # elements of one row matrix: it stays in the cache
NOTCH = 2.0**-30  # a checker's bounds l, u, and so its chords, differ from ours by rounding: slack for what that moves


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """v ↦ weight·v with elementwise error; `size` is |weight|. All [row, source width]."""

    source: int
    weight: Tensor
    size: Tensor
    error: Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class Functionals:
    """Rows over basis sources, ready for bounding; [functional]. `rounded`: how much of what binary32 has added to each
    layer (float32 semantics) enters, as bounds [functional, width]."""

    maps: tuple[Map, ...]
    bias: Tensor
    bias_error: Tensor
    rounded: tuple[tuple[int, Tensor], ...] = ()

    @property
    def count(self) -> int:
        return int(self.bias.shape[0])

    @property
    def unsure(self) -> Tensor:
        """Rows some number of which is known up to an error only. That error times a bound of what it stands on may be
        too small for binary64: such a row is never free of loss, whatever its error comes to."""
        found = self.bias_error > 0
        for m in self.maps:
            if m.error is not None:
                found = found | (m.error > 0).any(-1)
        for _, share in self.rounded:
            found = found | ((share > 0) & (share < 2.0**-512)).any(-1)  # what execution adds is 0 or above 2^-150
        return found

    @staticmethod
    def of(rows: Rows) -> Functionals:
        maps = tuple(_map(s, t.weight, t.error) for s, t in sorted(rows.terms.items()) if s >= INPUT)
        rounded = tuple(
            (rounding_of(s), torch.tensor((abs(t.weight) + t.error) * INFLATE))
            for s, t in sorted(rows.terms.items())
            if s < INPUT
        )
        return Functionals(maps, torch.tensor(rows.bias), torch.tensor(rows.bias_error), rounded)


def _map(source: int, weight: object, error: object) -> Map:
    w, e = torch.tensor(weight, dtype=torch.float64), torch.tensor(error, dtype=torch.float64)
    return Map(source, w, w.abs(), e if bool((e != 0).any()) else None)


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """One layer as interval arithmetic reads it (`own`) and as back-substitution does (`fused`)."""

    kind: str
    width: int
    own: Functionals
    noise: Tensor  # [row] the γ of interval arithmetic: 0 for rows that only select
    fused: Functionals
    input_only: bool
    gates: bool  # a linear layer that some gate reads: bounded by back-substitution too
    tight: bool
    gate_layer: int | None
    gate: float
    executed: Noise | None  # float32 semantics: what execution may add
    rows: int  # pre-activations: twice the width of a product
    function: Function | None
    pair: tuple[int, int] | None  # twins: the relu layers whose difference it is
    unsure: bool  # some number of `fused` is known up to an error only

    @property
    def curved(self) -> bool:
        return self.kind in ("smooth", "product", "twin", "tangent")


@dataclass(slots=True, eq=False)
class Sweep:
    """Mutable: what is known of each layer over a batch of boxes, filled from the first layer to the last.

    lo, hi: bounds of pre-activations; least, most: of outputs; size: bound of |output|; all [box, neuron] by layer.
    """

    boxes: Boxes
    lo: dict[int, Tensor] = field(default_factory=dict)
    hi: dict[int, Tensor] = field(default_factory=dict)
    least: dict[int, Tensor] = field(default_factory=dict)
    most: dict[int, Tensor] = field(default_factory=dict)
    size: dict[int, Tensor] = field(default_factory=dict)
    # [box, 4·width]: lower, upper, intercept, noise; where the width is 1, own error as a fifth. Of a curved layer:
    # noise, lower, upper [rows] and the intercepts below and above [width]
    steps: dict[int, Tensor] = field(default_factory=dict)
    gap: dict[int, Tensor] = field(default_factory=dict)  # hi − lo of unstable neurons, else 0
    mass: Tensor = field(default_factory=lambda: torch.zeros(0))  # [box] magnitudes that may multiply an underflow
    tight: list[TightEntries] = field(default_factory=list)
    twins: dict[int, TwinLines] = field(default_factory=dict)
    rounded: dict[int, Tensor] = field(default_factory=dict)  # float32 semantics: what execution may add to z


@dataclass(frozen=True, slots=True, eq=False)
class TightEntries:
    """Pre-activation bounds that facts settled: `side` 0 lower, 1 upper; multipliers [entry, fact]."""

    layer: int
    side: int
    box: Tensor
    neuron: Tensor
    multipliers: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class FinalBounds:
    """Functionals bounded: row b·K + k is functional k on box b. `slack` is what a checker may differ by, [row]."""

    rows: AffineRows
    bound: Tensor
    slack: Tensor
    sweep: Sweep


class Engine:
    """A program compiled once for bounding; it keeps no state between calls."""

    def __init__(self, program: Program) -> None:
        fused = fuse(program)
        gates = {layer.gate_layer for layer in program.layers if layer.kind == "gated"}
        self.program = program
        self.layers = tuple(_compile(program, fused, k, k in gates) for k in range(len(program.layers)))
        self.basis = tuple(k for k, layer in enumerate(self.layers) if layer.kind != "linear")
        self.widest = max([len(program.claim.variables), *(layer.rows for layer in self.layers)])

    def bound(
        self,
        boxes: Boxes,
        functionals: Functionals,
        facts: Facts | None = None,
        slopes: dict[int, Tensor] | None = None,
    ) -> FinalBounds:
        """Lower bounds of `functionals` on every box, at the points where `facts` hold (if any are given).

        `slopes[layer]` [box, neuron] overrides default lower slopes where it is not NaN.
        """
        sweep = self.intermediate(boxes, facts, slopes or {})
        count, batch = functionals.count, boxes.lo.shape[0]
        box = torch.arange(batch).repeat_interleave(count)
        neuron = torch.arange(count).repeat(batch)
        rows, slack = self._back_substitute(sweep, functionals, box, neuron, len(self.layers))
        return FinalBounds(rows, box_minimum(rows, boxes.take(box)), slack, sweep)

    def back_substituted(self, sweep: Sweep, functionals: Functionals, row: Tensor) -> AffineRows:
        """Functional `row[i]` on box i of the sweep."""
        rows, _ = self._back_substitute(sweep, functionals, torch.arange(row.numel()), row, len(self.layers))
        return rows

    def intermediate(self, boxes: Boxes, facts: Facts | None, slopes: dict[int, Tensor]) -> Sweep:
        """Bounds and lines of every layer, first to last."""
        sweep = Sweep(boxes)
        sweep.least[INPUT], sweep.most[INPUT], sweep.size[INPUT] = boxes.lo, boxes.hi, boxes.magnitude
        sweep.mass = 1.0 + sweep.size[INPUT].sum(-1)
        for k, layer in enumerate(self.layers):
            self._pre_activation(sweep, k, facts if layer.tight else None)
            if layer.kind == "linear":
                sweep.least[k], sweep.most[k] = sweep.lo[k], sweep.hi[k]
                sweep.size[k] = torch.maximum(sweep.lo[k].abs(), sweep.hi[k].abs())
            elif layer.curved:
                self._bend(sweep, k)
            else:
                self._activate(sweep, k, slopes.get(k))
        return sweep

    # ── one layer, forwards ────────────────────────────────────────────────────────────────────
    def _pre_activation(self, sweep: Sweep, k: int, facts: Facts | None) -> None:
        layer = self.layers[k]
        lo, hi = _interval(sweep, layer)
        if layer.executed is not None:
            lo, hi = _executed(sweep, k, layer.executed, lo, hi)
        if layer.kind == "linear" and not layer.gates:
            sweep.lo[k], sweep.hi[k] = lo, hi
            return
        level = 0.0 if layer.kind != "linear" else self._gate_level(k)
        loose = _loose(layer, lo, hi, level)
        if layer.kind == "tangent":
            on, off = self.decided(sweep, k)
            loose = (lo < hi) & ~(on | off)
        elif layer.pair is not None:
            a, b = (_sides(sweep, copy) for copy in layer.pair)
            lo, hi = narrowed_difference((lo, hi), a, b)
            loose = (lo < hi) & matters(a, b)
        box, neuron = loose.nonzero(as_tuple=True)
        if box.numel():
            at = (box, neuron)
            lower, upper = self._two_sided(sweep, k, box, neuron)
            lo = lo.index_put(at, torch.maximum(lo[at], lower))
            hi = hi.index_put(at, torch.minimum(hi[at], upper))
        if facts is not None and (layer.input_only or layer.pair is not None) and facts.count:
            lo, hi = self._with_facts(sweep, k, (lo, hi), facts)
        sweep.lo[k], sweep.hi[k] = lo, hi

    def _gate_level(self, k: int) -> float:
        return next(layer.gate for layer in self.layers if layer.kind == "gated" and layer.gate_layer == k)

    def _two_sided(self, sweep: Sweep, k: int, box: Tensor, neuron: Tensor) -> tuple[Tensor, Tensor]:
        """Back-substituted bounds of the pre-activations (box, neuron) of layer k."""
        fused = self.layers[k].fused
        boxes = sweep.boxes
        step = max(256, CHUNK // self.widest)
        lower, upper = [], []
        for start in range(0, box.numel(), step):
            b, j = box[start : start + step], neuron[start : start + step]
            rows, _ = self._back_substitute(sweep, fused, torch.cat((b, b)), torch.cat((j, -1 - j)), k)
            bound = box_minimum(rows, boxes.take(torch.cat((b, b))))
            lower.append(bound[: b.numel()])
            upper.append(-bound[b.numel() :])
        return torch.cat(lower), torch.cat(upper)

    def _with_facts(self, sweep: Sweep, k: int, bounds: tuple[Tensor, Tensor], facts: Facts) -> tuple[Tensor, Tensor]:
        """Bounds of a tight layer that facts settle; others stay, so that the proof names only what matters."""
        layer, (lo, hi) = self.layers[k], bounds
        level = 0.0 if layer.kind != "linear" else self._gate_level(k)
        for side in (0, 1):  # the upper bound only of what the lower one left open: a checker sees one entry of each
            box, neuron = _loose(layer, lo, hi, level).nonzero(as_tuple=True)
            if not box.numel():
                break
            sign_neuron = neuron if side == 0 else -1 - neuron
            rows, _ = self._back_substitute(sweep, layer.fused, box, sign_neuron, k)
            multipliers, _, bound = strengthen(rows, sweep.boxes.take(box), facts)
            match side, layer.kind:
                case 0, _:
                    settled = bound >= level
                case _, "linear":
                    settled = -bound < level
                case _:
                    settled = -bound <= level
            # Bounds that cross say that the box holds no point of the facts: that is for a leaf to say, in one line.
            crossing = bound > (hi[box, neuron] if side == 0 else -lo[box, neuron])
            used = settled & (multipliers > 0).any(-1) & ~crossing
            at = (box[used], neuron[used])
            if side == 0:
                lo = lo.index_put(at, torch.maximum(lo[at], bound[used]))
            else:
                hi = hi.index_put(at, torch.minimum(hi[at], -bound[used]))
            sweep.tight.append(TightEntries(k, side, *at, multipliers[used]))
        return lo, hi

    def _activate(self, sweep: Sweep, k: int, slopes: Tensor | None) -> None:
        layer = self.layers[k]
        lo, hi = sweep.lo[k], sweep.hi[k]
        gate = None
        if layer.gate_layer is not None:
            is_open = (sweep.lo[layer.gate_layer] >= layer.gate).any(-1, keepdim=True)
            is_closed = (sweep.hi[layer.gate_layer] < layer.gate).all(-1, keepdim=True)
            gate = Gate(is_open, is_closed & ~is_open)
        lines = relu_lines(lo, hi, slopes, gate)
        least, most = lo.clamp(min=0.0), hi.clamp(min=0.0)
        if gate is not None:
            least = torch.where(gate.closed, least, torch.zeros_like(least))
            most = torch.where(gate.open, torch.zeros_like(most), most)
        sweep.least[k], sweep.most[k], sweep.size[k] = least, most, most
        sweep.gap[k] = torch.where(lines.unstable, hi - lo, torch.zeros_like(lo))
        noise, own = self._noise(sweep, k)
        parts = (lines.lower, lines.upper, lines.intercept, noise)
        sweep.steps[k] = torch.cat((*parts, own) if layer.width == 1 else parts, dim=-1)

    def _bend(self, sweep: Sweep, k: int) -> None:
        """The outputs of a smooth layer or a product, and lines for them, with intercepts on both sides."""
        layer = self.layers[k]
        lo, hi = sweep.lo[k].numpy(), sweep.hi[k].numpy()
        if layer.kind == "tangent":
            self._lean(sweep, k)
            return
        if layer.pair is not None:
            self._differ(sweep, k, layer.pair)
            return
        if layer.function is None:
            band, (least, most) = product_lines(lo, hi), product_extent(lo, hi)
        else:
            band, (least, most) = smooth_lines(layer.function, lo, hi), extent(layer.function, lo, hi)
        sweep.least[k], sweep.most[k] = torch.from_numpy(least), torch.from_numpy(most)
        sweep.size[k] = torch.maximum(sweep.least[k].abs(), sweep.most[k].abs())
        noise, _ = self._noise(sweep, k)
        parts = (torch.from_numpy(side) for side in (band.lower, band.upper, band.below, band.above))
        sweep.steps[k] = torch.cat((noise, *parts), dim=-1)

    def _differ(self, sweep: Sweep, k: int, pair: tuple[int, int]) -> None:
        """A twin's outputs and its lines (`differences`)."""
        d, a, b = (_sides(sweep, layer) for layer in (k, *pair))
        sweep.least[k], sweep.most[k] = difference_extent(d, a, b)
        sweep.size[k] = torch.maximum(sweep.least[k].abs(), sweep.most[k].abs())
        noise, _ = self._noise(sweep, k)
        sweep.twins[k] = lines = difference_lines(d, a, b)
        sweep.gap[k] = lines.gap
        sweep.steps[k] = torch.cat((noise, lines.lower, lines.upper, lines.below, lines.above), dim=-1)

    def decided(self, sweep: Sweep, k: int) -> tuple[Tensor, Tensor]:
        """Where the neurons of tangent k are on all over the box, and where they are off, both [box, neuron]."""
        pair = self.layers[k].pair
        assert pair is not None, "a tangent is one of a layer"
        a = pair[0]
        on, off = sweep.lo[a] >= 0, sweep.hi[a] <= 0
        gate, level = self.layers[a].gate_layer, self.layers[a].gate
        if gate is not None:
            off = off | (sweep.lo[gate] >= level).any(-1, keepdim=True)
            on = on & ~off & (sweep.hi[gate] < level).all(-1, keepdim=True)
        return on, off & ~on

    def _lean(self, sweep: Sweep, k: int) -> None:
        """A tangent's outputs and its lines (`tangents`)."""
        d, (on, off) = _sides(sweep, k), self.decided(sweep, k)
        sweep.least[k], sweep.most[k] = tangent_extent(d, on, off)
        sweep.size[k] = torch.maximum(sweep.least[k].abs(), sweep.most[k].abs())
        noise, _ = self._noise(sweep, k)
        sweep.steps[k] = torch.cat((noise, *tangent_lines(d, on, off)), dim=-1)

    def _noise(self, sweep: Sweep, k: int) -> tuple[Tensor, Tensor]:
        """Steps 1 and 2: what one unit of |coefficient| on z_k costs, with and without the rounding of the product."""
        layer = self.layers[k]
        reach = layer.fused.bias.abs().expand(sweep.mass.shape[0], layer.rows)
        own = layer.fused.bias_error.expand_as(reach)
        for m in layer.fused.maps:
            size = sweep.size[m.source]
            reach = reach + size @ m.size.T
            if m.error is not None:
                own = own + size @ m.error.T
        for rounded, share in layer.fused.rounded:
            own = own + sweep.rounded[rounded] @ share.T
        here = torch.maximum(sweep.lo[k].abs(), sweep.hi[k].abs())
        size = sweep.size[k] if layer.rows == layer.width else torch.cat((sweep.size[k], sweep.size[k]), -1)
        sweep.mass = sweep.mass + (reach + here + size).sum(-1)
        noise = (gamma(layer.rows) * reach + own + 2.0 * UNIT * here) * INFLATE
        return noise, own * INFLATE

    # ── backwards ──────────────────────────────────────────────────────────────────────────────
    def _back_substitute(
        self, sweep: Sweep, functionals: Functionals, box: Tensor, neuron: Tensor, before: int
    ) -> tuple[AffineRows, Tensor]:
        """Rows `neuron` of `functionals` (−1 − j: minus row j) on boxes `box`, as affine functions of the variables.

        Also the slack of each row. `before`: the layer that reads them; only earlier layers can occur.
        """
        state = _start(sweep, functionals, box, neuron, before == len(self.layers))
        for k in reversed(self.basis):
            if k < before and k in state.terms:
                _step(sweep, self.layers[k], k, state)
        slope = state.terms.pop(INPUT, None)
        assert not state.terms, "a functional reads a layer at or after its own"
        if slope is None:
            slope = torch.zeros(box.numel(), sweep.boxes.lo.shape[1], dtype=torch.float64)
        loss = TINY * sweep.mass.index_select(0, box) * state.touched
        return AffineRows(slope, state.constant, state.error * INFLATE, loss), state.slack


@dataclass(slots=True, eq=False)
class _State:
    """Mutable: the invariant of `rounding` while the layers are passed; `touched` is 1.0 once a product was formed, of
    an error included."""

    terms: dict[int, Tensor]
    constant: Tensor
    error: Tensor
    touched: Tensor
    slack: Tensor
    box: Tensor
    final: bool  # of interest to a leaf: slack and touched are kept; otherwise every row counts as touched


def _start(sweep: Sweep, functionals: Functionals, box: Tensor, neuron: Tensor, final: bool) -> _State:
    row = torch.where(neuron >= 0, neuron, -1 - neuron)
    sign = torch.where(neuron >= 0, 1.0, -1.0).to(torch.float64)
    terms: dict[int, Tensor] = {}
    error = functionals.bias_error.index_select(0, row)
    for m in functionals.maps:
        terms[m.source] = m.weight.index_select(0, row) * sign[:, None]
        if m.error is not None:
            size = sweep.size[m.source].index_select(0, box)
            error = error + (m.error.index_select(0, row) * size).sum(-1)
    for rounded, share in functionals.rounded:
        error = error + (share.index_select(0, row) * sweep.rounded[rounded].index_select(0, box)).sum(-1)
    zero = torch.zeros_like(sign)
    touched = functionals.unsure.index_select(0, row).to(zero.dtype) if final else torch.ones_like(zero)
    return _State(terms, functionals.bias.index_select(0, row) * sign, error, touched, zero, box, final)


def _step(sweep: Sweep, layer: _Layer, k: int, state: _State) -> None:
    """Coefficients on the output of layer k become coefficients on its sources."""
    on_z, drop = (_bent if layer.curved else _straight)(sweep, layer, k, state)
    shifted = state.constant + drop
    state.constant = shifted + on_z @ layer.fused.bias
    state.error = state.error + 2.0 * UNIT * torch.where(drop == 0, 0.0, shifted.abs())
    state.error = state.error + 2.0 * UNIT * state.constant.abs()  # step 3
    for m in layer.fused.maps:
        added = on_z @ m.weight
        old = state.terms.get(m.source)
        if old is not None:
            added = old + added
            size_below = sweep.size[m.source].index_select(0, state.box)
            state.error = state.error + 2.0 * UNIT * (added.abs() * size_below).sum(-1)  # step 3
        state.terms[m.source] = added


def _straight(sweep: Sweep, layer: _Layer, k: int, state: _State) -> tuple[Tensor, Tensor]:
    """Step 1 at a relu or gated layer: coefficients on its pre-activations, and what its intercepts add."""
    coefficients = state.terms.pop(k)
    width = layer.width
    steps = sweep.steps[k].index_select(0, state.box)
    lower, upper, intercept, noise, *own = steps.view(steps.shape[0], -1, width).unbind(1)
    positive = coefficients.clamp(min=0.0)
    negative = coefficients - positive
    on_z = torch.addcmul(negative * upper, positive, lower)  # disjoint supports: each entry is rounded once
    drop = (negative * intercept).sum(-1)
    size = on_z.abs()
    formed = torch.ones_like(size[:, 0], dtype=torch.bool)
    if width == 1:  # multiplying by ±1 is exact, so is a sum of one product, and nothing underflows (SMALLEST)
        exact = (size == 1) & (coefficients.abs() == 1)
        noise = torch.where(exact, own[0], noise)
        formed = ~exact[:, 0] | layer.unsure
    state.error = state.error + (size * noise).sum(-1) + gamma(width) * drop.abs()
    if state.final:
        state.touched = torch.maximum(state.touched, (formed & (size > 0).any(-1)).to(drop.dtype))
        state.slack = state.slack - NOTCH * (negative * sweep.gap[k].index_select(0, state.box)).sum(-1)
    return on_z, drop


def _bent(sweep: Sweep, layer: _Layer, k: int, state: _State) -> tuple[Tensor, Tensor]:
    """Step 1 at a smooth layer or a product: lines with intercepts of either sign on both sides."""
    coefficients = state.terms.pop(k)
    width, rows = layer.width, layer.rows
    steps = sweep.steps[k].index_select(0, state.box)
    noise, lower, upper = steps[:, : 3 * rows].view(steps.shape[0], 3, rows).unbind(1)
    below, above = steps[:, 3 * rows :].view(steps.shape[0], 2, width).unbind(1)
    positive = coefficients.clamp(min=0.0)
    negative = coefficients - positive
    terms = torch.addcmul(negative * above, positive, below)  # disjoint supports
    if rows > width:
        positive, negative = torch.cat((positive, positive), -1), torch.cat((negative, negative), -1)
    on_z = torch.addcmul(negative * upper, positive, lower)
    state.error = state.error + (on_z.abs() * noise).sum(-1) + gamma(width) * terms.abs().sum(-1)
    if state.final and k in sweep.twins:
        state.slack = state.slack + NOTCH * (coefficients.abs() * sweep.gap[k].index_select(0, state.box)).sum(-1)
    state.touched = torch.maximum(state.touched, (coefficients != 0).any(-1).to(terms.dtype))
    return on_z, terms.sum(-1)


def _compile(program: Program, fused: Sequence[Rows], k: int, gates: bool) -> _Layer:
    layer = program.layers[k]
    terms = [(b.source, block_term(b)) for b in layer.blocks]
    bias, bias_error = layer_bias(layer)
    own = Functionals(tuple(_map(s, t.weight, t.error) for s, t in terms), torch.tensor(bias), torch.tensor(bias_error))
    entries = torch.stack([(m.weight != 0).sum(-1) for m in own.maps]).sum(0)
    units = torch.stack([((m.size == 0) | (m.size == 1)).all(-1) for m in own.maps]).all(0)
    known = torch.stack(
        [m.size.new_ones(layer.rows, dtype=torch.bool) if m.error is None else (m.error == 0).all(-1) for m in own.maps]
    ).all(0)
    selects = (entries <= 1) & units & known & (own.bias == 0) & (own.bias_error == 0)
    inner = sum(m.weight.shape[1] for m in own.maps) + len(own.maps)
    noise = torch.where(selects, 0.0, gamma(2 * inner)).to(torch.float64)
    rounding = None if program.executed is None else program.executed.roundings[k]
    executed = None if rounding is None else Noise.of(rounding, [(m.source, m.size) for m in own.maps], own.bias)
    whole = Functionals.of(fused[k])
    return _Layer(
        layer.kind, layer.width, own, noise, whole, fused[k].input_only, gates, layer.tight,
        layer.gate_layer, 0.0 if layer.gate is None else float(layer.gate), executed, layer.rows, layer.function,
        layer.pair, bool(whole.unsure.any()),
    )  # fmt: skip


def _interval(sweep: Sweep, layer: _Layer) -> tuple[Tensor, Tensor]:
    """Interval arithmetic over the layer's sources, rounded outwards; NaN becomes the whole line."""
    batch = sweep.mass.shape[0]
    lo = layer.own.bias.expand(batch, layer.rows)
    hi = lo
    reach, own = lo.abs(), layer.own.bias_error.expand_as(lo)
    for m in layer.own.maps:
        least, most, size = sweep.least[m.source], sweep.most[m.source], sweep.size[m.source]
        positive, negative = m.weight.clamp(min=0.0).T, m.weight.clamp(max=0.0).T
        lo = lo + (least @ positive + most @ negative)
        hi = hi + (most @ positive + least @ negative)
        reach = reach + size @ m.size.T
        if m.error is not None:
            own = own + size @ m.error.T
    touched = (layer.noise > 0).to(lo.dtype)
    error = (layer.noise * reach + own) * INFLATE + TINY * touched * (sweep.mass[:, None] + reach)
    sweep.mass = sweep.mass + reach.sum(-1)
    return (lo - error).nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf), (hi + error).nan_to_num(
        nan=torch.inf, posinf=torch.inf, neginf=-torch.inf
    )


def _sides(sweep: Sweep, k: int) -> tuple[Tensor, Tensor]:
    return sweep.lo[k], sweep.hi[k]


def _executed(sweep: Sweep, k: int, noise: Noise, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds of an exact pre-activation, widened to those of the executed one."""
    sweep.rounded[k] = added = noise.bound(sweep.size, lo, hi)
    wider = added * INFLATE + 2.0 * UNIT * torch.maximum(lo.abs(), hi.abs())  # pays for the subtraction, too
    below = torch.where(added > 0, lo - wider, lo)
    above = torch.where(added > 0, hi + wider, hi)
    return below.nan_to_num(-torch.inf, torch.inf, -torch.inf), above.nan_to_num(torch.inf, torch.inf, -torch.inf)


def _loose(layer: _Layer, lo: Tensor, hi: Tensor, level: float) -> Tensor:
    """What interval arithmetic does not settle: a relu's sign, the side of a gate; how a curve bends."""
    if layer.kind == "linear":
        return (lo < level) & (hi >= level)
    if layer.curved:
        return lo < hi
    return (lo < 0) & (hi > 0)
