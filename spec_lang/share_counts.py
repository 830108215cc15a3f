"""What a count of rows comes to for a rule about a share: k of n rows satisfy q, and `share(q) >= level` is judged.

Without a confidence k/n is compared with the level. With a confidence κ the comparison is about the probability p that
a further row would satisfy q, by the one-sided bounds of Clopper and Pearson (1934): with X ~ Binomial(n, p) and
α = 1 − κ,

    the lower bound is the p with P(X ≥ k) = α, the upper bound the p with P(X ≤ k) = α.

P(X ≥ k) grows with p, so the lower bound is at least c exactly if P(X ≥ k) ≤ α at p = c, and the upper bound is below
c exactly if P(X ≤ k) < α at p = c: no bound has to be computed, only a tail of the binomial distribution at the level
(`binomial.py`).
"""

from __future__ import annotations

from bisect import bisect_left
from fractions import Fraction
from typing import Literal

from rewarden.spec_lang.binomial import compare_upper_tail
from rewarden.spec_lang.obligation import Share

CountVerdict = Literal["proved", "violated", "unknown"]


def judged(share: Share, k: int, n: int) -> CountVerdict:
    """k of n rows satisfy it, n > 0. Only with a confidence can that decide it neither way."""
    if share.confidence is None:
        return "proved" if _holds(Fraction(k, n), share) else "violated"
    return _confident(share, k, n, share.confidence)


def enough(share: Share, n: int) -> range:
    """The counts of n > 0 rows that prove it. For `>` and `>=` they are some count and all above it, for `<` and `<=`
    some and all below: each tail falls as its count grows."""
    counts = range(n + 1)
    if share.op in (">", ">="):
        return counts[bisect_left(counts, True, key=lambda k: judged(share, k, n) == "proved") :]
    return counts[: bisect_left(counts, True, key=lambda k: judged(share, k, n) != "proved")]


def refuting(share: Share, n: int) -> range:
    """The counts that refute it, at the other end."""
    counts = range(n + 1)
    if share.op in (">", ">="):
        return counts[: bisect_left(counts, True, key=lambda k: judged(share, k, n) != "violated")]
    return counts[bisect_left(counts, True, key=lambda k: judged(share, k, n) == "violated") :]


def _holds(value: Fraction, share: Share) -> bool:
    match share.op:
        case ">=":
            return value >= share.level
        case ">":
            return value > share.level
        case "<=":
            return value <= share.level
        case "<":
            return value < share.level


def _confident(share: Share, k: int, n: int, confidence: Fraction) -> CountVerdict:
    """Proved iff the bound on the safe side is beyond the level, violated iff the one on the other side is.

    A share of at most c is one of at least 1 − c of the rows that do not satisfy it.
    """
    alpha, level = 1 - confidence, share.level
    if share.op in ("<=", "<"):
        k, level = n - k, 1 - level
    strict = share.op in ("<", ">")
    at_level = compare_upper_tail(n, k, level, alpha)  # P(X >= k) against alpha: −1, 0 or 1
    if k > 0 and (at_level < 0 or (at_level == 0 and not strict)):
        return "proved"
    if k == 0 and level == 0 and not strict:
        return "proved"  # the lower bound of no rows at all is 0
    below = compare_upper_tail(n, n - k, 1 - level, alpha)  # P(X <= k) at level is P(n − X >= n − k) at 1 − level
    if k < n and (below < 0 or (below == 0 and strict)):
        return "violated"
    if k == n and level == 1 and strict:
        return "violated"  # the upper bound is 1, and nothing exceeds 1
    return "unknown"
