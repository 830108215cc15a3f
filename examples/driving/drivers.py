"""Drivers for the recorded traffic: highway-env's IDM/MOBIL vehicle with human variety.

highway-env's ``IDMVehicle`` decides when to brake and when to change lane.  Here each
driver gets parameters of its own, and the imperfections that a recording of people has:
a wandering position in the lane, an uneven right foot, a changing mood about speed, and
a brake now and then for something that nobody else sees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from highway_env.road.road import LaneIndex, Road
from highway_env.vehicle.behavior import IDMVehicle
from highway_env.vehicle.controller import ControlledVehicle

STEP_SECONDS = 0.1
CAR_LENGTH = float(IDMVehicle.LENGTH)
HARDEST_BRAKING = 8.0
LARGEST_STEERING = 0.25
# Cruise speed that traffic settles to in each lane, left to right (highway-env's order).
LANE_CRUISE = (31.0, 28.0, 25.0)

Range = tuple[float, float]


@dataclass(frozen=True)
class Profile:
    """One driver's parameters, in seconds, metres, and their quotients."""

    cruise_offset: float  # wish relative to the lane's usual speed
    time_gap: float  # wished time gap to the car ahead
    jam_gap: float  # wished bumper-to-bumper gap at standstill
    accel: float  # comfortable acceleration
    brake: float  # comfortable braking; a large value brakes late
    politeness: float  # MOBIL's weight on other drivers
    change_gain: float  # MOBIL's threshold for changing lane
    change_imposed: float  # braking a lane change may impose on the car behind
    change_delay: float  # seconds between two thoughts of changing lane
    wander: float  # standard deviation of the lateral position aimed at
    lateral_speed: float  # lateral speed of a lane change
    lateral_accel: float  # lateral acceleration never exceeded
    foot_noise: float  # standard deviation of the uneven acceleration
    hazard_rate: float  # unexplained brakings per second
    hazard_brake: float  # how hard those brakings are


WELL_BEHAVED: dict[str, Range] = {
    "cruise_offset": (-3.5, 3.5),
    "time_gap": (1.1, 2.1),
    "jam_gap": (2.0, 4.0),
    "accel": (1.2, 2.2),
    "brake": (1.8, 3.0),
    "politeness": (0.2, 0.6),
    "change_gain": (0.2, 0.5),
    "change_imposed": (1.5, 2.5),
    "change_delay": (1.0, 3.0),
    "wander": (0.08, 0.25),
    "lateral_speed": (0.8, 1.5),
    "lateral_accel": (1.5, 2.5),
    "foot_noise": (0.08, 0.25),
    "hazard_rate": (0.0, 0.012),
    "hazard_brake": (1.5, 3.5),
}

# What each degraded style changes; everything else stays as in well-behaved driving.
DEGRADED: dict[str, dict[str, Range]] = {
    "tailgater": {
        "cruise_offset": (3.0, 7.0),
        "time_gap": (0.2, 0.5),
        "jam_gap": (1.5, 2.5),
        "brake": (3.0, 5.0),
        "accel": (2.0, 3.0),
    },
    "late_braker": {
        "cruise_offset": (0.0, 5.0),
        "time_gap": (0.6, 1.0),
        "brake": (7.0, 12.0),
        "accel": (2.0, 3.5),
    },
    "weaver": {
        "cruise_offset": (2.0, 6.0),
        "time_gap": (0.6, 1.1),
        "politeness": (0.0, 0.05),
        "change_gain": (0.02, 0.1),
        "change_imposed": (3.5, 5.5),
        "change_delay": (0.3, 0.8),
        "lateral_speed": (1.8, 3.0),
        "lateral_accel": (3.5, 5.0),
        "accel": (2.0, 3.5),
    },
    "jerky": {
        "wander": (0.4, 0.65),
        "foot_noise": (0.9, 1.5),
        "lateral_accel": (2.5, 4.0),
        "hazard_rate": (0.02, 0.05),
        "hazard_brake": (3.0, 5.5),
    },
    "sluggish": {
        "cruise_offset": (-13.0, -7.0),
        "time_gap": (2.0, 3.0),
        "accel": (0.7, 1.2),
        "change_gain": (0.6, 1.2),
    },
}


def draw_profile(style: str, rng: np.random.Generator) -> Profile:
    """Draw a driver: every parameter uniform in its style's range."""
    ranges = WELL_BEHAVED | DEGRADED.get(style, {})
    return Profile(**{f.name: float(rng.uniform(*ranges[f.name])) for f in fields(Profile)})


class Wander:
    """A noise with memory (Ornstein-Uhlenbeck), because people do not shake white noise."""

    def __init__(self, deviation: float, memory: float, rng: np.random.Generator) -> None:
        self._rng = rng
        self._keep = math.exp(-STEP_SECONDS / memory)
        self._kick = deviation * math.sqrt(1.0 - self._keep**2)
        self.value = deviation * float(rng.standard_normal())

    def advance(self) -> float:
        self.value = self._keep * self.value + self._kick * float(self._rng.standard_normal())
        return self.value


