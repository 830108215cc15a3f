"""Ranges read off values: decimal ends that contain every one of them, and how the values lie inside."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from fractions import Fraction
from math import floor, log10

import numpy as np
from numpy.typing import NDArray

from rewarden.draft.field import REVIEW
from rewarden.spec_lang.numerals import decimal

Values = NDArray[np.float64]
_FAR = 3.0  # interquartile ranges from the quartiles: far out in Tukey's sense
_ENOUGH = 20  # values from which quantiles say something


def widened(lo: float, hi: float) -> tuple[str, str]:
    """Decimal numbers outside of lo and hi, rounded outward to two significant digits of their distance."""
    width = hi - lo or abs(hi) or 1.0
    # Half the sum, so that the distance of two huge ends does not overflow.
    size = log10(width) if width < float("inf") else log10(hi / 2 - lo / 2)
    unit = Decimal(1).scaleb(max(floor(size) - 1, -300))
    with localcontext() as context:
        context.prec = 1100  # every binary64 number is exact in it
        low = (Decimal(lo) / unit).to_integral_value(ROUND_FLOOR)
        high = (Decimal(hi) / unit).to_integral_value(ROUND_CEILING)
        return decimal(Fraction(low * unit)), decimal(Fraction(max(high, low + 1) * unit))


def widened_int(lo: float, hi: float) -> tuple[str, str]:
    """Whole numbers outside of lo and hi, at least one apart, rounded as above where they are far apart."""
    if hi - lo < 100:
        return str(int(lo)), str(max(int(hi), int(lo) + 1))
    return widened(lo, hi)


def short(value: float) -> str:
    """Three significant digits, for remarks."""
    return f"{value:.3g}"


def range_notes(values: Values) -> tuple[str, ...]:
    """How values lie in their range, for a reviewer: constant, quantiles, and values that lie far out."""
    least, most = float(values.min()), float(values.max())
    if least == most:
        return (f"{REVIEW}: always {short(least)} in the data",)
    if values.size < _ENOUGH:
        return (f"{REVIEW}: only {values.size} values seen",)
    first, q1, q3, last = (float(q) for q in np.quantile(values, (0.01, 0.25, 0.75, 0.99)))
    notes = [f"1 % to 99 %: {short(first)} .. {short(last)}"]
    far = (values < q1 - _FAR * (q3 - q1)) | (values > q3 + _FAR * (q3 - q1))
    # Where half the values are equal, everything else counts as far out, which says nothing.
    if q3 > q1 and 0 < far.sum() <= values.size // 100:
        ends = [short(v) for v in sorted({float(values[far].min()), float(values[far].max())})]
        notes.append(f"{REVIEW}: {far.sum()} of {values.size} values lie far out ({' .. '.join(ends)})")
    return tuple(notes)
