"""What bounding does to arrays besides products of matrices: each a single pass over memory, compiled.

Written with tensors, each of these is some twenty operations that read and write whole arrays, and they cost as much as
all products together. numba is asked for nothing but IEEE 754 operations as written; `SUMS` lets it add up in another
order, which every error bound here covers. Functions call no other compiled one: a kept one would not notice a change
of it (`cells/search.py`).

Comparisons are written so that NaN and infinities prove nothing: a bound that is not a number becomes infinite.
"""

from __future__ import annotations

import math
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from rewarden.verifier.relaxation import CHORD_STEPS
from rewarden.verifier.rounding import INFLATE, TINY, UNIT

Array = NDArray[np.float64]
Floats = NDArray[Any]  # of a format's dtype
Indices = NDArray[np.int64]

SUMS = {"reassoc"}


@nb.njit(cache=True, nogil=True, error_model="numpy")
def boxes(lo: Array, hi: Array, up: Floats, unit: float, small: float) -> tuple[Array, Array, Array, Array]:
    """Middle, radius, size [box, variable], mass [box] of boxes. To `up` [2·box, variable] go, in a format and rounded
    up, the radii and then |middle| + radius."""
    count, width = lo.shape
    middle, radius, size = np.empty((count, width)), np.empty((count, width)), np.empty((count, width))
    mass = np.empty(count)
    for b in range(count):
        total = 1.0
        for j in range(width):
            least, most = lo[b, j], hi[b, j]
            m = least + 0.5 * (most - least)
            r = max(most - m, m - least) * (1.0 + 4.0 * UNIT) + TINY
            s = max(abs(least), abs(most))
            middle[b, j], radius[b, j], size[b, j] = m, r, s
            up[b, j] = r * (1.0 + 4.0 * unit) + small
            up[count + b, j] = (abs(m) + r) * (1.0 + 4.0 * unit) + small
            total += s
        mass[b] = total
    return middle, radius, size, mass


@nb.njit(cache=True, nogil=True, error_model="numpy")
def intervals(
    z: Array,
    sums: Floats,
    offset: Array,
    own: Array,
    mass: Array,
    up: Floats,
    factors: tuple[float, float, float, float, float],
) -> tuple[Array, Array, Array, Array, Array]:
    """Bounds of what a node's relus read: lo, hi, noise, size of the outputs, and their middle, all [box, neuron].

    `z` is at the middles of what it reads, `sums` [2·box, neuron] Σ|w|·radius and then Σ|w|·(|middle| + radius) in a
    format; `offset` [neuron] the biases; `own` [box or 1, neuron] what is unknown of them and of the weights, times
    values. `mass` grows. `up` as in `boxes`, of the outputs. `factors`: 1 + relative error of sums, γ of z, γ of a
    back-substituted coefficient's product; the format's unit, and what underflow takes from each unit of mass.
    """
    grow, of_sum, of_product, unit, small = factors
    count, width = z.shape
    shape = (count, width)
    lo, hi, noise, size, middle = np.empty(shape), np.empty(shape), np.empty(shape), np.empty(shape), np.empty(shape)
    reach = np.empty(width)
    for b in range(count):
        lost = small * mass[b]
        total = 0.0
        for j in range(width):
            reach[j] = (abs(offset[j]) + sums[count + b, j]) * grow + lost
            total += reach[j]
        mass[b] += 2.0 * total
        mine = b if own.shape[0] > 1 else 0
        for j in range(width):
            unknown = own[mine, j]
            wrong = (of_sum * reach[j] + unknown) * INFLATE + TINY * (mass[b] + reach[j])
            spread = (sums[b, j] * grow + lost) + wrong
            least, most = z[b, j] - spread, z[b, j] + spread
            least = -np.inf if math.isnan(least) else least
            most = np.inf if math.isnan(most) else most
            lo[b, j], hi[b, j] = least, most
            noise[b, j] = (of_product * reach[j] + unknown + 4.0 * UNIT * max(abs(least), abs(most))) * INFLATE
            below, above = max(least, 0.0), max(most, 0.0)
            m = 0.5 * below + 0.5 * above
            r = max(above - m, m - below) * (1.0 + 4.0 * UNIT) + TINY
            size[b, j], middle[b, j] = above, m
            up[b, j] = r * (1.0 + 4.0 * unit) + small
            up[count + b, j] = (m + r) * (1.0 + 4.0 * unit) + small
    return lo, hi, noise, size, middle


