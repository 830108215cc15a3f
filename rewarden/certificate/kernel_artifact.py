"""Certificate kernel, part 2: the reward artifact, from its bytes.

An artifact is a manifest and tensors. Its name is the SHA-256 of the manifest, which names the SHA-256 of the tensors:
both are recomputed here from the bytes that are used. A binary32 number is a rational with a power of two below; that
is what is kept, as integers over one denominator per tensor. Standard library only.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rewarden.certificate.kernel_files import MAX_PART, two_files
from rewarden.certificate.kernel_json import Refused, digest, parse, refuse
from rewarden.certificate.kernel_shapes import anything, array, digest_text, one_of, read, text, within

_count = within(0, MAX_PART)
_FEATURE = {
    "name": anything, "kind": one_of("real", "int", "bool", "enum"), "lo": anything, "hi": anything, "unit": anything,
    "cases": array, "size": anything,
}  # fmt: skip
MANIFEST = {
    "format": "rewarden-artifact", "format_version": 1, "tensors": digest_text,
    "records": [{"param": anything, "type": anything, "features": [_FEATURE]}],
    "graph": {"nodes": array, "output": _count}, "patches": array,
    "identified": anything, "learner": anything, "data": anything, "parent": anything, "edit": anything,
}  # fmt: skip
# op → the fields that name earlier nodes, then those that name tensors, in the order of docs/formats.md
OPS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "input": ((), ()), "concat": (("parts",), ()), "leaky_relu": (("in",), ("slope",)), "clip": (("in",), ("lo", "hi")),
    "scale": (("in",), ("scale", "shift")), "affine": (("in",), ("weight", "bias")), "square": (("in",), ()),
    **dict.fromkeys(("relu", "abs", "min", "max", "tanh", "sigmoid", "softplus", "gelu", "silu", "exp"), (("in",), ())),
    **dict.fromkeys(("add", "sub", "minimum", "maximum", "product"), (("in", "with"), ())),
}  # fmt: skip
PATCH_TENSORS = ("rows", "offsets", "level", "slope", "delta", "gate")


class Tensor(NamedTuple):
    """Entry k is values[k] / bottom, exactly; bottom is the smallest power of two that serves all entries."""

    shape: tuple[int, ...]
    values: tuple[int, ...]
    bottom: int


class Node(NamedTuple):
    """A node of the graph, or a patch: then `op` is its kind, and it has no inputs."""

    op: str
    inputs: tuple[int, ...]
    tensors: tuple[Tensor, ...]


class Reward(NamedTuple):
    digest: str
    width: int  # encoded columns
    nodes: tuple[Node, ...]
    output: int
    patches: tuple[Node, ...]
    lineage: Mapping[str, Any]  # the manifest: nothing of what it says the reward comes from is checked


def load_reward(path: Path) -> Reward:
    """The reward at `path`. Refused if any byte is not what its digests, or docs/formats.md, say."""
    try:
        manifest, tensor_bytes = two_files(path)
        found = read(parse(manifest), MANIFEST, "the manifest")
        if digest(tensor_bytes) != found["tensors"]:
            refuse("the tensors are not the ones that the manifest names")
        tensors = _tensors(tensor_bytes)
        nodes = tuple(_node(k, node, tensors) for k, node in enumerate(found["graph"]["nodes"]))
        output = within(0, len(nodes) - 1)(found["graph"]["output"], "output")
        patches = tuple(_patch(patch, tensors) for patch in found["patches"])
        return Reward(digest(manifest), _width(found["records"]), nodes, output, patches, lineage=found)
    except Refused as error:
        raise Refused(f"{path.name}: {error}") from None


def _tensors(data: bytes) -> dict[str, Tensor]:
    """safetensors: eight bytes of header length, a JSON header, then the tensors one after the other, no gaps."""
    start = 8 + int.from_bytes(data[:8], "little")
    if len(data) < max(8, start):
        refuse("the tensors file is cut short")
    header = parse(data[8:start].rstrip(b" "), canonical_form=False)
    if not isinstance(header, dict):
        refuse("the tensors file has no header")
    header.pop("__metadata__", None)
    shape = {"dtype": "F32", "shape": [within(1, MAX_PART)], "data_offsets": (_count, _count)}
    entries = {name: read(entry, shape, f"tensor {name!r}") for name, entry in header.items()}
    edge, tensors = start, {}
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        low, high = (start + k for k in entry["data_offsets"])
        if len(entry["shape"]) not in (1, 2) or high - low != 4 * math.prod(entry["shape"]):
            refuse(f"tensor {name!r} is not float32 of its shape")
        if low != edge or high > len(data):
            refuse("the tensors do not follow each other, or their file is cut short")
        edge = high
        numbers = struct.unpack(f"<{(high - low) // 4}f", data[low:high])  # binary32 → binary64 is exact
        if not all(map(math.isfinite, numbers)):
            refuse(f"tensor {name!r} holds a number that is not finite")
        bottom = max(x.as_integer_ratio()[1] for x in numbers)  # exact; −0 becomes 0
        ratios = map(float.as_integer_ratio, numbers)
        tensors[name] = Tensor(entry["shape"], tuple(p * (bottom // q) for p, q in ratios), bottom)
    return tensors if edge == len(data) else refuse("the tensors do not fill their file exactly")


def _width(records: tuple[dict[str, tuple[dict[str, Any], ...]], ...]) -> int:
    """The number of encoded columns: a case per column for an enum, else `size`."""
    features = [feature for record in records for feature in record["features"]]
    sizes = [len(f["cases"]) if f["kind"] == "enum" else within(1, MAX_PART)(f["size"], "size") for f in features]
    return within(1, 100_000)(sum(sizes), "the number of encoded columns")


def _node(index: int, value: object, tensors: dict[str, Tensor]) -> Node:
    op = value.get("op") if isinstance(value, dict) else None
    if not isinstance(op, str) or op not in OPS or (op == "input") != (index == 0):
        refuse(f"node {index}: unknown or misplaced op {op!r}")
    links, names = OPS[op]
    link = within(0, index - 1)
    shape = {"op": op, **dict.fromkeys(links, [link] if op == "concat" else link), **dict.fromkeys(names, text)}
    found = read(value, shape, f"node {index}")
    inputs = found["parts"] if op == "concat" else tuple(found[key] for key in links)
    if op == "concat" and not inputs:
        refuse(f"node {index} joins nothing")
    return Node(op, inputs, _named(found, names, tensors))


def _patch(value: object, tensors: dict[str, Tensor]) -> Node:
    shape = {"kind": one_of("ceiling", "floor"), "rule": text, **dict.fromkeys(PATCH_TENSORS, text)}
    found = read(value, shape, "a patch")
    return Node(found["kind"], (), _named(found, PATCH_TENSORS, tensors))


def _named(found: dict[str, str], keys: tuple[str, ...], tensors: dict[str, Tensor]) -> tuple[Tensor, ...]:
    return tuple(tensors.get(found[key]) or refuse(f"there is no tensor {found[key]!r}") for key in keys)
