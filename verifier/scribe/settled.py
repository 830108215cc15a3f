"""Proofs of what is monotone once the premise has decided what fades across a rim (`verifier/settled.py`): one leaf.

The leaf reads the second call as the first less twins, and does in steps what `settled` does. Relus that the premise
keeps off, as those of a rim inside its region, are bounded by it, or by one of its facts; what is decided because of
these is bounded by what it reads. Lines of twins through 0 then keep all differences to their signs, which facts give
to the first of them, and the goal is a sum of terms of one sign each. A premise with disjunctions has a leaf for each
choice of their atoms. The kernel bounds all of it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from rewarden.spec_lang.claim import AffineAtom, Box
from rewarden.spec_lang.claim_json import claim_digest
from rewarden.verifier.by_construction import DEEP, ExactBounds, form_of
from rewarden.verifier.differences import with_differences
from rewarden.verifier.narrowing import narrowed, root_cell
from rewarden.verifier.program import INPUT, Layer, Program
from rewarden.verifier.proof_tree import dyadic
from rewarden.verifier.scribe.patched import extent, rounded
from rewarden.verifier.settled import WORK, settled

CHORD, ON, OFF = 0, 4, 8  # lines of a twin, below and above
STEEP = 256  # the line z below a relu
MOST_LEAVES, MOST_HELPING = 16, 4
Fact = tuple[int, int, AffineAtom]  # clause, atom


def settled_proof(program: Program) -> dict[str, Any] | None:
    """The proof object (its witness is null) of a claim about one box; None where this is no proof of it."""
    claim = program.claim
    if program.executed is not None or program.curved or len(claim.boxes) != 1 or len(claim.calls) < 2:
        return None
    cell = root_cell(claim, claim.boxes[0])
    twins = with_differences(program)
    if cell is None or twins is None:
        return None
    several = [c for c, clause in enumerate(claim.clauses) if len(clause) > 1]
    sure = [(c, 0, clause[0]) for c, clause in enumerate(claim.clauses) if len(clause) == 1]
    goals = []
    for goal in range(len(claim.goals)):
        nodes: list[list[object]] = []
        if not _grown(_Leaves(program, twins, goal), cell, sure, several, nodes):
            return None
        goals.append([nodes])
    head = {"format": "rewarden-proof", "format_version": 1, "claim": claim_digest(claim)}
    return {**head, "witness": None, "goals": goals}


def _grown(leaves: _Leaves, cell: Box, facts: list[Fact], several: Sequence[int], nodes: list[list[object]]) -> bool:
    """Append the tree of a branch; False where it cannot be closed."""
    leaf = leaves.leaf(cell, facts)
    if leaf is not None:
        nodes.append(leaf)
        return True
    if not several or len(nodes) > 2 * MOST_LEAVES:
        return False
    claim = leaves.program.claim
    nodes.append(["case", several[0]])
    whole = [variable.discrete for variable in claim.variables]
    for a, chosen in enumerate(claim.clauses[several[0]]):
        part = narrowed(cell, (chosen,), whole)
        if part is None:
            nodes.append(["leaf", -1, [], [], []])
        elif not _grown(leaves, part, [*facts, (several[0], a, chosen)], several[1:], nodes):
            return False
    return True


@dataclass(frozen=True, slots=True, eq=False)
class _Leaves:
    program: Program
    twins: Program
    goal: int

    def leaf(self, cell: Box, facts: Sequence[Fact]) -> list[object] | None:
        chosen = [atom for _, _, atom in facts if not atom.affine.calls]
        now = settled(self.program, chosen)
        if now is None:
            return None
        decided = {k: _way(layer) for k, layer in enumerate(now.layers) if layer is not self.program.layers[k]}
        steps, slopes = list[list[object]](), list[list[object]]()
        for k, sign in sorted(decided.items()):
            found = self._from_inputs(k, sign, cell, facts) or self._from_below(k, sign, now)
            if found is None:
                return None
            step, helping = found
            steps.append(step)
            slopes += [[j, 0, STEEP] for j in helping]
        layers = list(self.twins.layers)
        for k, layer in enumerate(self.twins.layers):
            if k in decided:
                layers[k] = now.layers[k]
            ways = {decided.get(one) for one in layer.pair or (-1,)}
            line = CHORD
            if layer.pair is not None and ways in ({1}, {-1}):
                layers[k] = replace(layer, kind="linear", pair=None, tight=False)
                line = ON
                if ways == {-1}:
                    layers[k], line = _without(layers[k]), OFF
            if layer.pair is not None:
                slopes += [[k, j, line] for j in range(layer.width)]
        own = replace(self.twins, layers=tuple(layers))
        for number, atom in enumerate(own.claim.goals[self.goal]):
            bounds = ExactBounds(own, None, 0)
            bounds.left = WORK
            if bounds.reaches(form_of(own, atom), atom.affine.constant, atom.strict, 0):
                pairs = [k for k, layer in enumerate(own.layers) if layer.pair is not None]
                steps += [step for k in pairs for step in bounds.steps(k)]
                return ["leaf", number, [], slopes, steps, 1]
        return None

    def _from_inputs(
        self, k: int, sign: int, cell: Box, facts: Sequence[Fact]
    ) -> tuple[list[object], list[int]] | None:
        """A step that shows on which side of 0 a pre-activation is that reads variables alone, by the cell and by one
        fact at most."""
        side = 0 if sign > 0 else 1
        bounds = ExactBounds(self.program, None)
        row, constant = bounds.written_out(*bounds.with_inner(k, 0, Fraction(-sign), {}, Fraction(0)))
        if set(row) - {INPUT}:
            return None
        form = constant, row.get(INPUT, {})
        if extent(form, cell)[1] <= 0:
            return [k, 0, side, []], []
        for clause, number, atom in facts:
            fact = dict(atom.affine.variables)
            for j, a in fact.items() if not atom.affine.calls else ():
                exact = -form[1].get(j, Fraction(0)) / a
                weight = rounded(exact) if exact > 0 else Fraction(0)
                used = {i: weight * x for i, x in fact.items()}
                sums = {i: form[1].get(i, Fraction(0)) + used.get(i, Fraction(0)) for i in {*form[1], *used}}
                if weight > 0 and extent((constant + weight * atom.affine.constant, sums), cell)[1] <= 0:
                    return [k, 0, side, [[clause, number, list(dyadic(weight))]]], []
        return None

    def _from_below(self, k: int, sign: int, now: Program) -> tuple[list[object], list[int]] | None:
        """A step of a pre-activation by what it reads: with those before it decided, and z as the line below some relus
        of width one, what is left is a sum of terms of one sign each. These relus, too."""
        layers = self.program.layers
        own = replace(self.program, layers=(*now.layers[:k], *layers[k:]))
        bounds = ExactBounds(own, None)
        bounds.depth = DEEP  # of neurons nothing but what they are anyway: what the kernel's lines say
        row, constant = bounds.written_out(*bounds.with_inner(k, 0, Fraction(sign), {}, Fraction(0)))
        helping = list[int]()
        while bounds.sum_of(row, constant) < (Fraction(0), False):
            able = [
                j
                for j, terms in row.items()
                if j != INPUT and own.layers[j].kind == "relu" and own.layers[j].width == 1 and terms[0] > 0
            ]
            if not able or len(helping) == MOST_HELPING:
                return None
            helping.append(max(able))
            weight = row.pop(helping[-1])[0]
            row, constant = bounds.written_out(*bounds.with_inner(helping[-1], 0, weight, row, constant))
        return [k, 0, 0 if sign > 0 else 1, []], helping


def _way(layer: Layer) -> int:
    """Of a relu that `settled` has decided: 1 where it is on."""
    return 1 if any(block.weight.any() for block in layer.blocks) or layer.bias.any() else -1


def _without(layer: Layer) -> Layer:
    """0, whatever it reads."""
    blocks = tuple(replace(block, weight=block.weight * 0.0, exact=None) for block in layer.blocks)
    return replace(layer, blocks=blocks, bias=layer.bias * 0.0, exact_bias=None)
