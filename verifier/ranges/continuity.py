"""Whether a patched reward is continuous, where that can be certified.

A ceiling makes of r the reward min(r, level + slope·max(g − δ, 0)) where g is below the gate, and r beyond it. Only if
the cap has risen above r by then is there no jump; this is how patches are built, but an artifact could hold any. So it
is checked: a certified bound of r over all records at the gate against the cap there. Further out r may well be above
where the cap would be, so the gate is not one that could be left out: slopes are told with it (`slopes`).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.reward.graph import Patch
from rewarden.reward.tables import has_tables
from rewarden.spec_lang.claim import Box
from rewarden.spec_lang.errors import EditError
from rewarden.verifier.extremum import certified_extremum


def continuous(artifact: Artifact) -> bool:
    """Whether no patch jumps at its rim, for certain; not told of patches on many boxes."""
    return not has_tables(artifact) and all(_meets(artifact, number) for number in range(len(artifact.patches)))


def _meets(artifact: Artifact, number: int) -> bool:
    """Whether the patch leaves what it wraps as it is, at every record at its gate."""
    patch = artifact.patches[number]
    below = artifact.with_patches(artifact.patches[:number])
    sign = 1 if patch.kind == "ceiling" else -1
    level, slope, delta, gate = (
        Fraction(float(artifact.tensors[name][0])) for name in (patch.level, patch.slope, patch.delta, patch.gate)
    )
    if gate < delta:
        return False
    cap = sign * level + slope * (gate - delta)
    try:
        return certified_extremum(below, _at_the_gate(artifact, patch, gate), sign) <= cap
    except EditError:
        return False


def _at_the_gate(artifact: Artifact, patch: Patch, gate: Fraction) -> Box:
    """A box that holds every declared record at which no row of the patch is above its gate."""
    box = [(column.lo, column.hi) for column in artifact.columns]
    for row, offset in zip(artifact.tensors[patch.rows], artifact.tensors[patch.offsets], strict=True):
        used = np.flatnonzero(row)
        if len(used) != 1:
            continue
        j, weight = int(used[0]), Fraction(float(row[used[0]]))
        edge = (gate + Fraction(float(offset))) / weight
        lo, hi = box[j]
        box[j] = (lo, max(lo, min(hi, edge))) if weight > 0 else (min(hi, max(lo, edge)), hi)
    return tuple(box)
