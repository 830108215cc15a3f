"""The upper hull of points in the plane, as the slopes of its edges."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

BINS = 256  # of x: the highest point of each stands for its points
_SHORTEST = 0.05  # of the width: an edge between two neighbours says nothing
_MOST = 12


def upper_slopes(x: NDArray[np.float64], y: NDArray[np.float64]) -> list[float]:
    """Slopes of the longest edges of the upper hull, from the left; of points thinned out along x.

    Slopes are proposals: whoever draws a line with one takes its offset from all points.
    """
    lo, hi = float(x.min()), float(x.max())
    if not lo < hi:
        return []
    bins = np.minimum(((x - lo) / (hi - lo) * BINS).astype(np.intp), BINS - 1)
    order = np.lexsort((y, bins))
    highest = order[np.flatnonzero(np.diff(np.append(bins[order], BINS)))]
    hull: list[tuple[float, float]] = []
    for point in sorted(zip(x[highest].tolist(), y[highest].tolist(), strict=True)):
        while len(hull) > 1 and _turns_left(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    edges = [(b[0] - a[0], (b[1] - a[1]) / (b[0] - a[0])) for a, b in pairwise(hull) if b[0] > a[0]]
    longest = sorted(edges, key=lambda edge: -edge[0])[:_MOST]
    return [slope for width, slope in edges if width >= _SHORTEST * (hi - lo) and (width, slope) in longest]


def _turns_left(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Does the way from a over b to c turn left, or go straight on, so that b is not on the hull?"""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) >= 0
