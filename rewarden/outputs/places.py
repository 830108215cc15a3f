"""Places as other tools look for them: from the root of the repository, wherever the command was run."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from rewarden.ci.outcome import Finding, Outcome, Place, RunOutcome, Trouble


def from_root(outcome: Outcome) -> Outcome:
    """With its files named from GITHUB_WORKSPACE, where that is set; otherwise from here, as they are."""
    given = os.environ.get("GITHUB_WORKSPACE")
    if not given:
        return outcome
    root = Path(given).resolve()
    runs = tuple(_run(run, root) for run in outcome.runs)
    return replace(outcome, runs=runs, troubles=tuple(_moved(trouble, root) for trouble in outcome.troubles))


def _run(run: RunOutcome, root: Path) -> RunOutcome:
    return replace(
        run,
        file=_named(run.file, root),
        rules=tuple(replace(rule, place=_place(rule.place, root)) for rule in run.rules),
        findings=tuple(_found(finding, root) for finding in run.findings),
        troubles=tuple(_moved(trouble, root) for trouble in run.troubles),
    )


def _found(finding: Finding, root: Path) -> Finding:
    return finding if finding.place is None else replace(finding, place=_place(finding.place, root))


def _moved(trouble: Trouble, root: Path) -> Trouble:
    return trouble if trouble.place is None else replace(trouble, place=_place(trouble.place, root))


def _place(place: Place, root: Path) -> Place:
    return replace(place, file=_named(place.file, root))


def _named(file: str, root: Path) -> str:
    found = Path(os.path.abspath(file)).resolve()
    return found.relative_to(root).as_posix() if found.is_relative_to(root) else file
