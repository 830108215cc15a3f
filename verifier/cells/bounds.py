"""Rigorous affine bounds of neurons over a cell, compiled.

A cell is a set of points: those of a box at which certain neurons are on a given side of 0 and certain rows are at
most 0. Everything here is true at each of its points, and nothing is claimed elsewhere.

    A·x + a <= z      and      B·x + b <= -z       pre-activation z of a neuron: a row below it, and one below -z
    P·x + p <= y      and      N·x + n <= -y       likewise for its output y

Rows are made forwards, from those of the layers below with non-negative weights, which is fast; neurons that stay
unstable are bounded once more by back-substitution, which is tighter (CROWN, Zhang et al. 2018; the two passes are
those of Wang et al., Neurify, 2018, and Singh et al., DeepPoly, 2019).

Rounding. Coefficients in memory are taken as exact; whatever a float operation got wrong is bounded and taken off the
constant at once, so that each row is true as it stands. With H >= |x| on the box, Y >= |y| and γ >= γ_n for every sum
that is formed (n counts all neurons and inputs, with operations to spare; Higham, Accuracy and Stability, 3.1):

1. forwards: a coefficient is a sum of products |w|·P, off by at most γ·Σ|w||P|, which moves the row by at most that
   times H; the constant likewise. Together γ·Σ_j |w_j|·mass_j with mass_j = Σ_d |P_jd|·H_d + |p_j| for the worse of
   its two rows.
2. backwards: passing layer q turns c·z into c·W·y + c·b; forming c·W is off by at most γ·Σ_i |c_i|·|W_i|, which moves
   the row by at most Σ_i |c_i|·noise_i with noise_i = γ·(|W_i|·Y + |b_i|) + errors of W and b + 4u·|z_i|; the last
   part is for the product of c with a slope. What a row starts with takes part in these sums too, and is charged
   likewise: noise_i for neuron i itself, γ·|weight|·Y for a row that is aimed at. Constants are summed with an error of
   at most γ times the sum of their sizes.
3. lines: a chord's intercept is what its ends need, rounded up, whatever its slope is (`relaxation` has the argument).
4. Underflow: an operation on a coefficient or constant may lose 2^-1021 (flushing to zero included), which moves a row
   by at most that times what the coefficient stands on. That is at most LARGEST for an input, and at most HUGE for a
   neuron: rows of one that might be larger are given up. Fewer than 2^60 such losses stay below TINY, which is taken
   off every row.

Numbers that are not finite compare as false wherever something would be concluded from them.
"""

from __future__ import annotations

from typing import NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from rewarden.verifier.cells.network import FIRST, SOURCE, WIDTH, Aim, Array, Net, Whole
from rewarden.verifier.rounding import INFLATE, gamma

TINY = 2.0**-600
HUGE = 2.0**300
SLACK = 2.0**-50  # relative: covers up to eight roundings of numbers of the size it is multiplied with
OFF, ON, UNSTABLE = 0, 1, 2
LOWER, UPPER, ABOVE = 0, 1, 2  # of Cell.lines

Phases = NDArray[np.int8]


class Cell(NamedTuple):
    """Scratch for one cell at a time; [node, neuron] unless said otherwise. Node 0 is the input."""

    lo: Array  # [input]
    hi: Array
    least: Array  # bounds of pre-activations
    most: Array
    phase: Phases
    held: Phases  # 0: free; 1: its pre-activation is at least 0 by decision; 2: at most 0
    lines: Array  # [node, neuron, 3]: of an unstable one, the slope below, the slope above and the latter's intercept
    size: Array  # of outputs; of inputs at node 0
    noise: Array
    score: Array  # what an unstable neuron's relaxation costs the rows that are aimed at
    A: Array  # [node, neuron, input]
    a: Array
    B: Array
    b: Array
    P: Array
    p: Array
    N: Array
    n: Array
    mass: Array
    coefficient: Array
    row: Array  # [input], scratch


