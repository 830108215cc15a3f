"""Proofs about rewards that are patched near data: a program for each box of the claim, as the kernel makes it.

Which patches of a table act in a box is decided by the kernel in exact arithmetic (docs/formats.md, "Program"), and
layers are numbered accordingly; so it is decided exactly here, too, of the few patches that the index leaves. A box
that a flat patch settles by its level alone gets one leaf (`patched`). Any other is searched for a proof like a claim
of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.graph import Patch
from rewarden.reward.tables import MOST_ACTIVE, has_tables, index_of, is_table
from rewarden.spec_lang.claim import Affine, Box, Claim
from rewarden.spec_lang.claim_json import claim_digest
from rewarden.verifier.between import between_trees
from rewarden.verifier.inline import arguments_over, compile_program
from rewarden.verifier.scribe.patched import by_patches, composed, extent
from rewarden.verifier.scribe.writer import written
from rewarden.verifier.unwritten import Unwritten

MOST_BOXES = 100  # of a claim about a reward without tables, looked at one by one


def written_near(
    claim: Claim, rewards: Mapping[str, Artifact], owed: Unwritten, stop: Callable[[], bool]
) -> dict[str, Any] | str:
    """The proof object (its witness is null) of a claim that has been proved, or why there is none."""
    trees: list[list[Any]] = [[] for _ in claim.goals]
    share = Unwritten(owed.boxes)
    for number in range(len(claim.boxes)):
        if stop():
            return "there was no time left to write it"
        own, there = over_box(claim, number, rewards)
        if any(len(artifact.patches) > MOST_ACTIVE for artifact in there.values()):
            return "too many patches act in one box of the claim"
        program = compile_program(own, there)
        trees_here = between_trees(own, there, program) or by_patches(own, there, program)
        if trees_here is None:
            found = written(program, share, stop)
            if isinstance(found, str):
                return found
            trees_here = [per_box[0] for per_box in found["goals"]]
        for goal, tree in enumerate(trees_here):
            trees[goal].append(tree)
    head = {"format": "rewarden-proof", "format_version": 1, "claim": claim_digest(claim)}
    return {**head, "witness": None, "goals": trees}


# ── the reward over a box ──────────────────────────────────────────────────────────────────────
def over_box(claim: Claim, number: int, rewards: Mapping[str, Artifact]) -> tuple[Claim, dict[str, Artifact]]:
    """The claim about one of its boxes, each call of a reward by a name of its own, and what these rewards are there,
    without tables."""
    whole = [variable.discrete for variable in claim.variables]
    box = tuple(
        (Fraction(math.ceil(lo)), Fraction(math.floor(hi))) if d else (lo, hi)
        for (lo, hi), d in zip(claim.boxes[number], whole, strict=True)
    )
    own = replace(claim, boxes=(box,))
    calls, there = [], {}
    for k, call in enumerate(claim.calls):
        name = f"{call.reward}#{k}"
        calls.append(replace(call, reward=name))
        artifact = rewards[call.reward]
        there[name] = acting(artifact, call.arguments, box, *arguments_over(own, call))
    return replace(own, calls=tuple(calls)), there


def acting(
    artifact: Artifact, arguments: Sequence[Affine], box: Box, lo: NDArray[np.float64], hi: NDArray[np.float64]
) -> Artifact:
    """The reward over a box: patches near data are ordinary ones, those that may act. `lo`, `hi`: where the arguments
    are, nearly."""
    if not has_tables(artifact):
        return artifact
    patches: list[Patch] = []
    tensors = dict(artifact.tensors)
    for number, patch in enumerate(artifact.patches):
        if not is_table(patch, artifact.tensors):
            patches.append(patch)
            continue
        rows, offsets = artifact.tensors[patch.rows], artifact.tensors[patch.offsets]
        delta, gate = (Fraction(float(artifact.tensors[name][0])) for name in (patch.delta, patch.gate))
        ends = [extent(composed(row, arguments), box) for row in rows.astype(np.float64).tolist()]
        for j in index_of(artifact, number).meeting(lo, hi).tolist():
            mine = [Fraction(x) for x in offsets[j].astype(np.float64).tolist()]
            if any(least - b >= gate for (least, _), b in zip(ends, mine, strict=True)):
                continue
            pairs = enumerate(zip(ends, mine, strict=True))
            kept = [i for i, ((_, most), b) in pairs if delta >= gate or most - b > delta] or [0]
            names = {part: f"{getattr(patch, part)}[{j}]" for part in ("rows", "offsets")}
            tensors[names["rows"]], tensors[names["offsets"]] = rows[kept], offsets[j][kept]
            patches.append(replace(patch, **names))
    used = {name for patch in patches for name in patch_parts(patch)}
    kept_tensors = {name: t for name, t in tensors.items() if name in used or name in artifact.with_patches(()).tensors}
    return replace(artifact, patches=tuple(patches), tensors=kept_tensors)


def patch_parts(patch: Patch) -> Iterator[str]:
    """The names of a patch's tensors."""
    return (getattr(patch, part) for part in ("rows", "offsets", "level", "slope", "delta", "gate"))


def written_patched(claim: Claim, rewards: Mapping[str, Artifact]) -> dict[str, Any] | None:
    """The proof object, without witness, of a claim that patches without tables settle in each of its boxes."""
    called = [rewards[call.reward] for call in claim.calls]
    if len(claim.boxes) > MOST_BOXES or not any(a.patches for a in called):
        return None
    trees: list[list[Any]] = [[] for _ in claim.goals]
    for number in range(len(claim.boxes)):
        own, there = over_box(claim, number, rewards)
        program = compile_program(own, there)
        found = between_trees(own, there, program) or by_patches(own, there, program)
        if found is None:
            return None
        for goal, tree in enumerate(found):
            trees[goal].append(tree)
    head = {"format": "rewarden-proof", "format_version": 1, "claim": claim_digest(claim)}
    return {**head, "witness": None, "goals": trees}
