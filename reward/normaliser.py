"""The normaliser: per column one multiply and one add, both with short mantissas.

It is part of the network (a `scale` node), so that callers, rules and witnesses speak problem units only. There is no
division in it: the reciprocal of a column's spread is rounded once, here, to a few bits, and that rounded number *is*
the normaliser. Columns that are 0 or 1 (bools, one-hot cases) pass as they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.features import RecordType

SCALE_BITS = 5
SHIFT_STEP = 2.0**-8
# A column that hardly varies in the data is not blown up beyond this many spreads over its declared range: its slope
# would make every bound over the whole range loose, for a spread that is mostly measurement noise.
MOST_SPREADS = 64.0


@dataclass(frozen=True, slots=True, eq=False)
class Normaliser:
    """x·scale + shift; both float32 [width]."""

    scale: NDArray[np.float32]
    shift: NDArray[np.float32]

    def __call__(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Normalised rows [n, width], in binary64."""
        return np.asarray(rows * self.scale.astype(np.float64) + self.shift.astype(np.float64))


def fit_normaliser(rows: NDArray[np.float64], record_type: RecordType) -> Normaliser:
    """Centre and spread (mean and standard deviation) of the rows [n, width], as dyadic scale and shift.

    Missing values (NaN) are left out; a column of nothing else passes as it is."""
    scale = np.ones(record_type.width, np.float64)
    shift = np.zeros(record_type.width, np.float64)
    kinds = [feature.kind for feature in record_type.features for _ in range(feature.width)]
    for index, (column, kind) in enumerate(zip(record_type.columns(), kinds, strict=True)):
        if kind in ("bool", "enum"):
            continue
        values = rows[:, index][~np.isnan(rows[:, index])]
        if not len(values):
            continue
        # fsum is exactly rounded: the mean does not depend on how a vectorised sum was cut up.
        mean = math.fsum(values) / len(values)
        variance = math.fsum((values - mean) ** 2) / len(values)
        spread = max(math.sqrt(variance), float(column.hi - column.lo) / MOST_SPREADS)
        scale[index] = _short(1.0 / spread) if spread > 0.0 else 1.0
        shift[index] = round(-mean * scale[index] / SHIFT_STEP) * SHIFT_STEP + 0.0
    return Normaliser(scale.astype(np.float32), shift.astype(np.float32))


def range_normaliser(record_type: RecordType) -> Normaliser:
    """The declared ranges to about −1 … 1, where there are no rows to go by."""
    scale = np.ones(record_type.width, np.float64)
    shift = np.zeros(record_type.width, np.float64)
    for index, column in enumerate(record_type.columns()):
        half = float(column.hi - column.lo) / 2
        scale[index] = _short(1.0 / half) if half > 0.0 else 1.0
        shift[index] = round(-float(column.hi + column.lo) / 2 * scale[index] / SHIFT_STEP) * SHIFT_STEP + 0.0
    return Normaliser(scale.astype(np.float32), shift.astype(np.float32))


def _short(value: float) -> float:
    """The value with `SCALE_BITS` significant bits."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(mantissa * 2**SCALE_BITS), exponent - SCALE_BITS)
