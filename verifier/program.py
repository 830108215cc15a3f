"""The program of a claim: its calls inlined into one list of layers over the claim's variables.

This is what gets bounded. `docs/formats.md` fixes how a graph becomes layers, so that layer and neuron numbers mean
the same to the prover and to the certificate kernel. Weights from artifacts are exact in float64 (they are float32);
weights from the claim (call arguments, atoms) are rationals, kept exactly beside their nearest float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.elementary import Function
from rewarden.spec_lang.claim import Claim

INPUT = -1  # the source index that stands for the claim's variables
SHORT = 32  # entries of a row up to which its rationals are kept


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """W of one source; `weight` is float64 [width, source width]. `exact` holds, as
    {(row, column): value}, just those entries that are not representable in float64 (`weight` has their nearest)."""

    source: int
    weight: NDArray[np.float64]
    exact: dict[tuple[int, int], Fraction] | None = None
    _rows: dict[int, tuple[tuple[int, Fraction], ...]] = field(default_factory=dict, init=False, repr=False)

    def row(self, j: int) -> tuple[tuple[int, Fraction], ...]:
        """Columns and exact values of row j, without zeros."""
        found = self._rows.get(j)
        if found is None:
            columns = np.flatnonzero(self.weight[j]).tolist()
            values = {c: Fraction(float(self.weight[j, c])) for c in columns}
            if self.exact:
                values |= {c: value for (r, c), value in self.exact.items() if r == j}
            found = tuple(sorted(values.items()))
            if len(found) <= SHORT:
                self._rows[j] = found
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """z = Σ W_s · v_s + bias, then the kind's activation. `bias` is float64 [rows]; `exact_bias`: the whole
    bias, given where some entry is not representable in float64. A product's outputs are z_j·z_(width+j)."""

    kind: Literal["linear", "relu", "gated", "smooth", "product", "twin", "tangent"]
    blocks: tuple[Block, ...]
    bias: NDArray[np.float64]
    exact_bias: tuple[Fraction, ...] | None = None
    gate_layer: int | None = None  # gated only: the linear layer whose entries open the gate
    gate: float | None = None  # gated only: open (output 0) where some entry of gate_layer >= gate
    tight: bool = False  # a patch's rows and their relus: bounded with the claim's facts as well
    function: Function | None = None  # smooth only
    pair: tuple[int, int] | None = (
        None  # twin: the relu layers whose difference it is (`differences`); tangent: of which
    )

    @property
    def rows(self) -> int:
        """How many pre-activations."""
        return int(self.bias.shape[0])

    @property
    def width(self) -> int:
        """How many outputs."""
        return self.rows // 2 if self.kind == "product" else self.rows

    @property
    def curved(self) -> bool:
        return self.kind in ("smooth", "product", "twin", "tangent")


@dataclass(frozen=True, slots=True, eq=False)
class Rounding:
    """How far a layer's pre-activation, as executed in binary32, can be from W·v + b at the very v that it reads:

        many·(Σ|W||v| + |b|) + once·|W·v + b| + operands·Σ|v| + loss        elementwise, for every execution,

    and infinite where |W||v| + |b| might overflow. The source `skipped`, if any, takes no part in the two sums.
    `quiet`: nothing is lost where all that counts of v is 0.
    """

    many: NDArray[np.float64]  # [width]
    once: NDArray[np.float64]  # [width]
    operands: float
    loss: NDArray[np.float64]  # [width]
    skipped: int | None = None
    quiet: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Executed:
    """A program as binary32 executes it (docs/soundness.md, "As executed"): an entry per layer, None where it is exact.

    `constants[i]` is the value, as deployed, of the data constant that variable i of the claim stands for.
    """

    roundings: tuple[Rounding | None, ...]
    artifacts: Mapping[str, Artifact]
    constants: Mapping[int, Fraction]


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """`outputs[c]` is the (width-1) layer that computes call c of the claim. `executed` is given for float32
    semantics; without it the program is about the real numbers."""

    claim: Claim
    layers: tuple[Layer, ...]
    outputs: tuple[int, ...]
    executed: Executed | None = None
    uncertain: tuple[int, ...] = ()  # variables that stand for constants known within their boxes only

    @property
    def curved(self) -> bool:
        """Whether some layer is not piecewise linear: then values are enclosed, and no proof is written."""
        return any(layer.curved for layer in self.layers)
