"""Tables with holes: demonstrations as they are recorded, with values or whole columns missing.

A missing value (null, empty text, NaN) becomes NaN in all encoded columns of its feature; a feature without a column is
missing in every row. Everything else is checked as `read_table` checks it: this module fills holes with a value in
range, has the table read, and opens them again.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.table_files import MAX_CELLS, ColumnFile, oversize
from rewarden.spec_lang.tables import (
    Source,
    Table,
    _each_encoded,
    _FeatureColumn,
    canonical_table_digest,
    open_source,
    read_table,
)


def read_incomplete(path: str | Path | Source, record_type: RecordType) -> Table:
    """As `read_table`, with NaN where a value is missing. Raises DataError as it does; D03 only where no feature has a
    column, or where a column has nearly the name of one that is missing."""
    source = open_source(path)
    path, file = source.path, source.file
    if file.rows * record_type.width > MAX_CELLS:
        raise oversize(path)
    if not file.rows:
        return read_table(source, record_type)
    holes = {feature.name: _holes(file, feature) for feature in record_type.features}
    if not any(hole is not None and hole.any() for hole in holes.values()):
        return read_table(source, record_type)
    filled = _Filled(file, record_type, holes).opened()
    columns = [_FeatureColumn(path, filled, feature, "") for feature in record_type.features]
    for column, feature in zip(columns, record_type.features, strict=True):
        bare = _FeatureColumn(path, file, feature, "")
        if not bare.present and bare.close:
            raise DataError(
                "D03", f"{path.name} has no column {feature.name}", help=f"did you mean {bare.close[0]}? rename it"
            )
        assert column.present
    parts = _each_encoded(columns, "refuse")
    for part, feature in zip(parts, record_type.features, strict=True):
        hole = holes[feature.name]
        if hole is not None:
            part[hole] = np.nan
    values = np.concatenate(parts, axis=1) + 0.0
    if np.isnan(values).all() and file.rows:
        known = ", ".join(file.names[:12]) or "none"
        raise DataError("D03", f"{path.name} holds no value of any feature", help=f"its columns are {known}")
    values.flags.writeable = False
    plain = RecordType("none", ())
    return replace(
        read_table(source, plain),
        record_type=record_type,
        values=values,
        table_digest=canonical_table_digest(record_type, values),
    )


def _holes(file: ColumnFile, feature: Feature) -> NDArray[np.bool_] | None:
    """Which rows lack the feature; None for a vector kept in columns of its own, which must be whole."""
    if feature.name not in file.names:
        return None if feature.is_vector and f"{feature.name}[0]" in file.names else np.ones(file.rows, np.bool_)
    raw = file.read(feature.name)
    if raw.dtype.kind == "f":
        return np.asarray(np.isnan(raw.reshape(file.rows, -1)).any(axis=1))
    if raw.dtype != object:
        return np.zeros(file.rows, np.bool_)
    return np.array([_is_hole(value) for value in raw], np.bool_)


def _is_hole(value: object) -> bool:
    if isinstance(value, str):
        return value in ("", "nan", "NaN")
    return value is None or (isinstance(value, float) and value != value)


class _Filled:
    """A file whose holes hold a value in range."""

    def __init__(self, file: ColumnFile, record_type: RecordType, holes: dict[str, NDArray[np.bool_] | None]) -> None:
        self.file, self.holes = file, holes
        self.features = {feature.name: feature for feature in record_type.features}

    def opened(self) -> ColumnFile:
        absent = tuple(n for n, hole in self.holes.items() if hole is not None and n not in self.file.names)
        return ColumnFile((*self.file.names, *absent), self.file.rows, self.read, self.file.place, self.file.start)

    def read(self, name: str) -> NDArray[Any]:
        hole = self.holes.get(name)
        if hole is None:
            return self.file.read(name)
        fill = _value(self.features[name])
        raw = self.file.read(name) if name in self.file.names else np.full(self.file.rows, None, object)
        raw = raw.astype(object) if isinstance(fill, str) else raw.copy()  # numbers where a case is text: told later
        if raw.dtype != object:
            raw[hole] = fill  # in the precision that it is stored in, by which ranges are compared
            return raw
        for row in np.flatnonzero(hole):
            raw[row] = fill
        return raw


def _value(feature: Feature) -> object:
    """A value in range."""
    if feature.kind == "enum":
        return feature.cases[0]
    if feature.kind == "bool":
        return False
    least = int(feature.lo) if feature.kind == "int" else float(feature.lo)
    return [least] * feature.size if feature.is_vector else least
