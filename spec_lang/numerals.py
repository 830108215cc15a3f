"""Exact numbers as text that the language reads back: decimals where they are finite, else a quotient."""

from __future__ import annotations

from fractions import Fraction

_LONG = 24  # digits on either side of the point before the exponent form is easier to read


def decimal(value: Fraction) -> str:
    """`0.05`, `-3`, `1e-30`; `1 / 3` for a number that no short finite decimal is."""
    sign = "-" if value < 0 else ""
    p, q = abs(value.numerator), value.denominator
    twos, fives, rest = 0, 0, q
    while rest % 2 == 0:
        rest //= 2
        twos += 1
    while rest % 5 == 0:
        rest //= 5
        fives += 1
    places = max(twos, fives)
    if rest != 1 or places > 1000:
        return f"{sign}{p} / {q}"
    digits = str(p * 10**places // q)
    whole = digits.rstrip("0") or "0"
    exponent = len(digits) - len(whole) - places  # value = whole · 10^exponent
    if p and (exponent > _LONG or places > _LONG):
        return f"{sign}{whole}e{exponent}"
    if places == 0:
        return sign + digits
    padded = digits.rjust(places + 1, "0")
    return f"{sign}{padded[:-places]}.{padded[-places:]}"


def normalised(text: str) -> tuple[str, int]:
    """(significant digits, exponent) of an unsigned literal, from its text alone: no large number is ever made."""
    mantissa, _, power = text.lower().partition("e")
    whole, _, part = mantissa.partition(".")
    digits = (whole + part).lstrip("0")
    kept = digits.rstrip("0")
    if not kept:
        return "", 0
    return kept, int(power or "0") - len(part) + len(digits) - len(kept)