def new_cell(net: Net) -> Cell:
    nodes, wide = net.bias.shape
    inputs = int(net.graph[0, WIDTH])

    def per_neuron() -> Array:
        return np.zeros((nodes, wide))

    def rows() -> Array:
        return np.zeros((nodes, wide, inputs))

    return Cell(
        lo=np.zeros(inputs),
        hi=np.zeros(inputs),
        least=per_neuron(),
        most=per_neuron(),
        phase=np.zeros((nodes, wide), np.int8),
        held=np.zeros((nodes, wide), np.int8),
        lines=np.zeros((nodes, wide, 3)),
        size=per_neuron(),
        noise=per_neuron(),
        score=per_neuron(),
        A=rows(),
        a=per_neuron(),
        B=rows(),
        b=per_neuron(),
        P=rows(),
        p=per_neuron(),
        N=rows(),
        n=per_neuron(),
        mass=per_neuron(),
        coefficient=per_neuron(),
        row=np.zeros(inputs),
    )


def sum_error(net: Net) -> float:
    """γ for every sum that is formed: no coefficient or constant collects more terms than there are neurons and inputs,
    a few times over (constants take an intercept and a bias of each)."""
    return gamma(3 * int(net.graph[:, WIDTH].sum()) + 64) * INFLATE


@nb.njit(error_model="numpy")
def least_of(F: Array, f: float, lo: Array, hi: Array, g: float) -> float:
    """Rigorous lower bound of F·x + f over the box."""
    total, size = f, abs(f)
    for d in range(lo.shape[0]):
        total += F[d] * lo[d] if F[d] > 0.0 else F[d] * hi[d]
        size += abs(F[d]) * max(abs(lo[d]), abs(hi[d]))
    return total - (g * size + TINY)


@nb.njit(error_model="numpy")
def tightened(F: Array, f: float, C: Array, c: Array, rows: int, lo: Array, hi: Array, g: float) -> float:
    """Lower bound of F·x + f where also C·x + c <= 0: F + Σ λ·row for the best λ >= 0, one row after the other.
    Overwrites F.

    Along one λ the minimum over the box is concave and piecewise linear, with breaks where a coefficient is 0.
    """
    n = lo.shape[0]
    best = f
    for d in range(n):
        best += F[d] * lo[d] if F[d] > 0.0 else F[d] * hi[d]
    for _ in range(2):
        before = best
        for k in range(rows):
            chosen = 0.0
            for e in range(n):
                if C[k, e] == 0.0:
                    continue
                factor = -F[e] / C[k, e]
                if not factor > 0.0:
                    continue
                total = f + factor * c[k]
                for d in range(n):
                    value = F[d] + factor * C[k, d]
                    total += value * lo[d] if value > 0.0 else value * hi[d]
                if total > best:
                    best, chosen = total, factor
            if chosen > 0.0:
                wrong = abs(f) + abs(chosen * c[k])
                for d in range(n):
                    moved = chosen * C[k, d]
                    F[d] += moved
                    wrong += (abs(F[d]) + abs(moved)) * max(abs(lo[d]), abs(hi[d]))
                f = f + chosen * c[k] - (SLACK * wrong + TINY)
        if best - before <= 0.01 * abs(best):
            break
    return least_of(F, f, lo, hi, g)


