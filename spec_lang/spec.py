"""A spec: parsed, checked, its parameters set, its rules lowered, its data at hand.

spec = load_spec("driving.rwd", params={"eps": 0.02})
for obligation in spec.obligations(): ...
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from rewarden.spec_lang import limits, syntax
from rewarden.spec_lang.canonical import canonical_json, digest_of, rational_text
from rewarden.spec_lang.check_rules import check
from rewarden.spec_lang.diagnostics import did_you_mean
from rewarden.spec_lang.errors import UsageError
from rewarden.spec_lang.features import RecordType
from rewarden.spec_lang.findings import Findings
from rewarden.spec_lang.forms import TooLarge
from rewarden.spec_lang.lower import Lowered, lower_assumptions, lower_rule, with_instances
from rewarden.spec_lang.obligation import Formula, Obligation
from rewarden.spec_lang.params import ParamValue, evaluate, overrides
from rewarden.spec_lang.parser import decode, parse
from rewarden.spec_lang.printer import print_spec
from rewarden.spec_lang.source import Source, Span
from rewarden.spec_lang.symbols import Symbols, collect

if TYPE_CHECKING:
    from rewarden.spec_lang.tables import Table

_NONE: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RewardDecl:
    """`reward R(s: Step)`: `params` holds (parameter name, record type name)."""

    name: str
    params: tuple[tuple[str, str], ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class DataDecl:
    """`data d: T from "file"`: one member named ""; the tuple form names each."""

    name: str
    members: tuple[tuple[str, str], ...]
    path: str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Rule:
    """What a rule is about; `Spec.obligation` says what it means."""

    name: str
    severity: str
    title: str
    span: Span = field(compare=False, repr=False)
    rewards: tuple[str, ...]  # that it mentions, in declaration order
    data: tuple[str, ...]
    records: tuple[tuple[str, str], ...]  # (record, type) as quantified
    weight: Fraction
    requirement: str | None
    because: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Spec:
    """Immutable but for the tables it has read so far. `digest` names its meaning: comments and layout aside,
    titles and the values of the parameters included."""

    name: str
    source: Source
    tree: syntax.SpecFile = field(repr=False)
    features: dict[str, RecordType]
    rewards: dict[str, RewardDecl]
    data: dict[str, DataDecl]
    params: dict[str, ParamValue]
    rules: tuple[Rule, ...]
    digest: str
    base: Path | None
    lowered: dict[str, Lowered] = field(repr=False)
    assumptions: dict[str, Formula] = field(repr=False)
    tables: dict[tuple[str, str], Table] = field(default_factory=dict, repr=False)

    def rule(self, name: str) -> Rule:
        """UsageError G21 if there is no such rule."""
        for rule in self.rules:
            if rule.name == name:
                return rule
        raise UsageError("G21", f"{self.name} has no rule {name}", help=did_you_mean(name, self.lowered))

    def obligation(self, rule: str) -> Obligation:
        """The rule lowered; for a rule near data this reads the table (DataError)."""
        self.rule(rule)
        found = self.lowered[rule]
        if found.data is None:
            return found.obligation
        return with_instances(found, self.table(found.data).require_rows().values)

    def obligations(self) -> tuple[Obligation, ...]:
        """All rules, in source order."""
        return tuple(self.obligation(rule.name) for rule in self.rules)

    def table(self, name: str, member: str = "") -> Table:
        """The data, read once, every row checked against ranges and assumptions; DataError.

        `member` picks the records of one name in data of pairs or transitions.
        """
        if (name, member) in self.tables:
            return self.tables[name, member]
        if name not in self.data:
            raise UsageError("G22", f"{self.name} has no data {name}", help=did_you_mean(name, self.data))
        types = dict(self.data[name].members)
        if member not in types:
            known = ", ".join(types)
            raise UsageError(
                "G22", f"the rows of {name} have no member {member or '(nameless)'}", help=f"name one of {known}"
            )
        from rewarden.spec_lang.tables import read_table, require_assumption

        record = self.features[types[member]]
        prefix = f"{member}." if member else ""
        table = read_table(self._data_path(self.data[name]), record, prefix=prefix, name=name)
        require_assumption(table, self.assumptions[record.name])
        self.tables[name, member] = table
        return table

    def _data_path(self, data: DataDecl) -> Path:
        """The file, inside the spec's folder even after links are followed; UsageError."""
        if self.base is None:
            help = "load the spec from a file, or parse it with base=…"
            raise UsageError("G23", f"no folder to look for {data.path} in", help=help)
        folder = self.base.resolve()
        found = (folder / data.path).resolve()
        if not found.is_relative_to(folder):
            raise UsageError(
                "G23", f"{data.path} lies outside the spec's folder", help="move the data next to the spec"
            )
        return found


