"""Numbers of few digits, rounded to the side on which what was measured still holds."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from math import floor, log10

from rewarden.spec_lang.numerals import decimal


def above(value: float, digits: int = 2) -> Fraction:
    """The least number of so many significant digits that is at least `value`."""
    return _to_digits(value, digits, ROUND_CEILING)


def below(value: float, digits: int = 2) -> Fraction:
    """The greatest number of so many significant digits that is at most `value`."""
    return _to_digits(value, digits, ROUND_FLOOR)


def nearest(value: float, digits: int = 2) -> Fraction:
    """The nearest number of so many significant digits."""
    return _to_digits(value, digits, ROUND_HALF_EVEN)


def _to_digits(value: float, digits: int, rounding: str) -> Fraction:
    if value == 0:
        return Fraction(0)
    return _to_unit(value, floor(log10(abs(value))) - digits + 1, rounding)


def step_above(value: float, width: float) -> Fraction:
    """The least multiple of a round step, some hundredths of `width`, that is at least `value`."""
    return _to_unit(value, _step(width), ROUND_CEILING)


def step_below(value: float, width: float) -> Fraction:
    """The greatest such multiple that is at most `value`."""
    return _to_unit(value, _step(width), ROUND_FLOOR)


def _step(width: float) -> int:
    """The power of ten of which `width` holds 100 to 999."""
    return floor(log10(width)) - 2 if width > 0 else 0


def _to_unit(value: float, exponent: int, rounding: str) -> Fraction:
    unit = Decimal(1).scaleb(exponent)
    with localcontext() as context:
        context.prec = 1100  # every binary64 number is exact in it
        return Fraction((Decimal(value) / unit).to_integral_value(rounding) * unit)


def literal(value: Fraction, unit: str | None) -> str:
    """As a spec writes it: `0.5 [m/s]`."""
    return decimal(value) + (f" [{unit}]" if unit is not None and value != 0 else "")


def share_text(part: int, whole: int) -> str:
    """`99.9 %`, rounded down: all of it is said of all of it only."""
    if whole == 0:
        return "none"
    return "100 %" if part == whole else f"{floor(1000 * part / whole) / 10:g} %"


def short(value: float) -> str:
    """Three significant digits, for remarks."""
    return f"{value:.3g}"
