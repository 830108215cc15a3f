"""An exported program run by torch itself, call by call, to hold an import against.

Only what `aten` has accepted comes here: an archive is never loaded, and no operator outside torch's own is looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewarden.reward.imports.program import Argument, Call, Program, Ref, Shape, Symbol, batch_of
from rewarden.spec_lang.errors import Unsupported


def replayed(program: Program, widths: Sequence[int]) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """The program on encoded rows [n, all columns] → [n]. Raises Unsupported (X23) where torch will not run it."""
    constants = {name: torch.from_numpy(np.array(array)) for name, array in program.constants.items()}
    batch, calls = batch_of(program), program.needed()

    def run(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        values: dict[str, Any] = dict(constants)
        parts = torch.from_numpy(rows).split(list(widths), dim=1)  # type: ignore[no-untyped-call]
        values.update(zip(program.inputs, parts, strict=True))
        with torch.no_grad():
            for call in calls:
                _run(call, values, {batch: len(rows)}, program.shapes)
        result = np.asarray(values[program.output].numpy(), np.float32)
        return result[:, 0] if result.shape == (len(rows), 1) else result

    return run


def _run(call: Call, values: dict[str, Any], sizes: Mapping[str, int], shapes: Mapping[str, Shape]) -> None:
    name, _, overload = call.operator.partition(".")
    try:
        operator = getattr(getattr(torch.ops.aten, name), overload or "default")
        given: dict[str, Any] = {}
        for key, value in call.arguments.items():
            if key in ("size", "shape") and call.outputs[0] in shapes and isinstance(value, tuple):
                given[key] = [sizes.get(str(n), n) for n in shapes[call.outputs[0]]]
            else:
                given[key] = _argument(value, values)
        names = [argument.name for argument in operator._schema.arguments if not argument.kwarg_only]
        positional = []
        for key in names:
            if key not in given:
                break
            positional.append(given.pop(key))
        result = operator(*positional, **given)
    except (AttributeError, RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise Unsupported(
            "X23", f"{call.place}: torch does not run it: {reason}", help="export the network again"
        ) from None
    results = result if isinstance(result, tuple | list) else (result,)
    values.update(zip(call.outputs, results, strict=False))


def _argument(value: Argument, values: Mapping[str, Any]) -> object:
    match value:
        case Ref(name):
            return values[name]
        case tuple():
            return [_argument(part, values) for part in value]
        case Symbol():
            raise ValueError("it computes with the number of rows")
        case "float32":
            return torch.float32
        case _:
            return value
