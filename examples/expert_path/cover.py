"""The path, and cubes that cover every state farther than `FAR` from it.

A cube is left out only if all of it is certainly within `FAR` of the path: its centre's distance from some point of the
path plus half its diagonal is at most `FAR`. Distances are from points that lie on the path, so that they are never too
small. A cube that is not left out is kept as it is where all of it is certainly beyond `CLEAR`, and else cut into
eight, down to 1/64 m, where it is kept in any case. So the cubes cover the far region and a rim of it; since the
smallest have a diagonal of 27.1 mm, all of them stay 0.3129 m or more away from the path.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
FAR, NEAR = 0.34, 0.30  # farther than the one nothing is worth anything; within the other every reward is kept
SPAN = (-1.4, 1.4)
SIDES = (1 / 8, 1 / 16, 1 / 32, 1 / 64)  # binary numbers: neighbours meet without a gap
CLEAR = FAR - SIDES[-1] * 3**0.5  # 0.3129: no state of a kept cube is closer to the path
LOW, HIGH = np.array([-1.0, -1.0, -0.75]), np.array([1.0, 1.0, 0.75])


def curve(t: Array) -> Array:
    """Points [n, 3] of the path, t in `SPAN`: from wall to wall, and on behind them."""
    return np.stack([t, 0.3 * np.sin(1.6 * t), 0.15 * np.cos(1.6 * t)], axis=1)


def _velocity(t: Array) -> Array:
    return np.stack([np.ones_like(t), 0.48 * np.cos(1.6 * t), -0.24 * np.sin(1.6 * t)], axis=1)


COARSE, STEPS, CHUNK = 400, 4, 20_000
_TIMES = np.linspace(*SPAN, COARSE)
_ON_PATH = curve(_TIMES)


def distance(states: Array) -> Array:
    """From the nearest of a few points that lie on the path [n]: the distance from the path, or a little more. From the
    nearest of `COARSE` points, Gauss-Newton steps along the path; each point that they come to counts."""
    found = np.empty(len(states))
    for start in range(0, len(states), CHUNK):
        chunk = states[start : start + CHUNK]
        t = _TIMES[((_ON_PATH**2).sum(axis=1) - 2 * chunk @ _ON_PATH.T).argmin(axis=1)]
        best = np.full(len(chunk), np.inf)
        for _ in range(STEPS):
            away, along = chunk - curve(t), _velocity(t)
            best = np.minimum(best, (away**2).sum(axis=1))
            t = np.clip(t + (away * along).sum(axis=1) / (along**2).sum(axis=1), *SPAN)
        found[start : start + CHUNK] = np.sqrt(best)
    return found


def cubes() -> list[Array]:
    """Centres [n, 3] of the kept cubes, one array for each of `SIDES`."""
    side = SIDES[0]
    axes = [np.arange(lo + side / 2, hi, side) for lo, hi in zip(LOW, HIGH, strict=True)]
    left = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    kept = []
    for side in SIDES:
        away, half = distance(left), side * np.sqrt(3) / 2
        inside = away + half <= FAR
        whole = ~inside & ((away - half > CLEAR) | (side == SIDES[-1]))
        kept.append(left[whole])
        rest = left[~inside & ~whole]
        corners = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)]) * side / 4
        left = (rest[:, None, :] + corners).reshape(-1, 3)
    return kept
