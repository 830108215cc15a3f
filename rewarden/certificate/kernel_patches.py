"""Certificate kernel: patches ("Artifact" and "Program" in docs/formats.md), and neurons behind a gate.

A patch takes off a reward r, or adds to it, q = max(z, 0) where every row of its region is below the gate, and nothing
where some row is at or above it. So what is said of a ReLU's output y over a box holds of q where the gate is closed
all over the box, q = 0 where it is open all over, and else q is 0 or y: at least 0, and below y's upper line, since
that line is ≥ 0 wherever z is within its bounds. Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from rewarden.certificate.kernel_artifact import Node
from rewarden.certificate.kernel_json import used
from rewarden.certificate.kernel_ops import extreme, scalar_of
from rewarden.certificate.kernel_program import (
    GRID,
    SLOPES,
    Ends,
    Known,
    Layer,
    Line,
    Lines,
    Program,
    Relu,
    Values,
    diagonal,
    gathered,
    matrix_of,
    relu_line,
    shaped,
)


class Region(Layer):
    """The rows of a patch: linear, but their bounds decide about the gate, so that better ones may be of use."""

    def is_open(self, low: int, high: int, k: int, known: Known) -> bool:
        return True


@dataclass(frozen=True, eq=False)
class Gated(Relu):
    gate_layer: int
    gate: tuple[int, int]  # a threshold, over a denominator
    kind = "gated"

    def output(self, z: list[int], values: Values) -> list[int]:
        (gate, below), (rows, over) = self.gate, values[self.gate_layer]
        return [0 if any(x * below >= gate * over for x in rows) else max(y, 0) for y in z]

    def lines(self, ends: Ends, chosen: Sequence[int | None], known: Known) -> tuple[Ends, Lines | None]:
        (gate, below), (low, high) = self.gate, known.ranges[self.gate_layer]
        if any(x * below >= gate << GRID for x in low):
            return gathered([(0, 0, 0, 0, 0, 0) for _ in chosen])
        each = map(relu_line, *ends, [SLOPES if c is None else c for c in chosen])
        if all(x * below < gate << GRID for x in high):
            return gathered(each)
        return gathered(map(_either, each))


def _either(line: Line) -> Line:
    _, most, _, _, upper, shift = line
    return 0, most, 0, 0, upper, shift


def patched(program: Program, patch: Node, reward: int, point: int) -> int:
    used.add("kernel_patches")
    rows, offsets, *scalars = patch.tensors
    matrix = matrix_of(rows, offsets.shape[0], program.width(point))
    k = len(matrix)
    (level, over), (slope, bottom), (delta, below), gate = map(scalar_of, scalars)
    shift = [-b for b in shaped(offsets, k).values]
    z = program.emit([(point, matrix, rows.bottom)], shift, offsets.bottom, kind=Region)
    outside = program.emit([(z, diagonal([1] * k), 1)], [-delta] * k, below, kind=Relu)
    top = extreme(program, outside, 1)
    sign = 1 if patch.op == "ceiling" else -1
    # ceiling: q = relu(r − level − slope·M), r − q; floor: q = relu(level − slope·M − r), r + q
    parts = [(reward, [{0: sign}], 1), (top, [{0: -slope}], bottom)]
    q = program.emit(parts, [-sign * level], over, kind=partial(Gated, gate_layer=z, gate=gate))
    return program.emit([(reward, [{0: 1}], 1), (q, [{0: -sign}], 1)])
