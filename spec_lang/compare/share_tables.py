"""Rewards for many rows at once: tables of binary64 numbers, under which rows are counted exactly.

For a thousand rows and more no solver is asked. A few tables are tried: one number everywhere, large or small; what
makes the first, the middle or the last row satisfy what is counted, or not, at the records of every row; the columns
of the data. Then one table is turned into another record by record, in some order. Few rows change their mind with a
record, so that on the way every count between the two is nearly always met, and bisection finds where: a step from a
count that is too small to one that is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, product

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.compare.align import Aligned
from rewarden.spec_lang.compare.data import Matrix, rows_of
from rewarden.spec_lang.compare.instances import calls_in, constants_in
from rewarden.spec_lang.compare.reward import TableReward, World
from rewarden.spec_lang.compare.terms import as_columns, read_beside_rewards
from rewarden.spec_lang.evaluate import screen, truth_of_rows
from rewarden.spec_lang.forms import ZERO
from rewarden.spec_lang.obligation import And, Atom, Call, Formula, Statistic, Term, Var

LARGE = 2.0**20
STRETCHED = 2.0**10
COLUMNS = 6
STEPS = 1_500  # of a climb, fewer of many rows
CLIMBED = 300_000  # rows that are judged on it
LEVELS = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)  # that a record is given on it
PAIRS = 3  # of tables, one turned into the other, for each group of them
ORDERS = 24  # in which the records of a pair are turned, fewer where there are many
MANY = 10_000

Record = tuple[str, bytes]  # a reward and the columns it is applied to
Table = Mapping[Record, float]  # 0 elsewhere
Tally = tuple[int, int]  # rows that satisfy what is counted, of how many


@dataclass(frozen=True, slots=True, eq=False)
class Uses:
    """One application of a reward at every row: the records, in frame columns, and as keys of tables."""

    call: Call
    columns: Matrix
    records: Sequence[Record]

    @property
    def reward(self) -> str:
        return self.call.reward


def points_of(part: Aligned) -> Matrix:
    """The variables at every row of the data: float64 [row, variable]."""
    assert part.rows is not None
    points = np.zeros((len(part.rows.values), len(part.variables)))
    places = {key: k for k, key in enumerate(part.rows.keys)}
    variables = [variable for variable, _ in part.rows.fixed]
    points[:, variables] = part.rows.values[:, [places[key] for _, key in part.rows.fixed]]
    return points


def uses_of(part: Aligned, points: Matrix) -> list[Uses] | None:
    """What the rule applies rewards to; None where binary64 cannot hold it."""
    found: list[Uses] = []
    for call in calls_in(part):
        columns = _arguments(call, points)
        if len(columns) < len(points):
            return None
        found.append(Uses(call, columns, [(call.reward, row) for row in rows_of(columns)]))
    return found


def _arguments(call: Call, points: Matrix) -> Matrix:
    """At every row where binary64 holds them."""
    if all(isinstance(t, Var) for t in call.arguments):
        return np.asarray(points[:, [t.index for t in call.arguments if isinstance(t, Var)]] + 0.0)
    found = [np.zeros((0, len(call.arguments)))]

    def bounds(reward: str, columns: Matrix) -> tuple[Matrix, Matrix]:
        found.append(columns + 0.0)
        return np.zeros(len(columns)), np.zeros(len(columns))

    screen(Atom(call, strict=False), points, lambda _: ZERO, bounds)
    return found[-1]


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """A rule about a share of rows, for counting under tables: its formulas over the few columns that they read, the
    first of which are variables at every row and the others what rewards are worth there."""

    part: Aligned
    uses: Sequence[Uses]
    read: Matrix
    speaks: Formula
    conclusion: Formula
    data: Mapping[str, Matrix]

    def rows(self, table: Table) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which rows are counted, and which of all rows satisfy what is counted; KeyError for data not read."""
        constants = {c: constant_of(c, table, self.data) for c in constants_in(self.part)}
        worths = [np.array([table.get(record, 0.0) for record in use.records]) for use in self.uses]
        columns = np.column_stack([self.read, *worths])

        def true(formula: Formula) -> NDArray[np.bool_]:
            return truth_of_rows(formula, columns, statistic=constants.__getitem__, call_bounds=_none)

        return true(self.speaks), true(self.conclusion)

    def tally(self, table: Table) -> Tally:
        counted, satisfied = self.rows(table)
        return int((counted & satisfied).sum()), int(counted.sum())


def counted(part: Aligned, data: Mapping[str, Matrix]) -> Counted | None:
    """None where rewards are applied to what binary64 cannot hold."""
    points = points_of(part)
    uses = uses_of(part, points)
    if uses is None:
        return None
    speaks = And((part.structure, part.assume, part.premise))
    read = sorted(read_beside_rewards(speaks) | read_beside_rewards(part.conclusion))
    columns: dict[Term, int] = {Var(variable): k for k, variable in enumerate(read)}
    columns |= {use.call: len(read) + k for k, use in enumerate(uses)}
    formulas = as_columns(speaks, columns), as_columns(part.conclusion, columns)
    return Counted(part, uses, points[:, read], *formulas, data)


def _none(reward: str, columns: Matrix) -> tuple[Matrix, Matrix]:
    raise AssertionError(f"{reward} is a column")


def constant_of(constant: Statistic, table: Table, data: Mapping[str, Matrix]) -> Fraction:
    """The data constant of these rewards."""
    mine = {record: x for record, x in table.items() if record[0] == constant.reward}
    return as_world(mine, data, [constant.reward]).statistic(constant)


