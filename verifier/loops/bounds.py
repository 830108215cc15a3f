"""Over pairs of cells: which moves cannot be, and what a move adds at most.

A move from cell u to cell v is refuted where some clause of the facts has no atom that can be true on u × v. What it
adds has an upper bound by back-substitution (`verifier.backsub`), as an affine function on u × v that is brought down
by the affine part of the potentials (`potentials`) and by multiples of the facts (`verifier.facts`) before its largest
value on the box is taken. Every step keeps the invariant of `verifier.rounding`: what binary64 may have lost is added.
A reward of one record is bounded once for each cell, whatever the number of moves from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.claim import Affine, AffineAtom, Box, Claim, ClaimVariable, Clause
from rewarden.spec_lang.clauses import Normaliser
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.linear_form import Gathering
from rewarden.spec_lang.obligation import Formula, Statistic
from rewarden.verifier.backsub import Engine, Functionals
from rewarden.verifier.box_minimum import AffineRows, Boxes, box_minimum
from rewarden.verifier.exact_program import ExactProgram
from rewarden.verifier.executed import compile_executed
from rewarden.verifier.facts import Facts, strengthen
from rewarden.verifier.float_program import FloatProgram
from rewarden.verifier.fusion import functional_rows
from rewarden.verifier.inline import compile_program, nearest
from rewarden.verifier.loops.alternatives import alternatives
from rewarden.verifier.loops.local import Step
from rewarden.verifier.program import INPUT
from rewarden.verifier.rounding import INFLATE, TINY, UNIT, gamma, with_error

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.int64]

CHUNK = 4096  # pairs of cells bounded at once
TESTED = 2**16  # pairs of cells tested at once
COARSE, FINE = 2.0**-8, 2.0**-12  # units in which sums of products are exact: see `_exactly`


@dataclass(frozen=True, slots=True, eq=False)
class Binding:
    """What a step's calls and data constants stand for, and the box of one record, in exact numbers. `executed`: the
    rewards are bounded as binary32 executes them, whoever does."""

    artifacts: Mapping[str, Artifact]
    statistics: Mapping[Statistic, Fraction]
    columns: tuple[ClaimVariable, ...]
    box: Box
    executed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Per pair of cells: an upper bound of what the move adds (−inf: there is none), and the slopes of the affine bound
    it comes from, [pair, 2·column]: where it leans on the boxes."""

    bound: Array
    slope: Array


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Affine functions below minus each row of each alternative, K to a pair of cells."""

    rows: AffineRows

    def take(self, index: Index, rows: int) -> Planes:
        flat = (torch.from_numpy(index)[:, None] * rows + torch.arange(rows)).reshape(-1)
        return Planes(self.rows.take(flat))


def joined(parts: Sequence[Planes]) -> Planes:
    rows = [part.rows for part in parts]
    return Planes(
        AffineRows(
            torch.cat([r.slope for r in rows]),
            torch.cat([r.constant for r in rows]),
            torch.cat([r.error for r in rows]),
            torch.cat([r.loss for r in rows]),
        )
    )


class _Clauses:
    """Clauses over two records as arrays; the atoms that call rewards are bounded by `calls`, in their order."""

    def __init__(self, clauses: Sequence[Clause], width: int) -> None:
        self.clauses = tuple(clauses)
        atoms = [atom for clause in self.clauses for atom in clause]
        self.atoms = tuple(atoms)
        self.starts = np.cumsum([0, *(len(clause) for clause in self.clauses)])
        self.with_calls = np.array([bool(a.affine.calls) for a in atoms], dtype=np.bool_)
        self.calls = [a.affine for a in atoms if a.affine.calls]
        self.strict = np.array([a.strict for a in atoms], dtype=np.bool_)
        self.slope, self.slope_error = np.zeros((len(atoms), 2 * width)), np.zeros((len(atoms), 2 * width))
        self.constant, self.constant_error = np.zeros(len(atoms)), np.zeros(len(atoms))
        for i, atom in enumerate(atoms):
            if not atom.affine.calls:
                self.constant[i], self.constant_error[i] = with_error(atom.affine.constant)
                for j, value in atom.affine.variables:
                    self.slope[i, j], self.slope_error[i, j] = with_error(value)
        known = not self.slope_error.any() and not self.constant_error.any() and width <= 2**10
        self.coarse = known and _multiples(self.slope, COARSE) and _multiples(self.constant, COARSE * FINE)

    def refuted(self, lo: Array, hi: Array, called: Array | None = None) -> Mask:
        """Which boxes [n, 2·column] have a clause without an atom that can be true there. `called` [n, atom with calls]
        are upper bounds of those; without them they count as possible."""
        if not self.clauses:
            return np.zeros(len(lo), dtype=np.bool_)
        positive, negative = self.slope.clip(min=0.0), self.slope.clip(max=0.0)
        size = np.maximum(np.abs(lo), np.abs(hi))
        most = hi @ positive.T + lo @ negative.T + self.constant
        lost = gamma(2 * self.slope.shape[1] + 2) * (size @ np.abs(self.slope).T + np.abs(self.constant))
        lost = (lost + size @ self.slope_error.T + self.constant_error) * INFLATE + TINY
        if self.coarse:
            lost = np.where((_multiples_by_row(lo) & _multiples_by_row(hi))[:, None], 0.0, lost)
        false = np.where(self.strict, most + lost <= 0.0, most + lost < 0.0)
        false[:, self.with_calls] = False
        close = (np.abs(most) <= lost) & (lost > 0) & ~self.with_calls
        for row, column in np.argwhere(close & ~false):
            false[row, column] = _false_exactly(self.atoms[column], lo[row], hi[row])
        if called is not None and self.with_calls.any():
            strict = self.strict[self.with_calls]
            false[:, self.with_calls] = np.where(strict, called <= 0.0, called < 0.0)
        found = np.zeros(len(lo), dtype=np.bool_)
        for a, b in zip(self.starts, self.starts[1:], strict=False):
            found |= false[:, a:b].all(axis=1)
        return found

    def hold(self, points: Array, calls: Array) -> Mask:
        """Which points satisfy every clause, in float64: a hint. `calls` [n, atom with calls] are their margins."""
        margins = points @ self.slope.T + self.constant
        margins[:, self.with_calls] = calls
        true = np.where(self.strict, margins > 0.0, margins >= 0.0)
        found = np.ones(len(points), dtype=np.bool_)
        for a, b in zip(self.starts, self.starts[1:], strict=False):
            found &= true[:, a:b].any(axis=1)
        return found


def _multiples(values: Array, unit: float) -> bool:
    return bool(((np.abs(values) < 1.0 / unit) & (np.floor(values / unit) * unit == values)).all())


def _multiples_by_row(values: Array) -> Mask:
    """Of FINE and below 1/FINE: with slopes that are multiples of COARSE below 1/COARSE every sum of up to 2^12
    products is a multiple of 2^-20 below 2^33, so binary64 has it exactly."""
    found: Mask = ((np.abs(values) < 1.0 / FINE) & (np.floor(values / FINE) * FINE == values)).all(axis=1)
    return found


def _false_exactly(atom: AffineAtom, lo: Array, hi: Array) -> bool:
    most = atom.affine.constant + sum(c * Fraction(float(hi[j] if c > 0 else lo[j])) for j, c in atom.affine.variables)
    return most < 0 or (most == 0 and atom.strict)


class MoveBounds:
    """One step of a rule, bound to its rewards and compiled for bounding; `after`: the facts of the next record."""

    def __init__(self, step: Step, after: Sequence[Formula], binding: Binding) -> None:
        self.width = width = len(binding.columns)
        self.box, self.adds = binding.box, bool(step.adds.parts)
        gathering = Gathering(binding.statistics)
        normaliser = Normaliser(gathering)
        ways = alternatives(step.adds, gathering)
        here = _cnf(normaliser, step.record)
        there = [_shifted(clause, width, gathering) for clause in _cnf(normaliser, after)]
        moves = _cnf(normaliser, step.move)
        guards = [_cnf(normaliser, way.guard) for way in ways]
        variables = tuple(ClaimVariable(f"{r}.{c.name}", c.unit, c.discrete) for r in "ab" for c in binding.columns)
        calls = tuple(gathering.calls)
        used = tuple((name, binding.artifacts[name].digest) for name in sorted({c.reward for c in calls}))
        claim = Claim("", "must", variables, (), used, calls, (), (), (binding.box + binding.box,))
        compiled = compile_executed if binding.executed else compile_program
        self.program = compiled(claim, binding.artifacts)
        self.engine, self.floats = Engine(self.program), FloatProgram(self.program)
        self.exact = ExactProgram(self.program)
        # Else values are known up to an error, or an execution's.
        self.rational = not (binding.executed or self.program.curved or self.program.uncertain)
        self.ways, self.rows = ways, [row.affine() for way in ways for row in way.rows]
        self.record = _Clauses(here, width)
        self.move = _Clauses([*moves, *there], width)
        self.whole = _Clauses([*here, *moves, *there], width)
        self.guards = tuple(_Clauses(guard, width) for guard in guards)
        self.functionals = self._functionals([_negative(row) for row in self.rows])
        self.facts = _facts([*here, *moves, *there], 2 * width)
        of_one = [all(i < width for row in c.arguments for i, _ in row.variables) for c in calls]
        self.over_record = all(of_one[c] for row in self.rows for c, _ in row.calls)
        self.later = self._later()
        self.reads = self._reads([*here, *moves, *there, *(clause for guard in guards for clause in guard)])

    def _functionals(self, affines: Sequence[Affine]) -> Functionals | None:
        return Functionals.of(functional_rows(self.program, affines)) if affines else None

    def _later(self) -> Tensor | None:
        """[row, 2·column] what coefficients of the next record are off by, where they are: planes of one record have
        charged it at that record."""
        maps = [] if self.functionals is None else self.functionals.maps
        error = next((m.error for m in maps if m.source == INPUT and m.error is not None), None)
        if error is None or not self.over_record:
            return None
        later = torch.cat((torch.zeros_like(error[:, : self.width]), error[:, self.width :]), dim=1)
        return later if bool((later > 0).any()) else None

    def _reads(self, clauses: Sequence[Clause]) -> Mask:
        """Which columns of a record matter to anything here: only those are worth a split."""
        found = np.zeros(2 * self.width, dtype=np.bool_)
        affines = [*self.rows, *(atom.affine for clause in clauses for atom in clause)]
        for affine in affines:
            found[[j for j, _ in affine.variables]] = True
            for c, _ in affine.calls:
                found[[j for row in self.program.claim.calls[c].arguments for j, _ in row.variables]] = True
        both: Mask = found[: self.width] | found[self.width :]
        return both

    # ── what cannot be ─────────────────────────────────────────────────────────────────────────
    def no_record(self, lo: Array, hi: Array) -> Mask:
        """Which cells [n, column] hold no record of the rule."""
        return self._refuted(self.record, np.hstack((lo, lo)), np.hstack((hi, hi)))

    def no_move(self, lo: Array, hi: Array) -> Mask:
        """Which pairs of cells [n, 2·column] have no move from the one to the other."""
        return self._refuted(self.move, lo, hi)

    def _refuted(self, clauses: _Clauses, lo: Array, hi: Array) -> Mask:
        found = [clauses.refuted(lo[i : i + TESTED], hi[i : i + TESTED]) for i in range(0, len(lo), TESTED)]
        refuted = np.concatenate(found) if found else np.zeros(0, dtype=np.bool_)
        if clauses.calls:
            left = np.flatnonzero(~refuted)
            functionals = self._functionals([_negative(a) for a in clauses.calls])
            assert functionals is not None
            for i in range(0, len(left), CHUNK):
                some = left[i : i + CHUNK]
                boxes = Boxes(torch.from_numpy(lo[some]), torch.from_numpy(hi[some]))
                with torch.no_grad():
                    called = -self.engine.bound(boxes, functionals).bound.numpy().reshape(len(some), -1)
                refuted[some] = clauses.refuted(lo[some], hi[some], called)
        return refuted

    # ── what a move adds ───────────────────────────────────────────────────────────────────────
    def planes(self, lo: Array, hi: Array) -> Planes:
        """Below minus what a move adds, over pairs of cells [n, 2·column]; n at most CHUNK."""
        assert self.functionals is not None
        with torch.no_grad():
            return Planes(self.engine.bound(Boxes(torch.from_numpy(lo), torch.from_numpy(hi)), self.functionals).rows)

    def weights(self, planes: Planes, lo: Array, hi: Array, tilt: Array) -> Weights:
        """Upper bounds of what a move adds, plus tilt·(both records): `tilt` [n, 2·column] counts as exact."""
        count, many = len(lo), len(self.rows)
        with torch.no_grad():
            boxes = Boxes(torch.from_numpy(lo), torch.from_numpy(hi))
            each = boxes.take(torch.arange(count).repeat_interleave(many))
            rows = _tilted(self.at_pairs(planes, each), torch.from_numpy(np.repeat(tilt, many, axis=0)), each)
            bound = box_minimum(rows, each)
            if self.facts.count:
                _, better, strengthened = strengthen(rows, each, self.facts)
                gains = strengthened > bound
                bound = torch.where(gains, strengthened, bound)
                slope = torch.where(gains[:, None], better.slope, rows.slope)
            else:
                slope = rows.slope
        return self._largest(-bound.numpy().reshape(count, many), slope.numpy().reshape(count, many, -1), lo, hi)

    def at_pairs(self, planes: Planes, each: Boxes) -> AffineRows:
        """The planes over pairs of cells, whichever pairs they were made for."""
        rows = planes.rows
        if self.later is None:
            return rows
        later = self.later.repeat(len(each.lo) // len(self.rows), 1)
        error = (rows.error + (later * each.magnitude).sum(-1)) * INFLATE
        return AffineRows(rows.slope, rows.constant, error, rows.loss)

    def _largest(self, above: Array, slope: Array, lo: Array, hi: Array) -> Weights:
        """The largest alternative of those whose guard may hold, each the smallest of its rows."""
        bound, chosen = np.full(len(lo), -np.inf), np.zeros(len(lo), dtype=np.int64)
        start = 0
        for way, guard in zip(self.ways, self.guards, strict=True):
            part = np.nan_to_num(above[:, start : start + len(way.rows)], nan=np.inf, posinf=np.inf, neginf=-np.inf)
            which = part.argmin(axis=1)
            value = np.where(guard.refuted(lo, hi), -np.inf, part[np.arange(len(lo)), which])
            larger = value > bound
            bound, chosen = np.where(larger, value, bound), np.where(larger, start + which, chosen)
            start += len(way.rows)
        return Weights(bound, slope[np.arange(len(lo)), chosen])

    # ── at points ──────────────────────────────────────────────────────────────────────────────
    def at_points(self, points: Array) -> tuple[Mask, Array]:
        """At pairs of records [n, 2·column], in float64: is it a move of the rule, and what does it add? Hints."""
        with torch.no_grad():
            calls = self.floats.calls(torch.from_numpy(points)).numpy()
        able = self._hold(self.whole, points, calls)
        bound = np.full(len(points), -np.inf)
        start = 0
        for way, guard in zip(self.ways, self.guards, strict=True):
            values = np.stack([_float_value(a, points, calls) for a in self.rows[start : start + len(way.rows)]])
            bound = np.where(self._hold(guard, points, calls), np.maximum(bound, values.min(axis=0)), bound)
            start += len(way.rows)
        return able, bound

    def _hold(self, clauses: _Clauses, points: Array, calls: Array) -> Mask:
        margins = [_float_value(a, points, calls) for a in clauses.calls]
        return clauses.hold(points, np.stack(margins, axis=1) if margins else np.zeros((len(points), 0)))

    def exactly(self, point: Sequence[Fraction]) -> Fraction | None:
        """What a move adds at a pair of records, exactly; None if it is no move of the rule."""
        found = self.exact.evaluate(point)

        def hold(clauses: _Clauses) -> bool:
            return all(any(found.holds(atom) for atom in clause) for clause in clauses.clauses)

        if not hold(self.whole):
            return None
        values = []
        start = 0
        for way, guard in zip(self.ways, self.guards, strict=True):
            if hold(guard):
                values.append(min(found.margin(a) for a in self.rows[start : start + len(way.rows)]))
            start += len(way.rows)
        return max(values)


def _cnf(normaliser: Normaliser, formulas: Sequence[Formula]) -> list[Clause]:
    """The formulas as clauses. One without such a form is left out: less is known, and what is proved stays so."""
    found: list[Clause] = []
    for formula in formulas:
        try:
            cnf = normaliser.cnf(formula)
        except Unsupported:
            continue
        found.extend(tuple(normaliser.atoms[number] for number in clause) for clause in cnf)
    return found


def _shifted(clause: Clause, width: int, gathering: Gathering) -> Clause:
    """The same of the second record."""

    def of(affine: Affine) -> Affine:
        calls = []
        for number, coefficient in affine.calls:
            call = gathering.calls[number]
            moved = type(call)(call.reward, tuple(_moved(row, width) for row in call.arguments))
            if moved not in gathering.calls:
                gathering.calls.append(moved)
            calls.append((gathering.calls.index(moved), coefficient))
        return Affine(affine.constant, _moved(affine, width).variables, tuple(sorted(calls)))

    return tuple(AffineAtom(of(atom.affine), atom.strict) for atom in clause)


def _moved(affine: Affine, width: int) -> Affine:
    return Affine(affine.constant, tuple((j + width, c) for j, c in affine.variables))


def _negative(affine: Affine) -> Affine:
    return Affine(
        -affine.constant, tuple((j, -c) for j, c in affine.variables), tuple((k, -c) for k, c in affine.calls)
    )


def _facts(clauses: Sequence[Clause], variables: int) -> Facts:
    plain = [clause[0].affine for clause in clauses if len(clause) == 1 and not clause[0].affine.calls]
    plain = [affine for affine in dict.fromkeys(plain) if affine.variables]
    return Facts.of([(k, 0) for k in range(len(plain))], plain, variables)


def _tilted(rows: AffineRows, tilt: Tensor, boxes: Boxes) -> AffineRows:
    """rows − tilt·x. What the subtraction loses is found exactly (Knuth's two-sum) and charged at the box."""
    slope = rows.slope - tilt
    back = slope - rows.slope
    lost = (rows.slope - (slope - back)) + (-tilt - back)
    touched = (tilt != 0).any(-1).to(slope.dtype)
    error = (lost.abs() * boxes.magnitude).sum(-1) * INFLATE
    loss = TINY * touched * (1.0 + boxes.magnitude.sum(-1))
    loss = torch.where((lost == 0).all(-1), torch.zeros_like(loss), loss)
    return AffineRows(slope, rows.constant, (rows.error + error) * (1.0 + 4.0 * UNIT), rows.loss + loss)


def _float_value(affine: Affine, points: Array, calls: Array) -> Array:
    value = np.full(len(points), nearest(affine.constant))
    for j, coefficient in affine.variables:
        value = value + nearest(coefficient) * points[:, j]
    for k, coefficient in affine.calls:
        value = value + nearest(coefficient) * calls[:, k]
    return value
