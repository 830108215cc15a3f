"""Smooth functions against balls: values, slopes, extents and lines are what they say, whatever the interval."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from flint import arb, ctx

from rewarden.reward.balls import ends, smooth
from rewarden.reward.elementary import FUNCTIONS, extent, slope, slope_error, stretch, value, value_error
from rewarden.verifier.smooth_lines import (
    INFLECTED,
    product_extent,
    product_lines,
    slopes_between,
    smooth_lines,
)

BITS = 400
RIGHT_OF_ALL = {"exp": 700.0}


def enclosed(function: str, x: float) -> tuple[Fraction, Fraction]:
    """So narrow that a bound on the wrong side of it, but not of the value, would be a bound in all but name."""
    with ctx.workprec(BITS):
        found = ends(smooth(function, arb(x)))
    assert found is not None
    return found


def slope_enclosed(function: str, x: float) -> tuple[Fraction, Fraction]:
    """The derivative, by a formula that shares nothing with the one under test."""
    with ctx.workprec(BITS):
        t = arb(x)
        s = 1 / (1 + (-t).exp())
        bell = (-t * t / 2).exp() / (2 * arb.pi()).sqrt()
        found = ends(
            {
                "tanh": 1 / t.cosh() ** 2,
                "sigmoid": s * (1 - s),
                "softplus": s,
                "gelu": (1 + (t / arb(2).sqrt()).erf()) / 2 + t * bell,
                "silu": s + t * s * (1 - s),
                "exp": t.exp(),
                "square": 2 * t,
            }[function]
        )
    assert found is not None
    return found


def places(rng: np.random.Generator, function: str, count: int) -> np.ndarray:
    """Everywhere: around 0 and the inflection points, far out, tiny, where the evaluation changes its method."""
    turn = INFLECTED.get(function, 0.0)
    near = rng.choice([0.0, turn, -turn, 0.17, -0.17, 0.34, 8.5, -8.5, 0.5, 37.0, -40.0], count)
    kinds = (
        rng.normal(size=count) * 3,
        near + rng.normal(size=count) * 10.0 ** rng.uniform(-17, 0, count),
        rng.choice([-1.0, 1.0], count) * 10.0 ** rng.uniform(-300, 2, count),
        rng.normal(size=count) * 60,
    )
    chosen = np.choose(rng.integers(0, len(kinds), count), kinds)
    return np.clip(chosen, -1e4, RIGHT_OF_ALL.get(function, 1e4))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_values_and_slopes_are_within_their_errors(function):
    rng = np.random.default_rng(1)
    x = np.concatenate([places(rng, function, 2500), [0.0, -0.0, 8.5, -8.5, np.nextafter(-8.5, -9), 600.0, -2000.0]])
    y, d = value(function, x), slope(function, x)
    for at, one, error, steep, doubt in zip(
        x, y, value_error(function, x, y), d, slope_error(function, x, d), strict=True
    ):
        lo, hi = enclosed(function, at)
        assert Fraction(one) - Fraction(error) <= hi
        assert lo <= Fraction(one) + Fraction(error)
        lo, hi = slope_enclosed(function, at)
        assert Fraction(steep) - Fraction(doubt) <= hi
        assert lo <= Fraction(steep) + Fraction(doubt)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_errors_that_are_claimed_are_far_above_those_that_occur(function):
    """A hundred times, but for what is left out of gelu's far left tail."""
    rng = np.random.default_rng(2)
    x = np.clip(places(rng, function, 500), -8.5, 300.0)
    y = value(function, x)
    for at, one, error in zip(x, y, value_error(function, x, y), strict=True):
        lo, _ = enclosed(function, at)
        assert abs(Fraction(one) - lo) <= Fraction(error) / 100 + Fraction(1, 2**1000)


def test_an_evaluation_depends_on_its_argument_alone():
    rng = np.random.default_rng(3)
    for function in FUNCTIONS:
        x = places(rng, function, 301)
        together = value(function, x)
        assert b"".join(value(function, x[i : i + 1]).tobytes() for i in range(301)) == together.tobytes()
        assert value(function, x[::-2]).tobytes() == together[::-2].tobytes()


