"""The smooth functions of rewards in binary64, by additions, multiplications and divisions alone, with proved errors.

No libm takes part: IEEE 754 fixes every operation here completely (numpy rounds each elementwise operation on its own,
and `rint` and `ldexp` are exact), so a result depends on its argument alone, bit for bit, on every machine and in every
batch. And the error can be proved. Let ε = 2^-53; `value` is within `value_error`, `slope` within `slope_error`:

- exp x = 2^k·exp r, k = rint(x/ln 2). ln 2 is HIGH + LOW, HIGH with 42 bits, so that k·HIGH is exact, |r| ≤ 0.3467, and
  r is off by at most 2^-53.9 in all. The series to r^13 leaves 2^-57 of the value; Horner's scheme in n steps is off by
  γ_2n·Σ|terms| (Higham, 5.1), below 56ε of the value. Together less than 2^-46 of it.
- expm1 takes the series without its 1 where k = 0 (relative error the same), and exp x − 1 elsewhere, where that is at
  least 0.29 in size: relative error below 2^-44. Then tanh x = −m/(2 + m) with m = expm1(−2|x|), a quotient of numbers
  of one sign: below 2^-43.
- sigmoid is e/(1 + e) or 1/(1 + e) with e = exp(−|x|) ≤ 1; the slopes 4e/(1 + e)² of tanh (there e = exp(−2|x|)) and
  e/(1 + e)² of sigmoid lose no digits either.
- softplus x = max(x, 0) + log1p(e): log1p(e) = 2·atanh(s), s = e/(2 + e) ≤ 1/3, whose series of positive terms to s^33
  leaves 2^-58 of it.
- Φ, the normal distribution function, for |x| ≤ 8.5: the Taylor polynomial of degree 15 about the nearest multiple c of
  1/8. Its terms are Φ(c) and φ(c)·He_{k−1}(c)·h^k/k!, |h| ≤ 1/16, whose sizes sum to at most 1.92·Φ(c), while
  Φ(c + h) ≥ 0.57·Φ(c): Horner's scheme is off by at most 110ε of the value. What is left out is below 2^-51 of it (the
  generating function e^(|c|t + t²/2) of |He_k|/k! at t = 1). Beyond 8.5 it is 1, off by 2^-56, or 0, off by 2^-56.
  The coefficients are rounded from balls of python-flint.
- gelu x = x·Φ(x) and silu x = x·sigmoid(x); their slopes Φ + x·φ and s + x·s·(1 − s), 1 − s = sigmoid(−x), are sums of
  two terms, and their errors are relative to the sizes of these.

Everything is therefore within RELATIVE = 2^-42 of what it is compared with, plus ABSOLUTE for what underflows
(flushed to zero or not), plus BEYOND where Φ is taken as 0. Tests hold all of it against balls.
"""

from __future__ import annotations

from functools import lru_cache
from math import factorial
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Function = Literal["tanh", "sigmoid", "softplus", "gelu", "silu", "exp", "square"]
FUNCTIONS: tuple[Function, ...] = get_args(Function)

RELATIVE = 2.0**-42
ABSOLUTE = 2.0**-990
BEYOND = 2.0**-53  # what Φ or x·Φ(x) may be left of −8.5, where Φ is taken as 0

_HIGH = float.fromhex("0x1.62e42fefa3800p-1")  # ln 2 to 42 bits
_LOW = float.fromhex("0x1.ef35793c76730p-45")  # the rest, to 53
_LOG2E = float.fromhex("0x1.71547652b82fep+0")
_INVERSE_FACTORIALS = tuple(1.0 / factorial(n) for n in range(14))
_ODD = tuple(2.0 / (2 * j + 1) for j in range(17))
_GRID, _REACH, _DEGREE = 8.0, 8.5, 15
# Where gelu and silu are least, and a number below what they are there.
_LEAST: dict[Function, tuple[float, float]] = {
    "gelu": (-0.7517915246, -0.16997121),
    "silu": (-1.2784645428, -0.27846455),
}
_NEAR = 2.0**-20  # how far those places may be off, generously
# At least |f′|, everywhere; gelu and silu are steepest where they are inflected.
_STEEPEST: dict[Function, float] = {"tanh": 1.0, "sigmoid": 0.25, "softplus": 1.0, "gelu": 1.13, "silu": 1.1}
_ROOT = float.fromhex("0x1.9884533d43651p-2")  # 1/√(2π)


def value(function: Function, x: Array) -> Array:
    """f(x), elementwise."""
    with np.errstate(all="ignore"):
        match function:
            case "tanh":
                m = _expm1(-2.0 * np.abs(x))
                return np.copysign(-m / (2.0 + m), x)
            case "sigmoid":
                return _sigmoid(x)
            case "softplus":
                e = exp(-np.abs(x))
                s = e / (2.0 + e)
                return np.maximum(x, 0.0) + s * _horner(_ODD, s * s)
            case "gelu":
                return x * _normal(x)
            case "silu":
                return x * _sigmoid(x)
            case "exp":
                return exp(x)
            case "square":
                return x * x


def slope(function: Function, x: Array) -> Array:
    """f′(x), elementwise."""
    with np.errstate(all="ignore"):
        match function:
            case "tanh":
                e = exp(-2.0 * np.abs(x))
                return 4.0 * e / ((1.0 + e) * (1.0 + e))
            case "sigmoid":
                e = exp(-np.abs(x))
                return e / ((1.0 + e) * (1.0 + e))
            case "softplus":
                return _sigmoid(x)
            case "gelu":
                return _normal(x) + x * _density(x)
            case "silu":
                s = _sigmoid(x)
                return s + x * (s * _sigmoid(-x))
            case "exp":
                return exp(x)
            case "square":
                return 2.0 * x


