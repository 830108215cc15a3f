"""Sound bounds with branch and bound on inputs as an engine: what it proves can be certified."""

from __future__ import annotations

from collections.abc import Sequence

from rewarden.verifier.branch import REPORTED, BranchAndBound
from rewarden.verifier.engines.interface import Declined, Outcome, Part, Run, Task
from rewarden.verifier.verdict import Reason, Work


def start(task: Task, parts: Sequence[Part] | None = None) -> Run | Declined:
    """The whole claim, whatever the parts: a proof covers all of it."""
    return Bounds(task, BranchAndBound(task.program, task.options.batch_size), Reason.BOUNDS)


class Bounds:
    """`reason`: why a claim is proved, where nothing keeps it from being certified."""

    def __init__(self, task: Task, search: BranchAndBound, reason: Reason) -> None:
        self.task, self.search, self.reason = task, search, reason

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
            return Outcome(status="proved", reason=self.reason, work=spent, settled=1.0, proof=found.proof)
        # A frontier as long as the search reports may have been cut: then it is not all that is open.
        left = found.frontier if 0 < len(found.frontier) < REPORTED else None
        reason = Reason.STOPPED if task.stop() else Reason.BUDGET
        region = self.search.open_region()
        return Outcome(status="open", reason=reason, work=spent, settled=found.settled, left=left, region=region)
