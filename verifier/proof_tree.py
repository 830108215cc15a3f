"""The partition tree of one goal while it grows (mutable), and its form in docs/formats.md "Proof".

Nodes are numbers, kept in flat arrays: a search may make a million of them. Children of a node are consecutive. Cuts
are float64, which is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.claim import Box, Claim
from rewarden.verifier.exact_bounds import Leaf, Multipliers
from rewarden.verifier.facts import FactId
from rewarden.verifier.narrowing import narrowed, root_cell

OPEN, CUT, CASE, LEAF = 0, 1, 2, 3
NODE = np.dtype([("kind", np.int8), ("what", np.int32), ("cut", np.float64), ("child", np.int64), ("parent", np.int64)])
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node is: its exact cell (None if the facts leave nothing of it) and the atoms chosen above it."""

    root: int
    box: Box | None
    chosen: tuple[FactId, ...]


class ProofTree:
    """One tree per instance box; nodes 0 … len(boxes) − 1 are the roots."""

    def __init__(self, claim: Claim) -> None:
        boxes = claim.boxes
        self.clauses = claim.clauses
        self.roots = tuple(root_cell(claim, box) for box in boxes)
        self.discrete = tuple(v.discrete for v in claim.variables)
        self.atoms = tuple(len(clause) for clause in claim.clauses)
        self._nodes = np.zeros(max(16, len(boxes)), NODE)
        self._nodes["parent"][: len(boxes)] = -1
        self.size = len(boxes)
        self._leaves: dict[int, Leaf] = {}  # those with more than a goal atom

    # ── growing ────────────────────────────────────────────────────────────────────────────────
    def cut(self, nodes: Ints, variables: Ints, cuts: NDArray[np.float64]) -> Ints:
        """Cuts open nodes; the first child of each. The second follows it."""
        first = self._children(nodes, np.full(len(nodes), 2))
        view = self._nodes
        view["kind"][nodes], view["what"][nodes], view["cut"][nodes] = CUT, variables, cuts
        return first

    def case(self, node: int, clause: int) -> int:
        """Splits an open node into the atoms of a clause; the first child."""
        nodes = np.array([node])
        first = self._children(nodes, np.array([self.atoms[clause]]))
        self._nodes["kind"][node], self._nodes["what"][node] = CASE, clause
        return int(first[0])

    def close(self, nodes: Ints, goal_atoms: Ints) -> None:
        """Turns open nodes into leaves without multipliers, slopes and tight entries."""
        assert (self._nodes["kind"][nodes] == OPEN).all(), "a node is settled once"
        self._nodes["kind"][nodes], self._nodes["what"][nodes] = LEAF, goal_atoms

    def close_with(self, node: int, leaf: Leaf) -> None:
        self.close(np.array([node]), np.array([leaf.goal_atom]))
        if leaf.multipliers or leaf.slopes or leaf.tight or leaf.form:
            self._leaves[node] = leaf

    def _children(self, nodes: Ints, counts: Ints) -> Ints:
        assert (self._nodes["kind"][nodes] == OPEN).all(), "only open nodes are split"
        total = int(counts.sum())
        while self.size + total > len(self._nodes):
            self._nodes = np.concatenate((self._nodes, np.zeros(len(self._nodes), NODE)))
        first: Ints = self.size + np.concatenate(([0], np.cumsum(counts)[:-1])).astype(np.int64)
        self._nodes["child"][nodes] = first
        self._nodes["parent"][self.size : self.size + total] = np.repeat(nodes, counts)
        self.size += total
        return first

    # ── saving ─────────────────────────────────────────────────────────────────────────────────
    def state(self) -> tuple[NDArray[np.void], dict[int, Leaf]]:
        return self._nodes[: self.size].copy(), dict(self._leaves)

    def put_state(self, nodes: NDArray[np.void], leaves: dict[int, Leaf]) -> None:
        """Takes the place of what has grown so far."""
        self._nodes, self.size, self._leaves = nodes, len(nodes), leaves

    # ── reading ────────────────────────────────────────────────────────────────────────────────
    @property
    def complete(self) -> bool:
        return not bool((self._nodes["kind"][: self.size] == OPEN).any())

    def leaf(self, node: int) -> Leaf:
        stored = self._leaves.get(node)
        return Leaf(int(self._nodes["what"][node])) if stored is None else stored

    def place(self, node: int) -> Place:
        """The exact cell of a node and the cases above it."""
        path = [node]
        while self._nodes["parent"][path[-1]] >= 0:
            path.append(int(self._nodes["parent"][path[-1]]))
        path.reverse()
        box = self.roots[path[0]]
        chosen: list[FactId] = []
        for above, below in pairwise(path):
            what, which = int(self._nodes["what"][above]), below - int(self._nodes["child"][above])
            if self._nodes["kind"][above] == CASE:
                chosen.append((what, which))
                if box is not None:
                    box = narrowed(box, (self.clauses[what][which],), self.discrete)
            else:
                assert box is not None, "nothing is left to cut"
                side = halves(box[what], self.cut_of(above), self.discrete[what])[which]
                box = (*box[:what], side, *box[what + 1 :])
        return Place(path[0], box, tuple(chosen))

    def roots_of(self, nodes: Ints) -> Ints:
        """The tree that each node is in."""
        found = nodes.copy()
        while True:
            above = self._nodes["parent"][found]
            if (above < 0).all():
                return found
            found = np.where(above < 0, found, above)

    def cut_of(self, node: int) -> Fraction:
        return Fraction(float(self._nodes["cut"][node]))

    def leaves(self) -> Iterator[int]:
        yield from np.flatnonzero(self._nodes["kind"][: self.size] == LEAF).tolist()

    def preorder(self, root: int) -> list[list[object]]:
        """The nodes of one tree in docs/formats.md's flat form."""
        out: list[list[object]] = []
        stack = [root]
        while stack:
            node = stack.pop()
            kind, what, first = (int(self._nodes[f][node]) for f in ("kind", "what", "child"))
            if kind == CUT:
                out.append(["cut", what, str(self.cut_of(node))])
                stack += [first + 1, first]
            elif kind == CASE:
                out.append(["case", what])
                stack += [first + i for i in reversed(range(self.atoms[what]))]
            else:
                assert kind == LEAF, "a proof has no open nodes"
                out.append(_leaf_out(self.leaf(node)))
        return out


