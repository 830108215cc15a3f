"""Median wall-clock of a few runs, and rows of a table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report: what, the figure with its unit, and how it was taken."""

    what: str
    figure: str
    how: str


def median_seconds(work: Callable[[], object], runs: int = 5, warm_up: int = 1) -> float:
    """Median of `runs` timed calls after `warm_up` untimed ones."""
    for _ in range(warm_up):
        work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
