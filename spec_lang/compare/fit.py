"""Numbers for a reward of a simple form that one rule refuses at a given point, and another does not at others.

The rewards are looked for at known records, where every question about them is linear in their numbers. What is found
is no more than a candidate: whether the other rule accepts it everywhere is asked in `compare_z3.breach`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Literal

import numpy as np
import z3

from rewarden.spec_lang.compare.align import Aligned, Key
from rewarden.spec_lang.compare.data import Matrix, rows_of
from rewarden.spec_lang.compare.reward import Record, TableReward, World, rank, statistics_in
from rewarden.spec_lang.compare.room import Room, Z3Solver, order_constants
from rewarden.spec_lang.compare.z3 import Budget
from rewarden.spec_lang.obligation import Statistic, Term
from rewarden.spec_lang.z3_terms import Z3Term, fraction

SIMPLIFIED = 12  # values that are tried to be made equal to the constant
EXCEPTIONS = 300  # rows of data that may have a value of their own


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a reward that `fit` looks for the numbers of: a term, a constant, a slope for some columns, and
    values of its own at some records: those `there`, where the refusing rule applies it at the point in hand, or `all`
    records that are looked at. With `ranked`, rows of data get values by rank, so that data constants of different
    levels can differ. The records of `known` have values of their own as well;
    with `rows` so has every row that data constants are taken from."""

    slopes: tuple[int, ...] = ()
    exceptions: Literal["none", "there", "all"] = "there"
    base: Term | None = None
    ranked: bool = False
    known: tuple[Record, ...] = ()
    rows: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """A rule at one point, and the data row there."""

    rule: Aligned
    values: tuple[Fraction, ...]
    anchor: Mapping[Key, Fraction] = field(default_factory=dict)


