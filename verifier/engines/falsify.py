"""The search for violations as an engine: it finds, and proves nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rewarden.verifier.engines.interface import Declined, Outcome, Part, Run, Task
from rewarden.verifier.falsify import falsify
from rewarden.verifier.verdict import Reason, Work


def start(task: Task, parts: Sequence[Part] | None = None) -> Run | Declined:
    """Points are drawn in the whole claim, whatever the parts."""
    return _Search(task)


@dataclass(slots=True)
class _Search:
    task: Task

    def go(self, work: int) -> Outcome:
        """Up to `work` points, drawn anew each time."""
        task = self.task
        task.progress("search")
        options = replace(task.options, falsify_budget=work)
        found = falsify(task.slim.program, task.artifacts, options, task.rows, task.stop)
        spent = Work(points=found.points)
        if found.witness is not None:
            return Outcome(status="violated", reason=Reason.WITNESS, work=spent, settled=1.0, witness=found.witness)
        return Outcome(status="open", reason=Reason.STOPPED if task.stop() else Reason.SEARCHED, work=spent)
