"""The search for violations as an engine: it finds, and proves nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rewarden.verifier.engines.interface import Declined, Outcome, Part, Run, Task
from rewarden.verifier.falsify import Course, falsify
from rewarden.verifier.saved_queries import course_in, course_out
from rewarden.verifier.saved_search import Snapshot
from rewarden.verifier.verdict import Reason, Work


def start(task: Task, parts: Sequence[Part] | None = None) -> Run | Declined:
    """Points are drawn in the whole claim, whatever the parts."""
    return _Search(task)


@dataclass(slots=True)
class _Search:
    """`course`: how far the search has come that is under way, or was stopped."""

    task: Task
    course: Course = field(default_factory=Course)

    def go(self, work: int) -> Outcome:
        """Up to `work` points, drawn anew each time."""
        task = self.task
        task.progress("search")
        options = replace(task.options, falsify_budget=work)
        found = falsify(task.slim.program, task.artifacts, options, task.rows, task.stop, self.course)
        spent = Work(points=found.points)
        if found.witness is not None:
            return Outcome(status="violated", reason=Reason.WITNESS, work=spent, settled=1.0, witness=found.witness)
        stopped = task.stop()
        self.course = self.course if stopped else Course()
        return Outcome(status="open", reason=Reason.STOPPED if stopped else Reason.SEARCHED, work=spent)

    def snapshot(self) -> Snapshot | None:
        return course_out(self.course)

    def restore(self, saved: Snapshot) -> None:
        claim = self.task.claim
        counts = [sum(map(len, clauses)) for clauses in (claim.clauses, claim.goals)]
        self.course = course_in(saved, counts[0], counts[1])
