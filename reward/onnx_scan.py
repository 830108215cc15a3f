"""What an ONNX file holds besides weights, read in milliseconds however large these are, without the onnx package.

A stranger's encoder may weigh gigabytes, in the file or beside it, and be refused for its first convolution. So before
anything is loaded the file is walked as protocol-buffer fields (length-delimited, so weights are stepped over), and
what can be said from operators, names and shapes alone is said. Nothing is decided in favour of a file here: one that
cannot be walked is left to ONNX's own parser and checker.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# field numbers of onnx.proto, unchanged since its first version
GRAPH, NOTE = 7, 14  # of ModelProto
NODE, INITIALIZER, TAKES, GIVES, SPARSE = 1, 5, 11, 12, 15  # of GraphProto
INPUTS, OUTPUTS, NAME, KIND, DOMAIN = 1, 2, 3, 4, 7  # of NodeProto
TENSOR_NAME = 8  # of TensorProto
VALUE_NAME, TYPE = 1, 2  # of ValueInfoProto
TENSOR_TYPE = 1  # of TypeProto
ELEMENT, SHAPE = 1, 2  # of TypeProto.Tensor
DIM = SIZE = 1  # of TensorShapeProto, of its Dimension
KEY = 1  # of StringStringEntryProto
MOST = 1 << 19  # fields looked at: half a second's worth, and a hundred times what a large encoder has
MOST_TEXT = 1 << 24  # bytes of all names together
MOST_NODES = 1 << 15  # those that only pass values on too: an artifact has 4,096 at most
LONGEST = 1 << 12  # bytes of a name


@dataclass(frozen=True, slots=True)
class Operator:
    """A node of the graph: its place, its operator and whether each of its inputs is known without the network's."""

    number: int
    name: str
    kind: str
    domain: str
    constant: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Input:
    """An input of the graph that is no constant: its name, ONNX's number of its type (1: float32), its sizes, 0 where
    the file names none."""

    name: str
    element: int
    dims: tuple[int, ...]


@dataclass(slots=True)
class Scan:
    """What is known when the file has been walked. `outputs` and `inputs` are None unless that was to its end."""

    notes: set[str] = field(default_factory=set)
    operators: list[Operator] = field(default_factory=list)
    inputs: tuple[Input, ...] | None = None
    outputs: tuple[str, ...] | None = None


class _NotOnnxError(Exception):
    """Internal: these bytes are no such message, or a very long one."""


@dataclass(slots=True)
class _Data:
    """Mutable: the file's bytes, how many fields may still be looked at, and how many bytes of names kept."""

    raw: mmap.mmap
    left: int = MOST
    text: int = MOST_TEXT

    def name(self, start: int, stop: int) -> bytes:
        self.text -= stop - start
        if self.text < 0:
            raise _NotOnnxError
        return self.raw[start:stop]


def scan(path: Path) -> Scan:
    """The file's nodes in their order, its inputs and outputs, as far as it can be read."""
    found = Scan()
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
            _model(_Data(raw), found)
    except (_NotOnnxError, OSError, ValueError):
        pass
    return found


def _model(data: _Data, found: Scan) -> None:
    known: set[bytes] = set()
    parts: dict[int, list[tuple[int, int]]] = {NODE: [], TAKES: [], GIVES: []}
    for number, start, stop in _fields(data, 0, len(data.raw)):
        if number == NOTE:
            found.notes.update(_text(data, start, stop, KEY).values())
        elif number == GRAPH:
            for part, first, last in _fields(data, start, stop):
                if part in parts:
                    parts[part].append((first, last))
                elif part == INITIALIZER:
                    known.update(_texts(data, first, last, TENSOR_NAME).get(TENSOR_NAME, ()))
                elif part == SPARSE:  # its name is that of its values: a tensor, field 1
                    for inner, a, b in _fields(data, first, last):
                        if inner == 1:
                            known.update(_texts(data, a, b, TENSOR_NAME).get(TENSOR_NAME, ()))
    initializers = {name.decode("utf-8", "replace") for name in known}
    if len(parts[NODE]) > MOST_NODES:
        raise _NotOnnxError
    for place, (first, last) in enumerate(parts[NODE]):
        found.operators.append(_operator(data, first, last, place, known))
    inputs = [_input(data, first, last) for first, last in parts[TAKES]]
    outputs = [_text(data, first, last, VALUE_NAME).get(VALUE_NAME, "") for first, last in parts[GIVES]]
    found.inputs = tuple(value for value in inputs if value.name not in initializers)
    found.outputs = tuple(outputs)


def _operator(data: _Data, start: int, stop: int, number: int, known: set[bytes]) -> Operator:
    """A node; its outputs are added to what is `known` where all its inputs are, as for one without inputs."""
    found = _texts(data, start, stop, INPUTS, OUTPUTS, NAME, KIND, DOMAIN)
    inputs = [name for name in found.get(INPUTS, []) if name]
    constant = tuple(name in known for name in inputs)
    if all(constant):
        known.update(found.get(OUTPUTS, ()))
    name, kind, domain = (
        found[part][-1].decode("utf-8", "replace") if part in found else "" for part in (NAME, KIND, DOMAIN)
    )
    return Operator(number, name, kind, domain, constant)


def _input(data: _Data, start: int, stop: int) -> Input:
    """A value of the graph. A type that is no tensor has the element 0, "undefined", and no sizes."""
    name, element, dims = "", 0, []
    for part, first, last in _fields(data, start, stop):
        if part == VALUE_NAME and last - first <= LONGEST:
            name = data.name(first, last).decode("utf-8", "replace")
        elif part == TYPE:
            for kind, a, b in _fields(data, first, last):
                if kind == TENSOR_TYPE:
                    numbers: dict[int, int] = {}
                    for inside, c, d in _fields(data, a, b, numbers):
                        if inside == SHAPE:
                            dims += [_size(data, e, f) for dim, e, f in _fields(data, c, d) if dim == DIM]
                    element = numbers.get(ELEMENT, 0)
    return Input(name, element, tuple(dims))


def _size(data: _Data, start: int, stop: int) -> int:
    """Of one axis: a number of 64 bits with a sign, 0 where there is none."""
    numbers: dict[int, int] = {}
    for _ in _fields(data, start, stop, numbers):
        pass
    size = numbers.get(SIZE, 0) & (1 << 64) - 1
    return size - (1 << 64) if size >> 63 else size


def _text(data: _Data, start: int, stop: int, *wanted: int) -> dict[int, str]:
    """The last of each field that is wanted, as protocol buffers have it."""
    found = _texts(data, start, stop, *wanted)
    return {part: texts[-1].decode("utf-8", "replace") for part, texts in found.items()}


def _texts(data: _Data, start: int, stop: int, *wanted: int) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {}
    for number, first, last in _fields(data, start, stop):
        if number in wanted and last - first <= LONGEST:
            found.setdefault(number, []).append(data.name(first, last))
    return found


def _fields(
    data: _Data, start: int, stop: int, numbers: dict[int, int] | None = None
) -> Iterator[tuple[int, int, int]]:
    """(field, first byte, end) of the length-delimited fields of a message. Of the others the varints are written to
    `numbers`, and the rest is stepped over."""
    at = start
    while at < stop:
        data.left -= 1
        if data.left < 0:
            raise _NotOnnxError
        key, at = _varint(data.raw, at, stop)
        match key & 7:
            case 0:
                value, at = _varint(data.raw, at, stop)
                if numbers is not None:
                    numbers[key >> 3] = value
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
