"""Claims whose rewards are linear, as programs of one row for each call.

What a linear graph computes is one row of weights over a call's arguments. Inlined node by node it would be identities
and diagonals, square in the number of columns; here the row is found backwards from the output, exactly, in integers
over powers of two, in time and memory that grow with the tensors. Proofs about linear rewards name no layer, so they
are proofs about the program that `inline` makes of the same claim, which is the one that certificates are checked by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.reward import graph as g
from rewarden.reward.artifact import Artifact
from rewarden.reward.widen import widened
from rewarden.spec_lang.claim import Affine, Claim, ClaimCall
from rewarden.spec_lang.errors import Unsupported
from rewarden.verifier.inline import bound_artifact, compile_program, nearest
from rewarden.verifier.program import INPUT, Block, Layer, Program

LINEAR = (g.Input, g.Scale, g.AffineMap, g.Add, g.Sub, g.Concat)
Integers = NDArray[np.object_]


def program_of(claim: Claim, artifacts: Mapping[str, Artifact]) -> Program:
    """What engines are given: `linear_program`, or `compile_program` where there is none. Raises as that."""
    linear = linear_program(claim, artifacts)
    return compile_program(claim, artifacts) if linear is None else linear


def linear_program(claim: Claim, artifacts: Mapping[str, Artifact]) -> Program | None:
    """The claim's program where all its rewards are linear and their weights within the range of binary64, else None.
    Raises BindingError as `compile_program`."""
    bound = [bound_artifact(call, artifacts) for call in claim.calls]
    if not all(is_linear(artifact) for artifact in bound):
        return None
    rows = {name: weights_of(artifacts[name]) for name in dict.fromkeys(call.reward for call in claim.calls)}
    layers: list[Layer] = []
    outputs: list[int] = []
    forms: list[Affine] = []
    for call in claim.calls:
        form = over_variables(call, *rows[call.reward])
        if form not in forms:  # equal forms are one layer, whichever calls they come from
            try:
                layers.append(_layer(form, len(claim.variables)))
            except Unsupported:  # a product of weights; single layers may still be told
                return None
            forms.append(form)
        outputs.append(forms.index(form))
    return Program(claim, tuple(layers), tuple(outputs))


def is_linear(artifact: Artifact) -> bool:
    return not artifact.patches and all(isinstance(node, LINEAR) for node in artifact.graph.nodes)


def over_variables(call: ClaimCall, weights: Sequence[Fraction], constant: Fraction) -> Affine:
    """weights·arguments + constant as a form over the claim's variables."""
    found: dict[int, Fraction] = {}
    for weight, argument in zip(weights, call.arguments, strict=True):
        if not weight:
            continue
        if argument.constant:
            constant += weight * argument.constant
        for index, coefficient in argument.variables:
            value = weight if coefficient == 1 else weight * coefficient
            found[index] = found[index] + value if index in found else value
    return Affine(constant, tuple(sorted((j, a) for j, a in found.items() if a)))


def _layer(form: Affine, variables: int) -> Layer:
    weight = np.zeros((1, variables))
    exact: dict[tuple[int, int], Fraction] = {}
    for index, value in form.variables:
        near = nearest(value)
        weight[0, index] = near
        if near.as_integer_ratio() != (value.numerator, value.denominator):
            exact[0, index] = value
    bias = nearest(form.constant)
    weight.setflags(write=False)
    rounded = Fraction(bias) != form.constant
    constant = np.array([bias])
    constant.setflags(write=False)
    return Layer("linear", (Block(INPUT, weight, exact or None),), constant, (form.constant,) if rounded else None)


# ── the row of a graph ─────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True, eq=False)
class _Dyadic:
    """numbers·2^exponent."""

    numbers: Integers
    exponent: int

    @staticmethod
    def of(tensor: NDArray[np.float32]) -> _Dyadic:
        fractions, exponents = np.frexp(widened(tensor))
        whole = np.ldexp(fractions, 24).astype(np.int64).astype(object)  # binary32: 24 bits
        used = exponents[fractions != 0]
        least = int(used.min()) if used.size else 0
        shifts = np.where(fractions != 0, exponents - least, 0).astype(object)
        return _Dyadic(whole << shifts, least - 24)

    def __add__(self, other: _Dyadic) -> _Dyadic:
        least = min(self.exponent, other.exponent)
        shifted = [one.numbers << (one.exponent - least) for one in (self, other)]
        return _Dyadic(shifted[0] + shifted[1], least)

    def __mul__(self, other: _Dyadic) -> _Dyadic:
        """Elementwise."""
        return _Dyadic(self.numbers * other.numbers, self.exponent + other.exponent)

    def __matmul__(self, other: _Dyadic) -> _Dyadic:
        return _Dyadic(np.dot(self.numbers, other.numbers), self.exponent + other.exponent)

    def __neg__(self) -> _Dyadic:
        return _Dyadic(-self.numbers, self.exponent)

    def part(self, start: int, end: int) -> _Dyadic:
        return _Dyadic(self.numbers[start:end], self.exponent)

    def total(self) -> _Dyadic:
        return _Dyadic(np.array([sum(self.numbers)], dtype=object), self.exponent)

    def fractions(self) -> list[Fraction]:
        if self.exponent >= 0:
            return [Fraction(int(n) << self.exponent) for n in self.numbers]
        bottom = 1 << -self.exponent
        return [Fraction(int(n), bottom) for n in self.numbers]


def weights_of(artifact: Artifact) -> tuple[list[Fraction], Fraction]:
    """R(x) = weights·x + constant, exactly, for a reward that is linear."""
    nodes, tensors = artifact.graph.nodes, artifact.tensors
    widths = artifact.node_widths
    one = _Dyadic(np.array([1], dtype=object), 0)
    none = _Dyadic(np.array([0], dtype=object), 0)
    rows: dict[int, _Dyadic] = {artifact.graph.output: one}
    constant = none
    for index in range(len(nodes) - 1, -1, -1):
        if index not in rows:
            continue
        node, row = nodes[index], rows[index]
        pieces: list[tuple[int, _Dyadic]] = []
        match node:
            case g.Scale(source, scale, shift):
                pieces = [(source, row * _Dyadic.of(tensors[scale]))]
                constant += (row * _Dyadic.of(tensors[shift])).total()
            case g.AffineMap(source, weight, bias):
                pieces = [(source, row @ _Dyadic.of(tensors[weight]))]
                constant += (row * _Dyadic.of(tensors[bias])).total()
            case g.Add(source, other):
                pieces = [(source, row), (other, row)]
            case g.Sub(source, other):
                pieces = [(source, row), (other, -row)]
            case g.Concat(parts):
                start = 0
                for part in parts:
                    pieces.append((part, row.part(start, start + widths[part])))
                    start += widths[part]
        for source, piece in pieces:
            rows[source] = rows[source] + piece if source in rows else piece
    row = rows.get(0, _Dyadic(np.array([0] * artifact.width, dtype=object), 0))
    return row.fractions(), constant.fractions()[0]
