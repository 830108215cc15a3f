"""What the certificate kernel will compute of a leaf, in plain floats and many leaves at once.

The same steps in the same order (docs/formats.md, "Proof"): intervals layer by layer; then, where they leave a neuron
open, back-substitution, whose bounds the next layer's intervals read. Nothing here is rigorous and nothing rests on it:
the kernel computes every leaf again. `slack` is how much a float may differ from the kernel's integers, generously, so
that what is written down is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rewarden.reward.elementary import Function, value
from rewarden.spec_lang.claim import Affine
from rewarden.verifier.fusion import block_term, functional_rows, fuse, layer_bias
from rewarden.verifier.program import INPUT, Program
from rewarden.verifier.scribe.curves import curve

NOTCH = 2.0**-30  # per unit of width of a neuron: its bounds, and so its chord, differ by rounding
DOUBT = 2.0**-42  # per unit of magnitude that is summed
FLOOR = 2.0**-60
TIE = 1e-6  # relative: a neuron whose bounds are so close to −l = u has its slope written down
Terms = dict[int, Tensor]  # source → coefficients [leaf or 1, row, width]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Affine rows over variables and outputs of relus: terms [leaf or 1, row, width], bias [row] or [leaf, row]."""

    terms: Terms
    bias: Tensor

    @property
    def count(self) -> int:
        return int(self.bias.shape[-1])


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """`own`: what its pre-activation reads, as the kernel's intervals see it; `fused`: over variables and relus."""

    relu: bool  # or gated
    curved: bool  # smooth, or a product
    function: Function | None  # of a smooth one
    width: int  # of outputs
    gates: bool  # a linear layer that some gate reads
    gate_layer: int | None
    gate: float
    own: tuple[tuple[int, Tensor, Tensor], ...]  # source, weight, |weight|
    bias: Tensor
    fused: Rows


