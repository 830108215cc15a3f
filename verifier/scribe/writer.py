"""A proof of what an engine has proved, written afterwards: branches are tried as leaves and split where they are not.

What an engine knows of a cell is not always what the kernel can recompute (bounds inherited from larger cells, boxes
shrunk by rows), so nothing of it is used but that the claim is true. Work is counted in bounded branches; where it is
spent, there is no proof, and that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from rewarden.spec_lang.claim import Box, Claim
from rewarden.spec_lang.claim_json import claim_digest
from rewarden.verifier.by_construction import flat_leaf, twin_leaf
from rewarden.verifier.facts import FactId
from rewarden.verifier.narrowing import narrowed, root_cell
from rewarden.verifier.program import Program
from rewarden.verifier.proof_tree import halves
from rewarden.verifier.scribe.exact import holds, holds_by_intervals
from rewarden.verifier.scribe.leaves import MANY, Leaf, Subject, attempt
from rewarden.verifier.scribe.mirror import Mirror
from rewarden.verifier.trail import Cut, Guide, Sign, Trail
from rewarden.verifier.unwritten import Unwritten, no_proof

BATCH = 256  # branches at once, at most
ELEMENTS = 2**22  # numbers of one batch of rows: they stay in the cache, more or less
EXACT = 400  # branches that may be bounded once some point has no margin: signs settle that soon, or not at all
FEW = 24  # unstable neurons up to which a branch is split at a neuron, where variables could be cut
DEEPEST = 400  # splits above a leaf
FLAT = 64  # boxes that are looked at for what holds by construction
EMPTY: Leaf = ["leaf", -1, [], [], []]

LEAST, TIMES = 2_000, 4  # branches that may be bounded: so many, and so many for each box that the verification took
MOST = 100_000  # branches, whatever it took: minutes here, and hours in the kernel

Held = tuple[int, int, int]  # layer, neuron; 0: z >= 0, 1: z <= 0


def written(program: Program, owed: Unwritten, stop: Callable[[], bool]) -> dict[str, Any] | str:
    """The proof object (its witness is null) of a claim that has been proved, or why there is none."""
    mirror = Mirror.of(program)
    refused = no_proof(program)
    if refused is not None or mirror is None:
        return refused or "the kernel knows no layers of this kind"
    budget = min(MOST, LEAST + TIMES * owed.boxes)
    writer = Writer(program, mirror, budget, stop, owed.trail)
    with torch.no_grad():
        proof = writer.write()
    if proof is None and writer.exact:
        return "the rule holds with nothing to spare"
    return proof or f"none was found among {budget} branches"


# A node of a proof with children: ("cut", variable, at), ("sign", layer, neuron) or ("case", clause).
Split = tuple[Literal["cut"], int, Fraction] | tuple[Literal["sign"], int, int] | tuple[Literal["case"], int]


@dataclass(slots=True, eq=False)
class _Branch:
    """A part of one goal's tree (mutable until it is settled): its exact cell and what holds in it."""

    goal: int
    box: Box
    signs: tuple[Held, ...]
    chosen: tuple[FactId, ...]
    depth: int
    node: _Node
    where: tuple[int, int] | None = None  # box and node of the trail, as far as it goes


@dataclass(slots=True, eq=False)
class _Node:
    """A node of the tree as it grows (mutable)."""

    written: list[object] | None = None
    children: list[_Node] = field(default_factory=list)


