"""The rounding discipline of the proving path: what binary64 did wrong is bounded and subtracted.

Back-substitution keeps, for a functional F and every point x of the box (at which the facts in use hold),

    F(x)  >=  Σ_s A_s · v_s(x) + c − e                                                      (invariant)

where v_s(x) is the exact output of layer s at x, the coefficients A_s and the constant c are the binary64 numbers in
memory, taken as exact, and e >= 0 collects everything that arithmetic got wrong. One step turns the coefficients A on
the output of a layer into coefficients on its sources. With z = M·v + b the exact pre-activation, H a bound of |v| on
the box, and γ_n = n·u/(1 − n·u), u = 2^-53:

1. relu lines. A·y >= A·line(z) exactly, whatever the slopes are in memory: a chord's intercept is computed so that the
   line is above relu at both ends (`relaxation`). The product A·slope is rounded once: the functional moves by at most
   u·|A·slope|·|z|, and |z| <= max(|l|, |u|). The sum of intercepts has terms of one sign: relative error γ.
2. product with M. The computed Â differs from A·M by at most γ_n·|A|·|M| elementwise for every order of summation,
   fused or not (Higham, Accuracy and Stability, 3.1), hence F by at most |A|·(γ_n·|M|·H): one matrix-vector product per
   layer and box, shared by all functionals. The memory's M differs from the true one by at most dM: add |A|·(dM·H).
3. sums of two coefficients or constants: u·|result|·H, or u·|result|.
4. the minimum over the box of Σ A·x: γ·|A|·H at the variables.

So noise is absorbed inside back-substitution, weighted with the functional's own coefficients; it is not pushed forward
through the layers, where it would grow as the product of their norms. e itself is a sum of fewer than 2^30 non-negative
rounded terms, so it is within a factor 1 + 2^-20 of its exact value: INFLATE covers that. Underflow: an operation may
lose up to 2^-1021 absolutely (flushing to zero included); TINY times the sum of all magnitudes that can multiply such a
loss covers fewer than 2^60 of them. Overflow gives infinities or NaN, and every comparison that could accept a bound is
false for NaN and −inf: a non-finite number never proves anything.

A row whose coefficients are all zero has had no operation done to it, so its e is exactly 0: the locality of an edit
(r − q against r, with q closed off) is settled by the floats themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

UNIT = 2.0**-53  # unit roundoff of binary64
INFLATE = 1.0 + 2.0**-20
TINY = 2.0**-960
SMALLEST = 2.0**-900  # a weight below this is replaced by 0, and the difference is accounted for


def gamma(n: int) -> float:
    """An upper bound of γ_{n+2}: n products and sums in any order, with two operations to spare."""
    if n > 2**28:
        raise ValueError("a sum of more than 2^28 terms is beyond the error analysis")
    return (n + 3) * UNIT * INFLATE


def up(value: float) -> float:
    return math.nextafter(value, math.inf)


def round_down(value: Fraction) -> float:
    """The largest float64 that is not above `value` (−inf beyond the range)."""
    nearest = to_nearest(value)
    if nearest == math.inf:
        return math.nextafter(math.inf, 0.0)
    if nearest == -math.inf:
        return nearest
    top, bottom = nearest.as_integer_ratio()
    return nearest if top * value.denominator <= value.numerator * bottom else math.nextafter(nearest, -math.inf)


def round_up(value: Fraction) -> float:
    """The smallest float64 that is not below `value` (inf beyond the range)."""
    return -round_down(-value)


def to_nearest(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def with_error(value: Fraction) -> tuple[float, float]:
    """A float64 close to `value`, and an upper bound of how far it is off; 0 where it is exact.

    Numbers too small to survive a product are replaced by 0, at the price of an error.
    """
    nearest = to_nearest(value)
    if abs(nearest) < SMALLEST:
        nearest = 0.0
    if not math.isfinite(nearest):
        return nearest, math.inf
    if nearest.as_integer_ratio() == (value.numerator, value.denominator):
        return nearest, 0.0
    return nearest, round_up(abs(Fraction(nearest) - value))


def outward(bounds: Sequence[tuple[Fraction, Fraction]]) -> tuple[Array, Array]:
    """Float64 lo, hi that contain the exact box."""
    known: dict[tuple[int, int], tuple[float, float]] = {}  # thousands of columns of one feature share their bounds
    pairs = list(bounds)  # which keeps them all, so that no two of them have one id
    for lo, hi in pairs:
        if (id(lo), id(hi)) not in known:
            known[id(lo), id(hi)] = round_down(lo), round_up(hi)
    rounded = np.array([known[id(lo), id(hi)] for lo, hi in pairs], dtype=np.float64).reshape(-1, 2)
    return rounded[:, 0].copy(), rounded[:, 1].copy()


def flush_small(weight: Array, error: Array) -> tuple[Array, Array]:
    """Weights below SMALLEST become 0; the error matrix takes their size."""
    small = (np.abs(weight) < SMALLEST) & (weight != 0)
    if not small.any():
        return weight, error
    return np.where(small, 0.0, weight), np.where(small, (error + SMALLEST) * INFLATE, error)


def product(left: Array, left_error: Array | None, right: Array, right_error: Array) -> tuple[Array, Array]:
    """L·R of matrices known up to elementwise errors: the float64 product and its error bound.

    A row of L, or a column of R, with at most one entry, that one ±1, selects: its products are exact. Most are like
    that (the identities of relu, add and sub layers, the arguments of a call), and so an edit and its parent stay equal
    to the last bit. An entry all of whose products have a factor that is 0, without error, is 0 without error.
    """
    magnitude = np.abs(left)
    selects = _selecting(left, 1)[:, None] | _selecting(right, 0)[None, :]
    value = left @ right
    error = np.where(selects, 0.0, gamma(left.shape[1])) * (magnitude @ np.abs(right)) + magnitude @ right_error
    if left_error is not None:
        error = error + left_error @ (np.abs(right) + right_error)
    loss = np.where(selects, 0.0, TINY) * (1.0 + magnitude.sum(axis=1, keepdims=True))
    error = np.where(magnitude.sum(axis=1, keepdims=True) > 0, error * INFLATE + loss, error * INFLATE)
    may_be, occurs = magnitude if left_error is None else magnitude + left_error, (right != 0) | (right_error > 0)
    terms = _terms(may_be > 0, occurs)
    if right_error.any():  # an error times what it stands on may underflow, in what selects as well
        error = error + TINY * (_terms(may_be > 0, right_error > 0) > 0)
    if left_error is not None and left_error.any():
        error = error + TINY * (_terms(left_error > 0, occurs) > 0)
    return flush_small(value, np.where(terms > 0, error, 0.0))


def _terms(left: NDArray[np.bool_], right: NDArray[np.bool_]) -> Array:
    """How many products of each entry of L·R have both factors."""
    found: Array = left.astype(np.float64) @ right.astype(np.float64)
    return found


def _selecting(matrix: Array, axis: int) -> NDArray[np.bool_]:
    """Whether each row (axis 1) or column (axis 0) has at most one entry, that one ±1."""
    found: NDArray[np.bool_] = (np.count_nonzero(matrix, axis=axis) <= 1) & np.isin(np.abs(matrix), (0.0, 1.0)).all(
        axis
    )
    return found


def total(a: Array, a_error: Array, b: Array, b_error: Array) -> tuple[Array, Array]:
    """a + b with errors; exact where one of them is 0."""
    value = a + b
    rounded = np.where((a == 0) | (b == 0), 0.0, UNIT * np.abs(value) * INFLATE + TINY)
    known = (a_error == 0) & (b_error == 0)
    return flush_small(value, np.where(known, rounded, (a_error + b_error) * INFLATE + rounded))
