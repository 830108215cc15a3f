"""The exact road: the shards that saw the rows are learned again without them (`reward/learners/shards.py`)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rewarden.editor.unlearn.request import Parted, left, machine_said
from rewarden.reward.artifact import Artifact, Edit
from rewarden.reward.learners.interface import Run
from rewarden.reward.learners.shards import Data, Plan, Shards


@dataclass(frozen=True, slots=True)
class Exact:
    """The child; `trained` of `stages` were trained, the others taken as they were."""

    artifact: Artifact
    trained: int
    stages: int


def forget(
    artifact: Artifact, data: Data, parted: Parted, learner: Shards, options: object, run: Run, plan: Plan | None = None
) -> Exact:
    """`run.checkpoints` is the store of the artifact's training, or of as much of it as is left by the `plan` for the
    rows that stay; a copy of it, since it is changed.

    The child's tensors are those of a run that never saw the rows: stages are named by all that they depend on, and
    only stages with equal names are shared. Its patches are gone with the reward that they were made for.
    """
    assert run.checkpoints is not None
    rest = left(data, parted)
    plan = learner.plan(rest, options, run) if plan is None else plan
    trained = plan.missing(run.checkpoints)
    stages = learner.options.shards * learner.options.slices
    fresh = learner.follow(plan, rest, options, run)
    said = {
        **machine_said("exact", parted),
        "rows": f"{len(parted.gone)} forgotten, {len(parted.kept)} left",
        "guarantee": "exact: this code, configuration and seed give these tensors, byte for byte, from data that never "
        "held the rows (on a machine of the same kind)",
        "work": f"{trained} of {stages} stages trained again",
        "not claimed": "nothing is said of older artifacts, their training folders, backups, or who saw them",
    }
    edit = Edit("unlearn", "", said)
    return Exact(replace(fresh, parent=artifact.digest, edit=edit), trained, stages)
