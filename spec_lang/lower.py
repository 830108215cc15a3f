"""Rules to obligations: which numbers are quantified, over what, and the formulas about them.

`lower_rule` gives everything but a near rule's data; `with_instances` adds the boxes once the table is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang import forms, syntax
from rewarden.spec_lang.features import RecordType
from rewarden.spec_lang.findings import Findings
from rewarden.spec_lang.forms import ONE, TooLarge, combine
from rewarden.spec_lang.formulas import atom, conjunction
from rewarden.spec_lang.lower_expressions import Lowering
from rewarden.spec_lang.neighbourhood import Radii, norm_premise, radii
from rewarden.spec_lang.obligation import (
    TRUE,
    Formula,
    Instances,
    Obligation,
    RecordView,
    RuleInfo,
    Variable,
)
from rewarden.spec_lang.symbols import Symbols
from rewarden.spec_lang.values import Context, Names, RecordValue


@dataclass(frozen=True, slots=True)
class Domain:
    """The quantified numbers of a rule."""

    variables: tuple[Variable, ...]
    records: tuple[RecordView, ...]
    bits: frozenset[int]
    structure: Formula
    anchor: RecordView | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """An obligation, and for a near rule what its instances need besides the data."""

    obligation: Obligation
    data: str | None = None
    radii: Radii | None = None
    anchor: RecordView | None = None


def lower_rule(
    rule: syntax.RuleDecl, symbols: Symbols, params: Mapping[str, Fraction], findings: Findings
) -> Lowered | None:
    """The rule lowered; None where something was reported (L codes, T08, T13)."""
    before = len(findings)
    context = Context(symbols, params, findings)
    try:
        lowered = _lower(rule, context)
    except TooLarge as error:
        help = "use fewer or smaller definitions, or split the rule"
        findings.add("L05", str(error), rule.name_span, help=help)
        return None
    return lowered if len(findings) == before else None


def _lower(rule: syntax.RuleDecl, context: Context) -> Lowered:
    domain = quantify(rule, context.symbols)
    context.variables, context.bits = domain.variables, domain.bits
    lowering = Lowering(context)
    records = {r.name: _value(r, context.symbols) for r in domain.records if r is not domain.anchor}
    anchors = {}
    if domain.anchor is not None:
        anchors = {r.name: _value(domain.anchor, context.symbols) for r in domain.records[:1]}
    names = Names(records, anchors)

    context.premise = domain.structure
    assume = _assumptions(lowering, records)
    context.premise = conjunction([domain.structure, assume])
    premise = TRUE if rule.given is None else lowering.formula(rule.given, names)
    around: Radii | None = None
    if isinstance(rule.quantifier, syntax.Near):
        around = radii(rule.quantifier, lowering)
        centre = anchors.get(rule.quantifier.param.name)
        if rule.quantifier.norm != "linf" and centre is not None:
            here = records[rule.quantifier.param.name]
            ball = norm_premise(rule.quantifier, around, here, centre)
            premise = conjunction([ball, premise])
    context.premise = conjunction([domain.structure, assume, premise])
    conclusion = lowering.formula(rule.expect, names)
    obligation = Obligation(
        rule=_info(rule, lowering),
        variables=domain.variables,
        records=domain.records,
        structure=domain.structure,
        assume=assume,
        premise=premise,
        conclusion=conclusion,
    )
    data = rule.quantifier.data.name if isinstance(rule.quantifier, syntax.Near) else None
    return Lowered(obligation, data, around, domain.anchor)


def _info(rule: syntax.RuleDecl, lowering: Lowering) -> RuleInfo:
    weight = ONE if rule.weight is None else lowering.constant(rule.weight)
    if weight < 0 and rule.weight is not None:
        lowering.context.findings.add("T08", "a weight is not negative", rule.weight.span)
    return RuleInfo(rule.name, rule.severity, rule.title, rule.span, weight, rule.requirement, rule.because)


def _assumptions(lowering: Lowering, records: Mapping[str, RecordValue]) -> Formula:
    """Every assumption about every quantified record (not about what `with` makes, nor about data rows)."""
    parts = []
    for value in records.values():
        for assumption in lowering.symbols.assumptions:
            if assumption.param.type_name == value.type.name:
                parts.append(lowering.formula(assumption.body, Names({assumption.param.name: value})))
    return conjunction(parts)


def lower_assumptions(
    record: RecordType, symbols: Symbols, params: Mapping[str, Fraction], findings: Findings
) -> Formula:
    """The assumptions about a record type, over its encoded columns as variables 0, 1, …; TooLarge."""
    builder = _Variables()
    view = builder.record("row", record)
    domain = builder.domain(None)
    context = Context(symbols, params, findings, domain.variables, domain.bits, domain.structure)
    return _assumptions(Lowering(context), {"row": _value(view, symbols)})


def _value(view: RecordView, symbols: Symbols) -> RecordValue:
    return RecordValue(symbols.records[view.type_name], tuple(forms.variable(i) for i in view.variables))


# ── quantifiers ────────────────────────────────────────────────────────────────────────────────
def quantify(rule: syntax.RuleDecl, symbols: Symbols) -> Domain:
    """The variables of a rule, record by record; `varying` records share those of the other features."""
    builder = _Variables()
    match rule.quantifier:
        case syntax.Forall(params=params, varying=varying):
            names = {v.name for v in varying}
            first: RecordView | None = None
            for p in params:
                shared = first if varying else None
                view = builder.record(p.name, symbols.records[p.type_name], shared, names)
                first = first or view
            return builder.domain(None)
        case syntax.Near(param=p) as near:
            record = symbols.records[p.type_name]
            builder.record(p.name, record)
            anchor = None
            if near.norm != "linf" or _mentions_anchor(rule):
                anchor = builder.record(f"anchor({p.name})", record)
            return builder.domain(anchor)
        case other:
            raise AssertionError(f"{type(other).__name__} is refused before lowering")


def _mentions_anchor(rule: syntax.RuleDecl) -> bool:
    bodies = [rule.expect] + ([] if rule.given is None else [rule.given])
    return any(isinstance(n, syntax.Apply) and n.function == "anchor" for e in bodies for n in syntax.walk(e))


class _Variables:
    """Mutable while one rule's variables are numbered."""

    def __init__(self) -> None:
        self.variables: list[Variable] = []
        self.records: list[RecordView] = []
        self.bits: set[int] = set()
        self.structure: list[Formula] = []

    def record(
        self, name: str, record: RecordType, shared: RecordView | None = None, varying: set[str] | None = None
    ) -> RecordView:
        indices: list[int] = []
        for feature in record.features:
            start = len(indices)
            if shared is not None and feature.name not in (varying or set()):
                indices.extend(shared.variables[start : start + feature.width])
                continue
            for column in feature.columns():
                indices.append(len(self.variables))
                variable = Variable(name, column.name, column.discrete, column.lo, column.hi, column.unit)
                self.variables.append(variable)
            mine = indices[start:]
            if feature.kind in ("bool", "enum"):
                self.bits.update(mine)
            if feature.kind == "enum":
                total = combine((forms.variable(i), ONE) for i in mine).shifted(-ONE)
                self.structure += [atom(total, False, None), atom(-total, False, None)]
        view = RecordView(name, record.name, tuple(indices))
        self.records.append(view)
        return view

    def domain(self, anchor: RecordView | None) -> Domain:
        structure = conjunction(self.structure)
        return Domain(tuple(self.variables), tuple(self.records), frozenset(self.bits), structure, anchor)


# ── data ───────────────────────────────────────────────────────────────────────────────────────
def with_instances(lowered: Lowered, rows: NDArray[np.float64]) -> Obligation:
    """A near rule's obligation with one box per row; `rows` is float64 [row, encoded column]."""
    assert lowered.data is not None
    assert lowered.radii is not None
    view = lowered.obligation.records[0]
    centred: list[tuple[int, int, Fraction]] = []
    fixed: list[tuple[int, int]] = []
    for column, index in enumerate(view.variables):
        radius = lowered.radii[column]
        if radius is None:
            fixed.append((index, column))
        else:
            centred.append((index, column, radius))
    if lowered.anchor is not None:
        fixed.extend((index, column) for column, index in enumerate(lowered.anchor.variables))
    instances = Instances(lowered.data, rows, tuple(centred), tuple(fixed))
    return replace(lowered.obligation, instances=instances)
