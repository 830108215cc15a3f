"""The certified road: a Newton step within a budget of (ε, δ) (`reward/learners/head.py` has the theorem)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rewarden.editor.unlearn.request import Parted
from rewarden.reward.artifact import Artifact, Edit
from rewarden.reward.learners.head import Head
from rewarden.reward.learners.interface import Comparisons
from rewarden.reward.learners.options import HeadOptions
from rewarden.reward.learners.shards import taken


@dataclass(frozen=True, slots=True)
class Certified:
    """The child, ε of all removals so far, and whether the budget was spent, so that it was learned anew."""

    artifact: Artifact
    epsilon: float
    anew: bool


def forget(artifact: Artifact, data: Comparisons, parted: Parted, options: HeadOptions, head: Head) -> Certified:
    done = head.remove(artifact, taken(data, parted.kept), taken(data, parted.gone), options)
    if done.anew:
        guarantee = "learned anew from the rows that are left, with other noise: the budget was spent"
    else:
        guarantee = (
            f"certified: ({done.epsilon:.4g}, {options.delta:g})-indistinguishable from a head that never saw the rows "
            "of this and all earlier removals, if nobody knows the noise"
        )
    said = {
        "rows": f"{len(parted.gone)} forgotten, {len(parted.kept)} left",
        "guarantee": guarantee,
        "budget": f"epsilon {done.epsilon:.4g} of {options.epsilon:g}, delta {options.delta:g}",
        "not claimed": "nothing is said of older artifacts, backups, or who saw them",
    }
    child = replace(done.artifact, parent=artifact.digest, edit=Edit("unlearn", "", said))
    return Certified(child, done.epsilon, done.anew)
