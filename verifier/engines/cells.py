"""Cells as an engine: compiled cuts at inputs and at neurons, for what is close (docs/decisions/0007-cells.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.verifier.cells.engine import WHOLE, Cells
from rewarden.verifier.decided_gates import by_gates
from rewarden.verifier.engines.interface import Declined, Outcome, Part, Run, Task
from rewarden.verifier.exact_program import Point
from rewarden.verifier.regions import OpenBoxes
from rewarden.verifier.saved_search import Snapshot
from rewarden.verifier.saved_walks import cells_in, cells_out
from rewarden.verifier.trail import Trail, renumbered
from rewarden.verifier.verdict import Reason, Work

LISTED = 4096  # boxes of the region that is told, at most


def start(task: Task, parts: Sequence[Part] | None = None) -> Run | Declined:
    """The whole claim, whatever the parts: cells look at all goals of a box at once."""
    if task.program.curved:
        return Declined(Reason.SMOOTH)
    kinds = by_gates(task.slim.program)
    if len(kinds) > 1 or kinds[0].gated:
        return Declined(Reason.NOT_CELLS)
    cells = Cells.of(kinds[0].program, recorded=True)
    return Declined(Reason.NOT_CELLS) if cells is None else _Cells(task, cells, task.slim.layers[kinds[0].layers])


@dataclass(slots=True)
class _Cells:
    """`layers`: the number in the task's program of each layer that the cells know."""

    task: Task
    cells: Cells
    layers: NDArray[np.int64]

    def go(self, work: int) -> Outcome:
        """Up to `work` boxes."""
        task = self.task

        def violates(point: Point) -> bool:
            return task.replay(point) is not None

        def report(share: float, boxes: int) -> None:
            task.progress("cells", share, boxes)

        found = self.cells.run(work, violates, report, task.stop)
        spent = Work(boxes=self.cells.boxes - self.cells.begun)
        if found.point is not None:
            witness = task.replay(found.point)
            if witness is not None:
                return Outcome(status="violated", reason=Reason.WITNESS, work=spent, settled=1.0, witness=witness)
        if found.status == "proved":
            return Outcome(
                status="proved", reason=Reason.CELLS, work=spent, settled=1.0, trail=self._trail(found.trail)
            )
        # One that has come to its end has, whatever is asked for just then: who goes on is told of what it has done.
        reason = Reason.BUDGET if self.cells.end is None else Reason.STOPPED
        return Outcome(status="open", reason=reason, work=spent, settled=found.settled, region=self._region())

    def _region(self) -> OpenBoxes | None:
        """The boxes of the cells that wait, which hold all violations of the box at work, and the boxes after it. Where
        cells have been given up, or what waits is not all that is left of the box, that box as a whole."""
        cells, walker, claim = self.cells, self.cells.walker, self.task.claim
        if len(cells.left) > LISTED:
            return None
        next_box = cells.count - len(cells.left)
        after = [(i, claim.boxes[i]) for i in range(next_box, len(claim.boxes))]
        whole = OpenBoxes.of(after, len(claim.variables))
        pile = int(walker.waiting.pile[0])
        if cells.busy and not walker.stuck and abs(walker.settled + walker.waiting.share[:pile].sum() - 1.0) < WHOLE:
            lo, hi = walker.waiting.lo[:pile].copy(), walker.waiting.hi[:pile].copy()
            part = OpenBoxes(np.full(pile, next_box - 1, np.int64), lo, hi)
        elif cells.busy or cells.open:
            part = OpenBoxes.of([(next_box - 1, claim.boxes[next_box - 1])], len(claim.variables))
        else:
            return whole
        joined = (np.concatenate(pair) for pair in zip(_arrays(part), _arrays(whole), strict=True))
        return OpenBoxes(*joined)

    def _trail(self, trail: Trail | None) -> Trail | None:
        """As one of the task's program."""
        if trail is None or len(self.layers) == len(self.task.program.layers):
            return trail
        return renumbered(trail, self.layers)

    def snapshot(self) -> Snapshot | None:
        return cells_out(self.cells)

    def restore(self, saved: Snapshot) -> None:
        cells_in(self.cells, saved)


def _arrays(boxes: OpenBoxes) -> tuple[NDArray[Any], ...]:
    return boxes.instance, boxes.lo, boxes.hi
