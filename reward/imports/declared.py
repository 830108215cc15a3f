"""A network whose weights are a safetensors file and whose architecture somebody has written down.

The declaration is a small TOML or JSON file: a normaliser, layers in order, what of the file is not used. Every tensor
of the file is used or said not to be, every shape is checked before a number is read, and nothing is guessed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact, Identified, RewardRecord
from rewarden.reward.assembly import Assembly
from rewarden.reward.graph import Exp, Sigmoid, Silu, Square, Tanh
from rewarden.reward.imports.provenance import digest_of_file, imported
from rewarden.reward.imports.safe_files import MOST_HEADER, opened, read_json
from rewarden.reward.imports.safetensors_file import account, open_file
from rewarden.reward.operators import Constant, Constants, Operators, Row, Value
from rewarden.reward.refusals import CONVOLUTION, HEAD, Refusal
from rewarden.reward.widths import MAX_NODES, MAX_WIDTH
from rewarden.spec_lang.errors import ArtifactError, Unsupported
from rewarden.spec_lang.features import RecordType

Records = Sequence[tuple[str, RecordType]]
Array32 = NDArray[np.float32]
ACTIVATIONS: Mapping[str, Callable[[Operators, Value, float], Value]] = {
    "none": lambda ops, x, _: x,
    "relu": lambda ops, x, _: Row(ops.build.relu(ops.row(x))),
    "leaky_relu": lambda ops, x, slope: ops.leaky(x, slope),
    "elu": lambda ops, x, alpha: ops.elu(x, alpha),
    "relu6": lambda ops, x, _: ops.clip(x, 0.0, 6.0),
    "abs": lambda ops, x, _: Row(ops.build.absolute(ops.row(x))),
    "tanh": lambda ops, x, _: ops.smooth(Tanh, x),
    "sigmoid": lambda ops, x, _: ops.smooth(Sigmoid, x),
    "silu": lambda ops, x, _: ops.smooth(Silu, x),
    "exp": lambda ops, x, _: ops.smooth(Exp, x),
    "square": lambda ops, x, _: ops.smooth(Square, x),
    "softplus": lambda ops, x, beta: ops.softplus(x, beta),
    "gelu": lambda ops, x, _: ops.gelu(x, "none"),
    "gelu_tanh": lambda ops, x, _: ops.gelu(x, "tanh"),
    "mish": lambda ops, x, _: ops.mish(x),
}
PARAMETERS = {"leaky_relu": 0.01, "elu": 1.0, "softplus": 1.0}  # what `parameter` of a layer means, and its usual value
LAYER_KEYS = ("weight", "bias", "activation", "parameter", "shape", "transposed", "residual")
POOLINGS = ("first", "last", "mean")
TOP_KEYS = ("normaliser", "layers", "unused", "output", "pooling")
NORMALISER_KEYS = ("mean", "std", "variance", "epsilon", "scale", "shift")


class Held(Protocol):
    """Tensors by name: a file's, or a model's with adapters merged."""

    def shape(self, name: str) -> tuple[int, ...]: ...

    def read(self, name: str) -> Array32: ...


@dataclass(frozen=True, slots=True)
class Layer:
    """W x + b, then an activation; `residual` adds the layer's input to what it gives."""

    weight: str | None
    bias: str | None
    activation: str
    parameter: float
    shape: tuple[int, int] | None
    transposed: bool
    residual: bool


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a declaration says; `output` is the column that is the reward, `pooling` is of a classifier's head."""

    layers: tuple[Layer, ...]
    normaliser: Mapping[str, Any] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    output: int | None = None
    pooling: str | None = None

    def used(self) -> list[str]:
        named = [name for layer in self.layers for name in (layer.weight, layer.bias) if name is not None]
        return named + [name for name in self.normaliser.values() if isinstance(name, str)]


def from_safetensors(
    file: Path,
    architecture: Architecture | Path,
    records: Records,
    *,
    identified: Identified = "exact",
    constants: Constants = "exact",
) -> Artifact:
    """The artifact of a safetensors file with a declared architecture.

    Raises ArtifactError (A30 to A35: the file, the declaration, tensors that do not fit) and Unsupported (X20).
    """
    declared = read_architecture(architecture) if isinstance(architecture, Path) else architecture
    tensors = open_file(file)
    account(tensors, declared.used(), declared.unused)
    build = Assembly(sum(record_type.width for _, record_type in records))
    node = assemble_layers(declared, tensors, Operators(build, constants), build.INPUT)
    assembled = build.finish(node)
    record = {"file": digest_of_file(file), "layers": str(len(declared.layers))}
    if declared.unused:
        record["tensors that are not used"] = ", ".join(declared.unused)
    return Artifact(
        records=tuple(RewardRecord(param, kind.unqualified()) for param, kind in records),
        graph=assembled.graph,
        tensors=assembled.tensors,
        identified=identified,
        learner=imported("safetensors", record, {"constants": constants}),
    )


