"""Lines that enclose smooth functions and products over an interval, for whatever slope is chosen.

A slope is a guess; what has to be right is the intercept. Let g(z) = f(z) − a·z on [l, u], where f is convex and
concave by turns, and its inflection points are known. Then g is at most the largest of

- g(l) and g(u), where f is convex: a convex function is largest at the ends of a piece, and an end that is an
  inflection point belongs to the next piece as well;
- on a piece [p, q] where f is concave, and for any m in it, what the tangent at m says at p and at q:
  g(z) <= g(m) + g′(m)·(z − m), which is linear in z.

Neither needs the slope to be good or m to be where the line touches: a poor guess gives a line that is true and too
far away. So tangency is sought in plain floating point, and only f and f′ at l, u and m are enclosed
(`rewarden.reward.elementary`, whose errors are proved), with 16ε for the sums of at most eight roundings. The
inflection points of gelu and silu (±√2; ±2.3994, where x·tanh(x/2) = 2) are binary64 numbers off by less than 2^-50;
between these and the true ones |f″| <= 2·2^-50, so that the arguments above fail by less than 2^-98·(z − m), which BENT
covers. Lower lines are upper lines of −f, mirrored.

The line chosen is the least at the middle, hence of least area: the tangent there, or the edge of the concave hull
above the middle, found by a few rounds of what quickhull does: a chord, the point furthest beyond it, a new chord. Both
gaps are of second order in the width, so that cutting the input converges.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.elementary import ABSOLUTE, Function, slope, slope_error, value, value_error

Array = NDArray[np.float64]

ROUNDS = 4  # of the hull's edge; each squares the error or, where two pieces meet, halves it
SUMS = 2.0**-49  # 16ε: eight roundings, and those of the error itself
BENT = 2.0**-90
NARROW = 2.0**-26  # intervals narrower than this share of their ends have chords of noise: the tangent serves there
INFINITE = float("inf")
INFLECTED: dict[Function, float] = {"tanh": 0.0, "sigmoid": 0.0, "gelu": 1.4142135623730951, "silu": 2.3993572805154676}


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """lower·z + below <= y <= upper·z + above, elementwise."""

    lower: Array
    below: Array
    upper: Array
    above: Array


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """Where sign·f is concave within [l, u]: from `start` to `end`, if `there`. `side`: −1 left, 0 middle, 1 right."""

    start: Array
    end: Array
    there: NDArray[np.bool_]
    side: int


def smooth_lines(function: Function, lo: Array, hi: Array) -> Band:
    """Lines for f on [lo, hi], elementwise. Where a number is not finite or leaves the range, a line holds NaN or
    infinities, with which nothing is proved."""
    with np.errstate(all="ignore"):
        upper, above = _line_above(function, 1.0, lo, hi)
        lower, below = _line_above(function, -1.0, lo, hi)
    return Band(-lower, -below, upper, above)


def product_lines(lo: Array, hi: Array) -> Band:
    """Planes for a·b over a box: `lo`, `hi` [box, 2n], a's n entries first; slopes [box, 2n], intercepts [box, n].

    With m, r the middles and radii, ab = (a − m_a)(b − m_b) + m_b·a + m_a·b − m_a·m_b, and the first term is within
    ±r_a·r_b: the mean of each pair of McCormick's planes. A middle may be any number; the radii are rounded up.
    """
    with np.errstate(all="ignore"):
        n = lo.shape[-1] // 2
        middle = lo + (hi - lo) / 2.0
        radius = np.nextafter(np.maximum(hi - middle, middle - lo), INFINITE)
        a, b = middle[:, :n], middle[:, n:]
        size = radius[:, :n] * radius[:, n:]
        apart = size + SUMS * (np.abs(a * b) + size) + ABSOLUTE
        slopes = np.concatenate((b, a), axis=-1)
        return Band(slopes, -(a * b) - apart, slopes, apart - a * b)


def product_extent(lo: Array, hi: Array) -> tuple[Array, Array]:
    """(least, most) of a·b over a box given as in `product_lines`, rounded outward; infinite where that is unknown."""
    with np.errstate(all="ignore"):
        n = lo.shape[-1] // 2
        corners = np.stack([p * q for p in (lo[:, :n], hi[:, :n]) for q in (lo[:, n:], hi[:, n:])])
        least, most = np.nextafter(corners.min(0), -INFINITE), np.nextafter(corners.max(0), INFINITE)
        return np.where(np.isnan(least), -INFINITE, least), np.where(np.isnan(most), INFINITE, most)


def slopes_between(function: Function, lo: Array, hi: Array) -> tuple[Array, Array]:
    """The least and the largest f′ on [lo, hi]: f′ turns only where f is inflected. A hint, not a bound."""
    with np.errstate(all="ignore"):
        turns = INFLECTED.get(function)
        places = [lo, hi]
        if turns is not None:
            places += [np.clip(np.full_like(lo, side * turns), lo, hi) for side in (-1.0, 1.0)]
        found = np.stack([slope(function, place) for place in places])
        return found.min(0), found.max(0)


def _line_above(function: Function, sign: float, lo: Array, hi: Array) -> tuple[Array, Array]:
    """Slope and intercept of a line that is above sign·f on [lo, hi]. Most intervals lie within one piece: the tangent
    at the middle, or the chord, is best there, and is had for less."""
    shape, lo, hi = lo.shape, lo.reshape(-1), hi.reshape(-1)
    pieces = _pieces(function, sign, lo, hi)
    concave, met = np.zeros(lo.shape, np.bool_), np.zeros(lo.shape, np.bool_)
    for piece in pieces:
        concave |= piece.there & (piece.start == lo) & (piece.end == hi)
        met |= piece.there
    found = np.empty(lo.shape), np.empty(lo.shape)
    for part, line in ((concave, _tangent), (~met, _chord_alone), (met & ~concave, _hull_line)):
        index = part.nonzero()[0]
        if index.size:
            found[0][index], found[1][index] = line(function, sign, lo[index], hi[index])
    return found[0].reshape(shape), found[1].reshape(shape)


def _tangent(function: Function, sign: float, lo: Array, hi: Array) -> tuple[Array, Array]:
    """For intervals within a concave piece."""
    middle = lo + (hi - lo) / 2.0
    a = sign * slope(function, middle)
    whole = _Piece(lo, hi, np.ones(lo.shape, np.bool_), 0)
    return a, _intercept(function, sign, a, [(whole, middle)], (lo, hi))


def _chord_alone(function: Function, sign: float, lo: Array, hi: Array) -> tuple[Array, Array]:
    """For intervals without a concave piece."""
    a = _hull_edge(function, sign, (lo, hi), [])
    return a, _intercept(function, sign, a, [], (lo, hi))


def _hull_line(function: Function, sign: float, lo: Array, hi: Array) -> tuple[Array, Array]:
    """The better of the tangent at the middle and the hull's edge above it."""
    middle = lo + (hi - lo) / 2.0
    pieces = _pieces(function, sign, lo, hi)
    tangent, edge = sign * slope(function, middle), _hull_edge(function, sign, (lo, hi), pieces)
    other = _intercept(function, sign, tangent, _touching(function, sign, tangent, pieces, middle), (lo, hi))
    chosen = _intercept(function, sign, edge, _touching(function, sign, edge, pieces), (lo, hi))
    better = tangent * middle + other < edge * middle + chosen
    return np.where(better, tangent, edge), np.where(better, other, chosen)


