"""Patched rewards that lie between what they were and a level: true by the way patches are made.

A ceiling returns the smaller of the reward and a cap that is nowhere below its level, so what it returns is at least
the smaller of the reward and the level; floors only raise. So of a reward R that is a reward B with patches on top

    R >= min(B, c)   if no level of the ceilings is below c;   R >= B if there are none,

and the same upside down. A claim says the first as `R − B >= 0 or R − c >= 0`. Its proof over a box goes from the
outermost ceiling in: with q = max(z, 0) what it takes away, z = r − level − slope·M, either z >= 0, and R is at least
r − z = level + slope·M, or q is 0, and it is as if the ceiling were not there. Where none takes anything away R is at
least B. No bound of the network has a part in it, but for two things that the kernel's own bounds may tell it. A
ceiling whose gate is open all over the box takes nothing away, whatever its z: there q is 0, and nothing is asked about
it. And where z cannot be <= 0 the branch that says so has no point, which a step of its leaf shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import floor

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.reward.graph import Patch
from rewarden.reward.widths import patch_tensors
from rewarden.spec_lang.claim import AffineAtom, Box, Claim, ClaimCall, Clause
from rewarden.verifier.exact_bounds import GRID
from rewarden.verifier.narrowing import root_cell
from rewarden.verifier.program import Program
from rewarden.verifier.scribe.patched import SURE, composed, extent, intervals
from rewarden.verifier.scribe.writer import EMPTY

Leaf = list[object]


def lies_between(claim: Claim, artifacts: Mapping[str, Artifact]) -> bool:
    """Whether this is what each goal of the claim says of its two rewards."""
    found = _pair(claim, artifacts)
    if found is None or not claim.goals:
        return False
    whole, below = (artifacts[claim.calls[k].reward] for k in found)
    if not _on_top(whole, below):
        return False  # one reward, twice: any engine sees that
    return all(_said(claim, goal, artifacts, *found) is not None for goal in claim.goals)


def between_trees(claim: Claim, there: Mapping[str, Artifact], program: Program) -> list[list[Leaf]] | None:
    """A tree for each goal of such a claim about one box; None where it is none."""
    found = _pair(claim, there)
    if found is None:
        return None
    cell = root_cell(claim, claim.boxes[0])
    opens = () if cell is None else _open(claim.calls[found[0]], there, cell)
    trees: list[list[Leaf]] = []
    for goal in claim.goals:
        said = _said(claim, goal, there, *found)
        if said is None:
            return None
        kind, against, held = said
        trees.append([EMPTY] if cell is None else _tree(program, cell, *found, opens, kind, against, held))
    return trees


def _pair(claim: Claim, artifacts: Mapping[str, Artifact]) -> tuple[int, int] | None:
    """The numbers of the calls of R and of B, on the same records, R being B with patches on top."""
    if len(claim.calls) != 2 or claim.calls[0].arguments != claim.calls[1].arguments:
        return None
    for one, other in ((0, 1), (1, 0)):
        whole, below = (artifacts.get(claim.calls[k].reward) for k in (one, other))
        if whole is not None and below is not None and _on_top(whole, below) is not None:
            return one, other
    return None


def _on_top(whole: Artifact, below: Artifact) -> tuple[Patch, ...] | None:
    """The patches that one reward has on top of the other."""
    count = len(below.patches)
    base = below.with_patches(()).tensors
    kept = zip(whole.patches, below.patches, strict=False)
    same = (
        whole.graph == below.graph
        and len(whole.patches) >= count
        and all(name in whole.tensors and whole.tensors[name].tobytes() == t.tobytes() for name, t in base.items())
        and all(_content(whole, a) == _content(below, b) for a, b in kept)
    )
    return whole.patches[count:] if same else None


def _content(artifact: Artifact, patch: Patch) -> tuple[object, ...]:
    tensors = [artifact.tensors[name] for name in patch_tensors(patch)]
    return (patch.kind, *((tensor.shape, tensor.tobytes()) for tensor in tensors))


def _said(
    claim: Claim, goal: Clause, artifacts: Mapping[str, Artifact], one: int, other: int
) -> tuple[str, int, int] | None:
    """Of a goal that says it: what is peeled off, "ceiling" or "floor", and its atoms: R to B, and R to the level or
    −1 where there is nothing to peel off."""
    whole, below = artifacts[claim.calls[one].reward], artifacts[claim.calls[other].reward]
    patches = _on_top(whole, below)
    assert patches is not None
    for kind, sign in (("ceiling", 1), ("floor", -1)):
        against = [k for k, atom in enumerate(goal) if not atom.strict and _compares(atom, one, other, sign)]
        levels = [sign * Fraction(float(whole.tensors[p.level][0])) for p in patches if p.kind == kind]
        if against and not levels:
            return kind, against[0], -1
        held = [k for k, atom in enumerate(goal) if levels and _reaches(atom, one, sign, min(levels))]
        if against and held:
            return kind, against[0], held[0]
    return None


def _compares(atom: AffineAtom, one: int, other: int, sign: int) -> bool:
    """sign·(R − B) >= 0, or more than that is not asked."""
    form = atom.affine
    calls = dict(form.calls)
    weight = calls.get(one, Fraction(0))
    return not form.variables and calls == {one: weight, other: -weight} and weight * sign > 0 and form.constant >= 0


def _reaches(atom: AffineAtom, one: int, sign: int, level: Fraction) -> bool:
    """sign·R >= c, c at most the level."""
    form = atom.affine
    weight = dict(form.calls).get(one, Fraction(0))
    if form.variables or len(form.calls) != 1 or weight * sign <= 0:
        return False
    room = abs(weight) * level + form.constant
    return room > 0 or (room == 0 and not atom.strict)


def _open(call: ClaimCall, there: Mapping[str, Artifact], cell: Box) -> tuple[bool, ...]:
    """Of each patch of a call, whether the kernel finds its gate open all over a cell: some row, rounded down to the
    kernel's grid, is there."""
    artifact = there[call.reward]
    found = []
    for patch in artifact.patches:
        gate = Fraction(float(artifact.tensors[patch.gate][0]))
        rows, offsets = (artifact.tensors[name].astype(np.float64).tolist() for name in (patch.rows, patch.offsets))
        ends = (
            extent(composed(row, call.arguments), cell)[0] - Fraction(b) for row, b in zip(rows, offsets, strict=True)
        )
        found.append(any(Fraction(floor(least * GRID), GRID) >= gate for least in ends))
    return tuple(found)


