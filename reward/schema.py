"""Schemas: is an artifact's own sound, and does it fit the symbol that a spec binds it to?"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from rewarden.reward.artifact import RewardRecord
from rewarden.reward.widths import MAX_WIDTH
from rewarden.spec_lang.errors import ArtifactError, BindingError
from rewarden.spec_lang.features import Feature, RecordType

MAX_DIGITS = 400  # of a range's numerator or denominator: exact arithmetic on longer ones is a trap
MAX_TEXT = 200
MAX_FLOAT32 = (2**24 - 1) * 2**104


# ── an artifact's own schema ───────────────────────────────────────────────────────────────────
def check_records(records: tuple[RewardRecord, ...]) -> None:
    """Names are names, ranges are ranges, widths are bounded. Raises ArtifactError A13 or A20."""
    if not records:
        raise ArtifactError("A13", "the reward has no records", help="a reward reads at least one record")
    _check_names([r.param for r in records], "record")
    for record in records:
        if not _is_name(record.type.name):
            raise ArtifactError("A13", f"{record.type.name!r} is not the name of a record type")
        if not record.type.features:
            raise ArtifactError("A13", f"record type {record.type.name} has no features")
        _check_names([f.name for f in record.type.features], f"feature of {record.type.name}")
        for feature in record.type.features:
            if problem := _feature_problem(feature):
                raise ArtifactError("A13", f"feature {feature.name} of {record.type.name}: {problem}")
    if sum(f.width for r in records for f in r.type.features) > MAX_WIDTH:
        raise ArtifactError("A20", f"the records encode to more than {MAX_WIDTH} columns")


def _feature_problem(f: Feature) -> str | None:
    if f.lo > f.hi:
        return f"its range {f.lo} .. {f.hi} is empty"
    if any(n.bit_length() > 3 * MAX_DIGITS for v in (f.lo, f.hi) for n in Fraction(v).as_integer_ratio()):
        return "its range has numbers of absurd length"
    if f.unit is not None and not (f.unit.strip() and f.unit.isprintable() and len(f.unit) <= MAX_TEXT):
        return "its unit is not a line of text"
    if f.kind not in ("real", "int", "bool", "enum"):
        return f"its kind {f.kind!r} is unknown"
    if max(abs(f.lo), abs(f.hi)) > MAX_FLOAT32:
        return "its range goes beyond what binary32 can hold"
    if f.kind in ("bool", "enum") and (f.lo != 0 or f.hi != 1):
        return f"a {f.kind} spans 0 .. 1, not {f.lo} .. {f.hi}"
    if f.kind == "int" and (f.lo.denominator, f.hi.denominator) != (1, 1):
        return f"the range of an int is whole numbers, not {f.lo} .. {f.hi}"
    if not 1 <= f.size <= MAX_WIDTH or (f.kind == "enum" and f.size != 1):
        return f"its size is {f.size}"
    if (f.kind == "enum") != bool(f.cases):
        return "an enum, and only an enum, has cases"
    if len(set(f.cases)) != len(f.cases) or not all(_is_name(c) for c in f.cases):
        return "its cases are not distinct names"
    return None


def _check_names(names: list[str], what: str) -> None:
    for name in names:
        if not _is_name(name):
            raise ArtifactError("A13", f"{name!r} is not the name of a {what}", help="names are letters, digits and _")
    for a, b in pairwise(sorted(names)):
        if a == b:
            raise ArtifactError("A13", f"there are two of the name {a!r}", help=f"each {what} has its own name")


def _is_name(text: str) -> bool:
    return text.isidentifier() and len(text) <= MAX_TEXT


# ── binding ────────────────────────────────────────────────────────────────────────────────────
def check_binding(records: tuple[RewardRecord, ...], declared: tuple[tuple[str, RecordType], ...], symbol: str) -> None:
    """The artifact's records fit the spec's declaration of `symbol`. Raises BindingError B01 to B07.

    Parameters match by position (their names are the spec's own business), features by name and order. The
    artifact's ranges must contain the spec's: what a spec says about a reward is about where the reward is declared.
    """
    if len(records) != len(declared):
        raise BindingError(
            "B01",
            f"{symbol} takes {len(declared)} record(s), the artifact takes {len(records)}",
            help="declare it as " + _signature(symbol, records),
        )
    for record, (param, declared_type) in zip(records, declared, strict=True):
        _check_features(record, declared_type, f"{symbol}({param}: {declared_type.name})")


def _check_features(record: RewardRecord, declared: RecordType, where: str) -> None:
    ours, theirs = ([f.name for f in t.features] for t in (record.type, declared))
    if missing := [n for n in theirs if n not in ours]:
        raise BindingError("B02", f"{where}: the artifact does not read {missing[0]!r}", help=_reads(record.type))
    if extra := [n for n in ours if n not in theirs]:
        raise BindingError("B02", f"{where}: the artifact reads {extra[0]!r} too", help=_reads(record.type))
    if ours != theirs:
        raise BindingError("B03", f"{where}: the features stand in another order", help=_reads(record.type))
    for own, other in zip(record.type.features, declared.features, strict=True):
        _check_feature(own, other, f"{where}.{other.name}")


def _check_feature(own: Feature, declared: Feature, where: str) -> None:
    if own.kind != declared.kind:
        raise BindingError(
            "B04", f"{where} is declared {declared.kind}, the artifact reads {own.kind}", help=_declare(own)
        )
    if own.size != declared.size:
        raise BindingError(
            "B04", f"{where} is declared with size {declared.size}, the artifact reads {own.size}", help=_declare(own)
        )
    if own.unit != declared.unit:
        raise BindingError(
            "B05",
            f"{where} is declared in {declared.unit or 'no unit'}, the artifact reads {own.unit or 'no unit'}",
            help=_declare(own) + " (rules may still use any unit of the same dimension)",
        )
    if own.cases != declared.cases:
        raise BindingError(
            "B06",
            f"{where} has the cases {', '.join(declared.cases)}, the artifact's are {', '.join(own.cases)}",
            help=_declare(own),
        )
    if not (own.lo <= declared.lo and declared.hi <= own.hi):
        raise BindingError(
            "B07",
            f"{where} is declared in {declared.lo} .. {declared.hi}, the artifact only covers {own.lo} .. {own.hi}",
            help="narrow the spec's range, or learn the reward on a wider one",
        )


def _reads(record: RecordType) -> str:
    return "the artifact reads, in this order: " + ", ".join(f.name for f in record.features)


def _signature(symbol: str, records: tuple[RewardRecord, ...]) -> str:
    return f"{symbol}({', '.join(f'{r.param}: {r.type.name}' for r in records)})"


def _declare(f: Feature) -> str:
    """How the spec would declare the feature as the artifact has it."""
    unit = "" if f.unit is None else f" [{f.unit}]"
    match f.kind:
        case "enum":
            return f"declare {f.name} : enum {{{', '.join(f.cases)}}}"
        case "bool":
            return f"declare {f.name} : bool"
        case kind:
            size = "" if f.size == 1 else f" ^ {f.size}"
            return f"declare {f.name} : {kind}{size}{unit} in {f.lo} .. {f.hi}"
