"""How much of a rule about loops: of the records that it speaks of, those through which a loop goes that pays.

A record is *violated* where some loop through it pays, *proved* where none does, *outside* where no loop of the premise
goes through it. Cells with potentials are proved, and cells on no cycle of cells are outside, by the argument of
`loops.potentials`. Both hold of every record of a cell.

Violated is said of a cell if one of these is shown of all its records x:

- standing still at x is a loop that pays;
- there are records f and b, each the same for all x, such that f → x and x → b are moves, f can be reached from a loop
  that pays and b leads back to it. Then so many rounds of that loop can be put between b and f that the whole pays.
  That needs a sum above 0: from a loop that adds up to 0, where that is too much already, nothing follows for others.

All else is unsettled. As executed (float32) these things are said of all executions, and loops that pay in one of them
are not made use of. Moves that are needed are shown by bounds of every fact, or in fractions where that is close.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from rewarden.spec_lang.clauses import Normaliser
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.linear_form import Gathering
from rewarden.verifier.backsub import Functionals
from rewarden.verifier.box_minimum import Boxes
from rewarden.verifier.coverage.judge import FALSE, TRUE, Judge
from rewarden.verifier.coverage.parts import STATUSES, Coverage, Status, coverage_of
from rewarden.verifier.executed import compile_executed, is_binary32
from rewarden.verifier.fusion import functional_rows
from rewarden.verifier.inline import compile_program
from rewarden.verifier.loops.abstraction import Abstraction, Search
from rewarden.verifier.loops.bounds import CHUNK, MoveBounds
from rewarden.verifier.loops.engine import LoopRule
from rewarden.verifier.loops.local import LOOP, loop_step
from rewarden.verifier.loops.partition import Array, Cells, first_cells
from rewarden.verifier.regions import Frame, Side
from rewarden.verifier.rounding import INFLATE, TINY, gamma
from rewarden.verifier.verdict import Verdict
from rewarden.verifier.witness import Witness

Mask = NDArray[np.bool_]
Marks = NDArray[np.int8]
PROVED, VIOLATED, OUTSIDE, OPEN = range(len(STATUSES))
LOOPS = 64  # that pay and are looked for, at most
NEAR = 64  # records from which a cell is to be reached, the nearest ones


def cover_loops(rule: LoopRule, verdict: Verdict, witness: Witness | None, budget: int) -> Coverage | None:
    """What `budget` moves between cells, and as many cells, settle of the records. None where that cannot be told.

    `verdict` and `witness` are what is known of the rule already. Raises Unsupported as the verdict does.
    """
    claim = rule.claim(1)
    frame = Frame.of(claim, rule.spec.features)
    if not frame.tellable or len(claim.boxes) != 1 or not frame.share(frame.bases[0], 0):
        return None
    parts: list[_Labelled] = []
    spent = 0
    for number, (bounds, weak) in enumerate(rule.bounds()):
        cells = first_cells(bounds.box, rule.kind())
        if cells is None:
            return None
        part = _Part(rule, bounds, weak, _complete(rule, number))
        if witness is not None and not rule.executed:  # as deployed is one execution, and not all of them
            part.saw(witness)
        parts.append(part.labelled(cells, budget))
        spent += part.spent
    found = _intersection(parts)
    if verdict is Verdict.PROVED:
        found.label[found.label == OPEN] = PROVED
    if verdict is Verdict.VACUOUS:
        found.label[:] = OUTSIDE
    return _told(frame, found, spent)


@dataclass(frozen=True, slots=True, eq=False)
class _Labelled:
    """Cells that together hold every record, and the status of each."""

    cells: Cells
    label: Marks


def _told(frame: Frame, found: _Labelled, spent: int) -> Coverage:
    boxes: dict[Status, list[tuple[int, tuple[Side | int, ...]]]] = {status: [] for status in STATUSES}
    for lo, hi, label in zip(found.cells.lo.tolist(), found.cells.hi.tolist(), found.label.tolist(), strict=True):
        box = tuple((Fraction(a), Fraction(b)) for a, b in zip(lo, hi, strict=True))
        sides = tuple(_clipped(side, base) for side, base in zip(frame.sides(box), frame.bases[0], strict=True))
        if frame.share(sides, 0):
            boxes[STATUSES[label]].append((0, sides))
    violated = sum((frame.share(sides, 0) for _, sides in boxes["violated"]), Fraction(0))
    return coverage_of(frame, boxes, violated, spent, "records on loops")


def _clipped(side: Side | int, base: Side | int) -> Side | int:
    """The outermost cells reach a rounding beyond the declared ranges."""
    if isinstance(side, int) or isinstance(base, int):
        assert isinstance(side, int)
        assert isinstance(base, int)
        return side & base
    lo, hi = max(side[0], base[0]), min(side[1], base[1])
    return (lo, max(lo, hi))


def _complete(rule: LoopRule, conjunct: int) -> bool:
    """Has every fact a form that can be bounded? Moves can be refuted without some of them, but not shown."""
    step, _ = loop_step(rule.spec.unrolled(rule.name, LOOP))[conjunct]
    normaliser = Normaliser(Gathering(rule.statistics(rule.spec.unrolled(rule.name, LOOP))))
    try:
        for formula in (*step.record, *step.move):
            normaliser.cnf(formula)
    except Unsupported:
        return False
    return True


# ── several conjuncts ──────────────────────────────────────────────────────────────────────────
def _intersection(parts: Sequence[_Labelled]) -> _Labelled:
    """Violated in one is violated; outside in one is on no loop; proved is what is proved in all."""
    found = parts[0]
    for other in parts[1:]:
        a, b = _meeting(found.cells, other.cells)
        lo = np.maximum(found.cells.lo[a], other.cells.lo[b])
        hi = np.minimum(found.cells.hi[a], other.cells.hi[b])
        first, second = found.label[a], other.label[b]
        label = np.where(first == second, first, OPEN).astype(np.int8)
        label[(first == OUTSIDE) | (second == OUTSIDE)] = OUTSIDE
        label[(first == VIOLATED) | (second == VIOLATED)] = VIOLATED
        cells = Cells(lo, hi, np.ones(len(lo)), found.cells.discrete, found.cells.range)
        found = _Labelled(cells, label)
    return found


def _meeting(first: Cells, second: Cells) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of cells with room in common."""
    flat = first.discrete | (first.range == 0)
    left, right = [], []
    for k in range(len(first)):
        room = np.minimum(first.hi[k], second.hi) - np.maximum(first.lo[k], second.lo)
        met = np.flatnonzero(np.where(flat, room >= 0, room > 0).all(axis=1))
        left.append(np.full(len(met), k))
        right.append(met)
    return np.concatenate(left), np.concatenate(right)


