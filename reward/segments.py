"""Tables as learners take them: demonstrations, pairs, rankings, judgements, an expert's statements.

- Demonstrations: a row is a record, columns by feature. Values may be missing, and so may whole columns.
- Preferences: one row per pair and step, the better and the worse segment side by side: columns `pair` and `step`
  (whole numbers), and per feature `better.<feature>` and `worse.<feature>`.
- Rankings: one row per item and step: columns `ranking`, `place` (1 is the best), `step`, and the features.
- Labels: a row is a record, with its judgement in `label`.
- Statements: one row each, `better.<feature>` and `worse.<feature>`.

Rows may be in any order; all segments have the same number of steps. Optional columns of answers and judgements:
`tie` (a bool, of pairs), `weight` (a number of 0 or more), `annotator` (text), `id` (text: whose it is, by which it can
be forgotten; of demonstrations too); they are the same in all rows of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import DataSource, RewardRecord
from rewarden.reward.incomplete import read_incomplete
from rewarden.reward.learners.interface import Array, Comparisons, Demonstrations, Judgements
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.table_files import ColumnFile
from rewarden.spec_lang.tables import Source, Table, open_source, read_table

BETTER, WORSE = "better.", "worse."
WHOLE = (Fraction(-(2**53)), Fraction(2**53))
INDEX = RecordType("index", (Feature("pair", "int", *WHOLE), Feature("step", "int", *WHOLE)))
PLACES = RecordType(
    "index", (Feature("ranking", "int", *WHOLE), Feature("place", "int", *WHOLE), Feature("step", "int", *WHOLE))
)
WIDE = (Fraction(-(10**30)), Fraction(10**30))
LABEL = RecordType("labels", (Feature("label", "real", *WIDE),))
WEIGHT = RecordType("weights", (Feature("weight", "real", Fraction(0), WIDE[1]),))
SHARED_PLACE = "items of one place do not tell which is better: compare them in pairs, as ties"
TIE = RecordType("ties", (Feature("tie", "bool", Fraction(0), Fraction(1)),))


def demonstrations(table: Table, param: str = "s") -> Demonstrations:
    """A checked table as a learner takes it."""
    return Demonstrations(_record(table.record_type, param), table.values, (_source(table, table.name),))


def read_demonstrations(path: str | Path | Source, record_type: RecordType, param: str = "s") -> Demonstrations:
    """NaN where a value is missing. Raises DataError (D codes of `read_table`; D08 on an empty table, D03 where no
    feature has a column)."""
    source = open_source(path)
    data = demonstrations(read_incomplete(source, record_type).require_rows(), param)
    return replace(data, ids=_ids(source, record_type))


def read_comparisons(path: str | Path | Source, record_type: RecordType, param: str = "s") -> Comparisons:
    """Segments [pair, 2, step, width], pairs and steps in ascending order of their numbers.

    Raises DataError: D codes of `read_table`, and D21 where a pair does not have the steps that the first one has.
    """
    source = open_source(path)
    index = read_table(source, INDEX).require_rows().values
    better = read_table(source, record_type, prefix=BETTER)
    worse = read_table(source, record_type, prefix=WORSE)
    order = np.lexsort((index[:, 1], index[:, 0]))
    pairs, starts, counts = np.unique(index[order, 0], return_index=True, return_counts=True)
    _require_even(source, "pair", index[order], order, (pairs, starts, counts))
    shape = (len(pairs), int(counts[0]), record_type.width)
    segments = np.stack([table.values[order].reshape(shape) for table in (better, worse)], axis=1)
    data = Comparisons(_record(record_type, param), segments, _both(better, worse, source))
    return _answered(source, data, order, starts, counts)


def read_statements(path: str | Path | Source, record_type: RecordType, param: str = "s") -> Comparisons:
    """Segments [statement, 2, 1, width] in the order of the file: each row says that its `better` record is worth more.
    Raises DataError as `read_table`; D08 on an empty table."""
    source = open_source(path)
    better = read_table(source, record_type, prefix=BETTER).require_rows()
    worse = read_table(source, record_type, prefix=WORSE)
    segments = np.stack([table.values[:, None, :] for table in (better, worse)], axis=1)
    return Comparisons(_record(record_type, param), segments, _both(better, worse, source))


def read_rankings(path: str | Path | Source, record_type: RecordType, param: str = "s") -> Comparisons:
    """Segments [ranking, place, step, width], the best first; rankings may differ in how many places they have.

    Raises DataError: D codes of `read_table`; D21 for uneven steps, D24 where the places of a ranking are not 1, 2, 3 …
    """
    source = open_source(path)
    index = read_table(source, PLACES).require_rows().values
    table = read_table(source, record_type)
    order = np.lexsort((index[:, 2], index[:, 1], index[:, 0]))
    index = index[order]
    items, item_starts, steps = np.unique(index[:, :2], axis=0, return_index=True, return_counts=True)
    named = np.array([f"{ranking:.0f}, place {place:.0f}" for ranking, place in items])
    _require_even(source, "ranking", index[:, 1:], order, (named, item_starts, steps))
    rankings, starts, counts = np.unique(items[:, 0], return_index=True, return_counts=True)
    for ranking, start, count in zip(rankings, starts, counts, strict=True):
        if count < 2 or not np.array_equal(items[start : start + count, 1], np.arange(1, count + 1)):
            raise DataError(
                "D24",
                f"{source.path.name}, {_rows_of(order[item_starts[start : start + count]])}: ranking {ranking:.0f} has"
                " the places " + ", ".join(f"{p:.0f}" for p in items[start : start + count, 1][:6]),
                help=f"number the places of every ranking 1 (the best), 2, 3, …, each once; {SHARED_PLACE}",
            )
    segments = np.zeros((len(rankings), int(counts.max()), int(steps[0]), record_type.width))
    whole = table.values[order].reshape(len(items), int(steps[0]), record_type.width)
    for k, (start, count) in enumerate(zip(starts, counts, strict=True)):
        segments[k, :count] = whole[start : start + count]
        segments[k, count:] = whole[start]  # never looked at, and no number out of range
    places = None if (counts == counts[0]).all() else counts.astype(np.int64)
    data = Comparisons(_record(record_type, param), segments, (_source(table, source.path.stem),), places=places)
    return _answered(source, data, order, item_starts[starts], np.add.reduceat(steps, starts))


def read_judgements(path: str | Path | Source, record_type: RecordType, param: str = "s") -> Judgements:
    """Raises DataError as `read_table`; D08 on an empty table."""
    source = open_source(path)
    table = read_table(source, record_type).require_rows()
    labels = read_table(source, LABEL).values[:, 0]
    file = source.file
    weights = read_table(source, WEIGHT).values[:, 0] if "weight" in file.names else None
    origin, ids = (_source(table, source.path.stem),), _ids(source, record_type)
    return Judgements(_record(record_type, param), table.values, labels, origin, weights, ids)


READERS: Mapping[str, Callable[[str | Path | Source, RecordType, str], object]] = {
    "demonstrations": read_demonstrations,
    "preferences": read_comparisons,
    "rankings": read_rankings,
    "labels": read_judgements,
    "statements": read_statements,
}


# ── what goes with an answer ───────────────────────────────────────────────────────────────────
def _answered(
    source: Source, data: Comparisons, order: NDArray[np.intp], starts: NDArray[np.intp], counts: NDArray[np.intp]
) -> Comparisons:
    """With the optional columns; each is one value per answer."""
    file = source.file

    def one(name: str, values: NDArray[Any]) -> NDArray[Any]:
        ordered = values[order]
        first = ordered[starts]
        mixed = np.flatnonzero(np.repeat(first, counts) != ordered)
        if len(mixed):
            raise DataError(
                "D24",
                f"{source.path.name}, row {int(order[mixed[0]]) + 1}: {name} differs within one answer",
                help=f"give all rows of an answer the same {name}",
            )
        return first

    if "tie" in file.names and data.segments.shape[1] == 2:
        data = replace(data, ties=one("tie", read_table(source, TIE).values[:, 0]).astype(np.bool_))
    if "weight" in file.names:
        weights = one("weight", read_table(source, WEIGHT).values[:, 0])
        if not weights.any():
            raise DataError("D24", f"{source.path.name}: every weight is 0", help="give at least one answer a weight")
        data = replace(data, weights=weights)
    if "annotator" in file.names:
        names, index = np.unique(one("annotator", _texts(source, file, "annotator")), return_inverse=True)
        data = replace(data, annotators=index.reshape(-1).astype(np.int64), names=tuple(str(n) for n in names))
    if "id" in file.names:
        data = replace(data, ids=one("id", _texts(source, file, "id")))
    return data


def _ids(source: Source, record_type: RecordType) -> NDArray[Any] | None:
    """The column `id`, unless it is a feature."""
    file = source.file
    if "id" not in file.names or any(feature.name == "id" for feature in record_type.features):
        return None
    return _texts(source, file, "id")


def _texts(source: Source, file: ColumnFile, name: str) -> NDArray[Any]:
    values = file.read(name)
    for row, value in enumerate(values):
        if value is None or value == "":
            raise DataError("D05", f"{source.path.name}, row {row + 1}: {name} is missing", help="fill it in")
    return np.array([str(value) for value in values])


def _require_even(
    source: Source,
    what: str,
    index: Array,
    order: NDArray[np.intp],
    groups: tuple[NDArray[Any], NDArray[np.intp], NDArray[np.intp]],
) -> None:
    """Every pair has the same number of steps, each once; `index` is sorted by `order`, its last column is the step.
    `groups`: the pairs, where each starts in it, and how many rows it has."""
    pairs, starts, counts = groups
    alike = f"; {SHARED_PLACE}" if what == "ranking" else ""

    def name(pair: object) -> str:
        return f"{what} {pair:.0f}" if isinstance(pair, float) else f"{what} {pair}"

    within = np.ones(len(index), np.bool_)
    within[starts] = False
    repeated = within & np.append(False, index[1:, -1] == index[:-1, -1])
    wrong = (counts != counts[:1]) | np.logical_or.reduceat(repeated, starts) if len(starts) else np.zeros(0, np.bool_)
    if wrong.any():
        first = int(wrong.argmax())
        pair, start, count = pairs[first], starts[first], counts[first]
        uneven = f"{count} steps, {name(pairs[0])} has {counts[0]}"
        found = uneven if count != counts[0] else "a step twice"
        raise DataError(
            "D21",
            f"{source.path.name}, {_rows_of(order[start : start + count])}: {name(pair)} has {found}",
            help=f"give every {what} the same number of steps, one row per {what} and step" + alike,
        )


def _rows_of(places: NDArray[np.intp]) -> str:
    """`row 3`, or `rows 3, 7, 8`, counted from 1; of many the first."""
    numbers = sorted(int(place) + 1 for place in places)
    shown = ", ".join(str(number) for number in numbers[:6]) + (", …" if len(numbers) > 6 else "")
    return f"row{'s' if len(numbers) > 1 else ''} {shown}"


def _record(record_type: RecordType, param: str) -> RewardRecord:
    return RewardRecord(param, record_type.unqualified())


def _both(better: Table, worse: Table, source: Source) -> tuple[DataSource, DataSource]:
    return _source(better, f"{source.path.stem}.better"), _source(worse, f"{source.path.stem}.worse")


def _source(table: Table, name: str) -> DataSource:
    return DataSource(name, table.bytes_digest, table.table_digest, table.rows)
