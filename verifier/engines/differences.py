"""Bounds of two calls as one call and a difference, with branch and bound on inputs (`verifier/differences.py`)."""

from __future__ import annotations

from collections.abc import Sequence

from rewarden.verifier.branch import BranchAndBound
from rewarden.verifier.differences import with_differences
from rewarden.verifier.engines.bounds import Bounds
from rewarden.verifier.engines.interface import Declined, Part, Run, Task
from rewarden.verifier.verdict import Reason


def start(task: Task, parts: Sequence[Part] | None = None) -> Run | Declined:
    """The whole claim, whatever the parts."""
    bounded = with_differences(task.program)
    if bounded is None:
        return Declined(Reason.NOT_DIFFERENCES)
    search = BranchAndBound(task.program, task.options.batch_size, bounded)
    return Bounds(task, search, Reason.DIFFERENCES)
