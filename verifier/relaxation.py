"""The lines that replace a neuron: y >= lower·z and y <= upper·z + intercept on [l, u], despite rounding.

A relu is convex, so a line that is above it at l and at u is above it between them. The chord's slope may therefore
be any number at all, and only the intercept has to be right: the larger of what the two ends need, rounded up. The
slope is rounded down to a multiple of 2^-40, which makes 1 − slope exact and keeps an exact checker's numbers short: it
takes the same line, up to the rounding of l and u.

A gated neuron's output is 0 (gate open) or max(z, 0). Open over the whole box: 0. Closed over the whole box: a relu
whose default lower line is z, because r − relu(r − c) is bounded by c only if r cancels. Otherwise it is one of the
two, at least 0 and at most what bounds a relu from above.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CHORD_STEPS = 2.0**40


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Per box and neuron, all [box, neuron]; `unstable` neurons have 0 strictly between their bounds."""

    lower: Tensor
    upper: Tensor
    intercept: Tensor
    unstable: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """What is known of a gated neuron's gate over each box, both [box, 1]; both false: it may be either."""

    open: Tensor
    closed: Tensor


def relu_lines(lo: Tensor, hi: Tensor, slopes: Tensor | None = None, gate: Gate | None = None) -> Lines:
    """Lines for pre-activations in [lo, hi]. `slopes` overrides default lower slopes where it is not NaN.

    Bounds that are NaN or infinite give lines with NaN, so that nothing is proved with them.
    """
    active, inactive = lo >= 0, hi <= 0
    unstable = ~(active | inactive)
    one, zero = torch.ones_like(lo), torch.zeros_like(lo)
    chord = (torch.floor(hi / (hi - lo) * CHORD_STEPS) / CHORD_STEPS).clamp(0.0, 1.0)
    # Two roundings at most: (1 + 2^-50) covers them, 2^-1000 what underflow may take.
    need = torch.maximum(-chord * lo, (1.0 - chord) * hi)
    intercept = torch.where(unstable, need * (1.0 + 2.0**-50) + 2.0**-1000, zero)
    upper = torch.where(unstable, chord, torch.where(active, one, zero))
    default = one if gate is not None else (hi > -lo).to(lo.dtype)
    chosen = default if slopes is None else torch.where(torch.isnan(slopes), default, slopes)
    lower = torch.where(unstable, chosen, torch.where(active, one, zero))
    if gate is None:
        return Lines(lower, upper, intercept, unstable)
    lower = torch.where(gate.closed, lower, zero)
    return Lines(
        lower,
        torch.where(gate.open, zero, upper),
        torch.where(gate.open, zero, intercept),
        unstable & ~gate.open,
    )
