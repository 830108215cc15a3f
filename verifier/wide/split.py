"""The search: boxes that bounds settle, and for the others the signs of neurons, two cases at a time.

What is refuted are the alternatives of a violation (`alternatives`): one is dead on a box where the lower bound of one
of its rows is above 0. First every box is looked at with intervals, then with back-substitution. What is left becomes
cases: a box, one row, and neurons that are held to a sign. The lines below unstable neurons and the multipliers of held
ones are improved by a few steps of gradient ascent (Xu et al., Fast and Complete, ICLR 2021); they are free parameters,
so whatever comes out is valid, and the bound that counts is computed anew, with its rounding errors. A case that stays
open is told apart by the sign of the neuron whose relaxation costs most, which covers it.

Boxes do not share anything, so that they are bounded on all cores, in chunks whose results do not depend on how many
there are.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from threading import Event
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewarden.spec_lang.boxes import RowBoxes
from rewarden.verifier.alternatives import alternatives
from rewarden.verifier.exact_program import Point
from rewarden.verifier.program import Program
from rewarden.verifier.rounding import outward
from rewarden.verifier.wide.bounds import (
    Known,
    Lines,
    all_rows,
    default_lines,
    known_by_intervals,
    lower_rows,
    one_row,
    rows_about,
)
from rewarden.verifier.wide.network import Network, Node, network_of, rows_of
from rewarden.verifier.wide.sharpen import sharpened

TURN = 1024  # boxes for each core between two reports
QUICK = 256  # boxes of a chunk that intervals are taken of: its arrays stay near the cache
DEEP = 128  # boxes of a chunk that is back-substituted
CASES = 64  # cases bounded at once
STEPS = 16  # of gradient ascent for each batch of cases
RATE, DECAY = 0.25, 0.9
LONGEST = 2**13  # cases of one box that wait, at most
FIRST_TURN = 64  # cases of a box before another has its turn; each round doubles it
SUSPECTS = 4  # points of a batch that are judged exactly
Boxes = NDArray[np.int64]

WORKERS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class SignsOutcome:
    """`open`: boxes that are not settled; `settled`: the share of boxes that are. `boxes`: bounded in this run."""

    status: Literal["proved", "violated", "unknown"]
    boxes: int
    settled: float
    open: tuple[int, ...] = ()
    point: Point | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Cases:
    """Cases of a box: [case] box, row; what is known; by node the signs of held neurons and their multipliers.

    `bound` [case]: a lower bound of the row, found for the case that this is a part of. It is one of the part as well,
    whose own bound may be worse, as its relaxations are others; then this one stays. No case is settled by that: one
    with a bound above 0 is not split.
    """

    box: Tensor
    row: Tensor
    bound: Tensor
    known: Known
    signs: list[Tensor]
    slopes: list[Tensor]
    multipliers: list[Tensor]

    def take(self, index: Tensor) -> _Cases:
        def rows(tensors: list[Tensor]) -> list[Tensor]:
            return [t[index] for t in tensors]

        return _Cases(
            self.box[index], self.row[index], self.bound[index], self.known.take(index), rows(self.signs),
            rows(self.slopes), rows(self.multipliers),
        )  # fmt: skip


@dataclass(slots=True, eq=False)
class _Hard:
    """A box at work (mutable): the cases that wait, or None before there are any, and how many it has had this turn."""

    box: int
    waiting: list[_Cases] | None = None
    turn: int = 0


class Signs:
    """Boxes of a claim (mutable): goes on where it stopped."""

    def __init__(
        self, program: Program, network: Network, ways: Sequence[Sequence[int]], rows: Node, boxes: Boxes | None
    ) -> None:
        claim = program.claim
        self.network, self.rows = network, rows
        self.ways = [torch.tensor(way) for way in ways]
        lo, hi = _arrays(claim.boxes, np.array([v.discrete for v in claim.variables], dtype=np.bool_))
        whole = boxes is None or len(boxes) == len(lo)
        self.lo, self.hi = (lo, hi) if whole else (lo[torch.from_numpy(boxes)], hi[torch.from_numpy(boxes)])
        self.discrete = torch.tensor([v.discrete for v in claim.variables])
        self.count = int(self.lo.shape[0])
        self.empty = (self.lo > self.hi).any(-1)
        self.fresh = (~self.empty).nonzero()[:, 0]
        self.looked = 0  # of `fresh`
        self.spent = self.begun = 0  # boxes and cases, by now and at the beginning of the last run
        self.end: int | None = None  # and at its end, if it was stopped or is under way
        self.hard: deque[_Hard] = deque()  # the first one is at work
        self.failed: set[int] = set()
        self.allowance, self.turns = FIRST_TURN, 0  # cases of one turn, and boxes that have had theirs in this round

    @staticmethod
    def of(program: Program, boxes: Boxes | None = None) -> Signs | None:
        """Of those `boxes` of the claim (numbered as they stand there), or of all. None for claims with too many
        alternatives, or one that asks nothing (any record violates the rule), or layers that are neither linear nor
        relus."""
        ways = alternatives(program.claim)
        network = network_of(program) if ways is not None and all(ways) else None
        if network is None or ways is None:
            return None
        first = np.cumsum([0, *(len(way) for way in ways)]).tolist()
        rows = rows_of(program, network, [affine for way in ways for affine in way])
        return Signs(program, network, [range(a, b) for a, b in pairwise(first)], rows, boxes)

    # ── the loop ───────────────────────────────────────────────────────────────────────────────
    def run(
        self,
        budget: int,
        violates: Callable[[Point], bool],
        report: Callable[[float, int], None],
        stop: Callable[[], bool],
    ) -> SignsOutcome:
        """Up to `budget` more boxes and cases; a run that was stopped goes on to its own end."""
        if self.end is None:
            self.begun, self.end = self.spent, self.spent + budget
        while self.spent < self.end and not stop():
            if self.looked < len(self.fresh):
                self.spent += self._look(min(self.end - self.spent, WORKERS * TURN), stop)
            elif self.hard:
                done, point = self._advance(self.hard[0], min(CASES, self.end - self.spent))
                self.spent += done
                if point is not None and violates(point):
                    return SignsOutcome("violated", self.spent - self.begun, 1.0, point=point)
            else:
                break
            report(self._settled(), self.spent - self.begun)
        left = self._left()
        if self.spent >= self.end or not (self.looked < len(self.fresh) or self.hard):
            self.end = None
        return SignsOutcome("unknown" if left else "proved", self.spent - self.begun, self._settled(), left)

    def _left(self) -> tuple[int, ...]:
        unseen = self.fresh[self.looked :].tolist()
        return tuple(sorted({*unseen, *(hard.box for hard in self.hard), *self.failed}))

    def _settled(self) -> float:
        open_boxes = len(self.fresh) - self.looked + len(self.hard) + len(self.failed)
        return 1.0 - open_boxes / max(1, self.count)

    # ── boxes at large ─────────────────────────────────────────────────────────────────────────
    def _look(self, count: int, stop: Callable[[], bool]) -> int:
        """The next boxes, with intervals and then with back-substitution; what stays open is `hard`. Nothing has
        happened if it is stopped."""
        chosen = self.fresh[self.looked : self.looked + count]
        halted = Event()
        deep = []
        with ThreadPoolExecutor(WORKERS, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            alive = list(pool.map(self._quick, torch.split(chosen, QUICK)))
            rest = chosen[torch.cat([part.any(-1) for part in alive])]
            for part in pool.map(lambda some: some if halted.is_set() else self._deep(some), torch.split(rest, DEEP)):
                deep.append(part)
                if stop():
                    halted.set()
        if halted.is_set():
            return 0
        self.looked += len(chosen)
        self.hard.extend(_Hard(box) for part in deep for box in part.tolist())
        return len(chosen)

    def _alive(self, bound: Tensor) -> Tensor:
        """[box, alternative]: may it hold somewhere? A rule that nothing can violate has no alternatives."""
        if not self.ways:
            return torch.zeros((bound.shape[0], 0), dtype=torch.bool)
        return torch.stack([(bound[:, way] <= 0).all(-1) for way in self.ways], -1)

    def _quick(self, chosen: Tensor) -> Tensor:
        with torch.no_grad():
            known = known_by_intervals(self.network, self.lo[chosen], self.hi[chosen])
            found = lower_rows(self.network, known, default_lines(known), all_rows(known, self.rows))
            return self._alive(found.bound)

    def _deep(self, chosen: Tensor) -> Tensor:
        """Those that stay open."""
        with torch.no_grad():
            known = sharpened(self.network, known_by_intervals(self.network, self.lo[chosen], self.hi[chosen]))
            found = lower_rows(self.network, known, default_lines(known), all_rows(known, self.rows))
            return chosen[self._alive(found.bound).any(-1)]

    # ── one box, by signs ──────────────────────────────────────────────────────────────────────
    def _open(self, hard: _Hard) -> None:
        """The first cases of a box: one for each alternative that is alive, about its best row."""
        chosen = torch.tensor([hard.box])
        with torch.no_grad():
            known = sharpened(self.network, known_by_intervals(self.network, self.lo[chosen], self.hi[chosen]))
            bound = lower_rows(self.network, known, default_lines(known), all_rows(known, self.rows)).bound
        alive = self._alive(bound)[0].nonzero()[:, 0].tolist()
        rows = torch.tensor([int(self.ways[a][bound[0, self.ways[a]].argmax()]) for a in alive], dtype=torch.int64)
        repeated = torch.zeros(len(alive), dtype=torch.int64)
        first = bound[0, rows]
        widths = [0, *(node.width for node in self.network.nodes)]
        signs = [torch.zeros(len(alive), w, dtype=torch.int8) for w in widths]
        slopes = [torch.full((len(alive), w), torch.nan, dtype=torch.float64) for w in widths]
        multipliers = [torch.zeros(len(alive), w, dtype=torch.float64) for w in widths]
        hard.waiting = [_Cases(chosen[repeated], rows, first, known.take(repeated), signs, slopes, multipliers)]

    def _advance(self, hard: _Hard, count: int) -> tuple[int, Point | None]:
        """Bounds the newest cases of the first box and splits those that stay open; then it may be another's turn."""
        if hard.waiting is None:
            self._open(hard)
        assert hard.waiting is not None
        batch = hard.waiting.pop()
        size = int(batch.row.numel())
        if size > count:
            hard.waiting.append(batch.take(torch.arange(count, size)))
            batch, size = batch.take(torch.arange(count)), count
        batch = self._improved(batch)
        with torch.no_grad():
            start = one_row(batch.known, self.rows, batch.row)
            found = lower_rows(self.network, batch.known, _lines(batch), start, costs=True)
        bound = torch.maximum(found.bound[:, 0], batch.bound)
        left = (bound <= 0).nonzero()[:, 0]
        point = None
        if left.numel():
            rest = replace(batch, bound=bound).take(left)
            point = self._suspect(rest, found.slope[left, 0])
            widths = [0, *(node.width for node in self.network.nodes), 1]  # a last one that costs nothing
            cost, weight = (
                torch.cat([_entry(part, k, size, width) for k, width in enumerate(widths)], -1)[left]
                for part in (found.cost, found.weight)
            )
            most, at = cost.max(-1)
            if bool((most <= 0).any()) or sum(int(c.row.numel()) for c in hard.waiting) > LONGEST:
                self.failed.add(hard.box)  # nothing is left to tell apart, or too much
                hard.waiting = []
            else:
                hard.waiting.append(self._split(rest, at, weight.gather(-1, at[:, None])[:, 0]))
        hard.turn += size
        if not hard.waiting:
            self.hard.popleft()
        elif hard.turn >= self.allowance:
            hard.turn = 0
            self.hard.rotate(-1)
            self.turns += 1
        if self.turns >= len(self.hard):
            self.allowance, self.turns = 2 * self.allowance, 0
        return size, point

    def _split(self, open_cases: _Cases, at: Tensor, weight: Tensor) -> _Cases:
        """Both signs of neuron `at` (counted over all nodes) of each case. `weight`: of its output in the row.

        A weight of at least 0 was on the line slope·z. Held to its sign, the neuron is z or 0, and the multiplier
        weight·(1 − slope) or weight·slope makes the same line of it: the ascent starts from what the whole case has.
        """
        double = torch.arange(len(at)).repeat_interleave(2)
        cases = open_cases.take(double)
        sign = torch.tensor([1, -1], dtype=torch.int8).repeat(len(at))
        offset = 0
        for k, node in enumerate(self.network.nodes, start=1):
            mine = ((at >= offset) & (at < offset + node.width))[double].nonzero()[:, 0]
            neuron = (at[double] - offset)[mine]
            cases.signs[k][mine, neuron] = sign[mine]
            slope = cases.slopes[k][mine, neuron]
            share = torch.where(sign[mine] > 0, 1.0 - slope, slope)
            cases.multipliers[k][mine, neuron] = weight[double][mine].clamp(min=0.0) * share
            on, off = mine[sign[mine] > 0], mine[sign[mine] < 0]
            cases.known.lo[k][on, neuron[sign[mine] > 0]] = 0.0
            cases.known.hi[k][off, neuron[sign[mine] < 0]] = 0.0
            offset += node.width
        with torch.no_grad():
            sharpened(self.network, cases.known)
        return cases

    def _improved(self, cases: _Cases) -> _Cases:
        """The same cases with better slopes and multipliers, found by gradient ascent: hints, that is."""
        if not self.network.nodes:
            return cases
        unstable = [(lo < 0) & (hi > 0) for lo, hi in zip(cases.known.lo, cases.known.hi, strict=True)]
        default = default_lines(cases.known)
        slopes = [cases.slopes[0]] + [
            torch.where(torch.isnan(old), line, old).requires_grad_()
            for old, line in zip(cases.slopes[1:], default.lower[1:], strict=True)
        ]
        multipliers = [cases.multipliers[0]] + [m.clone().requires_grad_() for m in cases.multipliers[1:]]
        parameters = [*slopes[1:], *multipliers[1:]]
        start = one_row(cases.known, self.rows, cases.row)
        best, rounding = torch.full((cases.row.numel(),), -torch.inf, dtype=torch.float64), None
        kept_slopes, kept = [s.detach().clone() for s in slopes], [m.detach().clone() for m in multipliers]
        optimiser = torch.optim.Adam(parameters, lr=RATE)
        for step in range(STEPS):
            lower = [torch.zeros(0)] + [
                torch.where(u, s, line) for u, s, line in zip(unstable[1:], slopes[1:], default.lower[1:], strict=True)
            ]
            held = [None] + [m * s for m, s in zip(multipliers[1:], cases.signs[1:], strict=True)]
            lines = Lines(lower, default.upper, default.intercept, held)
            bound = rows_about(self.network, cases.known, lines, start)[:, 0]
            with torch.no_grad():
                if rounding is None:  # about what it will take off the bound that counts
                    rounding = 2.0 * (bound - lower_rows(self.network, cases.known, _fixed(lines), start).bound[:, 0])
                better = bound > best
                best = torch.where(better, bound, best)
                for kept_list, now in ((kept_slopes, slopes), (kept, multipliers)):
                    for old, new in zip(kept_list[1:], now[1:], strict=True):
                        old[better] = new.detach()[better]
                if bool((best > rounding).all()):
                    break
            if step == STEPS - 1 or not bound.requires_grad:  # rows that read no neuron cannot be improved
                break
            optimiser.zero_grad()
            (-bound.clamp(max=1e-3, min=-1e6).sum()).backward()  # type: ignore[no-untyped-call]
            optimiser.param_groups[0]["lr"] = RATE * DECAY**step
            optimiser.step()
            with torch.no_grad():
                for s in slopes[1:]:
                    s.clamp_(0.0, 1.0)
                for m in multipliers[1:]:
                    m.clamp_(min=0.0)
        return replace(cases, slopes=kept_slopes, multipliers=kept)

    def _suspect(self, cases: _Cases, slope: Tensor) -> Point | None:
        """A point of the box that looks like a violation, where the lowest bounds have their least values."""
        worst = cases.bound.argsort(stable=True)[:SUSPECTS]
        lo, hi = self.lo[cases.box[worst]], self.hi[cases.box[worst]]
        points = torch.where(slope[worst] > 0, lo, hi)
        points = torch.where(self.discrete, points.round(), points)
        values = self._values(points)
        for i, point in enumerate(points):
            if any(bool((values[i, way] <= 0).all()) for way in self.ways):
                return tuple(Fraction(x) for x in point.tolist())
        return None

    def _values(self, points: Tensor) -> Tensor:
        """The rows at points, in plain floats."""
        outputs = [points]
        for node in (*self.network.nodes, self.rows):
            z = node.bias + sum(
                (outputs[m.source] @ m.weight.T for m in node.maps), torch.zeros(len(points), 1, dtype=torch.float64)
            )
            outputs.append(z.clamp(min=0.0))
        return z


