"""A search for violations of what has no claim form: points drawn in the domain, judged exactly.

It proves nothing. It keeps a rule with products or l2 norms from going unlooked at while no engine decides it.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from rewarden.spec_lang.boxes import boxes_of
from rewarden.spec_lang.obligation import Obligation
from rewarden.spec_lang.sampling.points import Sampler
from rewarden.verifier.pointwise import Bound, ExecutedBound, Rows, whole_premise, witness_at
from rewarden.verifier.progress import Stop
from rewarden.verifier.witness import Witness

POINTS = 4096  # drawn at most: rows near data and narrow premises may give fewer
DRAWN = 128  # at once: judging one point in fractions may take a while, and a stop is asked for in between


def search(
    obligation: Obligation, bound: Bound, points: int, seed: int, stop: Stop = lambda: False
) -> tuple[Witness | None, int]:
    """A witness of a violation, or None, and how many points of the premise were judged. A stop ends it early."""
    judged = 0
    for drawn in _drawn(obligation, min(points, POINTS), seed, stop):
        if stop():
            break
        executed = as_binary32(obligation, drawn) if isinstance(bound, ExecutedBound) else drawn
        rows = executed[bound.holds(whole_premise(obligation), executed)]
        judged += len(rows)
        failing = np.flatnonzero(~bound.holds(obligation.conclusion, rows))
        if len(failing) and in_domain(obligation, rows[failing[0]]):
            return witness_at(obligation, bound, rows[failing[0]], premise_only=False), judged
    return None, judged


def _drawn(obligation: Obligation, count: int, seed: int, stop: Stop) -> Iterator[Rows]:
    """At most `count` points in parts. Rows of data are drawn once, so that none comes twice."""
    sampler, generator = Sampler(obligation), np.random.default_rng(seed)
    if obligation.over_rows:
        rows = sampler.draw(count, generator).rows
        yield from (rows[k : k + DRAWN] for k in range(0, len(rows), DRAWN))
        return
    size = DRAWN
    while count > 0 and not stop():
        rows = sampler.draw(min(size, count), generator, stop).rows
        count -= size
        size = DRAWN if len(rows) else 4 * size  # of a narrow premise, which takes most trials to meet, in fewer parts
        if len(rows):
            yield rows


def as_binary32(obligation: Obligation, rows: Rows) -> Rows:
    """The nearest binary32 numbers; what is fixed to a row of the data stays (float32 semantics)."""
    with np.errstate(over="ignore"):
        near = rows.astype(np.float32).astype(np.float64)
    fixed = [variable for variable, _ in obligation.instances.fixed] if obligation.instances is not None else []
    near[:, fixed] = rows[:, fixed]
    return near


def in_domain(obligation: Obligation, row: Rows) -> bool:
    """Is the point exactly in range (in some box of a rule near data), and whole where it is discrete?

    The sampler sees to that in float64. A witness is not to rest on it.
    """
    point = [Fraction(float(x)) for x in row]
    if not all(x.denominator == 1 for v, x in zip(obligation.variables, point, strict=True) if v.discrete):
        return False
    return any(all(lo <= x <= hi for x, (lo, hi) in zip(point, box, strict=True)) for box in boxes_of(obligation))
