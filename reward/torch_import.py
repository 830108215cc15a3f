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
from numpy.typing import NDArray
from torch import fx, nn

from rewarden.reward.agreement import check_agreement
from rewarden.reward.artifact import Artifact, Identified, RewardRecord
from rewarden.reward.assembly import Assembly
from rewarden.reward.graph import Exp, Sigmoid, Silu, Square, Tanh
from rewarden.reward.operators import HEAD, Bell, Constant, Constants, Operators, Refusal, Row, Value
from rewarden.reward.refusals import product_of_activations, refusal
from rewarden.reward.torch_names import method_of
from rewarden.spec_lang.errors import ArtifactError, Unsupported
from rewarden.spec_lang.features import RecordType

Records = RecordType | Sequence[tuple[str, RecordType]]
Argument = Any  # what a traced call was given: Value, number, None, slices
SMOOTH_LAYERS = {nn.Tanh: Tanh, nn.Sigmoid: Sigmoid, nn.SiLU: Silu}
SMOOTH_CALLS = {"tanh": Tanh, "sigmoid": Sigmoid, "silu": Silu, "exp": Exp, "square": Square}
STEEP = 15.0  # torch's softplus is x beyond its threshold: that far out, this is within the rounding of binary32


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
    try:
        traced = fx.symbolic_trace(module)
    except Exception as error:  # whatever the module's own code raises when it meets a proxy
        _refuse_inside(module)
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise Unsupported(
            "X21",
            f"{type(module).__name__} cannot be traced: {reason}",
            help="write forward without branches on its input, or export the network to ONNX and import that",
        ) from None
    _refuse_early(traced)
    _check_storage(module)
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


def _refuse_early(traced: fx.GraphModule) -> None:
    """What the names of layers rule out, before any weight is read."""
    for node in traced.graph.nodes:
        if node.op == "call_module":
            kind = type(traced.get_submodule(str(node.target))).__name__
            why = refusal("torch", kind)
            if why is not None:
                raise Unsupported("X20", f"layer {node.target} ({kind}): {why.message}", help=why.help)


