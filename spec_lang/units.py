"""Units of measurement with exact factors to coherent SI.

Unit expressions (`kg*m/s^2`) are read here; what a single name means is asked of pint, whose definitions are loaded
with exact fractions and two changes. The radian is a base unit (angle is a dimension). The degree is another one,
and so is π: no rational factor leads from the one to the other, and a quantity that hides a π shows it in
its dimension, where it is refused instead of rounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from functools import lru_cache
from importlib.resources import files
from typing import Protocol, cast

Dimension = tuple[tuple[str, int], ...]  # ((base unit, exponent), …), sorted; () for a plain number

MAX_EXPONENT = 12
FACTOR_BITS = 2_000  # of a unit's exact factor: no honest unit comes near

_NO_SUCH_UNIT = "units are those of physics; what has none of them, such as money, is a number without a unit"

_ANGLES = {
    "radian": "radian = [angle] = rad",
    "degree": "degree = [angle_in_degrees] = deg = arcdeg = arcdegree = angular_degree",
    "turn": "turn = 360 * degree = _ = revolution = cycle = circle",
    "grade": "grade = 9 / 10 * degree = grad = gon = gradian",
    "mil": "mil = 9 / 160 * degree",
    "pi": "pi = [pi] = π",
}
_SYMBOLS = {
    "meter": "m",
    "kilogram": "kg",
    "second": "s",
    "ampere": "A",
    "kelvin": "K",
    "mole": "mol",
    "candela": "cd",
    "radian": "rad",
    "degree": "deg",
}
_NAMES: dict[Dimension, str] = {
    (): "a plain number",
    (("m", 1),): "length",
    (("m", 2),): "area",
    (("m", 3),): "volume",
    (("s", 1),): "time",
    (("s", -1),): "frequency",
    (("m", 1), ("s", -1)): "velocity",
    (("m", 1), ("s", -2)): "acceleration",
    (("m", 1), ("s", -3)): "jerk",
    (("kg", 1),): "mass",
    (("kg", 1), ("m", 1), ("s", -1)): "momentum",
    (("kg", 1), ("m", 1), ("s", -2)): "force",
    (("kg", 1), ("m", 2), ("s", -2)): "energy",
    (("kg", 1), ("m", 2), ("s", -3)): "power",
    (("kg", 1), ("m", -1), ("s", -2)): "pressure",
    (("K", 1),): "temperature",
    (("A", 1),): "current",
    (("A", 1), ("s", 1)): "charge",
    (("rad", 1),): "angle",
    (("deg", 1),): "angle",
    (("rad", 1), ("s", -1)): "angular velocity",
    (("deg", 1), ("s", -1)): "angular velocity",
}


class UnitError(ValueError):
    """A unit that is refused; `code` is one of U01, U03 … U06."""

    def __init__(self, code: str, message: str, help: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.help = help


@dataclass(frozen=True, slots=True)
class Unit:
    """x in this unit is x·factor + offset in coherent SI."""

    text: str
    dimension: Dimension
    factor: Fraction
    offset: Fraction = Fraction(0)
    affine: bool = False  # °C and °F, even though some offset could be 0: such readings only compare

    def to_si(self, value: Fraction) -> Fraction:
        return value * self.factor + self.offset

    def from_si(self, value: Fraction) -> Fraction:
        return (value - self.offset) / self.factor


PLAIN = Unit("1", (), Fraction(1))


@lru_cache(maxsize=4096)
def unit(text: str) -> Unit:
    """The unit that the text between the brackets names; UnitError. `unit("%")` is 1/100."""
    tokens = re.findall(r"\*\*|[A-Za-z_°µμΩΩÅ%][\w°]*|\d+|\S", text)
    reader = _Reader(text, tokens)
    result = reader.product()
    if reader.position != len(tokens):
        raise _malformed(text)
    return Unit(text, result.dimension, result.factor, result.offset, result.affine)


def unit_or_plain(text: str | None) -> Unit:
    return PLAIN if text is None else unit(text)


def multiply(a: Dimension, b: Dimension, sign: int = 1) -> Dimension:
    """The dimension of a product, or of a quotient (sign −1)."""
    exponents = dict(a)
    for base, exponent in b:
        exponents[base] = exponents.get(base, 0) + sign * exponent
    return _dimension(exponents.items())


def dimension_name(dimension: Dimension) -> str:
    """A word for it: `velocity`; a unit expression where there is no word."""
    return _NAMES.get(dimension) or dimension_unit(dimension)


def dimension_unit(dimension: Dimension) -> str:
    """The coherent unit of a dimension: `m/s`."""
    above = [_power(b, e) for b, e in dimension if e > 0]
    below = [_power(b, -e) for b, e in dimension if e < 0]
    text = "*".join(above) or "1"
    if not below:
        return text
    return f"{text}/{below[0]}" if len(below) == 1 else f"{text}/({'*'.join(below)})"


def same_but_for_angle(a: Dimension, b: Dimension) -> bool:
    """Whether only degrees against radians keep two dimensions apart."""
    return a != b and _in_radians(a) == _in_radians(b)


def degrees_to_radians(a: Dimension, b: Dimension) -> int:
    """n such that a value of dimension a, times (π/180)ⁿ, is of dimension b (given that only angles differ)."""
    return dict(a).get("deg", 0) - dict(b).get("deg", 0)


# ── reading ────────────────────────────────────────────────────────────────────────────────────
@dataclass(slots=True)
class _Reader:
    """Recursive descent over a unit expression (at most limits.UNIT_LENGTH characters)."""

    text: str
    tokens: list[str]
    position: int = 0

    def _next(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def product(self) -> Unit:
        result = self.power()
        while self._next() in ("*", "/", "·"):
            sign = -1 if self._next() == "/" else 1
            self.position += 1
            result = self._times(result, self.power(), sign)
        return result

    def power(self) -> Unit:
        base = self.atom()
        if self._next() not in ("^", "**"):
            return base
        self.position += 1
        sign = 1
        if self._next() == "-":
            sign = -1
            self.position += 1
        digits = self._next()
        if not re.fullmatch(r"[0-9]{1,2}", digits) or not 1 <= int(digits) <= MAX_EXPONENT:
            raise _malformed(self.text)
        self.position += 1
        result = PLAIN
        for _ in range(int(digits)):
            result = self._times(result, base, sign)
        return result

    def atom(self) -> Unit:
        token = self._next()
        self.position += 1
        if token == "1":
            return PLAIN
        if token == "(":
            inner = self.product()
            if self._next() != ")":
                raise _malformed(self.text)
            self.position += 1
            return inner
        if not token or not (token[0].isalpha() or token[0] in "_°%"):
            raise _malformed(self.text)
        return _named(token)

    def _times(self, a: Unit, b: Unit, sign: int) -> Unit:
        if a.affine or b.affine:
            name = a.text if a.affine else b.text
            raise UnitError("U04", f"{name} has an offset and stands alone only", "write K for a difference")
        factor = a.factor * b.factor if sign > 0 else a.factor / b.factor
        if factor.numerator.bit_length() + factor.denominator.bit_length() > FACTOR_BITS:
            raise UnitError("U06", f"the unit [{self.text}] is too large", "powers of powers grow beyond all measure")
        return Unit("", multiply(a.dimension, b.dimension, sign), factor)


def _malformed(text: str) -> UnitError:
    return UnitError("U06", f"cannot read the unit [{text}]", "write products, quotients and powers, as in kg*m/s^2")


def _dimension(items: Iterable[tuple[str, int]]) -> Dimension:
    return tuple(sorted((b, e) for b, e in items if e))


def _power(base: str, exponent: int) -> str:
    return base if exponent == 1 else f"{base}^{exponent}"


def _in_radians(dimension: Dimension) -> Dimension:
    exponents = dict(dimension)
    degrees = exponents.pop("deg", 0)
    exponents["rad"] = exponents.get("rad", 0) + degrees
    return _dimension(exponents.items())


# ── what pint knows ────────────────────────────────────────────────────────────────────────────
class _Quantity(Protocol):
    _is_multiplicative: bool
    magnitude: object

    def to(self, base: object) -> _Quantity: ...


class _Registry(Protocol):
    """The part of pint that is used here."""

    def __iter__(self) -> Iterator[str]: ...
    def parse_unit_name(self, name: str, case_sensitive: bool = ...) -> tuple[tuple[str, str, str], ...]: ...
    def get_base_units(self, name: str) -> tuple[object, object]: ...
    def get_name(self, name: str) -> str: ...
    def Quantity(self, value: Fraction, name: str) -> _Quantity: ...


@lru_cache(maxsize=1)
def _registry() -> _Registry:
    """pint's definitions, with exact fractions and the angles above. Imported on first use: it takes 0.3 s."""
    import pint

    folder = files("pint")
    text = folder.joinpath("default_en.txt").read_text("utf-8")
    text = text.replace("@import constants_en.txt", folder.joinpath("constants_en.txt").read_text("utf-8"))
    lines = [_ANGLES.get(line.split("=")[0].strip(), line) for line in text.splitlines()]
    return cast(_Registry, pint.UnitRegistry(lines, non_int_type=Fraction))


