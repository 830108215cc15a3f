"""What ends long work early: Ctrl-C, once to stop and see what is known, twice to leave; and a time that is up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rewarden.output import note


@dataclass(slots=True)
class Interrupt:
    """Whether somebody asked to stop (mutable)."""

    asked: bool = False

    def stop(self) -> bool:
        return self.asked


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """The first Ctrl-C is remembered, for the work to end at its next chance; a second one interrupts.

    Only the main thread hears signals: elsewhere nothing changes.
    """
    state = Interrupt()

    def heard(_signal: int, _frame: object) -> None:
        if state.asked:
            raise KeyboardInterrupt
        state.asked = True
        note("stopping: what is known so far is told in a moment (Ctrl-C again leaves without)")

    if threading.current_thread() is not threading.main_thread():
        yield state
        return
    before = signal.signal(signal.SIGINT, heard)
    try:
        yield state
    finally:
        signal.signal(signal.SIGINT, before)


class TimeIsUp(BaseException):
    """Raised in the midst of work that has had its time. No Exception, so that nothing on the way takes it for one of
    its own failures."""


AGAIN = 0.5  # seconds


@contextmanager
def limited(seconds: float | None) -> Iterator[None]:
    """TimeIsUp in the block once so much time has passed; None is as long as it takes.

    For work that asks no clock itself. Only the main thread hears signals, and not every system has this one: elsewhere
    the block takes as long as it takes. What is raised within a callback of the garbage collector goes no further, so
    it is raised again some time later, and at the end.
    """
    if seconds is None or not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    up = False

    def heard(_signal: int, _frame: object) -> None:
        nonlocal up
        up = True
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, heard)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3), AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    if up:
        raise TimeIsUp
