"""Columns out of files: Parquet, CSV, NPZ and JSON lines, chosen by suffix. Nothing here is ever unpickled.

CSV and JSON lines may be packed (`.csv.gz`, `.jsonl.gz`).

A column comes back as it is stored: a numeric or boolean numpy array where the format has types, else an object array
of text, numbers, lists or None. What the values mean is for tables.py to say.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import reprlib
import struct
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from rewarden.spec_lang.errors import DataError

MAX_BYTES = 2**31  # of a file, and of what an archive unpacks to
MAX_CELLS = 2**28
PACKED = ".gz"

Column = NDArray[Any]


@dataclass(frozen=True, slots=True)
class ColumnFile:
    """An opened table: its column names, its number of rows, and a reader of one column.

    `place` says more of a row (counted from 0) where its number alone says little: the episode and the step. `start` is
    the number of the first row, where these are a part of a table.
    """

    names: tuple[str, ...]
    rows: int
    read: Callable[[str], Column]
    place: Callable[[int], str] | None = None
    start: int = 0


def open_columns(path: Path) -> ColumnFile:
    """Raises DataError D01 (no file), D02 (unknown or malformed format), D10 (pickled), D11 (oversize), D12, D13."""
    if not path.is_file():
        raise DataError("D01", f"there is no data file {path.name}", help=f"looked for it in {path.parent}")
    opener = _OPENERS.get(format_of(path))
    if opener is None:
        raise DataError(
            "D02", f"the data file {path.name} has no known format", help=f"use one of {', '.join(sorted(_OPENERS))}"
        )
    if path.stat().st_size > MAX_BYTES:
        raise oversize(path)
    opened = opener(path)
    seen: set[str] = set()
    for name in opened.names:
        if name in seen:
            raise DataError("D12", f"{path.name} has two columns named {name}", help="rename one of them")
        seen.add(name)
    if opened.rows * max(len(opened.names), 1) > MAX_CELLS:
        raise oversize(path)
    return opened


def format_of(path: Path) -> str:
    """The suffix that says how a file is read: of `pairs.jsonl.gz` it is `.jsonl.gz`."""
    last = path.suffix.lower()
    return Path(path.stem).suffix.lower() + last if last == PACKED else last


def oversize(path: Path) -> DataError:
    return DataError(
        "D11", f"the data file {path.name} is too large", help=f"at most {MAX_BYTES} bytes and {MAX_CELLS} cells"
    )


def _malformed(path: Path, what: str) -> DataError:
    return DataError("D02", f"cannot read {path.name}: {what}", help="is it complete, and is its suffix right?")


# ── Parquet ────────────────────────────────────────────────────────────────────────────────────
def _open_parquet(path: Path) -> ColumnFile:
    import pyarrow as pa  # slow to import, and not every spec has data
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names, rows = tuple(file.schema_arrow.names), file.metadata.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _malformed(path, _first_line(error)) from error

    def read(name: str) -> Column:
        try:
            with pq.ParquetFile(path) as file:
                return from_arrow(file.read(columns=[name]).column(name))
        except (
            pa.ArrowException,
            OSError,
            ValueError,
            OverflowError,
        ) as error:  # nanoseconds, long decimals
            raise _malformed(path, _first_line(error)) from error

    return ColumnFile(names, rows, read)


def from_arrow(column: Any) -> Column:  # noqa: ANN401 (pyarrow is untyped)
    """An arrow column as it is stored."""
    import pyarrow as pa

    kind = column.type
    if column.null_count == 0 and (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        return np.asarray(column.to_numpy())
    if column.null_count == 0 and pa.types.is_boolean(kind):
        return np.array(column.to_pylist(), dtype=np.bool_)
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _from_arrow_lists(column)
    return _objects(column.to_pylist())


def _from_arrow_lists(column: Any) -> Column:  # noqa: ANN401
    """A 2-D array where all lists have one length and hold numbers, else an object array of lists."""
    import pyarrow as pa

    whole = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    flat = whole.flatten()
    kind = flat.type
    regular = (
        column.null_count == 0 and flat.null_count == 0 and (pa.types.is_floating(kind) or pa.types.is_integer(kind))
    )
    if regular and len(whole) and len(flat) % len(whole) == 0:
        lengths = set(whole.value_lengths().to_pylist())
        if len(lengths) == 1:
            return np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(len(whole), -1)
    return _objects(column.to_pylist())


# ── text, packed or not ─────────────────────────────────────────────────────────────────────────
_GZIP_ERRORS = (gzip.BadGzipFile, zlib.error, EOFError)


def _text(path: Path, encoding: str) -> io.TextIOWrapper:
    """A file's text; of a packed one no more than `MAX_BYTES` are unpacked (D11)."""
    if path.suffix.lower() != PACKED:
        return path.open(newline="" if encoding == "utf-8-sig" else None, encoding=encoding)
    with gzip.open(path) as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise oversize(path)
    return io.TextIOWrapper(io.BytesIO(raw), encoding=encoding, newline="" if encoding == "utf-8-sig" else None)


