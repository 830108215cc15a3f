"""A search for violations of what has no claim form: points drawn in the domain, judged exactly.

It proves nothing. It keeps a rule with products or l2 norms from going unlooked at while no engine decides it.
"""

from __future__ import annotations

import numpy as np

from rewarden.spec_lang.obligation import Obligation
from rewarden.spec_lang.sampling.points import sample_rows
from rewarden.verifier.pointwise import Bound, whole_premise, witness_at
from rewarden.verifier.witness import Witness

POINTS = 4096  # drawn at most: rows near data and narrow premises may give fewer


def search(obligation: Obligation, bound: Bound, points: int, seed: int) -> tuple[Witness | None, int]:
    """A witness of a violation, or None, and how many points of the premise were judged."""
    rows = sample_rows(obligation, min(points, POINTS), seed)
    if not len(rows):
        return None, 0
    rows = rows[bound.holds(whole_premise(obligation), rows)]
    failing = np.flatnonzero(~bound.holds(obligation.conclusion, rows))
    if not len(failing):
        return None, len(rows)
    return witness_at(obligation, bound, rows[failing[0]], premise_only=False), len(rows)
