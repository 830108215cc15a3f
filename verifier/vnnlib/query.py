"""What a query of VNN-LIB says: networks, and a formula over their inputs and outputs that somebody hopes is false.

Unknowns are numbered: inputs and outputs each flat and in order, over all networks and tensors. A formula is linear
and exact; atoms are those of a claim, `variables` being inputs and `calls` outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Literal

from rewarden.spec_lang.claim import Affine, AffineAtom
from rewarden.verifier.vnnlib.forms import scaled, summed


@dataclass(frozen=True, slots=True)
class AllOf:
    """Conjunction; the empty one is true."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Disjunction; the empty one is false."""

    parts: tuple[Formula, ...]


Formula = AffineAtom | AllOf | AnyOf


@dataclass(frozen=True, slots=True)
class Tensor:
    """A declared input or output; its elements are the unknowns from `start` on, row-major."""

    name: str
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class Network:
    """`same_as` names an earlier network with the same file."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    same_as: str | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """Are there inputs at which `formula` is true? A 1.0 query has one network without a name, with inputs `X` and
    outputs `Y`."""

    version: Literal["1.0", "2.0"]
    networks: tuple[Network, ...]
    formula: Formula

    @property
    def inputs(self) -> int:
        return sum(tensor.size for network in self.networks for tensor in network.inputs)

    @property
    def outputs(self) -> int:
        return sum(tensor.size for network in self.networks for tensor in network.outputs)

    def input_name(self, index: int) -> str:
        """`X_3`, or `A[0,3]`, as the query writes it."""
        tensor = next(t for n in self.networks for t in n.inputs if t.start <= index < t.start + t.size)
        if self.version == "1.0":
            return f"X_{index}"
        return tensor.name + (f"[{','.join(map(str, position(tensor, index)))}]" if tensor.shape else "")


def position(tensor: Tensor, index: int) -> tuple[int, ...]:
    """The indices of an element."""
    rest, found = index - tensor.start, []
    for size in reversed(tensor.shape):
        rest, last = divmod(rest, size)
        found.append(last)
    return tuple(reversed(found))


def atoms_in(formula: Formula) -> list[AffineAtom]:
    """Every atom, from the left. Iterative: formulas may nest."""
    stack, found = [formula], []
    while stack:
        top = stack.pop()
        if isinstance(top, AffineAtom):
            found.append(top)
        else:
            stack.extend(reversed(top.parts))
    return found


def with_outputs_written(formula: Formula, forms: Mapping[int, Affine]) -> Formula:
    """The formula with these outputs as forms over inputs."""
    match formula:
        case AllOf(parts):
            return AllOf(tuple(with_outputs_written(part, forms) for part in parts))
        case AnyOf(parts):
            return AnyOf(tuple(with_outputs_written(part, forms) for part in parts))
        case AffineAtom(affine, strict):
            if not any(k in forms for k, _ in affine.calls):
                return formula
            kept = Affine(
                affine.constant, affine.variables, tuple(term for term in affine.calls if term[0] not in forms)
            )
            written = summed([kept, *(scaled(forms[k], c) for k, c in affine.calls if k in forms)])
            if written.variables or written.calls:
                return AffineAtom(written, strict)
            return AllOf(()) if written.constant > 0 or (written.constant == 0 and not strict) else AnyOf(())


def holds(formula: Formula, inputs: Sequence[Fraction], outputs: Sequence[Fraction | None]) -> bool:
    """The formula's truth, exactly. Outputs that no atom reads may be None."""
    match formula:
        case AllOf(parts):
            return all(holds(part, inputs, outputs) for part in parts)
        case AnyOf(parts):
            return any(holds(part, inputs, outputs) for part in parts)
        case AffineAtom(affine, strict):
            margin = value_of(affine, inputs, outputs)
            return margin > 0 or (margin == 0 and not strict)


def value_of(affine: Affine, inputs: Sequence[Fraction], outputs: Sequence[Fraction | None]) -> Fraction:
    total = affine.constant + sum((c * inputs[i] for i, c in affine.variables), Fraction(0))
    for k, c in affine.calls:
        value = outputs[k]
        assert value is not None, "outputs that are read are known"
        total += c * value
    return total
