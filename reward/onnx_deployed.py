"""An artifact as an ONNX network to be run: what it returns is what the artifact's `score` returns.

`onnx_export` writes for verifiers, who ask for few operators and reason over the reals. This one is for running. Sums
are what runtimes differ in: the deployed reward adds in the order of the columns, and a matrix product of a runtime in
whatever order is fast. So there are two forms:

- `bits`: every sum written out, one multiplication and one addition per column, as the deployed pass does it. IEEE 754
  fixes each of them, so a runtime that obeys it gives the same bits. Smooth functions are the exception: a runtime has
  its own, here asked for in binary64 and rounded once (GELU, softplus: in binary32), and may be off in the last bits.
- `gemm`: matrix products. Fast for wide rewards, and off by no more than twice the rounding bound of `rounding.py`,
  which holds for any order of summation (it says nothing of a runtime's smooth functions).

What holds is in the model's metadata (`rewarden.deviation`), beside the artifact's digest. The normaliser and the
patches are inside; the input `X` is [row, encoded column] in problem units, the output `Y` is [row].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from rewarden.reward.artifact import Artifact
from rewarden.reward.elementary import Function
from rewarden.reward.graph import (
    Abs,
    Add,
    AffineMap,
    Clip,
    Concat,
    Input,
    LeakyRelu,
    Maximum,
    Minimum,
    Node,
    Patch,
    Product,
    ReduceMax,
    ReduceMin,
    Relu,
    Scale,
    Smooth,
    Sub,
)
from rewarden.reward.rounding import deployed_error
from rewarden.reward.tables import is_table
from rewarden.reward.widths import node_order
from rewarden.spec_lang.errors import Unsupported

Array32 = NDArray[np.float32]
Form = Literal["bits", "gemm"]
OPSET, IR_VERSION = 20, 9
MOST_COLUMNS = 20_000  # that sums are written out of: two operators each
BIT_FOR_BIT = "none: every operation is one that IEEE 754 fixes, in the order of the deployed pass"


@dataclass(frozen=True, slots=True)
class Exported:
    """`exact`: bit for bit. Else `most` bounds the deviation over the declared domain; None where nothing does."""

    model: bytes
    exact: bool
    most: float | None
    deviation: str


def deployed_onnx(artifact: Artifact, form: Form = "bits") -> Exported:
    """Raises Unsupported X30 where written-out sums would be too many for the form `bits`."""
    deviation, most = _deviation(artifact, form)
    writer = _Writer(artifact, form)
    values: dict[int, str] = {}
    for index in node_order(artifact.graph):
        values[index] = writer.node(artifact.graph.nodes[index], values, artifact.tensors)
    reward = values[artifact.graph.output]
    for patch in artifact.patches:
        reward = writer.patched(patch, reward, artifact.tensors)
    model = writer.finish(reward, {"rewarden.artifact": artifact.digest, "rewarden.deviation": deviation})
    return Exported(model, most == 0.0, most, deviation)


def _deviation(artifact: Artifact, form: Form) -> tuple[str, float | None]:
    if artifact.smooth:
        return "not bounded: smooth functions are the runtime's own, and may differ in the last bits", None
    if form == "bits":
        return BIT_FOR_BIT, 0.0
    lo, hi = (np.array([float(end) for end in ends]) for ends in _ends(artifact))
    most = 2.0 * deployed_error(artifact, lo, hi)
    if not np.isfinite(most):
        return "not bounded: the reward may overflow in its declared domain", None
    return f"at most {most:.3g}, anywhere in the declared domain, in any order of summation", most


def _ends(artifact: Artifact) -> tuple[list[Fraction], list[Fraction]]:
    return [c.lo for c in artifact.columns], [c.hi for c in artifact.columns]


class _Writer:
    """Operators in the order in which they are run. Mutable until `finish`."""

    def __init__(self, artifact: Artifact, form: Form) -> None:
        self.form, self.width = form, artifact.width
        self.widths = {"X": artifact.width}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[tuple[object, ...], onnx.TensorProto] = {}
        self.columns: dict[str, tuple[str, ...]] = {}

    def node(self, node: Node, values: Mapping[int, str], tensors: Mapping[str, Array32]) -> str:
        match node:
            case Input():
                return "X"
            case Scale(source, scale, shift):
                scaled = self.op("Mul", values[source], self.row(tensors[scale]))
                return self.op("Add", scaled, self.row(tensors[shift]))
            case AffineMap(source, weight, bias):
                return self.affine(values[source], tensors[weight], tensors[bias])
            case Relu(source):
                return self.op("Relu", values[source])
            case LeakyRelu(source, slope):
                return self.op("LeakyRelu", values[source], alpha=float(tensors[slope][0]))
            case Abs(source):
                return self.op("Abs", values[source])
            case Add(a, b):
                return self.op("Add", values[a], values[b])
            case Sub(a, b):
                return self.op("Sub", values[a], values[b])
            case Minimum(a, b):
                return self.op("Min", values[a], values[b])
            case Maximum(a, b):
                return self.op("Max", values[a], values[b])
            case ReduceMin(source):
                return self.reduced("ReduceMin", values[source])
            case ReduceMax(source):
                return self.reduced("ReduceMax", values[source])
            case Clip(source, lo, hi):
                raised = self.op("Max", values[source], self.row(tensors[lo]))
                return self.op("Min", raised, self.row(tensors[hi]))
            case Concat(parts):
                names = [values[part] for part in parts]
                return self.op("Concat", *names, width=sum(self.widths[n] for n in names), axis=1)
            case Smooth(source):
                return self.smooth(node.function, values[source])
            case Product(a, b):
                return self.op("Mul", values[a], values[b])

    def patched(self, patch: Patch, reward: str, tensors: Mapping[str, Array32]) -> str:
        """As `deployed._patched`, operation by operation."""
        g = self.distance(patch, tensors)
        above = self.op("Relu", self.op("Sub", g, self.row(tensors[patch.delta])))
        ramp = self.op("Mul", above, self.row(tensors[patch.slope]))
        level = self.row(tensors[patch.level])
        if patch.kind == "ceiling":
            inside = self.op("Min", reward, self.op("Add", ramp, level))
        else:
            inside = self.op("Max", reward, self._sub(level, ramp))
        closed = self.op("GreaterOrEqual", g, self.row(tensors[patch.gate]))
        return self._where(closed, reward, inside)

    def distance(self, patch: Patch, tensors: Mapping[str, Array32]) -> str:
        """The largest row; of a table, the least over its boxes of the largest row."""
        offsets = tensors[patch.offsets]
        if not is_table(patch, tensors):
            return self.reduced("ReduceMax", self.affine("X", tensors[patch.rows], -offsets))
        sums = self.products(tensors[patch.rows])
        each = self.op("Unsqueeze", sums, self.constant(np.array([1], np.int64)), width=offsets.shape[1])
        rows = self.op("Sub", each, self.constant(offsets[None]), width=offsets.shape[1])
        largest = self.op("ReduceMax", rows, self.constant(np.array([2], np.int64)), width=len(offsets), keepdims=0)
        return self.reduced("ReduceMin", largest)

    def products(self, weight: Array32) -> str:
        """weight · X, where each row of it mostly reads one column."""
        if (np.count_nonzero(weight, axis=1) == 1).all():
            columns = np.abs(weight).argmax(axis=1)
            read = self.op("Gather", "X", self.constant(columns.astype(np.int64)), width=len(weight), axis=1)
            return self.op("Mul", read, self.row(weight[np.arange(len(weight)), columns]))
        return self.affine("X", weight, np.zeros(len(weight), np.float32))

    # ── operators ──────────────────────────────────────────────────────────────────────────────
    def affine(self, x: str, weight: Array32, bias: Array32) -> str:
        if self.form == "gemm":
            names = (x, self.constant(weight), self.constant(bias))
            return self.op("Gemm", *names, width=len(bias), transB=1)
        if sum(map(len, self.columns.values())) + weight.shape[1] > MOST_COLUMNS:
            raise Unsupported(
                "X30", "the sums are too long to be written out, bit for bit", help="export with matrix products"
            )
        total = ""
        for k, column in enumerate(self.split(x)):
            term = self.op("Mul", column, self.row(weight[:, k]), width=len(bias))
            total = self.op("Add", term, total or self.row(bias), width=len(bias))
        return total

    def split(self, x: str) -> tuple[str, ...]:
        """The columns of a value."""
        width = self.widths[x]
        if width == 1:
            return (x,)
        if x not in self.columns:
            names = tuple(f"{x}_{k}" for k in range(width))
            sizes = self.constant(np.ones(width, np.int64))
            self.nodes.append(helper.make_node("Split", [x, sizes], list(names), name=f"Split_{x}", axis=1))
            self.columns[x] = names
            self.widths |= dict.fromkeys(names, 1)
        return self.columns[x]

    def smooth(self, function: Function, x: str) -> str:
        match function:
            case "square":
                return self.op("Mul", x, x)
            case "gelu" | "softplus":  # onnxruntime has these in binary32 only
                return self.op(function.capitalize(), x)
        wide = self._cast(x, TensorProto.DOUBLE)
        if function == "silu":
            result = self.op("Mul", wide, self.op("Sigmoid", wide))
        else:
            result = self.op(function.capitalize(), wide)
        return self._cast(result, TensorProto.FLOAT)

    def reduced(self, kind: str, x: str) -> str:
        return self.op(kind, x, self.constant(np.array([1], np.int64)), width=1, keepdims=1)

    def op(self, kind: str, *inputs: str, width: int | None = None, **attributes: Any) -> str:  # noqa: ANN401 - ONNX's own
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"{kind}_{len(self.nodes)}", **attributes))
        self.widths[name] = max(self.widths.get(i, 1) for i in inputs) if width is None else width
        return name

    def _sub(self, a: str, b: str) -> str:
        return self.op("Sub", a, b, width=1)

    def _where(self, condition: str, then: str, otherwise: str) -> str:
        return self.op("Where", condition, then, otherwise, width=1)

    def _cast(self, x: str, to: int) -> str:
        return self.op("Cast", x, to=to, width=self.widths[x])

    def row(self, values: Array32) -> str:
        return self.constant(np.ascontiguousarray(values.reshape(1, -1)))

    def constant(self, array: NDArray[Any]) -> str:
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.constants:
            name = f"c{len(self.constants)}"
            self.constants[key] = numpy_helper.from_array(np.ascontiguousarray(array), name)
            self.widths[name] = array.shape[-1] if array.ndim else 1
        return self.constants[key].name

    def finish(self, reward: str, metadata: Mapping[str, str]) -> bytes:
        """A zero comes out unsigned, as `deployed.forward` has it; adding 0 to it is what optimisers take away."""
        zero = self.row(np.zeros(1, np.float32))
        unsigned = self._where(self.op("Equal", reward, zero, width=1), zero, reward)
        axes = self.constant(np.array([1], np.int64))
        self.nodes.append(helper.make_node("Squeeze", [unsigned, axes], ["Y"], name="Squeeze_Y"))
        graph = helper.make_graph(
            self.nodes,
            "reward",
            [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["rows", self.width])],
            [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["rows"])],
            list(self.constants.values()),
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="rewarden",
        )
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))


def onnxruntime_scores(model: bytes, rows: Array32) -> NDArray[np.float32]:
    """What onnxruntime returns for encoded rows. UsageError G95 without it."""
    from rewarden.reward.text.encoder import _package

    runtime = _package("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    found: Sequence[Any] = session.run(None, {"X": rows})
    return np.asarray(found[0])
