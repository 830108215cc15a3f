"""Membership of a neighbourhood of data, by its definition: the reference for boxes and balls around rows.

Outside every row's neighbourhood a rule near data says nothing.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from rewarden.spec_lang import syntax
from rewarden.spec_lang.features import Feature
from tests.reference import evaluate_data
from tests.reference.evaluate_units import scale
from tests.reference.evaluate_values import Typed, elements

if TYPE_CHECKING:
    from tests.reference.evaluate import Evaluator


def member(evaluator: Evaluator, near: syntax.Near, here: Typed, row: Typed) -> bool:
    """Whether the record lies within the radius of that row: other features equal, all in range."""
    return in_range(here) and in_box(evaluator, near, here, row) and in_ball(evaluator, near, here, row)


def near_some(evaluator: Evaluator, near: syntax.Near, here: Typed) -> bool:
    """Whether the record lies within the radius of some row: what `not near` excludes."""
    rows = evaluate_data.rows_of(evaluator, near.data.name)
    return any(in_box(evaluator, near, here, row.members[""]) for row in rows)


def in_range(record: Typed) -> bool:
    numbers = [f for f in record.type.features if f.kind in ("real", "int")]
    return all(f.lo <= x <= f.hi for f in numbers for x in elements(record.values[f.name]))


def in_box(evaluator: Evaluator, near: syntax.Near, here: Typed, row: Typed) -> bool:
    for f in here.type.features:
        around = radius(evaluator, near, f)
        if not around:
            if here.values[f.name] != row.values[f.name]:
                return False
        elif any(abs(d) > around for d in differences(f, here, row)):
            return False
    return True


def in_ball(evaluator: Evaluator, near: syntax.Near, here: Typed, row: Typed) -> bool:
    """The norm's own part: nothing more than the box for linf."""
    if near.norm == "linf":
        return True
    total = Fraction(0)
    for f in here.type.features:
        around = radius(evaluator, near, f)
        if around:
            steps = [d / around for d in differences(f, here, row)]
            total += sum(abs(s) if near.norm == "l1" else s * s for s in steps)
    return total <= 1


def differences(f: Feature, here: Typed, row: Typed) -> list[Fraction]:
    pairs = zip(elements(here.values[f.name]), elements(row.values[f.name]), strict=True)
    return [x - a for x, a in pairs]


def radius(evaluator: Evaluator, near: syntax.Near, f: Feature) -> Fraction | None:
    """In the feature's unit; None for features that equal the row's."""
    if isinstance(near.radius, tuple):
        given = {u.name: u.value for u in near.radius}.get(f.name)
    else:
        given = near.radius if f.kind == "real" else None
    if given is None:
        return None
    if isinstance(given, syntax.Number) and given.percent:
        return given.value / 100 * (f.hi - f.lo)
    return evaluator.value(given, {}) / scale(f.unit).factor
