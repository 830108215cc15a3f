"""Taking back one edit of a line.

The newest gives its parent, the same bytes; an older one gives the reward as if that edit had never been made: its
parent, with the later patches put on top again.

Where the edit was patches itself, these keep their slopes. A ceiling's slope was made for what the reward below may
reach without its ceilings (`extremum`): the network and floors. Taking an edit away takes floors away, if anything, and
a reward without a floor is nowhere higher; so the same slope reaches, and the ceiling is as continuous as it was. For
floors all of this is mirrored. Where another network comes to light, each slope is made anew for what it now meets.

To take back an unlearning is to learn the forgotten rows again. Whoever keeps a ledger of requests must not do it by
the way: it is done for those alone who say that they want it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rewarden.editor.history.chain import Chain, added, described, forgets, require_no_forgetting, rules_of, statements
from rewarden.editor.history.stored import pushed, with_patch
from rewarden.editor.patch import ExtremumBound
from rewarden.reward.artifact import Artifact, Edit
from rewarden.reward.lineage import Step
from rewarden.spec_lang.errors import EditError


@dataclass(frozen=True, slots=True)
class Reverted:
    """`replayed`: the later edits that were made again, oldest first; none where the newest was taken back."""

    artifact: Artifact
    undone: Step
    replayed: tuple[Step, ...]


def revert(chain: Chain, number: int, extremum: ExtremumBound, *, rows_come_back: bool = False) -> Reverted:
    """Raises EditError: E30 where a parent is not at hand, E31 where a later edit is more than patches, E38 where rows
    that were forgotten would come back, unless they shall."""
    undone = chain.steps[number]
    if forgets(undone) and not rows_come_back:
        require_no_forgetting(
            (undone,),
            "taken back, it knows them again",
            "another edit is taken back by its own number; --rows-come-back takes this one back all the same",
        )
    require_no_forgetting(
        chain.steps[:number],
        "what is below was learned from them, and cannot come to light",
        "take back a newer edit, or name the rows to `rewarden unlearn` again afterwards, from the artifact below",
    )
    base = chain.parent(number)
    later = tuple(reversed(chain.steps[:number]))
    if not later:
        return Reverted(base, undone, ())
    patches = chain.on_top(0, number)
    if _only_patches(chain.load(number), base):
        child = pushed(base, *patches)
    else:
        child = base
        for patch in patches:
            child = with_patch(child, patch, extremum)
    rules = tuple(dict.fromkeys(rule for step in later for rule in rules_of(step)))
    said = {"reverted": described(undone), **statements(later, patches)}
    edit = Edit("revert", ", ".join(rules), said)
    return Reverted(replace(child, parent=base.digest, edit=edit), undone, later)


def _only_patches(child: Artifact, parent: Artifact) -> bool:
    try:
        added(child, parent)
    except EditError:
        return False
    return True
