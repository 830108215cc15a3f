"""A live torch module, or what `torch.export` made of one, as a program of ATen calls.

Exporting runs the module's `forward` once on tensors that hold no numbers, with the number of rows unknown: what
depends on the values, or on how many rows there are, cannot be exported. Nothing is decomposed, so that layers keep
their names.
"""

from __future__ import annotations

import io
import logging
import operator
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn
from torch.export import Dim, ExportedProgram, export

from rewarden.reward.imports.program import Argument, Call, Program, Ref, Shape, Symbol
from rewarden.reward.refusals import BY_ITS_OPERANDS, refusal
from rewarden.spec_lang.errors import ArtifactError, Unsupported

BATCH = 5  # rows of the example: any number that is no width by chance would do, sizes are symbols
TALKING = ("_subclasses.fake_tensor", "fx.experimental.symbolic_shapes")
Sizes = tuple[int, ...]  # of one input, the rows aside


def export_module(module: nn.Module, inputs: Sequence[Sizes]) -> ExportedProgram:
    """The module on tensors [n, *sizes], one per input. Raises Unsupported (X20 a layer, X21)."""
    example = tuple(torch.zeros((BATCH, *sizes)) for sizes in inputs)
    rows = Dim("rows", min=2)
    shapes = tuple({0: rows} for _ in inputs)
    try:
        with warnings.catch_warnings(), _nothing_said():
            warnings.simplefilter("ignore")
            return export(module, example, dynamic_shapes=_as_given(module, shapes), strict=False)
    except Exception as error:  # whatever the module's own code raises, and torch's own checks, share no base
        refuse_inside(module)
        raise Unsupported(
            "X21",
            f"{type(module).__name__} cannot be traced on {_shown(inputs)}: {_reason(error)}",
            help=_of_other_width(module, inputs)
            or "write forward without branches on its input or on the number of rows, or export the network to ONNX"
            " and import that",
        ) from None


@contextmanager
def _nothing_said() -> Iterator[None]:
    """torch logs where in its own code a shape did not fit, and prints the graph so far where it meets a branch on the
    input; the error says that it did not fit, or that there is a branch."""
    loggers = [logging.getLogger(f"torch.{name}") for name in TALKING]
    before = [logger.disabled for logger in loggers]
    try:
        for logger in loggers:
            logger.disabled = True
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        for logger, was in zip(loggers, before, strict=True):
            logger.disabled = was


def _of_other_width(module: nn.Module, inputs: Sequence[Sizes]) -> str | None:
    """What to do where the module begins with a layer that reads another number of columns than the records have."""
    first = next((layer for layer in module.modules() if isinstance(layer, nn.Linear)), None)
    if first is None or len(inputs) != 1 or len(inputs[0]) != 1 or first.in_features == inputs[0][0]:
        return None
    return (
        f"its first linear layer reads {first.in_features} columns, the features have {inputs[0][0]}: one for each "
        "number and bool, and one for each case of an enum (one-hot)"
    )


def _as_given(module: nn.Module, shapes: tuple[dict[int, Dim], ...]) -> tuple[object, ...]:
    """`dynamic_shapes` follow the signature: a forward that takes *args has them as one."""
    code = getattr(module.forward, "__code__", None)
    variadic = code is not None and bool(code.co_flags & 0x04) and code.co_argcount <= 1
    return (shapes,) if variadic else shapes


def _shown(inputs: Sequence[Sizes]) -> str:
    if all(len(sizes) == 1 for sizes in inputs):
        return " + ".join(str(sizes[0]) for sizes in inputs) + " columns"
    return " and ".join("[n" + "".join(f", {size}" for size in sizes) + "]" for sizes in inputs)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


def refuse_inside(module: nn.Module) -> None:
    """For a module that cannot be exported: it may hold a layer that is why."""
    for name, layer in module.named_modules():
        _refuse_layer(name, layer)


def refuse_at_sight(module: nn.Module) -> bool:
    """What the names of the layers and functions that `forward` calls rule out, before any weight is read; False where
    it is not plain which these are."""
    try:
        traced = fx.symbolic_trace(module)
        traced.graph.eliminate_dead_code()
    except Exception:  # the module's own code: exporting will say what is wrong
        return False
    for node in traced.graph.nodes:
        if node.op == "call_module":
            _refuse_layer(str(node.target), traced.get_submodule(str(node.target)))
        if node.op in ("call_function", "call_method"):
            name = str(getattr(node.target, "__name__", node.target))
            why = None if name in BY_ITS_OPERANDS else refusal("torch", name)
            if why is not None:
                raise Unsupported("X20", f"{node.name} ({name}): {why.message}", help=why.help)
    return True


