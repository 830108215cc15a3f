"""Proofs about loops: potentials on cells as the graph of cells has found them, and a tree over pairs of cells.

What the engine found is a plan, no more: its potentials are made a little looser, so that floats have room, and for
each pair of cells a leaf is looked for again in the kernel's own terms. Pairs of large boxes which no step joins are
refuted at once, on the way down from the pair of all records with itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import floor, frexp
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.canonical import rational_text
from rewarden.spec_lang.claim import Affine, AffineAtom, Box, Claim
from rewarden.spec_lang.claim_json import claim_digest
from rewarden.verifier.box_minimum import Boxes
from rewarden.verifier.exact_bounds import Leaf as ExactLeaf
from rewarden.verifier.exact_bounds import leaf_holds
from rewarden.verifier.facts import best_multiplier
from rewarden.verifier.inline import compile_program
from rewarden.verifier.loops.abstraction import Dropped, LoopOutcome, Settled
from rewarden.verifier.loops.potentials import LIMIT, Graph, gridded, relax, settles
from rewarden.verifier.program import INPUT, Program
from rewarden.verifier.proof_tree import dyadic
from rewarden.verifier.scribe.leaves import negative, short
from rewarden.verifier.scribe.mirror import Bounded, Known, Mirror, Rows
from rewarden.verifier.scribe.writer import Writer

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Tree = list[list[object]]

BATCH = 2048  # pairs of cells at once
MOST_PAIRS = 400_000  # nodes of the tree of pairs
HARD = 20_000  # branches that may be bounded for pairs that do not settle at once
LOOSER = tuple(4.0**-k for k in range(1, 14))  # shares of the largest weight that every weight is tried to be raised by


@dataclass(frozen=True, slots=True, eq=False)
class Potentials:
    """Cells lo, hi [cell, column] with potentials slope·x + level; `rank` orders the components: their levels are far
    apart, so that steps from lower to higher ones raise the potential by more than anything adds."""

    lo: Array
    hi: Array
    slope: Array
    level: tuple[Fraction, ...]
    rank: Index


def written_loops(
    claim: Claim,
    rewards: Mapping[str, Artifact],
    outcomes: Sequence[LoopOutcome],
    stop: Callable[[], bool],
) -> dict[str, Any] | str:
    """The proof object (less the loop that it shows) of a claim about loops, each of whose sums has an outcome that is
    proved; or why there is none."""
    program = compile_program(claim, rewards)
    mirror = Mirror.of(program)
    if mirror is None:
        return "its layers are of no kind that the kernel knows"
    sums = []
    with torch.no_grad():
        for number, outcome in enumerate(outcomes):
            found = _SumProof(program, mirror, number, potentials_of(outcome), stop).write()
            if isinstance(found, str):
                return found
            sums.append(found)
    return {"format": "rewarden-proof", "format_version": 1, "claim": claim_digest(claim), "sums": sums}


# ── potentials ─────────────────────────────────────────────────────────────────────────────────
def potentials_of(outcome: LoopOutcome) -> Potentials:
    """Of all cells that hold records."""
    dropped = [part for part in outcome.dropped if not part.empty]
    parts: list[Settled | Dropped] = [*outcome.parts, *dropped]
    places = sorted({place for part in parts for place in part.place})
    levels = [_looser(part.graph, part.weight, part.potential, part.scale) for part in outcome.parts]
    lo, hi = (np.concatenate([getattr(part.cells, side) for part in parts]) for side in ("lo", "hi"))
    flat = [np.zeros_like(part.cells.lo) for part in dropped]
    return Potentials(
        lo,
        hi,
        np.concatenate([*(part.tilt for part in outcome.parts), *flat]),
        (*(x for level in levels for x in level), *(Fraction(0) for part in dropped for _ in part.place)),
        np.array([places.index(place) for part in parts for place in part.place], dtype=np.int64),
    )


def _looser(graph: Graph, weight: Array, potential: Sequence[int], scale: Fraction) -> list[Fraction]:
    """Potentials that leave room at every move, if there are some; in short numbers."""
    size = float(np.abs(weight[np.isfinite(weight)]).max(initial=0.0))
    for share in LOOSER if np.isfinite(weight).all() and size > 0 else ():
        room = share * size
        whole, exponent = gridded(weight + room, graph.count, weak=False)
        found = relax(graph, whole)
        if not found.cycles and settles(graph, whole, found.potential) and np.abs(found.potential).max() < LIMIT:
            unit = Fraction(2) ** (frexp(room)[1] - 6)
            return [floor(Fraction(int(p)) * Fraction(2) ** -exponent / unit) * unit for p in found.potential]
    return [p * scale for p in potential]


# ── the tree of cells ──────────────────────────────────────────────────────────────────────────
@dataclass(slots=True, eq=False)
class _Cells:
    """Nodes in preorder of making (mutable): boxes; cut (column, place) with the number of the first of two parts, or
    the cell that a node is, −1 where it holds no record."""

    lo: list[Array]
    hi: list[Array]
    cut: dict[int, tuple[int, float]] = field(default_factory=dict)
    parts: dict[int, int] = field(default_factory=dict)
    cell: dict[int, int] = field(default_factory=dict)
    size: list[int] = field(default_factory=list)  # cells below


def tree_of(found: Potentials, box: Box, discrete: NDArray[np.bool_]) -> _Cells | None:
    """Cuts that no cell straddles; None where there are none (halving always leaves some)."""
    lo = np.array([min(float(found.lo[:, k].min()), _float(a, -1)) for k, (a, _) in enumerate(box)])
    hi = np.array([max(float(found.hi[:, k].max()), _float(b, 1)) for k, (_, b) in enumerate(box)])
    tree = _Cells([lo], [hi], size=[len(found.lo)])
    waiting = [(0, np.arange(len(found.lo)))]
    while waiting:
        node, members = waiting.pop()
        cut = _trimmed(tree.lo[node], tree.hi[node], found, members, discrete)
        if cut is None:
            if len(members) > 1:
                return None
            tree.cell[node] = int(members[0]) if len(members) else -1
            continue
        column, at = cut
        after = at + 1 if discrete[column] else at
        below = found.hi[members, column] <= at
        left_hi, right_lo = tree.hi[node].copy(), tree.lo[node].copy()
        left_hi[column], right_lo[column] = at, after
        tree.cut[node], tree.parts[node] = cut, len(tree.lo)
        waiting += [(len(tree.lo) + 1, members[~below]), (len(tree.lo), members[below])]
        tree.lo += [tree.lo[node], right_lo]
        tree.hi += [left_hi, tree.hi[node]]
        tree.size += [int(below.sum()), int((~below).sum())]
    return tree


def _float(value: Fraction, side: int) -> float:
    near = float(value)
    return near if (Fraction(near) - value) * side >= 0 else float(np.nextafter(near, side * np.inf))


def _trimmed(
    lo: Array, hi: Array, found: Potentials, members: Index, discrete: NDArray[np.bool_]
) -> tuple[int, float] | None:
    """The next cut of a box with these cells: between them, as evenly as can be; or off what is beyond the only one."""
    if not len(members):
        return None
    best: tuple[int, int, float] | None = None
    for k in range(len(lo)):
        lows, highs = np.sort(found.lo[members, k]), np.sort(found.hi[members, k])
        if len(members) == 1:
            if lo[k] < lows[0]:
                return k, float(lows[0] - 1 if discrete[k] else lows[0])
            if highs[0] < hi[k]:
                return k, float(highs[0])
            continue
        places = np.unique(highs[:-1])
        below = np.searchsorted(highs, places, side="right")
        above = len(members) - np.searchsorted(lows, places, side="right" if discrete[k] else "left")
        score = np.where((below + above == len(members)) & (above > 0), np.minimum(below, above), 0)
        if len(score) and score.max() > 0 and (best is None or score.max() > best[0]):
            best = int(score.max()), k, float(places[score.argmax()])
    return None if best is None else best[1:]


# ── one sum ────────────────────────────────────────────────────────────────────────────────────
@dataclass(slots=True, eq=False)
class _Pair:
    """A pair of nodes of the tree of cells (mutable until it is settled)."""

    here: int
    there: int
    split: str | None = None  # "from" or "to"
    parts: tuple[_Pair, _Pair] | None = None
    trees: list[Tree] | None = None


class _SumProof:
    """The proof of one sum of a claim about loops (mutable)."""

    def __init__(
        self, program: Program, mirror: Mirror, number: int, found: Potentials, stop: Callable[[], bool]
    ) -> None:
        self.program, self.mirror, self.claim, self.found, self.stop = program, mirror, program.claim, found, stop
        self.width = len(self.claim.variables) // 2
        self.discrete = np.array([v.discrete for v in self.claim.variables[: self.width]])
        assert self.claim.loops is not None
        start = sum(self.claim.loops[:number])
        self.goals = range(start, start + self.claim.loops[number])
        self.left = HARD
        self.apart = Fraction(0)  # between the levels of components

    def write(self) -> dict[str, Any] | str:
        tree = tree_of(self.found, self.claim.boxes[0][: self.width], self.discrete)
        if tree is None:
            return "its cells are no tree of cuts"
        self.tree = tree
        self.lo, self.hi = np.array(tree.lo), np.array(tree.hi)
        self.apart = self._apart()
        self.refuting = _Refuting.of(self.claim, self.width)
        root = _Pair(0, 0)
        problem = self._pairs(root)
        if problem is not None:
            return problem
        return {"cells": list(self._cells()), "pairs": list(_preorder(root))}

    def _apart(self) -> Fraction:
        """More than anything adds, and than potentials differ within components."""
        if len(self.found.level) == 0 or self.found.rank.max() == self.found.rank.min():
            return Fraction(0)
        size = np.abs(self.found.slope) * np.maximum(np.abs(self.found.lo), np.abs(self.found.hi))
        most = size.sum(axis=1).max() + max(abs(float(x)) for x in self.found.level)
        lo, hi = (torch.tensor([[float(e[side]) for e in self.claim.boxes[0]]], dtype=torch.float64) for side in (0, 1))
        rows = self.mirror.rows([atom.affine for k in self.goals for atom in self.claim.goals[k]])
        least = self.mirror.lower(self.mirror.known(lo, hi, {}, deep=True), rows).bound
        adds = max(0.0, -float(least.min())) if least.numel() else 0.0
        return Fraction(2) ** (frexp(2 * most + adds + 1.0)[1] + 2)

    # ── pairs ──────────────────────────────────────────────────────────────────────────────────
    def _pairs(self, root: _Pair) -> str | None:
        """Settles every pair; or why not."""
        waiting, close, made = [root], [], 1
        while waiting:
            batch, waiting = waiting[-4096:], waiting[:-4096]
            here, there = np.array([p.here for p in batch]), np.array([p.there for p in batch])
            boxes = [np.hstack((side[here], side[there])) for side in (self.lo, self.hi)]
            for pair, tree in zip(batch, self.refuting.trees(*boxes), strict=True):
                if tree is not None:
                    pair.trees = [tree] * (len(self.goals) if self._known(pair) else min(1, len(self.goals)))
                    continue
                u, v = pair.here in self.tree.parts, pair.there in self.tree.parts
                if not u and not v:
                    close.append(pair)
                    continue
                first = u and (not v or self.tree.size[pair.here] >= self.tree.size[pair.there])
                at = self.tree.parts[pair.here if first else pair.there]
                kids = [_Pair(k, pair.there) if first else _Pair(pair.here, k) for k in (at, at + 1)]
                pair.split, pair.parts = "from" if first else "to", (kids[0], kids[1])
                waiting += kids
                made += 2
            if made > MOST_PAIRS or self.stop():
                return "it would be too large to be of use" if made > MOST_PAIRS else "it was stopped"
        for start in range(0, len(close), BATCH):
            problem = self._close(close[start : start + BATCH])
            if problem is not None:
                return problem
        return None

    def _known(self, pair: _Pair) -> bool:
        """Are both cells with a potential?"""
        return self.tree.cell.get(pair.here, -1) >= 0 and self.tree.cell.get(pair.there, -1) >= 0

    def _close(self, pairs: list[_Pair]) -> str | None:
        """Pairs of cells that the facts alone do not refute box by box."""
        easy = [pair for pair in pairs if self._known(pair)]
        for pair in easy:
            pair.trees = [[] for _ in self.goals]
        for k, goal in enumerate(self.goals):
            for pair, leaf in zip(easy, self._leaves(easy, goal), strict=True):
                if leaf is not None:
                    assert pair.trees is not None
                    pair.trees[k] = [leaf]
        for pair in pairs:
            trees = pair.trees
            if trees is None or not all(trees):
                found = self._hard(pair)
                if isinstance(found, str):
                    return found
                pair.trees = found if trees is None else [a or b for a, b in zip(trees, found, strict=True)]
            if self.stop():
                return "it was stopped"
        return None

    def _leaves(self, pairs: Sequence[_Pair], goal: int) -> list[list[object] | None]:
        """Leaves of the goal for pairs of cells, where bounds of its atoms and the facts are enough."""
        if not pairs:
            return []
        u, v = (
            np.array([self.tree.cell[k] for k in ends])
            for ends in zip(*((p.here, p.there) for p in pairs), strict=True)
        )
        here, there = np.array([p.here for p in pairs]), np.array([p.there for p in pairs])
        zero = np.zeros((len(pairs), 1))
        lo = np.hstack((self.lo[here], self.lo[there], zero))
        hi = np.hstack((self.hi[here], self.hi[there], zero))
        self.refuting.narrow(lo, hi)
        atoms = self.claim.goals[goal]
        rows, names = self._rows(atoms, u, v)
        leaves: list[list[object] | None] = [None] * len(pairs)
        box, open_ = (torch.from_numpy(lo), torch.from_numpy(hi)), torch.arange(len(pairs))
        for deep in (False, True):
            known = self.mirror.known(*box, {}, deep=deep)
            parts = self.mirror.lower(known, rows)
            for which in range(-1, sum(c < 0 for c, _ in names)):
                settled, found = self._try(parts, known.lo, known.hi, names, which, rows, known)
                for i in settled.nonzero()[:, 0].tolist():
                    if leaves[int(open_[i])] is None:
                        leaves[int(open_[i])] = found(i)
            keep = torch.tensor([leaves[int(k)] is None for k in open_]).nonzero()[:, 0]
            if not len(keep):
                break
            box, open_, rows = (box[0][keep], box[1][keep]), open_[keep], _taken(rows, keep)
        return leaves

    def _rows(self, atoms: Sequence[AffineAtom], u: Index, v: Index) -> tuple[Rows, list[tuple[int, int]]]:
        """Atoms of the goal with the potentials of each pair, and minus the facts: [pair, row, …]; and their names."""
        facts = [(c, 0) for c, clause in enumerate(self.claim.clauses) if len(clause) == 1]
        affines = [atom.affine for atom in atoms] + [negative(self.claim.clauses[c][a].affine) for c, a in facts]
        plain = self.mirror.rows(affines)
        terms = dict(plain.terms)
        wide = torch.zeros(1, len(affines), 2 * self.width + 1, dtype=torch.float64)
        slope = terms.get(INPUT, wide).repeat(len(u), 1, 1)
        bias = plain.bias[None].repeat(len(u), 1)
        rank = self.found.rank
        level = np.array([float(x) for x in self.found.level])
        raised = (level[v] - level[u]) + float(self.apart) * (rank[v] - rank[u])
        for k, atom in enumerate(atoms):
            if _rises(atom, self.width):
                slope[:, k, : self.width] -= torch.from_numpy(self.found.slope[u])
                slope[:, k, self.width : 2 * self.width] += torch.from_numpy(self.found.slope[v])
                bias[:, k] += torch.from_numpy(raised)
        terms[INPUT] = slope
        return Rows(terms, bias), [*((-1, k) for k in range(len(atoms))), *facts]

    def _try(
        self,
        parts: Bounded,
        lo: Tensor,
        hi: Tensor,
        names: Sequence[tuple[int, int]],
        anchor: int,
        rows: Rows,
        known: Known,
    ) -> tuple[Tensor, Callable[[int], list[object]]]:
        """Rows alone (anchor −1), or an atom of the goal less multiples of facts."""
        if anchor < 0:
            enough = parts.bound > parts.slack

            def alone(i: int) -> list[object]:
                clause, atom = names[int(enough[i].to(torch.int8).argmax())]
                return ["leaf", atom, [], [], []] if clause < 0 else ["leaf", -1, [[clause, atom, [1, 0]]], [], []]

            return enough.any(-1), alone
        weights = torch.zeros_like(parts.bound)
        weights[:, anchor] = 1.0
        boxes = Boxes(lo, hi)
        summed = parts.slope[:, anchor].clone()
        plain = [j for j, (c, a) in enumerate(names) if c >= 0 and not self.claim.clauses[c][a].affine.calls]
        for _ in range(2):
            for j in plain:
                base = summed - weights[:, j : j + 1] * parts.slope[:, j]
                best = short(best_multiplier(base, -parts.slope[:, j], -parts.constant[:, j], boxes))
                weights[:, j] = best
                summed = base + best[:, None] * parts.slope[:, j]
        bias = (weights * rows.bias).sum(-1, keepdim=True)
        terms = {s: (weights[:, None] @ w) for s, w in rows.terms.items()}
        found = self.mirror.lower(known, Rows(terms, bias))

        def several(i: int) -> list[object]:
            used = [
                [*names[j], list(dyadic(Fraction(float(weights[i, j]))))] for j in plain if float(weights[i, j]) > 0
            ]
            return ["leaf", names[anchor][1], used, [], []]

        return (found.bound > found.slack)[:, 0], several

    def _hard(self, pair: _Pair) -> list[Tree] | str:
        """By a tree of its own; exactly, where nothing is to spare."""
        claim = self._narrow(pair)
        program = replace(self.program, claim=claim)
        trees: list[Tree] = []
        for goal in range(len(claim.goals)):
            tried = 0 if self.mirror.curved else len(claim.goals[goal])  # rationals do not know the kernel's lines
            exact = next((a for a in range(tried)
                          if leaf_holds(program, goal, claim.boxes[0], ExactLeaf(a), frozenset())), None)  # fmt: skip
            if exact is not None:
                trees.append([["leaf", exact, [], [], []]])
                continue
            one = replace(claim, goals=(claim.goals[goal],))
            writer = Writer(replace(program, claim=one), self.mirror, self.left, self.stop)
            proof = writer.write()
            self.left = writer.left
            if proof is None:
                return (
                    "the rule holds with nothing to spare" if writer.exact else f"none was found among {HARD} branches"
                )
            trees.append(proof["goals"][0][0])
        return trees

    def _narrow(self, pair: _Pair) -> Claim:
        """What is to be shown of a pair, as a claim about two records."""
        claim = self.claim
        zero = Fraction(0)
        box = (*self._box(pair.here), *self._box(pair.there), (zero, zero))
        if not self._known(pair):
            return replace(claim, boxes=(box,), goals=((),) if self.goals else (), loops=None)
        here, there = (self._potential(self.tree.cell[node]) for node in (pair.here, pair.there))
        goals = tuple(tuple(_risen(atom, here, there) for atom in claim.goals[k]) for k in self.goals)
        return replace(claim, boxes=(box,), goals=goals, loops=None)

    def _box(self, node: int) -> Box:
        """Within the claim's own box."""
        ends = zip(self.claim.boxes[0], self.lo[node].tolist(), self.hi[node].tolist(), strict=False)
        return tuple((max(a, Fraction(low)), min(b, Fraction(high))) for (a, b), low, high in ends)

    def _potential(self, cell: int) -> tuple[Fraction, list[Fraction]]:
        level = self.found.level[cell] + self.apart * int(self.found.rank[cell])
        return level, [Fraction(x) for x in self.found.slope[cell].tolist()]

    def _cells(self) -> Iterator[list[object]]:
        stack = [0]
        while stack:
            node = stack.pop()
            if node in self.tree.parts:
                column, at = self.tree.cut[node]
                first = self.tree.parts[node]
                stack += [first + 1, first]
                yield ["cut", column, rational_text(Fraction(at))]
            elif self.tree.cell[node] < 0:
                yield ["none"]
            else:
                level, slopes = self._potential(self.tree.cell[node])
                yield ["cell", rational_text(level), [rational_text(x) for x in slopes]]


