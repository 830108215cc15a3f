"""Demands that compare two values of rewards, as edges of a graph: `head >= tail + gain` where the guard holds.

R(s) <= c is an edge from R(s) to zero, R(s) >= c one from zero to R(s), R(a) >= R(b) - c one from R(b) to R(a); data
constants are nodes too, ordered among themselves. Demands contradict each other if they close a cycle over the same
records with a positive sum of gains (or 0, where one of them is strict): the classic argument about difference
constraints. Here is the cheap part in float64, a little too generous: which cycles could close, judging by boxes
around the records; Z3 decides those exactly (clash.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.bounds import interval, of_form
from rewarden.spec_lang.forms import form_of
from rewarden.spec_lang.obligation import And, Atom, Call, Statistic, Var
from rewarden.spec_lang.sanity.demands import Demand, Literal, Value
from rewarden.spec_lang.sanity.narrowed import Ranges, floats

Sides = NDArray[np.float64]  # [column, 2]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Edge:
    """`head >= tail + gain`, `>` when strict; None stands for zero. `most` bounds the gain from above (None: nothing
    does). `tail_box` and `head_box` surround the records, `step` what head has more than tail, column by column."""

    demand: Demand
    literal: Literal
    tail: Value | None
    head: Value | None
    scale: Fraction  # by which the literal is multiplied to be head - tail - gain
    most: Fraction | None
    tail_box: Sides
    head_box: Sides
    step: Sides

    @property
    def strict(self) -> bool:
        return self.literal.strict


def edges_of(demand: Demand) -> tuple[Edge, ...]:
    """The demand's literals that are edges; none where the guard's box is empty."""
    if demand.box is None:
        return ()
    found = (_edge(demand, literal, demand.box) for literal in demand.literals)
    return tuple(edge for edge in found if edge is not None)


def ends(literal: Literal) -> tuple[Value | None, Value | None] | None:
    """(tail, head) of a literal that is an edge."""
    match literal.values:
        case ((value, c),):
            return (None, value) if c > 0 else (value, None)
        case ((first, c), (second, d)) if c + d == 0:
            return (second, first) if c > 0 else (first, second)
    return None


def _edge(demand: Demand, literal: Literal, ranges: Ranges) -> Edge | None:
    found = ends(literal)
    if found is None:
        return None
    tail, head = found
    scale = 1 / abs(literal.values[0][1])
    least, _ = interval(literal.rest, lambda index: ranges[index])
    return Edge(
        demand=demand,
        literal=literal,
        tail=tail,
        head=head,
        scale=scale,
        most=None if least is None else -least * scale,
        tail_box=box_of(tail, ranges),
        head_box=box_of(head, ranges),
        step=_steps(demand, tail, head, ranges),
    )


def box_of(value: Value | None, ranges: Ranges) -> Sides:
    """Around the record that a call is at; data constants and zero have none."""
    if not isinstance(value, Call):
        return np.zeros((0, 2))
    return floats([interval(argument, lambda index: ranges[index]) for argument in value.arguments])


def _steps(demand: Demand, tail: Value | None, head: Value | None, ranges: Ranges) -> Sides:
    """head's columns minus tail's, where both are records of as many columns; what the guard says of v - w counts."""
    if not (isinstance(tail, Call) and isinstance(head, Call) and len(tail.arguments) == len(head.arguments)):
        return np.zeros((0, 2))
    known = _differences(demand)
    sides = []
    for a, b in zip(head.arguments, tail.arguments, strict=True):
        lo, hi = of_form(form_of(a) - form_of(b), lambda index: ranges[index])
        if isinstance(a, Var) and isinstance(b, Var):
            at_least, at_most = known.get((a.index, b.index)), known.get((b.index, a.index))
            lo = at_least if lo is None or (at_least is not None and at_least > lo) else lo
            hi = -at_most if at_most is not None and (hi is None or -at_most < hi) else hi
        sides.append((lo, hi))
    return floats(sides)


def _differences(demand: Demand) -> dict[tuple[int, int], Fraction]:
    """(v, w) → c where a conjunct of the guard says v - w >= c."""
    found: dict[tuple[int, int], Fraction] = {}
    for part in demand.guard.parts if isinstance(demand.guard, And) else (demand.guard,):
        if not isinstance(part, Atom):
            continue
        form = form_of(part.term)
        match list(form.parts.items()):
            case [(Var(v), c), (Var(w), d)] if c + d == 0:
                pair = (v, w) if c > 0 else (w, v)
                limit = -form.constant / abs(c)
                found[pair] = max(found.get(pair, limit), limit)
    return found


# ── what is known of data constants ────────────────────────────────────────────────────────────
def at_most(small: Statistic, large: Statistic) -> bool:
    """Is `small <= large` whatever the reward? Order statistics of the same values are ordered by their levels, and
    the mean lies between the least and the greatest."""
    if (small.reward, small.data) != (large.reward, large.data):
        return False
    if small == large or small.kind == "min" or large.kind == "max":
        return True
    if small.kind == "quantile" and large.kind == "quantile":
        assert small.level is not None
        assert large.level is not None
        return small.level <= large.level
    return False


# ── cycles ─────────────────────────────────────────────────────────────────────────────────────
@dataclass(slots=True)
class Steps:
    """Mutable: how many more edges may be looked at."""

    left: int


class Graph:
    """The edges side by side in arrays, records padded to one width."""

    def __init__(self, edges: Sequence[Edge], others: Sequence[Edge] = ()) -> None:
        """`others` are edges that walks may start from as well."""
        self.edges = edges
        self._width = max((len(side) for e in (*edges, *others) for side in (e.tail_box, e.head_box)), default=0)
        self._tail = self._stacked([e.tail_box for e in edges])
        self._head = self._stacked([e.head_box for e in edges])
        self._step = self._stacked([e.step for e in edges])
        self._most = np.array([_gain(e) for e in edges])
        self._after: dict[str | Statistic | None, Mask] = {}
        self._before: dict[str | Statistic | None, Mask] = {}

    def cycles(self, length: int, steps: Steps) -> Iterator[tuple[int, ...]]:
        """Closed walks of that many edges whose gains could sum to 0 or more, by number; often one of its rotations
        only, namely one whose partial sums are all 0 or more, and every such walk has one."""
        for k, edge in enumerate(self.edges):
            if self._most[k] >= 0:
                for rest in self._walks(self._start(edge), length - 1, steps, rising=True):
                    yield (k, *rest)

    def closing(self, edge: Edge, length: int, steps: Steps) -> Iterator[tuple[int, ...]]:
        """Walks of that many edges from the head of `edge`, one of the others, to its tail."""
        yield from self._walks(self._start(edge), length, steps, rising=False)

    def _start(self, edge: Edge) -> _Walk:
        tail, head, step = self._stacked([edge.tail_box, edge.head_box, edge.step])
        return _Walk(edge, tail, (), edge.head, head, step, _gain(edge))

    def _walks(self, walk: _Walk, length: int, steps: Steps, *, rising: bool) -> Iterator[tuple[int, ...]]:
        if length == 0:
            if meets(walk.head, walk.start.tail) and _closes(walk.tail, walk.here, walk.moved) and walk.gain >= 0:
                yield ()
            return
        if steps.left <= 0:
            return
        steps.left -= 1
        can = self._follows(walk.head)
        if rising:
            can = can & (walk.gain + self._most >= 0)
        low = np.maximum(walk.here[None, :, 0], self._tail[:, :, 0])
        high = np.minimum(walk.here[None, :, 1], self._tail[:, :, 1])
        can = can & (low <= high).all(axis=1)
        here = np.stack([low, high], axis=2) + self._step
        here[:, :, 0] = np.maximum(self._head[:, :, 0], here[:, :, 0])
        here[:, :, 1] = np.minimum(self._head[:, :, 1], here[:, :, 1])
        can = can & (here[:, :, 0] <= here[:, :, 1]).all(axis=1)
        moved = walk.moved + self._step
        if length == 1:
            can = can & self._leads_to(walk.start.tail) & (walk.gain + self._most >= 0)
            can = can & _closes(walk.tail, here, moved)
            yield from ((*walk.path, int(k)) for k in np.flatnonzero(can))
            return
        for k in map(int, np.flatnonzero(can)):
            path = (*walk.path, k)
            gain = walk.gain + float(self._most[k])
            further = _Walk(walk.start, walk.tail, path, self.edges[k].head, here[k], moved[k], gain)
            yield from self._walks(further, length - 1, steps, rising=rising)

    def _follows(self, head: Value | None) -> Mask:
        """The edges that can come after one with this head."""
        key = _kind(head)
        if key not in self._after:
            self._after[key] = np.array([meets(head, edge.tail) for edge in self.edges], dtype=np.bool_)
        return self._after[key]

    def _leads_to(self, tail: Value | None) -> Mask:
        """The edges that can come before one with this tail."""
        key = _kind(tail)
        if key not in self._before:
            self._before[key] = np.array([meets(edge.head, tail) for edge in self.edges], dtype=np.bool_)
        return self._before[key]

    def _stacked(self, boxes: Sequence[Sides]) -> Sides:
        """[box, column, 2]; columns that a box does not have are unbounded."""
        array = np.empty((len(boxes), self._width, 2))
        array[:, :, 0], array[:, :, 1] = -np.inf, np.inf
        for k, box in enumerate(boxes):
            array[k, : len(box)] = box
        return array


@dataclass(frozen=True, slots=True, eq=False)
class _Walk:
    """From the tail of `start` to `head`: where that record lies, what it has more than the first, the gain so far."""

    start: Edge
    tail: Sides
    path: tuple[int, ...]
    head: Value | None
    here: Sides
    moved: Sides
    gain: float


def _closes(tail: Sides, here: Sides, moved: Sides) -> Mask:
    """Could the last record be the first one? [..., column, 2] → [...]"""
    low, high = np.maximum(here[..., 0], tail[..., 0]), np.minimum(here[..., 1], tail[..., 1])
    columns = (low <= high) & (moved[..., 0] <= 0) & (moved[..., 1] >= 0)
    return np.asarray(columns.all(axis=-1), dtype=np.bool_)


def _gain(edge: Edge) -> float:
    return np.inf if edge.most is None else float(floats([(edge.most, edge.most)])[0, 1])


def _kind(value: Value | None) -> str | Statistic | None:
    return value.reward if isinstance(value, Call) else value


def meets(head: Value | None, tail: Value | None) -> bool:
    """Could they be the same node, or is the one data constant known to be at most the other?"""
    if isinstance(head, Statistic) and isinstance(tail, Statistic):
        return at_most(head, tail)
    if isinstance(head, Call) and isinstance(tail, Call):
        return head.reward == tail.reward
    return head is None and tail is None


def contradicts(edges: Sequence[Edge]) -> bool:
    """Could the gains of this cycle, by their exact bounds, sum to more than 0, or to 0 with a strict one?"""
    total = Fraction(0)
    for edge in edges:
        if edge.most is None:
            return True
        total += edge.most
    return total > 0 or (total == 0 and any(edge.strict for edge in edges))
