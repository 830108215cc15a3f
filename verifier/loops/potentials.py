"""Why no loop pays, for all loops at once: a potential for each cell that no move raises less than it adds.

Let w(u, v) be an upper bound of what a move from cell u to cell v adds, and p a number for each cell with

    p(u) + w(u, v) <= p(v)      for every move that is not refuted (`<` where a sum of 0 is already too much).

A loop of records x₁ … xₙ runs through cells c₁ … cₙ, and each of its moves is one of these, the closing one included.
So its sum is at most Σ w(cᵢ, cᵢ₊₁) <= Σ p(cᵢ₊₁) − p(cᵢ) = 0: every potential is added once and taken off once. It stays
true when w bounds what the move adds plus φ_u(x) − φ_v(y) for any function φ_u of the records of each cell, for what
that puts in at one move it takes out at the next; affine φ_u, with the slope of the reward, let cells be far larger.

Such p exist just if no cycle of cells has a positive sum, and the largest sum of a path that ends in a cell is one
(Bellman and Ford). Weights are rounded up to a grid of whole numbers; paths and the check of every inequality are then
sums of int64 that stay below 2^62, so there is no rounding in the argument. Cells that lie on no common cycle need no
common p: strongly connected components are settled one by one, and moves between them lie on no loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, frexp

import networkx as nx
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]

LIMIT = 2**60
LOOKS = 8  # rounds of relaxation between two looks for a cycle


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Moves between cells 0 … count−1."""

    count: int
    source: Index
    target: Index

    def take(self, moves: Mask) -> Graph:
        return Graph(self.count, self.source[moves], self.target[moves])


def refined(graph: Graph, weight: Array, cut: Index) -> tuple[Index, Graph, Array]:
    """The graph when each of the cells `cut` has become two: first come the cells that stay (returned), then all lower
    halves, then all upper ones. Moves of halves are those of their parents, and their weights are not known (NaN)."""
    kept = np.ones(graph.count, dtype=np.bool_)
    kept[cut] = False
    stay = np.flatnonzero(kept)
    first, second = np.full(graph.count, -1), np.full(graph.count, -1)
    first[stay] = np.arange(len(stay))
    first[cut] = len(stay) + np.arange(len(cut))
    second[cut] = first[cut] + len(cut)
    untouched = kept[graph.source] & kept[graph.target]
    sources, targets = [first[graph.source[untouched]]], [first[graph.target[untouched]]]
    u, v = graph.source[~untouched], graph.target[~untouched]
    for left in (first, second):
        for right in (first, second):
            there = (left[u] >= 0) & (right[v] >= 0)
            sources.append(left[u][there])
            targets.append(right[v][there])
    moves = Graph(len(stay) + 2 * len(cut), np.concatenate(sources), np.concatenate(targets))
    old = weight[untouched]
    return stay, moves, np.concatenate((old, np.full(len(moves.source) - len(old), np.nan)))


def components(graph: Graph) -> tuple[Index, int]:
    """The strongly connected component of each cell, numbered so that moves go from lower to higher; how many."""
    found = nx.DiGraph()
    found.add_nodes_from(range(graph.count))
    found.add_edges_from(zip(graph.source.tolist(), graph.target.tolist(), strict=True))
    parts = list(nx.strongly_connected_components(found))  # Tarjan's: what is reached comes first
    label = np.zeros(graph.count, dtype=np.int64)
    for number, members in enumerate(reversed(parts)):
        label[list(members)] = number
    return label, len(parts)


def gridded(weight: Array, count: int, weak: bool) -> tuple[Index, int]:
    """(W, s): W >= weight · 2^s, whole, below LIMIT / count² in size; plus 1 where a sum of 0 is too much.

    Very low weights are raised: a cycle of at most `count` moves gains no positive sum by it. None is +inf.
    """
    top = LIMIT // ((count + 2) * (count + 2))
    largest = float(weight.max(initial=0.0))
    if largest <= 0.0:
        low = weight[np.isfinite(weight)]
        largest = float(-low.min(initial=0.0)) or 1.0
    exponent = max(min(floor(np.log2(float(top))) - frexp(largest)[1] - 1, 1000), -1000)
    with np.errstate(all="ignore"):
        scaled = np.ceil(np.ldexp(weight, exponent))
    scaled = np.where((weight > 0) & (scaled < 1), 1.0, scaled)  # a product that was flushed to 0
    whole = np.maximum(scaled, -float(top) * (count + 1)).astype(np.int64)
    return whole + int(weak), exponent


