"""Tables of records: data files checked, value by value, against what the spec declares.

A table holds encoded columns in problem units as binary64. Every refusal is a DataError with a stable code and, where a
value is to blame, its 1-based row:

    D01 no such file          D05 NaN, infinite or missing     D09 vector of the wrong length     D13 uneven columns
    D02 unreadable format     D06 out of the declared range    D10 pickled                        D14 assumption broken
    D03 missing column        D07 unknown case                 D11 oversize
    D04 wrong type            D08 no rows (raised on use)      D12 column named twice

Ranges are compared in the precision that the column is stored in: a limit such as 0.1 has no binary value, and a row
that holds the limit as its format can write it is not out of range. The values themselves are never changed.
"""

from __future__ import annotations

import hashlib
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.canonical import canonical_json, digest_of
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.evaluate import truth_of_rows
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.obligation import Formula
from rewarden.spec_lang.table_files import MAX_CELLS, ColumnFile, open_columns, oversize

MAX_ERRORS = 20  # columns of one file that are told of

_TRUE, _FALSE = frozenset({"true", "True", "TRUE", "1"}), frozenset({"false", "False", "FALSE", "0"})


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Columns, where they come from, and the digest of that: a data file, or anything that reads as one."""

    path: Path
    file: ColumnFile
    bytes_digest: str


def open_source(path: str | Path | Source) -> Source:
    """A data file, opened; a source is itself."""
    if isinstance(path, Source):
        return path
    return Source(Path(path), open_columns(Path(path)), file_digest(Path(path)))


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """`values` is float64 [row, encoded column], read-only, finite, with no negative zeros."""

    name: str
    record_type: RecordType
    values: NDArray[np.float64]
    bytes_digest: str  # SHA-256 of the file
    table_digest: str  # SHA-256 of the canonical table, see `canonical_table_digest`

    @property
    def rows(self) -> int:
        return len(self.values)

    def require_rows(self) -> Table:
        """Itself; DataError D08 if there are no rows to speak of."""
        if self.rows == 0:
            raise DataError(
                "D08", f"the data {self.name} has no rows", help="a rule or a constant over it has no meaning"
            )
        return self


def read_table(
    path: str | Path | Source,
    record_type: RecordType,
    *,
    prefix: str = "",
    name: str | None = None,
    bounds: Literal["refuse", "keep"] = "refuse",
) -> Table:
    """Reads a Parquet, CSV, NPZ or JSON-lines file; columns by feature name, after `prefix` ("better." for pairs).

    A vector is one list column or the columns `e[0]`, `e[1]`, …; a bool is a bool, 0/1 or true/false; an enum is text.
    Columns that the record type does not mention are ignored. `bounds="keep"` lets values out of range pass.
    """
    source = open_source(path)
    path, file = source.path, source.file
    if file.rows * record_type.width > MAX_CELLS:
        raise oversize(path)
    parts = _each_encoded([_FeatureColumn(path, file, feature, prefix) for feature in record_type.features], bounds)
    values = np.concatenate(parts, axis=1) if parts else np.zeros((file.rows, 0))
    values = np.ascontiguousarray(values + 0.0)  # + 0.0 turns −0 into 0: one number, one digest
    values.flags.writeable = False
    return Table(
        name=name if name is not None else path.stem,
        record_type=record_type,
        values=values,
        bytes_digest=source.bytes_digest,
        table_digest=canonical_table_digest(record_type, values),
    )


def canonical_table_digest(record_type: RecordType, values: NDArray[np.float64]) -> str:
    """SHA-256 over canonical JSON `{"columns": [names], "rows": n}`, a newline, and the values as little-endian
    binary64 in row-major order. It names the numbers, however the file stored them."""
    return digest_of(canonical_table(record_type, values))


def canonical_table(record_type: RecordType, values: NDArray[np.float64]) -> bytes:
    """What that digest is of."""
    header = canonical_json({"columns": [column.name for column in record_type.columns()], "rows": len(values)})
    return header + b"\n" + (values + 0.0).astype("<f8").tobytes(order="C")


def require_assumption(table: Table, assumption: Formula) -> None:
    """DataError D14 unless every row satisfies the formula (over encoded columns), exactly."""
    broken = np.flatnonzero(~truth_of_rows(assumption, table.values))
    if len(broken):
        raise DataError(
            "D14",
            f"{_rows_text(broken)} of {table.name} break{'s' * (len(broken) == 1)} the assumption on "
            f"{table.record_type.name}",
            help="correct the data, or weaken the assumption",
        )


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


# ── one feature ────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class _FeatureColumn:
    """One feature, and where its values are to be found."""

    path: Path
    file: ColumnFile
    feature: Feature
    prefix: str

    @property
    def name(self) -> str:
        return self.prefix + self.feature.name

    @property
    def present(self) -> bool:
        return self.name in self.file.names or (self.feature.is_vector and f"{self.name}[0]" in self.file.names)

    @property
    def close(self) -> list[str]:
        """The column of the file that may have been meant."""
        return get_close_matches(self.name, self.file.names, n=1)

    def error(self, code: str, row: int | NDArray[np.intp], what: str, help: str) -> DataError:
        """About 0-based rows."""
        rows = np.atleast_1d(np.asarray(row)) + self.file.start
        at = "" if self.file.place is None else f" ({self.file.place(int(rows[0]))})"
        return DataError(code, f"column {self.name}, {_rows_text(rows)}{at} of {self.path.name}: {what}", help=help)


def _each_encoded(columns: Sequence[_FeatureColumn], bounds: Literal["refuse", "keep"]) -> list[NDArray[np.float64]]:
    """One array for each feature; a DataError names every column at fault, so that they are mended in one go."""
    parts: list[NDArray[np.float64]] = []
    absent = [column for column in columns if not column.present and not column.close]
    errors = [_missing(absent)] if absent else []
    for column in [column for column in columns if column not in absent]:
        try:
            parts.append(_encoded(column, bounds))
        except DataError as error:
            errors.append(error)
            if len(errors) == MAX_ERRORS:
                break
    if errors:
        raise DataError.of(errors)
    return parts


def _encoded(column: _FeatureColumn, bounds: Literal["refuse", "keep"]) -> NDArray[np.float64]:
    """float64 [row, feature width]."""
    feature = column.feature
    if feature.kind == "enum":
        return _one_hot(column, _raw(column, column.name))
    element_names = [f"{column.name}[{k}]" for k in range(feature.size)]
    if feature.is_vector and column.name not in column.file.names and element_names[0] in column.file.names:
        scalars = [_numbers(column, _raw(column, name)) for name in element_names]
    elif feature.is_vector:
        scalars = [_numbers(column, part) for part in _elements(column, _raw(column, column.name))]
    else:
        scalars = [_numbers(column, _raw(column, column.name))]
    for values, stored in scalars:
        _require_whole(column, values)
        if bounds == "refuse":
            _require_range(column, values, stored)
    return np.stack([values for values, _ in scalars], axis=1)


def _raw(column: _FeatureColumn, name: str) -> NDArray[Any]:
    if name in column.file.names:
        return column.file.read(name)
    close = get_close_matches(name, column.file.names, n=1)
    if not close:
        raise _missing([column])
    raise DataError("D03", f"{column.path.name} has no column {name}", help=f"did you mean {close[0]}?")


def _missing(columns: Sequence[_FeatureColumn]) -> DataError:
    """None of these is in the file, nor anything like it."""
    names, known = [column.name for column in columns], columns[0].file.names
    shown = [*names[:11], f"{len(names) - 11} more"] if len(names) > 12 else names
    return DataError(
        "D03",
        f"{columns[0].path.name} has no column{'s' * (len(names) > 1)} {', '.join(shown)}",
        help=f"its columns are {', '.join(known[:12]) or 'none'}",
    )


def _elements(column: _FeatureColumn, raw: NDArray[Any]) -> list[NDArray[Any]]:
    """The vector's elements as scalar columns."""
    size = column.feature.size
    if raw.dtype != object:
        if raw.ndim != 2 or raw.shape[1] != size:
            found = "numbers" if raw.ndim == 1 else f"vectors of {raw.shape[1:]}"
            raise column.error("D09", 0, f"{found} where vectors of {size} are declared", "store one list per row")
        return [raw[:, k] for k in range(size)]
    for row, value in enumerate(raw):
        if value is None:
            raise column.error("D05", row, "the value is missing", "fill it in or drop the row")
        if not isinstance(value, list | tuple | np.ndarray):
            raise column.error(
                "D04", row, f"{reprlib.repr(value)} is not a vector", "store one list of numbers per row"
            )
        if len(value) != size:
            raise column.error("D09", row, f"a vector of {len(value)} where {size} are declared", "correct the row")
    scalars = [np.empty(len(raw), dtype=object) for _ in range(size)]
    for row, value in enumerate(raw):
        for k in range(size):
            scalars[k][row] = value[k]
    return scalars


