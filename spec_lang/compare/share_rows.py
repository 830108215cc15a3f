"""A rule about a share of rows, and two of them as a question: which rows count, and whether a count is enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np

from rewarden.spec_lang.compare.align import Aligned, same
from rewarden.spec_lang.compare.data import Matrix
from rewarden.spec_lang.compare.frame import Frame
from rewarden.spec_lang.compare.instances import anchor_of
from rewarden.spec_lang.compare.reward import World
from rewarden.spec_lang.compare.share_tables import (
    Tally,
)
from rewarden.spec_lang.compare.terms import subterms
from rewarden.spec_lang.compare.z3 import Budget
from rewarden.spec_lang.evaluate import truth_of_rows
from rewarden.spec_lang.forms import ZERO
from rewarden.spec_lang.obligation import And, Call, Statistic
from rewarden.spec_lang.share_counts import CountVerdict, judged

Values = tuple[Fraction, ...]  # of a rule's variables, in the frame's columns


@dataclass(frozen=True, slots=True, eq=False)
class CountedRow:
    """A row of the data, from 0, the variables there, and whether it satisfies q under the rewards found."""

    row: int
    values: Values
    satisfied: bool


@dataclass(frozen=True, slots=True, eq=False)
class Counting:
    """Rewards under which `satisfied` of the rows that are counted satisfy q, which is refused as `verdict`, while the
    other rule accepts them: it counts `accepted`."""

    refusing: Aligned
    world: World
    rows: tuple[CountedRow, ...]
    verdict: CountVerdict
    accepted: Tally

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

    def parts_them(self, tallies: tuple[Tally, Tally]) -> tuple[bool, bool]:
        """Whether the accepting rule accepts these counts of its own, and the refusing one those of its own."""
        return self.accepts(self.accepting, tallies[0]), self.accepts(self.refusing, tallies[1])


def same_count(a: Aligned, b: Aligned) -> bool:
    """Do both count the same thing over the same rows?"""
    return a.share is not None and b.share is not None and same(replace(a, share=None), replace(b, share=None))


def moves_with_rewards(part: Aligned) -> bool:
    return any(isinstance(t, Call | Statistic) for t in subterms(part.own.premise))


def counted_rows(part: Aligned) -> list[int]:
    """The rows that satisfy the premise, by their numbers."""
    own = part.own
    holds = truth_of_rows(And((own.structure, own.assume, own.premise)), own_points(part))
    return [int(row) for row in np.flatnonzero(holds)]


def own_points(part: Aligned) -> Matrix:
    """The own variables at every row: float64 [row, variable]."""
    own = part.own
    assert own.instances is not None
    points = np.zeros((len(own.instances.anchors), len(own.variables)))
    for variable, column in own.instances.fixed:
        points[:, variable] = own.instances.anchors[:, column]
    return points


def values_at_row(part: Aligned, row: int) -> Values:
    """The variables at a row, exactly."""
    assert part.rows is not None
    anchor = anchor_of(part, row)
    known = {variable: anchor[key] for variable, key in part.rows.fixed}
    return tuple(known.get(k, ZERO) for k in range(len(part.variables)))
