"""The walk over cells, compiled: depth first, each cell bounded, shrunk, looked into and cut.

A cell is dead where some alternative cannot hold in it, for every alternative: one of its rows is positive all over
the box, or a combination of rows with non-negative multipliers is, found by a small linear program. What is left of a
box is what its rows allow. Then the cell is cut: along an input while many neurons are unstable, else at the neuron
whose relaxation costs the rows most, which leaves two cells without that relaxation. Both cuts cover the cell, and
rows are only ever used in cells at whose points they are at most 0: those of a neuron on the side it is held to, and
those that were aimed at, of the one alternative that is left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from rewarden.verifier.cells.bounds import SLACK, TINY, UNSTABLE, Cell, aimed_row, bound_neurons, least_of, values
from rewarden.verifier.cells.network import WIDTH, Aim, Array, Net, Whole
from rewarden.verifier.cells.simplex import least_top

DEPTH = 512  # cells that wait, at most
HELD = 40  # neurons held by decision in one cell, at most
FEW = 24  # unstable neurons up to which cells are cut at neurons
GAPS = 2.0  # how much of what a relaxation costs counts, where a variable to cut is chosen
SHRUNK = 0.7  # of its volume: a cell that has shrunk below this is bounded again
ROUNDS = 3

DONE, FOUND, PAUSED, FULL = 0, 1, 2, 3
DEAD, INPUT, NEURON, EACH = 0, 1, 2, 3  # of Trail.kind, as in `verifier.trail`
Truths = NDArray[np.bool_]
Kinds = NDArray[np.int8]


class Waiting(NamedTuple):
    """Cells that wait, [slot, ...]; only the first `pile[0]` are in use."""

    lo: Array
    hi: Array
    least: Array
    most: Array
    alive: Truths  # [slot, alternative]
    rows: Whole  # [slot] how many rows hold; the first `held[slot]` are of held neurons
    C: Array  # [slot, row, input]
    c: Array
    held: Whole
    node: Whole  # [slot, HELD]
    neuron: Whole
    side: Whole  # 1 or 2, as Cell.held
    share: Array  # [slot] of the whole, by volume
    pile: Whole  # [1] how many


class Log(NamedTuple):
    """What became of each cell, [event], in the order in which they were taken up: depth first, so that it tells the
    tree. Nobody reads it where there is no room for an event."""

    kind: Kinds  # DEAD, or how it was cut
    what: Whole  # the input, the node, or the alternatives, a bit for each
    which: Whole  # the neuron; of a cut at an input the alternatives that are left
    at: Array
    size: Whole  # [1] how many


class Tally(NamedTuple):
    """[1] each: boxes bounded, cells that could not be cut, and the share of the whole that is settled."""

    boxes: Whole
    stuck: Whole
    settled: Array


def new_waiting(net: Net, aim: Aim, rows: int) -> Waiting:
    nodes, wide = net.bias.shape
    inputs, alternatives = int(net.graph[0, WIDTH]), len(aim.first) - 1
    return Waiting(
        np.zeros((DEPTH, inputs)), np.zeros((DEPTH, inputs)), np.zeros((DEPTH, nodes, wide)),
        np.zeros((DEPTH, nodes, wide)), np.zeros((DEPTH, alternatives), np.bool_), np.zeros(DEPTH, np.int64),
        np.zeros((DEPTH, HELD + rows, inputs)), np.zeros((DEPTH, HELD + rows)), np.zeros(DEPTH, np.int64),
        np.zeros((DEPTH, HELD), np.int64), np.zeros((DEPTH, HELD), np.int64), np.zeros((DEPTH, HELD), np.int64),
        np.zeros(DEPTH), np.zeros(1, np.int64),
    )  # fmt: skip


def new_log(room: int) -> Log:
    return Log(
        np.zeros(room, np.int8), np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros(room),
        np.zeros(1, np.int64),
    )  # fmt: skip


def new_tally() -> Tally:
    return Tally(np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1))


@nb.njit(error_model="numpy")
def _set(to: NDArray[Any], values: NDArray[Any]) -> None:
    """`to[:] = values`, which takes numba ten times as long to compile."""
    for k in range(to.shape[0]):
        to[k] = values[k]


@nb.njit(error_model="numpy")
def _note(log: Log, kind: int, what: int, which: int, at: float) -> None:
    event = log.size[0]
    if event < log.kind.shape[0]:
        log.kind[event], log.what[event], log.which[event], log.at[event] = kind, what, which, at
        log.size[0] = event + 1


@nb.njit(error_model="numpy")
def _shrink(C: Array, c: Array, rows: int, lo: Array, hi: Array, discrete: Truths, g: float) -> bool:
    """Cuts off the box what some row C·x + c <= 0 excludes, in place; False where nothing is left.

    Where C_d > 0, C_d·x_d <= -(least of the row) + C_d·lo_d; the quotient is rounded away from what it cuts off.
    """
    for _ in range(3):
        for k in range(rows):
            least = least_of(C[k], c[k], lo, hi, g)
            if least > 0.0:
                return False
            for d in range(lo.shape[0]):
                step = least / C[k, d] if C[k, d] != 0.0 else np.inf
                if not np.isfinite(step):
                    continue
                end = lo[d] - step if C[k, d] > 0.0 else hi[d] - step
                slack = SLACK * (abs(step) + abs(lo[d]) + abs(hi[d])) + TINY
                if C[k, d] > 0.0:
                    end = np.floor(end + slack) if discrete[d] else end + slack
                    if end < hi[d]:
                        hi[d] = end
                else:
                    end = np.ceil(end - slack) if discrete[d] else end - slack
                    if end > lo[d]:
                        lo[d] = end
                if lo[d] > hi[d]:
                    return False
    return True


@nb.njit(error_model="numpy")
def _excluded(C: Array, c: Array, rows: int, multipliers: Array, lo: Array, hi: Array, g: float) -> bool:
    """Is Σ λ·(C·x + c) rigorously positive all over the box? Then no point of it has all rows at most 0."""
    total, size = 0.0, 0.0
    for k in range(rows):
        total += multipliers[k] * c[k]
        size += abs(multipliers[k] * c[k])
    for d in range(lo.shape[0]):
        value, reach = 0.0, 0.0
        for k in range(rows):
            value += multipliers[k] * C[k, d]
            reach += abs(multipliers[k] * C[k, d])
        total += value * lo[d] if value > 0.0 else value * hi[d]
        size += reach * max(abs(lo[d]), abs(hi[d]))
    return total - (g * size + TINY) > 0.0


@nb.njit(error_model="numpy")
def _push(waiting: Waiting, slot: int, cell: Cell, alive: Truths, share: float) -> None:
    _set(waiting.lo[slot], cell.lo)
    _set(waiting.hi[slot], cell.hi)
    for q in range(cell.least.shape[0]):
        _set(waiting.least[slot, q], cell.least[q])
        _set(waiting.most[slot, q], cell.most[q])
    _set(waiting.alive[slot], alive)
    waiting.share[slot] = share


@nb.njit(error_model="numpy")
def _copy_rows(waiting: Waiting, slot: int, other: int) -> None:
    waiting.rows[other] = waiting.rows[slot]
    waiting.held[other] = waiting.held[slot]
    for k in range(waiting.rows[slot]):
        _set(waiting.C[other, k], waiting.C[slot, k])
        waiting.c[other, k] = waiting.c[slot, k]
    _set(waiting.node[other], waiting.node[slot])
    _set(waiting.neuron[other], waiting.neuron[slot])
    _set(waiting.side[other], waiting.side[slot])


@nb.njit(error_model="numpy")
def _walk(
    net: Net,
    aim: Aim,
    cell: Cell,
    waiting: Waiting,
    tally: Tally,
    log: Log,
    discrete: Truths,
    whole: Array,
    steps: int,
    g: float,
    near: float,
    found: Array,
) -> int:
    """Up to `steps` cells. FOUND: `found` [input] may violate (its cell waits on, so that a false alarm loses nothing).

    `near`: how far below 0 the rows must be there, relatively. `whole` [input]: widths that cuts are compared with
    where no row reads a variable.
    """
    n, last = net.graph[0, WIDTH], net.bias.shape[0] - 1
    alternatives, count = aim.first.shape[0] - 1, aim.bias.shape[0]
    room = waiting.c.shape[1]
    aimed, constants = np.zeros((count, n)), np.zeros(count)
    C, c = np.zeros((room, n)), np.zeros(room)
    tableau, basis = np.zeros((room + 1, n + room + 2)), np.zeros(room, np.int64)
    flipped, multipliers = np.zeros(n, np.bool_), np.zeros(room)
    points, alive = np.zeros((alternatives + 1, n)), np.zeros(alternatives, np.bool_)
    lo, hi, hull_lo, hull_hi = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    y, f = np.zeros(net.bias.shape), np.zeros(count)
    while waiting.pile[0] > 0:
        if steps <= 0:
            return PAUSED
        steps -= 1
        slot = waiting.pile[0] - 1
        waiting.pile[0] = slot
        tally.boxes[0] += 1
        share = waiting.share[slot]
        _set(cell.lo, waiting.lo[slot])
        _set(cell.hi, waiting.hi[slot])
        for q in range(last + 1):
            _set(cell.least[q], waiting.least[slot, q])
            _set(cell.most[q], waiting.most[slot, q])
        _set(alive, waiting.alive[slot])
        held, rows = waiting.held[slot], waiting.rows[slot]
        for k in range(held):
            cell.held[waiting.node[slot, k], waiting.neuron[slot, k]] = waiting.side[slot, k]
        # Numbers, and not the constant 0: numba would compile `_cut` once for that and once for numbers.
        unstable, living, only = held, held, held
        for _ in range(ROUNDS):
            living = 0
            unstable = bound_neurons(net, cell, waiting.C[slot], waiting.c[slot], rows, g)
            if unstable < 0:
                break
            for k in range(held):
                q, i = waiting.node[slot, k], waiting.neuron[slot, k]
                if waiting.side[slot, k] == 1:  # z >= 0, and B·x + b <= -z
                    _set(waiting.C[slot, k], cell.B[q, i])
                    waiting.c[slot, k] = cell.b[q, i]
                else:
                    _set(waiting.C[slot, k], cell.A[q, i])
                    waiting.c[slot, k] = cell.a[q, i]
                _set(C[k], waiting.C[slot, k])
                c[k] = waiting.c[slot, k]
            for q in range(last + 1):
                for i in range(net.graph[q, WIDTH]):
                    cell.score[q, i] = 0.0
            for d in range(n):
                hull_lo[d], hull_hi[d] = np.inf, -np.inf
            for one in range(alternatives):
                if not alive[one]:
                    continue
                alive[one] = False
                top = held
                possible = True
                for k in range(aim.first[one], aim.first[one + 1]):
                    constants[k] = aimed_row(net, aim, cell, k, g)
                    _set(aimed[k], cell.row)
                    _set(C[top], cell.row)
                    c[top] = constants[k]
                    top += 1
                    if least_of(cell.row, constants[k], cell.lo, cell.hi, g) > 0.0:
                        possible = False
                        break
                if not possible:
                    continue
                _set(lo, cell.lo)
                _set(hi, cell.hi)
                if not _shrink(C, c, top, lo, hi, discrete, g):
                    continue
                least_top(C, c, top, lo, hi, tableau, basis, flipped, multipliers, points[one])
                if _excluded(C, c, top, multipliers, lo, hi, g):
                    continue
                alive[one] = True
                living += 1
                only = one
                for d in range(n):
                    hull_lo[d] = min(hull_lo[d], lo[d])
                    hull_hi[d] = max(hull_hi[d], hi[d])
            if living == 0:
                break
            rows = held
            if living == 1:
                for k in range(aim.first[only], aim.first[only + 1]):
                    _set(waiting.C[slot, rows], aimed[k])
                    waiting.c[slot, rows] = constants[k]
                    rows += 1
            kept = 1.0
            for d in range(n):
                if cell.hi[d] > cell.lo[d]:
                    kept *= (hull_hi[d] - hull_lo[d]) / (cell.hi[d] - cell.lo[d])
            _set(cell.lo, hull_lo)
            _set(cell.hi, hull_hi)
            if kept >= SHRUNK:
                break
        for k in range(held):
            cell.held[waiting.node[slot, k], waiting.neuron[slot, k]] = 0
        if unstable < 0 or living == 0:
            tally.settled[0] += share
            _note(log, DEAD, 0, 0, 0.0)
            continue
        waiting.rows[slot] = rows
        hit = -1
        for one in range(alternatives + 1):
            if one < alternatives and not alive[one]:
                continue
            if one == alternatives:
                for d in range(n):
                    points[one, d] = 0.5 * cell.lo[d] + 0.5 * cell.hi[d]
            for d in range(n):
                if discrete[d]:
                    points[one, d] = min(max(np.floor(points[one, d] + 0.5), cell.lo[d]), cell.hi[d])
            if _violates(net, aim, points[one], near, y, f):
                hit = one
                break
        status = _cut(net, aim, cell, waiting, log, slot, alive, living, unstable, aimed, discrete, whole, share, last)
        if status == 0:
            tally.stuck[0] += 1
        if status < 0:
            waiting.pile[0] = slot + 1  # it waits on
        if hit >= 0:
            _set(found, points[hit])
            return FOUND
        if status < 0:
            return FULL
    return DONE


@nb.njit(error_model="numpy")
def _violates(net: Net, aim: Aim, x: Array, near: float, y: Array, f: Array) -> bool:
    values(net, aim, x, y, f)
    for one in range(aim.first.shape[0] - 1):
        good = True
        for k in range(aim.first[one], aim.first[one + 1]):
            if not f[k] <= -near * (1.0 + abs(aim.bias[k])):
                good = False
                break
        if good:
            return True
    return False


@nb.njit(error_model="numpy")
def _cut(
    net: Net,
    aim: Aim,
    cell: Cell,
    waiting: Waiting,
    log: Log,
    slot: int,
    alive: Truths,
    living: int,
    unstable: int,
    aimed: Array,
    discrete: Truths,
    whole: Array,
    share: float,
    last: int,
) -> int:
    """Puts the parts of the cell in slot `slot` on the pile; 1, or 0 where it cannot be cut, -1 where the pile is
    full."""
    n, held = net.graph[0, WIDTH], waiting.held[slot]
    if slot + max(living, 2) > DEPTH:
        return -1
    if unstable <= FEW and living > 1:
        other, left = slot, 0
        for one in range(alive.shape[0]):
            if alive[one]:
                left |= 1 << one
                if other != slot:
                    _copy_rows(waiting, slot, other)
                _push(waiting, other, cell, alive, share / living)
                for each in range(alive.shape[0]):
                    waiting.alive[other, each] = each == one
                other += 1
        waiting.pile[0] = other
        _note(log, EACH, left, 0, 0.0)
        return 1
    if 0 < unstable <= FEW and held < HELD:
        best, at, which = 0.0, -1, -1
        for q in range(1, last + 1):
            for i in range(net.graph[q, WIDTH]):
                if cell.phase[q, i] == UNSTABLE and cell.score[q, i] > best:
                    best, at, which = cell.score[q, i], q, i
        if at >= 0:
            for k in range(waiting.rows[slot], held, -1):
                _set(waiting.C[slot, k], waiting.C[slot, k - 1])
                waiting.c[slot, k] = waiting.c[slot, k - 1]
            waiting.rows[slot] += 1
            waiting.held[slot] += 1
            waiting.node[slot, held], waiting.neuron[slot, held] = at, which
            _copy_rows(waiting, slot, slot + 1)
            for side in range(1, 3):
                other = slot + side - 1
                _push(waiting, other, cell, alive, 0.5 * share)
                waiting.side[other, held] = side
                _set(waiting.C[other, held], cell.B[at, which] if side == 1 else cell.A[at, which])
                waiting.c[other, held] = cell.b[at, which] if side == 1 else cell.a[at, which]
            waiting.pile[0] = slot + 2
            _note(log, NEURON, at, which, 0.0)
            return 1
    variable, best = -1, -1.0
    for d in range(n):
        width = cell.hi[d] - cell.lo[d]
        middle = 0.5 * cell.lo[d] + 0.5 * cell.hi[d]
        possible = width >= 1.0 if discrete[d] else cell.lo[d] < middle < cell.hi[d]
        if not possible:
            continue
        steep = 0.0
        for one in range(alive.shape[0]):
            if alive[one]:
                for k in range(aim.first[one], aim.first[one + 1]):
                    steep += abs(aimed[k, d])
        for q in range(1, last + 1):
            for i in range(net.graph[q, WIDTH]):
                if cell.phase[q, i] == UNSTABLE and cell.score[q, i] > 0.0:
                    share_of_gap = (abs(cell.A[q, i, d]) + abs(cell.B[q, i, d])) / (cell.most[q, i] - cell.least[q, i])
                    steep += GAPS * cell.score[q, i] * share_of_gap
        worth = steep * width
        if worth > best:
            variable, best = d, worth
    if variable < 0 or best == 0.0:
        for d in range(n):
            width = cell.hi[d] - cell.lo[d]
            middle = 0.5 * cell.lo[d] + 0.5 * cell.hi[d]
            possible = width >= 1.0 if discrete[d] else cell.lo[d] < middle < cell.hi[d]
            if possible and width > best * whole[d]:
                variable, best = d, width / whole[d]
    if variable < 0:
        return 0
    middle = 0.5 * cell.lo[variable] + 0.5 * cell.hi[variable]
    lower, upper = middle, middle
    if discrete[variable]:
        lower = np.floor(middle)
        upper = lower + 1.0
    _copy_rows(waiting, slot, slot + 1)
    _push(waiting, slot, cell, alive, 0.5 * share)
    _push(waiting, slot + 1, cell, alive, 0.5 * share)
    waiting.lo[slot, variable] = upper
    waiting.hi[slot + 1, variable] = lower
    waiting.pile[0] = slot + 2
    left = 0
    for one in range(alive.shape[0]):
        if alive[one]:
            left |= 1 << one
    _note(log, INPUT, variable, left, middle)
    return 1


def _entry(sources: int) -> Callable[..., int]:
    """`_walk` as a function whose compiled form is kept on disk.

    numba looks a kept function up by the file and the code of that function alone, and would go on using it after a
    change to those that it calls. What it closes over is part of the key as well: here, all sources.
    """

    @nb.njit(cache=True, error_model="numpy")
    def walk(
        net: Net,
        aim: Aim,
        cell: Cell,
        waiting: Waiting,
        tally: Tally,
        log: Log,
        discrete: Truths,
        whole: Array,
        steps: int,
        g: float,
        near: float,
        found: Array,
    ) -> int:
        return _walk(net, aim, cell, waiting, tally, log, discrete, whole, steps, g, near, found) + 0 * sources

    compiled: Callable[..., int] = walk
    return compiled


def _sources() -> int:
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return int.from_bytes(digest.digest()[:7], "big")


walk = _entry(_sources())
