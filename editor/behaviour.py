"""Whether an edit can change which behaviour is optimal, shown by two behaviours whose order it turns.

A reward of a state acts on behaviour by its sums along it. Two rewards order all behaviours alike, in every world, just
where one is a positive multiple of the other plus a constant (what a behaviour sums up over n steps are the multisets
of n records; von Neumann and Morgenstern's theorem with whole numbers for chances). An edit that leaves two records
with different rewards as they were, and moves a third, is none of these. So there are behaviours whose order it turns:

    two rows                           one of them visited, or the other: the order of two rewards has turned;
    n visits of x, or j of u and n − j of v          where x moved across the mean reward of the other;
    k visits of x and n − k of w, or n of y          where x lies, and stays, outside of what u and v have.

The numbers are found by rounding to small fractions, and what is told has been summed up exactly. Rewards of steps
(s, a, s′) are another matter: potential shaping γΦ(s′) − Φ(s) turns the order of steps and changes no optimal behaviour
(Ng, Harada & Russell, Policy Invariance under Reward Transformations, ICML 1999). EPIC's distance is 0 for it, up to
rounding: there its mean over sampled actions and next states cancels whatever the potential is. What is neither shaping
nor a positive factor changes the optimal behaviour of some world.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
PAIRS = 100_000
SHAPED = 1e-3  # EPIC's distance below which two rewards may differ by shaping alone, as far as binary32 tells
LONGEST = 1000  # visits of a behaviour that is told


@dataclass(frozen=True, slots=True)
class Flip:
    """Two rows of the data (from 1) whose order the edit turned, with their rewards before and after."""

    rows: tuple[int, int]
    before: tuple[float, float]
    after: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Turned:
    """Two behaviours as visits of rows (from 1), ((row, times), …) each, equally long; what they sum up to."""

    visits: tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]
    before: tuple[float, float]
    after: tuple[float, float]

    @property
    def words(self) -> tuple[str, str]:
        one, other = (" and ".join(f"{times} × row {row}" for row, times in side if times) for side in self.visits)
        return one, other


@dataclass(frozen=True, slots=True)
class Behaviour:
    """`flips` of `pairs` pairs of rows turned their strict order, by most in `example`; of so many rows the rank
    changed (`ranks`), whichever of equals is counted first.
    `turned`: two longer behaviours, where no pair turned."""

    flips: int
    pairs: int
    ranks: int
    example: Flip | None
    turned: Turned | None
    moved: int
    rows: int
    alike: bool  # all rows moved by the same amount
    states: bool  # the rewards are of one record each

    @staticmethod
    def of(old: Array, new: Array, *, states: bool) -> Behaviour:
        """Of rewards [row] before and after. `states`: of one record each."""
        flips, pairs, example = _flips(old, new)
        ranks = _ranks_changed(old, new)
        turned = _turned(old, new) if states and example is None else None
        alike = bool((new - old == (new - old)[:1]).all())
        return Behaviour(flips, pairs, ranks, example, turned, int((old != new).sum()), len(old), alike, states)

    @property
    def named(self) -> tuple[int, ...]:
        """The rows that the sentence speaks of, from 1."""
        if self.example is not None:
            return self.example.rows
        found = () if self.turned is None else (row for side in self.turned.visits for row, times in side if times)
        return tuple(dict.fromkeys(found))

    def sentence(self, epic: float | None = None, over: str = "the records") -> str:
        """`epic`: EPIC's distance of the two rewards, for those of steps. `over`: what the rows are."""
        if not self.moved:
            return f"none of the {self.rows} {over} has moved: behaviour changes at most where other records occur"
        if not self.states:
            return self._of_steps(epic)
        if self.example is not None:
            choice = "so that a choice between the two goes the other way"
            return f"it can change which behaviour is optimal: {self._pair}, {choice}"
        if self.turned is not None:
            (one, other), (a, b), (c, d) = self.turned.words, self.turned.before, self.turned.after
            return (
                f"it can change which behaviour is optimal, though no two rows turned: {one} summed up to {a:.6g}, "
                f"{other} to {b:.6g}; now it is {c:.6g} and {d:.6g}"
            )
        if self.alike:
            return "all rows moved by the same amount, which changes no order of behaviours of equal length over them"
        return "no order among the rows turned; which behaviour is optimal may change all the same"

    def _of_steps(self, epic: float | None) -> str:
        if epic is None or self.alike:
            return (
                "whether it can change which behaviour is optimal was not told: steps moved, perhaps by shaping alone"
            )
        if epic < SHAPED:
            return (  # a sampled distance: that of an edit which moves few steps, or little, is as small
                "whether it can change which behaviour is optimal was not told: EPIC's distance is "
                f"{epic:.2g}, as of potential shaping, which cannot, and as of an edit that moves few steps or little"
            )
        shown = "" if self.example is None else f" ({self._pair})"
        return (
            f"it can change which behaviour is optimal: EPIC's distance, which is 0 for potential shaping, is "
            f"{epic:.4g}{shown}"
        )

    @property
    def _pair(self) -> str:
        assert self.example is not None
        (i, j), (a, b), (c, d) = self.example.rows, self.example.before, self.example.after
        return f"rows {i} and {j} had {a:.6g} and {b:.6g}, and have {c:.6g} and {d:.6g} now"


