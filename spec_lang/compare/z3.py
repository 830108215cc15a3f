"""The questions about two rules that are put to Z3, each in a context of its own and with a budget of work.

differ   Is there a point where one rule is violated, although every instance of the other at the same records holds?
         Rewards are uninterpreted. `unsat` proves that the other rule entails this one.
breach   Given a reward with all its numbers, is there a point in the whole domain where a rule fails? `unsat` proves
         that the reward satisfies it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from math import prod

import z3

from rewarden.spec_lang.compare.align import Aligned
from rewarden.spec_lang.compare.data import Matrix
from rewarden.spec_lang.compare.frame import Frame
from rewarden.spec_lang.compare.instances import (
    by_rewards,
    instantiations,
    is_anchor,
    quantified,
    records_of,
    split_arguments,
)
from rewarden.spec_lang.compare.reward import TableReward, statistics_in
from rewarden.spec_lang.compare.room import Anchor, Answer, Room, order_constants
from rewarden.spec_lang.evaluate import truth_of_rows
from rewarden.spec_lang.forms import ZERO
from rewarden.spec_lang.obligation import TRUE, And, Statistic
from rewarden.spec_lang.z3_terms import Z3Term

GROUNDED = 64  # rows of data, each of which is looked at
FEW = 256  # records, or choices of some, at each of which a rule is looked at
MANY_ROWS = 100_000  # of data, which are not looked at


@dataclass(frozen=True, slots=True)
class Budget:
    """Work, never time: Z3's resource units for each question, at how many points two rules are tried to be told
    apart, and how often a reward of one form is tried again there."""

    rlimit: int = 1_000_000
    points: int = 3
    rounds: int = 6


@dataclass(frozen=True, slots=True)
class Scope:
    """Where `differ` looks. `row` is the one of the weak rule's data rows (None: any point of their hull);
    `strong_rows` those of the strong rule (None: the very row of the weak one). `inside` keeps each record of those
    types in the strong spec's domain too, `interior` continuous numbers off the ends of their ranges, and `axis` lets
    no centred variable but that one leave the row, so that every norm is the same. `grounded` says what the data
    constants of few rows are, and that the strong rule, if about one record, holds at these rows."""

    row: int | None = None
    strong_rows: tuple[int, ...] | None = None
    inside: Mapping[str, Aligned] = field(default_factory=dict)
    interior: bool = False
    axis: int | None = None
    grounded: bool = False


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
        key = (id(weak), *(id(part) for part in strong), scope.row, scope.strong_rows, scope.axis, scope.grounded)
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
    room = Room(asked.budget.rlimit)
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
    if scope.grounded:
        _ground(room, asked, strong, own)
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


def speaks_of_all(part: Aligned, other: Aligned, data: Mapping[str, Matrix], budget: Budget) -> bool:
    """Does the other rule, about as many records of these types, speak of all that the part speaks of, whatever the
    rewards? Proved, or False. Both have their variables in one order, that of the frame."""
    views = [[(view.type_name, view.variables) for view in one.records] for one in (part, other)]
    if views[0] != views[1]:
        return False
    room = Room(budget.rlimit)
    raw, terms = room.unknowns(part)
    here, there = room.at(part, terms, {}), room.at(other, terms, {})
    room.add(here.domain, here.premise, z3.Not(z3.And(there.domain, there.premise)))
    order_constants(room, data)
    return room.check(raw).status == "unsat"


def _ground(room: Room, asked: Differ, strong: Sequence[Aligned], own: Sequence[_Record]) -> None:
    """What is known of the rows that data constants come from: one is worth the constant; of few, what each is worth.
    And the strong rule at these, and at every record of a type that has few."""
    worth: list[_Record] = []
    rows_there: list[_Record] = []
    for constant in statistics_in(tuple(room.constants)):
        rows = asked.data.get(constant.data)
        (kind, *more) = asked.frame.signature(constant.reward)
        if rows is None or len(rows) == 0:
            continue
        if len(rows) <= GROUNDED:
            room.define(constant, rows)
        if not more:
            worth += [(kind.name, record) for record in _worth_it(room, constant, rows, kind.name, strong)]
            if len(rows) <= GROUNDED:
                rows_there += [(kind.name, tuple(room.number(Fraction(float(x))) for x in row)) for row in rows]
    for part in (part for part in strong if part.rows is None):
        own_kind = part.records[0].type_name
        few = _few_records(room, part)
        for given in (few,) if few else ((*worth, *own), (*rows_there, *own)):
            mine = [record for kind, record in given if kind == own_kind]
            _everywhere(room, part, mine, [record for kind, record in own if kind == own_kind])
    for part in strong:
        _at_its_rows(room, part, rows_there)


def _at_its_rows(room: Room, part: Aligned, rows_there: Sequence[_Record]) -> None:
    """A rule near few rows, at each of these and at other ones that are known, near it."""
    if part.rows is None or len(part.rows.values) > GROUNDED or len(quantified(part)) != 1:
        return
    kind = part.records[quantified(part)[0]].type_name
    others = [record for other, record in rows_there if other == kind]
    for number in range(len(part.rows.values)):
        anchor = room.row(part, number)
        here = tuple(anchor.get((0, k), room.number(ZERO)) for k in range(len(part.records[0].variables)))
        further = others if len(others) * len(part.rows.values) <= FEW else []
        for record in (here, *further):
            _exclude(room, part, [record], anchor)


def _worth_it(
    room: Room, constant: Statistic, rows: Matrix, kind: str, strong: Sequence[Aligned]
) -> list[tuple[Z3Term, ...]]:
    """A record that is a row of the data and worth the constant; of a mean one that is worth no more, and one no
    less."""
    found = [_some_row(room, rows) for _ in range(2 if constant.kind == "mean" else 1)]
    values = [room.reward(constant.reward, record) for record in found]
    here = room.constants[constant]
    room.add(*([values[0] <= here, values[1] >= here] if constant.kind == "mean" else [values[0] == here]))
    for part in strong:
        if _speaks_everywhere(part, kind, rows):
            for record in found:
                seen = room.at(part, record, {})
                room.add(seen.domain, seen.premise)
    return found


def _some_row(room: Room, rows: Matrix) -> tuple[Z3Term, ...]:
    """A record that lies, column by column, between the least and the greatest of the rows."""
    found: list[Z3Term] = []
    for column in rows.T:
        lo, hi = Fraction(float(column.min())), Fraction(float(column.max()))
        term = room.number(lo) if lo == hi else room.fresh("row")
        room.add(term >= room.number(lo), term <= room.number(hi))
        found.append(term)
    return tuple(found)


def _speaks_everywhere(part: Aligned, kind: str, rows: Matrix) -> bool:
    """Is that a rule about one record, and does it speak of every row?"""
    if part.rows is not None or [view.type_name for view in part.records] != [kind]:
        return False
    if len(part.variables) != rows.shape[1] or by_rewards(part.premise)[1] != TRUE or len(rows) > MANY_ROWS:
        return False
    for variable, column in zip(part.variables, rows.T, strict=True):
        if not variable.lo <= Fraction(float(column.min())) <= Fraction(float(column.max())) <= variable.hi:
            return False
    return bool(truth_of_rows(And((part.structure, part.assume, part.premise)), rows).all())


def _few_records(room: Room, part: Aligned) -> list[_Record]:
    """Every record of the part, where all its numbers are whole, and there are few."""
    (first, *_) = part.records
    if any(view.type_name != first.type_name for view in part.records):
        return []
    spans = [part.variables[v] for v in first.variables]
    count = prod(int(v.hi - v.lo) + 1 if v.discrete else FEW + 1 for v in spans)
    if count > FEW:
        return []
    choices = product(*([v.lo + k for k in range(int(v.hi - v.lo) + 1)] for v in spans))
    return [(first.type_name, tuple(room.number(x) for x in choice)) for choice in choices]


def _everywhere(
    room: Room, part: Aligned, records: Sequence[tuple[Z3Term, ...]], own: Sequence[tuple[Z3Term, ...]]
) -> None:
    """The rule at all choices of the records, where these are few; else at those among which are own ones."""
    n = len(part.records)
    if any(view.type_name != part.records[0].type_name for view in part.records):
        return
    choices: Iterable[tuple[tuple[Z3Term, ...], ...]] = product(records, repeat=n)
    if len(records) ** n > FEW:
        if n != 2 or 2 * len(own) * len(records) > FEW:
            return
        choices = [*product(own, records), *product(records, own)]
    for choice in choices:
        _exclude(room, part, choice, {})


# ── breach ─────────────────────────────────────────────────────────────────────────────────────
def breach(
    part: Aligned,
    rewards: Mapping[str, TableReward],
    constants: Mapping[Statistic, Fraction],
    scope: Scope,
    budget: Budget,
) -> Answer:
    """Where in its domain does a rule fail for these rewards? About data: near the scope's row, or (None) near any row
    that there could be, which is more than there are."""
    room = Room(budget.rlimit)
    raw, terms = room.unknowns(part)
    anchor = room.hull(part) if scope.row is None else room.row(part, scope.row)
    _keep_to_axis(room, part, terms, anchor, scope)
    room.add(room.at(part, terms, anchor, rewards, constants).violated)
    return room.check(raw)
