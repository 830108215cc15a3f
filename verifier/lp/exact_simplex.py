"""Linear inequalities over a box, some strict, decided in rational arithmetic: small, slow and obvious.

The dictionary method with Bland's rule, which ends (V. Chvátal, Linear Programming, 1983, chapters 2 and 3). It starts
at a corner with t the largest row there, so that no phase 1 is needed, and lowers t. If it falls below 0, all rows are
negative at once. If it ends above 0, they cannot all be at most 0. If it ends at 0, the strict rows are asked one by
one whether they can be negative where all rows are at most 0; the mean of such points has them all negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from rewarden.spec_lang.claim import Box
from rewarden.verifier.exact_program import Point

ZERO = Fraction(0)


@dataclass(frozen=True, slots=True)
class Inequality:
    """Σ coefficients·x + constant <= 0, or < 0 when strict."""

    coefficients: Point
    constant: Fraction
    strict: bool


class PivotsSpent(Exception):
    """More pivots than were allowed."""


def solution(rows: Sequence[Inequality], box: Box, pivots: int) -> Point | None:
    """A point of `box` at which all hold, or None if there is none. Raises PivotsSpent."""
    if not rows:
        return tuple(lo for lo, _ in box)
    table = _Dictionary(rows, box, pivots)
    while table.top > 0 or (table.top == 0 and any(row.strict for row in rows)):
        if not table.improve(table.TOP, lower=True):
            break
    if table.top > 0:
        return None
    if table.top < 0 or not any(row.strict for row in rows):
        return table.point()
    table.stay_optimal()
    points = []
    for i, row in enumerate(rows):
        if row.strict:
            while table.value(i) == 0:
                if not table.improve(i, lower=False):
                    return None
            points.append(table.point())
    return tuple(sum(column, ZERO) / len(points) for column in zip(*points, strict=True))


class _Dictionary:
    """Basic unknowns as affine functions of the others, all of which are 0 (mutable).

    Unknowns: the slack t − r_i of row i; then x_j − lo_j and hi_j − x_j of each side that has width; then t, which
    alone may be negative and never leaves the basis.
    """

    TOP = -1

    def __init__(self, rows: Sequence[Inequality], box: Box, pivots: int) -> None:
        self.pivots = pivots
        self.box = box
        self.sides = [j for j, (lo, hi) in enumerate(box) if hi > lo]
        count, wide = len(rows), len(self.sides)
        at_corner = [
            row.constant + sum((c * lo for c, (lo, _) in zip(row.coefficients, box, strict=True) if c), ZERO)
            for row in rows
        ]
        slopes = [[row.coefficients[j] for j in self.sides] for row in rows]
        first = max(range(count), key=lambda i: at_corner[i])
        # t = r_first + its slack; the others' slacks are t − r_i. Columns: the sides, then the slack of `first`.
        self.columns = [count + s for s in range(wide)] + [first]
        self.basis: list[int] = []
        self.table: list[list[Fraction]] = []
        for i in range(count):
            if i != first:
                self.basis.append(i)
                differences = [a - b for a, b in zip(slopes[first], slopes[i], strict=True)]
                self.table.append([at_corner[first] - at_corner[i], *differences, Fraction(1)])
        for s, j in enumerate(self.sides):
            self.basis.append(count + wide + s)
            unit = [Fraction(-int(k == s)) for k in range(wide)]
            self.table.append([box[j][1] - box[j][0], *unit, ZERO])
        self.basis.append(self.TOP)
        self.table.append([at_corner[first], *slopes[first], Fraction(1)])
        self.count = count
        self.closed: set[int] = set()  # unknowns that stay 0

    @property
    def top(self) -> Fraction:
        return self.table[-1][0]

    def value(self, unknown: int) -> Fraction:
        return ZERO if unknown in self.columns else self.table[self.basis.index(unknown)][0]

    def point(self) -> Point:
        x = [lo for lo, _ in self.box]
        for s, j in enumerate(self.sides):
            x[j] += self.value(self.count + s)
        return tuple(x)

    def stay_optimal(self) -> None:
        """From now on only where t is what it is now, its least."""
        assert all(c >= 0 for c in self.table[-1][1:])
        self.closed |= {u for u, c in zip(self.columns, self.table[-1][1:], strict=True) if c > 0}

    def improve(self, goal: int, *, lower: bool) -> bool:
        """One pivot that lowers (or raises) unknown `goal`, or changes nothing on the way there; False at the end."""
        free = [(u, p) for p, u in enumerate(self.columns, start=1) if u not in self.closed]
        if goal in self.columns:
            gains = [(u, p) for u, p in free if u == goal and not lower]
        else:
            row = self.table[self.basis.index(goal)]
            gains = [(u, p) for u, p in free if (row[p] < 0 if lower else row[p] > 0)]
        if not gains:
            return False
        self.pivots -= 1
        if self.pivots < 0:
            raise PivotsSpent
        _, entering = min(gains)
        limits = [
            (row[0] / -row[entering], unknown, position)
            for position, (unknown, row) in enumerate(zip(self.basis, self.table, strict=True))
            if unknown != self.TOP and row[entering] < 0
        ]
        self._pivot(min(limits)[2], entering)
        return True

    def _pivot(self, leaving: int, entering: int) -> None:
        old = self.table[leaving]
        factor = -1 / old[entering]
        fresh = [v * factor for v in old]
        fresh[entering] = -factor
        self.table[leaving] = fresh
        for position, row in enumerate(self.table):
            share = row[entering]
            if position == leaving or not share:
                continue
            row[entering] = ZERO
            self.table[position] = [a + share * b if b else a for a, b in zip(row, fresh, strict=True)]
        self.basis[leaving], self.columns[entering - 1] = self.columns[entering - 1], self.basis[leaving]
