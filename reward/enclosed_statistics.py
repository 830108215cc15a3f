"""Data constants of smooth rewards: rational enclosures, narrow, since no rational is the value itself."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.balls import Interval, interval
from rewarden.reward.enclosure import enclose
from rewarden.spec_lang.errors import DataError, Unsupported

Array = NDArray[np.float64]
BITS = 256
PATIENCE = 20_000  # rows of a mean that are enclosed to so many bits; with more, all are left as float64 has them


def enclosed_statistic(
    artifact: Artifact,
    rows: Array,
    kind: Literal["quantile", "mean", "min", "max"],
    level: Fraction | None = None,
) -> Interval:
    """lo ≤ the statistic ≤ hi, of the reward over encoded rows as in `statistics.statistic`. Raises DataError D08 for
    no rows, Unsupported X24 where a value is out of reach (an exponential of something large)."""
    n = len(rows)
    if n == 0:
        raise DataError("D08", f"the {kind} of a reward over no rows", help="the data set is empty: name one with rows")
    match kind:
        case "mean":
            return _mean(artifact, rows)
        case "min":
            return _order_statistic(artifact, rows, 1)
        case "max":
            return _order_statistic(artifact, rows, n)
        case "quantile":
            assert level is not None, "a quantile has a level"
            return _order_statistic(artifact, rows, max(1, ceil(level * n)))


def _order_statistic(artifact: Artifact, rows: Array, rank: int) -> Interval:
    """The rank-th smallest value lies between the rank-th smallest lower and the rank-th smallest upper end of any
    enclosures. Float64 ones tell which rows can be it (`statistics`); those are enclosed again, in many bits."""
    lo, hi = enclose(artifact, rows)
    least, most = np.sort(lo)[rank - 1], np.sort(hi)[rank - 1]
    below = hi < least
    distinct, counts = np.unique(rows[~below & ~(lo > most)], axis=0, return_counts=True)
    found = [(_row(artifact, row), int(count)) for row, count in zip(distinct, counts, strict=True)]
    place = rank - 1 - int(below.sum())
    ends = [sorted(e for interval, count in found for e in [interval[side]] * count)[place] for side in (0, 1)]
    return ends[0], ends[1]


def _mean(artifact: Artifact, rows: Array) -> Interval:
    distinct, counts = np.unique(rows, axis=0, return_counts=True)
    if len(distinct) <= PATIENCE:
        found = [_row(artifact, row) for row in distinct]
    else:
        found = [_rationals(lo, hi) for lo, hi in zip(*enclose(artifact, distinct), strict=True)]
    sums = [sum((i[side] * int(n) for i, n in zip(found, counts, strict=True)), Fraction(0)) for side in (0, 1)]
    return sums[0] / len(rows), sums[1] / len(rows)


def _row(artifact: Artifact, row: Array) -> Interval:
    return interval(artifact, [Fraction(float(v)) for v in row], BITS)


def _rationals(lo: float, hi: float) -> Interval:
    if not (np.isfinite(lo) and np.isfinite(hi)):
        raise Unsupported("X24", "a reward over rows of data is beyond all bounds", help="check its exponentials")
    return Fraction(float(lo)), Fraction(float(hi))
