"""What a reward's patches alone say of it over a box: at most (or at least) a level, whatever lies beneath them.

From the innermost patch out, over a box, for an upper bound (a lower one is its mirror image):

- a ceiling that is flat over the box, every row at most delta and below the gate: at most its level;
- any other ceiling raises nothing;
- a floor raises the reward to its level at most, or not at all where it is open over the box.

This is exact and holds of every binary32 execution as well, once what lies beneath is a number (`finite`) and fixed
arguments are taken with both of their neighbours: flat and open are decided with room for what rows round
(`reward/tables.py`), the flat cap is level + slope·0, and min and max pick. So rules near data that a patch on the same
data has mended are proved of thousands of rows at once, without bounding the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.stacks import reach
from rewarden.reward.tables import flat_rows, has_tables, index_of, is_table
from rewarden.spec_lang.claim import Affine, Claim, Clause
from rewarden.verifier.decided_gates import ends_of

Array = NDArray[np.float64]
CELLS = 1 << 21  # of rows and boxes, looked at together
NORMAL = 2.0**-126


@dataclass(frozen=True, slots=True)
class Capped:
    """An atom that bounds one call of variables alone: sign·R is to be at most (less than, if strict) `bound`.
    `columns`: the variables that the call reads."""

    call: int
    columns: tuple[int, ...]
    sign: int
    bound: Fraction
    strict: bool

    def holds(self, value: Fraction) -> bool:
        """Where sign·R is at most this."""
        return value < self.bound or (value == self.bound and not self.strict)


def capped(claim: Claim, goal: Clause) -> Iterator[Capped]:
    """The atoms of a goal that a cap alone may prove."""
    for atom in goal:
        if atom.affine.variables or len(atom.affine.calls) != 1:
            continue
        (number, weight) = atom.affine.calls[0]
        columns = _identity(claim.calls[number].arguments)
        if columns is not None:
            sign = 1 if weight < 0 else -1
            yield Capped(number, tuple(columns), sign, sign * (atom.affine.constant / -weight), atom.strict)


def settled(claim: Claim, artifacts: Mapping[str, Artifact], *, executed: bool = False) -> NDArray[np.bool_]:
    """[box]: whether the patches alone prove every goal of the claim, wherever the premise can hold in the box.
    `executed`: of every binary32 execution, if none leaves the numbers (`finite`)."""
    done = np.ones(len(claim.boxes), np.bool_)
    lo, hi = ends_of(claim)
    if executed and len(lo):
        lo, hi = _with_neighbours(lo, hi)
    for goal in claim.goals:
        done &= _goal(claim, goal, artifacts, lo, hi)
    return done


def _goal(claim: Claim, goal: Clause, artifacts: Mapping[str, Artifact], lo: Array, hi: Array) -> NDArray[np.bool_]:
    found = np.zeros(len(lo), np.bool_)
    for said in capped(claim, goal):
        columns = list(said.columns)
        caps = sups(artifacts[claim.calls[said.call].reward], lo[:, columns], hi[:, columns], said.sign)
        for value in np.unique(caps[np.isfinite(caps)]).tolist():
            if said.holds(Fraction(value)):
                found |= caps == value
    return found


def _with_neighbours(lo: Array, hi: Array) -> tuple[Array, Array]:
    """Boxes in which fixed values are between the binary32 numbers around them: an execution reads either of these.
    What is not fixed is a binary32 number."""
    fixed = np.nextafter(lo, np.inf) >= hi
    with np.errstate(over="ignore"):
        near_lo, near_hi = lo.astype(np.float32), hi.astype(np.float32)
        below = np.where(near_lo > lo, np.nextafter(near_lo, np.float32(-np.inf)), near_lo).astype(np.float64)
        above = np.where(near_hi < hi, np.nextafter(near_hi, np.float32(np.inf)), near_hi).astype(np.float64)
    return np.where(fixed, below, lo), np.where(fixed, above, hi)


def _identity(arguments: Sequence[Affine]) -> list[int] | None:
    """The variables that a call reads, if it reads nothing but variables."""
    if any(a.constant != 0 or len(a.variables) != 1 or a.variables[0][1] != 1 for a in arguments):
        return None
    return [a.variables[0][0] for a in arguments]


def sups(artifact: Artifact, lo: Array, hi: Array, sign: int) -> Array:
    """What sign·r is at most over each box lo[k], hi[k] (rows [box, width], encoded columns), inf where patches do not
    say. Finite values are binary32 numbers."""
    found = np.full(len(lo), np.inf)
    for number in _met(artifact, lo, hi):
        patch = artifact.patches[number]
        lowers = (patch.kind == "ceiling") == (sign > 0)
        level = sign * float(artifact.tensors[patch.level][0])
        if 0 < abs(level) < NORMAL:  # it may be flushed
            found[:] = np.inf
        elif lowers:
            found[_flat(artifact, number, lo, hi) & (found > level)] = level
        else:
            may = ~_open(artifact, number, lo, hi)
            found[may] = np.maximum(found[may], level)
    return found


def _met(artifact: Artifact, lo: Array, hi: Array) -> Sequence[int]:
    """The patches that may act in some of the boxes: all others are no part of the reward there."""
    if has_tables(artifact) or not len(lo):
        return range(len(artifact.patches))
    low, high = reach(artifact)
    met: list[int] = np.flatnonzero(((low <= hi.max(axis=0)) & (high >= lo.min(axis=0))).all(axis=1)).tolist()
    return met


def _flat(artifact: Artifact, number: int, lo: Array, hi: Array) -> NDArray[np.bool_]:
    """[box]: whether the patch is flat all over it (a table: one and the same of its boxes)."""
    patch, found = artifact.patches[number], np.zeros(len(lo), np.bool_)
    records: NDArray[np.intp]
    if is_table(patch, artifact.tensors):
        records, boxes = index_of(artifact, number).pairs((lo + hi) / 2)
    else:
        records, boxes = np.arange(len(lo)), np.zeros(len(lo), np.intp)
    step = max(1, CELLS // max(artifact.tensors[patch.rows].shape))
    for start in range(0, len(records), step):
        some = records[start : start + step]
        flat = flat_rows(artifact, patch, boxes[start : start + step], lo[some], hi[some]).all(axis=1)
        found[some[flat]] = True
    return found


def _open(artifact: Artifact, number: int, lo: Array, hi: Array) -> NDArray[np.bool_]:
    """[box]: whether the patch is surely open all over it."""
    index = index_of(artifact, number)
    if index.boxes == 1:
        here = (index.low[0] <= hi[:, index.columns]) & (index.high[0] >= lo[:, index.columns])
        return np.asarray(~here.all(axis=1))
    return np.array([not len(index.meeting(a, b)) for a, b in zip(lo, hi, strict=True)], dtype=np.bool_)
