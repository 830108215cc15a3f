"""Many boxes of many variables, by the signs of neurons, as an engine (`verifier/wide/`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rewarden.verifier.engines.interface import Declined, Outcome, Part, Run, Task
from rewarden.verifier.exact_program import Point
from rewarden.verifier.verdict import Reason, Work
from rewarden.verifier.wide.split import Signs

LISTED = 4096  # parts of an outcome, at most


def start(task: Task, parts: Sequence[Part] | None = None) -> Run | Declined:
    """The whole claim, whatever the parts: all goals of a box are looked at at once."""
    signs = Signs.of(task.program)
    return Declined(Reason.NOT_NEURONS) if signs is None else _Neurons(task, signs)


@dataclass(slots=True)
class _Neurons:
    task: Task
    signs: Signs

    def go(self, work: int) -> Outcome:
        """Up to `work` boxes and cases."""
        task = self.task

        def violates(point: Point) -> bool:
            return task.replay(point) is not None

        found = self.signs.run(work, violates, lambda share, boxes: task.progress("neurons", share, boxes), task.stop)
        spent = Work(boxes=found.boxes)
        witness = None if found.point is None else task.replay(found.point)
        if witness is not None:
            return Outcome(status="violated", reason=Reason.WITNESS, work=spent, settled=1.0, witness=witness)
        if found.status == "proved":
            return Outcome(status="proved", reason=Reason.NEURONS, work=spent, settled=1.0)
        goals = range(len(task.claim.goals))
        few = len(found.open) * len(goals) <= LISTED
        left = tuple(Part(goal, i, task.claim.boxes[i]) for i in found.open for goal in goals) if few else None
        reason = Reason.STOPPED if task.stop() else Reason.BUDGET
        return Outcome(status="open", reason=reason, work=spent, settled=found.settled, left=left)
