"""A query's answer: `sat` with an exactly checked solution, `unsat` with a proof behind it, or neither.

Each group of branches with equal conditions is one claim (claims.py). `unsat` needs all of them: proved, or empty. For
a solution, the formula as it was read, not the claim, is evaluated once more, with the reward's own exact evaluation.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.claim import Claim
from rewarden.verifier import engines
from rewarden.verifier.cells.engine import Cells, CellsOutcome
from rewarden.verifier.engines.interface import Declined, Task
from rewarden.verifier.exact_program import ExactProgram, Point, box_of
from rewarden.verifier.inline import compile_program
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.program import Program
from rewarden.verifier.progress import Progress, Report
from rewarden.verifier.verdict import Reason, Work
from rewarden.verifier.vnnlib.cases import branches_of
from rewarden.verifier.vnnlib.claims import subject_of
from rewarden.verifier.vnnlib.query import Query

QUICK = 4_000  # boxes: about a second
FIRST = ("falsify", "neurons")  # before the others, where cells have nothing to say
LAST = ("bounds", "lp", "z3")
Said = Literal["sat", "unsat", "unknown", "timeout"]


@dataclass(frozen=True, slots=True)
class Answer:
    """`inputs` and `outputs` are a solution's values, one for each unknown of the query; given for `sat` alone."""

    said: Said
    reason: str
    inputs: Point = ()
    outputs: Point = ()
    work: Work = field(default_factory=Work)


def answer(query: Query, files: Mapping[str, Path], options: VerifyOptions, progress: Report | None = None) -> Answer:
    """Is there a solution? `files` has the network of every name that is not equal to another.

    Raises UsageError (G81, G82), Unsupported (X34 to X36), and what opening a network raises.
    """
    started = time.monotonic()
    subject = subject_of(query, files, branches_of(query))
    work, open_reason = Work(), ""
    for claim, rows in subject.claims(branches_of(subject.asked)):
        found = _Question(claim, subject.rewards, options, started, progress or (lambda _: None)).settle()
        work = work + found.work
        if found.point is not None:
            inputs, outputs = subject.solution(found.point, rows)
            return Answer("sat", str(Reason.WITNESS), inputs, outputs, work)
        if not found.refuted:
            open_reason = open_reason or str(found.reason)
            if found.reason == Reason.STOPPED:
                return Answer("timeout", str(found.reason), work=work)
    if open_reason:
        return Answer("unknown", open_reason, work=work)
    return Answer("unsat", "No input in the query's boxes is a solution.", work=work)


@dataclass(frozen=True, slots=True)
class _Found:
    """`point` violates the claim, or it is `refuted` that any does, or neither, for a reason."""

    work: Work
    refuted: bool = False
    point: Point | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Question:
    """One claim. Nobody certifies an answer, so the engine that is fast comes first: for a second, since most
    queries are easy and torch takes longer to import; then the search for violations; then cells for all of the
    budget. What is open after that, or not for cells, goes through the other engines."""

    claim: Claim
    rewards: Mapping[str, Artifact]
    options: VerifyOptions
    started: float
    progress: Report

    def settle(self) -> _Found:
        program = compile_program(self.claim, self.rewards)
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

    def _by_engines(self, program: Program, names: Sequence[str], work: Work) -> _Found:
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
                return _Found(work, point=outcome.witness.point)
            if outcome.status == "proved":
                return _Found(work, refuted=True)
        return _Found(work, reason=str(Reason.STOPPED if self._stopped() else reason))

    def _told(self, outcome: CellsOutcome, work: Work) -> _Found:
        reason = Reason.STOPPED if self._stopped() else Reason.BUDGET
        return _Found(work, outcome.status == "proved", outcome.point, str(reason))

    def _stopped(self) -> bool:
        limit = self.options.time_limit
        return limit is not None and time.monotonic() - self.started > limit

    def _rest(self) -> VerifyOptions:
        """With what is left of the time limit."""
        limit = self.options.time_limit
        left = None if limit is None else max(1e-3, limit - (time.monotonic() - self.started))
        return replace(self.options, time_limit=left)