# ── one conjunct ───────────────────────────────────────────────────────────────────────────────
@dataclass(slots=True, eq=False)
class _Part:
    """One conjunct of the conclusion at work (mutable). `paid`: records of loops that pay; of loops whose sum is above
    0, `reached` and `back` are records that can be reached from them and that lead back to them."""

    rule: LoopRule
    bounds: MoveBounds
    weak: bool
    complete: bool
    paid: set[tuple[float, ...]] = field(default_factory=set)
    reached: list[tuple[float, ...]] = field(default_factory=list)
    back: list[tuple[float, ...]] = field(default_factory=list)
    judged: set[bytes] = field(default_factory=set)
    spent: int = 0

    def saw(self, witness: Witness) -> None:
        """A loop that breaks the rule, as it was replayed exactly."""
        records = _records(witness.point, self.bounds.width)
        if witness.goal is None or records is None:
            return
        self.paid.update(records)
        if self._pays(records):
            self.reached += [r for r in records if r not in self.reached]
            self.back += [r for r in records if r not in self.back]

    def _pays(self, records: Sequence[tuple[float, ...]]) -> bool:
        """Is the sum above 0? What a witness fails by does not say so: it is about the atoms that can be false."""
        if not self.weak:
            return True
        if not self.bounds.rational:
            return False
        pairs = zip(records, (*records[1:], records[0]), strict=True)
        added = [self.bounds.exactly([Fraction(x) for x in (*a, *b)]) for a, b in pairs]
        return all(a is not None for a in added) and sum(a for a in added if a is not None) > 0

    def labelled(self, cells: Cells, budget: int) -> _Labelled:
        """Every cell of a partition that has become finer, with what is known of it."""
        search = Search(self._judge, _nothing, _nothing, lambda loop: False, self.rule.told, self.rule.stop)
        graph = Abstraction(self.bounds, cells, self.weak, search, self.rule.options.seed)
        self.spent += graph.run(budget).moves
        groups = [(part.cells, PROVED) for part in graph.parts]
        groups += [(dropped.cells, OUTSIDE) for dropped in graph.dropped]
        violated, left = self._violated(graph.cells, budget)
        groups += [(violated, VIOLATED), (left, OPEN)]
        everything = groups[0][0]
        for more, _ in groups[1:]:
            everything = everything.joined(more)
        label = np.concatenate([np.full(len(some), status, dtype=np.int8) for some, status in groups])
        return _Labelled(everything, label)

    def _judge(self, loop: Array) -> object:
        """Notes a loop that pays, and lets the search go on."""
        key = loop.tobytes()
        if key not in self.judged and len(self.judged) < LOOPS:
            self.judged.add(key)
            witness = None if self.rule.executed else self.rule.judge(loop)
            if witness is not None and witness.deployed != "non-finite":
                self.saw(witness)
        return None

    # ── cells all of whose records are violated ────────────────────────────────────────────────
    def _violated(self, cells: Cells, budget: int) -> tuple[Cells, Cells]:
        """Halves cells as long as that settles some; those that are violated, and the others."""
        found = left = cells.take(np.zeros(0, np.int64))
        ahead, behind = np.zeros(len(cells), np.bool_), np.zeros(len(cells), np.bool_)
        compiled = compile_executed if self.rule.executed else compile_program
        judge = Judge(compiled(self.rule.claim(1), self.rule.rewards))
        while len(cells) and budget > 0 and not self.rule.stop():
            some = np.argsort(-cells.share, kind="stable")[:budget]
            left = left.joined(cells.take(np.setdiff1d(np.arange(len(cells)), some)))
            cells, ahead, behind = cells.take(some), ahead[some], behind[some]
            budget -= len(cells)
            self.spent += len(cells)
            done = self._alone(cells) | self._standing(judge, cells)
            if self.complete:
                self._spread(cells, ahead, behind)
                done |= ahead & behind
            found = found.joined(cells.take(np.flatnonzero(done)))
            able = cells.cuttable() & self.bounds.reads
            cut = np.flatnonzero(~done & able.any(axis=1))
            left = left.joined(cells.take(np.flatnonzero(~done & ~able.any(axis=1))))
            width = (cells.hi - cells.lo) / np.where(cells.range > 0, cells.range, 1.0)
            axis = np.where(able, width, -1.0)[cut].argmax(axis=1) if len(cut) else cut
            cells = cells.take(cut).halves(axis)
            ahead, behind = np.tile(ahead[cut], 2), np.tile(behind[cut], 2)
        return found, left.joined(cells)

    def _alone(self, cells: Cells) -> Mask:
        """Cells of one record, which is on a loop that pays."""
        single = np.flatnonzero(cells.points)
        done = np.zeros(len(cells), np.bool_)
        done[single] = [tuple(cells.lo[k].tolist()) in self.paid for k in single]
        return done

    def _standing(self, judge: Judge, cells: Cells) -> Mask:
        """Cells at each of whose records standing still pays."""
        done = np.zeros(len(cells), np.bool_)
        for start in range(0, len(cells), CHUNK):
            some = cells.take(np.arange(start, min(start + CHUNK, len(cells))))
            boxes = [tuple((Fraction(a), Fraction(b)) for a, b in zip(*ends, strict=True))
                     for ends in zip(some.lo.tolist(), some.hi.tolist(), strict=True)]  # fmt: skip
            known = np.zeros((len(some), len(judge.atoms)), np.int8)
            with torch.no_grad():
                marks = judge.judge(Boxes(torch.from_numpy(some.lo), torch.from_numpy(some.hi)), boxes, known).atoms
            holds = np.ones(len(some), np.bool_)
            for clause in judge.clauses:
                holds &= (marks[:, list(clause)] == TRUE).any(axis=1)
            fails = np.zeros(len(some), np.bool_)
            for goal in judge.goals:
                fails |= (marks[:, list(goal)] == FALSE).all(axis=1)
            done[start : start + len(some)] = holds & fails
        if not self.weak:  # a sum above 0: such a record is a loop that others may make use of
            self._add(cells.centres()[done], self.reached, self.back)
        return done

    def _spread(self, cells: Cells, ahead: Mask, behind: Mask) -> None:
        """In place: which cells can be reached, and lead back, as a whole."""
        centres = cells.centres()
        while True:
            new = np.flatnonzero(~ahead)
            gained = new[self._joined(cells.take(new), self.reached, forward=True)]
            ahead[gained] = True
            self._add(centres[gained], self.reached)
            more = np.flatnonzero(~behind)
            kept = more[self._joined(cells.take(more), self.back, forward=False)]
            behind[kept] = True
            self._add(centres[kept], self.back)
            if not len(gained) and not len(kept):
                return

    def _add(self, records: Array, *lists: list[tuple[float, ...]]) -> None:
        box = self.bounds.box
        for row in records.tolist():  # the middle of an outermost cell may be a rounding beyond the declared range
            inside = all(lo <= Fraction(x) <= hi for x, (lo, hi) in zip(row, box, strict=True))
            if inside and (not self.rule.executed or all(is_binary32(Fraction(x)) for x in row)):
                for some in lists:
                    some.append(tuple(row))

    def _joined(self, cells: Cells, records: Sequence[tuple[float, ...]], *, forward: bool) -> Mask:
        """Cells all of whose records have a move from (forward), or to, the same one of `records`."""
        found = np.zeros(len(cells), np.bool_)
        if not records or not len(cells):
            return found
        points = np.array(records)
        for start in range(0, len(cells), CHUNK):
            some = np.arange(start, min(start + CHUNK, len(cells)))
            for place in _nearest(cells.take(some), points).T:
                here = points[place]
                there = cells.lo[some], cells.hi[some]
                lo, hi = (np.hstack((here, side) if forward else (side, here)) for side in there)
                todo = np.flatnonzero(~found[some])
                found[some[todo]] = self._always(lo[todo], hi[todo])
        return found

    def _always(self, lo: Array, hi: Array) -> Mask:
        """Boxes [n, 2·column] of pairs all of which are moves of the rule."""
        facts = self.bounds.whole
        found = np.ones(len(lo), np.bool_)
        if not facts.atoms or not len(lo):
            return found
        up, down = facts.slope.clip(min=0.0), facts.slope.clip(max=0.0)
        size = np.maximum(np.abs(lo), np.abs(hi))
        least = lo @ up.T + hi @ down.T + facts.constant
        lost = gamma(2 * facts.slope.shape[1] + 2) * (size @ np.abs(facts.slope).T + np.abs(facts.constant))
        lost = (lost + size @ facts.slope_error.T + facts.constant_error) * INFLATE + TINY
        true = np.where(facts.strict, least - lost > 0, least - lost >= 0)
        true[:, facts.with_calls] = False
        for i, k in np.argwhere(~true & (np.abs(least) <= lost) & ~facts.with_calls):
            atom = facts.atoms[k]
            exact = atom.affine.constant
            for j, slope in atom.affine.variables:
                exact += slope * Fraction(float(lo[i, j] if slope > 0 else hi[i, j]))
            true[i, k] = exact > 0 or (exact == 0 and not atom.strict)
        if facts.calls:
            functionals = Functionals.of(functional_rows(self.bounds.program, facts.calls))
            with torch.no_grad():
                boxes = Boxes(torch.from_numpy(lo), torch.from_numpy(hi))
                called = self.bounds.engine.bound(boxes, functionals).bound.numpy().reshape(len(lo), -1)
            true[:, facts.with_calls] = np.where(facts.strict[facts.with_calls], called > 0, called >= 0)
        for a, b in zip(facts.starts, facts.starts[1:], strict=False):
            found &= true[:, a:b].any(axis=1)
        return found


def _nothing(*where: object) -> None:
    """No witness is looked for."""


def _records(point: Sequence[Fraction], width: int) -> list[tuple[float, ...]] | None:
    """The records of a loop in binary64; None if they have no such numbers."""
    numbers = [float(x) for x in point]
    if any(Fraction(a) != b for a, b in zip(numbers, point, strict=True)):
        return None
    return [tuple(numbers[k : k + width]) for k in range(0, len(numbers), width)]


def _nearest(cells: Cells, points: Array) -> NDArray[np.int64]:
    """[cell, at most NEAR]: the records nearest to each cell."""
    if len(points) <= NEAR:
        return np.tile(np.arange(len(points)), (len(cells), 1))
    scale = np.where(cells.range > 0, cells.range, 1.0)
    apart = np.abs(cells.centres()[:, None, :] / scale - points[None, :, :] / scale).sum(axis=2)
    return np.asarray(np.argpartition(apart, NEAR, axis=1)[:, :NEAR])
