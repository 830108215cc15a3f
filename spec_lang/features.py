"""Features and record types: what a reward reads, in the words and units of the domain.

Shared by the language (declarations), the reward artifact (its schema) and every table of data.
A record's *encoding* is a flat row of numbers in problem units: one column for a `real`, `int` or
`bool` (0/1), `size` columns for a vector, one 0/1 column per case of an `enum` (one-hot, in
declaration order).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Literal

Kind = Literal["real", "int", "bool", "enum"]


@dataclass(frozen=True, slots=True)
class Feature:
    """One named feature. `lo`/`hi` are exact, in the declared `unit`; bools and enum columns span 0..1."""

    name: str
    kind: Kind
    lo: Fraction
    hi: Fraction
    unit: str | None = None
    cases: tuple[str, ...] = ()
    size: int = 1

    @property
    def width(self) -> int:
        """Number of encoded columns."""
        return len(self.cases) if self.kind == "enum" else self.size

    @property
    def is_vector(self) -> bool:
        return self.size > 1

    def columns(self) -> tuple[Column, ...]:
        """The encoded columns, in order."""
        discrete = self.kind != "real"
        if self.kind == "enum":
            return tuple(Column(self.name, discrete, self.lo, self.hi, self.unit, case=case) for case in self.cases)
        if self.size == 1:
            return (Column(self.name, discrete, self.lo, self.hi, self.unit),)
        return _elements(self)


@lru_cache(maxsize=16)  # asked for again and again, and there may be thousands
def _elements(feature: Feature) -> tuple[Column, ...]:
    name, discrete, lo, hi, unit = feature.name, feature.kind != "real", feature.lo, feature.hi, feature.unit
    return tuple(Column(name, discrete, lo, hi, unit, element=k) for k in range(feature.size))


@dataclass(frozen=True, slots=True)
class Column:
    """One encoded column of a record: `speed`, `zone=dock` or `e[3]`."""

    feature: str
    discrete: bool
    lo: Fraction
    hi: Fraction
    unit: str | None = None
    case: str | None = None
    element: int | None = None

    @property
    def name(self) -> str:
        if self.case is not None:
            return f"{self.feature}={self.case}"
        return self.feature if self.element is None else f"{self.feature}[{self.element}]"


@dataclass(frozen=True, slots=True)
class RecordType:
    """A `features` declaration: an ordered set of features under a name."""

    name: str
    features: tuple[Feature, ...]

    @property
    def width(self) -> int:
        return sum(f.width for f in self.features)

    def unqualified(self) -> RecordType:
        """The type as the file that declares it names it: `Step` for `v.Step`. Artifacts know no files."""
        return replace(self, name=self.name.rpartition(".")[2])

    def columns(self) -> tuple[Column, ...]:
        return tuple(c for f in self.features for c in f.columns())

    def feature(self, name: str) -> Feature:
        """The feature of that name; KeyError if there is none."""
        for f in self.features:
            if f.name == name:
                return f
        raise KeyError(name)

    def offset(self, name: str) -> int:
        """Index of the feature's first encoded column; KeyError if there is none."""
        position = 0
        for f in self.features:
            if f.name == name:
                return position
            position += f.width
        raise KeyError(name)
