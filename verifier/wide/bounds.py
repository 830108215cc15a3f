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
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewarden.verifier.rounding import UNIT, gamma
from rewarden.verifier.wide import passes
from rewarden.verifier.wide.formats import DOUBLE, Format, format_of
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
    """Degree 1. lo, hi [box, variable] contain the exact boxes.

    Values at middles are formed in binary64; how far values may be from them, and what rounding is charged for, in the
    format of the network's products. Where that overflows, all is in binary64.
    """
    products = format_of(network)
    known = _intervals(network, lo, hi, products)
    if products is not DOUBLE and not bool(torch.isfinite(known.mass).all()):
        known = _intervals(network, lo, hi, DOUBLE)
    return known


def _intervals(network: Network, lo: Tensor, hi: Tensor, products: Format) -> Known:
    count, dtype = lo.shape[0], products.dtype
    above = [torch.empty(2 * count, network.inputs, dtype=dtype)]
    found = passes.boxes(array(lo), array(hi), array(above[0]), products.unit, products.small)
    middle, radius, size, mass = (torch.from_numpy(values) for values in found)
    known = Known(middle, radius, [lo], [hi], [size], [torch.zeros_like(lo)], mass)
    middles = [middle]
    for node in network.nodes:
        z, sums = node.bias.expand(count, node.width), torch.zeros(1, dtype=dtype)
        for m in node.maps:
            z = torch.addmm(z, middles[m.source], m.weight.T)
            sums = sums + above[m.source] @ m.above(dtype).T
        above.append(torch.empty(2 * count, node.width, dtype=dtype))
        grow = 1.0 if products is DOUBLE else 1.0 + products.gamma(node.terms + 8)
        small = 0.0 if products is DOUBLE else products.small
        factors = (grow, gamma(2 * node.terms), gamma(node.width), products.unit, small)
        here = (array(z), array(sums.expand(2 * count, node.width)), array(node.bias), array(own_error(known, node)))
        each = passes.intervals(*here, array(known.mass), array(above[-1]), factors)
        least, most, noise, size, centre = (torch.from_numpy(values) for values in each)
        known.lo.append(least)
        known.hi.append(most)
        known.noise.append(noise)
        known.size.append(size)
        middles.append(centre)
    return known


def own_error(known: Known, rows: Node) -> Tensor:
    """[box or 1, row]: what is unknown of biases, and of weights times values, and of how rows are executed."""
    error = rows.bias_error[None]
    for m in rows.maps:
        if m.error is not None:
            error = error + known.size[m.source] @ m.error.T
    return error if rows.executed is None else error + rows.executed.error(known.size)


def array(tensor: Tensor) -> NDArray[Any]:
    """The same memory, row by row."""
    found: NDArray[Any] = tensor.contiguous().numpy()
    return found


def default_lines(known: Known) -> Lines:
    """The lines that a checker takes: chords, and below them z or 0, whichever is closer."""
    found = Lines([torch.zeros(0)], [torch.zeros(0)], [torch.zeros(0)], [None] * len(known.lo))
    for lo, hi in zip(known.lo[1:], known.hi[1:], strict=True):
        lower, upper, intercept = passes.chords(array(lo), array(hi))
        found.lower.append(torch.from_numpy(lower))
        found.upper.append(torch.from_numpy(upper))
        found.intercept.append(torch.from_numpy(intercept))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """What is to be bounded: coefficients by source [box or 1, row, width], constant and error [box or 1, row]."""

    terms: dict[int, Tensor]
    constant: Tensor
    error: Tensor


def all_rows(known: Known, rows: Node) -> Start:
    """Every row on every box."""
    return Start({m.source: m.weight[None] for m in rows.maps}, rows.bias[None], own_error(known, rows))


def one_row(known: Known, rows: Node, which: Tensor) -> Start:
    """Row `which[i]` on box i."""
    error = rows.bias_error[which]
    for m in rows.maps:
        if m.error is not None:
            error = error + (m.error[which] * known.size[m.source]).sum(-1)
    if rows.executed is not None:
        error = error + rows.executed.error(known.size).gather(-1, which[:, None])[:, 0]
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
    shape = (known.mass.shape[0], start.constant.shape[1])
    terms, nothing = dict(start.terms), array(torch.zeros(0, 0, dtype=torch.float64))
    constant, error = (array(values.expand(shape).clone()) for values in (start.constant, start.error))
    cost: dict[int, Tensor] = {}
    weight: dict[int, Tensor] = {}
    for k in range(len(network.nodes), 0, -1):
        if k not in terms:
            continue
        coefficients, node, held = terms.pop(k), network.nodes[k - 1], lines.held[k]
        if costs:
            positive = coefficients.clamp(min=0.0)
            cost[k], weight[k] = (1.5 * positive - coefficients) * lines.intercept[k][:, None], coefficients
        slopes = (array(lines.lower[k]), array(lines.upper[k]), array(lines.intercept[k]))
        parts = (*slopes, nothing if held is None else array(held))
        on_z = torch.from_numpy(passes.on_inputs(
            array(coefficients), parts, array(known.noise[k]), array(node.bias), constant, error, gamma(node.width)
        ))  # fmt: skip
        for m in node.maps:
            added = on_z @ m.weight
            old = terms.get(m.source)
            if old is not None:
                added = old + added
                lost = (added.abs() @ known.size[m.source][:, :, None])[..., 0]
                error += 2.0 * UNIT * array(lost)
            terms[m.source] = added
    slope = terms.get(0)
    if slope is None:
        slope = torch.zeros(1, 1, network.inputs, dtype=torch.float64)
    slope = slope.expand(slope.shape[0], shape[1], network.inputs)
    box = (array(known.middle), array(known.radius), array(known.size[0]), array(known.mass))
    least = passes.least_values(array(slope), box, constant, error, gamma(network.inputs))
    bound = torch.from_numpy(np.where(np.isfinite(least), least, -np.inf))
    return Bounded(bound, slope.expand(*shape, network.inputs), cost, weight)


def rows_about(network: Network, known: Known, lines: Lines, start: Start) -> Tensor:
    """`lower_rows` as a differentiable function of the lines, [box, row], its rounding left out: a hint."""
    constant, terms = start.constant, dict(start.terms)
    for k in range(len(network.nodes), 0, -1):
        if k not in terms:
            continue
        coefficients, node = terms.pop(k), network.nodes[k - 1]
        positive = coefficients.clamp(min=0.0)
        negative = coefficients - positive
        on_z = torch.addcmul(negative * lines.upper[k][:, None], positive, lines.lower[k][:, None])
        held = lines.held[k]
        if held is not None:
            on_z = on_z - held[:, None]
        constant = constant + (negative @ lines.intercept[k][:, :, None])[..., 0] + on_z @ node.bias
        for m in node.maps:
            added = on_z @ m.weight
            terms[m.source] = terms[m.source] + added if m.source in terms else added
    slope = terms.get(0)
    if slope is None:
        return constant.expand(known.mass.shape[0], -1)
    return constant + ((slope @ known.middle[:, :, None]) - (slope.abs() @ known.radius[:, :, None]))[..., 0]