def _numbers(column: _FeatureColumn, raw: NDArray[Any]) -> tuple[NDArray[np.float64], type[np.floating[Any]]]:
    """The scalars as float64, all finite, and the float type they were stored in."""
    if raw.ndim != 1:
        raise column.error("D04", 0, f"an array of shape {raw.shape[1:]} where one number is declared", "flatten it")
    if raw.dtype == np.bool_ and column.feature.kind != "bool":
        raise column.error("D04", 0, "true or false where a number is declared", "declare it bool")
    stored: type[np.floating[Any]] = raw.dtype.type if raw.dtype.kind == "f" else np.float64
    if raw.dtype == object:
        values = np.array([_number(column, row, item) for row, item in enumerate(raw)], dtype=np.float64)
    else:
        values = raw.astype(np.float64)
    # As stored: 2^53 + 1 is rounded to 2^53, which looks exact.
    inexact = np.flatnonzero((raw > 2**53) | (raw < -(2**53))) if raw.dtype.kind in "iu" else np.empty(0, np.intp)
    if len(inexact):
        raise column.error("D04", inexact, "an integer beyond 2^53 has no exact binary64 value", "rescale the column")
    broken = np.flatnonzero(~np.isfinite(values))
    if len(broken):
        raise column.error("D05", broken, "not a finite number", "fill it in or drop the rows")
    return values, stored