# ── CSV ────────────────────────────────────────────────────────────────────────────────────────
def _open_csv(path: Path) -> ColumnFile:
    try:
        with _text(path, "utf-8-sig") as file:
            lines = list(csv.reader(file, strict=True))
    except (csv.Error, UnicodeDecodeError, *_GZIP_ERRORS) as error:
        raise _malformed(path, _first_line(error)) from error
    if not lines:
        raise _malformed(path, "it is empty, without even a header")
    names = tuple(name.strip() for name in lines[0])
    while len(lines) > 1 and not lines[-1]:
        lines.pop()
    # a blank line is not a row; but where rows have one field it may be a value that was lost
    body = lines[1:] if len(names) == 1 else [line for line in lines[1:] if line]
    for row, line in enumerate(body, start=1):
        if len(line) != len(names):
            raise DataError(
                "D13",
                f"row {row} of {path.name} has {len(line)} fields, the header {len(names)}",
                help="correct the row",
            )
    return ColumnFile(names, len(body), lambda name: _objects([line[names.index(name)].strip() for line in body]))


# ── NPZ ────────────────────────────────────────────────────────────────────────────────────────
def _open_npz(path: Path) -> ColumnFile:
    """Members are read here and not by numpy, which believes a header about its size before it looks at the data."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {item.filename.removesuffix(".npy"): item for item in archive.infolist()}
            if sum(item.file_size for item in archive.infolist()) > MAX_BYTES:  # a small archive may unpack to much
                raise oversize(path)
            rows = {_npz_array(path, archive, name, item).shape[:1] for name, item in members.items()}
            names = tuple(item.filename.removesuffix(".npy") for item in archive.infolist())  # one twice: D12
    except _ZIP_ERRORS as error:
        raise _malformed(path, _first_line(error)) from error
    if len(rows) > 1 or () in rows:
        raise DataError("D13", f"the arrays of {path.name} differ in their number of rows", help="one row per record")

    def read(name: str) -> Column:
        try:
            with zipfile.ZipFile(path) as archive:
                array = _npz_array(path, archive, name, members[name])
            if array.dtype.kind in "fiub" and array.dtype.itemsize <= 8:  # longer floats have no exact binary64 value
                return array
            if array.dtype.kind in "US":
                return _objects(array.tolist())
        except _ZIP_ERRORS as error:
            raise _malformed(path, _first_line(error)) from error
        raise _malformed(path, f"the array {name} holds {array.dtype}, neither numbers nor text")

    return ColumnFile(names, next(iter(rows))[0] if rows else 0, read)


def npz_arrays(path: Path) -> dict[str, Callable[[], Column]]:
    """A reader for each array of an NPZ file, whatever its shape. One that is pickled raises D10 when it is read."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except _ZIP_ERRORS as error:
        raise _malformed(path, _first_line(error)) from error
    if path.stat().st_size > MAX_BYTES or sum(item.file_size for item in members) > MAX_BYTES:
        raise oversize(path)

    def reader(item: zipfile.ZipInfo) -> Callable[[], Column]:
        def read() -> Column:
            try:
                with zipfile.ZipFile(path) as archive:
                    return _npz_array(path, archive, item.filename.removesuffix(".npy"), item)
            except _ZIP_ERRORS as error:
                raise _malformed(path, _first_line(error)) from error

        return read

    return {item.filename.removesuffix(".npy"): reader(item) for item in members}


