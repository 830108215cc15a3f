"""Rules about a share of rows, compared by the counts of rows that they ask for.

Two such rules that count the same thing over the same n rows differ only in how many rows are enough: `share(q) >= 0.6`
and `>= 0.5` both ask for 2 of 3. With a confidence the counts are those of the binomial test (`share_counts`), just as
exact. Where the counts of one rule include those of the other, it follows. Where they do not, a reward is looked for
under which exactly so many rows satisfy q: a table over the records of the rows, from Z3, and judged once more by the
exact evaluator, row by row, as each spec wrote the rule. If no reward has such a count, by proof (each row occurs
twice, or q does not depend on rewards), the rules do not differ there.

A premise that reads rewards makes n depend on the reward; then levels and confidences are compared, and no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np
import z3

from rewarden.spec_lang.compare.align import Aligned, same
from rewarden.spec_lang.compare.data import Matrix
from rewarden.spec_lang.compare.frame import Frame
from rewarden.spec_lang.compare.instances import anchor_of, concludes
from rewarden.spec_lang.compare.reward import Record, TableReward, World
from rewarden.spec_lang.compare.room import Room
from rewarden.spec_lang.compare.terms import subterms
from rewarden.spec_lang.compare.z3 import Budget
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.evaluate import truth_of_rows
from rewarden.spec_lang.forms import ZERO
from rewarden.spec_lang.obligation import TRUE, And, Call, Share, Statistic
from rewarden.spec_lang.share_counts import CountVerdict, enough, judged, refuting
from rewarden.spec_lang.z3_terms import Z3Formula, Z3Term, fraction, read

ROWS = 1_000  # that satisfy the premise, beyond which no reward is looked for
CHOSEN = 200  # different rows among which Z3 may choose those that satisfy q

Values = tuple[Fraction, ...]  # of a rule's variables, in the frame's columns


@dataclass(frozen=True, slots=True, eq=False)
class CountedRow:
    """A row of the data, from 0, the variables there, and whether it satisfies q under the rewards found."""

    row: int
    values: Values
    satisfied: bool


@dataclass(frozen=True, slots=True, eq=False)
class Counting:
    """Rewards under which `satisfied` of the rows that are counted satisfy q, which is enough for one rule, and what
    `refusing` refuses as `verdict`."""

    refusing: Aligned
    world: World
    rows: tuple[CountedRow, ...]
    verdict: CountVerdict

    @property
    def satisfied(self) -> int:
        return sum(row.satisfied for row in self.rows)


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """Does the one rule entail the other? If not, the rewards that show it."""

    status: Literal["proved", "refuted", "unknown"]
    counting: Counting | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Question:
    frame: Frame
    data: Mapping[str, Matrix]
    budget: Budget
    accepting: Aligned
    refusing: Aligned


def share_entails(
    frame: Frame,
    data: Mapping[str, Matrix],
    budget: Budget,
    strong: Aligned,
    weak: Aligned,
    *,
    refute: bool = True,
) -> Shares:
    """Does every reward that satisfies `strong` satisfy `weak`, which counts the same rows (`same_count`)?"""
    assert strong.share is not None
    assert weak.share is not None
    if _moves_with_rewards(weak):
        if _at_least_as_strict(strong.share, weak.share):
            return Shares("proved")
        return Shares("unknown", reason="the shares differ in level, and the rows that they count depend on the reward")
    rows = _counted(weak)
    if not rows:
        return Shares("proved")
    counts = _only(enough(strong.share, len(rows)), enough(weak.share, len(rows)))
    if not counts:
        return Shares("proved")
    if not refute:
        return Shares("unknown")
    return _between(_Question(frame, data, budget, strong, weak), rows, counts)


def same_count(a: Aligned, b: Aligned) -> bool:
    """Do both count the same thing over the same rows?"""
    return a.share is not None and b.share is not None and same(replace(a, share=None), replace(b, share=None))


def counts_note(old: Aligned, new: Aligned) -> str:
    """What the two ask of the rows, where both can be counted: a sentence for the reviewer."""
    assert old.share is not None
    assert new.share is not None
    if not same_count(old, new) or _moves_with_rewards(old) or old.share == new.share:
        return ""
    n = len(_counted(old))
    if n == 0:
        return "no row satisfies the premise"
    asked, wanted = _asked(old.share, n), _asked(new.share, n)
    text = f"of {n} rows OLD asks for {asked}, NEW for {wanted}"
    if asked == wanted and refuting(old.share, n) != refuting(new.share, n):
        text += "; fewer are violations to the one and left open by the other"
    return text


def _asked(share: Share, n: int) -> str:
    counts = enough(share, n)
    if not counts:
        return "more than there are"
    return f"at least {counts.start}" if share.op in (">", ">=") else f"at most {counts.stop - 1}"


def _at_least_as_strict(asked: Share, wanted: Share) -> bool:
    """Does `asked` imply `wanted`, for one and the same count? A confidence of at least 1/2 only asks for more: the
    Clopper–Pearson bound is then on the safe side of the share itself."""
    if asked.op[0] != wanted.op[0]:
        return False
    more = asked.level - wanted.level if asked.op[0] == ">" else wanted.level - asked.level
    if more < 0 or (more == 0 and len(wanted.op) < len(asked.op)):
        return False
    if wanted.confidence is None:
        return asked.confidence is None or asked.confidence >= Fraction(1, 2)
    return asked.confidence is not None and asked.confidence >= wanted.confidence


def _only(these: range, those: range) -> range:
    """The counts that are enough for the one and not for the other: one run of them, as both start or end at an end."""
    if not those:
        return these
    if those.start == 0:
        return range(max(these.start, those.stop), these.stop)
    return range(these.start, min(these.stop, those.start))


# ── rows ───────────────────────────────────────────────────────────────────────────────────────
def _moves_with_rewards(part: Aligned) -> bool:
    return any(isinstance(t, Call | Statistic) for t in subterms(part.own.premise))


def _counted(part: Aligned) -> list[int]:
    """The rows that satisfy the premise, by their numbers."""
    own = part.own
    assert own.instances is not None
    points = np.zeros((len(own.instances.anchors), len(own.variables)))
    for variable, column in own.instances.fixed:
        points[:, variable] = own.instances.anchors[:, column]
    holds = truth_of_rows(And((own.structure, own.assume, own.premise)), points)
    return [int(row) for row in np.flatnonzero(holds)]


def _values(part: Aligned, row: int) -> Values:
    """The variables at a row, exactly."""
    assert part.rows is not None
    anchor = anchor_of(part, row)
    known = {variable: anchor[key] for variable, key in part.rows.fixed}
    return tuple(known.get(k, ZERO) for k in range(len(part.variables)))


# ── a reward with a count in between ───────────────────────────────────────────────────────────
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
        plain = replace(part.as_obligation(), structure=TRUE, assume=TRUE, premise=TRUE)
        reading = read(plain, self.reward, None, self.context, [self.number(x) for x in values])
        self.add(reading.definitions)
        self.constants.update(reading.free_constants)
        return reading.conclusion


def _between(question: _Question, counted: Sequence[int], counts: range) -> Shares:
    """Rewards under which a number of the rows that are counted, one of `counts`, satisfies q."""
    looked = "; no reward that satisfies a number of rows in between was found"
    if len(counted) > ROWS:
        return Shares("unknown", reason=f"rewards that satisfy a share of more than {ROWS} rows are not looked for")
    rows = [(row, _values(question.refusing, row)) for row in counted]
    room = _Table(question.budget.rlimit)
    often = Counter(values for _, values in rows)
    try:
        holds = {values: room.satisfied(question.refusing, values) for values in often}
    except Unsupported as error:
        return Shares("unknown", reason=error.message + looked)
    for facts, all_of_them in _attempts(holds, often, counts):
        solver = room.solver(facts)
        answer = str(solver.check())
        if answer == "unsat" and all_of_them:
            return Shares("proved", reason="no reward satisfies such a number of these rows as would tell them apart")
        if answer == "sat":
            world = _world(question, room, solver.model())
            counting = None if world is None else _judged(question, world, rows)
            if counting is not None:
                return Shares("refuted", counting)
    return Shares("unknown", reason=f"they ask for different numbers of rows{looked}")


def _attempts(
    holds: Mapping[Values, Z3Formula], often: Mapping[Values, int], counts: range
) -> Iterator[tuple[list[Z3Formula], bool]]:
    """What to ask of the rows, and whether that is all there is: first that q holds of them in order, as many as it
    takes, which is quick; then, where they are few, of any."""
    chosen: list[Z3Formula] = []
    count = 0
    for values, formula in holds.items():
        if count < counts.start and count + often[values] < counts.stop:
            count += often[values]
            chosen.append(formula)
        else:
            chosen.append(z3.Not(formula))
    if count in counts:
        yield chosen, False
    if len(holds) <= CHOSEN:
        total = z3.Sum([z3.If(formula, often[values], 0) for values, formula in holds.items()])
        yield [total >= counts.start, total < counts.stop], True


def _world(question: _Question, room: _Table, model: Z3Term) -> World | None:
    """The rewards of a model: 0 but at records of the rows that are worth something else."""
    found: dict[str, list[tuple[Record, Fraction]]] = {name: [] for name, _ in room.worth}
    for (name, record), term in room.worth.items():
        exact = fraction(model.eval(term, model_completion=True))
        if exact is None:
            return None
        if exact:
            found[name].append((record, exact))
    rewards = {name: TableReward(ZERO, (), tuple(exceptions)) for name, exceptions in found.items()}
    for constant in room.constants:
        rewards.setdefault(constant.reward, TableReward(ZERO))
    return World(rewards, question.data)


def _judged(question: _Question, world: World, rows: Sequence[tuple[int, Values]]) -> Counting | None:
    """The rows under these rewards, judged exactly as both specs wrote the rule: None unless one accepts them and the
    other does not."""
    try:
        here = [concludes(question.refusing, values, world, question.frame) for _, values in rows]
        there = [concludes(question.accepting, values, world, question.frame) for _, values in rows]
    except (Unsupported, KeyError, ZeroDivisionError):
        return None  # irrational, or data that was not read
    accepting, refusing = question.accepting.share, question.refusing.share
    assert accepting is not None
    assert refusing is not None
    verdict = judged(refusing, sum(here), len(rows))
    if here != there or judged(accepting, sum(here), len(rows)) != "proved" or verdict == "proved":
        return None
    counted = tuple(CountedRow(row, values, so) for (row, values), so in zip(rows, here, strict=True))
    return Counting(question.refusing, world, counted, verdict)
