"""z3 as an engine: exact, for small rewards and for small parts that bounds leave open."""

from __future__ import annotations

from collections.abc import Sequence

from rewarden.verifier.engines.interface import Declined, Outcome, Part, Run, Task
from rewarden.verifier.saved_queries import queries_in, queries_out
from rewarden.verifier.saved_search import Snapshot
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
    """`left` shrinks as parts are refuted (mutable). Of the go that is under way, or was stopped: how many parts of it
    have been `asked` about, the numbers of those that are `still` open, and what that took."""

    def __init__(self, task: Task, parts: list[Part], asked: bool) -> None:
        self.task, self.unasked = task, not asked
        self.parts, self.count = parts, len(parts)
        self.left = list(range(len(parts)))
        self.asked, self.still, self.rlimit = 0, list[int](), 0

    def go(self, work: int) -> Outcome:
        """All parts that are left: what z3 may spend is `z3_rlimit` a query, whatever `work` says."""
        task = self.task
        for at in range(self.asked, len(self.left)):
            if task.stop():
                break
            part = self.parts[self.left[at]]
            task.progress("z3", 1.0 - (len(self.left) - at + len(self.still)) / max(1, self.count), at)
            unstable = AUTO_UNSTABLE if self.unasked else None
            limits = Limits(task.options.z3_rlimit, task.seconds_left(), unstable, task.stop)
            decision = decide_box(task.program, part.goal, part.box, limits, part.facts)
            if decision.status == "unknown" and task.stop():
                return self._outcome(decision.rlimit)  # it was cut short, and is asked again by who goes on
            self.rlimit += decision.rlimit
            witness = None if decision.point is None else task.replay(decision.point)
            if witness is not None:
                spent = Work(z3_rlimit=self.rlimit)
                return Outcome(status="violated", reason=Reason.WITNESS, work=spent, settled=1.0, witness=witness)
            self.asked = at + 1
            if decision.status != "unsat":
                self.still.append(at)
                if self.unasked:
                    self.still += range(at + 1, len(self.left))
                    self.asked = len(self.left)
                    break
        return self._outcome()

    def _outcome(self, wasted: int = 0) -> Outcome:
        open_ = [*self.still, *range(self.asked, len(self.left))]
        spent = Work(z3_rlimit=self.rlimit + wasted)
        if not open_:
            return Outcome(status="proved", reason=Reason.Z3, work=spent, settled=1.0)
        left = [self.left[at] for at in open_]
        stopped = self.task.stop()
        if not stopped:
            self.left, self.asked, self.still, self.rlimit = left, 0, [], 0
        reason = Reason.STOPPED if stopped else Reason.Z3_LIMIT
        parts = tuple(self.parts[k] for k in left)
        return Outcome(status="open", reason=reason, work=spent, settled=1.0 - len(left) / self.count, left=parts)

    def snapshot(self) -> Snapshot:
        return queries_out(self.left, self.asked, self.still, self.rlimit)

    def restore(self, saved: Snapshot) -> None:
        self.left, self.asked, self.still, self.rlimit = queries_in(saved, len(self.parts))
