"""Rewards that one rule about a share of rows accepts and another does not.

Tables of numbers come first, by bisection (`share_tables`), for which there may be many rows. Of few different rows Z3
may choose any: where no choice has such counts, there is no such reward. What was found is judged once more by the
exact evaluator, row by row, as each spec wrote the rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from math import ceil, floor

import numpy as np
import z3
from numpy.typing import NDArray

from rewarden.spec_lang.compare.align import Aligned
from rewarden.spec_lang.compare.data import Matrix, rows_of
from rewarden.spec_lang.compare.instances import calls_in, columns_in_frame, constants_in, to_frame
from rewarden.spec_lang.compare.rebuild import common_constant
from rewarden.spec_lang.compare.reward import Record, TableReward, World
from rewarden.spec_lang.compare.room import Room, order_constants
from rewarden.spec_lang.compare.share_rows import (
    SHOWN,
    CountedRow,
    Counting,
    Question,
    Shares,
    Values,
    counted_rows,
    different_rows,
    moves_with_rewards,
    own_points,
    same_count,
    same_data,
    values_at_row,
)
from rewarden.spec_lang.compare.share_tables import (
    Counted,
    Patterns,
    Table,
    Tally,
    Uses,
    Worths,
    as_world,
    climbed,
    counted,
    searched,
    tables,
)
from rewarden.spec_lang.compare.terms import subterms
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.evaluate import truth_of_rows
from rewarden.spec_lang.forms import ZERO
from rewarden.spec_lang.obligation import TRUE, And, Call, Formula, Statistic, Term
from rewarden.spec_lang.share_counts import enough, judged
from rewarden.spec_lang.z3_terms import Z3Formula, Z3Term, fraction, read

FINE = 2**20  # parts of 1, to which the numbers of tables are rounded
CHOSEN = 500  # different rows among which Z3 may choose those that satisfy q


class _Table(Room):
    """Mutable: rewards as unknown numbers, one for each record of the rows."""

    def __init__(self, rlimit: int) -> None:
        super().__init__(rlimit)
        self.worth: dict[tuple[str, Record], Z3Term] = {}

    def reward(self, name: str, arguments: Sequence[Z3Term]) -> Z3Term:
        exact = [self.exactly(argument) for argument in arguments]
        record = tuple(x for x in exact if x is not None)
        if len(record) < len(exact):
            raise Unsupported("X07", "a reward is applied to an irrational number")
        if (name, record) not in self.worth:
            self.worth[name, record] = self.fresh(name)
        return self.worth[name, record]

    def satisfied(self, part: Aligned, values: Values) -> Z3Formula:
        """q at that row."""
        return self._said(part, part.conclusion, values)

    def speaks(self, part: Aligned, values: Values) -> Z3Formula:
        """Is that row counted?"""
        return self._said(part, part.premise, values)

    def _said(self, part: Aligned, formula: Formula, values: Values) -> Z3Formula:
        plain = replace(part.as_obligation(), structure=TRUE, assume=TRUE, premise=TRUE, conclusion=formula)
        reading = read(plain, self.reward, None, self.context, [self.number(x) for x in values])
        self.add(reading.definitions)
        self.constants.update(reading.free_constants)
        return reading.conclusion


def apart(question: Question) -> Shares:
    """Rewards that the one rule accepts and the other does not, or a proof that there are none."""
    strong, weak = question.accepting, question.refusing
    room = _Table(question.budget.rlimit)
    try:
        if not any(isinstance(t, Call | Statistic) for part in (strong, weak) for t in _terms(part)):
            counting = _judged(question, World({}, question.data))  # of rewards nothing depends
            return Shares("proved") if counting is None else Shares("refuted", counting)
        counting = _by_tables(question, climb=False)
        if counting is not None:
            return Shares("refuted", counting)
        found = _by_z3(question, room)
        counting = _by_tables(question, climb=True) if found.status == "unknown" else None
        return found if counting is None else Shares("refuted", counting)
    except (Unsupported, ZeroDivisionError) as error:
        return Shares("unknown", reason=str(error))
    except KeyError:
        return Shares("unknown", reason="it depends on data that could not be read")


def _terms(part: Aligned) -> list[Term]:
    return [t for formula in (part.premise, part.conclusion) for t in subterms(formula)]


def _by_tables(question: Question, *, climb: bool) -> Counting | None:
    """Rewards from tables of numbers, which many rows take no longer to count for; the last resort is to `climb`."""
    alike = same_count(question.accepting, question.refusing)
    weak = counted(question.refusing, question.data)
    strong = weak if alike else counted(question.accepting, question.data)
    if strong is None or weak is None or len(weak.read) == 0:
        return None
    further: dict[str, list[Matrix]] = {use.reward: [use.columns] for use in strong.uses}
    for constant in {*constants_in(strong.part), *constants_in(weak.part)}:
        further.setdefault(constant.reward, []).append(question.data[constant.data])

    def tallies(table: Table) -> tuple[Tally, Tally]:
        tally = weak.tally(table)
        return tally if alike else strong.tally(table), tally

    def judge(table: Table) -> tuple[bool, bool]:
        return question.parts_them(tallies(table))

    if climb:
        used = [record for use in (*strong.uses, *weak.uses) for record in use.records]
        taken = [(name, row) for name, several in further.items() for rows in several for row in rows_of(rows)]
        zero = dict.fromkeys([*used, *taken], 0.0)
        found = climbed(zero, lambda table: question.missing(tallies(table))) if zero else None
    else:
        groups = chain.from_iterable(
            tables(uses, further, _patterns(question, part, uses))
            for part, uses in _in_patterns(question, weak, strong)
        )
        found = searched(groups, judge)
    return None if found is None else _judged(question, as_world(found, question.data, _names(question)))


def _in_patterns(question: Question, weak: Counted, strong: Counted) -> list[tuple[Aligned, Sequence[Uses]]]:
    """The rows that patterns are made for, and what they apply rewards to: of the same rows then for both rules at
    once."""
    alone: tuple[Aligned, Sequence[Uses]] = (weak.part, weak.uses)
    if not same_data(question.accepting, question.refusing):
        return [alone, (strong.part, strong.uses)]
    known = {use.call for use in weak.uses}
    more = [use for use in strong.uses if use.call not in known]
    return [alone, (weak.part, [*weak.uses, *more])] if more else [alone]


def _names(question: Question) -> list[str]:
    parts = (question.accepting, question.refusing)
    calls = [call.reward for part in parts for call in calls_in(part)]
    return list(dict.fromkeys([*calls, *(c.reward for part in parts for c in constants_in(part))]))


def _patterns(question: Question, about: Aligned, uses: Sequence[Uses]) -> Patterns:
    """What rewards are worth at a row of one rule that satisfies what the rules count, or does not: for some rows."""
    both = (question.accepting, question.refusing)
    strong, weak = both if same_data(*both) else (about, about)
    free = not (moves_with_rewards(weak) or moves_with_rewards(strong))
    assert about.rows is not None
    every = range(len(about.rows.values))
    numbers = [counted_rows(part) if free else list(every) for part in (strong, weak)]
    found: list[Worths] = []
    without: Worths | None = None
    rows = numbers[1]
    for row in dict.fromkeys([*rows[:1], *rows[len(rows) // 2 :][:1], *rows[-1:]]):
        room = _Table(question.budget.rlimit)
        here, there = (room.satisfied(part, values_at_row(part, row)) for part in (strong, weak))
        records = [(use.reward, tuple(Fraction(float(x)) for x in use.columns[row])) for use in uses]
        facts = [room.speaks(weak, values_at_row(weak, row)), *(x == 0 for x in room.constants.values())]
        for wish in (z3.And(here, z3.Not(there)), z3.And(there, z3.Not(here)), z3.And(here, there), z3.Not(there)):
            solver = room.solver([wish, *facts])
            if str(solver.check()) == "sat":
                terms = [room.worth.get(record, room.number(ZERO)) for record in records]
                exact = [fraction(solver.model().eval(term, model_completion=True)) for term in terms]
                found += _rounded([ZERO if x is None else x for x in exact])
        if without is None and found:
            without = found[-1]
    masks = [np.isin(every, rows) for rows in numbers]
    apart = [] if (masks[0] == masks[1]).all() else [*masks, masks[0] & ~masks[1], masks[1] & ~masks[0]]
    return Patterns(list(dict.fromkeys(found)), without, apart)


def _rounded(worths: Sequence[Fraction]) -> list[Worths]:
    """As binary64 numbers: the nearest ones, and where those are others, somewhat less or more."""
    nearest = tuple(map(float, worths))
    if all(Fraction(x) == worth for x, worth in zip(nearest, worths, strict=True)):
        return [nearest]
    less, more = (tuple(float(to(worth * FINE)) / FINE for worth in worths) for to in (floor, ceil))
    return [less, more, nearest]


def _by_z3(question: Question, room: _Table) -> Shares:
    """Of few different rows any may be chosen: where no choice has such counts, there is no such reward."""
    strong, weak = question.accepting, question.refusing
    looked = "no rewards were found that the one accepts and the other does not"
    if moves_with_rewards(strong) or moves_with_rewards(weak):
        return Shares("unknown", reason=f"the rows that are counted depend on the reward, and {looked}")
    different = [different_rows(part, counted_rows(part)) for part in (strong, weak)]
    if max(map(len, different)) > CHOSEN:
        return Shares("unknown", reason=f"of {sum(different[1].values())} rows {looked}")
    often = [
        {values_at_row(part, row): n for row, n in found.items()}
        for part, found in zip((strong, weak), different, strict=True)
    ]
    facts = []
    for part, rows in zip((strong, weak), often, strict=True):
        assert part.share is not None
        holds = {values: room.satisfied(part, values) for values in rows}
        total = z3.Sum([z3.If(formula, rows[values], 0) for values, formula in holds.items()])
        counts = enough(part.share, sum(rows.values())) if rows else range(1)
        inside = z3.And(total >= counts.start, total < counts.stop) if rows else z3.BoolVal(True, room.context)
        facts.append(inside if part is strong else z3.Not(inside))
    _define(question, room)
    solver = room.solver(facts)
    answer = str(solver.check())
    if answer == "unsat":
        return Shares("proved", reason="no reward satisfies such a number of these rows as would tell them apart")
    world = _world(question, room, solver.model()) if answer == "sat" else None
    counting = None if world is None else _judged(question, world)
    return Shares("refuted", counting) if counting is not None else Shares("unknown", reason=looked)


def _define(question: Question, room: _Table) -> None:
    """What data constants of few rows are; of many, how they are ordered."""
    for constant in tuple(room.constants):
        if len(question.data[constant.data]) <= CHOSEN:
            room.define(constant, question.data[constant.data])
    order_constants(room, question.data)


def _world(question: Question, room: _Table, model: Z3Term) -> World | None:
    """The rewards of a model: 0 but at records of the rows that are worth something else."""
    found: dict[str, list[tuple[Record, Fraction]]] = {name: [] for name in _names(question)}
    for (name, record), term in room.worth.items():
        exact = fraction(model.eval(term, model_completion=True))
        if exact is None:
            return None
        if exact:
            found[name].append((record, exact))
    rewards = {name: TableReward(ZERO, (), tuple(exceptions)) for name, exceptions in found.items()}
    return World(rewards, question.data)


# ── the last word ──────────────────────────────────────────────────────────────────────────────
def _judged(question: Question, world: World) -> Counting | None:
    """The rows under these rewards, judged exactly as both specs wrote the rule: None unless one accepts them and the
    other does not."""
    accepted = _counts(question, question.accepting, world)
    counting = _counting(question, question.refusing, world)
    if question.parts_them((accepted, counting.tally)) != (True, False):
        return None
    return replace(counting, accepted=accepted)


def judged_one(question: Question, world: World, *, accepting: bool = False) -> Counting | None:
    """The same where only one of the rules is about rows: None unless it refuses (accepts) these rewards."""
    part = question.accepting if accepting else question.refusing
    counting = _counting(question, part, world)
    return counting if question.accepts(part, counting.tally) == accepting else None


def _counts(question: Question, part: Aligned, world: World) -> Tally:
    rows, holds = _truths(question, part, world)
    return int(holds.sum()), len(rows)


def _counting(question: Question, part: Aligned, world: World) -> Counting:
    """How many rows satisfy it, and the first few that do and that do not."""
    assert part.share is not None
    rows, holds = _truths(question, part, world)
    tally = int(holds.sum()), len(rows)
    few = np.sort(np.concatenate([np.flatnonzero(holds)[:SHOWN], np.flatnonzero(~holds)[:SHOWN]]))
    shown = [CountedRow(int(rows[k]), values_at_row(part, int(rows[k])), bool(holds[k])) for k in few]
    verdict = judged(part.share, *tally) if tally[1] else "proved"
    return Counting(part, world, tuple(shown), verdict, tally, tally)


def _truths(question: Question, part: Aligned, world: World) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The numbers of the rows that are counted, and whether they satisfy what is counted."""
    own, frame = part.own, question.frame
    constants: dict[Statistic, Fraction] = {}
    worth = {name: _numbers(reward) for name, reward in world.rewards.items()}

    def call(reward: str, arguments: tuple[Fraction, ...]) -> Fraction:
        return world.call(frame.rewards[part.side, reward], to_frame(part, frame, reward, arguments))

    def statistic(found: Statistic) -> Fraction:
        if found not in constants:
            constants[found] = world.statistic(common_constant(found, part.side, frame, part.data))
        return constants[found]

    def bounds(reward: str, columns: Matrix) -> tuple[Matrix, Matrix]:
        """Numbers that binary64 holds are read off a table; of the others nothing is said."""
        places = columns_in_frame(part, frame, reward)
        name = frame.rewards[part.side, reward]
        known = worth[name]
        if places is None or known is None:
            return np.full(len(columns), -np.inf), np.full(len(columns), np.inf)
        width, order = places
        whole = np.zeros((len(columns), width))
        whole[:, order] = columns
        values = np.array([known.get(row, 0.0) for row in rows_of(whole)])
        return values, values

    points = own_points(part)
    speaks = And((own.structure, own.assume, own.premise))
    rows = np.flatnonzero(truth_of_rows(speaks, points, call, statistic, bounds))
    holds = truth_of_rows(own.conclusion, points[rows], call, statistic, bounds)
    return rows, holds


def _numbers(reward: TableReward) -> Mapping[bytes, float] | None:
    """What it is worth at records that binary64 holds, by their bytes; None where it does not hold what they are worth.
    0 elsewhere."""
    if reward.listed:
        return reward.listed
    found = {
        np.array(list(map(float, record))).tobytes(): x
        for record, x in reward.exceptions
        if all(Fraction(float(column)) == column for column in record)
    }
    numbers = {record: float(x) for record, x in found.items()}
    return numbers if all(Fraction(numbers[record]) == x for record, x in found.items()) else None
