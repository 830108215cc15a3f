"""A witness: one exactly checked point of a claim's domain, told in the words and units of the domain.

`replay` is the only way to make one. It judges in exact arithmetic, where truth is decided, and runs the deployed
(float32) reward on the same record, so that both are shown side by side. Under float32 semantics the deployed values
decide, at the records of binary32 numbers that are nearest to the point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isfinite
from typing import Any, Literal

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.canonical import rational_text
from rewarden.spec_lang.claim import Affine, Claim, ClaimCall, ClaimRecord
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.verifier.deployed_program import DeployedProgram, Judge, judge_of
from rewarden.verifier.exact_program import Evaluation, Point, box_of
from rewarden.verifier.program import Program

Value = bool | int | float | str | tuple[float, ...] | tuple[int, ...]
Deployed = Literal["violated", "holds", "premise false", "non-finite"]


@dataclass(frozen=True, slots=True)
class FeatureValue:
    """`value` in the feature's `unit`: a bool, an int, a case's name, a float or a tuple of them; `exact` as text."""

    name: str
    unit: str | None
    value: Value
    exact: str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecordValue:
    name: str
    type_name: str
    features: tuple[FeatureValue, ...]


@dataclass(frozen=True, slots=True)
class CallValue:
    """A reward's exact value at the witness, beside what the deployed network returns (nearest float32 arguments)."""

    text: str
    exact: Fraction
    deployed: float
    exact_arguments: bool  # every argument is a float32, so that the deployed reward saw exactly this record
    radius: Fraction | None = Fraction(0)  # of a smooth reward: how far `exact` may be off; None: there is no saying


@dataclass(frozen=True, slots=True)
class Witness:
    """`point`: exact values of the claim's variables, inside box number `box`.

    `premise` has each clause's best atom margin (true ones are >= 0). `goal` is the number of an exactly false goal
    and `goal_margins` its atoms' exact margins; a premise witness has goal None. `deployed` says what the same atoms
    come to with the deployed rewards' values in place of the exact ones.
    """

    rule: str
    box: int
    point: Point
    records: tuple[RecordValue, ...]
    calls: tuple[CallValue, ...]
    premise: tuple[Fraction, ...]
    goal: int | None
    goal_margins: tuple[Fraction, ...]
    deployed: Deployed
    shortfall: Fraction | None = None  # of the conclusion as it is written, where that is known (`shortfall`)

    @property
    def violation(self) -> Fraction:
        """How far the conclusion is from true, or else the goal: minus its best atom's margin (0 if none is false)."""
        if self.shortfall is not None:
            return self.shortfall
        return -max(self.goal_margins) if self.goal_margins else Fraction(0)

    def values(self) -> dict[str, dict[str, Any]]:
        """record → feature → value in problem units, JSON-ready."""
        return {r.name: {f.name: _json(f.value) for f in r.features} for r in self.records}

    def units(self) -> dict[str, dict[str, str | None]]:
        return {r.name: {f.name: f.unit for f in r.features} for r in self.records}

    def exact(self) -> dict[str, dict[str, Any]]:
        """As `values`, with every number as an exact rational in text."""
        return {r.name: {f.name: _json(f.exact) for f in r.features} for r in self.records}

    def details(self) -> dict[str, Any]:
        """What stands beside the values: units, exact numbers, rewards, margins. JSON-ready."""
        return {
            "units": self.units(),
            "exact": self.exact(),
            "rewards": [
                {
                    "call": c.text,
                    "exact": str(c.exact),
                    "value": _number(c.exact),
                    "deployed": c.deployed if isfinite(c.deployed) else str(c.deployed),
                    "exact_arguments": c.exact_arguments,
                    **({} if c.radius == 0 else {"within": None if c.radius is None else str(c.radius)}),
                }
                for c in self.calls
            ],
            "goal": self.goal,
            "goal_margins": [str(m) for m in self.goal_margins],
            "violation": _number(self.violation),
            "premise_margins": [str(m) for m in self.premise],
            "deployed": self.deployed,
            "instance": self.box,
        }


def replay(claim: Claim, program: Program | Judge, artifacts: Mapping[str, Artifact], point: Point) -> Witness | None:
    """A witness that the claim is false at `point`: in a box, premise exactly true, some goal exactly false. Else None.

    Where several goals are false, the one that fails by most is told. Under float32 semantics a record at which a
    reward is not finite is one too (`deployed` says so), since no rule is known to hold there.
    """
    checked = _premise(claim, program, point)
    if checked is None:
        return None
    if checked.non_finite:
        return _told(claim, artifacts, checked, None)
    failing = checked.seen.failing_goals(claim)
    if not failing:
        return None
    goal = min(failing, key=lambda g: (max(_margins(checked.seen, claim, g), default=Fraction(0)), g))
    return _told(claim, artifacts, checked, goal)


