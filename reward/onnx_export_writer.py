"""Writing an ONNX model out of the few operators that verifiers read: Gemm, MatMul, Add, Sub, Relu (where a patch
keeps its gate, Less and Where, too; where a reward is smooth, Mul and its functions).

Weights are float32 and are stored bit for bit; equal ones are stored once. Every value on the way is a row [1, width].
`Writer` is mutable until `finish`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from rewarden.reward.elementary import Function
from rewarden.spec_lang.errors import Unsupported

Array32 = NDArray[np.float32]
OPSET = 13
IR_VERSION = 8
GELU_OPSET, GELU_IR_VERSION = 20, 9  # the first with Gelu
MAX_CELLS = 1 << 25  # of all weights: 128 MiB of float32


@dataclass(frozen=True, slots=True)
class Value:
    """A row in the model: its name and its width."""

    name: str
    width: int


class Writer:
    """A model of one input row `X`."""

    def __init__(self, width: int) -> None:
        self.input = Value("X", width)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[object, ...], onnx.TensorProto] = {}
        self._cells = 0
        self._opset, self._ir_version = OPSET, IR_VERSION

    def gemm(self, x: Value, weight: Array32, bias: Array32) -> Value:
        """W x + b for weight [m, width of x] and bias [m]."""
        assert weight.shape == (len(bias), x.width), "a weight fits its input and its bias"
        names = [x.name, self._constant(weight), self._constant(bias)]
        return self._node("Gemm", names, len(bias), transB=1)

    def relu(self, x: Value) -> Value:
        return self._node("Relu", [x.name], x.width)

    def add(self, a: Value, b: Value) -> Value:
        assert a.width == b.width, "elementwise operators take equal widths"
        return self._node("Add", [a.name, b.name], a.width)

    def sub(self, a: Value, b: Value) -> Value:
        assert a.width == b.width, "elementwise operators take equal widths"
        return self._node("Sub", [a.name, b.name], a.width)

    def mul(self, a: Value, b: Value) -> Value:
        assert a.width == b.width, "elementwise operators take equal widths"
        return self._node("Mul", [a.name, b.name], a.width)

    def smooth(self, function: Function, x: Value) -> Value:
        match function:
            case "square":
                return self.mul(x, x)
            case "silu":
                return self.mul(x, self._node("Sigmoid", [x.name], x.width))
            case "gelu":
                self._opset, self._ir_version = GELU_OPSET, GELU_IR_VERSION
                return self._node("Gelu", [x.name], x.width)
            case _:
                return self._node(function.capitalize(), [x.name], x.width)

    def where_less(self, a: Value, bound: Array32, then: Value, otherwise: Value) -> Value:
        """`then` where a < bound, else `otherwise`; all of width 1."""
        assert a.width == then.width == otherwise.width == 1, "a gate is one number"
        condition = self._node("Less", [a.name, self._constant(bound)], 1)
        return self._node("Where", [condition.name, then.name, otherwise.name], 1)

    def stacked(self, parts: Sequence[Value]) -> Value:
        """The parts side by side, as a sum of each times a 0-1 matrix."""
        total = sum(part.width for part in parts)
        self._reserve(total * total)
        start, result = 0, None
        for part in parts:
            weight = np.zeros((part.width, total), np.float32)
            weight[:, start : start + part.width] = np.eye(part.width, dtype=np.float32)
            placed = self._node("MatMul", [part.name, self._constant(weight)], total)
            result = placed if result is None else self.add(result, placed)
            start += part.width
        assert result is not None, "something is stacked"
        return result

    def identity(self, width: int) -> Array32:
        """The unit matrix, refused (X30) where it would be too large to store."""
        self._reserve(width * width)
        return np.eye(width, dtype=np.float32)

    def finish(self, output: Value, note: str) -> bytes:
        """The checked model, with output row `Y`. The same calls give the same bytes."""
        if output == self.input:
            output = self.gemm(output, self.identity(output.width), np.zeros(output.width, np.float32))
        for node in self._nodes:
            node.output[:] = ["Y" if name == output.name else name for name in node.output]
            node.input[:] = ["Y" if name == output.name else name for name in node.input]
        graph = helper.make_graph(
            self._nodes,
            "reward",
            [helper.make_tensor_value_info("X", TensorProto.FLOAT, [1, self.input.width])],
            [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [1, output.width])],
            list(self._constants.values()),
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", self._opset)],
            ir_version=self._ir_version,
            producer_name="rewarden",
            doc_string=note,
        )
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))

    def _node(self, kind: str, inputs: Sequence[str], width: int, **attributes: Any) -> Value:  # noqa: ANN401 - ONNX's own
        name = f"v{len(self._nodes)}"
        self._nodes.append(
            helper.make_node(kind, list(inputs), [name], name=f"{kind}_{len(self._nodes)}", **attributes)
        )
        return Value(name, width)

    def _constant(self, array: Array32) -> str:
        assert array.dtype == np.float32, "weights are float32"
        key = (array.shape, array.tobytes())
        if key not in self._constants:
            self._cells += array.size
            self._reserve(0)
            self._constants[key] = numpy_helper.from_array(np.ascontiguousarray(array), f"c{len(self._constants)}")
        return self._constants[key].name

    def _reserve(self, cells: int) -> None:
        if self._cells + cells > MAX_CELLS:
            raise Unsupported(
                "X30",
                f"the network takes more than {MAX_CELLS} weights when it is written with Gemm and Relu alone",
                help="export a smaller network",
            )
