"""The neighbourhood of a data row in a rule `near` data: a box, and within it an l1 or l2 ball.

With one radius r for all, the ball is Σ|xⱼ − aⱼ| <= r or Σ(xⱼ − aⱼ)² <= r². With radii rⱼ per feature (or
`p %` of each range) it is the ball of the same norm scaled by them: Σ|xⱼ − aⱼ|/rⱼ <= 1, Σ((xⱼ − aⱼ)/rⱼ)² <= 1.
A feature without a radius, or with radius 0, equals the row's, as all discrete features do unless an int is
given a radius of its own.

A record is *not near* data if it is in no row's box: for every row some column is further off than its radius, or, of a
column without one, not the row's. As a formula that is one disjunction for each row.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang import forms, limits, syntax
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.features import Feature
from rewarden.spec_lang.forms import ONE, combine, constant
from rewarden.spec_lang.formulas import atom, conjunction, disjunction, literal
from rewarden.spec_lang.lower_expressions import Lowering
from rewarden.spec_lang.obligation import Formula, Obligation
from rewarden.spec_lang.source import Span
from rewarden.spec_lang.values import RecordValue

if TYPE_CHECKING:
    from rewarden.spec_lang.tables import Table

Radii = tuple[Fraction | None, ...]  # per encoded column, in its unit; None: equal to the row's


@dataclass(frozen=True, slots=True, eq=False)
class Away:
    """What records are not near: the rows of a table."""

    data: str
    table: Table
    radii: Radii


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


def too_many(several: NDArray[np.float64]) -> bool:
    """Are these rows, each of them once, too many to be written out as comparisons?"""
    return 2 * several.size > limits.AWAY


def named(rows: NDArray[np.float64]) -> bool:
    """Does a claim name the table of these rows, rather than write comparisons out?"""
    most = limits.AWAY_WIDE if rows.shape[1] >= limits.WIDE else limits.AWAY
    return 2 * rows.size > most and 2 * np.unique(rows, axis=0).size > most


def away_from(obligation: Obligation, around: Radii, rows: NDArray[np.float64], origin: Span) -> Formula:
    """The record is in no row's box; comparisons that no record in range satisfies are left out. Unsupported X03 where
    these would be too many."""
    view = obligation.records[0]
    several = np.unique(rows, axis=0) if len(rows) else rows
    if too_many(several):
        text, most = " ".join(origin.text.split()), limits.AWAY // (2 * several.shape[1])
        raise Unsupported(
            "X03",
            f"{obligation.rule.name}: `{text}` at {origin} needs more than {limits.AWAY} comparisons, to be away from "
            f"{len(several)} rows of {several.shape[1]} columns each",
            help=f"name a table of at most {most} rows, and write a rule for each such table; a rule `near` the rows "
            "has no such limit",
        )
    clauses = []
    for row in several.tolist():
        apart = []
        for index, value, radius in zip(view.variables, row, around, strict=True):
            variable, x = obligation.variables[index], forms.variable(index)
            if radius is None and variable.discrete and variable.lo == 0 and variable.hi == 1:
                apart.append(literal(index, value == 0, origin))
                continue
            most, least = Fraction(value) + (radius or 0), Fraction(value) - (radius or 0)
            if most < variable.hi:
                apart.append(atom(x.shifted(-most), True, origin))
            if least > variable.lo:
                apart.append(atom((-x).shifted(least), True, origin))
        clauses.append(disjunction(apart))
    return conjunction(clauses)
