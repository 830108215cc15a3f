"""A `.pt2` archive (what `torch.export.save` writes) as a program of ATen calls, read without torch and without pickle.

`torch.export.load` unpickles parts of such an archive (sample inputs, and weights that say so), so it is never called.
The network itself is JSON beside raw numbers, and that is all that is read here: entries are taken as they are stored,
never unpacked, and an archive whose weights are pickled is refused. The pickled sample inputs are left unread.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.imports.program import Argument, Call, Program, Ref, Shape, Symbol
from rewarden.reward.imports.safe_files import MOST_HEADER, entries, opened, parse_object, pickled
from rewarden.reward.refusals import refuse_calls
from rewarden.spec_lang.errors import ArtifactError

MOST_MODEL = 1 << 26  # bytes of the network's JSON: stack traces of every call are part of it
MOST_WEIGHTS = 1 << 30
MAJOR = 8  # of the archive's schema, in which every part below is named
DTYPES = {4: "<i4", 5: "<i8", 6: "<f2", 7: "<f4", 8: "<f8", 12: "?"}
NAMES = {4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64", 12: "bool", 13: "bfloat16"}
T = TypeVar("T")
_TRACE = re.compile(r",([^,;]*),([^,;]*)$")


def read_pt2(path: Path) -> Program:
    """The network of an archive. Raises ArtifactError (A30 unsound, A31 with pickled weights, A32 no single result) and
    Unsupported (X20: a layer that is never imported)."""
    return _read(path, _program)


def refuse_at_sight(path: Path) -> None:
    """What the archive's operators rule out, however large its weights are. Raises as `read_pt2`, but for weights."""
    _read(path, _unread)


def _read(path: Path, reading: Callable[[Path, _Archive], T]) -> T:
    try:
        with opened(path) as file, zipfile.ZipFile(file) as archive:
            return reading(path, _Archive(path, archive, _plain(path)))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise ArtifactError("A30", f"{path} is not a sound archive: {error}", help=_AGAIN) from None
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"[:200]
        raise ArtifactError("A30", f"{path} does not hold what a .pt2 archive holds: {reason}", help=_AGAIN) from None


def _plain(path: Path) -> dict[str, zipfile.ZipInfo]:
    """The entries by the name behind the archive's own; stored as they are, so that none is larger than it says."""
    found = {}
    for entry in entries(path):
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size or entry.flag_bits & 1:
            raise ArtifactError("A30", f"{path}: {entry.filename} is compressed or encrypted", help=_AGAIN)
        name = entry.filename.partition("/")[2]
        if name in found:
            raise ArtifactError("A30", f"{path} holds {name!r} twice", help=_AGAIN)
        found[name] = entry
    return found


class _Archive:
    def __init__(self, path: Path, archive: zipfile.ZipFile, plain: dict[str, zipfile.ZipInfo]) -> None:
        self.path, self.archive, self.plain = path, archive, plain

    def read(self, name: str, most: int) -> bytes:
        entry = self.plain.get(name)
        if entry is None:
            raise ArtifactError("A30", f"{self.path} holds no {name}", help=_AGAIN)
        if entry.file_size > most:
            raise ArtifactError("A30", f"{self.path}: {name} has {entry.file_size} bytes", help=f"at most {most}")
        return self.archive.read(entry)

    def object(self, name: str, most: int = MOST_HEADER) -> dict[str, Any]:
        return parse_object(self.read(name, most), f"{name} in {self.path}")


@dataclass(frozen=True, slots=True)
class _Unread:
    """What the network's JSON says: its calls, and what is to be read for them."""

    calls: Program  # without inputs and constants
    inputs: Sequence[Mapping[str, Any]]
    stem: str


def _unread(path: Path, archive: _Archive) -> _Unread:
    """Refuses what is never imported: before a weight is read, since an encoder may have a gigabyte of them."""
    models = [name for name in archive.plain if name.startswith("models/") and name.endswith(".json")]
    if len(models) != 1:
        raise ArtifactError("A30", f"{path} holds {len(models)} networks", help="save one with torch.export.save")
    model = archive.object(models[0], MOST_MODEL)
    version = model["schema_version"]["major"]
    if version != MAJOR:
        raise ArtifactError(
            "A30",
            f"{path} is of schema {version}; {MAJOR} is known",
            help="export it again with the torch that Rewarden is tested with, or pass the module to"
            " rewarden.from_torch",
        )
    module = model["graph_module"]
    graph, signature = module["graph"], module["signature"]
    results = [spec["user_output"]["arg"] for spec in signature["output_specs"] if "user_output" in spec]
    if len(results) != 1 or len(signature["output_specs"]) != 1:
        raise ArtifactError("A32", f"{path} gives {len(results)} results", help="a reward is one number per row")
    shapes = {name: _shape(meta) for name, meta in graph["tensor_values"].items()}
    calls = tuple(_call(node) for node in graph["nodes"])
    found = Program((), {}, calls, _tensor_name(results[0]), shapes)
    refuse_calls(found.needed())
    return _Unread(found, signature["input_specs"], models[0].removeprefix("models/").removesuffix(".json"))


