"""A line of edits, newest first, and what each of them added.

What the edits say is told by manifests; artifacts are loaded when somebody asks for one, and the two asked for last
are kept. What lies between two artifacts is told by these two alone: if the one has the network and the patches of the
other and more on top, so much came to it, whatever happened on the way. So an edit of a line of a thousand is taken
back by looking at three of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rewarden.editor.history.stored import Stored, all_stored, stored
from rewarden.reward.artifact import Artifact
from rewarden.reward.lineage import Step, at_hand
from rewarden.spec_lang.errors import EditError


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """`steps[0]` is the newest; each is the parent of the one before it, and all are known. `load`: the artifact of a
    step's number."""

    steps: tuple[Step, ...]
    load: Callable[[int], Artifact]

    @classmethod
    def of(cls, artifacts: Sequence[Artifact]) -> Chain:
        """Of artifacts at hand, newest first."""
        return cls(tuple(Step.of(artifact) for artifact in artifacts), lambda number: artifacts[number])

    @classmethod
    def told(cls, newest: Artifact, steps: Iterable[Step]) -> Chain:
        """As manifests tell it; only the newest is loaded yet."""
        known = tuple(step for step in steps if step.known)

        @lru_cache(maxsize=2)
        def load(number: int) -> Artifact:
            return newest if number == 0 else _loaded(known[number])

        return cls(known, load)

    def number(self, which: str) -> int:
        """An edit by its number (0 is the newest), the start of its digest, or a rule that it was made for.

        Raises EditError E30 where there is none, or more than one.
        """
        edits = [k for k, step in enumerate(self.steps) if step.edit is not None]
        if which.isdecimal() and len(which) < 6:
            found = [k for k in edits if k == int(which)]
        else:
            bare = which.removeprefix("sha256:")
            found = [k for k in edits if self.steps[k].digest.removeprefix("sha256:").startswith(bare)]
            found = found or [k for k in edits if which in rules_of(self.steps[k])]
        if len(found) == 1:
            return found[0]
        listed = found[:LISTED] or edits[:LISTED]
        listing = "; ".join(f"{k}: {described(self.steps[k])}" for k in listed) or "there are none"
        left = len(found or edits) - len(listed)
        listing += f"; and {left} more" if left else ""
        what = "no edit" if not found else "more than one edit"
        said = "these" if found else "edits at hand, newest first"
        raise EditError("E30", f"{what} is called {which}", help=f"{said}: {listing}")

    def parent(self, number: int) -> Artifact:
        """Of the artifact with that number. Raises EditError E30 where it is not at hand."""
        if number + 1 < len(self.steps):
            return self.load(number + 1)
        if number >= len(self.steps):
            told = sum(step.edit is not None for step in self.steps)
            raise EditError("E30", f"there are {told} edits at hand, not {number + 1}", help="see rewarden log")
        missing = self.steps[number].parent
        raise EditError(
            "E30",
            f"the parent {missing} is not at hand" if missing else "this artifact has no parent: it was not edited",
            help="name the folder that it lies in with --in" if missing else "see rewarden log",
        )

    def on_top(self, newer: int, older: int) -> tuple[Stored, ...]:
        """The patches that the artifact of number `newer` has on top of that of number `older`.

        Raises EditError E31 where an edit between them changed anything else, and names it.
        """
        try:
            return added(self.load(newer), self.load(older))
        except EditError:
            good, bad = older, newer  # `good` has all that `older` has, `bad` has not: some edit between took it away
            while good - bad > 1:
                middle = (good + bad) // 2
                try:
                    added(self.load(middle), self.load(older))
                except EditError:
                    bad = middle
                else:
                    good = middle
            added(self.load(bad), self.load(good))
            raise AssertionError("what all edits have kept is kept") from None


LISTED = 12  # edits, where one is not known by its name


