"""An outcome for GitHub: annotations in the log, and the job's summary in Markdown.

Titles and names come from specs, which anybody may propose: annotations are escaped as the runner unescapes them, and
lines that are printed beside them stand where the runner obeys no commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256

from rewarden.ci.outcome import Finding, Outcome, Place, RuleOutcome, Trouble
from rewarden.outputs.clean import line, markdown
from rewarden.outputs.words import STATUSES, counts, details, failing, standing

MOST = 200  # rules in the summary: a job's may have a megabyte
_MARKS = {"proved": "✅", "violated": "❌", "vacuous": "❌", "unknown": "❔"}


# ── annotations ────────────────────────────────────────────────────────────────────────────────
def commands(outcome: Outcome) -> Iterator[str]:
    """A workflow command for each rule that is not proved, each finding, each error."""
    for run in outcome.runs:
        for rule in run.rules:
            if rule.result.verdict.value != "proved":
                yield _of_rule(rule, outcome.fail_on)
        for finding in run.findings:
            yield _command(finding.severity, finding.message, finding.code, finding.place)
    for trouble in outcome.all_troubles():
        yield _command("error", trouble.message, trouble.code, trouble.place)
    yield from (_command("warning", notice, "waiver") for notice in outcome.notices)


def guarded(lines: Iterable[str]) -> list[str]:
    """Lines in which the runner obeys nothing. What ends the pause is a digest of them, so that they cannot hold it."""
    found = list(lines)
    if not found:
        return []
    token = sha256("\n".join(found).encode("utf-8", "backslashreplace")).hexdigest()
    return [f"::stop-commands::{token}", *found, f"::{token}::"]


def _of_rule(rule: RuleOutcome, fail_on: str) -> str:
    told = rule.result
    level = "error" if failing(rule, fail_on) else "notice" if rule.excused else "warning"
    how = standing(rule, fail_on)
    said = [line(told.title) or told.rule, *details(rule), *([how] if how else [])]
    return _command(level, "\n".join(said), f"{told.rule} is {told.verdict.value}", rule.place)


def _command(level: str, message: str, title: str, place: Place | None = None) -> str:
    properties = {"title": title}
    if place is not None:
        properties = {"file": place.file, "line": str(place.line), "col": str(place.column), **properties}
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{level} {listed}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


# ── the job's summary ──────────────────────────────────────────────────────────────────────────
def job_summary(outcome: Outcome) -> str:
    """Markdown: one table, rules that fail first."""
    rules = [(run.file, rule) for run in outcome.runs for rule in run.rules]
    ordered = sorted(rules, key=lambda found: (not failing(found[1], outcome.fail_on), found[1].excused))
    found = ["## Rewarden", "", f"{markdown(counts(outcome))}: **{STATUSES[outcome.status]}**.", ""]
    if ordered:
        found += ["| | rule | says | how it stands | where |", "| --- | --- | --- | --- | --- |"]
        found += [_row(rule, outcome.fail_on) for _, rule in ordered[:MOST]]
        found += ["", f"and {len(ordered) - MOST} more."] if len(ordered) > MOST else [""]
    wrong: list[Trouble | Finding] = [*outcome.all_troubles(), *(f for run in outcome.runs for f in run.findings)]
    for said in wrong:
        where = f"{markdown(str(said.place))}: " if said.place is not None else ""
        found.append(f"- {where}{markdown(said.code)}: {markdown(said.message)}")
    found += [f"- {markdown(notice)}" for notice in outcome.notices]
    return "\n".join(found).rstrip() + "\n"


def _row(rule: RuleOutcome, fail_on: str) -> str:
    told = rule.result
    verdict = told.verdict.value
    how = standing(rule, fail_on)
    why = "" if verdict == "proved" else "; ".join(details(rule)[:12])
    said = ": ".join(text for text in (f"{verdict}, {told.severity}", how or why) if text)
    cells = (told.rule, told.title, said, str(rule.place))
    return f"| {_MARKS[verdict]} | " + " | ".join(markdown(cell) for cell in cells) + " |"
