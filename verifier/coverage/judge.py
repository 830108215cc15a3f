"""What holds at every point of a box: atoms of the premise and of the goals, true, false or neither.

Atoms over variables alone are judged in floats where they are clear and in fractions where they are close, so that an
edge of the premise is an edge of a part. Atoms that call rewards are bounded from both sides, in one sweep of the
network: the lower bound of −f is the upper bound of f. The facts of the premise may sharpen the bounds of the layers;
what is then said of a box is said of its points at which they hold, which is all of them wherever the premise is known
to hold, and it is used for nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewarden.spec_lang.claim import Affine, AffineAtom, Box, Claim
from rewarden.verifier.backsub import Engine, Functionals, Sweep
from rewarden.verifier.box_minimum import AffineRows, Boxes
from rewarden.verifier.context import implied, refuted
from rewarden.verifier.coverage.apart import Apart
from rewarden.verifier.facts import Facts, strengthen
from rewarden.verifier.fusion import functional_rows
from rewarden.verifier.program import INPUT, Program
from rewarden.verifier.rounding import with_error
from rewarden.verifier.sensitivity import steepness

TRUE, FALSE, OPEN = 1, -1, 0
CLEAR = 2.0**-30  # relative: margins below are judged in fractions
Marks = NDArray[np.int8]
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Per box [box, …]: marks of every atom, and whether each goal holds wherever the facts do. `sweep` for choosing
    cuts, where a network was bounded."""

    atoms: Marks
    goals: NDArray[np.bool_]
    sweep: Sweep | None


WHOLE = 2.0**50  # sums of whole numbers below this are exact in binary64


