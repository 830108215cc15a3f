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

    `versions` maps a caption ("before") to artifacts by reward name. A rule that compares two rewards of one record is
    drawn as their difference.
    """
    rewards = {name: claim.calls[0] for name in versions}
    chosen = _axes(obligation, claim, np.asarray(point, np.float64), next(iter(versions.values())))
    if len(chosen) < 2:
        return None
    first, second = chosen
    x, y = (_axis(obligation.variables[k], claim, k, point, GRID) for k in (first, second))
    rows = np.tile(np.asarray(point, np.float64), (GRID * GRID, 1))
    mesh_x, mesh_y = np.meshgrid(x.ticks, y.ticks)
    rows[:, first], rows[:, second] = mesh_x.ravel(), mesh_y.ravel()
    shape = (GRID, GRID)
    values = {name: _scores(claim, call, versions[name], rows).reshape(shape) for name, call in rewards.items()}
    premise = (screen(obligation.premise, rows) > 0).reshape(shape)
    possible = (screen(obligation.assume, rows) > 0).reshape(shape)
    return Plane(x, y, values, premise, possible)


def line_of(
    obligation: Obligation, claim: Claim, point: Sequence[float], versions: Mapping[str, Mapping[str, Artifact]]
) -> Line | None:
    """A cut along the one column in which the arguments of two calls of one reward differ; None where it is not one."""
    at = np.asarray(point, np.float64)[None, :]
    calls = _pair(claim, at)
    if calls is None:
        return None
    one, two = (_arguments(call, at)[0] for call in calls)
    (column,) = np.flatnonzero(one != two)
    artifact = next(iter(versions.values()))[calls[0].reward]
    drawn = artifact.columns[column]
    ticks = np.linspace(float(drawn.lo), float(drawn.hi), LINE)
    rows = np.tile(one, (LINE, 1))
    rows[:, column] = ticks
    values = {
        caption: forward(artifacts[calls[0].reward], rows.astype(np.float32)).astype(np.float64)
        for caption, artifacts in versions.items()
    }
    axis = Axis(_label(drawn.name, drawn.unit), ticks, float(one[column]))
    names = [_call_name(claim, call) for call in calls]
    return Line(axis, values, {names[0]: float(one[column]), names[1]: float(two[column])})


def compares_records(claim: Claim) -> bool:
    """Whether some reward is taken at two different records."""
    arguments = {call.arguments for call in claim.calls}
    return len(arguments) > 1


def _pair(claim: Claim, at: Array) -> tuple[ClaimCall, ClaimCall] | None:
    for index, first in enumerate(claim.calls):
        for second in claim.calls[index + 1 :]:
            if first.reward == second.reward:
                differing = np.flatnonzero(_arguments(first, at)[0] != _arguments(second, at)[0])
                if len(differing) == 1:
                    return first, second
    return None


def _call_name(claim: Claim, call: ClaimCall) -> str:
    """The record that a call takes, or `changed record` for a what-if."""
    plain = tuple(a.variables[0][0] if len(a.variables) == 1 and a.constant == 0 else -1 for a in call.arguments)
    for record in claim.records:
        if record.variables == plain:
            return record.name
    return "with the change"


def _axes(obligation: Obligation, claim: Claim, point: Array, artifacts: Mapping[str, Artifact]) -> list[int]:
    """The two variables to draw: those that the premise reads most; among equals, those that move the reward most."""
    varying = [k for k, v in enumerate(obligation.variables) if not v.discrete and v.hi > v.lo]
    read = [0] * len(obligation.variables)
    _count(obligation.premise, read)
    effects = {k: _effect(obligation, claim, point, artifacts, k) for k in varying}
    ranked = sorted(varying, key=lambda k: (-read[k], -effects[k], k))
    return sorted(ranked[:2])


def _effect(
    obligation: Obligation, claim: Claim, point: Array, artifacts: Mapping[str, Artifact], index: int
) -> float:
    rows = np.tile(point, (9, 1))
    variable = obligation.variables[index]
    rows[:, index] = np.linspace(float(variable.lo), float(variable.hi), 9)
    scores = _scores(claim, claim.calls[0], artifacts, rows)
    return float(np.ptp(scores))


def _scores(claim: Claim, call: ClaimCall, artifacts: Mapping[str, Artifact], rows: Array) -> Array:
    """R, or R − Base where the rule compares two rewards of the same record."""
    scores = forward(artifacts[call.reward], _arguments(call, rows).astype(np.float32)).astype(np.float64)
    for other in claim.calls:
        if other.reward != call.reward and other.arguments == call.arguments and other.reward in artifacts:
            return scores - forward(artifacts[other.reward], _arguments(call, rows).astype(np.float32))
    return scores


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


def _count(formula: Formula, read: list[int]) -> None:
    match formula:
        case And(parts) | Or(parts):
            for part in parts:
                _count(part, read)
        case Atom(term):
            for index in _variables(term):
                read[index] += 1


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
