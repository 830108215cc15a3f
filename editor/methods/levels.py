"""A rule about differences of several rewards of one record, mended by levels that keep them apart.

Where the rule asks for R(s) > S(s), or for one of several such comparisons, in a region, it holds there if some level τ
has S < τ on the region and R > τ: a ceiling on each reward that is to be the lower one, a floor on each that is to be
the higher. Both push towards the rule, also in the rims and where regions of several rules meet, and each patch has its
own theorem (`editor/patch.py`), so that the rule holds by construction and nothing moves beyond the rim.

Of the alternatives of each comparison the one is taken, and of all τ the one, that moves the rewards least, summed over
records sampled from the region. Records whose rewards lie on their sides of τ keep them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product

import numpy as np
from numpy.typing import NDArray

from rewarden.editor.mend import EditReport
from rewarden.editor.methods.task import Edited, Task
from rewarden.editor.methods.threshold import level_between
from rewarden.editor.patch import apply_patch
from rewarden.editor.region import Bound, Polytope, polytopes_of
from rewarden.editor.sampling import rows_within
from rewarden.editor.statement import of_several
from rewarden.reward.artifact import Artifact, Edit
from rewarden.reward.deployed import forward
from rewarden.spec_lang.claim import AffineAtom, Claim
from rewarden.spec_lang.errors import EditError

SAMPLED = 20_000
MOST_CHOICES = 256
GAP = Fraction(1, 2**16)  # between the two sides, as a share of the rewards' spread over the region


@dataclass(frozen=True, slots=True)
class Comparison:
    """`higher` >= `lower` + `margin` (> if strict): rewards by name."""

    higher: str
    lower: str
    margin: Fraction
    strict: bool


@dataclass(frozen=True, slots=True)
class Sides:
    """What is to lie above a level (plus a margin), and what below it."""

    highs: Mapping[str, Fraction]
    lows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Levels:
    name: str = "levels"
    guarantee: str = (
        "by construction, exactly and as deployed: the rewards on their sides of a level; beyond the rim, the same bits"
    )

    def edit(self, task: Task) -> Edited:
        now = dict(task.rewards)
        reports, said = list[EditReport](), dict[str, dict[str, str]]()
        for rule in task.rules:
            claim = task.claim(rule, now, whole=True)
            bounds = self._bounds(claim, rule, now, task)
            for bound in bounds:
                child, facts = apply_patch(now[bound.reward], bound, task.mender.extremum)
                now[bound.reward] = child
                reports.append(EditReport(rule, bound.reward, facts))
                side = "below" if bound.kind == "ceiling" else "above"
                said.setdefault(bound.reward, {})[f"{rule}.fix"] = (
                    f"{bound.reward} is {side} {float(facts[0].level)!r} wherever the premise of {rule} holds, and "
                    "what it is compared with lies on the other side, over the reals and as deployed in binary32"
                )
            tau = f"{float(bounds[0].level):.9g} is where the rewards move least, over records sampled from the region"
            for name in {bound.reward for bound in bounds}:
                said[name][f"{rule}.anchor"] = f"{tau}: it moves with them"
        children = {}
        for name, text in said.items():
            text["locality"] = "beyond the rims of these regions the reward is that of the parent, bit for bit"
            text["continuity"] = "the patched reward is continuous wherever the parent is"
            made = list(dict.fromkeys(report.rule for report in reports if report.reward == name))
            edit = Edit("patch", ", ".join(made), of_several(text, made))
            children[name] = replace(now[name], parent=task.rewards[name].digest, edit=edit)
        first = task.target if task.target in children else next(iter(children))
        return Edited(children.pop(first), tuple(reports), others=children, reward=first)

    @staticmethod
    def _bounds(claim: Claim, rule: str, rewards: Mapping[str, Artifact], task: Task) -> list[Bound]:
        goals, polytopes = compared(claim, rule, task.ring)
        rows = rows_within(rewards[claim.calls[0].reward], polytopes, SAMPLED, 0)
        values = {call.reward: forward(rewards[call.reward], rows).astype(np.float64) for call in claim.calls}
        tau, sides = _least(goals, values, rule)
        spread = max(float(np.concatenate(list(values.values())).std()), 1e-6)
        gap = Fraction(spread) * GAP
        ceilings = [Bound(rule, name, "ceiling", tau - gap, True, polytopes) for name in sides.lows]
        floors = [Bound(rule, name, "floor", tau + m + gap, True, polytopes) for name, m in sides.highs.items()]
        return [*ceilings, *floors]


def compared(claim: Claim, rule: str, ring: Fraction) -> tuple[list[tuple[Comparison, ...]], tuple[Polytope, ...]]:
    """The comparisons of a rule about several rewards of one record: all of these, in each one of several; and the
    region. Raises EditError (E13) for rules of another form, and as `polytopes_of`."""
    if len(claim.records) != 1 or claim.instances is not None:
        raise _other(rule)
    identity = [((index, Fraction(1)),) for index in range(len(claim.variables))]
    for call in claim.calls:
        if [a.variables for a in call.arguments] != identity or any(a.constant for a in call.arguments):
            raise _other(rule)
    goals = [tuple(_comparison(atom, claim, rule) for atom in goal) for goal in claim.goals]
    polytopes = polytopes_of(claim.clauses, claim.boxes[0], [v.discrete for v in claim.variables], ring, rule)
    if not all(polytope.rows for polytope in polytopes):
        raise EditError(
            "E12",
            f"rule {rule} compares rewards everywhere: there is no region to patch, and no outside to leave alone",
            help="give the rule a premise, or take --method tuning for one of the rewards",
        )
    return goals, polytopes


def _comparison(atom: AffineAtom, claim: Claim, rule: str) -> Comparison:
    weights = atom.affine.calls
    if len(weights) != 2 or atom.affine.variables or weights[0][1] + weights[1][1] != 0:
        raise _other(rule)
    (i, x), (j, _) = weights
    higher, lower = (i, j) if x > 0 else (j, i)
    names = claim.calls[higher].reward, claim.calls[lower].reward
    return Comparison(*names, -atom.affine.constant / abs(x), atom.strict)


def _least(
    goals: Sequence[tuple[Comparison, ...]], values: Mapping[str, NDArray[np.float64]], rule: str
) -> tuple[Fraction, Sides]:
    """The level and the sides that move the values least. EditError E13 where a reward would be on both sides."""
    choices = int(np.prod([len(goal) for goal in goals], dtype=np.float64))
    if choices > MOST_CHOICES:
        raise EditError("E05", f"{rule} can hold in {choices} ways, at most {MOST_CHOICES} are weighed")
    best: tuple[float, Fraction, Sides] | None = None
    for chosen in product(*goals):
        highs: dict[str, Fraction] = {}
        for one in chosen:
            highs[one.higher] = max(highs.get(one.higher, one.margin), one.margin)
        lows = tuple(dict.fromkeys(one.lower for one in chosen))
        if set(highs) & set(lows):
            continue
        above = np.concatenate([values[name] - float(margin) for name, margin in highs.items()])
        below = np.concatenate([values[name] for name in lows])
        tau = level_between(above, below)
        cost = float(np.maximum(0.0, float(tau) - above).sum() + np.maximum(0.0, below - float(tau)).sum())
        if best is None or cost < best[0]:
            best = cost, tau, Sides(highs, lows)
    if best is None:
        raise EditError(
            "E13", f"{rule} puts a reward both above and below others: one level does not keep them apart",
            help="name fewer rules with --rule, or take --method tuning for one of the rewards",
        )  # fmt: skip
    return best[1], best[2]


def _other(rule: str) -> EditError:
    return EditError("E13", f"rule {rule} does not compare several rewards of one record", help="use --method tuning")
