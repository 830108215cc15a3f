"""How a reward moves along a direction: its tangent beside it, as layers of the same program.

Where a reward R of linear, relu and gated layers has a gradient, the chain rule says what it is; so it does of
R'(x; t) = ∇R(x)·t for a direction t, layer by layer beside R(x) itself:

    linear:  z' = W·v',     relu:  v' = θ·z',  θ = 1 where z > 0, 0 where z < 0,
    gated:   as relu where the gate is closed, 0 where it is open.

(At almost all x no z is 0 but those that are 0 all around x, and there z' = 0.) So v' lies between 0 and z'; it is z'
where the neuron is on all over a box, and 0 where it is off. What this keeps and intervals of slopes lose is that one θ
stands in all that reads a neuron. Below min(0, z') and above max(0, z') the lines are chords, so that back-substitution
(`backsub`) does the rest, with all its rounding; both the record and the direction may be anything in a box.

Bounds hold at almost all x of the box, and that is enough for the mean of R'(x; t) over a segment (`moves`,
`ranges/sensitivity`), where R is continuous: a gate that opens or closes along it moves nothing then.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from rewarden.verifier.program import INPUT, Block, Layer, Program
from rewarden.verifier.relaxation import relu_lines

Side = tuple[Tensor, Tensor]  # lower and upper bounds, [box, neuron]


def with_tangents(program: Program) -> Program:
    """The program over a record and a direction, twice the variables; its only call becomes the derivative.

    `program`: one call of linear, relu and gated layers.
    """
    claim, (output,) = program.claim, program.outputs
    columns = len(claim.variables)
    layers = [
        replace(layer, blocks=tuple(_moved(b, b.source, 0, columns) for b in layer.blocks)) for layer in program.layers
    ]
    at = {INPUT: INPUT}
    for k, layer in enumerate(program.layers):
        assert layer.kind in ("linear", "relu", "gated"), "what is piecewise linear"
        blocks = tuple(_moved(block, at[block.source], columns, columns) for block in layer.blocks)
        if layer.kind == "linear":
            layers.append(Layer("linear", blocks, np.zeros(layer.rows)))
        else:
            layers.append(Layer("tangent", blocks, np.zeros(layer.rows), pair=(k, k)))
        at[k] = len(layers) - 1
    both = replace(claim, variables=(*claim.variables, *claim.variables))
    return replace(program, claim=both, layers=tuple(layers), outputs=(at[output],))


def _moved(block: Block, source: int, start: int, columns: int) -> Block:
    """What read a layer reads its tangent at `source`; of the variables those from `start` on."""
    if block.source != INPUT:
        return replace(block, source=source)
    weight = np.zeros((len(block.weight), 2 * columns))
    weight[:, start : start + columns] = block.weight
    exact = None if block.exact is None else {(i, start + j): value for (i, j), value in block.exact.items()}
    return Block(INPUT, weight, exact)


def tangent_lines(d: Side, on: Tensor, off: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """lower·z' + below <= v' <= upper·z' + above, for z' within d: lower, upper, below, above [box, neuron]."""
    over, under = relu_lines(*d), relu_lines(-d[1], -d[0])
    sure = on | off
    straight = on.to(d[0].dtype)
    return (
        torch.where(sure, straight, under.upper),
        torch.where(sure, straight, over.upper),
        torch.where(sure, 0.0, -under.intercept),
        torch.where(sure, 0.0, over.intercept),
    )


def tangent_extent(d: Side, on: Tensor, off: Tensor) -> Side:
    """Bounds of v'."""
    least = torch.where(on, d[0], torch.where(off, 0.0, d[0].clamp(max=0.0)))
    return least, torch.where(on, d[1], torch.where(off, 0.0, d[1].clamp(min=0.0)))
