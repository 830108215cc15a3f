"""A glance: what a few boxes settle, before anything is searched for or asked at length.

Most rules that hold do so with room to spare: bounds settle them in a look, and cells in a few of theirs, at a fraction
of what a search for violations costs, which would find nothing. Runs of a glance are its own: whoever goes on after it
begins anew, and whoever is resumed glances again.
"""

from __future__ import annotations

from rewarden.verifier import engines
from rewarden.verifier.engines.interface import Declined, Outcome, Run, Task
from rewarden.verifier.verdict import Work

LOOKS = 32  # boxes of the claim, once for each goal, up to which there is a glance
BOXES = 32  # of differences, and of bounds where there are no cells
CELLS = 1024
SHARE = 0.25  # of the budget, at most
WEIGHTS = 2**22  # of all layers, times boxes or cells: for large networks these are fewer


def glance(task: Task) -> tuple[str, Outcome | None, Work]:
    """Which engine has settled the claim, and how; None where none has. The work of all that were asked, which is part
    of the budget."""
    claim, spent = task.claim, Work()
    looks = len(claim.boxes) * len(claim.goals)
    if not 0 < looks <= LOOKS:
        return "", None, spent
    weights = sum(block.weight.size for layer in task.slim.program.layers for block in layer.blocks)
    most = WEIGHTS // max(1, weights)
    boxes, cells = max(looks, min(BOXES, most)), max(looks, min(CELLS, most))
    runs: dict[str, Run | Declined] = {}
    for engine, work in (("bounds", looks), ("differences", boxes), ("cells", cells), ("bounds", boxes)):
        if engine in runs and not isinstance(runs["cells"], Declined):
            break
        left = int(SHARE * task.options.budget) - spent.boxes
        if task.stop() or left < looks:
            break
        run = runs[engine] = runs.get(engine) or engines.start(engine, task)
        if isinstance(run, Declined):
            continue
        outcome = run.go(min(work, left))
        spent = spent + outcome.work
        if outcome.status != "open":
            return engine, outcome, spent
    return "", None, spent
