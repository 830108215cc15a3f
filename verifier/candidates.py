"""Points of boxes that resist proof: where a violation is likeliest, judged in floats first and then exactly."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor

from rewarden.spec_lang.claim import Box, Claim
from rewarden.verifier.box_minimum import Boxes
from rewarden.verifier.deployed_program import DeployedProgram, judge_of
from rewarden.verifier.float_program import FloatProgram, atoms_of
from rewarden.verifier.program import Program

WORST = 32  # boxes of a batch whose points are tried
EXACT = 4  # points of a batch that are judged exactly, at most


class Candidates:
    """Tries corners and centres of the worst boxes of a batch."""

    def __init__(self, program: Program, goal: int) -> None:
        claim = program.claim
        self.program = FloatProgram(program)
        self.exact = judge_of(program)
        self.goal = goal
        self.clauses = atoms_of(claim, claim.clauses)
        self.goals = atoms_of(claim, (claim.goals[goal],))
        self.discrete = torch.tensor([v.discrete for v in claim.variables], dtype=torch.bool)

    def corners(self, boxes: Boxes, slope: Tensor) -> Tensor:
        """Where the lower-bounding function is least."""
        return torch.where(slope > 0, boxes.lo, boxes.hi)

    def clause_margins(self, points: Tensor) -> Tensor:
        """[point, clause]: the best atom's margin in floats."""
        return self.clauses.best(self.clauses.margins(points, self.program.calls(points)))

    def suspicious(self, boxes: Boxes, slope: Tensor) -> Tensor:
        """Points [n, variable] at which floats see the premise true and the goal false, the worst first."""
        centre = boxes.lo + (boxes.hi - boxes.lo) / 2
        centre = torch.where(self.discrete, torch.floor(centre), centre)
        points = torch.cat((self.corners(boxes, slope), centre))
        calls = self.program.calls(points)
        premise = self.clauses.best(self.clauses.margins(points, calls))
        goal = self.goals.best(self.goals.margins(points, calls))[:, 0]
        wrong = (premise >= 0).all(-1) & (goal <= 0) & (points >= boxes.lo.amin(0)).all(-1)
        order = torch.where(wrong, goal, torch.inf).argsort()
        return points[order[: int(wrong.sum())]][:EXACT]

    def violates(self, claim: Claim, box: Box, point: Tensor) -> tuple[Fraction, ...] | None:
        """The point, moved into the exact box, if the claim's goal is exactly false there."""
        exact = tuple(min(max(Fraction(x), lo), hi) for x, (lo, hi) in zip(point.tolist(), box, strict=True))
        if any(v.discrete and x.denominator != 1 for v, x in zip(claim.variables, exact, strict=True)):
            return None
        if isinstance(self.exact, DeployedProgram):
            record = self.exact.record(exact)
            if record is None:
                return None
            exact = record
        evaluation = self.exact.evaluate(exact)
        if evaluation is None:  # not finite: that ends the matter too
            return exact
        if evaluation.premise_holds(claim) and self.goal in evaluation.failing_goals(claim):
            return exact
        return None
