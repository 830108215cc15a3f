"""z3 as an engine: exact, for small rewards and for small parts that bounds leave open."""

from __future__ import annotations

from collections.abc import Sequence

from rewarden.verifier.engines.interface import Declined, Outcome, Part, Run, Task
from rewarden.verifier.verdict import Reason, Work
from rewarden.verifier.z3_engine import Limits, decide_box

AUTO_UNSTABLE = 40  # undecided relus up to which z3 is tried unasked: beyond, it rarely returns within its limit
AUTO_QUERIES = 64  # parts, likewise


def start(task: Task, parts: Sequence[Part] | None = None) -> Run | Declined:
    """One query a part. Unasked (engine auto), where parts are many the whole is asked about, and many wholes are
    declined; large parts end the run."""
    if task.program.curved:
        return Declined(Reason.SMOOTH)
    asked = task.options.engine == "z3"
    wanted = task.everything() if parts is None else list(parts)
    if not asked and len(wanted) > AUTO_QUERIES:
        wanted = task.everything() if len(task.claim.boxes) * len(task.claim.goals) <= AUTO_QUERIES else []
        if not wanted:
            return Declined(Reason.Z3_LIMIT)
    return _Queries(task, wanted, asked)


class _Queries:
    """`left` shrinks as parts are refuted."""

    def __init__(self, task: Task, parts: list[Part], asked: bool) -> None:
        self.task, self.asked = task, asked
        self.left, self.count = parts, len(parts)

    def go(self, work: int) -> Outcome:
        """All parts that are left: what z3 may spend is `z3_rlimit` a query, whatever `work` says."""
        task, spent, still = self.task, Work(), []
        for number, part in enumerate(self.left):
            if task.stop():
                still += self.left[number:]
                break
            task.progress("z3", 1.0 - (len(self.left) - number + len(still)) / max(1, self.count), number)
            unstable = None if self.asked else AUTO_UNSTABLE
            limits = Limits(task.options.z3_rlimit, task.seconds_left(), unstable, task.stop)
            decision = decide_box(task.program, part.goal, part.box, limits, part.facts)
            spent = spent + Work(z3_rlimit=decision.rlimit)
            witness = None if decision.point is None else task.replay(decision.point)
            if witness is not None:
                return Outcome(status="violated", reason=Reason.WITNESS, work=spent, settled=1.0, witness=witness)
            if decision.status != "unsat":
                still.append(part)
                if not self.asked:
                    still += self.left[number + 1 :]
                    break
        self.left = still
        if not still:
            return Outcome(status="proved", reason=Reason.Z3, work=spent, settled=1.0)
        reason = Reason.STOPPED if task.stop() else Reason.Z3_LIMIT
        settled = 1.0 - len(still) / self.count
        return Outcome(status="open", reason=reason, work=spent, settled=settled, left=tuple(still))
