"""An outcome as SARIF 2.1.0, as GitHub's code scanning and other dashboards read it.

A rule of a spec is a rule of the log, `SPEC/RULE`, whatever line it stands on; results carry the fingerprint of what
the rule claims. What holds is no result: some readers show every result as an alert. Waived violations are suppressed
results, errors are notifications of the invocation. Lines and columns count characters from 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from rewarden import __version__
from rewarden.ci.outcome import Finding, Outcome, Place, RuleOutcome, RunOutcome, Trouble
from rewarden.outputs.clean import line, lines
from rewarden.outputs.words import details, failing

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
ROOT = "%SRCROOT%"
_VERDICTS = {
    "violated": "A record was found for which the rule fails.",
    "vacuous": "No record satisfies the premise: the rule says nothing.",
    "unknown": "The rule is neither proved nor violated.",
}


def text_of(outcome: Outcome) -> str:
    return json.dumps(to_sarif(outcome), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_sarif(outcome: Outcome) -> dict[str, Any]:
    rules, results = _Rules(), []
    for run in outcome.runs:
        for rule in run.rules:
            index = rules.of_rule(run, rule)
            if rule.result.verdict.value != "proved":
                results.append(_result(run, rule, index, outcome))
        results += [_finding(finding, rules.of_code(finding)) for finding in run.findings]
    troubles = outcome.all_troubles()
    driver = {
        "name": "Rewarden",
        "version": __version__,
        "semanticVersion": __version__,
        "shortDescription": {"text": "Rules for learned rewards: proved, or violated with a witness."},
        "rules": rules.descriptors,
        "notifications": [{"id": code} for code in sorted({trouble.code for trouble in troubles})],
    }
    invocation = {
        "executionSuccessful": not troubles,
        "exitCode": outcome.status,
        "toolExecutionNotifications": [
            *(_notification(trouble) for trouble in troubles),
            *({"level": "note", "message": {"text": _text(notice)}} for notice in outcome.notices),
        ],
    }
    told = {
        "tool": {"driver": driver},
        "invocations": [invocation],
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [told]}


class _Rules:
    """The descriptors so far, each once (mutable)."""

    def __init__(self) -> None:
        self.descriptors: list[dict[str, Any]] = []
        self._index: dict[str, int] = {}

    def of_rule(self, run: RunOutcome, rule: RuleOutcome) -> int:
        result = rule.result
        title = _text(line(result.title)) or result.rule
        because = _text(line(rule.because)) if rule.because else title
        must = result.severity == "must"
        about = {
            "tags": ["reward", result.severity],
            "precision": "very-high",
            "problem.severity": "error" if must else "warning",
        }
        if rule.requirement:
            about["requirement"] = line(rule.requirement)
        return self._add(_rule_id(run, rule), title, because, "error" if must else "warning", about)

    def of_code(self, finding: Finding) -> int:
        from rewarden.codes import explanations

        text = _text(explanations().get(finding.code, finding.code))
        about = {"tags": ["spec"], "problem.severity": finding.severity}
        return self._add(finding.code, text, text, finding.severity, about)

    def _add(self, name: str, short: str, full: str, level: str, about: dict[str, Any]) -> int:
        if name not in self._index:
            self._index[name] = len(self.descriptors)
            self.descriptors.append(
                {
                    "id": name,
                    "name": name.rpartition("/")[2],
                    "shortDescription": {"text": short},
                    "fullDescription": {"text": full},
                    "help": {"text": full},
                    "defaultConfiguration": {"level": level},
                    "properties": about,
                }
            )
        return self._index[name]


def _rule_id(run: RunOutcome, rule: RuleOutcome) -> str:
    return f"{run.spec}/{rule.result.rule}"


def _result(run: RunOutcome, rule: RuleOutcome, index: int, outcome: Outcome) -> dict[str, Any]:
    told = rule.result
    verdict = told.verdict.value
    said = "\n".join([f"{told.rule} is {verdict}: {line(told.title)}".rstrip(": "), _VERDICTS[verdict], *details(rule)])
    digest = rule.fingerprint.partition(":")[2]
    found: dict[str, Any] = {
        "ruleId": _rule_id(run, rule),
        "ruleIndex": index,
        # A result whose kind is not "fail" has no level: the standard asks for "none".
        "kind": "fail" if rule.broken else "open",
        "level": ("error" if told.severity == "must" else "warning") if rule.broken else "none",
        "message": {"text": _text(said)},
        "locations": [_location(rule.place, f"{run.spec}.{told.rule}")],
        "partialFingerprints": {"primaryLocationLineHash": f"{digest}:1", "rewardenRule/v1": rule.fingerprint},
        "properties": {"verdict": verdict, "severity": told.severity, "fails": failing(rule, outcome.fail_on)},
    }
    if rule.waiver is not None:
        why = f"{rule.waiver.owner}, until {rule.waiver.expires.isoformat()}: {rule.waiver.reason}"
        found["suppressions"] = [{"kind": "external", "status": "accepted", "justification": line(why)}]
    if outcome.against is not None:
        found["baselineState"] = "unchanged" if rule.known else "new"
    return found


def _finding(finding: Finding, index: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": index,
        "kind": "fail",
        "level": finding.severity,
        "message": {"text": _text("\n".join(text for text in (finding.message, finding.help) if text))},
    }
    if finding.place is not None:
        found["locations"] = [_location(finding.place)]
    return found


def _notification(trouble: Trouble) -> dict[str, Any]:
    found: dict[str, Any] = {
        "level": "error",
        "message": {"text": _text("\n".join(text for text in (trouble.message, trouble.help) if text))},
        "descriptor": {"id": trouble.code},
    }
    if trouble.place is not None:
        found["locations"] = [_location(trouble.place)]
    return found


def _location(place: Place, logical: str | None = None) -> dict[str, Any]:
    physical = {
        "artifactLocation": _artifact(place.file),
        "region": {"startLine": place.line, "startColumn": place.column},
    }
    if logical is None:
        return {"physicalLocation": physical}
    name = logical.rpartition(".")[2]
    return {
        "physicalLocation": physical,
        "logicalLocations": [{"name": name, "fullyQualifiedName": logical, "kind": "declaration"}],
    }


def _artifact(file: str) -> dict[str, str]:
    """Relative to the root of the sources where the file is below it; a URI in any case."""
    if Path(file).is_absolute():
        return {"uri": Path(file).as_uri()}
    return {"uri": "/".join(_segments(file)), "uriBaseId": ROOT}


def _segments(file: str) -> Iterator[str]:
    yield from (quote(part, safe="-._~") for part in PurePosixPath(file).parts)


def _text(text: str) -> str:
    """Plain: `[words](target)` would be a link, and braces placeholders, in a message of SARIF's."""
    return lines(text).replace("](", "] (").replace("{", "{{").replace("}", "}}")
