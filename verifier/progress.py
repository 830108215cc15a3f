"""How long work tells of itself, and how it is stopped: two callables that the caller may pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Phase = Literal["premise", "search", "bounds", "cells", "z3", "done"]


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
