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
from rewarden.spec_lang.compare.instances import calls_in, constants_in
from rewarden.spec_lang.compare.reward import Record, TableReward, World, rank, statistics_in
from rewarden.spec_lang.compare.room import Room, Z3Solver, order_constants
from rewarden.spec_lang.compare.z3 import GROUNDED, Budget
from rewarden.spec_lang.evaluate import truth
from rewarden.spec_lang.obligation import Const, Formula, Ite, Statistic, Sum, Term
from rewarden.spec_lang.z3_terms import Z3Formula, Z3Term, fraction

SIMPLIFIED = 12  # values that are tried to be made equal to the constant
EXCEPTIONS = 300  # rows of data that may have a value of their own


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a reward that `fit` looks for the numbers of: a term, a constant, a slope for some columns, and
    values of its own at some records: those `there`, where the refusing rule applies it at the point in hand, or `all`
    records that are looked at. With `ranked`, rows of data get values by rank, so that data constants of different
    levels can differ. The records of `known` have values of their own as well; those of one of the `groups`, such as
    rows of data, one for all of them. In a `region` of the records, elsewhere is another constant."""

    slopes: tuple[int, ...] = ()
    exceptions: Literal["none", "there", "all"] = "there"
    base: Term | None = None
    ranked: bool = False
    known: tuple[Record, ...] = ()
    groups: tuple[tuple[Record, ...], ...] = ()
    region: Formula | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """A rule at one point, and the data row there."""

    rule: Aligned
    values: tuple[Fraction, ...]
    anchor: Mapping[Key, Fraction] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class RowCount:
    """A rule about a share of rows at each of its different rows, with how often they occur. Rows that are not counted
    are left out, unless that depends on rewards."""

    rule: Aligned
    rows: Mapping[tuple[Fraction, ...], int]
    counts: range | None  # of rows that are enough; None where their number depends on rewards


class Fitting(Room):
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
        for name, form in forms.items():
            for group in form.groups:
                worth = self.fresh(f"{name} group")
                self.exception[name] |= dict.fromkeys(group, worth)
        self.within = {name: self.fresh(f"{name} within") for name, form in forms.items() if form.region is not None}
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
        if form.region is not None and truth(form.region, exact):
            return z3.Sum([base, self.within[name], *slopes])
        return z3.Sum([base, self.constant[name], *slopes])

    def fails(self, what: Point | RowCount) -> Z3Formula:
        """At a point that the rule speaks of, or by the count of its rows."""
        if isinstance(what, Point):
            return self.violated(what.rule, what.values)
        share = what.rule.share
        assert share is not None
        if not what.rows:
            return z3.BoolVal(False, self.context)  # of no rows nothing is asked
        said = {values: self.said(what.rule, values) for values in what.rows}
        satisfied = z3.Sum([z3.If(z3.And(p, q), what.rows[values], 0) for values, (p, q) in said.items()])
        if what.counts is not None:
            return z3.Not(z3.And(satisfied >= what.counts.start, satisfied < what.counts.stop))
        counted = z3.Sum([z3.If(p, what.rows[values], 0) for values, (p, _) in said.items()])
        more = satisfied - self.number(share.level) * counted
        holds = {">": more > 0, ">=": more >= 0, "<": more < 0, "<=": more <= 0}[share.op]
        return z3.And(counted > 0, z3.Not(holds))

    def tie(self) -> None:
        """Data constants are what the rewards make of them, but for rows that are exceptions."""
        for name, form in self.forms.items():
            mine = [c for c in statistics_in(tuple(self.constants)) if c.reward == name]
            sources = {c.data for c in mine}
            if form.base is not None:
                self._by_base(name, form.base, [c for c in mine if c.data in self.data])
            elif (form.groups or form.region is not None) and sources <= self.data.keys():
                for constant in mine:
                    self._by_groups(constant)
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

    def _by_groups(self, constant: Statistic) -> None:
        """What a data constant comes to by what its rows are worth, equal ones counted together."""
        weight: dict[Z3Term, int] = {}
        terms: dict[int, Z3Term] = {}
        for row, often in Counter(rows_of(self.data[constant.data])).items():
            record = np.frombuffer(row).tolist()
            worth = self._at_row(constant.reward, tuple(map(Fraction, record)))
            term = terms.setdefault(worth.get_id(), worth)
            weight[term] = weight.get(term, 0) + often
        here, n = self.constants[constant], sum(weight.values())
        if constant.kind == "mean":
            self.add(here * n == z3.Sum([term * often for term, often in weight.items()]))
            return
        at = rank(constant, n)
        self.add(z3.Or([term == here for term in weight]))
        self.add(z3.Sum([z3.If(term <= here, often, 0) for term, often in weight.items()]) >= at)
        self.add(z3.Sum([z3.If(term >= here, often, 0) for term, often in weight.items()]) >= n - at + 1)

    def _at_row(self, name: str, record: Record) -> Z3Term:
        """As everywhere: a value of its own, or that of its region."""
        if record in self.exception[name]:
            return self.exception[name][record]
        form = self.forms[name]
        if form.slopes:
            return self.reward(name, [self.number(x) for x in record])
        inside = form.region is not None and truth(form.region, record)
        return self.within[name] if inside else self.constant[name]

    def solution(self, more: Sequence[Z3Formula] = ()) -> World | None:
        """Numbers that fit, and for which more is so; None if there are none, or they are irrational."""
        solver = self.solver(more)
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
        form, constant = self.forms[name], exact(self.constant[name])
        base = form.base
        if form.region is not None and exact(self.within[name]) != constant:
            step = Ite(form.region, Const(exact(self.within[name]) - constant), Const(Fraction(0)))
            base = step if base is None else Sum((base, step))
        plain = TableReward(constant, tuple(s for s in slopes if s[1]), (), base)
        values = ((record, exact(term)) for record, term in self.exception[name].items())
        return replace(plain, exceptions=tuple((r, x) for r, x in values if plain.elsewhere(r) != x))


def fit(
    data: Mapping[str, Matrix],
    forms: Mapping[str, Form],
    refused: Point | RowCount,
    accepted: Sequence[Point | RowCount],
    budget: Budget,
) -> World | None:
    """Rewards of the given forms that violate one rule at a point, and none of the others at theirs; all points are
    such that the rule speaks of them (`speaks_of`). Or the like by counts of rows."""
    room = Fitting(budget.rlimit, forms, data)
    room.add(room.fails(refused))
    room.there = False
    room.add(*(z3.Not(room.fails(point)) for point in accepted))
    room.tie()
    return room.solution()


def impossible(
    data: Mapping[str, Matrix],
    points: Sequence[Point | RowCount],
    budget: Budget,
    refused: Point | RowCount | None = None,
) -> bool:
    """Does no reward whatever satisfy these instances together (and refuse that point, or count of rows)?"""
    rules = [what.rule for what in (*points, *([] if refused is None else [refused]))]
    names = {call.reward for rule in rules for call in calls_in(rule)}
    names |= {constant.reward for rule in rules for constant in constants_in(rule)}
    room = Fitting(budget.rlimit, dict.fromkeys(sorted(names), Form(exceptions="all")), data)
    room.add(*(z3.Not(room.fails(point)) for point in points))
    if refused is not None:
        room.add(room.fails(refused))
    for constant in statistics_in(tuple(room.constants)):
        if len(data.get(constant.data, ())) in range(1, GROUNDED + 1):
            room.define(constant, data[constant.data])
    order_constants(room, data)
    if room.irrational:
        return False
    return str(room.solver().check()) == "unsat"