def _program(path: Path, archive: _Archive) -> Program:
    unread = _unread(path, archive)
    weights = _weights(path, archive, unread.stem)
    inputs, constants = [], {}
    for spec in unread.inputs:
        ((kind, held),) = spec.items()
        if kind == "user_input":
            inputs.append(_tensor_name(held["arg"]))
        elif kind in ("parameter", "buffer", "tensor_constant"):
            target = held.get("parameter_name") or held.get("buffer_name") or held.get("tensor_constant_name")
            if target in weights:
                constants[held["arg"]["name"]] = weights[target]
        else:
            raise ArtifactError("A32", f"{path} takes an input of the kind {str(kind)[:40]}", help=_TENSORS)
    return replace(unread.calls, inputs=tuple(inputs), constants=constants)


def _weights(path: Path, archive: _Archive, stem: str) -> Mapping[str, NDArray[np.generic]]:
    found: dict[str, NDArray[np.generic]] = {}
    total = 0
    for folder, part in (("weights", "weights"), ("constants", "constants")):
        config = f"data/{folder}/{stem}_{part}_config.json"
        if config not in archive.plain:
            continue
        for name, held in archive.object(config)["config"].items():
            if held["use_pickle"] is not False:
                raise pickled(path)
            meta = held["tensor_meta"]
            shape = tuple(_fixed(size) for size in meta["sizes"])
            kind = DTYPES.get(meta["dtype"])
            if kind is None:
                raise ArtifactError("A32", f"{path}: {name} is {NAMES.get(meta['dtype'])}", help="pass module.float()")
            if [_fixed(stride) for stride in meta["strides"]] != _contiguous(shape) or _fixed(meta["storage_offset"]):
                raise ArtifactError("A30", f"{path}: {name} is not stored in one piece", help=_AGAIN)
            size = math.prod(shape) * np.dtype(kind).itemsize
            total += size
            data = archive.read(f"data/{folder}/{held['path_name']}", MOST_WEIGHTS)
            if size != len(data) or total > MOST_WEIGHTS:
                raise ArtifactError("A30", f"{path}: {name} of shape {list(shape)} has {len(data)} bytes", help=_AGAIN)
            found[name] = np.frombuffer(data, kind).reshape(shape)
            if found[name].dtype.kind == "f" and not bool(np.isfinite(found[name]).all()):
                raise ArtifactError("A18", f"{path}: {name} holds a number that is not finite")
    return found


def _contiguous(shape: tuple[int, ...]) -> list[int]:
    return [math.prod(shape[k + 1 :]) for k in range(len(shape))]


def _fixed(size: Mapping[str, Any]) -> int:
    number = size["as_int"]
    if type(number) is not int or not 0 <= number < 1 << 40:
        raise ValueError("a size is not a number")
    return number


def _shape(meta: Mapping[str, Any]) -> Shape:
    return tuple(size["as_int"] if "as_int" in size else str(size["as_expr"]["expr_str"]) for size in meta["sizes"])


def _tensor_name(argument: Mapping[str, Any]) -> str:
    return str(argument["as_tensor"]["name"])


def _call(node: Mapping[str, Any]) -> Call:
    target = str(node["target"])
    operator = target.removeprefix("torch.ops.aten.")
    arguments = {str(given["name"]): _argument(given["arg"]) for given in node["inputs"]}
    outputs = tuple(name for result in node["outputs"] for name in _outputs(result))
    return Call(operator, arguments, outputs, *_place(node, operator))


def _outputs(result: Mapping[str, Any]) -> tuple[str, ...]:
    if "as_tensor" in result:
        return (str(result["as_tensor"]["name"]),)
    if "as_tensors" in result:
        return tuple(str(part["name"]) for part in result["as_tensors"])
    return tuple(str(held["as_name"]) for held in result.values() if isinstance(held, dict) and "as_name" in held) or (
        "",
    )


def _argument(given: Mapping[str, Any]) -> Argument:
    ((kind, value),) = given.items()
    match kind:
        case "as_tensor":
            return Ref(str(value["name"]))
        case "as_tensors" | "as_nested_tensors":
            return tuple(Ref(str(part["name"])) for part in value)
        case "as_optional_tensors":
            return tuple(Ref(str(part["as_tensor"]["name"])) if "as_tensor" in part else None for part in value)
        case "as_none":
            return None
        case "as_int" | "as_float" | "as_bool" | "as_string":
            return value
        case "as_ints" | "as_floats" | "as_bools" | "as_strings":
            return tuple(value)
        case "as_sym_ints":
            return tuple(part["as_int"] if "as_int" in part else Symbol(str(part["as_name"])) for part in value)
        case "as_sym_int":
            return value["as_int"] if "as_int" in value else Symbol(str(value["as_name"]))
        case "as_scalar_type":
            return NAMES.get(value, f"type {value}")
        case _:
            return Symbol(kind)


def _place(node: Mapping[str, Any], operator: str) -> tuple[str, str]:
    """The layer that makes the call, or else the call itself; and the layer's class."""
    name = operator.partition(".")[0]
    stack = str(node.get("metadata", {}).get("nn_module_stack", "")).split(";")
    found = _TRACE.search(stack[-1]) if len(stack) > 1 else None
    if found is not None:
        layer = found[2].rpartition(".")[2]
        return f"layer {found[1]} ({layer}), {name}", layer
    return f"{node.get('name') or name} ({name})", ""


_AGAIN = "write it again with torch.export.save, or pass the module to rewarden.from_torch"
_TENSORS = "export a network whose inputs are tensors"
