"""A program at a point as it is deployed: one legal execution in binary32, judged by the rule's own exact arithmetic.

It reads records of binary32 numbers. A variable that its box fixes to one number (a row of the data) is that number,
and one that stands for a data constant has the constant's deployed value.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.reward.encode import float32_range
from rewarden.spec_lang.claim import Affine
from rewarden.verifier.exact_program import Evaluation, ExactProgram, Point, box_of
from rewarden.verifier.executed import is_binary32, neighbours
from rewarden.verifier.inline import nearest
from rewarden.verifier.program import Executed, Program

Array = NDArray[np.float64]


class DeployedProgram:
    """`program` (float32 semantics), prepared once for the deployed pass at many points."""

    def __init__(self, program: Program) -> None:
        assert program.executed is not None
        self.program = program
        self.executed: Executed = program.executed
        self.exact = ExactProgram(program)
        self._ranges = [_ranges(self.executed.artifacts[call.reward]) for call in program.claim.calls]

    def record(self, point: Sequence[Fraction]) -> Point | None:
        """The point's nearest records of binary32 numbers in a box of the claim; None if there are none so near."""
        claim = self.program.claim
        fixed = [self.executed.constants.get(i, x) for i, x in enumerate(point)]
        index = box_of(claim, fixed)
        if index is None:
            return None
        found = [
            x if i in self.executed.constants else _binary32_in(x, claim.boxes[index][i]) for i, x in enumerate(fixed)
        ]
        return None if any(x is None for x in found) else tuple(x for x in found if x is not None)

    def evaluate(self, point: Sequence[Fraction]) -> Evaluation | None:
        """The calls' deployed values at a `record`; None where one of them is infinite or not a number."""
        values = []
        for call, (least, most) in zip(self.program.claim.calls, self._ranges, strict=True):
            columns = np.array([[_nearest(_at(row, point)) for row in call.arguments]], dtype=np.float32)
            columns = np.clip(columns, least, most)
            values.append(float(forward(self.executed.artifacts[call.reward], columns)[0]))
        if not np.isfinite(values).all():
            return None
        return Evaluation(tuple(point), tuple(Fraction(v) for v in values))

    def calls(self, points: Array) -> Array:
        """[n, call] at points [n, variable]: where to look. Arguments that are no variables are rounded in passing."""
        columns = []
        for call, (least, most) in zip(self.program.claim.calls, self._ranges, strict=True):
            arguments = np.empty((len(points), len(call.arguments)))
            for j, row in enumerate(call.arguments):
                arguments[:, j] = nearest(row.constant) + sum(nearest(c) * points[:, i] for i, c in row.variables)
            with np.errstate(over="ignore"):
                near = np.clip(arguments.astype(np.float32), least, most)
            columns.append(forward(self.executed.artifacts[call.reward], near).astype(np.float64))
        return np.stack(columns, axis=1) if columns else np.zeros((len(points), 0))


Judge = ExactProgram | DeployedProgram


def judge_of(program: Program) -> Judge:
    """What is true of a program at a point: over the reals, or as deployed."""
    return ExactProgram(program) if program.executed is None else DeployedProgram(program)


def encoded(artifact: Artifact, rows: Array) -> NDArray[np.float32]:
    """Rows as the deployed reward reads them: the nearest binary32 numbers, in range."""
    with np.errstate(over="ignore"):
        near: NDArray[np.float32] = np.clip(rows.astype(np.float32), *_ranges(artifact))
    return near


def _ranges(artifact: Artifact) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The least and the greatest binary32 number that encoding gives, per column."""
    ends = [float32_range(column.lo, column.hi) for column in artifact.columns]
    # Where a range holds no binary32 number at all, what is in it goes to the nearest one.
    usable = [(lo, hi) if lo <= hi else (np.float32(-np.inf), np.float32(np.inf)) for lo, hi in ends]
    return np.array([lo for lo, _ in usable], dtype=np.float32), np.array([hi for _, hi in usable], dtype=np.float32)


def _binary32_in(value: Fraction, bounds: tuple[Fraction, Fraction]) -> Fraction | None:
    lo, hi = bounds
    if lo == hi or is_binary32(value):
        return value
    around = [Fraction(float(x)) for x in neighbours(value) if np.isfinite(x)]
    inside = [x for x in around if lo <= x <= hi]
    return min(inside, key=lambda x: abs(x - value)) if inside else None


def _at(row: Affine, point: Sequence[Fraction]) -> Fraction:
    return sum((c * point[i] for i, c in row.variables), row.constant)


def _nearest(value: Fraction) -> np.float32:
    below, above = neighbours(value)
    if not np.isfinite(above):
        return below
    return below if value - Fraction(float(below)) <= Fraction(float(above)) - value else above
