"""The optimiser of edits that change weights: each tensor moves by a share of its own size, less and less to the end.

Layers of an imported network may differ in scale by orders of magnitude; one learning rate for all would throw the
small ones about and leave the large ones where they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

LEAST = 1e-4  # the size that a tensor of next to nothing counts as


def paced(
    parameters: Sequence[Tensor], pace: float, steps: int
) -> tuple[torch.optim.Adam, torch.optim.lr_scheduler.LambdaLR]:
    """Adam at `pace` times the root mean square of each tensor, falling linearly over the steps; step both."""
    groups = [{"params": [p], "lr": pace * max(float(p.detach().square().mean().sqrt()), LEAST)} for p in parameters]
    optimiser = torch.optim.Adam(groups)
    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
