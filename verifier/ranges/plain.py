"""A patched reward without its gates: the same function as a plain network, where that can be certified.

A ceiling makes of r the reward min(r, level + slope·max(g − δ, 0)) where g is below the gate, and r beyond it. Only if
the cap is above r wherever the gate is open does the gate change nothing. That is not how patches are built: their cap
has risen above r at the gate, and further out r may rise faster. So it is checked, with bounds: where row i of the gate
has reached it, g is at least that row, and so r <= level + slope·(row_i − δ) is enough. Then bounds and cells may speak
of the plain network, which they do best.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.reward.graph import AffineMap, Input, Maximum, Minimum, ReduceMax, Relu
from rewarden.reward.learners.splice import Splice
from rewarden.reward.tables import has_tables
from rewarden.spec_lang.claim import Affine, AffineAtom, Claim, ClaimCall, ClaimVariable
from rewarden.verifier.branch import BranchAndBound
from rewarden.verifier.inline import compile_program
from rewarden.verifier.torch_settings import plain_torch

BATCH, BOXES = 64, 512  # for each row of a gate


def plain(artifact: Artifact) -> Artifact | None:
    """The artifact itself if it has no patches; None where a gate may change something, or a patch has
    many boxes."""
    if not artifact.patches:
        return artifact
    if has_tables(artifact):
        return None
    with plain_torch(1):
        if not all(_idle(artifact, number) for number in range(len(artifact.patches))):
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
    """Whether the cap of the patch is, for certain, no less than what it wraps wherever its gate is open."""
    patch, t = artifact.patches[number], artifact.tensors
    below = artifact.with_patches(artifact.patches[:number])
    sign = 1 if patch.kind == "ceiling" else -1
    level, slope, delta, gate = (
        Fraction(float(t[name][0])) for name in (patch.level, patch.slope, patch.delta, patch.gate)
    )
    columns = tuple(Affine(Fraction(0), ((j, Fraction(1)),)) for j in range(artifact.width))
    variables = tuple(ClaimVariable(f"x{j}", None, False) for j in range(artifact.width))
    box = tuple((column.lo, column.hi) for column in artifact.columns)
    for weights, offset in zip(t[patch.rows].tolist(), t[patch.offsets].tolist(), strict=True):
        row = [(j, Fraction(w)) for j, w in enumerate(weights) if w]
        beyond = AffineAtom(Affine(-Fraction(offset) - gate, tuple(row)), False)
        rise = tuple((j, slope * w) for j, w in row if slope)
        cap = sign * level - slope * (Fraction(offset) + delta)
        above = AffineAtom(Affine(cap, rise, ((0, Fraction(-sign)),)), False)
        called = (("r", ""),), (ClaimCall("r", columns),)
        asked = Claim("", "must", variables, (), *called, ((beyond,),), ((above,),), (box,))
        if BranchAndBound(compile_program(asked, {"r": below}), BATCH).run(BOXES).status != "proved":
            return False
    return True
