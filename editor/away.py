"""Where patches near data promise to have done nothing: as `not near` the rows of a file, in the language's own words.

Thousands of boxes are no predicate that anybody reads, but they are data: a row in the middle of each box with its rim,
and one radius for every feature, `forall s: S not near rows within {…}`. A record that is near no row is beyond every
box. Numbers are short, and reach further by at most `SLACK` of a rim's width; of boxes of different sizes the radii are
those of the widest. Verification is told nothing of this: it proves what was written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor, log10

import numpy as np
from numpy.typing import NDArray

from rewarden.editor.beyond import Row
from rewarden.editor.history.stored import Stored
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.spec_lang.features import Feature
from rewarden.spec_lang.numerals import decimal
from rewarden.spec_lang.units import unit_or_plain

Array = NDArray[np.float64]
SLACK = 1 / 1000  # of a rim's width


@dataclass(frozen=True, slots=True)
class Away:
    """`rows`: a JSON line each. `radii`: as the language writes them."""

    rows: tuple[str, ...]
    radii: str
    lo: Array  # of their boxes, in range: [row, column]
    hi: Array

    @property
    def text(self) -> str:
        return "".join(f"{row}\n" for row in self.rows)

    def extremum(self, artifact: Artifact, sign: int) -> Fraction:
        """What sign·reward is certified to stay at or below near the rows."""
        from rewarden.verifier.extremum import certified_extremum_over  # it loads torch

        lo, hi = np.nextafter(self.lo, -np.inf), np.nextafter(self.hi, np.inf)
        return certified_extremum_over(artifact, lo, hi, sign)


def away_from(record: RewardRecord, tables: Sequence[Stored]) -> Away | None:
    """Beyond all boxes of these patches; None where they act everywhere, or a box is none in the features' terms."""
    columns = [column for feature in record.type.features for column in feature.columns()]
    least, most = (np.array([float(getattr(column, end)) for column in columns]) for end in ("lo", "hi"))
    whole = np.array([column.discrete for column in columns])
    reach = [_acting(table, least, most, whole) for table in tables]
    lo, hi = (np.concatenate([pair[side] for pair in reach]) for side in (0, 1))
    acting = (lo <= hi).all(axis=1)
    lo, hi = lo[acting], hi[acting]
    told: dict[str, str] = {}
    around = np.zeros(len(columns))
    centres = np.empty_like(lo)
    start = 0
    for feature in record.type.features:
        own = slice(start, start + feature.width)
        start += feature.width
        width = min(_rim(table, range(own.start, own.stop)) for table in tables)
        if feature.kind in ("bool", "enum"):
            if (lo[:, own] != hi[:, own]).any():
                return None
            centres[:, own] = lo[:, own]
            continue
        unit = 1.0 if whole[own.start] else _step(width)
        centres[:, own], radius = _covering(lo[:, own], hi[:, own], least[own], most[own], unit)
        if radius:
            around[own] = float(radius)
            told[feature.name] = f"{decimal(radius)}{_unit(feature)}"
    if not told or not len(lo):
        return None
    rows = np.unique(centres, axis=0)
    texts = tuple(json.dumps(_said(record, row)) for row in rows.tolist())
    lo, hi = np.maximum(rows - around, least), np.minimum(rows + around, most)
    return Away(texts, _radii(record, told), lo, hi)


def _radii(record: RewardRecord, told: Mapping[str, str]) -> str:
    """One for all, where that says the same."""
    reals = {feature.name for feature in record.type.features if feature.kind == "real"}
    if told.keys() == reals and len(set(told.values())) == 1:
        return next(iter(told.values()))
    return f"{{{', '.join(f'{name} = {radius}' for name, radius in told.items())}}}"


def rest_of(patch: Stored) -> list[Row]:
    """What all boxes of a patch near data have in common: what the rule's premise says of the record itself."""
    offsets = np.atleast_2d(patch.offsets)
    same = (offsets == offsets[0]).all(axis=0) & (np.count_nonzero(patch.rows, axis=1) > 0)
    return [row for row, shared in zip(patch.exact_rows(), same.tolist(), strict=True) if shared]


