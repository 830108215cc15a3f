"""Many boxes of many variables, by the signs of neurons, as an engine (`verifier/wide/`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarden.verifier.decided_gates import by_gates
from rewarden.verifier.engines.interface import Declined, Outcome, Part, Run, Task
from rewarden.verifier.exact_program import Point
from rewarden.verifier.region_words import NUMBERS
from rewarden.verifier.saved_search import Snapshot, StateError
from rewarden.verifier.saved_walks import signs_in, signs_out
from rewarden.verifier.verdict import Reason, Work
from rewarden.verifier.wide.split import Signs

LISTED = 4096  # parts of an outcome, at most


def start(task: Task, parts: Sequence[Part] | None = None) -> Run | Declined:
    """The whole claim, whatever the parts: all goals of a box are looked at at once."""
    searches = []
    for kind in by_gates(task.slim.program):
        signs = Signs.of(kind.program, kind.boxes)
        searches.append(_Search(kind.boxes, signs))
    if all(search.signs is None for search in searches):
        return Declined(Reason.NOT_NEURONS)
    return _Neurons(task, tuple(searches))


@dataclass(slots=True)
class _Search:
    """Boxes on which the same gates are decided (mutable): `signs` is None where some gate is not. `open`: those of
    the claim's boxes that are not settled. `visited`: had its turn in this go."""

    boxes: NDArray[np.int64]
    signs: Signs | None
    open: tuple[int, ...] = ()
    visited: bool = False

    def __post_init__(self) -> None:
        self.open = tuple(self.boxes.tolist())

    @property
    def waits(self) -> bool:
        """Would more work settle more? Of what is open, cases may have nothing left that tells them apart."""
        signs = self.signs
        return signs is not None and bool(self.open) and (signs.looked < len(signs.fresh) or bool(signs.hard))


@dataclass(slots=True)
class _Neurons:
    """`spent`: what the searches before the one at work have taken of this go (mutable)."""

    task: Task
    searches: tuple[_Search, ...]
    spent: int = 0

    def go(self, work: int) -> Outcome:
        """Up to `work` boxes and cases."""
        task, boxes = self.task, 0

        def violates(point: Point) -> bool:
            return task.replay(point) is not None

        def report(share: float, boxes: int) -> None:
            task.progress("neurons", self._settled(search, share), self.spent + boxes)

        for search in self.searches:
            signs = search.signs
            if signs is None or not search.open or search.visited or self.spent >= work:
                continue
            found = signs.run(work - self.spent, violates, report, task.stop)
            boxes = found.boxes
            witness = None if found.point is None else task.replay(found.point)
            if witness is not None:
                done = Work(boxes=self.spent + boxes)
                return Outcome(status="violated", reason=Reason.WITNESS, work=done, settled=1.0, witness=witness)
            search.open = tuple(search.boxes[list(found.open)].tolist())
            if signs.end is not None:  # stopped
                break
            self.spent, search.visited, boxes = self.spent + boxes, True, 0
        work_done = Work(boxes=self.spent + boxes)
        if not any(search.open for search in self.searches):
            return Outcome(status="proved", reason=Reason.NEURONS, work=work_done, settled=1.0)
        reason = Reason.STOPPED if task.stop() else Reason.BUDGET
        if reason == Reason.BUDGET and task.options.engine == "neurons" and not any(s.waits for s in self.searches):
            reason = Reason.NEURONS_LIMIT
        ended = all(search.signs is None or search.signs.end is None for search in self.searches)
        if ended and reason != Reason.STOPPED:  # else who goes on is told what this go has done
            self.spent = 0
            for search in self.searches:
                search.visited = False
        open_ = tuple(sorted(box for search in self.searches for box in search.open))
        left = self._left(open_)
        told = open_ if left is None or len(open_) * len(task.claim.variables) > NUMBERS else None
        return Outcome(status="open", reason=reason, work=work_done, settled=self._settled(), left=left, boxes=told)

    def snapshot(self) -> Snapshot | None:
        parts = [None if search.signs is None else signs_out(search.signs) for search in self.searches]
        if any(search.signs is not None and part is None for search, part in zip(self.searches, parts, strict=True)):
            return None
        told = {
            "spent": self.spent,
            "searches": [
                {"open": list(search.open), "visited": search.visited, "signs": None if part is None else part.told}
                for search, part in zip(self.searches, parts, strict=True)
            ],
        }
        arrays = {
            f"{k}.{name}": array
            for k, part in enumerate(parts)
            if part is not None
            for name, array in part.arrays.items()
        }
        return Snapshot(told, arrays)

    def restore(self, saved: Snapshot) -> None:
        """StateError for what is not of these searches."""
        try:
            spent, told = saved.told["spent"], saved.told["searches"]
            if not isinstance(spent, int) or spent < 0 or len(told) != len(self.searches):
                raise StateError("another number of searches")
            for k, (search, one) in enumerate(zip(self.searches, told, strict=True)):
                if not set(one["open"]) <= set(search.open) or (one["signs"] is None) != (search.signs is None):
                    raise StateError("boxes that there are not")
                search.open, search.visited = tuple(one["open"]), one["visited"] is True
                prefix = f"{k}."
                if search.signs is not None:
                    own = {n.removeprefix(prefix): a for n, a in saved.arrays.items() if n.startswith(prefix)}
                    signs_in(search.signs, Snapshot(one["signs"], own))
            self.spent = spent
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise error if isinstance(error, StateError) else StateError(f"{type(error).__name__}: {error}") from error

    def _settled(self, at_work: _Search | None = None, share: float = 0.0) -> float:
        """The share of all boxes; of those that are looked at just now, `share`."""
        count = max(1, sum(search.boxes.size for search in self.searches))
        still = sum(
            search.boxes.size * (1.0 - share) if search is at_work else len(search.open) for search in self.searches
        )
        return 1.0 - still / count

    def _left(self, boxes: Sequence[int]) -> tuple[Part, ...] | None:
        goals = range(len(self.task.claim.goals))
        if len(boxes) * len(goals) > LISTED:
            return None
        return tuple(Part(goal, i, self.task.claim.boxes[i]) for i in boxes for goal in goals)
