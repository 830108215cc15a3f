"""The inputs and the output of an ONNX graph, held against what a reward is: records' columns in, one number out.

Of values alone, so that what does not fit is refused before the onnx package is loaded, and in the same words after.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rewarden.reward.onnx_scan import Input
from rewarden.spec_lang.errors import ArtifactError

if TYPE_CHECKING:
    from rewarden.spec_lang.features import RecordType

FLOAT = 1  # onnx.TensorProto.FLOAT; the others in onnx.proto's order
_ELEMENTS = {
    0: "undefined",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "double",
    16: "bfloat16",
}  # the usual
_TOLD = 5  # names of outputs


@dataclass(frozen=True, slots=True)
class NetworkInput:
    """One input: its name, its shape (0 where any size fits), its columns, and whether its batch may be of any size."""

    name: str
    shape: tuple[int, ...]
    width: int
    batched: bool


def network_input(value: Input) -> NetworkInput:
    """An input as columns of a batch. Raises ArtifactError (A32): no float32, or no [batch, columns]."""
    if value.element != FLOAT:
        kind = _ELEMENTS.get(value.element, f"of the element type {value.element}")
        raise ArtifactError("A32", f"input {value.name!r} is {kind}", help="export the network in float32")
    dims = value.dims
    batch, rest = (dims[0], dims[1:]) if len(dims) > 1 else (1, dims)
    if not dims or 0 in rest or batch > 1:
        shape = ", ".join("?" if size == 0 else str(size) for size in dims)
        raise ArtifactError(
            "A32",
            f"input {value.name!r} has shape [{shape}]",
            help="export it with shape [batch, columns], or [columns]: only the size of the batch may be left open",
        )
    return NetworkInput(value.name, dims, math.prod(rest), batched=batch == 0)


def fitting(found: tuple[NetworkInput, ...], records: Sequence[tuple[str, RecordType]]) -> tuple[NetworkInput, ...]:
    """The inputs, if they fit the records together or one by one. Raises ArtifactError (A32)."""
    widths = [record_type.width for _, record_type in records]
    if [i.width for i in found] in (widths, [sum(widths)]):
        return found
    columns = ", ".join(column.name for _, record_type in records for column in record_type.columns())
    raise ArtifactError(
        "A32",
        f"the network takes {' + '.join(str(i.width) for i in found) or 'no'} columns, the features make {sum(widths)}",
        help=f"one input column per encoded feature, in this order: {columns}",
    )


def not_one_output(path: Path, names: Sequence[str]) -> ArtifactError:
    """Why a graph of these outputs is refused."""
    told = ", ".join(repr(name[:80]) for name in names[:_TOLD]) + (", …" if len(names) > _TOLD else "")
    return ArtifactError(
        "A32",
        f"{path} has {len(names)} outputs{f': {told}' if names else ''}",
        help="export the network with one output, the reward",
    )
