"""The minimum over a box of affine functions given with their error, rounded down (step 4 of `rounding`)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rewarden.verifier.rounding import INFLATE, TINY, UNIT, gamma


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """A batch of boxes, float64 [box, variable], that contain the exact ones."""

    lo: Tensor
    hi: Tensor

    @property
    def magnitude(self) -> Tensor:
        """A bound of |x|, [box, variable]."""
        return torch.maximum(self.lo.abs(), self.hi.abs())

    def take(self, index: Tensor) -> Boxes:
        return Boxes(self.lo.index_select(0, index), self.hi.index_select(0, index))


@dataclass(frozen=True, slots=True, eq=False)
class AffineRows:
    """Functions that are at least slope·x + constant − error on their box. `loss` is what underflow may have taken.

    slope [row, variable]; constant, error, loss [row].
    """

    slope: Tensor
    constant: Tensor
    error: Tensor
    loss: Tensor

    def take(self, index: Tensor) -> AffineRows:
        return AffineRows(
            self.slope.index_select(0, index),
            self.constant.index_select(0, index),
            self.error.index_select(0, index),
            self.loss.index_select(0, index),
        )


def box_minimum(rows: AffineRows, boxes: Boxes) -> Tensor:
    """Rigorous lower bounds [row], one box per row; −inf where a number left the range."""
    positive = rows.slope.clamp(min=0.0)
    negative = rows.slope - positive
    least = (positive * boxes.lo + negative * boxes.hi).sum(-1)
    n = rows.slope.shape[-1]
    magnitude = ((positive - negative) * boxes.magnitude).sum(-1)
    touched = ((rows.slope != 0).any(-1)).to(least.dtype)
    error = (rows.error + gamma(n) * magnitude) * INFLATE + rows.loss + TINY * touched * (1.0 + magnitude)
    # Two more roundings, of least + constant and of the subtraction; none where there is nothing to add or subtract.
    exact = (least == 0) & (error == 0)
    error = error + torch.where(exact, 0.0, 4.0 * UNIT * (least.abs() + rows.constant.abs()))
    bound = (least + rows.constant) - error * (1.0 + 8.0 * UNIT)
    return torch.where(torch.isfinite(bound), bound, torch.full_like(bound, -torch.inf))
