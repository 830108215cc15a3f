"""An artifact of an ONNX multilayer perceptron, operator by operator.

`onnx_file.py` opens the file. An operator that is not on the list is refused by name, with the way out. At the end the
graph is held against ONNX's reference implementation on random points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from rewarden.reward.agreement import check_agreement
from rewarden.reward.artifact import Artifact, Identified, RewardRecord
from rewarden.reward.assembly import Assembly
from rewarden.reward.onnx_file import NetworkInput, load, network_inputs, ranks, reference
from rewarden.reward.operators import Constant, Constants, Operators, Refusal, Row, Value, as_float32, exactly
from rewarden.spec_lang.errors import ArtifactError, Unsupported
from rewarden.spec_lang.features import RecordType

NO_OPS = ("Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze")
SMOOTH = "Tanh Sigmoid Softplus Gelu Elu Selu Exp Softmax HardSwish Mish Erf Pow Sqrt"


def from_onnx(
    path: str | Path,
    records: Sequence[tuple[str, RecordType]],
    *,
    identified: Identified = "exact",
    constants: Constants = "exact",
) -> Artifact:
    """The artifact of an ONNX file. `records` names the reward's parameters, in the order of the network's inputs.

    The network has one input of all encoded columns, or one per record; float32; a batch of any size or of 1. Raises
    ArtifactError (A30 unreadable, A31 pickled, A32 inputs or output that do not fit) and Unsupported (X20 an operator,
    X22 external data, X23 it computes something else than its operators say).
    """
    model = load(Path(path))
    inputs = network_inputs(model, records)
    build = Assembly(sum(record_type.width for _, record_type in records))
    values = _start(model, build, inputs)
    walk = _Walk(Operators(build, constants), values, ranks(model))
    for number, node in enumerate(model.graph.node):
        try:
            walk.visit(node)
        except Refusal as refusal:
            raise _unsupported(node, number, refusal) from None
    output = values[model.graph.output[0].name]
    if not isinstance(output, Row) or build.width(output.node) != 1:
        width = build.width(output.node) if isinstance(output, Row) else 0
        raise ArtifactError(
            "A32",
            f"the network's output {model.graph.output[0].name!r} has {width} columns",
            help="a reward is one number per row: export the output that is the reward",
        )
    assembled = build.finish(output.node)
    artifact = Artifact(
        records=tuple(RewardRecord(param, kind.unqualified()) for param, kind in records),
        graph=assembled.graph,
        tensors=assembled.tensors,
        identified=identified,
    )
    check_agreement(artifact, reference(model, inputs), Path(path).name)
    return artifact


def _start(model: onnx.ModelProto, build: Assembly, inputs: Sequence[NetworkInput]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for tensor in model.graph.initializer:
        values[tensor.name] = Constant(onnx.numpy_helper.to_array(tensor))
    start = 0
    for item in inputs:
        values[item.name] = Row(build.columns(build.INPUT, start, start + item.width))
        start += item.width
    return values


# ── the operators ──────────────────────────────────────────────────────────────────────────────
@dataclass(slots=True)
class _Walk:
    """The state of a walk over the nodes: every value so far, by name."""

    ops: Operators
    values: dict[str, Value]
    ranks: Mapping[str, int] = field(default_factory=dict)

    def visit(self, node: onnx.NodeProto) -> None:
        if node.domain not in ("", "ai.onnx"):
            raise Refusal(f"it is not a standard operator (domain {node.domain!r})", "export with standard operators")
        inputs = [self._lookup(name) if name else None for name in node.input]
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        present = [value for value in inputs if value is not None]
        result = self._fold(node, present, attributes) or self._apply(node, inputs, present, attributes)
        self.values[node.output[0]] = result

    def _lookup(self, name: str) -> Value:
        if name not in self.values:  # a sparse initializer, or a second output such as a dropout's mask
            raise Refusal(f"it reads {name!r}, which is neither a row nor a dense constant", "export without it")
        return self.values[name]

    def _fold(self, node: onnx.NodeProto, present: list[Value], attributes: dict[str, Any]) -> Value | None:
        """Nodes that only make or pass on a constant."""
        if node.op_type == "Constant":
            (kind, value), *_ = attributes.items()
            match kind:
                case "value":
                    return Constant(onnx.numpy_helper.to_array(value))
                case "value_float" | "value_floats":
                    return Constant(np.asarray(value, np.float32))
                case "value_int" | "value_ints":
                    return Constant(np.asarray(value, np.int64))
                case _:
                    raise Refusal(f"its constant is a {kind}", "store it as a dense tensor")
        if node.op_type in ("Identity", "Cast") and isinstance(present[0], Constant):
            return present[0]
        return None

    def _apply(
        self, node: onnx.NodeProto, inputs: list[Value | None], present: list[Value], attributes: dict[str, Any]
    ) -> Value:
        ops, first = self.ops, present[0]
        match node.op_type:
            case "Gemm":
                return self._gemm(present, attributes)
            case "MatMul":
                return ops.linear(first, np.ascontiguousarray(ops.array(present[1]).T), None)
            case "Add" | "Sum":
                return reduce(ops.add, present)
            case "Sub":
                return ops.sub(first, present[1])
            case "Mul":
                return ops.mul(first, present[1])
            case "Div":
                return ops.div(first, present[1])
            case "Neg":
                return ops.negative(first)
            case "Min":
                return reduce(ops.smaller, present)
            case "Max":
                return reduce(ops.larger, present)
            case "Relu":
                return Row(ops.build.relu(ops.row(first)))
            case "Abs":
                return Row(ops.build.absolute(ops.row(first)))
            case "LeakyRelu":
                return ops.leaky(first, float(attributes.get("alpha", 0.01)))
            case "Clip":
                return self._clip(inputs, attributes)
            case "Concat":
                self._last_axis(node, attributes["axis"])
                return ops.concat(present)
            case "ReduceMin" | "ReduceMax" | "ReduceSum" | "ReduceMean":
                return self._reduce(node, present, attributes)
            case _:
                return self._pass(node, first, inputs, attributes)

    def _gemm(self, present: list[Value], attributes: dict[str, Any]) -> Value:
        ops = self.ops
        if attributes.get("transA", 0):
            raise Refusal("it transposes its input", "export the network with rows as records")
        weight = ops.array(present[1])
        weight = weight if attributes.get("transB", 0) else np.ascontiguousarray(weight.T)
        alpha, beta = (np.float32(attributes.get(name, 1.0)) for name in ("alpha", "beta"))
        weight = exactly(np.multiply, weight, np.asarray(alpha), ops.constants)
        bias = (
            exactly(np.multiply, ops.array(present[2]), np.asarray(beta), ops.constants) if len(present) > 2 else None
        )
        return ops.linear(present[0], weight, bias)

    def _clip(self, inputs: list[Value | None], attributes: dict[str, Any]) -> Value:
        """Bounds are inputs since opset 11, attributes before."""
        bounds: list[float | None] = []
        for position, name in ((1, "min"), (2, "max")):
            value = inputs[position] if len(inputs) > position else None
            if value is not None:
                bounds.append(float(np.asarray(_finite_or_inf(value)).reshape(-1)[0]))
            else:
                bounds.append(float(attributes[name]) if name in attributes else None)
        assert inputs[0] is not None, "a clip has an input: the checker has seen to it"
        return self.ops.clip(inputs[0], bounds[0], bounds[1])

    def _reduce(self, node: onnx.NodeProto, present: list[Value], attributes: dict[str, Any]) -> Value:
        ops, row = self.ops, self.ops.row(present[0])
        axes = attributes.get("axes")
        if axes is None and len(present) > 1:
            axes = as_axes(present[1])
        if axes is None or len(axes) != 1:
            raise Refusal("it reduces over more than the columns", "reduce over the last axis only")
        self._last_axis(node, axes[0])
        match node.op_type:
            case "ReduceMin":
                return Row(ops.build.reduce_min(row))
            case "ReduceMax":
                return Row(ops.build.reduce_max(row))
            case "ReduceSum":
                return Row(ops.build.total(row))
            case _:
                return ops.mean(present[0])

    def _last_axis(self, node: onnx.NodeProto, axis: int) -> None:
        rank = self.ranks.get(node.input[0])
        if axis != -1 and (rank is None or axis != rank - 1):
            raise Refusal(f"it works along axis {axis}", "work along the last axis, that of the columns")

    def _pass(
        self, node: onnx.NodeProto, first: Value, inputs: list[Value | None], attributes: dict[str, Any]
    ) -> Value:
        """Operators that do nothing to a row; a reshape that mixes rows is caught when the whole is compared."""
        if node.op_type in NO_OPS:
            return first
        if node.op_type == "Cast" and attributes["to"] == onnx.TensorProto.FLOAT:
            return first
        if node.op_type == "Dropout" and len(inputs) < 3:
            return first
        match node.op_type:
            case "BatchNormalization":
                help = "fold it into the layer before it (torch.nn.utils.fusion.fuse_linear_bn_eval), then export"
            case name if name in SMOOTH.split():
                help = "only piecewise linear networks can be imported: train one with ReLU"
            case _:
                help = "use Gemm, MatMul, Add, Sub, Relu, LeakyRelu, Abs, Clip, Min, Max, Concat, reductions"
        raise Refusal("this operator cannot be imported", help)


def as_axes(value: Value) -> list[int]:
    """Axes given as a constant input."""
    if isinstance(value, Row):
        raise Refusal("its axes are not constant", "export the network with fixed axes")
    return [int(axis) for axis in np.asarray(value.array).reshape(-1)]


def _finite_or_inf(value: Value) -> NDArray[np.generic]:
    """A clip's bound: here infinity is meaningful."""
    if isinstance(value, Row):
        raise Refusal("its bounds are not constant", "export the network with fixed bounds")
    return value.array if np.isinf(value.array.astype(np.float64)).all() else as_float32(value.array)


def _unsupported(node: onnx.NodeProto, number: int, refusal: Refusal) -> Unsupported:
    name = f"{node.name!r} " if node.name else ""
    return Unsupported("X20", f"node {number} {name}({node.op_type}): {refusal.message}", help=refusal.help)
