"""What `rewarden check` says: lines for a person, JSON for a machine (`docs/schemas/check.schema.json`)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewarden import exits
from rewarden.output import paint
from rewarden.spec_lang.diagnostics import printable

if TYPE_CHECKING:
    from rewarden.spec_lang import Spec
    from rewarden.spec_lang.errors import Diagnostic, RewardenError
    from rewarden.spec_lang.features import Feature
    from rewarden.spec_lang.sanity.checks import RuleFacts, Sanity
    from rewarden.spec_lang.sanity.findings import Finding
    from rewarden.spec_lang.sanity.words import NamedRecord

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """One spec that was checked; `rows` of its data sets by name."""

    path: str
    spec: Spec
    sanity: Sanity
    rows: Mapping[str, int]

    @property
    def status(self) -> int:
        return exits.VIOLATED if self.sanity.errors else exits.PROVED


@dataclass(frozen=True, slots=True, eq=False)
class Unusable:
    """One that could not be."""

    path: str
    error: RewardenError

    @property
    def status(self) -> int:
        return exits.UNUSABLE


def shown(path: Path) -> str:
    """The path as a person would type it from here: a configuration's paths are absolute."""
    try:
        return path.relative_to(Path.cwd()).as_posix() if path.is_absolute() else path.as_posix()
    except ValueError:
        return path.as_posix()


def row_counts(spec: Spec) -> dict[str, int]:
    """The rows of each data set; SpecError with all that is wrong with any of them, at its declaration."""
    from rewarden.spec_lang.errors import DataError, Diagnostic, Label, SpecError

    counts: dict[str, int] = {}
    found: list[Diagnostic] = []
    for name, data in spec.data.items():
        for member, _ in data.members:
            try:
                counts[name] = spec.table(name, member).require_rows().rows
            except DataError as error:
                found += [Diagnostic(e.code, e.message, (Label(data.span),), help=e.help) for e in error.each()]
    if found:
        raise SpecError(tuple(dict.fromkeys(found)))
    return counts


# ── for a person ───────────────────────────────────────────────────────────────────────────────
def told(result: Checked | Unusable, *, quiet: bool) -> list[str]:
    """The findings, a summary, and a line for each rule; with `quiet` findings only, and what they come to. Nothing of
    a spec that could not be checked: its errors are no results."""
    return lines(result, quiet=quiet) if isinstance(result, Checked) else []


def lines(checked: Checked, *, quiet: bool) -> list[str]:
    """Of one that could be."""
    from rewarden.spec_lang.diagnostics import render

    found: list[str] = []
    for diagnostic in checked.sanity.diagnostics:
        found += [*render(diagnostic).split("\n"), ""]
    if quiet and not found:
        return []
    found.append(_summary(checked))
    return found if quiet else [*found, *_rule_lines(checked.sanity.rules), *_more(checked)]


def _summary(checked: Checked) -> str:
    spec, sanity = checked.spec, checked.sanity
    must = sum(rule.severity == "must" for rule in spec.rules)
    verdict = " and ".join(
        f"{count} {word}{'s' if count > 1 else ''}"
        for count, word in ((sanity.errors, "error"), (sanity.warnings, "warning"))
        if count
    )
    about = [f"{_count(spec.rules, 'rule')} ({must} must)"]
    about += [_count(spec.examples, "example")] if spec.examples else []
    style = "violated" if sanity.errors else "strong"
    return f"{paint(checked.path, style)}: {', '.join(about)}: {verdict or 'nothing to object to'}"


def _count(items: Sequence[object], word: str) -> str:
    return f"{len(items)} {word}{'' if len(items) == 1 else 's'}"


def _rule_lines(rules: Sequence[RuleFacts]) -> list[str]:
    rows = []
    for facts in rules:
        engines = ", ".join(facts.engines.names) or f"no engine: {facts.engines.reason}"
        told = facts.because if facts.engines.names and facts.rule_class in ("linear", "polynomial") else ""
        shown = textwrap.shorten(printable(told), 60, placeholder=" …")
        rows.append((facts.rule.severity, facts.rule.name, facts.rule_class, engines + f"  by `{shown}`" * bool(told)))
    widths = [max((len(row[k]) for row in rows), default=0) for k in range(3)]
    return ["  " + "  ".join([*(row[k].ljust(widths[k]) for k in range(3)), row[3]]) for row in rows]


