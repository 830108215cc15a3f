"""Where an edit promises to have done nothing, as a predicate of the language: beyond each of its regions and rims.

A region with its rim is where each of its rows a·x − b is below a gate. It is left where some row reaches the gate:
a disjunction of comparisons, in the features' words and units. Numbers are written as short as what is written may be
stronger by `slack`: whoever satisfies the text has a row at the gate, exactly. Verification is told nothing of this; it
proves what was written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from rewarden.editor.region import Polytope
from rewarden.reward.artifact import RewardRecord
from rewarden.spec_lang.features import Feature
from rewarden.spec_lang.numerals import decimal

BEYOND = "beyond"  # in an edit's statement: where what is no patch has changed nothing, as a predicate
NOWHERE = "false"
SLACK = Fraction(1, 1000)  # of a ring's width
Row = tuple[Sequence[Fraction], Fraction]  # over the encoded columns: coefficients, offset


@dataclass(frozen=True, slots=True)
class _Term:
    """One encoded column: which feature of which record, and the text of its value."""

    feature: Feature
    name: str  # s.gap, s.e[3]
    case: str | None
    far: Fraction  # the greatest absolute value in range

    @property
    def discrete(self) -> bool:
        return self.feature.kind in ("bool", "enum")

    @property
    def is_true(self) -> str:
        return self.name if self.case is None else f"{self.name} == {self.case}"

    @property
    def number(self) -> str:
        """Without a unit."""
        if self.discrete:
            return f"(if {self.is_true} then 1 else 0)"
        return self.name if self.feature.unit is None else f"({self.name} / 1 [{self.feature.unit}])"


def beyond_all(records: Sequence[RewardRecord], polytopes: Sequence[Polytope]) -> str:
    """Beyond all of these regions and their rims, in one line; without any, the region is the domain."""
    texts = (
        beyond_text(records, [(row.coefficients, row.offset) for row in polytope.rows], Fraction(1), SLACK)
        for polytope in polytopes
    )
    return " and ".join(f"({text})" for text in texts) or NOWHERE


def beyond_text(records: Sequence[RewardRecord], rows: Sequence[Row], gate: Fraction, slack: Fraction) -> str:
    """Some row is at the gate. `false` where none can be."""
    terms = _terms(records)
    said = [atom for row in rows if (atom := _atom(terms, row, gate, slack))]
    return " or ".join(said) or NOWHERE


def _terms(records: Sequence[RewardRecord]) -> list[_Term]:
    found = []
    for record in records:
        for feature in record.type.features:
            for column in feature.columns():
                element = "" if column.element is None else f"[{column.element}]"
                far = max(abs(column.lo), abs(column.hi))
                found.append(_Term(feature, f"{record.param}.{feature.name}{element}", column.case, far))
    return found


def _atom(terms: Sequence[_Term], row: Row, gate: Fraction, slack: Fraction) -> str:
    """a·x − b >= gate, or what implies it; "" where no record satisfies it."""
    coefficients, offset = row
    used = [(a, term) for a, term in zip(coefficients, terms, strict=True) if a]
    wanted = gate + offset
    if not used:
        return "true" if wanted <= 0 else ""
    if all(term.discrete for _, term in used) and len({term.name for _, term in used}) == 1:
        return _choice(used, wanted)
    if len(used) == 1:
        a, term = used[0]
        edge, room = wanted / a, slack / abs(a)
        number = shortest(edge, edge + room) if a > 0 else shortest(edge - room, edge)
        unit = "" if term.feature.unit is None else f" [{term.feature.unit}]"
        return f"{term.name} {'>=' if a > 0 else '<='} {_literal(number)}{unit}"
    written, largest = [], max(abs(a) for a, _ in used)
    used = [(a / largest, term) for a, term in used]
    wanted, slack = wanted / largest, slack / largest
    for a, term in used:
        room = slack / (4 * len(used) * max(term.far, Fraction(1)))
        near = shortest(a - room, a + room)
        written.append((near, term.number))
        wanted += abs(a - near) * term.far
    left = "".join(
        (f" {'-' if a < 0 else '+'} " if k else "-" * (a < 0))
        + (text if abs(a) == 1 else f"{_literal(abs(a))} * {text}")
        for k, (a, text) in enumerate(written)
    )
    return f"{left} >= {_literal(shortest(wanted, wanted + slack / 2))}"


def _choice(used: Sequence[tuple[Fraction, _Term]], wanted: Fraction) -> str:
    """Of one boolean, or the cases of one enum: those that reach it."""
    name, feature = used[0][1].name, used[0][1].feature
    worth = {term.case: a for a, term in used}
    if feature.kind == "bool":
        true, false = worth[None] >= wanted, wanted <= 0
        return "true" if true and false else name if true else f"not {name}" if false else ""
    able = [case for case in feature.cases if worth.get(case, Fraction(0)) >= wanted]
    return " or ".join(f"{name} == {case}" for case in able)


def shortest(low: Fraction, high: Fraction) -> Fraction:
    """The number between the two that has the fewest decimals; nearest to `low` of these."""
    if low > high:
        raise ValueError("an empty range")
    scale = Fraction(1)
    while True:
        number = -((-low * scale) // 1) / scale
        if number <= high:
            return number
        if scale.numerator > 10**60:
            return low
        scale *= 10


def _literal(value: Fraction) -> str:
    text = decimal(value)
    return f"({text})" if "/" in text else text
