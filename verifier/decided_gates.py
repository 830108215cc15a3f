"""A program without the gates that are decided all over its boxes: what engines without gates can be given.

A patch acts near one region, and most boxes of a rule near data are far from it. Where some row of a gate is at least
the gate all over a box, the gated neuron is 0 there; where all rows are below it, it is a plain relu. Boxes are told
apart by what is decided on them, and for each kind there is a program that equals the whole one exactly, at every point
of its boxes that satisfies the premise: gated layers are gone, and so is what nobody else reads. (Facts about single
variables narrow a box before its gates are looked at. Elsewhere in it the programs may differ, but no point there is a
violation, nor a record of the premise, of either.) Rows of gates are affine in the variables; their bounds account for
rounding (`fusion`, `rounding`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.boxes import RowBoxes
from rewarden.spec_lang.claim import Claim
from rewarden.verifier.fusion import Rows, block_term, layer_bias
from rewarden.verifier.narrowing import root_cell
from rewarden.verifier.program import INPUT, Block, Layer, Program
from rewarden.verifier.rounding import INFLATE, TINY, Array, gamma, outward, product, total

EITHER, OPEN, SHUT = 0, 1, 2
KINDS = 16  # programs for one claim, at most; the boxes of other kinds stay with their gates
CHUNK = 2**22  # entries of bounds that are formed at once

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Decided:
    """`program`: the claim's, on `boxes` (numbers of boxes of the claim; its own boxes are still those of the whole
    claim). `layers`: the number of each of its layers in the whole program."""

    boxes: Indices
    program: Program
    layers: Indices

    @property
    def gated(self) -> bool:
        return any(layer.kind == "gated" for layer in self.program.layers)


def ungated(program: Program) -> Decided:
    """Without the gates that are open on all boxes. Proofs about it are proofs about the whole program: whoever bounds
    that finds these gates open as well, on any part of a box."""
    everything = np.arange(len(program.claim.boxes))
    gated = [k for k, layer in enumerate(program.layers) if layer.kind == "gated"]
    if not gated or program.executed is not None:
        return Decided(everything, program, np.arange(len(program.layers)))
    lo, hi = ends_of(program.claim)
    is_open = [k for k in gated if bool((_decided(program, program.layers[k], lo, hi) == OPEN).all())]
    return _without(program, dict.fromkeys(is_open, OPEN), everything)


def renumbered(proof: dict[str, Any], layers: Indices) -> dict[str, Any]:
    """A proof (docs/formats.md) of a program whose layer k is layer layers[k] of another one, as that one's."""

    def node(told: list[Any]) -> list[Any]:
        if told[0] != "leaf":
            return told
        kind, atom, multipliers, slopes, tight, *form = told
        slopes, tight = ([[int(layers[entry[0]]), *entry[1:]] for entry in entries] for entries in (slopes, tight))
        return [kind, atom, multipliers, slopes, tight, *form]

    return {**proof, "goals": [[[node(told) for told in tree] for tree in goal] for goal in proof["goals"]]}


def by_gates(program: Program) -> tuple[Decided, ...]:
    """Every box of the claim in one of them; those with most boxes first."""
    everything = np.arange(len(program.claim.boxes))
    gated = [k for k, layer in enumerate(program.layers) if layer.kind == "gated"]
    if not gated or program.executed is not None:
        return (Decided(everything, program, np.arange(len(program.layers))),)
    lo, hi = ends_of(program.claim)
    found = np.stack([_decided(program, program.layers[k], lo, hi) for k in gated], 1)
    kinds, which, counts = np.unique(found, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:KINDS]
    parts = [_without(program, dict(zip(gated, kinds[i].tolist(), strict=True)), _of(which, i)) for i in order]
    rest = np.flatnonzero(~np.isin(which.ravel(), order))
    if len(rest):
        parts.append(Decided(rest, program, np.arange(len(program.layers))))
    return tuple(parts)


def _of(which: Indices, kind: int) -> Indices:
    return np.flatnonzero(which.ravel() == kind)


def ends_of(claim: Claim) -> tuple[Array, Array]:
    """Float64 lo, hi [box, variable] that contain the points of the boxes at which the premise can hold."""
    boxes = claim.boxes
    if isinstance(boxes, RowBoxes):
        return boxes.outward
    pairs = [outward(root_cell(claim, box) or box) for box in boxes]
    return np.stack([lo for lo, _ in pairs]), np.stack([hi for _, hi in pairs])


