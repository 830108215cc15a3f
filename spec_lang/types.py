"""The types of expressions. `UNKNOWN` stands for "already reported" and fits everywhere."""

from __future__ import annotations

from dataclasses import dataclass

from rewarden.spec_lang.features import Feature
from rewarden.spec_lang.units import Dimension, Unit, dimension_unit


@dataclass(frozen=True, slots=True)
class NumberType:
    """A number (size 1) or a vector. `dimension` None: the literal 0, which fits any unit without offset.

    `unit` is how messages name the unit; `affine` marks readings in °C and the like, which only compare; `computed`
    is what sums, products and |…| make, which may be a difference: 5 K is no reading of −268.15 °C.
    """

    dimension: Dimension | None
    unit: str
    affine: bool = False
    size: int = 1
    computed: bool = False

    def __str__(self) -> str:
        if self.size > 1:
            return f"a vector of {self.size}" + (f" [{self.unit}]" if self.unit else "")
        return self.unit if self.dimension else "a plain number"


@dataclass(frozen=True, slots=True)
class BoolType:
    def __str__(self) -> str:
        return "a predicate"


@dataclass(frozen=True, slots=True)
class EnumType:
    feature: str
    cases: tuple[str, ...]

    def __str__(self) -> str:
        return f"enum {self.feature}"


@dataclass(frozen=True, slots=True)
class RecordOf:
    type_name: str

    def __str__(self) -> str:
        return f"a {self.type_name}"


@dataclass(frozen=True, slots=True)
class RowOf:
    """A row of pairs or transitions."""

    members: tuple[tuple[str, str], ...]  # (member, record type)

    def __str__(self) -> str:
        return f"a row of ({', '.join(f'{name}: {kind}' for name, kind in self.members)})"


@dataclass(frozen=True, slots=True)
class UnknownType:
    def __str__(self) -> str:
        return "?"


Type = NumberType | BoolType | EnumType | RecordOf | RowOf | UnknownType

PLAIN_NUMBER = NumberType((), "")
ZERO = NumberType(None, "")
BOOL = BoolType()
UNKNOWN = UnknownType()


def number_in(unit: Unit, text: str | None, size: int = 1) -> NumberType:
    """A quantity read in that unit."""
    return NumberType(unit.dimension, text or "", unit.affine, size)


def derived(dimension: Dimension | None, size: int = 1) -> NumberType:
    """A computed quantity, named by its coherent unit."""
    return NumberType(dimension, dimension_unit(dimension) if dimension else "", size=size, computed=True)


def type_of_feature(feature: Feature, unit: Unit) -> Type:
    match feature.kind:
        case "bool":
            return BOOL
        case "enum":
            return EnumType(feature.name, feature.cases)
        case _:
            return number_in(unit, feature.unit, feature.size)
