"""The neighbourhood of a data row in a rule `near` data: a box, and within it an l1 or l2 ball.

With one radius r for all, the ball is Σ|xⱼ − aⱼ| <= r or Σ(xⱼ − aⱼ)² <= r². With radii rⱼ per feature (or
`p %` of each range) it is the ball of the same norm scaled by them: Σ|xⱼ − aⱼ|/rⱼ <= 1, Σ((xⱼ − aⱼ)/rⱼ)² <= 1.
A feature without a radius, or with radius 0, equals the row's, as all discrete features do unless an int is
given a radius of its own.
"""

from __future__ import annotations

from fractions import Fraction

from rewarden.spec_lang import forms, syntax
from rewarden.spec_lang.features import Feature
from rewarden.spec_lang.forms import ONE, combine, constant
from rewarden.spec_lang.formulas import atom
from rewarden.spec_lang.lower_expressions import Lowering
from rewarden.spec_lang.obligation import Formula
from rewarden.spec_lang.values import RecordValue

Radii = tuple[Fraction | None, ...]  # per encoded column, in its unit; None: equal to the row's


def radii(near: syntax.Near, lowering: Lowering) -> Radii:
    """The radius of every encoded column; T08 for a negative one."""
    record = lowering.symbols.records[near.param.type_name]
    given: dict[str, syntax.Expr] = {}
    match near.radius:
        case tuple() as updates:
            given = {u.name: u.value for u in updates}
        case expr:
            given = {f.name: expr for f in record.features if f.kind == "real"}
    found: list[Fraction | None] = []
    for feature in record.features:
        radius = _radius(feature, given[feature.name], lowering) if feature.name in given else None
        found.extend([radius or None] * feature.width)
    return tuple(found)


def _radius(feature: Feature, expr: syntax.Expr, lowering: Lowering) -> Fraction:
    """In the feature's unit: a percentage is of its range, any other number a difference in coherent SI."""
    value = lowering.constant(expr)
    if value < 0:
        lowering.context.findings.add("T08", "a radius is not negative", expr.span)
        return Fraction(0)
    if isinstance(expr, syntax.Number) and expr.percent:
        return value * (feature.hi - feature.lo)
    return value / lowering.symbols.unit_of(feature).factor


def norm_premise(near: syntax.Near, around: Radii, here: RecordValue, centre: RecordValue) -> Formula:
    """The l1 or l2 ball, as one atom; exact for both (the l2 ball by its square)."""
    scaled = [
        (x - a).scaled(ONE / r) for x, a, r in zip(here.columns, centre.columns, around, strict=True) if r is not None
    ]
    if near.norm == "l1":
        size = combine((forms.absolute(d), ONE) for d in scaled)
    else:
        size = combine((forms.product(d, d), ONE) for d in scaled)
    return atom(constant(1) - size, False, near.span)
