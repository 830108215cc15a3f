"""Bounds of all neurons over one branch, compiled, made from nothing as the kernel makes them, in plain floats.

The kernel takes intervals, and back-substitution where they leave a sign open. Most of what intervals leave open is
stable all the same, and a row below and a row above each neuron, carried forwards, say so for a fraction of the cost:
what they show, back-substitution shows too, with the same lines. (It is tighter but where a row leaves the bounds
between which its lines hold: in five thousand branches of ACAS Xu 1_1/6 some neurons were bounded better forwards, by
0.2 % of their width and less. So a sign needs `NEARLY` to spare, and bounds of what stays open are never those of
forward rows.) Only what rows leave open as well is back-substituted, some neurons at once, and through those alone
that are not off.

Forwards, the two rows P and U of an output are carried as (P + U)/2 and (U − P)/2, by which a weight w enters as w
times the one and |w| times the other, whatever its sign. Nothing is proved here: what is concluded from a row has
`MARGIN` to spare, and leaves are given slack for the rest.
"""

from __future__ import annotations

from typing import NamedTuple

import numba as nb
import numpy as np

from rewarden.verifier.cells.bounds import ABOVE, LOWER, OFF, ON, UNSTABLE, UPPER, Cell
from rewarden.verifier.cells.network import FIRST, SOURCE, WIDTH, Array, Net, Whole

LANES = 8  # functionals that are back-substituted together, side by side
MARGIN = 2.0**-36  # of the size of a row: what it shows by less is left to back-substitution
NEARLY = 2.0**-5  # likewise, of the width of a neuron


class Own(NamedTuple):
    """The layers as the kernel's intervals see them: layer k has blocks first[k] … first[k + 1] − 1, each about the
    output of layer source[e] − 1 (0: the variables), by a matrix, or by a diagonal where `matrix[e]` is −1."""

    node: Whole  # [layer]: its node, 0 for a linear one
    width: Whole
    first: Whole
    source: Whole
    matrix: Whole
    turned: Array  # [matrix, j, i]: weights by column
    diagonal: Array  # [block, i]
    bias: Array  # [layer, i]


class Scratch(NamedTuple):
    """What is known of one branch besides its `Cell`."""

    turned: Array  # [edge, j, i]: weights by column, and their sizes (of the net, not of a branch)
    sizes: Array
    middle: Array  # [node, input + 1, neuron]: rows of outputs, the constant last
    spread: Array
    active: Whole  # [node, position]: the neurons that are not off
    counts: Whole  # [node]
    packed: Array  # [edge, position of j, position of i]: weights between those
    many: Array  # [node, position, lane]: coefficients on their outputs
    onto: Array  # [position, lane]: and on the pre-activations of one node
    constant: Array  # [lane]
    which: Whole  # [lane]: the neuron that it is about
    side: Array  # [lane]: 1, or −1
    rows: Array  # [4, input + 1, neuron]: of one node, its middle and spread; below and above
    reach: Array  # [neuron]
    mid: Array  # [layer + 1, i]: what the kernel's intervals read, 0 for the variables
    radius: Array
    lowest: Array  # [i]: what intervals say of a layer's pre-activations
    highest: Array


def new_scratch(net: Net, own: Own) -> Scratch:
    nodes, wide = net.bias.shape
    inputs, layers, widest = int(net.graph[0, WIDTH]), len(own.width), own.bias.shape[1]
    turned = np.ascontiguousarray(net.weight.transpose(0, 2, 1))
    rows, ranges = (nodes, inputs + 1, wide), (layers + 1, max(inputs, widest))
    return Scratch(
        turned, np.abs(turned), np.zeros(rows), np.zeros(rows), np.zeros((nodes, wide), np.int64),
        np.zeros(nodes, np.int64), np.zeros_like(net.weight), np.zeros((nodes, wide, LANES)), np.zeros((wide, LANES)),
        np.zeros(LANES), np.zeros(LANES, np.int64), np.zeros(LANES), np.zeros((4, inputs + 1, wide)), np.zeros(wide),
        np.zeros(ranges), np.zeros(ranges), np.zeros(widest), np.zeros(widest),
    )  # fmt: skip


