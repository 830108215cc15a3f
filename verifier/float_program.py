"""A program in float64, batched and differentiable: where searches look. It decides nothing.

Torch runs on however many threads its caller set; all numbers found here are replayed exactly before they count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rewarden.reward.elementary import Function
from rewarden.spec_lang.claim import AffineAtom, Claim, Clause
from rewarden.verifier.inline import nearest
from rewarden.verifier.program import INPUT, Layer, Program

FLOAT = torch.float64
SMOOTH: dict[Function, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh, "sigmoid": torch.sigmoid, "softplus": F.softplus, "gelu": F.gelu, "silu": F.silu,
    "exp": torch.exp, "square": torch.square,
}  # fmt: skip
FALSE = -1e9  # the margin of a clause without atoms: beyond all others, yet not infinite, so that ranks survive


@dataclass(frozen=True, slots=True)
class _TorchBlock:
    """A source and its weight: [out, in], or [out] where the matrix is diagonal."""

    source: int
    weight: Tensor
    diagonal: bool


@dataclass(frozen=True, slots=True)
class _TorchLayer:
    layer: Layer
    blocks: tuple[_TorchBlock, ...]
    bias: Tensor


@dataclass(frozen=True, slots=True)
class Atoms:
    """Affine forms: `margins = constant + x·variablesᵀ + calls·callsᵀ`; clause k owns rows starts[k]:starts[k+1]."""

    constant: Tensor  # [atom]
    variables: Tensor  # [atom, variable]
    calls: Tensor  # [atom, call]
    starts: tuple[int, ...]

    @property
    def count(self) -> int:
        return len(self.starts) - 1

    def margins(self, x: Tensor, calls: Tensor) -> Tensor:
        """[n, atom] from points [n, variable] and calls [n, call]."""
        return self.constant + x @ self.variables.T + calls @ self.calls.T

    def best(self, margins: Tensor) -> Tensor:
        """[n, clause]: each clause's largest atom margin; `FALSE` for a clause without atoms. Split at once: the
        gradient of a slice is as wide as all the margins, those of thousands of clauses together take seconds."""
        parts = [
            own.amax(dim=1) if own.shape[1] else margins.new_full((margins.shape[0],), FALSE)
            for own in margins.split_with_sizes(np.diff(self.starts).tolist(), dim=1)
        ]
        return torch.stack(parts, dim=1) if parts else margins.new_zeros((margins.shape[0], 0))


class FloatProgram:
    """`program`, prepared once for float64 evaluation."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._layers = tuple(_prepare(layer) for layer in program.layers)

    def calls(self, x: Tensor, leak: Tensor | None = None) -> Tensor:
        """[n, call] from points [n, variable]; differentiable almost everywhere.

        `leak` [n, 1] changes no value but gradients only: an inactive relu passes that share of its own, so that
        ascent finds its way off a plateau on which every relu is off.
        """
        outputs: list[Tensor] = []
        for prepared in self._layers:
            outputs.append(_apply(prepared, x, outputs, leak))
        picked = [outputs[k] for k in self.program.outputs]
        return torch.cat(picked, dim=1) if picked else x.new_zeros((x.shape[0], 0))


def atoms_of(claim: Claim, clauses: Sequence[Clause]) -> Atoms:
    """The atoms of `clauses`, in order, in float64."""
    flat: list[AffineAtom] = [atom for clause in clauses for atom in clause]
    constant = np.zeros(len(flat))
    variables = np.zeros((len(flat), len(claim.variables)))
    calls = np.zeros((len(flat), len(claim.calls)))
    for row, atom in enumerate(flat):
        constant[row] = nearest(atom.affine.constant)
        for index, coefficient in atom.affine.variables:
            variables[row, index] = nearest(coefficient)
        for index, coefficient in atom.affine.calls:
            calls[row, index] = nearest(coefficient)
    starts = [0]
    for clause in clauses:
        starts.append(starts[-1] + len(clause))
    return Atoms(torch.from_numpy(constant), torch.from_numpy(variables), torch.from_numpy(calls), tuple(starts))


def _prepare(layer: Layer) -> _TorchLayer:
    blocks = []
    for block in layer.blocks:
        weight = torch.tensor(block.weight, dtype=FLOAT)
        square = weight.shape[0] == weight.shape[1]
        diagonal = square and bool(torch.equal(weight, torch.diag(torch.diagonal(weight))))
        blocks.append(_TorchBlock(block.source, torch.diagonal(weight).clone() if diagonal else weight, diagonal))
    return _TorchLayer(layer, tuple(blocks), torch.tensor(layer.bias, dtype=FLOAT))


def _relu(z: Tensor, leak: Tensor | None) -> Tensor:
    if leak is None:
        return torch.relu(z)
    off = leak * z.clamp_max(0.0)
    return torch.relu(z) + (off - off.detach())


def _apply(prepared: _TorchLayer, x: Tensor, outputs: Sequence[Tensor], leak: Tensor | None) -> Tensor:
    z = prepared.bias.expand(x.shape[0], -1)
    for block in prepared.blocks:
        value = x if block.source == INPUT else outputs[block.source]
        z = z + (value * block.weight if block.diagonal else value @ block.weight.T)
    match prepared.layer.kind:
        case "linear":
            return z
        case "relu":
            return _relu(z, leak)
        case "gated":
            assert prepared.layer.gate_layer is not None
            assert prepared.layer.gate is not None
            shut = (outputs[prepared.layer.gate_layer] < prepared.layer.gate).all(dim=1, keepdim=True)
            return torch.where(shut, _relu(z, leak), torch.zeros_like(z))
        case "smooth":
            assert prepared.layer.function is not None
            return SMOOTH[prepared.layer.function](z)
        case "product":
            left, right = z.chunk(2, dim=1)
            return left * right
        case "twin" | "tangent":
            raise AssertionError("twins and tangents are bounded, never evaluated")