def value_error(function: Function, x: Array, y: Array) -> Array:
    """At least |y − f(x)| for y = value(function, x)."""
    error: Array = RELATIVE * np.abs(y) + ABSOLUTE
    return np.where(x < -_REACH, error + BEYOND, error) if function == "gelu" else error


def slope_error(function: Function, x: Array, y: Array) -> Array:
    """At least |y − f′(x)| for y = slope(function, x)."""
    with np.errstate(all="ignore"):
        match function:
            case "gelu":
                size = _normal(x) + np.abs(x) * _density(x)
                return RELATIVE * size + ABSOLUTE + np.where(x < -_REACH, BEYOND, 0.0)
            case "silu":
                s = _sigmoid(x)
                return RELATIVE * (s + np.abs(x) * (s * _sigmoid(-x))) + ABSOLUTE
            case _:
                error: Array = RELATIVE * np.abs(y) + ABSOLUTE
                return error


def extent(function: Function, lo: Array, hi: Array) -> tuple[Array, Array]:
    """(least, most) with least ≤ f(t) ≤ most for lo ≤ t ≤ hi, elementwise. All but square, gelu and silu increase;
    these fall to one minimum and then rise, so that they are largest at an end."""
    with np.errstate(all="ignore"):
        return _extent(function, lo, hi)


def _extent(function: Function, lo: Array, hi: Array) -> tuple[Array, Array]:
    low, high = value(function, lo), value(function, hi)
    low, high = low - value_error(function, lo, low), high + value_error(function, hi, high)
    match function:
        case "tanh":
            return np.maximum(low, -1.0), np.minimum(high, 1.0)
        case "sigmoid":
            return np.maximum(low, 0.0), np.minimum(high, 1.0)
        case "softplus" | "exp":
            return np.maximum(low, 0.0), high
        case _:
            place, least = _LEAST.get(function, (0.0, 0.0))
            other = value(function, hi)
            other = other - value_error(function, hi, other)
            start = value(function, lo)
            start = start + value_error(function, lo, start)
            across = (lo <= place + _NEAR) & (hi >= place - _NEAR)
            return np.where(across, least, np.maximum(np.minimum(low, other), least)), np.maximum(start, high)


def stretch(function: Function, x: Array, radius: Array) -> Array:
    """At least |f′| between x − radius and x + radius, elementwise: by how much f may stretch a distance there."""
    with np.errstate(all="ignore"):
        match function:
            case "exp":
                most = np.nextafter(x + radius, np.inf)
                found = exp(most)
                return found + value_error(function, most, found)
            case "square":
                return 2.0 * np.nextafter(np.abs(x) + radius, np.inf)
            case _:
                return np.full_like(x, _STEEPEST[function])


def exp(x: Array) -> Array:
    """e^x; infinite from about 709.8 on, 0 from about −745 on."""
    kept = np.clip(x, -760.0, 720.0)
    k = np.rint(kept * _LOG2E)
    r = (kept - k * _HIGH) - k * _LOW
    whole = np.where(np.isnan(x), 0.0, k).astype(np.int64)
    scaled: Array = np.ldexp(_horner(_INVERSE_FACTORIALS, r), whole)
    return scaled


def _expm1(x: Array) -> Array:
    """e^x − 1 for x <= 0."""
    near = np.abs(x) < 0.34
    r = np.where(near, x, 0.0)
    return np.where(near, r * _horner(_INVERSE_FACTORIALS[1:], r), exp(x) - 1.0)


def _sigmoid(x: Array) -> Array:
    e = exp(-np.abs(x))
    return np.where(x >= 0.0, 1.0, e) / (1.0 + e)


def _density(x: Array) -> Array:
    """φ(x), the normal density."""
    return _ROOT * exp(-0.5 * np.minimum(x * x, 1600.0))


def _normal(x: Array) -> Array:
    """Φ(x), the normal distribution function."""
    inside = np.clip(np.where(np.isnan(x), 0.0, x), -_REACH, _REACH)
    nearest = np.rint(inside * _GRID)
    h = inside - nearest / _GRID
    place = nearest.astype(np.int64) + int(_REACH * _GRID)
    table = _normal_table()
    total = table[-1][place]
    for coefficients in table[-2::-1]:
        total = total * h + coefficients[place]
    found: Array = np.where(x > _REACH, 1.0, np.where(x < -_REACH, 0.0, total))
    return np.where(np.isnan(x), x, found)


@lru_cache(maxsize=1)
def _normal_table() -> tuple[Array, ...]:
    """[k][grid point]: the k-th Taylor coefficient of Φ there, rounded from a ball of 120 bits."""
    from flint import arb, ctx

    count = int(2 * _REACH * _GRID) + 1
    table = np.empty((_DEGREE + 1, count))
    with ctx.workprec(200):
        for place in range(count):
            c = arb(place - int(_REACH * _GRID)) / int(_GRID)
            density = (-c * c / 2).exp() / (2 * arb.pi()).sqrt()
            table[0, place] = float((-c / arb(2).sqrt()).erfc() / 2)
            before, hermite = arb(0), arb(1)  # He_{k−2}, He_{k−1}
            for k in range(1, _DEGREE + 1):
                table[k, place] = float(density * hermite * (-1) ** (k - 1) / factorial(k))
                before, hermite = hermite, c * hermite - (k - 1) * before
    table.setflags(write=False)
    return tuple(table)


def _horner(coefficients: tuple[float, ...], x: Array) -> Array:
    total = np.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        total = total * x + c
    return total