@nb.njit(error_model="numpy", fastmath={"contract"})
def _intervals(net: Net, own: Own, cell: Cell, at: Scratch, k: int) -> None:
    """Layer k from the ranges of what it reads: its own range, or `lowest` and `highest` its neurons'
    pre-activations."""
    q, width, mid, radius, lowest, highest = own.node[k], own.width[k], at.mid, at.radius, at.lowest, at.highest
    for i in range(width):
        lowest[i], highest[i] = own.bias[k, i], 0.0  # first the middle and the spread
    for e in range(own.first[k], own.first[k + 1]):
        s, m = own.source[e], own.matrix[e]
        if m < 0:
            for i in range(width):
                lowest[i] += own.diagonal[e, i] * mid[s, i]
                highest[i] += abs(own.diagonal[e, i]) * radius[s, i]
            continue
        for j in range(net.graph[0, WIDTH] if s == 0 else own.width[s - 1]):
            middle, spread = mid[s, j], radius[s, j]
            if middle != 0.0 or spread != 0.0:
                for i in range(width):
                    lowest[i] += own.turned[m, j, i] * middle
                    highest[i] += abs(own.turned[m, j, i]) * spread
    for i in range(width):
        middle, spread = lowest[i], highest[i]
        if q == 0:
            mid[k + 1, i], radius[k + 1, i] = middle, spread
        else:
            lowest[i], highest[i] = middle - spread, middle + spread
            cell.least[q, i] = max(cell.least[q, i], lowest[i])
            cell.most[q, i] = min(cell.most[q, i], highest[i])


@nb.njit(error_model="numpy", fastmath={"contract"})
def _forwards(net: Net, cell: Cell, at: Scratch, q: int, some: bool, g: float) -> None:
    """Rows below and above the pre-activations of node q, their noise, and which are stable by them."""
    graph, turned, sizes, rows, reach = net.graph, at.turned, at.sizes, at.rows, at.reach
    n, width = graph[0, WIDTH], graph[q, WIDTH]
    for d in range(n + 1):
        for i in range(width):
            rows[0, d, i] = rows[1, d, i] = 0.0
    for i in range(width):
        rows[0, n, i] = net.bias[q, i]
        reach[i] = abs(net.bias[q, i])
    for e in range(graph[q, FIRST], graph[q + 1, FIRST]):
        s = graph[e, SOURCE]
        if s == 0:
            for d in range(n):
                for i in range(width):
                    rows[0, d, i] += turned[e, d, i]
                    reach[i] += sizes[e, d, i] * cell.size[0, d]
            continue
        for position in range(at.counts[s]):
            j = at.active[s, position]
            most = cell.size[s, j]
            for i in range(width):
                reach[i] += sizes[e, j, i] * most
            for d in range(n + 1):
                middle, spread = at.middle[s, d, j], at.spread[s, d, j]
                for i in range(width):
                    rows[0, d, i] += middle * turned[e, j, i]
                    rows[1, d, i] += spread * sizes[e, j, i]
    for i in range(width):
        low, high = rows[0, n, i] - rows[1, n, i], rows[0, n, i] + rows[1, n, i]
        rows[2, n, i], rows[3, n, i] = low, high
        size = abs(low) + abs(high)
        for d in range(n):
            v, w = rows[0, d, i] - rows[1, d, i], rows[0, d, i] + rows[1, d, i]
            rows[2, d, i], rows[3, d, i] = v, w
            low += v * (cell.lo[d] if v > 0.0 else cell.hi[d])
            high += w * (cell.hi[d] if w > 0.0 else cell.lo[d])
            size += (abs(v) + abs(w)) * cell.size[0, d]
        own = net.bias_error[q, i]
        if not net.exact:
            for e in range(graph[q, FIRST], graph[q + 1, FIRST]):
                s = graph[e, SOURCE]
                for j in range(graph[s, WIDTH]):
                    own += net.error[e, i, j] * cell.size[s, j]
        cell.noise[q, i] = g * reach[i] + own
        if not some and cell.held[q, i] == 0:
            room = NEARLY * (high - low) + MARGIN * size
            if low > room:
                cell.least[q, i] = max(cell.least[q, i], low)
                cell.most[q, i] = min(cell.most[q, i], high + room)
            elif high < -room:
                cell.most[q, i] = min(cell.most[q, i], high)


