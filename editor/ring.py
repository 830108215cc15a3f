"""Rows of a region as binary32 numbers, and the rounding that the patch theorem must absorb.

Let g(x) = maxᵢ (aᵢ·x − bᵢ) be the exact rows (at most 0 inside the region, at least 1 beyond the ring), ĝ the stored
binary32 rows evaluated exactly, and g̃ what binary32 arithmetic computes from them at a binary32 x. For every x in the
declared box and every row,

    |ĝᵢ(x) − gᵢ(x)| <= Σⱼ |âᵢⱼ − aᵢⱼ|·|xⱼ|max + |b̂ᵢ − bᵢ|                      (storing; computed in rationals)
    |g̃ᵢ(x) − ĝᵢ(x)| <= γₙ₊₂·(Σⱼ |âᵢⱼ|·|xⱼ|max + |b̂ᵢ|) + (n + 2)·2⁻¹⁴⁹          (any order, fused or not; Higham 3.1)

and δ is the sum of the two, maximised over rows and rounded up. max and comparisons do not round. Hence

    g(x) <= 0  ⇒  ĝ(x) <= δ and g̃(x) <= δ        the ceiling is flat on the region, exactly and as deployed;
    g(x) >= 1  ⇒  ĝ(x) >= 1 − δ and g̃(x) >= 1 − δ   the gate is open, exactly and as deployed.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.editor.region import Polytope
from rewarden.spec_lang.errors import EditError

UNIT = Fraction(1, 2**24)  # unit roundoff of binary32
TINY = Fraction(1, 2**149)  # smallest positive binary32, the error of an underflow


@dataclass(frozen=True, slots=True, eq=False)
class Ring:
    """rows float32 [k, width], offsets float32 [k]; `delta` and `gate` are binary32 numbers."""

    rows: NDArray[np.float32]
    offsets: NDArray[np.float32]
    delta: Fraction
    gate: Fraction


def ring_of(polytope: Polytope) -> Ring:
    """Store the polytope's rows. EditError E09 when rounding would eat the ring (absurdly thin or far away)."""
    rows = np.array([[_nearest(c) for c in row.coefficients] for row in polytope.rows], dtype=np.float32)
    offsets = np.array([_nearest(row.offset) for row in polytope.rows], dtype=np.float32)
    reach = [max(abs(lo), abs(hi)) for lo, hi in polytope.box]
    if not (np.isfinite(rows).all() and np.isfinite(offsets).all()):
        raise EditError("E09", "the region's rows do not fit binary32", help="widen the ring or rescale the feature")
    delta = Fraction(0)
    n = len(reach)
    gamma = (n + 2) * UNIT / (1 - (n + 2) * UNIT)
    for row, stored, offset in zip(polytope.rows, rows, offsets, strict=True):
        exact_row = [Fraction(float(v)) for v in stored]
        exact_offset = Fraction(float(offset))
        storing = abs(exact_offset - row.offset)
        size = abs(exact_offset)
        for a, c, far in zip(exact_row, row.coefficients, reach, strict=True):
            storing += abs(a - c) * far
            size += abs(a) * far
        delta = max(delta, storing + gamma * size + (n + 2) * TINY)
    delta = binary32_above(delta)
    if delta > Fraction(1, 64):
        raise EditError(
            "E09", f"binary32 rounding ({float(delta):.2g}) would eat the ring", help="widen the ring (--ring)"
        )
    return Ring(rows, offsets, delta, binary32_below(1 - delta))


def _nearest(value: Fraction) -> float:
    return float(np.float32(float(value)))


def binary32_below(value: Fraction) -> Fraction:
    """The largest binary32 number that is at most `value`."""
    x = np.float32(float(value))
    while Fraction(float(x)) > value:
        x = np.nextafter(x, np.float32(-np.inf))
    return Fraction(float(x))


def binary32_strictly_below(value: Fraction) -> Fraction:
    """The largest binary32 number that is less than `value`."""
    below = binary32_below(value)
    return below if below < value else Fraction(float(np.nextafter(np.float32(float(below)), np.float32(-np.inf))))


def binary32_above(value: Fraction) -> Fraction:
    """The smallest binary32 number that is at least `value`, or its neighbour."""
    return -binary32_below(-value)