class _Fitting(Room):
    """Mutable: rewards of unknown numbers at known records."""

    def __init__(self, rlimit: int, forms: Mapping[str, Form], data: Mapping[str, Matrix]) -> None:
        super().__init__(rlimit)
        self.forms = forms
        self.data = data
        self.constant = {name: self.fresh(f"{name} elsewhere") for name in forms}
        self.slope = {name: {k: self.fresh(f"{name} slope") for k in form.slopes} for name, form in forms.items()}
        self.exception: dict[str, dict[Record, Z3Term]] = {
            name: {record: self.fresh(f"{name} there") for record in form.known} for name, form in forms.items()
        }
        self.irrational = False
        self.there = True  # at the point that is refused

    def reward(self, name: str, arguments: Sequence[Z3Term]) -> Z3Term:
        record = tuple(self.exactly(argument) for argument in arguments)
        if any(x is None for x in record):
            self.irrational = True
            return self.constant[name]
        exact = tuple(x for x in record if x is not None)
        form, known = self.forms[name], self.exception[name]
        free = form.exceptions == "all" or (form.exceptions == "there" and self.there)
        if free and exact not in known:
            known[exact] = self.fresh(f"{name} there")
        if exact in known:
            return known[exact]
        slopes = [self.number(exact[k]) * slope for k, slope in self.slope[name].items()]
        base = self.elsewhere(form.base, [self.number(x) for x in exact])
        return z3.Sum([base, self.constant[name], *slopes])

    def tie(self) -> None:
        """Data constants are what the rewards make of them, but for rows that are exceptions."""
        for name, form in self.forms.items():
            mine = [c for c in statistics_in(tuple(self.constants)) if c.reward == name]
            sources = {c.data for c in mine}
            if form.base is not None:
                self._by_base(name, form.base, [c for c in mine if c.data in self.data])
            elif form.rows and sources <= self.data.keys():
                self._rows(name, mine)
            elif form.ranked and sources <= self.data.keys():
                for source in sorted(sources):
                    self._ranks(name, [c for c in mine if c.data == source], self.data[source])
            else:
                self.add(*(self.constants[c] == self.constant[name] for c in mine))

    def _by_base(self, name: str, base: Term, constants: Sequence[Statistic]) -> None:
        plain = World({name: TableReward(Fraction(0), base=base)}, self.data)
        for constant in constants:
            worth = self.number(plain.statistic(constant)) + self.constant[name]
            self.add(self.constants[constant] == worth)

    def _ranks(self, name: str, constants: Sequence[Statistic], rows: Matrix) -> None:
        """The first rows, up to the rank of the lowest constant, are worth that constant, the next ones the next; where
        there is a mean, the first and the last row may be worth something else. Everything else is worth what most
        rows are. Equal rows are counted together."""
        often = Counter(rows_of(rows))
        upto = list(accumulate(often.values()))
        means = [c for c in constants if c.kind == "mean"]
        last = {c: bisect_left(upto, rank(c, len(rows))) + 1 for c in constants if c.kind != "mean"}
        ends = sorted({*last.values(), *((1, max(1, len(upto) - 1), len(upto)) if means else ())})
        value = {end: self.fresh(f"{name} rank") for end in ends}
        self.add(*(self.constants[c] == value[end] for c, end in last.items()))
        self.add(*(value[a] <= value[b] for a, b in pairwise(ends)))
        starts, stops = [0, *ends[:-1]], [*ends[:-1], len(upto)]
        counts = [upto[stop - 1] - (upto[start - 1] if start else 0) for start, stop in zip(starts, stops, strict=True)]
        total = z3.Sum([value[end] * count for end, count in zip(ends, counts, strict=True)])
        self.add(*(self.constants[c] * len(rows) == total for c in means))
        most = max(range(len(ends)), key=lambda k: stops[k] - starts[k])
        self.add(self.constant[name] == value[ends[most]])
        if len(upto) - (stops[most] - starts[most]) > EXCEPTIONS:
            return
        distinct = [tuple(map(Fraction, np.frombuffer(row).tolist())) for row in often]
        for k, end in enumerate(ends):
            for record in distinct[starts[k] : stops[k]] if k != most else ():
                self.exception[name].setdefault(record, value[end])

    def _rows(self, name: str, constants: Sequence[Statistic]) -> None:
        """Every row may be worth something else, and the constants are what these come to."""
        for constant in constants:
            for row in self.data[constant.data]:
                self.exception[name].setdefault(tuple(Fraction(float(x)) for x in row), self.fresh(f"{name} there"))
        for constant in constants:
            self.define(constant, self.data[constant.data])

    def solution(self) -> World | None:
        """Numbers that fit; None if there are none, or they are irrational."""
        solver = self.solver()
        if self.irrational or str(solver.check()) != "sat":
            return None
        self._simplify(solver)
        model = solver.model()
        try:
            rewards = {name: self._solved(model, name) for name in self.forms}
        except ValueError:
            return None
        return World(rewards, self.data)

    def _simplify(self, solver: Z3Solver) -> None:
        """As few values as can be, the first ones that are not needed going first: a reader has to check them."""
        simple = [self.constant[name] == 0 for name in self.forms]
        for name, form in self.forms.items():
            if not form.slopes and form.base is None:
                values = list(dict.fromkeys(self.exception[name].values()))
                simple += [value == self.constant[name] for value in values[:SIMPLIFIED]]
        for wish in simple:
            solver.push()
            solver.add(wish)
            if str(solver.check()) != "sat":
                solver.pop()
        solver.check()

    def _solved(self, model: Z3Term, name: str) -> TableReward:
        def exact(term: Z3Term) -> Fraction:
            found = fraction(model.eval(term, model_completion=True))
            if found is None:
                raise ValueError("irrational")
            return found

        slopes = tuple((k, exact(slope)) for k, slope in self.slope[name].items())
        plain = TableReward(exact(self.constant[name]), tuple(s for s in slopes if s[1]), (), self.forms[name].base)
        values = ((record, exact(term)) for record, term in self.exception[name].items())
        return replace(plain, exceptions=tuple((r, x) for r, x in values if plain.elsewhere(r) != x))


def fit(
    data: Mapping[str, Matrix],
    forms: Mapping[str, Form],
    refused: Point,
    accepted: Sequence[Point],
    budget: Budget,
) -> World | None:
    """Rewards of the given forms that violate one rule at a point, and none of the others at theirs; all points are
    such that the rule speaks of them (`speaks_of`)."""
    room = _Fitting(budget.rlimit, forms, data)
    room.add(room.violated(refused.rule, refused.values))
    room.there = False
    room.add(*(z3.Not(room.violated(point.rule, point.values)) for point in accepted))
    room.tie()
    return room.solution()


def impossible(data: Mapping[str, Matrix], points: Sequence[Point], budget: Budget) -> bool:
    """Does no reward whatever satisfy these instances together?"""
    room = Room(budget.rlimit)
    room.add(*(z3.Not(room.violated(point.rule, point.values)) for point in points))
    order_constants(room, data)
    return str(room.solver().check()) == "unsat"
