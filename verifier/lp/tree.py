"""One part of a claim, gone through node by node, depth first: each is refuted, gives a violation, or is cut.

A node is refuted by `bound`, by `exact_bound` where that misses by a hair, or, once everything in it has been decided,
by `exact_leaf`. Cuts cover the node, so that a tree without open nodes is a proof. What HiGHS says only guides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from rewarden.verifier.exact_program import Point
from rewarden.verifier.lp import exact_bound
from rewarden.verifier.lp.bound import lower_bound
from rewarden.verifier.lp.branching import Costs, Cut, children, choose
from rewarden.verifier.lp.exact_leaf import TooLarge, is_decided, violation
from rewarden.verifier.lp.model import Hint, Model
from rewarden.verifier.lp.region import Array, Node, Region, top_values
from rewarden.verifier.lp.tighten import tightened
from rewarden.verifier.program import INPUT
from rewarden.verifier.snap import candidates

HAIR = 1e-6  # of a row's size: closer to 0 than this, rationals are asked
EXACT = 256  # nodes of a part for which they are
PATIENCE = 100  # nodes after which a part starts anew with bounds that linear programs tighten
LOOKS = 64  # points of a part that are looked at exactly
FORGET = 128  # nodes after which the model is made anew: only what is known there can be saved


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """A node, and which cut made it: the neuron and side, and t before it."""

    node: Node
    cut: tuple[int, int, float] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TreeState:
    """A tree whose model is about to be made anew."""

    nodes: int
    lps: int
    exact: int
    looks: int
    settled: float
    stuck: bool
    waiting: tuple[Waiting, ...]
    gain: Array
    count: Array


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """How far a run over parts has come, where it can be saved: parts by number."""

    left: tuple[int, ...]
    open: tuple[int, ...]
    wholes: int
    spent: int
    tree: TreeState | None


class Tree:
    """Mutable: what waits, what is settled, 0 to 1. `stuck`: some node can neither be decided nor cut. `lps`: linear
    programs so far."""

    def __init__(self, region: Region, root: Node) -> None:
        self.first = region, root
        self.exact, self.looks = EXACT, LOOKS
        self.nodes, self.lps = 0, 0
        self._plant(region, root)

    def put(self, state: TreeState) -> None:
        """Makes a fresh tree what it was then."""
        if state.nodes > PATIENCE:
            self._plant(*tightened(*self.first)[:2])
        self.nodes, self.lps, self.exact, self.looks = state.nodes, state.lps, state.exact, state.looks
        self.settled, self.stuck, self.waiting = state.settled, state.stuck, list(state.waiting)
        self.costs.gain, self.costs.count = state.gain.copy(), state.count.copy()

    def forget(self) -> TreeState:
        """With a model that has seen no node yet, as from the state that is told."""
        self.model = Model(self.region, self.root)
        return TreeState(
            self.nodes, self.lps, self.exact, self.looks, self.settled, self.stuck, tuple(self.waiting),
            self.costs.gain.copy(), self.costs.count.copy(),
        )  # fmt: skip

    def _plant(self, region: Region, root: Node) -> None:
        self.region, self.root = region, root
        self.model = Model(region, root)
        self.waiting = [Waiting(root)]
        self.costs = Costs(region.frame.neurons)
        self.settled = 0.0
        self.stuck = False

    @property
    def done(self) -> bool:
        return not self.waiting and not self.stuck

    def step(self, violates: Callable[[Point], bool]) -> Point | None:
        """One node; a violation if it gave one."""
        if self.nodes == PATIENCE:
            region, root, spent = tightened(*self.first)
            self.lps += spent
            self._plant(region, root)
        self.nodes += 1
        self.lps += 1
        waiting = self.waiting.pop()
        node = waiting.node
        if (node.lo > node.hi).any():
            self.settled += node.share
            return None
        hint = self.model.solve(node)
        if waiting.cut is not None and hint.status == "optimal":
            neuron, side, before = waiting.cut
            self.costs.learn(neuron, side, max(0.0, hint.top - before))
        if self._refuted(node, hint):
            self.settled += node.share
            return None
        for point in self._looked(hint):
            if violates(point):
                return point
        cut = choose(self.region, node, hint, self.costs)
        if cut is None:
            return self._leaf(node, violates)
        self._cut(node, hint, cut)
        return None

    def _refuted(self, node: Node, hint: Hint) -> bool:
        if hint.status == "failed" or (hint.status == "optimal" and hint.top < -HAIR):
            return False
        if lower_bound(self.region, node, hint.multipliers) > 0:
            return True
        if self.exact <= 0:
            return False
        self.exact -= 1
        return exact_bound.refutes(self.region, node, hint.multipliers)

    def _looked(self, hint: Hint) -> Iterator[Point]:
        """Exact points near the one that the program has found, if that is a violation or nearly one."""
        if hint.point is None or self.looks <= 0 or hint.top > HAIR:
            return
        goal = list(self.region.frame.always)
        top = top_values(self.region, hint.point, forward(self.region, hint.point))[goal]
        if (top > HAIR * (1.0 + np.abs(self.region.frame.top.bias[goal]))).any():
            return
        self.looks -= 1
        yield from candidates(self.region.frame.program.claim, self.region.part.box, hint.point.tolist())

    def _leaf(self, node: Node, violates: Callable[[Point], bool]) -> Point | None:
        assert is_decided(self.region, node)
        try:
            point = violation(self.region, node)
        except TooLarge:
            self.stuck = True
            return None
        if point is None:
            self.settled += node.share
            return None
        if violates(point):
            return point
        self.stuck = True
        return None

    def _cut(self, node: Node, hint: Hint, cut: Cut) -> None:
        made = children(self.region, node, cut)
        if not made:  # a clause without atoms is never true
            self.settled += node.share
        if cut.kind != "neuron":
            self.waiting += [Waiting(child) for child in reversed(made)]
            return
        waiting = [Waiting(child, (cut.number, side, hint.top)) for side, child in enumerate(made)]
        # The side on which the point lies comes first.
        if hint.outputs is not None and hint.outputs[cut.number] < 0.5 * self.region.most[cut.number]:
            waiting.reverse()
        self.waiting += waiting


def forward(region: Region, point: np.ndarray) -> np.ndarray:
    """The neurons' outputs at a point, in floats; gates are taken from the same."""
    frame = region.frame
    outputs = np.zeros(frame.neurons)
    for k in frame.layers:
        layer, at = frame.program.layers[k], frame.spans[k]
        maps = frame.maps[k]
        z = maps.bias.copy()
        for source, (weight, _, _) in maps.terms.items():
            z += weight @ (point if source == INPUT else outputs[frame.spans[source]])
        outputs[at] = np.maximum(z, 0.0)
        if layer.gate_layer is not None:
            rows = list(frame.gate_rows[k][0])
            if (top_values(region, point, outputs)[rows] >= 0).any():
                outputs[at] = 0.0
    return outputs
