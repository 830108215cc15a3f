"""A program with smooth layers at a point, each value in a ball of as many bits as asked for (`reward.balls`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from flint import arb, arb_mat, ctx

from rewarden.reward.balls import Interval, ball, ends, relu, smooth
from rewarden.verifier.program import INPUT, Block, Layer, Program


@dataclass(frozen=True, slots=True, eq=False)
class _BallLayer:
    layer: Layer
    blocks: tuple[tuple[int, arb_mat], ...]
    bias: arb_mat


class BallProgram:
    """`program`, prepared for each precision when that is first asked for (the cache is its only state)."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._prepared: dict[int, tuple[_BallLayer, ...]] = {}

    def calls(
        self, point: Sequence[Fraction], bits: int, known: Mapping[int, Interval] | None = None
    ) -> tuple[Interval | None, ...]:
        """An enclosure of each call of the claim; None where it is out of all bounds. Variables that are `known` in an
        interval only are all of it."""
        layers = self.layers(point, bits, known)
        return tuple(layers[k][0] for k in self.program.outputs)

    def layers(
        self, point: Sequence[Fraction], bits: int, known: Mapping[int, Interval] | None = None
    ) -> tuple[tuple[Interval | None, ...], ...]:
        """The outputs of each layer, enclosed."""
        if len(point) != len(self.program.claim.variables):
            raise ValueError(f"{len(point)} values for {len(self.program.claim.variables)} variables")
        with ctx.workprec(bits):
            if bits not in self._prepared:
                self._prepared[bits] = tuple(_prepare(layer) for layer in self.program.layers)
            inputs = [ball(x) for x in point]
            for i, (lo, hi) in (known or {}).items():
                inputs[i] = ball(lo).union(ball(hi))
            outputs: list[list[arb]] = []
            for prepared in self._prepared[bits]:
                outputs.append(_apply(prepared, inputs, outputs))
            return tuple(tuple(ends(value) for value in layer) for layer in outputs)


def _prepare(layer: Layer) -> _BallLayer:
    bias = layer.bias.tolist() if layer.exact_bias is None else [ball(b) for b in layer.exact_bias]
    blocks = tuple((block.source, _matrix(block)) for block in layer.blocks)
    return _BallLayer(layer, blocks, arb_mat(layer.rows, 1, [arb(b) for b in bias]))


def _matrix(block: Block) -> arb_mat:
    rows, columns = block.weight.shape
    entries = [arb(w) for w in block.weight.reshape(-1).tolist()]
    for (row, column), value in (block.exact or {}).items():
        entries[row * columns + column] = ball(value)
    return arb_mat(rows, columns, entries)


def _apply(prepared: _BallLayer, inputs: list[arb], outputs: Sequence[list[arb]]) -> list[arb]:
    total = prepared.bias
    for source, weight in prepared.blocks:
        value = inputs if source == INPUT else outputs[source]
        total = total + weight * arb_mat(len(value), 1, value)
    z: list[arb] = total.entries()
    layer = prepared.layer
    match layer.kind:
        case "linear":
            return z
        case "relu":
            return [relu(v) for v in z]
        case "gated":
            return _gated(layer, z, outputs)
        case "smooth":
            assert layer.function is not None
            return [smooth(layer.function, v) for v in z]
        case "product":
            return [a * b for a, b in zip(z[: layer.width], z[layer.width :], strict=True)]
        case "twin" | "tangent":
            raise AssertionError("twins and tangents are bounded, never evaluated")


def _gated(layer: Layer, z: list[arb], outputs: Sequence[list[arb]]) -> list[arb]:
    """0 where the gate is open; where that cannot be told, everything from 0 on."""
    assert layer.gate_layer is not None
    assert layer.gate is not None
    gate, rows = arb(layer.gate), outputs[layer.gate_layer]
    if any(row >= gate for row in rows):
        return [arb(0) for _ in z]
    shut = all(row < gate for row in rows)
    return [relu(v) if shut else relu(v).union(arb(0)) for v in z]
