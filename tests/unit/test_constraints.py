"""Rules in the loss of a learner: through the config, with witnesses fed back, resumable."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rewarden as rw
from rewarden.cli import run as command
from rewarden.constraints import SpecRules
from rewarden.learning import learn_from
from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.reward.learners.options import ConstraintOptions
from rewarden.spec_lang.errors import ArtifactError, UsageError
from tests.reference.small_data import demonstrations, judgements, rows, truth

SPEC = """spec small v1
features Step {
  speed  : real [m/s] in 0 .. 40
  offset : real [m]   in -2 .. 2
  lead   : bool
}
reward R(s: Step)
reward Base(s: Step)
must slow_behind:
  forall s: Step
  given s.lead and s.speed >= 25 [m/s]
  expect R(s) <= -1
should flat:
  forall a, b: Step varying offset
  expect R(a) - R(b) <= 3
must local:
  forall s: Step
  expect R(s) == Base(s)
"""
CONFIG = """
[data]
{source} = "data.parquet"
[features]
spec = "small.rwd"
[learner]
name = "{name}"
seed = 3
[learner.options]
epochs = {epochs}
batch = 32
penalty_weight = {weight}
[constraints]
reward = "R"
rules = ["slow_behind"]
points = 64
witnesses = 2
"""


def folder_with(folder: Path, name: str, epochs: int = 20, weight: float = 5.0) -> Path:
    (folder / "small.rwd").write_text(SPEC)
    data = judgements(300).rows if name == "labels" else demonstrations(200).rows
    columns: dict[str, object] = {"speed": data[:, 0], "offset": data[:, 1], "lead": data[:, 2] > 0}
    if name == "labels":
        columns["label"] = truth(data)
    if name == "preferences":
        pairs = rows(600, 4).reshape(300, 2, 3)
        order = np.argsort(-truth(pairs), axis=1)
        pairs = np.take_along_axis(pairs, order[:, :, None], axis=1)
        columns = {"pair": np.arange(300), "step": np.zeros(300, int)}
        for k, side in enumerate(("better.", "worse.")):
            columns |= {f"{side}{n}": pairs[:, k, j] for j, n in enumerate(("speed", "offset"))}
            columns[f"{side}lead"] = pairs[:, k, 2] > 0
    pq.write_table(pa.table(columns), folder / "data.parquet")
    source = {"labels": "labels", "preferences": "preferences"}.get(name, "demonstrations")
    text = CONFIG.format(source=source, name=name, epochs=epochs, weight=weight)
    (folder / "learn.toml").write_text(text)
    return folder / "learn.toml"


def violated(artifact: Artifact) -> float:
    """The share of the premise in which the rule is violated."""
    at = rows(4000, 9)
    at[:, 0] = 25 + at[:, 0] * 15 / 40
    at[:, 2] = 1.0
    return float(np.mean(forward(artifact, at.astype(np.float32)) > -1))


@pytest.mark.parametrize("name", ["preferences", "labels", "energy"])
def test_any_learner_takes_rules(name: str, tmp_path: Path) -> None:
    config = folder_with(tmp_path, name, *((40, 50.0) if name == "energy" else ()))
    tamed = learn_from(config)
    config.write_text(config.read_text().split("[constraints]")[0])
    free = learn_from(config)
    assert violated(tamed) < violated(free) / 2
    assert tamed.learner is not None
    assert tamed.learner.record["constraints"].startswith("slow_behind 1; spec sha256:")
    assert int(tamed.learner.record["witnesses fed back"]) > 0


def test_autoencoders_take_rules_after_their_warm_up(tmp_path: Path) -> None:
    """A reward in 0..1 can be held below a ceiling."""
    config = folder_with(tmp_path, "autoencoders", epochs=30, weight=10.0)
    (tmp_path / "small.rwd").write_text(SPEC.replace("R(s) <= -1", "R(s) <= 0.1"))
    tamed = learn_from(config)
    config.write_text(config.read_text().split("[constraints]")[0])
    free = learn_from(config)
    at = demonstrations(200).rows.astype(np.float32)
    at = at[(at[:, 0] > 30) & (at[:, 2] > 0)]
    assert forward(tamed, at).mean() < forward(free, at).mean() - 0.1


def test_a_run_with_rules_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    config = folder_with(tmp_path, "labels", epochs=6)
    whole = learn_from(config)
    kept = tmp_path / "kept"

    def stop(stage: str, done: int, total: int, note: str) -> None:
        if done == 5:
            raise KeyboardInterrupt

    from rewarden.reward.learners import checkpoints

    old = checkpoints.Checkpoints.due
    try:
        checkpoints.Checkpoints.due = lambda self: True  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            learn_from(config, progress=stop, checkpoints=kept)
    finally:
        checkpoints.Checkpoints.due = old  # type: ignore[method-assign]
    seen: list[int] = []
    resumed = learn_from(config, progress=lambda s, d, t, n: seen.append(d), checkpoints=kept)
    assert seen == [5, 6]
    assert resumed.digest == whole.digest


@pytest.mark.parametrize(
    "options, code, words",
    [
        (ConstraintOptions("Q"), "G72", "no reward Q"),
        (ConstraintOptions(), "G72", "2 rewards"),
        (ConstraintOptions("R", ("slow",)), "G21", "no rule slow"),
        (ConstraintOptions("R", ("local",)), "G18", "speaks of Base"),
        (ConstraintOptions("Base", ("flat",)), "G18", "speaks of R"),
        (ConstraintOptions("Base"), "G18", "no rule of small is about Base"),
        (ConstraintOptions("R", weights=(("local", 2.0),)), "G21", "no constraint is called local"),
    ],
)
def test_constraints_that_make_no_sense_are_refused(
    options: ConstraintOptions, code: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "small.rwd").write_text(SPEC)
    spec = rw.load_spec(tmp_path / "small.rwd")
    with pytest.raises(UsageError, match=words) as caught:
        SpecRules(spec, spec.features["Step"], options, 0)
    assert caught.value.code == code


def test_weights_multiply() -> None:
    with pytest.raises(UsageError, match="weight of a"):
        ConstraintOptions(weights=(("a", -1.0),))


def test_the_command_goes_on_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted `rewarden learn`, then the same command: one artifact, byte for byte, and no checkpoint."""
    config = folder_with(tmp_path, "labels", epochs=4)
    text = config.read_text().split("[constraints]")[0]
    config.write_text(text)
    whole = learn_from(config)
    out = tmp_path / "out"

    def full(artifact: object, path: object) -> None:
        raise ArtifactError("A23", "out: cannot be written: No space left on device")

    monkeypatch.setattr("rewarden.reward.store.save_artifact", full)
    assert command(["learn", str(config), "-o", str(out), "--quiet"]) == 2
    assert not out.exists()
    assert (tmp_path / ".out.learning").is_dir()
    monkeypatch.undo()
    assert command(["learn", str(config), "-o", str(out), "--quiet"]) == 0
    assert rw.load_reward(out).digest == whole.digest
    assert not (tmp_path / ".out.learning").exists()
    shutil.rmtree(out)


