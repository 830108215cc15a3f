"""The units of the reference evaluator: a short exact table, read by its own few lines, independent of pint.

A unit is (factor, offset): x in it is x·factor + offset in coherent SI. Angle is a dimension, so a radian is 1 and a
degree is another base unit, also 1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

TABLE = {
    "1": "1",
    "%": "1/100",
    "m": "1",
    "km": "1000",
    "cm": "1/100",
    "mm": "1/1000",
    "inch": "254/10000",
    "ft": "3048/10000",
    "mile": "1609344/1000",
    "s": "1",
    "ms": "1/1000",
    "min": "60",
    "h": "3600",
    "hour": "3600",
    "day": "86400",
    "kg": "1",
    "g": "1/1000",
    "t": "1000",
    "lb": "45359237/100000000",
    "A": "1",
    "K": "1",
    "N": "1",
    "J": "1",
    "kJ": "1000",
    "W": "1",
    "kWh": "3600000",
    "Pa": "1",
    "hPa": "100",
    "bar": "100000",
    "Hz": "1",
    "rad": "1",
    "deg": "1",
    "degC": "1",
    "degF": "5/9",
}
_OFFSETS = {"degC": Fraction(27315, 100), "degF": Fraction(27315, 100) - 32 * Fraction(5, 9)}


@dataclass(frozen=True)
class Scale:
    factor: Fraction
    offset: Fraction = Fraction(0)

    def to_si(self, x: Fraction) -> Fraction:
        return x * self.factor + self.offset

    def from_si(self, x: Fraction) -> Fraction:
        return (x - self.offset) / self.factor


@lru_cache(maxsize=512)
def scale(text: str | None) -> Scale:
    """The scale of a unit such as `km/h`, `kg*m/s^2` or `degC`; KeyError for one that the table lacks."""
    if text is None:
        return Scale(Fraction(1))
    if text in _OFFSETS:
        return Scale(Fraction(TABLE[text]), _OFFSETS[text])
    tokens = re.findall(r"\w+|\S", text)
    factor = _product(tokens)
    assert not tokens, text
    return Scale(factor)


def _product(tokens: list[str]) -> Fraction:
    result = _power(tokens)
    while tokens and tokens[0] in "*/":
        result = result * _power(tokens) if tokens.pop(0) == "*" else result / _power(tokens)
    return result


def _power(tokens: list[str]) -> Fraction:
    token = tokens.pop(0)
    if token == "(":
        base = _product(tokens)
        tokens.pop(0)
    else:
        base = Fraction(TABLE[token])
    if tokens and tokens[0] == "^":
        tokens.pop(0)
        sign = -1 if tokens[0] == "-" else 1
        if sign < 0:
            tokens.pop(0)
        return base ** (sign * int(tokens.pop(0)))
    return base