def assemble_layers(declared: Architecture, tensors: Held, ops: Operators, source: int) -> int:
    """The node of the reward, of the columns of `source`."""
    value: Value = Row(source)
    place = "the normaliser"
    try:
        if declared.normaliser:
            value = _normalised(declared.normaliser, tensors, ops, value)
        for number, layer in enumerate(declared.layers):
            place = f"layer {number}" + (f" ({layer.weight})" if layer.weight is not None else "")
            value = _layer(layer, tensors, ops, value)
        place = "the output"
        width = ops.build.width(ops.row(value))
        if declared.output is not None:
            if not 0 <= declared.output < width:
                raise Refusal(f"it is column {declared.output} of {width}", "count columns from 0")
            value = ops.pick(value, np.array([declared.output]))
        elif width != 1:
            raise Refusal(f"it has {width} columns", "a reward is one number per row: say which column, `output = 0`")
    except Refusal as refused:
        raise Unsupported("X20", f"{place}: {refused.message}", help=refused.help) from None
    return ops.row(value)


def _normalised(given: Mapping[str, Any], tensors: Held, ops: Operators, value: Value) -> Value:
    """(x − mean)/std, (x − mean)/√(variance + ε), or x·scale + shift, of which each part may be missing."""
    width = ops.build.width(ops.row(value))
    held = {name: _columns(tensors, given[name], width) for name in given if name != "epsilon"}
    if "scale" in held or "shift" in held:
        ones, zeros = np.ones(width, np.float32), np.zeros(width, np.float32)
        return Row(ops.build.scale(ops.row(value), held.get("scale", ones), held.get("shift", zeros)))
    if "mean" in held:
        value = ops.sub(value, Constant(held["mean"]))
    if "variance" in held:
        if ops.constants == "exact":
            raise Refusal(
                "it divides by √(variance + ε), which has no exact binary32 form",
                'import with constants="nearest" (--constants nearest), or store scale and shift',
            )
        spread = np.sqrt(held["variance"].astype(np.float64) + float(given.get("epsilon", 0.0)))
        if not bool((spread > 0).all()):
            raise Refusal("it divides by a spread of 0", "repair the file")
        value = ops.mul(value, Constant((1.0 / spread).astype(np.float32)))
    if "std" in held:
        value = ops.div(value, Constant(held["std"]))
    return value


def _columns(tensors: Held, name: str, width: int) -> Array32:
    shape = tensors.shape(name)
    if shape not in ((), (1,), (width,), (1, width)):
        raise Refusal(f"{name} has shape {list(shape)}, not [{width}]", "give one number per column")
    return np.broadcast_to(tensors.read(name).reshape(-1), (width,)).astype(np.float32)


def _layer(layer: Layer, tensors: Held, ops: Operators, value: Value) -> Value:
    source, width = value, ops.build.width(ops.row(value))
    if layer.weight is not None:
        shape = tensors.shape(layer.weight)
        if len(shape) > 2:
            raise Refusal(f"{layer.weight} has shape {list(shape)}, as a convolution has: {CONVOLUTION}", HEAD)
        turned = shape[::-1] if layer.transposed and len(shape) == 2 else shape
        if len(turned) != 2 or turned[1] != width or turned[0] > MAX_WIDTH:
            other = " (or say transposed = true)" if len(shape) == 2 and shape[0] == width else ""
            raise Refusal(f"{layer.weight} has shape {list(shape)}, it reads {width} columns{other}", _CHECK)
        if layer.shape is not None and layer.shape != tuple(turned):
            raise Refusal(f"{layer.weight} maps {turned[1]} columns to {turned[0]}, not as declared", _CHECK)
        bias = None if layer.bias is None else _bias(tensors, layer.bias, turned[0])
        weight = tensors.read(layer.weight)
        value = ops.linear(value, np.ascontiguousarray(weight.T) if layer.transposed else weight, bias)
    value = ACTIVATIONS[layer.activation](ops, value, layer.parameter)
    if layer.residual:
        if ops.build.width(ops.row(value)) != width:
            raise Refusal(f"it is residual and gives {ops.build.width(ops.row(value))} columns of {width}", _CHECK)
        value = ops.add(value, source)
    return value


def _bias(tensors: Held, name: str, width: int) -> Array32:
    if tensors.shape(name) != (width,):
        raise Refusal(f"{name} has shape {list(tensors.shape(name))}, not [{width}]", _CHECK)
    return tensors.read(name)


# ── reading a declaration ──────────────────────────────────────────────────────────────────────
def read_architecture(path: Path) -> Architecture:
    """A declaration, TOML or (by its name) JSON. Raises ArtifactError (A30 unreadable, A37 it makes no sense)."""
    if path.suffix.lower() == ".json":
        return architecture_of(read_json(path), str(path))
    try:
        with opened(path) as file:
            data = file.read(MOST_HEADER + 1)
        if len(data) > MOST_HEADER:
            raise ArtifactError("A30", f"{path} is larger than {MOST_HEADER} bytes", help=_EXAMPLE)
        return architecture_of(tomllib.loads(data.decode("utf-8")), str(path))
    except OSError as error:
        raise ArtifactError("A30", f"{path}: cannot be read: {error.strerror or error}", help=_EXAMPLE) from None
    except (ValueError, RecursionError) as error:
        raise ArtifactError("A37", f"{path} is not TOML: {str(error)[:200]}", help=_EXAMPLE) from None


