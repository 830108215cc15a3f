"""How much of the domain lies in a union of boxes, exactly: rational shares, overlaps counted once.

A box is a side for each feature: an interval of a number (closed; of an integer its first and last), or the set of
values of a bool or of an enum, as a bit mask. What a new box adds is what of it is in none of the earlier ones, cut off
feature by feature. Where that falls into too many pieces, the answer is a lower and an upper bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, prod

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.tables import index_of

Side = tuple[Fraction, Fraction] | int
Sides = tuple[Side, ...]
MOST_SIDES = 400_000  # of the pieces that a union is cut into
TINY = 1e-300  # more than all products of shares that underflow
MOST_EXACT = 50_000  # sides of all boxes that are told in rationals


@dataclass(frozen=True, slots=True)
class Share:
    """Of the domain, between `least` and `most`; exact where they are equal."""

    least: Fraction
    most: Fraction

    @property
    def exact(self) -> bool:
        return self.least == self.most


@dataclass(frozen=True, slots=True)
class _Feature:
    kind: str
    first: int  # of its columns
    width: int
    lo: Fraction
    hi: Fraction

    @property
    def whole(self) -> Side:
        return (1 << self.width) - 1 if self.kind == "enum" else 3 if self.kind == "bool" else (self.lo, self.hi)

    def size(self, side: Side) -> Fraction:
        if isinstance(side, int):
            return Fraction(side.bit_count())
        return max(Fraction(0), side[1] - side[0] + (1 if self.kind == "int" else 0))

    def share(self, side: Side) -> Fraction:
        full = self.size(self.whole)
        return self.size(side) / full if full else Fraction(1)


def where_patches_act(artifact: Artifact, numbers: Sequence[int]) -> Share:
    """The share of the domain in which patches with these numbers may change the reward: their regions with their rims,
    counted as the boxes that hold them (rows of several columns are left out of account, which can only be more)."""
    features = _features(artifact)
    if sum(index_of(artifact, number).boxes for number in numbers) * len(features) > MOST_EXACT:
        return Share(Fraction(0), min(Fraction(1), sum((_at_most(artifact, k) for k in numbers), Fraction(0))))
    boxes = [box for number in numbers for box in _boxes(artifact, number, features)]
    rounded = any(
        np.count_nonzero(row) != 1 for k in numbers for row in artifact.tensors[artifact.patches[k].rows]
    )  # slanted: the boxes hold more than the patch does
    found = union(boxes, features)
    return Share(Fraction(0), found.most) if rounded else found


def _at_most(artifact: Artifact, number: int) -> Fraction:
    """No less than the sum of the shares of a patch's boxes, from ends that are rounded outwards; columns that are not
    real count in full."""
    index = index_of(artifact, number)
    real = np.array([feature.kind == "real" for feature in _features(artifact) for _ in range(feature.width)])
    some = real[index.columns]
    columns = [artifact.columns[j] for j in index.columns[some].tolist()]
    least, most = (
        np.array([float(end) for end in ends]) for ends in ([c.lo for c in columns], [c.hi for c in columns])
    )
    width = np.minimum(index.high[:, some], most) - np.maximum(index.low[:, some], least)
    shares = np.where(most > least, np.clip(width / np.where(most > least, most - least, 1.0) + 1e-12, 0.0, 1.0), 1.0)
    return Fraction(float(shares.prod(axis=1).sum() * (1.0 + 1e-9) + TINY))


def _features(artifact: Artifact) -> tuple[_Feature, ...]:
    found: list[_Feature] = []
    first = 0
    for record in artifact.records:
        for f in record.type.features:
            if f.kind == "enum":
                found.append(_Feature("enum", first, len(f.cases), Fraction(0), Fraction(1)))
            else:
                found += [_Feature(f.kind, first + k, 1, f.lo, f.hi) for k in range(f.size)]
            first += f.width
    return tuple(found)


def _boxes(artifact: Artifact, number: int, features: Sequence[_Feature]) -> Iterator[Sides]:
    patch, tensors = artifact.patches[number], artifact.tensors
    rows, table = tensors[patch.rows], np.atleast_2d(tensors[patch.offsets])
    gate = Fraction(float(tensors[patch.gate][0]))
    alone = index_of(artifact, number).alone
    weights = [Fraction(float(row[j])) if j >= 0 else Fraction(0) for row, j in zip(rows, alone.tolist(), strict=True)]
    for offsets in table:
        ends: dict[int, tuple[Fraction | None, Fraction | None]] = {}
        for weight, column, offset in zip(weights, alone.tolist(), offsets.tolist(), strict=True):
            if column < 0:
                continue
            edge, (lo, hi) = (gate + Fraction(offset)) / weight, ends.get(column, (None, None))
            if weight > 0:
                ends[column] = (lo, edge if hi is None else min(hi, edge))
            else:
                ends[column] = (edge if lo is None else max(lo, edge), hi)
        sides = tuple(_side(feature, ends) for feature in features)
        if all(f.size(s) > 0 or f.whole == s for f, s in zip(features, sides, strict=True)):
            yield sides


def _side(feature: _Feature, ends: dict[int, tuple[Fraction | None, Fraction | None]]) -> Side:
    if feature.kind in ("enum", "bool"):
        mask = 0
        for k in range(feature.width if feature.kind == "enum" else 2):
            values = {feature.first: k} if feature.kind == "bool" else {
                feature.first + j: int(j == k) for j in range(feature.width)
            }  # fmt: skip
            ok = all(
                (lo is None or values[c] > lo) and (hi is None or values[c] < hi)
                for c, (lo, hi) in ends.items()
                if c in values
            )
            mask |= ok << k
        return mask
    lo, hi = ends.get(feature.first, (None, None))
    low = feature.lo if lo is None else max(feature.lo, lo)
    high = feature.hi if hi is None else min(feature.hi, hi)
    if feature.kind == "int":
        low = Fraction(floor(low) + 1) if lo is not None and low == lo else Fraction(ceil(low))
        high = Fraction(ceil(high) - 1) if hi is not None and high == hi else Fraction(floor(high))
    return (low, high)


# ── unions ─────────────────────────────────────────────────────────────────────────────────────
def union(boxes: Sequence[Sides], features: Sequence[_Feature]) -> Share:
    """The share of their union."""
    shares = [prod((f.share(s) for f, s in zip(features, box, strict=True)), start=Fraction(1)) for box in boxes]
    order = sorted(range(len(boxes)), key=lambda k: -shares[k])
    total, work, lo_hi = Fraction(0), 0, _ends(boxes, features)
    done: list[int] = []
    for k in order:
        near = _meeting(lo_hi, k, done)
        pieces = [boxes[k]]
        for other in near:
            pieces = [left for piece in pieces for left in _without(piece, boxes[other], features)]
            work += len(pieces) * len(features)
            if work > MOST_SIDES:
                return Share(total, min(Fraction(1), total + sum((shares[j] for j in order[len(done) :]), Fraction(0))))
        total += sum(
            (prod((f.share(s) for f, s in zip(features, p, strict=True)), start=Fraction(1)) for p in pieces),
            Fraction(0),
        )
        done.append(k)
    return Share(total, total)


def _ends(boxes: Sequence[Sides], features: Sequence[_Feature]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    numbers = [k for k, f in enumerate(features) if not isinstance(f.whole, int)]
    lo = np.array([[float(box[k][0]) for k in numbers] for box in boxes])  # type: ignore[index]
    hi = np.array([[float(box[k][1]) for k in numbers] for box in boxes])  # type: ignore[index]
    return lo.reshape(len(boxes), len(numbers)), hi.reshape(len(boxes), len(numbers))


def _meeting(ends: tuple[NDArray[np.float64], NDArray[np.float64]], k: int, done: Sequence[int]) -> list[int]:
    """Of the boxes done, those that may meet box k."""
    lo, hi = ends
    some = np.array(done, dtype=np.intp)
    kept = ((lo[some] <= hi[k]) & (hi[some] >= lo[k])).all(axis=1)
    return [int(j) for j in some[kept]]


def _without(box: Sides, other: Sides, features: Sequence[_Feature]) -> Iterator[Sides]:
    """What of a box is not in another, as boxes without common volume."""
    rest = list(box)
    for k, (mine, theirs, feature) in enumerate(zip(box, other, features, strict=True)):
        inner: Side
        if isinstance(mine, int):
            assert isinstance(theirs, int)
            outer: list[Side] = [mine & ~theirs]
            inner = mine & theirs
        else:
            assert not isinstance(theirs, int)
            step = 1 if feature.kind == "int" else 0
            inner = (max(mine[0], theirs[0]), min(mine[1], theirs[1]))
            outer = [(mine[0], inner[0] - step), (inner[1] + step, mine[1])]
        degenerate = feature.size(feature.whole) == 0
        if feature.size(inner) == 0 and not degenerate:
            yield (*rest[:k], mine, *rest[k + 1 :])
            return
        for side in outer:
            if feature.size(side) > 0:
                yield (*rest[:k], side, *rest[k + 1 :])
        rest[k] = inner
