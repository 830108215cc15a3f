"""Artifacts on disk: a folder of two files, or a `.rwz` (a stored zip of exactly those two).

Nothing is ever unpickled, extracted or followed: files are read into memory after their size, kind and digest are
known. Writing goes to a temporary sibling that is renamed into place, so that a reader sees all of it or nothing.

Every refusal is an ArtifactError with a stable code (A13 to A20 also when an `Artifact` is made in memory):

    A01 not there, unreadable   A08 tensors truncated      A15 widths do not fit         A21 another artifact in the way
    A02 not an artifact         A09 tensors tampered with  A16 tensor missing or extra   A22 something else in the way
    A03 pickled                 A10 not canonical JSON     A17 tensor's type or shape    A23 cannot be written
    A04 a network: import it    A11 format or version      A18 tensor not finite
    A05 zip unsound             A12 manifest key or value  A19 constant out of bounds
    A06 link, pipe, device      A13 schema                 A20 too large to be honest
    A07 file too large          A14 graph
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.manifest import artifact_from_manifest, parse_manifest, tensors_digest_in
from rewarden.spec_lang.canonical import digest_of
from rewarden.spec_lang.errors import ArtifactError

MANIFEST = "manifest.json"
TENSORS = "tensors.safetensors"
LIMITS = {MANIFEST: 1 << 24, TENSORS: (1 << 30) + (1 << 24)}  # bytes; weights are capped at 1 GiB by `widths`
SUFFIX = ".rwz"
_PICKLED = {".pt", ".pth", ".pkl", ".pickle", ".joblib", ".ckpt", ".bin"}
_NETWORKS = {".onnx", ".safetensors", ".pt2"}


# ── reading ────────────────────────────────────────────────────────────────────────────────────
def load_artifact(path: str | os.PathLike[str]) -> Artifact:
    """The artifact in a folder or `.rwz`. Raises ArtifactError (A01 to A20)."""
    manifest_data, tensors_data = _read(Path(path))
    manifest = parse_manifest(manifest_data)
    named, found = tensors_digest_in(manifest), digest_of(tensors_data)
    tensors = _tensors(tensors_data)  # first: a truncated file deserves its own message
    if named != found:
        raise ArtifactError(
            "A09",
            f"{path}: the tensors are not those the manifest names ({found[:19]}…, not {named[:19]}…)",
            help="the artifact has been tampered with or mixed up: restore it from its source",
        )
    artifact = artifact_from_manifest(manifest, tensors)
    if artifact.tensors_bytes != tensors_data:
        raise ArtifactError(
            "A08", f"{path}: {TENSORS} is not in its one accepted form", help="write it with save_artifact"
        )
    return artifact


def read_manifest(path: str | os.PathLike[str]) -> bytes:
    """The manifest's bytes in a folder or `.rwz`, as they are: what it is called by, without the tensors' cost.

    Raises ArtifactError A01 to A07."""
    return _read(Path(path), (MANIFEST,))[0]


def _read(path: Path, wanted: Sequence[str] = (MANIFEST, TENSORS)) -> list[bytes]:
    """The bytes of the manifest and of the tensors, or of the manifest alone."""
    try:
        if path.is_dir():
            return _read_folder(path, wanted)
        if not path.exists():
            raise ArtifactError("A01", f"{path}: there is no such artifact", help="name a folder or a .rwz file")
        return _read_file(path, wanted)
    except OSError as error:
        raise ArtifactError("A01", f"{path}: cannot be read: {error.strerror or error}") from None


def _read_folder(folder: Path, wanted: Sequence[str]) -> list[bytes]:
    if not (folder / MANIFEST).exists():
        for file in sorted(folder.iterdir()):
            if file.suffix in _PICKLED:
                raise _pickled(file)
        raise ArtifactError(
            "A02", f"{folder} holds no {MANIFEST}", help="name the folder that `rewarden learn` or `import` has written"
        )
    return [_read_plain(folder, name) for name in wanted]


def _read_plain(folder: Path, name: str) -> bytes:
    file = folder / name
    try:
        # O_NOFOLLOW and O_NONBLOCK: neither a link out of the folder nor a pipe is ever read.
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        if file.is_symlink():
            raise ArtifactError("A06", f"{file} is a symbolic link", help="copy the file itself there") from None
        raise ArtifactError(
            "A02", f"{file} is missing or cannot be read", help=f"an artifact is {MANIFEST} and {TENSORS}"
        ) from None
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ArtifactError("A06", f"{file} is not a regular file")
        if status.st_size > LIMITS[name]:
            raise ArtifactError(
                "A07", f"{file} has {status.st_size} bytes", help=f"at most {LIMITS[name]} are accepted"
            )
        return stream.read(LIMITS[name] + 1)


def _read_file(path: Path, wanted: Sequence[str]) -> list[bytes]:
    with path.open("rb") as stream:
        start = stream.read(16)
    if start[:1] == b"\x80" and len(start) > 1 and start[1] in range(2, 6):
        raise _pickled(path)
    if path.suffix in _NETWORKS:
        raise ArtifactError(
            "A04",
            f"{path} is a network, not a reward artifact",
            help=f"make one of it: rewarden import {path.name} --features SPEC -o DIR",
        )
    if start[:2] == b"PK":
        return _read_zip(path, wanted)
    if path.suffix in _PICKLED:
        raise _pickled(path)
    if path.suffix == SUFFIX:
        raise ArtifactError("A05", f"{path} is not a zip file", help=_TRUNCATED)
    raise ArtifactError("A02", f"{path} is not a reward artifact", help="name a folder or a .rwz file")


def _read_zip(path: Path, wanted: Sequence[str]) -> list[bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            if any(name.endswith("data.pkl") for name in names):
                raise _pickled(path)
            if sorted(names) != [MANIFEST, TENSORS]:
                raise ArtifactError(
                    "A05", f"{path} holds {_shown(names)}", help=f"a .rwz holds {MANIFEST} and {TENSORS}, once each"
                )
            for entry in entries:
                _check_entry(path, entry)
            return [archive.read(name) for name in wanted]
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ArtifactError("A05", f"{path} is not a sound zip file: {error}", help=_TRUNCATED) from None


def _check_entry(path: Path, entry: zipfile.ZipInfo) -> None:
    """Stored, plain, of bounded size: nothing here can grow when read."""
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
        raise ArtifactError("A06", f"{path}: {entry.filename} is not a regular file")
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size or entry.flag_bits & 1:
        raise ArtifactError(
            "A05", f"{path}: {entry.filename} is compressed or encrypted", help="a .rwz stores its files as they are"
        )
    if entry.file_size > LIMITS[entry.filename]:
        raise ArtifactError(
            "A07",
            f"{path}: {entry.filename} has {entry.file_size} bytes",
            help=f"at most {LIMITS[entry.filename]} are accepted",
        )


def _tensors(data: bytes) -> Mapping[str, NDArray[np.float32]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return cast("Mapping[str, NDArray[np.float32]]", load(data))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError("A08", f"{TENSORS} cannot be read: {error}", help=_TRUNCATED) from None


def _pickled(path: Path) -> ArtifactError:
    return ArtifactError(
        "A03",
        f"{path} is a pickled model: loading one runs whatever code it holds, so nothing is ever unpickled",
        help="where you trust it, load it yourself and pass the module to rewarden.from_torch, or export it to ONNX "
        "and run: rewarden import MODEL.onnx --features SPEC -o DIR",
    )


def _shown(names: list[str]) -> str:
    return ", ".join(repr(n) for n in names[:3]) + (", …" if len(names) > 3 else "") if names else "nothing"


# ── writing ────────────────────────────────────────────────────────────────────────────────────
def save_artifact(artifact: Artifact, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write to a folder, or to a zip where the path ends in `.rwz`; returns the path.

    An equal artifact already there is left alone. Another one is replaced only with `overwrite`; anything else that
    is in the way never is. Raises ArtifactError A21 (another artifact), A22 (something else), A23 (cannot write).
    """
    target = Path(path)
    if _occupied(target, artifact, overwrite):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == SUFFIX:
            _write_zip(artifact, target)
        else:
            _write_folder(artifact, target)
    except OSError as error:
        raise ArtifactError("A23", f"{target}: cannot be written: {error.strerror or error}") from error
    return target