def replay_premise(
    claim: Claim, program: Program | Judge, artifacts: Mapping[str, Artifact], point: Point
) -> Witness | None:
    """A witness that the premise can hold: `point` is in a box and satisfies every clause exactly. Else None."""
    checked = _premise(claim, program, point)
    return None if checked is None else _told(claim, artifacts, checked, None)


@dataclass(frozen=True, slots=True)
class _Checked:
    """A point of box number `box`, as it is `seen` by the semantics that decides, and with the exact rewards."""

    box: int
    seen: Evaluation
    exact: Evaluation
    non_finite: bool = False


def with_types(witness: Witness, types: Mapping[str, RecordType]) -> Witness:
    """The same with every record told by its declared type: a rule over features alone has no reward that knows it."""
    records = []
    for record in witness.records:
        kind = types.get(record.type_name)
        records.append(record if kind is None or not _column_by_column(record, kind) else _retold(record, kind))
    return replace(witness, records=tuple(records))


def _column_by_column(record: RecordValue, kind: RecordType) -> bool:
    names = [feature.name for feature in record.features]
    return names == [c.name for c in kind.columns()] and all(f.exact not in ("true", "false") for f in record.features)


def _retold(record: RecordValue, kind: RecordType) -> RecordValue:
    columns = [Fraction(str(feature.exact)) for feature in record.features]
    features = []
    start = 0
    for feature in kind.features:
        features.append(decode(feature, columns[start : start + feature.width]))
        start += feature.width
    return RecordValue(record.name, record.type_name, tuple(features))


def _premise(claim: Claim, program: Program | Judge, point: Point) -> _Checked | None:
    judge = judge_of(program) if isinstance(program, Program) else program
    if isinstance(judge, DeployedProgram):
        return _deployed_premise(claim, judge, point)
    box = box_of(claim, point)
    if box is None:
        return None
    evaluation = judge.evaluate(point)
    return _Checked(box, evaluation, evaluation) if evaluation.premise_holds(claim) else None


def _deployed_premise(claim: Claim, judge: DeployedProgram, point: Point) -> _Checked | None:
    record = judge.record(point)
    box = None if record is None else box_of(claim, record)
    if record is None or box is None:
        return None
    seen = judge.evaluate(record)
    if seen is not None:
        return _Checked(box, seen, judge.exact.evaluate(record)) if seen.premise_holds(claim) else None
    exact = judge.exact.evaluate(record)
    over_variables = (clause for clause in claim.clauses if not any(atom.affine.calls for atom in clause))
    return _Checked(box, exact, exact, True) if all(exact.any_holds(clause) for clause in over_variables) else None


def _margins(evaluation: Evaluation, claim: Claim, goal: int) -> tuple[Fraction, ...]:
    return tuple(evaluation.margin(atom.affine) for atom in claim.goals[goal])


def _told(claim: Claim, artifacts: Mapping[str, Artifact], checked: _Checked, goal: int | None) -> Witness:
    bound = [artifacts[name] for name, _ in claim.rewards if name in artifacts]
    types = tuple(r.type for artifact in bound for r in artifact.records)
    point, seen = checked.seen.point, checked.seen
    records = tuple(_record(r, claim, _declared(r, claim, types), point) for r in claim.records)
    calls = tuple(_call(claim, artifacts, checked.exact, k) for k in range(len(claim.calls)))
    if seen is not checked.exact:
        calls = tuple(replace(c, deployed=float(value)) for c, value in zip(calls, seen.calls, strict=True))
    premise = tuple(max(seen.margin(a.affine) for a in clause) for clause in claim.clauses)
    margins = () if goal is None else _margins(seen, claim, goal)
    deployed = "non-finite" if checked.non_finite else _deployed_verdict(claim, point, [c.deployed for c in calls])
    return Witness(claim.rule, checked.box, point, records, calls, premise, goal, margins, deployed)


def _deployed_verdict(claim: Claim, point: Point, calls: Sequence[float]) -> Deployed:
    if not all(isfinite(c) for c in calls):
        return "non-finite"
    seen = Evaluation(point, tuple(Fraction(c) for c in calls))
    if not seen.premise_holds(claim):
        return "premise false"
    return "violated" if seen.failing_goals(claim) else "holds"


def _declared(record: ClaimRecord, claim: Claim, types: Sequence[RecordType]) -> RecordType | None:
    """The type of a record: the rewards' type with its columns, or else with its name and width."""
    columns = [claim.variables[i].name.rpartition(".")[2] for i in record.variables]
    by_columns = (t for t in types if [c.name for c in t.columns()] == columns)
    by_name = (t for t in types if t.name == record.type_name and t.width == len(columns))
    return next(by_columns, None) or next(by_name, None)


# ── records in words ───────────────────────────────────────────────────────────────────────────
def _record(record: ClaimRecord, claim: Claim, known: RecordType | None, point: Point) -> RecordValue:
    values = [point[i] for i in record.variables]
    if known is None or known.width != len(values):
        return RecordValue(record.name, record.type_name, _undeclared(record, claim, values))
    features = []
    start = 0
    for feature in known.features:
        features.append(decode(feature, values[start : start + feature.width]))
        start += feature.width
    return RecordValue(record.name, record.type_name, tuple(features))


