"""Which box is judged next, and where it is cut: the largest first, at the edges of the premise first.

A larger budget goes on where a smaller one stops, so no share that is settled ever shrinks with it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewarden.spec_lang.claim import AffineAtom, Box, Claim
from rewarden.spec_lang.features import RecordType
from rewarden.verifier.box_minimum import Boxes
from rewarden.verifier.coverage.judge import FALSE, OPEN, TRUE, Judge, Judged, Marks, constants_of
from rewarden.verifier.coverage.parts import Coverage, Status, coverage_of
from rewarden.verifier.narrowing import narrowed, single_atoms
from rewarden.verifier.program import Program
from rewarden.verifier.progress import Stop
from rewarden.verifier.regions import Frame, Side, ratio
from rewarden.verifier.rounding import outward
from rewarden.verifier.splitting import Axes, Cuts, choose_cuts

BATCH = 256
LARGEST = 2**20  # boxes times variables: their exact ends are kept
FACES = 64  # of the boxes around one row that are looked at, at most


Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Open:
    """A box that is not settled, exact and as floats that enclose it; what is known of its atoms, its sides, its share
    of the region. `holds`: the goals are known to hold in it wherever the premise does."""

    instance: int
    box: Box
    lo: Floats
    hi: Floats
    marks: Marks
    sides: tuple[Side | int, ...]
    share: Fraction
    holds: bool = False


def cover(
    program: Program,
    frame: Frame,
    budget: int,
    stop: Stop,
    report: Callable[[float, int], None] | None = None,
    *,
    proved: bool = False,
    compiled: Callable[[Claim], Program] | None = None,
    failing: int | None = None,
) -> Coverage | None:
    """What `budget` boxes settle of the claim's region, by volume; of an executed program, for all its executions. A
    stop leaves the rest unsettled. None for what cannot be measured: enums of very many cases, boxes that hold no
    case, very many boxes of very many variables. `proved`: the claim is known to hold, so that only its premise is to
    be measured. `frame` is of the claim with its constants as points (`frame_of`). `compiled`: calls are bounded apart
    (`Judge`). `failing`: a box of the claim in which it is known to fail."""
    size = len(program.claim.boxes) * len(program.claim.variables)
    if not frame.tellable or size > LARGEST:
        return None
    if not all(frame.share(sides, i) for i, sides in enumerate(frame.bases)):
        return None
    search = _Search(Judge(program, compiled), frame, proved, failing)
    with torch.no_grad():
        while search.heap and search.boxes < budget and not stop():
            search.step(min(BATCH, budget - search.boxes))
            if report is not None:
                report(search.settled, search.boxes)
    return search.result()


def frame_of(program: Program, types: Mapping[str, RecordType]) -> Frame:
    """The frame that a program's region is measured in: of its constants there is one value each, whichever it is."""
    claim, constants = program.claim, constants_of(program)
    if constants:
        boxes = [tuple((lo, lo if i in constants else hi) for i, (lo, hi) in enumerate(box)) for box in claim.boxes]
        claim = replace(claim, boxes=boxes)
    return Frame.of(claim, types)


