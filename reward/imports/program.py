"""A network as `torch.export` writes it down: ATen calls in order, over inputs and constants, with every shape.

A value like any other: made of a live module (`exported`) or of a file (`pt2`), and read by `aten` in either case. A
shape holds a number for each size that is fixed, and the text of an expression (such as `s0`) for one that is not: the
batch is the first size of every input, and of nothing else does an importable network not know the size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.errors import ArtifactError

Shape = tuple[int | str, ...]
Argument = Any  # Ref, number, bool, text, None, or a tuple of such


@dataclass(frozen=True, slots=True)
class Ref:
    """Another value, by name."""

    name: str


@dataclass(frozen=True, slots=True)
class Symbol:
    """A number that is known only when the network runs, such as the size of the batch."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """One operator: `linear.default` and its arguments by the names of its schema; `outputs` may be several. `layer`
    is the class of the layer that makes the call, where one does."""

    operator: str
    arguments: Mapping[str, Argument]
    outputs: tuple[str, ...]
    place: str
    layer: str = ""

    @property
    def name(self) -> str:
        return self.operator.partition(".")[0]

    def references(self) -> Iterator[str]:
        for argument in self.arguments.values():
            yield from _references(argument)


@dataclass(frozen=True, slots=True)
class Program:
    """`inputs` in the order of the records; `constants` are parameters and buffers by the name that calls use."""

    inputs: tuple[str, ...]
    constants: Mapping[str, NDArray[np.generic]]
    calls: tuple[Call, ...]
    output: str
    shapes: Mapping[str, Shape]

    def needed(self) -> tuple[Call, ...]:
        """The calls that the output depends on: assertions and indices that nothing reads are not among them."""
        wanted, kept = {self.output}, []
        for call in reversed(self.calls):
            if wanted & set(call.outputs):
                wanted.update(call.references())
                kept.append(call)
        return tuple(reversed(kept))

    def in_place(self) -> Call | None:
        """A call that changes a tensor which others may read: such a program is no function of its values' names."""
        return next((call for call in self.calls if call.name.endswith("_") and not call.name.startswith("__")), None)

    def readers(self) -> Mapping[str, frozenset[str]]:
        """Value → the names of the operators that read it, the program's output among them as `output`."""
        found: dict[str, set[str]] = {self.output: {"output"}}
        for call in self.needed():
            for name in call.references():
                found.setdefault(name, set()).add(call.name)
        return {name: frozenset(names) for name, names in found.items()}


def batch_of(program: Program) -> str:
    """What the shapes call the number of rows. Raises ArtifactError (A32) for a network of a fixed number."""
    for name in program.inputs:
        shape = program.shapes.get(name, ())
        if shape and not isinstance(shape[0], int):
            return str(shape[0])
    raise ArtifactError(
        "A32",
        "the network was exported for a fixed number of rows",
        help="export it with dynamic_shapes: the first dim of every input as torch.export.Dim",
    )


def _references(argument: Argument) -> Iterator[str]:
    match argument:
        case Ref(name):
            yield name
        case tuple():
            for part in argument:
                yield from _references(part)
