"""Opening a stranger's ONNX file: size cap, ONNX's own checker, no data outside the file, nothing executed.

What is taken from it besides its nodes: the inputs as columns (`onnx_inputs.py`), and ONNX's reference implementation
to compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from rewarden.reward.imports.safe_files import kind_of
from rewarden.reward.onnx_inputs import NetworkInput, fitting, network_input, not_one_output
from rewarden.reward.onnx_scan import MOST_NODES, Input
from rewarden.spec_lang.errors import ArtifactError, Unsupported
from rewarden.spec_lang.features import RecordType

MAX_BYTES = 256 * 1024 * 1024
Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def load(path: Path) -> onnx.ModelProto:
    """A checked model with one output. Raises ArtifactError (A30, A31, A32), Unsupported (X22)."""
    kind = kind_of(path)
    if kind != "other":
        what = {"folder": "a folder", "pt2": "a .pt2 archive"}.get(kind, "a safetensors file")
        raise ArtifactError("A30", f"{path} is {what}, not an ONNX model", help="rewarden import knows what to do")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ArtifactError("A30", f"{path} has {size} bytes", help=f"at most {MAX_BYTES} are accepted")
    try:
        model = onnx.load(str(path), load_external_data=False)
        _refuse_external(model, path)
        onnx.checker.check_model(model, full_check=True)
    except Unsupported:
        raise
    except Exception as error:  # protobuf's, ONNX's checker's and its shape inference's share no base
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise ArtifactError(
            "A30", f"{path} is not a sound ONNX model: {reason}", help="export the network again"
        ) from None
    _refuse_newer(model, path)
    if len(model.graph.node) > MOST_NODES:
        raise ArtifactError("A20", f"{path} has {len(model.graph.node)} nodes", help=f"at most {MOST_NODES} are read")
    if not model.graph.node or len(model.graph.output) != 1:
        raise not_one_output(path, [value.name for value in model.graph.output])
    return model


def _refuse_newer(model: onnx.ModelProto, path: Path) -> None:
    """What an operator means may change from one operator set to the next."""
    known = onnx.defs.onnx_opset_version()
    newest = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if newest > known:
        raise ArtifactError(
            "A30",
            f"{path} is of operator set {newest}; the onnx package here knows them up to {known}",
            help="export it with opset_version=18, or install a newer onnx",
        )


def _refuse_external(model: onnx.ModelProto, path: Path) -> None:
    tensors = [*model.graph.initializer]
    tensors += [a.t for node in model.graph.node for a in node.attribute if a.type == onnx.AttributeProto.TENSOR]
    for tensor in tensors:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise Unsupported(
                "X22",
                f"{path}: tensor {tensor.name!r} is stored in another file",
                help="save the model in one file: onnx.save(model, path, save_as_external_data=False)",
            )


def network_inputs(model: onnx.ModelProto, records: Sequence[tuple[str, RecordType]]) -> tuple[NetworkInput, ...]:
    """The inputs, which fit the records together or one by one. Raises ArtifactError (A32)."""
    constants = {tensor.name for tensor in model.graph.initializer}
    declared = [_declared(value) for value in model.graph.input if value.name not in constants]
    return fitting(tuple(network_input(value) for value in declared), records)


def _declared(value: onnx.ValueInfoProto) -> Input:
    tensor = value.type.tensor_type
    dims = tuple(d.dim_value if d.HasField("dim_value") else 0 for d in tensor.shape.dim)
    return Input(value.name, tensor.elem_type, dims)


def shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """The shape of every value, where shape inference finds it; 0 for a size that it does not know."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    known = [*inferred.value_info, *inferred.input, *inferred.output]
    return {
        v.name: tuple(d.dim_value if d.HasField("dim_value") else 0 for d in v.type.tensor_type.shape.dim)
        for v in known
        if v.type.tensor_type.HasField("shape")
    }


def reference(model: onnx.ModelProto, inputs: Sequence[NetworkInput]) -> Run:
    """ONNX's own evaluation of encoded rows [n, width] → [n], or [n, columns] where the output has several; row by row
    where the file fixes a batch of 1."""
    from onnx.reference import ReferenceEvaluator

    session = ReferenceEvaluator(model)
    batched = all(i.batched for i in inputs)

    def run(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        feeds, start = {}, 0
        for item in inputs:
            shape = (len(rows), *item.shape[1:]) if item.batched else item.shape
            feeds[item.name] = rows[:, start : start + item.width].reshape(shape)
            start += item.width
        return np.asarray(next(iter(session.run(None, feeds))), np.float32)

    def all_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        if not batched:
            found = np.array([run(row[None]).reshape(-1) for row in rows], np.float32)
            return found[:, 0] if found.shape[1] == 1 else found
        result = run(rows)
        return result[:, 0] if result.shape == (len(rows), 1) else result

    return all_rows