class _Search:
    """The parts so far, and a heap of open boxes (mutable)."""

    def __init__(self, judge: Judge, frame: Frame, proved: bool, failing: int | None = None) -> None:
        self.claim: Claim = judge.claim
        self.frame, self.proved, self.judge, self.failing = frame, proved, judge, failing
        self.by_row = self.claim.instances is not None and not proved
        self.faces: dict[int, set[Box] | None] = {}  # of each row: what is to be looked at again; None: it is not told
        self.boxes, self.within, self.pushed = 0, Fraction(0), 0
        self.settled = 0.0
        self.found: dict[Status, list[tuple[int, tuple[Side | int, ...]]]] = {
            "proved": [], "violated": [], "outside": [], "unsettled": []
        }  # fmt: skip
        self.heap: list[tuple[float, int, _Open]] = []
        groups = tuple(d.variables for d in frame.dimensions if d.kind == "enum")
        self.dimension_of = {v: d for d, dimension in enumerate(frame.dimensions) for v in dimension.variables}
        self.discrete = np.array([v.discrete for v in self.claim.variables])
        premise = [judge.clauses[k] for k, clause in enumerate(self.claim.clauses) if not _is_one_hot(clause, groups)]
        self.never = any(not clause for clause in premise)  # no point satisfies an empty clause
        self.premise = np.array([k for clause in premise for k in clause], np.intp)
        self.starts = np.cumsum([0, *(len(clause) for clause in premise)])
        lo, hi = self._roots()
        self.axes = Axes(torch.from_numpy(self.discrete), self._matters(), torch.from_numpy((hi - lo).max(axis=0)))

    def _roots(self) -> tuple[Floats, Floats]:
        """Pushes the claim's boxes; their bounds in floats [box, variable]."""
        nothing = np.zeros(len(self.judge.atoms), np.int8)
        pairs = []
        for instance, box in enumerate(self.claim.boxes):
            sides = self.frame.bases[instance]
            tidy = list(box)
            for d, dimension in enumerate(self.frame.dimensions):
                if dimension.kind == "enum":
                    _choose(tidy, dimension.variables, sides[d])
            lo, hi = outward(tidy)
            lo, hi = np.where(self.discrete, np.ceil(lo), lo), np.where(self.discrete, np.floor(hi), hi)
            pairs.append((lo, hi))
            share = self.frame.share(sides, instance)
            self._push(_Open(instance, tuple(tidy), lo, hi, nothing, sides, share, self.proved))
        return np.stack([lo for lo, _ in pairs]), np.stack([hi for _, hi in pairs])

    def _matters(self) -> Tensor:
        matters = torch.from_numpy(self.judge.matters())
        matters[sorted(self.judge.constants_at)] = False
        return matters

    def _push(self, one: _Open) -> None:
        if one.share:
            self.pushed += 1
            heapq.heappush(self.heap, (-float(one.share), self.pushed, one))

    def _child(self, one: _Open, variable: int, side: tuple[Fraction, Fraction], marks: Marks, holds: bool) -> None:
        """Pushes the part of a box in which a variable is in `side`."""
        d = self.dimension_of[variable]
        dimension = self.frame.dimensions[d]
        box = [*one.box[:variable], side, *one.box[variable + 1 :]]
        now = self.frame.side(dimension, tuple(box))
        if now == 0:
            return
        if dimension.kind == "enum":
            _choose(box, dimension.variables, now)
        lo, hi = one.lo.copy(), one.hi.copy()
        for v in dimension.variables:
            least, most = outward([box[v]])
            lo[v], hi[v] = least[0], most[0]
        sides = (*one.sides[:d], now, *one.sides[d + 1 :])
        share = one.share * ratio(now, one.sides[d])
        self._push(_Open(one.instance, tuple(box), lo, hi, marks, sides, share, holds))

    # ── a batch ────────────────────────────────────────────────────────────────────────────────
    def step(self, count: int) -> None:
        batch = [heapq.heappop(self.heap)[2] for _ in range(min(count, len(self.heap)))]
        self.boxes += len(batch)
        lo, hi = np.stack([one.lo for one in batch]), np.stack([one.hi for one in batch])
        boxes = Boxes(torch.from_numpy(lo), torch.from_numpy(hi))
        judged = self.judge.judge(boxes, [one.box for one in batch], np.stack([one.marks for one in batch]))
        left: list[int] = []
        outside, inside = self._premise_of(judged.atoms)
        for i, one in enumerate(batch):
            within = bool(inside[i])
            status = "outside" if outside[i] else self._status(judged, i, one.holds, within)
            if status == "proved" and not within and self._cut_at_edge(one, judged, i):
                continue
            if status == "unsettled":
                left.append(i)
                continue
            if self.by_row and status != "violated" and not self.judge.held(judged, i, one.box):
                self._look_again(one)
            self.found[status].append((one.instance, one.sides))
            self.settled += float(one.share)
            self.within += one.share * within
        if left:
            self._cut([batch[i] for i in left], left, boxes, judged)

    def _cut_at_edge(self, one: _Open, judged: Judged, i: int) -> bool:
        """A box in which the rule holds is cut no further than the edges of its premise go."""
        for k in self._undecided_premise(judged.atoms[i]):
            edge = self.judge.edge(self.judge.atoms[k], one.box)
            if edge is not None:
                self._halve(one, edge, judged, i, holds=True)
                return True
        return False

    def _premise_of(self, marks: Marks) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """[box]: whether the premise holds nowhere, and everywhere inside the box."""
        none, everywhere = np.full(len(marks), self.never), np.ones(len(marks), np.bool_)
        if len(self.premise) and not self.never:
            here = marks[:, self.premise]
            none |= np.logical_and.reduceat(here == FALSE, self.starts[:-1], axis=1).any(axis=1)
            everywhere &= np.logical_or.reduceat(here == TRUE, self.starts[:-1], axis=1).all(axis=1)
        return none, everywhere & ~none

    def _status(self, judged: Judged, i: int, holds: bool, within: bool) -> Status:
        """What is known of a box in which the premise may hold; `within`: it does everywhere."""
        if holds or judged.goals[i].all():
            return "proved"
        if within and any(all(judged.atoms[i][k] == FALSE for k in goal) for goal in self.judge.goals):
            return "violated"
        return "unsettled"

    def _cut(self, batch: Sequence[_Open], rows: Sequence[int], boxes: Boxes, judged: Judged) -> None:
        wanted = [self._undecided(judged, i) for i in rows]
        edges = [self._edge(one, atoms) for one, atoms in zip(batch, wanted, strict=True)]
        free = [n for n, edge in enumerate(edges) if edge is None]
        if free:
            index = torch.tensor([rows[n] for n in free])
            steep = self._steepness(index, [wanted[n] for n in free], boxes, judged)
            cuts = choose_cuts(boxes.take(index), steep, self.axes)
            for place, n in enumerate(free):
                edges[n] = _chosen(batch[n], cuts, place)
        for one, i, cut in zip(batch, rows, edges, strict=True):
            if cut is None:
                self.found["unsettled"].append((one.instance, one.sides))
            else:
                self._halve(one, cut, judged, i, holds=False)

    def _halve(self, one: _Open, cut: tuple[int, Fraction], judged: Judged, i: int, *, holds: bool) -> None:
        variable, at = cut
        # Marks of atoms that call rewards hold where the facts do; that is not all of a box on which they are open.
        marks = judged.atoms[i].copy()
        marks[list(self.judge.calling)] = OPEN
        for side in _sides(one.box[variable], at, bool(self.discrete[variable])):
            self._child(one, variable, side, marks, holds)

    def _undecided(self, judged: Judged, i: int) -> list[int]:
        """Atoms on which the status of a box hangs: of clauses that are open, then of goals that are."""
        goals = [goal for g, goal in enumerate(self.judge.goals) if not judged.goals[i, g]]
        marks = judged.atoms[i]
        return self._undecided_premise(marks) + [k for goal in goals for k in goal if marks[k] == OPEN]

    def _undecided_premise(self, marks: Marks) -> list[int]:
        here = marks[self.premise]
        if not len(here) or self.never:
            return []
        settled = np.logical_or.reduceat(here == TRUE, self.starts[:-1])
        found: list[int] = self.premise[~np.repeat(settled, np.diff(self.starts)) & (here == OPEN)].tolist()
        return found

    def _edge(self, one: _Open, wanted: Sequence[int]) -> tuple[int, Fraction] | None:
        """The first edge of an atom that is open."""
        edges = (self.judge.edge(self.judge.atoms[k], one.box) for k in wanted)
        return next((edge for edge in edges if edge is not None), None)

    def _steepness(self, index: Tensor, wanted: Sequence[Sequence[int]], boxes: Boxes, judged: Judged) -> Tensor:
        """How much each open atom may change along each variable, every atom given the same weight."""
        calling = {k: column for column, k in enumerate(self.judge.calling)}
        total = torch.zeros((len(wanted), len(self.claim.variables)), dtype=torch.float64)
        width = (boxes.hi - boxes.lo).index_select(0, index)
        first = [next((calling[k] for k in atoms if k in calling), -1) for atoms in wanted]
        rows = torch.tensor([n for n, column in enumerate(first) if column >= 0], dtype=torch.int64)
        if rows.numel():
            which = torch.tensor([column for column in first if column >= 0])
            steep = self.judge.steep(judged, which, index[rows])
            if steep is not None:
                total[rows] += _scaled(steep, width[rows])
        for n, atoms in enumerate(wanted):
            for k in atoms:
                if k not in calling:
                    total[n] += _scaled(self.judge.slope_of(k)[None], width[n : n + 1])[0]
        return total

    # ── faces ──────────────────────────────────────────────────────────────────────────────────
    def _look_again(self, one: _Open) -> None:
        """At what facts about single variables leave of a box in which the rule holds but for faces: `v == 0` leaves a
        face, which has no volume, and of which nothing was said."""
        known = self.faces.setdefault(one.instance, set())
        face = narrowed(one.box, single_atoms(self.claim.clauses), self.discrete.tolist())
        if face is None or known is None:
            return
        known.add(face)
        if len(known) > FACES:
            self.faces[one.instance] = None

    def _doubtful(self) -> frozenset[int]:
        """Rows around which the rule may fail on a face."""
        doubtful = {row for row, faces in self.faces.items() if faces is None}
        listed = [(row, face) for row, faces in self.faces.items() for face in sorted(faces or ())]
        with torch.no_grad():
            for start in range(0, len(listed), BATCH):
                some = listed[start : start + BATCH]
                lo, hi = (np.stack(side) for side in zip(*(outward(face) for _, face in some), strict=True))
                boxes = Boxes(torch.from_numpy(lo), torch.from_numpy(hi))
                nothing = np.zeros((len(some), len(self.judge.atoms)), np.int8)
                judged = self.judge.judge(boxes, [face for _, face in some], nothing)
                doubtful |= {row for i, (row, face) in enumerate(some) if not self.judge.held(judged, i, face)}
        return frozenset(doubtful)

    def result(self) -> Coverage:
        for _, _, one in self.heap:
            self.found["proved" if one.holds else "unsettled"].append((one.instance, one.sides))
            if self.by_row and one.holds:  # inside: its faces have not been looked at
                self._look_again(one)
        self.heap = []
        doubtful = self._doubtful() if self.by_row else frozenset()
        return coverage_of(self.frame, self.found, self.within, self.boxes, doubtful=doubtful, failing=self.failing)


