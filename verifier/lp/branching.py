"""Where a node is cut: a case, a discrete variable, or the sign of a neuron, and the nodes that this leaves.

At the point that the linear program has found, each neuron's output may be above what the neuron really gives: that
gap, weighed by the dual of its chord, is what its relaxation costs (after BaBSR: Bunel et al., Branch and bound for
piecewise linear neural network verification, JMLR 2020). What it gained when a neuron was cut before is remembered per
neuron and side, as pseudo-costs of mixed-integer programming are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rewarden.verifier.lp.model import Hint
from rewarden.verifier.lp.region import (
    EITHER,
    LOOSE,
    OFF,
    ON,
    SHUT,
    Array,
    Node,
    Option,
    Region,
    signs,
    top_values,
    values,
)

NOTHING = 1e-9  # of a neuron's or a row's size: smaller gaps are rounding


@dataclass(frozen=True, slots=True)
class Cut:
    """What is cut, by number: a neuron, a case, or a variable below and above `at`."""

    kind: str
    number: int
    at: float = 0.0


class Costs:
    """What cuts at neurons have gained so far (mutable), [side, neuron]: sums of gain per unit of score, and counts."""

    def __init__(self, neurons: int) -> None:
        self.gain = np.zeros((2, neurons))
        self.count = np.zeros((2, neurons))

    def learn(self, neuron: int, side: int, gain: float) -> None:
        self.gain[side, neuron] += gain
        self.count[side, neuron] += 1.0

    def expected(self, score: Array) -> Array:
        """The product of both sides' gains, [neuron]; a neuron never cut is taken to gain its score."""
        seen = self.count > 0
        mean = np.where(seen, self.gain / np.maximum(self.count, 1.0), score)
        least = 1e-6 * float(score.max(initial=0.0)) + 1e-300
        expected: Array = np.maximum(mean[0], least) * np.maximum(mean[1], least)
        return expected


def choose(region: Region, node: Node, hint: Hint, costs: Costs) -> Cut | None:
    """None where everything has been decided."""
    if hint.point is not None and hint.outputs is not None:
        cut = _inconsistent(region, node, hint, costs)
        if cut is not None:
            return cut
    for number in range(len(region.cases)):
        if number not in node.decided:
            return Cut("case", number)
    wide = _wide(region, node)
    if wide.size:
        return Cut("variable", int(wide[0]), float(np.floor((node.lo[wide[0]] + node.hi[wide[0]]) / 2)))
    either = np.flatnonzero(node.phase == EITHER)
    if not either.size:
        return None
    width = region.hi - region.lo if hint.chords is None else hint.chords + 1e-12 * (region.hi - region.lo)
    return Cut("neuron", int(either[np.argmax(width[either])]))


def _inconsistent(region: Region, node: Node, hint: Hint, costs: Costs) -> Cut | None:
    """Something at which the point of the relaxation is not what it claims to be."""
    assert hint.point is not None
    assert hint.outputs is not None
    z = values(region, hint.point, hint.outputs)
    gap = np.where(node.phase == EITHER, hint.outputs - np.maximum(z, 0.0), 0.0)
    gap = np.where(gap > NOTHING * region.most, gap, 0.0)
    top = top_values(region, hint.point, hint.outputs)
    for number, options in enumerate(region.cases):
        if number not in node.decided and not any(_holds(region, node, hint, option, top, z) for option in options):
            return Cut("case", number)
    wide = _wide(region, node)
    if wide.size:
        off = np.abs(hint.point[wide] - np.round(hint.point[wide]))
        if off.max() > 1e-6:
            j = int(wide[np.argmax(off)])
            below = np.floor(hint.point[j])  # of a column as wide as 2^30 HiGHS may be off by more than 1
            return Cut("variable", j, float(np.clip(below, node.lo[j], node.hi[j] - 1.0)))
    if not gap.any():
        return None
    chords = np.zeros_like(gap) if hint.chords is None else hint.chords
    score = gap * chords + 1e-6 * gap * float(chords.max(initial=0.0)) + 1e-12 * gap
    expected = np.where(gap > 0, costs.expected(score), -1.0)
    return Cut("neuron", int(np.argmax(expected)))


def _holds(region: Region, node: Node, hint: Hint, option: Option, top: Array, z: Array) -> bool:
    if (top[list(option.rows)] > NOTHING).any():
        return False
    if option.layer is None:
        return True
    assert hint.outputs is not None
    at = region.frame.spans[option.layer]
    true = np.zeros_like(z[at]) if option.is_open else np.maximum(z[at], 0.0)
    loose = node.phase[at] == LOOSE
    return bool((np.abs(hint.outputs[at] - true)[loose] <= NOTHING * region.most[at][loose]).all())


def _wide(region: Region, node: Node) -> np.ndarray:
    discrete = np.array([v.discrete for v in region.frame.program.claim.variables], dtype=np.bool_)
    return np.flatnonzero(discrete & (node.lo < node.hi))


def children(region: Region, node: Node, cut: Cut) -> list[Node]:
    """Nodes that together hold every violation of the node."""
    match cut.kind:
        case "neuron":
            made = [_held(node, cut.number, side) for side in (OFF, ON)]
        case "variable":
            made = [_below(node, cut.number, cut.at), _above(node, cut.number, cut.at)]
        case _:
            made = [_decided(region, node, cut.number, option) for option in region.cases[cut.number]]
    share = node.share / max(1, len(made))
    return [Node(n.phase, n.on, n.lo, n.hi, n.decided, share) for n in made]


def _held(node: Node, neuron: int, side: int) -> Node:
    phase = node.phase.copy()
    phase[neuron] = side
    return Node(phase, node.on, node.lo, node.hi, node.decided, node.share)


def _below(node: Node, variable: int, at: float) -> Node:
    hi = node.hi.copy()
    hi[variable] = at
    return Node(node.phase, node.on, node.lo, hi, node.decided, node.share)


def _above(node: Node, variable: int, at: float) -> Node:
    lo = node.lo.copy()
    lo[variable] = at + 1.0
    return Node(node.phase, node.on, lo, node.hi, node.decided, node.share)


def _decided(region: Region, node: Node, number: int, option: Option) -> Node:
    on, phase = node.on.copy(), node.phase
    on[list(option.rows)] = True
    if option.layer is not None:
        at = region.frame.spans[option.layer]
        phase = node.phase.copy()
        free = phase[at] == LOOSE
        phase[at] = np.where(free, SHUT if option.is_open else signs(region.lo[at], region.hi[at]), phase[at])
    return Node(phase, on, node.lo, node.hi, node.decided | {number}, node.share)