def _number(column: _FeatureColumn, row: int, item: object) -> float:
    boolean = column.feature.kind == "bool"
    match item:
        case None | "":
            raise column.error("D05", row, "the value is missing", "fill it in or drop the row")
        case bool() if boolean:
            return float(item)
        case int() | float() if not isinstance(item, bool):
            try:
                exact = float(item) == item or item != item
            except OverflowError:
                exact = False
            if not exact:
                raise column.error("D04", row, "the integer has no exact binary64 value", "rescale the column")
            return float(item)
        case str() if boolean and item in _TRUE | _FALSE:
            return float(item in _TRUE)
        case Decimal() if not boolean:
            return float(item)
        # Python reads 1_000, and digits of any script, as a number; no data format does.
        case str() if not boolean and "_" not in item and item.isascii():
            try:
                found = float(item)
            except ValueError:
                pass
            else:
                if (
                    2.0**53 <= abs(found) < float("inf")
                    and item.lstrip("+-").isdigit()
                    and Fraction(item) != Fraction(found)
                ):
                    raise column.error("D04", row, "the integer has no exact binary64 value", "rescale the column")
                return found
    kind = {"bool": "true or false", "int": "a whole number"}.get(column.feature.kind, "a number")
    raise column.error("D04", row, f"{reprlib.repr(item)} is not {kind}", "correct the value, or the declared type")


def _require_whole(column: _FeatureColumn, values: NDArray[np.float64]) -> None:
    if column.feature.kind == "bool":
        wrong = np.flatnonzero((values != 0) & (values != 1))
        if len(wrong):
            raise column.error("D04", wrong, "neither 0 nor 1", "a bool is true/false or 0/1")
    elif column.feature.kind == "int":
        wrong = np.flatnonzero(values != np.floor(values))
        if len(wrong):
            raise column.error("D04", wrong, "not a whole number", "declare it real, or round it yourself")


def _require_range(column: _FeatureColumn, values: NDArray[np.float64], stored: type[np.floating[Any]]) -> None:
    feature = column.feature
    wrong = np.flatnonzero((values < float(stored(feature.lo))) | (values > float(stored(feature.hi))))
    if len(wrong):
        unit = f" [{feature.unit}]" if feature.unit else ""
        raise column.error(
            "D06",
            wrong,
            f"{float(values[wrong[0]])!r} is out of the range {_short(feature.lo)} .. {_short(feature.hi)}{unit}",
            "widen the range, correct the rows, or convert their unit",
        )


def _one_hot(column: _FeatureColumn, raw: NDArray[Any]) -> NDArray[np.float64]:
    cases = {case: k for k, case in enumerate(column.feature.cases)}
    encoded = np.zeros((len(raw), len(cases)))
    for row, item in enumerate(raw):
        if item is None or (isinstance(item, str) and not item):
            raise column.error("D05", row, "the value is missing", "fill it in or drop the row")
        if not isinstance(item, str):
            raise column.error("D04", row, f"{reprlib.repr(item)} is not text", f"write one of {', '.join(cases)}")
        if item not in cases:
            close = get_close_matches(item, list(cases), n=1)
            hint = f"did you mean {close[0]}?" if close else f"the cases are {', '.join(cases)}"
            raise column.error("D07", row, f"unknown case {reprlib.repr(item)}", hint)
        encoded[row, cases[item]] = 1.0
    return encoded


def _short(number: Fraction) -> str:
    return str(number) if number.denominator == 1 else repr(float(number))


def _rows_text(rows: NDArray[np.intp]) -> str:
    """`row 3` or `rows 3, 7, 9 and 14 more`; from 0-based to 1-based."""
    listed = ", ".join(str(int(row) + 1) for row in rows[:5])
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    return f"row{'s' * (len(rows) > 1)} {listed}{more}"
