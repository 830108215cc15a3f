"""Ctrl-C while long work goes on: once to stop and see what is known, twice to leave."""

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
