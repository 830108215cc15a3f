"""A line of edits, newest first, and what each of them added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rewarden.editor.history.stored import Stored, all_stored, stored
from rewarden.reward.artifact import Artifact
from rewarden.reward.lineage import Entry
from rewarden.spec_lang.errors import EditError


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """`artifacts[0]` is the newest; each is the parent of the one before it. `complete`: the last has no parent."""

    artifacts: tuple[Artifact, ...]
    complete: bool

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Chain:
        known = [entry.artifact for entry in entries]
        found = tuple(artifact for artifact in known if artifact is not None)
        return cls(found, all(artifact is not None for artifact in known))

    def number(self, which: str) -> int:
        """An edit by its number (0 is the newest), the start of its digest, or a rule that it was made for.

        Raises EditError E30 where there is none, or more than one.
        """
        edits = [k for k, artifact in enumerate(self.artifacts) if artifact.edit is not None]
        if which.isdecimal() and len(which) < 6:
            found = [k for k in edits if k == int(which)]
        else:
            bare = which.removeprefix("sha256:")
            found = [k for k in edits if self.artifacts[k].digest.removeprefix("sha256:").startswith(bare)]
            found = found or [k for k in edits if which in rules_of(self.artifacts[k])]
        if len(found) == 1:
            return found[0]
        listing = "; ".join(f"{k}: {described(self.artifacts[k])}" for k in edits) or "there are none"
        what = "no edit" if not found else "more than one edit"
        raise EditError("E30", f"{what} is called {which}", help=f"edits at hand, newest first: {listing}")

    def parent(self, number: int) -> Artifact:
        """Of the artifact with that number. Raises EditError E30 where it is not at hand."""
        if number + 1 < len(self.artifacts):
            return self.artifacts[number + 1]
        missing = self.artifacts[number].parent
        raise EditError(
            "E30",
            f"the parent {missing} is not at hand" if missing else "this artifact has no parent: it was not edited",
            help="name the folder that it lies in with --in" if missing else "see rewarden log",
        )


def described(artifact: Artifact) -> str:
    edit = artifact.edit
    if edit is None:
        return artifact.digest[:19]
    return f"{edit.kind}{' for ' + edit.rule if edit.rule else ''} ({artifact.digest[:19]})"


def rules_of(artifact: Artifact) -> tuple[str, ...]:
    return () if artifact.edit is None else tuple(filter(None, artifact.edit.rule.split(", ")))


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


def statements(edits: Sequence[Artifact], about: Sequence[str]) -> Mapping[str, str]:
    """What several edits together still promise: fixes and continuity each by itself, locality of all together."""
    found: dict[str, str] = {}
    for artifact in edits:
        if artifact.edit is not None:
            said = artifact.edit.statement
            found |= {name: text for name, text in said.items() if name.rpartition(".")[2] in ("fix", "continuity")}
    rules = ", ".join(dict.fromkeys(about)) or "the patches"
    found["locality"] = f"beyond the rings of {rules} the reward is that of the parent, bit for bit"
    return found
