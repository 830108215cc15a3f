"""Rules to obligations: which numbers are quantified, over what, and the formulas about them.

`lower_rule` gives everything but a near rule's data; `with_instances` adds the boxes once the table is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang import forms, limits, syntax
from rewarden.spec_lang.check_rules import share_of
from rewarden.spec_lang.errors import SpecError, Unsupported
from rewarden.spec_lang.features import RecordType
from rewarden.spec_lang.findings import Enough, Findings
from rewarden.spec_lang.forms import ONE, TooLarge, combine
from rewarden.spec_lang.formulas import atom, conjunction
from rewarden.spec_lang.lower_expressions import Lowering
from rewarden.spec_lang.neighbourhood import Radii, away_from, norm_premise, radii
from rewarden.spec_lang.obligation import (
    Formula,
    Instances,
    Obligation,
    RecordView,
    RuleInfo,
    Share,
    Term,
    Variable,
)
from rewarden.spec_lang.source import Span
from rewarden.spec_lang.symbols import Symbols
from rewarden.spec_lang.values import Allowance, Context, Move, Names, RecordValue, RowValue, StepsValue

RuleKind = Literal["records", "near", "rows", "share", "trace", "cycle"]


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
    """A rule's obligation, and what its instances need besides the data. A rule about traces of several lengths has
    one obligation for each of `lengths`, a rule about cycles one for every number of records there is: `unroll` makes
    that of k records (SpecError if it has mistakes that no shorter one has)."""

    info: RuleInfo
    kind: RuleKind
    single: Obligation | None
    data: str | None = None
    radii: Radii | None = None
    away: Span | None = None  # where `not near` is written: it speaks of what is outside of all rows' neighbourhoods
    anchor: RecordView | None = None
    lengths: tuple[int, ...] = ()
    unroll: Callable[[int], Obligation] | None = None

    @property
    def obligation(self) -> Obligation:
        """The one obligation, before its data are read; Unsupported X08 where there are several."""
        if self.single is None:
            what = "loops of every length" if self.kind == "cycle" else "traces of several lengths"
            help = "Spec.unrolled gives the obligation of one length"
            raise Unsupported("X08", f"{self.info.name} speaks of {what}", help=help)
        return self.single


def lower_rule(
    rule: syntax.RuleDecl,
    symbols: Symbols,
    params: Mapping[str, Fraction],
    findings: Findings,
    allowance: Allowance | None = None,
) -> Lowered | None:
    """The rule lowered; None where something was reported (L codes, T08, T13)."""
    before = len(findings)
    lowered = _guarded(
        rule, findings, lambda: _lower(rule, Context(symbols, params, findings, allowance=allowance or Allowance()))
    )
    return lowered if len(findings) == before else None


Result = TypeVar("Result")


def _guarded(rule: syntax.RuleDecl, findings: Findings, make: Callable[[], Result]) -> Result | None:
    try:
        return make()
    except TooLarge as error:
        help = "use fewer or smaller definitions, or split the rule"
        findings.add("L05", str(error), rule.name_span, help=help)
        return None


def _lower(rule: syntax.RuleDecl, context: Context) -> Lowered:
    symbols = context.symbols
    info = _info(rule, Lowering(context))
    match rule.quantifier:
        case syntax.Trace() | syntax.Cycle():
            return _lower_steps(rule, context, info)
        case syntax.Near(data=data) | syntax.ForallRows(data=data):
            kind: RuleKind = "near"
            if isinstance(rule.quantifier, syntax.ForallRows):
                kind = "rows" if share_of(rule.expect) is None else "share"
            domain = quantify(rule, symbols)
            around = away = None
            if isinstance(rule.quantifier, syntax.Near):
                around = radii(rule.quantifier, Lowering(context))
                away = rule.quantifier.span if rule.quantifier.away else None
            single = _obligation(rule, domain, context, info, around)
            return Lowered(info, kind, single, data.name, around, away, domain.anchor)
        case syntax.Forall():
            return Lowered(info, "records", _obligation(rule, quantify(rule, symbols), context, info))


def _lower_steps(rule: syntax.RuleDecl, context: Context, info: RuleInfo) -> Lowered:
    """Traces and cycles: the ends of the lengths are lowered now, so that mistakes are known at once."""
    symbols, params = context.symbols, context.params
    done: dict[int, Obligation] = {}
    moves: dict[Move, Formula] = {}

    def made(length: int, findings: Findings, allowance: Allowance) -> Obligation:
        inner = Context(symbols, params, findings, allowance=allowance, moves=moves)
        obligation = _obligation(rule, quantify(rule, symbols, length), inner, info)
        return replace(obligation, case=f"{length} step{'s' if length > 1 else ''}")

    def unroll(length: int) -> Obligation:
        if length not in done:
            findings = Findings()
            try:
                found = _guarded(rule, findings, lambda: made(length, findings, Allowance()))
            except Enough:
                found = None
            if found is None or len(findings):
                raise SpecError(findings.sorted())
            done[length] = found
        return done[length]

    if isinstance(rule.quantifier, syntax.Cycle):
        tried: tuple[int, ...] = (1, 2)
        lengths: tuple[int, ...] = ()
    else:
        assert isinstance(rule.quantifier, syntax.Trace)
        last = _steps(rule.quantifier, context)
        lengths = (last,) if rule.quantifier.exact else tuple(range(1, last + 1))
        tried = tuple(sorted({lengths[0], lengths[min(1, len(lengths) - 1)], lengths[-1]}))
    for length in tried:
        done[length] = made(length, context.findings, context.allowance)
    kind: RuleKind = "cycle" if isinstance(rule.quantifier, syntax.Cycle) else "trace"
    single = done[lengths[0]] if len(lengths) == 1 else None
    return Lowered(info, kind, single, lengths=lengths, unroll=unroll)


def _steps(trace: syntax.Trace, context: Context) -> int:
    """How many records a trace has, at most; T08."""
    found = Lowering(context).constant(trace.steps)
    if found.denominator == 1 and 1 <= found <= limits.TRACE_STEPS:
        return int(found)
    help = f"a whole number from 1 to {limits.TRACE_STEPS}"
    context.findings.add("T08", "this cannot be a number of steps", trace.steps.span, help=help)
    return 1


def _obligation(
    rule: syntax.RuleDecl, domain: Domain, context: Context, info: RuleInfo, around: Radii | None = None
) -> Obligation:
    context.variables, context.bits = domain.variables, domain.bits
    context.spend(len(domain.variables))
    lowering = Lowering(context)
    quantified = {r.name: _value(r, context.symbols) for r in domain.records if r is not domain.anchor}
    names = _names(rule.quantifier, domain, quantified, context.symbols)
    context.premise = domain.structure
    assume = _assumptions(lowering, quantified)
    context.premise = conjunction([domain.structure, assume])
    premises = _relations(rule.quantifier, lowering, names)
    context.premise = conjunction([context.premise, *premises])
    if rule.given is not None:
        premises.append(lowering.formula(rule.given, names))
    match rule.quantifier:
        case syntax.Near(param=p, norm="l1" | "l2") as near if around is not None and p.name in names.anchors:
            premises.insert(0, norm_premise(near, around, quantified[p.name], names.anchors[p.name]))
    premise = conjunction(premises)
    context.premise = conjunction([domain.structure, assume, premise])
    share, expect = _share(rule, lowering)
    return Obligation(
        rule=info,
        variables=domain.variables,
        records=domain.records,
        structure=domain.structure,
        assume=assume,
        premise=premise,
        conclusion=lowering.formula(expect, names),
        share=share,
    )


def _names(q: syntax.Quantifier, domain: Domain, quantified: Mapping[str, RecordValue], symbols: Symbols) -> Names:
    match q:
        case syntax.ForallRows(name=name, data=data):
            members = symbols.rows_of(data.name) or ()
            if [member for member, _ in members] == [""]:
                return Names(quantified)
            row = RowValue({member: quantified[f"{name}.{member}"] for member, _ in members})
            return Names(rows={name: row})
        case syntax.Trace(param=p) | syntax.Cycle(param=p):
            steps = StepsValue(p.name, tuple(quantified.values()), isinstance(q, syntax.Cycle))
            return Names(steps=steps)
        case syntax.Near(param=p) if domain.anchor is not None:
            return Names(quantified, {p.name: _value(domain.anchor, symbols)})
    return Names(quantified)


def _relations(q: syntax.Quantifier, lowering: Lowering, names: Names) -> list[Formula]:
    """Of consecutive records, and in a cycle of the last and the first."""
    match q:
        case syntax.Trace(relation=syntax.Name(name=name)) | syntax.Cycle(relation=syntax.Name(name=name)):
            assert names.steps is not None
            definition = lowering.symbols.definitions[name]
            a, b = (p.name for p in definition.params)
            found, known = [], lowering.context.moves
            for here, after in names.steps.moves():
                move = _variables(here), _variables(after)
                if move not in known:
                    known[move] = lowering.formula(definition.body, Names({a: here, b: after}))
                found.append(known[move])
            return found
    return []


def _variables(record: RecordValue) -> tuple[Term, ...]:
    return tuple(leaf for column in record.columns for leaf in column.parts)


def _share(rule: syntax.RuleDecl, lowering: Lowering) -> tuple[Share | None, syntax.Expr]:
    """The share that a rule over data asks for, and what it counts; T08."""
    found = share_of(rule.expect) if isinstance(rule.quantifier, syntax.ForallRows) else None
    if found is None:
        return None, rule.expect
    counted, op, written = found
    assert op != "==", "type checking refuses these"
    assert op != "!="
    level = lowering.constant(written)
    if not 0 <= level <= 1:
        lowering.context.findings.add("T08", "a share lies between 0 and 1", written.span)
    confidence = None
    if rule.confidence is not None:
        confidence = lowering.constant(rule.confidence)
        if not 0 < confidence < 1:
            help = "as in 0.99 or 99 %"
            lowering.context.findings.add("T08", "a confidence lies between 0 and 1", rule.confidence.span, help=help)
    return Share(op, level, confidence), counted.arguments[0]


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
def quantify(rule: syntax.RuleDecl, symbols: Symbols, length: int = 1) -> Domain:
    """The variables of a rule, record by record; `varying` records share those of the other features.

    The records of a trace or cycle of `length` are t[0], t[1], …; those of a row of pairs p.better, p.worse.
    """
    builder = _Variables()
    match rule.quantifier:
        case syntax.Forall(params=params, varying=varying):
            names = {v.name for v in varying}
            first: RecordView | None = None
            for p in params:
                shared = first if varying else None
                view = builder.record(p.name, symbols.records[p.type_name], shared, names)
                first = first or view
        case syntax.Near(param=p) as near:
            record = symbols.records[p.type_name]
            builder.record(p.name, record)
            if near.norm != "linf" or _mentions_anchor(rule):
                return builder.domain(builder.record(f"anchor({p.name})", record))
        case syntax.ForallRows(name=name, data=data):
            for member, kind in symbols.rows_of(data.name) or ():
                builder.record(f"{name}.{member}" if member else name, symbols.records[kind])
        case syntax.Trace(param=p) | syntax.Cycle(param=p):
            for k in range(length):
                builder.record(f"{p.name}[{k}]", symbols.records[p.type_name])
    return builder.domain(None)


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
            if len(self.variables) + feature.width > limits.RULE_WIDTH:
                raise TooLarge(f"the records of this rule have more than {limits.RULE_WIDTH} columns")
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
    """The obligation with one box per row, or, of a rule about records not near data, with a condition per row in its
    premise; `rows` is float64 [row, encoded column], a pair's records side by side."""
    assert lowered.data is not None
    obligation = lowered.obligation
    if lowered.away is not None:
        assert lowered.radii is not None
        premise = conjunction([away_from(obligation, lowered.radii, rows, lowered.away), obligation.premise])
        return replace(obligation, premise=premise)
    quantified = [v for view in obligation.records if view is not lowered.anchor for v in view.variables]
    around = lowered.radii or (None,) * len(quantified)
    centred: list[tuple[int, int, Fraction]] = []
    fixed: list[tuple[int, int]] = []
    for column, index in enumerate(quantified):
        radius = around[column]
        if radius is None:
            fixed.append((index, column))
        else:
            centred.append((index, column, radius))
    if lowered.anchor is not None:
        fixed.extend((index, column) for column, index in enumerate(lowered.anchor.variables))
    themselves = lowered.kind in ("rows", "share")
    return replace(obligation, instances=Instances(lowered.data, rows, tuple(centred), tuple(fixed), themselves))
