"""Preference data: which of two recorded segments was preferred.

One row per pair and step, the better and the worse segment side by side: columns `pair` and `step` (whole numbers),
and per feature `better.<feature>` and `worse.<feature>`. Rows may be in any order; all segments have the same number of
steps. Demonstrations, plain tables, are here too, so that learners get both in the form of `learner.py`.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import DataSource, RewardRecord
from rewarden.reward.learner import Comparisons, Demonstrations
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.tables import Table, read_table

BETTER, WORSE = "better.", "worse."
INDEX = RecordType(
    "index",
    (
        Feature("pair", "int", Fraction(-(2**53)), Fraction(2**53)),
        Feature("step", "int", Fraction(-(2**53)), Fraction(2**53)),
    ),
)


def demonstrations(table: Table, param: str = "s") -> Demonstrations:
    """A checked table as a learner takes it."""
    return Demonstrations(
        RewardRecord(param, table.record_type.unqualified()), table.values, (_source(table, table.name),)
    )


def read_demonstrations(path: str | Path, record_type: RecordType, param: str = "s") -> Demonstrations:
    """Raises DataError (D codes of `read_table`; D08 on an empty table)."""
    return demonstrations(read_table(path, record_type).require_rows(), param)


def read_comparisons(path: str | Path, record_type: RecordType, param: str = "s") -> Comparisons:
    """Segments [pair, 2, step, width], pairs and steps in ascending order of their numbers.

    Raises DataError: D codes of `read_table`, and D21 where a pair does not have the steps that the first one has.
    """
    index = read_table(path, INDEX).require_rows().values
    better = read_table(path, record_type, prefix=BETTER)
    worse = read_table(path, record_type, prefix=WORSE)
    order = np.lexsort((index[:, 1], index[:, 0]))
    pairs, starts, counts = np.unique(index[order, 0], return_index=True, return_counts=True)
    _require_even(Path(path), index[order], pairs, starts, counts)
    shape = (len(pairs), int(counts[0]), record_type.width)
    sides = [table.values[order].reshape(shape) for table in (better, worse)]
    name = Path(path).stem
    return Comparisons(
        RewardRecord(param, record_type.unqualified()),
        np.stack(sides, axis=1),
        (_source(better, f"{name}.better"), _source(worse, f"{name}.worse")),
    )


def _require_even(
    path: Path,
    index: NDArray[np.float64],
    pairs: NDArray[np.float64],
    starts: NDArray[np.intp],
    counts: NDArray[np.intp],
) -> None:
    """Every pair has the same number of steps, each once; `index` is sorted."""
    for pair, start, count in zip(pairs, starts, counts, strict=True):
        steps = index[start : start + count, 1]
        if count != counts[0] or len(np.unique(steps)) != count:
            what = f"{count} steps, pair {pairs[0]:.0f} has {counts[0]}" if count != counts[0] else "a step twice"
            raise DataError(
                "D21",
                f"{path.name}: pair {pair:.0f} has {what}",
                help="give every pair the same number of steps, one row per pair and step",
            )


def _source(table: Table, name: str) -> DataSource:
    return DataSource(name, table.bytes_digest, table.table_digest, table.rows)
