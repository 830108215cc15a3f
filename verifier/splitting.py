"""Where to cut a box: the variable whose steepness times width is largest, at a short dyadic number near the middle.

Steepness × width is how far the functional may move along the variable (`sensitivity`). Premises may need cuts along
others too, so every variable that matters gets a small share by its relative width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rewarden.verifier.box_minimum import Boxes

EVEN = 0.05  # share of the largest score that a variable gets for its width alone
DISCRETE = 2.0  # discrete variables first: their halves have no overlap, and relaxing them is loose
STEPS = 4  # a continuous cut is a multiple of width / 2^STEPS, rounded down to a power of two


@dataclass(frozen=True, slots=True, eq=False)
class Cuts:
    """Per box: a variable (−1: nothing left to cut), where, and the share of the lower side."""

    variable: Tensor
    cut: Tensor
    share: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Axes:
    """What splitting knows of the variables: which are discrete, which matter at all, the width to compare with."""

    discrete: Tensor
    matters: Tensor
    width: Tensor


def choose_cuts(boxes: Boxes, steepness: Tensor, axes: Axes) -> Cuts:
    """`steepness` [box, variable]: how much the goal may change along each variable, per unit."""
    width = boxes.hi - boxes.lo
    middle, lower = _middles(boxes, width, axes.discrete)
    falls = steepness.nan_to_num(nan=0.0, posinf=1e300) * width
    relative = width / axes.width.clamp(min=1e-300)
    most = falls.amax(-1, keepdim=True)
    score = torch.where(most > 0, falls + EVEN * most * relative, relative)
    score = torch.where(axes.discrete, DISCRETE * score, score)
    possible = (middle > boxes.lo) & (middle < boxes.hi) & axes.matters & torch.isfinite(score)
    score = torch.where(possible, score, -1.0)
    variable = score.argmax(-1)
    at = variable[:, None]
    found = score.gather(-1, at)[:, 0] >= 0
    return Cuts(
        torch.where(found, variable, -1),
        middle.gather(-1, at)[:, 0],
        lower.gather(-1, at)[:, 0],
    )


def _middles(boxes: Boxes, width: Tensor, discrete: Tensor) -> tuple[Tensor, Tensor]:
    """A cut for every variable, and the lower side's share of it. Cuts are strictly inside the exact box, or equal lo.

    Float bounds are within one unit in the last place of the exact ones, hence the two `nextafter`.
    """
    step = torch.ldexp(torch.ones_like(width), torch.frexp(width).exponent - 1 - STEPS)
    centre = boxes.lo + width / 2
    middle = torch.round(centre / step) * step
    inside = (middle > torch.nextafter(boxes.lo, boxes.hi)) & (middle < torch.nextafter(boxes.hi, boxes.lo))
    middle = torch.where(inside & torch.isfinite(middle), middle, boxes.lo)
    half = torch.floor(centre) + 0.5
    half = torch.where(half < boxes.hi, half, half - 1.0)
    whole = torch.where((half > boxes.lo) & (half < boxes.hi), half, boxes.lo)
    share = (middle - boxes.lo) / width
    whole_share = (torch.floor(whole) - boxes.lo + 1.0) / (width + 1.0)
    return torch.where(discrete, whole, middle), torch.where(discrete, whole_share, share).nan_to_num(nan=0.5)


def cut_boxes(boxes: Boxes, cuts: Cuts, discrete: Tensor) -> Boxes:
    """Both sides of every cut: rows 2i and 2i + 1 are the sides of box i."""
    rows = torch.arange(cuts.variable.shape[0])
    lo, hi = boxes.lo.repeat_interleave(2, 0), boxes.hi.repeat_interleave(2, 0)
    whole = discrete[cuts.variable]
    hi[2 * rows, cuts.variable] = torch.where(whole, torch.floor(cuts.cut), cuts.cut)
    lo[2 * rows + 1, cuts.variable] = torch.where(whole, torch.floor(cuts.cut) + 1.0, cuts.cut)
    return Boxes(lo, hi)
