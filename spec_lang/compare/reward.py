"""Rewards that are given by a table: what a comparison shows, so that a reader can check it.

Such a reward is a simple function of the frame's columns everywhere, but for finitely many records that have values of
their own. It is a reward like any other: rules speak of all functions of the features, and of nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.compare.data import Matrix, rows_of
from rewarden.spec_lang.evaluate import value
from rewarden.spec_lang.forms import ZERO
from rewarden.spec_lang.obligation import Const, Max, Min, Product, Statistic, Term, Var

Record = tuple[Fraction, ...]  # encoded, in frame columns; several records side by side


@dataclass(frozen=True, slots=True)
class TableReward:
    """`base` (a term over the columns) + `constant` + Σ slope·column, but `exceptions` where they are listed. Of
    many records no fractions are made: `listed` are binary64 numbers, by the bytes of the record (`rows_of`), of a
    reward that is 0 elsewhere."""

    constant: Fraction
    slopes: tuple[tuple[int, Fraction], ...] = ()
    exceptions: tuple[tuple[Record, Fraction], ...] = ()
    base: Term | None = None
    listed: Mapping[bytes, float] = field(default_factory=dict, hash=False, repr=False)
    _known: dict[Record, Fraction] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_known", dict(reversed(self.exceptions)))  # of a record twice the first one counts

    def at(self, record: Record) -> Fraction:
        known = self._known.get(record)
        if known is None and self.listed:
            known = self._number(record)
        return self.elsewhere(record) if known is None else known

    def _number(self, record: Record) -> Fraction | None:
        """What is listed there: nothing for numbers that binary64 does not hold."""
        try:
            nearest = [float(x) for x in record]
        except OverflowError:
            return None
        found = self.listed.get(np.array(nearest).tobytes())
        if found is None or any(Fraction(x) != y for x, y in zip(nearest, record, strict=True)):
            return None
        return Fraction(found)

    def others(self, shown: Set[Record]) -> int:
        """How many records have a value of their own, but for those."""
        listed = sum(self._number(record) is not None for record in shown) if self.listed else 0
        return len(self.listed) - listed + sum(record not in shown for record, _ in self.exceptions)

    def elsewhere(self, record: Record) -> Fraction:
        slope = sum((c * record[k] for k, c in self.slopes), ZERO)
        base = ZERO if self.base is None else value(self.base, record)
        return base + self.constant + slope


@dataclass(frozen=True, slots=True)
class World:
    """A reward for every name, and the data that its constants are taken from."""

    rewards: Mapping[str, TableReward]
    data: Mapping[str, Matrix]

    def call(self, reward: str, arguments: tuple[Fraction, ...]) -> Fraction:
        return self.rewards[reward].at(arguments)

    def statistic(self, statistic: Statistic) -> Fraction:
        """The data constant of these rewards, exactly. KeyError for data that was not read."""
        rows = self.data[statistic.data]
        reward = self.rewards[statistic.reward]
        if reward.listed:
            return of_numbers(statistic, np.array([reward.listed.get(row, 0.0) for row in rows_of(rows)]))
        match statistic.kind:
            case "mean":
                return sum(_values(reward, rows), ZERO) / len(rows)
            case "min" | "max" | "quantile":
                return _ranked(reward, rows, rank(statistic, len(rows)))


def of_numbers(statistic: Statistic, numbers: NDArray[np.float64]) -> Fraction:
    """The data constant of rewards that are these at the rows, exactly."""
    if statistic.kind == "mean":
        return _sum(numbers) / len(numbers)
    place = rank(statistic, len(numbers)) - 1
    return Fraction(float(np.partition(numbers, place)[place]))


def _sum(numbers: NDArray[np.float64]) -> Fraction:
    """Exactly: whole numbers of 53 bits, halved so that their sums by exponent (of up to 2²⁶) are exact in binary64."""
    parts, exponents = np.frexp(numbers)
    whole = (parts * 2.0**53).astype(np.int64)
    different, group = np.unique(exponents, return_inverse=True)
    high, low = (np.bincount(group, half.astype(np.float64)) for half in (whole >> 27, whole & (2**27 - 1)))
    sums = zip(high.tolist(), low.tolist(), different.tolist(), strict=True)
    return sum(((int(h) * 2**27 + int(x)) * Fraction(2) ** (e - 53) for h, x, e in sums), ZERO)


def _ranked(reward: TableReward, rows: Matrix, place: int) -> Fraction:
    """The `place`-th smallest value, from 1. Values that rise or fall with a column are in its order, so that few of
    them are made exact: there may be 60,000."""
    column = _column(reward.base)
    if column is None or reward.slopes:
        return sorted(_values(reward, rows))[place - 1]
    index, falling = column
    free = np.ones(len(rows), dtype=np.bool_)
    known: list[Fraction] = []
    for record, exact in reward.exceptions:
        at = _rows_at(rows, record) & free
        known += [exact] * int(at.sum())
        free &= ~at
    ordered = np.sort(rows[free, index])[:: -1 if falling else 1]
    before = max(0, place - 1 - len(known))  # so many are not above the one asked for, whatever the known ones are
    few = np.zeros((len(ordered[before:place]), rows.shape[1]))
    few[:, index] = ordered[before:place]
    return sorted([*known, *_values(TableReward(reward.constant, base=reward.base), few)])[place - 1 - before]


def _column(base: Term | None) -> tuple[int, bool] | None:
    """The column that the value never falls with, or (True) never rises with; of a constant any."""
    match base:
        case None:
            return 0, False
        case Var(k):
            return k, False
        case Product(Const(c), Var(k)):
            return k, c < 0
        case Min((inner, Const())) | Max((inner, Const())):
            return _column(inner)
        case _:
            return None


def _rows_at(rows: Matrix, record: Record) -> NDArray[np.bool_]:
    """Which rows are that record, exactly."""
    nearest = np.array([float(x) for x in record])
    if any(Fraction(float(x)) != y for x, y in zip(nearest, record, strict=True)):
        return np.zeros(len(rows), dtype=np.bool_)
    return np.asarray((rows == nearest).all(axis=1), dtype=np.bool_)


def _values(reward: TableReward, rows: Matrix) -> list[Fraction]:
    """At each row; a constant, or a column, is read off without making every row exact."""
    match reward.base:
        case None if not reward.slopes:
            values = [reward.constant] * len(rows)
        case Var(k) if not reward.slopes:
            values = [reward.constant + Fraction(float(x)) for x in rows[:, k]]
        case Product(Const(c), Var(k)) if not reward.slopes:
            values = [reward.constant + c * Fraction(float(x)) for x in rows[:, k]]
        case (Min((inner, Const(level))) | Max((inner, Const(level)))) as cut if not reward.slopes:
            pick = min if isinstance(cut, Min) else max
            values = [pick(x, level) + reward.constant for x in _values(TableReward(ZERO, base=inner), rows)]
        case _:
            return [reward.at(tuple(Fraction(float(x)) for x in row)) for row in rows]
    for record, exact in reversed(reward.exceptions):
        for row in np.flatnonzero(_rows_at(rows, record)):
            values[row] = exact
    return values


def rank(statistic: Statistic, rows: int) -> int:
    """Which of the values in order, from 1; not for means."""
    match statistic.kind:
        case "min":
            return 1
        case "max":
            return rows
        case _:
            assert statistic.level is not None
            return max(1, ceil(statistic.level * rows))


def statistics_in(found: Sequence[Statistic]) -> tuple[Statistic, ...]:
    """Each once, in a fixed order."""
    return tuple(sorted(set(found), key=lambda s: (s.reward, s.data, s.kind, s.level or ZERO)))
