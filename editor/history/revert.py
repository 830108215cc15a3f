"""Taking back one edit of a line.

The newest gives its parent, the same bytes; an older one gives the reward as if that edit had never been made: its
parent, with the later patches put on top again.

Where the edit was patches itself, these keep their slopes. A ceiling's slope was made for what the reward below may
reach without its ceilings (`extremum`): the network and floors. Taking an edit away takes floors away, if anything, and
a reward without a floor is nowhere higher; so the same slope reaches, and the ceiling is as continuous as it was. For
floors all of this is mirrored. Where another network comes to light, each slope is made anew for what it now meets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rewarden.editor.history.chain import Chain, added, described, rules_of, statements
from rewarden.editor.history.stored import pushed, with_patch
from rewarden.editor.patch import ExtremumBound
from rewarden.reward.artifact import Artifact, Edit
from rewarden.spec_lang.errors import EditError


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
    patches = [
        patch for artifact, parent in zip(later, (undone, *later), strict=False) for patch in added(artifact, parent)
    ]
    if _only_patches(undone, base):
        child = pushed(base, *patches)
    else:
        child = base
        for patch in patches:
            child = with_patch(child, patch, extremum)
    rules = tuple(dict.fromkeys(rule for artifact in later for rule in rules_of(artifact)))
    said = {"reverted": described(undone), **statements(later, rules)}
    edit = Edit("revert", ", ".join(rules), said)
    return Reverted(replace(child, parent=base.digest, edit=edit), undone, later)


def _only_patches(child: Artifact, parent: Artifact) -> bool:
    try:
        added(child, parent)
    except EditError:
        return False
    return True