def _intercept(
    function: Function, sign: float, a: Array, touching: list[tuple[_Piece, Array]], ends: tuple[Array, Array]
) -> Array:
    """A number that sign·f(z) − a·z does not exceed on [l, u]."""
    found = np.full_like(a, -INFINITE)
    for z in ends:
        y = value(function, z)
        error = value_error(function, z, y) + SUMS * (np.abs(y) + np.abs(a * z)) + ABSOLUTE
        found = np.maximum(found, (sign * y - a * z) + error)
    for piece, m in touching:
        y, d = value(function, m), slope(function, m)
        base, steep = sign * y - a * m, sign * d - a
        known = value_error(function, m, y) + SUMS * (np.abs(y) + np.abs(a * m)) + ABSOLUTE
        doubt = slope_error(function, m, d) + SUMS * (np.abs(d) + np.abs(a))
        for z in (piece.start, piece.end):
            reach = np.abs(z - m)
            bent = BENT * (1.0 + reach) if INFLECTED.get(function) else 0.0
            top = (base + steep * (z - m)) + (known + doubt * reach * (1.0 + SUMS) + bent)
            # NaN has to stay: where a tangent is unknown, so is the line.
            found = np.where(piece.there, np.maximum(found, top), found)
    return found


# ── where lines touch: guesses ─────────────────────────────────────────────────────────────────
def _pieces(function: Function, sign: float, lo: Array, hi: Array) -> list[_Piece]:
    """The parts of [lo, hi] on which sign·f is concave."""
    place = INFLECTED.get(function)
    match function:
        case "softplus" | "exp" | "square":
            spans = [] if sign > 0 else [(-INFINITE, INFINITE, 0)]
        case "tanh" | "sigmoid":
            spans = [(0.0, INFINITE, 1)] if sign > 0 else [(-INFINITE, 0.0, -1)]
        case "gelu" | "silu":
            assert place is not None
            spans = [(-INFINITE, -place, -1), (place, INFINITE, 1)] if sign > 0 else [(-place, place, 0)]
    pieces = []
    for start, end, side in spans:
        first, last = np.maximum(lo, start), np.minimum(hi, end)
        there = first <= last
        if there.any():
            pieces.append(_Piece(np.where(there, first, lo), np.where(there, last, lo), there, side))
    return pieces


