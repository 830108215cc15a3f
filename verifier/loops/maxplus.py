"""What traces can add up to at most: certified bounds of single steps, added along all paths of cells at once.

Unrolled, a trace of n records is one claim over n records, and bounds of it cost n times as much and are cut n times as
often. Here each kind of step is bounded once over the cells: `V(v) = max over u of V(u) + w(u, v)`, n − 1 times, is the
largest sum that bounds allow on any trace that ends in v (Bellman). Discounted steps are one kind, with a factor.

Why that is sound: a trace x₁ … xₙ that breaks the rule satisfies each fact at each step, so its cells are joined by
moves that are not refuted, and w(u, v) is at least what the move adds. Hence V is at least the sum so far, and if its
largest value at the end is at most 0 (below 0 where a sum of 0 breaks the rule), no trace breaks it. If no path of
cells is left there is no such trace. Weights times factors are rounded up to a grid of whole numbers, and sums are
int64 below 2^62.

Cells on paths whose bounds add up to too much are halved, those first that are on the worst.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import floor, frexp

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.obligation import Formula
from rewarden.verifier.loops.bounds import CHUNK, Binding, MoveBounds
from rewarden.verifier.loops.concrete import MOST_PAIRS, points_of
from rewarden.verifier.loops.local import Adds, Chain, Parts, Step
from rewarden.verifier.loops.partition import Cells
from rewarden.verifier.loops.potentials import LIMIT, Graph, refined

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]

NEVER = -(2**62)  # the sum of a trace that cannot be
UNBOUNDED = 2.0**40  # in place of a bound that is not finite, to tell where to look
POINTS = 2  # of each cell, among which traces are looked for
MOST_MOVES = 500_000  # between cells, of one kind of step
WORST = 0.5  # of the largest excess: cells on paths that exceed by that much are halved
NOISE = 1e-6  # of a sum in float64, and far more than its roundings
LEAN = 0.25  # of how wide a cell is against how far the bounds lean


@dataclass(frozen=True, slots=True, eq=False)
class TraceOutcome:
    """Per chain: is it settled, and can any trace be one at all? `moves` bounded, the share of chains settled, and an
    open chain's worst path of cells (lo, hi [record, column]). `left`: of the longest open chain, number `longest`,
    the cells on paths whose bounds add up to too much: all records of its violations lie there."""

    settled: tuple[bool, ...]
    possible: tuple[bool, ...]
    moves: int
    cells: int
    paths: Mapping[int, tuple[Array, Array]] = field(default_factory=dict)
    longest: int | None = None
    left: Cells | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A trace of records [record, column], and what it adds up to by float64, of numbers of about that `size`."""

    records: Array
    total: float
    size: float

    @property
    def promising(self) -> bool:
        """Whether it may break the rule, as far as float64 can tell."""
        return self.total >= -NOISE * (1.0 + self.size)


@dataclass(slots=True, eq=False)
class _Kind:
    """A kind of step over the present cells (mutable). The last step of a trace has no moves, and weights per cell."""

    bounds: MoveBounds
    last: bool
    graph: Graph
    weight: Array


@dataclass(frozen=True, slots=True, eq=False)
class _Path:
    """A chain as kinds of steps with factors; `start` is what it begins with, on top of all steps."""

    kinds: tuple[int, ...]
    factors: tuple[Fraction, ...]
    start: Fraction
    weak: bool