@dataclass(frozen=True, slots=True, eq=False)
class Relaxed:
    """`potential` [cell], if `cycles` is empty; else cycles of cells without a common cell whose sums are positive."""

    potential: Index
    cycles: tuple[tuple[int, ...], ...]


def relax(graph: Graph, weight: Index) -> Relaxed:
    """Bellman and Ford on whole numbers, all cells at once; a cycle that is found is taken out, until none is left."""
    order = np.lexsort((graph.source, graph.target))
    source, target, added = graph.source[order], graph.target[order], weight[order]
    loop = (source == target) & (added > 0)
    cycles: list[tuple[int, ...]] = [(int(u),) for u in np.unique(source[loop])]
    potential = np.zeros(graph.count, dtype=np.int64)
    while True:
        gone = np.zeros(graph.count, dtype=np.bool_)
        gone[[u for cycle in cycles for u in cycle]] = True
        kept = ~(gone[source] | gone[target])
        potential, found = _settle(graph.count, source[kept], target[kept], added[kept])
        if not found:
            return Relaxed(potential, tuple(cycles))
        cycles += found


def _settle(count: int, source: Index, target: Index, added: Index) -> tuple[Index, list[tuple[int, ...]]]:
    """Potentials, or some disjoint cycles of positive sum. Moves are sorted by target."""
    potential = np.zeros(count, dtype=np.int64)
    if not len(source):
        return potential, []
    starts = np.flatnonzero(np.concatenate(([True], target[1:] != target[:-1])))
    heads, sizes = target[starts], np.diff(np.append(starts, len(target)))
    before = np.full(count, count, dtype=np.int64)  # whence a cell was raised last; `count`: never
    rounds = 0
    while True:
        reached = potential[source] + added
        best = np.maximum.reduceat(reached, starts)
        raised = best > potential[heads]
        if not raised.any():
            return potential, []
        which = np.flatnonzero(reached == np.repeat(np.where(raised, best, np.iinfo(np.int64).max), sizes))
        before[target[which]] = source[which]
        potential[heads[raised]] = best[raised]
        rounds += 1
        if rounds % LOOKS == 0 or rounds > count:
            found = _rings(before, count)
            if found:
                return potential, found


def _rings(before: Index, count: int) -> list[tuple[int, ...]]:
    """The cycles of the map cell → `before`. Each has a positive sum: going round it, every cell was raised to what the
    one before it had plus the move, and one of those has been raised again since."""
    jump = np.append(before, count)
    steps = 1
    while steps <= count:
        jump = jump[jump]
        steps *= 2
    rings: list[tuple[int, ...]] = []
    seen: set[int] = set()
    for first in np.unique(jump[jump < count]).tolist():
        if first in seen:
            continue
        ring = [first]
        cell = int(before[first])
        while cell != first:
            ring.append(cell)
            cell = int(before[cell])
        seen.update(ring)
        rings.append(tuple(reversed(ring)))
    return rings


def settles(graph: Graph, weight: Index, potential: Index) -> bool:
    """The check that the proof rests on: p(u) + W <= p(v) for every move, in exact integers."""
    if not len(weight):
        return True
    small = max(int(np.abs(weight).max()), int(np.abs(potential).max())) < 2**61
    return small and bool((potential[graph.source] + weight <= potential[graph.target]).all())


def exact_potentials(
    count: int, moves: list[tuple[int, int, int]], weak: bool
) -> tuple[list[int], tuple[int, ...] | None]:
    """Potentials in units of 1 / (count + 1), or a cycle of positive sum (with `weak`: of a sum of 0 too), among moves
    (from, to, whole weight). For the few graphs where float bounds are off by their own rounding: Python's integers."""
    scaled = [(u, v, w * (count + 1) + int(weak)) for u, v, w in moves]
    level, before, last = [0] * count, [-1] * count, -1
    for _ in range(count + 1):
        last = -1
        for u, v, w in scaled:
            if level[u] + w > level[v]:
                level[v], before[v], last = level[u] + w, u, v
        if last < 0:
            assert all(level[u] + w <= level[v] for u, v, w in scaled), "Bellman and Ford has settled"
            return level, None
    for _ in range(count):
        last = before[last]
    ring = [last]
    while before[ring[-1]] != last:
        ring.append(before[ring[-1]])
    return level, tuple(reversed(ring))
