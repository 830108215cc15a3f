"""What one verification may spend and how it goes about it: a frozen value that every engine takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rewarden.spec_lang.errors import UsageError

Engine = Literal["auto", "falsify", "bounds", "differences", "cells", "neurons", "lp", "z3"]
COVERAGE_BUDGET = 10_000  # boxes, where coverage is asked for without saying how much: some seconds per rule
Semantics = Literal["real", "float32"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """Budgets count work, never time, so that a verdict does not depend on the machine.

    `time_limit` (seconds per run of `verify`) only stops: what is unsettled then becomes `unknown`.
    Raises UsageError (G14) for values that make no sense.
    """

    engine: Engine = "auto"  # auto: as `decision` says; else that one alone, after premise and search
    budget: int = 200_000  # boxes that branch and bound may examine, per rule
    falsify_budget: int = 60_000  # points that the search for violations may evaluate, per rule
    z3_rlimit: int = 4_000_000  # z3 resource units, per query: some 5 to 40 seconds
    seed: int = 0
    batch_size: int = 1024  # boxes bounded at once
    semantics: Semantics = "real"
    time_limit: float | None = None
    coverage_budget: int = 0  # boxes that the coverage of a rule may take; 0: none is asked for
    threads: int = 1  # of torch; sums are reassociated with more, so that the search may find another witness

    def __post_init__(self) -> None:
        if self.engine not in get_args(Engine):
            known = ", ".join(get_args(Engine))
            raise UsageError("G14", f"no engine is called {self.engine!r}", help=f"use one of {known}")
        if self.semantics not in ("real", "float32"):
            raise UsageError("G14", f"no semantics is called {self.semantics!r}", help="use real or float32")
        for name in ("budget", "falsify_budget", "coverage_budget", "z3_rlimit", "batch_size", "threads"):
            least = 0 if name.endswith("budget") else 1
            if getattr(self, name) < least:
                raise UsageError("G14", f"{name} is {getattr(self, name)}: it must be at least {least}")
        if self.time_limit is not None and not self.time_limit > 0:
            raise UsageError("G14", f"a time limit of {self.time_limit} s: it must be positive")
