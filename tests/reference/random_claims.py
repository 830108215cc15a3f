"""Random claims about random artifacts: one or two records, shared features, what-ifs, discrete features, clauses of
several atoms, strict and non-strict, several goals and boxes. Thresholds lie near sampled margins, so that claims come
out proved as well as violated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.reward.exact import evaluate
from rewarden.spec_lang.claim import (
    Affine,
    AffineAtom,
    Box,
    Claim,
    ClaimCall,
    ClaimRecord,
    ClaimVariable,
    Clause,
)
from rewarden.spec_lang.features import Column, RecordType

Point = tuple[Fraction, ...]


def affine(constant: object = 0, variables: Mapping[int, object] = {}, calls: Mapping[int, object] = {}) -> Affine:
    """An affine form from plain numbers and dictionaries."""

    def entries(terms: Mapping[int, object]) -> tuple[tuple[int, Fraction], ...]:
        return tuple((i, Fraction(str(c))) for i, c in sorted(terms.items()) if Fraction(str(c)) != 0)

    return Affine(Fraction(str(constant)), entries(variables), entries(calls))


def atom(constant: object = 0, variables: Mapping[int, object] = {}, calls: Mapping[int, object] = {}, *, strict=False):
    return AffineAtom(affine(constant, variables, calls), strict)


def plain_claim(
    record_type: RecordType,
    artifacts: Mapping[str, Artifact],
    *,
    records: Sequence[str] = ("s",),
    varying: Sequence[str] | None = None,
    clauses: Sequence[Clause] = (),
    goals: Sequence[Clause] = (),
    calls: Sequence[ClaimCall] | None = None,
    boxes: Sequence[Box] | None = None,
    rule: str = "rule",
) -> Claim:
    """A claim over records of one type; `calls` default to each reward of each record, records first."""
    columns = record_type.columns()
    variables: list[tuple[ClaimVariable, Column]] = []
    views = []
    for number, name in enumerate(records):
        indices = []
        for position, column in enumerate(columns):
            if number and varying is not None and column.feature not in varying:
                indices.append(views[0].variables[position])
                continue
            variables.append((ClaimVariable(f"{name}.{column.name}", column.unit, column.discrete), column))
            indices.append(len(variables) - 1)
        views.append(ClaimRecord(name, record_type.name, tuple(indices)))
    made = calls or tuple(
        ClaimCall(reward, tuple(affine(0, {i: 1}) for i in view.variables)) for reward in artifacts for view in views
    )
    used = {call.reward for call in made}
    return Claim(
        rule=rule,
        severity="must",
        variables=tuple(v for v, _ in variables),
        records=tuple(views),
        rewards=tuple((name, artifacts[name].digest) for name in sorted(artifacts) if name in used),
        calls=tuple(made),
        clauses=(*one_hot(record_type, views), *clauses),
        goals=tuple(goals),
        boxes=tuple(boxes) if boxes else (tuple((c.lo, c.hi) for _, c in variables),),
    )


def one_hot(record_type: RecordType, views: Sequence[ClaimRecord]) -> tuple[Clause, ...]:
    """What the encoding implies: an enum's cases sum to 1. Once per set of variables."""
    found: dict[tuple[int, ...], None] = {}
    for view in views:
        for feature in record_type.features:
            if feature.kind == "enum":
                start = record_type.offset(feature.name)
                found[view.variables[start : start + feature.width]] = None
    return tuple((atom(-sign, dict.fromkeys(cases, sign)),) for cases in found for sign in (1, -1))


def random_claim(
    rng: np.random.Generator, record_type: RecordType, artifacts: Mapping[str, Artifact], *, hard: bool = True
) -> Claim:
    """A claim of one of several shapes. With `hard`, premises may call rewards and have several atoms."""
    varying = None if rng.random() < 0.5 else (str(rng.choice([f.name for f in record_type.features])),)
    names = ("a", "b") if rng.random() < 0.6 else ("a",)
    bare = plain_claim(record_type, artifacts, records=names, varying=varying)
    calls = list(bare.calls)
    if rng.random() < 0.4:
        calls.append(_what_if(rng, bare, calls[0]))
    claim = plain_claim(record_type, artifacts, records=names, varying=varying, calls=calls, boxes=_boxes(rng, bare))
    samples = [_sample(rng, claim) for _ in range(12)]
    values = [(x, call_values(claim, artifacts, x)) for x in samples]
    clauses = [
        _random_clause(rng, claim, values, calls=hard and rng.random() < 0.25) for _ in range(int(rng.integers(0, 4)))
    ]
    goals = [_goal(rng, claim, values) for _ in range(int(rng.choice([1, 1, 2])))]
    return plain_claim(
        record_type,
        artifacts,
        records=names,
        varying=varying,
        clauses=clauses,
        goals=goals,
        calls=calls,
        boxes=claim.boxes,
    )


def call_values(claim: Claim, artifacts: Mapping[str, Artifact], point: Point) -> Point:
    """Each call's exact value, by the artifact's own exact evaluation (no program involved)."""
    return tuple(evaluate(artifacts[c.reward], [value_of(row, point) for row in c.arguments]) for c in claim.calls)