@nb.njit(cache=True, nogil=True, error_model="numpy")
def chords(lo: Array, hi: Array) -> tuple[Array, Array, Array]:
    """`relaxation.relu_lines` without gates, to the last bit: slopes below and above, and the intercept above."""
    count, width = lo.shape
    lower, upper, intercept = np.empty((count, width)), np.empty((count, width)), np.empty((count, width))
    for b in range(count):
        for j in range(width):
            least, most = lo[b, j], hi[b, j]
            if least >= 0.0:
                lower[b, j], upper[b, j], intercept[b, j] = 1.0, 1.0, 0.0
            elif most <= 0.0:
                lower[b, j], upper[b, j], intercept[b, j] = 0.0, 0.0, 0.0
            else:
                chord = np.floor(most / (most - least) * CHORD_STEPS) / CHORD_STEPS
                if chord < 0.0:
                    chord = 0.0
                elif chord > 1.0:
                    chord = 1.0
                left, right = -chord * least, (1.0 - chord) * most
                need = left if left > right or math.isnan(left) else right
                lower[b, j] = 1.0 if most > -least else 0.0
                upper[b, j], intercept[b, j] = chord, need * (1.0 + 2.0**-50) + 2.0**-1000
    return lower, upper, intercept


@nb.njit(cache=True, nogil=True, error_model="numpy")
def on_inputs(
    coefficients: Array,
    lines: tuple[Array, Array, Array, Array],
    noise: Array,
    bias: Array,
    constant: Array,
    error: Array,
    of_sum: float,
) -> Array:
    """[box, row, neuron]: coefficients on the outputs of relus as coefficients on what they read; `constant` and
    `error` [box, row] are brought up to date. `lines`: below, above, intercept, and multipliers of held neurons (or
    nothing, of no box). Coefficients may be shared by all boxes."""
    lower, upper, intercept, held = lines
    count, width = noise.shape
    rows = constant.shape[1]
    found = np.empty((count, rows, width))
    for b in range(count):
        mine = b if coefficients.shape[0] > 1 else 0
        for r in range(rows):
            drop, product, lost = 0.0, 0.0, 0.0
            for j in range(width):
                a = coefficients[mine, r, j]
                on_z = a * lower[b, j] if a >= 0.0 else a * upper[b, j]
                drop += 0.0 if a >= 0.0 else a * intercept[b, j]
                if held.shape[0] > 0:
                    on_z -= held[b, j]
                found[b, r, j] = on_z
                product += on_z * bias[j]
                lost += abs(on_z) * noise[b, j]
            constant[b, r] += drop
            error[b, r] += lost + of_sum * abs(drop) + 2.0 * UNIT * abs(constant[b, r])
            constant[b, r] += product
            error[b, r] += 2.0 * UNIT * abs(constant[b, r])
    return found


@nb.njit(cache=True, nogil=True, error_model="numpy")
def least_values(
    slope: Array,
    box: tuple[Array, Array, Array, Array],
    constant: Array,
    error: Array,
    of_sum: float,
) -> Array:
    """[box, row]: rigorous least values of slope·x + constant − error. `box`: middle, radius, size and mass."""
    middle, radius, size, mass = box
    count, width = middle.shape
    rows = constant.shape[1]
    found = np.empty((count, rows))
    for b in range(count):
        mine = b if slope.shape[0] > 1 else 0
        for r in range(rows):
            at, down, reach = 0.0, 0.0, 0.0
            for j in range(width):
                a = slope[mine, r, j]
                at += a * middle[b, j]
                down += abs(a) * radius[b, j]
                reach += abs(a) * (size[b, j] + radius[b, j])
            least = at - down
            wrong = error[b, r] + 2.0 * of_sum * reach + 8.0 * UNIT * (abs(least) + abs(constant[b, r]))
            found[b, r] = (least + constant[b, r]) - (wrong * INFLATE + TINY * mass[b]) * (1.0 + 8.0 * UNIT)
    return found


@nb.njit(cache=True, nogil=True, error_model="numpy")
def first_rows(weight: Floats, box: Indices, row: Indices, lower: Floats, upper: Floats) -> Floats:
    """[2·pair, neuron]: rows of weights on outputs, as coefficients on what the relus read: of z, then of −z."""
    pairs, width = box.shape[0], weight.shape[1]
    found = np.empty((2 * pairs, width), weight.dtype)
    for i in range(pairs):
        b, r = box[i], row[i]
        for j in range(width):
            a, below, above = weight[r, j], lower[b, j], upper[b, j]
            found[i, j] = a * (below if a >= 0 else above)
            found[pairs + i, j] = -a * (above if a >= 0 else below)
    return found


@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def through(coefficients: Floats, owner: Indices, slopes: tuple[Floats, Floats], ends: tuple[Array, Array]) -> Array:
    """In place, coefficients [row, neuron] on y as those on ζ; what the constants gain, [row]."""
    (lower, upper), (floor, ceiling) = slopes, ends
    count, width = coefficients.shape
    more = np.empty(count)
    for i in range(count):
        b = owner[i]
        total = 0.0
        for j in range(width):
            a = coefficients[i, j]
            coefficients[i, j] = a * (lower[b, j] if a >= 0 else upper[b, j])
            total += np.float64(a) * (floor[b, j] if a >= 0 else ceiling[b, j])
        more[i] = total
    return more


