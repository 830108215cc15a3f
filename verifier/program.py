"""The program of a claim: its calls inlined into one list of layers over the claim's variables.

This is what gets bounded. `docs/formats.md` fixes how a graph becomes layers, so that layer and neuron numbers mean
the same to the prover and to the certificate kernel. Weights from artifacts are exact in float64 (they are float32);
weights from the claim (call arguments, atoms) are rationals, kept exactly beside their nearest float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.claim import Claim

INPUT = -1  # the source index that stands for the claim's variables


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """W of one source; `weight` is float64 [width, source width]. `exact` holds, as
    {(row, column): value}, just those entries that are not representable in float64 (`weight` has their nearest)."""

    source: int
    weight: NDArray[np.float64]
    exact: dict[tuple[int, int], Fraction] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """z = Σ W_s · v_s + bias, then the kind's activation. `bias` is float64 [width]; `exact_bias`: the whole
    bias, given where some entry is not representable in float64."""

    kind: Literal["linear", "relu", "gated"]
    blocks: tuple[Block, ...]
    bias: NDArray[np.float64]
    exact_bias: tuple[Fraction, ...] | None = None
    gate_layer: int | None = None  # gated only: the linear layer whose entries open the gate
    gate: float | None = None  # gated only: open (output 0) where some entry of gate_layer >= gate
    tight: bool = False  # a patch's rows and their relus: bounded with the claim's facts as well

    @property
    def width(self) -> int:
        return int(self.bias.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """`outputs[c]` is the (width-1) layer that computes call c of the claim."""

    claim: Claim
    layers: tuple[Layer, ...]
    outputs: tuple[int, ...]
