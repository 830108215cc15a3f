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
from rewarden.verifier.scribe.leaves import MANY, Answer, Leaf, Subject, attempt
from rewarden.verifier.scribe.mirror import Mirror
from rewarden.verifier.scribe.swift import Swift
from rewarden.verifier.trail import Cut, Guide, Sign, Trail
from rewarden.verifier.unwritten import Unwritten, no_proof

BATCH = 256  # branches at once, at most
ELEMENTS = 2**22  # numbers of one batch of rows: they stay in the cache, more or less
EXACT = 400  # branches that may be bounded once some point has no margin: signs settle that soon, or not at all
FEW, SIGNS = 10, 6  # unstable neurons, and held ones, up to which a branch is split at a neuron instead of a variable
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
class _Subject:
    """A goal under chosen atoms, and its place in the goal's tree (mutable until it is settled)."""

    goal: int
    chosen: tuple[FactId, ...]
    node: _Node
    where: tuple[int, int] | None = None  # box and node of the trail, as far as it goes


@dataclass(frozen=True, slots=True, eq=False)
class _Branch:
    """An exact cell and the neurons that are held in it; it is part of the trees of all its subjects."""

    box: Box
    signs: tuple[Held, ...]
    depth: int
    subjects: tuple[_Subject, ...]


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
        self.single = tuple((c, 0) for c, clause in enumerate(self.claim.clauses) if len(clause) == 1)
        self.several = [c for c, clause in enumerate(self.claim.clauses) if len(clause) > 1]
        self.subjects: dict[tuple[int, tuple[FactId, ...]], Subject] = {}
        widest = max([1, *(layer.bias.shape[0] for layer in mirror.layers), len(self.claim.variables)])
        self.batch = max(8, min(BATCH, ELEMENTS // (2 * widest * widest)))
        self.swift = Swift.of(program)
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
            subjects = []
            for goal in range(len(claim.goals)):
                node, leaf, twin = roots[goal][box_number], flat[goal], twins[goal]
                if cell is None:
                    node.written = EMPTY
                elif leaf is not None and holds_by_intervals(self.program, goal, cell, leaf):
                    node.written = leaf
                elif leaf is None and twin is not None:
                    node.written = twin
                else:
                    subjects.append(_Subject(goal, (), node, (box_number, 0) if self.guides else None))
            if subjects:
                assert cell is not None, "what has no point has been written"
                waiting.append(_Branch(cell, (), 0, tuple(subjects)))
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
        """The next branches."""
        batch = waiting[-self.batch :][::-1]
        del waiting[-self.batch :]
        return batch

    # ── one batch ──────────────────────────────────────────────────────────────────────────────
    def _settle(self, batch: list[_Branch], waiting: list[_Branch]) -> bool:
        """Leaves, or further splits; False where a branch can neither be settled nor split."""
        answers = self._answers(batch)
        self.left -= sum(len(branch.subjects) for branch in batch)
        if not self.exact and any(answer.flat for answer in answers):
            self.exact, self.left = True, min(self.left, EXACT)
            answers = self._answers(batch)
        each = iter(answers)
        made: list[_Branch] = []
        for branch in batch:
            groups: dict[tuple[Split, bool], list[_Subject]] = {}
            for subject, answer in zip(branch.subjects, each, strict=False):
                leaf = answer.leaf
                for close in answer.close if leaf is None else ():
                    if holds(self.program, subject.goal, branch.box, branch.signs, close):
                        leaf = close
                        break
                if leaf is not None:
                    subject.node.written = leaf
                    continue
                advised = self._advised(branch, subject)
                split = advised or self._next(branch, subject, answer)
                if split is None or branch.depth >= DEEPEST:
                    return False
                groups.setdefault((split, advised is not None), []).append(subject)
            for (split, told), subjects in groups.items():
                made += self._split(branch, subjects, split, told)
        waiting += reversed(made)
        return True

    def _answers(self, batch: Sequence[_Branch]) -> list[Answer]:
        """One for each subject of each branch: by compiled code, where that knows the program."""
        boxes = [[(float(lo), float(hi)) for lo, hi in branch.box] for branch in batch]
        if self.swift is not None and not self.exact:
            subjects = [[(s.goal, (*self.single, *s.chosen)) for s in branch.subjects] for branch in batch]
            return self.swift.attempt(boxes, [branch.signs for branch in batch], subjects)
        ends = torch.tensor(boxes, dtype=torch.float64).reshape(len(batch), -1, 2)
        groups: dict[tuple[int, tuple[FactId, ...]], list[tuple[int, int]]] = {}
        count = 0
        for b, branch in enumerate(batch):
            for subject in branch.subjects:
                groups.setdefault((subject.goal, subject.chosen), []).append((b, count))
                count += 1
        found: dict[int, Answer] = {}
        for (goal, chosen), places in groups.items():
            if (goal, chosen) not in self.subjects:
                self.subjects[goal, chosen] = Subject.of(self.mirror, self.claim, goal, chosen)
            index = [b for b, _ in places]
            signs = self._signs([batch[b] for b in index])
            own = ends[index]
            tried = attempt(
                self.mirror, self.subjects[goal, chosen], own[..., 0], own[..., 1], signs, exactly=self.exact
            )
            for i, (_, at) in enumerate(places):
                found[at] = Answer(
                    tried.leaves[i], tried.costly[i], int(tried.unstable[i]), tried.slope[i].numpy(), tried.exact,
                    tried.close.get(i, ()),
                )  # fmt: skip
        return [found[at] for at in range(count)]

    def _signs(self, batch: Sequence[_Branch]) -> dict[int, Tensor]:
        found: dict[int, Tensor] = {}
        for i, branch in enumerate(batch):
            for layer, neuron, side in branch.signs:
                if layer not in found:
                    found[layer] = torch.zeros(len(batch), self.mirror.layers[layer].bias.shape[0], dtype=torch.int8)
                found[layer][i, neuron] = 1 - 2 * side
        return found

    # ── splits ─────────────────────────────────────────────────────────────────────────────────
    def _advised(self, branch: _Branch, subject: _Subject) -> Split | None:
        """As the trail has it, from where the branch is; None where it goes no further."""
        if subject.where is None or len(subject.chosen) < len(self.several):
            return None
        box, node = subject.where
        guide = self.guides[box]
        found: int | None = guide.about(node, self._alternative(subject))
        while found is not None:
            subject.where = box, found
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
            found = None if found is None else guide.about(found, self._alternative(subject))
        subject.where = None
        return None

    def _alternative(self, subject: _Subject) -> int:
        """Its number: goals, and for each the choices of atoms (`alternatives`)."""
        number, chosen = subject.goal, dict(subject.chosen)
        for c, clause in enumerate(self.claim.clauses):
            number = number * len(clause) + chosen.get(c, 0)
        return number

    def _next(self, branch: _Branch, subject: _Subject, answer: Answer) -> Split | None:
        """How a branch that stays open is split: cases, then the neuron that costs most, or a variable."""
        taken = {c for c, _ in subject.chosen}
        for clause in self.several:
            if clause not in taken:
                return "case", clause
        costly, few = answer.costly, answer.unstable <= FEW and len(branch.signs) < SIGNS
        if costly is not None and (len(self.claim.variables) >= MANY or self.exact or few):
            return "sign", *costly
        slope = np.abs(answer.slope)
        width = np.array([float(hi - lo) for lo, hi in branch.box])
        worth = (slope + 0.02 * slope.max(initial=0.0)) * width + 1e-12 * width / self.whole
        worth = np.where(width > 0, worth, -1.0)
        for k in np.argsort(-worth).tolist():
            lo, hi = branch.box[k]
            at = Fraction((float(lo) + float(hi)) / 2)
            if worth[k] > 0 and (lo < hi if self.discrete[k] else lo < at < hi):
                return "cut", k, at
        return None if costly is None else ("sign", *costly)

    def _split(self, branch: _Branch, subjects: Sequence[_Subject], split: Split, advised: bool) -> list[_Branch]:
        """The parts of a branch, about those of its subjects whose trees split there like this."""
        box, signs = branch.box, branch.signs
        parts: list[tuple[Box | None, tuple[Held, ...], tuple[FactId, ...]]]
        node: list[object]
        match split:
            case "cut", k, at:
                assert isinstance(at, Fraction)
                node = ["cut", k, _text(at)]
                sides = halves(box[k], at, self.discrete[k])
                parts = [((*box[:k], side, *box[k + 1 :]), signs, ()) for side in sides]
            case "sign", layer, neuron:
                node = ["sign", layer, neuron]
                parts = [(box, (*signs, (layer, int(neuron), side)), ()) for side in (0, 1)]
            case _:
                clause = split[1]
                node = ["case", clause]
                parts = [
                    (narrowed(box, (atom,), self.discrete), signs, ((clause, a),))
                    for a, atom in enumerate(self.claim.clauses[clause])
                ]
        below = [self._below(subject, split, advised, len(parts)) for subject in subjects]
        for subject in subjects:
            subject.node.written = node
            subject.node.children = [_Node() for _ in parts]
        made = []
        for part, (cell, held, more) in enumerate(parts):
            if cell is None:
                for subject in subjects:
                    subject.node.children[part].written = EMPTY
                continue
            own = tuple(
                _Subject(subject.goal, (*subject.chosen, *more), subject.node.children[part], places[part])
                for subject, places in zip(subjects, below, strict=True)
            )
            made.append(_Branch(cell, held, branch.depth + 1, own))
        return made

    def _below(self, subject: _Subject, split: Split, advised: bool, parts: int) -> list[tuple[int, int] | None]:
        """Where the parts are in the trail."""
        if subject.where is None or not (advised or split[0] == "case"):
            return [None] * parts
        box, node = subject.where
        if split[0] == "case":
            return [subject.where] * parts
        children = self.guides[box].children[node]
        return [(box, child) for child in (children if split[0] == "cut" else children[::-1])]


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
