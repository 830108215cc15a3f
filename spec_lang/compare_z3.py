"""The questions about two rules that are put to Z3, each in a context of its own and with a budget of work.

differ   Is there a point where one rule is violated, although every instance of the other at the same records holds?
         Rewards are uninterpreted. `unsat` proves that the other rule entails this one.
breach   Given a reward with all its numbers, is there a point in the whole domain where a rule fails? `unsat` proves
         that the reward satisfies it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import z3

from rewarden.spec_lang.compare_align import Aligned, Key
from rewarden.spec_lang.compare_data import Matrix
from rewarden.spec_lang.compare_frame import Frame
from rewarden.spec_lang.compare_instances import (
    absent,
    anchor_of,
    by_rewards,
    instantiations,
    is_anchor,
    records_of,
    split_arguments,
)
from rewarden.spec_lang.compare_reward import TableReward, rank, statistics_in
from rewarden.spec_lang.forms import ZERO
from rewarden.spec_lang.obligation import TRUE, Statistic, Term
from rewarden.spec_lang.z3_terms import Z3Formula, Z3Term, fraction, rational, read, read_term

Anchor = Mapping[Key, Z3Term]
Z3Solver = Any

EXACT_COLUMNS = {"l1": 8, "l2": 3}  # of a ball that Z3 is given as it is


@dataclass(frozen=True, slots=True)
class Budget:
    """Work, never time: Z3's resource units for each question, at how many points two rules are tried to be told
    apart, and how often a reward of one form is tried again there."""

    rlimit: int = 1_000_000
    points: int = 3
    rounds: int = 6


@dataclass(frozen=True, slots=True)
class Answer:
    """`sat` with a point, as far as it is rational; `unsat`; else `unknown`."""

    status: str
    values: tuple[Fraction, ...] | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """Where `differ` looks. `row` is the one of the weak rule's data rows (None: any point of their hull);
    `strong_rows` those of the strong rule (None: the very row of the weak one). `inside` keeps each record of those
    types in the strong spec's domain too, `interior` continuous numbers off the ends of their ranges, and `axis` lets
    no centred variable but that one leave the row, so that every norm is the same."""

    row: int | None = None
    strong_rows: tuple[int, ...] | None = None
    inside: Mapping[str, Aligned] = field(default_factory=dict)
    interior: bool = False
    axis: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    domain: Z3Formula
    premise: Z3Formula
    conclusion: Z3Formula

    @property
    def violated(self) -> Z3Formula:
        return z3.And(self.domain, self.premise, z3.Not(self.conclusion))


class Room:
    """Mutable: a context and what holds in it, what rewards were applied to, and the free data constants."""

    def __init__(self, frame: Frame, rlimit: int) -> None:
        self.frame = frame
        self.context = z3.Context()
        self.rlimit = rlimit
        self.facts: list[Z3Formula] = []
        self.calls: list[tuple[str, tuple[Z3Term, ...]]] = []
        self.constants: dict[Statistic, Z3Term] = {}
        self.one_axis = False  # records leave their data row along one column: the box is the ball
        self.distances: dict[tuple[object, ...], list[tuple[list[Fraction], Z3Term]]] = {}
        self._count = 0
        self._numbers: dict[Fraction, Z3Term] = {}  # also keeps them alive, and so their identities
        self._exact: dict[int, Fraction] = {}

    def number(self, exact: Fraction) -> Z3Term:
        if exact not in self._numbers:
            term = self._numbers[exact] = rational(exact, self.context)
            self._exact[term.get_id()] = exact
        return self._numbers[exact]

    def exactly(self, term: Z3Term) -> Fraction | None:
        """The value of a term without unknowns; None if it is irrational."""
        known = self._exact.get(term.get_id())
        return fraction(z3.simplify(term)) if known is None else known

    def add(self, *facts: Z3Formula) -> None:
        self.facts += facts

    def solver(self, more: Sequence[Z3Formula] = ()) -> Z3Solver:
        """A new one, so that no answer depends on what was asked before."""
        solver = z3.Solver(ctx=self.context)
        solver.set("rlimit", self.rlimit)
        solver.add(self.facts)
        solver.add(list(more))
        return solver

    def fresh(self, name: str, *, whole: bool = False) -> Z3Term:
        self._count += 1
        return (z3.Int if whole else z3.Real)(f"{name}#{self._count}", self.context)

    def unknowns(self, aligned: Aligned) -> tuple[list[Z3Term], list[Z3Term]]:
        """Fresh variables as Z3 knows them, and as reals."""
        raw = [self.fresh(v.name, whole=v.discrete) for v in aligned.variables]
        return raw, [z3.ToReal(v) if v.is_int() else v for v in raw]

    def every(self, parts: Sequence[Z3Formula]) -> Z3Formula:
        return z3.And([z3.BoolVal(True, self.context), *parts])

    # ── an obligation at terms ─────────────────────────────────────────────────────────────────
    def at(
        self,
        aligned: Aligned,
        terms: Sequence[Z3Term],
        anchor: Anchor,
        rewards: Mapping[str, TableReward] | None = None,
        constants: Mapping[Statistic, Fraction] | None = None,
    ) -> Seen:
        def call(reward: str, arguments: Sequence[Z3Term]) -> Z3Term:
            self.calls.append((reward, tuple(arguments)))
            if rewards is not None:
                return self._table(rewards[reward], arguments)
            return self.reward(reward, arguments)

        reading = read(aligned.as_obligation(), call, constants, self.context, terms)
        self.add(reading.definitions)
        self.constants.update(reading.free_constants)
        domain = [reading.structure, reading.assume, *self._ranges(aligned, terms), *self._near(aligned, terms, anchor)]
        return Seen(self.every(domain), reading.premise, reading.conclusion)

    def violated(self, aligned: Aligned, values: Sequence[Fraction]) -> Z3Formula:
        """At a point that the rule speaks of: what its premise and conclusion say about rewards there."""
        _, premise = by_rewards(aligned.premise)
        obligation = replace(aligned.as_obligation(), structure=TRUE, assume=TRUE, premise=premise)

        def call(reward: str, arguments: Sequence[Z3Term]) -> Z3Term:
            return self.reward(reward, arguments)

        reading = read(obligation, call, None, self.context, [self.number(x) for x in values])
        self.add(reading.definitions)
        self.constants.update(reading.free_constants)
        return z3.And(reading.premise, z3.Not(reading.conclusion))

    def reward(self, name: str, arguments: Sequence[Z3Term]) -> Z3Term:
        """A reward of which nothing is known; overridden where something is."""
        real = z3.RealSort(self.context)
        return z3.Function(name, *[real] * len(arguments), real)(*arguments)

    def _table(self, reward: TableReward, arguments: Sequence[Z3Term]) -> Z3Term:
        found = self.elsewhere(reward.base, arguments) + self.number(reward.constant)
        for column, slope in reward.slopes:
            found = found + self.number(slope) * arguments[column]
        for record, exact in reversed(reward.exceptions):
            here = self.every([a == self.number(x) for a, x in zip(arguments, record, strict=True)])
            found = z3.If(here, self.number(exact), found)
        return found

    def elsewhere(self, base: Term | None, arguments: Sequence[Z3Term]) -> Z3Term:
        """A term over a reward's columns, at its arguments."""
        if base is None:
            return self.number(ZERO)
        found, definitions = read_term(base, arguments, self.context)
        self.add(definitions)
        return found

    def _ranges(self, aligned: Aligned, terms: Sequence[Z3Term]) -> list[Z3Formula]:
        fixed = set() if aligned.rows is None else {v for v, _ in aligned.rows.fixed}
        gone = set(absent(aligned))
        found: list[Z3Formula] = []
        for index, (variable, term) in enumerate(zip(aligned.variables, terms, strict=True)):
            lo, hi = self.number(variable.lo), self.number(variable.hi)
            if index not in fixed or index in gone:
                found += [term >= lo, term <= hi]
            if variable.discrete and not _is_whole(term):
                bit = variable.lo == 0 and variable.hi == 1
                found.append(z3.Or(term == lo, term == hi) if bit else z3.IsInt(term))
        return found

    # ── data rows ──────────────────────────────────────────────────────────────────────────────
    def _near(self, aligned: Aligned, terms: Sequence[Z3Term], anchor: Anchor) -> list[Z3Formula]:
        rows = aligned.rows
        if rows is None:
            return []
        zero = self.number(ZERO)
        found = [terms[v] == anchor.get(key, zero) for v, key in rows.fixed]
        away = [terms[v] - anchor.get(key, zero) for v, key, _ in rows.centred]
        radii = [radius for _, _, radius in rows.centred]
        for step, radius in zip(away, radii, strict=True):
            found += [step <= self.number(radius), -step <= self.number(radius)]
        if rows.norm != "linf" and len(away) > 1 and not self.one_axis:
            found.append(self._ball(rows.norm, away, radii))
        return found

    def _ball(self, norm: str, away: Sequence[Z3Term], radii: Sequence[Fraction]) -> Z3Formula:
        """Exactly where there are few columns. Else the norm of these very differences is a number of which only this
        is known: measured with other radii it is within the extreme ratios of the two. That is true of every norm, so
        what is proved of any such number is proved; points come from elsewhere (`Scope.axis`)."""
        one = self.number(Fraction(1))
        parts = [step * self.number(1 / radius) for step, radius in zip(away, radii, strict=True)]
        if len(parts) <= EXACT_COLUMNS[norm]:
            sizes = [p * p if norm == "l2" else z3.If(p > 0, p, -p) for p in parts]
            return z3.Sum(sizes) <= one
        size = self.fresh("norm")
        self.add(size >= 0)
        known = self.distances.setdefault((norm, *(step.get_id() for step in away)), [])
        for others, there in known:
            ratios = [a / b for a, b in zip(others, radii, strict=True)]
            self.add(size <= there * self.number(max(ratios)), size >= there * self.number(min(ratios)))
        known.append((list(radii), size))
        return size <= one

    def row(self, aligned: Aligned, row: int) -> Anchor:
        return {key: self.number(x) for key, x in anchor_of(aligned, row).items()}

    def hull(self, aligned: Aligned) -> Anchor:
        """A row of which only the least and the greatest of every column are known."""
        if aligned.rows is None:
            return {}
        found: dict[Key, Z3Term] = {}
        for k, key in enumerate(aligned.rows.keys):
            column = aligned.rows.values[:, k]
            found[key] = self.fresh("anchor")
            lo, hi = Fraction(float(column.min())), Fraction(float(column.max()))
            self.add(found[key] >= self.number(lo), found[key] <= self.number(hi))
        return found

    # ── answers ────────────────────────────────────────────────────────────────────────────────
    def check(self, raw: Sequence[Z3Term], more: Sequence[Z3Formula] = ()) -> Answer:
        solver = self.solver(more)
        status = str(solver.check())
        if status != "sat":
            return Answer(status, reason="" if status == "unsat" else str(solver.reason_unknown()))
        model = solver.model()
        found = [fraction(model.eval(v, model_completion=True)) for v in raw]
        exact = [x for x in found if x is not None]
        if len(exact) < len(found):
            return Answer("sat", reason="the point that Z3 found is irrational")
        return Answer("sat", tuple(exact))


