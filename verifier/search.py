"""A search for violations of what has no claim form: points drawn in the domain, judged exactly.

It proves nothing. It keeps a rule with products or l2 norms from going unlooked at while no engine decides it.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from rewarden.spec_lang.boxes import boxes_of
from rewarden.spec_lang.obligation import Obligation
from rewarden.spec_lang.sampling.points import sample_rows
from rewarden.verifier.pointwise import Bound, ExecutedBound, Rows, whole_premise, witness_at
from rewarden.verifier.witness import Witness

POINTS = 4096  # drawn at most: rows near data and narrow premises may give fewer


def search(obligation: Obligation, bound: Bound, points: int, seed: int) -> tuple[Witness | None, int]:
    """A witness of a violation, or None, and how many points of the premise were judged."""
    rows = sample_rows(obligation, min(points, POINTS), seed)
    if isinstance(bound, ExecutedBound):
        rows = as_binary32(obligation, rows)
    if not len(rows):
        return None, 0
    rows = rows[bound.holds(whole_premise(obligation), rows)]
    failing = np.flatnonzero(~bound.holds(obligation.conclusion, rows))
    if not len(failing):
        return None, len(rows)
    chosen = rows[failing[0]]
    if not in_domain(obligation, chosen):
        return None, len(rows)
    return witness_at(obligation, bound, chosen, premise_only=False), len(rows)


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
