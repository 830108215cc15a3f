"""Rows as a caller has them (arrays, tables, data frames) → one float64 block per feature, in problem units.

What the values mean is checked here (text is a case, a vector has its length); whether they lie in the declared range
is for `encode` to say. Errors carry the D codes of `spec_lang.tables`, and D17 for a column that nothing reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import RewardRecord
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.features import Feature
from rewarden.spec_lang.tables import Table


class Block(NamedTuple):
    """Values [n, feature width], the type that they were stored in, and whether they are one value for all rows."""

    values: NDArray[np.float64]
    stored: type[np.floating[Any]]
    for_all: bool = False


class RowsError(DataError):
    """About rows, counted from 0; they are shown counted from 1, as everywhere."""

    def __init__(self, code: str, name: str, rows: NDArray[np.intp], what: str, help: str) -> None:
        listed = ", ".join(str(int(r) + 1) for r in rows[:5]) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")
        super().__init__(code, f"{name}, row{'s' * (len(rows) > 1)} {listed}: {what}", help=help)
        self.parts = (code, name, rows, what, help)

    def after(self, rows: int) -> RowsError:
        """The same, where so many rows came before: a batch of a longer table."""
        code, name, own, what, help = self.parts
        return RowsError(code, name, own + rows, what, help)


_BOOLS = {"true": 1.0, "True": 1.0, "TRUE": 1.0, "1": 1.0, "false": 0.0, "False": 0.0, "FALSE": 0.0, "0": 0.0}


@dataclass(frozen=True, slots=True)
class _Columns:
    """Named columns, wherever they come from. `closed`: a name that nothing asks for is a mistake."""

    names: tuple[str, ...]
    read: Callable[[str], Any]
    closed: bool


def features_of(records: tuple[RewardRecord, ...]) -> list[tuple[RewardRecord, Feature]]:
    return [(record, feature) for record in records for feature in record.type.features]


def full_name(records: tuple[RewardRecord, ...], record: RewardRecord, feature: Feature) -> str:
    return feature.name if len(records) == 1 else f"{record.param}.{feature.name}"


# ── finding the columns ────────────────────────────────────────────────────────────────────────
def read_blocks(records: tuple[RewardRecord, ...], rows: object) -> list[Block]:
    """One block per feature of each record."""
    if isinstance(rows, np.ndarray) and rows.dtype.names is None:
        return _split(records, rows)
    if isinstance(rows, Table):
        if len(records) != 1:
            raise DataError("D03", "one table for several records", help=f"map each of {_params(records)} to its table")
        _require_type(records[0], rows)
        return _split(records, rows.values)
    if isinstance(rows, Mapping) and len(records) > 1 and set(rows) == {r.param for r in records}:
        return [block for r in records for block in read_blocks((r,), rows[r.param])]
    columns = _columns(rows)
    named = [(f, full_name(records, r, f)) for r, f in features_of(records)]
    if columns.closed:
        _refuse_unknown(columns, named)
    return [_block(columns, feature, name) for feature, name in named]


def _columns(rows: object) -> _Columns:
    if isinstance(rows, Mapping):
        return _Columns(tuple(str(k) for k in rows), rows.__getitem__, closed=True)
    if isinstance(rows, np.ndarray):
        return _Columns(tuple(rows.dtype.names or ()), rows.__getitem__, closed=False)
    if hasattr(rows, "column_names") and hasattr(rows, "column"):  # pyarrow
        return _Columns(tuple(rows.column_names), lambda name: _from_arrow(rows.column(name)), closed=False)
    if hasattr(rows, "schema") and hasattr(rows, "column"):  # a pyarrow record batch
        return _Columns(tuple(rows.schema.names), lambda name: _from_arrow(rows.column(name)), closed=False)
    if hasattr(rows, "columns") and hasattr(rows, "__getitem__"):  # a data frame
        return _Columns(tuple(str(c) for c in rows.columns), lambda name: np.asarray(rows[name]), closed=False)
    raise DataError(
        "D04",
        f"rows cannot be read from a {type(rows).__name__}",
        help="pass a mapping of columns, a table, a data frame, or an array of encoded columns",
    )


def _from_arrow(column: Any) -> NDArray[Any]:  # noqa: ANN401 (pyarrow is untyped)
    if column.null_count or "list" in str(column.type):
        return np.array([*column.to_pylist(), None], dtype=object)[:-1]  # the None keeps numpy from nesting arrays
    return np.asarray(column)


def _refuse_unknown(columns: _Columns, named: Iterable[tuple[Feature, str]]) -> None:
    known = [n for f, name in named for n in (name, *(_elements(f, name) if f.is_vector else ()))]
    for name in columns.names:
        if name not in known:
            raise DataError("D17", f"the reward reads no {name!r}", help=_suggestion(name, known))


def _elements(feature: Feature, name: str) -> list[str]:
    return [f"{name}[{k}]" for k in range(feature.size)]


def _suggestion(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = get_close_matches(name, names, n=1)
    return f"did you mean {close[0]}?" if close else "there are: " + ", ".join(names[:12])


def _require_type(record: RewardRecord, table: Table) -> None:
    """Same columns, in the same units."""
    ours, theirs = ([(c.name, c.unit) for c in t.columns()] for t in (record.type, table.record_type))
    if ours != theirs:
        reads = ", ".join(name if unit is None else f"{name} [{unit}]" for name, unit in ours[:12])
        raise DataError("D03", f"the table's columns are not those of {record.type.name}", help=f"it reads {reads}")


def _params(records: tuple[RewardRecord, ...]) -> str:
    return ", ".join(r.param for r in records)


# ── one feature ────────────────────────────────────────────────────────────────────────────────
def _split(records: tuple[RewardRecord, ...], rows: NDArray[Any]) -> list[Block]:
    """An encoded array's blocks, with one-hot groups checked."""
    width = sum(r.type.width for r in records)
    if rows.ndim != 2 or rows.shape[1] != width or rows.dtype.kind not in "fiub":
        raise DataError(
            "D09",
            f"an array of shape {list(rows.shape)}, {rows.dtype}, is not [n, {width}] of encoded columns",
            help="its columns are " + ", ".join(c.name for r in records for c in r.type.columns()[:12]),
        )
    values, stored = rows.astype(np.float64), _stored(rows)
    blocks, start = [], 0
    for record, feature in features_of(records):
        block = values[:, start : start + feature.width]
        start += feature.width
        if feature.kind == "enum":
            bad = np.flatnonzero(~(((block == 0) | (block == 1)).all(axis=1) & (block.sum(axis=1) == 1)))
            refuse(
                "D04", full_name(records, record, feature), bad, "not one-hot", "exactly one case is 1, the others 0"
            )
        blocks.append(Block(block, stored))
    return blocks