def decode(feature: Feature, columns: Sequence[Fraction]) -> FeatureValue:
    """A feature's value from its encoded columns."""
    match feature.kind:
        case "enum":
            case = feature.cases[max(range(len(columns)), key=lambda k: columns[k])]
            return FeatureValue(feature.name, None, case, case)
        case "bool" if len(columns) == 1:
            return FeatureValue(feature.name, None, bool(columns[0]), "true" if columns[0] else "false")
        case "int" if len(columns) == 1:
            return FeatureValue(feature.name, feature.unit, int(columns[0]), str(columns[0]))
        case _ if len(columns) == 1:
            return FeatureValue(feature.name, feature.unit, _number(columns[0]), str(columns[0]))
    exact = tuple(str(c) for c in columns)
    if feature.kind == "real":
        return FeatureValue(feature.name, feature.unit, tuple(_number(c) for c in columns), exact)
    return FeatureValue(feature.name, feature.unit, tuple(int(c) for c in columns), exact)


def _undeclared(record: ClaimRecord, claim: Claim, values: Sequence[Fraction]) -> tuple[FeatureValue, ...]:
    """Column by column, where no bound reward declares the record's type (a rule over features alone)."""
    told = []
    for index, value in zip(record.variables, values, strict=True):
        variable = claim.variables[index]
        name = variable.name.rpartition(".")[2]
        shown: Value = int(value) if variable.discrete else _number(value)
        told.append(FeatureValue(name, variable.unit, shown, str(value)))
    return tuple(told)


# ── calls in words, and as deployed ────────────────────────────────────────────────────────────
def _call(claim: Claim, artifacts: Mapping[str, Artifact], evaluation: Evaluation, k: int) -> CallValue:
    from rewarden.reward.deployed import forward

    call = claim.calls[k]
    artifact = artifacts[call.reward]
    columns = tuple(_at(row, evaluation.point) for row in call.arguments)
    with np.errstate(all="ignore"):
        row = np.array([[_number(c) for c in columns]], dtype=np.float32)
        deployed = float(forward(artifact, row)[0])
    faithful = all(Fraction(float(x)) == c for x, c in zip(row[0], columns, strict=True))
    radius = evaluation.radii[k] if evaluation.radii else Fraction(0)
    return CallValue(_call_text(claim, call, artifact, columns), evaluation.calls[k], deployed, faithful, radius)


def _at(row: Affine, point: Point) -> Fraction:
    if not row.constant and len(row.variables) == 1 and row.variables[0][1] == 1:
        return point[row.variables[0][0]]  # a column as it is, of which there may be thousands
    return sum((c * point[i] for i, c in row.variables), row.constant)


def _call_text(claim: Claim, call: ClaimCall, artifact: Artifact, columns: Sequence[Fraction]) -> str:
    """`R(a)`, or `R(a with {speed = 2.5})` where the arguments differ from a record's."""
    parts = []
    start = 0
    for parameter in artifact.records:
        stop = start + parameter.type.width
        parts.append(_argument_text(claim, call.arguments[start:stop], parameter.type, columns[start:stop]))
        start = stop
    return f"{call.reward}({', '.join(parts)})"


def _argument_text(claim: Claim, rows: Sequence[Affine], kind: RecordType, columns: Sequence[Fraction]) -> str:
    plain = [_plain_variable(row) for row in rows]
    fitting = [r for r in claim.records if len(r.variables) == len(rows)]
    if not fitting:
        return "…"
    best = max(fitting, key=lambda r: sum(p == v for p, v in zip(plain, r.variables, strict=True)))
    changed = []
    start = 0
    for feature in kind.features:
        stop = start + feature.width
        if tuple(plain[start:stop]) != best.variables[start:stop]:
            shown = decode(feature, columns[start:stop])
            unit = f" [{shown.unit}]" if shown.unit else ""
            changed.append(f"{feature.name} = {_json(shown.value)}{unit}")
        start = stop
    return best.name if not changed else f"{best.name} with {{{', '.join(changed)}}}"


def _plain_variable(row: Affine) -> int | None:
    """The variable, where the row is just that variable."""
    if row.constant == 0 and len(row.variables) == 1 and row.variables[0][1] == 1:
        return row.variables[0][0]
    return None


def _number(value: Fraction) -> float:
    """The nearest float; infinite beyond its range."""
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _json(value: Value | tuple[str, ...]) -> object:
    return list(value) if isinstance(value, tuple) else value


def proof_witness(witness: Witness) -> dict[str, Any]:
    """The `witness` of a proof object: a box number and a rational per variable (docs/formats.md, Proof)."""
    return {"box": witness.box, "point": [rational_text(x) for x in witness.point]}