def zip_bytes(artifact: Artifact) -> bytes:
    """The `.rwz` of an artifact: a function of the artifact alone (fixed dates, fixed order)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in ((MANIFEST, artifact.manifest_bytes), (TENSORS, artifact.tensors_bytes)):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.create_system = 3
            archive.writestr(entry, data)
    return buffer.getvalue()


def _occupied(target: Path, artifact: Artifact, overwrite: bool) -> bool:
    """True if this very artifact is there already, False if the place is free (or may be overwritten)."""
    if not os.path.lexists(target) or (target.is_dir() and not target.is_symlink() and not any(target.iterdir())):
        return False
    try:
        there = load_artifact(target)
    except ArtifactError:
        raise ArtifactError(
            "A22", f"{target} is there already and is not a sound artifact", help="name a place that is free"
        ) from None
    if there.digest == artifact.digest:
        return True
    if not overwrite:
        raise ArtifactError(
            "A21",
            f"{target} holds another artifact, {there.digest[:19]}…",
            help="name a place that is free, or ask to overwrite it",
        )
    if target.is_symlink() or (target.is_dir() and {f.name for f in target.iterdir()} != {MANIFEST, TENSORS}):
        raise ArtifactError("A22", f"{target} holds more than an artifact", help="name a place that is free")
    return False


def _write_folder(artifact: Artifact, target: Path) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    try:
        _write_synced(temporary / MANIFEST, artifact.manifest_bytes)
        _write_synced(temporary / TENSORS, artifact.tensors_bytes)
        temporary.chmod(0o755)
        if target.is_dir() and any(target.iterdir()):
            _swap(temporary, target)
        else:
            temporary.rename(target)
        _sync_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _swap(temporary: Path, target: Path) -> None:
    """Replace a folder: the old one steps aside and comes back if the new one cannot take its place."""
    aside = temporary.with_suffix(".old")
    target.rename(aside)
    try:
        temporary.rename(target)
    except BaseException:
        aside.rename(target)
        raise
    shutil.rmtree(aside)


def _write_zip(artifact: Artifact, target: Path) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        _write_synced(temporary, zip_bytes(artifact))
        temporary.chmod(0o644)
        temporary.replace(target)
        _sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _write_synced(file: Path, data: bytes) -> None:
    with file.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


_TRUNCATED = "the file is truncated or damaged: copy it again from its source"
