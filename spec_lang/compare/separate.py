"""A reward that one rule accepts and another refuses: the proof that the first does not entail the second.

A rule is the set of rewards that satisfy it, for every assignment of its records. So a point at which one rule's
instance is violated and the other's is not separates them only if some reward has those values there *and satisfies the
other rule everywhere else*. Instances at other records speak of the same values (a rule about pairs is violated at
(a, b) and at (b, a); R(a) - R(b) >= 1 for all a, b has no reward at all), so that is never taken for granted. Instead
the whole reward is put on the table, as a function that a reader can write down:

1. `differ` finds a point, from instances at the same records only.
2. `fit` finds numbers for a reward of a simple form: a constant elsewhere, slopes, values of its own at finitely many
   records, data rows by rank.
3. `breach` asks Z3 whether the accepting rule fails for this very reward anywhere in its domain. If so, that point is
   added to those that `fit` must respect, and we begin again; if not, the reward satisfies the rule, by proof.
4. The refusing rule is shown violated at the point, and every instance of the accepting one at the same records
   satisfied, in rationals by `evaluate.truth`, on the obligations as their own specs wrote them.

If no form leads to a reward, nothing is claimed, unless the points that were met on the way contradict each other for
every reward (R(a) > R(b) for all a, b fails at a = b): then the accepting rule is empty and entails all others.
Rewards are arbitrary functions of the features here, as in every check of a spec without a model: two rules that only
a discontinuous reward tells apart are different rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from typing import Literal

import numpy as np

from rewarden.spec_lang import forms
from rewarden.spec_lang.compare.align import Aligned, Rows, substituted
from rewarden.spec_lang.compare.data import Matrix
from rewarden.spec_lang.compare.fit import Form, Point, fit, impossible
from rewarden.spec_lang.compare.frame import Frame
from rewarden.spec_lang.compare.groups import Groups, groups, regions
from rewarden.spec_lang.compare.instances import (
    anchor_of,
    anchors_at,
    called_at,
    calls_in,
    constants_in,
    instantiations,
    near_row,
    quantified,
    records_of,
    speaks_of,
    split_arguments,
    values_at,
    violated,
)
from rewarden.spec_lang.compare.reward import TableReward, World
from rewarden.spec_lang.compare.room import Answer
from rewarden.spec_lang.compare.terms import read_beside_rewards, subterms
from rewarden.spec_lang.compare.z3 import Budget, Scope, breach
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.forms import ONE, ZERO, combine, form_of
from rewarden.spec_lang.obligation import Call, Const, Max, Min, Product, Statistic, Sum, Term, Var

ROWS = 64  # data rows that are looked at one by one
SLOPES = 12  # columns with a slope of their own
BASES = 4
CUT = 2  # columns that are tried as rewards that are cut off


@dataclass(frozen=True, slots=True, eq=False)
class Separation:
    """The refusing rule's part, where it is violated, and rewards that the accepting rule is satisfied by."""

    point: Point
    world: World


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Separate: find rewards that violate `refusing` and satisfy all of `accepting`."""

    frame: Frame
    data: Mapping[str, Matrix]
    refusing: Sequence[Aligned]
    accepting: Sequence[Aligned]
    budget: Budget


def separate(task: Task, point: Point, *, thorough: bool) -> Separation | Literal["impossible"] | None:
    """Rewards that separate the rules at the point, if one of the forms that are tried has them (the first, unless it
    is done thoroughly); "impossible" where it turns out that the accepting rule accepts no reward at all, and so
    entails whatever there is."""
    try:
        if not near_row(point.rule, point.values, point.anchor):
            return None
        respected = instances(task, point.rule, point.values)
        here = tuple(respected)
        for shape in islice(shapes(task), None if thorough else 1):
            world = search(task, point, here, respected, shape)
            if world is not None:
                return Separation(point, world)
        if impossible(task.data, respected, task.budget):
            return "impossible"
    except (Unsupported, KeyError, ZeroDivisionError):
        return None  # irrational arguments, or data that was not read: nothing is claimed
    return None


def search(
    task: Task, point: Point, here: Sequence[Point], respected: list[Point], shape: Mapping[str, Form]
) -> World | None:
    """Rewards of that form. Where the accepting rule fails for a candidate is added to `respected`, with its other
    instances at the same records: what no later candidate may do."""
    for _ in range(task.budget.rounds):
        world = fit(task.data, shape, point, respected, task.budget)
        if world is None or not violated(point.rule, point.values, world, task.frame):
            return None
        if any(violated(p.rule, p.values, world, task.frame) for p in here):
            return None  # data constants came out differently than planned
        where = failing(task, world)
        if where is None:
            return world
        if isinstance(where, Answer) or any(where == p for p in respected):
            return None
        respected.append(where)
        more = instances(task, where.rule, where.values)
        respected += [p for p in more if not any(p == known for known in respected)]
    return None


def instances(task: Task, rule: Aligned, values: Sequence[Fraction]) -> list[Point]:
    """The accepting rule at the records of a point, near whatever rows they lie."""
    own = records_of(rule, values)
    called = [r for name, flat in called_at(rule, values) for r in split_arguments(task.frame, name, flat)]
    further = [r for r in dict.fromkeys(called) if r not in own]
    found: list[Point] = []
    for part in task.accepting:
        for records in instantiations(part, own, further):
            for anchor in anchors_at(part, records, ROWS):
                point = Point(part, tuple(values_at(part, records, anchor)), anchor)
                if speaks_of(part, point.values):
                    found.append(point)
    return found


# ── is the accepting rule satisfied everywhere? ────────────────────────────────────────────────
def failing(task: Task, world: World) -> Point | Answer | None:
    """None if Z3 proves that it is; a point where it is not; or an answer that leaves it open."""
    for part in task.accepting:
        rows: Sequence[int | None] | None = (
            [None] if part.rows is None else _rows_that_matter(task, part, part.rows, world)
        )
        if rows is None:
            return Answer("unknown")
        for row in rows:
            answer = _breach(task, part, world, world.rewards, Scope(row))
            if answer.status == "unsat":
                continue
            if part.rows is not None and part.rows.centred and not _true(task, part, answer, world):
                # For Z3 a large ball is more than it is; along one column it is no more.
                answer = _breach(task, part, world, world.rewards, Scope(row, axis=part.rows.centred[0][0]))
            if answer.values is None or not _true(task, part, answer, world):
                return Answer("unknown")
            return Point(part, answer.values, {} if row is None else anchor_of(part, row))
    return None


Rewards = Mapping[str, TableReward]


def _breach(task: Task, part: Aligned, world: World, rewards: Rewards, scope: Scope) -> Answer:
    constants = {c: world.statistic(c) for c in constants_in(part)}
    return breach(part, rewards, constants, scope, task.budget)


def _true(task: Task, part: Aligned, answer: Answer, world: World) -> bool:
    return answer.values is not None and violated(part, answer.values, world, task.frame)


def _rows_that_matter(task: Task, part: Aligned, rows: Rows, world: World) -> Sequence[int] | None:
    """The data rows that have to be looked at one by one. If the rewards without their exceptions satisfy the rule near
    any row that there could be, these are the rows near which an exception can be met; else all. None: too many."""
    plain = {name: replace(reward, exceptions=()) for name, reward in world.rewards.items()}
    hits = _hits(part, rows, world.rewards)
    if hits is not None and _breach(task, part, world, plain, Scope()).status == "unsat":
        return hits
    return range(len(rows.values)) if len(rows.values) <= ROWS else None


def _hits(part: Aligned, rows: Rows, rewards: Rewards) -> list[int] | None:
    """The rows near which a reward is applied to one of its exceptions; a few more, by rounding, do no harm."""
    reach = {v: (key, float(radius)) for v, key, radius in (*rows.centred, *((v, k, ZERO) for v, k in rows.fixed))}
    hit = np.zeros(len(rows.values), dtype=np.bool_)
    for call in calls_in(part):
        exceptions = rewards[call.reward].exceptions
        if exceptions and not all(isinstance(a, Var | Const) for a in call.arguments):
            return None
        for record, _ in exceptions:
            here = np.ones(len(rows.values), dtype=np.bool_)
            for argument, x in zip(call.arguments, record, strict=True):
                if isinstance(argument, Var) and argument.index in reach:
                    key, radius = reach[argument.index]
                    slack = 1e-9 * (1 + radius + abs(float(x)))
                    here &= np.abs(rows.values[:, rows.keys.index(key)] - float(x)) <= radius + slack
            hit |= here
    found = [int(row) for row in np.flatnonzero(hit)]
    return found if len(found) <= ROWS else None


# ── forms ──────────────────────────────────────────────────────────────────────────────────────
def shapes(task: Task) -> Iterator[dict[str, Form]]:
    """From the simplest to read: constant but at the point; linear; both; what the accepting rule itself asks for; then
    with values of their own at more records."""
    parts = (*task.accepting, *task.refusing)
    constants = {c for part in parts for c in constants_in(part)}
    names = tuple(dict.fromkeys([c.reward for part in parts for c in calls_in(part)] + [c.reward for c in constants]))
    yield dict.fromkeys(names, Form())
    if constants:
        yield dict.fromkeys(names, Form(ranked=True))
        yield from _grouped(task, names, constants)
        for name, base in _columns(task, constants):
            yield {n: Form(base=base if n == name else None) for n in names}
        return
    slopes = {name: _slopes(task, name) for name in names}
    if any(slopes.values()):
        yield {name: Form(slopes[name], "none") for name in names}
        yield {name: Form(slopes[name]) for name in names}
    for name, base in _bases(task):
        yield {n: Form(base=base if n == name else None) for n in names}
    yield dict.fromkeys(names, Form(exceptions="all"))
    if any(slopes.values()):
        yield {name: Form(slopes[name], "all") for name in names}


def _grouped(task: Task, names: Sequence[str], constants: set[Statistic]) -> Iterator[dict[str, Form]]:
    """Rows of data have values of their own; then records of a premise, or those that are looked at, as well."""
    if not {c.data for c in constants} <= task.data.keys():
        return
    parts = (*task.accepting, *task.refusing)
    inside = {name: regions(parts, task.frame, name) for name in names}
    apart: dict[str, Groups] = {}
    for name in names:
        mine = {c for c in constants if c.reward == name}
        apart[name] = groups([task.data[d] for d in sorted({c.data for c in mine})], inside[name], mine)
    if any(apart.values()):
        yield {name: Form(groups=apart[name]) for name in names}
        yield {name: Form(exceptions="all", groups=apart[name]) for name in names}
    for k in range(max(map(len, inside.values()), default=0)):
        yield {
            name: Form(exceptions="all", groups=apart[name], region=inside[name][k] if k < len(inside[name]) else None)
            for name in names
        }


def _columns(task: Task, constants: set[Statistic]) -> Iterator[tuple[str, Term]]:
    """Rewards that are a column of their record, or its opposite: their data constants differ as the data do. Columns
    that the rules compare first; then such rewards cut off at one of the constants."""
    bases: list[tuple[str, Term]] = []
    for reward in sorted({c.reward for c in constants}):
        first = _slopes(task, reward)
        width = sum(len(kind.columns()) for kind in task.frame.signature(reward))
        rest = [k for k in range(width) if k not in first]
        for k in [*first, *rest][:SLOPES]:
            bases += [(reward, Var(k)), (reward, Product(Const(-ONE), Var(k)))]
    yield from bases
    for reward, base in bases[: 2 * CUT]:
        plain = World({reward: TableReward(ZERO, base=base)}, task.data)
        mine = sorted((c for c in constants if c.reward == reward), key=repr)
        for level in dict.fromkeys(plain.statistic(c) for c in mine if c.kind != "mean"):
            yield reward, Min((base, Const(level)))
            yield reward, Max((base, Const(level)))


def _slopes(task: Task, reward: str) -> tuple[int, ...]:
    """The columns that rules compare, or that differ between their records."""
    found: list[int] = []
    start = 0
    for kind in task.frame.signature(reward):
        wanted = {k for part in (*task.accepting, *task.refusing) for k in _columns_that_matter(part, kind.name)}
        found += [start + k for k in sorted(wanted)]
        start += len(kind.columns())
    return tuple(found[:SLOPES])


def _columns_that_matter(part: Aligned, kind: str) -> Iterator[int]:
    beside = read_beside_rewards(part.premise) | read_beside_rewards(part.conclusion)
    views = [view for view in part.records if view.type_name == kind]
    for k in range(len(views[0].variables) if views else 0):
        different = {view.variables[k] for view in views}
        if different & beside or len(different) > 1:
            yield k


def _bases(task: Task) -> Iterator[tuple[str, Term]]:
    """What an accepting rule about one record at a time compares a reward with: from R(s) <= f(s), f."""
    found = 0
    for part in task.accepting:
        if len(quantified(part)) != 1 or part.rows is not None:
            continue
        variables = part.records[0].variables
        place = {v: k for k, v in enumerate(variables)}
        for total in subterms(part.conclusion):
            if not isinstance(total, Sum):
                continue
            form = form_of(total)
            for call, c in form.parts.items():
                rest = [(t, d) for t, d in form.parts.items() if t != call]
                if not isinstance(call, Call) or call.arguments != tuple(Var(v) for v in variables):
                    continue
                kept = [(t, d) for t, d in rest if not any(isinstance(u, Call | Statistic) for u in subterms(t))]
                base = combine((forms.leaf(t), -d / c) for t, d in kept).term()
                if found < BASES and not isinstance(base, Const):
                    found += 1
                    yield call.reward, substituted(base, part, task.frame, place)
