"""An artifact of a torch module: `nn.Sequential`, or any module that torch.fx can trace into known operators.

Tracing records which operators `forward` applies; each becomes nodes, or is refused by name. At the end the graph is
held against the module itself on random points. Parameters are copied: later training does not reach the artifact.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import fx, nn

from rewarden.reward.agreement import check_agreement
from rewarden.reward.artifact import Artifact, Identified, RewardRecord
from rewarden.reward.assembly import Assembly
from rewarden.reward.operators import Constant, Constants, Operators, Refusal, Row, Value
from rewarden.spec_lang.errors import ArtifactError, Unsupported
from rewarden.spec_lang.features import RecordType

Records = RecordType | Sequence[tuple[str, RecordType]]
Argument = Any  # what a traced call was given: Value, number, None, slices


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
    _check_storage(module)
    try:
        traced = fx.symbolic_trace(module)
    except Exception as error:  # whatever the module's own code raises when it meets a proxy
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise Unsupported(
            "X21",
            f"{type(module).__name__} cannot be traced: {reason}",
            help="write forward without branches on its input, or export the network to ONNX and import that",
        ) from None
    build = Assembly(sum(record_type.width for _, record_type in records))
    walk = _Walk(traced, Operators(build, constants))
    inputs = [node for node in traced.graph.nodes if node.op == "placeholder"]
    _bind(inputs, records, walk)
    output = _output(walk)
    assembled = build.finish(output)
    artifact = Artifact(
        records=tuple(RewardRecord(param, kind.unqualified()) for param, kind in records),
        graph=assembled.graph,
        tensors=assembled.tensors,
        identified=identified,
    )
    widths = [record_type.width for _, record_type in records] if len(inputs) > 1 else [build.width(build.INPUT)]
    check_agreement(artifact, _source(module, widths), type(module).__name__)
    return artifact


def _check_storage(module: nn.Module) -> None:
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.device.type != "cpu":
            raise ArtifactError("A32", f"{name} is on {tensor.device}", help="pass module.cpu()")
        if not bool(torch.isfinite(tensor).all()):
            raise ArtifactError("A18", f"{name} holds a number that is not finite", help="the training has diverged")
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise ArtifactError("A32", f"{name} is {tensor.dtype}", help="pass module.float()")


def _bind(inputs: list[fx.Node], records: Sequence[tuple[str, RecordType]], walk: _Walk) -> None:
    build = walk.ops.build
    if len(inputs) == 1:
        walk.values[inputs[0]] = Row(build.INPUT)
        return
    if len(inputs) != len(records):
        raise ArtifactError(
            "A32",
            f"forward takes {len(inputs)} tensors, the features make {len(records)} records",
            help="let forward take one tensor of all columns, or one per record",
        )
    start = 0
    for node, (_, record_type) in zip(inputs, records, strict=True):
        walk.values[node] = Row(build.columns(build.INPUT, start, start + record_type.width))
        start += record_type.width


def _output(walk: _Walk) -> int:
    result: Argument = None
    for node in walk.traced.graph.nodes:
        try:
            match node.op:
                case "output":
                    result = walk.argument(node.args[0])
                case "placeholder":
                    continue
                case _:
                    walk.values[node] = walk.visit(node)
        except Refusal as refusal:
            raise Unsupported("X20", f"{_place(node, walk)}: {refusal.message}", help=refusal.help) from None
    if not isinstance(result, Row) or walk.ops.build.width(result.node) != 1:
        width = walk.ops.build.width(result.node) if isinstance(result, Row) else 0
        raise ArtifactError("A32", f"forward gives {width} columns", help="a reward is one number per row")
    return result.node


def _place(node: fx.Node, walk: _Walk) -> str:
    if node.op == "call_module":
        return f"layer {node.target} ({type(walk.traced.get_submodule(str(node.target))).__name__})"
    return f"{node.name} ({getattr(node.target, '__name__', node.target)})"


def _source(module: nn.Module, widths: list[int]) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    def run(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            parts = torch.from_numpy(rows).split(widths, dim=1)  # type: ignore[no-untyped-call]
            result = np.asarray(module(*parts).numpy(), np.float32)
        return result[:, 0] if result.shape == (len(rows), 1) else result

    return run


# ── operators ──────────────────────────────────────────────────────────────────────────────────
@dataclass(slots=True)
class _Walk:
    """The state of a walk over a traced graph: every value so far."""

    traced: fx.GraphModule
    ops: Operators
    values: dict[fx.Node, Value] = field(default_factory=dict)

    def argument(self, given: Argument) -> Argument:
        """An argument of a call, with traced nodes replaced by their values."""
        match given:
            case fx.Node():
                return self.values[given]
            case list() | tuple():
                return type(given)(self.argument(part) for part in given)
            case _:
                return given

    def visit(self, node: fx.Node) -> Value:
        args = [self.argument(arg) for arg in node.args]
        kwargs = {name: self.argument(arg) for name, arg in node.kwargs.items()}
        match node.op:
            case "get_attr":
                return Constant(_attribute(self.traced, str(node.target)).detach().numpy())
            case "call_module":
                return _module(self.traced.get_submodule(str(node.target)), args[0], self.ops)
            case "call_function" if node.target in (getattr, operator.getitem):
                return self._part(node, args)
            case _:
                name = str(node.target) if node.op == "call_method" else _names().get(node.target, "")
                return self._call(name, args, kwargs)

    def _part(self, node: fx.Node, args: list[Argument]) -> Value:
        """`.values` or `[0]` of a reduction, or columns of a row."""
        source = node.args[0]
        if isinstance(source, fx.Node) and source.name.startswith(("min", "max")) and args[1] in ("values", 0):
            return _value(args[0])
        if node.target is getattr:
            raise Refusal(f"it reads .{args[1]}", "use fixed shapes")
        return Row(_columns(self.ops, _value(args[0]), args[1]))

    def _call(self, name: str, args: list[Argument], kwargs: dict[str, Argument]) -> Value:
        ops = self.ops
        match name:
            case "clip":
                return self._call("clamp", args, kwargs)
            case "add" | "sub" | "mul" | "div" | "minimum" | "maximum":
                if kwargs:
                    raise Refusal(f"it is called with {', '.join(kwargs)}", "call it with its two operands only")
                return _binary(name, ops)(_value(args[0]), _value(args[1]))
            case "min" | "max" | "amin" | "amax":
                return _extreme(name, args, kwargs, ops)
            case "relu":
                return Row(ops.build.relu(ops.row(_value(args[0]))))
            case "neg":
                return ops.negative(_value(args[0]))
            case "abs":
                return Row(ops.build.absolute(ops.row(_value(args[0]))))
            case "leaky_relu":
                return ops.leaky(_value(args[0]), float(_given(args, kwargs, 1, "negative_slope", 0.01)))
            case "clamp" | "hardtanh":
                usual = (None, None) if name == "clamp" else (-1.0, 1.0)
                names = ("min", "max") if name == "clamp" else ("min_val", "max_val")
                bounds = [_given(args, kwargs, i + 1, names[i], usual[i]) for i in (0, 1)]
                return ops.clip(_value(args[0]), *(None if b is None else float(b) for b in bounds))
            case "relu6":
                return ops.clip(_value(args[0]), 0.0, 6.0)
            case "cat":
                _last_axis(_given(args, kwargs, 1, "dim", 0))
                return ops.concat([_value(part) for part in args[0]])
            case "sum" | "mean":
                _last_axis(_given(args, kwargs, 1, "dim", None))
                row = _value(args[0])
                return ops.mean(row) if name == "mean" else Row(ops.build.total(ops.row(row)))
            case "linear":
                bias = _given(args, kwargs, 2, "bias", None)
                return ops.linear(_value(args[0]), ops.array(args[1]), None if bias is None else ops.array(bias))
            case "squeeze" | "unsqueeze" | "flatten" | "contiguous" | "detach" | "float" | "view" | "reshape":
                return _value(
                    args[0]
                )  # the same row in another shape; mixing rows is caught when the whole is compared
            case _:
                raise Refusal(
                    "this operator cannot be imported", "use linear layers, ReLU and its kin, min, max, abs, sums"
                )


def _module(layer: nn.Module, given: Argument, ops: Operators) -> Value:
    x = _value(given)
    match layer:
        case nn.Linear():
            bias = None if layer.bias is None else layer.bias.detach().numpy()
            return ops.linear(x, layer.weight.detach().numpy(), bias)
        case nn.ReLU6():
            return ops.clip(x, 0.0, 6.0)
        case nn.Hardtanh():
            return ops.clip(x, float(layer.min_val), float(layer.max_val))
        case nn.ReLU():
            return Row(ops.build.relu(ops.row(x)))
        case nn.LeakyReLU():
            return ops.leaky(x, float(layer.negative_slope))
        case nn.PReLU() if layer.num_parameters == 1:
            return ops.leaky(x, float(layer.weight.detach()))
        case nn.Identity() | nn.Flatten():
            return x
        case nn.Dropout() if not layer.training or layer.p == 0.0:
            return x
        case nn.Dropout():
            raise Refusal("it is random while the module is in training mode", "pass module.eval()")
        case nn.BatchNorm1d():
            raise Refusal("it divides by a spread", "fold it: torch.nn.utils.fusion.fuse_linear_bn_eval(linear, norm)")
        case nn.Tanh() | nn.Sigmoid() | nn.Softplus() | nn.GELU() | nn.SiLU() | nn.ELU():
            raise Refusal("it is smooth", "only piecewise linear networks can be imported: train one with ReLU")
        case _:
            raise Refusal(
                "this layer cannot be imported", "use Linear, ReLU, LeakyReLU, Hardtanh, ReLU6, Identity, Flatten"
            )


def _binary(name: str, ops: Operators) -> Callable[[Value, Value], Value]:
    table = {
        "add": ops.add,
        "sub": ops.sub,
        "mul": ops.mul,
        "div": ops.div,
        "minimum": ops.smaller,
        "maximum": ops.larger,
    }
    return table[name]


def _extreme(name: str, args: list[Argument], kwargs: dict[str, Argument], ops: Operators) -> Value:
    """`min(a, b)` of two rows, or `min(a, dim=-1)` over the columns."""
    if len(args) > 1 and isinstance(args[1], Row | Constant):
        return _binary("minimum" if name == "min" else "maximum", ops)(_value(args[0]), args[1])
    _last_axis(_given(args, kwargs, 1, "dim", None))
    row = ops.row(_value(args[0]))
    return Row(ops.build.reduce_min(row) if name in ("min", "amin") else ops.build.reduce_max(row))


def _value(given: Argument) -> Value:
    """A traced value, or a Python number as the binary32 constant that torch makes of it."""
    if isinstance(given, Row | Constant):
        return given
    if isinstance(given, int | float) and not isinstance(given, bool):
        return Constant(np.array(given, np.float32))
    raise Refusal(f"it is given {type(given).__name__} where a tensor belongs", "use tensors and numbers")


def _given(args: list[Argument], kwargs: dict[str, Argument], position: int, name: str, usual: Argument) -> Argument:
    return args[position] if len(args) > position else kwargs.get(name, usual)


def _last_axis(axis: Argument) -> None:
    """Rows are [n, columns]: axis 1 or −1."""
    if isinstance(axis, list | tuple) and len(axis) == 1:
        axis = axis[0]
    if axis not in (1, -1):
        raise Refusal(f"it works along dim {axis}", "work along dim -1, that of the columns")


def _columns(ops: Operators, value: Value, index: Argument) -> int:
    """x[:, 3], x[..., 2:5] and the like."""
    row = ops.row(value)
    match index:
        case (first, int(k)) if _whole(first):
            start = k + ops.build.width(row) if k < 0 else k
            stop = start + 1
        case (first, slice(step=None | 1) as part) if _whole(first):
            start, stop, _ = part.indices(ops.build.width(row))
        case _:
            raise Refusal("it picks rows or steps over columns", "pick columns: x[:, 2:5]")
    if not 0 <= start < stop <= ops.build.width(row):
        raise Refusal("it picks columns that are not there", "check the features")
    return ops.build.columns(row, start, stop)


def _whole(index: Argument) -> bool:
    return index is Ellipsis or index == slice(None)


def _attribute(module: nn.Module, target: str) -> torch.Tensor:
    owner, _, name = target.rpartition(".")
    found = getattr(module.get_submodule(owner), name)
    if not isinstance(found, torch.Tensor):
        raise Refusal(f"it reads {target}, which is not a tensor", "use parameters and buffers")
    return found


def _names() -> dict[Any, str]:
    """Functions by the method of the same meaning."""
    return {
        operator.add: "add", operator.sub: "sub", operator.mul: "mul", operator.truediv: "div", operator.neg: "neg",
        operator.abs: "abs", torch.add: "add", torch.sub: "sub", torch.mul: "mul", torch.div: "div", torch.neg: "neg",
        torch.abs: "abs", torch.relu: "relu", F.relu: "relu", F.leaky_relu: "leaky_relu", F.hardtanh: "hardtanh",
        F.relu6: "relu6", F.linear: "linear", torch.clamp: "clamp", torch.clip: "clamp", torch.cat: "cat",
        torch.concat: "cat", torch.minimum: "minimum", torch.maximum: "maximum", torch.min: "min", torch.max: "max",
        torch.amin: "amin", torch.amax: "amax", torch.sum: "sum", torch.mean: "mean", torch.squeeze: "squeeze",
        torch.flatten: "flatten", torch.unsqueeze: "unsqueeze",
    }  # fmt: skip
