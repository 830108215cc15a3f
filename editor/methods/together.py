"""Records that move together, by the method that moves the reward least: an envelope or a slope.

Each rule is mended by both, on top of what was mended before it. Of the two edits that verification proves, the one is
kept that moves the reward less in the mean, over records sampled from the region of both records; of equals, the
envelope. It is also kept where neither is proved: what is verified at the end will say so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from rewarden.editor.methods.envelope import Envelope, region_rows
from rewarden.editor.methods.pairs import coupled
from rewarden.editor.methods.slope import Slope
from rewarden.editor.methods.task import Edited, Task
from rewarden.reward.artifact import Artifact, Edit
from rewarden.reward.deployed import forward
from rewarden.spec_lang.errors import EditError


def least_moving(task: Task) -> Edited:
    """Raises EditError where neither method has anything to offer for one of the rules."""
    now, edits = task, list[Edited]()
    for rule in task.rules:
        done = _least(replace(now, rules=(rule,)), rule)
        edits.append(done)
        now = now.after(done)
    if len(edits) == 1:
        return edits[0]
    made = [edit for done in edits if (edit := done.artifact.edit) is not None]
    said = {key: text for edit in made for key, text in edit.statement.items()}
    kind = made[0].kind if len({edit.kind for edit in made}) == 1 else "patch"
    edit = Edit(kind, ", ".join(task.rules), said)
    child = replace(now.artifact, parent=task.artifact.digest, edit=edit)
    reports = tuple(report for done in edits for report in done.reports)
    return Edited(child, reports, extremum=now.mender.extremum)


def _least(task: Task, rule: str) -> Edited:
    found = coupled(task.claim(rule, whole=True), rule, task.target, task.ring)
    rows = region_rows(task.artifact, found)
    old = forward(task.artifact, rows).astype(np.float64)

    def moved(artifact: Artifact) -> float:
        return float(np.abs(forward(artifact, rows).astype(np.float64) - old).sum())

    tries: list[Callable[[Task], Edited]] = [Envelope().edit] if found.both else []
    best: tuple[bool, float, Edited] | None = None
    refused: list[EditError] = []
    for attempt in (*tries, Slope().edit):
        try:
            done = attempt(task)
        except EditError as error:
            refused.append(error)
            continue
        after = task.mender.verify({**task.rewards, task.target: done.artifact}, [rule])[rule]
        rank = (after.verdict != "proved", moved(done.artifact), done)
        best = rank if best is None or rank[:2] < best[:2] else best
    if best is None:
        raise refused[0]
    return best[2]
