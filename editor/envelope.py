"""A reward that falls along given directions, near the one that is there: a monotone envelope on levels.

The supremum of a network over a continuum of records is no finite network. Its values at finitely many levels are, and
so is what lies between these. Let u be a column of the record x (or its negative), y what of x a move along the
direction leaves as it is, and f_k(y) the reward where x has been moved to level u = g_k, g_0 < … < g_K. With

    low_k = min of f_i over i <= k,   high_k = max of f_i over i >= k,   m_k = α·low_k + (1 − α)·high_k, 0 <= α <= 1,
    D_k = m_(k−1) − m_k,
    h(x) = m_0 − ½·Σ_k [ min(D_k, S·max(0, u − g_(k−1))) + max(0, D_k − S·max(0, g_k − u)) ].

**h falls in u, whatever the reward is and whatever S > 0**: a move leaves y, hence every m_k and D_k, as it was, and
each bracket rises in u. The theorem has no hypothesis that would have to be verified, and none about rounding but that
the numbers stored are those that are meant. m_k falls in k, so D_k >= 0 and h stays between m_K and m_0; for α = ½ it
is the falling sequence that is nearest to f in the largest difference (Robertson, Wright & Dykstra, Order Restricted
Statistical Inference, 1988), and where f falls, m = f. At a level h is m_k if D_k <= S·(g_k − g_(k−1)), and where the
reward falls steadily at a rate of S or S/2 between two levels, h is the reward.

The edited reward is h on a region, and the parent beyond a rim. Let U bound the values that the reward has on the lines
through the region and its rim from above and L from below, as deployed. h is never beyond these values, so that

    c(x) = min(max(h(x), L), U)

is h, and falls as h does; that it lies in L … U needs no look at the network. With the rows ĝᵢ of a
polytope of the region (`editor/correction.py`; of several the least room),

    R'(x) = min(max(R(x), c(x) − room(x)), c(x) + room(x)),
    room = Σᵢ steep·max(0, ĝᵢ − δ) + sheer·max(0, ĝᵢ − 7/8).

On the region all ĝᵢ <= δ, so that room is 0 and R' is c. steep·(7/8 − δ) >= U − L, so R' = R from some ĝᵢ = 7/8 on,
where L … U holds the reward; sheer·(1/8 − δ) is at least the difference of R and c over all records, so R' = R wherever
some exact g >= 1. A minimum and a maximum return one of their arguments: these are the bits of R. R' is continuous, and
lies between R and c: everywhere

    min(R, L) <= R' <= max(R, U),

by the way it is built, and no record moves by more than U − L. sheer is generous, so that plain intervals see that R'
is R beyond the rim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.editor.correction import room, widest
from rewarden.editor.region import Polytope
from rewarden.editor.ring import binary32_above
from rewarden.reward.artifact import Artifact
from rewarden.reward.assembly import Assembly
from rewarden.reward.widths import node_order, sources

Array32 = NDArray[np.float32]
RewardAt = Callable[[int], int]
INNER = Fraction(7, 8)  # of the ring: from there on the edited reward is the parent's


@dataclass(frozen=True, slots=True)
class Ladder:
    """A direction and its levels. u is `sign`·(column `pivot`); a move of u by 1 moves column j by sign·ratios[j] (the
    pivot has ratio 1). `levels` rise and are binary32 numbers, so are the ratios. `box`: lo and hi of the columns."""

    pivot: int
    sign: int
    ratios: Mapping[int, Fraction]
    levels: tuple[Fraction, ...]
    box: tuple[tuple[Fraction, Fraction], ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """`low` is α, `slope` is S per unit of u."""

    low: Fraction
    slope: Fraction


@dataclass(frozen=True, slots=True)
class Rim:
    """`steep` per ring width, as stored; `delta` in ring widths."""

    steep: Fraction
    delta: Fraction


@dataclass(frozen=True, slots=True)
class Limits:
    """L and U, binary32 numbers; `apart`: how far R and c are from each other at most, over all records."""

    least: Fraction
    most: Fraction
    apart: Fraction


def reward_at(build: Assembly, artifact: Artifact) -> RewardAt:
    """The (patch-free) reward as a copy of its nodes at a point that is a node."""

    def copy(point: int) -> int:
        places = [point] * len(artifact.graph.nodes)
        for index in node_order(artifact.graph):
            node = artifact.graph.nodes[index]
            if sources(node):
                places[index] = build.copied(node, places, artifact.tensors)
        return places[artifact.graph.output]

    return copy


def enveloped(build: Assembly, inner: RewardAt, ladder: Ladder, shape: Shape) -> int:
    """The node of h, for the node of the reward at any point."""
    values = build.concat([inner(at) for at in _points(build, ladder, Assembly.INPUT)])
    return _between(build, ladder, shape.slope, _blended(build, values, shape.low))


def _points(build: Assembly, ladder: Ladder, point: int) -> list[int]:
    """The point moved to each level, as far as it stays in the box."""
    width, p = build.width(point), ladder.pivot
    still = np.eye(width, dtype=np.float32)
    for j, ratio in ladder.ratios.items():
        still[j, p] -= np.float32(float(ratio))
    still[p] = 0.0
    y = build.affine(point, still, np.zeros(width, np.float32))
    steps = np.array([[ladder.sign * float(ladder.ratios.get(j, 0))] for j in range(width)], np.float32)
    steps[p] = ladder.sign
    oblique = [j for j in ladder.ratios if j != p]
    if not oblique:
        eye = np.eye(width, dtype=np.float32)
        return [build.affine(y, eye, steps[:, 0] * _number(level)) for level in ladder.levels]
    ends = np.array([[float(lo), float(hi)] for lo, hi in ladder.box])
    count = len(ladder.levels)
    wanted = build.constant(np.array([float(level) for level in ladder.levels], np.float32))
    for upper in (False, True):
        rows = np.zeros((len(oblique), width), np.float32)
        bias = np.zeros(len(oblique), np.float32)
        for k, j in enumerate(oblique):
            step = float(steps[j, 0])
            rows[k, j], bias[k] = -1.0 / step, ends[j, int(upper == (step > 0))] / step
        edge = build.affine(y, rows, bias)
        edge = edge if len(oblique) == 1 else (build.reduce_min if upper else build.reduce_max)(edge)
        spread = build.affine(edge, np.ones((count, 1), np.float32), np.zeros(count, np.float32))
        wanted = (build.minimum if upper else build.maximum)(wanted, spread)
    moving = sorted(ladder.ratios)
    low, high = (np.full(width, side, np.float32) for side in (-np.inf, np.inf))
    low[moving], high[moving] = ends[moving, 0].astype(np.float32), ends[moving, 1].astype(np.float32)
    return [_held(build, y, steps, build.columns(wanted, k, k + 1), low, high) for k in range(count)]


def _held(build: Assembly, y: int, steps: Array32, level: int, low: Array32, high: Array32) -> int:
    """y + steps·level, held in the box where the direction moves it."""
    width = build.width(y)
    weight = np.concatenate([np.eye(width, dtype=np.float32), steps], axis=1)
    moved = build.affine(build.concat([y, level]), weight, np.zeros(width, np.float32))
    parts = []
    for j in range(width):
        column = build.columns(moved, j, j + 1)
        parts.append(build.clip(column, float(low[j]), float(high[j])) if np.isfinite(low[j]) else column)
    return build.concat(parts)


def _blended(build: Assembly, values: int, low: Fraction) -> int:
    """m: running minima from the first level, running maxima from the last, and what is between them."""
    if low == 1:
        return _running(build, values, build.minimum, -1)
    if low == 0:
        return _running(build, values, build.maximum, 1)
    both = [_running(build, values, build.minimum, -1), _running(build, values, build.maximum, 1)]
    return _mean(build, both, low)


def _mean(build: Assembly, parts: Sequence[int], first: Fraction) -> int:
    width = build.width(parts[0])
    eye = np.eye(width, dtype=np.float32)
    weight = np.concatenate([eye * _number(first), eye * _number(1 - first)], axis=1)
    return build.affine(build.concat(list(parts)), weight, np.zeros(width, np.float32))


def _running(build: Assembly, values: int, take: Callable[[int, int], int], way: int) -> int:
    """Entry k becomes the extremum of all entries up to k (way −1), or from k on (way 1), by doubling."""
    width, step = build.width(values), 1
    while step < width:
        other = np.clip(np.arange(width) + way * step, 0, width - 1)
        values = take(values, _picked(build, values, other))
        step *= 2
    return values


def _picked(build: Assembly, values: int, order: NDArray[np.intp]) -> int:
    pick = np.zeros((len(order), build.width(values)), np.float32)
    pick[np.arange(len(order)), order] = 1.0
    return build.affine(values, pick, np.zeros(len(order), np.float32))


def _between(build: Assembly, ladder: Ladder, slope: Fraction, blended: int) -> int:
    """h from m and u."""
    count, width = len(ladder.levels), build.width(Assembly.INPUT)
    if count < 2:
        return blended
    levels = np.array([float(level) for level in ladder.levels], np.float32)
    row = np.zeros((count - 1, width), np.float32)
    row[:, ladder.pivot] = ladder.sign
    steep, none = np.full(count - 1, _number(slope), np.float32), np.zeros(count - 1, np.float32)
    past = build.scale(build.relu(build.affine(Assembly.INPUT, row, -levels[:-1])), steep, none)
    ahead = build.scale(build.relu(build.affine(Assembly.INPUT, -row, levels[1:])), steep, none)
    eye = np.eye(count, dtype=np.float32)
    falls = build.affine(blended, eye[:-1] - eye[1:], none)
    risen = build.add(build.minimum(falls, past), build.relu(build.sub(falls, ahead)))
    first = build.columns(blended, 0, 1)
    weight = np.concatenate([np.ones((1, 1), np.float32), np.full((1, count - 1), -0.5, np.float32)], axis=1)
    return build.affine(build.concat([first, risen]), weight, np.zeros(1, np.float32))


def rimmed(build: Assembly, reward: int, level: int, polytopes: Sequence[Polytope], limits: Limits) -> tuple[int, Rim]:
    """The node of R' for those of R and h."""
    held = build.clip(level, float(limits.least), float(limits.most))
    if not polytopes:
        return held, Rim(Fraction(0), Fraction(0))
    around, rim = _room(build, polytopes, (limits.most - limits.least, limits.apart))
    return build.minimum(build.maximum(build.sub(held, around), reward), build.add(held, around)), rim


def _room(build: Assembly, polytopes: Sequence[Polytope], spread: tuple[Fraction, Fraction]) -> tuple[int, Rim]:
    delta = widest(polytopes)
    steep, sheer = (
        binary32_above((difference * (1 + Fraction(1, 2**16)) + Fraction(1, 2**16)) / width)
        for difference, width in zip(spread, (INNER - 2 * delta, 1 - 2 * delta - INNER), strict=True)
    )
    return room(build, polytopes, {Fraction(0): steep, INNER: sheer})[0], Rim(steep, delta)


def _number(value: Fraction) -> np.float32:
    return np.float32(float(value))
