"""Lines around smooth functions and products as the certificate kernel draws them, in plain floats and many at once.

The same steps as `kernel_smooth` (docs/formats.md, "Lines of smooth functions"): an interval in `PIECES` pieces,
between whose ends a function leaves its chord by at most f″·h²/8; the slope is that of the edge of the hull above the
middle. Nothing rests on it: the kernel computes every line again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewarden.reward.elementary import Function, exp, value

Array = NDArray[np.float64]
PIECES = 15
NOTCH = 2.0**-12  # of the size of a line: by how much binary64 may draw it elsewhere, in units of a neuron's width
ROOT = 0.3989422804014327
RISING = ("tanh", "sigmoid", "softplus", "exp")


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """least <= y <= most; lower·z − drop <= y <= upper·z + shift. Of a product two slopes for each output, a's first.
    `doubt`: how wide the interval counts where the kernel's lines may differ."""

    least: Tensor
    most: Tensor
    lower: Tensor
    drop: Tensor
    upper: Tensor
    shift: Tensor
    doubt: Tensor


def curve(function: Function | None, lo: Tensor, hi: Tensor) -> Curve:
    """Elementwise; of a product (no function), `lo` and `hi` have a's entries first."""
    low, high = np.minimum(lo.numpy(), hi.numpy()), np.maximum(lo.numpy(), hi.numpy())
    with np.errstate(all="ignore"):
        found = _product(low, high) if function is None else _smooth(function, low, high)
    return Curve(*(torch.from_numpy(np.ascontiguousarray(x)) for x in found))


def _product(low: Array, high: Array) -> tuple[Array, ...]:
    n = low.shape[-1] // 2
    middle, radius = (low + high) / 2.0, (high - low) / 2.0
    a, b = middle[..., :n], middle[..., n:]
    corners = np.stack([p * q for p in (low[..., :n], high[..., :n]) for q in (low[..., n:], high[..., n:])])
    apart = radius[..., :n] * radius[..., n:]
    slopes = np.concatenate((b, a), axis=-1)
    size = (np.abs(a) + radius[..., :n]) * (np.abs(b) + radius[..., n:])
    return corners.min(0), corners.max(0), slopes, apart + a * b, slopes, apart - a * b, NOTCH * size + apart


def _smooth(function: Function, low: Array, high: Array) -> tuple[Array, ...]:
    width = high - low
    places = low[..., None] + width[..., None] * (np.arange(PIECES + 1) / PIECES)
    values = value(function, places)
    first, last = _bend(function, places)
    eighth = (width / PIECES) ** 2 / 8.0
    below = np.maximum(last, 0.0) * eighth[..., None]
    above = np.maximum(-first, 0.0) * eighth[..., None]
    if function in RISING:
        least, most = values[..., 0], values[..., -1]
    elif function == "square":
        least = np.where((low < 0) & (high > 0), 0.0, np.minimum(values[..., 0], values[..., -1]))
        most = np.maximum(values[..., 0], values[..., -1])
    else:
        least = (np.minimum(values[..., 1:], values[..., :-1]) - below).min(-1)
        most = (np.maximum(values[..., 1:], values[..., :-1]) + above).max(-1)
    upper, shift = _line(places, values, above)
    lower, drop = _line(places, -values, below)
    size = np.maximum(np.abs(least), np.abs(most)) + np.maximum(np.abs(upper), np.abs(lower)) * np.maximum(
        np.abs(low), np.abs(high)
    )
    return least, most, -lower, drop, upper, shift, width * (1.0 + np.abs(upper) + np.abs(lower)) + NOTCH * size


def _bend(function: Function, places: Array) -> tuple[Array, Array]:
    """f″ on each piece, between two numbers."""
    x = places[..., :-1], places[..., 1:]
    if function == "square":
        return np.full_like(x[0], 2.0), np.full_like(x[0], 2.0)
    if function == "gelu":
        density = ROOT * exp(-0.5 * np.minimum(places * places, 1400.0))
        ends = density[..., :-1], density[..., 1:]
        across = (x[0] < 0) & (x[1] > 0)
        square = _square(x)
        known = np.minimum(*ends), np.where(across, ROOT, np.maximum(*ends))
        return _times(known, (2.0 - square[1], 2.0 - square[0]))
    if function == "exp":
        grown = exp(places)
        return grown[..., :-1], grown[..., 1:]
    turn = value("tanh", places if function == "tanh" else places / 2.0)
    d = turn[..., :-1], turn[..., 1:]
    square, minus = _square(d), (-d[1], -d[0])
    rest = 1.0 - square[1], 1.0 - square[0]
    quarter = rest[0] / 4.0, rest[1] / 4.0
    match function:
        case "tanh":
            low, high = _times(minus, rest)
            return 2.0 * low, 2.0 * high
        case "softplus":
            return quarter
        case "sigmoid":
            return _times(minus, quarter)
        case _:  # silu
            low, high = _times(x, minus)
            return _times((2.0 + low, 2.0 + high), quarter)


def _square(x: tuple[Array, Array]) -> tuple[Array, Array]:
    size = np.abs(x[0]), np.abs(x[1])
    least = np.where((x[0] <= 0) & (x[1] >= 0), 0.0, np.minimum(*size))
    return least * least, np.maximum(*size) ** 2


def _times(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
    ends = np.stack([x * y for x in a for y in b])
    return np.asarray(ends.min(0)), np.asarray(ends.max(0))


def _line(places: Array, values: Array, beyond: Array) -> tuple[Array, Array]:
    """Slope and shift of the line above values and what is between them."""
    shape = places.shape[:-1]
    first, last = np.zeros(shape, np.int64), np.full(shape, PIECES)
    number = np.arange(PIECES + 1)

    def pick(table: Array, at: NDArray[np.int64]) -> Array:
        return np.take_along_axis(table, at[..., None], -1)

    for _ in range(PIECES):
        x, y = pick(places, first), pick(values, first)
        run, rise = pick(places, last) - x, pick(values, last) - y
        heights = (values - y) * run - rise * (places - x)
        inside = (number > first[..., None]) & (number < last[..., None])
        heights = np.where(inside, heights, -np.inf)
        k = heights.argmax(-1)
        better = pick(heights, k)[..., 0] > 0
        if not better.any():
            break
        left = better & (2 * k < PIECES)
        first, last = np.where(left, k, first), np.where(better & ~left, k, last)
    run = (pick(places, last) - pick(places, first))[..., 0]
    slope = np.where(run > 0, (pick(values, last) - pick(values, first))[..., 0] / np.where(run > 0, run, 1.0), 0.0)
    tops = values - slope[..., None] * places
    return slope, np.maximum(tops.max(-1), (np.maximum(tops[..., 1:], tops[..., :-1]) + beyond).max(-1))
