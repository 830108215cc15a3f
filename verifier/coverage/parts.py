"""What is known of a rule's region: four parts that add up to all of it, in exact shares, and slices by feature."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rewarden.verifier.region_words import Described, cases_of, described, rounded, side_json
from rewarden.verifier.regions import Dimension, Frame, Region, Side

Status = Literal["proved", "violated", "outside", "unsettled"]
STATUSES: tuple[Status, ...] = get_args(Status)
Of = Literal["records", "records on loops", "rows of data"]  # what shares are of: volumes, but counts of rows
VARYING: Final[tuple[Status, Status]] = ("violated", "unsettled")
BINS = 8  # of a number's range
ELEMENTS = 8  # of vectors that have slices, at most
Shares = Mapping[Status, Fraction]
Sizes = Mapping[Status, Sequence[Fraction]]  # of the boxes of each part


@dataclass(frozen=True, slots=True)
class Slice:
    """The records whose `feature` is in `side`: `shares` of them, which add up to 1."""

    text: str
    side: Any
    shares: Shares


@dataclass(frozen=True, slots=True)
class Around:
    """One row of the data of a rule near data: `shares` of the records near it, which add up to 1."""

    row: int  # the first is 1
    shares: Shares


@dataclass(frozen=True, slots=True, eq=False)
class Anchors:
    """The rows of `data` one by one: how many there are, around how many of them the rule holds everywhere (`proved`),
    fails somewhere (`violated`), or neither is known, faces included; `told` are those that are not `proved`."""

    data: str
    count: int
    proved: int
    violated: int
    told: tuple[Around, ...]

    @property
    def open(self) -> int:
        return self.count - self.proved - self.violated

    def to_json(self) -> dict[str, Any]:
        return {
            "data": self.data,
            "count": self.count,
            "proved": self.proved,
            "violated": self.violated,
            "unsettled": self.open,
            "rows": [{"row": one.row, "shares": _shares_json(one.shares)} for one in self.told],
        }


@dataclass(frozen=True, slots=True, eq=False)
class Coverage:
    """`shares` of the declared region, which add up to 1. `within`: the share in which the premise is known to hold
    everywhere. `parts`: the boxes of each part, joined. `slices`: by feature. `anchors`: by row, for rules near
    data. `cases`: by length, for rules about traces of several lengths, whose shares count alike."""

    shares: Shares
    within: Fraction
    boxes: int  # examined
    parts: Mapping[Status, Region]
    slices: Mapping[str, tuple[Slice, ...]]
    violated: Described
    unsettled: Described
    anchors: Anchors | None = None
    cases: Mapping[str, Coverage] = field(default_factory=dict)
    of: Of = "records"

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
            "of": self.of,
            "anchors": None if self.anchors is None else self.anchors.to_json(),
            "cases": {case: coverage.to_json() for case, coverage in self.cases.items()},
        }


Found = Mapping[Status, Sequence[tuple[int, tuple[Side | int, ...]]]]


def coverage_of(
    frame: Frame,
    found: Found,
    within: Fraction,
    boxes: int,
    of: Of = "records",
    *,
    doubtful: Collection[int] = (),
    failing: int | None = None,
) -> Coverage:
    """From the boxes of each part, as (the claim's box that it is part of, its sides). Of rows: `doubtful` ones, around
    which the rule may fail on a face, and one near which it is known to be `failing`."""
    parts = {status: Region.of_sides(frame, found[status]).merged() for status in STATUSES}
    sizes = {status: parts[status].shares() for status in STATUSES}
    shares = {status: sum(sizes[status], Fraction(0)) for status in STATUSES}
    assert sum(shares.values()) == 1, "the parts of a region are all of it"
    return Coverage(
        shares,
        within,
        boxes,
        parts,
        slices_of(frame, parts, sizes),
        described(parts["violated"]),
        described(parts["unsettled"]),
        None if frame.claim.instances is None else _anchors(frame, parts, sizes, doubtful, failing),
        of=of,
    )


def joined(cases: Mapping[str, Coverage]) -> Coverage:
    """Of traces of several lengths: the means of their shares."""
    each = list(cases.values())
    return Coverage(
        {status: sum((c.shares[status] for c in each), Fraction(0)) / len(each) for status in STATUSES},
        sum((c.within for c in each), Fraction(0)) / len(each),
        sum(c.boxes for c in each),
        {},
        {},
        Described((), 0),
        Described((), 0),
        None,
        cases,
    )


def _shares_json(shares: Shares) -> dict[str, dict[str, Any]]:
    return {status: {"share": float(shares[status]), "exact": str(shares[status])} for status in STATUSES}


def _anchors(
    frame: Frame, parts: Mapping[Status, Region], sizes: Sizes, doubtful: Collection[int], failing: int | None
) -> Anchors:
    """What has no volume counts here, too: a rule about `v == 0` has none, and fails near a row all the same."""
    count = len(frame.claim.boxes)
    totals = [dict.fromkeys(STATUSES, Fraction(0)) for _ in range(count)]
    for status, region in parts.items():
        for instance, size in zip(region.instance.tolist(), sizes[status], strict=True):
            totals[instance][status] += size * count
    fails = [total["violated"] > 0 or i == failing for i, total in enumerate(totals)]
    done = [
        total["proved"] + total["outside"] == 1 and i not in doubtful and not fails[i] for i, total in enumerate(totals)
    ]
    told = tuple(Around(i + 1, total) for i, total in enumerate(totals) if not done[i])
    assert frame.claim.instances is not None, "it is about rows"
    return Anchors(frame.claim.instances, count, sum(done), sum(fails), told)


# ── slices ─────────────────────────────────────────────────────────────────────────────────────
def slices_of(frame: Frame, parts: Mapping[Status, Region], sizes: Sizes) -> dict[str, tuple[Slice, ...]]:
    """Shares of the records in each part of a feature's range. Of a vector those elements are told along which
    violations vary most, and else what is unsettled: a few."""
    whole = [_hull(frame, d) for d in range(len(frame.dimensions))]
    plain = [d for d, dimension in enumerate(frame.dimensions) if not dimension.vector]
    elements = [d for d, dimension in enumerate(frame.dimensions) if dimension.vector]
    if len(elements) > ELEMENTS:
        elements = _varying(whole, elements, parts, sizes)
    sides = {status: [region.sides(k) for k in range(len(region))] for status, region in parts.items()}
    found: dict[str, tuple[Slice, ...]] = {}
    for d in sorted((*plain, *elements)):
        dimension = frame.dimensions[d]
        bins = bins_of(dimension, whole[d])
        if len(bins) < 2:
            continue
        totals = [dict.fromkeys(STATUSES, Fraction(0)) for _ in bins]
        for status in STATUSES:
            for box, size in zip(sides[status], sizes[status], strict=True):
                for k, share in _spread(box[d], bins):
                    totals[k][status] += size * share
        measures = [sum(total.values(), Fraction(0)) for total in totals]
        if sum(measure > 0 for measure in measures) < 2:
            continue
        found[frame.label(dimension)] = tuple(
            Slice(bin_words(dimension, one), side_json(dimension, one), _of(total, measure))
            for one, total, measure in zip(bins, totals, measures, strict=True)
            if measure
        )
    return found


def _hull(frame: Frame, d: int) -> Side | int:
    """All that boxes of the claim hold of a feature."""
    cases, least, most = 0, [], []
    for base in frame.bases:
        side = base[d]
        if isinstance(side, int):
            cases |= side
        else:
            least.append(side[0])
            most.append(side[1])
    return (min(least), max(most)) if least else cases


def _spread(side: Side | int, bins: Sequence[Side | int]) -> Iterator[tuple[int, Fraction]]:
    """Which share of a side lies in which of the bins; one without width is in the first that holds it."""
    if isinstance(side, int):
        for k, one in enumerate(bins):
            assert isinstance(one, int)
            if side & one:
                yield k, Fraction((side & one).bit_count(), side.bit_count())
        return
    lo, hi = side
    for k, one in enumerate(bins):
        assert not isinstance(one, int)
        if lo == hi:
            if one[0] <= lo <= one[1]:
                yield k, Fraction(1)
                return
        elif (overlap := min(hi, one[1]) - max(lo, one[0])) > 0:
            yield k, overlap / (hi - lo)


def _varying(
    whole: Sequence[Side | int], elements: Sequence[int], parts: Mapping[Status, Region], sizes: Sizes
) -> list[int]:
    """The elements of vectors to tell of, found in floats."""
    ranked: list[tuple[float, float, int]] = []
    weights = {status: np.array([float(size) for size in sizes[status]]) for status in STATUSES}
    for d in elements:
        hull = whole[d]
        if isinstance(hull, int) or hull[0] >= hull[1]:
            continue
        edges = np.linspace(float(hull[0]), float(hull[1]), BINS + 1)
        per = {status: _binned(parts[status], d, edges, weights[status]) for status in STATUSES}
        measure = np.sum([per[status] for status in STATUSES], axis=0)
        some = measure > 0
        spreads = [np.ptp(per[status][some] / measure[some]) if some.any() else 0.0 for status in VARYING]
        ranked.append((round(-float(spreads[0]), 12), round(-float(spreads[1]), 12), d))
    return [d for violated, unsettled, d in sorted(ranked)[:ELEMENTS] if violated or unsettled]


def _binned(region: Region, d: int, edges: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much of the region lies between each two edges [bin]."""
    if not len(region):
        return np.zeros(len(edges) - 1)
    ends = np.array([float(x) for x in region.ends[d]])
    lo, hi = ends[region.lo[:, d]][:, None], ends[region.hi[:, d]][:, None]
    common = np.clip(np.minimum(hi, edges[1:]) - np.maximum(lo, edges[:-1]), 0.0, None)
    total = common.sum(axis=1, keepdims=True)
    return np.asarray((weights[:, None] * common / np.where(total > 0, total, 1.0)).sum(axis=0))


def bins_of(dimension: Dimension, base: Side | int) -> list[Side | int]:
    """Eight parts of a number's range, or its cases."""
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


def _of(totals: Shares, whole: Fraction) -> Shares:
    return {status: total / whole for status, total in totals.items()}


def bin_words(dimension: Dimension, side: Side | int) -> str:
    if isinstance(side, int):
        return cases_of(dimension, side)[0]
    lo, hi = side if dimension.kind == "real" else (side[0], side[1] - 1)
    return _number(lo) if lo == hi else f"{_number(lo)} .. {_number(hi)}"


def _number(value: Fraction) -> str:
    return rounded(value, "ROUND_HALF_EVEN")