@nb.njit(error_model="numpy", fastmath={"contract"})
def _back(net: Net, cell: Cell, at: Scratch, q: int, count: int) -> None:
    """`count` functionals about node q, neuron which[r] below (side[r] = 1) or above (−1): bounds, and rows where they
    are better than those that have come forwards."""
    graph, many, onto, packed, constant = net.graph, at.many, at.onto, at.packed, at.constant
    n = graph[0, WIDTH]
    for s in range(q):
        for position in range(at.counts[s]):
            for r in range(LANES):
                many[s, position, r] = 0.0
    for r in range(count):
        i = at.which[r]
        constant[r] = at.side[r] * net.bias[q, i]
        for e in range(graph[q, FIRST], graph[q + 1, FIRST]):
            s = graph[e, SOURCE]
            for position in range(at.counts[s]):
                many[s, position, r] = at.side[r] * net.weight[e, i, at.active[s, position]]
    for p in range(q - 1, 0, -1):
        inner = at.counts[p]
        for position in range(inner):
            j = at.active[p, position]
            bias = net.bias[p, j]
            if cell.phase[p, j] == UNSTABLE:
                lower, upper, above = cell.lines[p, j, LOWER], cell.lines[p, j, UPPER], cell.lines[p, j, ABOVE]
                for r in range(LANES):
                    c = many[p, position, r]
                    negative = min(c, 0.0)
                    on_z = (c - negative) * lower + negative * upper
                    onto[position, r] = on_z
                    constant[r] += negative * above + on_z * bias
            else:
                for r in range(LANES):
                    c = many[p, position, r]
                    onto[position, r] = c
                    constant[r] += c * bias
        for e in range(graph[p, FIRST], graph[p + 1, FIRST]):
            s = graph[e, SOURCE]
            for k in range(at.counts[s]):  # one register each: arrays that might overlap would be stored at each turn
                t0, t1, t2, t3 = many[s, k, 0], many[s, k, 1], many[s, k, 2], many[s, k, 3]
                t4, t5, t6, t7 = many[s, k, 4], many[s, k, 5], many[s, k, 6], many[s, k, 7]
                for position in range(inner):
                    w = packed[e, k, position]
                    t0 += onto[position, 0] * w
                    t1 += onto[position, 1] * w
                    t2 += onto[position, 2] * w
                    t3 += onto[position, 3] * w
                    t4 += onto[position, 4] * w
                    t5 += onto[position, 5] * w
                    t6 += onto[position, 6] * w
                    t7 += onto[position, 7] * w
                many[s, k, 0], many[s, k, 1], many[s, k, 2], many[s, k, 3] = t0, t1, t2, t3
                many[s, k, 4], many[s, k, 5], many[s, k, 6], many[s, k, 7] = t4, t5, t6, t7
    for r in range(count):
        i, sign, bound = at.which[r], at.side[r], constant[r]
        side = 2 if sign > 0.0 else 3
        before = sign * at.rows[side, n, i]
        for d in range(n):
            value, old = many[0, d, r], sign * at.rows[side, d, i]
            bound += value * (cell.lo[d] if value > 0.0 else cell.hi[d])
            before += old * (cell.lo[d] if old > 0.0 else cell.hi[d])
        if side == 2:
            cell.least[q, i] = max(cell.least[q, i], bound)
        else:
            cell.most[q, i] = min(cell.most[q, i], -bound)
        if bound > before:
            for d in range(n):
                at.rows[side, d, i] = sign * many[0, d, r]
            at.rows[side, n, i] = sign * constant[r]


@nb.njit(error_model="numpy")
def _backwards(net: Net, cell: Cell, at: Scratch, q: int) -> None:
    """The same for neurons of node q that are open still, or held, from below and from above."""
    graph = net.graph
    edges = graph[q + 1, FIRST] - graph[q, FIRST]
    if edges == 0 or (edges == 1 and graph[graph[q, FIRST], SOURCE] == 0):
        return  # intervals know as much
    count = 0
    for i in range(graph[q, WIDTH]):
        if cell.held[q, i] != 0 or cell.least[q, i] < 0.0 < cell.most[q, i]:
            at.which[count], at.which[count + 1] = i, i
            at.side[count], at.side[count + 1] = 1.0, -1.0
            count += 2
            if count == LANES:
                _back(net, cell, at, q, count)
                count = 0
    if count > 0:
        _back(net, cell, at, q, count)


