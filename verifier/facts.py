"""Premises as multipliers: on the points where facts p_i(x) >= 0 hold, F >= F − Σ λ_i·p_i for every λ >= 0.

Minimising the right-hand side over the box is a linear program's dual (Lagrange); in one λ it is concave and piecewise
linear, with a breakpoint where a coefficient a_j − λ·p_j changes sign. So one λ is chosen exactly by sorting its
breakpoints, for all rows at once, and a few sweeps over the facts come close to the optimum. Whatever λ comes out is a
valid one: the bound that counts is evaluated anew from it, with rounding errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rewarden.spec_lang.claim import Affine
from rewarden.verifier.box_minimum import AffineRows, Boxes, box_minimum
from rewarden.verifier.rounding import INFLATE, TINY, UNIT, with_error

FactId = tuple[int, int]  # clause, atom
SWEEPS = 2
FLAT = 2.0**-45


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """Facts over variables alone: slope·x + constant >= 0, known up to errors. [fact, variable] and [fact]."""

    ids: tuple[FactId, ...]
    slope: Tensor
    slope_error: Tensor
    constant: Tensor
    constant_error: Tensor

    @property
    def count(self) -> int:
        return len(self.ids)

    @staticmethod
    def of(ids: Sequence[FactId], affines: Sequence[Affine], variables: int) -> Facts:
        slope, slope_error = np.zeros((len(ids), variables)), np.zeros((len(ids), variables))
        constant, constant_error = np.zeros(len(ids)), np.zeros(len(ids))
        for i, affine in enumerate(affines):
            assert not affine.calls
            constant[i], constant_error[i] = with_error(affine.constant)
            for j, value in affine.variables:
                slope[i, j], slope_error[i, j] = with_error(value)
        tensors = (torch.tensor(a) for a in (slope, slope_error, constant, constant_error))
        return Facts(tuple(ids), *tensors)


def strengthen(rows: AffineRows, boxes: Boxes, facts: Facts) -> tuple[Tensor, AffineRows, Tensor]:
    """Multipliers [row, fact], the rows with the facts subtracted, and their rigorous lower bounds [row]."""
    multipliers = torch.zeros(rows.slope.shape[0], facts.count, dtype=torch.float64)
    slope = rows.slope
    for _ in range(SWEEPS if facts.count > 1 else 1):
        for i in range(facts.count):
            base = slope + multipliers[:, i : i + 1] * facts.slope[i]
            best = best_multiplier(base, facts.slope[i], facts.constant[i], boxes)
            multipliers[:, i] = best
            slope = base - best[:, None] * facts.slope[i]
    strengthened = subtract(rows, multipliers, facts, boxes)
    return multipliers, strengthened, box_minimum(strengthened, boxes)


def subtract(rows: AffineRows, multipliers: Tensor, facts: Facts, boxes: Boxes) -> AffineRows:
    """rows − Σ λ·fact, with every rounding and conversion in its error."""
    taken, taken_size = multipliers @ facts.slope, multipliers @ facts.slope.abs()
    level, level_size = multipliers @ facts.constant, multipliers @ facts.constant.abs()
    used = (multipliers > 0).any(-1)
    operations = (facts.count + 4) * UNIT * INFLATE
    slope_error = operations * (rows.slope.abs() + taken_size) + multipliers @ facts.slope_error
    error = (slope_error * boxes.magnitude).sum(-1)
    error = error + operations * (rows.constant.abs() + level_size) + multipliers @ facts.constant_error
    loss = TINY * (1.0 + multipliers.sum(-1)) * (1.0 + boxes.magnitude.sum(-1))
    return AffineRows(
        torch.where(used[:, None], rows.slope - taken, rows.slope),
        torch.where(used, rows.constant - level, rows.constant),
        torch.where(used, (rows.error + error) * INFLATE, rows.error),
        torch.where(used, rows.loss + loss, rows.loss),
    )


def best_multiplier(slope: Tensor, fact: Tensor, level: Tensor, boxes: Boxes) -> Tensor:
    """The λ >= 0 that maximises min over the box of slope·x − λ·(fact·x + level), [row].

    The derivative at 0+ is −fact at the minimiser; past the breakpoint of variable j it falls by |fact_j|·width_j.
    Where it never reaches 0 the fact excludes the whole box: any large λ will do, and one past the last breakpoint is
    taken.
    """
    width = boxes.hi - boxes.lo
    coefficient = torch.where(slope == 0, -fact.expand_as(slope), slope)
    minimiser = torch.where(coefficient > 0, boxes.lo, boxes.hi)
    rising = -(level + (fact * minimiser).sum(-1))
    ratio = slope / fact
    crossing = (fact != 0) & (ratio > 0)
    breakpoints, order = torch.where(crossing, ratio, torch.inf).sort(dim=-1)
    falls = torch.where(crossing, fact.abs() * width, 0.0).gather(-1, order).cumsum(-1)
    after = rising[:, None] - falls
    position = (after > 0).sum(-1)
    inside = position < slope.shape[-1]
    chosen = breakpoints.gather(-1, position.clamp(max=slope.shape[-1] - 1)[:, None])[:, 0]
    chosen = torch.where(inside & torch.isfinite(chosen), chosen, torch.nan)
    largest = torch.where(torch.isfinite(breakpoints), breakpoints, 0.0).amax(-1)
    chosen = torch.where(torch.isnan(chosen), 2.0 * largest + 1.0, chosen)
    # Where the derivative is 0 up to rounding the fact gains nothing, but a strict one turns `>= 0` into `> 0`.
    zero = -FLAT * (level.abs() + (fact.abs() * boxes.magnitude).sum(-1))
    usable = (rising > zero) & torch.isfinite(chosen)
    return torch.where(usable, chosen, torch.zeros_like(chosen))
