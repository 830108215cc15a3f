"""A proof of what an engine has proved, written afterwards: branches are tried as leaves and split where they are not.

What an engine knows of a cell is not always what the kernel can recompute (bounds inherited from larger cells, boxes
shrunk by rows), so nothing of it is used but that the claim is true. Work is counted in bounded branches; where it is
spent, there is no proof, and that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from rewarden.spec_lang.canonical import rational_text
from rewarden.spec_lang.claim import Box, Claim
from rewarden.spec_lang.claim_json import claim_digest
from rewarden.verifier.by_construction import flat_leaf, twin_leaf
from rewarden.verifier.facts import FactId
from rewarden.verifier.narrowing import narrowed, root_cell
from rewarden.verifier.program import Program
from rewarden.verifier.proof_tree import halves
from rewarden.verifier.scribe.exact import holds, holds_by_intervals
from rewarden.verifier.scribe.leaves import FEW_STEPS, MANY, Answer, Leaf, Subject, attempt
from rewarden.verifier.scribe.mirror import Mirror
from rewarden.verifier.scribe.swift import Swift
from rewarden.verifier.trail import Cut, Guide, Sign, Trail
from rewarden.verifier.unwritten import Unwritten, no_proof

BATCH = 256  # branches at once, at most
ELEMENTS = 2**22  # numbers of one batch of rows: they stay in the cache, more or less
EXACT = 400  # branches that may be bounded once some point has no margin: signs settle that soon, or not at all
EXACT_WORK = 2**27  # and pairs of neurons that may be bounded then, which is about a minute
FEW, SIGNS = 10, 6  # unstable neurons, and held ones, up to which a branch is split at a neuron instead of a variable
DEEPEST = 400  # splits above a leaf
TRIALS = 6  # branches of a size that are tried in any case, whatever the trail does there
THOROUGH = 60  # steps of ascent where the trail goes no further: what is settled there needs no splits of its own
FLAT = 64  # boxes that are looked at for what holds by construction
EMPTY: Leaf = ["leaf", -1, [], [], []]

LEAST, TIMES = 2_000, 4  # branches that may be bounded: so many, and so many for each box that the verification took
MOST = 100_000  # branches, whatever it took: minutes here, and hours in the kernel

Held = tuple[int, int, int]  # layer, neuron; 0: z >= 0, 1: z <= 0
Ends = tuple[tuple[float, float], ...]


def written(program: Program, owed: Unwritten, stop: Callable[[], bool]) -> dict[str, Any] | str:
    """The proof object (its witness is null) of a claim that has been proved, or why there is none."""
    mirror = Mirror.of(program)
    refused = no_proof(program)
    if refused is not None or mirror is None:
        return refused or "the kernel knows no layers of this kind"
    budget = min(MOST, LEAST + TIMES * owed.boxes)
    trail = None if owed.careful else owed.trail  # a guide for compiled code: held neurons lead the mirror nowhere
    writer = Writer(program, mirror, budget, stop, trail, careful=owed.careful)
    with torch.no_grad():
        proof = writer.write()
    if proof is None and writer.exact:
        return "the rule holds with nothing to spare"
    return proof or f"none was found among {budget} branches"


# A node of a proof with children: ("cut", variable, at), ("sign", layer, neuron) or ("case", clause).
Split = tuple[Literal["cut"], int, float] | tuple[Literal["sign"], int, int] | tuple[Literal["case"], int]


@dataclass(slots=True, eq=False)
class _Subject:
    """A goal under chosen atoms, and its place in the goal's tree (mutable until it is settled)."""

    goal: int
    chosen: tuple[FactId, ...]
    node: _Node
    where: tuple[int, int] | None = None  # box and node of the trail, as far as it goes


@dataclass(frozen=True, slots=True, eq=False)
class _Branch:
    """An exact cell, the nearest floats to its ends, and the neurons that are held in it; it is part of the trees of
    all its subjects."""

    box: Box
    ends: Ends
    signs: tuple[Held, ...]
    depth: int
    subjects: tuple[_Subject, ...]


@dataclass(slots=True, eq=False)
class _Node:
    """A node of the tree as it grows (mutable)."""

    written: list[object] | None = None
    children: list[_Node] = field(default_factory=list)


