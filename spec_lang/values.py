"""What expressions are lowered to, and the context in which they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from rewarden.spec_lang import bounds, forms, limits
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.findings import Findings
from rewarden.spec_lang.forms import ONE, Form, TooLarge, constant
from rewarden.spec_lang.formulas import as_literal
from rewarden.spec_lang.obligation import FALSE, TRUE, And, Atom, Const, Formula, Ite, Or, Term, Variable
from rewarden.spec_lang.symbols import Symbols


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    elements: tuple[Form, ...]


@dataclass(frozen=True, slots=True, eq=False)
class EnumValue:
    """One form per case, 0 or 1."""

    cases: tuple[str, ...]
    columns: tuple[Form, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RecordValue:
    """The encoded columns, in problem units."""

    type: RecordType
    columns: tuple[Form, ...]

    def of(self, feature: Feature) -> tuple[Form, ...]:
        start = self.type.offset(feature.name)
        return self.columns[start : start + feature.width]


Move = tuple[tuple[Term, ...], tuple[Term, ...]]  # the variables of two records


@dataclass(frozen=True, slots=True, eq=False)
class RowValue:
    """A row of pairs or transitions: its records by member, in order."""

    members: Mapping[str, RecordValue]


Value = Form | And | Or | Atom | Vector | EnumValue | RecordValue | RowValue


@dataclass(frozen=True, slots=True, eq=False)
class StepsValue:
    """The records that the variable of a trace or cycle stands for, one after the other."""

    name: str
    records: tuple[RecordValue, ...]
    closed: bool  # the last is followed by the first

    def moves(self) -> tuple[tuple[RecordValue, RecordValue], ...]:
        following = (*self.records[1:], self.records[0]) if self.closed else self.records[1:]
        return tuple(zip(self.records, following, strict=False))


@dataclass(frozen=True, slots=True)
class Names:
    """The records in scope, the data rows that `anchor` gives, rows of pairs, and the steps of a trace.

    Inside `sum` and `always` the variable of the trace is among the records, and `after` is the record that follows it.
    """

    records: Mapping[str, RecordValue] = field(default_factory=dict)
    anchors: Mapping[str, RecordValue] = field(default_factory=dict)
    rows: Mapping[str, RowValue] = field(default_factory=dict)
    steps: StepsValue | None = None
    after: RecordValue | None = None


@dataclass(slots=True)
class Allowance:
    """What all rules of a spec may be written out to, together. Mutable: it shrinks."""

    left: int = limits.SPEC_SIZE


@dataclass(slots=True)
class Context:
    """What one rule is lowered in. Mutable: the premise grows, the budget shrinks."""

    symbols: Symbols
    params: Mapping[str, Fraction]  # in coherent SI; bools as 0 and 1, cases by their number
    findings: Findings
    variables: Sequence[Variable] = ()
    bits: frozenset[int] = frozenset()  # the 0/1 variables: bools and cases
    premise: Formula = TRUE  # what `with` updates may rely on
    budget: int = limits.EXPANSION_SIZE
    depth: int = 0
    allowance: Allowance = field(default_factory=Allowance)
    moves: dict[Move, Formula] = field(default_factory=dict)  # the relation of each move: lengths share their moves

    def spend(self, amount: int) -> None:
        self.budget -= amount
        self.allowance.left -= amount
        if self.budget < 0:
            raise TooLarge("the rule becomes too large when its definitions are written out")
        if self.allowance.left < 0:
            raise TooLarge("the rules before this one, written out, have used up what one spec may be: split the spec")

    def ranges(self, index: int) -> bounds.Interval:
        return self.variables[index].lo, self.variables[index].hi


def case_value(case: str, cases: tuple[str, ...]) -> EnumValue:
    return EnumValue(cases, tuple(constant(int(c == case)) for c in cases))


def column_of(formula: Formula, bits: frozenset[int]) -> Form:
    """A 0/1 number that is 1 exactly where the formula holds."""
    if formula in (TRUE, FALSE):
        return constant(int(formula == TRUE))
    found = as_literal(formula, bits)
    if found is not None:
        index, positive = found
        return forms.variable(index) if positive else (-forms.variable(index)).shifted(ONE)
    return forms.leaf(Ite(formula, Const(Fraction(1)), Const(Fraction(0))))
