"""How much a functional may change along each variable of a box: the score that splitting goes by. A hint, not a bound.

The gradient is enclosed in an interval by passing the chain rule backwards: an unstable neuron's derivative is anything
between 0 and 1. Its magnitude times the width says how far the functional may move, nonlinearity included ("smear", as
in interval branch and bound); measured on 32×32 networks it needs a third of the boxes that the slope of the
lower-bounding function needs, which knows nothing of what relaxation threw away.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rewarden.verifier.backsub import Engine, Functionals, Sweep
from rewarden.verifier.program import INPUT


def steepness(engine: Engine, sweep: Sweep, functionals: Functionals, which: Tensor, index: Tensor) -> Tensor:
    """A bound of |∂F/∂x| on the boxes `index` of the sweep, F being functional `which[i]` on box `index[i]`."""
    gradients = {m.source: (m.weight[which], m.weight[which]) for m in functionals.maps}
    for k in reversed(engine.basis):
        if k not in gradients:
            continue
        layer = engine.layers[k]
        upper = sweep.steps[k][index, layer.width : 2 * layer.width]
        unstable = sweep.gap[k][index] > 0
        alive = (unstable | (upper > 0)).to(upper.dtype)
        low, high = (g * alive for g in gradients.pop(k))
        low = torch.where(unstable, low.clamp(max=0.0), low)
        high = torch.where(unstable, high.clamp(min=0.0), high)
        for m in layer.fused.maps:
            positive, negative = m.weight.clamp(min=0.0), m.weight.clamp(max=0.0)
            below, above = low @ positive + high @ negative, high @ positive + low @ negative
            old = gradients.get(m.source)
            gradients[m.source] = (below, above) if old is None else (old[0] + below, old[1] + above)
    found = gradients.get(INPUT)
    if found is None:
        return torch.zeros(index.numel(), sweep.boxes.lo.shape[1], dtype=torch.float64)
    return torch.maximum(found[0].abs(), found[1].abs())
