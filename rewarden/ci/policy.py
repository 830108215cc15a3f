"""What fails: from a rule's verdict, and how it stands, to an exit status.

| `fail_on` | a rule that counts | violated or vacuous | unknown |
| --- | --- | --- | --- |
| must | must | 1 | 3 |
| should | must, should | 1 | 3 |
| unknown | must, should | 1 | 1 |

Waived and known violations count for nothing. A rule that counts and left the finite numbers is 2. Where several apply
the worst is reported, in the order of `rewarden.exits`: 5, 2, 4, 1, 3, 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, get_args

from rewarden import exits
from rewarden.ci.outcome import RuleOutcome, RunOutcome, Trouble
from rewarden.nearby import did_you_mean
from rewarden.spec_lang.errors import UsageError

FailOn = Literal["must", "should", "unknown"]


def fail_on_of(text: str) -> FailOn:
    """UsageError G91."""
    for known in get_args(FailOn):
        if text == known:
            found: FailOn = known
            return found
    raise UsageError("G91", f"--fail-on {text}: must, should or unknown", help=did_you_mean(text, get_args(FailOn)))


def rule_status(rule: RuleOutcome, fail_on: FailOn) -> int:
    """What this rule alone asks for."""
    result = rule.result
    if (result.severity != "must" and fail_on == "must") or result.verdict.value == "proved":
        return exits.PROVED
    if result.non_finite:
        return exits.UNUSABLE
    if rule.broken:
        return exits.PROVED if rule.excused else exits.VIOLATED
    return exits.VIOLATED if fail_on == "unknown" else exits.INCONCLUSIVE


def status_of(runs: Iterable[RunOutcome], troubles: Iterable[Trouble], fail_on: FailOn) -> int:
    """The exit status of everything. Nothing selected is 2, as of `rewarden verify`."""
    found = list(runs)
    nothing = not any(run.rules or run.troubles for run in found)
    statuses = [exits.UNUSABLE] if nothing else []
    statuses += [trouble.status for trouble in troubles]
    for run in found:
        statuses += _statuses(run, fail_on)
    return exits.worst(statuses)


def _statuses(run: RunOutcome, fail_on: FailOn) -> Iterator[int]:
    yield from (trouble.status for trouble in run.troubles)
    yield from (exits.VIOLATED for finding in run.findings if finding.severity == "error")
    yield from (rule_status(rule, fail_on) for rule in run.rules)
