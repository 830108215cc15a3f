"""The boxes that a rule ranges over: one from the declared ranges, or one per data row for a rule near data."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

from rewarden.spec_lang.claim import Box
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.numerals import decimal
from rewarden.spec_lang.obligation import Instances, Obligation, Variable

Interval = tuple[Fraction, Fraction]


def boxes_of(obligation: Obligation) -> tuple[Box, ...]:
    """Closed exact bounds per variable; those of discrete variables are integers.

    Raises DataError D15 where no record is within the radius of a row and in range, D08 for data without rows,
    D16 where a range holds no value at all.
    """
    ranges = tuple(_whole(v, v.lo, v.hi) for v in obligation.variables)
    for variable, (lo, hi) in zip(obligation.variables, ranges, strict=True):
        if lo > hi:
            raise DataError("D16", f"no value of {variable.name} is in its range {variable.lo} .. {variable.hi}")
    if obligation.instances is None:
        return (ranges,)
    rows = len(obligation.instances.anchors)
    if rows == 0:
        raise DataError(
            "D08", f"the data {obligation.instances.data} has no rows", help="a rule near data needs at least one row"
        )
    return tuple(_row_box(obligation, obligation.instances, ranges, row) for row in range(rows))


def _row_box(obligation: Obligation, instances: Instances, ranges: Box, row: int) -> Box:
    box = list(ranges)
    anchor = instances.anchors[row]
    for variable, column, radius in instances.centred:
        lo, hi = ranges[variable]
        centre = Fraction(float(anchor[column]))
        bounds = _whole(obligation.variables[variable], max(lo, centre - radius), min(hi, centre + radius))
        box[variable] = _nonempty(obligation, row, variable, bounds)
    for variable, column in instances.fixed:
        centre = Fraction(float(anchor[column]))
        # A fixed number may lie outside the range by the rounding of the limit to binary64 (tables.py): the row is what
        # it is, and its value, not the limit, is what the rule speaks of.
        bounds = _whole(obligation.variables[variable], centre, centre)
        box[variable] = _nonempty(obligation, row, variable, bounds)
    return tuple(box)


def _whole(variable: Variable, lo: Fraction, hi: Fraction) -> Interval:
    """Discrete variables take integers only, so their bounds may as well be integers."""
    return (Fraction(ceil(lo)), Fraction(floor(hi))) if variable.discrete else (lo, hi)


def _nonempty(obligation: Obligation, row: int, variable: int, bounds: Interval) -> Interval:
    if bounds[0] <= bounds[1]:
        return bounds
    assert obligation.instances is not None
    v = obligation.variables[variable]
    told = f"near row {row + 1} of {obligation.instances.data} no value of {v.name} is in its range"
    told = f"{told} {decimal(v.lo)} .. {decimal(v.hi)}"
    if _is_rounded(obligation.instances, row, variable, v):
        # Such a row counts as in range (tables.py), and yet no record need be near it that is.
        gap = float(bounds[0] - bounds[1])
        told = f"{told}: the row has that limit as binary64 rounds it, which is {gap:.2g} further off than the radius"
    raise DataError("D15", told, help="correct the row, or widen the range or the radius")


def _is_rounded(instances: Instances, row: int, variable: int, v: Variable) -> bool:
    """Is the row's value one of the limits, but for the rounding to binary64?"""
    values = [float(instances.anchors[row, column]) for index, column, _ in instances.centred if index == variable]
    return any(value in (float(v.lo), float(v.hi)) for value in values)
