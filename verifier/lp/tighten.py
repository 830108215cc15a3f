"""Bounds of neurons by linear programs over a part: what violations leave of them.

The rows of the violation hold in the program, so that a neuron's bounds are those of violations alone, and many neurons
turn out stable there. Each bound is the rigorous one of the duals (`bound`). Bounds only ever shrink, so that what a
later neuron's program says of earlier ones stays true.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rewarden.verifier.lp.bound import Objective, lower_bound
from rewarden.verifier.lp.model import Model
from rewarden.verifier.lp.region import EITHER, LOOSE, OFF, ON, Node, Region
from rewarden.verifier.program import INPUT


def tightened(region: Region, root: Node) -> tuple[Region, Node, int]:
    """The same with tighter bounds, and how many programs that took. Crossed bounds say that there is no violation:
    they are left to the root's own program."""
    spent = 0
    for k in region.frame.layers:
        at = region.frame.spans[k]
        loose = np.flatnonzero((root.phase[at] == EITHER) | (root.phase[at] == LOOSE))
        if not loose.size:
            continue
        model = Model(region, root)
        lo, hi = region.lo.copy(), region.hi.copy()
        for j in loose.tolist():
            n = at.start + j
            for sign in (1.0, -1.0):
                objective = Objective(k, j, sign)
                hint = model.extreme(root, objective)
                spent += 1
                if hint.status != "optimal":
                    continue
                least = lower_bound(region, root, hint.multipliers, objective)
                if sign > 0 and lo[n] < least <= hi[n]:
                    lo[n] = least
                elif sign < 0 and lo[n] <= -least < hi[n]:
                    hi[n] = -least
        region, root = _with(region, root, lo, hi)
    return region, root, spent


def _with(region: Region, root: Node, lo: np.ndarray, hi: np.ndarray) -> tuple[Region, Node]:
    phase = np.where(root.phase == EITHER, np.where(lo >= 0, ON, np.where(hi <= 0, OFF, EITHER)), root.phase)
    most = np.minimum(region.most, np.maximum(hi, 0.0))
    size = {s: region.size[s] if s == INPUT else most[region.frame.spans[s]] for s in region.size}
    return replace(region, lo=lo, hi=hi, most=most, size=size), replace(root, phase=phase.astype(np.int8))
