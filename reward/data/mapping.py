"""Which feature of the record is which column of the data, where they are not called the same.

    [data.columns]
    gap = "obs[0]"          # one cell of a vector
    steering = "acts[1]"
    lane = "acts"           # whole numbers 0, 1, 2 … for an enum: its cases in the order of the spec
    next_gap = "next_obs[0]"
    label = "rews"

The same map serves a table on disk, a recording, and an environment's step (`transition`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.errors import DataError, UsageError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.tables import Source

Array = NDArray[Any]
PREFIXES = ("", "better.", "worse.")
ANSWERS = ("label", "weight", "annotator", "tie", "id", "pair", "step", "ranking", "place")
CELL = re.compile(r"(?P<vector>.+)\[(?P<index>\d+)\]")


def require_names(columns: Mapping[str, str], record_type: RecordType) -> None:
    """G12 for a name that is neither a feature nor a column that goes with answers."""
    known = [*(feature.name for feature in record_type.features), *ANSWERS]
    for name in columns:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else "there are: " + ", ".join(known[:12])
            raise UsageError("G12", f"[data.columns] names {name}, which is no feature", help=hint)


def mapped(source: Source, columns: Mapping[str, str], record_type: RecordType) -> Source:
    """The source with further columns, by feature name. D03 for a column that is not there."""
    if not columns:
        return source
    file, features = source.file, {feature.name: feature for feature in record_type.features}
    renamed: dict[str, tuple[str, Feature | None]] = {}
    for name, column in columns.items():
        found = [prefix for prefix in PREFIXES if _there(file.names, prefix + column)]
        if not found:
            close = get_close_matches(column.partition("[")[0], file.names, n=1)
            known = f"did you mean {close[0]}?" if close else f"its columns are {', '.join(file.names[:12])}"
            raise DataError("D03", f"{source.path.name} has no column {column}", help=known)
        renamed |= {prefix + name: (prefix + column, features.get(name)) for prefix in found}

    def read(name: str) -> Array:
        if name not in renamed:
            return file.read(name)
        column, feature = renamed[name]
        values = cell_of(file.read, file.names, column, source.path.name)
        return values if feature is None else in_cases(values, feature, f"{source.path.name}, column {name}")

    names = tuple(dict.fromkeys((*renamed, *file.names)))
    return replace(source, file=replace(file, names=names, read=read))


def _there(names: Collection[str], column: str) -> bool:
    match = CELL.fullmatch(column)
    return column in names or (match is not None and match["vector"] in names)


def cell_of(read: Any, names: Collection[str], column: str, place: str) -> Array:  # noqa: ANN401 - a reader of columns
    """The column, or the cell of a vector's column. D09 beyond its end."""
    match = CELL.fullmatch(column)
    if column in names or match is None:
        return np.asarray(read(column))
    values, index = np.asarray(read(match["vector"])), int(match["index"])
    if values.dtype == object:
        return _cells(values, index, column, place)
    width = values.shape[1] if values.ndim > 1 else 0
    if index >= width:
        has = f"{width} cells" if values.ndim > 1 else "one number a row"
        raise DataError("D09", f"{place}: there is no {column}, {match['vector']} has {has}", help="count from 0")
    return values[:, index]


def _cells(values: Array, index: int, column: str, place: str) -> Array:
    found = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        if value is not None and (not isinstance(value, list | np.ndarray) or index >= len(value)):
            raise DataError("D09", f"{place}, row {row + 1}: there is no {column}", help="count from 0")
        found[row] = None if value is None else value[index]
    return found


def in_cases(values: Array, feature: Feature, name: str) -> Array:
    """A discrete action is a number, also where arrays hold all actions as floats; an enum's case is text. D07 for a
    number that no case has. Missing values stay missing."""
    numbers = _numbers(values) if feature.kind == "enum" else None
    if numbers is None:
        return values
    missing = np.isnan(numbers)
    count = len(feature.cases)
    wrong = np.flatnonzero(~missing & ((numbers < 0) | (numbers >= count) | (numbers != np.floor(numbers))))
    if len(wrong):
        raise DataError(
            "D07",
            f"{name}, row {int(wrong[0]) + 1}: {numbers[wrong[0]]:g} is no case of {count}",
            help="cases count from 0: " + ", ".join(feature.cases),
        )
    cases = np.array([*feature.cases, None], dtype=object)
    return np.asarray(cases[np.where(missing, count, numbers).astype(np.intp)])


def _numbers(values: Array) -> Array | None:
    """The values as floats, NaN where one is missing; None where any is no number."""
    flat = values.reshape(-1)
    if flat.dtype.kind in "iuf":
        return flat.astype(np.float64)
    if flat.dtype != object or not all(
        item is None or (isinstance(item, int | float | np.number) and not isinstance(item, bool)) for item in flat
    ):
        return None
    return np.array([np.nan if item is None else float(item) for item in flat])