def _is_whole(term: Z3Term) -> bool:
    return bool(z3.is_to_real(term)) or (z3.is_rational_value(term) and term.denominator_as_long() == 1)


# ── differ ─────────────────────────────────────────────────────────────────────────────────────
class Differ:
    """Is `weak` violated at some point, while no instance of `strong` at the records there is? The point is `weak`'s.

    Instances are taken at the quantified records in any order and with repetition, and at records that rewards are
    applied to, such as `s with {…}`. Taking only some of them is sound for `unsat`: it proves that whatever violates
    the weak rule violates an instance of the strong one.

    Mutable: what is asked of the same rules and rows again is not built again.
    """

    def __init__(self, frame: Frame, data: Mapping[str, Matrix], budget: Budget) -> None:
        self.frame = frame
        self.data = data
        self.budget = budget
        self._built: dict[tuple[object, ...], _Difference] = {}

    def ask(self, weak: Aligned, strong: Sequence[Aligned], scope: Scope) -> Answer:
        key = (id(weak), *(id(part) for part in strong), scope.row, scope.strong_rows, scope.axis)
        if key not in self._built:
            self._built[key] = _difference(self, weak, strong, scope)
        return self._built[key].ask(scope)


@dataclass(frozen=True, slots=True, eq=False)
class _Difference:
    room: Room
    weak: Aligned
    strong: tuple[Aligned, ...]  # kept, since keys are identities
    raw: list[Z3Term]
    terms: list[Z3Term]

    def ask(self, scope: Scope) -> Answer:
        room, more = self.room, []
        for kind, record in records_of(self.weak, self.terms):
            if kind in scope.inside:
                more.append(room.at(scope.inside[kind], record, {}).domain)
        if scope.interior:
            for variable, term in zip(self.weak.variables, self.terms, strict=True):
                if not variable.discrete and variable.lo < variable.hi:
                    more += [term > room.number(variable.lo), term < room.number(variable.hi)]
        return room.check(self.raw, more)


