"""Records, demands and clashes as a person would write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from rewarden.spec_lang.evaluate import value
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.obligation import Call, Const, Obligation
from rewarden.spec_lang.sanity.cases import Signature
from rewarden.spec_lang.sanity.clash import Asked, Clash
from rewarden.spec_lang.sanity.demands import Literal, Value
from rewarden.spec_lang.sanity.joint import numbers, put
from rewarden.spec_lang.sanity.places import Places, listed, quoted
from rewarden.spec_lang.sentence import number_text

FEATURES = 12
"""Features of one record that are shown; machine-readable results have them all."""

Key = tuple[str, tuple[Fraction, ...]]  # a record: its type and encoded columns


@dataclass(frozen=True, slots=True)
class NamedRecord:
    """A record of a situation, in problem units."""

    name: str
    type_name: str
    columns: tuple[Fraction, ...]


def records_of(obligation: Obligation, values: Sequence[Fraction]) -> tuple[NamedRecord, ...]:
    """The records of a rule at values of its variables."""
    return tuple(
        NamedRecord(view.name, view.type_name, tuple(values[index] for index in view.variables))
        for view in obligation.records
    )


def situation_text(records: Sequence[NamedRecord], types: Mapping[str, RecordType]) -> str:
    """`s = {speed = 1 [m/s], zone = dock, human_near = true}`, for each record."""
    return ", ".join(f"{r.name} = {record_text(types[r.type_name], r.columns)}" for r in records)


def record_text(record: RecordType, columns: Sequence[Fraction]) -> str:
    shown = [f"{feature.name} = {_feature_text(feature, part)}" for feature, part in features_of(record, columns)]
    if len(shown) > FEATURES:
        shown = [*shown[:FEATURES], "…"]
    return "{" + ", ".join(shown) + "}"


def features_of(record: RecordType, columns: Sequence[Fraction]) -> Iterator[tuple[Feature, Sequence[Fraction]]]:
    """Each feature with its columns."""
    start = 0
    for feature in record.features:
        yield feature, columns[start : start + feature.width]
        start += feature.width


def _feature_text(feature: Feature, part: Sequence[Fraction]) -> str:
    match feature.kind:
        case "bool":
            return "true" if part[0] else "false"
        case "enum":
            return next((case for case, on in zip(feature.cases, part, strict=True) if on == 1), "none")
    unit = f" [{feature.unit}]" if feature.unit else ""
    if not feature.is_vector:
        return number_text(part[0]) + unit
    texts = [number_text(x) for x in part[:4]] + (["…"] if len(part) > 4 else [])
    return "[" + ", ".join(texts) + "]" + unit


# ── clashes ────────────────────────────────────────────────────────────────────────────────────
class Telling:
    """A clash in words: every record gets a name, that of a rule's own record where it is free. Mutable while the
    names are given, in the order in which the rules are told."""

    def __init__(self, clash: Clash, signature: Signature, places: Places) -> None:
        self._signature = signature
        self._places = places
        self._names: dict[Key, str] = {}
        self._taken: set[str] = set()
        self._shown: dict[Key, None] = {}
        self._clash = clash
        for asked in clash.asked:
            self._name(asked)
        self.asks = tuple(self._asks(asked) for asked in clash.asked)

    @property
    def records(self) -> tuple[NamedRecord, ...]:
        """Those that the rules speak of, as named."""
        return tuple(NamedRecord(self._names[key], *key) for key in self._shown)

    def sentence(self, types: Mapping[str, RecordType]) -> str:
        """`at s = {…} a asks R(s) <= 0 and b asks R(s) >= 1`."""
        told = listed([f"{a.instance.rule} asks {text}" for a, text in zip(self._clash.asked, self.asks, strict=True)])
        return f"at {situation_text(self.records, types)} {told}" if self.records else told

    def _name(self, asked: Asked) -> None:
        if asked.instance.values is None:
            return
        for record in records_of(asked.instance.obligation, asked.instance.values):
            key = (record.type_name, record.columns)
            self._give(key, record.name)
            if not record.name.startswith("anchor("):
                self._shown[key] = None

    def _give(self, key: Key, wish: str) -> str:
        if key not in self._names:
            name, count = wish, 1
            while name in self._taken:
                count += 1
                name = f"{wish}{count}"
            self._names[key] = name
            self._taken.add(name)
        return self._names[key]

    def _asks(self, asked: Asked) -> str:
        if asked.literals:
            return " or ".join(self._literal(literal, asked) for literal in asked.literals)
        text = quoted(self._places.rules[asked.instance.rule].expect.span)
        if len(self._clash.asked) == 1:
            return f"{text}, which no reward makes true"
        records = records_of(asked.instance.obligation, asked.instance.values or ()) if asked.instance.values else ()
        names = [(record.name, self._names[record.type_name, record.columns]) for record in records]
        others = [f"{own} is {name}" for own, name in names if own != name]
        return f"{text} ({', '.join(others)})" if others else text

    def _literal(self, literal: Literal, asked: Asked) -> str:
        at = asked.instance.values or ()
        by = 1 / abs(literal.values[0][1])
        terms = [(c * by, self._value(v, asked)) for v, c in literal.values]
        limit = -value(literal.rest, at) * by
        left = [(c, text) for c, text in terms if c > 0]
        right = [(-c, text) for c, text in terms if c < 0]
        relation = ">" if literal.strict else ">="
        if not left:
            left, right, limit, relation = right, [], -limit, relation.replace(">", "<")
        return f"{_sum(left, Fraction(0))} {relation} {_sum(right, limit)}"

    def _value(self, found: Value, asked: Asked) -> str:
        if not isinstance(found, Call):
            level = "" if found.level is None else f", {number_text(found.level)}"
            return f"{found.kind}({found.reward}({found.data}){level})"
        if asked.instance.values is None:
            return f"{found.reward}(row of {asked.rows})"
        call = put(found, numbers(asked.instance.values))
        assert isinstance(call, Call)
        columns = [term.value for term in call.arguments if isinstance(term, Const)]
        names, start = [], 0
        for type_name, width in self._signature[found.reward]:
            key = (type_name, tuple(columns[start : start + width]))
            self._shown[key] = None
            names.append(self._give(key, "x"))
            start += width
        return f"{found.reward}({', '.join(names)})"


def _sum(terms: Sequence[tuple[Fraction, str]], constant: Fraction) -> str:
    text = " + ".join(name if c == 1 else f"{number_text(c)} * {name}" for c, name in terms)
    if not terms:
        return number_text(constant)
    if constant == 0:
        return text
    return f"{text} {'+' if constant > 0 else '-'} {number_text(abs(constant))}"
