"""binary32 numbers in binary64, exactly, whatever the processor is told to do with small ones.

A thread may have been set to take operands below the normal range for 0 (`torch.set_flush_denormal`, `-ffast-math` in
some library that was loaded): converting a number is then enough to lose it, and a reward with such a weight would be
another function. So those numbers are made from their bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EXPONENT, MANTISSA, SIGN = np.uint32(0x7F800000), np.uint32(0x007FFFFF), np.uint32(0x80000000)
UNIT = 2.0**-149  # the last place of the numbers below the normal range


def widened(tensor: NDArray[np.float32]) -> NDArray[np.float64]:
    """The same numbers, of the same shape."""
    bits = np.ascontiguousarray(tensor).view(np.uint32).reshape(tensor.shape)
    small = (bits & EXPONENT) == 0
    size = (bits & MANTISSA).astype(np.float64) * UNIT
    return np.where(small, np.where((bits & SIGN) != 0, -size, size), tensor.astype(np.float64))
