"""A rule about a share of rows, and two of them as a question: which rows count, and whether a count is enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np

from rewarden.spec_lang.compare.align import Aligned, same, same_rows
from rewarden.spec_lang.compare.data import Matrix, rows_of
from rewarden.spec_lang.compare.frame import Frame
from rewarden.spec_lang.compare.instances import anchor_of
from rewarden.spec_lang.compare.reward import World
from rewarden.spec_lang.compare.share_tables import (
    Tally,
)
from rewarden.spec_lang.compare.terms import subterms
from rewarden.spec_lang.compare.z3 import Budget
from rewarden.spec_lang.evaluate import truth_of_rows
from rewarden.spec_lang.forms import ONE, ZERO
from rewarden.spec_lang.obligation import And, Call, Share, Statistic
from rewarden.spec_lang.share_counts import CountVerdict, enough, judged
from rewarden.spec_lang.term_walk import variables_of

Values = tuple[Fraction, ...]  # of a rule's variables, in the frame's columns

SHOWN = 16  # rows that satisfy what is counted, and that do not, which a situation lists


@dataclass(frozen=True, slots=True, eq=False)
class CountedRow:
    """A row of the data, from 0, the variables there, exactly, and whether it satisfies q under the rewards found."""

    row: int
    values: Values
    satisfied: bool


@dataclass(frozen=True, slots=True, eq=False)
class Counting:
    """Rewards under which of the rows that are counted so many satisfy q (`tally`), which is refused as `verdict`,
    while the other rule accepts them: it counts `accepted`. `rows` are the first few that do, and that do not."""

    refusing: Aligned
    world: World
    rows: tuple[CountedRow, ...]
    verdict: CountVerdict
    tally: Tally
    accepted: Tally


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """Does the one rule entail the other? If not, the rewards that show it."""

    status: Literal["proved", "refuted", "unknown"]
    counting: Counting | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    frame: Frame
    data: Mapping[str, Matrix]
    budget: Budget
    accepting: Aligned
    refusing: Aligned

    def accepts(self, part: Aligned, tally: Tally) -> bool:
        """Is such a count enough for the rule?"""
        assert part.share is not None
        satisfied, counted = tally
        return counted == 0 or judged(part.share, satisfied, counted) == "proved"

    def missing(self, tallies: tuple[Tally, Tally]) -> int:
        """How many rows are wanting until the one rule accepts its count and the other does not."""
        return _short(self.accepting, tallies[0]) + _surplus(self.refusing, tallies[1])

    def parts_them(self, tallies: tuple[Tally, Tally]) -> tuple[bool, bool]:
        """Whether the accepting rule accepts these counts of its own, and the refusing one those of its own."""
        return self.accepts(self.accepting, tallies[0]), self.accepts(self.refusing, tallies[1])


def _short(part: Aligned, tally: Tally) -> int:
    """Rows until the count is enough; more than there are if none is."""
    assert part.share is not None
    satisfied, n = tally
    counts = enough(part.share, n) if n else range(1)
    if not counts:
        return n + 1
    return max(counts.start - satisfied, satisfied - counts.stop + 1, 0)


def _surplus(part: Aligned, tally: Tally) -> int:
    """Rows until the count is not enough; more than there are if every one is."""
    assert part.share is not None
    satisfied, n = tally
    counts = enough(part.share, n) if n else range(1)
    if satisfied not in counts:
        return 0
    if len(counts) == n + 1:
        return n + 1
    return satisfied - counts.start + 1 if counts.start else counts.stop - satisfied


def same_count(a: Aligned, b: Aligned) -> bool:
    """Do both count the same thing over the same rows?"""
    return a.share is not None and b.share is not None and same(replace(a, share=None), replace(b, share=None))


def same_data(a: Aligned, b: Aligned) -> bool:
    """Are both about the same rows?"""
    return a.rows is not None and same_rows(a.rows, b.rows)


def as_share(part: Aligned) -> Aligned | None:
    """A rule about a share of rows, or about all of them: a share of 1. None of any other rule."""
    if not part.own.over_rows:
        return None
    return part if part.share is not None else replace(part, share=Share(">=", ONE, None))


def moves_with_rewards(part: Aligned) -> bool:
    return any(isinstance(t, Call | Statistic) for t in subterms(part.own.premise))


def counted_rows(part: Aligned) -> list[int]:
    """The rows that satisfy the premise, by their numbers."""
    own = part.own
    speaks = And((own.structure, own.assume, own.premise))
    holds = truth_of_rows(speaks, own_points(part, variables_of(speaks)))
    return [int(row) for row in np.flatnonzero(holds)]


def different_rows(part: Aligned, rows: list[int]) -> dict[int, int]:
    """Of rows with the same variables the first, and how often they are."""
    assert part.rows is not None
    keys = [part.rows.keys.index(key) for key in dict.fromkeys(key for _, key in part.rows.fixed)]
    first: dict[bytes, int] = {}
    numbers = [first.setdefault(row, k) for row, k in zip(rows_of(part.rows.own[rows][:, keys]), rows, strict=True)]
    return dict(Counter(numbers))


def own_points(part: Aligned, read: Set[int] | None = None) -> Matrix:
    """The own variables at every row: float64 [row, variable]; of some only, where no others are read."""
    own = part.own
    assert own.instances is not None
    points = np.zeros((len(own.instances.anchors), len(own.variables)))
    fixed = [(v, column) for v, column in own.instances.fixed if read is None or v in read]
    points[:, [v for v, _ in fixed]] = own.instances.anchors[:, [column for _, column in fixed]]
    return points


def values_at_row(part: Aligned, row: int) -> Values:
    """The variables at a row, exactly."""
    assert part.rows is not None
    anchor = anchor_of(part, row)
    known = {variable: anchor[key] for variable, key in part.rows.fixed}
    return tuple(known.get(k, ZERO) for k in range(len(part.variables)))
