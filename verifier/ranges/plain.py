"""A patched reward without its gates: the same function as a plain network, where that can be certified.

A ceiling makes of r the reward min(r, level + slope·max(g − δ, 0)) where g is below the gate, and r beyond it. Only if
the cap has risen above r by then is there no jump, and the gate changes nothing; this is how patches are built, but an
artifact could hold any. So it is checked: a certified bound of r over all records at the gate against the cap there.
Then bounds, cells and slopes may speak of the plain network, which they do best.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.reward.graph import AffineMap, Input, Maximum, Minimum, Patch, ReduceMax, Relu
from rewarden.reward.learners.splice import Splice
from rewarden.reward.tables import has_tables
from rewarden.spec_lang.claim import Box
from rewarden.spec_lang.errors import EditError
from rewarden.verifier.extremum import certified_extremum


def plain(artifact: Artifact) -> Artifact | None:
    """The artifact itself if it has no patches; None where some patch may jump, or has many boxes."""
    if not artifact.patches:
        return artifact
    if has_tables(artifact) or not all(_idle(artifact, number) for number in range(len(artifact.patches))):
        return None
    splice = Splice()
    output = splice.graft(artifact.graph, artifact.tensors, "")
    source = next(k for k, node in enumerate(splice.nodes) if isinstance(node, Input))
    for number, patch in enumerate(artifact.patches):
        t, name = artifact.tensors, f"plain{number}."
        sign = np.float32(1 if patch.kind == "ceiling" else -1)
        g = splice.push(
            AffineMap(source, splice.store(name + "w", t[patch.rows]), splice.store(name + "b", -t[patch.offsets]))
        )
        g = splice.push(ReduceMax(g)) if len(t[patch.offsets]) > 1 else g
        one = splice.store(name + "one", np.ones((1, 1), np.float32))
        ring = splice.push(Relu(splice.push(AffineMap(g, one, splice.store(name + "d", -t[patch.delta])))))
        slope = splice.store(name + "slope", (sign * t[patch.slope])[:, None])
        cap = splice.push(AffineMap(ring, slope, splice.store(name + "level", t[patch.level])))
        output = splice.push((Minimum if patch.kind == "ceiling" else Maximum)(output, cap))
    made = splice.finish(output)
    return replace(artifact, graph=made.graph, tensors=made.tensors, patches=())


def _idle(artifact: Artifact, number: int) -> bool:
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