class Judge:
    """A claim's atoms, prepared once; it keeps no state between batches. With `compiled` every call is bounded apart,
    by the program that it makes of a claim with just that call, and `program` needs no layers."""

    def __init__(self, program: Program, compiled: Callable[[Claim], Program] | None = None) -> None:
        claim = self.claim = program.claim
        self.atoms: tuple[AffineAtom, ...] = tuple(a for clause in (*claim.clauses, *claim.goals) for a in clause)
        numbers = iter(range(len(self.atoms)))
        self.clauses = tuple(tuple(next(numbers) for _ in clause) for clause in claim.clauses)
        self.goals = tuple(tuple(next(numbers) for _ in goal) for goal in claim.goals)
        self.calling = tuple(k for k, atom in enumerate(self.atoms) if atom.affine.calls)
        self.plain = tuple(k for k, atom in enumerate(self.atoms) if not atom.affine.calls)
        self.place = {k: column for column, k in enumerate(self.plain)}
        self.constants_at = constants_of(program)
        self.continuous = np.array(
            [not v.discrete and i not in self.constants_at for i, v in enumerate(claim.variables)]
        )
        self.slopes, self.slope_errors, self.constants = _matrix(claim, [self.atoms[k].affine for k in self.plain])
        self.discrete = np.array([v.discrete for v in claim.variables])
        self.counted = [_counted(self.atoms[k].affine, self.discrete) for k in self.plain]
        affines = [self.atoms[k].affine for k in self.calling]
        self.apart = None if compiled is None else Apart(claim, compiled, affines)
        self.together: tuple[Engine, Functionals] | None = None
        if compiled is None:
            rows = functional_rows(program, [*affines, *map(_negative, affines)])
            self.together = Engine(program), Functionals.of(rows)
        facts = [(c, 0) for c, clause in enumerate(claim.clauses) if len(clause) == 1 and not clause[0].affine.calls]
        self.facts = Facts.of(facts, [claim.clauses[c][a].affine for c, a in facts], len(claim.variables))

    def judge(self, boxes: Boxes, exact: Sequence[Box], known: Marks) -> Judged:
        """`known` [box, atom]: marks that are right already, 0 where none is."""
        marks = known.copy()
        self._plain(marks, boxes.lo.numpy(), boxes.hi.numpy(), exact)
        if not self.calling:
            return Judged(marks, self._goals(marks), None)
        if self.together is None:
            assert self.apart is not None
            self._called(marks, *self.apart.bounds(boxes))
            return Judged(marks, self._goals(marks), None)
        engine, functionals = self.together
        count, width = len(exact), len(self.calling)
        final = engine.bound(boxes, functionals, self.facts)
        bound = final.bound.view(count, 2 * width).numpy()
        self._called(marks, bound[:, :width], -bound[:, width:])
        goals = self._goals(marks)
        if self.facts.count:
            self._with_facts(goals, final.rows, boxes)
        return Judged(marks, goals, final.sweep)

    def _called(self, marks: Marks, below: NDArray[np.float64], above: NDArray[np.float64]) -> None:
        """In place: the atoms that call rewards, by their bounds [box, atom]."""
        for column, k in enumerate(self.calling):
            least, most, strict = below[:, column], above[:, column], self.atoms[k].strict
            marks[:, k] = np.where((least > 0) | ((least >= 0) & (not strict)), TRUE, marks[:, k])
            marks[:, k] = np.where((most < 0) | ((most <= 0) & strict), FALSE, marks[:, k])

    def matters(self) -> NDArray[np.bool_]:
        """Which variables an atom reads, or a call that is bounded."""
        found: NDArray[np.bool_] = (self.slopes != 0).any(axis=0)
        if self.apart is not None:
            return np.asarray(found | self.apart.read | (self.apart.slope[:, : len(found)] != 0).any(axis=0))
        if self.together is not None:
            engine, functionals = self.together
            maps = [m for layer in engine.layers for m in layer.fused.maps]
            for m in (*maps, *functionals.maps):
                if m.source == INPUT:
                    found |= (m.weight != 0).any(0).numpy()
        return found

    def steep(self, judged: Judged, which: Tensor, index: Tensor) -> Tensor | None:
        """How steep atoms that call rewards are in each variable, where they were bounded together."""
        if self.together is None or judged.sweep is None:
            return None
        return steepness(self.together[0], judged.sweep, self.together[1], which, index)

    def _goals(self, marks: Marks) -> NDArray[np.bool_]:
        """[box, goal]: is some atom of it true?"""
        true = np.zeros((len(marks), len(self.goals)), np.bool_)
        for g, goal in enumerate(self.goals):
            true[:, g] = (marks[:, list(goal)] == TRUE).any(axis=1)
        return true

    def _with_facts(self, goals: NDArray[np.bool_], rows: AffineRows, boxes: Boxes) -> None:
        """In place: goals that hold wherever the facts of the premise do."""
        place = {k: column for column, k in enumerate(self.calling)}
        for g, goal in enumerate(self.goals):
            for k in goal:
                index = np.flatnonzero(~goals[:, g])
                if k not in place or not len(index):
                    continue
                at = torch.from_numpy(index)
                flat = at * (2 * len(self.calling)) + place[k]
                _, _, bound = strengthen(rows.take(flat), boxes.take(at), self.facts)
                enough = (bound > 0) if self.atoms[k].strict else (bound >= 0)
                goals[index, g] |= enough.numpy()

    def _plain(self, marks: Marks, lo: NDArray[np.float64], hi: NDArray[np.float64], exact: Sequence[Box]) -> None:
        """In place: the atoms over variables alone."""
        lo, hi = np.where(self.discrete, np.ceil(lo), lo), np.where(self.discrete, np.floor(hi), hi)
        up, down = np.maximum(self.slopes, 0.0), np.minimum(self.slopes, 0.0)
        least = lo @ up.T + hi @ down.T + self.constants
        most = hi @ up.T + lo @ down.T + self.constants
        magnitude = np.maximum(np.abs(lo), np.abs(hi))
        size = magnitude @ np.abs(self.slopes).T + np.abs(self.constants)
        doubt = CLEAR * size + 2.0 * (magnitude @ self.slope_errors.T) + 1e-250  # which is more than underflow may take
        for column, k in enumerate(self.plain):
            todo = marks[:, k] == OPEN
            true, false = least[:, column] > doubt[:, column], most[:, column] < -doubt[:, column]
            mixed = (least[:, column] < -doubt[:, column]) & (most[:, column] > doubt[:, column])
            if self.counted[column]:  # whole numbers all through: nothing is rounded, so that 0 is 0
                sure, strict = size[:, column] < WHOLE, self.atoms[k].strict
                low, high = least[:, column], most[:, column]
                true |= sure & ((low >= 0) if not strict else (low > 0))
                false |= sure & ((high < 0) if not strict else (high <= 0))
                mixed |= sure
            marks[todo & true, k], marks[todo & false, k] = TRUE, FALSE
            for i in np.flatnonzero(todo & ~(true | false | mixed)).tolist():
                marks[i, k] = self.exactly(self.atoms[k], exact[i])

    def exactly(self, atom: AffineAtom, box: Box) -> int:
        """The mark of an atom over variables, inside the box: an end that is reached on a face alone is not reached."""
        least = most = atom.affine.constant
        moving = False
        for j, slope in atom.affine.variables:
            a, b = slope * box[j][0], slope * box[j][1]
            least, most = least + min(a, b), most + max(a, b)
            moving |= bool(self.continuous[j]) and a != b
        if least > 0 or (least == 0 and (moving or not atom.strict)):
            return TRUE
        return FALSE if most < 0 or (most == 0 and (moving or atom.strict)) else OPEN

    def held(self, judged: Judged, i: int, box: Box) -> bool:
        """Whether the claim is known to hold all over box i, which is `box`, its faces included: some clause fails, or
        each goal has a true atom. Marks of atoms over variables may be of the inside alone; those of others are not."""
        marks, claim = judged.atoms[i], self.claim
        for clause, atoms in zip(self.clauses, claim.clauses, strict=True):
            false = [atom for k, atom in zip(clause, atoms, strict=True) if marks[k] == FALSE]
            if len(false) == len(atoms) and all(atom.affine.calls or refuted(atom, box) for atom in false):
                return True
        for g, (goal, atoms) in enumerate(zip(self.goals, claim.goals, strict=True)):
            true = [(k, atom) for k, atom in zip(goal, atoms, strict=True) if marks[k] == TRUE]
            # A goal without a true atom holds by the facts of the premise, which are bounded all over the box.
            if true and not any(atom.affine.calls or implied(atom, box) for _, atom in true):
                return False
            if not judged.goals[i, g]:
                return False
        return True

    def edge(self, atom: AffineAtom, box: Box) -> tuple[int, Fraction] | None:
        """Where a box has to be cut for an atom over one variable to be decided on both sides."""
        if atom.affine.calls or len(atom.affine.variables) != 1:
            return None
        j, slope = atom.affine.variables[0]
        if j in self.constants_at:
            return None
        edge, (lo, hi) = -atom.affine.constant / slope, box[j]
        if self.continuous[j]:
            return (j, edge) if lo < edge < hi else None
        # Between the last integer on the lower side and the next; an integer at the edge itself is where the atom says.
        upward = slope > 0
        whole = edge.numerator // edge.denominator
        at_edge_above = edge.denominator == 1 and (upward != atom.strict)
        last = whole - 1 if at_edge_above else whole
        return (j, last + Fraction(1, 2)) if lo <= last and last + 1 <= hi else None

    def slope_of(self, k: int) -> Tensor:
        """|slope| [variable] of a plain atom."""
        return torch.from_numpy(np.abs(self.slopes[self.place[k]]))


