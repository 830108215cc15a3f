"""A leaf in rational arithmetic: for rules that hold with nothing to spare, where no bound in floats says enough.

Leaves are lists as docs/formats.md has them, of weights, lines and multiples of neurons; what narrows a box or tightens
a bound by steps is left to floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from rewarden.spec_lang.claim import AffineAtom, Box
from rewarden.verifier.exact_bounds import ExactBounds, weighted_sum
from rewarden.verifier.exact_bounds import Leaf as Lines
from rewarden.verifier.program import Layer, Program


class _Intervals(ExactBounds):
    """No neuron is back-substituted, which is how a leaf without steps may be bounded as well."""

    def _is_loose(self, layer: Layer, read_by_gate: bool, lo: Fraction, hi: Fraction) -> bool:
        return False


def holds_by_intervals(program: Program, goal: int, box: Box, leaf: Sequence[Any]) -> bool:
    """Whether a leaf of one goal's atom and lines alone settles the box."""
    _, number, _, lines, _ = leaf
    atom = program.claim.goals[goal][number]
    bounds = _Intervals(program, box, Lines(number, slopes=tuple((k, i, s) for k, i, s in lines)))
    bound = bounds.lower(atom.affine)
    return bound > 0 or (bound == 0 and not atom.strict)


def holds(program: Program, goal: int, box: Box, signs: Sequence[tuple[int, int, int]], leaf: Sequence[Any]) -> bool:
    """Whether no point of the branch violates the goal, by this leaf."""
    _, number, used, lines, steps = leaf
    if any(len(step) != 3 and step[3:] != [[]] for step in steps):
        return False
    bounds = ExactBounds(program, box, Lines(number, slopes=tuple((k, i, s) for k, i, s in lines)), frozenset(signs))
    for layer, neuron, slope in (step for step in steps if len(step) == 3):
        bounds.slopes[layer, neuron] = Fraction(slope, 256)
    claim, strict = program.claim, False
    parts: list[tuple[Fraction, AffineAtom]] = []
    held: list[tuple[int, int, int, Fraction]] = []
    if number >= 0:
        parts.append((Fraction(1), claim.goals[goal][number]))
        strict = not claim.goals[goal][number].strict
    for *named, (m, e) in used:
        weight = Fraction(m) * Fraction(2) ** e
        if len(named) == 3:
            layer, neuron, side = named
            held.append((layer, neuron, side, weight))
        elif named[0] < 0:
            atom = claim.goals[goal][named[1]]
            parts.append((weight, atom))
            strict = strict or not atom.strict
        else:
            atom = claim.clauses[named[0]][named[1]]
            parts.append((-weight, atom))
            strict = strict or atom.strict
    bound = bounds.lower(weighted_sum([(weight, atom.affine) for weight, atom in parts]), held)
    return bound > 0 or (bound == 0 and strict)