def _flips(old: Array, new: Array) -> tuple[int, int, Flip | None]:
    """How many of up to PAIRS pairs of rows turned, of how many; the pair that turned by most."""
    count = len(old)
    if count * (count - 1) // 2 <= PAIRS:
        first, second = np.triu_indices(count, 1)
    else:
        rng = np.random.default_rng(7)
        first, second = rng.integers(count, size=PAIRS), rng.integers(count, size=PAIRS)
    was, now = old[first] - old[second], new[first] - new[second]
    turned = was * now < 0
    if not turned.any():
        return 0, len(first), None
    best = int(np.argmax(np.where(turned, np.minimum(np.abs(was), np.abs(now)), -1.0)))
    i, j = int(first[best]), int(second[best])
    flip = Flip((i + 1, j + 1), (float(old[i]), float(old[j])), (float(new[i]), float(new[j])))
    return int(turned.sum()), len(first), flip


def _ranks_changed(old: Array, new: Array) -> int:
    """How many rows have no rank in common, before and after. Equal rows share their ranks: any of them may be first.
    So rows that an edit makes equal, or parts, have not changed theirs by that alone."""
    (first, last), (begin, end) = _ranks(old), _ranks(new)
    return int(((last < begin) | (end < first)).sum())


def _ranks(values: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """[row]: the least and the greatest rank that the row may have."""
    order = np.sort(values)
    return np.searchsorted(order, values, side="left"), np.searchsorted(order, values, side="right") - 1


def _turned(old: Array, new: Array) -> Turned | None:
    """Behaviours of the row that moved most and of the least and the greatest that did not."""
    still = np.flatnonzero(old == new)
    if len(still) < 2 or len(still) == len(old) or not np.isfinite(old).all() or not np.isfinite(new).all():
        return None
    x = int(np.abs(new - old).argmax())
    u, v = int(still[old[still].argmin()]), int(still[old[still].argmax()])
    a, b, low, high = (Fraction(float(value)) for value in (old[x], new[x], old[u], old[v]))
    if low == high:
        return None
    for sides in _ways((a + b) / 2, (x, u, v), (low, high)):
        before, after = ([_sum(side, values) for side in sides] for values in (old, new))
        if (before[0] - before[1]) * (after[0] - after[1]) < 0:
            one, other = (tuple((row + 1, times) for row, times in side) for side in sides)
            return Turned((one, other), (float(before[0]), float(before[1])), (float(after[0]), float(after[1])))
    return None


Side = Sequence[tuple[int, int]]


def _ways(middle: Fraction, rows: tuple[int, int, int], ends: tuple[Fraction, Fraction]) -> Iterator[tuple[Side, Side]]:
    """Pairs of behaviours, ever longer, that are worth about the same where x is worth `middle`."""
    (x, u, v), (low, high) = rows, ends
    place, size = (middle - low) / (high - low), 1
    while size <= LONGEST:
        if 0 <= place <= 1:
            share = place.limit_denominator(size)
            n, j = share.denominator, share.numerator
            yield [(x, n)], [(u, n - j), (v, j)]
        else:
            far, (w, y) = (place, (u, v)) if place > 1 else (1 - place, (v, u))
            ratio = far.limit_denominator(size)
            n, k = ratio.numerator, ratio.denominator
            if n <= LONGEST:
                yield [(x, k), (w, n - k)], [(y, n)]
        size *= 2


def _sum(side: Side, values: Array) -> Fraction:
    return sum((times * Fraction(float(values[row])) for row, times in side), Fraction(0))