# ── what is decided ────────────────────────────────────────────────────────────────────────────
def _decided(program: Program, layer: Layer, lo: Array, hi: Array) -> NDArray[np.int8]:
    """[box]: the gate of a gated layer, all over the box."""
    found = np.full(len(lo), EITHER, dtype=np.int8)
    assert layer.gate_layer is not None
    assert layer.gate is not None
    rows = _over_inputs(program, layer.gate_layer)
    if rows is None:
        return found
    size = max(1, CHUNK // max(1, len(rows.bias) + lo.shape[1]))
    for first in range(0, len(lo), size):
        part = slice(first, first + size)
        least, most = _bounds(rows, lo[part], hi[part])
        found[part] = np.where((most < layer.gate).all(1), SHUT, EITHER)
        found[part] = np.where((least >= layer.gate).any(1), OPEN, found[part])
    return found


def _over_inputs(program: Program, index: int) -> Rows | None:
    """A linear layer in terms of the variables; None where it reads a neuron."""
    layer = program.layers[index]
    if layer.kind != "linear":
        return None
    bias, bias_error = layer_bias(layer)
    term = block_term(Block(INPUT, np.zeros((layer.rows, len(program.claim.variables)))))
    for block in layer.blocks:
        own = block_term(block)
        if block.source == INPUT:
            more, offset, offset_error = own, np.zeros(layer.rows), np.zeros(layer.rows)
        else:
            below = _over_inputs(program, block.source)
            if below is None:
                return None
            source = below.terms[INPUT]
            weight, error = product(own.weight, own.error, source.weight, source.error)
            more = replace(own, weight=weight, error=error)
            column, column_error = product(own.weight, own.error, below.bias[:, None], below.bias_error[:, None])
            offset, offset_error = column[:, 0], column_error[:, 0]
        weight, error = total(term.weight, term.error, more.weight, more.error)
        term = replace(term, weight=weight, error=error)
        bias, bias_error = total(bias, bias_error, offset, offset_error)
    return Rows({INPUT: term}, bias, bias_error)


def _bounds(rows: Rows, lo: Array, hi: Array) -> tuple[Array, Array]:
    """Rigorous bounds of rows over boxes, [box, row]; NaN decides nothing."""
    term = rows.terms[INPUT]
    size = np.maximum(np.abs(lo), np.abs(hi))
    positive, negative = np.maximum(term.weight, 0.0), np.minimum(term.weight, 0.0)
    with np.errstate(all="ignore"):
        reach = size @ np.abs(term.weight).T + np.abs(rows.bias)
        wrong = gamma(2 * lo.shape[1] + 4) * reach + size @ term.error.T + rows.bias_error
        wrong = wrong * INFLATE + TINY * (1.0 + size.sum(1, keepdims=True) + reach)
        least = lo @ positive.T + hi @ negative.T + rows.bias - wrong
        most = hi @ positive.T + lo @ negative.T + rows.bias + wrong
    return least, most


# ── what becomes of the program ────────────────────────────────────────────────────────────────
def _without(program: Program, gates: dict[int, int], boxes: Indices) -> Decided:
    """Gates that are decided are taken out, layers that only hand on another one's value, and those no output reads."""
    layers = [_ungated(program, k, layer, gates) for k, layer in enumerate(program.layers)]
    same = {INPUT: INPUT}
    for k, layer in enumerate(layers):
        handed_on = layer is not program.layers[k] and _hands_on(layer)
        same[k] = same[layer.blocks[0].source] if handed_on else k
    layers = [_renumbered(layer, same) for layer in layers]
    outputs = [same[k] for k in program.outputs]
    kept = _read(layers, outputs)
    at = {INPUT: INPUT, **{k: i for i, k in enumerate(kept)}}
    return Decided(
        boxes,
        replace(
            program,
            layers=tuple(_renumbered(layers[k], at) for k in kept),
            outputs=tuple(at[k] for k in outputs),
        ),
        np.array(kept, dtype=np.int64),
    )


def _ungated(program: Program, index: int, layer: Layer, gates: dict[int, int]) -> Layer:
    if gates.get(index) == SHUT:
        layer = replace(layer, kind="relu", gate_layer=None, gate=None)
    blocks = tuple(block for block in layer.blocks if gates.get(block.source) != OPEN)
    if len(blocks) == len(layer.blocks):
        return layer
    nothing = Block(INPUT, np.zeros((layer.rows, len(program.claim.variables))))
    return replace(layer, blocks=blocks or (nothing,))


def _hands_on(layer: Layer) -> bool:
    """Whether a linear layer is nothing but another layer's value, as a patched reward is where its gate is open: of a
    thousand patches in a stack a rule meets a few, and the others would each be bounded all the same."""
    block = layer.blocks[0]
    plain = layer.kind == "linear" and len(layer.blocks) == 1 and block.source != INPUT
    whole = plain and block.exact is None and layer.exact_bias is None and not layer.bias.any()
    return whole and np.array_equal(block.weight, np.eye(*block.weight.shape)) and layer.rows == block.weight.shape[1]


def _sources(layer: Layer) -> list[int]:
    more = [] if layer.gate_layer is None else [layer.gate_layer]
    return [*(block.source for block in layer.blocks), *more, *(layer.pair or ())]


def _read(layers: Sequence[Layer], outputs: Sequence[int]) -> list[int]:
    """The layers that the outputs depend on, in order; every source comes before its readers."""
    wanted = set(outputs)
    for k in range(len(layers) - 1, -1, -1):
        if k in wanted:
            wanted.update(source for source in _sources(layers[k]) if source != INPUT)
    return sorted(wanted)


def _renumbered(layer: Layer, at: dict[int, int]) -> Layer:
    return replace(
        layer,
        blocks=tuple(replace(block, source=at[block.source]) for block in layer.blocks),
        gate_layer=None if layer.gate_layer is None else at[layer.gate_layer],
        pair=None if layer.pair is None else (at[layer.pair[0]], at[layer.pair[1]]),
    )
