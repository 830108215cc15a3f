"""Linear programs as an engine: complete branch and bound on the sign of neurons (docs/decisions/0010-lp.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rewarden.verifier.backsub import Engine
from rewarden.verifier.engines.interface import Declined, Outcome, Part, Run, Task
from rewarden.verifier.lp.region import EITHER, LOOSE, Frame, frame_of, region_of
from rewarden.verifier.lp.tree import FORGET, Mark, Tree, TreeState
from rewarden.verifier.program import Program
from rewarden.verifier.saved_queries import mark_in, mark_out, tree_in
from rewarden.verifier.saved_search import Snapshot, StateError
from rewarden.verifier.verdict import Reason, Work

MOST_NEURONS = 1_500  # that a goal reads
MANY = 8  # parts of one box, from which on the whole of it is tried first
TRIED = 20  # nodes of that
AUTO_UNSTABLE = 200  # unasked (engine auto), a part with more is left alone


def start(task: Task, parts: Sequence[Part] | None = None) -> Run | Declined:
    """One tree a part. Curved layers and very large rewards are declined."""
    program = task.program
    if program.executed is not None:
        return Declined(Reason.FLOAT32)
    if program.curved:
        return Declined(Reason.SMOOTH)
    if sum(layer.width for layer in program.layers if layer.kind != "linear") > MOST_NEURONS:
        return Declined(Reason.NOT_LP)
    return _Trees(task, task.everything() if parts is None else list(parts))


class _Trees:
    """Parts one after the other (mutable); `left` shrinks as they are settled.

    Where many parts of one box are left, the whole box is tried first, for a few nodes: what holds by equality alone
    is a thousand parts to bounds, and often a single program.
    """

    def __init__(self, task: Task, parts: list[Part]) -> None:
        self.task, self.count = task, max(1, len(parts))
        self.engine = Engine(task.program)
        self.frames: dict[int, Frame] = {}
        self.left, self.open = list(reversed(parts)), list[Part]()
        many = Counter((part.goal, part.instance) for part in parts)
        self.wholes = [Part(g, i, task.claim.boxes[i]) for (g, i), count in sorted(many.items()) if count >= MANY]
        self.tree: Tree | None = None  # of the last whole or, where there is none, the last part that is left
        self.numbers = {id(part): number for number, part in enumerate(parts)}
        self.parts = parts
        self.spent = 0  # by the go that is under way, or was stopped
        self.mark = self._marked(None)  # where the tree could be saved last

    def go(self, work: int) -> Outcome:
        """Up to `work` linear programs."""
        task = self.task
        while self.left and self.spent < work and not task.stop():
            if self.tree is None:
                planted = self._planted((self.wholes or self.left)[-1])
                if isinstance(planted, bool):
                    self._done(stuck=not planted)
                    continue
                self.mark = self._marked(None)
                self.tree = planted
            before = self.tree.lps
            point = self.tree.step(lambda p: task.replay(p) is not None)
            self.spent += self.tree.lps - before
            if point is not None:
                witness = task.replay(point)
                assert witness is not None
                return Outcome(
                    status="violated", reason=Reason.WITNESS, work=Work(lps=self.spent), settled=1.0, witness=witness
                )
            if not self.tree.waiting or (self.wholes and self.tree.nodes >= TRIED):
                self._done(stuck=bool(self.tree.waiting) or self.tree.stuck)
            elif self.tree.nodes % FORGET == 0:
                self.mark = self._marked(self.tree.forget())
            task.progress("lp", self._settled(), self.spent)
        outcome = self._outcome(Work(lps=self.spent))
        if outcome.reason != Reason.STOPPED:
            self.spent = 0
            self.mark = self._marked(None if self.tree is None else self.tree.forget())
        return outcome

    # ── what is saved ──────────────────────────────────────────────────────────────────────────
    def _marked(self, tree: TreeState | None) -> Mark:
        left, open_ = (tuple(self.numbers[id(part)] for part in parts) for parts in (self.left, self.open))
        return Mark(left, open_, len(self.wholes), self.spent, tree)

    def snapshot(self) -> Snapshot:
        return mark_out(self._marked(None) if self.tree is None else self.mark)

    def restore(self, saved: Snapshot) -> None:
        mark, told = mark_in(saved, len(self.parts), len(self.wholes))
        self.left, self.open = [self.parts[k] for k in mark.left], [self.parts[k] for k in mark.open]
        self.wholes, self.spent = self.wholes[: mark.wholes], mark.spent
        state = None
        if told is not None:
            planted = self._planted((self.wholes or self.left)[-1])
            if isinstance(planted, bool):
                raise StateError("a tree of a part that has none")
            state = tree_in(saved, told, planted.region)
            planted.put(state)
            self.tree = planted
        self.mark = self._marked(state)

    # ── parts ──────────────────────────────────────────────────────────────────────────────────

    def _done(self, *, stuck: bool) -> None:
        """With the last whole or part: it is settled, or nothing more is tried with it."""
        self.tree = None
        if not self.wholes:
            part = self.left.pop()
            self.open += [part] if stuck else []
            return
        whole = self.wholes.pop()
        if not stuck:
            self.left = [part for part in self.left if (part.goal, part.instance) != (whole.goal, whole.instance)]

    def _planted(self, part: Part) -> Tree | bool:
        """True if the part has no point; False if it is not for this engine."""
        program: Program = self.task.program
        if part.goal not in self.frames:
            self.frames[part.goal] = frame_of(program, part.goal)
        found = region_of(self.frames[part.goal], self.engine, part)
        if found is None:
            return True
        region, root = found
        unstable = int(((root.phase == EITHER) | (root.phase == LOOSE)).sum())
        if not region.finite or (self.task.options.engine != "lp" and unstable > AUTO_UNSTABLE):
            return False
        return Tree(region, root)

    def _settled(self) -> float:
        more = 0.0 if self.tree is None or self.wholes else self.tree.settled
        return min(1.0, (self.count - len(self.left) - len(self.open) + more) / self.count)

    def _outcome(self, spent: Work) -> Outcome:
        if not self.left and not self.open:
            return Outcome(status="proved", reason=Reason.LP, work=spent, settled=1.0)
        reason = Reason.STOPPED if self.task.stop() else Reason.LP_LIMIT
        left = (*self.open, *reversed(self.left))
        return Outcome(status="open", reason=reason, work=spent, settled=self._settled(), left=left)