class Writer:
    """One claim's proof (mutable)."""

    def __init__(
        self, program: Program, mirror: Mirror, budget: int, stop: Callable[[], bool], trail: Trail | None = None
    ) -> None:
        self.program, self.claim = program, program.claim
        self.mirror, self.left, self.stop = mirror, budget, stop
        self.discrete = [v.discrete for v in self.claim.variables]
        self.several = [c for c, clause in enumerate(self.claim.clauses) if len(clause) > 1]
        self.subjects: dict[tuple[int, tuple[FactId, ...]], Subject] = {}
        widest = max([1, *(layer.bias.shape[0] for layer in mirror.layers), len(self.claim.variables)])
        self.batch = max(8, min(BATCH, ELEMENTS // (2 * widest * widest)))
        self.whole = _widths(self.claim)
        self.guides = () if trail is None else tuple(Guide(events) for events in trail.events)
        self.exact = False  # some point has next to no margin: leaves are judged in rationals where floats cannot

    def write(self) -> dict[str, Any] | None:
        """The proof object without its witness; None where the budget was spent first."""
        claim = self.claim
        roots = [[_Node() for _ in claim.boxes] for _ in claim.goals]
        waiting: list[_Branch] = []
        flat = [flat_leaf(self.program, goal) if len(claim.boxes) <= FLAT else None for goal in range(len(claim.goals))]
        twins = [twin_leaf(self.program, goal) if leaf is None else None for goal, leaf in enumerate(flat)]
        for box_number in reversed(range(len(claim.boxes))):
            cell = root_cell(claim, claim.boxes[box_number])
            for goal in reversed(range(len(claim.goals))):
                node = roots[goal][box_number]
                if cell is None:
                    node.written = EMPTY
                    continue
                leaf = flat[goal]
                if leaf is not None and holds_by_intervals(self.program, goal, cell, leaf):
                    node.written = leaf
                    continue
                if leaf is None and twins[goal] is not None:
                    node.written = twins[goal]
                    continue
                where = (box_number, 0) if self.guides else None
                waiting.append(_Branch(goal, cell, (), (), 0, node, where))
        while waiting:
            if self.left <= 0 or self.stop():
                return None
            batch = self._batch(waiting)
            if not self._settle(batch, waiting):
                return None
        trees = [[list(_preorder(root)) for root in per_goal] for per_goal in roots]
        return {
            "format": "rewarden-proof",
            "format_version": 1,
            "claim": claim_digest(claim),
            "witness": None,
            "goals": trees,
        }

    def _batch(self, waiting: list[_Branch]) -> list[_Branch]:
        """The next branches, all about one goal and the same chosen atoms."""
        batch = [waiting.pop()]
        about = batch[0].goal, batch[0].chosen
        while waiting and len(batch) < self.batch and (waiting[-1].goal, waiting[-1].chosen) == about:
            batch.append(waiting.pop())
        return batch

    # ── one batch ──────────────────────────────────────────────────────────────────────────────
    def _settle(self, batch: list[_Branch], waiting: list[_Branch]) -> bool:
        """Leaves, or further splits; False where a branch can neither be settled nor split."""
        goal, chosen = batch[0].goal, batch[0].chosen
        if (goal, chosen) not in self.subjects:
            self.subjects[goal, chosen] = Subject.of(self.mirror, self.claim, goal, chosen)
        lo, hi = (
            torch.tensor([[float(ends[side]) for ends in b.box] for b in batch], dtype=torch.float64) for side in (0, 1)
        )
        subject, signs = self.subjects[goal, chosen], self._signs(batch)
        tried = attempt(self.mirror, subject, lo, hi, signs, exactly=self.exact)
        self.left -= len(batch)
        if tried.exact and not self.exact:
            self.exact, self.left = True, min(self.left, EXACT)
            tried = attempt(self.mirror, subject, lo, hi, signs, exactly=True)
        for i, (branch, leaf) in enumerate(zip(batch, tried.leaves, strict=True)):
            for close in tried.close.get(i, []) if leaf is None else ():
                if holds(self.program, goal, branch.box, branch.signs, close):
                    leaf = close
                    break
            if leaf is not None:
                branch.node.written = leaf
                continue
            advised = self._advised(branch)
            split = advised or self._next(branch, tried.costly[i], int(tried.unstable[i]), tried.slope[i].numpy())
            if split is None or branch.depth >= DEEPEST:
                return False
            self._split(branch, split, waiting, advised is not None)
        return True

    def _signs(self, batch: Sequence[_Branch]) -> dict[int, Tensor]:
        found: dict[int, Tensor] = {}
        for i, branch in enumerate(batch):
            for layer, neuron, side in branch.signs:
                if layer not in found:
                    found[layer] = torch.zeros(len(batch), self.mirror.layers[layer].bias.shape[0], dtype=torch.int8)
                found[layer][i, neuron] = 1 - 2 * side
        return found

    # ── splits ─────────────────────────────────────────────────────────────────────────────────
    def _advised(self, branch: _Branch) -> Split | None:
        """As the trail has it, from where the branch is; None where it goes no further."""
        if branch.where is None or any(c not in {c for c, _ in branch.chosen} for c in self.several):
            return None
        box, node = branch.where
        guide = self.guides[box]
        found: int | None = guide.about(node, self._alternative(branch))
        while found is not None:
            branch.where = box, found
            match guide.split(found):
                case Cut(k, at):
                    lo, hi = branch.box[k]
                    low, high = halves(branch.box[k], at, self.discrete[k])
                    if low[0] <= low[1] < hi and lo < high[0] <= high[1]:
                        return "cut", k, at
                    # All of the branch is in one part.
                    found = guide.children[found][0 if hi <= at else 1]
                case Sign(layer, neuron):
                    if not any(held[:2] == (layer, neuron) for held in branch.signs):
                        return "sign", layer, neuron
                    side = next(held[2] for held in branch.signs if held[:2] == (layer, neuron))
                    found = guide.children[found][1 - side]
                case None:
                    break
            found = None if found is None else guide.about(found, self._alternative(branch))
        branch.where = None
        return None

    def _alternative(self, branch: _Branch) -> int:
        """Its number: goals, and for each the choices of atoms (`alternatives`)."""
        number, chosen = branch.goal, dict(branch.chosen)
        for c, clause in enumerate(self.claim.clauses):
            number = number * len(clause) + chosen.get(c, 0)
        return number

    def _next(self, branch: _Branch, costly: tuple[int, int] | None, unstable: int, slope: np.ndarray) -> Split | None:
        """How a branch that stays open is split: cases, then the neuron that costs most, or a variable."""
        taken = {c for c, _ in branch.chosen}
        for clause in self.several:
            if clause not in taken:
                return "case", clause
        wide = len(self.claim.variables) >= MANY
        if costly is not None and (wide or self.exact or unstable <= FEW):
            return "sign", *costly
        width = np.array([float(hi - lo) for lo, hi in branch.box])
        worth = (np.abs(slope) + 0.02 * np.abs(slope).max(initial=0.0)) * width + 1e-12 * width / self.whole
        worth = np.where(width > 0, worth, -1.0)
        for k in np.argsort(-worth).tolist():
            lo, hi = branch.box[k]
            at = Fraction((float(lo) + float(hi)) / 2)
            if worth[k] > 0 and (lo < hi if self.discrete[k] else lo < at < hi):
                return "cut", k, at
        return None if costly is None else ("sign", *costly)

    def _split(self, branch: _Branch, split: Split, waiting: list[_Branch], advised: bool) -> None:
        box, signs, chosen = branch.box, branch.signs, branch.chosen
        parts: list[tuple[Box | None, tuple[Held, ...], tuple[FactId, ...]]]
        match split:
            case "cut", k, at:
                assert isinstance(at, Fraction)
                branch.node.written = ["cut", k, _text(at)]
                sides = halves(box[k], at, self.discrete[k])
                parts = [((*box[:k], side, *box[k + 1 :]), signs, chosen) for side in sides]
            case "sign", layer, neuron:
                branch.node.written = ["sign", layer, neuron]
                parts = [(box, (*signs, (layer, int(neuron), side)), chosen) for side in (0, 1)]
            case _:
                clause = split[1]
                branch.node.written = ["case", clause]
                parts = [
                    (narrowed(box, (atom,), self.discrete), signs, (*chosen, (clause, a)))
                    for a, atom in enumerate(self.claim.clauses[clause])
                ]
        branch.node.children = [_Node() for _ in parts]
        made = []
        below: tuple[int | None, ...] = (None,) * len(parts)
        if split[0] == "case":
            below = (None if branch.where is None else branch.where[1],) * len(parts)
        elif advised and branch.where is not None:
            below = self.guides[branch.where[0]].children[branch.where[1]]
            below = below if split[0] == "cut" else below[::-1]
        for node, (cell, held, taken), at_node in zip(branch.node.children, parts, below, strict=True):
            if cell is None:
                node.written = EMPTY
            else:
                where = None if branch.where is None or at_node is None else (branch.where[0], at_node)
                made.append(_Branch(branch.goal, cell, held, taken, branch.depth + 1, node, where))
        waiting += reversed(made)


def _widths(claim: Claim) -> np.ndarray:
    width = np.zeros(len(claim.variables))
    for box in claim.boxes[:1000]:
        width = np.maximum(width, [float(hi - lo) for lo, hi in box])
    return np.where(width > 0, width, 1.0)


def _text(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{value.numerator}/{value.denominator}"


def _preorder(root: _Node) -> Iterator[list[object]]:
    stack = [root]
    while stack:
        node = stack.pop()
        assert node.written is not None, "a proof has no open nodes"
        yield node.written
        stack += reversed(node.children)