@lru_cache(maxsize=4096)
def _named(name: str) -> Unit:
    """A single unit name, such as `km` or `degC`."""
    if name == "%":
        return Unit(name, (), Fraction(1, 100))
    registry = _registry()
    try:
        known = bool(registry.parse_unit_name(name))
        quantity = registry.Quantity(Fraction(1), name)
        factor, base = registry.get_base_units(name)
    except Exception:  # pint raises many kinds for a name that it cannot take apart, such as a multiple of degC
        known = False
    if not known:
        raise UnitError("U01", f"unknown unit {name}", _meant(registry, name) or _NO_SUCH_UNIT)
    dimension = _base_dimension(name, base)
    if not quantity._is_multiplicative:
        return _affine(registry, name, base, dimension)
    if any(b == "pi" for b, _ in dimension) or not isinstance(factor, (int, Fraction)):
        raise _inexact(name)
    return Unit(name, dimension, Fraction(factor))


def _meant(registry: _Registry, name: str) -> str | None:
    """The unit in another case (`Kg`, `mmhg`), or a long name misspelt: short ones are all like one another."""
    if registry.parse_unit_name(name):  # known, and only this use of it is not: a multiple of degC
        return None
    if registry.parse_unit_name(name.lower()):
        return f"did you mean {name.lower()}?"
    if len(name) >= 4:
        for close in get_close_matches(name, [known for known in registry if known[0] == name[0]], n=1, cutoff=0.75):
            return f"did you mean {close}?"
    for prefix, base, _ in registry.parse_unit_name(name, case_sensitive=False):
        return f"did you mean {prefix}{base}?"
    return None


