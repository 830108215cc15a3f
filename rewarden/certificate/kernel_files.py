"""Certificate kernel: where bytes come from. No verdict rests on anything here.

Whatever bytes are found in a certificate or an artifact, what they are is told by their digests, and what they say is
judged: another file in their place is refused, or is just as good. So this file only guards the machine on which the
kernel runs: files are regular and of bounded size, no link is followed inside a certificate, and none of its files is
left unread. Standard library only.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from rewarden.certificate.kernel_json import Refused, refuse

if TYPE_CHECKING:
    from rewarden.certificate.kernel_claim import Claim

MAX_FILE = 1 << 27  # bytes of any one file, after decompression
MAX_PART = 1 << 25  # of the two files of an artifact: eight million numbers, most of them offsets of patches near data


@contextmanager
def _found() -> Iterator[None]:
    """What the system says of a file is why it is refused."""
    try:
        yield
    except OSError as error:
        raise Refused(f"{error.filename}: {error.strerror or error}") from None


# ── one file ───────────────────────────────────────────────────────────────────────────────────
def read_regular(path: Path, limit: int = MAX_FILE) -> bytes:
    """The bytes of a regular file; a link, a device or a file over the limit is refused. OSError if it is not there."""
    flags = [getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY")]  # absent on some systems
    if path.is_symlink():
        refuse(f"{path.name} is a link")
    with os.fdopen(os.open(path, os.O_RDONLY | sum(flags)), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            refuse(f"{path.name} is not a regular file")
        data = file.read(limit + 1)
    return data if len(data) <= limit else refuse(f"{path.name} is larger than {limit} bytes")


def read_file(path: Path, limit: int = MAX_FILE) -> bytes:
    """The same, also refused if it is not there; of a `.gz` what it holds."""
    with _found():
        data = read_regular(path, limit)
    return gunzip(data) if path.suffix == ".gz" else data


def gunzip(data: bytes, limit: int = MAX_FILE) -> bytes:
    """One gzip member, no more than `limit` bytes long when unpacked."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        out = unpacker.decompress(data, limit + 1)
    except zlib.error as error:
        refuse(f"damaged gzip data ({error})")
    if len(out) > limit:
        refuse(f"unpacks to more than {limit} bytes")
    return out if unpacker.eof and not unpacker.unused_data else refuse("gzip data is cut short or goes on")


# ── an artifact ────────────────────────────────────────────────────────────────────────────────
def two_files(path: Path) -> tuple[bytes, bytes]:
    """Manifest and tensors, from a folder or a `.rwz`."""
    names = ("manifest.json", "tensors.safetensors")
    if path.is_dir():
        return read_file(path / names[0], MAX_PART), read_file(path / names[1], MAX_PART)
    try:  # its list of names is read before anything is known of it, so there is a limit to all of it
        with _found(), zipfile.ZipFile(BytesIO(read_regular(path.resolve(), 2 * MAX_PART + (1 << 16)))) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            if len(archive.infolist()) != 2 or entries.keys() != set(names):
                refuse("the zip must hold exactly manifest.json and tensors.safetensors")
            if any(e.compress_type != zipfile.ZIP_STORED or e.file_size > MAX_PART for e in entries.values()):
                refuse(f"a file of it is compressed, or larger than {MAX_PART} bytes")
            return archive.read(entries[names[0]]), archive.read(entries[names[1]])
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, struct.error) as error:
        refuse(f"not an artifact: {error}")


# ── a certificate ──────────────────────────────────────────────────────────────────────────────
def evidence_name(rule: str, claim_digest: str) -> str:
    """The name, without ending, of a claim's file in `proofs/`."""
    return rule if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", rule, re.ASCII) else f"claim-{claim_digest[7:]}"


def table_name(table: str) -> str:
    """The name, in `tables/`, of the table with this digest."""
    return f"{table[7:]}.bin"


def evidence_files(folder: Path, claims: Sequence[Claim]) -> dict[str, Path]:
    """The evidence in a certificate, by the digest of its claim. A file that belongs to no claim is refused."""
    ends = (".json", ".json.gz")
    tables = [table for claim in claims if claim.rows is not None for table in claim.rows["tables"]]
    tables += [claim.near["table"] for claim in claims if claim.near is not None]
    _owned(folder / "tables", {table_name(table): table for table in tables})
    return _owned(folder / "proofs", {evidence_name(c.rule, c.digest) + end: c.digest for c in claims for end in ends})


def _owned(place: Path, owners: Mapping[str, str]) -> dict[str, Path]:
    """The files in a folder of the certificate, by what each belongs to."""
    if place.is_symlink():
        refuse(f"{place.name} is a link")
    found: dict[str, Path] = {}
    with _found():
        paths = sorted(place.iterdir()) if place.is_dir() else []
    for path in paths:
        owner = owners.get(path.name) or refuse(f"{place.name}/{path.name} belongs to no claim")
        if owner in found:
            refuse(f"there are two proofs for one claim: {found[owner].name}, {path.name}")
        found[owner] = path
    return found


def named(claims: Sequence[Claim], rewards: Mapping[str, Path]) -> dict[str, Path]:
    """The artifacts by the names that the claims use; "" stands for the only one there is."""
    wanted = sorted({name for claim in claims for name in claim.rewards})
    told = ", ".join(wanted) or "no reward"
    if set(rewards) == {""}:
        return {wanted[0]: rewards[""]} if len(wanted) == 1 else refuse(f"the claims are about {told}: name each")
    parents = {f"{name}.parent" for claim in claims if claim.lineage is not None for name in claim.rewards}
    unknown = sorted(set(rewards) - set(wanted) - parents)
    return refuse(f"no claim is about {', '.join(unknown)}: they are about {told}") if unknown else dict(rewards)