def halves(
    bounds: tuple[Fraction, Fraction], cut: Fraction, discrete: bool
) -> tuple[tuple[Fraction, Fraction], tuple[Fraction, Fraction]]:
    lo, hi = bounds
    if not discrete:
        return (lo, cut), (cut, hi)
    whole = Fraction(math.floor(cut))
    return (lo, whole), (whole + 1, hi)


def _leaf_out(leaf: Leaf) -> list[object]:
    tight = [[layer, neuron, side, _multipliers_out(ms)] for layer, neuron, side, ms in leaf.tight]
    parts = [leaf.goal_atom, _multipliers_out(leaf.multipliers), [list(s) for s in leaf.slopes], tight]
    return ["leaf", *parts, leaf.form] if leaf.form else ["leaf", *parts]


def _multipliers_out(multipliers: Multipliers) -> list[list[object]]:
    return [[c, a, list(dyadic(factor))] for c, a, factor in multipliers]


def dyadic(value: Fraction) -> tuple[int, int]:
    """m, e with value = m·2^e and m odd; ValueError if there are none."""
    down = value.denominator.bit_length() - 1
    if value <= 0 or value.denominator != 1 << down:
        raise ValueError(f"{value} is not a positive dyadic number")
    up = (value.numerator & -value.numerator).bit_length() - 1
    return value.numerator >> up, up - down
