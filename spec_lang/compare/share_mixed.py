"""A rule about rows of data, a share of them or all, and a rule that is about other records.

To satisfy a count, rewards have to be chosen at finitely many records, the rows'. So where the rule about rows is to be
satisfied, nothing else need be looked at; where it is to fail, the other rule has to hold everywhere, which is asked of
candidates as always (`separate`). It follows from the other rule if every row satisfies what is counted by that rule
alone (or none does, where few are enough).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import islice, product
from math import prod
from typing import Literal

from rewarden.spec_lang.compare.align import Aligned
from rewarden.spec_lang.compare.fit import Form, Point, RowCount, fit, impossible
from rewarden.spec_lang.compare.instances import called_at, speaks_of, violated
from rewarden.spec_lang.compare.reward import Record
from rewarden.spec_lang.compare.separate import Separation, Task, failing, instances, shapes
from rewarden.spec_lang.compare.share_rewards import judged_one
from rewarden.spec_lang.compare.share_rows import (
    Counting,
    Question,
    counted_rows,
    different_rows,
    moves_with_rewards,
    values_at_row,
)
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.forms import ONE
from rewarden.spec_lang.formulas import negate
from rewarden.spec_lang.share_counts import enough

ROWS = 200  # different rows at whose records rewards are chosen
AT_ROWS = 24  # different rows at which the other rule is looked at from the start
POINTS = 64  # of a rule about whole numbers, each of which is looked at
ROUNDS = 16  # in which a reward is tried again
SHAPES = 6


def all_or_none(part: Aligned) -> Iterator[Aligned]:
    """The rule without its share: that every row satisfies it (or none), where that is enough. Of rows that are not
    known beforehand it is enough for any number of them."""
    share = part.share
    assert share is not None
    if moves_with_rewards(part):
        sizes: Iterable[range] = () if share.confidence is not None else (enough(share, 1),)
        n = 1
    else:
        n = len(counted_rows(part))
        sizes = (enough(share, n),)
    plain = replace(part, share=None, own=replace(part.own, share=None))
    for counts in sizes:
        if n in counts:
            yield plain
        if 0 in counts:
            yield _negated(plain)


def asks_all_or_none(part: Aligned) -> Aligned | None:
    """The same rule without a share, if it asks that every row satisfies it, or none."""
    share = part.share
    assert share is not None
    plain = replace(part, share=None, own=replace(part.own, share=None))
    if (share.op, share.level, share.confidence) == (">=", ONE, None):
        return plain
    if moves_with_rewards(part):
        return None
    n = len(counted_rows(part))
    counts = enough(share, n) if n else range(0)
    if counts == range(n, n + 1):
        return plain
    return _negated(plain) if counts == range(1) else None


def _negated(plain: Aligned) -> Aligned:
    own = plain.own
    conclusion = negate(own.conclusion, frozenset()), negate(plain.conclusion, frozenset())
    return replace(plain, own=replace(own, conclusion=conclusion[0]), conclusion=conclusion[1])


def every_point(part: Aligned) -> list[Point]:
    """All points that a rule speaks of, where its numbers are whole and there are few; else none."""
    spans = [(v.lo, int(v.hi - v.lo) + 1 if v.discrete else POINTS + 1) for v in part.variables]
    if part.rows is not None or prod(count for _, count in spans) > POINTS:
        return []
    choices = product(*([lo + k for k in range(count)] for lo, count in spans))
    return [Point(part, values) for values in choices if speaks_of(part, values)]


# ── rewards that the rule about rows refuses ───────────────────────────────────────────────────
def refused_by_rows(question: Question, strong: Sequence[Aligned]) -> Counting | Literal["impossible"] | None:
    """Rewards that satisfy the other rule, but not the count; "impossible" where no reward does by what the other rule
    says of the rows' records."""
    weak = question.refusing
    refused = _row_count(weak)
    if refused is None:
        return None
    task = Task(question.frame, question.data, (weak,), strong, question.budget)
    try:
        respected = [point for part in strong for point in every_point(part)]
        for values in islice(refused.rows, AT_ROWS):
            respected += [p for p in instances(task, weak, values) if not any(p == known for known in respected)]
        if impossible(task.data, respected, task.budget, refused):
            return "impossible"
        for shape in islice(_shapes(task, refused), SHAPES):
            for _ in range(ROUNDS):
                world = fit(task.data, shape, refused, respected, task.budget)
                if world is None:
                    break
                where = failing(task, world)
                if where is None:
                    counting = judged_one(question, world)
                    if counting is not None:
                        return counting
                    break
                if not isinstance(where, Point) or any(where == p for p in respected):
                    break
                respected.append(where)
    except (Unsupported, KeyError, ZeroDivisionError):
        return None
    return None


# ── rewards that it accepts ────────────────────────────────────────────────────────────────────
def accepted_by_rows(
    question: Question, points: Iterable[Point], weak: Sequence[Aligned], *, every: bool
) -> Separation | Literal["impossible"] | None:
    """Rewards that satisfy the count, and a point at which the other rule is violated; "impossible" where no rewards
    satisfy the count, or (where they are `every` point that there is) none violate the other rule."""
    strong = question.accepting
    accepted = _row_count(strong)
    if accepted is None:
        return None
    task = Task(question.frame, question.data, weak, (strong,), question.budget)
    try:
        if impossible(task.data, [accepted], task.budget):
            return "impossible"
        none_here = True
        for point in points:
            if impossible(task.data, [accepted], task.budget, point):
                continue
            none_here = False
            for shape in islice(_shapes(task, accepted), SHAPES):
                world = fit(task.data, shape, point, [accepted], task.budget)
                if world is None or not violated(point.rule, point.values, world, task.frame):
                    continue
                if judged_one(question, world, accepting=True) is not None:
                    return Separation(point, world)
        return "impossible" if every and none_here else None
    except (Unsupported, KeyError, ZeroDivisionError):
        return None


def why_open(part: Aligned) -> str:
    """What to say of a rule about rows where no rewards were found."""
    assert part.rows is not None
    if len(different_rows(part, list(range(len(part.rows.values))))) > ROWS:
        return f"against a rule about other records up to {ROWS} different rows are looked at, and there are more"
    return "no rewards were found that the one accepts and the other does not"


def _row_count(part: Aligned) -> RowCount | None:
    """None of too many rows, or where a confidence meets rows of which the number is not known."""
    share = part.share
    assert share is not None
    moves = moves_with_rewards(part)
    if moves and share.confidence is not None:
        return None
    assert part.rows is not None
    rows = different_rows(part, list(range(len(part.rows.values))) if moves else counted_rows(part))
    if len(rows) > ROWS:
        return None
    often: Counter[tuple[Fraction, ...]] = Counter()
    for row, n in rows.items():
        often[values_at_row(part, row)] += n
    counts = None if moves else enough(share, sum(rows.values())) if rows else range(1)
    return RowCount(part, often, counts)


def _shapes(task: Task, count: RowCount) -> Iterator[dict[str, Form]]:
    """The usual ones, with values of their own at the rows."""
    known: dict[str, list[Record]] = {}
    for values in count.rows:
        for name, record in called_at(count.rule, values):
            known.setdefault(name, []).append(record)
    for shape in shapes(task):
        yield {
            name: replace(form, known=tuple(dict.fromkeys((*form.known, *known.get(name, ())))))
            for name, form in shape.items()
        }
