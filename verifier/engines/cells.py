"""Cells as an engine: compiled cuts at inputs and at neurons, for what is close (docs/decisions/0007-cells.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rewarden.verifier.cells.engine import Cells
from rewarden.verifier.engines.interface import Declined, Outcome, Part, Run, Task
from rewarden.verifier.exact_program import Point
from rewarden.verifier.verdict import Reason, Work


def start(task: Task, parts: Sequence[Part] | None = None) -> Run | Declined:
    """The whole claim, whatever the parts: cells look at all goals of a box at once."""
    if task.program.curved:
        return Declined(Reason.SMOOTH)
    cells = Cells.of(task.program)
    return Declined(Reason.NOT_CELLS) if cells is None else _Cells(task, cells)


@dataclass(slots=True)
class _Cells:
    task: Task
    cells: Cells

    def go(self, work: int) -> Outcome:
        """Up to `work` boxes."""
        task, before = self.task, self.cells.boxes

        def violates(point: Point) -> bool:
            return task.replay(point) is not None

        def report(share: float, boxes: int) -> None:
            task.progress("cells", share, boxes)

        found = self.cells.run(work, violates, report, task.stop)
        spent = Work(boxes=self.cells.boxes - before)
        if found.point is not None:
            witness = task.replay(found.point)
            if witness is not None:
                return Outcome(status="violated", reason=Reason.WITNESS, work=spent, settled=1.0, witness=witness)
        if found.status == "proved":
            return Outcome(status="proved", reason=Reason.CELLS, work=spent, settled=1.0)
        reason = Reason.STOPPED if task.stop() else Reason.BUDGET
        return Outcome(status="open", reason=reason, work=spent, settled=found.settled)
