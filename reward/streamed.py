"""Parquet tables that are too large for memory, as learners take them.

A file is read a few rows at a time, each checked as `read_table` checks it, and laid out on disk as binary64 in rows
(`scratch`): Parquet keeps columns, compressed, and a training wants rows, often. Arrays of what is read are maps of
that file. What is read, and every digest, is what `segments` would have read at once.

Pairs are streamed where their rows come in the order of pair and step, and carry no text (`annotator`, `id`); anything
else is not streamed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import DataSource, RewardRecord
from rewarden.reward.incomplete import read_incomplete
from rewarden.reward.learners.interface import Array, Comparisons, Demonstrations, Judgements
from rewarden.reward.scratch import Scratch
from rewarden.reward.segments import BETTER, INDEX, LABEL, TIE, WEIGHT, WORSE
from rewarden.spec_lang.canonical import canonical_json
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.features import RecordType
from rewarden.spec_lang.table_files import ColumnFile, from_arrow
from rewarden.spec_lang.tables import Source, file_digest, read_table

FEW_ROWS, FEW_CELLS = 1 << 16, 1 << 22  # up to either of them, data are held in memory
AT_ONCE = 1 << 18  # cells that are read at a time


def read_streamed(source: str, path: Path, record_type: RecordType, param: str, folder: Path | None) -> object | None:
    """The data of a large Parquet file, laid out in `folder`; None where it is to be read at once.

    Raises DataError as `segments` does, D39 where the disk is full.
    """
    reader = {"demonstrations": _demonstrations, "labels": _judgements, "preferences": _comparisons}.get(source)
    if reader is None or path.suffix.lower() not in (".parquet", ".pq") or not path.is_file():
        return None
    size = _size(path)
    if size is None:
        return None
    rows, names = size
    cells = rows * record_type.width * (2 if source == "preferences" else 1)
    features = {feature.name for feature in record_type.features}
    if rows <= FEW_ROWS or cells <= FEW_CELLS or ({"annotator", "id"} & set(names)) - features:
        return None
    return reader(_File(path, names, rows, file_digest(path)), RewardRecord(param, record_type.unqualified()), folder)


def _size(path: Path) -> tuple[int, tuple[str, ...]] | None:
    """None for a file that is damaged: reading it at once says how."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = tuple(file.schema_arrow.names)
            return (file.metadata.num_rows, names) if len(set(names)) == len(names) else None
    except (pa.ArrowException, OSError, ValueError):
        return None