class Driver(IDMVehicle):
    """An ``IDMVehicle`` with the parameters and the imperfections of one profile."""

    target_speed: float

    def __init__(
        self,
        road: Road,
        position: np.ndarray,
        speed: float,
        profile: Profile,
        rng: np.random.Generator,
    ) -> None:
        super().__init__(road, position, heading=0.0, speed=speed)
        self.profile = profile
        self._rng = rng
        self._mood = Wander(1.5, 15.0, rng)
        self._aim = Wander(profile.wander, 3.0, rng)
        self._foot = Wander(profile.foot_noise, 0.8, rng)
        self._hazard_left = 0.0
        self._adopt(profile)

    def _adopt(self, profile: Profile) -> None:
        """Shadow the simulator's class-wide constants with this driver's own."""
        self.ACC_MAX = HARDEST_BRAKING
        self.COMFORT_ACC_MAX = profile.accel
        self.COMFORT_ACC_MIN = -profile.brake
        # highway-env measures distances centre to centre.
        self.DISTANCE_WANTED = profile.jam_gap + CAR_LENGTH
        self.TIME_WANTED = profile.time_gap
        self.POLITENESS = profile.politeness
        self.LANE_CHANGE_MIN_ACC_GAIN = profile.change_gain
        self.LANE_CHANGE_MAX_BRAKING_IMPOSED = profile.change_imposed
        self.LANE_CHANGE_DELAY = profile.change_delay

    def act(self, action: dict[str, Any] | str | None = None) -> None:
        if self.crashed:
            return
        previous = float(self.action["acceleration"])
        self._choose_speed()
        self._aim.advance()
        super().act()
        wished = float(self.action["acceleration"]) + self._foot.advance()
        self.action["acceleration"] = self._through_pedals(previous, self._see_hazard(wished))

    def _choose_speed(self) -> None:
        """Wish for the lane's usual speed, give or take the driver and the mood."""
        wish = LANE_CRUISE[self.lane_index[2]] + self.profile.cruise_offset + self._mood.advance()
        # A wish that jumps would make IDM slam the brakes after a lane change.
        change = float(np.clip(wish - self.target_speed, -STEP_SECONDS, STEP_SECONDS))
        self.target_speed = max(self.target_speed + change, 12.0)

    def _see_hazard(self, wished: float) -> float:
        if self._rng.random() < self.profile.hazard_rate * STEP_SECONDS:
            self._hazard_left = float(self._rng.uniform(0.8, 2.5))
        if self._hazard_left <= 0.0:
            return wished
        self._hazard_left -= STEP_SECONDS
        return min(wished, -self.profile.hazard_brake)

    def _through_pedals(self, previous: float, wished: float) -> float:
        """A car answers its pedals with a lag, and does not roll backwards."""
        answered = previous + (wished - previous) * STEP_SECONDS / 0.3
        capped = float(np.clip(answered, -HARDEST_BRAKING, self.COMFORT_ACC_MAX + 0.5))
        return max(capped, -float(self.speed) / STEP_SECONDS)

    def steering_control(self, target_lane_index: LaneIndex) -> float:
        """Aim near the lane's centre, within the driver's lateral speed and acceleration.

        highway-env's own controller crosses a lane in about a second, at lateral
        accelerations no tyre holds; a recording of it would not be driving.
        """
        lane = self.road.network.get_lane(target_lane_index)
        along, lateral = lane.local_coordinates(self.position)
        pace = max(self.speed, 2.0)
        fastest = min(self.profile.lateral_speed, 0.12 * pace)
        drift = float(np.clip((self._aim.value - lateral) / 1.2, -fastest, fastest))
        error = lane.heading_at(along) + math.asin(drift / pace) - self.heading
        # Nobody turns the wheel at standstill.
        error *= min(self.speed / 5.0, 1.0)
        most = self.profile.lateral_accel / pace
        return steering_for(float(np.clip(error / 0.35, -most, most)), pace)


def steering_for(yaw_rate: float, speed: float) -> float:
    """The front-wheel angle that gives this yaw rate in highway-env's bicycle model."""
    slip = math.asin(float(np.clip(yaw_rate * CAR_LENGTH / 2.0 / speed, -0.5, 0.5)))
    return float(np.clip(math.atan(2.0 * math.tan(slip)), -LARGEST_STEERING, LARGEST_STEERING))


class Pacer(ControlledVehicle):
    """Heads a lane of traffic: cruises, then slows down and swings around a lower speed.

    Without a head, the first cars would drive off and the traffic would thin out.
    Pacers only shape the traffic behind them and are never recorded.
    """

    def __init__(
        self,
        road: Road,
        position: np.ndarray,
        speed: float,
        slow: Range,
        rng: np.random.Generator,
    ) -> None:
        super().__init__(road, position, heading=0.0, speed=speed)
        self._clock = 0.0
        self._cruise = speed
        self._slow_at = float(rng.uniform(4.0, 28.0))
        self._slow_speed = float(rng.uniform(*slow))
        self._swing = float(rng.uniform(0.15, 0.6)) * self._slow_speed
        self._period = float(rng.uniform(15.0, 30.0))

    def act(self, action: dict[str, Any] | str | None = None) -> None:
        self._clock += STEP_SECONDS
        wish = self._cruise
        if self._clock > self._slow_at:
            phase = 2.0 * math.pi * (self._clock - self._slow_at) / self._period
            wish = self._slow_speed + self._swing * math.sin(phase)
        # Brakes at up to 2.5 m/s2 and picks up at up to 1.5 m/s2.
        self.target_speed += float(np.clip(wish - self.target_speed, -0.25, 0.15))
        super().act()
