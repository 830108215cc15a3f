"""Cuts through a reward, as arrays: what a rule looks like around its witness.

For drawing only: float64, no verdict rests on it. A rule about one record is cut along the two features that its
premise reads most; a rule that compares a reward at two records is cut along the line on which they differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.spec_lang.claim import Claim, ClaimCall
from rewarden.spec_lang.evaluate import screen
from rewarden.spec_lang.obligation import (
    And,
    Atom,
    Call,
    Formula,
    Ite,
    Max,
    Min,
    Obligation,
    Or,
    Product,
    Quotient,
    Sqrt,
    Sum,
    Term,
    Var,
    Variable,
)

Array = NDArray[np.float64]
GRID = 141
LINE = 401


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """One drawn feature: `ticks` in its unit; `here` is the witness's value."""

    label: str
    ticks: Array
    here: float


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """Values [y, x] per caption; masks [y, x] where the premise holds and where records can occur at all."""

    x: Axis
    y: Axis
    values: Mapping[str, Array]
    premise: NDArray[np.bool_]
    possible: NDArray[np.bool_]
    here_holds: bool  # whether the premise holds at the witness itself


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """Values [x] per caption along the feature in which two records differ, and the records' places on it."""

    x: Axis
    values: Mapping[str, Array]
    marks: Mapping[str, float]


def plane_of(
    obligation: Obligation, claim: Claim, point: Sequence[float], versions: Mapping[str, Mapping[str, Artifact]]
) -> Plane | None:
    """A cut along two features through `point` (one value per variable); None where fewer than two can vary.

    `versions` maps a caption ("before") to artifacts by reward name; drawn is the reward of the claim's first call.
    """
    rewards = dict.fromkeys(versions, claim.calls[0])
    chosen = _axes(obligation, claim, np.asarray(point, np.float64), next(iter(versions.values())))
    if len(chosen) < 2:
        return None
    first, second = chosen
    x, y = (_axis(obligation.variables[k], claim, k, point, GRID) for k in (first, second))
    rows = np.tile(np.asarray(point, np.float64), (GRID * GRID, 1))
    mesh_x, mesh_y = np.meshgrid(x.ticks, y.ticks)
    rows[:, first], rows[:, second] = mesh_x.ravel(), mesh_y.ravel()
    shape = (GRID, GRID)
    values = {name: _scores(call, versions[name], rows).reshape(shape) for name, call in rewards.items()}
    premise = (screen(obligation.premise, rows) > 0).reshape(shape)
    possible = (screen(obligation.assume, rows) > 0).reshape(shape)
    here = bool((screen(obligation.premise, np.asarray([point], np.float64)) > 0)[0])
    return Plane(x, y, values, premise, possible, here)


def line_of(claim: Claim, point: Sequence[float], versions: Mapping[str, Mapping[str, Artifact]]) -> Line | None:
    """A cut along the line on which the arguments of two calls of one reward differ; None where it leads through cases.

    Where one column differs the cut spans its whole range; where several do, the way from one record to the other.
    """
    at = np.asarray(point, np.float64)[None, :]
    artifacts = next(iter(versions.values()))
    calls = _pair(claim, at)
    if calls is None:
        return None
    one, two = (_arguments(call, at)[0] for call in calls)
    columns = artifacts[calls[0].reward].columns
    differing = [int(k) for k in np.flatnonzero(one != two)]
    if any(columns[k].discrete for k in differing):
        return None
    names = [_call_name(claim, call) for call in calls]
    if len(differing) == 1:
        (column,) = differing
        drawn = columns[column]
        ticks = np.linspace(float(drawn.lo), float(drawn.hi), LINE)
        rows = np.tile(one, (LINE, 1))
        rows[:, column] = ticks
        label, marks = _label(drawn.name, drawn.unit), (float(one[column]), float(two[column]))
    else:
        ticks = np.linspace(0.0, 1.0, LINE)
        rows = one + ticks[:, None] * (two - one)
        label, marks = f"the way from {names[0]} to {names[1]}", (0.0, 1.0)
    values = {
        caption: forward(version[calls[0].reward], rows.astype(np.float32)).astype(np.float64)
        for caption, version in versions.items()
    }
    return Line(Axis(label, ticks, marks[0]), values, dict(zip(names, marks, strict=True)))


def compares_records(claim: Claim) -> bool:
    """Whether some reward is taken at two different records."""
    arguments = {call.arguments for call in claim.calls}
    return len(arguments) > 1