def _lines(cases: _Cases) -> Lines:
    default = default_lines(cases.known)
    lower = [torch.zeros(0)]
    held: list[Tensor | None] = [None]
    for k in range(1, len(cases.signs)):
        unstable = (cases.known.lo[k] < 0) & (cases.known.hi[k] > 0)
        lower.append(torch.where(unstable, cases.slopes[k], default.lower[k]))
        held.append(cases.multipliers[k] * cases.signs[k])
    return Lines(lower, default.upper, default.intercept, held)


def _fixed(lines: Lines) -> Lines:
    held = [None if multipliers is None else multipliers.detach() for multipliers in lines.held]
    return Lines([slopes.detach() for slopes in lines.lower], lines.upper, lines.intercept, held)


def _entry(cost: dict[int, Tensor], k: int, size: int, width: int) -> Tensor:
    return cost[k][:, 0] if k in cost else torch.zeros(size, width, dtype=torch.float64)


def _arrays(boxes: Sequence[Sequence[tuple[Fraction, Fraction]]], discrete: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
    """Float64 bounds that contain the exact boxes; those of discrete variables rounded to integers inside."""
    if isinstance(boxes, RowBoxes):
        lo, hi = boxes.outward
    else:
        pairs = [outward(box) for box in boxes]
        lo, hi = (np.stack([pair[i] for pair in pairs]) for i in (0, 1))
    lo, hi = np.where(discrete, np.ceil(lo), lo), np.where(discrete, np.floor(hi), hi)
    return torch.from_numpy(lo), torch.from_numpy(hi)
