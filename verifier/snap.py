"""From a floating-point guess to exact points of a box that a deployed reward can be fed.

Searches work in float64 and miss corners by a hair; a witness is exact. Each guess gives a few exact candidates, the
most useful first: float32 values inside the box (so that the deployed reward sees exactly the witness), the same with
values that hug a bound put on it, or on a simple fraction (which premises with `==` are made of), and the guess itself.
Discrete variables become integers, and the cases of an enum one-hot. Nothing here is trusted: every candidate is
replayed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import ceil, floor, isfinite

import numpy as np

from rewarden.spec_lang.claim import Box, Claim
from rewarden.verifier.exact_program import Point

FAR = 1e38  # from about here on numbers have no binary32
HUG = 1e-6  # of a variable's range: closer to a bound than this is taken to mean the bound


def one_hot_groups(claim: Claim) -> tuple[tuple[int, ...], ...]:
    """The variables `record.feature=case` of each enum, by name. A convenience of searches, never of proofs."""
    groups: dict[str, list[int]] = {}
    for index, variable in enumerate(claim.variables):
        stem, equals, _ = variable.name.rpartition("=")
        if equals and variable.discrete:
            groups.setdefault(stem, []).append(index)
    return tuple(tuple(members) for members in groups.values())


def candidates(claim: Claim, box: Box, guess: Sequence[float]) -> Iterator[Point]:
    """Distinct exact points of `box` near `guess` (one float per variable)."""
    if not all(isfinite(v) for v in guess):
        return
    integers = _integers(claim, box, guess)
    seen: set[Point] = set()
    for snap in (_float32_inside, _hugging, _simple, _exact):
        point = tuple(
            integers[i] if i in integers else snap(v, lo, hi)
            for i, (v, (lo, hi)) in enumerate(zip(guess, box, strict=True))
        )
        if point not in seen:
            seen.add(point)
            yield point


def _integers(claim: Claim, box: Box, guess: Sequence[float]) -> dict[int, Fraction]:
    values = {}
    for index, variable in enumerate(claim.variables):
        if variable.discrete:
            lo, hi = box[index]
            values[index] = Fraction(min(max(round(guess[index]), ceil(lo)), floor(hi)))
    for group in one_hot_groups(claim):
        chosen = max(group, key=lambda i: (box[i][0] >= 1, box[i][1] >= 1, guess[i], -i))
        for i in group:
            values[i] = Fraction(int(i == chosen))
    return values


def _exact(value: float, lo: Fraction, hi: Fraction) -> Fraction:
    return min(max(Fraction(value), lo), hi)


def _float32_inside(value: float, lo: Fraction, hi: Fraction) -> Fraction:
    """The float32 in lo..hi nearest to `value`, roughly; the clamped value itself where the box has none there."""
    if lo == hi:
        return lo
    x = _float32(value)
    for _ in range(2):
        if not isfinite(x):
            break
        top, bottom = float(x).as_integer_ratio()
        above = lo.numerator * bottom <= top * lo.denominator  # as `lo <= x`, at a fifth of the cost
        if above and top * hi.denominator <= hi.numerator * bottom:
            return Fraction(top, bottom)
        x = np.nextafter(x, np.float32(-np.inf if above else np.inf))
    clamped = _exact(value, lo, hi)
    for direction in (np.inf, -np.inf):
        near = np.nextafter(np.float32(float(clamped)), np.float32(direction))
        if np.isfinite(near) and lo <= Fraction(float(near)) <= hi:
            return Fraction(float(near))
    return clamped


def _float32(value: float) -> np.float32:
    if abs(value) < FAR:
        return np.float32(value)
    with np.errstate(over="ignore"):
        return np.float32(value)


def _simple(value: float, lo: Fraction, hi: Fraction) -> Fraction:
    """A fraction of small denominator, where one is as close as a bound must be to be hugged; else as `_hugging`."""
    near = Fraction(value).limit_denominator(1000)
    if lo <= near <= hi and abs(near - Fraction(value)) <= Fraction(HUG) * (hi - lo):
        return near
    return _hugging(value, lo, hi)


def _hugging(value: float, lo: Fraction, hi: Fraction) -> Fraction:
    """Bounds exactly where the guess hugs them, else float32 inside."""
    margin = HUG * float(hi - lo)
    if value - float(lo) <= margin:
        return lo
    if float(hi) - value <= margin:
        return hi
    return _float32_inside(value, lo, hi)
