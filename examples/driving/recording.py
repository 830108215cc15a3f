"""Simulate traffic on a three-lane highway and record it as features in physical units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from drivers import CAR_LENGTH, DEGRADED, STEP_SECONDS, Driver, Pacer, Range, draw_profile
from highway_env.road.road import Road, RoadNetwork
from highway_env.vehicle.kinematics import Vehicle

SAMPLE_SECONDS = 0.5
STEPS_PER_SAMPLE = round(SAMPLE_SECONDS / STEP_SECONDS)
WARM_UP_SECONDS = 12.0
SIGHT = 100.0
ROAD_LENGTH = 8000.0
LANE_NAMES = ("left", "middle", "right")
# What each number may be; a recording outside these is an error, not a row.
RANGES: dict[str, Range] = {
    "speed": (0.0, 40.0),
    "gap": (0.0, SIGHT),
    "closing": (-30.0, 25.0),
    "lane_offset": (-2.0, 2.0),
    "heading_error": (-0.5, 0.5),
    "accel": (-8.0, 5.0),
    "steering": (-0.3, 0.3),
}
FEATURES = (*RANGES, "has_lead", "lane")

Value = float | bool | str | int
Record = dict[str, Value]
Trip = list[Record]


@dataclass(frozen=True)
class Scenario:
    """One stretch of traffic to simulate."""

    mean_gap: float  # mean bumper-to-bumper gap at the start
    flow_speed: float  # speed of the traffic at the start
    slow: Range | None  # speeds that the head of each lane slows down to; None: no head
    degraded_share: float  # share of drivers with a degraded style
    vehicles: int
    seconds: float  # recorded, after the warm-up


def simulate(scenario: Scenario, episode: int, rng: np.random.Generator) -> tuple[list[Trip], int]:
    """Run one episode; return one trip per driver, and how many trips a crash discarded.

    Recordings of daily traffic hold close calls but hardly a crash, so a trip that ends
    in contact is left out as a whole, and counted.
    """
    road = Road(network=RoadNetwork.straight_road_network(3, length=ROAD_LENGTH, speed_limit=40.0))
    road.np_random = rng
    drivers = populate(road, scenario, rng)
    trips: list[Trip] = [[] for _ in drivers]
    warm_up = round(WARM_UP_SECONDS / STEP_SECONDS)
    for tick in range(warm_up + round(scenario.seconds / STEP_SECONDS)):
        road.act()
        step, remainder = divmod(tick - warm_up, STEPS_PER_SAMPLE)
        if step >= 0 and remainder == 0:
            for number, driver in enumerate(drivers):
                identity: Record = {"episode": episode, "vehicle": number, "step": step}
                trips[number].append(identity | checked(observe(driver, road.vehicles)))
        road.step(STEP_SECONDS)
        clear_wrecks(road)
    whole = [trip for trip, driver in zip(trips, drivers, strict=True) if not driver.crashed]
    return whole, len(trips) - len(whole)


def clear_wrecks(road: Road) -> None:
    """Take crashed cars off the road, so that one contact does not shape the whole episode."""
    road.vehicles = [vehicle for vehicle in road.vehicles if not vehicle.crashed]


def populate(road: Road, scenario: Scenario, rng: np.random.Generator) -> list[Driver]:
    """Place the drivers lane by lane, from the front backwards; return them."""
    drivers: list[Driver] = []
    front = [1500.0 + float(rng.uniform(-20.0, 20.0)) for _ in LANE_NAMES]
    if scenario.slow is not None:
        for lane, along in enumerate(front):
            place = road.network.get_lane(("0", "1", lane)).position(along, 0.0)
            pacer = Pacer(road, place, scenario.flow_speed, scenario.slow, rng.spawn(1)[0])
            road.vehicles.append(pacer)
    for number in range(scenario.vehicles):
        lane = number % len(LANE_NAMES)
        front[lane] -= CAR_LENGTH + 12.0 + float(rng.exponential(scenario.mean_gap - 12.0))
        drivers.append(enter(road, lane, front[lane], scenario, rng.spawn(1)[0]))
    road.vehicles.extend(drivers)
    return drivers


def enter(road: Road, lane: int, along: float, scenario: Scenario, rng: np.random.Generator) -> Driver:
    style = "well_behaved"
    if rng.random() < scenario.degraded_share:
        style = str(rng.choice(sorted(DEGRADED)))
    profile = draw_profile(style, rng)
    speed = scenario.flow_speed + 0.5 * profile.cruise_offset + float(rng.normal(0.0, 0.5))
    place = road.network.get_lane(("0", "1", lane)).position(along, 0.0)
    return Driver(road, place, speed, profile, rng)


def observe(driver: Driver, traffic: list[Vehicle]) -> Record:
    """The features of one driver at one instant, rounded once, here."""
    along, offset = driver.lane.local_coordinates(driver.position)
    gap, lead_speed = look_ahead(driver, traffic)
    gap = round(min(gap, SIGHT), 2)
    seen = gap < SIGHT
    return {
        # Adding zero turns a rounded -0.0 into 0.0.
        "speed": round(driver.speed, 2) + 0.0,
        "gap": gap,
        "closing": round(driver.speed - lead_speed, 2) + 0.0 if seen else 0.0,
        "lane_offset": round(offset, 3) + 0.0,
        "heading_error": round(driver.lane.local_angle(driver.heading, along), 4) + 0.0,
        "accel": round(float(driver.action["acceleration"]), 2) + 0.0,
        "steering": round(float(driver.action["steering"]), 4) + 0.0,
        "has_lead": seen,
        "lane": LANE_NAMES[driver.lane_index[2]],
    }


def checked(record: Record) -> Record:
    for name, (low, high) in RANGES.items():
        if not low <= float(record[name]) <= high:
            raise ValueError(f"{name} = {record[name]} is outside {low} to {high}")
    return record


def look_ahead(driver: Driver, traffic: list[Vehicle]) -> tuple[float, float]:
    """Bumper-to-bumper gap to the nearest car ahead in the lane, and that car's speed."""
    nearest, speed = float("inf"), 0.0
    for other in traffic:
        if other is driver or other.lane_index != driver.lane_index:
            continue
        ahead = float(other.position[0] - driver.position[0])
        if 0.0 < ahead < nearest:
            nearest, speed = ahead, float(other.speed)
    return max(nearest - CAR_LENGTH, 0.0), speed
