"""A rule that relates two records of one reward that move together, mended by a slope.

    R(a) >= R(b) + m    where a and b differ in columns V alone, and the premise (or the rule's own update) says in
                        which of them b is the larger one, and in which the smaller

holds for m <= 0 if the reward falls along each of these directions: s_j·∂R/∂x_j <= 0 for j in V, s_j = ±1. A certified
bound σ_j of s_j·∂R/∂x_j over a box that holds both records says how much is missing, and what is subtracted is

    p(x) = Σ_j max(0, σ_j)·(s_j·x_j − its least value in that box),

which is linear, and at least 0 in the box: in full where b may be, fading across the rim (`editor/correction.py`). At
a, which may lie beyond, no more than p(a) is subtracted, so that R'(a) − R'(b) >= R(a) − R(b) + p(b) − p(a) >= 0. Less
is taken where verification soon shows that less will do; of all of it the edited reward's certified slopes show that it
holds (`verifier/falling.py`), so a little more is taken than they say.

Where b − a is one known step h, no slope has to be known: what is missing is the greatest R(b) − R(a) + m, which may be
above 0 for m > 0 too, and a slope of that much a step closes it. It is sought from below, by records that still break
the rule, and the certified slopes, with m a step on top, are the most that is ever taken. A ward, a mode or a flag is
such a step: of its columns one falls from 1 to 0, and another rises.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from rewarden.editor.beyond import BEYOND, beyond_all
from rewarden.editor.correction import Workshop
from rewarden.editor.history.stored import all_stored, relaid
from rewarden.editor.mend import EditReport
from rewarden.editor.methods.pairs import Coupled, coupled
from rewarden.editor.methods.task import Edited, Task
from rewarden.editor.patch import Box, closed_box
from rewarden.editor.reach import Reach
from rewarden.editor.ring import binary32_above
from rewarden.editor.sampling import rows_within
from rewarden.editor.statement import of_several, with_rims
from rewarden.reward.agreement import random_rows
from rewarden.reward.artifact import Artifact, Edit
from rewarden.reward.deployed import forward
from rewarden.spec_lang.boxes import hull
from rewarden.spec_lang.claim import Affine
from rewarden.spec_lang.errors import EditError
from rewarden.spec_lang.features import Column
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.falling import falls
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.verdict import RuleResult

SPARE = Fraction(1, 50)  # of the slope, so that the edited reward's own certified slopes are on the right side of 0
TRIED = VerifyOptions(budget=600, falsify_budget=4_000)  # for less than all of it
SHARES = (Fraction(1, 4), Fraction(1, 2))  # of the certified slope, in the order in which they are tried
SAMPLED = 20_000
STEPS = 8  # amounts that are tried for a known step
MORE = Fraction(5, 4)  # times as much, where nothing was proved and nothing found

Slopes = dict[int, Fraction]  # by column
Made = tuple[Edited, Slopes]


def _any(artifact: Artifact) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Slope:
    """`worth` says of an edited reward whether it is worth a proof: where it is not, neither is a larger share."""

    worth: Callable[[Artifact], bool] = _any
    name: str = "slope"
    guarantee: str = "verified: less a known linear amount, at most a certified slope's; beyond the rim, the same bits"

    def edit(self, task: Task) -> Edited:
        child, said, now = task.artifact, dict[str, str](), task
        reports = []
        for rule in task.rules:
            found = coupled(task.claim(rule, whole=True), rule, task.target, task.ring)
            done, text = self._mended(child, rule, found, now)
            child, now = done.artifact, now.after(done)
            said |= {f"{rule}.{key}": value for key, value in text.items()}
            reports.append(EditReport(rule, task.target, ()))
        edit = Edit("slope", ", ".join(task.rules), of_several(said, task.rules))
        child = replace(child, parent=task.artifact.digest, edit=edit)
        return Edited(child, tuple(reports), extremum=now.mender.extremum)

    def _mended(self, artifact: Artifact, rule: str, found: Coupled, task: Task) -> tuple[Edited, dict[str, str]]:
        known = found.shifts.keys() == found.signs.keys()
        try:
            most = _most(certified_slopes(artifact, found), found)
        except EditError:
            if not known:
                raise
            most = None
        if most is not None and not any(most.values()):
            raise EditError("E17", f"the reward has the slopes that {rule} asks for already", help="raise --budget")
        if known:
            made = self._by_counterexamples(rule, found, task, most)
        else:
            made = self._by_shares(rule, found, task, most or {})
        if made is None and most is None:
            raise EditError("E17", f"no step of {STEPS} that were tried for {rule} was proved", help="raise --budget")
        if made is None:
            assert most is not None
            made = self._tried(rule, found, task, most), most
            after = task.after(made[0])
            holds = falls(after.claim(rule), after.rewards)
            if not holds and task.mender.verify(after.rewards, [rule])[rule].verdict != "proved":
                raise EditError("E17", f"less the certified slope, {rule} is still not proved", help="raise --budget")
        done, taken = made
        return done, with_rims(_statement(artifact, rule, taken, found), done.artifact, artifact)

    def _tried(self, rule: str, found: Coupled, task: Task, taken: Slopes) -> Edited:
        done = _tilted(task.artifact, taken, found, task)
        if not self.worth(done.artifact):
            raise EditError("E17", f"a slope for {rule} moves the reward more than is asked for")
        return done

    def _by_shares(self, rule: str, found: Coupled, task: Task, most: Slopes) -> Made | None:
        """Parts of the most; None where little work proves none of them: no more of it is worth that."""
        for share in SHARES:
            taken = {j: binary32_above(share * c) for j, c in most.items()}
            done = self._tried(rule, found, task, taken)
            if _soon(task.after(done), rule).verdict == "proved":
                return done, taken
        return None

    def _by_counterexamples(self, rule: str, found: Coupled, task: Task, most: Slopes | None) -> Made | None:
        """As much a step as closes what was found to be missing; None where that is the most, or is not proved."""
        column = max(found.shifts, key=lambda j: abs(found.shifts[j]) / (found.box[j][1] - found.box[j][0]))
        step, amount = abs(found.shifts[column]), missing(task.artifact, found)
        witness = task.before[rule].witness
        if witness is not None:
            amount = max(amount, witness.violation)
        for _ in range(STEPS):
            amount *= 1 + SPARE
            if amount <= 0 or (most is not None and amount >= sum(c * abs(found.shifts[j]) for j, c in most.items())):
                return None
            taken = dict.fromkeys(found.signs, Fraction(0)) | {column: binary32_above(amount / step)}
            done = self._tried(rule, found, task, taken)
            result = _soon(task.after(done), rule)
            if result.verdict == "proved":
                return done, taken
            amount = amount * MORE if result.witness is None else amount + result.witness.violation
        return None


def missing(artifact: Artifact, found: Coupled) -> Fraction:
    """The greatest R(b) − R(a) + m met with, over sampled pairs that are the known step apart; −1 if none are."""
    rows = rows_within(artifact, found.polytopes, SAMPLED, 0)
    if not found.polytopes:
        rows = random_rows([record.type for record in artifact.records], SAMPLED, 0)
    better = rows.astype(np.float64)
    for j, shift in found.shifts.items():
        better[:, j] -= float(shift)
    ends = np.array([(float(column.lo), float(column.hi)) for column in artifact.columns])
    inside = ((better >= ends[:, 0]) & (better <= ends[:, 1])).all(axis=1)
    if not inside.any():
        return Fraction(-1)
    low, high = (forward(artifact, side[inside].astype(np.float32)) for side in (better, rows))
    return Fraction(float((high.astype(np.float64) - low).max())) - found.slack


def _most(steep: Slopes, found: Coupled) -> Slopes:
    """What is certain to do: a little more than the certified slopes, and for m > 0 as much a step."""
    most = {j: c * (1 + SPARE) for j, c in steep.items()}
    if found.slack < 0:
        column = next(j for j, shift in found.shifts.items() if shift)
        most[column] += -found.slack * (1 + SPARE) / abs(found.shifts[column])
    return {j: binary32_above(c) for j, c in most.items()}


def _soon(task: Task, rule: str) -> RuleResult:
    """What little work says."""
    return verify_claim(task.claim(rule), task.rewards, TRIED)


def certified_slopes(artifact: Artifact, found: Coupled) -> Slopes:
    """By column, at least max(0, s·∂R/∂x) anywhere in the box. EditError E17 where slopes cannot be certified."""
    from rewarden.verifier.ranges.domain import Region
    from rewarden.verifier.ranges.sensitivity import steepest

    region = Region(found.box, "where both records may be")
    steep = steepest(artifact.with_patches(()), region, found.signs)
    if isinstance(steep, str):
        raise EditError("E17", f"no slope of the reward can be certified: {steep}")
    return {column: max(Fraction(0), Fraction(steep[column])) for column in found.signs}


def _tilted(artifact: Artifact, taken: Slopes, found: Coupled, task: Task) -> Edited:
    shop, bare = Workshop(artifact.width), artifact.with_patches(())
    reward = shop.reward(bare)
    least = {j: found.box[j][0] if s > 0 else -found.box[j][1] for j, s in found.signs.items()}
    least = {j: low - max(map(abs, found.box[j])) / 2**20 for j, low in least.items()}  # rounding leaves p >= 0
    rows = tuple((j, found.signs[j] * c) for j, c in taken.items() if c)
    amount = shop.affine([Affine(-sum((taken[j] * least[j] for j in taken), Fraction(0)), rows)], [])
    cap = sum((c * (_end(found, j) - least[j]) for j, c in taken.items()), Fraction(0))
    faded, _ = shop.faded(amount, cap * (1 + Fraction(1, 2**16)), found.polytopes)
    child, extremum = shop.finish(shop.moved(reward, faded, Fraction(-1)), bare), task.mender.extremum
    if isinstance(extremum, Reach) and extremum.knows(bare):
        extremum = Reach(extremum, child, bare, _around(bare, found), {}, cap * (1 + Fraction(1, 2**12)))
    around = [closed_box(polytope) for polytope in found.polytopes]
    child = relaid(child, all_stored(artifact), extremum, around, lowered=True)
    return Edited(child, (), extremum=extremum)


def _around(artifact: Artifact, found: Coupled) -> Box:
    """A box of all records that are tilted."""
    whole = tuple((column.lo, column.hi) for column in artifact.columns)
    return hull([closed_box(polytope) for polytope in found.polytopes]) if found.polytopes else whole


def _end(found: Coupled, column: int) -> Fraction:
    """The greatest s·x in the box that holds both records."""
    lo, hi = found.box[column]
    return hi if found.signs[column] > 0 else -lo


def _statement(artifact: Artifact, rule: str, taken: Slopes, found: Coupled) -> dict[str, str]:
    amounts = ", ".join(_amount(artifact.columns[j], found.signs[j], c) for j, c in taken.items() if c)
    where = (
        "beyond the ring (some atom of the region fails by the ring's width, or a discrete one fails) the reward is "
        "that of the parent, bit for bit"
        if found.polytopes
        else "none: the rule speaks of all records, and the reward changes by that amount everywhere"
    )
    return {
        "fix": f"the reward beneath patches is less by {amounts}, wherever the worse record of {rule} may be; verified",
        "locality": where,
        BEYOND: beyond_all(artifact.records, found.polytopes),
        "continuity": "the edited reward is continuous wherever the parent is",
    }


def _amount(column: Column, sign: int, slope: Fraction) -> str:
    """Of a case or a flag, whose columns are 0 or 1, all of it: where it is, or is not, what the worse record is."""
    if column.discrete and column.lo == 0 and column.hi == 1:
        return f"{float(slope)!r} where {'' if sign > 0 else 'not '}{column.name}"
    return f"{float(slope)!r} a unit of {column.name}"