class Trellis:
    """Kinds of steps over cells under refinement (mutable)."""

    def __init__(self, chains: Sequence[Chain], cells: Cells, binding: Binding) -> None:
        self.cells, self.binding = cells, binding
        self.kinds: list[_Kind] = []
        self._numbers: dict[object, int] = {}
        self._seen: dict[tuple[int, int], tuple[Graph, Array]] = {}  # moves between points, by kind and seed
        self.impossible = tuple(chain.impossible for chain in chains)
        self.paths = tuple(self._path(chain) for chain in chains)
        self.moves = 0
        self.reads = np.logical_or.reduce([kind.bounds.reads for kind in self.kinds])

    # ── kinds of steps ─────────────────────────────────────────────────────────────────────────
    def _path(self, chain: Chain) -> _Path:
        kinds, factors = [], []
        for i, step in enumerate(chain.steps):
            last = i + 1 == len(chain.steps)
            factor, parts = _factored(step.adds)
            after = () if last else chain.steps[i + 1].record
            kinds.append(self._kind(Step(step.record, () if last else step.move, Adds(parts)), after, last))
            factors.append(factor)
        start = sum((step.adds.constant for step in chain.steps), Fraction(0))
        return _Path(tuple(kinds), tuple(factors), start, chain.weak)

    def _kind(self, step: Step, after: tuple[Formula, ...], last: bool) -> int:
        key = (frozenset(step.record), frozenset(step.move), frozenset(after), frozenset(step.adds.parts), last)
        if key not in self._numbers:
            self._numbers[key] = len(self.kinds)
            count = len(self.cells)
            every = np.arange(count)
            graph = Graph(count, every, every) if last else Graph(count, every.repeat(count), np.tile(every, count))
            bounds = MoveBounds(step, after, self.binding)
            self.kinds.append(_Kind(bounds, last, graph, np.full(len(graph.source), np.nan)))
        return self._numbers[key]

    # ── bounds ─────────────────────────────────────────────────────────────────────────────────
    def _weigh(self) -> None:
        """New moves: those that cannot be are dropped, the others bounded."""
        for kind in self.kinds:
            asked = np.flatnonzero(np.isnan(kind.weight))
            impossible = np.zeros(len(kind.weight), dtype=np.bool_)
            empty = kind.bounds.no_record(self.cells.lo, self.cells.hi)
            impossible[asked] = empty[kind.graph.source[asked]]
            rest = asked[~impossible[asked]]
            if not kind.last:
                impossible[rest] = kind.bounds.no_move(*self._pairs(kind, rest))
            kind.graph, kind.weight = kind.graph.take(~impossible), kind.weight[~impossible]
            asked = np.flatnonzero(np.isnan(kind.weight))
            for start in range(0, len(asked), CHUNK):
                some = asked[start : start + CHUNK]
                kind.weight[some] = self._bound(kind, some)[0]
            self.moves += len(asked)
            real = kind.weight > -np.inf
            if not kind.bounds.adds:  # the facts alone are below 0 somewhere: they contradict each other
                real &= ~(kind.weight < 0.0)
            kind.graph, kind.weight = kind.graph.take(real), kind.weight[real]

    def _pairs(self, kind: _Kind, moves: Index) -> tuple[Array, Array]:
        u, v = kind.graph.source[moves], kind.graph.target[moves]
        return np.hstack((self.cells.lo[u], self.cells.lo[v])), np.hstack((self.cells.hi[u], self.cells.hi[v]))

    def _bound(self, kind: _Kind, moves: Index) -> tuple[Array, Array]:
        """Upper bounds of moves, and their slopes."""
        lo, hi = self._pairs(kind, moves)
        if kind.bounds.over_record:
            width = kind.bounds.width
            cells, place = np.unique(kind.graph.source[moves], return_inverse=True)
            both = [np.hstack((side[cells], side[cells])) for side in (self.cells.lo, self.cells.hi)]
            planes = kind.bounds.planes(*both).take(place.reshape(-1), len(kind.bounds.rows))
            assert width == lo.shape[1] // 2
        else:
            planes = kind.bounds.planes(lo, hi)
        found = kind.bounds.weights(planes, lo, hi, np.zeros_like(lo))
        return found.bound, found.slope

    # ── sums ───────────────────────────────────────────────────────────────────────────────────
    def run(self, budget: int, report: Callable[[float, int], None], stop: Callable[[], bool]) -> TraceOutcome:
        """Refines until every chain is settled, or `budget` moves have been bounded."""
        while True:
            self._weigh()
            sums = _Sums(self.kinds, self.paths, len(self.cells))
            found = [self._settled(sums, number) for number in range(len(self.paths))]
            settled = tuple(s for s, _ in found)
            outcome = TraceOutcome(settled, tuple(p for _, p in found), self.moves, len(self.cells))
            report(sum(settled) / len(settled), self.moves)
            if all(settled):
                return outcome
            longest = max(
                (number for number, done in enumerate(settled) if not done),
                key=lambda number: (len(self.paths[number].kinds), number),
            )
            excess = sums.excess(longest)
            # A violation is a path that exceeds, unless some bound is infinite, and stood for by a number.
            where = excess > (-np.inf if sums.unbounded(longest) else 0.0)
            outcome = replace(outcome, longest=longest, left=self.cells.take(np.flatnonzero(where)))
            if stop():
                return outcome
            cut = self._worst(excess)
            after = self.moves + sum(_growth(kind, cut) for kind in self.kinds)
            large = max(len(kind.weight) + _growth(kind, cut) for kind in self.kinds) > MOST_MOVES
            if not len(cut) or after > budget or large:
                paths = {n: self._worst_path(sums, n) for n, done in enumerate(settled) if not done}
                return replace(outcome, paths=paths)
            self._split(cut)

    def _settled(self, sums: _Sums, number: int) -> tuple[bool, bool]:
        if self.impossible[number]:
            return True, False
        if sums.unbounded(number):
            return False, True
        most = sums.most(number)
        if most <= NEVER // 2:
            return True, False
        return (most < 0 if self.paths[number].weak else most <= 0), True

    def _worst(self, excess: Array) -> Index:
        """Cells to halve: those on the paths of an open chain, the longest, that exceed most."""
        able = (self.cells.cuttable() & self.reads).any(axis=1)
        excess = np.where(able, excess, -np.inf)
        top = float(excess.max(initial=-np.inf))
        return (
            np.flatnonzero((excess > 0) & (excess >= WORST * top)) if top > 0 else np.flatnonzero(able & (excess == 0))
        )

    def _worst_path(self, sums: _Sums, number: int) -> tuple[Array, Array]:
        cells = sums.path(number)
        return self.cells.lo[cells], self.cells.hi[cells]

    # ── concrete traces ────────────────────────────────────────────────────────────────────────
    def trace(self, number: int, seed: int) -> Seen | None:
        """A trace among points of the cells, of those that add most in float64; a hint."""
        path = self.paths[number]
        points = points_of(self.cells, POINTS, seed)
        for kind in dict.fromkeys(path.kinds):
            if (kind, seed) not in self._seen:
                self._seen[kind, seed] = self._point_moves(self.kinds[kind], points)
        moves = {kind: self._seen[kind, seed] for kind in path.kinds}
        level, backs = np.zeros(len(points)), []
        for kind, factor in zip(path.kinds, path.factors, strict=True):
            graph, added = moves[kind]
            reached = level[graph.source] + float(factor) * added
            level, back = np.full(len(points), -np.inf), np.full(len(points), -1)
            order = np.lexsort((reached, graph.target))
            ends = np.flatnonzero(np.append(np.diff(graph.target[order]) != 0, True)) if len(order) else order
            level[graph.target[order[ends]]] = reached[order[ends]]
            back[graph.target[order[ends]]] = graph.source[order[ends]]
            backs.append(back)
        if not np.isfinite(level).any():
            return None
        at = [int(np.nanargmax(level))]
        for back in reversed(backs[:-1]):
            at.append(int(back[at[-1]]))
        return Seen(points[at[::-1]], float(np.nanmax(level)) + float(path.start), float(np.abs(level[at[0]])))

    def _point_moves(self, kind: _Kind, points: Array) -> tuple[Graph, Array]:
        shift = np.arange(POINTS) * len(self.cells)
        source = (kind.graph.source[:, None, None] + shift[None, :, None]).repeat(POINTS, axis=2).reshape(-1)
        target = (kind.graph.target[:, None, None] + shift[None, None, :]).repeat(POINTS, axis=1).reshape(-1)
        kept = np.flatnonzero(source == target if kind.last else np.ones(len(source), dtype=np.bool_))[:MOST_PAIRS]
        source, target = source[kept], target[kept]
        able, added = kind.bounds.at_points(np.hstack((points[source], points[target])))
        able &= np.isfinite(added)
        return Graph(len(points), source[able], target[able]), added[able]

    # ── refinement ─────────────────────────────────────────────────────────────────────────────
    def _split(self, cut: Index) -> None:
        able = self.cells.cuttable() & self.reads
        axis = np.where(able, self._lean(), -1.0)[cut].argmax(axis=1)
        halves = self.cells.take(cut).halves(axis)
        stay = np.zeros(0, dtype=np.int64)
        for kind in self.kinds:
            stay, kind.graph, kind.weight = refined(kind.graph, kind.weight, cut)
            if kind.last:
                own = kind.graph.source == kind.graph.target
                kind.graph, kind.weight = kind.graph.take(own), kind.weight[own]
        self.cells = self.cells.take(stay).joined(halves)
        self._seen.clear()

    def _lean(self) -> Array:
        width = self.cells.hi - self.cells.lo
        found = np.zeros_like(width)
        for kind in self.kinds:
            order = np.argsort(-kind.weight, kind="stable")[:CHUNK]
            if not len(order):
                continue
            slope = np.nan_to_num(np.abs(self._bound(kind, order)[1]), posinf=0.0)
            u, v = kind.graph.source[order], kind.graph.target[order]
            np.add.at(found, u, slope[:, : kind.bounds.width] * width[u])
            np.add.at(found, v, slope[:, kind.bounds.width :] * width[v])
        shares = found / np.maximum(found.sum(axis=1, keepdims=True), 1e-300)
        score: Array = shares + LEAN * width / np.where(self.cells.range > 0, self.cells.range, 1.0)
        return score


