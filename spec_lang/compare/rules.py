"""One rule of OLD and one of NEW: does the one entail the other, and if not, in which situation do they part?

A rule is the set of rewards that satisfy it; OLD entails NEW if NEW's set holds all of OLD's. Equal structure is looked
at first and settles nearly all rules of a pull request. Then instances are compared point by point (`compare_z3`):
enough to prove entailment, not to refute it, which takes a reward (`compare_separate`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice

import numpy as np

from rewarden.spec_lang.compare.align import Aligned, Key, Rows, same
from rewarden.spec_lang.compare.data import Matrix, rows_of
from rewarden.spec_lang.compare.fit import Point
from rewarden.spec_lang.compare.frame import Frame, Side
from rewarden.spec_lang.compare.instances import anchor_of, constants_in
from rewarden.spec_lang.compare.model import Change, Entailment
from rewarden.spec_lang.compare.room import Answer
from rewarden.spec_lang.compare.separate import ROWS, Separation, Task, separate
from rewarden.spec_lang.compare.share_mixed import (
    accepted_by_rows,
    all_or_none,
    asks_all_or_none,
    every_point,
    refused_by_rows,
    why_open,
)
from rewarden.spec_lang.compare.share_rows import Counting, Question, as_share, counted_rows, moves_with_rewards
from rewarden.spec_lang.compare.shares import share_entails
from rewarden.spec_lang.compare.z3 import Budget, Differ, Scope
from rewarden.spec_lang.forms import ZERO
from rewarden.spec_lang.share_counts import enough

TRIED = 2  # data rows near which a difference is looked for
LENGTHS = 3  # of traces, whose instances are looked at together
RECORDS = 120  # of all traces of two rules together, beyond which only their text is compared
MOVED_ROWS = 2_000  # rows that only one rule has, looked for beside those of the other
NEW_ROWS = 16  # rows that only one rule has, looked at one by one


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """What all comparisons share. `domains` gives each side's records by frame type."""

    frame: Frame
    data: Mapping[str, Matrix]
    domains: Mapping[Side, Mapping[str, Aligned]]
    budget: Budget


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Whether one rule entails another, and if not, what parts them: at a point, or by a count of rows."""

    status: Entailment
    separation: Separation | None = None
    reason: str = ""
    counting: Counting | None = None
    only_outside: bool = False  # on records that both specs speak of, the one does entail the other


def equal_text(a: Sequence[Aligned], b: Sequence[Aligned]) -> bool:
    return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))


def verdict(old_implies_new: Entailment, new_implies_old: Entailment) -> Change:
    """What the two directions come to."""
    match old_implies_new, new_implies_old:
        case "proved", "proved":
            return "equal"
        case "proved", "refuted":
            return "weaker"
        case "refuted", "proved":
            return "stronger"
        case "refuted", "refuted":
            return "disjoint"
        case "proved", _:
            return "weaker_or_equal"
        case _, "proved":
            return "stronger_or_equal"
        case _:
            return "undecided"


def entails(setting: Setting, strong: Sequence[Aligned], weak: Sequence[Aligned], *, refute: bool = True) -> Found:
    """Does every reward that satisfies all of `strong` satisfy all of `weak`? Without `refute`, only a proof is
    looked for."""
    if any(part.share is not None for part in (*strong, *weak)):
        return _shares(setting, strong, weak, refute=refute)
    if sum(len(part.records) for part in (*strong, *weak)) > RECORDS:
        return _by_text(strong, weak)
    task = Task(setting.frame, setting.data, weak, strong, setting.budget)
    differ = Differ(setting.frame, setting.data, setting.budget)
    left: list[tuple[Aligned, Answer]] = []
    for part in weak:
        if not any(same(part, other) for other in strong):
            answer = _proof(differ, _of_like_length(part, strong), part)
            if answer.status != "unsat":
                left.append((part, answer))
    closer = [(part, answer, _grounded(differ, strong, part)) for part, answer in left]
    left = [
        (part, near if near.values is not None else answer) for part, answer, near in closer if near.status != "unsat"
    ]
    if not left:
        return Found("proved")
    for part, answer, effort in _efforts(left, setting.budget.points) if refute else ():
        points = _points(setting, differ, _of_like_length(part, strong), part, answer)
        for point in islice(points, effort):
            found = separate(task, point, thorough=effort > 1 or len(left) == 1)
            if found == "impossible":
                return Found("proved", reason=f"no reward satisfies the rule of {strong[0].side.upper()}")
            if isinstance(found, Separation):
                return Found("refuted", found, only_outside=_only_outside(setting, differ, strong, weak))
    about_rows = [all(part.own.over_rows for part in parts) for parts in (strong, weak) if parts]
    if all(about_rows) or (refute and any(about_rows)):
        return _shares(setting, strong, weak, refute=refute)
    part, answer = left[0]
    return Found("unknown", reason=_reason(setting, answer, (*strong, part)))


def _grounded(differ: Differ, strong: Sequence[Aligned], part: Aligned) -> Answer:
    """Does the rule follow by what its data constants come from, or by every record of a type that has few? Else a
    point that this does not exclude."""
    every = (part, *strong)
    known = any(constants_in(one) for one in every)
    if any(one.rows is not None for one in every):
        return _grounded_near(differ, strong, part) if known else Answer("unknown")
    if not known and not all(v.discrete for one in every for v in one.variables):
        return Answer("unknown")
    return differ.ask(part, _of_like_length(part, strong), Scope(grounded=True))


def _grounded_near(differ: Differ, strong: Sequence[Aligned], part: Aligned) -> Answer:
    """The same of rules near data, row by row of the part's, where these are few."""
    rows: list[int | None] = [None] if part.rows is None else list(range(len(part.rows.values)))
    if len(strong) > 1 or len(rows) > NEW_ROWS:
        return Answer("unknown")
    for row in rows:
        if differ.ask(part, strong, Scope(row, _rows_near(part, strong, row), grounded=True)).status != "unsat":
            return Answer("unknown")
    return Answer("unsat")


