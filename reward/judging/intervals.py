"""Shares with two intervals each.

- Clopper & Pearson 1934: exact, so it covers the truth at least as often as it says, whatever the share. Its ends are
  rounded outwards to a grid of 2^-20 and found by exact comparisons of binomial tails.
- Wilson 1927: shorter, and right on average.

Both take the trials as independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from rewarden.reward.figures import wilson
from rewarden.spec_lang.binomial import compare_upper_tail

GRID = 2**20
MISSED = Fraction(1, 20)  # both tails together: intervals of 95 %


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` of `count`, with its intervals; a share of nothing is not a number and anything between 0 and 1."""

    hits: int
    count: int

    @property
    def value(self) -> float:
        return self.hits / self.count if self.count else float("nan")

    @property
    def exact(self) -> tuple[float, float]:
        """Clopper and Pearson's."""
        return clopper_pearson(self.hits, self.count)

    @property
    def wilson(self) -> tuple[float, float]:
        return wilson(self.hits, self.count) if self.count else (0.0, 1.0)

    def to_json(self) -> dict[str, Any]:
        return {
            "hits": self.hits,
            "count": self.count,
            "share": self.value if self.count else None,
            "clopper_pearson_95": list(self.exact),
            "wilson_95": list(self.wilson),
        }

    def text(self) -> str:
        if not self.count:
            return "none of none"
        lo, hi = self.exact
        return f"{self.value:.4f} ({self.hits} of {self.count}; 95 %, Clopper-Pearson: {lo:.4f} to {hi:.4f})"


@lru_cache(maxsize=4096)
def clopper_pearson(hits: int, count: int) -> tuple[float, float]:
    """The exact interval of 95 %."""
    if not 0 <= hits <= count:
        raise ValueError(f"{hits} of {count} is no share")
    half = MISSED / 2
    lo, hi = 0, GRID
    if hits:  # the largest p on the grid with P(X >= hits) <= 2.5 %
        top = GRID
        while top - lo > 1:
            middle = (lo + top) // 2
            if compare_upper_tail(count, hits, Fraction(middle, GRID), half) <= 0:
                lo = middle
            else:
                top = middle
    if hits < count:  # the smallest p with P(X <= hits) <= 2.5 %, which is P(X >= hits + 1) >= 97.5 %
        bottom = 0
        while hi - bottom > 1:
            middle = (bottom + hi) // 2
            if compare_upper_tail(count, hits + 1, Fraction(middle, GRID), 1 - half) >= 0:
                hi = middle
            else:
                bottom = middle
    return lo / GRID, hi / GRID