def refuse_when_called(module: nn.Module, inputs: Sequence[Sizes]) -> None:
    """The same of a `forward` that cannot be traced: it is run on zeros, in eval mode, up to the first layer that is
    never imported. Silent where there is none, or where it does not run.

    Exporting takes seconds, and may fail, or stumble over what stands before that layer, without saying its name.
    """
    held = [(n, m) for n, m in module.named_modules() if refusal("torch", type(m).__name__) is not None]
    if not held:
        return
    modes = [(layer, layer.training) for layer in module.modules()]
    hooks = []
    try:
        for name, layer in held:
            hooks.append(layer.register_forward_pre_hook(lambda met, _, name=name: _refuse_layer(name, met)))
        module.eval()
        with torch.no_grad():
            module(*(torch.zeros((BATCH, *sizes)) for sizes in inputs))
    except Unsupported:
        raise
    except Exception:  # the module's own code: exporting will say what is wrong
        return
    finally:
        for hook in hooks:
            hook.remove()
        for layer, mode in modes:
            layer.training = mode


def _refuse_layer(name: str, layer: nn.Module) -> None:
    kind = type(layer).__name__
    why = refusal("torch", kind)
    if why is not None:
        raise Unsupported("X20", f"layer {name} ({kind}): {why.message}", help=why.help)


# ── an exported program as a value ─────────────────────────────────────────────────────────────
def program_of(exported: ExportedProgram) -> Program:
    """The program's calls, constants and shapes.

    Tensors that are changed in place become new ones. Raises ArtifactError (A32: it gives no single tensor) and
    Unsupported (X20: it changes its own buffers).
    """
    found = _program(exported)
    if found.in_place() is None:
        return found
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _program(exported.run_decompositions({}))


def _program(exported: ExportedProgram) -> Program:
    nodes = list(exported.graph.nodes)
    signature = exported.graph_signature
    changed = [str(spec.target) for spec in signature.output_specs if spec.kind.name.endswith("MUTATION")]
    if changed:
        raise Unsupported(
            "X20",
            f"forward changes {changed[0]} when it is called, as in training mode",
            help="pass module.eval(); a reward is a function of what it reads",
        )
    results = [spec.arg for spec in signature.output_specs if spec.kind.name == "USER_OUTPUT"]
    names = [getattr(result, "name", None) for result in results]
    if len(names) != 1 or names[0] is None:
        raise ArtifactError("A32", f"forward gives {len(names)} results", help="a reward is one number per row")
    parts = _parts(nodes)
    calls = tuple(_call(node, parts) for node in nodes if node.op == "call_function" and not _is_part(node))
    shapes = {node.name: shape for node in nodes if (shape := _shape(node)) is not None}
    inputs = tuple(spec.arg.name for spec in signature.input_specs if spec.kind.name == "USER_INPUT")
    return Program(inputs, _constants(exported), calls, str(names[0]), shapes)


def _constants(exported: ExportedProgram) -> Mapping[str, NDArray[np.generic]]:
    found: dict[str, NDArray[np.generic]] = {}
    for spec in exported.graph_signature.input_specs:
        if spec.kind.name == "USER_INPUT" or spec.target is None:
            continue
        tensor = exported.state_dict.get(spec.target)
        if tensor is None:
            tensor = exported.constants.get(spec.target)
        if isinstance(tensor, torch.Tensor):
            found[spec.arg.name] = tensor.detach().numpy()
    return found


def _is_part(node: fx.Node) -> bool:
    return node.target is operator.getitem


def _parts(nodes: Sequence[fx.Node]) -> Mapping[str, tuple[str, ...]]:
    """A call of several results → what those of them are called that are read; the others have no name."""
    found: dict[str, dict[int, str]] = {}
    for node in nodes:
        if _is_part(node) and isinstance(node.args[0], fx.Node) and isinstance(node.args[1], int):
            found.setdefault(node.args[0].name, {})[node.args[1]] = node.name
    return {name: tuple(places.get(k, "") for k in range(max(places) + 1)) for name, places in found.items()}


def _call(node: fx.Node, parts: Mapping[str, tuple[str, ...]]) -> Call:
    target = node.target
    schema = getattr(target, "_schema", None)
    names = [argument.name for argument in schema.arguments] if schema is not None else []
    names += [f"argument {k}" for k in range(len(names), len(node.args))]
    arguments = {name: _argument(value) for name, value in zip(names, node.args, strict=False)}
    arguments.update({name: _argument(value) for name, value in node.kwargs.items()})
    text = str(target).removeprefix("aten.") if schema is not None else getattr(target, "__name__", str(target))
    outputs = parts.get(node.name, (node.name,))
    return Call(text, arguments, outputs, *_place(node, text))


def _argument(value: object) -> Argument:
    match value:
        case fx.Node():
            return Ref(value.name)
        case list() | tuple():
            return tuple(_argument(part) for part in value)
        case torch.dtype():
            return str(value).removeprefix("torch.")
        case None | bool() | int() | float() | str():
            return value
        case _:
            return Symbol(str(value))


def _shape(node: fx.Node) -> Shape | None:
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return None
    return tuple(int(size) if isinstance(size, int) else str(size) for size in value.shape)


def _place(node: fx.Node, text: str) -> tuple[str, str]:
    """The layer that makes the call, or else the call itself; and the layer's class."""
    stack = node.meta.get("nn_module_stack")
    name = text.partition(".")[0]
    if isinstance(stack, Mapping) and len(stack) > 1:
        path, kind = list(stack.values())[-1]
        shown = kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
        layer = shown.rpartition(".")[2]
        return f"layer {path} ({layer}), {name}", layer
    return f"{node.name} ({name})", ""
