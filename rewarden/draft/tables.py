"""A data file to a draft: columns become features, `e[0]`, `e[1]`, … a vector, `better.x` and `worse.x` a pair."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rewarden.draft.columns import Column, Typed, Untyped, typed
from rewarden.draft.field import REVIEW, Draft, DraftField, DraftRecord, shown
from rewarden.draft.naming import counts, suggested_unit, tamed, usable
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.table_files import ColumnFile, open_columns

SUFFIXES = (".parquet", ".pq", ".csv", ".npz", ".jsonl", ".ndjson")
MOST_COLUMNS = 1024  # of a draft that a person is to review
_ELEMENT = re.compile(r"(?P<name>.+?)(?:\[(?P<bracket>0|[1-9]\d*)\]|\.(?P<dotted>0|[1-9]\d*))")
_MEMBERS = 3  # records that one row may hold: state, action, next state


@dataclass(frozen=True, slots=True)
class _Found:
    """A prospective feature: its name in the file, the columns it is made of, per member of a row."""

    name: str
    parts: tuple[Column, ...]
    elements: str | None = None  # how a vector's elements are written: "bracket" or "dotted"


def from_table(path: Path) -> Draft:
    """DataError: what the reader of tables raises, D08 (no rows), D18 (no feature), D25 (a change is needed), D27."""
    file = open_columns(path)
    if file.rows == 0:
        raise DataError("D08", f"{path.name} has no rows", help="ranges are read off the data: give some")
    members, plain = _members(file.names)
    found = _assembled(file, members)
    if len(found) > MOST_COLUMNS:
        raise DataError(
            "D27",
            f"{path.name} has {len(found)} columns; a draft to review has at most {MOST_COLUMNS}",
            help="join columns that belong together into a vector, as in e[0], e[1], …, or drop some",
        )
    fields, left_out = _fields(found)
    if not any(field.obstacle is None for field in fields):
        raise _nothing(path, fields, left_out)
    remarks = [f"left out: {text}" for text in left_out]
    if members != ("",) and plain:
        remarks.append(f"left out: {', '.join(shown(name) for name in plain)}: not part of a record")
    if file.rows == 1:
        remarks.append(f"{REVIEW}: the table has one row, so the ranges are guesses around it")
    return Draft(path.name, (DraftRecord("Step", fields),), members=members, table=path, remarks=tuple(remarks))


def _nothing(path: Path, fields: Sequence[DraftField], left_out: Sequence[str]) -> DataError:
    """Why no column can be declared: the first reasons, with what to do."""
    if fields:
        changes = [field.obstacle or "" for field in fields[:5]]
        more = f"; and {len(fields) - 5} more" if len(fields) > 5 else ""
        return DataError("D25", f"no column of {path.name} can be declared as it is", help="; ".join(changes) + more)
    return DataError(
        "D18",
        f"no column of {path.name} can be a feature: {left_out[0] if left_out else 'it has none'}",
        help="a feature is a number, a bool, one of a few words, or a vector",
    )


# ── which columns make what ────────────────────────────────────────────────────────────────────
def _members(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The records of a row and the columns outside of them: ("better", "worse") where `better.x` has its `worse.x`.

    A row holds one record, ("",), unless two or three prefixes have the same features.
    """
    features: dict[str, set[str]] = {}
    for name in names:
        prefix, dot, rest = name.partition(".")
        if dot and usable(prefix) and rest and not rest.isdigit():
            features.setdefault(prefix, set()).add(rest)
    same = len(set(map(frozenset, features.values()))) == 1
    if not (same and 2 <= len(features) <= _MEMBERS):
        return ("",), ()
    prefixes = tuple(f"{prefix}." for prefix in features)
    return tuple(features), tuple(name for name in names if not name.startswith(prefixes))


def _assembled(file: ColumnFile, members: tuple[str, ...]) -> list[_Found]:
    """Columns in the order of the file, those of one vector together at its first element."""
    prefixes = tuple(f"{member}." if member else "" for member in members)
    names = [name.removeprefix(prefixes[0]) for name in file.names if name.startswith(prefixes[0])]
    vectors: dict[tuple[str, str], dict[int, str]] = {}
    for name in names:
        if (match := _ELEMENT.fullmatch(name)) is not None:
            kind = "bracket" if match["bracket"] is not None else "dotted"
            vectors.setdefault((match["name"], kind), {})[int(match["bracket"] or match["dotted"])] = name
    whole = {k: v for k, v in vectors.items() if len(v) > 1 and set(v) == set(range(len(v))) and k[0] not in names}
    element_of = {name: key for key, elements in whole.items() for name in elements.values()}
    found: list[_Found] = []
    done: set[tuple[str, str]] = set()
    for name in names:
        key = element_of.get(name)
        if key is None:
            found.append(_Found(name, tuple(file.read(prefix + name) for prefix in prefixes)))
        elif key not in done:
            done.add(key)
            found.append(_Found(key[0], _stacked(file, prefixes, whole[key]), key[1]))
    return found


def _stacked(file: ColumnFile, prefixes: tuple[str, ...], elements: Mapping[int, str]) -> tuple[Column, ...]:
    """The columns of a vector's elements as one of vectors, per member."""
    parts = []
    for prefix in prefixes:
        columns = [file.read(prefix + elements[k]) for k in range(len(elements))]
        if all(column.ndim == 1 and column.dtype.kind in "fiu" for column in columns):
            parts.append(np.stack(columns, axis=1))
        else:
            rows = np.empty(len(columns[0]), dtype=object)
            values = zip(*(column.tolist() for column in columns), strict=True)
            rows[:] = [None if None in row or "" in row else list(row) for row in values]
            parts.append(rows)
    return tuple(parts)


# ── features ───────────────────────────────────────────────────────────────────────────────────
def _fields(found: Sequence[_Found]) -> tuple[tuple[DraftField, ...], list[str]]:
    """The features, and what was left out with the reason."""
    fields: list[DraftField] = []
    left_out: list[str] = []
    taken = {column.name for column in found}
    for number, column in enumerate(found, start=1):
        match typed(column.parts):
            case Untyped(reason=reason):
                left_out.append(f"{shown(column.name)}: {reason}")
            case Typed() as kind:
                fields.append(_field(column, kind, taken, f"column_{number}"))
                taken.add(fields[-1].name)
    return tuple(fields), left_out


def _field(column: _Found, kind: Typed, taken: set[str], fallback: str) -> DraftField:
    unit = suggested_unit(column.name) if kind.kind in ("real", "int") else None
    notes = (f"{REVIEW}: unit read off the name", *kind.notes) if unit else kind.notes
    if kind.kind in ("real", "int") and counts(column.name) and not any("an index" in note for note in notes):
        notes = (*notes, f"{REVIEW}: an identifier rather than a feature?")
    name = column.name if usable(column.name) else tamed(column.name, taken, fallback)
    last = kind.size - 1
    obstacle = kind.obstacle
    if column.elements == "dotted" or (column.elements == "bracket" and name != column.name):
        old = "{}.{}" if column.elements == "dotted" else "{}[{}]"
        places = [shown(old.format(column.name, k)) for k in (0, last)]
        obstacle = f"rename the columns {places[0]} .. {places[1]} to {name}[0] .. {name}[{last}]"
    elif name != column.name:
        obstacle = f'rename the column "{shown(column.name)}" to {name}'
    if obstacle is not None and kind.obstacle not in (None, obstacle):
        obstacle = f"{obstacle}; {kind.obstacle}"
    return DraftField(name, kind.text(unit), notes, obstacle)
