"""A solution as text, in the form that goes with the query's version.

Inputs are printed exactly (they are binary32 numbers wherever rounding leaves it a solution), but for a number without
a finite decimal, outputs, which follow from them, to 17 significant digits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import isfinite

from rewarden.verifier.vnnlib.numerals import LONGEST, exact_decimal, positional
from rewarden.verifier.vnnlib.query import Query


def assignment_lines(query: Query, inputs: Sequence[Fraction], outputs: Sequence[Fraction]) -> list[str]:
    """Version 1.0: `((X_0 0.5)` … `(Y_0 1.0))`; version 2: per tensor a line `X real [1,5]`, then a value a line."""
    if query.version == "2.0":
        return list(_tensors(query, inputs, outputs))
    pairs = [f"(X_{i} {input_text(value)})" for i, value in enumerate(inputs)]
    pairs += [f"(Y_{k} {output_text(value)})" for k, value in enumerate(outputs)]
    return [f"({pairs[0]}", *(f" {pair}" for pair in pairs[1:-1]), f" {pairs[-1]})"]


def _tensors(query: Query, inputs: Sequence[Fraction], outputs: Sequence[Fraction]) -> Iterator[str]:
    for network in query.networks:
        for tensors, values, text in ((network.inputs, inputs, input_text), (network.outputs, outputs, output_text)):
            for tensor in tensors:
                yield f"{tensor.name} real [{','.join(map(str, tensor.shape))}]"
                yield from (text(value) for value in values[tensor.start : tensor.start + tensor.size])


def input_text(value: Fraction) -> str:
    """Exactly, or else to 17 significant digits (`is_exact` tells which)."""
    text = exact_decimal(value) if value.denominator.bit_length() <= LONGEST else None
    return text if text is not None else output_text(value)


def is_exact(value: Fraction) -> bool:
    return Fraction(input_text(value)) == value


def output_text(value: Fraction) -> str:
    """The nearest binary64 number, shortest."""
    try:
        near = float(value)
    except OverflowError:
        near = float("inf")
    return positional(near) if isfinite(near) else str(round(value))