def _efforts(left: Sequence[tuple[Aligned, Answer]], points: int) -> Iterator[tuple[Aligned, Answer, int]]:
    """What is tried, at how many points: with several lengths of traces each of them lightly, then some in earnest."""
    if len(left) > 1:
        yield from ((part, answer, 1) for part, answer in reversed(left))
    some = left if len(left) <= LENGTHS else [left[0], left[len(left) // 2], left[-1]]
    yield from ((part, answer, points) for part, answer in some)


def _by_text(strong: Sequence[Aligned], weak: Sequence[Aligned]) -> Found:
    if all(any(same(part, other) for other in strong) for part in weak):
        return Found("proved")
    return Found("unknown", reason="traces of so many steps are compared by what their rules say")


def _only_outside(setting: Setting, differ: Differ, strong: Sequence[Aligned], weak: Sequence[Aligned]) -> bool:
    """Would the strong rule entail the weak one if there were no records but those of its own spec?"""
    if any(part.rows is not None for part in (*strong, *weak)):
        return False
    scope = Scope(inside=setting.domains[strong[0].side])
    return all(differ.ask(part, strong, scope).status == "unsat" for part in weak)


def _of_like_length(part: Aligned, strong: Sequence[Aligned]) -> list[Aligned]:
    """Of a rule about traces of several lengths, the few obligations of the nearest lengths."""
    return sorted(strong, key=lambda s: abs(len(s.records) - len(part.records)))[:LENGTHS]


def _reason(setting: Setting, answer: Answer, parts: Sequence[Aligned]) -> str:
    if answer.status != "sat":
        return answer.reason or "Z3 gave up within its budget of work"
    sources = {c.data for part in parts for c in constants_in(part)}
    sources |= {part.rows.data for part in parts if part.rows is not None}
    if any(" of new" in source for source in sources):
        return "it depends on data that changed"
    if not sources <= setting.data.keys():
        return "it depends on data that could not be read"
    reason = "they differ at single records, but no simple reward was found that tells them apart everywhere"
    return answer.reason or reason


def _proof(differ: Differ, strong: Sequence[Aligned], part: Aligned) -> Answer:
    """`unsat` if the instances of the strong rule at the same records entail those of the part."""
    if len(strong) > 1 and _shared_rows(part, strong[:1]):
        answer = differ.ask(part, strong[:1], Scope())  # traces of the same length nearly always do
        if answer.status == "unsat":
            return answer
    if _shared_rows(part, strong):
        return differ.ask(part, strong, Scope())
    if part.rows is None or any(s.rows is None for s in strong):
        rows = max(len(s.rows.values) for s in strong if s.rows is not None)
        if rows > ROWS:
            return Answer("unknown", reason="what lies near many rows of data is not compared with what does not")
        return differ.ask(part, strong, Scope(strong_rows=tuple(range(rows))))
    return _by_rows(differ, strong, part)


def _shared_rows(part: Aligned, strong: Sequence[Aligned]) -> bool:
    """Is every row of the part's data one of the strong rule's, wherever that is about data?"""
    return all(s.rows is None or (part.rows is not None and not _extra_rows(part, s)) for s in strong)


def _extra_rows(part: Aligned, other: Aligned) -> list[int]:
    """The rows of the one's data that the other's does not have."""
    assert part.rows is not None
    assert other.rows is not None
    if part.rows.data == other.rows.data:
        return []
    if part.rows.keys != other.rows.keys:
        return list(range(len(part.rows.values)))
    here, there = _identities(part.rows, other.rows), _identities(other.rows, part.rows)
    known = set(there)
    return [k for k, row in enumerate(here) if row not in known]


def _identities(rows: Rows, others: Rows) -> list[object]:
    """Each row as a value that can be compared with those of others."""
    if rows.same_units and others.same_units:
        return list(rows_of(rows.values))
    return [tuple(rows.row(row).values()) for row in range(len(rows.values))]


def _by_rows(differ: Differ, strong: Sequence[Aligned], part: Aligned) -> Answer:
    """Common rows as one, whatever they hold; then each further row against all rows of the strong rule."""
    extra = _extra_rows(part, strong[0])
    if len(strong) == 1 and _covered(part, strong[0], extra):
        return Answer("unsat")
    if len(strong) > 1 or len(extra) > NEW_ROWS:
        return Answer("unknown", reason="the data hold other rows")
    for scope in (Scope(), *(Scope(row=row, strong_rows=_rows_near(part, strong, row)) for row in extra)):
        answer = differ.ask(part, strong, scope)
        if answer.status != "unsat":
            return answer
    return Answer("unsat")


def _covered(part: Aligned, strong: Aligned, extra: Sequence[int]) -> bool:
    """Do both say the same of records near their rows, and lies the box around each of these rows of the part in the
    box around some row of the strong rule? The other rows are common, so that their boxes have to be in each other."""
    assert part.rows is not None
    assert strong.rows is not None
    mine, theirs = part.rows, strong.rows
    if (mine.norm, theirs.norm, mine.keys, mine.fixed) != ("linf", "linf", theirs.keys, theirs.fixed):
        return False
    if not same(replace(part, rows=None), replace(strong, rows=None)) or len(extra) > MOVED_ROWS:
        return False
    if [v for v, _, _ in mine.centred] != [v for v, _, _ in theirs.centred]:
        return False
    slack = {a[1]: b[2] - a[2] for a, b in zip(mine.centred, theirs.centred, strict=True)}
    if min(slack.values(), default=ZERO) < 0:
        return False
    return all(
        any(_within(mine.row(row), theirs.row(near), slack) for near in _nearest(mine, theirs, row)) for row in extra
    )


def _nearest(mine: Rows, theirs: Rows, row: int) -> list[int]:
    away = np.abs(theirs.values - mine.values[row]).max(axis=1, initial=0.0)
    return [int(k) for k in np.argsort(away, kind="stable")[:TRIED]]


def _within(here: Mapping[Key, Fraction], there: Mapping[Key, Fraction], slack: Mapping[Key, Fraction]) -> bool:
    return all(abs(x - there[key]) <= slack.get(key, ZERO) for key, x in here.items())


# ── points at which the rules might part ───────────────────────────────────────────────────────
def _points(
    setting: Setting, differ: Differ, strong: Sequence[Aligned], part: Aligned, first: Answer
) -> Iterator[Point]:
    """Points of the part's domain where it fails and the strong rule does not: first those that both specs speak of,
    off the ends of ranges; then any."""
    seen: set[tuple[int | None, tuple[Fraction, ...]]] = set()
    if any(constants_in(one) for one in (part, *strong)) and part.rows is None and first.values is not None:
        seen.add((None, first.values))
        yield Point(part, first.values)
    for scope in _scopes(setting, strong, part):
        answer = differ.ask(part, strong, scope)
        if answer.values is not None and (scope.row, answer.values) not in seen:
            seen.add((scope.row, answer.values))
            yield Point(part, answer.values, {} if scope.row is None else anchor_of(part, scope.row))
    if part.rows is None and first.values is not None and (None, first.values) not in seen:
        yield Point(part, first.values)


def _scopes(setting: Setting, strong: Sequence[Aligned], part: Aligned) -> Iterator[Scope]:
    inside = setting.domains[strong[0].side] if strong else {}
    for row in _rows_to_try(part, strong):
        near = _rows_near(part, strong, row)
        if part.rows is not None and part.rows.norm != "linf":
            for variable in _axes(part, strong):
                yield Scope(row, near, inside, axis=variable)
        yield Scope(row, near, inside, interior=True)
        yield Scope(row, near, inside)
        yield Scope(row, near)


def _axes(part: Aligned, strong: Sequence[Aligned]) -> list[int]:
    """The centred variables along which the part reaches furthest in comparison, the two best."""
    assert part.rows is not None
    theirs = {v: radius for s in strong if s.rows is not None for v, _, radius in s.rows.centred}
    reach = [(variable, radius / theirs.get(variable, radius)) for variable, _, radius in part.rows.centred]
    return [variable for variable, _ in sorted(reach, key=lambda r: -r[1])[:2]]


def _rows_to_try(part: Aligned, strong: Sequence[Aligned]) -> list[int | None]:
    if part.rows is None:
        return [None]
    about_data = [s for s in strong if s.rows is not None]
    extra = _extra_rows(part, about_data[0]) if about_data else []
    order: list[int | None] = [*extra[:TRIED], *range(min(TRIED, len(part.rows.values)))]
    return list(dict.fromkeys(order))


def _rows_near(part: Aligned, strong: Sequence[Aligned], row: int | None) -> tuple[int, ...] | None:
    """Rows of the strong rule whose neighbourhood meets that of the part's row, as far as there are few."""
    about_data = [s.rows for s in strong if s.rows is not None]
    if not about_data:
        return None
    theirs = about_data[0]
    if row is None or part.rows is None or part.rows.keys != theirs.keys:
        return tuple(range(min(ROWS, len(theirs.values))))
    reach = np.zeros(len(theirs.keys))
    for rows in (part.rows, theirs):
        for _, key, radius in rows.centred:
            reach[rows.keys.index(key)] += float(radius) * (1 + 1e-9) + 1e-12
    meets = (np.abs(theirs.values - part.rows.values[row]) <= reach).all(axis=1)
    return tuple(int(k) for k in np.flatnonzero(meets)[:ROWS])


# ── shares ─────────────────────────────────────────────────────────────────────────────────────
def _shares(setting: Setting, strong: Sequence[Aligned], weak: Sequence[Aligned], *, refute: bool) -> Found:
    """Rules about rows of data, all or a share of them, are compared by the counts."""
    match strong, weak:
        case [Aligned() as a], [Aligned() as b]:
            asked, wanted = as_share(a), as_share(b)
            if asked is not None and wanted is not None:
                found = share_entails(setting.frame, setting.data, setting.budget, asked, wanted, refute=refute)
                return Found(found.status, reason=found.reason, counting=found.counting)
    return _rows_and_others(setting, strong, weak, refute=refute)


def _rows_and_others(setting: Setting, strong: Sequence[Aligned], weak: Sequence[Aligned], *, refute: bool) -> Found:
    """A rule about rows, and one about other records (`share_mixed`)."""
    about = [[as_share(part) for part in parts] for parts in (strong, weak)]
    match about:
        case [[Aligned() as counting], [*others]] if not any(others):
            return _from_rows(setting, counting, weak, refute=refute)
        case [[*others], [Aligned() as counting]] if not any(others):
            return _to_rows(setting, strong, counting, refute=refute)
    return Found("unknown", reason="rules about several kinds of rows at once are not compared")


def _from_rows(setting: Setting, strong: Aligned, weak: Sequence[Aligned], *, refute: bool) -> Found:
    """Does what a rule says of rows entail one about other records?"""
    question = Question(setting.frame, setting.data, setting.budget, strong, weak[0])
    assert strong.share is not None
    if not moves_with_rewards(strong):
        rows = counted_rows(strong)
        if rows and not enough(strong.share, len(rows)):
            return Found("proved", reason=f"no reward satisfies the rule of {strong.side.upper()}")
    plain = asks_all_or_none(strong)
    for premises in ([], [plain]) if plain is not None else ([],):
        if entails(setting, premises, weak, refute=False).status == "proved":
            return Found("proved")
    differ = Differ(setting.frame, setting.data, setting.budget)
    nowhere = refute
    for part in weak if refute else ():
        every = every_point(part)
        some = _points(setting, differ, [], part, differ.ask(part, [], Scope()))
        points = every or islice(some, setting.budget.points)
        found = accepted_by_rows(question, points, weak, every=bool(every))
        if isinstance(found, Separation):
            return Found("refuted", found)
        nowhere = nowhere and found == "impossible"
    if nowhere:
        return Found("proved")
    return Found("unknown", reason=why_open(strong))


def _to_rows(setting: Setting, strong: Sequence[Aligned], weak: Aligned, *, refute: bool) -> Found:
    """Does a rule about other records entail what another says of rows?"""
    question = Question(setting.frame, setting.data, setting.budget, strong[0], weak)
    assert weak.share is not None
    if not moves_with_rewards(weak):
        n = len(counted_rows(weak))
        if n == 0 or enough(weak.share, n) == range(n + 1):
            return Found("proved")
    for plain in all_or_none(weak):
        if entails(setting, strong, [plain], refute=False).status == "proved":
            return Found("proved")
    found = refused_by_rows(question, strong) if refute else None
    if found == "impossible":
        return Found("proved")
    if isinstance(found, Counting):
        return Found("refuted", counting=found)
    return Found("unknown", reason=why_open(weak))
