"""From text to a spec, or to everything that is wrong with it: the passes in order, none of them raising.

parse → write out `use` → collect names → check types and units → set params → lower. A pass that others rely on ends
the analysis where it finds something; within a pass everything is reported at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

from rewarden.spec_lang import syntax
from rewarden.spec_lang.canonical import canonical_json, digest_of, rational_text
from rewarden.spec_lang.check import Checker
from rewarden.spec_lang.check_rules import check
from rewarden.spec_lang.errors import Diagnostic, SpecError
from rewarden.spec_lang.examples import Example, lower_examples
from rewarden.spec_lang.findings import Enough, Findings
from rewarden.spec_lang.forms import TooLarge
from rewarden.spec_lang.lower import Lowered, lower_assumptions, lower_rule
from rewarden.spec_lang.obligation import Formula
from rewarden.spec_lang.params import ParamValue, evaluate, overrides
from rewarden.spec_lang.parser import parse
from rewarden.spec_lang.printer import print_spec
from rewarden.spec_lang.source import Source
from rewarden.spec_lang.spec import DataDecl, RewardDecl, Rule, Spec
from rewarden.spec_lang.symbols import Symbols, collect
from rewarden.spec_lang.uses import Folders, ReadFile, expand, read_file
from rewarden.spec_lang.values import Allowance

NO_PARAMS: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """What is known of a text. `tree` is None where it does not parse, `spec` where anything is wrong.

    `expanded` has the declarations of used files written in; `diagnostics` are in source order, those of used files
    with the source they stand in.
    """

    source: Source
    tree: syntax.SpecFile | None = None
    expanded: syntax.SpecFile | None = None
    symbols: Symbols | None = None
    checker: Checker | None = None
    diagnostics: tuple[Diagnostic, ...] = ()
    spec: Spec | None = None

    def require_spec(self) -> Spec:
        """The spec; SpecError with every diagnostic."""
        if self.spec is None:
            raise SpecError(self.diagnostics)
        return self.spec


def analyse(
    source: Source,
    *,
    params: Mapping[str, object] = NO_PARAMS,
    base: Path | None = None,
    allow: tuple[Path, ...] = (),
    read: ReadFile = read_file,
    path: Path | None = None,
) -> Analysis:
    """Everything about one spec. `base` is the folder that `use` and data are relative to, `path` the file itself,
    `read` how used files are read (an editor has newer text than the disk)."""
    try:
        tree = parse(source)
    except SpecError as error:
        return Analysis(source, diagnostics=error.diagnostics)
    return analyse_tree(source, tree, params=params, base=base, allow=allow, read=read, path=path)


def analyse_tree(
    source: Source,
    tree: syntax.SpecFile,
    *,
    params: Mapping[str, object] = NO_PARAMS,
    base: Path | None = None,
    allow: tuple[Path, ...] = (),
    read: ReadFile = read_file,
    path: Path | None = None,
) -> Analysis:
    """As `analyse`, for a tree at hand (an editor has the part of a broken text that could be read)."""
    findings = Findings()
    try:
        return _passes(source, tree, findings, params, Folders(base, allow), read, path)
    except Enough:
        return Analysis(source, tree, diagnostics=findings.sorted())


def _passes(
    source: Source,
    tree: syntax.SpecFile,
    findings: Findings,
    params: Mapping[str, object],
    folders: Folders,
    read: ReadFile,
    path: Path | None,
) -> Analysis:
    """Enough, where the findings are."""
    expanded = expand(tree, folders, findings, read, None if path is None else path.resolve())
    if not findings.only(("L06",)):
        return Analysis(source, tree, diagnostics=findings.sorted())
    symbols = collect(expanded, findings)
    checker = check(symbols, findings)
    replaced = overrides(checker, params, findings)

    def stopped() -> Analysis:
        return Analysis(source, tree, expanded, symbols, checker, findings.sorted())

    if len(findings):
        return stopped()
    si, shown = evaluate(checker, replaced, findings)
    if len(findings):
        return stopped()
    lowered: dict[str, Lowered] = {}
    allowance = Allowance()
    for rule in symbols.rules.values():
        if allowance.left < 0:
            break  # said at the rule before this one
        found = lower_rule(rule, symbols, si, findings, allowance)
        if found is not None:
            lowered[rule.name] = found
    assumptions = _assumptions(symbols, si, findings)
    examples = lower_examples(expanded, lowered, symbols, si, findings)
    if len(findings):
        return stopped()
    spec = _spec(source, tree, expanded, symbols, shown, folders, lowered, assumptions, examples)
    return Analysis(source, tree, expanded, symbols, checker, (), spec)


def _assumptions(symbols: Symbols, si: Mapping[str, Fraction], findings: Findings) -> dict[str, Formula]:
    """Per record type, over its encoded columns: what every row of data must satisfy."""
    found: dict[str, Formula] = {}
    for record in symbols.records.values():
        try:
            found[record.name] = lower_assumptions(record, symbols, si, findings)
        except TooLarge as error:
            findings.add("L05", str(error), symbols.declared[record.name])
    return found


def _spec(
    source: Source,
    tree: syntax.SpecFile,
    expanded: syntax.SpecFile,
    symbols: Symbols,
    params: dict[str, ParamValue],
    folders: Folders,
    lowered: dict[str, Lowered],
    assumptions: dict[str, Formula],
    examples: tuple[Example, ...],
) -> Spec:
    values = {p.name: p.value if isinstance(p.value, str) else rational_text(p.value) for p in params.values()}
    return Spec(
        name=tree.name,
        source=source,
        tree=tree,
        expanded=expanded,
        features=symbols.records,
        rewards={r.name: RewardDecl(r.name, _pairs(r.params), r.span) for r in symbols.rewards.values()},
        data={d.name: DataDecl(d.name, d.members, d.path, d.span) for d in symbols.data.values()},
        params=params,
        rules=tuple(_rule(r, symbols, lowered[r.name]) for r in symbols.rules.values()),
        examples=examples,
        digest=digest_of(canonical_json({"params": values, "spec": print_spec(expanded)})),
        folders=folders,
        lowered=lowered,
        assumptions=assumptions,
    )


def _pairs(params: tuple[syntax.Param, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((p.name, p.type_name) for p in params)


def _rule(rule: syntax.RuleDecl, symbols: Symbols, lowered: Lowered) -> Rule:
    rewards, data = mentioned(rule, symbols)
    info = lowered.info
    return Rule(
        name=rule.name,
        kind=lowered.kind,
        severity=rule.severity,
        title=rule.title,
        span=rule.span,
        rewards=tuple(r for r in symbols.rewards if r in rewards),
        data=tuple(d for d in symbols.data if d in data),
        records=_quantified(rule.quantifier, symbols),
        weight=info.weight,
        requirement=rule.requirement,
        because=rule.because,
    )


def _quantified(q: syntax.Quantifier, symbols: Symbols) -> tuple[tuple[str, str], ...]:
    match q:
        case syntax.Forall(params=params):
            return _pairs(params)
        case syntax.Near(param=p) | syntax.Trace(param=p) | syntax.Cycle(param=p):
            return ((p.name, p.type_name),)
        case syntax.ForallRows(name=name, data=data):
            members = symbols.rows_of(data.name) or ()
            return tuple((f"{name}.{member}" if member else name, kind) for member, kind in members)


def mentioned(rule: syntax.RuleDecl, symbols: Symbols) -> tuple[set[str], set[str]]:
    """The rewards and data sets that a rule speaks of, definitions and the relation of its steps included."""
    rewards: set[str] = set()
    data: set[str] = set()
    pending = list(syntax.item_expressions(rule))
    seen: set[str] = set()
    match rule.quantifier:
        case syntax.Near(data=syntax.Name(name=rows)) | syntax.ForallRows(data=syntax.Name(name=rows)):
            data.add(rows if rows in symbols.data else rows.rpartition(".")[0])
        case syntax.Trace(relation=syntax.Name(name=relation)) | syntax.Cycle(relation=syntax.Name(name=relation)):
            pending.append(symbols.definitions[relation].body)
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
