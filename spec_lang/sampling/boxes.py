"""The boxes that points are drawn from, in float64, rounded inwards: what lies in one lies in the exact range."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor

import numpy as np

from rewarden.spec_lang.obligation import Instances, Obligation
from rewarden.spec_lang.sampling.row_truth import Mask, Rows


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """The variables' own ranges in float64, which of them take integers only, and the one-hot columns of enums."""

    lo: Rows
    hi: Rows
    discrete: Mask
    groups: tuple[tuple[int, ...], ...]
    group_of: dict[int, tuple[int, ...]]


def box_of(obligation: Obligation) -> Box:
    """The variables' ranges in float64, rounded inwards."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, variable in enumerate(obligation.variables):
        feature, equals, _ = variable.column.partition("=")
        if equals:  # a case of an enum, in case order
            groups.setdefault((variable.record, feature), []).append(index)
    found = tuple(tuple(group) for group in groups.values())
    return Box(
        lo=np.array([inward(v.lo, up=True) for v in obligation.variables]),
        hi=np.array([inward(v.hi, up=False) for v in obligation.variables]),
        discrete=np.array([v.discrete for v in obligation.variables], dtype=np.bool_),
        groups=found,
        group_of={index: group for group in found for index in group},
    )


def narrow(instances: Instances, anchors: Rows, lo: Rows, hi: Rows, discrete: Mask) -> None:
    """Ranges [n, variables] to the boxes around data rows [n, column] (in place)."""
    for variable, column, radius in instances.centred:
        reach = Fraction(floor(radius)) if discrete[variable] else radius  # so that ends of whole numbers are whole
        low, high = band(anchors[:, column], reach)
        lo[:, variable] = np.maximum(lo[:, variable], low)
        hi[:, variable] = np.minimum(hi[:, variable], high)
    fixed = [variable for variable, _ in instances.fixed]
    lo[:, fixed] = hi[:, fixed] = anchors[:, [column for _, column in instances.fixed]]


def inward(limit: Fraction, *, up: bool) -> float:
    """The nearest binary64 on the inner side of a limit."""
    nearest = float(limit)
    if up and Fraction(nearest) < limit:
        return float(np.nextafter(nearest, np.inf))
    if not up and Fraction(nearest) > limit:
        return float(np.nextafter(nearest, -np.inf))
    return nearest


def band(centre: Rows, radius: Fraction) -> tuple[Rows, Rows]:
    """Inside centre ± radius whatever the rounding, and all of it where both ends are binary64 numbers.

    The radius rounds down; what a sum rounds off is known exactly (Knuth's TwoSum), and an end outside steps inwards.
    """
    reach = inward(radius, up=False)
    spare = inward(radius - Fraction(reach), up=False)  # what the radius has given away
    low, over = _two_sum(centre, -reach)
    high, short = _two_sum(centre, reach)
    low = np.where(over <= spare, low, np.minimum(np.nextafter(low, np.inf), centre))
    high = np.where(-short <= spare, high, np.maximum(np.nextafter(high, -np.inf), centre))
    return low, high


def _two_sum(a: Rows, b: float) -> tuple[Rows, Rows]:
    """a + b rounded, and what was rounded off, exactly."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)
