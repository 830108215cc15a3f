"""Tensors by name from safetensors files that a stranger may have written: one file, or several with an index.

The header is held against the file before a tensor is read: names, types and shapes are what they say, the parts lie
side by side, none goes beyond the end, and together they are the whole file. So no header makes us allocate more than
the file holds. Shards lie beside their index; a name that leads elsewhere is refused. What is read is binary32: halves
(f16, bf16) are numbers of it, doubles are taken where they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.imports.safe_files import MOST_HEADER, opened, parse_object, read_json, refuse_pickle
from rewarden.spec_lang.errors import ArtifactError

_TYPES = "F64:8 F32:4 F16:2 BF16:2 I64:8 I32:4 I16:2 I8:1 U64:8 U32:4 U16:2 U8:1 BOOL:1 F8_E4M3:1 F8_E5M2:1"
SIZES = {kind: int(size) for kind, _, size in (part.partition(":") for part in _TYPES.split())}  # bytes of a number
READABLE = ("F64", "F32", "F16", "BF16", "I64", "I32")
MOST_TENSORS = 1 << 17
MOST_SHARDS = 1024
MOST_DIMS = 8
MOST_NUMBERS = 1 << 28  # of one tensor that is read: 1 GiB
MODEL, INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a tensor lies: its file, type, shape and first byte."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int

    @property
    def count(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Tensors:
    """Tensors by name, none of them read yet; `files` are those that hold them."""

    place: str
    entries: Mapping[str, Entry]
    files: tuple[Path, ...]

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def shape(self, name: str) -> tuple[int, ...]:
        return self._entry(name).shape

    def _entry(self, name: str) -> Entry:
        found = self.entries.get(name)
        if found is None:
            near = [other for other in self.entries if other.rpartition(".")[2] == name.rpartition(".")[2]]
            raise ArtifactError(
                "A34", f"{self.place} has no tensor {name!r}", help="it has " + listed(near or list(self.entries))
            )
        return found

    def read(self, name: str) -> NDArray[np.float32]:
        """The numbers as binary32. Raises ArtifactError (A18 not finite, A34 absent, A35 of a type that has none)."""
        entry = self._entry(name)
        if entry.dtype not in READABLE:
            raise ArtifactError(
                "A35", f"tensor {name!r} of {self.place} is {entry.dtype}", help="write it as F32, F16 or BF16"
            )
        if entry.count > MOST_NUMBERS:
            raise ArtifactError(
                "A35", f"tensor {name!r} of {self.place} has {entry.count} numbers", help=f"at most {MOST_NUMBERS}"
            )
        with opened(entry.file) as file:
            file.seek(entry.start)
            data = file.read(entry.count * SIZES[entry.dtype])
        found = _numbers(data, entry.dtype)
        if found is None:
            raise ArtifactError(
                "A35", f"tensor {name!r} of {self.place} has numbers without a float32 form", help="convert it to F32"
            )
        if not bool(np.isfinite(found).all()):
            raise ArtifactError(
                "A18", f"tensor {name!r} of {self.place} holds a number that is not finite", help="training diverged"
            )
        return found.reshape(entry.shape)


def _numbers(data: bytes, dtype: str) -> NDArray[np.float32] | None:
    """Binary32, or None where that would change a number."""
    if dtype == "BF16":  # the upper half of a binary32
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    kinds = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}
    raw = np.frombuffer(data, kinds[dtype])
    with np.errstate(all="ignore"):
        found = raw.astype(np.float32)
        if dtype in ("F64", "I64", "I32") and not np.array_equal(
            found.astype(raw.dtype), raw, equal_nan=dtype == "F64"
        ):
            return None
    return found


# ── one file ───────────────────────────────────────────────────────────────────────────────────
def open_file(path: Path) -> Tensors:
    """The tensors of one file. Raises ArtifactError (A30 unreadable, A31 pickled, A35 a header that lies)."""
    return Tensors(str(path), _entries(path), (path,))


def _entries(path: Path) -> dict[str, Entry]:
    try:
        with opened(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            head = file.read(16)
            refuse_pickle(path, head)
            length = int.from_bytes(head[:8], "little")
            if len(head) < 9 or length > MOST_HEADER or 8 + length > size:
                raise _lies(path, f"its header is said to be {length} bytes long, of {size}")
            file.seek(8)
            header = parse_object(file.read(length), f"the header of {path}")
    except OSError as error:
        raise ArtifactError("A30", f"{path}: cannot be read: {error.strerror or error}") from None
    header.pop("__metadata__", None)
    if len(header) > MOST_TENSORS:
        raise _lies(path, f"it holds {len(header)} tensors")
    found, reached = {}, 0
    spans = []
    for name, value in header.items():
        entry, start, stop = _entry(path, name, value, 8 + length)
        found[name] = entry
        spans.append((start, stop, name))
    for start, stop, name in sorted(spans):
        if start != reached:
            raise _lies(path, f"tensor {name!r} does not begin where the one before it ends")
        reached = stop
    if 8 + length + reached != size:
        raise _lies(path, f"its tensors end at {8 + length + reached}, the file at {size}")
    return found


def _entry(path: Path, name: str, value: object, base: int) -> tuple[Entry, int, int]:
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise _lies(path, f"tensor {name!r} is not told by dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if dtype not in SIZES:
        raise _lies(path, f"tensor {name!r} is of type {str(dtype)[:40]}")
    if not _whole(shape) or len(shape) > MOST_DIMS or not _whole(offsets) or len(offsets) != 2:
        raise _lies(path, f"tensor {name!r} has a shape or offsets that are none")
    start, stop = offsets
    if math.prod(shape) * SIZES[dtype] != stop - start:
        raise _lies(path, f"tensor {name!r} of shape {shape} cannot have {stop - start} bytes")
    return Entry(path, dtype, tuple(shape), base + start), start, stop


def _whole(value: object) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 1 << 48 for n in value)


def _lies(path: Path, why: str) -> ArtifactError:
    return ArtifactError(
        "A35", f"{path} is not a sound safetensors file: {why}", help="it is damaged, or forged: copy it again"
    )


# ── several files ──────────────────────────────────────────────────────────────────────────────
def open_folder(folder: Path, stem: str = MODEL, index: str = INDEX) -> Tensors | None:
    """The tensors of a folder: one file, or shards with their index; None where there is neither.

    Raises ArtifactError as `open_file` does, and A36 for an index that lies or leads out of the folder.
    """
    if (folder / stem).exists():
        return open_file(folder / stem)
    if not (folder / index).exists():
        return None
    wanted = read_json(folder / index).get("weight_map")
    if not isinstance(wanted, dict) or not wanted or not all(isinstance(name, str) for name in wanted.values()):
        raise ArtifactError("A36", f"{folder / index} has no weight_map of names", help=_INDEX)
    names = sorted(set(wanted.values()))
    if len(names) > MOST_SHARDS:
        raise ArtifactError("A36", f"{folder / index} names {len(names)} files", help=f"at most {MOST_SHARDS}")
    shards = {name: _entries(_beside(folder, name, folder / index)) for name in names}
    entries = {}
    for tensor, name in wanted.items():
        if tensor not in shards[name]:
            raise ArtifactError("A36", f"{folder / index} says that {name} holds {tensor!r}: it does not", help=_INDEX)
        entries[tensor] = shards[name][tensor]
    for name, held in shards.items():
        for tensor in held:
            if wanted.get(tensor) != name:
                raise ArtifactError("A36", f"{name} holds {tensor!r}, of which {index} does not know", help=_INDEX)
    return Tensors(str(folder), entries, tuple(folder / name for name in names))


def _beside(folder: Path, name: str, index: Path) -> Path:
    plain = PurePosixPath(name)
    if plain.name != name or "\\" in name or name in (".", "..") or not name.endswith(".safetensors"):
        raise ArtifactError("A36", f"{index} names {name!r}, which is not a safetensors file beside it", help=_INDEX)
    return folder / name


def account(tensors: Tensors, used: Sequence[str], unused: Sequence[str]) -> None:
    """Every tensor is used, or said not to be. Raises ArtifactError (A34)."""
    known = {*used, *unused}
    left = sorted(set(tensors.entries) - known)
    if left:
        raise ArtifactError(
            "A34",
            f"{tensors.place} holds {listed(left)}, of which the declaration says nothing",
            help="use each tensor in a layer, or list it under `unused`",
        )
    missing = sorted(set(unused) - set(tensors.entries))
    if missing:
        raise ArtifactError("A34", f"{tensors.place} does not hold {listed(missing)}, listed under `unused`")
    both = sorted(set(used) & set(unused))
    if both:
        raise ArtifactError("A34", f"{listed(both)} is used, and listed under `unused`", help="say one of the two")


def listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:80]) for name in names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "no tensor"


_INDEX = "the index and the shards do not belong together: copy all of them from one source"
