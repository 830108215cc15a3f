"""Violations that somebody answers for, in a file beside the spec:

    [[waiver]]
    fingerprint = "rwf1:0123456789abcdef0123456789abcdef"   # as the summary shows it
    owner = "ada@example.org"
    reason = "known since the March recordings; the next reward is trained without them"
    expires = 2027-03-31                                     # the last day on which it holds

A fingerprint changes with what the rule claims, so that a waiver never covers more than was waived.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

from rewarden.ci.outcome import FORM, RunOutcome, Waiver
from rewarden.nearby import did_you_mean
from rewarden.spec_lang.diagnostics import printable
from rewarden.spec_lang.errors import UsageError

LARGEST = 2**22  # bytes
_KEYS = ("fingerprint", "owner", "reason", "expires")


def load_waivers(path: Path) -> tuple[Waiver, ...]:
    """UsageError G92 for a file that cannot be read, G93 for a waiver that is not of the form above."""
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError("G92", f"{path} is too large for a file of waivers")
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError("G92", f"the waivers cannot be read: {path}: {error}") from error
    listed = table.get("waiver", [])
    if set(table) - {"waiver"} or not isinstance(listed, list):
        raise UsageError("G93", f"{path} holds tables [[waiver]] and nothing else")
    found = tuple(_waiver(one, f"{path}, waiver {k}") for k, one in enumerate(listed, start=1))
    seen: set[str] = set()
    for waiver in found:
        if waiver.fingerprint in seen:
            raise UsageError("G93", f"{path}: {waiver.fingerprint} is waived twice", help="keep one of them")
        seen.add(waiver.fingerprint)
    return found


def _waiver(table: object, where: str) -> Waiver:
    if not isinstance(table, dict):
        raise UsageError("G93", f"{where} is not a table, [[waiver]]")
    for key in table:
        if key not in _KEYS:
            raise UsageError("G93", f"{where}: nothing is called {printable(key)}", help=did_you_mean(key, _KEYS))
    texts = {key: _text(table, key, where) for key in ("fingerprint", "owner", "reason")}
    if not FORM.fullmatch(texts["fingerprint"]):
        raise UsageError("G93", f"{where}: not a fingerprint", help="copy it from the summary: rwf1: and 32 digits")
    expires = table.get("expires")
    if not isinstance(expires, date) or isinstance(expires, datetime):
        raise UsageError("G93", f"{where}: expires must be a day", help="for example expires = 2027-03-31, unquoted")
    return Waiver(texts["fingerprint"], texts["owner"], texts["reason"], expires)


def _text(table: Mapping[str, Any], key: str, where: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        raise UsageError("G93", f"{where}: {key} must be text, and not empty")
    return printable(value.strip())


def waive(
    runs: Iterable[RunOutcome], waivers: Sequence[Waiver], today: date, *, partly: bool = False
) -> tuple[tuple[RunOutcome, ...], tuple[str, ...]]:
    """The runs with their waivers, and what is to be said: expired, unmatched, and not needed any more.

    `partly`: not all rules were looked at, so that nothing is said of waivers that match none.
    """
    valid = {waiver.fingerprint: waiver for waiver in waivers if today <= waiver.expires}
    judged = tuple(
        replace(run, rules=tuple(replace(r, waiver=valid.get(r.fingerprint) if r.broken else None) for r in run.rules))
        for run in runs
    )
    by_print = {rule.fingerprint: rule for run in judged for rule in run.rules}
    broken = {rule.fingerprint for run in judged for rule in run.rules if rule.broken}
    said = []
    for waiver in waivers:
        rule = by_print.get(waiver.fingerprint)
        whose = f"the waiver of {waiver.owner} for {waiver.fingerprint}"
        if rule is None:
            if not partly:
                said.append(f"{whose} matches no rule: what it was about has changed, or is gone")
        elif waiver.fingerprint not in broken:
            said.append(f"{whose} is not needed: {rule.result.rule} is {rule.result.verdict.value}")
        elif waiver.fingerprint not in valid:
            said.append(f"{whose} expired on {waiver.expires.isoformat()}: {rule.result.rule} fails again")
    return judged, tuple(said)
