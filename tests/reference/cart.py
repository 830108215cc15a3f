"""A tiny project for tests of the command line: a cart, a hand-made reward, a spec, data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.graph import AffineMap, Graph, Input, Relu
from rewarden.reward.store import save_artifact
from rewarden.spec_lang import load_spec

HEAD = """spec cart v1

features Step {
  dist  : real [m]   in 0 .. 10
  speed : real [m/s] in 0 .. 3
  busy  : bool
}

reward R(s: Step)
reward Base(s: Step)
data rows: Step from "data/rows.parquet"
param top: real [m/s] = 2 [m/s]
"""

PROVED = """
--- The reward is bounded.
must bounded:
  forall s: Step
  expect R(s) <= 100
"""
VIOLATED = """
--- Fast is never worth more than three.
must slow:
  forall s: Step
  given s.busy and s.speed >= top
  expect R(s) <= 3
  id "C-1"
"""
SHOULD = """
--- Farther is never better.
should nearer:
  forall a, b: Step varying dist
  given a.dist <= b.dist
  expect R(a) >= R(b)
"""
VACUOUS = """
must nothing:
  forall s: Step
  given s.speed >= 2 [m/s] and s.speed <= 1 [m/s]
  expect R(s) <= 0
"""
LOCAL = """
must local:
  forall s: Step
  given beyond(s.busy and s.speed >= top, 5 %)
  expect R(s) == Base(s)
"""


def write_spec(folder: Path, *rules: str, name: str = "cart.rwd", head: str = HEAD) -> Path:
    """The spec with these rules, and its data."""
    (folder / "data").mkdir(exist_ok=True)
    table = {"dist": [1.0, 5.0, 9.5], "speed": [0.5, 2.5, 1.0], "busy": [True, False, True]}
    pq.write_table(pa.table(table), folder / "data" / "rows.parquet")
    (folder / name).write_text(head + "".join(rules), encoding="utf-8")
    return folder / name


def artifact_of(spec: Path, bias: float = 0.0) -> Artifact:
    """R = relu(dist) + 2·relu(speed) + bias: up to 16, and above 3 where the cart is fast."""
    step = load_spec(spec).features["Step"]
    graph = Graph((Input(), AffineMap(0, "w0", "b0"), Relu(1), AffineMap(2, "w1", "b1")), 3)
    tensors = {
        "w0": np.array([[1, 0, 0], [0, 1, 0]], np.float32),
        "b0": np.zeros(2, np.float32),
        "w1": np.array([[1, 2]], np.float32),
        "b1": np.array([bias], np.float32),
    }
    return Artifact(records=(RewardRecord("s", step),), graph=graph, tensors=tensors, identified="exact")


def write_reward(folder: Path, spec: Path, name: str = "reward", bias: float = 0.0) -> Path:
    save_artifact(artifact_of(spec, bias), folder / name)
    return folder / name
