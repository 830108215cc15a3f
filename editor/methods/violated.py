"""A min/max patch only where the rule was not proved: the parts of its region that branch and bound leaves violated or
open, as boxes, joined.

The boxes cover all of the region that is not proved, so that the rule holds afterwards: in the boxes by the patch,
elsewhere by the proof, since a ceiling raises nothing anywhere. (A box without volume is a face of its neighbours,
which are closed.) Within the region, states that satisfied the rule keep their reward under either method, since min
changes nothing at or below the level; what is gained is the rim, which lies only around the boxes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from rewarden.editor.mend import EditReport
from rewarden.editor.methods.task import Edited, Task
from rewarden.editor.patch import apply_patch
from rewarden.editor.region import Bound, Polytope, Row, discrete_row
from rewarden.editor.statement import of_several
from rewarden.reward.artifact import Edit
from rewarden.spec_lang.claim import Claim
from rewarden.spec_lang.errors import EditError
from rewarden.verifier.coverage.search import cover
from rewarden.verifier.inline import compile_program
from rewarden.verifier.regions import Frame, Region, Side

BUDGETS = (8, 32, 128, 512, 2048)  # boxes of branch and bound; the largest is taken whose boxes are few enough
MOST_BOXES = 8  # each is a patch: layers of the reward, that every later verification bounds


@dataclass(frozen=True, slots=True)
class Violated:
    name: str = "violated"
    guarantee: str = (
        "proved where it is patched and where it was proved before; beyond the rims of those boxes, the same bits"
    )

    def edit(self, task: Task) -> Edited:
        child, reports, said = task.artifact, list[EditReport](), dict[str, str]()
        for rule in task.rules:
            now = {**task.rewards, task.target: child}
            bounds, claim = task.bounds(rule, now), task.claim(rule, now)
            found = [
                bound
                for goal, whole in zip(claim.goals, bounds, strict=True)
                if (bound := self.narrowed(whole, replace(claim, goals=(goal,)), task)) is not None
            ]
            for bound in found:
                name = f"{rule}.{bound.kind}" if len(bounds) > 1 else rule
                child, facts = apply_patch(child, bound, task.mender.extremum)
                assert child.edit is not None
                said |= {f"{name}.{key}": text for key, text in child.edit.statement.items() if key != "fix"}
                relation, level = "at most" if bound.kind == "ceiling" else "at least", float(facts[0].level)
                said[f"{name}.fix"] = (
                    f"{bound.reward} is {relation} {level!r} in the {len(bound.polytopes)} boxes in which {rule} was "
                    "not proved, over the reals and as deployed in binary32"
                )
                said[f"{name}.elsewhere"] = (  # apart: of another reward below, after a revert or merge, nobody knows
                    f"in the rest of its region {rule} was proved of the reward that this was laid on"
                )
                reports.append(EditReport(rule, task.target, facts))
            if not found:
                raise EditError("E05", f"where {rule} fails cannot be told", help="use --method region")
        edit = Edit("patch", ", ".join(task.rules), of_several(said, task.rules))
        return Edited(replace(child, parent=task.artifact.digest, edit=edit), tuple(reports))

    def narrowed(self, bound: Bound, claim: Claim, task: Task) -> Bound | None:
        """The bound on boxes within its region alone; None where it holds everywhere."""
        frame = Frame.of(claim, task.spec.features)
        program = compile_program(claim, {name: task.rewards[name] for name, _ in claim.rewards})
        best: tuple[Polytope, ...] | None = None
        for budget in BUDGETS:
            found = cover(program, frame, budget, lambda: False)
            if found is None:
                break
            parts = [region.merged() for status, region in found.parts.items() if status in ("violated", "unsettled")]
            polytopes = tuple(_polytopes(bound, parts, claim, task.ring))
            if len(polytopes) > MOST_BOXES * len(bound.polytopes):
                break
            best = polytopes
        if best is None:
            raise EditError(
                "E05", f"where {bound.rule} fails cannot be told in {MOST_BOXES} boxes", help="use --method region"
            )
        return replace(bound, polytopes=best) if best else None


def _polytopes(bound: Bound, parts: list[Region], claim: Claim, ring: Fraction) -> Iterator[Polytope]:
    """Each box cut with each polytope of the rule's own region: nothing outside of that is patched."""
    for region in parts:
        for k in range(len(region)):
            rows = tuple(_rows(region.frame, region.sides(k), claim, ring))
            for polytope in bound.polytopes:
                yield replace(polytope, rows=tuple(dict.fromkeys((*polytope.rows, *rows))))


def _rows(frame: Frame, sides: tuple[Side | int, ...], claim: Claim, ring: Fraction) -> Iterator[Row]:
    """The conditions of a box, without those that the declared ranges make true anyway."""
    width = len(claim.variables)
    for dimension, side, whole in zip(frame.dimensions, sides, frame.bases[0], strict=True):
        if isinstance(side, int):
            assert isinstance(whole, int)
            if side == whole:
                continue
            coefficients = [Fraction(0)] * width
            if dimension.kind == "bool":  # one of its two values
                true = side == 2
                coefficients[dimension.variables[0]] = Fraction(1 if true else -1)
                yield discrete_row(coefficients, Fraction(-1 if true else 0), strict=False)
                continue
            for bit, variable in enumerate(dimension.variables):
                coefficients[variable] = Fraction(side >> bit & 1)
            yield discrete_row(coefficients, Fraction(-1), strict=False)
            continue
        assert not isinstance(whole, int)
        (lo, hi), (least, most) = side, whole
        variable, real = dimension.variables[0], dimension.kind == "real"
        for edge, inside, sign in ((hi if real else hi - 1, hi < most, 1), (lo, lo > least, -1)):
            if not inside:
                continue
            coefficients = [Fraction(0)] * width
            if real:
                low, high = claim.boxes[0][variable]
                span = ring * (high - low)
                coefficients[variable] = sign / span
                yield Row(tuple(coefficients), sign * edge / span)
            else:
                coefficients[variable] = Fraction(-sign)
                yield discrete_row(coefficients, sign * edge, strict=False)