def _loaded(step: Step) -> Artifact:
    found = at_hand(step.digest, step.places)
    if found is None:
        raise EditError(
            "E30",
            f"{step.digest} is damaged where it lies: {', '.join(map(str, step.places))}",
            help="restore it, or name a folder with a sound copy with --in",
        )
    return found


def described(step: Step | Artifact) -> str:
    edit = step.edit
    if edit is None:
        return step.digest[:19]
    return f"{edit.kind}{' for ' + edit.rule if edit.rule else ''} ({step.digest[:19]})"


def rules_of(step: Step | Artifact) -> tuple[str, ...]:
    return () if step.edit is None else tuple(filter(None, step.edit.rule.split(", ")))


def forgets(step: Step | Artifact) -> bool:
    return step.edit is not None and step.edit.kind == "unlearn"


def require_no_forgetting(steps: Sequence[Step], what: str, help: str) -> None:
    """Raises EditError E38 where rows were forgotten on the way."""
    for step in steps:
        if forgets(step):
            raise EditError("E38", f"{described(step)} made the reward forget rows: {what}", help=help)


def added(child: Artifact, parent: Artifact) -> tuple[Stored, ...]:
    """The patches that an edit put on top. Raises EditError E31 where it changed anything else."""
    below = len(parent.patches)
    same_tensors = all(
        name in child.tensors and child.tensors[name].tobytes() == value.tobytes()
        for name, value in parent.with_patches(()).tensors.items()
    )
    kept = all(a.same(b) for a, b in zip(all_stored(child), all_stored(parent), strict=False))
    if child.graph != parent.graph or child.records != parent.records or not same_tensors or not kept:
        raise EditError(
            "E31",
            f"the edit {described(child)} changed the network itself, not only patches: it cannot be moved elsewhere",
            help="revert to before it, or make it again there",
        )
    if len(child.patches) < below:
        raise EditError("E31", f"the edit {described(child)} took patches away", help="revert to before it")
    return tuple(stored(child, patch) for patch in child.patches[below:])


MADE_ON = "of the reward that it was made on: "


def statements(edits: Sequence[Step], patches: Sequence[Stored]) -> Mapping[str, str]:
    """What several edits, oldest first, together still promise of these patches of theirs: each fix that no later patch
    may undo, what its level is anchored to, and continuity and locality of all together. A fix is told by its rule.
    What was said of the level's place in the data was so before the edit: on another reward it need not be."""
    found: dict[str, str] = {}
    undone = _undone(patches)
    for step in edits:
        if step.edit is None:
            continue
        for name, text in step.edit.statement.items():
            rule, _, what = name.rpartition(".")
            if what == "continuity":
                found[what] = text
            elif what == "anchor":
                found[f"{rule or step.edit.rule}.{what}"] = MADE_ON + text.removeprefix(MADE_ON)
            elif what == "fix" and not undone.intersection(rules_of(step)):
                found[f"{rule or step.edit.rule}.{what}"] = text
    rules = ", ".join(dict.fromkeys(patch.rule for patch in patches)) or "the patches"
    found["locality"] = f"beyond the rings of {rules} the reward is that of the parent, bit for bit"
    return found


def _undone(patches: Sequence[Stored]) -> set[str]:
    """The rules of patches in whose region a later one of the other kind may act, and push beyond their level."""
    from rewarden.editor.history.overlap import near_each_other  # it loads Z3

    below = [patch for patch in patches if patch.kind == "ceiling"]
    above = [patch for patch in patches if patch.kind == "floor"]
    if not below or not above:
        return set()
    place = {id(patch): k for k, patch in enumerate(patches)}
    pairs = ((below[j], above[k]) for j, k in near_each_other(below, above))
    met = ((one, other) if place[id(one)] < place[id(other)] else (other, one) for one, other in pairs)
    return {
        one.rule
        for one, other in met
        if one.sign * other.level > one.sign * one.level  # else it pushes no further than where it is held
    }