def _difference(asked: Differ, weak: Aligned, strong: Sequence[Aligned], scope: Scope) -> _Difference:
    room = Room(asked.frame, asked.budget.rlimit)
    raw, terms = room.unknowns(weak)
    anchor = room.hull(weak) if scope.row is None else room.row(weak, scope.row)
    _keep_to_axis(room, weak, terms, anchor, scope)
    room.add(room.at(weak, terms, anchor).violated)
    own = records_of(weak, terms)
    called = _new_ones(own, [record for call in tuple(room.calls) for record in split_arguments(asked.frame, *call)])
    for part in strong:
        rows = [None] if part.rows is None or scope.strong_rows is None else list(scope.strong_rows)
        for records in instantiations(part, own, called):
            for row in rows:
                _exclude(room, part, records, anchor if row is None else room.row(part, row))
    order_constants(room, asked.data)
    return _Difference(room, weak, tuple(strong), raw, terms)


def _keep_to_axis(room: Room, part: Aligned, terms: Sequence[Z3Term], anchor: Anchor, scope: Scope) -> None:
    if scope.axis is not None and part.rows is not None:
        room.one_axis = True
        still = [(v, key) for v, key, _ in part.rows.centred if v != scope.axis]
        room.add(*(terms[v] == anchor.get(key, room.number(ZERO)) for v, key in still))