def _growth(kind: _Kind, cut: Index) -> int:
    touched = np.isin(kind.graph.source, cut).astype(np.int64) + np.isin(kind.graph.target, cut)
    return int(((touched == 1) * 2 + (touched == 2) * 4).sum())


def _factored(adds: Adds) -> tuple[Fraction, Parts]:
    """A positive factor, and the parts without it."""
    if not adds.parts:
        return Fraction(0), ()
    factor = abs(adds.parts[0][1])
    return factor, tuple((leaf, coefficient / factor) for leaf, coefficient in adds.parts)


class _Sums:
    """The largest sums along paths, in whole numbers; what chains have in common at their start is added up once."""

    def __init__(self, kinds: Sequence[_Kind], paths: Sequence[_Path], cells: int) -> None:
        self.kinds, self.paths, self.cells = kinds, paths, cells
        self.order = [np.lexsort((kind.graph.source, kind.graph.target)) for kind in kinds]
        self.bounded = [_raised(kind.weight) for kind in kinds]
        self.exponent = self._exponent()
        self._weights: dict[tuple[int, Fraction], Index] = {}
        self._trunk: list[tuple[int, Fraction]] = []
        self._levels: list[Index] = [np.zeros(cells, dtype=np.int64)]

    def _exponent(self) -> int:
        """2^exponent · (the largest size of a sum) stays below LIMIT."""
        size = [float(np.abs(w[np.isfinite(w)]).max(initial=0.0)) for w in self.bounded]
        largest = 0.0
        for path in self.paths:
            steps = zip(path.kinds, path.factors, strict=True)
            largest = max(largest, sum(float(f) * size[k] for k, f in steps) + abs(float(path.start)))
        longest = max(len(path.kinds) for path in self.paths)
        room = floor(np.log2(float(LIMIT))) - 2 - frexp(float(longest + 2))[1]
        return room - frexp(max(largest, 1e-280))[1] if largest < 1e280 else -1200

    def weight(self, kind: int, factor: Fraction) -> Index:
        """Whole numbers that are at least weight · factor · 2^exponent, in the order of targets."""
        key = (kind, factor)
        if key not in self._weights:
            weight = self.bounded[kind][self.order[kind]]
            share, power = _scaled(factor)
            with np.errstate(all="ignore"):
                scaled = np.ldexp(weight, self.exponent + power) * float(share)  # in this order none is beyond 2^61
                if share not in (0, 1):  # two roundings, of the factor and of the product; a power of 2 costs none
                    scaled = scaled + np.abs(scaled) * 2.0**-50
                whole = np.ceil(scaled)
            # However small: what a late step of a discounted trace adds is not nothing.
            whole = np.where((weight > 0) & (factor > 0) & (whole < 1), 1.0, whole)
            whole = np.where(np.isfinite(weight), whole, UNBOUNDED)
            self._weights[key] = whole.astype(np.int64)
        return self._weights[key]

    def unbounded(self, number: int) -> bool:
        """Has some kind of step of the chain no finite bound in some cell? Its sums then prove nothing."""
        return any(not np.isfinite(self.bounded[kind]).all() for kind in set(self.paths[number].kinds))

    def levels(self, number: int) -> list[Index]:
        """Per step of a chain, the largest sum before it on a trace that comes to each cell."""
        path = self.paths[number]
        steps = list(zip(path.kinds[:-1], path.factors[:-1], strict=True))
        same = 0
        while same < min(len(steps), len(self._trunk)) and steps[same] == self._trunk[same]:
            same += 1
        del self._trunk[same:], self._levels[same + 1 :]
        for kind, factor in steps[same:]:
            self._levels.append(self._forward(self._levels[-1], kind, factor))
            self._trunk.append((kind, factor))
        return self._levels

    def _forward(self, level: Index, kind: int, factor: Fraction) -> Index:
        graph, order = self.kinds[kind].graph, self.order[kind]
        found = np.full(self.cells, NEVER, dtype=np.int64)
        if len(order):
            source, target = graph.source[order], graph.target[order]
            starts = np.flatnonzero(np.concatenate(([True], target[1:] != target[:-1])))
            reached = _plus(level[source], self.weight(kind, factor))
            found[target[starts]] = np.maximum.reduceat(reached, starts)
        return found

    def _ends(self, number: int) -> Index:
        """What the last step adds in each cell; NEVER where it cannot be."""
        path = self.paths[number]
        kind = path.kinds[-1]
        found = np.full(self.cells, NEVER, dtype=np.int64)
        found[self.kinds[kind].graph.target[self.order[kind]]] = self.weight(kind, path.factors[-1])
        return found

    def _start(self, number: int) -> int:
        scaled = self.paths[number].start * (Fraction(2) ** self.exponent)
        return -(-scaled.numerator // scaled.denominator)

    def most(self, number: int) -> int:
        total = _plus(self.levels(number)[-1], self._ends(number))
        most = int(total.max(initial=NEVER))
        return most if most <= NEVER // 2 else most + self._start(number)

    def excess(self, number: int) -> Array:
        """Per cell, by how much the worst path through it exceeds 0."""
        path, levels = self.paths[number], self.levels(number)
        back = self._ends(number)
        worst = _plus(levels[-1], back)
        for step in range(len(path.kinds) - 2, -1, -1):
            kind, factor = path.kinds[step], path.factors[step]
            graph, order = self.kinds[kind].graph, self.order[kind]
            reached = _plus(back[graph.target[order]], self.weight(kind, factor))
            back = np.full(self.cells, NEVER, dtype=np.int64)
            np.maximum.at(back, graph.source[order], reached)
            worst = np.maximum(worst, _plus(levels[step], back))
        found = (worst + self._start(number)).astype(np.float64)
        return np.where(worst <= NEVER // 2, -np.inf, found + float(path.weak))

    def path(self, number: int) -> Index:
        """The cells of the worst path."""
        path, levels = self.paths[number], self.levels(number)
        cell = int(_plus(levels[-1], self._ends(number)).argmax())
        cells = [cell]
        for step in range(len(path.kinds) - 2, -1, -1):
            kind, factor = path.kinds[step], path.factors[step]
            graph, order = self.kinds[kind].graph, self.order[kind]
            there = np.flatnonzero(graph.target[order] == cell)
            reached = _plus(levels[step][graph.source[order][there]], self.weight(kind, factor)[there])
            cell = int(graph.source[order][there[int(reached.argmax())]])
            cells.append(cell)
        return np.array(cells[::-1], dtype=np.int64)


def _scaled(factor: Fraction) -> tuple[Fraction, int]:
    """(m, e) with factor = m·2^e and m in 1/2 … 2 (0 for 0; 1 for a power of 2): a factor may lie below all floats."""
    if not factor:
        return factor, 0
    power = factor.numerator.bit_length() - factor.denominator.bit_length()
    return factor / Fraction(2) ** power, power


def _raised(weight: Array) -> Array:
    """Very low weights raised, which keeps them upper bounds, so that the grid can be fine."""
    finite = weight[np.isfinite(weight)]
    if not len(finite):
        return weight
    usual = float(np.median(np.abs(finite))) + float(finite.max(initial=0.0))
    return np.maximum(weight, -(2.0**20) * usual)


def _plus(level: Index, added: Index) -> Index:
    """The sum, where both can be."""
    able = (level > NEVER // 2) & (added > NEVER // 2)
    return np.where(able, np.where(able, level, 0) + np.where(able, added, 0), NEVER)
