"""Parts of a claim's region as boxes, feature by feature: how large they are, and which of them join to larger ones.

A *side* of a number is an interval, of a bool or an enum a set of cases, so a box of a region has one side per feature
and never a one-hot column. Sizes are exact: the width of a real relative to its range, the number of integers or cases
relative to theirs, equal parts for the boxes of a rule near data. What has no volume (a face) counts as nothing, but
for a feature whose own range has none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.claim import Box, Claim
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.verifier.rounding import outward

Ints = NDArray[np.int64]
Side = tuple[Fraction, Fraction]
NUMBERS = ("real", "int")
MOST_CASES = 60  # of an enum: sets of cases are the bits of an int64


@dataclass(frozen=True, slots=True)
class Dimension:
    """One scalar feature of the region. `records` share it, in a rule that varies others. `variables` has one per case
    for an enum, else one. `cases` name what a bit of a set stands for."""

    name: str
    records: tuple[str, ...]
    kind: Literal["real", "int", "bool", "enum"]
    unit: str | None
    cases: tuple[str, ...]
    variables: tuple[int, ...]
    vector: bool = False

    @property
    def is_number(self) -> bool:
        return self.kind in NUMBERS


@dataclass(frozen=True, eq=False)
class Frame:
    """What boxes of a claim are measured against."""

    claim: Claim
    dimensions: tuple[Dimension, ...]

    @staticmethod
    def of(claim: Claim, types: Mapping[str, RecordType] | None = None) -> Frame:
        """`types`: the record types by name; without one, columns are taken for what their names and ranges say."""
        found: dict[tuple[int, ...], Dimension] = {}
        for record in claim.records:
            kind = (types or {}).get(record.type_name)
            if kind is None or kind.width != len(record.variables):
                continue
            start = 0
            for feature in kind.features:
                _add(found, feature, record.name, record.variables[start : start + feature.width])
                start += feature.width
        told = {v for variables in found for v in variables}
        dimensions = [*found.values(), *_undeclared(claim, told)]
        return Frame(claim, tuple(sorted(dimensions, key=lambda d: d.variables)))

    @property
    def tellable(self) -> bool:
        """Whether regions of it can be made at all."""
        return all(len(dimension.cases) <= MOST_CASES for dimension in self.dimensions)

    def label(self, dimension: Dimension) -> str:
        """`speed`, or `a.speed` where another record has its own."""
        whole = len(dimension.records) == len(self.claim.records) or not dimension.records
        return dimension.name if whole else f"{'='.join(dimension.records)}.{dimension.name}"

    # ── sides ──────────────────────────────────────────────────────────────────────────────────
    def side(self, dimension: Dimension, box: Box) -> Side | int:
        """The side of an exact box over variables: an interval (of integers: from the first to the one past the last),
        or a set of cases as bits."""
        lo, hi = box[dimension.variables[0]]
        match dimension.kind:
            case "real":
                return lo, hi
            case "int":
                return Fraction(math.ceil(lo)), Fraction(math.floor(hi) + 1)
            case "bool":
                return sum(1 << k for k in (0, 1) if lo <= k <= hi)
        sides = [box[v] for v in dimension.variables]
        certain = [k for k, (least, _) in enumerate(sides) if least > 0]
        if len(certain) > 1:
            return 0
        return sum(1 << k for k, (_, most) in enumerate(sides) if most >= 1 and certain in ([], [k]))

    def sides(self, box: Box) -> tuple[Side | int, ...]:
        return tuple(self.side(dimension, box) for dimension in self.dimensions)

    @cached_property
    def bases(self) -> tuple[tuple[Side | int, ...], ...]:
        """The sides of the claim's boxes."""
        return tuple(self.base(instance) for instance in range(len(self.claim.boxes)))

    def base(self, instance: int) -> tuple[Side | int, ...]:
        """The sides of one of them: of a claim near many rows, only those that are told of are made."""
        if instance not in self._made:
            self._made[instance] = self.sides(self.claim.boxes[instance])
        return self._made[instance]

    @cached_property
    def _made(self) -> dict[int, tuple[Side | int, ...]]:
        return {}

    def share(self, sides: Sequence[Side | int], instance: int) -> Fraction:
        """The share of the whole region that a box with these sides, part of box `instance`, makes up."""
        numerator, denominator = 1, len(self.claim.boxes)
        for side, base in zip(sides, self.base(instance), strict=True):
            part = ratio(side, base)
            numerator, denominator = numerator * part.numerator, denominator * part.denominator
            if not numerator:
                return Fraction(0)
        return Fraction(numerator, denominator)


