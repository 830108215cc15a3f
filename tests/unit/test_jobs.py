"""What the commands do at files, from Python: learning, judging, forgetting, history."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rewarden as rw
from rewarden.cli import run
from rewarden.spec_lang.errors import EditError, UsageError
from tests.reference.cart import PROVED, VIOLATED, write_reward, write_spec
from tests.reference.small_data import comparisons

SPEC = """spec small v1
features Step {
  speed  : real [m/s] in 0 .. 40
  offset : real [m]   in -2 .. 2
  lead   : bool
}
reward R(s: Step)
must low:
  forall s: Step
  expect R(s) <= 100
"""
CONFIG = """data = { preferences = "pairs.parquet" }
features = { spec = "small.rwd" }
learner = { name = "preferences", seed = 3, options = { hidden = 6, epochs = 4 } }
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jobs")
    segments = comparisons(80).segments[:, :, 0]
    columns: dict[str, object] = {"pair": np.arange(80), "step": np.ones(80, int), "id": [f"p{k}" for k in range(80)]}
    for k, side in enumerate(("better", "worse")):
        columns |= {f"{side}.{n}": segments[:, k, j] for j, n in enumerate(("speed", "offset"))}
        columns[f"{side}.lead"] = segments[:, k, 2].astype(bool)
    pq.write_table(pa.table(columns), folder / "pairs.parquet")
    (folder / "small.rwd").write_text(SPEC, encoding="utf-8")
    (folder / "learn.toml").write_text(CONFIG, encoding="utf-8")
    return folder


def test_learning_is_what_the_command_does(project: Path, tmp_path: Path) -> None:
    learned = rw.learn(project / "learn.toml", checkpoints=tmp_path / "kept")
    assert run(["learn", str(project / "learn.toml"), "-o", str(tmp_path / "r"), "-q"]) == 0
    assert rw.load_reward(tmp_path / "r").digest == learned.digest
    assert rw.learn(project / "learn.toml", seed=4).digest != learned.digest


def test_what_takes_an_artifact_takes_its_place(project: Path, tmp_path: Path) -> None:
    learned = rw.learn(project / "learn.toml")
    rw.save_reward(learned, tmp_path / "reward")
    assert rw.inspect(tmp_path / "reward").to_json() == rw.inspect(learned).to_json()
    assert rw.export_onnx(tmp_path / "reward", tmp_path / "a.onnx") == rw.export_onnx(learned, tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_inspecting_judges_and_writes_a_page(project: Path, tmp_path: Path) -> None:
    learned = rw.learn(project / "learn.toml")
    told = rw.inspect(
        learned, project / "pairs.parquet", against=learned, where=["lead=true"], budget=50, html=tmp_path / "p.html"
    )
    assert len(told.tests) == 1
    assert told.whole is not None
    assert told.distances[0].value < 1e-6
    assert "<h2>What each feature does</h2>" in (tmp_path / "p.html").read_text(encoding="utf-8")
    assert told.to_json()["artifact"] == learned.digest
    with pytest.raises(UsageError, match="G42"):
        rw.inspect(learned, budget=0)
    with pytest.raises(UsageError, match="G42"):
        rw.inspect(learned, encoder=tmp_path)


def test_forgetting(project: Path, tmp_path: Path) -> None:
    rw.save_reward(rw.learn(project / "learn.toml"), tmp_path / "r")
    pq.write_table(pa.table({"id": ["p3", "p4"]}), tmp_path / "forget.parquet")
    done = rw.unlearn(tmp_path / "r", project / "learn.toml", tmp_path / "forget.parquet", tmp_path / "u")
    assert (done.forgotten, done.left) == (2, 78)
    assert rw.load_reward(tmp_path / "u").digest == done.artifact.digest


def test_an_artifacts_history(tmp_path: Path) -> None:
    spec = rw.load_spec(write_spec(tmp_path, PROVED, VIOLATED))
    place = write_reward(tmp_path, tmp_path / "cart.rwd")
    before = rw.load_reward(place)
    patched = rw.patch(spec, R=before).artifact
    rw.save_reward(patched, tmp_path / "patched")
    assert not rw.diff(before, patched).same
    assert rw.diff(patched, patched).same
    assert rw.revert(tmp_path / "patched").artifact.digest == before.digest
    squashed = rw.squash(tmp_path / "patched")
    assert squashed.artifact.patches
    with pytest.raises(EditError, match="E32"):
        rw.merge(tmp_path / "patched", place)
    assert not rw.bake(patched, steps=2).artifact.patches


def test_a_spec_is_checked(tmp_path: Path) -> None:
    spec = rw.load_spec(write_spec(tmp_path, PROVED, "\nmust high:\n  forall s: Step\n  expect R(s) >= 200\n"))
    assert rw.check(spec).errors
