"""Multipliers, whatever they are, made into a proof that a node holds no violation.

At every violation in the node the top rows r_i that hold are at most 0. So if F = Σ λ_i·r_i with λ >= 0 is positive
wherever the neurons are what the node says, there is no violation. F is bounded from below by back-substitution, one
neuron after the other, last to first: c·y >= d·z + e for any number d whatever, with e the least value of c·y − d·z at
the corners of what (z, y) may be, for pre-activations in l … u:

    on           y = z in 0 … u                     (0, 0), (u, u)
    off          y = 0, z in l … 0                  (l, 0), (0, 0)
    either       y = max(z, 0)                      (l, 0), (0, 0), (u, u)
    loose        0 <= y <= max(z, 0), by a gate     (l, 0), (0, 0), (u, 0), (u, u)
    shut         y = 0, by a gate                   (l, 0), (0, 0), (u, 0)

since c·y − d·z is linear on each edge between them; a corner that the bounds exclude only lowers e. The d are what the
duals of the node's linear program say: with optimal ones F's bound is the program's optimum, which is the best that
these relaxations can do. Numbers close to where e bends are moved there, so that nothing is paid for residuals
(Neumaier and Shcherbina, Safe bounds in linear and mixed-integer linear programming, Math. Program. 99, 2004, pay for
them; Salman et al., NeurIPS 2019, have the dual of the relaxation as back-substitution). What binary64 gets wrong is
counted as `rounding` says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rewarden.verifier.lp.region import EITHER, LOOSE, ON, SHUT, Array, Maps, Node, Phases, Region
from rewarden.verifier.program import INPUT
from rewarden.verifier.rounding import INFLATE, TINY, UNIT, gamma

CLOSE = 1e-7  # relative: HiGHS is content with duals that are off by 1e-7


@dataclass(frozen=True, slots=True, eq=False)
class Multipliers:
    """`top` [row]: λ, of which only positive ones on rows that hold count. `on_z` [neuron]: the d's."""

    top: Array
    on_z: Array


@dataclass(frozen=True, slots=True)
class Objective:
    """sign·z of one neuron, to be bounded itself."""

    layer: int
    j: int
    sign: float


@dataclass(slots=True, eq=False)
class _Sum:
    """Mutable: F >= Σ terms·v + constant − error, with the numbers in memory taken as exact."""

    region: Region
    terms: dict[int, Array]
    constant: float
    error: float

    def add(self, coefficients: Array, maps: Maps) -> None:
        """coefficients · (maps·v + bias)."""
        size = np.abs(coefficients)
        if not size.any():
            return
        count = gamma(len(coefficients))
        for source, (weight, weight_size, weight_error) in maps.terms.items():
            reach = self.region.size[source]
            added = coefficients @ weight
            self.error += float((count * (size @ weight_size) + size @ weight_error) @ reach)
            old = self.terms.get(source)
            if old is not None:
                added = old + added
                self.error += 2.0 * UNIT * float(np.abs(added) @ reach)
            self.terms[source] = added
        more = float(coefficients @ maps.bias)
        self.error += count * float(size @ np.abs(maps.bias)) + float(size @ maps.bias_error)
        self.shift(more)

    def shift(self, more: float) -> None:
        self.constant += more
        self.error += 2.0 * UNIT * abs(self.constant)


def lower_bound(region: Region, node: Node, multipliers: Multipliers, objective: Objective | None = None) -> float:
    """A rigorous lower bound of F, plus the objective if there is one; −inf where a number left the range."""
    with np.errstate(all="ignore"):
        found = _lower_bound(region, node, multipliers, objective)
    return found if np.isfinite(found) else -np.inf


def _lower_bound(region: Region, node: Node, multipliers: Multipliers, objective: Objective | None) -> float:
    frame = region.frame
    total = _Sum(region, {}, 0.0, 0.0)
    weights = np.where(node.on & (multipliers.top > 0), multipliers.top, 0.0)
    total.add(weights, frame.top)
    largest = float(weights.sum())
    if objective is not None:
        unit = np.zeros(frame.program.layers[objective.layer].width)
        unit[objective.j] = objective.sign
        total.add(unit, frame.maps[objective.layer])
        largest += 1.0
    for k in reversed(frame.layers):
        at = frame.spans[k]
        c = total.terms.pop(k, None)
        if c is None:
            c = np.zeros(at.stop - at.start)
        lo, hi, phase = region.lo[at], region.hi[at], node.phase[at]
        on_z = chosen(c, multipliers.on_z[at], lo, hi)
        largest += float(np.abs(on_z).sum())
        magnitude = float((np.abs(on_z * lo) + (np.abs(c) + np.abs(on_z)) * np.abs(hi)).sum())
        total.error += (gamma(len(c)) + 4.0 * UNIT) * magnitude
        total.shift(float(_least(phase, c, on_z, lo, hi).sum()))
        total.add(on_z, frame.maps[k])
    slope = total.terms.pop(INPUT, np.zeros(len(node.lo)))
    assert not total.terms, "a neuron is read by an earlier one"
    total.error += gamma(len(slope)) * float(np.abs(slope) @ region.size[INPUT])
    total.shift(float(np.maximum(slope, 0.0) @ node.lo + np.minimum(slope, 0.0) @ node.hi))
    lost = TINY * (1.0 + largest) * region.mass
    return total.constant - (total.error * INFLATE + lost) * INFLATE - 2.0 * UNIT * abs(total.constant)


def chosen(c: Array, hint: Array, lo: Array, hi: Array) -> Array:
    """The d's: the hints, but for those that are closer to a bend of e than HiGHS's tolerance."""
    chord = np.where((lo < 0) & (hi > 0), c * (hi / np.where(hi > lo, hi - lo, 1.0)), c)
    d = hint
    for bend in (np.where(c < 0, chord, c), np.zeros_like(c)):
        d = np.where(np.abs(d - bend) <= CLOSE * (np.abs(c) + np.abs(hint)), bend, d)
    return np.where(np.isfinite(d), d, 0.0)


def _least(phase: Phases, c: Array, d: Array, lo: Array, hi: Array) -> Array:
    """The e's."""
    least = np.where(phase == ON, 0.0, np.minimum(0.0, -d * lo))
    above = (phase == LOOSE) | (phase == SHUT)
    least = np.where(above, np.minimum(least, -d * hi), least)
    full = (phase == ON) | (phase == EITHER) | (phase == LOOSE)
    return np.where(full, np.minimum(least, (c - d) * hi), least)
