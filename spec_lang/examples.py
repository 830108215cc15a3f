"""`example of RULE`: what an expert says of single cases, lowered to values of the rule's variables.

`covers` says that the rule's premise holds for every completion of the record given, `ignores` that it fails for every
one. Whether that is so is a question about the spec alone, and sanity checks answer it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from rewarden.spec_lang import syntax
from rewarden.spec_lang.features import Feature
from rewarden.spec_lang.findings import Findings
from rewarden.spec_lang.lower import Lowered
from rewarden.spec_lang.lower_expressions import Lowering
from rewarden.spec_lang.numerals import decimal
from rewarden.spec_lang.obligation import TRUE, RecordView
from rewarden.spec_lang.source import Span
from rewarden.spec_lang.symbols import Symbols
from rewarden.spec_lang.values import Context, Names


@dataclass(frozen=True, slots=True)
class Example:
    """One case; `values` gives variables of the rule's obligation their exact values, the others are free."""

    rule: str
    kind: Literal["covers", "ignores"]
    values: tuple[tuple[int, Fraction], ...]
    span: Span = field(compare=False, repr=False)


def lower_examples(
    tree: syntax.SpecFile,
    lowered: Mapping[str, Lowered],
    symbols: Symbols,
    params: Mapping[str, Fraction],
    findings: Findings,
) -> tuple[Example, ...]:
    """All examples of the file, in order. Reports T08 for values out of range, T13, T21."""
    found = []
    for item in tree.items:
        if isinstance(item, syntax.ExampleDecl) and item.rule in lowered and lowered[item.rule].single is not None:
            lowering = Lowering(Context(symbols, params, findings))
            found += [_example(item.rule, case, lowered[item.rule], lowering) for case in item.cases]
    return tuple(found)


def _example(rule: str, case: syntax.ExampleCase, lowered: Lowered, lowering: Lowering) -> Example:
    values: dict[int, Fraction] = {}
    views = {view.name: view for view in lowered.obligation.records}
    for binding in case.records:
        for update in binding.updates:
            for index, value in _columns(update, views[binding.record], lowering):
                if values.setdefault(index, value) != value:
                    message = f"{update.name} is the same for both records, and is given two values"
                    lowering.context.findings.add("T21", message, update.span)
    return Example(rule, case.kind, tuple(sorted(values.items())), case.span)


def _columns(update: syntax.Update, view: RecordView, lowering: Lowering) -> list[tuple[int, Fraction]]:
    record = lowering.symbols.records[view.type_name]
    feature = record.feature(update.name)
    start = record.offset(update.name)
    indices = view.variables[start : start + feature.width]
    if feature.kind == "enum":
        columns = lowering.among(update.value, feature.cases, Names()).columns
        return [(i, column.constant) for i, column in zip(indices, columns, strict=True)]
    if feature.kind == "bool":
        return [(indices[0], Fraction(int(lowering.formula(update.value, Names()) == TRUE)))]
    return [(indices[0], _number(update, feature, lowering))]


def _number(update: syntax.Update, feature: Feature, lowering: Lowering) -> Fraction:
    unit = lowering.symbols.unit_of(feature)
    value = unit.from_si(lowering.constant(update.value))
    findings = lowering.context.findings
    if feature.kind == "int" and value.denominator != 1:
        findings.add("T13", f"{feature.name} is an int, this is {decimal(value)}", update.value.span)
    if not feature.lo <= value <= feature.hi:
        unit_text = f" [{feature.unit}]" if feature.unit else ""
        message = f"{feature.name} is never {decimal(value)}{unit_text}"
        help = f"its range is {decimal(feature.lo)} .. {decimal(feature.hi)}{unit_text}"
        findings.add("T08", message, update.value.span, help=help)
    return value
