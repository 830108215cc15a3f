"""From requirement to evidence: which rule speaks for it, what became of the rule, and what bears that out.

A requirement is named by `id "…"` in a rule, and explained by `because "…"`. What is not covered is listed as well:
requirements that no rule names, rules that name none, verdicts without evidence that was checked, and features that
no rule speaks of.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewarden.audit.document import harmless
from rewarden.certificate.match import Checked
from rewarden.spec_lang import Spec
from rewarden.spec_lang.errors import Unsupported, UsageError
from rewarden.spec_lang.obligation import Obligation
from rewarden.spec_lang.sanity.unread import unread_features

HEAD = ("requirement", "because", "rule", "severity", "verdict", "evidence", "digest", "checked")
LARGEST = 2**22  # bytes of a list of requirements


@dataclass(frozen=True, slots=True)
class Trace:
    """One line of the table. `checked`: what was recomputed here, or why nothing was."""

    requirement: str
    because: str
    rule: str
    severity: str
    verdict: str
    evidence: str
    digest: str
    checked: str

    @property
    def covered(self) -> bool:
        return bool(self.requirement) and self.verdict == "proved" and self.checked.startswith("proved")


@dataclass(frozen=True, slots=True)
class Traceability:
    """All lines, and in sentences what is not covered."""

    traces: tuple[Trace, ...]
    gaps: tuple[str, ...]


def trace(spec: Spec, checked: Checked, required: Mapping[str, str] | None = None) -> Traceability:
    """`required`: requirements from elsewhere, number → text; those that no rule names are gaps."""
    stated = _rules(checked)
    found = {claim.rule: claim for claim in checked.kernel.claims}
    traces = []
    for rule in spec.rules:
        said = stated.get(rule.name, {})
        evidence = said.get("evidence") or {}
        claim = found.get(rule.name)
        seen = "no claim in this certificate" if claim is None else f"{claim.verdict}: {claim.reason}"
        if claim is not None and not checked.text.matched:
            seen = f"of a claim that is not known to be this rule's: {seen}"
        traces.append(
            Trace(
                rule.requirement or "",
                rule.because or (required or {}).get(rule.requirement or "", ""),
                rule.name,
                str(rule.severity),
                str(said.get("verdict", "not in the certificate")),
                str(evidence.get("file", "")),
                str(evidence.get("digest", "")),
                f"{seen} ({checked.kernel.tier})" if claim is not None and claim.checked else seen,
            )
        )
    named = {one.requirement for one in traces}
    unnamed = [
        Trace(number, text, "", "", "no rule", "", "", "")
        for number, text in (required or {}).items()
        if number not in named
    ]
    lines = (*sorted(traces, key=lambda t: (not t.requirement, t.requirement)), *unnamed)
    return Traceability(lines, tuple(_gaps(spec, lines)))


def as_csv(traceability: Traceability) -> str:
    """RFC 4180, on a line each. A cell that a spreadsheet would read as a formula begins with an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(HEAD)
    for one in traceability.traces:
        cells = (
            one.requirement,
            one.because,
            one.rule,
            one.severity,
            one.verdict,
            one.evidence,
            one.digest,
            one.checked,
        )
        shown = (" ".join(harmless(cell).split()) for cell in cells)
        writer.writerow(f"'{cell}" if cell[:1] in ("=", "+", "-", "@") else cell for cell in shown)
    return text.getvalue()


def load_requirements(path: Path) -> dict[str, str]:
    """A CSV with columns `id` and, if wanted, `text`. UsageError G47 if it is none, or names one twice."""
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError("G47", f"{path} is too large for a list of requirements")
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")), strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError("G47", f"the requirements cannot be read: {path}: {error}") from error
    found: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        name = (row.get("id") or "").strip()
        if not name:
            raise UsageError(
                "G47", f"{path}, line {number}: no id", help="columns are id and text, named in the first line"
            )
        if name in found:
            raise UsageError("G47", f"{path}, line {number}: {name} is there twice")
        found[name] = (row.get("text") or "").strip()
    return found


def _rules(checked: Checked) -> dict[str, Mapping[str, Any]]:
    if checked.statement is None:
        return {}
    return {str(rule["name"]): rule for rule in checked.statement["predicate"]["rules"]}


def _gaps(spec: Spec, lines: Sequence[Trace]) -> Iterable[str]:
    missing = [one.requirement for one in lines if not one.rule]
    if missing:
        yield f"{_many(len(missing), 'requirement')} with no rule: {', '.join(missing)}."
    unnamed = [one.rule for one in lines if one.rule and not one.requirement]
    if unnamed:
        verb = "name" if len(unnamed) > 1 else "names"
        yield f"{_many(len(unnamed), 'rule')} that {verb} no requirement: {', '.join(unnamed)}."
    for word in ("violated", "vacuous", "unknown", "not in the certificate"):
        rules = [one.rule for one in lines if one.rule and one.verdict == word]
        if rules:
            yield f"{_many(len(rules), 'rule')} {word}: {', '.join(rules)}."
    unchecked = [one.rule for one in lines if one.verdict == "proved" and not one.checked.startswith("proved")]
    if unchecked:
        yield f"Called proved, without evidence that was checked here: {', '.join(unchecked)}."
    for type_name, features in unread_features(spec, _obligations(spec)).items():
        yield f"Features of {type_name} that no rule or assumption reads: {', '.join(features)}."


def _obligations(spec: Spec) -> list[Obligation]:
    """What the rules say; of a rule about loops, for those of two records, which mention all that longer ones do."""
    found: list[Obligation] = []
    for rule in spec.rules:
        try:
            found += spec.obligations_of(rule.name)
        except Unsupported:
            found.append(spec.unrolled(rule.name, 2))
    return found


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
