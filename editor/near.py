"""Rules near data, mended by one patch: a box around every row, all in one table (`reward/tables.py`).

The region is the union of the boxes that the rule's claim has, one for each row of the data, rounded outwards to
binary64 and cut by what the rule's premise says of the record itself. (What it says of the anchor, and the norms l1 and
l2, only make the region smaller: the patch keeps to the boxes.) All boxes share their rows, x_j·w_j − offset and its
mirror image for every column j, w_j one over the ring's width; so only the offsets differ from box to box.

A row's weight is a binary32 number, at least as large as asked for, and the offset is rounded up to one. So for every
box and every x

    x in the box                      ⇒  ĝ(x) <= 0, and as deployed at most δ
    some column off by a ring's width ⇒  the gate, at most 1 − δ, is open, exactly and as deployed,

with δ the offsets' rounding and what binary32 arithmetic loses (`ring.py`). A table's G is the least over its boxes, so
fix, locality and continuity follow as for one box; the bound U is over all boxes with their rings.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.editor.region import Polytope, polytopes_of
from rewarden.editor.ring import TINY, UNIT, Ring, binary32_above, binary32_below, ring_of
from rewarden.spec_lang.boxes import RowBoxes
from rewarden.spec_lang.claim import Box, Claim
from rewarden.spec_lang.errors import EditError
from rewarden.spec_lang.obligation import Obligation

Array = NDArray[np.float64]
BIT = 2.0**-53


@dataclass(frozen=True, slots=True, eq=False)
class Near:
    """`lo`, `hi` float64 [boxes, columns]; `rest` are the premise's rows, the same for all boxes; `data` its name."""

    data: str
    lo: Array
    hi: Array
    rest: Polytope
    weights: Array  # [columns]: one over the ring's width, binary32 numbers; of a discrete column 2
    discrete: NDArray[np.bool_]  # [columns]; a weight of 2 does not tell: a real column may have it, too
    box: Box  # the declared ranges

    def reach(self) -> tuple[Array, Array]:
        """Where the patch may act: every box with its ring, within the declared ranges (rounded outwards).
        Offsets were rounded up by at most δ <= 1/64 of a ring's width."""
        width = np.nextafter(1.0 / self.weights, np.inf)
        least = np.array([float(lo) for lo, _ in self.box])
        most = np.array([float(hi) for _, hi in self.box])
        lo = np.where(self.discrete, self.lo, np.nextafter(self.lo - width * 1.02, -np.inf))
        hi = np.where(self.discrete, self.hi, np.nextafter(self.hi + width * 1.02, np.inf))
        return np.maximum(lo, np.nextafter(least, -np.inf)), np.minimum(hi, np.nextafter(most, np.inf))


def near_of(claim: Claim, obligation: Obligation, ring: Fraction) -> tuple[Near, ...]:
    """The regions of a rule near data, one for each polytope of its premise. EditError E05 to E08, E12, E34."""
    assert claim.instances is not None
    rule, columns = claim.rule, len(claim.calls[0].arguments)
    boxes = claim.boxes
    if isinstance(boxes, RowBoxes):
        lo, hi = boxes.outward
    else:
        lo = np.array([[_down(pair[0]) for pair in box] for box in boxes])
        hi = np.array([[_up(pair[1]) for pair in box] for box in boxes])
    lo, hi = lo[:, :columns], hi[:, :columns]
    both = np.unique(np.concatenate([lo, hi], axis=1), axis=0)
    lo, hi = both[:, :columns], both[:, columns:]
    discrete = [v.discrete for v in claim.variables[:columns]]
    declared = tuple((v.lo, v.hi) for v in obligation.variables[:columns])
    weights = np.array([_weight(pair, whole, ring) for pair, whole in zip(declared, discrete, strict=True)])
    own = [clause for clause in claim.clauses if all(j < columns for atom in clause for j, _ in atom.affine.variables)]
    rests = polytopes_of(own, declared, discrete, ring, rule)
    whole = np.array(discrete)
    return tuple(Near(claim.instances, lo, hi, rest, weights, whole, declared) for rest in rests)


def _weight(declared: tuple[Fraction, Fraction], discrete: bool, ring: Fraction) -> float:
    if discrete:
        return 2.0
    width = ring * (declared[1] - declared[0])
    return 1.0 if width == 0 else float(binary32_above(1 / width))


def ring_near(near: Near, rule: str) -> Ring:
    """rows [k, columns] and offsets [boxes, k] of the table. EditError E09 where rounding would eat the ring, E12 where
    every box is all of the declared range."""
    rest = ring_of(near.rest) if near.rest.rows else None
    rows, offsets, delta = [], [], Fraction(0)
    count, n = near.lo.shape
    gamma = (n + 2) * UNIT / (1 - (n + 2) * UNIT)
    for j, (least, most) in enumerate(near.box):
        for sign, edge, needed in (
            (1, near.hi[:, j], bool((near.hi[:, j] < float(most)).any())),
            (-1, near.lo[:, j], bool((near.lo[:, j] > float(least)).any())),
        ):
            if not needed:
                continue
            row = np.zeros(n, np.float32)
            row[j] = sign * near.weights[j]
            wanted = sign * near.weights[j] * edge
            stored = _above(wanted)
            size = Fraction(float(near.weights[j])) * max(abs(least), abs(most)) + Fraction(float(np.abs(stored).max()))
            rounding = 4 * Fraction(BIT) * Fraction(float(np.abs(wanted).max()))
            excess = Fraction(float((stored - wanted).max())) + rounding
            delta = max(delta, excess + gamma * size + (n + 2) * TINY)
            rows.append(row)
            offsets.append(stored)
    if not rows and rest is None:
        raise EditError(
            "E12",
            f"around the rows of {near.data} rule {rule} speaks of everything: there is no region to patch, and no "
            "outside to leave alone",
            help="write a smaller radius, or learn the reward with that range",
        )
    table = np.stack(offsets, axis=1).astype(np.float32) if offsets else np.zeros((count, 0), np.float32)
    weight = np.stack(rows) if rows else np.zeros((0, n), np.float32)
    if rest is not None:
        weight = np.concatenate([weight, rest.rows])
        table = np.concatenate([table, np.tile(rest.offsets, (count, 1))], axis=1)
        delta = max(delta, rest.delta)
    if not np.isfinite(table).all() or not np.isfinite(weight).all() or delta > Fraction(1, 64):
        raise EditError(
            "E09", f"binary32 rounding ({float(delta):.2g}) would eat the ring", help="widen the ring (--ring)"
        )
    delta = binary32_above(delta)
    return Ring(weight, table[0] if count == 1 else table, delta, binary32_below(1 - delta))


def _above(values: Array) -> Array:
    """Binary32 numbers, as float64, that are at least `values` and the error of computing them."""
    safe = values + np.abs(values) * 4 * BIT
    near = safe.astype(np.float32)
    near = np.where(near.astype(np.float64) < safe, np.nextafter(near, np.float32(np.inf)), near)
    return near.astype(np.float64)


def _down(value: Fraction) -> float:
    near = float(value)
    return near if Fraction(near) <= value else float(np.nextafter(near, -np.inf))


def _up(value: Fraction) -> float:
    return -_down(-value)
