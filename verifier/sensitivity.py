"""How much a functional may change along each variable of a box: the score that splitting goes by. A hint, not a bound.

The gradient is enclosed in an interval by passing the chain rule backwards: an unstable neuron's derivative is anything
between 0 and 1. Its magnitude times the width says how far the functional may move, nonlinearity included ("smear", as
in interval branch and bound); measured on 32×32 networks it needs a third of the boxes that the slope of the
lower-bounding function needs, which knows nothing of what relaxation threw away.

A difference of two records (`differences`), or a slope (`tangents`), does not move with the record as long as the same
neurons are on. Which are is what cutting the record tells, so at a neuron that may be on or off all that it may add is
spread over the width of its pre-activation, and passed on from there. Records were cut evenly before: rules about a
step in one of five to eight features take 1,600 to 8,400 boxes so, and took more than 16,384.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rewarden.reward.elementary import Function
from rewarden.verifier.backsub import Engine, Functionals, Sweep
from rewarden.verifier.program import INPUT
from rewarden.verifier.smooth_lines import slopes_between

TOLD = 0.2  # of what an open twin leaves open: the part that telling whether its neurons are on is credited with


def steepness(engine: Engine, sweep: Sweep, functionals: Functionals, which: Tensor, index: Tensor) -> Tensor:
    """How much |∂F/∂x| may be on the boxes `index` of the sweep, F being functional `which[i]` on box `index[i]`."""
    gradients = {m.source: (m.weight[which], m.weight[which]) for m in functionals.maps}
    for k in reversed(engine.basis):
        if k not in gradients:
            continue
        layer = engine.layers[k]
        if layer.curved:
            if layer.pair is not None:
                low, high = _apart(engine, sweep, k, index, gradients)
            else:
                low, high = _bent(sweep, layer.function, k, index, gradients.pop(k))
            _pass_on(layer.fused, gradients, low, high)
            continue
        upper = sweep.steps[k][index, layer.width : 2 * layer.width]
        unstable = sweep.gap[k][index] > 0
        alive = (unstable | (upper > 0)).to(upper.dtype)
        low, high = (g * alive for g in gradients.pop(k))
        low = torch.where(unstable, low.clamp(max=0.0), low)
        high = torch.where(unstable, high.clamp(min=0.0), high)
        _pass_on(layer.fused, gradients, low, high)
    found = gradients.get(INPUT)
    if found is None:
        return torch.zeros(index.numel(), sweep.boxes.lo.shape[1], dtype=torch.float64)
    return torch.maximum(found[0].abs(), found[1].abs())


def _pass_on(rows: Functionals, gradients: dict[int, tuple[Tensor, Tensor]], low: Tensor, high: Tensor) -> None:
    """In place: what low <= ∂F/∂z <= high makes of the layers that z reads."""
    for m in rows.maps:
        positive, negative = m.weight.clamp(min=0.0), m.weight.clamp(max=0.0)
        below, above = low @ positive + high @ negative, high @ positive + low @ negative
        old = gradients.get(m.source)
        gradients[m.source] = (below, above) if old is None else (old[0] + below, old[1] + above)


def _apart(
    engine: Engine, sweep: Sweep, k: int, index: Tensor, gradients: dict[int, tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """∂F/∂d at a twin or a tangent, by what is known of the neurons that it stands beside. Both hang on the record,
    too, by which of these are on: that is passed on to what they read."""
    (low, high), pair = gradients.pop(k), engine.layers[k].pair
    assert pair is not None, "a twin has two layers, and a tangent one"
    a, b = pair
    if engine.layers[k].kind == "tangent":
        (on, off), weight = (side[index] for side in engine.decided(sweep, k)), 1.0
    else:
        on = (sweep.lo[a][index] >= 0) & (sweep.lo[b][index] >= 0)
        off, weight = (sweep.hi[a][index] <= 0) & (sweep.hi[b][index] <= 0), TOLD
    most = torch.maximum(sweep.lo[k][index].abs(), sweep.hi[k][index].abs())
    stake = torch.maximum(low.abs(), high.abs()) * most * weight
    share = torch.where(on | off, 0.0, stake / (sweep.hi[a][index] - sweep.lo[a][index]).clamp(min=1e-300))
    _pass_on(engine.layers[a].fused, gradients, -share, share)
    low, high = (torch.where(off, 0.0, g) for g in (low, high))
    return torch.where(on, low, low.clamp(max=0.0)), torch.where(on, high, high.clamp(min=0.0))


def _bent(
    sweep: Sweep, function: Function | None, k: int, index: Tensor, gradient: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """∂F/∂z at a smooth layer or (without a function) a product, whose derivative by one factor is the other."""
    lo, hi = sweep.lo[k][index], sweep.hi[k][index]
    if function is None:
        (first, second), (up, down) = lo.chunk(2, -1), hi.chunk(2, -1)
        least, most = torch.cat((second, first), -1), torch.cat((down, up), -1)
        gradient = (torch.cat((gradient[0], gradient[0]), -1), torch.cat((gradient[1], gradient[1]), -1))
    else:
        least, most = (torch.from_numpy(side) for side in slopes_between(function, lo.numpy(), hi.numpy()))
    corners = torch.stack([g * d for g in gradient for d in (least, most)])
    return corners.amin(0), corners.amax(0)