def ratio(side: Side | int, base: Side | int) -> Fraction:
    """How much of a feature's range one side of a box is; a range without volume counts as one point."""
    if isinstance(side, int) or isinstance(base, int):
        assert isinstance(side, int)
        assert isinstance(base, int)
        return Fraction(side.bit_count(), max(1, base.bit_count()))
    width = base[1] - base[0]
    return (side[1] - side[0]) / width if width else Fraction(1)


def _add(found: dict[tuple[int, ...], Dimension], feature: Feature, record: str, variables: tuple[int, ...]) -> None:
    """The feature's dimensions; one that another record has as well is shared."""
    cases = {"enum": feature.cases, "bool": ("false", "true")}.get(feature.kind, ())
    groups = [variables] if feature.kind == "enum" else [(v,) for v in variables]
    names = [feature.name] if len(groups) == 1 else [f"{feature.name}[{k}]" for k in range(len(groups))]
    for name, group in zip(names, groups, strict=True):
        before = found.get(group)
        records = (record,) if before is None else (*before.records, record)
        found[group] = Dimension(name, records, feature.kind, feature.unit, cases, group, feature.is_vector)


def _undeclared(claim: Claim, told: set[int]) -> Iterable[Dimension]:
    """Columns of no known type: enums by their names (`zone=dock`), whole numbers, reals."""
    groups: dict[str, list[int]] = {}
    for index, variable in enumerate(claim.variables):
        if index not in told:
            stem, equals, _ = variable.name.rpartition("=")
            groups.setdefault(stem if equals and variable.discrete else f"{variable.name}/{index}", []).append(index)
    for members in groups.values():
        first = claim.variables[members[0]]
        stem, equals, _ = first.name.rpartition("=")
        whole = stem if equals and first.discrete else first.name
        record, _, name = whole.rpartition(".")
        records = tuple(r.name for r in claim.records if r.name == record)
        cases = tuple(claim.variables[v].name.rpartition("=")[2] for v in members) if equals and first.discrete else ()
        kind: Literal["enum", "int", "real"] = "enum" if cases else "int" if first.discrete else "real"
        yield Dimension(name or whole, records, kind, first.unit, cases, tuple(members))


@dataclass(frozen=True, slots=True, eq=False)
class OpenBoxes:
    """What an engine has left open, over variables in binary64: boxes `instance` [box] of the claim, `lo` and `hi`
    [box, variable]. They may overlap."""

    instance: Ints
    lo: NDArray[np.float64]
    hi: NDArray[np.float64]

    @staticmethod
    def of(boxes: Sequence[tuple[int, Box]], variables: int) -> OpenBoxes:
        pairs = [outward(box) for _, box in boxes]
        shape = (len(boxes), variables)
        lo, hi = (np.array([pair[k] for pair in pairs]).reshape(shape) for k in (0, 1))
        return OpenBoxes(np.array([i for i, _ in boxes], np.int64), lo, hi)


