"""Moves that bring points to where a formula holds: how a search for points of a narrow premise mends its misses.

Hints only, in float64: whoever calls them judges the result exactly. A failing atom is mended by moving one variable,
or several in proportion to slope and range, to where it holds if it is affine there; `towards` draws points to a
place that is known, or hoped, to be good.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.evaluate import truth_of_rows
from rewarden.spec_lang.obligation import (
    And,
    Atom,
    Call,
    Const,
    Formula,
    Ite,
    Max,
    Min,
    Or,
    Product,
    Quotient,
    Sqrt,
    Statistic,
    Sum,
    Term,
    Var,
)
from rewarden.spec_lang.sampling.boxes import Box
from rewarden.spec_lang.sampling.row_truth import Mask, Rows, RowTruth
from rewarden.spec_lang.term_walk import variables_of

_TOGETHER = 16  # variables moved at once, at most


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A formula with what mending it needs, part by part."""

    formula: Formula
    truth: RowTruth
    variables: tuple[int, ...]  # of an atom
    parts: tuple[Plan, ...]

    @staticmethod
    def of(formula: Formula, width: int) -> Plan:
        truth = RowTruth(formula, width)
        if isinstance(formula, Atom):
            return Plan(formula, truth, tuple(sorted(variables_of(formula))), ())
        return Plan(formula, truth, (), tuple(Plan.of(part, width) for part in formula.parts))


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """`movable`: the variables that may be moved."""

    box: Box
    movable: Mask
    generator: np.random.Generator

    def nudged(self, plan: Plan, rows: Rows) -> Rows:
        """Each row with its failing atoms mended one after the other, as far as moving a few variables mends them."""
        rows = rows.copy()
        match plan.formula:
            case And():
                for part in plan.parts:
                    failing = ~part.truth(rows)
                    if failing.any():
                        rows[failing] = self.nudged(part, rows[failing])
            case Or() if plan.parts:
                choice = self.generator.integers(len(plan.parts), size=len(rows))
                for k, part in enumerate(plan.parts):
                    if (choice == k).any():
                        rows[choice == k] = self.nudged(part, rows[choice == k])
            case Atom(term, strict):
                self._mend(term, strict, plan.variables, rows)
        return rows

    def _mend(self, term: Term, strict: bool, variables: tuple[int, ...], rows: Rows) -> None:
        """One random variable of the atom, or several (in place)."""
        box = self.box
        candidates = [k for k in variables if self.movable[k] and box.lo[k] < box.hi[k]]
        if not candidates:
            return
        free = [index for index in candidates if not box.discrete[index]]
        if len(free) > 1 and self.generator.random() < 0.5:
            self._slide(term, rows, self.generator.permutation(free)[:_TOGETHER])
            return
        index = candidates[int(self.generator.integers(len(candidates)))]
        here = float_value(term, rows)
        ahead = rows.copy()
        step = 1.0 if box.discrete[index] else (box.hi[index] - box.lo[index]) * 2.0**-10
        ahead[:, index] += step
        with np.errstate(all="ignore"):
            move = -here / ((float_value(term, ahead) - here) / step)
        if strict or self.generator.random() < 0.5:  # half the time beyond the surface rather than on it
            move *= 1.0 + 2.0**-8 + self.generator.random(len(rows)) * 0.5
        move = np.where(np.isfinite(move), move, 0.0)
        if box.discrete[index]:
            move = np.where(move > 0, np.ceil(move), np.floor(move))
        target = np.clip(rows[:, index] + move, box.lo[index], box.hi[index])
        group = box.group_of.get(index)
        if group is None:
            rows[:, index] = target
            return
        changed = np.flatnonzero(target != rows[:, index])
        others = np.array([member for member in group if member != index] or [index])
        chosen = np.where(target[changed] >= 1, index, others[self.generator.integers(len(others), size=len(changed))])
        rows[np.ix_(changed, np.array(group))] = 0.0
        rows[changed, chosen] = 1.0

    def _slide(self, term: Term, rows: Rows, together: NDArray[np.int64]) -> None:
        """Several variables at once, each in proportion to its slope and range, a little past the surface (in place).

        The least move in range-scaled coordinates if the term is affine there; what one variable cannot mend alone.
        """
        here = float_value(term, rows)
        slopes = np.zeros((len(rows), len(together)))
        width = (self.box.hi - self.box.lo)[together]
        for k, index in enumerate(together):
            ahead = rows.copy()
            ahead[:, index] += width[k] * 2.0**-10
            slopes[:, k] = (float_value(term, ahead) - here) * 2.0**10  # per range
        with np.errstate(all="ignore"):
            move = -here[:, None] * slopes / (slopes**2).sum(axis=1, keepdims=True) * width * (1.0 + 2.0**-8)
        rows[:, together] += np.where(np.isfinite(move), move, 0.0)
        rows[:, together] = np.clip(rows[:, together], self.box.lo[together], self.box.hi[together])


def towards(rows: Rows, target: Rows, share: float | Rows, discrete: Mask) -> Rows:
    """Each row with `share` of its way from the target left; discrete variables take the target's value."""
    left = np.broadcast_to(np.asarray(share, dtype=np.float64), (len(rows),))[:, None]
    return np.where(discrete, target, target + left * (rows - target))


def float_value(term: Term, rows: Rows) -> Rows:
    """The term's value at each row in float64, as a hint only; terms with calls are NaN."""
    match term:
        case Const(constant):
            return np.full(len(rows), float(constant))
        case Var(index):
            return rows[:, index]
        case Sum(terms):
            return sum((float_value(t, rows) for t in terms), np.zeros(len(rows)))
        case Product(left, right):
            return float_value(left, rows) * float_value(right, rows)
        case Quotient(left, right):
            with np.errstate(all="ignore"):
                quotient: Rows = float_value(left, rows) / float_value(right, rows)
            return quotient
        case Min(terms):
            return np.asarray(np.min([float_value(t, rows) for t in terms], axis=0), dtype=np.float64)
        case Max(terms):
            return np.asarray(np.max([float_value(t, rows) for t in terms], axis=0), dtype=np.float64)
        case Ite(condition, then, otherwise):
            chosen = truth_of_rows(condition, rows)
            return np.where(chosen, float_value(then, rows), float_value(otherwise, rows))
        case Sqrt(inner):
            return np.sqrt(np.maximum(float_value(inner, rows), 0.0))
        case Call() | Statistic():
            return np.full(len(rows), np.nan)
