"""The boxes that a rule ranges over: one from the declared ranges, or one per data row for a rule near data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cached_property
from math import ceil, floor, inf, nextafter
from typing import overload

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.claim import Box, Claim
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.numerals import decimal
from rewarden.spec_lang.obligation import Instances, Obligation, Variable

Interval = tuple[Fraction, Fraction]
Array = NDArray[np.float64]


KEPT = 2**17  # numbers: 50 MB of rationals


class RowBoxes(Sequence[Box]):
    """The boxes around the rows of a table, each made exactly when it is asked for: there may be 60,000 of 384
    variables, which as rationals would fill the memory. What has been made is kept where all of it is small."""

    def __init__(self, obligation: Obligation, ranges: Box) -> None:
        assert obligation.instances is not None
        self._obligation, self._instances, self._ranges = obligation, obligation.instances, ranges
        self._made: dict[int, Box] = {}

    def __len__(self) -> int:
        return len(self._instances.anchors)

    @property
    def ranges(self) -> Box:
        """What they are cut by."""
        return self._ranges

    @overload
    def __getitem__(self, index: int) -> Box: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Box, ...]: ...
    def __getitem__(self, index: int | slice) -> Box | tuple[Box, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        row = range(len(self))[index]  # IndexError as a tuple's
        made = self._made.get(row)
        if made is None:
            made = _row_box(self._obligation, self._instances, self._ranges, row)
            if len(self) * len(self._ranges) <= KEPT:
                self._made[row] = made
        return made

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(other) != len(self):
            return False
        return other is self or all(a == b for a, b in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def whole(self, variable: int) -> bool:
        """Is it an integer's?"""
        return self._obligation.variables[variable].discrete

    def centres(self, variable: int) -> Array | None:
        """[box] the rows' values of a variable; None of one that ranges over all there is in each box."""
        columns = {v: column for v, column, _ in self._instances.centred} | dict(self._instances.fixed)
        column = columns.get(variable)
        return None if column is None else np.asarray(self._instances.anchors[:, column], np.float64)

    @cached_property
    def outward(self) -> tuple[Array, Array]:
        """Float64 lo, hi [box, variable] that contain the exact boxes, at most one number further out at each end
        than the best ones."""
        count, instances = len(self), self._instances
        lo, hi = (np.tile([end(pair[i]) for pair in self._ranges], (count, 1)) for i, end in ((0, down), (1, up)))
        for variable, column, radius in instances.centred:
            centre = instances.anchors[:, column].astype(np.float64)
            if self._obligation.variables[variable].discrete:
                pairs = {
                    c: _centred(self._obligation, self._ranges, variable, Fraction(c), radius)
                    for c in set(centre.tolist())
                }
                lo[:, variable] = [down(pairs[c][0]) for c in centre.tolist()]
                hi[:, variable] = [up(pairs[c][1]) for c in centre.tolist()]
                continue
            reach = up(radius)
            lo[:, variable] = np.maximum(lo[:, variable], np.nextafter(centre - reach, -inf))
            hi[:, variable] = np.minimum(hi[:, variable], np.nextafter(centre + reach, inf))
        for variable, column in instances.fixed:
            centre = instances.anchors[:, column].astype(np.float64)
            whole = self._obligation.variables[variable].discrete
            lo[:, variable], hi[:, variable] = (np.ceil(centre), np.floor(centre)) if whole else (centre, centre)
        return lo, hi

    @cached_property
    def hull(self) -> Box:
        """The smallest box around all of them: each bound moves with its row's value."""
        ends = list(self._ranges)
        for variable, column, radius in (*self._instances.centred, *((v, c, None) for v, c in self._instances.fixed)):
            centres = self._instances.anchors[:, column]
            pair = (Fraction(float(centres.min())), Fraction(float(centres.max())))
            if radius is None:
                ends[variable] = (pair[0], pair[1])
                continue
            least, most = (_centred(self._obligation, self._ranges, variable, c, radius) for c in pair)
            ends[variable] = (least[0], most[1])
        return tuple(ends)

    def holding(self, point: Sequence[Fraction]) -> int | None:
        """The first box that a point is in."""
        lo, hi = self.outward
        low, high = np.array([down(x) for x in point]), np.array([up(x) for x in point])
        for row in np.flatnonzero(((high >= lo) & (low <= hi)).all(axis=1)).tolist():
            if all(least <= x <= most for x, (least, most) in zip(point, self[row], strict=True)):
                return int(row)
        return None

    def check(self) -> None:
        """DataError D15 for the first row without a record. Each column is looked at by its values, of which few can
        be without: those of discrete variables, and those off the range by the rounding of its limit."""
        anchors = self._instances.anchors
        without: list[int] = []
        for variable, column, radius in self._instances.centred:
            centres = anchors[:, column].astype(np.float64)
            lo, hi = self._ranges[variable]
            if self._obligation.variables[variable].discrete:
                doubtful = np.unique(centres)
            else:
                doubtful = np.unique(centres[(centres < up(lo)) | (centres > down(hi))])
            for centre in doubtful.tolist():
                least, most = _centred(self._obligation, self._ranges, variable, Fraction(centre), radius)
                if least > most:
                    without.append(int(np.argmax(centres == centre)))
        for variable, column in self._instances.fixed:
            if self._obligation.variables[variable].discrete:
                without += np.flatnonzero(anchors[:, column] % 1 != 0)[:1].tolist()
        if without:
            self[min(without)]

    def __iter__(self) -> Iterator[Box]:
        return (self[row] for row in range(len(self)))