def _touching(
    function: Function, sign: float, a: Array, pieces: list[_Piece], middle: Array | None = None
) -> list[tuple[_Piece, Array]]:
    """Each piece with the point of it at which sign·f has about the slope a (`middle`, where it is known to)."""
    found = []
    for piece in pieces:
        m = _place_of(function, sign * a, piece.side)
        if middle is not None:
            m = np.where((piece.start <= middle) & (middle <= piece.end), middle, m)
        m = np.where(np.isnan(m), piece.start, m)
        found.append((piece, np.minimum(np.maximum(m, piece.start), piece.end)))
    return found


def _hull_edge(function: Function, sign: float, ends: tuple[Array, Array], pieces: list[_Piece]) -> Array:
    """The slope of the edge of the concave hull of sign·f that lies above the middle, about."""
    left, right = ends
    middle = left + (right - left) / 2.0
    tangent = sign * slope(function, middle)
    at_left, at_right = sign * value(function, left), sign * value(function, right)
    edge = _chord(left, right, at_left, at_right, tangent)
    for _ in range(ROUNDS if pieces else 0):
        gain, place, height = np.zeros_like(left), left, at_left
        for piece, m in _touching(function, sign, edge, pieces):
            y = sign * value(function, m)
            beyond = (y - at_left) - edge * (m - left)
            better = piece.there & (beyond > gain)
            gain, place, height = (np.where(better, new, old) for new, old in ((beyond, gain), (m, place), (y, height)))
        to_left, to_right = (gain > 0.0) & (place <= middle), (gain > 0.0) & (place > middle)
        left, at_left = np.where(to_left, place, left), np.where(to_left, height, at_left)
        right, at_right = np.where(to_right, place, right), np.where(to_right, height, at_right)
        edge = _chord(left, right, at_left, at_right, tangent)
    return edge


def _chord(left: Array, right: Array, at_left: Array, at_right: Array, tangent: Array) -> Array:
    width = right - left
    wide = width > NARROW * (np.abs(left) + np.abs(right))
    return np.where(wide, (at_right - at_left) / np.where(wide, width, 1.0), tangent)


def _place_of(function: Function, a: Array, side: int) -> Array:
    """A point on that side at which f′ is about a; NaN or an end where there is none."""
    match function:
        case "tanh":
            return side * np.arctanh(np.sqrt(np.maximum(1.0 - a, 0.0)))
        case "sigmoid":
            return side * 2.0 * np.arctanh(np.sqrt(np.maximum(1.0 - 4.0 * a, 0.0)))
        case "softplus":
            return np.log(a) - np.log1p(-a)
        case "exp":
            return np.log(a)
        case "square":
            return a / 2.0
        case "gelu" | "silu":
            return _place_in_table(function, a, side)


def _place_in_table(function: Function, a: Array, side: int) -> Array:
    """f′(−x) = 1 − f′(x), so that slopes right of 0 are enough: rising to the inflection point, falling after it."""
    rising, falling = _table(function)
    if side:
        places, slopes = falling
        return side * np.interp(a if side > 0 else 1.0 - a, slopes, places)
    places, slopes = rising
    mirrored = a < 0.5
    return np.where(mirrored, -1.0, 1.0) * np.interp(np.where(mirrored, 1.0 - a, a), slopes, places)


@lru_cache(maxsize=2)
def _table(function: Function) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """(places, slopes) of the two parts, slopes rising."""
    turn = INFLECTED[function]
    first, then = np.linspace(0.0, turn, 1025), turn + 40.0 * np.linspace(0.0, 1.0, 4097) ** 2
    return (first, slope(function, first)), (then[::-1], slope(function, then)[::-1])