def as_world(table: Table, data: Mapping[str, Matrix], names: Sequence[str] = ()) -> World:
    """The same as rewards: 0 but at the records that are worth something else."""
    found: dict[str, dict[bytes, float]] = {name: {} for name in names}
    for (reward, row), worth in table.items():
        known = found.setdefault(reward, {})
        if worth:
            known[row] = worth
    return World({name: TableReward(ZERO, listed=known) for name, known in found.items()}, data)


# ── tables ─────────────────────────────────────────────────────────────────────────────────────
Worths = tuple[float, ...]  # of every application of a reward at one row


@dataclass(frozen=True, slots=True, eq=False)
class Patterns:
    """What rewards are worth at some row, so that it satisfies what is counted (or only what the one rule counts, or
    the other), and so that it does not; and sets of rows that may be told apart."""

    worths: Sequence[Worths]
    without: Worths | None
    rows: Sequence[NDArray[np.bool_]]


def tables(
    uses: Sequence[Uses], further: Mapping[str, Sequence[Matrix]], patterns: Patterns
) -> Iterator[Iterator[Table]]:
    """Those that are tried, in groups; `further` are the rows that data constants of a reward are taken from."""
    matrices: dict[str, list[Matrix]] = {}
    for use in uses:
        matrices.setdefault(use.reward, []).append(use.columns)
    for reward, more in further.items():
        matrices.setdefault(reward, []).extend(more)
    zero = {(reward, row): 0.0 for reward, several in matrices.items() for m in several for row in rows_of(m)}
    lists = [use.records for use in uses]
    yield chain([zero], (_patterned(lists, [(None, pattern, 1.0)]) for pattern in patterns.worths))
    yield (
        _patterned(lists, [(rows, pattern, 1.0), (~rows, patterns.without or pattern, 1.0)])
        for pattern in patterns.worths
        for rows in patterns.rows
    )
    large = (dict.fromkeys(zero, by) for by in (LARGE, -LARGE))
    yield chain(large, (_patterned(lists, [(None, pattern, STRETCHED)]) for pattern in patterns.worths))
    yield (
        {record: sign * float(np.frombuffer(record[1])[column]) for record in zero if record[0] == reward}
        for reward, several in matrices.items()
        for column, sign in product(range(min(COLUMNS, several[0].shape[1])), (1.0, -1.0))
    )


Part = tuple[NDArray[np.bool_] | None, Worths, float]  # rows (None: all), what they are worth, times this


def _patterned(lists: Sequence[Sequence[Record]], parts: Sequence[Part]) -> Table:
    """At every row what the pattern says, as far as an earlier row does not say otherwise."""
    found: dict[Record, float] = {}
    for rows, pattern, by in parts:
        chosen = [
            list(records) if rows is None else [records[k] for k in np.flatnonzero(rows).tolist()] for records in lists
        ]
        for row in zip(*chosen, strict=True):
            for record, worth in zip(row, pattern, strict=True):
                found.setdefault(record, worth * by)
    return found


def searched(groups: Iterator[Iterator[Table]], judge: Callable[[Table], tuple[bool, bool]]) -> Table | None:
    """A table that the first rule accepts and the second does not, by `judge`; None if none was found."""
    neither: list[Table] = []
    both: list[Table] = []
    tried: set[tuple[int, int]] = set()
    for group in groups:
        for table in group:
            match judge(table):
                case True, False:
                    return table
                case False, False:
                    neither.append(table)
                case True, True:
                    both.append(table)
        pairs = [pair for pair in product(range(len(neither)), range(len(both))) if pair not in tried]
        for a, b in pairs[:PAIRS]:
            tried.add((a, b))
            for order in _orders(neither[a], both[b]):
                found = _on_the_way(neither[a], both[b], order, judge)
                if found is not None:
                    return found
    return None


def _orders(start: Table, end: Table) -> Iterator[list[Record]]:
    """The records that differ, as they come and shuffled."""
    records = [r for r in dict.fromkeys([*end, *start]) if start.get(r, 0.0) != end.get(r, 0.0)]
    yield records
    for seed in range(max(1, min(ORDERS, MANY // max(1, len(records))))):
        yield [records[i] for i in np.random.default_rng(seed + 1).permutation(len(records))]


def _on_the_way(
    start: Table, end: Table, order: Sequence[Record], judge: Callable[[Table], tuple[bool, bool]]
) -> Table | None:
    """From a table that neither rule accepts to one that both do: before the second accepts the first must."""

    def at(step: int) -> Table:
        return {**start, **{record: end.get(record, 0.0) for record in order[:step]}}

    lo, hi = 0, len(order)
    while hi - lo > 1:
        middle = (lo + hi) // 2
        table = at(middle)
        match judge(table):
            case True, False:
                return table
            case False, _:
                lo = middle
            case _:
                hi = middle
    return None


def climbed(start: Table, missing: Callable[[Table], int]) -> Table | None:
    """From a table in single steps to one of which nothing is missing: a record at a time gets another number, and
    keeps it unless more is missing then. Of data whose rows share their records, where a step moves many rows."""
    generator = np.random.default_rng(len(start))
    records = list(start)
    table = dict(start)
    left = missing(table)
    for _ in range(max(1, min(STEPS, CLIMBED // max(1, len(records))))):
        if left == 0:
            return table
        record = records[generator.integers(len(records))]
        before = table[record]
        other = table[records[generator.integers(len(records))]]
        table[record] = float(generator.choice([*LEVELS, other, other + 0.25, other - 0.25]))
        now = missing(table)
        if now <= left:
            left = now
        else:
            table[record] = before
    return table if left == 0 else None
