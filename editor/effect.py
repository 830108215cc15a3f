"""What an edit by patches did, as far as it can be said: proved where it may act and by how much, counted on data.

Proved, of every record and as deployed: outside the share of the domain in which the new patches may act the reward has
the parent's bits (`ring.py`); inside, no record moves by more than `most`. Take a record that the edit has lowered,
and the last ceiling that lowered it on the way. After it the reward was at least its level, and floors only raise;
before all of it the reward was at most U, which bounds the reward without its ceilings (`patch.py`). So it moved by
U − level at most; and so for records that were raised. `attained` is a change that was met with.

Counted, on rows of the spec's data, or records drawn from the domain where there are none: how many moved, whose order
turned, how many ranks changed, and EPIC's distance (DARD's needs recorded steps: `rewarden compare`). Rewards act on
behaviour by order and differences alone, so that an edit that adds one constant everywhere changes no optimal
behaviour. A patch leaves some records as they were: it is such an edit only if it changes nothing. Two rows whose order
turned are an example of what it may do to behaviour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.editor.drift import Drift, drift
from rewarden.editor.mend import EditReport
from rewarden.editor.volume import Share, where_patches_act
from rewarden.reward.agreement import random_rows
from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.spec_lang.spec import Spec

Rows = NDArray[np.float32]
DRAWN, PAIRS = 20_000, 100_000


@dataclass(frozen=True, slots=True)
class Flip:
    """Two rows of the data (from 1) whose order the edit turned, with their rewards before and after."""

    rows: tuple[int, int]
    before: tuple[float, float]
    after: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Effect:
    """`acts`: the share of the domain where the patches may change anything. `most`: certified, `attained`: a change
    that was met with, both absolute. `flips` of `pairs` pairs of rows changed their strict order."""

    over: str
    acts: Share | None
    most: Fraction | None
    attained: float
    drift: Drift
    flips: int
    pairs: int
    ranks: int
    example: Flip | None
    epic: float | None

    @property
    def statement(self) -> Mapping[str, str]:
        """The theorem and what follows of it, in words."""
        said = {}
        if self.acts is not None and self.most is not None:
            share = f"{float(self.acts.most):.4g}" + ("" if self.acts.exact else " at most")
            said["outside"] = (
                f"outside of {share} of the domain the reward is that of the parent, bit for bit, over the reals and "
                "as deployed"
            )
            said["inside"] = f"no record anywhere moves by more than {float(self.most):.6g}"
        else:
            said["outside"] = "nothing: weights moved, and with them the reward anywhere"
        if self.drift.changed == 0 and self.example is None:
            said["behaviour"] = "no record that was looked at has moved"
        elif self.example is None:
            said["behaviour"] = "no order among the rows turned; which behaviour is optimal may change all the same"
        else:
            (i, j), (a, b), (c, d) = self.example.rows, self.example.before, self.example.after
            said["behaviour"] = (
                f"it can change which behaviour is optimal: rows {i} and {j} had {a:.6g} and {b:.6g}, and have {c:.6g} "
                f"and {d:.6g} now"
            )
        return said

    def to_json(self) -> dict[str, Any]:
        flip = self.example
        return {
            "statement": dict(self.statement),
            "acts": None
            if self.acts is None
            else {"least": str(self.acts.least), "most": str(self.acts.most), "exact": self.acts.exact},
            "most": None if self.most is None else str(self.most),
            "attained": self.attained,
            "over": self.over,
            "rows": self.drift.rows,
            "changed": self.drift.changed,
            "mean": self.drift.mean,
            "flips": self.flips,
            "pairs": self.pairs,
            "ranks": self.ranks,
            "example": None
            if flip is None
            else {"rows": list(flip.rows), "before": list(flip.before), "after": list(flip.after)},
            "epic": self.epic,
        }


def effect(spec: Spec, before: Artifact, after: Artifact, edits: Sequence[EditReport]) -> Effect:
    """Of an edit of `before` that made `after`; rows are those of the spec's first data of the reward's own records."""
    kept = len(before.patches)
    local = after.graph == before.graph and after.patches[:kept] == before.patches and all(
        np.array_equal(after.tensors[name], value) for name, value in before.tensors.items()
    )  # fmt: skip
    over, rows = _rows(spec, before)
    old, new = forward(before, rows).astype(np.float64), forward(after, rows).astype(np.float64)
    drawn = random_rows([record.type for record in before.records], DRAWN, 7)
    found = drift(before, after, rows.astype(np.float64))
    attained = max(found.largest, drift(before, after, drawn.astype(np.float64)).largest)
    flips, pairs, example = _flips(old, new)
    ranks = int((np.argsort(np.argsort(old, kind="stable")) != np.argsort(np.argsort(new, kind="stable"))).sum())
    return Effect(
        over,
        where_patches_act(after, range(kept, len(after.patches))) if local else None,
        _most(edits) if local else None,
        attained,
        found,
        flips,
        pairs,
        ranks,
        example,
        _epic(before, after, rows),
    )


def _rows(spec: Spec, artifact: Artifact) -> tuple[str, Rows]:
    types = [record.type for record in artifact.records]
    if len(types) == 1:
        for name, declared in spec.data.items():
            if [kind for _, kind in declared.members] == [types[0].name]:
                return f"rows of {name}", spec.rows(name).values.astype(np.float32)
    return "records drawn from the domain", random_rows(types, DRAWN, 7)


def _most(edits: Sequence[EditReport]) -> Fraction:
    beyond = [(f.extremum - f.level) * (1 if f.kind == "ceiling" else -1) for e in edits for f in e.patches]
    return max([Fraction(0), *beyond])


def _flips(old: NDArray[np.float64], new: NDArray[np.float64]) -> tuple[int, int, Flip | None]:
    """How many of up to PAIRS pairs of rows turned, of how many; the pair that turned by most."""
    count = len(old)
    if count * (count - 1) // 2 <= PAIRS:
        first, second = np.triu_indices(count, 1)
    else:
        rng = np.random.default_rng(7)
        first, second = rng.integers(count, size=PAIRS), rng.integers(count, size=PAIRS)
    was, now = old[first] - old[second], new[first] - new[second]
    turned = was * now < 0
    if not turned.any():
        return 0, len(first), None
    best = int(np.argmax(np.where(turned, np.minimum(np.abs(was), np.abs(now)), -1.0)))
    i, j = int(first[best]), int(second[best])
    flip = Flip((i + 1, j + 1), (float(old[i]), float(old[j])), (float(new[i]), float(new[j])))
    return int(turned.sum()), len(first), flip


def _epic(before: Artifact, after: Artifact, rows: Rows) -> float | None:
    """None where it is not defined: a reward that is constant on the rows, or that reads more than a state."""
    from rewarden.reward.judging.distances import DistanceOptions, epic
    from rewarden.reward.judging.transitions import roles_of, row_steps
    from rewarden.spec_lang.errors import RewardenError

    try:
        options = DistanceOptions(bootstraps=0)
        steps = row_steps(rows.astype(np.float64), options.count, options.seed)
        found = epic(before, after, roles_of(before), steps, options).value
    except (RewardenError, ValueError, IndexError):
        return None
    return found if np.isfinite(found) else None
