"""An artifact of an ONNX multilayer perceptron, operator by operator.

`onnx_file.py` opens the file. An operator that is not on the list is refused by name, with the way out. At the end the
graph is held against ONNX's reference implementation on random points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
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
from rewarden.reward.graph import Exp, Sigmoid, Silu, Softplus, Square, Tanh
from rewarden.reward.onnx_file import Run, load, network_inputs, reference, shapes
from rewarden.reward.onnx_inputs import NetworkInput
from rewarden.reward.operators import (
    NEAREST,
    Constant,
    Constants,
    Operators,
    Row,
    Value,
    as_float32,
    exactly,
)
from rewarden.reward.refusals import (
    EXPORTED,
    OUT_AGAIN,
    Refusal,
    not_imported,
    onnx_place,
    refusal,
    refuse_onnx,
    unknown,
    unsupported,
)
from rewarden.spec_lang.errors import ArtifactError
from rewarden.spec_lang.features import RecordType

NO_OPS = ("Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze")
SMOOTH = {"Tanh": Tanh, "Sigmoid": Sigmoid, "Softplus": Softplus, "Exp": Exp}


def from_onnx(
    path: str | Path,
    records: Sequence[tuple[str, RecordType]],
    *,
    identified: Identified = "exact",
    constants: Constants = "exact",
    output: int | None = None,
) -> Artifact:
    """The artifact of an ONNX file. `records` names the reward's parameters, in the order of the network's inputs.

    The network has one input of all encoded columns, or one per record; float32; a batch of any size or of 1. `output`
    is the column that is the reward, where there are several. Raises ArtifactError (A30 unreadable, A31 pickled, A32
    inputs or output that do not fit) and Unsupported (X20 an operator, X22 external data, X23 it computes something
    else than its operators say).
    """
    width, columns = _columns(path, records, identified, constants, None if output is None else (output,))
    if output is None and width != 1:
        raise ArtifactError(
            "A32",
            f"the network's output has {width} columns",
            help="a reward is one number per row: say which column (--output 0), or import them all (--outputs A,B,…)",
        )
    return columns[0]


def outputs_of_onnx(
    path: str | Path,
    records: Sequence[tuple[str, RecordType]],
    names: Sequence[str],
    *,
    identified: Identified = "exact",
    constants: Constants = "exact",
) -> dict[str, Artifact]:
    """One artifact for each output column of a network, by name. Their graphs are one but for the last pick, so that a
    rule about several of them evaluates the network once. Raises as `from_onnx`, A32 where there are more or fewer
    columns than names."""
    width, columns = _columns(path, records, identified, constants, None)
    if len(set(names)) != len(names) or len(names) != width:
        raise ArtifactError(
            "A32",
            f"the network's output has {width} columns, and {len(set(names))} names are given: {', '.join(names)}",
            help="give each column a name of its own, in their order",
        )
    return dict(zip(names, columns, strict=True))


def _columns(
    path: str | Path,
    records: Sequence[tuple[str, RecordType]],
    identified: Identified,
    constants: Constants,
    chosen: Sequence[int] | None,
) -> tuple[int, list[Artifact]]:
    """How many columns the output has, and an artifact for each that is chosen (all, unless said)."""
    refuse_onnx(Path(path))
    model = load(Path(path))
    inputs = network_inputs(model, records)
    build = Assembly(sum(record_type.width for _, record_type in records))
    values = _start(model, build, inputs)
    walk = _Walk(Operators(build, constants), values, shapes(model), _only_for_erf(model))
    for number, node in enumerate(model.graph.node):
        try:
            walk.visit(node)
        except Refusal as refused:
            if any(note.key == EXPORTED for note in model.metadata_props):
                refused = Refusal(refused.message, OUT_AGAIN)
            raise unsupported(onnx_place(node.name, node.op_type, number), refused) from None
    output = values[model.graph.output[0].name]
    width = build.width(output.node) if isinstance(output, Row) else 0
    if not isinstance(output, Row) or not all(0 <= column < width for column in chosen or ()):
        raise ArtifactError(
            "A32",
            f"the network's output {model.graph.output[0].name!r} has {width} columns",
            help="count columns from 0" if width else "a reward is one number per row: export the output that is it",
        )
    artifacts = []
    theirs = _remembered(reference(model, inputs))
    for column in range(width) if chosen is None else chosen:
        own = deepcopy(build)  # so that a column's artifact is the same whatever others are made
        assembled = own.finish(own.columns(output.node, column, column + 1))
        artifact = Artifact(
            records=tuple(RewardRecord(param, kind.unqualified()) for param, kind in records),
            graph=assembled.graph,
            tensors=assembled.tensors,
            identified=identified,
        )
        check_agreement(artifact, _column(theirs, column), Path(path).name)
        artifacts.append(artifact)
    return width, artifacts


def _remembered(theirs: Run) -> Run:
    """The source's answer to the last rows, which are the same for every column."""
    last: list[NDArray[np.float32]] = []

    def run(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        if not last or not np.array_equal(last[0], rows):
            last[:] = [rows, theirs(rows)]
        return last[1]

    return run


def _column(theirs: Run, column: int) -> Run:
    """One column of what the source computes."""

    def run(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        found = theirs(rows)
        return found[:, column] if found.ndim == 2 and found.shape[1] > 1 else found

    return run


def _only_for_erf(model: onnx.ModelProto) -> frozenset[str]:
    """The values that nothing but Erf reads."""
    readers: dict[str, set[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    outputs = {value.name for value in model.graph.output}
    return frozenset(name for name, kinds in readers.items() if kinds == {"Erf"} and name not in outputs)


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
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    only_for_erf: frozenset[str] = frozenset()

    def visit(self, node: onnx.NodeProto) -> None:
        why = unknown(node.op_type, node.domain)
        if why is not None:
            raise why
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
            case "Mul" | "Div":
                return self._times(node, present)
            case "Neg":
                return ops.negative(first)
            case "Min":
                return reduce(ops.smaller, present)
            case "Max":
                return reduce(ops.larger, present)
            case "Mean":
                total = reduce(ops.add, present)
                return ops.div(total, Constant(np.array(len(present), np.float32)))
            case "PRelu":
                return self._prelu(first, present[1])
            case "HardSigmoid" | "HardSwish":
                return self._hard(node.op_type, first, attributes)
            case "ReduceL1" | "ReduceSumSquare":
                row = ops.row(first)
                inner = ops.build.absolute(row) if node.op_type == "ReduceL1" else ops.build.smooth(Square, row)
                self._check_reduction(node, present, attributes)
                return Row(ops.build.total(inner))
            case "Slice":
                return self._slice(node, present)
            case "Transpose" if isinstance(first, Constant):
                return Constant(np.transpose(first.array, attributes.get("perm")))
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
            case name if name in SMOOTH:
                return ops.smooth(SMOOTH[name], first)
            case "Gelu":
                return ops.gelu(first, attributes.get("approximate", b"none").decode())
            case "Gather" if isinstance(present[1], Constant):
                self._last_axis(node, attributes.get("axis", 0))
                return ops.pick(first, present[1].array)
            case "Erf":
                return ops.erf(first)
            case "Pow":
                return ops.power(first, present[1])
            case "Elu":
                return ops.elu(first, float(attributes.get("alpha", 1.0)))
            case "Mish":
                return ops.mish(first)
            case "Swish" if attributes.get("alpha", 1.0) == 1.0:
                return ops.smooth(Silu, first)
            case "BatchNormalization" if not attributes.get("training_mode", 0) and len(present) == 5:
                numbers = [ops.array(value) for value in present[1:]]
                return ops.batch_norm(
                    first, numbers[0], numbers[1], numbers[2], numbers[3], float(attributes.get("epsilon", 1e-5))
                )
            case "ReduceMin" | "ReduceMax" | "ReduceSum" | "ReduceMean":
                return self._reduce(node, present, attributes)
            case _:
                return self._pass(node, first, inputs, attributes)

    def _times(self, node: onnx.NodeProto, present: list[Value]) -> Value:
        """Where only an erf reads x/√2, it is known what is meant."""
        ops, (first, second) = self.ops, present
        dividing = node.op_type == "Div"
        if node.output[0] in self.only_for_erf:
            pairs = [(first, second)] if dividing else [(first, second), (second, first)]
            for a, b in pairs:
                found = ops.root_of_two(a, b, dividing=dividing)
                if found is not None:
                    return found
        return ops.div(first, second) if dividing else ops.mul(first, second)

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

    def _prelu(self, first: Value, slopes: Value) -> Value:
        """max(x, 0) + slope·min(x, 0), with one slope or one per column."""
        ops = self.ops
        below = ops.smaller(first, Constant(np.array(0.0, np.float32)))
        return ops.add(Row(ops.build.relu(ops.row(first))), ops.mul(below, Constant(ops.array(slopes))))

    def _hard(self, kind: str, first: Value, attributes: dict[str, Any]) -> Value:
        """clip(α·x + β, 0, 1), or x times that with α = 1/6 and β = 1/2."""
        ops, swish = self.ops, kind == "HardSwish"
        alpha = np.float32(1.0 / 6.0 if swish else attributes.get("alpha", 0.2))
        beta = np.float32(0.5 if swish else attributes.get("beta", 0.5))
        if swish and ops.constants == "exact":
            raise Refusal("it multiplies by 1/6, which has no exact binary32 form", NEAREST)
        inner = ops.add(ops.mul(first, Constant(np.asarray(alpha))), Constant(np.asarray(beta)))
        bent = ops.clip(inner, 0.0, 1.0)
        return ops.mul(first, bent) if swish else bent

    def _slice(self, node: onnx.NodeProto, present: list[Value]) -> Value:
        """Columns start, start + step, … of the last axis."""
        if len(present) < 3:
            raise Refusal("its places are attributes, as in opset 9", "export with opset 13 or later")
        starts, ends, *others = (as_axes(value) for value in present[1:])
        axes, steps = others[0] if others else [], others[1] if len(others) > 1 else [1]
        if not (len(starts) == len(ends) == len(axes) == len(steps) == 1):
            raise Refusal("it slices along several axes", "slice the columns alone")
        self._last_axis(node, axes[0])
        width = self.ops.build.width(self.ops.row(present[0]))
        if steps[0] == 0:
            raise Refusal("its step is 0", "repair the network")
        chosen = range(width)[slice(starts[0], ends[0], steps[0])]
        if steps[0] < 0:
            raise Refusal("it turns columns over", "pick them with Gather")
        return self.ops.pick(present[0], np.array(list(chosen), np.int64))

    def _check_reduction(self, node: onnx.NodeProto, present: list[Value], attributes: dict[str, Any]) -> None:
        axes = attributes.get("axes")
        if axes is None and len(present) > 1:
            axes = as_axes(present[1])
        if axes is None or len(axes) != 1:
            raise Refusal("it reduces over more than the columns", "reduce over the last axis only")
        self._last_axis(node, axes[0])

    def _reduce(self, node: onnx.NodeProto, present: list[Value], attributes: dict[str, Any]) -> Value:
        ops, row = self.ops, self.ops.row(present[0])
        self._check_reduction(node, present, attributes)
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
        shape = self.shapes.get(node.input[0])
        place = axis if shape is None or axis >= 0 else axis + len(shape)
        last = axis == -1 or (shape is not None and place == len(shape) - 1)
        # an axis before the last counts as that of the columns where all the others have one entry
        others = [] if shape is None else [n for k, n in enumerate(shape) if k not in (0, place)]
        alone = shape is not None and 0 < place < len(shape) and all(n == 1 for n in others)
        if not (last or alone):
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
        raise refusal("onnx", node.op_type) or not_imported()


def as_axes(value: Value) -> list[int]:
    """Axes given as a constant input."""
    if not isinstance(value, Constant):
        raise Refusal("its axes are not constant", "export the network with fixed axes")
    return [int(axis) for axis in np.asarray(value.array).reshape(-1)]


def _finite_or_inf(value: Value) -> NDArray[np.generic]:
    """A clip's bound: here infinity is meaningful."""
    if not isinstance(value, Constant):
        raise Refusal("its bounds are not constant", "export the network with fixed bounds")
    return value.array if np.isinf(value.array.astype(np.float64)).all() else as_float32(value.array)
