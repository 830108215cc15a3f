"""One claim of a query to an answer: cells for a second, the search for violations, cells again, other engines.

Cells go depth first and may be long in coming to where the solutions are. So the search is asked again when they have
had much more than it, with more points: all in all it takes about a fifth of the time.
"""

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

ROUNDS = ((4_000, 1), (16_000, 4), (64_000, 16))  # boxes so far (4,000: about a second), then the search's budgets
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
        work, most = Work(), self.options.budget
        for boxes, times in (*ROUNDS, (most, 0)):
            before = work.boxes
            part = self._by_cells(program, cells, min(boxes, most) - before)
            work = work + Work(boxes=part.boxes - before)
            if part.status != "unknown" or self._stopped():
                return self._told(part, work)
            if times == 1 or (times and part.boxes > before):
                found = self._by_engines(program, ("falsify",), work, times)
                work = found.work
                if found.point is not None:
                    return found
        if self.options.engine == "cells":
            return self._told(part, work)
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

    def _by_engines(self, program: Program, names: Sequence[str], work: Work, times: int = 1) -> Found:
        """One engine after the other, each with all of the budget; the search with `times` its own."""
        task = Task(self.claim, program, self.rewards, self._rest(), {}, self.progress, self._stopped, time.monotonic())
        from rewarden.verifier.torch_settings import plain_torch  # torch takes longer to import than most queries do

        with plain_torch(self.options.threads):
            return self._asked(task, names, work, times)

    def _asked(self, task: Task, names: Sequence[str], work: Work, times: int) -> Found:
        reason, left = Reason.BUDGET, None
        for name in names:
            run = Declined(Reason.STOPPED) if self._stopped() else engines.start(name, task, left)
            if isinstance(run, Declined):
                reason = run.reason if len(names) == 1 else reason
                continue
            outcome = run.go(self.options.falsify_budget * times if name == "falsify" else self.options.budget)
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