# ── many boxes ─────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Boxes [box, dimension]: `lo`, `hi` index `ends[dimension]`, or `lo` is a set of cases and `hi` 0. `instance`
    [box] is the box of the claim that each is part of."""

    frame: Frame
    instance: Ints
    lo: Ints
    hi: Ints
    ends: tuple[tuple[Fraction, ...], ...]

    def __len__(self) -> int:
        return len(self.instance)

    @staticmethod
    def of(frame: Frame, boxes: Sequence[tuple[int, Box]]) -> Region:
        """Exact boxes, each with the number of the claim's box that it is part of."""
        return Region.of_sides(frame, [(instance, frame.sides(box)) for instance, box in boxes])

    @staticmethod
    def of_sides(frame: Frame, boxes: Sequence[tuple[int, tuple[Side | int, ...]]]) -> Region:
        count, width = len(boxes), len(frame.dimensions)
        lo, hi = np.zeros((count, width), np.int64), np.zeros((count, width), np.int64)
        ends: list[tuple[Fraction, ...]] = []
        for d, dimension in enumerate(frame.dimensions):
            if not dimension.is_number:
                lo[:, d] = [sides[d] for _, sides in boxes]
                ends.append(())
                continue
            numbers = sorted({end for _, sides in boxes for end in _interval(sides[d])})
            rank = {end: k for k, end in enumerate(numbers)}
            lo[:, d] = [rank[_interval(sides[d])[0]] for _, sides in boxes]
            hi[:, d] = [rank[_interval(sides[d])[1]] for _, sides in boxes]
            ends.append(tuple(numbers))
        return Region(frame, np.array([i for i, _ in boxes], np.int64), lo, hi, tuple(ends))

    @staticmethod
    def of_floats(frame: Frame, boxes: OpenBoxes) -> Region:
        """Their outer faces may lie a rounding outside of the claim's boxes: they are moved back (`sides`)."""
        instance, lo, hi = boxes.instance, boxes.lo, boxes.hi
        count, width = len(instance), len(frame.dimensions)
        low, high = np.zeros((count, width), np.int64), np.zeros((count, width), np.int64)
        ends: list[tuple[Fraction, ...]] = []
        for d, dimension in enumerate(frame.dimensions):
            columns = list(dimension.variables)
            least, most = np.ceil(lo[:, columns]), np.floor(hi[:, columns])
            match dimension.kind:
                case "enum":
                    low[:, d] = _enum_sets(least, most)
                    ends.append(())
                    continue
                case "bool":
                    low[:, d] = (least[:, 0] <= 0) + 2 * (most[:, 0] >= 1)
                    ends.append(())
                    continue
                case "int":
                    pair = np.stack((least[:, 0], most[:, 0] + 1))
                case "real":
                    pair = np.stack((lo[:, columns[0]], hi[:, columns[0]]))
            numbers, inverse = np.unique(pair, return_inverse=True)
            low[:, d], high[:, d] = inverse.reshape(pair.shape)
            ends.append(tuple(Fraction(x) for x in numbers.tolist()))
        return Region(frame, instance, low, high, tuple(ends))

    def sides(self, box: int) -> tuple[Side | int, ...]:
        """Of one box, clipped to the claim's box that it is part of."""
        found: list[Side | int] = []
        base = self.frame.base(int(self.instance[box]))
        for d, whole in enumerate(base):
            if isinstance(whole, int):
                found.append(int(self.lo[box, d]) & whole)
            else:
                ends = self.ends[d]
                found.append((max(ends[self.lo[box, d]], whole[0]), min(ends[self.hi[box, d]], whole[1])))
        return tuple(found)

    def take(self, index: Ints) -> Region:
        return Region(self.frame, self.instance[index], self.lo[index], self.hi[index], self.ends)

    def merged(self) -> Region:
        """The same points in fewer boxes: what agrees on all sides but one and touches there is joined, exactly."""
        now = self
        while len(now) > 1:
            before = len(now)
            for d in range(len(self.frame.dimensions)):
                now = now._joined(d)
            if len(now) == before:
                break
        return now

    def _joined(self, d: int) -> Region:
        number = self.frame.dimensions[d].is_number
        others = [c for c in range(self.lo.shape[1]) if c != d]
        keys = np.column_stack((self.instance, self.lo[:, others], self.hi[:, others]))
        order = np.lexsort((self.hi[:, d], self.lo[:, d], _hash(keys)))
        keys, lo, hi = keys[order], self.lo[order, d], self.hi[order, d]
        fresh = np.ones(len(order), bool)
        fresh[1:] = (keys[1:] != keys[:-1]).any(axis=1)
        if number:
            # The furthest end so far within a group of boxes that agree elsewhere; groups are kept apart by an offset.
            offset = (np.cumsum(fresh) - 1) * (len(self.ends[d]) + 1)
            reach = np.maximum.accumulate(hi + offset)
            fresh[1:] |= lo[1:] + offset[1:] > reach[:-1]
        first = np.flatnonzero(fresh)
        taken = self.take(order[first])
        if number:
            taken.hi[:, d] = np.maximum.reduceat(hi, first)
        else:
            taken.lo[:, d] = np.bitwise_or.reduceat(lo, first)
        return taken

    def shares(self) -> list[Fraction]:
        """Of each box, exact."""
        return [self.frame.share(self.sides(k), int(self.instance[k])) for k in range(len(self))]


def _hash(rows: Ints) -> NDArray[np.uint64]:
    """Equal rows have equal hashes, so that sorting brings them together; a collision only hides a pair."""
    factors = np.uint64(0x9E3779B97F4A7C15) ** np.arange(1, rows.shape[1] + 1, dtype=np.uint64)
    return np.asarray((rows.astype(np.uint64) * factors).sum(axis=1, dtype=np.uint64))


def _interval(side: Side | int) -> Side:
    assert not isinstance(side, int)
    return side


def _enum_sets(least: NDArray[np.float64], most: NDArray[np.float64]) -> Ints:
    """Sets of cases as bits, of boxes over one-hot columns [box, case]."""
    certain, possible = least >= 1, most >= 1
    count = certain.sum(axis=1)
    kept = np.where((count == 0)[:, None], possible, certain & possible & (count == 1)[:, None])
    return np.asarray(kept @ (1 << np.arange(kept.shape[1], dtype=np.int64)), np.int64)