_Record = tuple[str, tuple[Z3Term, ...]]


def _new_ones(own: Sequence[_Record], called: Sequence[_Record]) -> list[_Record]:
    """The records that rewards are applied to and that are not quantified themselves, each once."""
    known = list(own)
    for kind, record in called:
        if not any(k == kind and all(a.eq(b) for a, b in zip(record, r, strict=True)) for k, r in known):
            known.append((kind, record))
    return known[len(own) :]


def _exclude(room: Room, part: Aligned, records: Sequence[tuple[Z3Term, ...]], anchor: Anchor) -> None:
    """This instance is not violated. What records share, as `varying` ones do, is taken from the first: an instance
    like any other."""
    terms: dict[int, Z3Term] = {}
    given = iter(records)
    for number, view in enumerate(part.records):
        record = tuple(anchor.get((0, k), room.number(ZERO)) for k in range(len(view.variables)))
        if not is_anchor(part, number):
            record = next(given)
        for variable, term in zip(view.variables, record, strict=True):
            terms.setdefault(variable, term)
    seen = room.at(part, [terms[k] for k in range(len(part.variables))], anchor)
    room.add(z3.Not(seen.violated))


def order_constants(room: Room, data: Mapping[str, Matrix]) -> None:
    """What is known of data constants whatever the reward: a quantile of a higher level is not lower, those of one
    rank are equal, and all lie between minimum and maximum."""
    by_source: dict[tuple[str, str], list[Statistic]] = {}
    for constant in statistics_in(tuple(room.constants)):
        by_source.setdefault((constant.reward, constant.data), []).append(constant)
    for (_, name), constants in by_source.items():
        rows = len(data[name]) if name in data else None
        ranked = [c for c in constants if c.kind != "mean"]
        ranked.sort(key=lambda c, n=rows: _level(c) if n is None else rank(c, n))  # type: ignore[misc]
        for a, b in pairwise(ranked):
            here, there = room.constants[a], room.constants[b]
            equal = rows is not None and rank(a, rows) == rank(b, rows)
            room.add(here == there if equal else here <= there)
        for mean in (c for c in constants if c.kind == "mean"):
            for c in ranked:
                if c.kind == "min":
                    room.add(room.constants[c] <= room.constants[mean])
                if c.kind == "max":
                    room.add(room.constants[mean] <= room.constants[c])


def _level(constant: Statistic) -> Fraction:
    if constant.kind == "min":
        return Fraction(-1)
    return Fraction(2) if constant.kind == "max" or constant.level is None else constant.level


# ── breach ─────────────────────────────────────────────────────────────────────────────────────
def breach(
    frame: Frame,
    part: Aligned,
    rewards: Mapping[str, TableReward],
    constants: Mapping[Statistic, Fraction],
    scope: Scope,
    budget: Budget,
) -> Answer:
    """Where in its domain does a rule fail for these rewards? About data: near the scope's row, or (None) near any row
    that there could be, which is more than there are."""
    room = Room(frame, budget.rlimit)
    raw, terms = room.unknowns(part)
    anchor = room.hull(part) if scope.row is None else room.row(part, scope.row)
    _keep_to_axis(room, part, terms, anchor, scope)
    room.add(room.at(part, terms, anchor, rewards, constants).violated)
    return room.check(raw)