@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def weighed(coefficients: Floats, owner: Indices, vector: Floats) -> Floats:
    """[row]: |coefficients|·vector of the row's box, in their format."""
    count, width = coefficients.shape
    found = np.zeros(count, coefficients.dtype)
    for i in range(count):
        b = owner[i]
        total = found[i]
        for j in range(width):
            total += abs(coefficients[i, j]) * vector[b, j]
        found[i] = total
    return found


@nb.njit(cache=True, nogil=True, error_model="numpy")
def sizes(values: Array, up: Floats, unit: float, small: float) -> None:
    """|values| [box, neuron] to `up`, rounded up to a format."""
    for b in range(values.shape[0]):
        for j in range(values.shape[1]):
            up[b, j] = abs(values[b, j]) * (1.0 + 4.0 * unit) + small


@nb.njit(cache=True, nogil=True, error_model="numpy")
def unsure(
    sums: tuple[Floats, Floats], offset: Array, own: Array, mass: Array, factors: tuple[float, float, float]
) -> tuple[Array, Array]:
    """Bounds of |ε| and |ζ| of `sharpen`, [box, neuron]. `sums`: Σ|w|·|p| and Σ|w|·|y|; the rest as in `intervals`, of
    whose factors it takes the first two and the last."""
    (at, away), (grow, of_sum, small) = sums, factors
    count, width = at.shape
    noise, spread = np.empty((count, width)), np.empty((count, width))
    for b in range(count):
        lost = small * mass[b]
        mine = b if own.shape[0] > 1 else 0
        for j in range(width):
            size = (abs(offset[j]) + at[b, j]) * grow + lost
            noise[b, j] = (of_sum * size + own[mine, j]) * INFLATE + TINY * (mass[b] + size)
            spread[b, j] = away[b, j] * grow + lost
    return noise, spread


@nb.njit(cache=True, nogil=True, error_model="numpy")
def outputs(
    bounds: tuple[Array, Array],
    about: tuple[Array, Array, Array],
    flushed: Array,
    slopes: tuple[Floats, Floats],
    up: tuple[Floats, Floats],
    factors: tuple[float, float, float, float],
) -> tuple[Array, Array, Array]:
    """A node's relus about their middles, once their bounds are final (`sharpen`): the point p, floor and ceiling.

    `about`: c, |ε|, |ζ|. Written to: `slopes` in the format, and `up`, there rounded up, |y| and the charge.
    `flushed` [box]: what underflow may take from a unit of coefficient. `factors`: unit roundoff and underflow of the
    format, what a unit of |ζ| and one of a constant cost.
    """
    (lo, hi), (centre, own, spread), (lower, upper), (reach, charge) = bounds, about, slopes, up
    unit, small, of_spread, of_constant = factors
    count, width = lo.shape
    point, floor, ceiling = np.empty((count, width)), np.empty((count, width)), np.empty((count, width))
    for b in range(count):
        for j in range(width):
            least, most, c = lo[b, j], hi[b, j], centre[b, j]
            below_slope, above_slope, intercept = 0.0, 0.0, 0.0
            if least >= 0.0:
                below_slope, above_slope = 1.0, 1.0
            elif not most <= 0.0:
                chord = np.floor(most / (most - least) * CHORD_STEPS) / CHORD_STEPS
                if chord < 0.0:
                    chord = 0.0
                elif chord > 1.0:
                    chord = 1.0
                left, right = -chord * least, (1.0 - chord) * most
                need = left if left > right or math.isnan(left) else right
                below_slope = 1.0 if most > -least else 0.0
                above_slope, intercept = chord, need * (1.0 + 2.0**-50) + 2.0**-1000
            below, above = max(least, 0.0), max(most, 0.0)
            p = 0.5 * below + 0.5 * above
            far = max(most - c, c - least)
            noise = (4.0 * unit * far + of_spread * spread[b, j] + own[b, j] + flushed[b]) * INFLATE
            constants = of_constant * (abs(c) + abs(p) + intercept)
            steep = max(below_slope, above_slope)
            point[b, j] = p
            floor[b, j] = below_slope * c - p
            ceiling[b, j] = above_slope * c + intercept - p
            lower[b, j], upper[b, j] = below_slope, above_slope
            reach[b, j] = (max(above - p, p - below) * (1.0 + 4.0 * UNIT) + TINY) * (1.0 + 4.0 * unit) + small
            charge[b, j] = ((steep * noise + constants) * INFLATE) * (1.0 + 4.0 * unit) + small
    return point, floor, ceiling
