"""Progress of long work, on stderr, on terminals only.

`progress(quiet)` gives a callable `(stage, done, total, note)`; off a terminal it does nothing: logs stay clean.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rewarden.verifier.progress import Progress as RuleProgress
    from rewarden.verifier.progress import Report


class Progress(Protocol):
    """Told how far a stage has come; `note` is shown beside the bar."""

    def __call__(self, stage: str, done: int, total: int, note: str) -> None: ...


def silent(stage: str, done: int, total: int, note: str) -> None:
    """Progress for nobody."""


def per_rule(report: Progress) -> Report:
    """The verifier's progress as bars: one per rule, its settled share, and how fast the phase goes."""
    started: dict[tuple[str, str], float] = {}

    def told(progress: RuleProgress) -> None:
        now = time.monotonic()
        seconds = now - started.setdefault((progress.rule, progress.phase), now)
        speed = (
            f", {progress.work / seconds:.0f} boxes/s"
            if progress.phase in ("bounds", "cells", "neurons", "coverage") and seconds > 0.5
            else ""
        )
        report(progress.rule, round(1000 * progress.settled), 1000, progress.phase + speed)

    return told


@contextmanager
def progress(quiet: bool = False) -> Iterator[Progress]:
    """A line per stage: a bar, the count, a note; gone when the block ends."""
    if quiet or not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int, note: str) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, note=note)
            bars.update(tasks[stage], completed=done, total=total, note=note)

        yield report