def _affine(registry: _Registry, name: str, base: object, dimension: Dimension) -> Unit:
    """A unit with an offset, from its value at 0 and at 1 (both exact); UnitError U05 for a logarithmic one."""
    if not _temperature(dimension):
        raise UnitError("U05", f"{name} is a logarithmic unit", "write the linear quantity")
    zero = registry.Quantity(Fraction(0), name).to(base).magnitude
    one = registry.Quantity(Fraction(1), name).to(base).magnitude
    if not isinstance(zero, (int, Fraction)) or not isinstance(one, (int, Fraction)):
        raise _inexact(name)
    return Unit(name, dimension, Fraction(one) - Fraction(zero), Fraction(zero), affine=True)


def _temperature(dimension: Dimension) -> bool:
    """Of pint's units without a plain factor, those of temperature have an offset and all others are logarithmic."""
    return dimension == (("K", 1),)


def _inexact(name: str) -> UnitError:
    return UnitError("U03", f"{name} has no exact rational factor to SI", "write the quantity in SI units")


def _base_dimension(name: str, base: object) -> Dimension:
    exponents: dict[str, object] = dict(getattr(base, "_units"))  # noqa: B009
    found: list[tuple[str, int]] = []
    for symbol, exponent in exponents.items():
        if not isinstance(exponent, (int, float, Fraction)) or exponent != int(exponent):
            raise UnitError("U06", f"{name} is a fractional power of {symbol}", "write whole powers")
        found.append((_SYMBOLS.get(symbol, symbol), int(exponent)))
    return _dimension(found)
