"""Goals of several atoms that hold by construction, each case by one of them: what lies between two values.

`min(B, c) <= R` is `R − B >= 0 or R − c >= 0`, and neither holds everywhere. Where R is made of B by minima and maxima
(`editor/envelope.py`), or by patches, it is told apart by the signs of those of their neurons that make an atom less:
with max(z, 0) either 0 or z, one of the atoms is a sum of terms that are of one sign each (`by_construction`), and
nothing of the network is left in it but what cancels. A neuron behind a gate gives 0 or max(z, 0): the worse of the two
counts.

All is exact arithmetic over all values of the variables, so that no bound of the network has a part in it. The proof is
a tree of these signs. Its leaves name an atom, and 0 as the line below every neuron near the output.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from rewarden.spec_lang.claim import Clause
from rewarden.spec_lang.claim_json import claim_digest
from rewarden.verifier.by_construction import DEEP, ExactBounds, form_of
from rewarden.verifier.fusion import SparseRow
from rewarden.verifier.program import INPUT, Layer, Program

Rows = Sequence[tuple[int, SparseRow, Fraction, bool]]  # the number of an atom, and sum + constant >= 0, > 0 if strict
SIGNS = 8  # above a leaf
FEW = 3  # neurons that bounds of neurons may lead to, one after the other: a clip's two, and not those of a network
WORK = 2**16  # terms that are added up for one goal, at most
MOST = 64  # leaves of a goal
MOST_LINES = 1024  # of a leaf


def either_proof(program: Program) -> dict[str, Any] | None:
    """The proof object (its witness is null) of a claim of which some goal has several atoms; None where there is
    none of this kind."""
    claim = program.claim
    if program.executed is not None or program.curved or claim.instances is not None or claim.loops is not None:
        return None
    if not len(claim.boxes) or not any(len(goal) > 1 for goal in claim.goals):
        return None
    goals = []
    for goal in claim.goals:
        bounds = ExactBounds(program, None)
        bounds.left, bounds.depth = WORK, DEEP - FEW
        nodes: list[list[object]] = []
        if not _grown(bounds, _rows(program, goal), nodes, SIGNS):
            return None
        goals.append([nodes for _ in claim.boxes])
    head = {"format": "rewarden-proof", "format_version": 1, "claim": claim_digest(claim)}
    return {**head, "witness": None, "goals": goals}


def _rows(program: Program, goal: Clause) -> Rows:
    return [(k, form_of(program, atom), atom.affine.constant, atom.strict) for k, atom in enumerate(goal)]


def _grown(bounds: ExactBounds, rows: Rows, nodes: list[list[object]], signs: int) -> bool:
    """Append the tree of a branch; False where it cannot be closed."""
    written = [(number, *bounds.written_out(row, constant), strict) for number, row, constant, strict in rows]
    for number, row, constant, strict in written:
        if bounds.sum_of(_at_worst(bounds, row), constant) >= (Fraction(0), strict):
            nodes.append(["leaf", number, [], [[k, j, 0] for k, j in _near(bounds, row)], []])
            return True
    chosen = next((max(harm) for _, row, _, _ in written if (harm := _harmful(bounds, row))), None)
    if chosen is None or signs == 0 or bounds.left <= 0 or len(nodes) > 2 * MOST:
        return False
    layer, neuron = chosen
    nodes.append(["sign", layer, neuron])
    for on in (True, False):
        there = [
            (number, *_with(bounds, row, constant, chosen, on), strict) for number, row, constant, strict in written
        ]
        if not _grown(bounds, there, nodes, signs - 1):
            return False
    return True


def _harmful(bounds: ExactBounds, row: SparseRow) -> list[tuple[int, int]]:
    """Neurons of layers of width one, of minima, maxima, rims and patches, that make the row less."""
    return [
        (k, j)
        for k, terms in row.items()
        for j, a in terms.items()
        if a < 0 and k != INPUT and bounds.layers[k].width == 1 and bounds.layers[k].kind in ("relu", "gated")
    ]


def _near(bounds: ExactBounds, row: SparseRow) -> list[tuple[int, int]]:
    """Relus that the row reads, and of what relus of width one among them read those of width one, and rows of a rim,
    which read variables alone. All count as at least 0: a line that is better somewhere is worse elsewhere."""
    form, _ = bounds.written_out(row, Fraction(0))
    found = {(k, j) for k in form if k != INPUT and bounds.layers[k].kind == "relu" for j in form[k]}
    waiting = sorted({k for k, _ in found})
    while waiting and len(found) < MOST_LINES:
        k = waiting.pop()
        if bounds.layers[k].width > 1:
            continue
        form, _ = bounds.written_out(*bounds.with_inner(k, 0, Fraction(1), {}, Fraction(0)))
        new = {(i, j) for i in form if i != INPUT and _is_near(bounds.layers[i]) for j in form[i]} - found
        found |= new
        waiting += sorted({i for i, _ in new})
    return sorted(found)


def _is_near(layer: Layer) -> bool:
    return layer.kind == "relu" and (layer.width == 1 or all(block.source == INPUT for block in layer.blocks))


def _at_worst(bounds: ExactBounds, row: SparseRow) -> SparseRow:
    """The row without outputs behind gates that can only be of use."""
    return {
        k: terms
        for k, terms in row.items()
        if not (k != INPUT and bounds.layers[k].kind == "gated" and all(a > 0 for a in terms.values()))
    }


def _with(
    bounds: ExactBounds, row: SparseRow, constant: Fraction, at: tuple[int, int], on: bool
) -> tuple[SparseRow, Fraction]:
    """The row where the neuron is on, max(z, 0) = z, or off; behind a gate it may be 0 all the same."""
    layer, neuron = at
    weight = row.get(layer, {}).get(neuron, Fraction(0))
    rest = {k: {j: a for j, a in terms.items() if (k, j) != at} for k, terms in row.items()}
    if not on or not weight or (bounds.layers[layer].kind == "gated" and weight > 0):
        return rest, constant
    return bounds.with_inner(layer, neuron, weight, rest, constant)