def _pair(claim: Claim, at: Array) -> tuple[ClaimCall, ClaimCall] | None:
    for index, first in enumerate(claim.calls):
        for second in claim.calls[index + 1 :]:
            if first.reward == second.reward and (_arguments(first, at) != _arguments(second, at)).any():
                return first, second
    return None


def _call_name(claim: Claim, call: ClaimCall) -> str:
    """The record that a call takes, or `changed record` for a what-if."""
    plain = tuple(a.variables[0][0] if len(a.variables) == 1 and a.constant == 0 else -1 for a in call.arguments)
    for record in claim.records:
        if record.variables == plain:
            return record.name
    return "the changed record"


def _axes(obligation: Obligation, claim: Claim, point: Array, artifacts: Mapping[str, Artifact]) -> list[int]:
    """The two variables to draw: those that the premise reads and relates, then those that move the reward most."""
    varying = [k for k, v in enumerate(obligation.variables) if not v.discrete and v.hi > v.lo]
    if len(varying) < 2:
        return varying
    atoms = [_variables(atom.term) for atom in _atoms(obligation.premise)]
    read = {k: sum(k in atom for atom in atoms) for k in varying}
    effects = {k: _effect(obligation, claim, point, artifacts, k) for k in varying}

    def worth(pair: tuple[int, int]) -> tuple[int, float]:
        together = sum(set(pair) <= atom for atom in atoms)
        return sum(min(read[k], 1) for k in pair) + together, sum(effects[k] for k in pair)

    pairs = [(k, j) for k in varying for j in varying if k < j]
    best = max(pairs, key=worth)
    return list(best)


def _effect(obligation: Obligation, claim: Claim, point: Array, artifacts: Mapping[str, Artifact], index: int) -> float:
    rows = np.tile(point, (9, 1))
    variable = obligation.variables[index]
    rows[:, index] = np.linspace(float(variable.lo), float(variable.hi), 9)
    scores = _scores(claim.calls[0], artifacts, rows)
    return float(np.ptp(scores))


def _scores(call: ClaimCall, artifacts: Mapping[str, Artifact], rows: Array) -> Array:
    """The deployed reward of a call at points [row, variable]."""
    return forward(artifacts[call.reward], _arguments(call, rows).astype(np.float32)).astype(np.float64)


def _arguments(call: ClaimCall, rows: Array) -> Array:
    """Encoded columns [row, column] of a call at points [row, variable]."""
    columns = []
    for argument in call.arguments:
        column = np.full(len(rows), float(argument.constant))
        for index, coefficient in argument.variables:
            column += float(coefficient) * rows[:, index]
        columns.append(column)
    return np.stack(columns, axis=1)


def _axis(variable: Variable, claim: Claim, index: int, point: Sequence[float], count: int) -> Axis:
    lo, hi = float(variable.lo), float(variable.hi)
    here = float(point[index])
    if claim.instances is not None:
        # A rule near data has boxes too small to see on the whole range: draw five times the box.
        box_lo, box_hi = next(
            ((float(b[index][0]), float(b[index][1])) for b in claim.boxes if b[index][0] <= here <= b[index][1]),
            (lo, hi),
        )
        reach = 2 * (box_hi - box_lo)
        lo, hi = max(lo, box_lo - reach), min(hi, box_hi + reach)
    column = variable.column
    return Axis(_label(column, variable.unit), np.linspace(lo, hi, count), here)


def _label(name: str, unit: str | None) -> str:
    words = name.replace("_", " ")
    return f"{words} [{unit}]" if unit else words


def _atoms(formula: Formula) -> list[Atom]:
    match formula:
        case And(parts) | Or(parts):
            return [atom for part in parts for atom in _atoms(part)]
        case Atom():
            return [formula]


def _variables(term: Term) -> frozenset[int]:
    match term:
        case Var(index):
            return frozenset({index})
        case Sum(terms) | Min(terms) | Max(terms):
            return frozenset().union(*(_variables(t) for t in terms))
        case Product(left, right) | Quotient(left, right):
            return _variables(left) | _variables(right)
        case Ite(_, then, otherwise):
            return _variables(then) | _variables(otherwise)
        case Sqrt(inner):
            return _variables(inner)
        case Call(_, arguments):
            return frozenset().union(*(_variables(a) for a in arguments))
        case _:
            return frozenset()
