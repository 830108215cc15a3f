"""Sound bounds with branch and bound on inputs as an engine: what it proves can be certified."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rewarden.verifier.branch import REPORTED, BranchAndBound
from rewarden.verifier.decided_gates import renumbered
from rewarden.verifier.engines.interface import Declined, Outcome, Part, Run, Task
from rewarden.verifier.verdict import Reason, Work


def start(task: Task, parts: Sequence[Part] | None = None) -> Run | Declined:
    """The whole claim, whatever the parts: a proof covers all of it."""
    search = BranchAndBound(task.slim.program, task.options.batch_size)
    return Bounds(task, search, Reason.BOUNDS, task.slim.layers)


class Bounds:
    """`reason`: why a claim is proved, where nothing keeps it from being certified. `layers`: the number in the task's
    program of each layer that is searched, where they are not the same."""

    def __init__(
        self, task: Task, search: BranchAndBound, reason: Reason, layers: NDArray[np.int64] | None = None
    ) -> None:
        self.task, self.search, self.reason, self.layers = task, search, reason, layers

    def go(self, work: int) -> Outcome:
        """Up to `work` boxes."""
        task = self.task
        found = self.search.run(work, task.report, task.stop)
        spent = Work(boxes=found.boxes)
        for point in found.points:
            witness = task.replay(point)
            if witness is not None:
                return Outcome(status="violated", reason=Reason.WITNESS, work=spent, settled=1.0, witness=witness)
        if found.status == "proved" and task.program.executed is not None:  # a certificate is about the reals
            return Outcome(status="proved", reason=Reason.FLOAT32_BOUNDS, work=spent, settled=1.0)
        if found.status == "proved" and task.program.curved:
            return Outcome(status="proved", reason=Reason.SMOOTH_BOUNDS, work=spent, settled=1.0)
        if found.status == "proved":
            assert found.proof is not None
            proof = found.proof if self.layers is None else renumbered(found.proof, self.layers)
            return Outcome(status="proved", reason=self.reason, work=spent, settled=1.0, proof=proof)
        # A frontier as long as the search reports may have been cut: then it is not all that is open. Nor is it where
        # the search has ended at a point: what that point lay in is not put back.
        ended = bool(found.points)
        left = found.frontier if 0 < len(found.frontier) < REPORTED and not ended else None
        reason = Reason.STOPPED if task.stop() else Reason.BUDGET
        region = None if ended else self.search.open_region()
        return Outcome(status="open", reason=reason, work=spent, settled=found.settled, left=left, region=region)
