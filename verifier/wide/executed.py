"""What binary32 execution may add to rows that were fused, over a batch of boxes.

Linear layers that are fused away round as well. Each brings an unknown number per neuron (`fusion.rounding_of`), of
which a row has a known share. How large these numbers are depends on how large the values are that the layer reads: of
sources that is known, of layers that are fused away it is summed here, from |W| and |b|. Sums that only bound what is
lost have terms of one sign; INFLATE outweighs their rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rewarden.verifier.executed_noise import Noise
from rewarden.verifier.fusion import Rows, block_term, layer_bias, rounding_of
from rewarden.verifier.program import INPUT, Program
from rewarden.verifier.rounding import INFLATE


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """A layer of the program: |W| by the layer that it multiplies, |b|, and how it rounds (not at all: None)."""

    layer: int
    reads: tuple[tuple[int, Tensor], ...]
    bias: Tensor
    noise: Noise | None


@dataclass(frozen=True, slots=True, eq=False)
class Roundings:
    """`shares` [row, width]: how much of what a layer's execution adds enters each row, at most. `stages`: the layers
    that this takes, in order. `places`: sources by layer."""

    shares: tuple[tuple[int, Tensor], ...]
    stages: tuple[Stage, ...]
    places: Mapping[int, int]

    @staticmethod
    def of(program: Program, rows: Rows, places: Mapping[int, int]) -> Roundings | None:
        """None where nothing was rounded."""
        shares = tuple(
            (rounding_of(s), torch.from_numpy((abs(term.weight) + term.error) * INFLATE))
            for s, term in sorted(rows.terms.items())
            if s < INPUT
        )
        if not shares:
            return None
        needed, waiting = set[int](), [layer for layer, _ in shares]
        while waiting:
            layer = waiting.pop()
            needed.add(layer)
            read = (block.source for block in program.layers[layer].blocks)
            waiting += [s for s in read if s not in places and s not in needed]
        return Roundings(shares, tuple(_stage(program, layer) for layer in sorted(needed)), places)

    def error(self, size: Sequence[Tensor]) -> Tensor:
        """[box, row], where the sources' |values| are at most `size` [box, width] each. Not finite where a number on
        the way may overflow."""
        sizes = {layer: size[place] for layer, place in self.places.items() if place < len(size)}
        added: dict[int, Tensor] = {}
        for stage in self.stages:
            reach = stage.bias.expand(len(size[0]), -1)
            for source, weight in stage.reads:
                reach = reach + sizes[source] @ weight.T
            reach = reach * INFLATE
            noise = torch.zeros_like(reach) if stage.noise is None else stage.noise.bound(sizes, -reach, reach)
            added[stage.layer] = noise
            sizes.setdefault(stage.layer, (reach + noise) * INFLATE)
        total = torch.zeros(1, 1, dtype=torch.float64)
        for layer, share in self.shares:
            total = total + added[layer] @ share.T
        return total * INFLATE


def _stage(program: Program, k: int) -> Stage:
    layer = program.layers[k]
    assert program.executed is not None
    reads = tuple((block.source, torch.from_numpy(abs(block_term(block).weight))) for block in layer.blocks)
    bias = torch.from_numpy(abs(layer_bias(layer)[0]))
    rounding = program.executed.roundings[k]
    return Stage(k, reads, bias, None if rounding is None else Noise.of(rounding, reads, bias))