def constants_of(program: Program) -> frozenset[int]:
    """The variables that stand for constants, of which no more is known than their ends: never cut, and no point of
    them is left out for being on a face."""
    return frozenset(program.uncertain if program.executed is None else program.executed.constants)


def _counted(affine: Affine, discrete: NDArray[np.bool_]) -> bool:
    """Whether a form is a whole number at every point."""
    whole = all(bool(discrete[j]) and slope.denominator == 1 for j, slope in affine.variables)
    return whole and affine.constant.denominator == 1


def _matrix(claim: Claim, affines: Sequence[Affine]) -> tuple[Array, Array, Array]:
    """Slopes [atom, variable], how far they are off, and constants, which are off by a last place or 2^-900."""
    shape = (len(affines), len(claim.variables))
    slopes, errors, constants = np.zeros(shape), np.zeros(shape), np.zeros(len(affines))
    for i, affine in enumerate(affines):
        constants[i], _ = with_error(affine.constant)
        for j, value in affine.variables:
            slopes[i, j], errors[i, j] = with_error(value)
    return slopes, errors, constants


def _negative(affine: Affine) -> Affine:
    return Affine(
        -affine.constant,
        tuple((j, -value) for j, value in affine.variables),
        tuple((j, -value) for j, value in affine.calls),
    )
