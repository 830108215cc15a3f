"""Tracks of people as moments: how fast each walks, and how the person nearest to them is.

A file holds the columns frame, person, x, height, y, vx, vz, vy, in metres and metres per second, 2.5 times a second. A
moment needs the same person 0.4 s later (for the acceleration) and somebody else within 10 m in the same frame.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

Array = NDArray[np.float64]
STEP = 0.4  # seconds between two annotations
REACH = 10.0  # metres
NEAREST = 0.2
LIMITS = {"speed": (0.0, 4.0), "accel": (-4.0, 4.0), "gap": (NEAREST, REACH), "closing": (-5.0, 5.0)}
FASTEST = 4.0


def moments(file: Path) -> dict[str, Array]:
    """Columns of the moments in a file of tracks, with the person (`episode`) and the frame (`step`) of each."""
    frame, person, x, _, y, vx, _, vy = np.loadtxt(file).T
    apart = np.diff(np.unique(frame)).min()
    at = {(f, p): k for k, (f, p) in enumerate(zip(frame, person, strict=True))}
    place, velocity = np.stack([x, y], axis=1), np.stack([vx, vy], axis=1)
    rows = []
    for f in np.unique(frame):
        here = np.flatnonzero(frame == f)
        if len(here) < 2:
            continue
        gaps = np.linalg.norm(place[here][:, None] - place[here][None], axis=2)
        np.fill_diagonal(gaps, np.inf)
        for own, other in zip(here, here[gaps.argmin(axis=1)], strict=True):
            later = at.get((f + apart, person[own]))
            if later is not None:
                rows.append((*_moment(own, other, later, place, velocity), person[own], (f - frame[0]) / apart))
    names = (*LIMITS, "ahead", "episode", "step")
    found = dict(zip(names, np.array(rows).T, strict=True))
    kept = np.all([(found[n] >= lo) & (found[n] <= hi) for n, (lo, hi) in LIMITS.items()], axis=0)
    kept &= found["closing"] <= found["speed"] + FASTEST
    return {name: values[kept] for name, values in found.items()}


def _moment(own: int, other: int, later: int, place: Array, velocity: Array) -> tuple[float, ...]:
    speed = float(np.linalg.norm(velocity[own]))
    towards = place[other] - place[own]
    gap = float(np.linalg.norm(towards))
    direction = towards / max(gap, 1e-9)
    closing = float((velocity[own] - velocity[other]) @ direction)
    accel = (float(np.linalg.norm(velocity[later])) - speed) / STEP
    return speed, accel, gap, closing, float(velocity[own] @ direction > 0)


def write(found: dict[str, Array], file: Path) -> None:
    columns = {n: v.astype(bool) if n == "ahead" else np.round(v, 4) for n, v in found.items()}
    for name in ("episode", "step"):
        columns[name] = found[name].astype(np.int64)
    pq.write_table(pa.table(columns), file)
