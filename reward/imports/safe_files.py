"""What a stranger's file is, by its first bytes, before anything is read of it; and what is refused on sight.

A name proves nothing: a `.bin` may hold safetensors, a `.safetensors` a pickle. Loading a pickle runs whatever code is
in it, so none is ever loaded, and the refusal says how to convert it where one trusts it. Compressed files are not
unpacked: joblib writes pickles so, and a few kilobytes may unpack to any size.
"""

from __future__ import annotations

import json
import os
import stat
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, Literal

from rewarden.spec_lang.errors import ArtifactError

Kind = Literal["safetensors", "pt2", "folder", "other"]
MOST_HEADER = 1 << 24  # bytes of a header, an index or a config: JSON is parsed whole
MOST_ENTRIES = 1 << 16  # files of an archive
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"x\x9c": "zlib", b"x\x01": "zlib",
              b"x\xda": "zlib", b"\x04\x22\x4d\x18": "lz4", b"\x28\xb5\x2f\xfd": "zstandard"}  # fmt: skip
OTHERS = {
    b"\x89HDF": ("an HDF5 file, such as Keras writes", "export the network to ONNX (tf2onnx, or torch.onnx.export)"),
    b"GGUF": ("a GGUF file, whose weights are quantised", "take the safetensors that it was made of"),
    b"\x93NUMPY": ("a NumPy array", "save the weights by name: safetensors.numpy.save_file({...}, path)"),
}
PICKLED_NAMES = (".pt", ".pth", ".pkl", ".pickle", ".joblib", ".ckpt", ".bin", ".dill")
CONVERT = {
    ".bin": "where you trust it, load the model with transformers and write it again:"
    " model.save_pretrained(DIR, safe_serialization=True)",
    ".joblib": "where you trust it, load it and export it to ONNX (skl2onnx.to_onnx)",
    ".pkl": "where you trust it, load it and export it to ONNX (skl2onnx.to_onnx, torch.onnx.export), or pass the"
    " module to rewarden.from_torch",
}
CONVERT_USUAL = (
    "where you trust it, load it yourself and pass the module to rewarden.from_torch (a reward net of imitation:"
    " rewarden.from_imitation), or write its weights with safetensors.torch.save_file, or export it with"
    " torch.onnx.export"
)


def kind_of(path: Path) -> Kind:
    """What is there. Raises ArtifactError (A30 unreadable, A31 pickled or packed)."""
    try:
        if path.is_dir():
            return "folder"
        with opened(path) as file:
            head = file.read(16)
    except OSError as error:
        raise ArtifactError("A30", f"{path}: cannot be read: {error.strerror or error}", help=_NAMED) from None
    for start, (what, way) in OTHERS.items():
        if head.startswith(start):
            raise ArtifactError("A30", f"{path} is {what}", help=way)
    if head[:2] == b"PK":
        return _archive(path)
    refuse_pickle(path, head)
    named = path.suffix.lower() == ".safetensors"  # a damaged one is told as what it is meant to be
    if named or (head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= MOST_HEADER):
        return "safetensors"
    return "other"


def refuse_pickle(path: Path, head: bytes) -> None:
    """Raise ArtifactError (A31) where the first bytes are those of a pickle, or of a compressed file."""
    if is_pickle(head):
        raise pickled(path)
    for start, name in COMPRESSED.items():
        if head.startswith(start):
            raise ArtifactError(
                "A31",
                f"{path} is compressed ({name}), as joblib writes its pickles, and is not unpacked",
                help=CONVERT[".joblib"],
            )
    if path.suffix.lower() in PICKLED_NAMES and head[8:9] != b"{":
        raise pickled(path)


def is_pickle(head: bytes) -> bool:
    """Protocols 2 to 5 say so; 0 and 1 are ASCII and begin with a global, a mark or a persistent id."""
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return True
    if head[:2] in (b"(d", b"(l"):  # of protocol 0: stored at once, or filled or ended; else a text such as `(declare-`
        return head[2:3] in (b"p", b"(", b".", b"\n")
    return ((head[:2] in (b"(c", b"(i", b"ct") or head[:1] == b"c") and b"\n" in head) or head[:2] in (b"]q", b"}q")


def pickled(path: Path) -> ArtifactError:
    return ArtifactError(
        "A31",
        f"{path} is a pickled model, or an archive of one: loading it runs whatever code it holds, so nothing is ever"
        " unpickled",
        help=CONVERT.get(path.suffix.lower(), CONVERT_USUAL),
    )


def _archive(path: Path) -> Kind:
    """A zip: torch.save's holds a pickle, torch.export.save's holds JSON and raw numbers."""
    try:
        names = [entry.filename for entry in entries(path)]
    except ArtifactError:  # cut off: torch.save is who writes zips
        raise pickled(path) from None
    if any(name.endswith((".npy", ".npz")) for name in names):
        raise ArtifactError("A30", f"{path} is a NumPy archive", help=OTHERS[b"\x93NUMPY"][1])
    if any(name.endswith("/archive_format") for name in names):
        return "pt2"
    raise pickled(path)


def entries(path: Path) -> list[zipfile.ZipInfo]:
    """The directory of a zip, which is not unpacked. Raises ArtifactError (A30)."""
    try:
        with opened(path) as file, zipfile.ZipFile(file) as archive:
            found = archive.infolist()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        raise ArtifactError("A30", f"{path} is not a sound archive: {error}", help=_DAMAGED) from None
    if len(found) > MOST_ENTRIES:
        raise ArtifactError("A30", f"{path} holds {len(found)} files", help=f"at most {MOST_ENTRIES} are accepted")
    return found


def opened(path: Path) -> BinaryIO:
    """A regular file for reading: never a pipe or a device, which may have no end. Raises OSError, ArtifactError."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    stream = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        stream.close()
        raise ArtifactError("A06", f"{path} is not a regular file", help=_NAMED)
    return stream


def read_json(path: Path) -> dict[str, Any]:
    """An object in a JSON file of bounded size. Raises ArtifactError (A30)."""
    try:
        with opened(path) as file:
            data = file.read(MOST_HEADER + 1)
    except OSError as error:
        raise ArtifactError("A30", f"{path}: cannot be read: {error.strerror or error}", help=_NAMED) from None
    if len(data) > MOST_HEADER:
        raise ArtifactError("A30", f"{path} is larger than {MOST_HEADER} bytes", help="name the right file")
    return parse_object(data, str(path))


def parse_object(data: bytes, where: str) -> dict[str, Any]:
    """A JSON object whose keys are said once. Raises ArtifactError (A30)."""
    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ArtifactError("A30", f"{where} is not JSON: {reason[:200]}", help=_DAMAGED) from None
    if not isinstance(found, dict):
        raise ArtifactError("A30", f"{where} is not a JSON object", help=_DAMAGED)
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is said twice")
    return found


def _no_constant(text: str) -> float:
    return float(text.lower().replace("infinity", "inf"))


_NAMED = "name an ONNX file, a .pt2 archive, a safetensors file, or the folder of a sequence classifier"
_DAMAGED = "the file is truncated or damaged: copy it again from its source"