def _chosen(one: _Open, cuts: Cuts, n: int) -> tuple[int, Fraction] | None:
    variable, at = int(cuts.variable[n]), Fraction(float(cuts.cut[n]))
    lo, hi = one.box[variable]
    return (variable, at) if variable >= 0 and lo < at < hi else None


def _scaled(steep: Tensor, width: Tensor) -> Tensor:
    moved = (steep * width).nan_to_num(nan=0.0, posinf=1e300).sum(-1, keepdim=True)
    return torch.where(moved > 0, steep / moved, torch.zeros_like(steep)).nan_to_num(nan=0.0, posinf=0.0)


def _sides(side: tuple[Fraction, Fraction], at: Fraction, discrete: bool) -> list[tuple[Fraction, Fraction]]:
    if not discrete:
        return [(side[0], at), (at, side[1])]
    whole = Fraction(at.numerator // at.denominator)
    return [(side[0], whole), (whole + 1, side[1])]


def _choose(box: list[tuple[Fraction, Fraction]], group: Sequence[int], cases: Side | int) -> None:
    """In place: one-hot columns that leave just these cases."""
    assert isinstance(cases, int)
    for k, v in enumerate(group):
        box[v] = (Fraction(int(cases == 1 << k)), Fraction(cases >> k & 1))


def _is_one_hot(clause: Sequence[AffineAtom], groups: Sequence[tuple[int, ...]]) -> bool:
    """Is it `sum of the cases − 1 >= 0`, or `<= 0`? Boxes hold nothing else."""
    if len(clause) != 1 or clause[0].strict or clause[0].affine.calls:
        return False
    affine = clause[0].affine
    slopes = {slope for _, slope in affine.variables}
    return (
        tuple(v for v, _ in affine.variables) in groups and slopes == {-affine.constant} and abs(affine.constant) == 1
    )
