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

from rewarden.editor.history.chain import Chain, added, described, rules_of, statements
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
    """Raises EditError: E32 without a common ancestor at hand, E31 where an edit is more than patches."""
    ancestor, depth, other_depth = _ancestor(first, second)
    mine, theirs = _line(first, depth), _line(second, other_depth)
    columns = Columns.of(ancestor.records)
    ours, others = _patches(mine, ancestor), _patches(theirs, ancestor)
    forward = _undone(ours, others, columns)  # theirs on top of ours
    backward = _undone(others, ours, columns)
    if forward and backward:
        return Merged(None, ancestor, tuple(forward))
    base, on_top, newest = (first.artifacts[0], others, second) if not forward else (second.artifacts[0], ours, first)
    child, mine_below = base, ours if not forward else others
    met = {k for j, k in near_each_other(mine_below, on_top) if mine_below[j].kind != on_top[k].kind}
    for k, patch in enumerate(on_top):
        child = with_patch(child, patch, extremum) if k in met else pushed(child, patch)
    edits = theirs if not forward else mine
    rules = tuple(dict.fromkeys(rule for artifact in edits for rule in rules_of(artifact)))
    said = {"merged": f"{described(newest.artifacts[0])} into {described(base)}", **statements(edits, rules)}
    edit = Edit("merge", ", ".join(rules), said)
    return Merged(replace(child, parent=base.digest, edit=edit), ancestor, ())


def _ancestor(first: Chain, second: Chain) -> tuple[Artifact, int, int]:
    places = {artifact.digest: k for k, artifact in enumerate(second.artifacts)}
    for depth, artifact in enumerate(first.artifacts):
        if artifact.digest in places:
            other = places[artifact.digest]
            if depth == 0 or other == 0:
                newer = second if depth == 0 else first
                raise EditError(
                    "E32",
                    f"{described(newer.artifacts[0])} has all edits of the other already: there is nothing to merge",
                )
            return artifact, depth, other
    raise EditError(
        "E32", "the two have no common ancestor at hand", help="name the folders of older artifacts with --in"
    )


def _line(chain: Chain, depth: int) -> tuple[Artifact, ...]:
    """The edits since the ancestor, oldest first."""
    return tuple(reversed(chain.artifacts[:depth]))


def _patches(line: Sequence[Artifact], ancestor: Artifact) -> tuple[Stored, ...]:
    found: list[Stored] = []
    for artifact, parent in zip(line, (ancestor, *line), strict=False):
        found += added(artifact, parent)
    return tuple(found)


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
