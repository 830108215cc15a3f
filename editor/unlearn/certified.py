"""The certified road: a Newton step within a budget of (ε, δ) (`reward/learners/head.py` has the theorem)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from rewarden.editor.unlearn.request import Parted, left, machine_said
from rewarden.reward.artifact import Artifact, Edit
from rewarden.reward.figures import at_most_text
from rewarden.reward.learners.head import Head
from rewarden.reward.learners.interface import Comparisons
from rewarden.reward.learners.options import HeadOptions
from rewarden.reward.learners.shards import taken
from rewarden.spec_lang.canonical import rational_text


@dataclass(frozen=True, slots=True)
class Certified:
    """The child, ε of all removals so far, and why it was learned anew, if it was."""

    artifact: Artifact
    epsilon: float
    anew: str


def forget(artifact: Artifact, data: Comparisons, parted: Parted, options: HeadOptions, head: Head) -> Certified:
    rest = left(data, parted)
    assert isinstance(rest, Comparisons)
    done = head.remove(artifact, rest, taken(data, parted.gone), options)
    epsilon = at_most_text(Fraction(done.epsilon))  # what is claimed is never less than what is bounded
    if done.anew:
        guarantee = f"learned anew from the rows that are left, with other noise: {done.anew}"
    else:
        guarantee = (
            f"certified: ({epsilon}, {options.delta:g})-indistinguishable from a head that never saw the rows "
            "of this and all earlier removals, if nobody knows the noise, and rows were not chosen by looking at it"
        )
    said = {
        **machine_said("certified", parted),
        "epsilon": rational_text(Fraction(epsilon)),
        "delta": rational_text(Fraction(repr(options.delta))),
        "rows": f"{len(parted.gone)} forgotten, {len(parted.kept)} left",
        "guarantee": guarantee,
        "budget": f"epsilon {epsilon} of {options.epsilon:g}, delta {options.delta:g}",
        "not claimed": "nothing is said of older artifacts, backups, or who saw them",
    }
    child = replace(done.artifact, parent=artifact.digest, edit=Edit("unlearn", "", said))
    return Certified(child, done.epsilon, done.anew)
