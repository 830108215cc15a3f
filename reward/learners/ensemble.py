"""Several rewards of one learner as one artifact: their mean, their least, or how far they disagree.

The members differ in their seeds, and so in what they hold out, how they begin and in which order they see the data.
Where data say little they differ in what they have learned: their greatest minus their least says where not to trust
any of them, and, unlike a standard deviation, it is piecewise linear and so can be bounded like any other reward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact, Identified
from rewarden.reward.artifact import Learner as Learned
from rewarden.reward.assembly import Assembled
from rewarden.reward.deployed import forward
from rewarden.reward.graph import AffineMap, Concat, ReduceMax, ReduceMin, Sub
from rewarden.reward.learners.interface import Comparisons, Demonstrations, Judgements, Learner, Run
from rewarden.reward.learners.options import Combined, EnsembleOptions, options_text
from rewarden.reward.learners.splice import Splice
from rewarden.spec_lang.errors import UsageError

LOOKED_AT = 2000  # rows that the record's figure of disagreement is over
MAX_SEED = 2**63


@dataclass(frozen=True, slots=True)
class Ensemble:
    """The learner that learns `options.members` times. `fit` takes the options of the members."""

    member: Learner[Any, Any]
    options: EnsembleOptions

    @property
    def name(self) -> str:
        return f"ensemble of {self.member.name}"

    def fit(self, data: object, options: object, run: Run = Run()) -> Artifact:  # noqa: B008 (frozen)
        """Raises what the members' learner raises; UsageError G12 for a learner that changes an artifact."""
        if not isinstance(data, Demonstrations | Comparisons | Judgements):
            raise UsageError("G12", f"there is no {self.name}: it changes an artifact", help="drop the ensemble")
        members = []
        for k in range(self.options.members):
            checkpoints = None if run.checkpoints is None else run.checkpoints.at(f"member-{k + 1}")
            one = replace(run, seed=(run.seed * 1_000_003 + k) % MAX_SEED, checkpoints=checkpoints)
            members.append(self.member.fit(data, options, one))
        assembled = combined(members, self.options.combine)
        first = members[0]
        learner = Learned(
            self.name,
            options_text(self.options) | options_text(options),
            run.seed,
            _record(members, data),
        )
        return Artifact(
            first.records, assembled.graph, assembled.tensors, identified(members, self.options.combine),
            learner=learner, data=first.data,
        )  # fmt: skip


def combined(members: Sequence[Artifact], how: Combined) -> Assembled:
    """The graph of unpatched artifacts over the same records."""
    assert all(not m.patches and m.records == members[0].records for m in members), "members are alike and unpatched"
    splice = Splice()
    outputs = tuple(splice.graft(m.graph, m.tensors, f"m{k}.") for k, m in enumerate(members))
    every = splice.push(Concat(outputs))
    if how == "mean":
        weight = np.full((1, len(members)), 1 / len(members), np.float32)  # the nearest binary32: a mean, to 2^-24
        names = splice.store("mean.weight", weight), splice.store("mean.bias", np.zeros(1, np.float32))
        return splice.finish(splice.push(AffineMap(every, *names)))
    least = splice.push(ReduceMin(every))
    if how == "min":
        return splice.finish(least)
    return splice.finish(splice.push(Sub(splice.push(ReduceMax(every)), least)))


def identified(members: Sequence[Artifact], how: Combined) -> Identified:
    """A disagreement is a number of its own: a shift that all members share does not change it, and each member's own
    is fixed by the learner (rows of mean 0)."""
    kinds = {m.identified for m in members}
    if "affine" in kinds:
        return "affine"
    return "exact" if how == "disagreement" or kinds == {"exact"} else "shift"


def _record(members: Sequence[Artifact], data: Demonstrations | Comparisons | Judgements) -> dict[str, str]:
    record: dict[str, str] = {}
    for k, member in enumerate(members):
        assert member.learner is not None
        record |= {f"member {k + 1}, {name}": text for name, text in member.learner.record.items()}
    rows = _rows(data)
    scores = np.stack([forward(member, rows) for member in members])
    spread = (scores.max(axis=0) - scores.min(axis=0)).astype(np.float64)
    return record | {"disagreement on the data": f"{spread.mean():.4f} in the mean, {spread.max():.4f} at most"}


def _rows(data: Demonstrations | Comparisons | Judgements) -> NDArray[np.float32]:
    every = data.segments.reshape(-1, data.record.type.width) if isinstance(data, Comparisons) else data.rows
    whole = every[~np.isnan(every).any(axis=1)]
    return np.ascontiguousarray((whole if len(whole) else np.nan_to_num(every))[:LOOKED_AT], np.float32)
