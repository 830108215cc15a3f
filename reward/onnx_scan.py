"""What operators an ONNX file holds, read in milliseconds however large its weights are.

A stranger's encoder may weigh gigabytes, in the file or beside it, and be refused for its first convolution. So before
anything is loaded the file is walked as protocol-buffer fields (length-delimited, so weights are stepped over), and
what can be said from operators and names alone is said. Nothing is decided in favour of a file here: one that cannot be
walked is left to ONNX's own parser and checker.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# field numbers of onnx.proto, unchanged since its first version
GRAPH = 7  # of ModelProto
NODE, INITIALIZER, SPARSE = 1, 5, 15  # of GraphProto
INPUTS, OUTPUTS, NAME, KIND, DOMAIN = 1, 2, 3, 4, 7  # of NodeProto
TENSOR_NAME = 8  # of TensorProto
MOST = 1 << 19  # fields looked at: half a second's worth, and a hundred times what a large encoder has
LONGEST = 1 << 12  # bytes of a name


@dataclass(frozen=True, slots=True)
class Operator:
    """A node of the graph: its place, its operator and whether each of its inputs is known without the network's."""

    number: int
    name: str
    kind: str
    domain: str
    constant: tuple[bool, ...]


class _NotOnnxError(Exception):
    """Internal: these bytes are no such message, or a very long one."""


@dataclass(slots=True)
class _Data:
    """Mutable: the file's bytes, and how many fields may still be looked at."""

    raw: mmap.mmap
    left: int = MOST


def operators(path: Path) -> Iterator[Operator]:
    """The nodes in their order, as far as the file can be read."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
            yield from _operators(_Data(raw))
    except (_NotOnnxError, OSError, ValueError):
        return


def _operators(data: _Data) -> Iterator[Operator]:
    known: set[bytes] = set()
    nodes: list[tuple[int, int]] = []
    for field, start, stop in _fields(data, 0, len(data.raw)):
        if field != GRAPH:
            continue
        for part, first, last in _fields(data, start, stop):
            if part == NODE:
                nodes.append((first, last))
            elif part == INITIALIZER:
                known.update(_texts(data, first, last, TENSOR_NAME).get(TENSOR_NAME, ()))
            elif part == SPARSE:  # its name is that of its values: a tensor, field 1
                for inner, a, b in _fields(data, first, last):
                    if inner == 1:
                        known.update(_texts(data, a, b, TENSOR_NAME).get(TENSOR_NAME, ()))
    for number, (first, last) in enumerate(nodes):
        found = _texts(data, first, last, INPUTS, OUTPUTS, NAME, KIND, DOMAIN)
        inputs = [name for name in found.get(INPUTS, []) if name]
        constant = tuple(name in known for name in inputs)
        if all(constant):  # as for an operator without inputs
            known.update(found.get(OUTPUTS, ()))
        first_of = {field: texts[0].decode("utf-8", "replace") for field, texts in found.items() if texts}
        name, kind, domain = (first_of.get(field, "") for field in (NAME, KIND, DOMAIN))
        yield Operator(number, name, kind, domain, constant)


def _texts(data: _Data, start: int, stop: int, *wanted: int) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {}
    for field, first, last in _fields(data, start, stop):
        if field in wanted and last - first <= LONGEST:
            found.setdefault(field, []).append(data.raw[first:last])
    return found


def _fields(data: _Data, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """(field, first byte, end) of the length-delimited fields of a message; the others are stepped over."""
    at = start
    while at < stop:
        data.left -= 1
        if data.left < 0:
            raise _NotOnnxError
        key, at = _varint(data.raw, at, stop)
        match key & 7:
            case 0:
                _, at = _varint(data.raw, at, stop)
            case 1:
                at += 8
            case 2:
                length, at = _varint(data.raw, at, stop)
                if length > stop - at:
                    raise _NotOnnxError
                yield key >> 3, at, at + length
                at += length
            case 5:
                at += 4
            case _:
                raise _NotOnnxError


def _varint(data: mmap.mmap, at: int, stop: int) -> tuple[int, int]:
    value = shift = 0
    while at < stop and shift < 70:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise _NotOnnxError