@nb.njit(error_model="numpy")
def _passed(
    graph: Whole,
    weight: Array,
    bias: Array,
    phase: Phases,
    lines: Array,
    noise: Array,
    score: Array,
    coefficient: Array,
    row: Array,
    last: int,
    constant: float,
    size: float,
    error: float,
    g: float,
    scored: bool,
) -> float:
    """The coefficients on outputs of nodes up to `last`, turned into a row over the inputs.

    Fills `row`, clears the coefficients and returns the row's constant. `size` bounds the constants summed so far,
    `error` what is already known to be wrong.
    """
    for q in range(last, 0, -1):
        for i in range(graph[q, WIDTH]):
            c = coefficient[q, i]
            if c == 0.0:
                continue
            coefficient[q, i] = 0.0
            if phase[q, i] == OFF:
                continue
            if phase[q, i] == UNSTABLE:
                above = lines[q, i, ABOVE]
                if scored:
                    score[q, i] += -c * above if c < 0.0 else 0.3 * c * above
                if c > 0.0:
                    c *= lines[q, i, LOWER]
                else:
                    drop = c * above
                    constant += drop
                    size -= drop
                    c *= lines[q, i, UPPER]
                if c == 0.0:
                    continue
            constant += c * bias[q, i]
            error += abs(c) * noise[q, i]
            for e in range(graph[q, FIRST], graph[q + 1, FIRST]):
                s = graph[e, SOURCE]
                for j in range(graph[s, WIDTH]):
                    coefficient[s, j] += c * weight[e, i, j]
    for d in range(graph[0, WIDTH]):
        row[d] = coefficient[0, d]
        coefficient[0, d] = 0.0
    return constant - (g * size + error * (1.0 + 2.0**-20) + TINY)


@nb.njit(error_model="numpy")
def _forwards(net: Net, cell: Cell, q: int, every: bool, g: float) -> None:
    """Rows A and B of the neurons of node q, their noise, and what they say of `least` and `most`.

    Without `every`, neurons that are known to be off are passed over: nothing reads their rows.
    """
    graph, weight, error = net.graph, net.weight, net.error
    A, a, B, b, P, p, N, m = cell.A, cell.a, cell.B, cell.b, cell.P, cell.p, cell.N, cell.n
    lo, hi, sizes, masses, phase, held = cell.lo, cell.hi, cell.size, cell.mass, cell.phase, cell.held
    n = graph[0, WIDTH]
    for i in range(graph[q, WIDTH]):
        if cell.most[q, i] <= 0.0 and not every and held[q, i] == 0:
            continue
        for d in range(n):
            A[q, i, d] = 0.0
            B[q, i, d] = 0.0
        low, high = net.bias[q, i], -net.bias[q, i]
        mass = reach = abs(low)
        own = net.bias_error[q, i]
        for e in range(graph[q, FIRST], graph[q + 1, FIRST]):
            s = graph[e, SOURCE]
            if not net.exact:
                for j in range(graph[s, WIDTH]):
                    own += error[e, i, j] * sizes[s, j]
            if s == 0:
                for d in range(n):
                    w = weight[e, i, d]
                    A[q, i, d] += w
                    B[q, i, d] -= w
                    mass += abs(w) * sizes[0, d]
                    reach += abs(w) * sizes[0, d]
                continue
            for j in range(graph[s, WIDTH]):
                w = weight[e, i, j]
                if w == 0.0 or phase[s, j] == OFF:
                    continue
                mass += abs(w) * masses[s, j]
                reach += abs(w) * sizes[s, j]
                if w > 0.0:
                    low += w * p[s, j]
                    high += w * m[s, j]
                    for d in range(n):
                        A[q, i, d] += w * P[s, j, d]
                        B[q, i, d] += w * N[s, j, d]
                else:
                    low -= w * m[s, j]
                    high -= w * p[s, j]
                    for d in range(n):
                        A[q, i, d] -= w * N[s, j, d]
                        B[q, i, d] -= w * P[s, j, d]
        own *= 1.0 + 2.0**-20
        wrong = g * mass + own + TINY if max(mass, reach) <= HUGE else np.inf
        a[q, i], b[q, i] = low - wrong, high - wrong
        cell.noise[q, i] = g * reach + own
        below, above, below_size, above_size = a[q, i], b[q, i], abs(a[q, i]), abs(b[q, i])
        for d in range(n):
            v, w = A[q, i, d], B[q, i, d]
            below += v * lo[d] if v > 0.0 else v * hi[d]
            above += w * lo[d] if w > 0.0 else w * hi[d]
            below_size += abs(v) * sizes[0, d]
            above_size += abs(w) * sizes[0, d]
        cell.least[q, i] = max(cell.least[q, i], below - (g * below_size + TINY))
        cell.most[q, i] = min(cell.most[q, i], -(above - (g * above_size + TINY)))


