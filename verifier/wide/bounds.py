"""Rigorous bounds over a batch of boxes, all rows of a box at once.

The same argument as in `rounding`, laid out for few boxes with many rows: coefficients are [box, row, neuron], so that
a layer is one matrix product, and what belongs to a box (lines, noise, its middle and radius) is broadcast. Three
degrees of care, each with the result of the one before:

1. intervals, layer by layer;
2. rows back-substituted (CROWN) with neurons bounded by intervals;
3. the same, with neurons that intervals leave unstable bounded by back-substitution as well.

Signs. A neuron may be held: its pre-activation z is at least 0 (sign 1) or at most 0 (sign -1) at the points that are
looked at. Then sign·z >= 0 there, and a functional is at least what it is less multiplier·sign·z, for any multiplier
>= 0 (Wang et al., Beta-CROWN, NeurIPS 2021). In `lower_rows` that is one more rounded sum for each coefficient on a
pre-activation, which `noise` pays for: 4u·|z| covers the product with a slope and that sum.

A box is given by middle m and radius r with |x - m| <= r, rounded up; |x| <= size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rewarden.verifier.relaxation import relu_lines
from rewarden.verifier.rounding import INFLATE, TINY, UNIT, gamma
from rewarden.verifier.wide.network import Network, Node


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of each source over a batch of boxes; entry 0 is the variables. All [box, width].

    lo, hi: of pre-activations (of variables at 0). size: bounds |output|. noise: what one unit of |coefficient| on z
    costs (0 for the variables). mass [box]: magnitudes that may multiply an underflow.
    """

    middle: Tensor
    radius: Tensor
    lo: list[Tensor]
    hi: list[Tensor]
    size: list[Tensor]
    noise: list[Tensor]
    mass: Tensor

    def take(self, index: Tensor) -> Known:
        """A copy of some boxes."""

        def rows(tensors: list[Tensor]) -> list[Tensor]:
            return [t[index] for t in tensors]

        return Known(
            self.middle[index], self.radius[index], rows(self.lo), rows(self.hi), rows(self.size), rows(self.noise),
            self.mass[index],
        )  # fmt: skip

    def part(self, boxes: slice) -> Known:
        """Views of some boxes."""

        def rows(tensors: list[Tensor]) -> list[Tensor]:
            return [t[boxes] for t in tensors]

        return Known(
            self.middle[boxes], self.radius[boxes], rows(self.lo), rows(self.hi), rows(self.size), rows(self.noise),
            self.mass[boxes],
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Per node, [box, neuron]: slopes below and above, the intercept above; multipliers·sign of held neurons."""

    lower: list[Tensor]
    upper: list[Tensor]
    intercept: list[Tensor]
    held: list[Tensor | None]


def known_by_intervals(network: Network, lo: Tensor, hi: Tensor) -> Known:
    """Degree 1. lo, hi [box, variable] contain the exact boxes."""
    middle = lo + 0.5 * (hi - lo)
    radius = torch.maximum(hi - middle, middle - lo) * (1.0 + 4.0 * UNIT) + TINY
    size = torch.maximum(lo.abs(), hi.abs())
    known = Known(middle, radius, [lo], [hi], [size], [torch.zeros_like(lo)], 1.0 + size.sum(-1))
    mass = known.mass
    middles, radii = [middle], [radius]
    for node in network.nodes:
        z, spread, reach, own = node.bias, torch.zeros(1, dtype=torch.float64), node.bias.abs(), node.bias_error
        for m in node.maps:
            z = z + middles[m.source] @ m.weight.T
            spread = spread + radii[m.source] @ m.size.T
            reach = reach + (middles[m.source].abs() + radii[m.source]) @ m.size.T
            if m.error is not None:
                own = own + known.size[m.source] @ m.error.T
        mass = mass + 2.0 * reach.sum(-1)
        wrong = (gamma(2 * node.terms) * reach + own) * INFLATE + TINY * (mass[:, None] + reach)
        least, most = _finite(z - (spread + wrong), z + (spread + wrong))
        known.lo.append(least)
        known.hi.append(most)
        here = torch.maximum(least.abs(), most.abs())
        known.noise.append((gamma(node.width) * reach + own + 4.0 * UNIT * here) * INFLATE)
        below, above = least.clamp(min=0.0), most.clamp(min=0.0)
        known.size.append(above)
        middles.append(0.5 * below + 0.5 * above)
        radii.append(torch.maximum(above - middles[-1], middles[-1] - below) * (1.0 + 4.0 * UNIT) + TINY)
    return Known(middle, radius, known.lo, known.hi, known.size, known.noise, mass)


def _finite(lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
    inf = torch.inf
    return lo.nan_to_num(nan=-inf, posinf=inf, neginf=-inf), hi.nan_to_num(nan=inf, posinf=inf, neginf=-inf)


def default_lines(known: Known) -> Lines:
    """The lines that a checker takes: chords, and below them z or 0, whichever is closer."""
    found = Lines([torch.zeros(0)], [torch.zeros(0)], [torch.zeros(0)], [None] * len(known.lo))
    for lo, hi in zip(known.lo[1:], known.hi[1:], strict=True):
        lines = relu_lines(lo, hi)
        found.lower.append(lines.lower)
        found.upper.append(lines.upper)
        found.intercept.append(lines.intercept)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """What is to be bounded: coefficients by source [box or 1, row, width], constant and error [box or 1, row]."""

    terms: dict[int, Tensor]
    constant: Tensor
    error: Tensor


def all_rows(known: Known, rows: Node) -> Start:
    """Every row on every box."""
    error = rows.bias_error[None]
    for m in rows.maps:
        if m.error is not None:
            error = error + known.size[m.source] @ m.error.T
    return Start({m.source: m.weight[None] for m in rows.maps}, rows.bias[None], error)


def one_row(known: Known, rows: Node, which: Tensor) -> Start:
    """Row `which[i]` on box i."""
    error = rows.bias_error[which]
    for m in rows.maps:
        if m.error is not None:
            error = error + (m.error[which] * known.size[m.source]).sum(-1)
    return Start({m.source: m.weight[which][:, None] for m in rows.maps}, rows.bias[which][:, None], error[:, None])


@dataclass(frozen=True, slots=True, eq=False)
class Bounded:
    """Rigorous lower bounds [box, row] and their slopes at the variables [box, row, variable]. By node, if asked for:
    `cost`, what the relaxation of each unstable neuron takes off, about, and the `weight` of each neuron's output,
    [box, row, neuron]."""

    bound: Tensor
    slope: Tensor
    cost: dict[int, Tensor]
    weight: dict[int, Tensor]


def lower_rows(network: Network, known: Known, lines: Lines, start: Start, *, costs: bool = False) -> Bounded:
    """Back-substitution of every row to the variables, and its least value there."""
    constant, error, terms = start.constant, start.error, dict(start.terms)
    cost: dict[int, Tensor] = {}
    weight: dict[int, Tensor] = {}
    for k in range(len(network.nodes), 0, -1):
        if k not in terms:
            continue
        coefficients = terms.pop(k)
        positive = coefficients.clamp(min=0.0)
        negative = coefficients - positive
        on_z = torch.addcmul(negative * lines.upper[k][:, None], positive, lines.lower[k][:, None])
        if costs:
            cost[k], weight[k] = (0.5 * positive - negative) * lines.intercept[k][:, None], coefficients
        held = lines.held[k]
        if held is not None:
            on_z = on_z - held[:, None]
        drop = (negative @ lines.intercept[k][:, :, None])[..., 0]
        node = network.nodes[k - 1]
        error = error + (on_z.abs() @ known.noise[k][:, :, None])[..., 0] + gamma(node.width) * drop.abs()
        constant = constant + drop
        error = error + 2.0 * UNIT * constant.abs()
        constant = constant + on_z @ node.bias
        error = error + 2.0 * UNIT * constant.abs()
        for m in node.maps:
            added = on_z @ m.weight
            old = terms.get(m.source)
            if old is not None:
                added = old + added
                error = error + 2.0 * UNIT * (added.abs() @ known.size[m.source][:, :, None])[..., 0]
            terms[m.source] = added
    slope = terms.get(0)
    if slope is None:
        slope = torch.zeros(1, 1, network.inputs, dtype=torch.float64)
    slope = slope.expand(known.mass.shape[0], constant.shape[1], network.inputs)
    size = slope.abs()
    least = (slope @ known.middle[:, :, None])[..., 0] - (size @ known.radius[:, :, None])[..., 0]
    reach = (size @ (known.size[0] + known.radius)[:, :, None])[..., 0]
    error = (error + 2.0 * gamma(network.inputs) * reach + 8.0 * UNIT * (least.abs() + constant.abs())) * INFLATE
    bound = (least + constant) - (error + TINY * known.mass[:, None]) * (1.0 + 8.0 * UNIT)
    return Bounded(torch.where(torch.isfinite(bound), bound, torch.full_like(bound, -torch.inf)), slope, cost, weight)
