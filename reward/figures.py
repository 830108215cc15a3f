"""Figures that say how good a learned reward is, for its record: an interval with every share."""

from __future__ import annotations

import math

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


def auc(above: NDArray[np.float64], below: NDArray[np.float64]) -> float:
    """The chance that a member of `above` [n] beats one of `below` [m], ties counting half."""
    ordered = np.sort(below)
    less = np.searchsorted(ordered, above, side="left")
    upto = np.searchsorted(ordered, above, side="right")
    return int((less + upto).sum()) / (2 * len(above) * len(below))