@nb.njit(error_model="numpy")
def _backwards(net: Net, cell: Cell, q: int, C: Array, c: Array, rows: int, g: float) -> None:
    """The same for neurons of node q that are unstable still, by back-substitution and with rows that hold; rows A
    and B are replaced by better ones."""
    graph, weight, bias = net.graph, net.weight, net.bias
    A, a, B, b, least, most = cell.A, cell.a, cell.B, cell.b, cell.least, cell.most
    lo, hi, row, coefficient = cell.lo, cell.hi, cell.row, cell.coefficient
    n = graph[0, WIDTH]
    edges = graph[q + 1, FIRST] - graph[q, FIRST]
    deep = edges > 1 or (edges == 1 and graph[graph[q, FIRST], SOURCE] != 0)
    for i in range(graph[q, WIDTH]):
        held = cell.held[q, i]
        if (held == 0 and not least[q, i] < 0.0 < most[q, i]) or not np.isfinite(a[q, i]):
            continue
        if deep:
            for side in range(2):
                if side == 1 and held == 0 and most[q, i] <= 0.0:
                    break
                sign = -1.0 if side == 0 else 1.0
                for e in range(graph[q, FIRST], graph[q + 1, FIRST]):
                    s = graph[e, SOURCE]
                    for j in range(graph[s, WIDTH]):
                        coefficient[s, j] = sign * weight[e, i, j]
                start = sign * bias[q, i]
                constant = _passed(
                    graph, weight, bias, cell.phase, cell.lines, cell.noise, cell.score, coefficient, row, q - 1, start,
                    abs(start), cell.noise[q, i], g, False,
                )  # fmt: skip
                bound = least_of(row, constant, lo, hi, g)
                if side == 0:
                    most[q, i] = min(most[q, i], -bound)
                    if bound > least_of(B[q, i], b[q, i], lo, hi, g):
                        b[q, i] = constant
                        for d in range(n):
                            B[q, i, d] = row[d]
                else:
                    least[q, i] = max(least[q, i], bound)
                    if bound > least_of(A[q, i], a[q, i], lo, hi, g):
                        a[q, i] = constant
                        for d in range(n):
                            A[q, i, d] = row[d]
        if rows > 0 and held == 0:
            if least[q, i] < 0.0 < most[q, i]:
                for d in range(n):
                    row[d] = B[q, i, d]
                most[q, i] = min(most[q, i], -tightened(row, b[q, i], C, c, rows, lo, hi, g))
            if least[q, i] < 0.0 < most[q, i]:
                for d in range(n):
                    row[d] = A[q, i, d]
                least[q, i] = max(least[q, i], tightened(row, a[q, i], C, c, rows, lo, hi, g))


