"""The cells of a record type: boxes that together hold every record, and how one of them is split.

Bounds are binary64 numbers, taken as exact; the first boxes contain the declared ranges. Two halves of a real column
share their cut, so nothing between them is lost; a whole column is cut between two whole numbers. The cases of an enum
and the values of a bool are told apart from the start while there are few of them together.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.claim import Box
from rewarden.spec_lang.features import RecordType
from rewarden.verifier.rounding import outward

Array = NDArray[np.float64]
Index = NDArray[np.int64]

TOLD_APART = 128  # cells to start with, at most
LARGEST_WHOLE = 2.0**52  # beyond, the half of a whole number may have no binary64 value
THINNEST = 2.0**-40  # of a column's range: a cell that thin is not cut along it any more


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """lo, hi [cell, column]; `share` [cell] of all there is, by how often it was halved; `range` [column] of it all."""

    lo: Array
    hi: Array
    share: Array
    discrete: NDArray[np.bool_]
    range: Array

    def __len__(self) -> int:
        return len(self.lo)

    def take(self, index: Index) -> Cells:
        return Cells(self.lo[index], self.hi[index], self.share[index], self.discrete, self.range)

    def joined(self, other: Cells) -> Cells:
        lo, hi = np.concatenate((self.lo, other.lo)), np.concatenate((self.hi, other.hi))
        return Cells(lo, hi, np.concatenate((self.share, other.share)), self.discrete, self.range)

    @property
    def points(self) -> NDArray[np.bool_]:
        """[cell]: does it hold one record only?"""
        found: NDArray[np.bool_] = (self.lo == self.hi).all(axis=1)
        return found

    def cuttable(self) -> NDArray[np.bool_]:
        """[cell, column]: can it be cut there?"""
        middle = self.lo + (self.hi - self.lo) / 2
        wide = (self.hi - self.lo > THINNEST * self.range) & (self.lo < middle) & (middle < self.hi)
        return np.where(self.discrete, self.hi - self.lo >= 1, wide)

    def halves(self, axis: Index) -> Cells:
        """Both halves of every cell, first all lower ones, then all upper ones."""
        rows = np.arange(len(self))
        middle = self.lo[rows, axis] + (self.hi[rows, axis] - self.lo[rows, axis]) / 2
        whole = self.discrete[axis]
        left, right = self.hi.copy(), self.lo.copy()
        left[rows, axis] = np.where(whole, np.floor(middle), middle)
        right[rows, axis] = np.where(whole, np.floor(middle) + 1, middle)
        share = np.concatenate((self.share, self.share)) / 2
        lo, hi = np.concatenate((self.lo, right)), np.concatenate((left, self.hi))
        return Cells(lo, hi, share, self.discrete, self.range)

    def centres(self) -> Array:
        """A point of each cell, whole where the column is; not always the exact middle."""
        middle = self.lo + (self.hi - self.lo) / 2
        return np.where(self.discrete, np.floor(middle), middle)


def first_cells(box: Box, kind: RecordType) -> Cells | None:
    """The cells to start with; None where whole numbers are too large to be cut exactly."""
    lo, hi = outward(box)
    discrete = np.array([c.discrete for c in kind.columns()], dtype=np.bool_)
    if not np.isfinite(hi - lo).all() or (np.maximum(np.abs(lo), np.abs(hi))[discrete] > LARGEST_WHOLE).any():
        return None
    choices: list[list[tuple[int, Array]]] = []
    start, count = 0, 1
    for feature in kind.features:
        columns = range(start, start + feature.width)
        if feature.kind == "enum" and count * feature.width <= TOLD_APART:
            count *= feature.width
            choices.append([(start, row) for row in np.eye(feature.width)])
        elif feature.kind == "bool" and count * 2**feature.width <= TOLD_APART:
            count *= 2**feature.width
            choices += [[(k, np.zeros(1)), (k, np.ones(1))] for k in columns if lo[k] < hi[k]]
        start += feature.width
    cells_lo, cells_hi = [], []
    for chosen in product(*choices):
        own_lo, own_hi = lo.copy(), hi.copy()
        for first, values in chosen:
            own_lo[first : first + len(values)] = own_hi[first : first + len(values)] = values
        if (own_lo >= lo).all() and (own_hi <= hi).all():
            cells_lo.append(own_lo)
            cells_hi.append(own_hi)
    share = np.full(len(cells_lo), 1.0 / max(1, len(cells_lo)))
    width = len(box)
    return Cells(np.reshape(cells_lo, (-1, width)), np.reshape(cells_hi, (-1, width)), share, discrete, hi - lo)
