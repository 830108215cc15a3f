"""The penalty of a rule about a share of the rows: `expect share(q) >= 0.6`, with or without a confidence.

That some rows fail q is no violation, so a hinge on every failing row would ask for more than the rule does, and in
vain where the data contradict themselves. What is penalised are the rows that are missing: with k more rows needed to
reach the level, the k failing rows that are closest to satisfying q. 0 exactly where enough rows satisfy q. For `<`
and `<=` the same is said of the rows that do not satisfy it. A row too many, as in `share(q) > 1`, counts as 1: broken,
and nothing can be done about it.

With a confidence, enough is what makes the one-sided Clopper–Pearson bound reach the level: the least k with
P(X >= k) <= 1 − confidence for X binomial(n, level).
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import ceil, floor

import numpy as np
from torch import Tensor

from rewarden.spec_lang.obligation import And, Atom, Const, Formula, Or, Product, Share


def wanted(share: Share, conclusion: Formula) -> Formula:
    """What enough rows have to satisfy: the rule's q, or its opposite."""
    return conclusion if share.op in (">", ">=") else opposite(conclusion)


def opposite(formula: Formula) -> Formula:
    """The negation, pushed into the atoms: not t >= 0 is −t > 0."""
    match formula:
        case And(parts):
            return Or(tuple(opposite(part) for part in parts))
        case Or(parts):
            return And(tuple(opposite(part) for part in parts))
        case Atom(term, strict, origin):
            return Atom(Product(Const(Fraction(-1)), term), not strict, origin)


def enough(share: Share, n: int, of: int) -> int:
    """How many of n rows have to satisfy `wanted`, where they stand for `of` rows (only a confidence minds).

    n + 1 where all of them are too few: a share is never above 1.
    """
    if n == 0:
        return 0
    level = share.level if share.op in (">", ">=") else 1 - share.level
    least = ceil(level * n) if share.op in (">=", "<=") else floor(level * n) + 1
    if share.confidence is not None and 0 < level < 1:
        count = max(of, n)
        least = max(least, ceil(Fraction(_confident(level, count, share.confidence), count) * n))
    return max(least, 0)


@lru_cache(maxsize=64)
def _confident(level: Fraction, n: int, confidence: Fraction) -> int:
    """The least k with P(X >= k) <= 1 − confidence for X binomial(n, level); n where there is none. In float64: what
    decides a verdict is computed elsewhere."""
    k = np.arange(1, n + 1)
    p = float(level)
    logs = n * np.log1p(-p) + np.concatenate([[0.0], np.cumsum(np.log((n - k + 1) / k) + np.log(p) - np.log1p(-p))])
    tails = np.cumsum(np.exp(logs)[::-1])[::-1]  # P(X >= k)
    good = np.flatnonzero(tails <= 1.0 - float(confidence))
    return int(good[0]) if len(good) else n


def missing(violations: Tensor, share: Share, of: int) -> Tensor:
    """The sum of what is penalised, from the violations [n] of `wanted` at rows that satisfy the premise."""
    broken = violations[violations.detach() > 0]
    short = enough(share, len(violations), of) - (len(violations) - len(broken))
    if short <= 0:
        return violations.sum() * 0.0
    some = min(short, len(broken))
    return broken.topk(some, largest=False).values.sum() + (short - some)
