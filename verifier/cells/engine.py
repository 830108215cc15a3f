"""The cells of a claim: all its goals at once, box by box, in slices of work between which a caller may stop it.

What is searched for is a point of a box at which the premise holds and some goal fails, as alternatives of rows that
are all at most 0 (`Aim`). The rows are closed: a comparison that fails by equality alone is not told apart, so a rule
that holds with nothing to spare is left to other engines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from rewarden.spec_lang.claim import Box, Claim
from rewarden.verifier.alternatives import alternatives
from rewarden.verifier.cells.bounds import Cell, new_cell, sum_error
from rewarden.verifier.cells.network import LARGEST, Aim, Layout, Net, aim, layout
from rewarden.verifier.cells.search import (
    DONE,
    FOUND,
    INPUT,
    NEURON,
    PAUSED,
    Log,
    Tally,
    Waiting,
    new_log,
    new_tally,
    new_waiting,
    walk,
)
from rewarden.verifier.exact_program import Point
from rewarden.verifier.program import Program
from rewarden.verifier.rounding import outward
from rewarden.verifier.trail import EVENT, MOST, Events, Trail, trail_of

SLICE = 512  # boxes between two looks at the clock
ALARMS = 64  # points that turn out not to violate, after which none is looked at any more
WHOLE = 2.0**-20  # how far the share of a box that is done may be from 1
LARGEST_WHOLE = 2.0**52  # of an int: beyond, its half or its successor may have no binary64 value
NEAR = 2.0**-30  # relative: a point that violates by less is not worth an exact look


@dataclass(frozen=True, slots=True)
class CellsOutcome:
    """`point`: of an exact violation (with `violated`). `settled`: the share of cells that are, as the walk halves
    them. `trail`: of what is proved, if it was recorded."""

    status: Literal["proved", "violated", "unknown"]
    boxes: int
    settled: float
    point: Point | None = None
    trail: Trail | None = None


def decide(
    program: Program,
    budget: int,
    violates: Callable[[Point], bool],
    report: Callable[[float, int], None],
    stop: Callable[[], bool],
) -> CellsOutcome | None:
    """The program's claim within `budget` boxes; None where this engine has nothing to say (see `layout`).

    `violates` judges a point exactly.
    """
    cells = Cells.of(program)
    return None if cells is None else cells.run(budget, violates, report, stop)


def _moderate(claim: Claim) -> bool:
    """Are all bounds small enough for the error analysis, and those of whole numbers for halves between them?"""
    return all(
        max(abs(lo), abs(hi)) <= (LARGEST_WHOLE if variable.discrete else LARGEST)
        for box in claim.boxes
        for variable, (lo, hi) in zip(claim.variables, box, strict=True)
    )


class Cells:
    """A walk over the boxes of a claim that goes on where it stopped (mutable)."""

    def __init__(self, claim: Claim, walker: _Walker) -> None:
        self.walker = walker
        self.left = list(reversed(claim.boxes))
        self.count = max(1, len(claim.boxes))
        self.boxes, self.settled = 0, 0.0
        self.begun = 0  # boxes at the beginning of the last run
        self.end: int | None = None  # and at its end, if it was stopped or is under way
        self.open = False  # some box has cells that cannot be cut any further
        self.busy = False  # the walker is in the middle of a box
        self.trails: list[list[Events]] = []  # of boxes
        self.events = 0

    @staticmethod
    def of(program: Program, *, recorded: bool = False) -> Cells | None:
        """`recorded`: its trail is kept, of which a proof can be written."""
        if not _moderate(program.claim):
            return None
        ways = alternatives(program.claim)
        at = layout(program) if ways is not None else None
        aimed = aim(at, ways) if at is not None and ways is not None else None
        return None if at is None or aimed is None else Cells(program.claim, _Walker(at, aimed, recorded))

    def run(
        self,
        budget: int,
        violates: Callable[[Point], bool],
        report: Callable[[float, int], None],
        stop: Callable[[], bool],
    ) -> CellsOutcome:
        """Up to `budget` boxes, from where the last run has ended; one that was stopped goes on to its own end."""
        if self.end is None:
            self.begun, self.end = self.boxes, self.boxes + budget
        end = self.end
        while self.boxes < end and not stop():
            if not self.busy:
                if not self.left or self.open:
                    break
                self.busy = self.walker.start(self.left.pop())
                self.settled += not self.busy
                if self.walker.recorded:
                    self.trails.append([] if self.busy else [np.zeros(1, EVENT)])
                continue
            before = self.walker.boxes
            status = self.walker.slice(min(SLICE, end - self.boxes))
            self.boxes += self.walker.boxes - before
            if self.walker.recorded:
                self._keep(self.walker.events())
            report((self.settled + self.walker.settled) / self.count, self.boxes)
            if status == FOUND:
                if violates(self.walker.point):
                    return self._outcome("violated", self.walker.point)
                self.walker.false_alarm()
            elif status != PAUSED:
                self.busy = False
                self.settled += self.walker.settled
                # Shares are halved exactly: a box that is done has been settled to the last of it, or a cell was lost.
                self.open |= status != DONE or self.walker.stuck or not abs(self.walker.settled - 1.0) < WHOLE
        done = not (self.left or self.busy or self.open)
        if self.boxes >= end or not (self.busy or self.left) or self.open:
            self.end = None
        return self._outcome("proved" if done else "unknown")

    def _outcome(self, status: Literal["proved", "violated", "unknown"], point: Point | None = None) -> CellsOutcome:
        more = self.walker.settled if self.busy else 0.0
        trail = trail_of(self.trails) if status == "proved" and self.walker.recorded else None
        return CellsOutcome(status, self.boxes, (self.settled + more) / self.count, point, trail)

    def _keep(self, events: Events) -> None:
        """Of a walk that is too long for a proof nothing is kept."""
        self.events += len(events)
        if self.events <= MOST:
            self.trails[-1].append(events)
        else:
            self.trails, self.walker.recorded = [], False


class _Walker:
    """The compiled walk over one box after the other (mutable)."""

    def __init__(self, at: Layout, aimed: Aim, recorded: bool) -> None:
        self.net: Net = at.net
        self.aim = aimed
        self.claim = at.program.claim
        self.cell: Cell = new_cell(at.net)
        rows = int(np.diff(aimed.first).max(initial=0))
        self.waiting: Waiting = new_waiting(at.net, aimed, rows)
        self.discrete = np.array([v.discrete for v in self.claim.variables], dtype=np.bool_)
        self.error = sum_error(at.net)
        self.found = np.zeros(len(self.claim.variables))
        self.whole = np.ones(len(self.claim.variables))
        self.tally: Tally = new_tally()
        self.recorded = recorded
        self.log: Log = new_log(SLICE if recorded else 0)
        self.layers = np.zeros(len(at.net.graph) + 1, np.int64)
        for layer, node in at.node.items():
            self.layers[node] = layer
        self.alarms = 0

    def start(self, box: Box) -> bool:
        """False if the box has no point."""
        lo, hi = outward(box)
        lo, hi = np.where(self.discrete, np.ceil(lo), lo), np.where(self.discrete, np.floor(hi), hi)
        if (lo > hi).any():
            return False
        w = self.waiting
        w.lo[0], w.hi[0], w.least[0], w.most[0], w.alive[0], w.share[0] = lo, hi, -np.inf, np.inf, True, 1.0
        w.rows[0] = w.held[0] = 0
        w.pile[0] = 1
        self.whole = np.where(hi > lo, hi - lo, 1.0)
        self.tally = new_tally()
        return True

    def slice(self, boxes: int) -> int:
        near = NEAR if self.alarms < ALARMS else np.inf
        return int(
            walk(self.net, self.aim, self.cell, self.waiting, self.tally, self.log, self.discrete, self.whole, boxes,
                 self.error, near, self.found)
        )  # fmt: skip

    def events(self) -> Events:
        """What has been recorded since the last time; nodes are named by the program's layers."""
        count, log = int(self.log.size[0]), self.log
        found = np.zeros(count, EVENT)
        found["kind"], found["what"], found["at"] = log.kind[:count], log.what[:count], log.at[:count]
        signs, cuts = found["kind"] == NEURON, found["kind"] == INPUT
        found["what"][signs], found["which"][signs] = self.layers[log.what[:count][signs]], log.which[:count][signs]
        found["open"][cuts] = log.which[:count][cuts].astype(np.uint64)
        log.size[0] = 0
        return found

    def false_alarm(self) -> None:
        self.alarms += 1

    @property
    def boxes(self) -> int:
        return int(self.tally.boxes[0])

    @property
    def settled(self) -> float:
        return float(self.tally.settled[0])

    @property
    def stuck(self) -> bool:
        return bool(self.tally.stuck[0])

    @property
    def point(self) -> Point:
        return tuple(Fraction(x) for x in self.found.tolist())
