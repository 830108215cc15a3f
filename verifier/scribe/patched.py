"""Proofs of what a patch says by itself: region, level and gate, with no part for the network.

A ceiling whose rows are all at most delta wherever the premise holds is flat there: the reward is at most its level. A
leaf shows this so: each row that the box does not keep below delta is bounded by a step, with a multiple of one of the
premise's atoms (Farkas: the region covers the premise); then the neuron of the patch is taken as its z, reward and
network cancel, and the level is left. Patches further out, of the same kind, do no harm with their neurons taken as 0.
A premise with several ways to hold has a leaf for each. Whatever has not room to spare here is left to the search.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.elementary import extent as value_extent
from rewarden.reward.elementary import value
from rewarden.reward.graph import Patch
from rewarden.spec_lang.claim import Affine, AffineAtom, Box, Claim
from rewarden.verifier.narrowing import narrowed, root_cell
from rewarden.verifier.program import INPUT, Program
from rewarden.verifier.proof_tree import dyadic
from rewarden.verifier.scribe.leaves import Leaf
from rewarden.verifier.scribe.writer import EMPTY
from rewarden.verifier.smooth_lines import product_extent

Ends = tuple[NDArray[np.float64], NDArray[np.float64]]
Form = tuple[Fraction, dict[int, Fraction]]  # constant, and coefficients of variables
Fact = tuple[int, int, AffineAtom]  # clause, atom
SURE = 1e-6  # relative to what is compared: far more than what bounds in binary64 are wrong by
NEARLY = 1 - Fraction(
    1, 2**24
)  # of delta: boxes end a little nearer than that where a patch ceases to be flat (`covered`)
MOST_CASES = 64
POINTS = 1024


def by_patches(claim: Claim, there: Mapping[str, Artifact], program: Program) -> list[list[Leaf]] | None:
    """A tree for each goal of a claim about one box, if a patch says each of them. `there` has no tables."""
    several = [c for c, clause in enumerate(claim.clauses) if len(clause) > 1]
    if np.prod([len(claim.clauses[c]) for c in several], dtype=float) > MOST_CASES:
        return None
    cell = root_cell(claim, claim.boxes[0])
    if cell is None:
        return [[EMPTY] for _ in claim.goals]
    sure = [(c, 0, clause[0]) for c, clause in enumerate(claim.clauses) if len(clause) == 1]
    found = []
    for goal in range(len(claim.goals)):
        nodes: list[Leaf] = []
        if not _grown(claim, there, program, goal, cell, sure, several, nodes):
            return None
        found.append(nodes)
    return found


def _grown(
    claim: Claim,
    there: Mapping[str, Artifact],
    program: Program,
    goal: int,
    cell: Box,
    facts: list[Fact],
    several: Sequence[int],
    nodes: list[Leaf],
) -> bool:
    """Append the tree of a branch; False where it cannot be closed. As deep as there are clauses of several atoms."""
    ranges = intervals(program, cell)
    for k, atom in enumerate(claim.goals[goal]):
        if not atom.affine.variables and len(atom.affine.calls) == 1:
            call = claim.calls[atom.affine.calls[0][0]]
            leaf = _leaf(k, atom, program, there[call.reward], call.arguments, cell, facts, ranges)
            if leaf is not None:
                nodes.append(leaf)
                return True
    if not several:
        return False
    nodes.append(["case", several[0]])
    whole = [variable.discrete for variable in claim.variables]
    for a, chosen in enumerate(claim.clauses[several[0]]):
        part = narrowed(cell, (chosen,), whole)
        if part is None:
            nodes.append(EMPTY)
        elif not _grown(claim, there, program, goal, part, [*facts, (several[0], a, chosen)], several[1:], nodes):
            return False
    return True


def _leaf(
    k: int,
    atom: AffineAtom,
    program: Program,
    artifact: Artifact,
    arguments: Sequence[Affine],
    cell: Box,
    facts: Sequence[Fact],
    ranges: Sequence[Ends],
) -> Leaf | None:
    """From the outermost patch in: the first that is flat and whose level is enough, if those passed do no harm. (A
    neuron that is on wherever its gate is closed has lines of its own. A point of the premise at which it is off, or
    its gate open, shows that no bound can find that.)"""
    ((call, weight),) = atom.affine.calls
    kind = "ceiling" if weight < 0 else "floor"
    lines: list[object] = []
    values: list[NDArray[np.float64]] | None = None
    layer = program.outputs[call]
    for patch in reversed(artifact.patches):
        q = layer - 1
        if patch.kind != kind or program.layers[q].kind != "gated":
            return None
        room = atom.affine.constant + weight * _scalar(artifact, patch.level)
        low, high = ranges[q]
        size = SURE * (1.0 + abs(float(low[0])) + abs(float(high[0])))
        if room > 0 or (room == 0 and not atom.strict):
            steps = _covered(program.layers[q].gate_layer, artifact, patch, arguments, cell, facts)
            if steps is not None and high[0] > size:
                return ["leaf", k, [], [*lines, [q, 0, 256]], steps]
        values = _values(program, _points(program, cell, facts)) if values is None else values
        gate_layer, gate = program.layers[q].gate_layer, program.layers[q].gate
        assert gate_layer is not None, "a gated layer has a gate"
        assert gate is not None, "a gated layer has a gate"
        if not ((values[q] < -size).any() or (values[gate_layer] > gate + SURE).any()):
            return None
        lines.append([q, 0, 0])
        layer = program.layers[layer].blocks[0].source
    return None


def _covered(
    rows_layer: int | None,
    artifact: Artifact,
    patch: Patch,
    arguments: Sequence[Affine],
    cell: Box,
    facts: Sequence[Fact],
) -> list[object] | None:
    """Steps that bound by half of delta the rows of a patch that the cell does not keep below delta; None where some
    row is not. (Weights of steps are rounded; what the cell tells is exact, but for the kernel's grid.)"""
    delta, gate = _scalar(artifact, patch.delta), _scalar(artifact, patch.gate)
    if delta <= 0 or delta >= gate:
        return None
    steps: list[object] = []
    rows, offsets = artifact.tensors[patch.rows], artifact.tensors[patch.offsets]
    for i, (row, offset) in enumerate(zip(rows.astype(np.float64), offsets.astype(np.float64), strict=True)):
        constant, entries = composed(row.tolist(), arguments)
        form = constant - Fraction(float(offset)), entries
        if extent(form, cell)[1] <= delta * NEARLY:
            continue
        used = next(_multiples(form, facts, cell, delta / 2), None)
        if used is None:
            return None
        steps.append([rows_layer, i, 1, [used]])
    return steps


def _multiples(form: Form, facts: Sequence[Fact], cell: Box, most: Fraction) -> Iterator[list[object]]:
    """Facts with a weight λ such that form + λ·fact is at most `most` in the cell."""
    for clause, number, atom in facts:
        fact = dict(atom.affine.variables)
        if atom.affine.calls or not fact:
            continue
        for k, x in fact.items():
            exact = -form[1].get(k, Fraction(0)) / x
            if exact <= 0:
                continue
            weight = rounded(exact)
            entries = {j: form[1].get(j, Fraction(0)) + weight * fact.get(j, Fraction(0)) for j in {*form[1], *fact}}
            if weight > 0 and extent((form[0] + weight * atom.affine.constant, entries), cell)[1] <= most:
                yield [clause, number, list(dyadic(weight))]


def rounded(exact: Fraction) -> Fraction:
    """To 53 or 54 bits, however large or small: premises may have coefficients such as 1e-310."""
    exponent = exact.numerator.bit_length() - exact.denominator.bit_length() - 53
    return round(exact / Fraction(2) ** exponent) * Fraction(2) ** exponent


def composed(row: Sequence[float], arguments: Sequence[Affine]) -> Form:
    """A row over the encoded columns, as one over the variables."""
    constant, entries = Fraction(0), dict[int, Fraction]()
    for weight, argument in zip(row, arguments, strict=True):
        if weight:
            constant += Fraction(weight) * argument.constant
            for k, x in argument.variables:
                entries[k] = entries.get(k, Fraction(0)) + Fraction(weight) * x
    return constant, entries


def extent(form: Form, box: Box) -> tuple[Fraction, Fraction]:
    """The least and the greatest value of a form in a box."""
    constant, entries = form
    least = constant + sum((c * box[k][c < 0] for k, c in entries.items()), Fraction(0))
    return least, constant + sum((c * box[k][c > 0] for k, c in entries.items()), Fraction(0))


def _scalar(artifact: Artifact, name: str) -> Fraction:
    return Fraction(float(artifact.tensors[name][0]))


def _points(program: Program, cell: Box, facts: Sequence[Fact]) -> NDArray[np.float64]:
    """Some points of the cell at which the facts about variables hold: [n, variables]."""
    lo, hi = (np.array([float(ends[side]) for ends in cell]) for side in (0, 1))
    found = lo + (hi - lo) * np.random.default_rng(0).random((POINTS, len(cell)))
    whole = np.array([variable.discrete for variable in program.claim.variables])
    found = np.where(whole, np.clip(np.rint(found), lo, hi), found)
    for _, _, atom in facts:
        if not atom.affine.calls:
            row = np.zeros(len(cell))
            for k, x in atom.affine.variables:
                row[k] = float(x)
            found = found[np.asarray(found @ row + float(atom.affine.constant) >= 0)]
    return np.asarray(found, dtype=np.float64)


def _values(program: Program, points: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Pre-activations of every layer at points, in binary64: [n, width] for each."""
    outputs: dict[int, NDArray[np.float64]] = {INPUT: points}
    found: list[NDArray[np.float64]] = []
    for number, layer in enumerate(program.layers):
        z = layer.bias + sum(outputs[block.source] @ block.weight.T for block in layer.blocks)
        found.append(z)
        match layer.kind:
            case "linear":
                outputs[number] = z
            case "smooth":
                assert layer.function is not None
                outputs[number] = value(layer.function, z)
            case "product":
                outputs[number] = z[:, : layer.width] * z[:, layer.width :]
            case _:
                outputs[number] = np.maximum(z, 0.0)
        if layer.kind == "gated" and layer.gate_layer is not None and layer.gate is not None:
            opened = np.asarray(found[layer.gate_layer].max(axis=1) >= layer.gate)
            outputs[number] = np.where(opened[:, None], 0.0, outputs[number])
    return found


def intervals(program: Program, box: Box, off: Collection[int] = ()) -> list[Ends]:
    """Pre-activations of every layer over a box, in binary64, nearly; layers that are `off` give 0."""
    lo, hi = (np.array([float(ends[side]) for ends in box]) for side in (0, 1))
    outputs: dict[int, Ends] = {INPUT: (lo, hi)}
    found: list[Ends] = []
    for number, layer in enumerate(program.layers):
        low, high = layer.bias.copy(), layer.bias.copy()
        for block in layer.blocks:
            below, above = outputs[block.source]
            up, down = np.maximum(block.weight, 0.0), np.minimum(block.weight, 0.0)
            low, high = low + up @ below + down @ above, high + up @ above + down @ below
        found.append((low, high))
        if number in off:
            outputs[number] = np.zeros_like(low), np.zeros_like(high)
        elif layer.kind == "linear":
            outputs[number] = low, high
        elif layer.function is not None:
            outputs[number] = value_extent(layer.function, low, high)
        elif layer.kind == "product":
            (least,), (most,) = product_extent(low[None], high[None])
            outputs[number] = least, most
        else:
            outputs[number] = np.maximum(low, 0.0) * (layer.kind != "gated"), np.maximum(high, 0.0)
    return found
