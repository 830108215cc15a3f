"""The data row nearest to a witness: has the reward ever seen anything like it?

Distances are Gower's (A general coefficient of similarity, Biometrics 27, 1971): the mean over the features of how far
they are apart, a number relative to its declared range, a case 0 or 1, a vector the mean of its elements. Rows are
looked at in chunks, in floats; those that are as near as rounding can tell are compared in fractions, and the first of
equally near rows is the one that is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang import Spec
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.verifier.witness import RecordValue, Value, Witness, decode

CHUNK = 2**15  # rows looked at together, at most
NUMBERS = 2**22  # and numbers
CLOSE = 1e-9  # distances that floats do not tell apart
TIES = 256  # rows compared in fractions, at most
TOLD = 3  # features that differ most
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Difference:
    """A feature that differs: its value at the witness, the row's, and how far apart they are, 0 to 1."""

    feature: str
    unit: str | None
    here: Value
    there: Value
    apart: Fraction


@dataclass(frozen=True, slots=True)
class NearestRow:
    """The row (the first is 1) of `data` nearest to the record `record` of a witness; `member` is the name of its
    records, in data of pairs. `differs`: the features that differ most."""

    record: str
    data: str
    member: str
    row: int
    distance: Fraction
    differs: tuple[Difference, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "data": self.data,
            "member": self.member or None,
            "row": self.row,
            "distance": float(self.distance),
            "distance_exact": str(self.distance),
            "differs": [
                {"feature": d.feature, "unit": d.unit, "here": _json(d.here), "there": _json(d.there),
                 "apart": float(d.apart)}
                for d in self.differs
            ],
        }  # fmt: skip


def nearest_rows(spec: Spec, witness: Witness) -> tuple[NearestRow, ...]:
    """For each record of the witness whose type has data. A spec without a folder has none."""
    if spec.base is None:
        return ()
    found = (_nearest(spec, record) for record in witness.records if record.type_name in spec.features)
    return tuple(row for row in found if row is not None)


def _nearest(spec: Spec, record: RecordValue) -> NearestRow | None:
    kind = spec.features[record.type_name]
    here = _encoded(record, kind)
    if here is None:
        return None
    best: tuple[Fraction, str, str, int, Array] | None = None
    for name, declaration in spec.data.items():
        for member, type_name in declaration.members:
            if type_name != record.type_name:
                continue
            values = spec.table(name, member).values
            for number in _candidates(values, np.array([float(x) for x in here]), kind):
                distance = sum(_apart(kind, here, values[number]), Fraction(0)) / len(kind.features)
                if best is None or distance < best[0]:
                    best = (distance, name, member, number, values[number])
    if best is None:
        return None
    distance, name, member, number, row = best
    differs = _differences(kind, record, here, row)
    return NearestRow(record.name, name, member, number + 1, distance, differs)


def _candidates(values: Array, here: Array, kind: RecordType) -> list[int]:
    """Rows that may be nearest, the first of equal ones, in their order."""
    weights = np.array([w for feature in kind.features for w in _weights(feature, len(kind.features))])
    nearest, found = np.inf, np.zeros(0, np.int64)
    size = max(1, min(CHUNK, NUMBERS // len(here)))
    for start in range(0, len(values), size):
        chunk = values[start : start + size]
        distance = np.abs(chunk - here) @ weights
        nearest = min(nearest, float(distance.min()))
        close = np.flatnonzero(distance <= nearest + CLOSE)
        found = np.concatenate((found, start + close))
        found = found[np.abs(values[found] - here) @ weights <= nearest + CLOSE]
        _, first = np.unique(values[found], axis=0, return_index=True)
        found = np.sort(found[first])[:TIES]
    return [int(k) for k in found]


def _weights(feature: Feature, features: int) -> Iterator[float]:
    """Per column: what a difference of 1 counts."""
    span = float(feature.hi - feature.lo)
    for _ in range(feature.width):
        if feature.kind == "enum":
            yield 0.5 / features  # two columns differ where two cases do
        else:
            yield (1.0 / span if span > 0 else 0.0) / (features * feature.width)


def _apart(kind: RecordType, here: Sequence[Fraction], row: Array) -> Iterator[Fraction]:
    """Per feature, exact."""
    start = 0
    for feature in kind.features:
        columns = slice(start, start + feature.width)
        start += feature.width
        gaps = [abs(a - Fraction(b)) for a, b in zip(here[columns], row[columns].tolist(), strict=True)]
        if feature.kind == "enum":
            yield Fraction(int(any(gaps)))
        else:
            span = feature.hi - feature.lo
            yield sum(gaps, Fraction(0)) / (span * feature.width) if span else Fraction(0)


def _differences(kind: RecordType, record: RecordValue, here: Sequence[Fraction], row: Array) -> tuple[Difference, ...]:
    told, start = [], 0
    shown = {value.name: value for value in record.features}
    for feature, apart in zip(kind.features, _apart(kind, here, row), strict=True):
        there = decode(feature, [Fraction(x) for x in row[start : start + feature.width].tolist()])
        start += feature.width
        if apart:
            told.append(Difference(feature.name, feature.unit, shown[feature.name].value, there.value, apart))
    return tuple(sorted(told, key=lambda d: -d.apart)[:TOLD])


def _encoded(record: RecordValue, kind: RecordType) -> list[Fraction] | None:
    """The record's columns; None if it is not told by the features of its type."""
    if [value.name for value in record.features] != [feature.name for feature in kind.features]:
        return None
    columns: list[Fraction] = []
    for feature, value in zip(kind.features, record.features, strict=True):
        match feature.kind:
            case "enum":
                columns += [Fraction(int(case == value.value)) for case in feature.cases]
            case "bool" if feature.width == 1:
                columns.append(Fraction(int(bool(value.value))))
            case _:
                exact = (value.exact,) if isinstance(value.exact, str) else value.exact
                columns += [Fraction(text) for text in exact]
    return columns


def _json(value: Value) -> object:
    return list(value) if isinstance(value, tuple) else value
