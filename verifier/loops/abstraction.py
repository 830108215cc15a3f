"""`cycle`, decided: a graph of cells, refined where a cycle of cells may pay.

Cells that lie on no cycle are done with, and so is a strongly connected component that has potentials (`potentials`).
What is left has cycles of cells whose bounds add up to more than 0. Concrete loops are looked for there, and the cells
on such cycles are halved along the column on which the bounds lean most. Moves between halves are moves between their
parents, so that each round looks at the neighbourhood of what was split. Work is counted in bounded moves; nothing
depends on time, and a stop leaves the share of the cells that is settled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rewarden.verifier.loops.bounds import CHUNK, MoveBounds, Planes, Weights, joined
from rewarden.verifier.loops.concrete import LONGEST, loops_among, paying_loops
from rewarden.verifier.loops.partition import Cells
from rewarden.verifier.loops.potentials import Graph, components, exact_potentials, gridded, refined, relax, settles

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]

MOST_MOVES = 400_000  # between cells, at once: what memory is spent on
EXACT_MOVES = 4_000  # between cells of one record each, weighed in rational arithmetic
CLIMBS = 2  # loops among points that are judged, per round
LADDER = (4, 5, 6, 8, 10, 12, 16, 24, 32, 48, LONGEST)  # records of the loops that are sought by ascent, one a round
PATIENCE = 3  # rounds before that
LEAN = 0.25  # of the widest column against the one that the bounds lean on most


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """A component that has potentials: its cells, the slopes of the affine part, and p / 2^exponent (or p / `over`)."""

    cells: Cells
    tilt: Array
    potential: tuple[int, ...]
    scale: Fraction
    place: tuple[tuple[int, ...], ...]
    graph: Graph  # of these cells, with upper bounds of what moves add
    weight: Array


@dataclass(frozen=True, slots=True, eq=False)
class Dropped:
    """Cells that lie on no loop: without records (`empty`), or without a way round."""

    cells: Cells
    place: tuple[tuple[int, ...], ...]
    empty: bool


@dataclass(frozen=True, slots=True, eq=False)
class LoopOutcome:
    """`empty`: no loop satisfies the premise. `witness` is what `judge` or `climb` made of a loop that pays."""

    status: Literal["proved", "violated", "empty", "unknown"]
    moves: int
    settled: float
    witness: object = None
    parts: tuple[Settled, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    rounds: int = 0
    left: Cells | None = None  # of an outcome that is unknown: the cells that may lie on a loop that pays


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A graph of cells before its moves are weighed: what can be gone on from."""

    cells: Cells
    tilt: Array
    place: tuple[tuple[int, ...], ...]
    own: Planes | None
    graph: Graph
    weight: Array
    label: Index
    moves: int
    rounds: int
    parts: tuple[Settled, ...]
    dropped: tuple[Dropped, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """How a loop becomes a witness: `judge` replays records [record, column] exactly, `climb` looks for one in a
    cycle of cells (lo, hi [record, column]), `seek` among all loops of a number of records, from points [n, column]
    on. They return None where there is none. `example` is offered loops, if asked for, that do not pay but satisfy the
    premise."""

    judge: Callable[[Array], object]
    climb: Callable[[Array, Array], object]
    seek: Callable[[int, Array], object]
    example: Callable[[Array | None], bool]
    report: Callable[[float, int], None]
    stop: Callable[[], bool]


class Abstraction:
    """A graph of cells under refinement (mutable). `bare`: every move adds 1, so that any loop pays."""

    def __init__(
        self, bounds: MoveBounds, cells: Cells, weak: bool, search: Search, seed: int = 0, bare: bool = False
    ) -> None:
        self.bounds, self.weak, self.search, self.seed, self.bare = bounds, weak, search, seed, bare
        self.cells = cells
        self.tilt = np.full_like(cells.lo, np.nan)  # of the potentials; unknown as yet
        self.place: list[tuple[int, ...]] = [()] * len(cells)
        self.own: Planes | None = None  # of each cell, where the reward reads one record
        everything = np.arange(len(cells))
        self.graph = Graph(len(cells), np.repeat(everything, len(cells)), np.tile(everything, len(cells)))
        self.weight = np.full(len(self.graph.source), np.nan)
        self.fresh = np.ones(len(cells), dtype=np.bool_)  # cells that nothing is known of yet
        self.label = np.zeros(len(cells), dtype=np.int64)  # of each cell's component
        self.known: dict[tuple[float, ...], Fraction | None] = {}  # what a move between two records adds
        self.moves, self.rounds = 0, 0
        self.parts: list[Settled] = []
        self.dropped: list[Dropped] = []
        self.mark: Mark | None = None  # where it could be saved last
        self.put_there = False

    def put(self, mark: Mark) -> None:
        """Goes on from there."""
        self.cells, self.tilt, self.place, self.own = mark.cells, mark.tilt.copy(), list(mark.place), mark.own
        self.graph, self.weight, self.label = mark.graph, mark.weight.copy(), mark.label.copy()
        self.moves, self.rounds = mark.moves, mark.rounds
        self.parts, self.dropped = list(mark.parts), list(mark.dropped)
        self.fresh = np.zeros(len(mark.cells), dtype=np.bool_)
        self.mark, self.put_there = mark, True

    def _marked(self) -> Mark:
        return Mark(
            self.cells, self.tilt.copy(), tuple(self.place), self.own, self.graph, self.weight.copy(),
            self.label.copy(), self.moves, self.rounds, tuple(self.parts), tuple(self.dropped),
        )  # fmt: skip

    def run(self, budget: int) -> LoopOutcome:
        """Until a proof, a loop that pays, or `budget` moves have been bounded."""
        while True:
            if not self.put_there:
                self._refute()
                self._tangled()
                self.mark = self._marked()
            self.put_there = False
            if not len(self.cells):
                return self._outcome("proved" if self.parts else "empty")
            if self.moves + int(np.isnan(self.weight).sum()) > budget or len(self.weight) > MOST_MOVES:
                return self._outcome("unknown")
            if self.search.stop():
                return self._outcome("unknown")
            self._weigh()
            suspicious, witness = self._judge()
            if witness is not None:
                return self._outcome("violated", witness)
            self.search.report(self._share(), self.moves)
            if len(self.cells) and not self._split(suspicious):
                return self._outcome("unknown")
            self.rounds += 1

    def _outcome(
        self, status: Literal["proved", "violated", "empty", "unknown"], witness: object = None
    ) -> LoopOutcome:
        share = 1.0 if status in ("proved", "empty", "violated") else self._share()
        left = self.cells if status == "unknown" else None
        parts, dropped = tuple(self.parts), tuple(self.dropped)
        return LoopOutcome(status, self.moves, share, witness, parts, dropped, self.rounds, left)

    def _share(self) -> float:
        return max(0.0, 1.0 - float(self.cells.share.sum()))

    # ── what is left ───────────────────────────────────────────────────────────────────────────
    def _refute(self) -> None:
        """Drops new cells without records, and new moves that cannot be."""
        gone = np.zeros(len(self.cells), dtype=np.bool_)
        new = np.flatnonzero(self.fresh)
        gone[new] = self.bounds.no_record(self.cells.lo[new], self.cells.hi[new])
        self._drop(gone, empty=True)
        asked = np.flatnonzero(np.isnan(self.weight))
        impossible = np.zeros(len(self.weight), dtype=np.bool_)
        for start in range(0, len(asked), 2**16):
            some = asked[start : start + 2**16]
            impossible[some] = self.bounds.no_move(*self._pairs(some))
        self._keep_moves(~impossible)
        self.fresh[:] = False

    def _tangled(self) -> None:
        """Keeps the moves within components, and the cells that have some; each cell's place is noted, so that moves
        between components go from lower to higher places."""
        if not len(self.cells):
            return
        self.label, count = components(self.graph)
        label = self.label
        if count > 1:
            self.place = [(*place, int(k)) for place, k in zip(self.place, label, strict=True)]
        self._keep_moves(label[self.graph.source] == label[self.graph.target])
        busy = np.zeros(len(self.cells), dtype=np.bool_)
        busy[self.graph.source] = True
        self._drop(~busy, empty=False)

    def _drop(self, cells: Mask, empty: bool) -> None:
        gone = np.flatnonzero(cells)
        if len(gone):
            self.dropped.append(Dropped(self.cells.take(gone), tuple(self.place[k] for k in gone), empty))
            self._keep(~cells)

    def _keep(self, cells: Mask) -> None:
        if cells.all():
            return
        index = np.flatnonzero(cells)
        number = np.cumsum(cells) - 1
        moves = cells[self.graph.source] & cells[self.graph.target]
        source, target = number[self.graph.source[moves]], number[self.graph.target[moves]]
        self.graph = Graph(len(index), source, target)
        self.weight = self.weight[moves]
        self.cells, self.tilt = self.cells.take(index), self.tilt[index]
        self.fresh, self.label = self.fresh[index], self.label[index]
        self.place = [self.place[k] for k in index]
        if self.own is not None:
            self.own = self.own.take(index, len(self.bounds.rows))

    def _keep_moves(self, moves: Mask) -> None:
        self.graph, self.weight = self.graph.take(moves), self.weight[moves]

    def _pairs(self, moves: Index) -> tuple[Array, Array]:
        u, v = self.graph.source[moves], self.graph.target[moves]
        return np.hstack((self.cells.lo[u], self.cells.lo[v])), np.hstack((self.cells.hi[u], self.cells.hi[v]))

    # ── what moves add ─────────────────────────────────────────────────────────────────────────
    def _weigh(self) -> None:
        """Tilts of new cells, then bounds of new moves. A move without an alternative is none."""
        new = np.unique(self.graph.source[np.isnan(self.weight)])
        new = np.union1d(new, self.graph.target[np.isnan(self.weight)])
        untilted = new[np.isnan(self.tilt[new]).any(axis=1)]
        parts = []
        for start in range(0, len(untilted), CHUNK):
            some = untilted[start : start + CHUNK]
            lo, hi = (np.hstack((side[some], side[some])) for side in (self.cells.lo, self.cells.hi))
            planes = self.bounds.planes(lo, hi)
            parts.append(planes)
            slope = planes.rows.slope.numpy().reshape(len(some), len(self.bounds.rows), 2, -1).mean(axis=1)
            with np.errstate(over="ignore"):
                tilt = ((slope[:, 0] - slope[:, 1]) / 2).astype(np.float32).astype(np.float64)
            self.tilt[some] = np.nan_to_num(tilt, posinf=0.0, neginf=0.0)
        if self.bounds.over_record:
            self._own(untilted, parts)
        asked = np.flatnonzero(np.isnan(self.weight))
        for start in range(0, len(asked), CHUNK):
            some = asked[start : start + CHUNK]
            self.weight[some] = 1.0 if self.bare else self._weights(some).bound
        self.moves += len(asked)
        self._keep_moves(self.weight > -np.inf)

    def _own(self, cells: Index, parts: Sequence[Planes]) -> None:
        """Planes of single cells: of these, and of those that were known."""
        if not parts:
            return
        new = joined(parts)
        known = np.setdiff1d(np.arange(len(self.cells)), cells)
        if self.own is None or not len(known):
            everything, order = new, cells
        else:
            many = len(self.bounds.rows)
            everything, order = joined([self.own.take(known, many), new]), np.concatenate((known, cells))
        self.own = everything.take(np.argsort(order, kind="stable"), len(self.bounds.rows))

    def _weights(self, moves: Index) -> Weights:
        lo, hi = self._pairs(moves)
        u, v = self.graph.source[moves], self.graph.target[moves]
        tilt = np.hstack((self.tilt[u], -self.tilt[v]))
        if self.bounds.over_record:
            assert self.own is not None
            planes = self.own.take(u, len(self.bounds.rows))
        else:
            planes = self.bounds.planes(lo, hi)
        return self.bounds.weights(planes, lo, hi, tilt)

    # ── what they add up to ────────────────────────────────────────────────────────────────────
    def _judge(self) -> tuple[list[tuple[int, ...]], object]:
        """Settles what has potentials. Else: the suspicious cycles of cells, and the witness if some loop pays."""
        label = self.label
        wild = ~np.isfinite(self.weight)
        finite = self.graph.take(~wild)
        whole, exponent = gridded(self.weight[~wild], self.graph.count, self.weak)
        relaxed = relax(finite, whole)
        suspicious = list(relaxed.cycles)
        known = {cell for cycle in suspicious for cell in cycle}
        ends = np.unique(np.concatenate((self.graph.source[wild], self.graph.target[wild]))).tolist()
        suspicious += [(cell,) for cell in ends if cell not in known]
        tense = {int(label[cycle[0]]) for cycle in suspicious}
        calm = np.isin(label, sorted(tense), invert=True)
        inside = calm[finite.source] & calm[finite.target]
        if calm.any() and settles(finite.take(inside), whole[inside], relaxed.potential):
            chosen = np.flatnonzero(calm)
            self._settle(chosen, relaxed.potential[chosen].tolist(), Fraction(2) ** -exponent)
        else:
            calm[:] = False
        for number in sorted(tense):
            if self.bounds.rational and any(self._single(cycle) for cycle in suspicious if label[cycle[0]] == number):
                members = np.flatnonzero(label == number)
                settled, witness = self._exactly(members)
                if witness is not None:
                    return [], witness
                calm[members] = settled
        number_of = np.cumsum(~calm) - 1
        left = [tuple(int(number_of[cell]) for cell in cycle) for cycle in suspicious if not calm[cycle[0]]]
        self._keep(~calm)
        return left, self._concrete(left)

    def _settle(self, cells: Index, potential: list[int], scale: Fraction) -> None:
        if self.search.example(None):
            inside = np.isin(self.graph.source, cells)
            for loop in loops_among(self.bounds, self.cells, self.graph.take(inside), self.seed + self.rounds)[:CLIMBS]:
                self.search.example(loop)
        place = tuple(self.place[k] for k in cells)
        inside = np.isin(self.graph.source, cells) & np.isin(self.graph.target, cells)
        number = np.zeros(len(self.cells), dtype=np.int64)
        number[cells] = np.arange(len(cells))
        graph = Graph(len(cells), number[self.graph.source[inside]], number[self.graph.target[inside]])
        parts = self.cells.take(cells), self.tilt[cells], tuple(potential), scale, place
        self.parts.append(Settled(*parts, graph, self.weight[inside]))

    def _single(self, cells: Sequence[int]) -> bool:
        """Does each of these hold one record, as far as anything reads it?"""
        index = np.array(cells)
        return bool((self.cells.lo[index] == self.cells.hi[index])[:, self.bounds.reads].all())

    def _exactly(self, members: Index) -> tuple[bool, object]:
        """A component with a cycle of single records, in rational arithmetic: is it settled? Or a loop that pays."""
        number = {int(cell): k for k, cell in enumerate(members)}
        inside = np.flatnonzero(np.isin(self.graph.source, members))
        if len(inside) > EXACT_MOVES or self.bounds.program.curved:  # smooth rewards have no rational values
            return False, None
        centres = self.cells.centres()
        moves: list[tuple[int, int, Fraction]] = []
        for move in inside.tolist():
            u, v = int(self.graph.source[move]), int(self.graph.target[move])
            if self._single((u, v)):
                added = self._exact_weight(centres[u], centres[v], self.tilt[u], self.tilt[v])
                if added is not None:
                    moves.append((number[u], number[v], added))
            elif np.isfinite(self.weight[move]):
                moves.append((number[u], number[v], Fraction(float(self.weight[move]))))
            else:
                return False, None
        over = lcm(*(added.denominator for _, _, added in moves))
        whole = [(u, v, int(added * over)) for u, v, added in moves]
        potential, cycle = exact_potentials(len(members), whole, self.weak)
        if cycle is None:
            self._settle(members, potential, Fraction(1, over * (len(members) + 1)))
            return True, None
        chosen = members[list(cycle)]
        if not self._single(chosen.tolist()):
            return False, None
        return False, self.search.judge(centres[chosen])

    def _exact_weight(self, a: Array, b: Array, here: Array, there: Array) -> Fraction | None:
        """What the move adds, with the affine parts of the potentials; None if the rule has no such move."""
        point = tuple(Fraction(float(x)) for x in (*a, *b))
        key = (*a.tolist(), *b.tolist())
        if key not in self.known:
            self.known[key] = self.bounds.exactly(point)
        added = self.known[key]
        tilt = [Fraction(float(t)) for t in here] + [-Fraction(float(t)) for t in there]
        if self.bare and added is not None:
            return Fraction(1)
        return None if added is None else added + sum(t * x for t, x in zip(tilt, point, strict=True))

    # ── loops that pay ─────────────────────────────────────────────────────────────────────────
    def _concrete(self, suspicious: list[tuple[int, ...]]) -> object:
        """The witness of a loop that pays: among points of what is left, or by ascent in a cycle of cells."""
        if not suspicious:
            return None
        seed = self.seed + self.rounds
        loops = (
            loops_among(self.bounds, self.cells, self.graph, seed)
            if self.bare
            else paying_loops(self.bounds, self.cells, self.graph, self.weak, seed)
        )
        for loop in loops[:CLIMBS]:
            witness = self.search.judge(loop)
            if witness is not None:
                return witness
        rung = self.rounds - PATIENCE
        if self.bare or rung < 0:
            return None
        cycle = list(min((len(some), some) for some in suspicious)[1])
        witness = None
        if rung < len(LADDER):
            everywhere = sorted({cell for some in suspicious for cell in some})
            witness = self.search.seek(LADDER[rung], self.cells.centres()[everywhere])
        if witness is None and len(cycle) <= LONGEST:
            witness = self.search.climb(self.cells.lo[cycle], self.cells.hi[cycle])
        return witness

    # ── refinement ─────────────────────────────────────────────────────────────────────────────
    def _split(self, suspicious: list[tuple[int, ...]]) -> bool:
        """Halves every cell on a suspicious cycle that can be; whether there was one."""
        wanted = np.unique([cell for cycle in suspicious for cell in cycle]).astype(np.int64)
        able = self.cells.cuttable() & self.bounds.reads
        cut = wanted[able[wanted].any(axis=1)]
        if not len(cut):
            return False
        score = np.where(able, self._lean(suspicious), -1.0)
        axis = score[cut].argmax(axis=1)
        halves = self.cells.take(cut).halves(axis)
        index, self.graph, self.weight = refined(self.graph, self.weight, cut)
        self._replace(index, cut, halves)
        return True

    def _replace(self, index: Index, cut: Index, halves: Cells) -> None:
        """The cells `index` stay, the cells `cut` make way for their halves."""
        self.cells = self.cells.take(index).joined(halves)
        self.tilt = np.concatenate((self.tilt[index], np.full_like(halves.lo, np.nan)))
        self.place = [self.place[k] for k in (*index, *cut, *cut)]
        self.label = np.zeros(len(self.cells), dtype=np.int64)
        self.fresh = np.concatenate((np.zeros(len(index), dtype=np.bool_), np.ones(len(halves), dtype=np.bool_)))
        if self.own is not None:
            self.own = self.own.take(np.concatenate((index, cut, cut)), len(self.bounds.rows))

    def _lean(self, suspicious: list[tuple[int, ...]]) -> Array:
        """[cell, column]: how far the bounds of the moves on suspicious cycles lean, as shares, and a little of how
        wide the cell is."""
        pairs = {(u, v) for cycle in suspicious for u, v in zip(cycle, (*cycle[1:], cycle[0]), strict=True)}
        key = self.graph.source * self.graph.count + self.graph.target
        asked = np.flatnonzero(np.isin(key, [u * self.graph.count + v for u, v in sorted(pairs)]))
        width = self.cells.hi - self.cells.lo
        found = np.zeros_like(width)
        for start in range(0, len(asked), CHUNK):
            some = asked[start : start + CHUNK]
            slope = np.nan_to_num(np.abs(self._weights(some).slope), posinf=0.0)
            u, v = self.graph.source[some], self.graph.target[some]
            np.add.at(found, u, slope[:, : self.bounds.width] * width[u])
            np.add.at(found, v, slope[:, self.bounds.width :] * width[v])
        shares = found / np.maximum(found.sum(axis=1, keepdims=True), 1e-300)
        score: Array = shares + LEAN * width / np.where(self.cells.range > 0, self.cells.range, 1.0)
        return score
