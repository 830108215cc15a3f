"""What a run has found as JSON, and back: enough to tell it again in every format, and to judge it anew.

What comes back was decided by an earlier run. It has words and numbers, and nothing that could be certified.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from rewarden.ci.outcome import Finding, Place, RuleOutcome, RunOutcome
from rewarden.verifier.answer import Verdict


@dataclass(frozen=True, slots=True)
class KeptResult:
    """A rule's result as it was told: `details` are the lines below it, `document` its JSON, `claim` what a baseline
    knows it by (`baseline.digest_of_claim`)."""

    rule: str
    severity: str
    verdict: Verdict
    reason: str
    title: str
    warnings: tuple[str, ...]
    non_finite: bool
    details: tuple[str, ...]
    document: str = field(repr=False)
    claim: str | None
    cached: bool = True

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.document)
        return found


def to_kept(run: RunOutcome) -> dict[str, Any]:
    """JSON-ready. The documents of rules are texts, so that what is kept keeps the order of their names."""
    return {
        "file": run.file,
        "spec": run.spec,
        "digest": run.digest,
        "rewards": [[name, place, digest] for name, (place, digest) in (run.rewards or {}).items()],
        "semantics": run.semantics,
        "rules": [_rule(rule) for rule in run.rules],
        "findings": [finding_to_kept(found) for found in run.findings],
        "known": list(run.known),
    }


def of_kept(content: Any) -> RunOutcome:  # noqa: ANN401 - JSON from a file
    """KeyError, TypeError or ValueError for what `to_kept` has not made."""
    return RunOutcome(
        file=str(content["file"]),
        spec=str(content["spec"]),
        digest=content["digest"],
        rewards={str(name): (str(place), str(digest)) for name, place, digest in content["rewards"]},
        semantics=str(content["semantics"]),
        rules=tuple(_of_rule(rule) for rule in content["rules"]),
        findings=tuple(finding_of_kept(found) for found in content["findings"]),
        known=tuple(map(str, content["known"])),
    )


def finding_to_kept(found: Finding) -> dict[str, Any]:
    return {
        "code": found.code,
        "severity": found.severity,
        "message": found.message,
        "place": None if found.place is None else _place(found.place),
        "help": found.help,
    }


def finding_of_kept(content: Any) -> Finding:  # noqa: ANN401 - JSON from a file
    place = None if content["place"] is None else _of_place(content["place"])
    return Finding(content["code"], content["severity"], content["message"], place, content["help"])


def _rule(rule: RuleOutcome) -> dict[str, Any]:
    from rewarden.ci.baseline import claim_of
    from rewarden.outputs.document import told
    from rewarden.outputs.words import details

    result = rule.result
    return {
        "rule": result.rule,
        "severity": result.severity,
        "verdict": result.verdict.value,
        "reason": str(result.reason),
        "title": result.title,
        "warnings": list(result.warnings),
        "non_finite": result.non_finite,
        "details": details(rule),
        "document": json.dumps(told(rule)),
        "claim": claim_of(rule),
        "place": _place(rule.place),
        "fingerprint": rule.fingerprint,
        "requirement": rule.requirement,
        "because": rule.because,
    }


def _of_rule(content: Any) -> RuleOutcome:  # noqa: ANN401 - JSON from a file
    result = KeptResult(
        rule=str(content["rule"]),
        severity=str(content["severity"]),
        verdict=Verdict(content["verdict"]),
        reason=str(content["reason"]),
        title=str(content["title"]),
        warnings=tuple(map(str, content["warnings"])),
        non_finite=content["non_finite"] is True,
        details=tuple(map(str, content["details"])),
        document=str(content["document"]),
        claim=content["claim"],
    )
    place, name = _of_place(content["place"]), str(content["fingerprint"])
    return RuleOutcome(result, place, name, content["requirement"], content["because"])


def _place(place: Place) -> list[str | int]:
    return [place.file, place.line, place.column]


def _of_place(content: Any) -> Place:  # noqa: ANN401 - JSON from a file
    file, line, column = content
    return Place(str(file), int(line), int(column))
