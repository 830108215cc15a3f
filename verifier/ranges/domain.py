"""The records that are looked at: a box of encoded columns, cut in two again and again without losing a record.

A real column is halved. A whole number is cut between two numbers. An enum's columns are cut by one case: the records
of that case on one side, those of all others on the other; where one case alone is left, it is the one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.learners.interface import Array
from rewarden.spec_lang.errors import UsageError
from rewarden.spec_lang.features import Feature
from rewarden.verifier.rounding import outward, round_down, round_up

Bounds = tuple[Fraction, Fraction]


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """How the columns of a reward are cut. `cases`: the columns of each enum; `whole`: other discrete columns."""

    features: tuple[tuple[str, Feature, int], ...]  # full name, feature, first column
    whole: NDArray[np.bool_]
    cases: tuple[slice, ...]

    @property
    def width(self) -> int:
        return len(self.whole)

    def cut(self, lo: Array, hi: Array, axis: NDArray[np.intp]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Both parts of every box [box, column]; every axis has lo < hi."""
        rows = np.arange(len(lo))
        at_lo, at_hi = lo[rows, axis], hi[rows, axis]
        middle = at_lo + (at_hi - at_lo) / 2
        whole = self.whole[axis]
        down = np.where(whole, np.floor(middle), middle)
        down = np.where(whole & (down >= at_hi), at_hi - 1, down)  # columns far beyond 2^52 aside, never taken
        left_hi, right_lo = hi.copy(), lo.copy()
        left_hi[rows, axis] = down
        right_lo[rows, axis] = np.where(whole, down + 1, down)
        left, right = (lo.copy(), left_hi), (right_lo, hi.copy())
        for columns in self.cases:
            mine = np.flatnonzero((axis >= columns.start) & (axis < columns.stop))
            if not len(mine):
                continue
            left[1][mine, axis[mine]] = 0.0
            right[1][mine, columns] = 0.0
            right[0][mine, axis[mine]] = right[1][mine, axis[mine]] = 1.0
            self._only_one(left, mine, columns)
        return left, right

    def _only_one(self, box: tuple[Array, Array], rows: NDArray[np.intp], columns: slice) -> None:
        """In place: where one case is left, it is the one."""
        possible = box[1][rows, columns] > 0
        alone = rows[possible.sum(axis=1) == 1]
        box[0][alone, columns] = box[1][alone, columns]

    def inside(self, lo: Array, hi: Array, at: Array) -> Array:
        """Records near `at` [row, column] that lie in the boxes: whole numbers and cases are rounded to one."""
        found = np.clip(at, lo, hi)
        found[:, self.whole] = np.clip(np.rint(found[:, self.whole]), lo[:, self.whole], hi[:, self.whole])
        for columns in self.cases:
            open_ = np.where(hi[:, columns] > 0, at[:, columns] + lo[:, columns], -np.inf)
            found[:, columns] = np.eye(open_.shape[1])[open_.argmax(axis=1)]
        return found


def domain_of(artifact: Artifact) -> Domain:
    several, features, start = len(artifact.records) > 1, [], 0
    whole, cases = [], []
    for record in artifact.records:
        for feature in record.type.features:
            features.append((f"{record.param}.{feature.name}" if several else feature.name, feature, start))
            if feature.kind == "enum":
                cases.append(slice(start, start + feature.width))
            whole += [feature.kind in ("int", "bool")] * feature.width
            start += feature.width
    return Domain(tuple(features), np.array(whole), tuple(cases))


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Exact ends of every column. `words` says which part of the declared ranges it is."""

    bounds: tuple[Bounds, ...]
    words: str

    def outward(self) -> tuple[Array, Array]:
        return outward(self.bounds)

    def inward(self) -> tuple[Array, Array]:
        """Binary64 ends that are in it; lo > hi where a column holds no binary64 number."""
        return np.array([round_up(b[0]) for b in self.bounds]), np.array([round_down(b[1]) for b in self.bounds])

    def within(self, column: int, lo: Fraction, hi: Fraction) -> Region:
        bounds = list(self.bounds)
        bounds[column] = (lo, hi)
        return Region(tuple(bounds), self.words)


def region_of(artifact: Artifact, where: Mapping[str, str] | Sequence[str] = ()) -> Region:
    """The declared ranges, or a part: `gap=0..10`, `lane=left`, `has_lead=true`, one feature each.

    Raises UsageError G44 for what is no feature, no part of its range, or empty.
    """
    domain = domain_of(artifact)
    bounds: list[Bounds] = [(column.lo, column.hi) for column in artifact.columns]
    for columns in domain.cases:
        if columns.stop - columns.start == 1:
            bounds[columns.start] = (Fraction(1), Fraction(1))
    given = [f"{k}={v}" for k, v in where.items()] if isinstance(where, Mapping) else list(where)
    known = {name: (feature, start) for name, feature, start in domain.features}
    for text in given:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or name not in known:
            raise UsageError(
                "G44", f"{text!r} names no part of the domain", help=f"write FEATURE=LO..HI, of: {', '.join(known)}"
            )
        feature, start = known[name]
        for k, part in enumerate(_part(feature, value.strip(), text)):
            bounds[start + k] = part
    return Region(tuple(bounds), ", ".join(given) if given else "the whole declared domain")


def _part(feature: Feature, value: str, text: str) -> list[Bounds]:
    one = Fraction(1)
    if feature.kind == "enum":
        if value not in feature.cases:
            raise UsageError("G44", f"{text}: no case {value!r}", help=f"the cases are {', '.join(feature.cases)}")
        return [(one, one) if case == value else (one * 0, one * 0) for case in feature.cases]
    if feature.kind == "bool" and value in ("true", "false"):
        return [(one * (value == "true"),) * 2] * feature.width
    lo, dots, hi = value.partition("..")
    try:
        ends = Fraction(lo.strip()), Fraction((hi if dots else lo).strip())
    except (ValueError, ZeroDivisionError):
        raise UsageError("G44", f"{text}: not a range", help="write two numbers, as in gap=0..10") from None
    if not feature.lo <= ends[0] <= ends[1] <= feature.hi:
        span = f"{float(feature.lo):g} .. {float(feature.hi):g}"
        raise UsageError("G44", f"{text} is no part of the declared {span}", help="give a range within it, low to high")
    if feature.kind != "real":
        ends = (
            Fraction(-(-ends[0].numerator // ends[0].denominator)),
            Fraction(ends[1].numerator // ends[1].denominator),
        )
        if ends[0] > ends[1]:
            raise UsageError("G44", f"{text} holds no whole number", help="widen it")
    return [ends] * feature.width
