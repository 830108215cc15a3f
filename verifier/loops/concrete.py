"""Loops of concrete records, looked for among points of the cells of a suspicious component.

Each cell gives a few points, each move between cells the moves between their points that the rule allows, with what
they add. A cycle of positive sum among them is a loop that pays, in float64: a hint, which is replayed exactly before
it counts. Among the points of the cycle the shortest loop that pays is taken.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rewarden.verifier.loops.bounds import MoveBounds
from rewarden.verifier.loops.partition import Cells
from rewarden.verifier.loops.potentials import Graph, gridded, relax

Array = NDArray[np.float64]
Index = NDArray[np.int64]

MOST_PAIRS = 120_000  # of points, evaluated at once
LONGEST = 64  # records of a loop that is told


def points_of(cells: Cells, count: int, seed: int) -> Array:
    """The centre of each cell, then count − 1 random points of it, [count · cell, column]; binary32 where that stays
    inside, so that the deployed reward sees the very record."""
    generator = np.random.default_rng(seed)
    parts = [cells.centres()]
    for _ in range(count - 1):
        free = cells.lo + generator.random(cells.lo.shape) * (cells.hi - cells.lo)
        whole = np.floor(cells.lo + generator.random(cells.lo.shape) * (cells.hi - cells.lo + 1))
        parts.append(np.where(cells.discrete, np.clip(whole, cells.lo, cells.hi), free))
    rows = np.concatenate(parts)
    single = rows.astype(np.float32).astype(np.float64)
    lo, hi = np.tile(cells.lo, (count, 1)), np.tile(cells.hi, (count, 1))
    return np.where((single >= lo) & (single <= hi), single, rows)


def paying_loops(bounds: MoveBounds, cells: Cells, graph: Graph, weak: bool, seed: int) -> list[Array]:
    """Loops of points [record, column] that seem to pay, the shortest first."""
    points, moves, added = _moves(bounds, cells, graph, seed)
    if not len(moves.source):
        return []
    weight, _ = gridded(added, moves.count, weak)
    return _loops(points, moves, weight)


def loops_among(bounds: MoveBounds, cells: Cells, graph: Graph, seed: int) -> list[Array]:
    """Loops of points, whatever they add."""
    points, moves, added = _moves(bounds, cells, graph, seed)
    return _loops(points, moves, np.ones(len(added), dtype=np.int64)) if len(added) else []


def _moves(bounds: MoveBounds, cells: Cells, graph: Graph, seed: int) -> tuple[Array, Graph, Array]:
    """Points of the cells, the moves of the rule between them, and what those add, in float64."""
    count = 1
    while count < 4 and (count + 1) ** 2 * len(graph.source) <= MOST_PAIRS:
        count += 1
    points = points_of(cells, count, seed)
    shift = np.arange(count) * len(cells)
    source = (graph.source[:, None, None] + shift[None, :, None]).repeat(count, axis=2).reshape(-1)
    target = (graph.target[:, None, None] + shift[None, None, :]).repeat(count, axis=1).reshape(-1)
    keep = np.flatnonzero((graph.source != graph.target).repeat(count * count) | (source == target))[:MOST_PAIRS]
    source, target = source[keep], target[keep]
    able, added = bounds.at_points(np.hstack((points[source], points[target])))
    able &= np.isfinite(added)
    return points, Graph(len(points), source[able], target[able]), added[able]


def _loops(points: Array, moves: Graph, weight: Index) -> list[Array]:
    loops = [_shortest(moves, weight, cycle) for cycle in relax(moves, weight).cycles]
    return [points[list(loop)] for loop in sorted(loops, key=len) if len(loop) <= LONGEST]


def _shortest(moves: Graph, weight: Index, cycle: tuple[int, ...]) -> tuple[int, ...]:
    """The shortest loop that pays among the points of one, or itself."""
    size = len(cycle)
    if size < 3 or size > 2 * LONGEST:
        return cycle
    place = np.full(moves.count, -1, dtype=np.int64)
    place[list(cycle)] = np.arange(size)
    inside = (place[moves.source] >= 0) & (place[moves.target] >= 0)
    never = -(2**61)
    step = np.full((size, size), never, dtype=np.int64)
    np.maximum.at(step, (place[moves.source[inside]], place[moves.target[inside]]), weight[inside])
    reach, way = step, [np.zeros((size, size), dtype=np.int64)]
    for length in range(1, size):
        paying = np.flatnonzero(np.diagonal(reach) > 0)
        if len(paying):
            loop = [int(paying[0])]
            at = loop[0]
            for back in reversed(way[1:length]):
                at = int(back[loop[0], at])
                loop.append(at)
            return tuple(cycle[k] for k in [loop[0], *reversed(loop[1:])])
        through = np.maximum(reach[:, :, None] + step[None, :, :], never)
        way.append(through.argmax(axis=1))
        reach = through.max(axis=1)
    return cycle
