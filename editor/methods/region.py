"""A min/max patch on the whole region of each rule (`editor/patch.py` has the theorem)."""

from __future__ import annotations

from dataclasses import dataclass

from rewarden.editor.mend import patched_in_rounds
from rewarden.editor.methods.task import Edited, Task


@dataclass(frozen=True, slots=True)
class RegionPatch:
    name: str = "region"
    guarantee: str = "by construction, exactly and as deployed: the rule in its region; beyond its rim, the same bits"

    def edit(self, task: Task) -> Edited:
        for rule in task.rules:
            task.bounds(rule)  # raises where it is no bound of one record
        child, reports, after = patched_in_rounds(
            task.spec, task.rewards, task.target, list(task.rules), task.mender, partial=task.partial
        )
        return Edited(child, reports, None if task.partial else after)