def _taken(rows: Rows, keep: Tensor) -> Rows:
    terms = {s: w[keep] if w.shape[0] > 1 else w for s, w in rows.terms.items()}
    return Rows(terms, rows.bias[keep])


def _preorder(root: _Pair) -> Iterator[object]:
    stack = [root]
    while stack:
        pair = stack.pop()
        if pair.parts is not None:
            stack += reversed(pair.parts)
            yield pair.split
        else:
            yield pair.trees


# ── what the facts alone refute ────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True, eq=False)
class _Refuting:
    """Clauses over variables alone as arrays: [atom, column], and where each clause starts."""

    claim: Claim
    clauses: tuple[int, ...]
    starts: tuple[int, ...]
    slope: Array
    constant: Array
    strict: NDArray[np.bool_]

    @staticmethod
    def of(claim: Claim, width: int) -> _Refuting:
        chosen = tuple(
            c for c, clause in enumerate(claim.clauses) if clause and not any(a.affine.calls for a in clause)
        )
        atoms = [atom for c in chosen for atom in claim.clauses[c]]
        slope = np.zeros((len(atoms), 2 * width))
        for i, atom in enumerate(atoms):
            for j, value in atom.affine.variables:
                slope[i, j] = float(value)
        starts = tuple(np.cumsum([0, *(len(claim.clauses[c]) for c in chosen)]).tolist())
        constant = np.array([float(atom.affine.constant) for atom in atoms])
        return _Refuting(claim, chosen, starts, slope, constant, np.array([a.strict for a in atoms], dtype=np.bool_))

    def trees(self, lo: Array, hi: Array) -> list[Tree | None]:
        """For boxes [n, 2·column]: a tree that shows that no point satisfies the clauses, where one clause tells."""
        if not self.clauses:
            return [None] * len(lo)
        most = hi @ self.slope.clip(min=0.0).T + lo @ self.slope.clip(max=0.0).T + self.constant
        size = np.maximum(np.abs(lo), np.abs(hi)) @ np.abs(self.slope).T + np.abs(self.constant)
        doubt = size * 2.0**-40
        false = most < -doubt
        for row, column in np.argwhere(np.abs(most) <= doubt):
            false[row, column] = self._false(int(column), lo[row], hi[row])
        found: list[Tree | None] = [None] * len(lo)
        for c, start, end in zip(self.clauses, self.starts, self.starts[1:], strict=False):
            for row in np.flatnonzero(false[:, start:end].all(axis=1)).tolist():
                if found[row] is None:
                    found[row] = _contradiction(c, end - start)
        return found

    def _false(self, column: int, lo: Array, hi: Array) -> bool:
        c = next(k for k, end in enumerate(self.starts[1:]) if column < end)
        atom = self.claim.clauses[self.clauses[c]][column - self.starts[c]]
        most = atom.affine.constant + sum(
            x * Fraction(float(hi[j] if x > 0 else lo[j])) for j, x in atom.affine.variables
        )
        return most < 0 or (most == 0 and atom.strict)

    def narrow(self, lo: Array, hi: Array) -> None:
        """What facts of one variable leave of boxes, nearly (in place); never less than a point."""
        for i, start in enumerate(self.starts[:-1]):
            (columns,) = np.nonzero(self.slope[start])
            if self.starts[i + 1] - start != 1 or len(columns) != 1 or self.strict[start]:
                continue
            k = int(columns[0])
            edge = -self.constant[start] / self.slope[start, k]
            if self.claim.variables[k].discrete:
                edge = np.ceil(edge - 1e-9) if self.slope[start, k] > 0 else np.floor(edge + 1e-9)
            if self.slope[start, k] > 0:
                lo[:, k] = np.minimum(np.maximum(lo[:, k], edge), hi[:, k])
            else:
                hi[:, k] = np.maximum(np.minimum(hi[:, k], edge), lo[:, k])


def _contradiction(clause: int, atoms: int) -> Tree:
    leaves: Tree = [["leaf", -1, [[clause, a, [1, 0]]], [], []] for a in range(atoms)]
    return leaves if atoms == 1 else [["case", clause], *leaves]


# ── atoms ──────────────────────────────────────────────────────────────────────────────────────
def _rises(atom: AffineAtom, width: int) -> bool:
    return any(k == 2 * width for k, _ in atom.affine.variables)


def _risen(
    atom: AffineAtom, here: tuple[Fraction, list[Fraction]], there: tuple[Fraction, list[Fraction]]
) -> AffineAtom:
    """The atom with the rise of the potentials in place of the variable."""
    width = len(here[1])
    if not _rises(atom, width):
        return atom
    slopes = {k: x for k, x in atom.affine.variables if k != 2 * width}
    for k in range(width):
        slopes[k] = slopes.get(k, Fraction(0)) - here[1][k]
        slopes[width + k] = slopes.get(width + k, Fraction(0)) + there[1][k]
    variables = tuple((k, slopes[k]) for k in sorted(slopes) if slopes[k])
    return AffineAtom(Affine(atom.affine.constant + there[0] - here[0], variables, atom.affine.calls), atom.strict)
