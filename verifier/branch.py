"""Branch and bound on inputs: every goal, on every instance box, is split until sound bounds settle each part.

A batch of boxes is bounded (`backsub`), strengthened by facts (`facts`), and each box is settled, split in two, or
split into the atoms of a clause. Clauses with several atoms are expanded late: when all but one of their atoms are
refuted, or when the point at which the bound is worst is one that the clause excludes. Everything settled goes into a
tree that docs/formats.md calls a proof. Work is counted in boxes; nothing depends on time but when `stop` says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from rewarden.spec_lang.claim import Box, Claim
from rewarden.spec_lang.claim_json import claim_digest
from rewarden.verifier.backsub import Engine
from rewarden.verifier.box_minimum import Boxes
from rewarden.verifier.candidates import WORST, Candidates
from rewarden.verifier.context import Context, fact_ids, hull_of, make_context, refuted
from rewarden.verifier.engines.interface import Part
from rewarden.verifier.exact_bounds import Leaf
from rewarden.verifier.facts import FactId
from rewarden.verifier.frontier import Batch, Frontier
from rewarden.verifier.leaves import Settled, settle
from rewarden.verifier.narrowing import narrowed
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.program import INPUT, Program
from rewarden.verifier.progress import Progress
from rewarden.verifier.proof_tree import ProofTree
from rewarden.verifier.regions import OpenBoxes
from rewarden.verifier.rounding import outward
from rewarden.verifier.splitting import Axes, choose_cuts, cut_boxes

REPORTED = 256  # open boxes in an outcome, at most
PRODUCTS = 2**26  # multiplications in a batch: some tenths of a second, so that a time limit is kept
LEAST = 32  # boxes in a batch however large the network: below, the work between products takes over
EXACT_LEAVES = 64  # leaves per goal for which the slow exact bound of a network is asked


@dataclass(frozen=True, slots=True, eq=False)
class BranchOutcome:
    """`settled`: share of the domain that is settled, by volume, 1 if proved. `boxes`: how many were bounded.

    `points`: exact violations (only with `violated`). `proof` (only with `proved`) is docs/formats.md's object; its
    `witness` is null, since a point of the premise is not this engine's to find.
    """

    status: Literal["proved", "violated", "unknown"]
    settled: float
    boxes: int
    points: tuple[tuple[Fraction, ...], ...] = ()
    proof: dict[str, Any] | None = field(default=None, repr=False)
    frontier: tuple[Part, ...] = ()


def prove(
    program: Program,
    claim: Claim,
    options: VerifyOptions,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> BranchOutcome:
    """Tries to prove `claim` (the one that `program` was compiled from) within `options.budget` boxes."""
    if claim is not program.claim and claim != program.claim:
        raise ValueError("the program was compiled from another claim")
    return BranchAndBound(program, options.batch_size).run(options.budget, progress, stop)


@dataclass(slots=True)
class Course:
    """How far a run has come (mutable): from `start` boxes on, goals `waiting`, the first up to `end` boxes."""

    start: int
    waiting: tuple[int, ...]
    end: int | None = None


class BranchAndBound:
    """All goals of a claim, one after the other (mutable): goes on where it stopped.

    `bounded`: the program as it is bounded, where that is another form of the same (`differences`).
    """

    def __init__(self, program: Program, batch_size: int, bounded: Program | None = None) -> None:
        engine = Engine(bounded or program)
        self.claim, self.curved = program.claim, program.curved
        batch = min(batch_size, max(LEAST, PRODUCTS // products(engine)))
        self.searches = [GoalSearch(engine, program, goal, batch) for goal in range(len(program.claim.goals))]
        self.course: Course | None = None  # of a run that was stopped, or is under way

    def run(
        self,
        budget: int,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> BranchOutcome:
        """Up to `budget` more boxes, in equal parts for the goals that are open, and what one leaves for the next."""
        goals, stopped = max(1, len(self.searches)), stop or (lambda: False)
        now = self.course or self._course(budget)
        with torch.no_grad():
            while now.waiting:
                search = self.searches[now.waiting[0]]
                if now.end is None:
                    now.end = search.boxes + (budget - self.boxes + now.start) // len(now.waiting)
                settled = sum(s.settled for s in self.searches if s is not search)
                reporter = _reporter(self.claim, progress, settled / goals, self.boxes - search.boxes, goals)
                search.run(now.end, reporter, stopped)
                if search.violation is not None:
                    return BranchOutcome("violated", self.settled, self.boxes - now.start, (search.violation,))
                if search.frontier.size and search.boxes < now.end:
                    break  # stopped: the course stays, for somebody who goes on with it
                now.waiting, now.end = now.waiting[1:], None
        spent = self.boxes - now.start
        if not now.waiting:
            self.course = None
        if all(search.tree.complete for search in self.searches):
            if self.curved:  # no proof object speaks of smooth layers
                return BranchOutcome("proved", 1.0, spent)
            trees = [[s.tree.preorder(root) for root in range(len(self.claim.boxes))] for s in self.searches]
            return BranchOutcome("proved", 1.0, spent, proof=_proof(self.claim, trees))
        left = [part for search in self.searches for part in search.open_boxes()][:REPORTED]
        return BranchOutcome("unknown", self.settled, spent, frontier=tuple(left))

    def _course(self, budget: int) -> Course:
        waiting = tuple(goal for goal, search in enumerate(self.searches) if search.frontier.size)
        self.course = Course(self.boxes, waiting)
        return self.course

    def open_region(self) -> OpenBoxes:
        """All that is open, of every goal; parts of one box at which different facts hold overlap."""
        batches = [(s.tree, b) for s in self.searches for b in (*s.stuck, *s.frontier.batches())]
        empty = np.zeros((0, len(self.claim.variables)))
        return OpenBoxes(
            np.concatenate([np.zeros(0, np.int64), *(tree.roots_of(b.node.numpy()) for tree, b in batches)]),
            np.concatenate([empty, *(b.boxes.lo.numpy() for _, b in batches)]),
            np.concatenate([empty, *(b.boxes.hi.numpy() for _, b in batches)]),
        )

    @property
    def boxes(self) -> int:
        return sum(search.boxes for search in self.searches)

    @property
    def settled(self) -> float:
        """The share of all goals' domains."""
        return min(sum(s.settled for s in self.searches) / max(1, len(self.searches)), 1.0)


