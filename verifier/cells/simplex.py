"""A small linear program, compiled: how far can all rows be below 0 at once?

    minimise t  subject to  C·x + c <= t (row by row),  lo <= x <= hi

by the primal simplex method with bounded variables on a dense tableau. It proves nothing: whoever asks takes the
multipliers (non-negative, of sum 1 but for rounding) and bounds their combination rigorously, and takes the point as a
place to look at.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

from rewarden.verifier.cells.network import Array, Whole

SMALL = 1e-11  # a reduced cost or pivot below this is taken for 0
STEPS = 200


@nb.njit(error_model="numpy")
def least_top(
    C: Array,
    c: Array,
    rows: int,
    lo: Array,
    hi: Array,
    tableau: Array,
    basis: Whole,
    flipped: NDArray[np.bool_],
    multipliers: Array,
    x: Array,
) -> float:
    """Fills `multipliers` [rows] and `x`; returns t. `tableau` has room for [rows + 1, variables + rows + 2]."""
    n = lo.shape[0]
    top, right = n + rows, n + rows + 1
    first, least = 0, np.inf
    for i in range(rows):
        value = c[i]
        for d in range(n):
            value += C[i, d] * lo[d]
            tableau[i, d] = C[i, d]
        for j in range(rows):
            tableau[i, n + j] = 0.0
        tableau[i, n + i] = 1.0
        tableau[i, top] = -1.0
        tableau[i, right] = -value
        basis[i] = n + i
        if -value < least:
            first, least = i, -value
    for j in range(right + 1):
        tableau[rows, j] = 0.0
    tableau[rows, top] = 1.0
    for d in range(n):
        flipped[d] = False
    _pivot(tableau, rows, right, first, top)
    basis[first] = top
    for _ in range(STEPS):
        entering, cost = -1, -SMALL
        for j in range(top):
            if tableau[rows, j] < cost:
                entering, cost = j, tableau[rows, j]
        if entering < 0:
            break
        room = hi[entering] - lo[entering] if entering < n else np.inf
        step, row, upwards = room, -1, False
        for i in range(rows):
            slope = tableau[i, entering]
            if slope > SMALL and basis[i] != top:
                ratio = tableau[i, right] / slope
                if ratio < step:
                    step, row, upwards = ratio, i, False
            elif slope < -SMALL and basis[i] < n:
                ratio = (tableau[i, right] - (hi[basis[i]] - lo[basis[i]])) / slope
                if ratio < step:
                    step, row, upwards = ratio, i, True
        if row < 0:
            if not np.isfinite(room):
                break
            for i in range(rows + 1):  # the variable goes from one end to the other: count it from there
                tableau[i, right] -= tableau[i, entering] * room
                tableau[i, entering] = -tableau[i, entering]
            flipped[entering] = not flipped[entering]
            continue
        if upwards:  # the leaving variable is at its upper end: count it from there
            leaving = basis[row]
            for j in range(right + 1):
                tableau[row, j] = -tableau[row, j]
            tableau[row, leaving] = 1.0
            tableau[row, right] += hi[leaving] - lo[leaving]
            flipped[leaving] = not flipped[leaving]
        _pivot(tableau, rows, right, row, entering)
        basis[row] = entering
    for d in range(n):
        x[d] = 0.0
    t = 0.0
    for i in range(rows):
        if basis[i] < n:
            x[basis[i]] = tableau[i, right]
        elif basis[i] == top:
            t = tableau[i, right]
    for d in range(n):
        at = hi[d] - x[d] if flipped[d] else lo[d] + x[d]
        x[d] = min(max(at, lo[d]), hi[d])
    for i in range(rows):
        multipliers[i] = max(tableau[rows, n + i], 0.0)
    return t


@nb.njit(error_model="numpy")
def _pivot(tableau: Array, rows: int, right: int, row: int, column: int) -> None:
    pivot = tableau[row, column]
    for j in range(right + 1):
        tableau[row, j] /= pivot
    for i in range(rows + 1):
        factor = tableau[i, column]
        if i != row and factor != 0.0:
            for j in range(right + 1):
                tableau[i, j] -= factor * tableau[row, j]