def corrections_in(folder: Path) -> Path:
    """A base reward, and one statement that corrects it, which says nothing of the rule."""
    config = folder_with(folder, "labels", epochs=3)
    config.write_text(config.read_text().split("[constraints]")[0])
    assert command(["learn", str(config), "-o", str(folder / "base"), "--quiet"]) == 0
    side = {"speed": ([5.0], [38.0]), "offset": ([1.5], [0.0]), "lead": ([True], [True])}
    columns = {f"{name}.{f}": values[k] for k, name in enumerate(("better", "worse")) for f, values in side.items()}
    pq.write_table(pa.table(columns), folder / "said.parquet")
    (folder / "correct.toml").write_text(
        '[data]\nartifact = "base"\nstatements = "said.parquet"\n[features]\nspec = "small.rwd"\n'
        '[learner]\nname = "corrections"\n[learner.options]\nmost = 6.0\n'
    )
    return folder / "correct.toml"


def test_an_artifact_is_corrected_from_files(tmp_path: Path) -> None:
    """`rewarden learn` with an artifact and statements: a child that makes them true, with its bound in the history."""
    config = corrections_in(tmp_path)
    assert command(["learn", str(config), "-o", str(tmp_path / "child"), "--quiet"]) == 0
    base, child = rw.load_reward(tmp_path / "base"), rw.load_reward(tmp_path / "child")
    assert child.parent == base.digest
    assert child.edit is not None
    assert float(child.edit.statement["moved at most, anywhere in the domain"].split()[0]) <= 6.0
    better, worse = child.score({"speed": [5.0, 38.0], "offset": [1.5, 0.0], "lead": [True, True]})
    assert better >= worse + 0.01


def test_corrections_take_rules_and_go_on_where_they_were_stopped(tmp_path: Path) -> None:
    config = corrections_in(tmp_path)
    config.write_text(config.read_text() + "epochs = 60\nanchor = 100.0\n")
    free = learn_from(config)
    rules = 'penalty_weight = 20.0\n[constraints]\nreward = "R"\nrules = ["slow_behind"]\npoints = 64\nwitnesses = 60\n'
    config.write_text(config.read_text() + rules)
    told: list[int] = []
    tamed = learn_from(config, progress=lambda stage, done, total, note: told.append(done))
    assert violated(tamed) < violated(free) / 2
    better, worse = tamed.score({"speed": [5.0, 38.0], "offset": [1.5, 0.0], "lead": [True, True]})
    assert better >= worse + 0.01
    assert tamed.learner is not None
    assert tamed.learner.record["constraints"].startswith("slow_behind 1; spec sha256:")
    assert len(told) > 1  # so that a stop after the first round leaves something to do

    def stop(stage: str, done: int, total: int, note: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn_from(config, progress=stop, checkpoints=tmp_path / "kept")
    rest: list[int] = []
    again = learn_from(
        config, progress=lambda stage, done, total, note: rest.append(done), checkpoints=tmp_path / "kept"
    )
    assert rest == told[1:]
    assert again.digest == tamed.digest
