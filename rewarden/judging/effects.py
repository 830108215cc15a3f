"""Feature effects: what the reward is at each value of a feature, over all that the other features can be.

Partial dependence (Friedman 2001) is a mean over data, and hides what the reward does elsewhere. Here every slice of a
feature (an interval of its range, a case, a number) also has the certified least and greatest reward over all records
of the region in that slice: no sample is called a bound (`ranges`). Slices cover the region without a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.reward.learners.interface import Array, Progress, silent
from rewarden.spec_lang.features import Feature
from rewarden.verifier.ranges.domain import Region, domain_of
from rewarden.verifier.ranges.ends import BUDGET, Range, ranges

SLICES = 8
MOST_ROWS = 1000  # rows that a mean is over
MOST_COLUMNS = 24


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """Records whose feature lies in `lo` .. `hi` (or is the case `label`). `mean`: of the reward over data rows, the
    feature set to the slice's middle; `rows`: how many data rows lie in the slice."""

    label: str
    lo: float
    hi: float
    range: Range
    mean: float | None
    rows: int

    def to_json(self) -> dict[str, Any]:
        return {
            "slice": self.label,
            "from": self.lo,
            "to": self.hi,
            "certified": self.range.to_json(),
            "mean_over_data": self.mean,
            "rows": self.rows,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Effect:
    """One feature (or one element of a vector); `numeric` where slices are intervals."""

    feature: str
    unit: str | None
    numeric: bool
    slices: tuple[Slice, ...]

    def to_json(self) -> dict[str, Any]:
        return {"feature": self.feature, "unit": self.unit, "slices": [s.to_json() for s in self.slices]}


@dataclass(frozen=True, slots=True)
class _Cut:
    """A slice to be: columns with their bounds, and the value that rows are set to."""

    label: str
    parts: tuple[tuple[int, Fraction, Fraction], ...]
    middle: tuple[float, ...]


def effects(
    artifact: Artifact,
    region: Region,
    rows: Array | None = None,
    *,
    budget: int = BUDGET,
    progress: Progress = silent,
) -> tuple[Range, tuple[Effect, ...]]:
    """The range over the region, and every feature that varies in it; none of a reward of more than `MOST_COLUMNS`
    columns."""
    data = None if rows is None else _inside(region, rows)
    (whole,) = ranges(artifact, [region], rows=data, budget=10 * budget)
    named = domain_of(artifact).features if artifact.width <= MOST_COLUMNS else ()
    columns = [(name, feature, start + k) for name, feature, start in named for k in range(_elements(feature))]
    found = []
    for done, (name, feature, column) in enumerate(columns):
        progress("feature effects", done, len(columns), name)
        cuts = _cuts(feature, region, column)
        if len(cuts) < 2:
            continue
        regions = [_within(region, cut) for cut in cuts]
        bounds = ranges(artifact, regions, rows=data, budget=budget, known=(whole.least, whole.most))
        slices = tuple(
            _slice(artifact, cut, part, bound, data) for cut, part, bound in zip(cuts, regions, bounds, strict=True)
        )
        shown = f"{name}[{column - _start(named, name)}]" if feature.is_vector else name
        found.append(Effect(shown, feature.unit, feature.kind in ("real", "int"), slices))
    progress("feature effects", len(columns), len(columns), "")
    return _told_by_slices(whole, found)


def _told_by_slices(whole: Range, found: list[Effect]) -> tuple[Range, tuple[Effect, ...]]:
    """The slices of each feature cover the region: what none of them exceeds, nothing does; and what some record of a
    slice is worth, some record of the region is."""
    parts = [[s.range for s in effect.slices] for effect in found]
    least = max([whole.least, *(min(r.least for r in slices) for slices in parts)])
    most = min([whole.most, *(max(r.most for r in slices) for slices in parts)])
    best = max((whole, *(r for s in parts for r in s)), key=lambda r: -np.inf if r.most_taken is None else r.most_taken)
    worst = min(
        (whole, *(r for s in parts for r in s)), key=lambda r: np.inf if r.least_taken is None else r.least_taken
    )
    told = Range(least, worst.least_taken, best.most_taken, most, worst.least_at, best.most_at)
    capped = [
        replace(
            effect,
            slices=tuple(
                replace(s, range=replace(s.range, least=max(s.range.least, least), most=min(s.range.most, most)))
                for s in effect.slices
            ),
        )
        for effect in found
    ]
    return told, tuple(capped)


def _start(named: Sequence[tuple[str, Feature, int]], name: str) -> int:
    return next(start for other, _, start in named if other == name)


def _elements(feature: Feature) -> int:
    return 1 if feature.kind == "enum" else feature.size


def _cuts(feature: Feature, region: Region, column: int) -> list[_Cut]:
    lo, hi = region.bounds[column]
    one, zero = Fraction(1), Fraction(0)
    match feature.kind:
        case "enum":
            every = range(column, column + feature.width)
            possible = [j for j in every if region.bounds[j][1] > 0]
            must = [j for j in possible if region.bounds[j][0] > 0] or possible
            return [
                _Cut(
                    feature.cases[j - column],
                    tuple((k, one, one) if k == j else (k, zero, zero) for k in every),
                    tuple(float(k == j) for k in every),
                )
                for j in must
            ]
        case "bool":
            values = [v for v in (zero, one) if lo <= v <= hi]
            return [_Cut("true" if v else "false", ((column, v, v),), (float(v),)) for v in values]
        case "int":
            count = int(hi - lo) + 1
            edges = [int(lo) + count * k // min(SLICES, count) for k in range(min(SLICES, count) + 1)]
            pairs = [(a, b - 1) for a, b in pairwise(edges)]
            return [
                _Cut(str(a) if a == b else f"{a} .. {b}", ((column, Fraction(a), Fraction(b)),), (float((a + b) // 2),))
                for a, b in pairs
            ]
    if lo == hi:
        return []
    ends = [lo + (hi - lo) * k / SLICES for k in range(SLICES + 1)]
    return [
        _Cut(f"{float(a):.4g} .. {float(b):.4g}", ((column, a, b),), (float((a + b) / 2),)) for a, b in pairwise(ends)
    ]


def _within(region: Region, cut: _Cut) -> Region:
    for column, lo, hi in cut.parts:
        region = region.within(column, lo, hi)
    return region


def _inside(region: Region, rows: Array) -> Array:
    lo, hi = region.inward()
    whole = rows[~np.isnan(rows).any(axis=1)]
    return np.asarray(whole[((whole >= lo) & (whole <= hi)).all(axis=1)])


def _slice(artifact: Artifact, cut: _Cut, part: Region, bound: Range, data: Array | None) -> Slice:
    first, lo, hi = cut.parts[0]
    if data is None or not len(data):
        return Slice(cut.label, float(lo), float(hi), bound, None, 0)
    at = data[:: max(1, len(data) // MOST_ROWS)].copy()
    at[:, first : first + len(cut.middle)] = cut.middle
    mean = float(forward(artifact, np.ascontiguousarray(at, np.float32)).astype(np.float64).mean())
    low, high = part.outward()
    return Slice(cut.label, float(lo), float(hi), bound, mean, int(((data >= low) & (data <= high)).all(axis=1).sum()))