def intervals(rng: np.random.Generator, function: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Degenerate, tiny, around inflections, huge, one-sided."""
    one = places(rng, function, count)
    width = np.where(rng.random(count) < 0.1, 0.0, 10.0 ** rng.uniform(-18, 2.5, count))
    other = one + width * rng.choice([-1.0, 1.0], count)
    lo, hi = np.minimum(one, other), np.maximum(one, other)
    top = RIGHT_OF_ALL.get(function, np.inf)
    return np.minimum(lo, top), np.minimum(hi, top)


def inside(rng: np.random.Generator, lo: float, hi: float) -> list[float]:
    """The ends, and points between, some next to the ends."""
    shares = [*rng.random(3), 1e-9, 1 - 1e-9]
    return [lo, hi, *(min(max(lo + (hi - lo) * s, lo), hi) for s in shares)]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_lines_and_extents_hold_everywhere(function):
    rng = np.random.default_rng(4)
    lo, hi = intervals(rng, function, 1500)
    band, (least, most) = smooth_lines(function, lo, hi), extent(function, lo, hi)
    for k in range(len(lo)):
        lower, below, upper, above = (
            Fraction(float(side[k])) for side in (band.lower, band.below, band.upper, band.above)
        )
        for z in inside(rng, float(lo[k]), float(hi[k])):
            bottom, top = enclosed(function, z)
            assert Fraction(float(least[k])) <= top
            assert bottom <= Fraction(float(most[k]))
            assert lower * Fraction(z) + below <= top, (lo[k], hi[k], z)
            assert upper * Fraction(z) + above >= bottom, (lo[k], hi[k], z)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_lines_tighten_with_the_square_of_the_width(function):
    """The gap at the middle is at most that of chord and tangent, times four, as soon as rounding allows."""
    rng = np.random.default_rng(5)
    centre = rng.uniform(-6, 6, 400)
    for width in (1.0, 0.1, 1e-2, 1e-3):
        lo, hi = centre - width / 2, centre + width / 2
        band = smooth_lines(function, lo, hi)
        gap = (band.upper - band.lower) * centre + band.above - band.below
        steepest = 1.0 if function != "exp" else np.exp(hi)
        assert (gap <= 0.5 * (2.0 if function == "square" else 1.2) * steepest * width**2 + 1e-10 * steepest).all()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_lines_are_close_to_the_hull(function):
    """Over wide intervals, too: at the middle within a fifth of the hull's own gap."""
    rng = np.random.default_rng(6)
    ends_of = np.sort(rng.uniform(-9, 9, (300, 2)), axis=1)
    lo, hi = ends_of[:, 0], ends_of[:, 1]
    band = smooth_lines(function, lo, hi)
    middle = (lo + hi) / 2
    for k in range(len(lo)):
        z = np.linspace(lo[k], hi[k], 801)
        y = value(function, z)
        left, right = z <= middle[k], z >= middle[k]
        share = (middle[k] - z[left])[:, None] / np.maximum(z[right][None, :] - z[left][:, None], 1e-300)
        mixed = y[left][:, None] + share * (y[right][None, :] - y[left][:, None])
        top, bottom = mixed.max(), mixed.min()
        scale = 1e-6 + (top - bottom)
        assert band.upper[k] * middle[k] + band.above[k] <= top + 0.2 * scale
        assert band.lower[k] * middle[k] + band.below[k] >= bottom - 0.2 * scale


@pytest.mark.parametrize("function", FUNCTIONS)
def test_numbers_out_of_range_prove_nothing(function):
    lo = np.array([-np.inf, 0.0, -np.inf, np.nan, 1e300, -1e308])
    hi = np.array([0.0, np.inf, np.inf, 1.0, 1e308, 1e308])
    band = smooth_lines(function, lo, hi)
    for k in range(len(lo)):
        for z in (-1e300, -2.0, 0.0, 0.5, 2.0, 1e300):
            if not lo[k] <= z <= hi[k]:
                continue
            with np.errstate(all="ignore"):
                upper = band.upper[k] * z + band.above[k]
                lower = band.lower[k] * z + band.below[k]
                y = float(value(function, np.array([z]))[0])
            assert not np.isfinite(upper) or upper >= y - 1e-9 * abs(y)
            assert not np.isfinite(lower) or lower <= y + 1e-9 * abs(y)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_distances_are_not_stretched_further(function):
    rng = np.random.default_rng(7)
    lo, hi = intervals(rng, function, 400)
    lo, hi = np.maximum(lo, -600.0), np.maximum(hi, -600.0)
    middle = lo + (hi - lo) / 2
    radius = np.nextafter(np.maximum(hi - middle, middle - lo), np.inf)
    most = stretch(function, middle, radius)
    least_slope, most_slope = slopes_between(function, lo, hi)
    for k in range(len(lo)):
        for z in inside(rng, float(lo[k]), float(hi[k])):
            bottom, top = slope_enclosed(function, z)
            assert Fraction(float(most[k])) >= max(-top, bottom)
            assert float(least_slope[k]) - 1e-9 * (1 + abs(float(least_slope[k]))) <= float(top)
            assert float(most_slope[k]) + 1e-9 * (1 + abs(float(most_slope[k]))) >= float(bottom)


def test_products_lie_between_their_planes():
    rng = np.random.default_rng(8)
    ends_of = rng.normal(size=(2, 3000, 2)) * 10.0 ** rng.uniform(-20, 20, (1, 3000, 1))
    ends_of[1] = np.where(rng.random((3000, 2)) < 0.2, ends_of[0], ends_of[1])
    lo, hi = ends_of.min(0), ends_of.max(0)
    band, (least, most) = product_lines(lo, hi), product_extent(lo, hi)
    for k in range(len(lo)):
        for _ in range(4):
            share = rng.choice([0.0, 1.0, rng.random()], 2)
            a, b = (Fraction(min(max(lo[k, i] + (hi[k, i] - lo[k, i]) * share[i], lo[k, i]), hi[k, i])) for i in (0, 1))
            plane = Fraction(band.lower[k, 0]) * a + Fraction(band.lower[k, 1]) * b
            assert plane + Fraction(band.below[k, 0]) <= a * b <= plane + Fraction(band.above[k, 0])
            assert Fraction(least[k, 0]) <= a * b <= Fraction(most[k, 0])
