"""What is known of a rule's region: four parts that add up to all of it, in exact shares, and slices by feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal, get_args

from rewarden.verifier.region_words import Described, cases_of, described, rounded, side_json
from rewarden.verifier.regions import Dimension, Frame, Region, Side, ratio

Status = Literal["proved", "violated", "outside", "unsettled"]
STATUSES: tuple[Status, ...] = get_args(Status)
BINS = 8  # of a number's range
Shares = Mapping[Status, Fraction]


@dataclass(frozen=True, slots=True)
class Slice:
    """The records whose `feature` is in `side`: `shares` of them, which add up to 1."""

    text: str
    side: Any
    shares: Shares


@dataclass(frozen=True, slots=True, eq=False)
class Coverage:
    """`shares` of the declared region, which add up to 1. `within`: the share in which the premise is known to hold
    everywhere. `parts`: the boxes of each part, joined. `slices`: by feature, for rules with one box."""

    shares: Shares
    within: Fraction
    boxes: int  # examined
    parts: Mapping[Status, Region]
    slices: Mapping[str, tuple[Slice, ...]]
    violated: Described
    unsettled: Described

    @property
    def premise(self) -> tuple[Fraction, Fraction]:
        """The share of the declared region in which the premise holds lies between these."""
        return self.within, 1 - self.shares["outside"]

    def to_json(self) -> dict[str, Any]:
        least, most = self.premise
        return {
            "shares": _shares_json(self.shares),
            "premise": {"at_least": str(least), "at_most": str(most)},
            "boxes": self.boxes,
            "violated": self.violated.to_json(),
            "unsettled": self.unsettled.to_json(),
            "slices": {
                feature: [{"text": s.text, "side": s.side, "shares": _shares_json(s.shares)} for s in slices]
                for feature, slices in self.slices.items()
            },
        }


def coverage_of(
    frame: Frame,
    found: Mapping[Status, Sequence[tuple[int, tuple[Side | int, ...]]]],
    within: Fraction,
    boxes: int,
) -> Coverage:
    """From the boxes of each part, as (the claim's box that it is part of, its sides)."""
    parts = {status: Region.of_sides(frame, found[status]).merged() for status in STATUSES}
    sizes = {status: parts[status].shares() for status in STATUSES}
    shares = {status: sum(sizes[status], Fraction(0)) for status in STATUSES}
    assert sum(shares.values()) == 1, "the parts of a region are all of it"
    return Coverage(
        shares,
        within,
        boxes,
        parts,
        _slices(frame, parts, sizes) if len(frame.claim.boxes) == 1 else {},
        described(parts["violated"]),
        described(parts["unsettled"]),
    )


def _shares_json(shares: Shares) -> dict[str, dict[str, Any]]:
    return {status: {"share": float(shares[status]), "exact": str(shares[status])} for status in STATUSES}


# ── slices ─────────────────────────────────────────────────────────────────────────────────────
def _slices(
    frame: Frame, parts: Mapping[Status, Region], sizes: Mapping[Status, Sequence[Fraction]]
) -> dict[str, tuple[Slice, ...]]:
    """Elements of vectors have no slices: hundreds of them tell nobody anything."""
    found: dict[str, tuple[Slice, ...]] = {}
    sides = {status: [region.sides(k) for k in range(len(region))] for status, region in parts.items()}
    for d, dimension in enumerate(frame.dimensions):
        base = frame.bases[0][d]
        bins = [] if dimension.vector else _bins(dimension, base)
        if len(bins) < 2:
            continue
        totals = [dict.fromkeys(STATUSES, Fraction(0)) for _ in bins]
        for status in STATUSES:
            for box, size in zip(sides[status], sizes[status], strict=True):
                whole = ratio(box[d], base)
                for total, one in zip(totals, bins, strict=True):
                    common = _common(box[d], one)
                    if common is not None:
                        total[status] += size * ratio(common, base) / whole
        found[frame.label(dimension)] = tuple(
            Slice(_bin_words(dimension, one), side_json(dimension, one), _of(total, ratio(one, base)))
            for one, total in zip(bins, totals, strict=True)
        )
    return found


def _bins(dimension: Dimension, base: Side | int) -> list[Side | int]:
    if isinstance(base, int):
        return [1 << k for k in range(base.bit_length()) if base >> k & 1]
    lo, hi = base
    count = BINS if dimension.kind == "real" else min(BINS, int(hi - lo))
    if hi <= lo:
        return []
    edges = [lo + (hi - lo) * k / count for k in range(count + 1)]
    if dimension.kind == "int":
        edges = [Fraction(round(edge)) for edge in edges]
    return list(pairwise(edges))


def _common(side: Side | int, one: Side | int) -> Side | int | None:
    if isinstance(side, int) or isinstance(one, int):
        assert isinstance(side, int)
        assert isinstance(one, int)
        return side & one or None
    lo, hi = max(side[0], one[0]), min(side[1], one[1])
    return (lo, hi) if lo < hi else None


def _of(totals: Shares, whole: Fraction) -> Shares:
    return {status: total / whole for status, total in totals.items()}


def _bin_words(dimension: Dimension, side: Side | int) -> str:
    if isinstance(side, int):
        return cases_of(dimension, side)[0]
    lo, hi = side if dimension.kind == "real" else (side[0], side[1] - 1)
    return _number(lo) if lo == hi else f"{_number(lo)} .. {_number(hi)}"


def _number(value: Fraction) -> str:
    return rounded(value, "ROUND_HALF_EVEN")
