"""Certificate kernel, part 2: the reward artifact, from its bytes.

An artifact is `manifest.json` and `tensors.safetensors`, in a folder or stored in a zip. Its name is the SHA-256 of
the manifest, which names the SHA-256 of the tensors: both are recomputed here from the bytes that are used. A binary32
number is a rational with a power of two below; that is what is kept, as integers over one denominator per tensor.
Standard library only.
"""

from __future__ import annotations

import math
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path

from rewarden.certificate.kernel_json import (
    Refused,
    array,
    digest,
    digest_text,
    fields,
    integer,
    items,
    parse,
    read_regular,
    refuse,
    text,
)

MAX_MANIFEST = 1 << 24
MAX_TENSORS = 1 << 24  # bytes: four million weights, far beyond what this kernel could bound
_MANIFEST = "format format_version records graph patches identified learner data parent edit tensors"
# op → (fields that name earlier nodes, fields that name tensors), in the order of docs/formats.md
OPS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "input": ((), ()),
    "scale": (("in",), ("scale", "shift")),
    "affine": (("in",), ("weight", "bias")),
    "relu": (("in",), ()),
    "leaky_relu": (("in",), ("slope",)),
    "abs": (("in",), ()),
    "add": (("in", "with"), ()),
    "sub": (("in", "with"), ()),
    "minimum": (("in", "with"), ()),
    "maximum": (("in", "with"), ()),
    "min": (("in",), ()),
    "max": (("in",), ()),
    "clip": (("in",), ("lo", "hi")),
    "concat": (("parts",), ()),
}
PATCH_TENSORS = ("rows", "offsets", "level", "slope", "delta", "gate")


@dataclass(frozen=True, slots=True)
class Tensor:
    """Entry k is values[k] / bottom, exactly; bottom is the smallest power of two that serves all entries."""

    shape: tuple[int, ...]
    values: tuple[int, ...]
    bottom: int


@dataclass(frozen=True, slots=True)
class Node:
    op: str
    inputs: tuple[int, ...]
    tensors: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Patch:
    kind: str
    tensors: tuple[Tensor, ...]  # in the order of PATCH_TENSORS


@dataclass(frozen=True, slots=True)
class Reward:
    digest: str
    width: int  # encoded columns
    nodes: tuple[Node, ...]
    output: int
    patches: tuple[Patch, ...]


def _two_files(path: Path) -> tuple[bytes, bytes]:
    """Manifest and tensors, from a folder or a `.rwz`."""
    if path.is_dir():
        return read_regular(path / "manifest.json", MAX_MANIFEST), read_regular(
            path / "tensors.safetensors", MAX_TENSORS
        )
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if sorted(e.filename for e in entries) != ["manifest.json", "tensors.safetensors"]:
                refuse("the zip must hold exactly manifest.json and tensors.safetensors")
            for entry in entries:
                limit = min(MAX_MANIFEST, MAX_TENSORS)
                if entry.compress_type != zipfile.ZIP_STORED or max(entry.file_size, entry.compress_size) > limit:
                    refuse(f"{entry.filename} is compressed, or larger than {limit} bytes")
                found[entry.filename] = archive.read(entry)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        refuse(f"not an artifact: {error}")
    return found["manifest.json"], found["tensors.safetensors"]


