"""`leaves` for programs that cells know, compiled: one branch after the other, in plain floats.

The means are those of `leaves`, in the same order, but for rows over intervals alone, over the bounds of
`branch_bounds`. Nothing is proved here: `slack` is what a float may differ from the kernel's integers, generously.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from rewarden.verifier.cells.bounds import ABOVE, LOWER, OFF, ON, UNSTABLE, UPPER, Cell
from rewarden.verifier.cells.network import FIRST, SOURCE, WIDTH, Aim, Array, Net, Whole
from rewarden.verifier.cells.simplex import least_top
from rewarden.verifier.scribe.branch_bounds import Own, Scratch, bound_branch

OPEN, ROW, SUM, CROSSED = 0, 1, 2, 3  # Found.status; of CROSSED a neuron is marked by a multiple (`_crossed`)
NOTCH = 2.0**-30  # per unit of width of a neuron: its bounds, and so its chord, differ by rounding
DOUBT = 2.0**-42  # per unit of magnitude that is summed
FLOOR = 2.0**-60
GAPS = 2.0  # how much of what a relaxation costs counts, where a variable to cut is chosen
RATE, DECAY = 0.2, 0.93
LOOK = 6  # steps after which ascent looks back
HOPE = 8.0  # so many times as far as in those it may come yet: rates decay, all that are left are 13 of the next one
BITS = 9  # of a weight
SLOPES = 256
TIE = 1e-6  # relative: a neuron whose bounds are so close to −l = u has its slope written down
LEAST = 1e-12
Marks = NDArray[np.int16]


class Found(NamedTuple):
    """[subject, …]: what settles it, or what is loose."""

    status: NDArray[np.int8]
    row: Whole  # of ROW, and the row of weight 1 of SUM
    weights: Array  # [subject, row]
    ties: Marks  # [subject, node, neuron]: slopes over SLOPES, or −1
    slopes: Marks
    multiples: Array  # [subject, node, neuron], signed
    costly: Whole  # [subject, 2]: node (0 for none) and neuron
    unstable: Whole
    slope: Array  # [subject, variable]
    flat: NDArray[np.bool_]  # there is a point of it with next to no margin


def new_found(count: int, net: Net, rows: int, inputs: int) -> Found:
    nodes, wide = net.bias.shape
    return Found(
        np.zeros(count, np.int8), np.zeros(count, np.int64), np.zeros((count, rows)),
        np.full((count, nodes, wide), -1, np.int16), np.full((count, nodes, wide), -1, np.int16),
        np.zeros((count, nodes, wide)), np.zeros((count, 2), np.int64), np.zeros(count, np.int64),
        np.zeros((count, inputs)), np.zeros(count, np.bool_),
    )  # fmt: skip


@nb.njit(error_model="numpy")
def _short(value: float) -> float:
    """Rounded to so many significant bits; what is next to nothing becomes 0."""
    if not value > 1e-9:
        return 0.0
    mantissa, exponent = math.frexp(value)
    return math.ldexp(np.rint(mantissa * 2.0**BITS), exponent - BITS)


@nb.njit(error_model="numpy", fastmath={"reassoc", "nsz"})
def _dot(a: Array, b: Array, count: int) -> float:
    total = 0.0
    for k in range(count):
        total += a[k] * b[k]
    return total


@nb.njit(error_model="numpy")
def _lower(
    net: Net, cell: Cell, slopes: Array, multiples: Array, held: bool, coefficient: Array, row: Array, start: float
) -> tuple[float, float]:
    """The functional with these coefficients on outputs, less multiples of pre-activations, as a row over the inputs.

    Its constant, and a slack. The coefficients stay, those that have come from above included."""
    graph = net.graph
    constant, slack = start, DOUBT * abs(start)
    for q in range(net.bias.shape[0] - 1, 0, -1):
        for i in range(graph[q, WIDTH]):
            c = coefficient[q, i]
            on_z = 0.0
            if c != 0.0 and cell.phase[q, i] != OFF:
                on_z = c
                if cell.phase[q, i] == UNSTABLE:
                    slack += NOTCH * abs(c) * (cell.most[q, i] - cell.least[q, i])
                    if c > 0.0:
                        on_z = c * slopes[q, i]
                    else:
                        on_z = c * cell.lines[q, i, UPPER]
                        constant += c * cell.lines[q, i, ABOVE]
                        slack -= DOUBT * c * cell.lines[q, i, ABOVE]
            if held:
                on_z -= multiples[q, i]
            if on_z == 0.0:
                continue
            constant += on_z * net.bias[q, i]
            slack += 4.0 * abs(on_z) * cell.noise[q, i]
            for e in range(graph[q, FIRST], graph[q + 1, FIRST]):
                s = graph[e, SOURCE]
                for j in range(graph[s, WIDTH]):
                    coefficient[s, j] += on_z * net.weight[e, i, j]
    for d in range(graph[0, WIDTH]):
        row[d] = coefficient[0, d]
        slack += DOUBT * abs(row[d]) * cell.size[0, d]
    return constant, slack + FLOOR


@nb.njit(error_model="numpy")
def _least(row: Array, constant: float, lo: Array, hi: Array) -> float:
    total = constant
    for d in range(lo.shape[0]):
        total += row[d] * lo[d] if row[d] > 0.0 else row[d] * hi[d]
    return total


@nb.njit(error_model="numpy")
def _aimed(net: Net, aim: Aim, k: int, weight: float, coefficient: Array) -> None:
    for q in range(net.bias.shape[0]):
        for i in range(net.graph[q, WIDTH]):
            coefficient[q, i] += weight * aim.weight[k, q, i]


@nb.njit(error_model="numpy")
def _clear(coefficient: Array) -> None:
    for q in range(coefficient.shape[0]):
        for i in range(coefficient.shape[1]):
            coefficient[q, i] = 0.0


@nb.njit(error_model="numpy")
def _summed(
    net: Net,
    aim: Aim,
    cell: Cell,
    names: Whole,
    rows: int,
    weights: Array,
    slopes: Array,
    multiples: Array,
    held: bool,
    coefficient: Array,
    row: Array,
) -> tuple[float, float]:
    """A sum of rows, as `_lower` has it."""
    _clear(coefficient)
    start = 0.0
    for r in range(rows):
        if weights[r] != 0.0:
            _aimed(net, aim, names[r], weights[r], coefficient)
            start += weights[r] * aim.bias[names[r]]
    return _lower(net, cell, slopes, multiples, held, coefficient, row, start)


@nb.njit(error_model="numpy")
def _linearised(net: Net, cell: Cell, slopes: Array, coefficient: Array, x: Array, z: Array, y: Array) -> None:
    """Pre-activations and outputs at x of the lines that the coefficients choose (of neurons that are off, 0)."""
    for d in range(x.shape[0]):
        y[0, d] = x[d]
    for q in range(1, net.bias.shape[0]):
        for i in range(net.graph[q, WIDTH]):
            if cell.phase[q, i] == OFF and cell.held[q, i] == 0:
                y[q, i] = 0.0
                continue
            total = net.bias[q, i]
            for e in range(net.graph[q, FIRST], net.graph[q + 1, FIRST]):
                s = net.graph[e, SOURCE]
                total += _dot(net.weight[e, i], y[s], net.graph[s, WIDTH])
            z[q, i] = total
            if cell.phase[q, i] == OFF:
                y[q, i] = 0.0
            elif cell.phase[q, i] == ON:
                y[q, i] = total
            elif coefficient[q, i] > 0.0:
                y[q, i] = slopes[q, i] * total
            else:
                y[q, i] = cell.lines[q, i, UPPER] * total + cell.lines[q, i, ABOVE]


@nb.njit(error_model="numpy")
def _values(net: Net, aim: Aim, cell: Cell, rows: int, names: Whole, x: Array, y: Array, f: Array) -> None:
    """The rows themselves at a point of the cell."""
    for d in range(x.shape[0]):
        y[0, d] = x[d]
    for q in range(1, net.bias.shape[0]):
        for i in range(net.graph[q, WIDTH]):
            total = 0.0
            if cell.phase[q, i] != OFF or cell.held[q, i] != 0:
                total = net.bias[q, i]
                for e in range(net.graph[q, FIRST], net.graph[q + 1, FIRST]):
                    s = net.graph[e, SOURCE]
                    total += _dot(net.weight[e, i], y[s], net.graph[s, WIDTH])
            y[q, i] = max(total, 0.0)
    for r in range(rows):
        f[r] = aim.bias[names[r]]
        for q in range(net.bias.shape[0]):
            f[r] += _dot(aim.weight[names[r], q], y[q], net.graph[q, WIDTH])


@nb.njit(error_model="numpy")
def _adam(value: float, gradient: float, mean: Array, square: Array, at: int, step: int, rate: float) -> float:
    """One number of Kingma and Ba, 2015, upwards."""
    mean[at] = 0.9 * mean[at] + 0.1 * gradient
    square[at] = 0.999 * square[at] + 0.001 * gradient * gradient
    size = math.sqrt(square[at] / (1.0 - 0.999**step)) + 1e-12
    return float(value + rate * (mean[at] / (1.0 - 0.9**step)) / size)


@nb.njit(error_model="numpy")
def _crossed(net: Net, cell: Cell, lowest: Array, highest: Array) -> tuple[int, int, float]:
    """The neuron that has nowhere to be, and what the kernel sees that by: 2, its own bounds l > u; 1, l > z, which it
    back-substitutes; −1, z > u. 0: it is no more than rounding."""
    for q in range(1, net.bias.shape[0]):
        for i in range(net.graph[q, WIDTH]):
            least, most, held = cell.least[q, i], cell.most[q, i], cell.held[q, i]
            if least > most:
                low = max(lowest[i], 0.0) if held == 1 else lowest[i]
                high = min(highest[i], 0.0) if held == 2 else min(highest[i], most) if held == 1 else highest[i]
                if held == 0 and lowest[i] < 0.0 < highest[i]:
                    low = least
                    high = most if least < 0.0 else high
                room = 4.0 * cell.noise[q, i] + FLOOR
                return q, i, 2.0 if low - high > room else 1.0 if low - most > room else -1.0 * (least - high > room)
    return 0, 0, 0.0


@nb.njit(error_model="numpy")
def _attempt(
    net: Net,
    own: Own,
    aim: Aim,
    cell: Cell,
    at: Scratch,
    lows: Array,
    highs: Array,
    signs: NDArray[np.int8],
    first: Whole,
    named: Whole,
    counts: Whole,
    ascents: Whole,
    g: float,
    found: Found,
) -> None:
    """Branches lows[b] <= x <= highs[b] with neurons held as `signs` says (1: z >= 0, 2: z <= 0), about subjects
    first[b] … first[b + 1] − 1; subject t has rows named[t, : counts[t]], which are at most 0 at its violations, and
    ascents[t] >= 1 steps of ascent."""
    n, last, wide = net.graph[0, WIDTH], net.bias.shape[0] - 1, net.bias.shape[1]
    most = named.shape[1]
    A, a, slack = np.zeros((most + last * wide, n)), np.zeros(most + last * wide), np.zeros(most + last * wide)
    coefficient, row, x = np.zeros(net.bias.shape), np.zeros(n), np.zeros(n)
    slopes, kept_slopes = np.zeros(net.bias.shape), np.zeros(net.bias.shape)
    multiples, kept_multiples = np.zeros(net.bias.shape), np.zeros(net.bias.shape)
    z, y, f = np.zeros(net.bias.shape), np.zeros(net.bias.shape), np.zeros(most)
    shares, kept_shares, weights, scale = np.zeros(most), np.zeros(most), np.zeros(most), np.zeros(most)
    flipped = np.zeros(n, np.bool_)
    mean, square = np.zeros(most + 2 * last * wide), np.zeros(most + 2 * last * wide)
    held_node, held_neuron = np.zeros(last * wide, np.int64), np.zeros(last * wide, np.int64)
    for b in range(lows.shape[0]):
        for d in range(n):
            cell.lo[d], cell.hi[d] = lows[b, d], highs[b, d]
        held = 0
        for q in range(1, last + 1):
            for i in range(net.graph[q, WIDTH]):
                cell.least[q, i], cell.most[q, i] = -np.inf, np.inf
                cell.held[q, i] = signs[b, q, i]
                if signs[b, q, i] != 0:
                    held_node[held], held_neuron[held] = q, i
                    held += 1
        unstable = bound_branch(net, own, cell, at, held > 0, g)
        if unstable < 0:
            q, i, how = _crossed(net, cell, at.lowest, at.highest)
            if how != 0.0:
                for t in range(first[b], first[b + 1]):
                    found.status[t] = CROSSED
                    found.multiples[t, q, i] = how
            continue
        for t in range(first[b], first[b + 1]):
            names, rows, settled = named[t], counts[t], False
            for q in range(1, last + 1):
                for i in range(net.graph[q, WIDTH]):
                    slopes[q, i] = 0.0
                    if cell.phase[q, i] == UNSTABLE:
                        slopes[q, i] = cell.lines[q, i, LOWER]
                        width = cell.most[q, i] - cell.least[q, i]
                        if abs(cell.most[q, i] + cell.least[q, i]) <= TIE * width:
                            found.ties[t, q, i] = SLOPES if slopes[q, i] > 0.0 else 0
            for r in range(rows):
                _clear(coefficient)
                _aimed(net, aim, names[r], 1.0, coefficient)
                a[r], slack[r] = _lower(net, cell, slopes, multiples, False, coefficient, A[r], aim.bias[names[r]])
                if _least(A[r], a[r], cell.lo, cell.hi) > slack[r]:
                    found.status[t], found.row[t], settled = ROW, r, True
                    break
            if settled:
                continue
            # Weights, slopes and multiples.
            best_row, best = 0, -np.inf
            for r in range(rows):
                scale[r] = DOUBT / slack[r]
                value = _least(A[r], a[r], cell.lo, cell.hi) * scale[r]
                if value > best:
                    best_row, best = r, value
            typical = LEAST
            weights[:] = 0.0
            weights[best_row] = scale[best_row]
            _summed(net, aim, cell, names, rows, weights, slopes, multiples, False, coefficient, row)
            for k in range(held):
                typical = max(typical, abs(coefficient[held_node[k], held_neuron[k]]))
            shares[:] = 0.0
            shares[best_row] = 1.0
            multiples[:] = 0.0
            top = rows + held
            if top > 1:
                for r in range(rows):
                    for d in range(n):
                        A[r, d] *= scale[r]
                    a[r] *= scale[r]
                for k in range(held):
                    q, i = held_node[k], held_neuron[k]
                    size = LEAST
                    for d in range(n):
                        A[rows + k, d] = cell.B[q, i, d] if cell.held[q, i] == 1 else cell.A[q, i, d]
                        size += abs(A[rows + k, d]) * cell.size[0, d]
                    a[rows + k] = cell.b[q, i] if cell.held[q, i] == 1 else cell.a[q, i]
                    size += abs(a[rows + k])
                    slack[rows + k] = 1.0 / size
                    for d in range(n):
                        A[rows + k, d] /= size
                    a[rows + k] /= size
                tableau, basis = np.zeros((top + 1, n + top + 2)), np.zeros(top, np.int64)
                suggested = np.zeros(top)
                least_top(A, a, top, cell.lo, cell.hi, tableau, basis, flipped, suggested, x)
                total = 0.0
                for r in range(rows):
                    total += suggested[r]
                if total > 1e-3:
                    for r in range(rows):
                        shares[r] = suggested[r] / total
                    for k in range(held):
                        q, i = held_node[k], held_neuron[k]
                        sign = 1.0 if cell.held[q, i] == 1 else -1.0
                        multiples[q, i] = sign * suggested[rows + k] * slack[rows + k] / total
            mean[:], square[:] = 0.0, 0.0
            best = before = -np.inf
            for step in range(ascents[t]):
                total = 0.0
                for r in range(rows):
                    total += shares[r]
                for r in range(rows):
                    weights[r] = shares[r] / total * scale[r]
                constant, wrong = _summed(
                    net, aim, cell, names, rows, weights, slopes, multiples, held > 0, coefficient, row
                )
                bound = _least(row, constant, cell.lo, cell.hi) - 4.0 * wrong
                if bound > best:
                    best = bound
                    kept_shares[:], kept_slopes[:], kept_multiples[:] = shares, slopes, multiples
                if best > 0.0 or step == ascents[t] - 1:
                    break
                if step % LOOK == LOOK - 1:
                    if best + HOPE * (best - before) < 0.0:
                        break
                    before = best
                for d in range(n):
                    x[d] = cell.lo[d] if row[d] > 0.0 else cell.hi[d]
                _linearised(net, cell, slopes, coefficient, x, z, y)
                rate = RATE * DECAY**step
                mixed = 0.0
                for r in range(rows):
                    f[r] = aim.bias[names[r]]
                    for q in range(last + 1):
                        for i in range(net.graph[q, WIDTH]):
                            f[r] += aim.weight[names[r], q, i] * y[q, i]
                    mixed += weights[r] * f[r]
                everything = 0.0
                for r in range(rows):
                    shares[r] = max(
                        0.0, _adam(shares[r], (scale[r] * f[r] - mixed) / total, mean, square, r, step + 1, rate)
                    )
                    everything += shares[r]
                if not everything > 0.0:
                    shares[:] = 1.0
                number = rows
                for q in range(1, last + 1):
                    for i in range(net.graph[q, WIDTH]):
                        if cell.phase[q, i] == UNSTABLE:
                            up = coefficient[q, i] * z[q, i] if coefficient[q, i] > 0.0 else 0.0
                            moved = _adam(slopes[q, i], up, mean, square, number, step + 1, rate)
                            slopes[q, i] = min(1.0, max(0.0, moved))
                        if cell.held[q, i] != 0:
                            sign = 1.0 if cell.held[q, i] == 1 else -1.0
                            part = multiples[q, i] * sign / typical
                            part = _adam(part, -sign * z[q, i] * typical, mean, square, number + 1, step + 1, rate)
                            multiples[q, i] = max(0.0, part) * typical * sign
                        number += 2
            total = 0.0
            anchor = 0
            for r in range(rows):
                total += kept_shares[r]
                if kept_shares[r] > kept_shares[anchor]:
                    anchor = r
            norm = total / (kept_shares[anchor] * scale[anchor])
            for r in range(rows):
                weights[r] = _short(kept_shares[r] / total * scale[r] * norm)
            for q in range(1, last + 1):
                for i in range(net.graph[q, WIDTH]):
                    slopes[q, i] = 0.0
                    if cell.phase[q, i] == UNSTABLE:
                        low, high = cell.least[q, i], cell.most[q, i]
                        if min(high, -low) > TIE * (high - low):
                            slopes[q, i] = np.rint(kept_slopes[q, i] * SLOPES) / SLOPES
                        else:  # to the kernel it may be stable, and then it takes no slope but the default one
                            slopes[q, i] = cell.lines[q, i, LOWER]
                    size = abs(kept_multiples[q, i]) * norm
                    multiples[q, i] = _short(size) * (1.0 if kept_multiples[q, i] > 0.0 else -1.0)
            constant, wrong = _summed(
                net, aim, cell, names, rows, weights, slopes, multiples, held > 0, coefficient, row
            )
            if _least(row, constant, cell.lo, cell.hi) > wrong:
                found.status[t], found.row[t] = SUM, anchor
                for r in range(rows):
                    found.weights[t, r] = weights[r]
                for q in range(1, last + 1):
                    for i in range(net.graph[q, WIDTH]):
                        found.multiples[t, q, i] = multiples[q, i]
                        if (
                            cell.phase[q, i] == UNSTABLE
                            and coefficient[q, i] > 0.0
                            and slopes[q, i] != cell.lines[q, i, LOWER]
                        ):
                            found.slopes[t, q, i] = np.int16(np.rint(slopes[q, i] * SLOPES))
                multiples[:] = 0.0
                continue
            multiples[:] = 0.0
            found.unstable[t] = unstable
            best = 0.0
            for d in range(n):
                found.slope[t, d] = abs(row[d])
            for q in range(1, last + 1):
                for i in range(net.graph[q, WIDTH]):
                    if cell.phase[q, i] == UNSTABLE:
                        c = coefficient[q, i]
                        cost = (-c if c < 0.0 else 0.4 * c) * cell.lines[q, i, ABOVE]
                        if cost > best:
                            best, found.costly[t, 0], found.costly[t, 1] = cost, q, i
                        cost *= GAPS / (cell.most[q, i] - cell.least[q, i])
                        for d in range(n):
                            found.slope[t, d] += cost * (abs(cell.A[q, i, d]) + abs(cell.B[q, i, d]))
            for d in range(n):
                x[d] = cell.lo[d] if row[d] > 0.0 else cell.hi[d]
            _values(net, aim, cell, rows, names, x, y, f)
            found.flat[t] = True
            for r in range(rows):
                if f[r] > slack[r]:
                    found.flat[t] = False


def _entry(sources: int) -> Callable[..., None]:
    """`_attempt` as a function whose compiled form is kept on disk, and forgotten when any source changes (see
    `verifier.cells.search`)."""

    @nb.njit(cache=True, error_model="numpy", nogil=True)
    def attempt(
        net: Net,
        own: Own,
        aim: Aim,
        cell: Cell,
        at: Scratch,
        lows: Array,
        highs: Array,
        signs: NDArray[np.int8],
        first: Whole,
        named: Whole,
        counts: Whole,
        ascents: Whole,
        g: float,
        found: Found,
    ) -> None:
        _attempt(
            net, own, aim, cell, at, lows, highs, signs, first, named, counts, ascents,
            g + 0.0 * sources, found,
        )  # fmt: skip

    compiled: Callable[..., None] = attempt
    return compiled


def _sources() -> int:
    here = Path(__file__)
    digest = hashlib.sha256()
    for file in (here, here.parent / "branch_bounds.py", *sorted((here.parent.parent / "cells").glob("*.py"))):
        digest.update(file.read_bytes())
    return int.from_bytes(digest.digest()[:6], "big")


attempt = _entry(_sources())
