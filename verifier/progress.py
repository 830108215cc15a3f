"""How long work tells of itself, and how it is stopped: two callables that the caller may pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rewarden.verifier.options import VerifyOptions

Phase = Literal["premise", "search", "bounds", "differences", "cells", "neurons", "lp", "z3", "coverage", "done"]


@dataclass(frozen=True, slots=True)
class Progress:
    """`settled` is the settled share of the rule's domain, 0 to 1; `work` counts what the phase has done so far
    (points, boxes or queries)."""

    rule: str
    phase: Phase
    settled: float = 0.0
    work: int = 0


Report = Callable[[Progress], None]
Stop = Callable[[], bool]


def why_stopped(options: VerifyOptions, started: float) -> str:
    """What ended work that was stopped just now, `started` at that time, in a sentence."""
    limit = options.time_limit
    if limit is not None and time.monotonic() - started > limit:
        return f"The time limit of {limit:g} s was reached."
    return "It was asked to stop."


def stopping(options: VerifyOptions, stop: Stop | None) -> Stop:
    """The caller's stop, or the time limit from now on."""
    deadline = None if options.time_limit is None else time.monotonic() + options.time_limit

    def stopped() -> bool:
        return (stop is not None and stop()) or (deadline is not None and time.monotonic() > deadline)

    return stopped
