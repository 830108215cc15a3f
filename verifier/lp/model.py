"""The relaxation of a node as a linear program in HiGHS, kept warm from node to node.

Columns: variables, neurons' outputs y, and t. Rows: z − y <= 0 for each neuron (= 0 when it is on, free while a gate
may shut it), its chord y <= s·z + i, and the top rows, of which the negated goal's are r − t <= 0. The program lowers
t: at a value above 0 its duals are multipliers of a proof (`bound`), and so is the ray of an infeasible one. Decisions
change bounds of columns and rows, never coefficients, so that the last basis stays dual feasible. Columns and rows are
scaled by powers of 2: HiGHS drops what is below 1e-9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import highspy
import numpy as np
from numpy.typing import NDArray

from rewarden.verifier.lp.bound import Multipliers, Objective
from rewarden.verifier.lp.region import EITHER, LOOSE, OFF, ON, SHUT, Array, Maps, Node, Region
from rewarden.verifier.program import INPUT

Solver: TypeAlias = Any  # highspy has no types worth the name

ITERATIONS = 20_000  # of the simplex method, for one program
REACH = 1e3  # t lies within ± this, in rows whose entries are at most 1
OPTIMAL, INFEASIBLE = highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kInfeasible


@dataclass(frozen=True, slots=True, eq=False)
class Hint:
    """What HiGHS says of a node; `multipliers` may prove that it is empty. `top` is t where optimal. `chords` [neuron]:
    what each chord's dual is, in the objective's terms."""

    status: Literal["optimal", "infeasible", "failed"]
    multipliers: Multipliers
    top: float = 0.0
    point: Array | None = None
    outputs: Array | None = None
    chords: Array | None = None


class Model:
    """HiGHS with one region's program (mutable)."""

    def __init__(self, region: Region, root: Node) -> None:
        frame = region.frame
        self.region = region
        self.variables, self.neurons, self.tops = len(root.lo), frame.neurons, len(root.on)
        self.read = np.flatnonzero((root.phase != OFF) & (root.phase != SHUT))
        self.bent = np.flatnonzero((root.phase == EITHER) | (root.phase == LOOSE))
        lo, hi = region.lo[self.bent], region.hi[self.bent]
        self.slope = np.where(lo >= 0, 1.0, hi / np.where(hi > lo, hi - lo, 1.0))
        rise = np.where(lo >= 0, 0.0, np.maximum(-self.slope * lo, (1.0 - self.slope) * hi))
        z, bias = _neuron_rows(region)
        self.z = z
        y = np.concatenate((np.zeros((self.neurons, self.variables)), np.eye(self.neurons)), axis=1)
        top, top_bias = _dense(region, frame.top)
        matrix = np.concatenate((z[self.read] - y[self.read], y[self.bent] - self.slope[:, None] * z[self.bent], top))
        constant = np.concatenate((bias[self.read], -self.slope * bias[self.bent] - rise, top_bias))
        reach = np.concatenate((np.maximum(np.abs(root.lo), np.abs(root.hi)), region.most))
        self.column = _power(np.where(reach > 0, reach, 1.0))
        scaled = matrix * self.column
        largest = np.abs(scaled).max(axis=1, initial=0.0)
        self.row = 1.0 / _power(np.where(largest > 0, largest, 1.0))
        self.scaled = scaled * self.row[:, None]
        self.constant = constant * self.row
        self.first_top = len(self.read) + len(self.bent)
        self.usable = bool(np.isfinite(self.scaled).all() and np.isfinite(self.constant).all())
        self.solver: Solver = self._passed(root) if self.usable else None

    # ── the program ────────────────────────────────────────────────────────────────────────────
    def _passed(self, root: Node) -> Solver:
        t = np.zeros((len(self.row), 1))
        t[self.first_top :, 0] = np.where(self.region.frame.soft, -1.0, 0.0)
        matrix = np.concatenate((self.scaled, t), axis=1)
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = matrix.shape[1], matrix.shape[0]
        cost = np.zeros(matrix.shape[1])
        cost[-1] = 1.0
        lp.col_cost_ = cost
        self.columns, self.rows = self._bounds(root)
        lp.col_lower_, lp.col_upper_ = self.columns
        lp.row_lower_, lp.row_upper_ = self.rows
        rows, columns = np.nonzero(matrix)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.num_col_, lp.a_matrix_.num_row_ = lp.num_col_, lp.num_row_
        lp.a_matrix_.start_ = np.searchsorted(rows, np.arange(matrix.shape[0] + 1)).astype(np.int32)
        lp.a_matrix_.index_ = columns.astype(np.int32)
        lp.a_matrix_.value_ = matrix[rows, columns]
        solver: Solver = highspy.Highs()  # type: ignore[no-untyped-call]
        for name, value in (
            ("output_flag", False), ("threads", 1), ("parallel", "off"), ("random_seed", 0), ("presolve", "off"),
            ("solver", "simplex"), ("simplex_iteration_limit", ITERATIONS),
        ):  # fmt: skip
            solver.setOptionValue(name, value)
        solver.passModel(lp)
        return solver

    def _bounds(self, node: Node) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        zero = (node.phase == OFF) | (node.phase == SHUT)
        least = np.concatenate((node.lo, np.zeros(self.neurons))) / self.column
        most = np.concatenate((node.hi, np.where(zero, 0.0, self.region.most))) / self.column
        phase = node.phase[self.read]
        free = (phase == LOOSE) | (phase == SHUT)
        lower = np.where(phase == ON, 0.0, -np.inf)
        upper = np.where(free, np.inf, 0.0)
        none = np.full(len(self.bent) + self.tops, -np.inf)
        lower = np.concatenate((lower, none))
        upper = np.concatenate((upper, np.zeros(len(self.bent)), np.where(node.on, 0.0, np.inf)))
        columns = (np.append(least, -REACH), np.append(most, REACH))
        return columns, (lower - self.constant, upper - self.constant)

    def _decide(self, node: Node) -> None:
        """Only bounds that change are told."""
        columns, rows = self._bounds(node)
        for before, now, change in (
            (self.columns, columns, self.solver.changeColsBounds), (self.rows, rows, self.solver.changeRowsBounds),
        ):  # fmt: skip
            moved = np.flatnonzero((before[0] != now[0]) | (before[1] != now[1])).astype(np.int32)
            if len(moved):
                change(len(moved), moved, now[0][moved], now[1][moved])
        self.columns, self.rows = columns, rows

    # ── what it says ───────────────────────────────────────────────────────────────────────────
    def solve(self, node: Node) -> Hint:
        """Lowers t."""
        if self.solver is not None:
            self._decide(node)
        return self._run()

    def extreme(self, node: Node, objective: Objective) -> Hint:
        """Lowers a pre-activation instead, with t at 0. The next `solve` is about t again."""
        if self.solver is None:
            return self._run()
        self._decide(node)
        n = self.region.frame.first[objective.layer] + objective.j
        cost = np.append(objective.sign * self.z[n] * self.column, 0.0)
        columns = np.arange(len(cost), dtype=np.int32)
        size = float(np.abs(cost).max()) or 1.0
        top = len(cost) - 1
        self.solver.changeColsCost(len(cost), columns, cost / size)
        self.solver.changeColBounds(top, 0.0, 0.0)
        hint = self._run(size)
        self.solver.changeColsCost(len(cost), columns, (columns == top).astype(np.float64))
        self.solver.changeColBounds(top, -REACH, REACH)
        return hint

    def _run(self, size: float = 1.0) -> Hint:
        if self.solver is None:
            return Hint("failed", self._multipliers(np.zeros(len(self.row))))
        self.solver.run()
        status = self.solver.getModelStatus()
        if status == INFEASIBLE:
            _, found, ray = self.solver.getDualRay()
            duals = np.array(ray) if found else np.zeros(len(self.row))
            return Hint("infeasible", self._multipliers(-duals))
        if status != OPTIMAL:
            self.solver.clearSolver()
            return Hint("failed", self._multipliers(np.zeros(len(self.row))))
        found = self.solver.getSolution()
        duals, at = size * np.array(found.row_dual), np.array(found.col_value)
        values = at[:-1] * self.column
        chords = np.zeros(self.neurons)
        part = slice(len(self.read), self.first_top)
        chords[self.bent] = np.maximum(0.0, -duals[part] * self.row[part])
        point, outputs = values[: self.variables], values[self.variables :]
        return Hint("optimal", self._multipliers(-duals), float(at[-1]), point, outputs, chords)

    def _multipliers(self, duals: Array) -> Multipliers:
        given = np.nan_to_num(duals * self.row, nan=0.0, posinf=0.0, neginf=0.0)
        on_z = np.zeros(self.neurons)
        on_z[self.read] = given[: len(self.read)]
        on_z[self.bent] -= self.slope * given[len(self.read) : self.first_top]
        return Multipliers(np.maximum(given[self.first_top :], 0.0), on_z)


def _neuron_rows(region: Region) -> tuple[Array, Array]:
    frame = region.frame
    parts = [_dense(region, frame.maps[k]) for k in frame.layers]
    if not parts:
        return np.zeros((0, len(region.cell))), np.zeros(0)
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def _dense(region: Region, maps: Maps) -> tuple[Array, Array]:
    frame, inputs = region.frame, len(region.cell)
    matrix = np.zeros((len(maps.bias), inputs + frame.neurons))
    for source, (weight, _, _) in maps.terms.items():
        if source == INPUT:
            matrix[:, :inputs] = weight
        else:
            at = frame.spans[source]
            matrix[:, inputs + at.start : inputs + at.stop] = weight
    return matrix, maps.bias


def _power(values: NDArray[np.float64]) -> Array:
    """The powers of 2 at or below."""
    powers: Array = np.exp2(np.floor(np.log2(values)))
    return powers
