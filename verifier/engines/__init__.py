"""Engines: each is a module with a function `start`, and knows one way to settle a claim.

`interface` says what they are given and what they answer. An engine is loaded when it is first asked for: torch, numba,
z3 and HiGHS each take a while to import. Which one is asked when, in `auto`, is for `decision` to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import get_args

from rewarden.verifier.engines.interface import Declined, Part, Run, Task
from rewarden.verifier.options import Engine
from rewarden.verifier.verdict import Reason

EXECUTED = ("bounds", "falsify")  # the engines that speak of float32 semantics; all others decline


def start(engine: str, task: Task, parts: Sequence[Part] | None = None) -> Run | Declined:
    """A run of `engine` on the whole claim, or on `parts` of it, that has not begun."""
    assert engine in get_args(Engine)
    if task.program.executed is not None and engine not in EXECUTED:
        return Declined(Reason.FLOAT32)
    begun: Run | Declined = import_module(f"{__name__}.{engine}").start(task, parts)
    return begun