def value_of(form: Affine, point: Point, calls: Point = ()) -> Fraction:
    total = form.constant + sum((c * point[i] for i, c in form.variables), Fraction(0))
    return total + sum((c * calls[i] for i, c in form.calls), Fraction(0))


def truth(claim: Claim, artifacts: Mapping[str, Artifact], point: Point) -> tuple[bool, bool]:
    """(premise, conclusion) at a point, exactly."""
    calls = call_values(claim, artifacts, point)

    def clause_true(clause: Clause) -> bool:
        margins = [(value_of(a.affine, point, calls), a.strict) for a in clause]
        return any(m > 0 or (m == 0 and not strict) for m, strict in margins)

    return all(map(clause_true, claim.clauses)), all(map(clause_true, claim.goals))


def random_point(rng: np.random.Generator, claim: Claim) -> Point:
    """An exact point of a random box, enums one-hot where their names say so; ends and dyadic interior points."""
    return _sample(rng, claim)


def _sample(rng: np.random.Generator, claim: Claim) -> Point:
    box = claim.boxes[int(rng.integers(len(claim.boxes)))]
    point = []
    for variable, (lo, hi) in zip(claim.variables, box, strict=True):
        if variable.discrete:
            point.append(Fraction(int(rng.integers(int(np.ceil(lo)), int(np.floor(hi)) + 1))))
        else:
            point.append(lo + (hi - lo) * Fraction(int(rng.integers(0, 17)), 16))
    groups: dict[str, list[int]] = {}
    for i, variable in enumerate(claim.variables):
        if "=" in variable.name:
            groups.setdefault(variable.name.rpartition("=")[0], []).append(i)
    for members in groups.values():
        allowed = [i for i in members if box[i][1] >= 1]
        chosen = int(rng.choice(allowed or members))
        for i in members:
            point[i] = Fraction(int(i == chosen))
    return tuple(point)


def _boxes(rng: np.random.Generator, claim: Claim) -> tuple[Box, ...]:
    """The full box, or (as near data) one to three smaller ones; discrete variables keep their range."""
    (full,) = claim.boxes
    if rng.random() < 0.6:
        return claim.boxes
    boxes = []
    for _ in range(int(rng.integers(1, 4))):
        box = []
        for variable, (lo, hi) in zip(claim.variables, full, strict=True):
            if variable.discrete:
                box.append((lo, hi))
            else:
                a, b = sorted(Fraction(int(k), 16) for k in rng.integers(0, 17, 2))
                box.append((lo + (hi - lo) * a, lo + (hi - lo) * b))
        boxes.append(tuple(box))
    return tuple(boxes)


def _what_if(rng: np.random.Generator, claim: Claim, call: ClaimCall) -> ClaimCall:
    """The call with one numeric column moved by a constant, or replaced by one."""
    rows = list(call.arguments)
    position = int(rng.integers(len(rows)))
    shift = Fraction(int(rng.integers(-3, 4)), 10)
    rows[position] = affine(shift, dict(rows[position].variables) if rng.random() < 0.7 else {})
    return ClaimCall(call.reward, tuple(rows))


def _random_clause(rng: np.random.Generator, claim: Claim, values, *, calls: bool) -> Clause:
    """One or two atoms that are true at a sampled point; sometimes with equality there."""
    point, outputs = values[int(rng.integers(len(values)))]
    atoms = []
    for _ in range(int(rng.choice([1, 1, 2]))):
        chosen = rng.permutation(len(claim.variables))[: int(rng.integers(1, 3))]
        form = affine(0, {int(i): int(rng.integers(1, 4)) * int(rng.choice([-1, 1])) for i in chosen})
        if calls:
            k = int(rng.integers(len(claim.calls)))
            form = affine(0, dict(form.variables) if rng.random() < 0.5 else {}, {k: int(rng.choice([-1, 1]))})
        slack = Fraction(int(rng.choice([0, 1, 4])), 8)
        value = value_of(form, point, outputs)
        atoms.append(AffineAtom(Affine(slack - value, form.variables, form.calls), bool(slack) and rng.random() < 0.5))
    return tuple(atoms)


def _goal(rng: np.random.Generator, claim: Claim, values) -> Clause:
    """One or two atoms on rewards; the threshold is among, just beyond or well beyond the sampled margins."""
    atoms = []
    for _ in range(int(rng.choice([1, 1, 1, 2]))):
        chosen = [int(k) for k in rng.permutation(len(claim.calls))[: int(rng.integers(1, 3))]]
        signs = dict(zip(chosen, (1, -1), strict=False))
        margins = sorted(value_of(affine(0, {}, signs), x, y) for x, y in values)
        spread = max(margins[-1] - margins[0], Fraction(1, 8))
        beyond = spread * Fraction(str(rng.choice(["-1/8", "0", "1/4", "1", "3"])))
        threshold = (margins[0] - beyond).limit_denominator(1000)
        atoms.append(AffineAtom(affine(-threshold, {}, signs), bool(rng.random() < 0.5)))
    return tuple(atoms)
