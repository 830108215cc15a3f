"""Bounds of two calls as one call and a difference, with branch and bound on inputs (`verifier/differences.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rewarden.verifier.branch import BranchAndBound
from rewarden.verifier.differences import with_differences
from rewarden.verifier.engines.bounds import Bounds
from rewarden.verifier.engines.interface import Declined, Outcome, Part, Run, Task
from rewarden.verifier.settled import settled
from rewarden.verifier.verdict import Reason


def start(task: Task, parts: Sequence[Part] | None = None) -> Run | Declined:
    """The whole claim, whatever the parts. Where the premise decides some relu, a proof is written afterwards: the
    search has not looked at the whole program."""
    program = settled(task.program) or task.program
    bounded = with_differences(program)
    if bounded is None:
        return Declined(Reason.NOT_DIFFERENCES)
    found = Bounds(task, BranchAndBound(program, task.options.batch_size, bounded), Reason.DIFFERENCES)
    return found if program is task.program else _Settled(found)


class _Settled:
    """A run whose proof is about a part of the program."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def go(self, work: int) -> Outcome:
        return replace(self.run.go(work), proof=None)
