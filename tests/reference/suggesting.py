"""Rewards of known structure, over data of known structure, for what `rewarden suggest` should find in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rewarden.reward.artifact import Artifact, Identified, RewardRecord
from rewarden.reward.graph import AffineMap, Graph, Input, Node, Relu
from rewarden.spec_lang import Spec, load_spec

FEATURES = """features Step {
  up    : real [m]   in 0 .. 10
  idle  : real       in -1 .. 1
  down  : real [m/s] in 0 .. 4
  flag  : bool
  kind  : enum {red, green, blue}
}"""
COLUMNS = ("up", "idle", "down", "flag", "kind=red", "kind=green", "kind=blue")


def project(folder: Path, features: str = FEATURES, more: str = "", rows: int = 400) -> Spec:
    """A spec with rows that have nothing to do with each other, and incidents at high `down`."""
    generator = np.random.default_rng(5)
    pq.write_table(_table(generator, rows, 0.0, 3.0), folder / "logs.parquet")
    pq.write_table(_table(generator, 40, 3.3, 4.0), folder / "crashes.parquet")
    data = 'data logs: Step from "logs.parquet"\ndata crashes: Step from "crashes.parquet"'
    place = folder / "known.rwd"
    place.write_text(f"spec known v1\n\n{features}\n\nreward R(s: Step)\n{data}\n{more}\n", encoding="utf-8")
    return load_spec(place)


def _table(generator: np.random.Generator, rows: int, low: float, high: float) -> pa.Table:
    return pa.table(
        {
            "up": generator.uniform(0, 10, rows),
            "idle": generator.uniform(-1, 1, rows),
            "down": generator.uniform(low, high, rows),
            "flag": generator.random(rows) < 0.5,
            "kind": [("red", "green", "blue")[k] for k in generator.integers(3, size=rows)],
        }
    )


def linear(spec: Spec, weights: dict[str, float], identified: Identified = "exact") -> Artifact:
    """R(s) = Σ weight · column, over the encoded columns."""
    record = spec.features["Step"]
    row = np.array([[weights.get(column.name, 0.0) for column in record.columns()]], np.float32)
    tensors = {"w": row, "b": np.zeros(1, np.float32)}
    records = (RewardRecord("s", record),)
    return Artifact(
        records=records, graph=Graph((Input(), AffineMap(0, "w", "b")), 1), tensors=tensors, identified=identified
    )


def network(spec: Spec, hidden: list[tuple[dict[str, float], float]], outer: list[float]) -> Artifact:
    """R(s) = Σ outer_k · relu(Σ weight_k · column + bias_k)."""
    record = spec.features["Step"]
    names = [column.name for column in record.columns()]
    tensors = {
        "w0": np.array([[weights.get(name, 0.0) for name in names] for weights, _ in hidden], np.float32),
        "b0": np.array([bias for _, bias in hidden], np.float32),
        "w1": np.array([outer], np.float32),
        "b1": np.zeros(1, np.float32),
    }
    nodes: tuple[Node, ...] = (Input(), AffineMap(0, "w0", "b0"), Relu(1), AffineMap(2, "w1", "b1"))
    return Artifact(records=(RewardRecord("s", record),), graph=Graph(nodes, 3), tensors=tensors, identified="exact")
