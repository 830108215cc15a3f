"""Figures for records and readers: an interval with every share, and bounds that are no less than what is proved."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray


def wilson(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's interval of a share; 95 % unless told otherwise."""
    share = successes / trials
    centre = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return (centre - half) / scale, (centre + half) / scale


def share_text(successes: int, trials: int) -> str:
    """A share as records hold it: with its interval and what it is a share of; said, where that is nothing."""
    if not trials:
        return "not known (n = 0)"
    lo, hi = wilson(successes, trials)
    return f"{successes / trials:.4f} (95 % interval {lo:.4f} to {hi:.4f}, n = {trials})"


def at_most_text(value: Fraction, digits: int = 6) -> str:
    """A bound from above with so many significant digits: rounded up, so that what is read is a bound as well."""
    up = Context(prec=digits, rounding=ROUND_CEILING)
    return f"{float(up.divide(Decimal(value.numerator), Decimal(value.denominator))):.{digits}g}"


def auc(above: NDArray[np.float64], below: NDArray[np.float64]) -> float:
    """The chance that a member of `above` [n] beats one of `below` [m], ties counting half."""
    ordered = np.sort(below)
    less = np.searchsorted(ordered, above, side="left")
    upto = np.searchsorted(ordered, above, side="right")
    return int((less + upto).sum()) / (2 * len(above) * len(below))
