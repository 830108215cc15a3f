"""The formats that products are formed in, and which of them a network is bounded with.

binary32 is twice as fast as binary64 and is used where layers are wide. What it rounds is charged wherever it is used,
so that the choice is one of speed and of tightness; it depends on the network alone. If products are found not to be
those of binary32 (a caller may have allowed torch bfloat16 or TF32 for them), they are formed in binary64.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rewarden.verifier.rounding import INFLATE, TINY, UNIT
from rewarden.verifier.wide.network import Network

WIDE = 64  # layers from this width on are worth binary32
WIDEST = 2**14  # and up to this one its error bounds stay small


@dataclass(frozen=True, slots=True)
class Format:
    """Of products: unit roundoff, and what covers all underflows together when `mass` multiplies it."""

    dtype: torch.dtype
    unit: float
    small: float

    def gamma(self, n: int) -> float:
        """An upper bound of γ_{n+2}, for sums of up to 2^20 terms."""
        steps = (n + 4) * self.unit
        return steps / (1.0 - steps) * INFLATE


DOUBLE = Format(torch.float64, UNIT, TINY)
SINGLE = Format(torch.float32, 2.0**-24, 2.0**-96)


def format_of(network: Network) -> Format:
    wide = max([0, *(node.width for node in network.nodes)]) >= WIDE and network.widest <= WIDEST
    return SINGLE if wide and exact_products() else DOUBLE


def exact_products() -> bool:
    """Are products of binary32 matrices formed in binary32? An identity has to give back all 24 bits."""
    odd = 1.0 + (2.0 * torch.arange(4096, dtype=torch.float32) + 1.0).reshape(64, 64) * 2.0**-23
    return bool((torch.eye(64, dtype=torch.float32) @ odd == odd).all()) and bool((odd @ torch.eye(64) == odd).all())
