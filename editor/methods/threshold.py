"""A rule that relates two separate regions, mended by a threshold between them.

    R(a) >= R(b) + m   wherever a is in X and b is in Y, whatever else they are

holds iff there is a τ with R >= τ + m on X and R <= τ on Y (take τ = sup of R over Y). So a floor on X and a ceiling on
Y mend it, by construction. Where X and Y meet, R would have to be both: impossible for m > 0. τ is the one that moves
the reward least, summed over records sampled from X and Y, of those that leave room for the other rules: a ceiling that
X meets is at τ + m or above, and a floor that Y meets at τ or below. (The sum is convex in τ, so that the nearest to
its least is the best of these.) Where an earlier patch holds X below it, or Y above, the nearest is taken that leaves
room for both.

The records may share features, as those of `a, b varying mode` do, if others keep X and Y apart: `a.mode == eco and
b.mode == boost`. One τ for all that they share is more than such a rule asks for, but it is what patches can hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from rewarden.editor.anchor import placed
from rewarden.editor.history.stored import all_stored
from rewarden.editor.mend import EditReport
from rewarden.editor.methods.task import Edited, Task
from rewarden.editor.patch import ExtremumBound, PatchFacts, apply_patch
from rewarden.editor.preconditions import meet, possible
from rewarden.editor.region import Bound, polytopes_of
from rewarden.editor.ring import binary32_above, binary32_below
from rewarden.editor.sampling import rows_within
from rewarden.editor.statement import of_several
from rewarden.reward.agreement import random_rows
from rewarden.reward.artifact import Artifact, Edit
from rewarden.reward.deployed import forward
from rewarden.spec_lang.claim import Affine, AffineAtom, Claim
from rewarden.spec_lang.errors import EditError, RewardenError
from rewarden.verifier.snap import one_hot_groups

SAMPLED = 20_000
MOST_TRIED = 32  # levels of earlier patches
ROUNDS = 8  # of data constants that move with the edit
MOST_CASES = 64  # of the premise of records that share features


@dataclass(frozen=True, slots=True)
class Threshold:
    name: str = "threshold"
    guarantee: str = "by construction: the rule between its two regions; beyond their rims, the same bits"

    def edit(self, task: Task) -> Edited:
        child, reports, said = task.artifact, list[EditReport](), dict[str, str]()
        for rule in task.rules:
            upper, lower = separated(task.claim(rule, whole=True), rule, task.target, task.ring)
            margin = upper.level
            child, tau, facts = _fitted(task, child, upper, lower)
            said[f"{rule}.fix"] = (
                f"{task.target} is at least {float(tau + margin)!r} where the better record may be, and at "
            )
            said[f"{rule}.fix"] += f"most {float(tau)!r} where the worse one may be"
            said[f"{rule}.anchor"] = (
                f"{float(tau):.9g} is where {task.target} moves least, over records sampled from the two regions, of "
                f"what other rules leave: it moves with the reward. {placed(task.spec, child, task.target, tau)}"
            )
            reports.append(EditReport(rule, task.target, facts))
        said["locality"] = "beyond the rims of these regions the reward is that of the parent, bit for bit"
        edit = Edit("patch", ", ".join(task.rules), of_several(said, task.rules))
        return Edited(replace(child, parent=task.artifact.digest, edit=edit), tuple(reports))


def _fitted(
    task: Task, artifact: Artifact, upper: Bound, lower: Bound
) -> tuple[Artifact, Fraction, tuple[PatchFacts, ...]]:
    """As `_patched`, at a τ that leaves the other rules room, also with the data constants of what becomes of it: these
    may move with τ, so that each step after them is twice as long."""
    wanted = _within(_best(artifact, upper, lower, upper.level), *_room(task, artifact, upper, lower))
    for number in range(ROUNDS):
        child, tau, facts = _patched(artifact, upper, lower, wanted, task.mender.extremum)
        further = _within(tau, *_room(task, child, upper, lower)) - tau
        if not further:
            break
        wanted = tau + further * 2**number
    return child, tau, facts


def _room(task: Task, artifact: Artifact, upper: Bound, lower: Bound) -> tuple[Fraction | None, Fraction | None]:
    """The least and the greatest τ, where bounds of rules that hold, or are mended with this one, set one."""
    floors, ceilings = list[Fraction](), list[Fraction]()
    held = [rule.rule for rule in task.before.rules if rule.severity == "must" and rule.verdict == "proved"]
    for rule in dict.fromkeys((*held, *task.beside)):
        try:
            bounds = task.bounds(rule, {**task.rewards, task.target: artifact})
        except RewardenError:
            continue  # no bounds of one record in a region
        for bound in bounds:
            if bound.reward != task.target or not bound.polytopes:
                continue
            side, found = (upper, ceilings) if bound.kind == "ceiling" else (lower, floors)
            spare = (1 + abs(bound.level)) / 2**16 if bound.strict or upper.strict else Fraction(0)
            if meet(side.polytopes, bound.polytopes, artifact):  # what is stored of it: a binary32 number
                found.append(
                    binary32_below(bound.level - spare) - upper.level
                    if bound.kind == "ceiling"
                    else binary32_above(bound.level + spare)
                )
    return max(floors, default=None), min(ceilings, default=None)


def _within(tau: Fraction, least: Fraction | None, most: Fraction | None) -> Fraction:
    """The nearest to τ of what there is room for; τ where there is none."""
    if least is not None and most is not None and least > most:
        return tau
    tau = tau if least is None else max(tau, least)
    return tau if most is None else min(tau, most)


def _patched(
    artifact: Artifact, upper: Bound, lower: Bound, best: Fraction, extremum: ExtremumBound
) -> tuple[Artifact, Fraction, tuple[PatchFacts, ...]]:
    """The artifact with a floor and a ceiling at a threshold: at the best one or, where earlier patches leave it no
    room, at the nearest of their levels that has some. Raises EditError (E34, E35) of the best where none has."""
    margin = upper.level
    earlier = all_stored(artifact)
    levels = [p.level if p.kind == "floor" else p.level - margin for p in earlier]
    refused: EditError | None = None
    for tau in [best, *sorted(set(levels), key=lambda level: abs(level - best))[:MOST_TRIED]]:
        child, facts = artifact, tuple[PatchFacts, ...]()
        try:
            for bound in (replace(upper, level=tau + margin), replace(lower, level=tau)):
                child, made = apply_patch(child, bound, extremum)
                facts = (*facts, *made)
        except EditError as error:
            if error.code not in ("E34", "E35"):
                raise
            refused = refused or error
            continue
        return child, tau, facts
    assert refused is not None, "one threshold at least has been tried"
    raise refused


def separated(claim: Claim, rule: str, target: str, ring: Fraction, *, sharing: bool = True) -> tuple[Bound, Bound]:
    """(a floor on X at level m, a ceiling on Y at level 0). Raises EditError E13 for rules of another form, and without
    `sharing` for records that share features."""
    records = {record.name: record.variables for record in claim.records}
    goal = claim.goals[0][0] if len(claim.goals) == 1 and len(claim.goals[0]) == 1 else None
    if len(records) != 2 or len(claim.calls) != 2 or goal is None or goal.affine.variables:
        raise _other(rule)
    if {call.reward for call in claim.calls} != {target} or claim.instances is not None:
        raise _other(rule)
    (i, x), (j, y) = goal.affine.calls
    if x + y != 0:
        raise _other(rule)
    better, worse = (i, j) if x > 0 else (j, i)
    scale = abs(x)
    owners = [_owner(claim, k) for k in (better, worse)]
    shared = set(owners[0]) & set(owners[1])
    margin = -goal.affine.constant / scale
    found = []
    for kind, variables in (("floor", owners[0]), ("ceiling", owners[1])):
        clauses = []
        for clause in claim.clauses:
            used = {v for atom in clause for v, _ in atom.affine.variables}
            if any(atom.affine.calls for atom in clause) or all(used & (set(own) - shared) for own in owners):
                raise _coupled(f"a condition of {rule} relates its two records")
            if used and used <= set(variables):
                clauses.append(tuple(_moved(atom, variables) for atom in clause))
        box = tuple(claim.boxes[0][v] for v in variables)
        discrete = [claim.variables[v].discrete for v in variables]
        polytopes = polytopes_of(clauses, box, discrete, ring, rule)
        level = margin if kind == "floor" else Fraction(0)
        found.append(Bound(rule, target, kind, level, goal.strict, polytopes))  # type: ignore[arg-type]
    if shared and not (sharing and _apart(claim, owners)):
        raise _coupled(f"the records of {rule} share features, and one record may be both of them")
    return found[0], found[1]


def _apart(claim: Claim, owners: Sequence[tuple[int, ...]]) -> bool:
    """Whether no record can be the better one of some pair and the worse one of some other, by what the premise says of
    single records."""
    box = tuple(claim.boxes[0][v] for v in owners[0])
    discrete = [claim.variables[v].discrete for v in owners[0]]
    clauses = [
        [_moved(atom, own) for atom in clause]
        for own in owners
        for clause in claim.clauses
        if all(v in own for atom in clause for v, _ in atom.affine.variables)
    ]
    if prod(map(len, clauses)) > MOST_CASES:
        return False
    return not any(possible((*_cases(claim, owners[0]), *choice), box, discrete) for choice in product(*clauses))


def _cases(claim: Claim, own: tuple[int, ...]) -> Iterator[AffineAtom]:
    """Of the columns of an enum just one is 1."""
    for group in one_hot_groups(claim):
        if set(group) <= set(own):
            for sign in (1, -1):
                ones = tuple((own.index(v), Fraction(sign)) for v in group)
                yield AffineAtom(Affine(Fraction(-sign), ones, ()), strict=False)


def _coupled(why: str) -> EditError:
    return EditError(
        "E13",
        f"{why}: they are coupled, and no threshold separates them",
        help="use --method tuning, or learn the reward with this rule as a penalty",
    )


def _owner(claim: Claim, call: int) -> tuple[int, ...]:
    """The variables of the record that a call is about, in the order of its columns."""
    found = []
    for argument in claim.calls[call].arguments:
        if argument.constant or argument.calls or [c for _, c in argument.variables] != [Fraction(1)]:
            raise EditError("E04", "the rule asks for the reward at a changed record: patch the record itself")
        found.append(argument.variables[0][0])
    return tuple(found)


def _moved(atom: AffineAtom, variables: tuple[int, ...]) -> AffineAtom:
    place = {v: k for k, v in enumerate(variables)}
    moved = tuple(sorted((place[v], c) for v, c in atom.affine.variables))
    return AffineAtom(Affine(atom.affine.constant, moved, ()), atom.strict)


def _other(rule: str) -> EditError:
    return EditError(
        "E13", f"rule {rule} does not say R(a) >= R(b) + m of two separate records", help="use --method tuning"
    )


# ── where to put the threshold ─────────────────────────────────────────────────────────────────
def _best(artifact: Artifact, upper: Bound, lower: Bound, margin: Fraction) -> Fraction:
    """Minimises Σ_X max(0, τ + m − r) + Σ_Y max(0, r − τ) over sampled records: convex, so a quantile of its kinks."""
    names = [record.type for record in artifact.records]
    found = []
    for polytopes, shift in ((upper.polytopes, float(margin)), (lower.polytopes, 0.0)):
        rows = rows_within(artifact, polytopes, SAMPLED, 0)
        found.append(forward(artifact, rows).astype(np.float64) - shift)
    if not len(found[0]) and not len(found[1]):
        return Fraction(float(np.median(forward(artifact, random_rows(names, SAMPLED, 0))))).limit_denominator(2**20)
    return level_between(found[0], found[1])


def level_between(above: NDArray[np.float64], below: NDArray[np.float64]) -> Fraction:
    """The τ that minimises Σ max(0, τ − above) + Σ max(0, below − τ): convex, so one of its kinks."""
    kinks = np.sort(np.concatenate([above, below]))
    slopes = np.searchsorted(np.sort(above), kinks, side="right") - (
        len(below) - np.searchsorted(np.sort(below), kinks, side="right")
    )
    best = kinks[int(np.argmax(slopes >= 0)) if (slopes >= 0).any() else len(kinks) - 1]
    return Fraction(float(best))
