"""How often a candidate holds, counted exactly.

Rewards are enclosed in float64 with every rounding accounted for, and comparisons that this cannot decide are made in
rational arithmetic, up to a number of evaluations; what is left then is counted as undecided, never as held.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.enclosure import enclose
from rewarden.reward.exact import evaluate
from rewarden.reward.statistics import statistic as exact_statistic
from rewarden.spec_lang import Spec
from rewarden.spec_lang.evaluate import truth
from rewarden.spec_lang.obligation import (
    And,
    Atom,
    Call,
    Const,
    Formula,
    Max,
    Min,
    Obligation,
    Or,
    Product,
    Statistic,
    Sum,
    Term,
    Var,
)
from rewarden.suggest.scene import Rows

EXACT = 4000  # exact evaluations of a reward for one candidate, at most


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Of `count` points `held` satisfy the conclusion and `undecided` could not be told. `worst` is the smallest margin
    (negative: by how much it fails), a hint, at the point number `at`."""

    count: int
    held: int
    undecided: int = 0
    worst: float = 0.0
    at: int | None = None

    @property
    def everywhere(self) -> bool:
        return self.count > 0 and self.held == self.count


class _OutOfPatienceError(Exception):
    """Internal: more exact evaluations than are worth it."""


def tally(obligation: Obligation, points: Rows, spec: Spec, rewards: Mapping[str, Artifact]) -> Tally:
    """Count the points (float64 [n, variables]) at which the conclusion is exactly true. Points are taken to satisfy
    the premise."""
    if not len(points):
        return Tally(0, 0)
    counting = _Counting(points, spec, rewards)
    with np.errstate(all="ignore"):
        decided, margin = counting.formula(obligation.conclusion)
    held, undecided = int((decided > 0).sum()), 0
    for row in np.flatnonzero(decided == 0):
        values = [Fraction(float(v)) for v in points[row]]
        try:
            held += truth(obligation.conclusion, values, counting.exact_call, counting.exact_statistic)
        except _OutOfPatienceError:
            undecided += 1
    at = int(margin.argmin())
    return Tally(len(points), held, undecided, float(margin[at]), at)


class _Counting:
    """The readings of one candidate's terms; it remembers exact values, so it is mutable."""

    def __init__(self, points: Rows, spec: Spec, rewards: Mapping[str, Artifact]) -> None:
        self.points, self.spec, self.rewards = points, spec, rewards
        self.known: dict[tuple[str, tuple[Fraction, ...]], Fraction] = {}
        self.constants: dict[Statistic, Fraction] = {}

    # ── exactly ────────────────────────────────────────────────────────────────────────────────
    def exact_call(self, reward: str, arguments: tuple[Fraction, ...]) -> Fraction:
        key = (reward, arguments)
        if key not in self.known:
            if len(self.known) >= EXACT or self.rewards[reward].smooth:  # these have no rational values
                raise _OutOfPatienceError
            self.known[key] = evaluate(self.rewards[reward], arguments)
        return self.known[key]

    def exact_statistic(self, constant: Statistic) -> Fraction:
        if constant not in self.constants:
            rows = self.spec.rows(constant.data).values
            artifact = self.rewards[constant.reward]
            self.constants[constant] = exact_statistic(artifact, rows, constant.kind, constant.level)
        return self.constants[constant]

    # ── in float64, rounded outward ────────────────────────────────────────────────────────────
    def formula(self, formula: Formula) -> tuple[NDArray[np.int8], Rows]:
        """Per point 1, -1 or 0 (cannot tell), and the margin."""
        match formula:
            case Atom(term, strict):
                low, high = self.term(term)
                sure = low > 0 if strict else low >= 0
                never = high <= 0 if strict else high < 0
                margin = np.nan_to_num(low / 2 + high / 2, nan=0.0)
                return sure.astype(np.int8) - never.astype(np.int8), margin
            case And(parts) | Or(parts):
                pick = np.minimum if isinstance(formula, And) else np.maximum
                empty = 1 if isinstance(formula, And) else -1
                verdict = np.full(len(self.points), empty, np.int8)
                margin = np.full(len(self.points), np.inf * empty)
                for part in parts:
                    told, how_far = self.formula(part)
                    verdict, margin = pick(verdict, told), pick(margin, how_far)
                return verdict, margin

    def term(self, term: Term) -> tuple[Rows, Rows]:
        """Bounds of the term at every point."""
        n = len(self.points)
        match term:
            case Const(value):
                return self._around(value)
            case Var(index):
                return self.points[:, index], self.points[:, index]
            case Sum(terms):
                low, high = np.zeros(n), np.zeros(n)
                for part in terms:
                    a, b = self.term(part)
                    low, high = np.nextafter(low + a, -np.inf), np.nextafter(high + b, np.inf)
                return low, high
            case Product(left, right):
                (a, b), (c, d) = self.term(left), self.term(right)
                corners = np.stack([a * c, a * d, b * c, b * d])
                return np.nextafter(corners.min(axis=0), -np.inf), np.nextafter(corners.max(axis=0), np.inf)
            case Min(terms) | Max(terms):
                pick = np.minimum if isinstance(term, Min) else np.maximum
                parts = [self.term(part) for part in terms]
                return pick.reduce([low for low, _ in parts]), pick.reduce([high for _, high in parts])
            case Call(reward, arguments) if all(isinstance(a, Var) for a in arguments):
                columns = [a.index for a in arguments if isinstance(a, Var)]
                return enclose(self.rewards[reward], self.points[:, columns])
            case Statistic():
                return self._around(self.exact_statistic(term))
            case _:
                return np.full(n, -np.inf), np.full(n, np.inf)  # left to exact arithmetic

    def _around(self, value: Fraction) -> tuple[Rows, Rows]:
        nearest = float(value)
        low = high = np.full(len(self.points), nearest)
        if Fraction(nearest) != value:
            low, high = np.nextafter(low, -np.inf), np.nextafter(high, np.inf)
        return low, high