class _File:
    """A Parquet file, read from its beginning as often as it is asked for."""

    def __init__(self, path: Path, names: tuple[str, ...], rows: int, digest: str) -> None:
        self.path, self.names, self.rows, self.digest = path, names, rows, digest

    def parts(self, record_type: RecordType) -> Iterator[Source]:
        """Consecutive rows, each part as a table of its own."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        start = 0
        size = max(1024, AT_ONCE // max(1, record_type.width))
        try:
            with pq.ParquetFile(self.path, buffer_size=1 << 20, pre_buffer=False) as file:
                for batch in file.iter_batches(batch_size=size, use_threads=False):
                    table = pa.Table.from_batches([batch])

                    def read(name: str, table: Any = table) -> NDArray[Any]:  # noqa: ANN401 (pyarrow is untyped)
                        return from_arrow(table.column(name))

                    yield Source(self.path, ColumnFile(self.names, table.num_rows, read, start=start), self.digest)
                    start += table.num_rows
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            what = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise DataError(
                "D02", f"cannot read {self.path.name}: {what}", help="is it complete, and is its suffix right?"
            ) from error


class _Digest:
    """Mutable: `canonical_table_digest`, a few rows at a time."""

    def __init__(self, record_type: RecordType, rows: int) -> None:
        header = canonical_json({"columns": [column.name for column in record_type.columns()], "rows": rows})
        self._hash = hashlib.sha256(header + b"\n")

    def add(self, values: Array) -> None:
        self._hash.update((values + 0.0).astype("<f8").tobytes(order="C"))

    def source(self, name: str, file: _File) -> DataSource:
        return DataSource(name, file.digest, "sha256:" + self._hash.hexdigest(), file.rows)


# ── the kinds of data ──────────────────────────────────────────────────────────────────────────
def _demonstrations(file: _File, record: RewardRecord, folder: Path | None) -> Demonstrations:
    kind = record.type
    digest, laid = _Digest(kind, file.rows), Scratch(kind.width, folder)
    for part in file.parts(kind):
        values = read_incomplete(part, kind).values
        digest.add(values)
        laid.append(values)
    return Demonstrations(record, laid.mapped(kind.width), (digest.source(file.path.stem, file),))


def _judgements(file: _File, record: RewardRecord, folder: Path | None) -> Judgements:
    kind = record.type
    digest = _Digest(kind, file.rows)
    rows, labels, weights = Scratch(kind.width, folder), Scratch(1, folder), Scratch(1, folder)
    for part in file.parts(kind):
        values = read_table(part, kind).values
        digest.add(values)
        rows.append(values)
        labels.append(read_table(part, LABEL).values)
        if "weight" in file.names:
            weights.append(read_table(part, WEIGHT).values)
    found = _flat(weights) if "weight" in file.names else None
    return Judgements(record, rows.mapped(kind.width), _flat(labels), (digest.source(file.path.stem, file),), found)


def _flat(laid: Scratch) -> Array:
    return np.asarray(laid.mapped(1).reshape(-1))


def _comparisons(file: _File, record: RewardRecord, folder: Path | None) -> Comparisons | None:
    """None where the rows are not in order: to sort them takes all of them."""
    kind = record.type
    digests = tuple(_Digest(kind, file.rows) for _ in range(2))
    laid: Scratch | None = None
    order = _Order()
    ties, weights = _OneEach(), _OneEach()
    left = np.zeros((0, 2, kind.width))  # rows of an answer that the next part ends
    for part in file.parts(kind):
        sides = [read_table(part, kind, prefix=prefix).values for prefix in (BETTER, WORSE)]
        for digest, values in zip(digests, sides, strict=True):
            digest.add(values)
        if not order.goes_on(read_table(part, INDEX).values):
            return None
        left = np.concatenate([left, np.stack(sides, axis=1)])
        if "tie" in file.names and not ties.goes_on(read_table(part, TIE).values[:, 0].astype(np.bool_), order):
            return None
        if "weight" in file.names and not weights.goes_on(read_table(part, WEIGHT).values[:, 0], order):
            return None
        order.seen += part.file.rows
        laid = Scratch(2 * order.steps * kind.width, folder) if laid is None else laid
        whole = len(left) // order.steps
        segments = left[: whole * order.steps].reshape(whole, order.steps, 2, kind.width).swapaxes(1, 2)
        laid.append(segments.reshape(whole, -1))
        left = left[whole * order.steps :]
    if laid is None or len(left):  # the last one is short: reading it at once says so
        return None
    names = (f"{file.path.stem}.better", f"{file.path.stem}.worse")
    sources = tuple(digest.source(name, file) for digest, name in zip(digests, names, strict=True))
    counted = weights.all()
    if counted is not None and not counted.any():
        return None
    return Comparisons(record, laid.mapped(2, order.steps, kind.width), sources, ties=ties.all(), weights=counted)


class _Order:
    """Mutable: whether rows come as answer by answer, step by step, each answer with as many steps as the first."""

    def __init__(self) -> None:
        self.steps, self.seen = 0, 0
        self._rows = np.zeros((0, 2))  # of the answer that the last part broke off in, or of the first answer

    def goes_on(self, index: Array) -> bool:
        """False where they do not, and where no answer has ended yet."""
        rows = np.concatenate([self._rows, index])
        if not self.steps:
            ends = np.flatnonzero(rows[:, 0] != rows[0, 0])
            if not len(ends):
                return False
            self.steps = int(ends[0])
        place = (np.arange(len(rows)) + self.seen - len(self._rows)) % self.steps
        first = place == 0
        up = rows[1:] > rows[:-1]
        good = np.where(first[1:], up[:, 0], (rows[1:, 0] == rows[:-1, 0]) & up[:, 1])
        self._rows = rows[-1:]
        return bool(good.all())


class _OneEach:
    """Mutable: a column that says one thing per answer."""

    def __init__(self) -> None:
        self.found: list[NDArray[Any]] = []
        self._last: Any = None

    def goes_on(self, values: NDArray[Any], order: _Order) -> bool:
        """False where it differs within an answer; `order` has not seen these rows yet."""
        first = (np.arange(len(values)) + order.seen) % order.steps == 0
        same = first[1:] | (values[1:] == values[:-1])
        begun = bool(first[0]) or values[0] == self._last
        self._last = values[-1]
        self.found.append(values[first])
        return begun and bool(same.all())

    def all(self) -> NDArray[Any] | None:
        return np.concatenate(self.found) if self.found else None
