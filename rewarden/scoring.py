"""`score` of files: a table in problem units → the same table with the reward beside it.

Parquet is streamed: a batch of rows is read, scored and written, so that memory does not grow with the rows. Other
formats are read whole. Row numbers in errors are those of the file. The result is written whole, or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rewarden.atomic import require_free
from rewarden.reward.artifact import Artifact
from rewarden.reward.columns import RowsError
from rewarden.reward.encode import Policy
from rewarden.spec_lang.errors import DataError, UsageError

if TYPE_CHECKING:
    from rewarden.spec_lang.tables import Source

BATCH = 65_536
OUT = (".parquet", ".pq", ".csv")


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """`column`: what the reward is called; `columns`: feature → column where they differ; `text`: an encoder's folder
    for rows of text."""

    out_of_domain: Policy = "refuse"
    column: str = "reward"
    batch: int = BATCH
    columns: Mapping[str, str] = field(default_factory=dict)
    encoder: Path | None = None

    def __post_init__(self) -> None:
        if self.out_of_domain not in ("refuse", "flag", "clip"):
            raise UsageError("G90", f"rows out of the domain: {self.out_of_domain!r}", help="refuse, flag or clip")
        if self.batch < 1 or not self.column:
            raise UsageError("G90", f"a batch of {self.batch} rows, a column {self.column!r}", help="--batch 65536")


@dataclass(frozen=True, slots=True)
class Scored:
    """How many rows were scored, and how many of them lie out of the declared domain (none, unless flagged)."""

    rows: int
    outside: int


def score_file(artifact: Artifact, table: Path, out: Path, options: ScoreOptions | None = None) -> Scored:
    """Raises DataError (D codes, with the file's own row numbers), UsageError G05, G06, G90."""
    options = options or ScoreOptions()
    if out.suffix.lower() not in OUT:
        raise UsageError("G90", f"{out.name} is no table that can be written", help="name a .parquet or .csv file")
    require_free(out)
    batches = _batches(artifact, table, options)
    unfinished = out.with_name(f".{out.name}.{os.getpid()}")
    rows = outside = 0
    writer: Callable[[Any], None] | None = None
    close: Callable[[], None] = lambda: None  # noqa: E731
    try:
        for batch, scores, flagged in batches:
            result = _beside(batch, scores, flagged, options, table)
            if writer is None:
                writer, close = _writer(unfinished, out, result.schema)
            writer(result)
            rows, outside = rows + len(scores), outside + int(flagged.sum())
        close()
        if writer is None:
            raise DataError("D08", f"the table {table.name} has no rows", help="there is nothing to score")
        unfinished.replace(out)
    except OSError as error:
        raise UsageError("G06", f"{out} cannot be written: {error.strerror or error}") from None
    finally:
        close()
        unfinished.unlink(missing_ok=True)
    return Scored(rows, outside)


Batch = tuple[Any, NDArray[np.float32], NDArray[np.bool_]]  # a pyarrow table, its rewards, and what is out of domain


def _batches(artifact: Artifact, table: Path, options: ScoreOptions) -> Iterator[Batch]:
    streamed = table.suffix.lower() in (".parquet", ".pq") and table.is_file()
    if streamed and not options.columns and options.encoder is None:
        return _streamed(artifact, table, options)
    return _whole(artifact, table, options)


def _streamed(artifact: Artifact, table: Path, options: ScoreOptions) -> Iterator[Batch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    before = 0
    try:
        with pq.ParquetFile(table, buffer_size=1 << 20, pre_buffer=False) as file:  # else all of it is buffered
            for batch in file.iter_batches(batch_size=options.batch):
                if batch.num_rows:
                    scores, flagged = _scores(artifact, batch, options.out_of_domain, before)
                    yield pa.Table.from_batches([batch]), scores, flagged
                    before += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        message = f"cannot read {table.name}: {str(error).splitlines()[0][:200]}"
        raise DataError("D02", message, help="is it complete, and is its suffix right?") from None


def _whole(artifact: Artifact, table: Path, options: ScoreOptions) -> Iterator[Batch]:
    """Any data that can be learned from, in the same check."""
    import pyarrow as pa

    from rewarden.spec_lang.tables import read_table

    source = _opened(artifact, table, options)
    several = len(artifact.records) > 1
    bounds = "refuse" if options.out_of_domain == "refuse" else "keep"
    parts = [
        read_table(source, record.type, prefix=f"{record.param}." if several else "", bounds=bounds)  # type: ignore[arg-type]
        for record in artifact.records
    ]
    columns = dict(_readable(source))
    for start in range(0, source.file.rows, options.batch):
        stop = min(start + options.batch, source.file.rows)
        values = np.concatenate([part.values[start:stop] for part in parts], axis=1)
        scores, flagged = _scores(artifact, values, options.out_of_domain, start)
        yield pa.table({name: _arrow(array[start:stop]) for name, array in columns.items()}), scores, flagged


def _readable(source: Source) -> Iterator[tuple[str, NDArray[Any]]]:
    """All columns but those that are pickled."""
    for name in source.file.names:
        try:
            yield name, source.file.read(name)
        except DataError as error:
            if error.code != "D10":
                raise


def _opened(artifact: Artifact, table: Path, options: ScoreOptions) -> Source:
    from rewarden.reward.data.opening import open_data
    from rewarden.spec_lang.tables import open_source

    if len(artifact.records) > 1:
        return open_source(table)
    kind = artifact.records[0].type
    source = open_data(table, kind, options.columns)
    if options.encoder is None:
        return source
    from rewarden.text.use import as_features

    return as_features(source, artifact, options.encoder)


def _scores(
    artifact: Artifact, rows: object, policy: Policy, before: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    try:
        scores = artifact.score(rows, policy)
    except RowsError as error:
        raise error.after(before) from None
    flagged = np.ma.getmaskarray(scores) if policy == "flag" else np.zeros(len(scores), np.bool_)
    return np.asarray(np.ma.getdata(scores)), flagged


def _beside(batch: Any, scores: Any, flagged: Any, options: ScoreOptions, table: Path) -> Any:  # noqa: ANN401 - pyarrow
    import pyarrow as pa

    added = {options.column: pa.array(scores)}
    if options.out_of_domain == "flag":
        added["out_of_domain"] = pa.array(flagged)
    for name, values in added.items():
        if name in batch.column_names:
            raise DataError("D12", f"{table.name} has a column {name} already", help="name another one: --column")
        batch = batch.append_column(name, values)
    return batch


def _writer(unfinished: Path, out: Path, schema: Any) -> tuple[Callable[[Any], None], Callable[[], None]]:  # noqa: ANN401
    import pyarrow.csv
    import pyarrow.parquet as pq

    if out.suffix.lower() == ".csv":
        writer = pyarrow.csv.CSVWriter(unfinished, schema)
        return writer.write_table, writer.close
    parquet = pq.ParquetWriter(unfinished, schema)
    return parquet.write_table, parquet.close


def _arrow(values: NDArray[Any]) -> Any:  # noqa: ANN401
    import pyarrow as pa

    if values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).reshape(-1)), values.shape[1])
    return pa.array(values.tolist() if values.dtype == object else np.ascontiguousarray(values))