def products(engine: Engine) -> int:
    """Multiplications for one box, roughly: every neuron substituted back through all layers before it."""
    weights = total = 1
    for layer in engine.layers:
        if layer.kind != "linear":
            weights += sum(m.weight.numel() for m in layer.fused.maps)
            total += layer.rows * weights
    return total


def _proof(claim: Claim, trees: list[list[list[list[object]]]]) -> dict[str, Any]:
    return {
        "format": "rewarden-proof",
        "format_version": 1,
        "claim": claim_digest(claim),
        "witness": None,
        "goals": trees,
    }


Reporter = Callable[[float, int], None]


def _reporter(
    claim: Claim, progress: Callable[[Progress], None] | None, settled: float, boxes: int, goals: int
) -> Reporter:
    def report(share: float, more: int) -> None:
        if progress is not None:
            progress(Progress(claim.rule, "bounds", min(settled + share / goals, 1.0), boxes + more))

    return report


class GoalSearch:
    """One goal's search (mutable): its tree, its frontier, what is settled."""

    def __init__(self, engine: Engine, program: Program, goal: int, batch_size: int) -> None:
        self.engine, self.program, self.claim = engine, program, program.claim
        claim = self.claim
        self.goal, self.batch_size = goal, batch_size
        self.boxes, self.settled = 0, 0.0
        self.violation: tuple[Fraction, ...] | None = None
        self.forms = tuple({id(p): p for p in (program, engine.program)}.values())
        self.candidates = Candidates(program, goal)
        self.frontier = Frontier(len(claim.variables))
        self.stuck: list[Batch] = []  # open boxes that cannot be split any further
        self.exact_budget = EXACT_LEAVES if self.program.executed is None else 0  # they know no binary32
        self.tree = ProofTree(claim)
        self.contexts: dict[tuple[FactId, ...], Context] = {}
        self.several = [c for c, clause in enumerate(claim.clauses) if len(clause) != 1]
        self._start()

    def _start(self) -> None:
        share = 1.0 / max(1, len(self.claim.boxes))
        cells = [(node, self._cell(node, box, ())) for node, box in enumerate(self.tree.roots)]
        left = [(node, cell) for node, cell in cells if cell is not None]
        self.settled += share * (len(self.claim.boxes) - len(left))
        if not left:
            return
        self.hull = hull_of([cell for _, cell in left])
        boxes = _float_boxes([cell for _, cell in left], self.tree.discrete)
        nodes = torch.tensor([node for node, _ in left])
        shares = torch.full((len(left),), share, dtype=torch.float64)
        context = self.context(())
        self.axes = self._axes(context, boxes)
        self.frontier.push(Batch(context, boxes, nodes, shares, torch.full_like(shares, -torch.inf)))

    def _cell(self, node: int, box: Box | None, chosen: tuple[FactId, ...]) -> Box | None:
        """The node's cell, or None, with the node closed, if no point of it satisfies some fact."""
        if box is None:
            self.tree.close_with(node, Leaf(-1))
            return None
        for clause, a in fact_ids(self.claim, chosen):
            atom = self.claim.clauses[clause][a]
            if not atom.affine.calls and refuted(atom, box):
                self.tree.close_with(node, Leaf(-1, ((clause, a, Fraction(1)),)))
                return None
        return box

    def context(self, chosen: tuple[FactId, ...]) -> Context:
        if chosen not in self.contexts:
            facts = [self.claim.clauses[c][a] for c, a in chosen]
            hull = narrowed(self.hull, facts, self.tree.discrete) or self.hull
            self.contexts[chosen] = make_context(self.forms, self.goal, chosen, hull)
        return self.contexts[chosen]

    def _axes(self, context: Context, boxes: Boxes) -> Axes:
        """Variables that nothing reads are never cut."""
        matters = torch.zeros(boxes.lo.shape[1], dtype=torch.bool)
        maps = [m for layer in self.engine.layers for m in layer.fused.maps]
        for m in (*maps, *context.functionals.maps):
            if m.source == INPUT:
                matters |= (m.weight != 0).any(0)
        for clause in self.claim.clauses:
            for atom in clause:
                matters[[j for j, _ in atom.affine.variables]] = True
        return Axes(torch.tensor(self.tree.discrete), matters, (boxes.hi - boxes.lo).amax(0))

    # ── the loop ───────────────────────────────────────────────────────────────────────────────
    def run(self, end: int, report: Reporter, stop: Callable[[], bool]) -> None:
        """Until `end` boxes have been bounded in all."""
        while self.frontier.size and self.boxes < end and self.violation is None and not stop():
            batch = self.frontier.pop(min(self.batch_size, end - self.boxes))
            self.boxes += batch.size
            result = settle(self.engine, self.goal, batch, self.tree, self.exact_budget)
            self.exact_budget = result.exact_budget
            self.settled += float(batch.share[result.settled].sum())
            self._split(batch, result)
            report(self.settled, self.boxes)
        open_share = sum(float(b.share.sum()) for b in (*self.frontier.batches(), *self.stuck))
        if self.violation is None:
            assert abs(self.settled + open_share - 1.0) < 1e-6, "what is settled and what is open is everything"

    def _split(self, batch: Batch, result: Settled) -> None:
        if not result.index.numel():
            return
        rest, slope, steep = replace(batch.take(result.index), bound=result.bound), result.slope, result.steepness
        self._search_points(rest, slope)
        if self.violation is not None:
            return
        clause = self._clauses_to_expand(rest, slope)
        for i in (clause >= 0).nonzero()[:, 0].tolist():
            self._expand(rest, i, int(clause[i]))
        rest, steep = _where(rest, steep, clause < 0)
        cuts = choose_cuts(rest.boxes, steep, self.axes)
        if bool((cuts.variable < 0).any()):
            self.stuck.append(rest.take((cuts.variable < 0).nonzero()[:, 0]))
            rest, steep = _where(rest, steep, cuts.variable >= 0)
            cuts = choose_cuts(rest.boxes, steep, self.axes)
        if not rest.size:
            return
        first = torch.from_numpy(self.tree.cut(rest.node.numpy(), cuts.variable.numpy(), cuts.cut.numpy()))
        lower = rest.share * cuts.share
        self.frontier.push(
            Batch(
                rest.context,
                cut_boxes(rest.boxes, cuts, self.axes.discrete),
                torch.stack((first, first + 1), dim=1).reshape(-1),
                torch.stack((lower, rest.share - lower), dim=1).reshape(-1),
                rest.bound.repeat_interleave(2),
            )
        )

    def _search_points(self, rest: Batch, slope: Tensor) -> None:
        worst = rest.bound.argsort(stable=True)[:WORST]
        boxes = rest.boxes.take(worst)
        for point in self.candidates.suspicious(boxes, slope[worst]):
            inside = ((boxes.lo <= point) & (point <= boxes.hi)).all(-1).nonzero()[:, 0]
            box = self.tree.place(int(rest.node[worst[inside[0]]])).box
            assert box is not None, "an open box has points"
            self.violation = self.violation or self.candidates.violates(self.claim, box, point)

    # ── clauses with several atoms ─────────────────────────────────────────────────────────────
    def _clauses_to_expand(self, rest: Batch, slope: Tensor) -> Tensor:
        """Per box, a clause worth expanding now, or −1."""
        chosen = {c for c, _ in rest.context.chosen}
        todo = [c for c in self.several if c not in chosen]
        found = torch.full((rest.size,), -1)
        if not todo:
            return found
        margins = self.candidates.clause_margins(self.candidates.corners(rest.boxes, slope))
        for c in todo:
            live, certain = self._live_atoms(rest.boxes, c)
            wanted = ((live <= 1) | (margins[:, c] < 0)) & ~certain
            found = torch.where((found < 0) & wanted, c, found)
        return found

    def _live_atoms(self, boxes: Boxes, clause: int) -> tuple[Tensor, Tensor]:
        """How many atoms may be true somewhere, and whether one is true everywhere: hints, in floats."""
        live = torch.zeros(boxes.lo.shape[0], dtype=torch.int64)
        certain = torch.zeros(boxes.lo.shape[0], dtype=torch.bool)
        for atom in self.claim.clauses[clause]:
            if atom.affine.calls:
                live += 1
                continue
            slope = torch.zeros(boxes.lo.shape[1], dtype=torch.float64)
            for j, value in atom.affine.variables:
                slope[j] = float(value)
            constant = float(atom.affine.constant)
            up, down = slope.clamp(min=0.0), slope.clamp(max=0.0)
            live += boxes.hi @ up + boxes.lo @ down + constant >= 0
            certain |= boxes.lo @ up + boxes.hi @ down + constant > 0
        return live, certain

    def _expand(self, rest: Batch, i: int, clause: int) -> None:
        """A case node: refuted atoms are closed at once, the others go on with one more fact."""
        node, share = int(rest.node[i]), float(rest.share[i])
        place, atoms = self.tree.place(node), self.claim.clauses[clause]
        first = self.tree.case(node, clause)
        if not atoms:
            self.settled += share
            return
        part, chosen = share / len(atoms), rest.context.chosen
        for a, atom in enumerate(atoms):
            box = None if place.box is None else narrowed(place.box, (atom,), self.tree.discrete)
            cell = self._cell(first + a, box, (*chosen, (clause, a)))
            if cell is None:
                self.settled += part
                continue
            self.frontier.push(
                Batch(
                    self.context((*chosen, (clause, a))),
                    _float_boxes([cell], self.tree.discrete),
                    torch.tensor([first + a]),
                    torch.tensor([part], dtype=torch.float64),
                    rest.bound[i : i + 1],
                )
            )

    def open_boxes(self) -> list[Part]:
        out: list[Part] = []
        for batch in (*self.stuck, *self.frontier.batches()):
            for node in batch.node.tolist()[: REPORTED - len(out)]:
                place = self.tree.place(node)
                assert place.box is not None, "an open box has points"
                out.append(Part(self.goal, place.root, place.box, fact_ids(self.claim, place.chosen)))
        return out


def _where(batch: Batch, values: Tensor, mask: Tensor) -> tuple[Batch, Tensor]:
    index = mask.nonzero()[:, 0]
    return batch.take(index), values[index]


def _float_boxes(boxes: list[Box], discrete: tuple[bool, ...]) -> Boxes:
    """Outward-rounded; bounds of discrete variables rounded to the integers inside, which is all that counts there."""
    pairs = [outward(box) for box in boxes]
    lo = torch.stack([torch.from_numpy(lo) for lo, _ in pairs])
    hi = torch.stack([torch.from_numpy(hi) for _, hi in pairs])
    whole = torch.tensor(discrete)
    return Boxes(torch.where(whole, torch.ceil(lo), lo), torch.where(whole, torch.floor(hi), hi))
