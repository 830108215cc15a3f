"""What a spec declares, by name: the first pass over the tree.

Features get their exact ranges and units here; expressions are looked at by `check.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction

from rewarden.spec_lang import limits, syntax
from rewarden.spec_lang.diagnostics import did_you_mean
from rewarden.spec_lang.errors import Label
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.findings import Findings
from rewarden.spec_lang.source import Span
from rewarden.spec_lang.units import PLAIN, Unit, UnitError, unit

BUILT_IN = (
    "min", "max", "linf", "l1", "l2", "dot", "mean", "quantile", "beyond", "anchor", "sum", "first", "last", "share",
)  # fmt: skip


@dataclass(slots=True)
class Symbols:
    """Filled by `collect`, read by everything after it."""

    records: dict[str, RecordType] = field(default_factory=dict)
    fields: dict[tuple[str, str], syntax.FieldDecl] = field(default_factory=dict)
    units: dict[str, Unit] = field(default_factory=dict)
    rewards: dict[str, syntax.RewardSymbol] = field(default_factory=dict)
    data: dict[str, syntax.DataSymbol] = field(default_factory=dict)
    params: dict[str, syntax.ParamDecl] = field(default_factory=dict)
    definitions: dict[str, syntax.Definition] = field(default_factory=dict)
    assumptions: list[syntax.AssumeDecl] = field(default_factory=list)
    rules: dict[str, syntax.RuleDecl] = field(default_factory=dict)
    examples: list[syntax.ExampleDecl] = field(default_factory=list)
    repeated: list[syntax.RuleDecl] = field(default_factory=list)  # rules under a name that is taken
    declared: dict[str, Span] = field(default_factory=dict)

    def unit_of(self, feature: Feature) -> Unit:
        return PLAIN if feature.unit is None else self.units[feature.unit]

    def rows_of(self, name: str) -> tuple[tuple[str, str], ...] | None:
        """What a row of that data holds, (member, record type) each; `prefs.better` is the rows of one member."""
        if name in self.data:
            return self.data[name].members
        data, _, member = name.rpartition(".")
        kinds = dict(self.data[data].members) if data in self.data else {}
        return (("", kinds[member]),) if member and member in kinds else None

    def cases_of(self, param: str) -> tuple[str, ...]:
        """The cases of an enum parameter; none where the name is of something else."""
        return tuple(dict.fromkeys(self.params[param].cases)) if param in self.params else ()

    def cases_among(self, operands: Iterable[syntax.Expr]) -> tuple[str, tuple[str, ...]] | None:
        """The first enum parameter among operands, and its cases. Lowering and checks agree on it: where no operand is
        an enum feature, it decides what the names beside it mean."""
        names = (e.name for e in operands if isinstance(e, syntax.Name))
        return next(((name, cases) for name in names if (cases := self.cases_of(name))), None)

    def functions(self) -> tuple[str, ...]:
        return (*self.rewards, *self.definitions, *BUILT_IN)


def collect(tree: syntax.SpecFile, findings: Findings) -> Symbols:
    """All declarations of the file; what cannot be used is reported and left out."""
    symbols = Symbols()
    collector = _Collector(symbols, findings)
    for item in tree.items:
        collector.item(item)
    for reward in symbols.rewards.values():
        collector.record_types(reward.params)
        collector.distinct([(p.name, p.span) for p in reward.params], "record")
    for data in symbols.data.values():
        for _, type_name in data.members:
            collector.record_type(type_name, data.span)
        collector.distinct([(name, data.span) for name, _ in data.members], "member")
    for definition in symbols.definitions.values():
        collector.parameters(definition.params)
        if definition.kind == "relation":
            collector.relation(definition)
    for assumption in symbols.assumptions:
        collector.parameters((assumption.param,))
    return symbols


class _Collector:
    def __init__(self, symbols: Symbols, findings: Findings) -> None:
        self.symbols = symbols
        self.findings = findings

    def item(self, item: syntax.Item) -> None:
        s = self.symbols
        match item:
            case syntax.FeaturesDecl() if self.declare(item.name, item.name_span):
                s.records[item.name] = self.record(item)
            case syntax.RewardSymbol() if self.declare(item.name, item.name_span):
                s.rewards[item.name] = item
            case syntax.DataSymbol() if self.declare(item.name, item.name_span):
                s.data[item.name] = item
            case syntax.ParamDecl() if self.declare(item.name, item.name_span):
                s.params[item.name] = item
                self.unit(item.unit, item.unit_span or item.span)
                if item.kind == "enum":
                    self.cases(item.name, item.cases, item.name_span)
                    self.case_hidden(item)
            case syntax.Definition() if self.declare(item.name, item.name_span):
                s.definitions[item.name] = item
            case syntax.AssumeDecl():
                s.assumptions.append(item)
            case syntax.RuleDecl():
                self.rule(item)
            case syntax.UseDecl():
                self.declare(item.alias, item.name_span)
            case syntax.ExampleDecl():
                s.examples.append(item)

    def declare(self, name: str, span: Span) -> bool:
        """Enters the name; False (and N04, N10) where it is taken."""
        if name in BUILT_IN:
            self.findings.add("N04", f"{name} is the name of a built-in function", span, help="choose another name")
            return False
        first = self.symbols.declared.setdefault(name, span)
        if first is not span:
            related = f"{name} is first declared at {first.source.name}:{first.line}"
            self.findings.add("N04", f"{name} is declared twice", span, related=related)
            return False
        return True

    def cases(self, name: str, cases: tuple[str, ...], span: Span) -> None:
        if len(set(cases)) < max(2, len(cases)):
            help = "name at least two different cases"
            self.findings.add("T12", f"{name} repeats a case or has fewer than two", span, help=help)

    def case_hidden(self, param: syntax.ParamDecl) -> None:
        """N10: beside an enum, a name is one of its cases before it is a parameter."""
        own = param.name.rpartition(".")[2]
        if own in param.cases:
            message = f"param {own} would hide its case {own}"
            self.findings.add("N10", message, param.name_span, help="choose another name for the param")

    def rule(self, rule: syntax.RuleDecl) -> None:
        first = self.symbols.rules.setdefault(rule.name, rule)
        if first is not rule:
            self.symbols.repeated.append(rule)
            related = f"rule {rule.name} is first declared at {first.span.source.name}:{first.span.line}"
            self.findings.add("N04", f"rule {rule.name} is declared twice", rule.name_span, related=related)

    def distinct(self, names: list[tuple[str, Span]], what: str) -> None:
        seen: set[str] = set()
        for name, span in names:
            if name in seen:
                self.findings.add("T12", f"{what} {name} appears twice", span)
            seen.add(name)

    def record_type(self, name: str, span: Span) -> bool:
        if name in self.symbols.records:
            return True
        help = did_you_mean(name, self.symbols.records) or "declare it with `features`"
        self.findings.add("N03", f"unknown record type {name}", span, help=help)
        return False

    def record_types(self, params: tuple[syntax.Param, ...]) -> None:
        for p in params:
            self.record_type(p.type_name, p.type_span)

    def parameters(self, params: tuple[syntax.Param, ...]) -> None:
        """The records of a definition or assumption: known types, distinct names that hide nothing."""
        self.record_types(params)
        self.distinct([(p.name, p.span) for p in params], "record")
        for p in params:
            hidden = self.symbols.declared.get(p.name)
            if hidden is not None:
                related = f"{p.name} is declared at {hidden.source.name}:{hidden.line}"
                self.findings.add("N10", f"record {p.name} would hide a declaration", p.span, related=related)

    def relation(self, item: syntax.Definition) -> None:
        if len(item.params) != 2 or len({p.type_name for p in item.params}) != 1:
            help = f"write relation {item.name}(a, b: T) = …"
            message = "a relation is between two records of one type, one and the next"
            self.findings.add("T12", message, item.name_span, help=help)

    # ── features ───────────────────────────────────────────────────────────────────────────────
    def record(self, item: syntax.FeaturesDecl) -> RecordType:
        if not item.fields:
            self.findings.add("T12", f"{item.name} has no features", item.name_span)
        self.distinct([(f.name, f.name_span) for f in item.fields], "feature")
        features: dict[str, Feature] = {}
        for f in item.fields:
            if f.name not in features:
                features[f.name] = self.feature(f)
                self.symbols.fields[item.name, f.name] = f
        record = RecordType(item.name, tuple(features.values()))
        if record.width > limits.RECORD_WIDTH:
            self.findings.add("P09", f"{item.name} has more than {limits.RECORD_WIDTH} columns", item.name_span)
        return record

    def feature(self, f: syntax.FieldDecl) -> Feature:
        zero, one = Fraction(0), Fraction(1)
        if f.kind == "enum":
            self.cases(f.name, f.cases, f.span)
            return Feature(f.name, "enum", zero, one, cases=tuple(dict.fromkeys(f.cases)))
        if f.kind == "bool":
            return Feature(f.name, "bool", zero, one)
        known = self.unit(f.unit, f.unit_span or f.span)
        lo, hi = self.range(f)
        return Feature(f.name, f.kind, lo, hi, f.unit if known else None, size=f.size or 1)

    def unit(self, text: str | None, span: Span) -> bool:
        """Enters a unit; False (and a U code) where it is refused."""
        if text is None:
            return True
        try:
            self.symbols.units[text] = unit(text)
        except UnitError as error:
            self.findings.add(error.code, error.message, span, help=error.help)
            return False
        return True

    def range(self, f: syntax.FieldDecl) -> tuple[Fraction, Fraction]:
        if f.range is None:
            help = f"write {f.name} : {f.kind}{f' [{f.unit}]' if f.unit else ''} in LOW .. HIGH"
            self.findings.add("T02", f"{f.name} has no range", f.span, help=help)
            return Fraction(0), Fraction(1)
        lo, hi = f.range
        if lo > hi:
            self.findings.add("T03", f"the range of {f.name} is empty", f.span, help="write the lower end first")
            return hi, lo
        if f.kind == "int" and (lo.denominator != 1 or hi.denominator != 1):
            labels = (Label(f.span),)
            self.findings.add("T03", f"{f.name} is an int: its range ends in whole numbers", labels)
        return lo, hi
