"""Rationals as the decimals of a query, without exponents: VNN-LIB 2 knows none.

A number with a finite decimal of at most 80 significant digits is written exactly: that covers what specs say and what
data hold (binary32 and nearly all binary64 numbers). Any other is rounded *outward*: the caller says which side is
safe, and both the decimal and the binary64 number nearest to it lie on that side. So a reader in exact arithmetic and
one in binary64 both see a constraint that is weaker than the one that was meant.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal

from rewarden.spec_lang.errors import Unsupported

Side = Literal["below", "above"]
DIGITS = 80  # significant ones of an exact decimal
LONGEST = 2048  # bits of a denominator that is looked at


def exact_decimal(value: Fraction) -> str | None:
    """`0.05`, `-3.0`: the number itself; None where it has no finite decimal."""
    twos, odd = _power(value.denominator, 2)
    fives, rest = _power(odd, 5)
    if rest != 1:
        return None
    places = max(twos, fives, 1)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    whole, part = digits[:-places], digits[-places:].rstrip("0") or "0"
    return f"{'-' if value < 0 else ''}{whole}.{part}"


def short_decimal(value: Fraction) -> str | None:
    """The number itself, where at most DIGITS significant digits say it."""
    text = exact_decimal(value) if value.denominator.bit_length() <= LONGEST else None
    return text if text is not None and _significant(text) <= DIGITS else None


def outward(value: Fraction, side: Side) -> tuple[str, bool]:
    """A decimal at the value (True), or else on the given side of it. Unsupported (X31) beyond binary64."""
    text = short_decimal(value)
    if text is not None and abs(value) < Fraction(10) ** 308:
        return text, True
    direction = -math.inf if side == "below" else math.inf
    try:
        near = float(value)
    except OverflowError:
        near = math.inf
    for _ in range(3):
        if not math.isfinite(near):
            break
        text = positional(near)
        if _on_side(Fraction(near), value, side) and _on_side(Fraction(text), value, side):
            return text, False
        near = math.nextafter(near, direction)
    raise Unsupported("X31", "a number of the rule is beyond the range of binary64", help="rescale the features")


def positional(value: float) -> str:
    """The shortest decimal that reads back as this number, without an exponent."""
    text = exact_decimal(Fraction(repr(value)))
    assert text is not None, "what repr writes is a decimal"
    return text


def _on_side(shown: Fraction, value: Fraction, side: Side) -> bool:
    return shown <= value if side == "below" else shown >= value


def _significant(text: str) -> int:
    return len(text.replace("-", "").replace(".", "").strip("0"))


def _power(number: int, prime: int) -> tuple[int, int]:
    """(k, rest) with number = prime^k · rest. By squarings: a denominator may have thousands of digits."""
    count = 0
    while number % prime == 0:
        step, power = 1, prime
        while number % (power * power) == 0:
            power, step = power * power, 2 * step
        number //= power
        count += step
    return count, number