def _tensor(data: bytes, shape: tuple[int, ...]) -> Tensor:
    numbers = struct.unpack(f"<{len(data) // 4}f", data)  # binary32 → binary64 is exact
    if not all(map(math.isfinite, numbers)):
        refuse("a tensor holds a number that is not finite")
    ratios = [x.as_integer_ratio() for x in numbers]  # exact; −0 becomes 0
    bottom = max((q for _, q in ratios), default=1)
    return Tensor(shape, tuple(p * (bottom // q) for p, q in ratios), bottom)


def read_tensors(data: bytes) -> dict[str, Tensor]:
    """safetensors: eight bytes of header length, a JSON header, then the tensors one after the other, no gaps."""
    if len(data) < 8 or len(data) - 8 < int.from_bytes(data[:8], "little"):
        refuse("the tensors file is cut short")
    start = 8 + int.from_bytes(data[:8], "little")
    header = parse(data[8:start].rstrip(b" "), canonical_form=False)
    if not isinstance(header, dict):
        refuse("the tensors file has no header")
    header.pop("__metadata__", None)
    spans, tensors = [], {}
    for name, entry in header.items():
        kind, shape, offsets = fields(entry, "dtype shape data_offsets", f"tensor {name!r}")
        sizes = tuple(integer(n, 1, MAX_TENSORS, "a size") for n in array(shape, "a shape", 2))
        if not sizes:
            refuse(f"tensor {name!r} has no dimension")
        low, high = (integer(k, 0, MAX_TENSORS, "an offset") for k in items(offsets, 2, "data_offsets"))
        if kind != "F32" or high - low != 4 * math.prod(sizes):
            refuse(f"tensor {name!r} is not float32 of its shape")
        spans.append((low, high))
        if start + high > len(data):
            refuse("the tensors file is cut short")
        tensors[name] = _tensor(data[start + low : start + high], sizes)
    edges = sorted(spans)
    if [0, *(high for _, high in edges)] != [*(low for low, _ in edges), len(data) - start]:
        refuse("the tensors do not fill their file exactly")
    return tensors


def _width(records: object) -> int:
    """The number of encoded columns: a case per column for an enum, else `size`."""
    total = 0
    for record in array(records, "records", 100):
        _, _, features = fields(record, "param type features", "a record")
        for feature in array(features, "features", 100_000):
            _, kind, _, _, _, cases, size = fields(feature, "name kind lo hi unit cases size", "a feature")
            if kind not in ("real", "int", "bool", "enum"):
                refuse(f"unknown kind of feature {kind!r}")
            total += len(array(cases, "cases", 100_000)) if kind == "enum" else integer(size, 1, 100_000, "size")
    return integer(total, 1, 100_000, "the number of encoded columns")


def _node(index: int, value: object, tensors: dict[str, Tensor]) -> Node:
    op = value.get("op") if isinstance(value, dict) else None
    if not isinstance(op, str) or op not in OPS or (op == "input") != (index == 0):
        refuse(f"node {index}: unknown or misplaced op {op!r}")
    links, names = OPS[op]
    found = fields(value, " ".join(("op", *links, *names)), f"node {index}")[1:]
    sources = array(found[0], "parts", 10_000) if op == "concat" else found[: len(links)]
    inputs = tuple(integer(k, 0, index - 1, f"an input of node {index}") for k in sources)
    if op == "concat" and not inputs:
        refuse(f"node {index} joins nothing")
    return Node(op, inputs, tuple(_named(name, tensors) for name in found[len(links) :]))


def _named(name: object, tensors: dict[str, Tensor]) -> Tensor:
    if not isinstance(name, str) or name not in tensors:
        refuse(f"there is no tensor {name!r}")
    return tensors[name]


def _patch(value: object, tensors: dict[str, Tensor]) -> Patch:
    kind, rule, *names = fields(value, " ".join(("kind", "rule", *PATCH_TENSORS)), "a patch")
    text(rule, "a patch's rule")
    if kind not in ("ceiling", "floor"):
        refuse(f"unknown kind of patch {kind!r}")
    return Patch(str(kind), tuple(_named(name, tensors) for name in names))


def load_reward(path: Path) -> Reward:
    """The reward at `path`. Refused if any byte is not what its digests, or docs/formats.md, say."""
    try:
        manifest, tensor_bytes = _two_files(path)
        found = parse(manifest)
        form, version, records, graph, patches, *_, tensors_digest = fields(found, _MANIFEST, "the manifest")
        if form != "rewarden-artifact" or version != 1 or type(version) is not int:
            refuse("not a rewarden-artifact of format version 1")
        if digest(tensor_bytes) != digest_text(tensors_digest, "tensors"):
            refuse("the tensors are not the ones that the manifest names")
        tensors = read_tensors(tensor_bytes)
        node_values, output = fields(graph, "nodes output", "the graph")
        nodes = tuple(_node(k, node, tensors) for k, node in enumerate(array(node_values, "nodes", 10_000)))
        return Reward(
            digest(manifest),
            _width(records),
            nodes,
            integer(output, 0, len(nodes) - 1, "output"),
            tuple(_patch(patch, tensors) for patch in array(patches, "patches", 1000)),
        )
    except Refused as error:
        raise Refused(f"{path.name}: {error}") from None
    except OSError as error:
        raise Refused(f"{path}: {error.strerror or error}") from None
