"""What the reference evaluator computes with: records, traces, rows, and numbers as Fractions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import isqrt

from rewarden.spec_lang.features import RecordType

Record = Mapping[str, object]


class Irrational(Exception):
    """A square root without a rational value: this point is of no use to an exact comparison."""


@dataclass(frozen=True)
class Typed:
    """A record with its type."""

    type: RecordType
    values: Record


@dataclass(frozen=True)
class Case:
    name: str
    among: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Path:
    """A trace, or a cycle: then the last record moves on to the first."""

    records: tuple[Typed, ...]
    closed: bool = False

    def moves(self) -> list[tuple[Typed, Typed]]:
        following = self.records[1:] + (self.records[:1] if self.closed else ())
        return list(zip(self.records, following, strict=False))


@dataclass(frozen=True)
class Row:
    """A row of data: its records by member, one named "" where the row is one record."""

    members: Mapping[str, Typed]

    def records(self) -> list[Typed]:
        return list(self.members.values())


Bound = Typed | Path | Row | tuple[Typed, Typed]  # what a name can stand for; a pair is a move of a trace


def encode(record: Typed) -> list[Fraction]:
    """The encoded columns: one-hot cases, 0/1 bools, the rest as it is."""
    columns: list[Fraction] = []
    for f in record.type.features:
        v = record.values[f.name]
        if f.kind == "enum":
            columns.extend(Fraction(int(c == v)) for c in f.cases)
        else:
            columns.extend(Fraction(x) for x in elements(v))
    return columns


def root(square: Fraction) -> Fraction:
    p, q = isqrt(square.numerator), isqrt(square.denominator)
    if p * p != square.numerator or q * q != square.denominator:
        raise Irrational
    return Fraction(p, q)


def local(name: str) -> str:
    """A case's own name: cases belong to their enum, whatever a used file declares by that name."""
    return name.rpartition(".")[2]


def elements(v) -> tuple[Fraction, ...]:
    return v if isinstance(v, tuple) else (Fraction(v),)


def holds(op: str, a: object, b: object) -> bool:
    match op:
        case "<":
            return a < b
        case "<=":
            return a <= b
        case ">":
            return a > b
        case ">=":
            return a >= b
        case "==":
            return a == b
    return a != b
