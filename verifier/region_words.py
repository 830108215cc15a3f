"""A region in the words of the domain: a short list of boxes, the largest first, in problem units.

Numbers are rounded to six digits outward, so that a box in words contains the box it tells of; a number alone, to the
nearest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from rewarden.spec_lang.claim import Claim
from rewarden.verifier.regions import Dimension, Frame, Region, Side

TOLD = 8  # boxes in words
FEATURES = 6  # of a box in words
DIGITS = 6
NUMBERS = 2**16  # of boxes, up to which they are joined and told side by side
EXACT = 256  # boxes whose share is computed exactly to find the largest


@dataclass(frozen=True, slots=True)
class Part:
    """One box of a region: `words`, and per feature that it narrows its `sides`, JSON-ready. `share` of the declared
    region."""

    words: str
    sides: dict[str, Any]
    share: Fraction
    instance: int


@dataclass(frozen=True, slots=True)
class Described:
    """The largest parts of a region that has `boxes` in all, once joined. `whole`: what shares are of."""

    parts: tuple[Part, ...]
    boxes: int
    whole: str = "the region"

    @property
    def more(self) -> int:
        return self.boxes - len(self.parts)

    def lines(self) -> list[str]:
        """`speed 1.2 .. 1.4 [m/s], zone dock: 0.3 % of the region`, and how many are not told."""
        told = [f"{part.words}: {percent(part.share)} of {self.whole}" for part in self.parts]
        return [*told, f"and {self.more} more"] if self.more else told

    def to_json(self) -> dict[str, Any]:
        return {
            "boxes": [
                {"text": p.words, "sides": p.sides, "share": float(p.share), "share_exact": str(p.share),
                 "instance": p.instance}
                for p in self.parts
            ],
            "more": self.more,
        }  # fmt: skip


EVERYTHING = Described((Part("all of it", {}, Fraction(1), 0),), 1)


def described_rows(claim: Claim, rows: Sequence[int]) -> Described:
    """Some boxes of a claim near data, each all of it: where they are too many, or of too many features, to be joined
    and told side by side."""
    count = len(claim.boxes)
    if len(rows) == count:
        return EVERYTHING
    parts = [Part(f"{_row_words(claim, row)}, all of it", {}, Fraction(1, count), row) for row in rows[:TOLD]]
    return Described(tuple(parts), len(rows))


def _row_words(claim: Claim, row: int) -> str:
    return f"near row {row + 1} of {claim.instances}" if claim.instances is not None else f"box {row + 1}"


def described(region: Region) -> Described:
    """The region in as few boxes as joining them gives, the largest told."""
    joined = region.merged()
    order = np.lexsort((joined.instance, -_sizes(joined)))[:EXACT]
    ranked = sorted(
        ((joined.frame.share(sides := joined.sides(k), int(joined.instance[k])), k, sides) for k in order.tolist()),
        key=lambda found: (-found[0], int(joined.instance[found[1]]), found[1]),
    )
    parts = [_part(joined.frame, int(joined.instance[k]), sides, share) for share, k, sides in ranked[:TOLD]]
    return Described(tuple(parts), len(joined))


def percent(share: Fraction) -> str:
    """`0.3 %`; never 0 or 100 where it is not."""
    if share in (0, 1):
        return f"{int(share) * 100} %"
    value = float(100 * share)
    if value < 1e-4:
        return "under 0.0001 %"
    if value > 99.99:
        return "over 99.99 %"
    return f"{value:.2g} %" if value < 1 else f"{min(value, 99.99):.4g} %"


def _sizes(region: Region) -> np.ndarray:
    """Shares in floats, to find the largest."""
    sizes = np.ones(len(region))
    for d, dimension in enumerate(region.frame.dimensions):
        if not dimension.is_number:
            sizes *= [float(int(bits).bit_count()) for bits in region.lo[:, d]]
            continue
        ends = np.array([float(x) for x in region.ends[d]])
        width = ends[-1] - ends[0] if len(ends) else 0.0
        if width > 0:
            sizes *= (ends[region.hi[:, d]] - ends[region.lo[:, d]]) / width
    return sizes


def _part(frame: Frame, instance: int, sides: Sequence[Side | int], share: Fraction) -> Part:
    words: list[str] = []
    told: dict[str, Any] = {}
    for dimension, side, base in zip(frame.dimensions, sides, frame.base(instance), strict=True):
        if side != base:
            label = frame.label(dimension)
            words.append(f"{label} {side_words(dimension, side)}")
            told[label] = side_json(dimension, side)
    if len(words) > FEATURES:
        words = [*words[:FEATURES], f"and {len(words) - FEATURES} more features"]
    if not words:
        words = ["all of it"]
    if frame.claim.instances is not None and len(frame.claim.boxes) > 1:
        words.insert(0, _row_words(frame.claim, instance))
    return Part(", ".join(words), told, share, instance)


def side_words(dimension: Dimension, side: Side | int) -> str:
    """`1.2 .. 1.4 [m/s]`, `3`, `dock or charger`."""
    if isinstance(side, int):
        return " or ".join(cases_of(dimension, side)) or "nowhere"
    unit = f" [{dimension.unit}]" if dimension.unit else ""
    lo, hi = side if dimension.kind == "real" else (side[0], side[1] - 1)
    if lo == hi:
        return f"{rounded(lo, ROUND_HALF_EVEN)}{unit}"
    low, high = rounded(lo, ROUND_FLOOR), rounded(hi, ROUND_CEILING)
    return f"{low}{unit}" if low == high else f"{low} .. {high}{unit}"


def side_json(dimension: Dimension, side: Side | int) -> Any:  # noqa: ANN401 - JSON
    """A list of cases, or lo and hi (of integers: the first and the last) with their exact values."""
    if isinstance(side, int):
        return cases_of(dimension, side)
    lo, hi = side if dimension.kind == "real" else (side[0], side[1] - 1)
    return {"lo": float(lo), "hi": float(hi), "exact": [str(lo), str(hi)], "unit": dimension.unit}


def cases_of(dimension: Dimension, side: int) -> list[str]:
    return [case for k, case in enumerate(dimension.cases) if side >> k & 1]


def rounded(value: Fraction, direction: str) -> str:
    """Six digits, rounded in one direction, without an exponent for everyday sizes."""
    context = Context(prec=DIGITS, rounding=direction)
    found = context.divide(Decimal(value.numerator), Decimal(value.denominator))
    return f"{float(found):.{DIGITS}g}"