def _acting(table: Stored, least: Array, most: Array, whole: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Where each box may act, column by column, as far as rows of one column tell: lo, hi [boxes, columns]. A box that
    what they have in common leaves nothing of is told as it is by itself: no one condition says that it never acts."""
    offsets = np.atleast_2d(table.offsets)
    lo, hi = _confined(table, range(len(table.rows)), least, most, whole)
    own_rows = np.flatnonzero((offsets != offsets[0]).any(axis=0)).tolist()
    own = _confined(table, own_rows, least, most, whole)
    empty = lo > hi
    return np.where(empty, own[0], lo), np.where(empty, own[1], hi)


def _confined(
    table: Stored, rows: Sequence[int], least: Array, most: Array, whole: NDArray[np.bool_]
) -> tuple[Array, Array]:
    """By these of the rows."""
    count, gate = table.boxes, float(table.gate)
    lo, hi = np.tile(least, (count, 1)), np.tile(most, (count, 1))
    offsets = np.atleast_2d(table.offsets).astype(np.float64)
    for i in rows:
        row = table.rows[i].astype(np.float64)
        used = np.flatnonzero(row)
        if len(used) != 1:
            continue
        j, edge = used[0], (offsets[:, i] + gate) / row[used[0]]
        if row[j] > 0:
            hi[:, j] = np.minimum(hi[:, j], np.ceil(edge) - 1 if whole[j] else edge)
        else:
            lo[:, j] = np.maximum(lo[:, j], np.floor(edge) + 1 if whole[j] else edge)
    return lo, hi


def _rim(table: Stored, columns: range) -> float:
    """How wide the rim is in these columns."""
    weights = np.abs(table.rows[:, list(columns)]).max(initial=0.0)
    return 1.0 / float(weights) if weights else np.inf


def _step(width: float) -> float:
    """A power of ten that is small for a rim."""
    return 1.0 if not np.isfinite(width) else 10.0 ** floor(log10(width * SLACK))


def _covering(lo: Array, hi: Array, least: Array, most: Array, unit: float) -> tuple[Array, Fraction]:
    """Points, and one radius with which they cover lo .. hi. A side that lies on the range's needs none, and so leaves
    the other one where it is."""
    radius = float((hi - lo).max()) / 2
    middle = (lo + hi) / 2
    free_low, free_high = lo <= least, hi >= most
    middle = np.where(free_low & ~free_high, np.maximum(least, hi - radius), middle)
    middle = np.where(free_high & ~free_low, np.minimum(most, lo + radius), middle)
    digits = -round(log10(unit))  # of a wide feature less than 0: in tens, hundreds, …
    middle = np.clip(np.round(middle, digits), least, most)
    needed = float(np.maximum(hi - middle, middle - lo).max())
    if needed <= 0:
        return middle, Fraction(0)
    steps = floor(needed * (1 + 2.0**-40) / unit) + (0 if unit == 1.0 and needed == floor(needed) else 1)
    return middle, steps * Fraction(10) ** -digits


def _unit(feature: Feature) -> str:
    """A radius is a difference, and those of readings in °C are told in K."""
    if feature.unit is None:
        return ""
    return " [K]" if unit_or_plain(feature.unit).affine else f" [{feature.unit}]"


def _said(record: RewardRecord, row: Sequence[float]) -> dict[str, object]:
    told: dict[str, object] = {}
    start = 0
    for feature in record.type.features:
        own = row[start : start + feature.width]
        start += feature.width
        if feature.kind == "enum":
            told[feature.name] = feature.cases[own.index(1.0)]
        elif feature.is_vector:
            told[feature.name] = own
        else:
            told[feature.name] = (
                bool(own[0]) if feature.kind == "bool" else int(own[0]) if feature.kind == "int" else own[0]
            )
    return told
