"""How steep a reward is in each column over boxes, rigorously: the chain rule backwards, in intervals.

For a continuous, piecewise linear function the difference quotients along one column over a box are means of its slopes
there, so their greatest value is that of the slopes. An unstable relu's slope is anything between 0 and 1; which are
unstable is known from certified bounds (`verifier.backsub`). A gated neuron is a relu where its gate is closed and 0
where it is open: its slope is the relu's, 0, or where the gate may be either anything between them. What binary64 loses
in the products is added to the interval: γ_n·|G||W| for a product with weights W, |G|·E for their own error E
(`verifier.rounding`), a unit for a sum.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rewarden.verifier.backsub import Engine, Functionals, Sweep
from rewarden.verifier.program import INPUT
from rewarden.verifier.rounding import INFLATE, TINY, UNIT, gamma

Interval = tuple[Tensor, Tensor]  # [box, neuron]


def slopes(engine: Engine, sweep: Sweep, functional: Functionals) -> Interval:
    """Bounds [box, variable] of ∂F/∂x on the boxes of a sweep, F being the first functional; NaN where there are none.

    For programs of linear, relu and gated layers that are continuous (`continuity`).
    """
    boxes = sweep.boxes.lo.shape[0]
    gradients: dict[int, Interval] = {}
    one = torch.ones((boxes, 1), dtype=torch.float64)
    _pass(functional, gradients, (one, one), slice(0, 1))
    for k in reversed(engine.basis):
        if k not in gradients:
            continue
        layer = engine.layers[k]
        assert not layer.curved, "a piecewise linear program of one call has no curved layers"
        low, high = gradients.pop(k)
        on, off = sweep.lo[k] >= 0, sweep.hi[k] <= 0
        if layer.gate_layer is not None:
            off = off | (sweep.lo[layer.gate_layer] >= layer.gate).any(-1, keepdim=True)
            on = on & ~off & (sweep.hi[layer.gate_layer] < layer.gate).all(-1, keepdim=True)
        low = torch.where(on, low, torch.where(off, 0.0, low.clamp(max=0.0)))
        high = torch.where(on, high, torch.where(off, 0.0, high.clamp(min=0.0)))
        _pass(layer.fused, gradients, (low, high), slice(None))
    found = gradients.get(INPUT)
    if found is None:
        zero = torch.zeros((boxes, sweep.boxes.lo.shape[1]), dtype=torch.float64)
        return zero, zero
    return found


def _pass(rows: Functionals, gradients: dict[int, Interval], given: Interval, which: slice) -> None:
    """In place: what bounds of ∂F/∂z make of the layers that z = Σ W·v + b reads."""
    low, high = given
    most = torch.maximum(low.abs(), high.abs())
    for m in rows.maps:
        weight, size = m.weight[which], m.size[which]
        positive, negative = weight.clamp(min=0.0), weight.clamp(max=0.0)
        error = gamma(2 * weight.shape[0]) * (most @ size)
        if m.error is not None:
            error = error + most @ m.error[which]
        error = error * INFLATE + torch.where(most.sum(-1, keepdim=True) > 0, TINY, 0.0)
        below = low @ positive + high @ negative - error
        above = high @ positive + low @ negative + error
        # A sum without a term that may be negative is not negative, however it is rounded: monotone rewards are seen.
        own = 0.0 if m.error is None else m.error[which]
        up, down = weight + own > 0, weight - own < 0
        below = torch.where(_any(low < 0, up) + _any(high > 0, down) > 0, below, below.clamp(min=0.0))
        above = torch.where(_any(high > 0, up) + _any(low < 0, down) > 0, above, above.clamp(max=0.0))
        below, above = below - 2 * UNIT * below.abs(), above + 2 * UNIT * above.abs()
        old = gradients.get(m.source)
        if old is not None:
            below, above = below + old[0], above + old[1]
            below, above = below - 2 * UNIT * below.abs(), above + 2 * UNIT * above.abs()
        gradients[m.source] = (below, above)


def _any(left: Tensor, right: Tensor) -> Tensor:
    """How many terms of the product are of that kind, [box, column]."""
    return left.to(torch.float64) @ right.to(torch.float64)
