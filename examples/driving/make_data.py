"""Record the driving demonstrations, preferences, and incidents of the demo.

Usage: python make_data.py --out DIR [--seed SEED]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from judge import SEGMENT_STEPS, prefers_first, segment_utility, time_to_collision
from recording import FEATURES, Record, Scenario, Trip, simulate

LIGHT = Scenario(mean_gap=70.0, flow_speed=27.0, slow=None, degraded_share=0.0, vehicles=18, seconds=30.0)
BUSY = replace(LIGHT, mean_gap=35.0, flow_speed=25.0, slow=(17.0, 24.0), vehicles=24)
DENSE = replace(BUSY, mean_gap=24.0, flow_speed=24.0, slow=(11.0, 19.0))
QUEUE = replace(BUSY, mean_gap=32.0, slow=(3.0, 9.0))
TRAFFIC = (LIGHT, BUSY, DENSE, QUEUE)

DEMO_EPISODES = 16
DEMO_TRIPS_PER_EPISODE = 10
RATED_EPISODES = 20
RATED_DEGRADED_SHARE = 0.6
PAIRS = 3500
INCIDENTS = 200
INCIDENT_TTC = 3.0
INCIDENT_BRAKING = -5.0
INCIDENTS_PER_TRIP = 3

IDENTITY = ("episode", "vehicle", "step")
Item = TypeVar("Item")
TYPES = {"has_lead": pa.bool_(), "lane": pa.string()}


def main() -> None:
    arguments = parse_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    demo_rng, rated_rng, pick_rng = np.random.default_rng(arguments.seed).spawn(3)
    demos = choose_trips(drive(0, DEMO_EPISODES, 0.0, demo_rng), pick_rng)
    rated = flatten(drive(DEMO_EPISODES, RATED_EPISODES, RATED_DEGRADED_SHARE, rated_rng))
    pairs = rate(demos + rated, pick_rng)
    closest = incidents(demos + rated)
    write(record_table(flatten(demos)), arguments.out / "demos.parquet")
    write(preference_table(pairs), arguments.out / "preferences.parquet")
    write(record_table(closest), arguments.out / "incidents.parquet")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the Parquet files")
    parser.add_argument("--seed", type=int, default=7, help="seed of everything random")
    return parser.parse_args()


def flatten(lists: Iterable[Iterable[Item]]) -> list[Item]:
    return list(chain.from_iterable(lists))


def drive(first: int, episodes: int, degraded_share: float, rng: np.random.Generator) -> list[list[Trip]]:
    """Simulate episodes, going round the kinds of traffic; return each one's trips."""
    recorded: list[list[Trip]] = []
    crashed = 0
    for number, episode_rng in enumerate(rng.spawn(episodes)):
        scenario = replace(TRAFFIC[number % len(TRAFFIC)], degraded_share=degraded_share)
        trips, lost = simulate(scenario, first + number, episode_rng)
        recorded.append(trips)
        crashed += lost
    print(f"{episodes} episodes, {sum(map(len, recorded))} trips, {crashed} left out for contact")
    return recorded


def choose_trips(episodes: Sequence[list[Trip]], rng: np.random.Generator) -> list[Trip]:
    """The same number of trips from every episode, so that no kind of traffic dominates."""
    chosen: list[Trip] = []
    for trips in episodes:
        picks = rng.choice(len(trips), size=DEMO_TRIPS_PER_EPISODE, replace=False)
        chosen.extend(trips[pick] for pick in sorted(picks))
    return chosen


def cut(trip: Trip) -> list[Trip]:
    """Cut a trip into segments that do not overlap."""
    last = len(trip) - SEGMENT_STEPS
    return [trip[start : start + SEGMENT_STEPS] for start in range(0, last + 1, SEGMENT_STEPS)]


def rate(trips: Sequence[Trip], rng: np.random.Generator) -> list[tuple[Trip, Trip]]:
    """Pair segments at random, each used at most once, and ask the judge about each pair."""
    segments = flatten(cut(trip) for trip in trips)
    order = rng.permutation(len(segments))[: 2 * PAIRS].reshape(-1, 2)
    pairs: list[tuple[Trip, Trip]] = []
    for left, right in order:
        first, second = segments[left], segments[right]
        pairs.append((first, second) if prefers_first(first, second, rng) else (second, first))
    against = sum(segment_utility(better) < segment_utility(worse) for better, worse in pairs)
    print(f"{len(pairs)} pairs of {len(segments)} segments, {against} against the judge's utility")
    return pairs


def incidents(trips: Sequence[Trip]) -> list[Record]:
    """The closest calls, at most a few per trip, in the order they were recorded."""
    candidates: list[tuple[float, Record]] = []
    for trip in trips:
        found = [(severity(record), record) for record in trip if is_incident(record)]
        candidates.extend(sorted(found, key=lambda item: item[0])[:INCIDENTS_PER_TRIP])
    worst = sorted(candidates, key=lambda item: item[0])[:INCIDENTS]
    print(f"{len(worst)} incidents of {len(candidates)} candidates")
    return sorted((record for _, record in worst), key=identity)


def is_incident(record: Record) -> bool:
    return time_to_collision(record) < INCIDENT_TTC or float(record["accel"]) < INCIDENT_BRAKING


def severity(record: Record) -> float:
    """Smaller is worse: time to collision, or braking mapped so that the thresholds meet."""
    braking = INCIDENT_TTC * (2.0 - float(record["accel"]) / INCIDENT_BRAKING)
    return min(time_to_collision(record), braking)


def identity(record: Record) -> tuple[int, ...]:
    return tuple(int(record[name]) for name in IDENTITY)


def record_table(records: Sequence[Record]) -> pa.Table:
    columns = {name: column(name, records, pa.int32()) for name in IDENTITY}
    columns |= {name: column(name, records, pa.float64()) for name in FEATURES}
    return pa.table(columns)


def preference_table(pairs: Sequence[tuple[Trip, Trip]]) -> pa.Table:
    """One row per pair and step, the better and the worse segment side by side."""
    columns: dict[str, pa.Array] = {
        "pair": pa.array(np.repeat(np.arange(len(pairs)), SEGMENT_STEPS), pa.int32()),
        "step": pa.array(np.tile(np.arange(SEGMENT_STEPS), len(pairs)), pa.int32()),
    }
    for side, index in (("better", 0), ("worse", 1)):
        records = flatten(pair[index] for pair in pairs)
        for name in FEATURES:
            columns[f"{side}.{name}"] = column(name, records, pa.float64())
    return pa.table(columns)


def column(name: str, records: Sequence[Record], usual: pa.DataType) -> pa.Array:
    return pa.array([record[name] for record in records], TYPES.get(name, usual))


def write(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd", compression_level=19)
    print(f"{path.name}: {table.num_rows} rows, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