def hull(boxes: Sequence[Box]) -> Box:
    """The smallest box around `boxes`, of which there is at least one."""
    if isinstance(boxes, RowBoxes):
        return boxes.hull
    return tuple((min(lo for lo, _ in column), max(hi for _, hi in column)) for column in zip(*boxes, strict=True))


def down(value: Fraction) -> float:
    """The largest float64 that is not above `value`; -inf or the largest of all beyond the range."""
    try:
        nearest = float(value)
    except OverflowError:
        return nextafter(inf, 0.0) if value > 0 else -inf
    return nearest if Fraction(nearest) <= value else nextafter(nearest, -inf)


def up(value: Fraction) -> float:
    return -down(-value)


def apart(claim: Claim, point: Sequence[Fraction]) -> bool:
    """Is a point in the box of no row, exactly? True of a claim that does not ask."""
    near = claim.near
    if near is None or near.inside:
        return True
    assert near.rows is not None, "a claim that is decided has its rows at hand"
    lo, hi = (np.array([end(x) for x in point]) for end in (down, up))
    reach = np.array([up(radius or Fraction(0)) for radius in near.radii])
    close = (np.nextafter(near.rows - reach, -inf) <= hi) & (np.nextafter(near.rows + reach, inf) >= lo)
    rows = near.rows[close.all(axis=1)].tolist()
    return not any(
        all(abs(x - Fraction(a)) <= (r or 0) for x, r, a in zip(point, near.radii, row, strict=True)) for row in rows
    )


def boxes_of(obligation: Obligation) -> Sequence[Box]:
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
    boxes = RowBoxes(obligation, ranges)
    boxes.check()
    return boxes


def _row_box(obligation: Obligation, instances: Instances, ranges: Box, row: int) -> Box:
    box = list(ranges)
    anchor = instances.anchors[row]
    for variable, column, radius in instances.centred:
        bounds = _centred(obligation, ranges, variable, Fraction(float(anchor[column])), radius)
        box[variable] = _nonempty(obligation, row, variable, bounds)
    for variable, column in instances.fixed:
        centre = Fraction(float(anchor[column]))
        # A fixed number may lie outside the range by the rounding of the limit to binary64 (tables.py): the row is what
        # it is, and its value, not the limit, is what the rule speaks of.
        bounds = _whole(obligation.variables[variable], centre, centre)
        box[variable] = _nonempty(obligation, row, variable, bounds)
    return tuple(box)


def _centred(obligation: Obligation, ranges: Box, variable: int, centre: Fraction, radius: Fraction) -> Interval:
    lo, hi = ranges[variable]
    return _whole(obligation.variables[variable], max(lo, centre - radius), min(hi, centre + radius))


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
