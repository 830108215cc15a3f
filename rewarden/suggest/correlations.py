"""Correlations in the data that may be worth an `assume`: which of the candidates say something, and how much.

A candidate holds on every row, exactly: otherwise the data would break it. What it says is measured by the points of
the declared domain that it rules out, the assumptions that the spec has already included. Candidates are taken one by
one, each for what it rules out beyond the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.errors import SpecError
from rewarden.spec_lang.evaluate import truth_of_rows
from rewarden.spec_lang.features import RecordType
from rewarden.spec_lang.obligation import Obligation
from rewarden.suggest.bands import bands
from rewarden.suggest.friendly import share_text
from rewarden.suggest.implications import implications
from rewarden.suggest.relation import Relation
from rewarden.suggest.scene import Rows, Scene, as_points, domain_points

MOST = 6
POINTS = 4000  # of the domain, on which it is measured what an assumption rules out
LEAST_ROWS = 50  # rows from which a pattern is more than an accident
LEAST = 0.03  # of the points must be ruled out beyond what others rule out


@dataclass(frozen=True, slots=True)
class Assumption:
    """A relation as a spec would assume it, with what it was counted on."""

    text: str
    lines: tuple[str, ...]
    removed: float


def correlations(scene: Scene) -> tuple[Assumption, ...]:
    """The assumptions worth looking at, the most telling first, of all record types with enough rows."""
    found = [assumption for name in scene.spec.features for assumption in _of_type(scene, name)]
    return tuple(sorted(found, key=lambda a: (-a.removed, a.text))[:MOST])


def _of_type(scene: Scene, type_name: str) -> list[Assumption]:
    data = scene.rows_of(type_name)
    rows = np.concatenate([d.values for d in data]) if data else np.zeros((0, 0))
    if len(rows) < LEAST_ROWS:
        return []
    record = scene.spec.features[type_name]
    points = domain_points(scene, type_name, POINTS)
    (s,) = scene.fresh("s")
    relations = [*implications(record, rows), *bands(record, rows)]
    kept = _true_everywhere(scene, record, relations, s, points)
    return [_assumption(scene, record, s, pick, len(rows), len(points)) for pick in _greedy(kept)]


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    relation: Relation
    out: NDArray[np.bool_]  # the points that it rules out


def _true_everywhere(
    scene: Scene, record: RecordType, relations: list[Relation], s: str, points: Rows
) -> list[_Measured]:
    """Those that hold exactly on every row of the spec's data, with the points that they rule out."""
    tables = [
        scene.spec.table(name, member).values
        for name, declaration in scene.spec.data.items()
        for member, kind in declaration.members
        if kind == record.name
    ]
    measured = []
    for relation, obligation in _lowered(scene, record, relations, s):
        formula = obligation.premise
        if all(truth_of_rows(formula, as_points(obligation, (s,), table[:, None])).all() for table in tables):
            out = ~truth_of_rows(formula, as_points(obligation, (s,), points[:, None]))
            measured.append(_Measured(relation, out))
    return measured


def _lowered(scene: Scene, record: RecordType, relations: list[Relation], s: str) -> list[tuple[Relation, Obligation]]:
    """Each relation as the premise of a rule: parsed, checked and lowered as the language does it."""
    rules = [
        f"should probe_{k}:\n  forall {s}: {record.name}\n  given {relation.body.format(s=s)}\n  expect true"
        for k, relation in enumerate(relations)
    ]
    try:
        probe = scene.with_rules(rules)
        return [(relation, probe.obligation(f"probe_{k}")) for k, relation in enumerate(relations)]
    except SpecError:  # one of them is beyond the language, such as a unit that has no product: leave that one out
        if len(relations) <= 1:
            return []
        half = len(relations) // 2
        return _lowered(scene, record, relations[:half], s) + _lowered(scene, record, relations[half:], s)


def _greedy(measured: list[_Measured]) -> list[tuple[_Measured, float]]:
    """One by one, the relation that rules out most beyond those before it, with that share of the points."""
    picked: list[tuple[_Measured, float]] = []
    left = list(measured)
    count = len(left[0].out) if left else 0
    gone = np.zeros(count, np.bool_)
    while left and count and len(picked) < MOST:
        best = max(left, key=lambda m: (int((m.out & ~gone).sum()) * m.relation.worth, m.relation.body))
        gain = int((best.out & ~gone).sum()) / count
        if gain < LEAST:
            break
        picked.append((best, gain))
        gone |= best.out
        left.remove(best)
    return picked


def _assumption(
    scene: Scene, record: RecordType, s: str, pick: tuple[_Measured, float], rows: int, points: int
) -> Assumption:
    measured, gain = pick
    out = int(measured.out.sum())
    names = ", ".join(d.name for d in scene.rows_of(record.name))
    support = measured.relation.support
    lines = [
        f"holds on all {rows} rows of {names}" + (f"; it says something of {support} of them" if support < rows else "")
    ]
    lines.append(
        f"rules out {share_text(out, points)} of {points} points of the declared domain"
        + ("" if gain == out / points else f", {share_text(round(gain * points), points)} beyond those above")
    )
    lines += measured.relation.remarks
    return Assumption(f"assume {s}: {record.name} = {measured.relation.body.format(s=s)}", tuple(lines), gain)
