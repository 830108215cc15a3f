"""Obligations at points, whatever their form: exact truth of many rows at once, and a witness of any one of them.

What has no claim form (products of features, l2 norms) and what ranges over rows of data needs no more than this: the
rewards are enclosed in float64 for all rows, and where that decides nothing evaluated exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.reward.enclosure import enclose
from rewarden.reward.exact import evaluate
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.evaluate import Enclosed, Point, margin, screen, truth, truth_of_rows, value
from rewarden.spec_lang.features import RecordType
from rewarden.spec_lang.obligation import And, Call, Formula, Obligation, Statistic
from rewarden.verifier.bind import terms_of
from rewarden.verifier.executed import neighbours
from rewarden.verifier.executed_rows import ExecutedConstant, deployed_values, executed_between, executed_bounds
from rewarden.verifier.executed_truth import Around, Interval, NonFiniteError, OpenError, settled
from rewarden.verifier.inline import nearest
from rewarden.verifier.witness import CallValue, RecordValue, Witness, decode

Rows = NDArray[np.float64]
SHOWN = 128  # bits of a smooth reward's value that is shown


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """Rewards and data constants with their values, by name."""

    artifacts: Mapping[str, Artifact]
    statistics: Mapping[Statistic, Fraction | Enclosed]
    types: Mapping[str, RecordType]

    def call(self, reward: str, arguments: tuple[Fraction, ...]) -> Fraction | Enclosed:
        artifact = self.artifacts[reward]
        if artifact.smooth:
            return Enclosed(lambda bits: enclosed(artifact, arguments, bits))
        return evaluate(artifact, arguments)

    def statistic(self, statistic: Statistic) -> Fraction | Enclosed:
        return self.statistics[statistic]

    def enclosures(self, reward: str, rows: Rows) -> tuple[Rows, Rows]:
        return enclose(self.artifacts[reward], rows)

    def holds(self, formula: Formula, rows: Rows) -> NDArray[np.bool_]:
        """Exact truth per row (float64 [n, variables])."""
        return truth_of_rows(formula, rows, self.call, self.statistic, self.enclosures)

    def at(self, point: Sequence[Fraction]) -> Point:
        return Point(point, self.call, self.statistic)


@dataclass(frozen=True, slots=True, eq=False)
class ExecutedBound(Bound):
    """The same as deployed (float32 semantics): what holds in one legal execution. `constants` has what the data
    constants may come to in others, and `statistics` their deployed values."""

    constants: Mapping[Statistic, ExecutedConstant]

    def call(self, reward: str, arguments: tuple[Fraction, ...]) -> Fraction:
        return Fraction(float(self.enclosures(reward, np.array([[nearest(x) for x in arguments]]))[0][0]))

    def enclosures(self, reward: str, rows: Rows) -> tuple[Rows, Rows]:
        """The deployed values, twice. NonFiniteError where one is infinite or not a number."""
        values = deployed_values(self.artifacts[reward], rows)
        if not np.isfinite(values).all():
            raise NonFiniteError
        return values, values

    def settled(self, formula: Formula, rows: Rows) -> NDArray[np.int8]:
        """Per row 1 if the formula is true in every execution, −1 if it is false in each, 0 if neither is known."""

        def bounds(reward: str, columns: Rows) -> tuple[Rows, Rows]:
            return executed_bounds(self.artifacts[reward], columns)

        def call(reward: str, arguments: tuple[Interval, ...]) -> Interval:
            below = np.array([[float(neighbours(lo)[0]) for lo, _ in arguments]])
            above = np.array([[float(neighbours(hi)[1]) for _, hi in arguments]])
            lo, hi = executed_between(self.artifacts[reward], below, above)
            if not (isfinite(lo[0]) and isfinite(hi[0])):
                raise OpenError
            return Fraction(float(lo[0])), Fraction(float(hi[0]))

        def constant(statistic: Statistic) -> Interval:
            return self.constants[statistic].lo, self.constants[statistic].hi

        decided = screen(formula, rows, None, bounds)
        for k in np.flatnonzero(decided == 0):
            around = Around(tuple(Fraction(float(x)) for x in rows[k]), call, constant)
            decided[k] = settled(formula, around)
        return decided


def enclosed(artifact: Artifact, arguments: Sequence[Fraction], bits: int) -> tuple[Fraction, Fraction]:
    """A smooth reward at a record, to so many bits."""
    from rewarden.reward.balls import interval  # needs python-flint, which only smooth rewards do

    return interval(artifact, arguments, bits)


def whole_premise(obligation: Obligation) -> Formula:
    return And((obligation.structure, obligation.assume, obligation.premise))


def witness_at(
    obligation: Obligation, bound: Bound, row: Rows, *, premise_only: bool, number: int = 0
) -> Witness | None:
    """The row as a witness that the rule is violated (or that its premise can hold), judged exactly; None if it is not.

    `number` is told as the row of the data, or the box, that the point belongs to.
    """
    point = tuple(Fraction(float(x)) for x in row)
    if not truth(whole_premise(obligation), point, bound.call, bound.statistic):
        return None
    if not premise_only and truth(obligation.conclusion, point, bound.call, bound.statistic):
        return None
    records = []
    for view in obligation.records:
        kind = bound.types[view.type_name]
        values = [point[i] for i in view.variables]
        start = 0
        features = []
        for feature in kind.features:
            features.append(decode(feature, values[start : start + feature.width]))
            start += feature.width
        records.append(RecordValue(view.name, view.type_name, tuple(features)))
    calls = tuple(_told(call, obligation, bound, point) for call in calls_of(obligation))
    goal_margins = () if premise_only else (_margin(obligation.conclusion, bound.at(point)),)
    finite = all(isfinite(c.deployed) for c in calls)
    return Witness(
        rule=obligation.rule.name,
        box=number,
        point=point,
        records=tuple(records),
        calls=calls,
        premise=(),
        goal=None if premise_only else 0,
        goal_margins=goal_margins,
        deployed=("holds" if premise_only else "violated") if finite else "non-finite",
    )


def calls_of(obligation: Obligation) -> tuple[Call, ...]:
    return tuple(dict.fromkeys(t for t in terms_of(obligation) if isinstance(t, Call)))


def _told(call: Call, obligation: Obligation, bound: Bound, point: Sequence[Fraction]) -> CallValue:
    try:
        columns = [value(t, point, bound.call, bound.statistic) for t in call.arguments]
    except Unsupported:  # applied to an irrational number: the truth was decided by enclosure, no value can be shown
        return CallValue(f"{call.reward}(…)", Fraction(0), 0.0, False)
    lo, hi = _ends(bound.artifacts[call.reward], columns)
    row = np.array([[float(c) for c in columns]], dtype=np.float32)
    deployed = float(forward(bound.artifacts[call.reward], row)[0])
    faithful = all(Fraction(float(x)) == c for x, c in zip(row[0], columns, strict=True))
    return CallValue(_text(call, obligation, bound), (lo + hi) / 2, deployed, faithful, (hi - lo) / 2)


def _ends(artifact: Artifact, columns: Sequence[Fraction]) -> tuple[Fraction, Fraction]:
    if artifact.smooth:
        return enclosed(artifact, columns, SHOWN)
    exact = evaluate(artifact, columns)
    return exact, exact


def _text(call: Call, obligation: Obligation, bound: Bound) -> str:
    """`R(a, b)` where the arguments are records as they are, `R(…)` where they are changed ones."""
    names = []
    start = 0
    for parameter in bound.artifacts[call.reward].records:
        part = call.arguments[start : start + parameter.type.width]
        start += parameter.type.width
        indices = [getattr(t, "index", None) for t in part]
        found = [v.name for v in obligation.records if list(v.variables) == indices]
        names.append(found[0] if found else "…")
    return f"{call.reward}({', '.join(names)})"


def _margin(formula: Formula, point: Point) -> Fraction:
    try:
        return margin(formula, point)
    except Unsupported:
        return Fraction(0)