def _more(checked: Checked) -> list[str]:
    from rewarden.spec_lang.sentence import number_text

    found = [f"  data {name}: {rows} rows, every one in range" for name, rows in checked.rows.items()]
    sanity = checked.sanity
    by = sanity.satisfied_by
    if by is not None and by.values:
        values = ", ".join(f"{name} = {number_text(value)}" for name, value in by.values.items())
        where = " everywhere"
        if by.steps:
            rules = "one rule asks" if len(by.steps) == 1 else f"{len(by.steps)} rules ask"
            where = f", {'raised' if by.raised else 'lowered'} where {rules} for {'more' if by.raised else 'less'},"
        found.append(f"  the must rules do not clash: {values}{where} satisfies all of them")
    elif sanity.clash == "not found":
        found.append("  no clash among the must rules was found")
    return found


# ── for a machine ──────────────────────────────────────────────────────────────────────────────
def to_json(results: Sequence[Checked | Unusable]) -> dict[str, Any]:
    """The same results give the same JSON: no times, no folders of this machine but those that were typed."""
    return {"schema_version": SCHEMA_VERSION, "specs": [_one(result) for result in results]}


def _one(result: Checked | Unusable) -> dict[str, Any]:
    if isinstance(result, Unusable):
        found = [_diagnostic(d) for d in _diagnostics(result.error)]
        return {"spec": result.path, "digest": None, "status": result.status, "findings": found, "rules": []}
    sanity = result.sanity
    return {
        "spec": result.path,
        "digest": result.spec.digest,
        "status": result.status,
        "findings": [_finding(finding, result.spec) for finding in sanity.findings],
        "rules": [_rule(facts) for facts in sanity.rules],
        "must_rules": {"clash": sanity.clash, "satisfied_by": _satisfied_by(sanity)},
        "data": [{"name": name, "rows": rows} for name, rows in result.rows.items()],
    }


def _satisfied_by(sanity: Sanity) -> dict[str, Any] | None:
    by = sanity.satisfied_by
    if by is None:
        return None
    steps = [{"rule": rule, "level": str(level)} for rule, level in by.steps]
    return {"values": {name: str(x) for name, x in by.values.items()}, "raised": by.raised, "steps": steps}


def _diagnostics(error: RewardenError) -> tuple[Diagnostic, ...]:
    from rewarden.spec_lang.errors import Diagnostic, SpecError

    if isinstance(error, SpecError):
        return error.diagnostics
    return (Diagnostic(error.code, error.message, (), help=error.help),)


def _diagnostic(diagnostic: Diagnostic) -> dict[str, Any]:
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "places": [
            {"file": label.span.source.name, "line": label.span.line, "column": label.span.column, "says": label.text}
            for label in diagnostic.labels
        ],
        "related": diagnostic.related,
        "help": diagnostic.help,
        "rules": [],
        "records": [],
    }


def _finding(finding: Finding, spec: Spec) -> dict[str, Any]:
    records = [_record(record, spec) for record in finding.records]
    return {**_diagnostic(finding.diagnostic), "rules": list(finding.rules), "records": records}


def _record(record: NamedRecord, spec: Spec) -> dict[str, Any]:
    from rewarden.spec_lang.sanity.words import features_of

    features = list(features_of(spec.features[record.type_name], record.columns))
    return {
        "name": record.name,
        "type": record.type_name,
        "values": {feature.name: _value(feature, part, float) for feature, part in features},
        "exact": {feature.name: _value(feature, part, str) for feature, part in features},
    }


def _value(feature: Feature, part: Sequence[Fraction], number: type[float] | type[str]) -> object:
    match feature.kind:
        case "bool":
            return bool(part[0])
        case "enum":
            return next((case for case, on in zip(feature.cases, part, strict=True) if on == 1), None)
    whole = int if feature.kind == "int" and number is float else number
    return [whole(x) for x in part] if feature.is_vector else whole(part[0])


def _rule(facts: RuleFacts) -> dict[str, Any]:
    return {
        "name": facts.rule.name,
        "severity": facts.rule.severity,
        "title": facts.rule.title,
        "where": str(facts.rule.span),
        "kind": facts.rule.kind,
        "class": facts.rule_class,
        "because": facts.because,
        "engines": list(facts.engines.names),
        "no_engine": facts.engines.reason or None,
        "premise": facts.premise,
        "identified": {"shift": not facts.flipped_by_shift, "factor": not facts.flipped_by_factor},
    }