def load_spec(path: str | Path, *, params: Mapping[str, object] = _NONE) -> Spec:
    """Reads, parses and checks a spec file; data paths are relative to its folder.

    `params` sets declared parameters: text is read as in the spec (`"0.5 [m/s]"`), a number is in the declared unit.
    SpecError with every diagnostic; UsageError G20 for a file that cannot be read.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(limits.TEXT_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
        raise UsageError("G20", f"cannot read the spec {path}: {reason}") from None
    return _build(decode(raw, path.name), params, path.parent)


def parse_spec(
    text: str, name: str = "<spec>", *, params: Mapping[str, object] = _NONE, base: Path | None = None
) -> Spec:
    """The same for text; `base` is the folder that data paths are relative to."""
    return _build(Source(name, text.replace("\r\n", "\n")), params, base)


def _build(source: Source, params: Mapping[str, object], base: Path | None) -> Spec:
    tree = parse(source)
    findings = Findings()
    symbols = collect(tree, findings)
    checker = check(symbols, findings)
    _check_paths(symbols, findings)
    replaced = overrides(checker, params, findings)
    findings.raise_any()
    si, shown = evaluate(checker, replaced, findings)
    findings.raise_any()
    lowered: dict[str, Lowered] = {}
    for rule in symbols.rules.values():
        found = lower_rule(rule, symbols, si, findings)
        if found is not None:
            lowered[rule.name] = found
    assumptions = _assumptions(symbols, si, findings)
    findings.raise_any()
    return Spec(
        name=tree.name,
        source=source,
        tree=tree,
        features=symbols.records,
        rewards={r.name: RewardDecl(r.name, _pairs(r.params), r.span) for r in symbols.rewards.values()},
        data={d.name: DataDecl(d.name, d.members, d.path, d.span) for d in symbols.data.values()},
        params=shown,
        rules=tuple(_rule(r, symbols, lowered[r.name]) for r in symbols.rules.values()),
        digest=_digest(tree, shown),
        base=base,
        lowered=lowered,
        assumptions=assumptions,
    )


def _assumptions(symbols: Symbols, si: Mapping[str, Fraction], findings: Findings) -> dict[str, Formula]:
    """Per record type, over its encoded columns: what every row of data must satisfy."""
    found: dict[str, Formula] = {}
    for record in symbols.records.values():
        try:
            found[record.name] = lower_assumptions(record, symbols, si, findings)
        except TooLarge as error:
            findings.add("L05", str(error), symbols.declared[record.name])
    return found


def _check_paths(symbols: Symbols, findings: Findings) -> None:
    for data in symbols.data.values():
        parts = Path(data.path).parts
        if not parts or Path(data.path).is_absolute() or ".." in parts or "\0" in data.path or "\\" in data.path:
            help = 'write a path below the spec\'s folder, as in "data/logs.parquet"'
            findings.add("L06", "data lies below the spec's folder", data.span, help=help)


def _pairs(params: tuple[syntax.Param, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((p.name, p.type_name) for p in params)


def _rule(rule: syntax.RuleDecl, symbols: Symbols, lowered: Lowered) -> Rule:
    rewards, data = mentioned(rule, symbols)
    info = lowered.obligation.rule
    match rule.quantifier:
        case syntax.Forall(params=params):
            records = _pairs(params)
        case syntax.Near(param=p):
            records = ((p.name, p.type_name),)
        case _:
            records = ()
    return Rule(
        name=rule.name,
        severity=rule.severity,
        title=rule.title,
        span=rule.span,
        rewards=tuple(r for r in symbols.rewards if r in rewards),
        data=tuple(d for d in symbols.data if d in data),
        records=records,
        weight=info.weight,
        requirement=rule.requirement,
        because=rule.because,
    )


def mentioned(rule: syntax.RuleDecl, symbols: Symbols) -> tuple[set[str], set[str]]:
    """The rewards and data sets that a rule speaks of, definitions included."""
    rewards: set[str] = set()
    data = {rule.quantifier.data.name} if isinstance(rule.quantifier, syntax.Near) else set()
    seen: set[str] = set()
    pending = list(syntax.item_expressions(rule))
    while pending:
        for node in syntax.walk(pending.pop()):
            match node:
                case syntax.Apply(function=name) if name in symbols.rewards:
                    rewards.add(name)
                case syntax.Apply(function=name) if name in symbols.definitions and name not in seen:
                    seen.add(name)
                    pending.append(symbols.definitions[name].body)
                case syntax.Name(name=name) if name in symbols.data:
                    data.add(name)
    return rewards, data


def _digest(tree: syntax.SpecFile, params: Mapping[str, ParamValue]) -> str:
    values = {p.name: rational_text(p.value) for p in params.values()}
    return digest_of(canonical_json({"params": values, "spec": print_spec(tree)}))
