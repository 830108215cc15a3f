"""Several edits of a line as one, without the patches that do nothing any more.

A patch p does nothing if a patch q of its kind, with none of the other kind between them, is flat wherever p may act
and holds the reward lower (for ceilings): then min(·, p) after or before min(·, q) is min(·, q), exactly and as
deployed, since min does not round and q's level is a binary32 number. Where p may act and where q is flat is known of
patches as the editor makes them (`Stored.ringed`); a stranger's are left where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from rewarden.editor.history.chain import Chain, require_no_forgetting, rules_of, statements
from rewarden.editor.history.stored import Stored, all_stored, rebuilt
from rewarden.editor.patch import Box
from rewarden.reward.artifact import Artifact, Edit


@dataclass(frozen=True, slots=True)
class Squashed:
    artifact: Artifact
    edits: int
    dropped: tuple[Stored, ...]


def squash(chain: Chain, count: int) -> Squashed:
    """The newest `count` edits as one child of the artifact before them: the same reward, bit for bit.

    Raises EditError: E30 where that artifact is not at hand, E31 where an edit is more than patches, E38 where one of
    them made the reward forget rows: its ledger is looked for beside it.
    """
    require_no_forgetting(
        chain.steps[:count], "that is no edit to be hidden in another", "squash the newer edits alone (--count)"
    )
    base, newest = chain.parent(count - 1), chain.load(0)
    chain.on_top(0, count)
    box = tuple((column.lo, column.hi) for column in newest.columns)
    below, patches = len(base.patches), list(all_stored(newest))
    asked, dropped = patches[below:], list[Stored]()
    for patch, others in zip(asked, _about(patches, asked, box), strict=True):
        rest = [p for p in patches if p is not patch]
        covering = (q for q in others if q in rest and _covers(q, patch, box) and _neighbours(patches, patch, q))
        if any(q.ringed(box) for q in covering) and patch.ringed(box):
            patches, dropped = rest, [*dropped, patch]
    edits = tuple(reversed(chain.steps[:count]))
    rules = tuple(dict.fromkeys(rule for step in edits for rule in rules_of(step)))
    said = {"squashed": f"{count} edits into one, {len(dropped)} patches that did nothing left out"}
    edit = Edit("squash", ", ".join(rules), {**said, **statements(edits, patches[below:])})
    child = replace(rebuilt(newest, tuple(patches)), parent=base.digest, edit=edit)
    return Squashed(child, count, tuple(dropped))


def _about(patches: Sequence[Stored], asked: Sequence[Stored], box: Box) -> list[list[Stored]]:
    """For each of those asked about, the patches that may be flat wherever it acts: in binary64, and generously. So few
    pairs of a thousand patches have to be looked at exactly."""
    reached = [patch.reach(box) for patch in asked]
    low, high = (
        np.array([[float((found or box)[j][side]) for j in range(len(box))] for found in reached]) for side in (0, 1)
    )
    nowhere = np.array([found is None for found in reached])
    about: list[list[Stored]] = [[] for _ in asked]
    for q in patches:
        rows = q.rows.astype(np.float64)
        offsets = np.atleast_2d(q.offsets).astype(np.float64).max(axis=0)
        top = high @ np.maximum(rows, 0).T + low @ np.minimum(rows, 0).T - offsets
        size = np.maximum(np.abs(low), np.abs(high)) @ np.abs(rows).T + np.abs(offsets)
        for k in np.flatnonzero(nowhere | (top <= 1e-9 * size).all(axis=1)).tolist():
            if asked[k] is not q:
                about[k].append(q)
    return about


def _covers(q: Stored, p: Stored, box: Box) -> bool:
    """q is flat wherever p may act (every row at most 0 over a box that holds that), and at least as strict."""
    if q.kind != p.kind or q.sign * q.level > q.sign * p.level or q.boxes > 1:
        return False
    reach = p.reach(box)
    if reach is None:
        return True
    for row, offset in q.exact_rows():
        top = -offset + sum((a * (hi if a > 0 else lo) for a, (lo, hi) in zip(row, reach, strict=True)), Fraction(0))
        if top > 0:
            return False
    return True


def _neighbours(patches: list[Stored], p: Stored, q: Stored) -> bool:
    i, j = sorted((patches.index(p), patches.index(q)))
    return all(between.kind == p.kind for between in patches[i:j])