def _tree(
    program: Program, cell: Box, one: int, other: int, opens: Sequence[bool], kind: str, against: int, held: int
) -> list[Leaf]:
    """From the outermost patch in. Lines below neurons are 0: what patches of the other kind give, and every M, is at
    least that."""
    layers, at, stop = program.layers, program.outputs[one], program.outputs[other]
    chain: list[tuple[int, bool]] = []  # gated layers that may act, and whether they are of the kind
    for is_open in reversed(opens):
        if at == stop:
            break
        takes = float(layers[at].blocks[1].weight[0, 0]) < 0
        if not is_open:
            chain.append((at - 1, takes == (kind == "ceiling")))
        at = layers[at].blocks[0].source
    nothing: list[object] = [[q, 0, 0] for q, own in chain if not own]
    peeled = [q for q, own in chain if own]
    bounded = intervals(program, cell, off=peeled)
    crossing = len(peeled) < len(chain) or any(bounded[q][0][0] > -SURE * (1.0 + abs(bounded[q][1][0])) for q in peeled)
    steps: list[object] = []
    nodes: list[Leaf] = []
    for q in peeled:
        gate_layer = layers[q].gate_layer
        assert gate_layer is not None, "a gated layer has a gate"
        flat = [[k, j, 0] for k in range(gate_layer, q) if layers[k].kind == "relu" for j in range(layers[k].width)]
        nodes += [["sign", q, 0], ["leaf", held, [], [*nothing, *flat], [*steps]]]
        if crossing:
            steps.append([q, 0, 0, []])
    return [*nodes, ["leaf", against, [], nothing, steps]]