@dataclass(slots=True, eq=False)
class Known:
    """What is known of a batch of leaves (filled layer by layer): bounds of pre-activations of relus, [leaf, neuron],
    ranges of outputs, and lines."""

    lo: Tensor
    hi: Tensor
    signs: Mapping[int, Tensor]  # layer → 1 where z >= 0, −1 where z <= 0, else 0
    below: dict[int, Tensor] = field(default_factory=dict)
    above: dict[int, Tensor] = field(default_factory=dict)
    ranges: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    lower: dict[int, Tensor] = field(default_factory=dict)
    upper: dict[int, Tensor] = field(default_factory=dict)
    intercept: dict[int, Tensor] = field(default_factory=dict)
    drop: dict[int, Tensor] = field(default_factory=dict)  # of curved layers: what their lower lines are shifted by
    gap: dict[int, Tensor] = field(default_factory=dict)
    reach: dict[int, Tensor] = field(default_factory=dict)
    fixed: dict[int, Tensor] = field(default_factory=dict)  # of gated layers: where no line may be chosen
    tied: dict[int, Tensor] = field(default_factory=dict)  # slopes that a leaf has named for good, else NaN

    def unstable(self, layer: int) -> Tensor:
        """Where a lower line may be chosen."""
        free = self.gap[layer] > 0
        return free & ~self.fixed[layer] if layer in self.fixed else free

    def surely(self, layer: int) -> Tensor:
        """Where a neuron is not stable but for rounding: if it is to the kernel, it takes no line but the default."""
        return torch.minimum(self.above[layer], -self.below[layer]) > TIE * self.gap[layer]

    def take(self, index: Tensor) -> Known:
        def rows(tensors: Mapping[int, Tensor]) -> dict[int, Tensor]:
            return {k: t[index] for k, t in tensors.items()}

        ranges = {k: (a[index], b[index]) for k, (a, b) in self.ranges.items()}
        return Known(
            self.lo[index], self.hi[index], rows(self.signs), rows(self.below), rows(self.above), ranges,
            rows(self.lower), rows(self.upper), rows(self.intercept), rows(self.drop), rows(self.gap),
            rows(self.reach), rows(self.fixed), rows(self.tied),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Bounded:
    """[leaf, row]: bounds, and what they must exceed; slope·x + constant, of which they are the least values; and
    coefficients on relus' outputs."""

    bound: Tensor
    slack: Tensor
    slope: Tensor
    constant: Tensor
    coefficients: Terms

    def take(self, index: Tensor) -> Bounded:
        return Bounded(self.bound[index], self.slack[index], self.slope[index], self.constant[index], {})


class Mirror:
    """A program of linear layers, relus, gated and curved ones."""

    def __init__(self, program: Program) -> None:
        self.inputs = len(program.claim.variables)
        self.program = program
        fused = fuse(program)
        gates = {layer.gate_layer for layer in program.layers if layer.kind == "gated"}
        self.layers: list[_Layer] = []
        for k, layer in enumerate(program.layers):
            own = [(b.source, _tensor(block_term(b).weight)) for b in layer.blocks]
            rows = Rows({s: _tensor(t.weight)[None] for s, t in fused[k].terms.items()}, _tensor(fused[k].bias))
            parts = tuple((s, w, w.abs()) for s, w in own)
            gate = 0.0 if layer.gate is None else float(layer.gate)
            bias = _tensor(layer_bias(layer)[0])
            relu = layer.kind in ("relu", "gated")
            curved = layer.kind in ("smooth", "product")
            self.layers.append(
                _Layer(relu, curved, layer.function, layer.width, k in gates, layer.gate_layer, gate, parts, bias, rows)
            )
        self.relus = tuple(k for k, layer in enumerate(self.layers) if layer.relu)
        self.curved = any(layer.curved for layer in self.layers)
        self.last = max((k for k, layer in enumerate(self.layers) if layer.relu or layer.curved), default=0)

    @staticmethod
    def of(program: Program) -> Mirror | None:
        """None where all layers are as executed in binary32, or some are of no kind that the kernel knows."""
        known = all(layer.kind != "twin" for layer in program.layers)
        return Mirror(program) if known and program.executed is None else None

    def rows(self, affines: Sequence[Affine]) -> Rows:
        found = functional_rows(self.program, affines)
        return Rows({s: _tensor(t.weight)[None] for s, t in found.terms.items()}, _tensor(found.bias))

    # ── forwards ───────────────────────────────────────────────────────────────────────────────
    def known(
        self, lo: Tensor, hi: Tensor, signs: Mapping[int, Tensor], *, deep: bool, before: Known | None = None
    ) -> Known:
        """Bounds and lines of all layers; without `deep`, from intervals alone. `before`: what is known already."""
        known = Known(lo, hi, signs)
        if before is not None:
            known.tied = before.tied or {k: self.ties(before, k) for k in self.relus}
        known.ranges[INPUT] = (lo, hi)
        for k, layer in enumerate(self.layers):
            low, high = self._interval(known, k)
            if not layer.relu and not layer.curved:
                if layer.gates and deep:
                    low, high = self._sharper(known, k, low, high)
                if before is not None:
                    old = before.ranges[k]
                    low, high = torch.maximum(low, old[0]), torch.minimum(high, old[1])
                known.ranges[k] = (low, high)
                continue
            sign = signs.get(k)
            if sign is not None:
                low = torch.where(sign > 0, low.clamp(min=0.0), low)
                high = torch.where(sign < 0, high.clamp(max=0.0), high)
            if before is not None:
                low, high = torch.maximum(low, before.below[k]), torch.minimum(high, before.above[k])
            if deep:
                low, high = self._sharper(known, k, low, high)
            if layer.curved:
                self._bend(known, k, low, high)
            else:
                self._activate(known, k, low, high)
                if k in known.tied:
                    named = known.unstable(k) & ~known.tied[k].isnan()
                    known.lower[k] = torch.where(named, known.tied[k], known.lower[k])
        return known

    def ties(self, known: Known, k: int) -> Tensor:
        """Slopes below neurons whose default hangs on rounding: a leaf names them. NaN elsewhere."""
        tie = (known.below[k] + known.above[k]).abs() <= TIE * known.gap[k]
        return torch.where(tie & (known.gap[k] > 0), known.lower[k], torch.nan)

    def _interval(self, known: Known, k: int) -> tuple[Tensor, Tensor]:
        layer = self.layers[k]
        middle, spread = layer.bias, torch.zeros(1, dtype=torch.float64)
        reach = layer.bias.abs()
        for source, weight, size in layer.own:
            low, high = known.ranges[source]
            middle = middle + (0.5 * (low + high)) @ weight.T
            spread = spread + (0.5 * (high - low)) @ size.T
            reach = reach + torch.maximum(low.abs(), high.abs()) @ size.T
        known.reach[k] = reach.expand(known.lo.shape[0], -1)
        return (middle - spread).expand(known.lo.shape[0], -1), (middle + spread).expand(known.lo.shape[0], -1)

    def _sharper(self, known: Known, k: int, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        loose = (low < 0) & (high > 0) if self.layers[k].relu else (low < high) | (not self.layers[k].curved)
        most = int(loose.sum(-1).max())
        if not most:
            return low, high
        which = loose.to(torch.int8).argsort(dim=-1, descending=True, stable=True)[:, :most]  # those of each leaf first
        fused = self.layers[k].fused
        terms = {s: w[0][which] for s, w in fused.terms.items()}
        bias = fused.bias[which]
        both = {s: torch.cat((w, -w), 1) for s, w in terms.items()}
        bound = self.lower(known, Rows(both, torch.cat((bias, -bias), 1)), bare=True).bound
        old_low, old_high = low.gather(1, which), high.gather(1, which)
        open_here = loose.gather(1, which)
        new_low = torch.where(open_here, torch.maximum(old_low, bound[:, :most]), old_low)
        if self.layers[k].relu:
            open_here = open_here & (new_low < 0)
        new_high = torch.where(open_here, torch.minimum(old_high, -bound[:, most:]), old_high)
        return low.scatter(1, which, new_low), high.scatter(1, which, new_high)

    def _activate(self, known: Known, k: int, low: Tensor, high: Tensor) -> None:
        active = low >= 0
        unstable = ~active & (high > 0)
        zero, one = torch.zeros_like(low), torch.ones_like(low)
        gap = torch.where(unstable, high - low, zero)
        chord = torch.where(unstable, high / torch.where(unstable, gap, one), active.to(low.dtype))
        known.below[k], known.above[k], known.gap[k] = low, high, gap
        known.upper[k] = chord
        known.intercept[k] = torch.where(unstable, high * (1.0 - chord), zero)
        known.lower[k] = torch.where(unstable, (high > -low).to(low.dtype), active.to(low.dtype))
        known.ranges[k] = (low.clamp(min=0.0), high.clamp(min=0.0))
        if self.layers[k].gate_layer is not None:
            self._gate(known, k)

    def _bend(self, known: Known, k: int, low: Tensor, high: Tensor) -> None:
        found = curve(self.layers[k].function, low, high)
        known.below[k], known.above[k] = low, high
        known.lower[k], known.drop[k], known.upper[k] = found.lower, found.drop, found.upper
        known.intercept[k], known.gap[k], known.ranges[k] = found.shift, found.doubt, (found.least, found.most)

    def _gate(self, known: Known, k: int) -> None:
        """Behind a gate that is open, 0; behind one that is closed, a relu whose lower line is z; else between both.
        What is within rounding of the gate counts as either."""
        layer = self.layers[k]
        assert layer.gate_layer is not None
        low, high = known.ranges[layer.gate_layer]
        doubt = DOUBT * known.reach[layer.gate_layer] + FLOOR
        is_open = (low >= layer.gate + doubt).any(-1, keepdim=True)
        closed = (high < layer.gate - doubt).all(-1, keepdim=True)
        zero = torch.zeros_like(known.lower[k])
        one = torch.where((known.above[k] > 0) | (known.below[k] >= 0), torch.ones_like(zero), zero)
        known.lower[k] = torch.where(closed, one, zero)
        known.upper[k] = torch.where(is_open, zero, known.upper[k])
        known.intercept[k] = torch.where(is_open, zero, known.intercept[k])
        known.gap[k] = torch.where(is_open, zero, known.gap[k])
        known.fixed[k] = ~closed.expand_as(zero)
        least, most = known.ranges[k]
        known.ranges[k] = (torch.where(closed, least, zero), torch.where(is_open, zero, most))

    # ── backwards ──────────────────────────────────────────────────────────────────────────────
    def lower(
        self,
        known: Known,
        rows: Rows,
        slopes: Mapping[int, Tensor] | None = None,
        held: Mapping[int, Tensor] | None = None,
        weights: Tensor | None = None,
        *,
        bare: bool = False,
    ) -> Bounded:
        """Lower bounds of the rows, or of one sum of them with `weights` [leaf, row]. `slopes` [leaf, neuron]: below
        unstable neurons; `held`: multiples of pre-activations that are taken off. `bare`: nobody reads the slack."""
        terms, constant = dict(rows.terms), rows.bias if rows.bias.ndim == 2 else rows.bias[None]
        if weights is not None:
            terms = {s: weights[:, None] @ w for s, w in terms.items()}
            constant = weights @ rows.bias[:, None]
        slack = DOUBT * constant.abs()
        kept: Terms = {}
        for k in range(len(self.layers) - 1, -1, -1):
            extra = None if held is None else held.get(k)
            if k not in terms and extra is None:
                continue
            width = self.layers[k].width
            c = terms.pop(k) if k in terms else torch.zeros(1, 1, width, dtype=torch.float64)
            kept[k] = c
            size = c.abs()
            positive = c.clamp(min=0.0)
            negative = c - positive
            below = known.lower[k] if slopes is None or k not in slopes else slopes[k]
            drop = (negative * known.intercept[k][:, None]).sum(-1)
            if k in known.drop:
                drop = drop - (positive * known.drop[k][:, None]).sum(-1)
            if below.shape[-1] > width:  # a product's row is read by both factors
                positive, negative = torch.cat((positive, positive), -1), torch.cat((negative, negative), -1)
            on_z = positive * below[:, None] + negative * known.upper[k][:, None]
            if not bare:
                slack = slack + NOTCH * (size * known.gap[k][:, None]).sum(-1)
            if extra is not None:
                on_z = on_z - extra[:, None]
            fused = self.layers[k].fused
            added = on_z @ fused.bias
            constant = constant + drop + added
            if not bare:
                slack = slack + DOUBT * ((on_z.abs() * known.reach[k][:, None]).sum(-1) + drop.abs() + added.abs())
            for source, weight in fused.terms.items():
                more = on_z @ weight[0]
                terms[source] = terms[source] + more if source in terms else more
        slope = terms.get(INPUT)
        if slope is None:
            slope = torch.zeros(1, 1, self.inputs, dtype=torch.float64)
        slope = slope.expand(known.lo.shape[0], constant.shape[1], self.inputs)
        positive = slope.clamp(min=0.0)
        least = (positive @ known.lo[:, :, None] + (slope - positive) @ known.hi[:, :, None])[..., 0]
        size = torch.maximum(known.lo.abs(), known.hi.abs())
        slack = slack + DOUBT * (slope.abs() @ size[:, :, None])[..., 0] + FLOOR
        constant = constant.expand(least.shape)
        return Bounded(least + constant, slack.expand(least.shape), slope, constant, kept)

    def values(self, points: Tensor, rows: Rows) -> Tensor:
        """The rows at points [leaf, variable], one for each leaf: [leaf, row]."""
        outputs: Terms = {INPUT: points}
        for k, layer in enumerate(self.layers):
            if layer.relu or layer.curved:
                z = layer.fused.bias + sum(outputs[s] @ w[0].T for s, w in layer.fused.terms.items())
                if layer.function is not None:
                    outputs[k] = torch.from_numpy(value(layer.function, z.numpy()))
                elif layer.curved:
                    outputs[k] = z[:, : layer.width] * z[:, layer.width :]
                else:
                    outputs[k] = z.clamp(min=0.0)
                if layer.gate_layer is not None:
                    gate = self.layers[layer.gate_layer].fused
                    reached = gate.bias + sum(outputs[s] @ w[0].T for s, w in gate.terms.items()) >= layer.gate
                    outputs[k] = torch.where(reached.any(-1, keepdim=True), torch.zeros_like(z), outputs[k])
        return rows.bias + sum((outputs[s] @ w[0].T for s, w in rows.terms.items()), torch.zeros(1))


def _tensor(values: object) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64)