def _refuse_inside(module: nn.Module) -> None:
    """As `_refuse_early`, for a module that cannot be traced: it holds what may be why."""
    for name, layer in module.named_modules():
        why = refusal("torch", type(layer).__name__)
        if why is not None:
            raise Unsupported("X20", f"layer {name} ({type(layer).__name__}): {why.message}", help=why.help) from None


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
    stacked: set[fx.Node] = field(default_factory=set)  # whose dim 0 has become that of the columns

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
            case "call_function" if node.target is torch.stack and _given(args, kwargs, 1, "dim", 0) == 0:
                self.stacked.add(node)
                return _stacked(self.ops, [_value(part) for part in args[0]])
            case "call_function" if node.target in (operator.mul, torch.mul, operator.truediv, torch.div):
                return self._times(node, args, kwargs)
            case _:
                name = str(node.target) if node.op == "call_method" else method_of(node.target)
                if node.args and node.args[0] in self.stacked:
                    return self._over_members(name, args, kwargs)
                return self._call(name, args, kwargs)

    def _times(self, node: fx.Node, args: list[Argument], kwargs: dict[str, Argument]) -> Value:
        """Where only an erf reads x/√2, it is known what is meant."""
        name = method_of(node.target)
        if not kwargs and all(user.target in (torch.erf, torch.special.erf) for user in node.users):
            a, b = (_value(arg) for arg in args)
            pairs = [(a, b)] if name == "div" else [(a, b), (b, a)]
            for row, constant in pairs:
                found = self.ops.root_of_two(row, constant, dividing=name == "div")
                if found is not None:
                    return found
        return self._call(name, args, kwargs)

    def _over_members(self, name: str, args: list[Argument], kwargs: dict[str, Argument]) -> Value:
        """A reduction over the members of an ensemble that were stacked along dim 0, the usual one."""
        reduces = name in ("mean", "sum", "min", "max", "amin", "amax")
        if not reduces or _given(args, kwargs, 1, "dim", None) not in (0, [0], (0,)):
            raise Refusal("it works on rows stacked along dim 0", "stack them along dim -1, or reduce over dim 0")
        return self._call(name, [args[0]], {"dim": -1})

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
            case "erf":
                return ops.erf(_value(args[0]))
            case name if name in SMOOTH_CALLS:
                return ops.smooth(SMOOTH_CALLS[name], _value(args[0]))
            case "gelu":
                return ops.gelu(_value(args[0]), str(_given(args, kwargs, 1, "approximate", "none")))
            case "softplus":
                beta, steep = _given(args, kwargs, 1, "beta", 1.0), _given(args, kwargs, 2, "threshold", 20.0)
                return _softplus(ops, _value(args[0]), float(beta), float(steep))
            case "elu":
                return ops.elu(_value(args[0]), float(_given(args, kwargs, 1, "alpha", 1.0)))
            case "mish":
                return ops.mish(_value(args[0]))
            case "pow":
                return ops.power(_value(args[0]), _value(args[1]))
            case "stack":
                _last_axis(_given(args, kwargs, 1, "dim", 0))
                return _stacked(ops, [_value(part) for part in args[0]])
            case "matmul" if not isinstance(_value(args[1]), Constant):
                raise product_of_activations()
            case "matmul":
                return ops.linear(_value(args[0]), np.ascontiguousarray(ops.array(_value(args[1])).T), None)
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
                raise refusal("torch", name) or Refusal(
                    "this operator cannot be imported",
                    "use linear layers, ReLU and its kin, tanh, sigmoid, softplus, GELU, SiLU, exp, squares, products,"
                    f" min, max, abs, sums; or {HEAD}",
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
            return _batch_norm(ops, x, layer)
        case nn.Tanh() | nn.Sigmoid() | nn.SiLU():
            return ops.smooth(SMOOTH_LAYERS[type(layer)], x)
        case nn.GELU():
            return ops.gelu(x, layer.approximate)
        case nn.Softplus():
            return _softplus(ops, x, float(layer.beta), float(layer.threshold))
        case nn.ELU():
            return ops.elu(x, float(layer.alpha))
        case nn.Mish():
            return ops.mish(x)
        case _:
            raise refusal("torch", type(layer).__name__) or Refusal(
                "this layer cannot be imported",
                "use Linear, ReLU, LeakyReLU, Hardtanh, ReLU6, ELU, Tanh, Sigmoid, Softplus, GELU, SiLU, Mish,"
                f" Identity, Flatten; or {HEAD}",
            )


def _softplus(ops: Operators, x: Value, beta: float, threshold: float) -> Value:
    if threshold < STEEP:
        raise Refusal(f"it bends away from softplus at {threshold}", f"use a threshold of at least {STEEP:.0f}")
    return ops.softplus(x, beta)


def _batch_norm(ops: Operators, x: Value, layer: nn.BatchNorm1d) -> Value:
    if layer.training:
        raise Refusal("it depends on the batch while the module is in training mode", "pass module.eval()")
    if layer.running_mean is None or layer.running_var is None:
        raise Refusal("it depends on the batch", "track its statistics")
    mean, variance = layer.running_mean.numpy(), layer.running_var.numpy()
    scale = np.ones_like(mean) if layer.weight is None else layer.weight.detach().numpy()
    shift = np.zeros_like(mean) if layer.bias is None else layer.bias.detach().numpy()
    return ops.batch_norm(x, scale, shift, mean, variance, float(layer.eps))


def _stacked(ops: Operators, parts: list[Value]) -> Value:
    """Single columns side by side, as members of an ensemble are."""
    if any(ops.build.width(ops.row(part)) != 1 for part in parts):
        raise Refusal("it stacks rows of several columns", "join them: torch.cat(…, dim=-1)")
    return ops.concat(parts)


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
    if isinstance(given, Row | Constant | Bell):
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