_HEADER_ERRORS = (
    ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError, struct.error, tokenize.TokenError
)  # fmt: skip
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError, RuntimeError)


def _npz_array(path: Path, archive: zipfile.ZipFile, name: str, member: zipfile.ZipInfo) -> Column:
    """One member in numpy's .npy format (NEP 1). What it holds must have exactly the size that its header says."""
    raw = io.BytesIO(_bounded(path, archive, member))
    try:
        version = npy.read_magic(raw)  # type: ignore[no-untyped-call,unused-ignore]
        reader = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
        shape, fortran, dtype = reader(raw)
    except _HEADER_ERRORS as error:
        raise _malformed(path, f"{member.filename} is no array of numpy's format 1 or 2") from error
    if dtype.hasobject:
        raise DataError(
            "D10",
            f"the array {name} of {path.name} is pickled Python objects, which are never loaded",
            help="save numbers as float64 arrays and text as fixed-width strings (dtype=str)",
        )
    if not all(isinstance(n, int) and n >= 0 for n in shape) or not dtype.itemsize:
        raise _malformed(path, f"the array {name} has the shape {str(shape)[:100]} of {dtype}")
    data = raw.getbuffer()[raw.tell() :]
    if math.prod(shape) * dtype.itemsize != len(data):
        raise _malformed(path, f"the array {name} says it holds {str(math.prod(shape))[:30]} values, and does not")
    if dtype.kind == "U" and (np.frombuffer(data, np.dtype("u4").newbyteorder(dtype.byteorder)) > sys.maxunicode).any():
        raise _malformed(path, f"the array {name} holds text that is no Unicode")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _bounded(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """A member's bytes; its declared size has been looked at, and may be a lie."""
    with archive.open(member) as stream:
        raw = stream.read(member.file_size + 1)
    if len(raw) != member.file_size:
        raise _malformed(path, f"{member.filename} has another size than the archive says")
    return raw


# ── JSON lines ─────────────────────────────────────────────────────────────────────────────────
def _open_json_lines(path: Path) -> ColumnFile:
    records: list[dict[str, object]] = []
    try:
        with _text(path, "utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    records.append(_json_record(path, number, line))
    except (UnicodeDecodeError, RecursionError, *_GZIP_ERRORS) as error:
        raise _malformed(path, _first_line(error)) from error
    names = tuple(dict.fromkeys(name for record in records for name in record))
    # A key that one line lacks is a missing value of that row.
    return ColumnFile(names, len(records), lambda name: _objects([record.get(name) for record in records]))


def _json_record(path: Path, number: int, line: str) -> dict[str, object]:
    try:
        value = json.loads(line, object_pairs_hook=_Pairs)
    except ValueError as error:
        raise _malformed(path, f"line {number}: {_first_line(error)}") from error
    if not isinstance(value, _Pairs):
        raise _malformed(path, f"line {number} is not an object")
    record: dict[str, object] = {}
    for name, part in _flattened(value, ""):
        if name in record:
            message = f"line {number} of {path.name} names {reprlib.repr(name)} twice"
            raise DataError("D12", message, help="keep one of the two values")
        record[name] = part
    return record


class _Pairs(list[tuple[str, object]]):
    """A JSON object as it stands: a dict would keep the last of two values of one name, and say nothing."""


def _flattened(value: _Pairs, prefix: str) -> Iterator[tuple[str, object]]:
    """Nested objects give dotted names: {"better": {"speed": 1}} holds the column better.speed."""
    for name, part in value:
        if isinstance(part, _Pairs):
            yield from _flattened(part, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", part


def _objects(values: Sequence[object]) -> Column:
    column = np.empty(len(values), dtype=object)
    column[:] = values  # type: ignore[call-overload,unused-ignore]
    return column


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


_OPENERS: dict[str, Callable[[Path], ColumnFile]] = {
    ".parquet": _open_parquet,
    ".pq": _open_parquet,
    ".csv": _open_csv,
    ".npz": _open_npz,
    ".jsonl": _open_json_lines,
    ".ndjson": _open_json_lines,
    ".csv.gz": _open_csv,
    ".jsonl.gz": _open_json_lines,
    ".ndjson.gz": _open_json_lines,
}
