"""Outcomes made by hand, for tests of what is made of them."""

from __future__ import annotations

from datetime import date
from typing import Any

from rewarden.ci.outcome import Finding, Outcome, Place, RuleOutcome, RunOutcome, Trouble, Waiver
from rewarden.ci.policy import FailOn, status_of
from rewarden.verifier.verdict import RuleResult, Verdict

WAIVER = Waiver("rwf1:" + "0" * 32, "ada", "known for long", date(2027, 3, 31))


def rule(
    verdict: str = "violated",
    *,
    name: str = "slow",
    title: str = "",
    severity: str = "must",
    reason: str = "A reason.",
    waiver: Waiver | None = None,
    known: bool = False,
    **more: Any,
) -> RuleOutcome:
    told = RuleResult(
        rule=name, severity=severity, verdict=Verdict(verdict), reason=reason, title=title, coverage=1.0, **more
    )
    return RuleOutcome(told, Place("specs/cart.rwd", 7, 1), "rwf1:" + "a1" * 16, "C-1", "why", waiver, known)


def outcome(
    *rules: RuleOutcome,
    fail_on: FailOn = "must",
    findings: tuple[Finding, ...] = (),
    troubles: tuple[Trouble, ...] = (),
    **more: Any,
) -> Outcome:
    rewards = {"R": ("reward", "sha256:" + "0" * 64)}
    run = RunOutcome("specs/cart.rwd", "cart", "sha256:" + "1" * 64, rewards, "real", rules, findings, troubles)
    return Outcome((run,), status_of([run], (), fail_on), fail_on, **more)
