"""AdamW (Loshchilov & Hutter 2019) over all parameters at once.

Rewards are small networks, and a step of theirs is short: with one call per parameter and operation, an optimiser
takes as long as the network itself. Here parameters, gradients and moments of one precision lie in one piece of memory
each, of which the parameters are views; a step is a dozen calls, whatever the number of layers. The arithmetic, and its
order, are those of `torch.optim.AdamW`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

BETAS, EPSILON = (0.9, 0.999), 1e-8
ALIGNED = 64  # bytes between two beginnings: vector kernels may round by alignment


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters that decay at one rate."""

    parameters: Sequence[Tensor]
    decay: float


@dataclass(frozen=True, slots=True)
class _Piece:
    """What lies together: all of one precision, [n]; gaps between parameters hold zeros."""

    values: Tensor
    gradients: Tensor
    means: Tensor
    squares: Tensor
    decay: Tensor

    def state(self) -> dict[str, Tensor]:
        return {"values": self.values, "means": self.means, "squares": self.squares}


class Descent:
    """Mutable: the parameters of `groups`, which become views of one piece of memory, their moments and the steps
    taken."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.parameters = [p for group in groups for p in group.parameters]
        self.steps = 0
        decays = [group.decay for group in groups for _ in group.parameters]
        kinds = list(dict.fromkeys(p.dtype for p in self.parameters))
        self._pieces = [
            _together([(p, d) for p, d in zip(self.parameters, decays, strict=True) if p.dtype == kind], kind)
            for kind in kinds
        ]

    def zero(self) -> None:
        for piece in self._pieces:
            piece.gradients.zero_()

    @torch.no_grad()
    def step(self, rate: float) -> None:
        self.steps += 1
        first, second = (1.0 - beta**self.steps for beta in BETAS)
        for piece in self._pieces:
            most = torch.finfo(piece.values.dtype).max  # beyond it torch raises; up to it, the loss says what is wrong
            piece.values.mul_(1.0 - min(rate, most) * piece.decay)
            piece.means.lerp_(piece.gradients, 1.0 - BETAS[0])
            piece.squares.mul_(BETAS[1]).addcmul_(piece.gradients, piece.gradients, value=1.0 - BETAS[1])
            root = (piece.squares.sqrt() / sqrt(second)).add_(EPSILON)
            piece.values.addcdiv_(piece.means, root, value=-min(rate / first, most))

    @torch.no_grad()
    def settle(self) -> None:
        """Rounds parameters and moments to binary32: what differs in the 16th digit is gone, nothing else is."""
        for piece in self._pieces:
            for tensor in piece.state().values():
                tensor.copy_(tensor.to(torch.float32).to(tensor.dtype))

    def state(self) -> dict[str, Tensor]:
        """All that a checkpoint needs, beside the number of steps."""
        return {f"{k}.{name}": tensor for k, piece in enumerate(self._pieces) for name, tensor in piece.state().items()}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor], steps: int) -> None:
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
        self.steps = steps


def _together(parameters: Sequence[tuple[Tensor, float]], kind: torch.dtype) -> _Piece:
    places, size = [], 0
    for parameter, _ in parameters:
        places.append(size)
        step = ALIGNED // parameter.element_size()
        size += -(-parameter.numel() // step) * step
    piece = _Piece(*(torch.zeros(size, dtype=kind) for _ in range(5)))
    for (parameter, decay), start in zip(parameters, places, strict=True):
        stop = start + parameter.numel()
        piece.values[start:stop] = parameter.detach().reshape(-1)
        piece.decay[start:stop] = decay
        parameter.data = piece.values[start:stop].view(parameter.shape)
        parameter.grad = piece.gradients[start:stop].view(parameter.shape)
    return piece