def _block(columns: _Columns, feature: Feature, name: str) -> Block:
    if name not in columns.names and feature.is_vector and all(e in columns.names for e in _elements(feature, name)):
        raws = [np.asarray(columns.read(e)) for e in _elements(feature, name)]
        parts = [_numbers(np.atleast_1d(raw), feature, name) for raw in raws]
        if len({len(part.values) for part in parts}) != 1:
            raise DataError("D13", f"the elements of {name} differ in their number of rows", help="one value per row")
        for_all = all(raw.ndim == 0 for raw in raws)
        return Block(np.stack([part.values for part in parts], axis=1), parts[0].stored, for_all)
    if name not in columns.names:
        raise DataError("D03", f"there is no column {name!r}", help=_suggestion(name, columns.names))
    try:
        raw = np.asarray(columns.read(name))
    except ValueError:
        raise DataError(
            "D09", f"{name} is uneven: its rows differ in length", help="one value (or vector) per row"
        ) from None
    if feature.kind == "enum":
        if raw.ndim > 1:
            raise DataError("D09", f"{name} has shape {list(raw.shape)}, but is one case a row", help="pass texts")
        return Block(_one_hot(np.atleast_1d(raw), feature, name), np.float64, raw.ndim == 0)
    if not feature.is_vector:
        if raw.ndim > 1:
            raise DataError("D09", f"{name} has shape {list(raw.shape)}, but is one number a row", help="flatten it")
        found = _numbers(np.atleast_1d(raw), feature, name)
        return Block(found.values[:, None], found.stored, raw.ndim == 0)
    if raw.dtype == object and raw.ndim == 1 and not all(_is_scalar(v) for v in raw):
        raw = _stacked(raw, feature, name)
    for_all = raw.ndim == 1
    raw = np.atleast_2d(raw)
    if raw.ndim != 2 or raw.shape[1] != feature.size:
        raise DataError(
            "D09", f"{name} has shape {list(raw.shape)}, not [n, {feature.size}]", help="one vector per row"
        )
    found = _numbers(raw.reshape(-1), feature, name)
    return Block(found.values.reshape(raw.shape), found.stored, for_all)


def _is_scalar(value: object) -> bool:
    return not isinstance(value, list | tuple | np.ndarray)


def _stacked(raw: NDArray[Any], feature: Feature, name: str) -> NDArray[Any]:
    for row, value in enumerate(raw):
        if np.shape(value) != (feature.size,):
            refuse("D09", name, np.array([row]), f"{value!r} is not a vector of {feature.size}", "correct the row")
    return np.stack([np.asarray(v) for v in raw])


def _numbers(raw: NDArray[Any], feature: Feature, name: str) -> Block:
    """float64 [n]; missing values become NaN, which the domain check then deals with."""
    if raw.dtype.kind == "b" and feature.kind != "bool":
        raise DataError("D04", f"{name} holds true or false, but is declared {feature.kind}", help="pass numbers")
    if raw.dtype.kind in "fiub":
        return Block(raw.astype(np.float64), _stored(raw))
    values = np.empty(len(raw))
    for row, item in enumerate(raw.tolist()):
        try:
            values[row] = _number(item, feature)
        except (TypeError, ValueError, OverflowError):
            refuse("D04", name, np.array([row]), f"{item!r} is not a {feature.kind}", "correct the value")
    return Block(values, np.float64)


def _number(item: Any, feature: Feature) -> float:  # noqa: ANN401 (anything may stand in an object array)
    if item is None:
        return float("nan")
    if feature.kind == "bool" and isinstance(item, str) and item in _BOOLS:
        return _BOOLS[item]
    if isinstance(item, str | bytes) or (isinstance(item, bool) and feature.kind != "bool"):
        raise TypeError
    return float(item)


def _one_hot(raw: NDArray[Any], feature: Feature, name: str) -> NDArray[np.float64]:
    position = {case: k for k, case in enumerate(feature.cases)}
    encoded = np.zeros((len(raw), len(position)))
    for row, item in enumerate(raw.tolist()):
        if item not in position:
            help = _suggestion(item, position) if isinstance(item, str) else "cases are text: " + ", ".join(position)
            refuse("D07", name, np.array([row]), f"unknown case {item!r}", help)
        encoded[row, position[item]] = 1.0
    return encoded


def _stored(raw: NDArray[Any]) -> type[np.floating[Any]]:
    return raw.dtype.type if raw.dtype.kind == "f" else np.float64


def refuse(code: str, name: str, rows: NDArray[np.intp], what: str, help: str) -> None:
    """Nothing, if there are no such rows. Rows are shown counted from 1, as everywhere."""
    if len(rows):
        raise RowsError(code, name, rows, what, help)
