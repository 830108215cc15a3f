"""Data constants, exactly: quantiles, extremes and means of a reward over rows of data."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.enclosure import enclose
from rewarden.reward.exact import evaluate_row
from rewarden.spec_lang.errors import DataError

Array = NDArray[np.float64]


def statistic(
    artifact: Artifact,
    rows: Array,
    kind: Literal["quantile", "mean", "min", "max"],
    level: Fraction | None = None,
) -> Fraction:
    """The exact statistic of the reward over encoded rows (float64 [n, width], each number the rational that it is).

    `quantile` is the ⌈level·n⌉-th smallest, at least the first, 0 ≤ level ≤ 1. Rows need not lie in the declared
    domain here: whoever read the data has checked that. Raises DataError D08 for no rows, ValueError for a bad level.
    """
    n = len(rows)
    require_rows(kind, rows)
    match kind:
        case "mean":
            return _mean(artifact, rows)
        case "min":
            return _order_statistic(artifact, rows, 1)
        case "max":
            return _order_statistic(artifact, rows, n)
        case "quantile":
            if level is None or not 0 <= level <= 1:
                raise ValueError(f"a quantile's level is in 0 .. 1, not {level}")
            return _order_statistic(artifact, rows, max(1, ceil(level * n)))


def require_rows(kind: str, rows: Array) -> None:
    """DataError D08 where there are none."""
    if len(rows) == 0:
        raise DataError("D08", f"the {kind} of a reward over no rows", help="the data set is empty: name one with rows")


def _order_statistic(artifact: Artifact, rows: Array, rank: int) -> Fraction:
    """The rank-th smallest value (1-based).

    It lies between the rank-th smallest lower and the rank-th smallest upper end of the rows' enclosures: at least
    `rank` values are at most the latter, and fewer than `rank` are below the former. So rows whose enclosure ends
    below that interval count as smaller, those that begin above it as larger, and only the others are evaluated.
    """
    lo, hi = enclose(artifact, rows)
    least, most = np.sort(lo)[rank - 1], np.sort(hi)[rank - 1]
    below = hi < least
    open_rows = ~below & ~(lo > most)
    certain = open_rows & (lo == hi)
    values = [Fraction(float(v)) for v in lo[certain]]
    distinct, counts = np.unique(rows[open_rows & ~certain], axis=0, return_counts=True)
    for row, count in zip(distinct, counts, strict=True):
        values += [evaluate_row(artifact, row)] * int(count)
    return sorted(values)[rank - 1 - int(below.sum())]


def _mean(artifact: Artifact, rows: Array) -> Fraction:
    """Rows are dyadic and so are weights: every value is an integer over a power of two, and so is the sum."""
    total, exponent = 0, 0
    distinct, counts = np.unique(rows, axis=0, return_counts=True)
    for row, count in zip(distinct, counts, strict=True):
        value = evaluate_row(artifact, row)
        shift = value.denominator.bit_length() - 1
        if shift > exponent:
            total, exponent = total << (shift - exponent), shift
        total += (value.numerator << (exponent - shift)) * int(count)
    return Fraction(total, len(rows) << exponent)