def architecture_of(given: Mapping[str, Any], where: str) -> Architecture:
    """A declaration's object. Raises ArtifactError (A37)."""
    _known(given, TOP_KEYS, where)
    layers = given.get("layers")
    if not isinstance(layers, list) or not layers:
        raise ArtifactError("A37", f"{where} declares no layers", help=_EXAMPLE)
    if len(layers) > MAX_NODES:
        raise ArtifactError("A37", f"{where} declares {len(layers)} layers", help=f"at most {MAX_NODES}")
    normaliser = given.get("normaliser", {})
    if not isinstance(normaliser, dict):
        raise ArtifactError("A37", f"{where}: the normaliser is no table", help=_EXAMPLE)
    _check_normaliser(normaliser, where)
    unused, output = given.get("unused", []), given.get("output")
    if not isinstance(unused, list) or not all(isinstance(name, str) for name in unused):
        raise ArtifactError("A37", f"{where}: unused is not a list of names", help=_EXAMPLE)
    if output is not None and type(output) is not int:
        raise ArtifactError("A37", f"{where}: output is not the number of a column", help=_EXAMPLE)
    found = tuple(_read_layer(layer, f"{where}, layer {number}") for number, layer in enumerate(layers))
    pooling = given.get("pooling")
    if pooling not in (None, *POOLINGS):
        raise ArtifactError("A37", f"{where}: pooling {pooling!r:.60}", help="one of " + ", ".join(POOLINGS))
    return Architecture(found, normaliser, tuple(unused), output, pooling)


def _check_normaliser(given: Mapping[str, Any], where: str) -> None:
    _known(given, NORMALISER_KEYS, f"{where}, normaliser")
    for name, value in given.items():
        right = isinstance(value, int | float) and value >= 0 if name == "epsilon" else isinstance(value, str)
        if not right or isinstance(value, bool):
            raise ArtifactError("A37", f"{where}: {name} of the normaliser is {value!r:.60}", help=_EXAMPLE)
    ways = [{"mean", "std"}, {"mean", "variance", "epsilon"}, {"scale", "shift"}]
    if (given and not any(set(given) <= way for way in ways)) or set(given) == {"epsilon"}:
        raise ArtifactError(
            "A37",
            f"{where}: the normaliser has {', '.join(given)}",
            help="mean and std, or mean, variance and epsilon, or scale and shift",
        )


def _read_layer(given: object, where: str) -> Layer:
    if not isinstance(given, dict):
        raise ArtifactError("A37", f"{where} is no table", help=_EXAMPLE)
    _known(given, LAYER_KEYS, where)
    weight, bias = given.get("weight"), given.get("bias")
    if not all(name is None or isinstance(name, str) for name in (weight, bias)) or (weight is None and bias):
        raise ArtifactError("A37", f"{where}: weight and bias are names of tensors", help=_EXAMPLE)
    activation = given.get("activation", "none")
    if activation not in ACTIVATIONS:
        raise ArtifactError("A37", f"{where}: activation {activation!r:.60}", help="one of " + ", ".join(ACTIVATIONS))
    parameter = given.get("parameter", PARAMETERS.get(activation, 0.0))
    if isinstance(parameter, bool) or not isinstance(parameter, int | float) or abs(parameter) > 1e30:
        raise ArtifactError("A37", f"{where}: parameter is no number", help=_EXAMPLE)
    if "parameter" in given and activation not in PARAMETERS:
        raise ArtifactError("A37", f"{where}: {activation} has no parameter", help=", ".join(PARAMETERS) + " have one")
    shape = given.get("shape")
    if shape is not None and not (isinstance(shape, list) and len(shape) == 2 and all(type(n) is int for n in shape)):
        raise ArtifactError("A37", f"{where}: shape is [outputs, inputs]", help=_EXAMPLE)
    flags = [given.get(name, False) for name in ("transposed", "residual")]
    if not all(isinstance(flag, bool) for flag in flags):
        raise ArtifactError("A37", f"{where}: transposed and residual are true or false", help=_EXAMPLE)
    sizes = None if shape is None else (shape[0], shape[1])
    return Layer(weight, bias, activation, float(parameter), sizes, flags[0], flags[1])


def _known(given: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    unknown = sorted(set(given) - set(keys))
    if unknown:
        raise ArtifactError("A37", f"{where} has an unknown key {unknown[0]!r}", help="it may have " + ", ".join(keys))


_CHECK = "check the declaration against the module that wrote the file"
_EXAMPLE = 'layers as [[layers]] with weight = "fc1.weight", bias = "fc1.bias", activation = "relu"; see'
_EXAMPLE += " docs/bring-your-own.md"
