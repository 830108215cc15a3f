"""Two lines of edits on one ancestor as one, where they can both hold; else a situation in which they cannot.

The patches of one line go on top of the other's. Patches of one kind never disturb each other (the lower ceiling wins,
and both levels are kept). Of two kinds, the later may undo what the earlier fixed: that is looked for, exactly, in both
orders. If neither order keeps every fix, there is a situation to show: one that both demand opposite things of, or one
in the rim of one edit where the other has its region.

A patch that is put on top keeps its slope, unless a patch of the other kind below may act where it does: the slope was
made for what the network reaches with the floors (of a ceiling) of its own line, and ceilings take nothing away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rewarden.editor.history.chain import Chain, described, require_no_forgetting, rules_of, statements
from rewarden.editor.history.overlap import Columns, Point, broken, clash, near_each_other
from rewarden.editor.history.stored import Stored, pushed, with_patch
from rewarden.editor.patch import ExtremumBound
from rewarden.reward.artifact import Artifact, Edit
from rewarden.spec_lang.errors import EditError


@dataclass(frozen=True, slots=True)
class Conflict:
    """`demanded`: both levels at one point, which no reward can give; else a rim reaches into the other's region."""

    one: Stored
    other: Stored
    point: Point
    demanded: bool


@dataclass(frozen=True, slots=True)
class Merged:
    """`artifact` is a child of the first line's newest; None where the edits clash."""

    artifact: Artifact | None
    ancestor: Artifact
    conflicts: tuple[Conflict, ...]


def merge(first: Chain, second: Chain, extremum: ExtremumBound) -> Merged:
    """Raises EditError: E32 without a common ancestor at hand, E31 where an edit is more than patches, E38 where a line
    forgot rows that the other was made with."""
    depth, other_depth = _ancestor(first, second)
    require_no_forgetting(
        (*first.steps[:depth], *second.steps[:other_depth]),
        "the other line, and their common ancestor, know them",
        "make the other line's edits again on the reward that has forgotten",
    )
    ancestor = first.load(depth)
    ours, others = first.on_top(0, depth), second.on_top(0, other_depth)
    columns = Columns.of(ancestor.records)
    forward = _undone(ours, others, columns)  # theirs on top of ours
    backward = _undone(others, ours, columns)
    if forward and backward:
        return Merged(None, ancestor, tuple(forward))
    base, on_top, newest = (first, others, second) if not forward else (second, ours, first)
    child, mine_below = base.load(0), ours if not forward else others
    met = {k for j, k in near_each_other(mine_below, on_top) if mine_below[j].kind != on_top[k].kind}
    for k, patch in enumerate(on_top):
        child = with_patch(child, patch, extremum) if k in met else pushed(child, patch)
    edits = tuple(reversed(newest.steps[: other_depth if not forward else depth]))
    rules = tuple(dict.fromkeys(rule for step in edits for rule in rules_of(step)))
    said = {"merged": f"{described(newest.steps[0])} into {described(base.steps[0])}", **statements(edits, on_top)}
    edit = Edit("merge", ", ".join(rules), said)
    return Merged(replace(child, parent=base.steps[0].digest, edit=edit), ancestor, ())


def _ancestor(first: Chain, second: Chain) -> tuple[int, int]:
    """Its number in each line."""
    places = {step.digest: k for k, step in enumerate(second.steps)}
    for depth, step in enumerate(first.steps):
        if step.digest in places:
            other = places[step.digest]
            if depth == 0 or other == 0:
                newer = second if depth == 0 else first
                raise EditError(
                    "E32",
                    f"{described(newer.steps[0])} has all edits of the other already: there is nothing to merge",
                )
            return depth, other
    raise EditError(
        "E32", "the two have no common ancestor at hand", help="name the folders of older artifacts with --in"
    )


def _undone(below: Sequence[Stored], on_top: Sequence[Stored], columns: Columns) -> list[Conflict]:
    """Which fixes of the patches below those on top could undo, with a point for each."""
    found = []
    for j, k in near_each_other(below, on_top):
        one, other = below[j], on_top[k]
        point = broken(one, other, columns)
        if point is not None:
            both = clash(one, other, columns)
            found.append(Conflict(one, other, both or point, both is not None))
    return found
