"""How a claim's calls become networks: all of them in one (VNN-LIB 1.0), or one application each (2.0).

*Joint*: the input row X is the claim's variables, the output row Y its calls' values and then `functionals.py`'s; a
first Gemm per call makes the call's columns of the variables. A column whose weights are no float32 numbers
(`s.speed - 0.1 [m/s]`) cannot be made exactly inside the network: it becomes one more input, an *extra*, that the query
ties to the variables. So the network is exact in every case.

*Applications*: a network is a reward as it is, and a call is one application of it with an input row of its own. There
are no other unknowns in VNN-LIB 2, so each variable has to stand, as it is, in some call's column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.onnx_export import State, note_of, write_reward
from rewarden.reward.onnx_export_writer import Value, Writer
from rewarden.spec_lang.claim import Affine, AffineAtom, Claim, ClaimCall
from rewarden.verifier.vnnlib.forms import scaled
from rewarden.verifier.vnnlib.functionals import Functional, functionals_of, is_float32
from rewarden.verifier.vnnlib.split import Case

Array32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Joint:
    """One network for all calls: inputs are the claim's variables, then `extras`; outputs the calls, then
    `functionals`."""

    claim: Claim
    extras: tuple[Affine, ...]
    functionals: tuple[Functional, ...]

    @property
    def inputs(self) -> int:
        return len(self.claim.variables) + len(self.extras)

    @property
    def outputs(self) -> int:
        return len(self.claim.calls) + len(self.functionals)

    @property
    def ties(self) -> tuple[AffineAtom, ...]:
        """Per extra, that it is its row: the row less the extra is at least 0, and is at most 0."""
        start = len(self.claim.variables)
        return tuple(tie for e, row in enumerate(self.extras) for tie in _tie(row, start + e))


def joint_of(claim: Claim, cases: Sequence[Case]) -> Joint:
    """The joint network of some cases of a claim."""
    rows = (row for call in claim.calls for row in call.arguments)
    bare = Joint(claim, tuple(dict.fromkeys(row for row in rows if not _is_float32_row(row))), ())
    return replace(bare, functionals=functionals_of(cases, bare.ties))


def _tie(row: Affine, extra: int) -> tuple[AffineAtom, AffineAtom]:
    less = Affine(row.constant, (*row.variables, (extra, Fraction(-1))))
    return AffineAtom(less, strict=False), AffineAtom(scaled(less, -1), strict=False)


def joint_network(joint: Joint, artifacts: Mapping[str, Artifact], states: Sequence[Sequence[State]]) -> bytes:
    """The ONNX file: X [1, inputs] to Y [1, outputs]; `states` has those of each call's patches."""
    writer = Writer(joint.inputs)
    outputs = []
    for call, own in zip(joint.claim.calls, states, strict=True):
        columns = writer.input
        if not _is_whole_input(joint, call):
            weight, bias = _columns(joint, call)
            columns = writer.gemm(writer.input, weight, bias)
        outputs.append(write_reward(writer, artifacts[call.reward], columns, own))
    outputs.extend(_functionals(writer, joint, outputs))
    output = outputs[0] if len(outputs) == 1 else writer.stacked(outputs)
    return writer.finish(output, note_of(artifacts[call.reward] for call in joint.claim.calls))


def _functionals(writer: Writer, joint: Joint, calls: Sequence[Value]) -> Iterator[Value]:
    """The functionals as one row, if there are any."""
    if not joint.functionals:
        return
    weight = np.zeros((len(joint.functionals), joint.inputs), np.float32)
    of_calls = np.zeros((len(calls), len(joint.functionals)), np.float32)
    for j, functional in enumerate(joint.functionals):
        for index, coefficient in functional.variables:
            weight[j, index] = float(coefficient)
        for k, coefficient in functional.calls:
            of_calls[k, j] = float(coefficient)
    zero = np.zeros(len(joint.functionals), np.float32)
    total = writer.gemm(writer.input, weight, zero)
    for call, row in zip(calls, of_calls, strict=True):
        if row.any():
            total = writer.add(total, writer.gemm(call, row[:, None], zero))
    yield total


def plain_columns(claim: Claim) -> dict[int, tuple[int, int]]:
    """Variable → the first (call, column) whose argument is just that variable."""
    found: dict[int, tuple[int, int]] = {}
    for number, call in enumerate(claim.calls):
        for column, row in enumerate(call.arguments):
            variable = plain_variable(row)
            if variable is not None:
                found.setdefault(variable, (number, column))
    return found


def plain_variable(row: Affine) -> int | None:
    """The variable, where the row is just that variable."""
    if row.constant == 0 and len(row.variables) == 1 and row.variables[0][1] == 1:
        return row.variables[0][0]
    return None


def _is_whole_input(joint: Joint, call: ClaimCall) -> bool:
    return [plain_variable(row) for row in call.arguments] == list(range(joint.inputs))


def _columns(joint: Joint, call: ClaimCall) -> tuple[Array32, Array32]:
    """The Gemm that makes a call's columns of the input row."""
    weight = np.zeros((len(call.arguments), joint.inputs), np.float32)
    bias = np.zeros(len(call.arguments), np.float32)
    for k, row in enumerate(call.arguments):
        if row in joint.extras:
            weight[k, len(joint.claim.variables) + joint.extras.index(row)] = 1.0
            continue
        for index, coefficient in row.variables:
            weight[k, index] = float(coefficient)
        bias[k] = float(row.constant)
    return weight, bias


def _is_float32_row(row: Affine) -> bool:
    return all(is_float32(value) for value in (row.constant, *(c for _, c in row.variables)))
