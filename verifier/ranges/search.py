"""Certified maxima over many regions at once: best-first splitting, in the manner of branch and bound.

Of every region that is not settled, the boxes with the worst bounds are cut in two and bounded again, until its bound
is within `TOLERANCE` of a value that is really reached, relative to what it was at first, or `budget` boxes of it have
been bounded. The answer is a bound at every moment: more boxes only tighten it. Work is counted in boxes, not in time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.learners.interface import Array
from rewarden.verifier.progress import Stop
from rewarden.verifier.ranges.domain import Domain

TOLERANCE = 0.01
AT_ONCE = 16  # boxes of one region cut together, at least
BATCHES = 64  # in which a large budget is spent, at least
CHUNK = 512  # boxes bounded together


@dataclass(frozen=True, slots=True, eq=False)
class Bounded:
    """Boxes looked at: `most` [box] is never exceeded in the box; `score` [box, column] says where to cut; `value`
    [box] is taken at `point` [box, column], about."""

    most: Array
    score: Array
    point: Array
    value: Array


Look = Callable[[Array, Array, NDArray[np.intp]], Bounded]
"""Looks at boxes lo, hi [box, column] of regions [box]."""


@dataclass(frozen=True, slots=True, eq=False)
class Maxima:
    """Per region: a bound, the best point found, about what it is worth, and how many boxes it took."""

    most: Array
    point: Array
    value: Array
    boxes: NDArray[np.intp]


def maxima(
    domain: Domain,
    lo: Array,
    hi: Array,
    look: Look,
    budget: int,
    aim: float | None = None,
    stop: Stop = lambda: False,
) -> Maxima:
    """Of regions lo, hi [region, column]. `aim`: all that is asked is whether the maximum is at most this, so that a
    region is settled once its bound is, or a value clearly is not."""
    count, at_once = len(lo), max(AT_ONCE, min(CHUNK // 2, budget // BATCHES))
    region = np.arange(count)
    seen = _looked(look, lo, hi, region)
    most, score = seen.most, seen.score
    point, value, boxes = seen.point.copy(), seen.value.copy(), np.ones(count, np.intp)
    first = seen.most.copy()
    while True:
        top = np.full(count, -np.inf)
        np.maximum.at(top, region, most)
        slack = TOLERANCE * np.maximum(first - value, 0.0)
        open_, needless = (top - value > slack) & (boxes < budget), value + slack
        if aim is not None:
            open_ &= (top > aim) & (value <= aim + TOLERANCE * np.maximum(first - aim, 0.0))
            needless = np.maximum(needless, aim)
        worth = open_[region] & (most > needless[region]) & (hi > lo).any(axis=1)
        order = np.lexsort((-most, region))
        order = order[worth[order]]
        if not len(order) or stop():
            return Maxima(top, point, value, boxes)
        starts = np.searchsorted(region[order], region[order])
        order = order[np.arange(len(order)) - starts < at_once]
        axis = _axis(score[order], lo[order], hi[order])
        left, right = domain.cut(lo[order], hi[order], axis)
        new_lo, new_hi = np.concatenate((left[0], right[0])), np.concatenate((left[1], right[1]))
        owner = np.tile(region[order], 2)
        seen = _looked(look, new_lo, new_hi, owner)
        np.add.at(boxes, owner, 1)
        _improve(point, value, seen, owner)
        # a part cannot exceed the whole, whatever its own bound says
        new_most = np.fmin(seen.most, np.tile(most[order], 2))
        keep = np.ones(len(region), np.bool_)
        keep[order] = False
        lo, hi = np.concatenate((lo[keep], new_lo)), np.concatenate((hi[keep], new_hi))
        most, score = np.concatenate((most[keep], new_most)), np.concatenate((score[keep], seen.score))
        region = np.concatenate((region[keep], owner))


def _looked(look: Look, lo: Array, hi: Array, region: NDArray[np.intp]) -> Bounded:
    parts = [
        look(lo[k : k + CHUNK], hi[k : k + CHUNK], region[k : k + CHUNK]) for k in range(0, max(len(lo), 1), CHUNK)
    ]
    most = np.concatenate([p.most for p in parts])
    most = np.where(np.isnan(most), np.inf, most)
    return Bounded(most, *(np.concatenate([getattr(p, n) for p in parts]) for n in ("score", "point", "value")))


def _improve(point: Array, value: Array, seen: Bounded, owner: NDArray[np.intp]) -> None:
    """In place: the best point of each region, the first of equals."""
    order = np.lexsort((-seen.value, owner))
    firsts = order[np.unique(owner[order], return_index=True)[1]]
    better = firsts[seen.value[firsts] > value[owner[firsts]]]
    point[owner[better]], value[owner[better]] = seen.point[better], seen.value[better]


def _axis(score: Array, lo: Array, hi: Array) -> NDArray[np.intp]:
    """The column that the bound hangs on most; where it hangs on none that can be cut, the widest."""
    wide = hi - lo
    weighed = np.where(wide > 0, np.nan_to_num(score, nan=0.0, posinf=1e300) + 1e-12 * wide, -1.0)
    return np.asarray(weighed.argmax(axis=1))
