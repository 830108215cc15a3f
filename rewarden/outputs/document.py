"""An outcome as JSON: `ci.schema.json` beside this file says what is in it.

The same inputs give the same bytes: no times, and nothing of what was kept from earlier runs.
"""

from __future__ import annotations

import json
from typing import Any

from rewarden.ci.outcome import Finding, Outcome, Place, RuleOutcome, RunOutcome, Trouble
from rewarden.outputs.words import failing

SCHEMA_VERSION = 1


def text_of(outcome: Outcome) -> str:
    return json.dumps(to_json(outcome), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "status": outcome.status,
        "fail_on": outcome.fail_on,
        "against": outcome.against,
        "runs": [_run(run, outcome.fail_on) for run in outcome.runs],
        "troubles": [_trouble(trouble) for trouble in outcome.troubles],
        "notices": list(outcome.notices),
    }


def _run(run: RunOutcome, fail_on: str) -> dict[str, Any]:
    rewards = run.rewards or {}
    return {
        "file": run.file,
        "name": run.spec,
        "spec": run.digest,
        "semantics": run.semantics,
        "rewards": {name: digest for name, (_, digest) in sorted(rewards.items())},
        "rules": [_rule(rule, fail_on) for rule in run.rules],
        "findings": [_finding(finding) for finding in run.findings],
        "troubles": [_trouble(trouble) for trouble in run.troubles],
    }


def _rule(rule: RuleOutcome, fail_on: str) -> dict[str, Any]:
    waiver = rule.waiver
    return {
        **told(rule),
        "place": _place(rule.place),
        "fingerprint": rule.fingerprint,
        "id": rule.requirement,
        "because": rule.because,
        "fails": failing(rule, fail_on),
        "known": rule.known,
        "waiver": None
        if waiver is None
        else {"owner": waiver.owner, "reason": waiver.reason, "expires": waiver.expires.isoformat()},
    }


def told(rule: RuleOutcome) -> dict[str, Any]:
    """What was found of a rule, whoever waives it and wherever it stands."""
    found = {name: value for name, value in rule.result.to_json().items() if name != "cached"}
    return found if rule.text is None else {**found, "text": rule.text.to_json()}


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "severity": finding.severity,
        "message": finding.message,
        "place": None if finding.place is None else _place(finding.place),
        "help": finding.help,
    }


def _trouble(trouble: Trouble) -> dict[str, Any]:
    return {
        "code": trouble.code,
        "status": trouble.status,
        "message": trouble.message,
        "place": None if trouble.place is None else _place(trouble.place),
        "help": trouble.help,
    }


def _place(place: Place) -> dict[str, Any]:
    return {"file": place.file, "line": place.line, "column": place.column}
