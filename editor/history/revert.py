"""Taking back one edit of a line.

The newest gives its parent, the same bytes; an older one gives the reward as if that edit had never been made: its
parent, with the later patches put on top again, each with a slope for what it now meets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rewarden.editor.history.chain import Chain, added, described, rules_of, statements
from rewarden.editor.history.stored import with_patch
from rewarden.editor.patch import ExtremumBound
from rewarden.reward.artifact import Artifact, Edit


@dataclass(frozen=True, slots=True)
class Reverted:
    """`replayed`: the later edits that were made again, oldest first; none where the newest was taken back."""

    artifact: Artifact
    undone: Artifact
    replayed: tuple[Artifact, ...]


def revert(chain: Chain, number: int, extremum: ExtremumBound) -> Reverted:
    """Raises EditError: E30 where a parent is not at hand, E31 where a later edit is more than patches."""
    undone, base = chain.artifacts[number], chain.parent(number)
    later = tuple(reversed(chain.artifacts[:number]))
    if not later:
        return Reverted(base, undone, ())
    child = base
    for artifact, parent in zip(later, (undone, *later), strict=False):
        for patch in added(artifact, parent):
            child = with_patch(child, patch, extremum)
    rules = tuple(dict.fromkeys(rule for artifact in later for rule in rules_of(artifact)))
    said = {"reverted": described(undone), **statements(later, rules)}
    edit = Edit("revert", ", ".join(rules), said)
    return Reverted(replace(child, parent=base.digest, edit=edit), undone, later)