@nb.njit(error_model="numpy")
def _activate(net: Net, cell: Cell, q: int) -> int:
    """Lines and rows of the outputs of node q. Returns the number of unstable neurons, -1 where one has nowhere to
    be."""
    A, B, P, N, p, m, sizes, lines = cell.A, cell.B, cell.P, cell.N, cell.p, cell.n, cell.size, cell.lines
    n = net.graph[0, WIDTH]
    unstable = 0
    for i in range(net.graph[q, WIDTH]):
        if cell.held[q, i] == 1:
            cell.least[q, i] = max(cell.least[q, i], 0.0)
        elif cell.held[q, i] == 2:
            cell.most[q, i] = min(cell.most[q, i], 0.0)
        least, most = cell.least[q, i], cell.most[q, i]
        if least > most:
            return -1
        if most <= 0.0:
            cell.phase[q, i] = OFF
            sizes[q, i] = 0.0
            continue
        sizes[q, i] = most
        cell.noise[q, i] += 2.0**-51 * max(abs(least), most)
        first, second = 0.0, 0.0
        if least >= 0.0:
            cell.phase[q, i] = ON
            p[q, i], m[q, i] = cell.a[q, i], cell.b[q, i]
            for d in range(n):
                P[q, i, d] = A[q, i, d]
                N[q, i, d] = B[q, i, d]
                first += abs(P[q, i, d]) * sizes[0, d]
                second += abs(N[q, i, d]) * sizes[0, d]
        else:
            unstable += 1
            slope = most / (most - least)
            above = max(-slope * least, (1.0 - slope) * most) * (1.0 + SLACK) + TINY
            below = 1.0 if most > -least else 0.0
            cell.phase[q, i] = UNSTABLE
            lines[q, i, UPPER], lines[q, i, ABOVE], lines[q, i, LOWER] = slope, above, below
            for d in range(n):
                P[q, i, d] = below * A[q, i, d]
                N[q, i, d] = slope * B[q, i, d]
                first += abs(P[q, i, d]) * sizes[0, d]
                second += abs(N[q, i, d]) * sizes[0, d]
            p[q, i] = below * cell.a[q, i]
            wrong = second + abs(slope * cell.b[q, i]) + above
            m[q, i] = slope * cell.b[q, i] - above - (SLACK * wrong + TINY)
        cell.mass[q, i] = max(first + abs(p[q, i]), second + abs(m[q, i])) * (1.0 + 2.0**-40)
    return unstable


@nb.njit(error_model="numpy")
def bound_neurons(net: Net, cell: Cell, C: Array, c: Array, rows: int, g: float) -> int:
    """All nodes, first to last, over the box of the cell where also C·x + c <= 0 (the first `rows` of them).

    `cell.least` and `cell.most` hold bounds that are known already. Returns the number of unstable neurons, or -1 where
    some neuron has nowhere to be: then the cell has no point.
    """
    for d in range(net.graph[0, WIDTH]):
        cell.size[0, d] = max(abs(cell.lo[d]), abs(cell.hi[d]))
    unstable = 0
    for q in range(1, net.bias.shape[0]):
        _forwards(net, cell, q, rows > 0, g)
        _backwards(net, cell, q, C, c, rows, g)
        found = _activate(net, cell, q)
        if found < 0:
            return -1
        unstable += found
    return unstable


@nb.njit(error_model="numpy")
def aimed_row(net: Net, aim: Aim, cell: Cell, k: int, g: float) -> float:
    """Fills `cell.row` with coefficients of a row that is at most f_k on the cell; returns its constant."""
    last = net.bias.shape[0] - 1
    error = aim.bias_error[k]
    for q in range(last + 1):
        for i in range(net.graph[q, WIDTH]):
            cell.coefficient[q, i] = aim.weight[k, q, i]
            error += (aim.error[k, q, i] + g * abs(aim.weight[k, q, i])) * cell.size[q, i]
    return float(
        _passed(
            net.graph, net.weight, net.bias, cell.phase, cell.lines, cell.noise, cell.score, cell.coefficient, cell.row,
            last, aim.bias[k], abs(aim.bias[k]), error, g, True,
        )
    )  # fmt: skip


@nb.njit(error_model="numpy")
def values(net: Net, aim: Aim, x: Array, y: Array, f: Array) -> None:
    """f_k at x in plain floats: where to look, not what is so. `y` [node, neuron] is scratch."""
    graph, weight = net.graph, net.weight
    for d in range(graph[0, WIDTH]):
        y[0, d] = x[d]
    for q in range(1, net.bias.shape[0]):
        for i in range(graph[q, WIDTH]):
            z = net.bias[q, i]
            for e in range(graph[q, FIRST], graph[q + 1, FIRST]):
                s = graph[e, SOURCE]
                for j in range(graph[s, WIDTH]):
                    z += weight[e, i, j] * y[s, j]
            y[q, i] = max(z, 0.0)
    for k in range(f.shape[0]):
        total = aim.bias[k]
        for q in range(net.bias.shape[0]):
            for i in range(graph[q, WIDTH]):
                total += aim.weight[k, q, i] * y[q, i]
        f[k] = total
