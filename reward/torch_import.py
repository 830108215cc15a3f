"""An artifact of a torch module, through `torch.export`: by the ATen calls that its `forward` makes.

Exporting says which operators `forward` applies (`imports.exported`); each becomes nodes, or is refused by the name of
its layer (`imports.aten`). At the end the graph is held against the module itself on random points. Parameters are
copied: later training does not reach the artifact.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rewarden.reward.artifact import Artifact, Identified
from rewarden.reward.imports.exported import export_module, program_of, refuse_at_sight, refuse_when_called
from rewarden.reward.imports.from_program import from_program
from rewarden.reward.operators import Constants
from rewarden.spec_lang.errors import ArtifactError
from rewarden.spec_lang.features import RecordType

Records = RecordType | Sequence[tuple[str, RecordType]]


def from_torch(
    module: nn.Module, features: Records, *, identified: Identified = "exact", constants: Constants = "exact"
) -> Artifact:
    """The artifact of a float32 module on the CPU, in eval mode where that matters.

    `features` is the record that the module reads (as parameter `s`), or `(param, record type)` pairs: `forward` takes
    one tensor [n, all columns], or one [n, columns] per record; it gives [n] or [n, 1]. Raises ArtifactError (A32:
    shapes or dtypes) and Unsupported (X20 an operator, X21 not traceable, X23 it computes something else).
    """
    records = (("s", features),) if isinstance(features, RecordType) else tuple(features)
    if not isinstance(module, nn.Module):
        raise ArtifactError(
            "A33",
            f"{type(module).__name__} is not a torch module",
            help="pass the nn.Module itself, with its weights loaded",
        )
    plain = refuse_at_sight(module)
    widths = _widths(module, [record_type.width for _, record_type in records])
    if not plain:
        refuse_when_called(module, [(width,) for width in widths])
    check_storage(module)
    program = program_of(export_module(module, [(width,) for width in widths]))
    return from_program(
        program,
        records,
        type(module).__name__,
        identified=identified,
        constants=constants,
        run=_source(module, widths),
    )


def check_storage(module: nn.Module) -> None:
    """Numbers are there, finite and binary32. Raises ArtifactError (A18, A32)."""
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.device.type != "cpu":
            raise ArtifactError("A32", f"{name} is on {tensor.device}", help="pass module.cpu()")
        if not bool(torch.isfinite(tensor).all()):
            raise ArtifactError("A18", f"{name} holds a number that is not finite", help="the training has diverged")
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise ArtifactError("A32", f"{name} is {tensor.dtype}", help="pass module.float()")


def _widths(module: nn.Module, widths: list[int]) -> list[int]:
    """One tensor of all columns where `forward` takes one, else one per record."""
    count = _tensors_taken(module)
    if count in (None, len(widths)):
        return widths
    if count == 1:
        return [sum(widths)]
    raise ArtifactError(
        "A32",
        f"forward takes {count} tensors, the features make {len(widths)} records",
        help="let forward take one tensor of all columns, or one per record",
    )


def _tensors_taken(module: nn.Module) -> int | None:
    """The parameters of `forward` that have to be given; None where it takes any number."""
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.default is parameter.empty and parameter.kind in positional for parameter in parameters)


def _source(module: nn.Module, widths: list[int]) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    def run(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            parts = torch.from_numpy(rows).split(widths, dim=1)  # type: ignore[no-untyped-call]
            result = np.asarray(module(*parts).numpy(), np.float32)
        return result[:, 0] if result.shape == (len(rows), 1) else result

    return run
