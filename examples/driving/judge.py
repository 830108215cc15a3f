"""A judge of recorded driving that stands in for human raters.

It sees nothing but the five recorded steps of a segment.  Its utility is a plain account
of what passengers and traffic engineers ask for: progress, distance, comfort, and keeping
the lane.  Its answers are noisy, as people's are: which segment of a pair it prefers is
drawn from the Bradley-Terry model of the two utilities.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from recording import SAMPLE_SECONDS, Record, Trip

SEGMENT_STEPS = 5

PROGRESS = 1.2  # per 30 m/s
SHORT_HEADWAY = 0.9  # at no headway at all, from none at 1.2 s
SHORT_TTC = 1.4  # at contact, from none at 4 s
HARSH_PEDALS = 0.03  # per (m/s2)^2
HARSH_CURVE = 0.05  # per (m/s2)^2 of lateral acceleration
JERK = 0.015  # per (m/s3)^2
OFF_CENTRE = 0.25  # per metre
SHARPNESS = 9.0  # of the preference, per unit of utility


def prefers_first(first: Trip, second: Trip, rng: np.random.Generator) -> bool:
    """Draw the judge's answer: Bradley-Terry with the two segments' utilities."""
    edge = SHARPNESS * (segment_utility(first) - segment_utility(second))
    return bool(rng.random() < 1.0 / (1.0 + math.exp(-edge)))


def segment_utility(segment: Trip) -> float:
    """Mean utility of the steps, less the jerk between them."""
    steps = [step_utility(record) for record in segment]
    return sum(steps) / len(steps) - JERK * mean_square_jerk(segment)


def step_utility(record: Record) -> float:
    speed = float(record["speed"])
    lateral = lateral_acceleration(record)
    return (
        PROGRESS * speed / 30.0
        - SHORT_HEADWAY * shortfall(time_headway(record), 1.2)
        - SHORT_TTC * shortfall(time_to_collision(record), 4.0)
        - HARSH_PEDALS * float(record["accel"]) ** 2
        - HARSH_CURVE * lateral**2
        - OFF_CENTRE * abs(float(record["lane_offset"]))
    )


def shortfall(value: float, enough: float) -> float:
    """How far a value falls short, from 0 (enough) to 1 (nothing at all)."""
    return max(1.0 - value / enough, 0.0)


def time_headway(record: Record) -> float:
    """Seconds until the car reaches where its lead is now."""
    if not record["has_lead"]:
        return math.inf
    return float(record["gap"]) / max(float(record["speed"]), 1.0)


def time_to_collision(record: Record) -> float:
    """Seconds until contact if nobody changes speed."""
    closing = float(record["closing"])
    if closing <= 0.0:
        return math.inf
    return float(record["gap"]) / closing


def lateral_acceleration(record: Record) -> float:
    """Lateral acceleration of highway-env's bicycle model, for small steering angles."""
    return float(record["speed"]) ** 2 * float(record["steering"]) / 5.0


def mean_square_jerk(segment: Sequence[Record]) -> float:
    pedals = np.array([float(record["accel"]) for record in segment])
    return float(np.mean((np.diff(pedals) / SAMPLE_SECONDS) ** 2))
