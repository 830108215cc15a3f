"""Rows in problem units → encoded float32 columns, with the declared domain enforced.

A reward means what was learned only where it was declared to mean something, so a row outside is refused unless the
caller asks for it to be flagged or clipped. Only a *range* can be overridden so: text that is no case, half an int or a
missing column is a mistake under any policy.

A value that is in range but whose nearest float32 is not (0.1 is below float32(0.1)) goes to the next float32 inside:
what is executed stays in the domain that proofs are about. Ranges are compared in the precision a column is stored in,
as `spec_lang.tables` does, and errors carry its D codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import RewardRecord
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.tables import Table

Policy = Literal["refuse", "flag", "clip"]
_BOOLS = {"true": 1.0, "True": 1.0, "TRUE": 1.0, "1": 1.0, "false": 0.0, "False": 0.0, "FALSE": 0.0, "0": 0.0}


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """`values` float32 [n, width]; `out_of_domain` bool [n], all False unless the policy is `flag`."""

    values: NDArray[np.float32]
    out_of_domain: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Columns:
    """Named columns, wherever they come from. `closed`: a name that nothing asks for is a mistake."""

    names: tuple[str, ...]
    read: Callable[[str], Any]
    closed: bool


def encode(records: tuple[RewardRecord, ...], rows: object, policy: Policy = "refuse") -> Encoded:
    """Encodes rows for a reward over `records`.

    `rows` is a mapping of columns (arrays, or scalars for all rows alike), a pyarrow table, a data frame, a
    `spec_lang` Table, or an array [n, width] that is encoded already. A vector feature is an array [n, size] or the
    columns `e[0]`, `e[1]`, …; a bool is a bool or 0/1; an enum is text. With several records, columns are named
    `record.feature`, or `rows` maps each record's name to rows of its own. Raises DataError (D03 to D07, D09, D13, D17).
    """
    if policy not in ("refuse", "flag", "clip"):
        raise ValueError(f"out_of_domain is 'refuse', 'flag' or 'clip', not {policy!r}")
    blocks = _blocks(records, rows)
    length = max((len(b) for b, _ in blocks), default=0) if all(len(b) for b, _ in blocks) else 0
    for (block, _), (record, feature) in zip(blocks, _features(records), strict=True):
        if len(block) not in (1, length):
            where = _name(records, record, feature)
            raise DataError("D13", f"{where} has {len(block)} rows, another column {length}", help="one value per row")
    values = np.empty((length, sum(f.width for _, f in _features(records))), dtype=np.float32)
    flagged = np.zeros(length, dtype=np.bool_)
    start = 0
    for (block, stored), (record, feature) in zip(blocks, _features(records), strict=True):
        columns, outside = _in_domain(feature, block, stored, policy, _name(records, record, feature))
        values[:, start : start + feature.width] = columns
        flagged |= outside
        start += feature.width
    return Encoded(values, flagged)


def _features(records: tuple[RewardRecord, ...]) -> list[tuple[RewardRecord, Feature]]:
    return [(record, feature) for record in records for feature in record.type.features]


def _name(records: tuple[RewardRecord, ...], record: RewardRecord, feature: Feature) -> str:
    return feature.name if len(records) == 1 else f"{record.param}.{feature.name}"


# ── finding the columns ────────────────────────────────────────────────────────────────────────
_Block = tuple[NDArray[np.float64], type[np.floating[Any]]]  # [n or 1, feature width]; the type it was stored in


def _blocks(records: tuple[RewardRecord, ...], rows: object) -> list[_Block]:
    """One block per feature of each record."""
    if isinstance(rows, np.ndarray) and rows.dtype.names is None:
        return _split(records, rows)
    if isinstance(rows, Table):
        if len(records) != 1:
            raise DataError("D03", "one table for several records", help=f"map each of {_params(records)} to its table")
        _require_type(records[0], rows)
        return _split(records, rows.values)
    if isinstance(rows, Mapping) and len(records) > 1 and set(rows) == {r.param for r in records}:
        return [block for r in records for block in _blocks((r,), rows[r.param])]
    columns = _columns(rows)
    named = [(f, _name(records, r, f)) for r, f in _features(records)]
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
    if column.null_count:
        return np.array([*column.to_pylist(), None], dtype=object)[:-1]
    return np.array([*column.to_pylist(), None], dtype=object)[:-1] if "list" in str(column.type) else np.asarray(column)


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
    if table.record_type.features != record.type.features and table.record_type.columns() != record.type.columns():
        ours, theirs = ([c.name for c in t.columns()] for t in (record.type, table.record_type))
        if ours != theirs:
            raise DataError("D03", f"the table's columns are not those of {record.type.name}", help="it reads " + ", ".join(ours[:12]))


def _params(records: tuple[RewardRecord, ...]) -> str:
    return ", ".join(r.param for r in records)


# ── one feature ────────────────────────────────────────────────────────────────────────────────
def _split(records: tuple[RewardRecord, ...], rows: NDArray[Any]) -> list[_Block]:
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
    for record, feature in _features(records):
        block = values[:, start : start + feature.width]
        start += feature.width
        if feature.kind == "enum":
            bad = np.flatnonzero(~(((block == 0) | (block == 1)).all(axis=1) & (block.sum(axis=1) == 1)))
            _refuse("D04", _name(records, record, feature), bad, "not one-hot", "exactly one case is 1, the others 0")
        blocks.append((block, stored))
    return blocks


def _block(columns: _Columns, feature: Feature, name: str) -> _Block:
    if name not in columns.names and feature.is_vector and all(e in columns.names for e in _elements(feature, name)):
        parts = [_numbers(np.atleast_1d(np.asarray(columns.read(e))), feature, name) for e in _elements(feature, name)]
        if len({len(p) for p, _ in parts}) != 1:
            raise DataError("D13", f"the elements of {name} differ in their number of rows", help="one value per row")
        return np.stack([p for p, _ in parts], axis=1), parts[0][1]
    if name not in columns.names:
        raise DataError("D03", f"there is no column {name!r}", help=_suggestion(name, columns.names))
    raw = np.asarray(columns.read(name))
    if feature.kind == "enum":
        return _one_hot(np.atleast_1d(raw), feature, name), np.float64
    if not feature.is_vector:
        if raw.ndim > 1:
            raise DataError("D09", f"{name} has shape {list(raw.shape)}, but is one number a row", help="flatten it")
        values, stored = _numbers(np.atleast_1d(raw), feature, name)
        return values[:, None], stored
    if raw.dtype == object and raw.ndim == 1 and not all(_is_scalar(v) for v in raw):
        raw = _stacked(raw, feature, name)
    raw = np.atleast_2d(raw)
    if raw.ndim != 2 or raw.shape[1] != feature.size:
        raise DataError("D09", f"{name} has shape {list(raw.shape)}, not [n, {feature.size}]", help="one vector per row")
    values, stored = _numbers(raw.reshape(-1), feature, name)
    return values.reshape(raw.shape), stored


def _is_scalar(value: object) -> bool:
    return value is None or np.ndim(value) == 0  # type: ignore[call-overload]


def _stacked(raw: NDArray[Any], feature: Feature, name: str) -> NDArray[Any]:
    for row, value in enumerate(raw):
        if np.shape(value) != (feature.size,):
            _refuse("D09", name, np.array([row]), f"{value!r} is not a vector of {feature.size}", "correct the row")
    return np.stack([np.asarray(v) for v in raw])


def _numbers(raw: NDArray[Any], feature: Feature, name: str) -> _Block:
    """float64 [n]; missing values become NaN, which the domain check then deals with."""
    if raw.dtype.kind == "b" and feature.kind != "bool":
        raise DataError("D04", f"{name} holds true or false, but is declared {feature.kind}", help="pass numbers")
    if raw.dtype.kind in "fiub":
        return raw.astype(np.float64), _stored(raw)
    values = np.empty(len(raw))
    for row, item in enumerate(raw.tolist()):
        try:
            values[row] = _number(item, feature)
        except (TypeError, ValueError, OverflowError):
            _refuse("D04", name, np.array([row]), f"{item!r} is not a {feature.kind}", "correct the value")
    return values, np.float64


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
            _refuse("D07", name, np.array([row]), f"unknown case {item!r}", help)
        encoded[row, position[item]] = 1.0
    return encoded


def _stored(raw: NDArray[Any]) -> type[np.floating[Any]]:
    return raw.dtype.type if raw.dtype.kind == "f" else np.float64


# ── the domain ─────────────────────────────────────────────────────────────────────────────────
def _in_domain(
    feature: Feature, block: NDArray[np.float64], stored: type[np.floating[Any]], policy: Policy, name: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The block as float32 inside the range, and which rows were outside (none but for `flag`)."""
    missing = np.isnan(block).any(axis=1)
    if policy != "flag":
        _refuse("D05", name, np.flatnonzero(missing), "not a number", "fill it in or drop the row")
    if feature.kind == "bool":
        bad = ((block != 0) & (block != 1)).any(axis=1) & ~missing
        _refuse("D04", name, np.flatnonzero(bad), "neither 0 nor 1", "a bool is true or false, or 0 or 1")
    if feature.kind == "int":
        bad = (np.isfinite(block) & (block != np.floor(block))).any(axis=1)
        _refuse("D04", name, np.flatnonzero(bad), "not a whole number", "round it, or declare the feature real")
    with np.errstate(over="ignore"):
        lo, hi = (float(stored(float(end))) for end in (feature.lo, feature.hi))
    outside = ~((block >= lo) & (block <= hi))
    rows = np.flatnonzero(outside.any(axis=1))
    if policy == "refuse" and len(rows):
        value = block[rows[0]][outside[rows[0]]][0]
        unit = f" {feature.unit}" if feature.unit else ""
        _refuse(
            "D06",
            name,
            rows,
            f"{float(value)!r}{unit} is out of the declared {_short(feature.lo)} .. {_short(feature.hi)}{unit}",
            "the reward means nothing there: correct the row or its unit, or pass out_of_domain='flag' or 'clip'",
        )
    with np.errstate(over="ignore", invalid="ignore"):
        cast = block.astype(np.float32)
    least, most = float32_range(feature.lo, feature.hi)
    inside = np.clip(cast, least, most) if least <= most else cast
    kept = np.where(outside, cast, inside) if policy == "flag" else inside
    return kept, (outside.any(axis=1) if policy == "flag" else np.zeros(len(block), dtype=np.bool_))


def float32_range(lo: Fraction, hi: Fraction) -> tuple[np.float32, np.float32]:
    """The least and the greatest float32 in lo .. hi; the former is larger where there is none."""
    least, most = (np.float32(float(end)) for end in (lo, hi))
    if Fraction(float(least)) < lo:
        least = np.nextafter(least, np.float32(np.inf))
    if Fraction(float(most)) > hi:
        most = np.nextafter(most, np.float32(-np.inf))
    return least, most


def _short(number: Fraction) -> str:
    return str(number) if number.denominator == 1 else repr(float(number))


def _refuse(code: str, name: str, rows: NDArray[np.intp], what: str, help: str) -> None:
    """Nothing, if there are no such rows. Rows are shown counted from 1, as everywhere."""
    if len(rows):
        listed = ", ".join(str(int(r) + 1) for r in rows[:5]) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")
        raise DataError(code, f"{name}, row{'s' * (len(rows) > 1)} {listed}: {what}", help=help)
