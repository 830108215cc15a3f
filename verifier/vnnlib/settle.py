"""One claim of a query to an answer: cells for a second, the search for violations, cells again, other engines."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.claim import Claim
from rewarden.verifier import engines
from rewarden.verifier.cells.engine import Cells, CellsOutcome
from rewarden.verifier.engines.interface import Declined, Task
from rewarden.verifier.exact_program import ExactProgram, Point, box_of
from rewarden.verifier.linear import program_of
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.program import Program
from rewarden.verifier.progress import Progress, Report
from rewarden.verifier.verdict import Reason, Work

QUICK = 4_000  # boxes: about a second
FIRST = ("falsify", "neurons")  # before the others, where cells have nothing to say
LAST = ("bounds", "lp", "z3")


@dataclass(frozen=True, slots=True)
class Found:
    """`point` violates the claim, or it is `refuted` that any does, or neither, for a reason."""

    work: Work
    refuted: bool = False
    point: Point | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """One claim. Nobody certifies an answer, so the engine that is fast comes first: for a second, since most
    queries are easy and torch takes longer to import; then the search for violations; then cells for all of the
    budget. What is open after that, or not for cells, goes through the other engines."""

    claim: Claim
    rewards: Mapping[str, Artifact]
    options: VerifyOptions
    started: float
    progress: Report

    def settle(self) -> Found:
        program = program_of(self.claim, self.rewards)
        if self.options.engine not in ("auto", "cells"):
            return self._by_engines(program, (self.options.engine,), Work())
        cells = Cells.of(program)
        if cells is None:
            return self._by_engines(program, FIRST + LAST, Work())
        quick = self._by_cells(program, cells, min(QUICK, self.options.budget))
        if quick.status != "unknown" or self._stopped():
            return self._told(quick, Work(boxes=quick.boxes))
        found = self._by_engines(program, ("falsify",), Work(boxes=quick.boxes))
        if found.point is not None:
            return found
        whole = self._by_cells(program, cells, self.options.budget - quick.boxes)
        work = found.work + Work(boxes=whole.boxes)
        if whole.status != "unknown" or self.options.engine == "cells" or self._stopped():
            return self._told(whole, work)
        return self._by_engines(program, LAST, work)

    def _by_cells(self, program: Program, cells: Cells, budget: int) -> CellsOutcome:
        exact = ExactProgram(program)

        def violates(point: Point) -> bool:
            evaluation = exact.evaluate(point)
            there = box_of(self.claim, point) is not None and evaluation.premise_holds(self.claim)
            return there and bool(evaluation.failing_goals(self.claim))

        def report(share: float, boxes: int) -> None:
            self.progress(Progress(self.claim.rule, "cells", share, boxes))

        return cells.run(budget, violates, report, self._stopped)

    def _by_engines(self, program: Program, names: Sequence[str], work: Work) -> Found:
        """One engine after the other, each with all of the budget."""
        task = Task(self.claim, program, self.rewards, self._rest(), {}, self.progress, self._stopped, time.monotonic())
        reason, left = Reason.BUDGET, None
        for name in names:
            run = Declined(Reason.STOPPED) if self._stopped() else engines.start(name, task, left)
            if isinstance(run, Declined):
                reason = run.reason if len(names) == 1 else reason
                continue
            outcome = run.go(self.options.falsify_budget if name == "falsify" else self.options.budget)
            work, left, reason = work + outcome.work, outcome.left, outcome.reason
            if outcome.witness is not None and outcome.witness.deployed != "non-finite":
                return Found(work, point=outcome.witness.point)
            if outcome.status == "proved":
                return Found(work, refuted=True)
        return Found(work, reason=str(Reason.STOPPED if self._stopped() else reason))

    def _told(self, outcome: CellsOutcome, work: Work) -> Found:
        reason = Reason.STOPPED if self._stopped() else Reason.BUDGET
        return Found(work, outcome.status == "proved", outcome.point, str(reason))

    def _stopped(self) -> bool:
        limit = self.options.time_limit
        return limit is not None and time.monotonic() - self.started > limit

    def _rest(self) -> VerifyOptions:
        """With what is left of the time limit."""
        limit = self.options.time_limit
        left = None if limit is None else max(1e-3, limit - (time.monotonic() - self.started))
        return replace(self.options, time_limit=left)