class Writer:
    """One claim's proof (mutable). `careful`: without compiled code, whose bounds are now and then better than those of
    the kernel (`branch_bounds`), so that it may take for a leaf what is none."""

    def __init__(
        self,
        program: Program,
        mirror: Mirror,
        budget: int,
        stop: Callable[[], bool],
        trail: Trail | None = None,
        *,
        careful: bool = False,
    ) -> None:
        self.program, self.claim = program, program.claim
        self.mirror, self.left, self.stop = mirror, budget, stop
        self.discrete = [v.discrete for v in self.claim.variables]
        self.several = [c for c, clause in enumerate(self.claim.clauses) if len(clause) > 1]
        self.subjects: dict[tuple[int, tuple[FactId, ...]], Subject] = {}
        curved = max((len(layer.bias) for layer in mirror.layers if layer.curved), default=0)
        widest = max([1, *(layer.bias.shape[0] for layer in mirror.layers), len(self.claim.variables)])
        self.batch = max(8, min(BATCH, ELEMENTS // (2 * widest * widest), ELEMENTS // (16 * curved + 1)))
        self.swift = None if careful else Swift.of(program)
        self.whole = _widths(self.claim)
        self.guides = () if trail is None else tuple(Guide(events) for events in trail.events)
        self.worth: dict[int, list[int]] = {}  # by bits of how many settled cells are below: tried, and leaves
        self.exact = False  # some point has next to no margin: leaves are judged in rationals where floats cannot
        self.judged = max(1, EXACT_WORK // max(1, sum(layer.rows for layer in program.layers)) ** 2)  # leaves, at most

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
                waiting.append(_Branch(cell, _ends(cell), (), 0, tuple(subjects)))
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
        splits: dict[int, Split] = {}  # by the number of the subject, as the trail has them
        tried: list[_Branch] = []
        efforts: list[int] = []
        number = 0
        for branch in batch:
            open_: list[_Subject] = []
            for subject in branch.subjects:
                advised = self._advised(branch, subject)
                if advised is not None:
                    splits[number] = advised
                if advised is None or self._pays(subject):
                    open_.append(subject)
                    efforts.append(THOROUGH if advised is None and self.guides else FEW_STEPS)
                number += 1
            if open_:
                all_ = len(open_) == len(branch.subjects)
                tried.append(branch if all_ else replace(branch, subjects=tuple(open_)))
        answers = self._answers(tried, efforts)
        self.left -= len(efforts)
        if self.program.curved and any(answer.flat for answer in answers):
            self.exact = True  # no rational arithmetic knows the kernel's lines
            return False
        if not self.exact and any(answer.flat for answer in answers):
            self.exact, self.left = True, min(self.left, EXACT)
            answers = self._answers(tried, efforts)
        each = {
            id(s): answer for s, answer in zip((s for branch in tried for s in branch.subjects), answers, strict=True)
        }
        made: list[_Branch] = []
        number = 0
        for branch in batch:
            groups: dict[tuple[Split, bool], list[_Subject]] = {}
            for subject in branch.subjects:
                advised, answer = splits.get(number), each.get(id(subject))
                number += 1
                leaf = None if answer is None else self._leaf(branch, subject, answer)
                if answer is not None and advised is not None:
                    self._learn(subject, leaf is not None)
                if leaf is not None:
                    subject.node.written = leaf
                    continue
                split = advised
                if split is None:
                    assert answer is not None, "what is not split as the trail has it has been tried"
                    split = self._next(branch, subject, answer)
                if split is None or branch.depth >= DEEPEST:
                    return False
                groups.setdefault((split, advised is not None), []).append(subject)
            for (split, told), subjects in groups.items():
                made += self._split(branch, subjects, split, told)
        waiting += reversed(made)
        return True

    def _leaf(self, branch: _Branch, subject: _Subject, answer: Answer) -> Leaf | None:
        if answer.leaf is None:
            for close in answer.close:
                if self.judged <= 0:
                    self.left = 0
                    return None
                self.judged -= 1
                if holds(self.program, subject.goal, branch.box, branch.signs, close):
                    return close
        return answer.leaf

    def _pays(self, subject: _Subject) -> bool:
        """Whether a branch that the trail splits is worth a try: as many settled cells as there are below are saved,
        if it is a leaf, as often as those of its size have been."""
        tried, leaves = self.worth.get(self._below_it(subject).bit_length(), (0, 0))
        return tried < TRIALS or leaves * self._below_it(subject) > tried

    def _learn(self, subject: _Subject, settled: bool) -> None:
        found = self.worth.setdefault(self._below_it(subject).bit_length(), [0, 0])
        found[0] += 1
        found[1] += settled

    def _below_it(self, subject: _Subject) -> int:
        assert subject.where is not None, "the trail goes on here"
        box, node = subject.where
        return self.guides[box].settled[node]

    def _answers(self, batch: Sequence[_Branch], efforts: Sequence[int]) -> list[Answer]:
        """One for each subject of each branch: by compiled code, where that knows the program. `efforts`: for each
        subject, how often weights and slopes are improved there."""
        if not batch:
            return []
        boxes = np.array([branch.ends for branch in batch], dtype=np.float64).reshape(len(batch), -1, 2)
        if self.swift is not None and not self.exact:
            subjects = [[(s.goal, s.chosen) for s in branch.subjects] for branch in batch]
            return self.swift.attempt(boxes, [branch.signs for branch in batch], subjects, efforts)
        ends = torch.from_numpy(boxes)
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
                    side = self._side(branch, k, at)
                    if side is None:
                        return "cut", k, at
                    found = guide.children[found][side]
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

    def _side(self, branch: _Branch, k: int, at: float) -> int | None:
        """The part of a cut that all of the branch is in; None where it is in both."""
        low, high = branch.ends[k]
        if not self.discrete[k] and at != low and at != high:
            return (
                None if low < at < high else int(at < low)
            )  # as it is with the exact ends, to which these are nearest
        lo, hi = branch.box[k]
        first, second = halves(branch.box[k], Fraction(at), self.discrete[k])
        if first[0] <= first[1] < hi and lo < second[0] <= second[1]:
            return None
        return 0 if hi <= at else 1

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
        few = few and not self.program.curved  # where signs are not all that is uncertain
        if costly is not None and (len(self.claim.variables) >= MANY or self.exact or few):
            return "sign", *costly
        slope = np.abs(answer.slope)
        width = np.array([hi - lo for lo, hi in branch.ends])
        worth = (slope + 0.02 * slope.max(initial=0.0)) * width + 1e-12 * width / self.whole
        worth = np.where(width > 0, worth, -1.0)
        for k in np.argsort(-worth).tolist():
            lo, hi = branch.box[k]
            at = (branch.ends[k][0] + branch.ends[k][1]) / 2
            if worth[k] > 0 and (lo < hi if self.discrete[k] else lo < at < hi):
                return "cut", k, at
        return None if costly is None else ("sign", *costly)

    def _split(self, branch: _Branch, subjects: Sequence[_Subject], split: Split, advised: bool) -> list[_Branch]:
        """The parts of a branch, about those of its subjects whose trees split there like this."""
        box, ends, signs = branch.box, branch.ends, branch.signs
        parts: list[tuple[Box | None, Ends, tuple[Held, ...], tuple[FactId, ...]]]
        node: list[object]
        match split:
            case "cut", k, at:
                exact = Fraction(at)
                node = ["cut", k, rational_text(exact)]
                parts = []
                sides = ((ends[k][0], at), (at, ends[k][1]))
                for (lo, hi), side in zip(halves(box[k], exact, self.discrete[k]), sides, strict=True):
                    edge = (float(lo), float(hi)) if self.discrete[k] else side
                    parts.append(((*box[:k], (lo, hi), *box[k + 1 :]), (*ends[:k], edge, *ends[k + 1 :]), signs, ()))
            case "sign", layer, neuron:
                node = ["sign", layer, neuron]
                parts = [(box, ends, (*signs, (layer, int(neuron), side)), ()) for side in (0, 1)]
            case _:
                clause = split[1]
                node = ["case", clause]
                cells = [narrowed(box, (atom,), self.discrete) for atom in self.claim.clauses[clause]]
                parts = [(cell, _ends(cell or ()), signs, ((clause, a),)) for a, cell in enumerate(cells)]
        below = [self._below(subject, split, advised, len(parts)) for subject in subjects]
        for subject in subjects:
            subject.node.written = node
            subject.node.children = [_Node() for _ in parts]
        made = []
        for part, (cell, near, held, more) in enumerate(parts):
            if cell is None:
                for subject in subjects:
                    subject.node.children[part].written = EMPTY
                continue
            own = tuple(
                _Subject(subject.goal, (*subject.chosen, *more), subject.node.children[part], places[part])
                for subject, places in zip(subjects, below, strict=True)
            )
            made.append(_Branch(cell, near, held, branch.depth + 1, own))
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


def _ends(cell: Box) -> Ends:
    return tuple((float(lo), float(hi)) for lo, hi in cell)


def _widths(claim: Claim) -> np.ndarray:
    width = np.zeros(len(claim.variables))
    for box in claim.boxes[:1000]:
        width = np.maximum(width, [float(hi - lo) for lo, hi in box])
    return np.where(width > 0, width, 1.0)


def _preorder(root: _Node) -> Iterator[list[object]]:
    stack = [root]
    while stack:
        node = stack.pop()
        assert node.written is not None, "a proof has no open nodes"
        yield node.written
        stack += reversed(node.children)
