"""What one layer's execution in binary32 may add to its pre-activations, over a batch of boxes: `Rounding` in numbers.

The bounds that come in are of executed values, so they already hold what the layers below have added. All that is
summed here is at least 0 and computed in binary64: INFLATE outweighs its rounding, as in `rounding`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rewarden.verifier.executed import LARGEST, SMALLEST, U
from rewarden.verifier.program import Rounding
from rewarden.verifier.rounding import INFLATE


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """A layer's `Rounding` with its own |W| per source that counts, and |b|."""

    many: Tensor
    once: Tensor
    loss: Tensor
    operands: float
    sizes: tuple[tuple[int, Tensor], ...]
    bias: Tensor
    quiet: bool

    @staticmethod
    def of(rounding: Rounding, sizes: Sequence[tuple[int, Tensor]], bias: Tensor) -> Noise:
        counted = tuple((source, size) for source, size in sizes if source != rounding.skipped)
        many, once, loss = (torch.tensor(a, dtype=torch.float64) for a in (rounding.many, rounding.once, rounding.loss))
        return Noise(many, once, loss, rounding.operands, counted, bias.abs(), rounding.quiet)

    def bound(self, size: Mapping[int, Tensor], lo: Tensor, hi: Tensor) -> Tensor:
        """[box, neuron]: how far the executed pre-activation can be from the exact one, which is in lo .. hi and read
        from values of at most `size` (by source). Infinite where a number on the way may overflow, or is not known."""
        here = torch.maximum(lo.abs(), hi.abs())
        reach, read = self.bias.expand_as(lo), torch.zeros_like(lo[:, :1])
        for source, weight in self.sizes:
            reach = reach + size[source] @ weight.T
            read = read + size[source].sum(-1, keepdim=True)
        noise = (self.many * reach + self.once * here + self.operands * read + self.loss) * INFLATE
        largest = torch.where(self.many > 0, reach, here) * (1.0 + 4.0 * U) + noise
        noise = torch.where(largest <= LARGEST, noise, torch.full_like(noise, torch.inf))
        # What is executed is a binary32 number: below the least of them it is 0.
        return torch.where(read < SMALLEST, 0.0, noise) if self.quiet else noise