@nb.njit(error_model="numpy")
def _activate(net: Net, cell: Cell, at: Scratch, q: int) -> int:
    """Lines and rows of the outputs of node q. The number of unstable neurons, −1 where one has nowhere to be.

    A held neuron that is 0 all over the cell stays: the kernel reads its output as z."""
    graph, n, unstable, count = net.graph, net.graph[0, WIDTH], 0, 0
    for i in range(graph[q, WIDTH]):
        held = cell.held[q, i]
        if held == 1:
            cell.least[q, i] = max(cell.least[q, i], 0.0)
        elif held == 2:
            cell.most[q, i] = min(cell.most[q, i], 0.0)
        least, most = cell.least[q, i], cell.most[q, i]
        if least > most:
            return -1
        off = most <= 0.0
        cell.size[q, i] = max(most, 0.0)
        if off and (held == 0 or not least >= -4.0 * cell.noise[q, i]):
            cell.phase[q, i] = OFF
        else:
            cell.phase[q, i] = ON
            at.active[q, count] = i
            count += 1
            slope, above, below = 1.0, 0.0, 1.0
            if least < 0.0 and not off:
                unstable += 1
                cell.phase[q, i] = UNSTABLE
                slope = most / (most - least)
                above = max(-slope * least, (1.0 - slope) * most)
                below = 1.0 if most > -least else 0.0
                cell.lines[q, i, UPPER], cell.lines[q, i, ABOVE], cell.lines[q, i, LOWER] = slope, above, below
            for d in range(n + 1):
                low, high = below * at.rows[2, d, i], slope * at.rows[3, d, i] + (above if d == n else 0.0)
                at.middle[q, d, i], at.spread[q, d, i] = 0.5 * low + 0.5 * high, 0.5 * high - 0.5 * low
        if not off:
            cell.noise[q, i] += 2.0**-51 * max(abs(least), most)
        if held != 0 or cell.phase[q, i] == UNSTABLE:
            for d in range(n):
                cell.A[q, i, d], cell.B[q, i, d] = at.rows[2, d, i], -at.rows[3, d, i]
            cell.a[q, i], cell.b[q, i] = at.rows[2, n, i], -at.rows[3, n, i]
    at.counts[q] = count
    for e in range(graph[q, FIRST], graph[q + 1, FIRST]):
        s = graph[e, SOURCE]
        for position in range(count):
            i = at.active[q, position]
            for k in range(at.counts[s]):
                at.packed[e, k, position] = net.weight[e, i, at.active[s, k]]
    return unstable


@nb.njit(error_model="numpy")
def bound_branch(net: Net, own: Own, cell: Cell, at: Scratch, some: bool, g: float) -> int:
    """All neurons over the box of the cell; `least` and `most` are infinite before. The number of unstable ones, or
    −1 where one has nowhere to be; `lowest` and `highest` are what intervals say of its layer. `some`: neurons are
    held.

    Intervals read what the kernel's read: of neurons that they leave open what back-substitution finds as well, of
    those that are held the sign, and from above what a step of the leaf asks for; of the others nothing but intervals,
    as little as that is. Where neurons are held, intervals say what nothing else does, and the forward pass is no
    substitute for what they read."""
    n, unstable = net.graph[0, WIDTH], 0
    at.counts[0] = n
    for d in range(n):
        cell.size[0, d] = max(abs(cell.lo[d]), abs(cell.hi[d]))
        at.active[0, d] = d
        at.mid[0, d], at.radius[0, d] = 0.5 * cell.lo[d] + 0.5 * cell.hi[d], 0.5 * cell.hi[d] - 0.5 * cell.lo[d]
    for k in range(own.width.shape[0]):
        q = own.node[k]
        _intervals(net, own, cell, at, k)
        if q == 0:
            continue
        _forwards(net, cell, at, q, some, g)
        _backwards(net, cell, at, q)
        found = _activate(net, cell, at, q)
        if found < 0:
            return -1
        unstable += found
        for i in range(own.width[k]):
            low, high = at.lowest[i], at.highest[i]
            if cell.held[q, i] == 1:
                high = min(high, cell.most[q, i])
            if cell.held[q, i] == 0 and low < 0.0 < high:
                low = cell.least[q, i]
                high = cell.most[q, i] if low < 0.0 else high
            low, high = max(low, 0.0), 0.0 if cell.held[q, i] == 2 else max(high, 0.0)
            at.mid[k + 1, i], at.radius[k + 1, i] = 0.5 * low + 0.5 * high, 0.5 * high - 0.5 * low
    return unstable
