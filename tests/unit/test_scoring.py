"""Rewards in use: files scored in batches, environments, RewardNets and TRL's functions that return the same bits."""

from __future__ import annotations

import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch

from rewarden.cli import run
from rewarden.reward.artifact import Artifact, Learner, RewardRecord
from rewarden.reward.store import save_artifact
from rewarden.reward.text.encoder import load_encoder
from rewarden.scoring import ScoreOptions, score_file
from rewarden.spec_lang.errors import DataError, UsageError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.wrappers import gymnasium_reward, imitation_reward, trl_reward
from tests.reference.random_graphs import random_mlp
from tests.reference.tiny_encoder import make_encoder

STEP = RecordType(
    "Step",
    (
        Feature("gap", "real", Fraction(-5), Fraction(5), "m"),
        Feature("lane", "enum", Fraction(0), Fraction(1), None, ("left", "right")),
        Feature("over", "bool", Fraction(0), Fraction(1)),
    ),
)


def reward(kind: RecordType = STEP) -> Artifact:
    return random_mlp(np.random.default_rng(3), kind, (6,))


def table(rows: int = 25) -> pa.Table:
    rng = np.random.default_rng(1)
    return pa.table(
        {
            "gap": rng.uniform(-5, 5, rows),
            "lane": rng.choice(["left", "right"], rows),
            "over": rng.choice([True, False], rows),
            "note": [f"row {k}" for k in range(rows)],
        }
    )


@pytest.mark.parametrize("batch", [1, 7, 1000])
@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_a_table_comes_back_with_the_reward_beside_it(tmp_path: Path, batch: int, suffix: str) -> None:
    rows, path = table(), tmp_path / f"in.{suffix}"
    match suffix:
        case "parquet":
            pq.write_table(rows, path, row_group_size=10)
        case "csv":
            pyarrow.csv.write_csv(rows, path)
        case _:
            import json

            path.write_text("".join(json.dumps(row) + "\n" for row in rows.to_pylist()))
    done = score_file(reward(), path, tmp_path / "out.parquet", ScoreOptions(batch=batch))
    assert (done.rows, done.outside) == (25, 0)
    out = pq.read_table(tmp_path / "out.parquet")
    expected = reward().score(rows)
    assert np.array_equal(out.column("reward").to_numpy().view(np.uint32), expected.view(np.uint32))
    assert out.column("note").to_pylist() == rows.column("note").to_pylist()


def test_rows_in_errors_are_those_of_the_file_and_nothing_is_left(tmp_path: Path) -> None:
    gaps = table().column("gap").to_numpy().copy()
    gaps[17], gaps[19] = 9.0, 8.0
    pq.write_table(table().set_column(0, "gap", pa.array(gaps)), tmp_path / "in.parquet")
    out = tmp_path / "out.parquet"
    with pytest.raises(DataError, match=r"gap, rows 18, 20: 9.0 m is out of the declared"):
        score_file(reward(), tmp_path / "in.parquet", out, ScoreOptions(batch=5 * 2))
    assert [p.name for p in tmp_path.iterdir()] == ["in.parquet"]
    flagged = score_file(reward(), tmp_path / "in.parquet", out, ScoreOptions("flag", batch=10))
    assert flagged.outside == 2
    assert np.flatnonzero(pq.read_table(out).column("out_of_domain").to_numpy()).tolist() == [17, 19]
    assert score_file(reward(), tmp_path / "in.parquet", tmp_path / "c.csv", ScoreOptions("clip")).rows == 25


def test_what_cannot_be_scored_is_told(tmp_path: Path) -> None:
    pq.write_table(table().drop_columns(["lane"]), tmp_path / "no.parquet")
    pq.write_table(table(0), tmp_path / "empty.parquet")
    pq.write_table(table().append_column("reward", pa.array(range(25))), tmp_path / "again.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    out = tmp_path / "out.parquet"
    for name, code in (("no", "D03"), ("empty", "D08"), ("again", "D12"), ("broken", "D02"), ("gone", "D01")):
        with pytest.raises(DataError) as caught:
            score_file(reward(), tmp_path / f"{name}.parquet", out)
        assert caught.value.code == code
        assert not out.exists()
    for bad in (
        lambda: score_file(reward(), tmp_path / "again.parquet", tmp_path / "out.txt"),
        lambda: ScoreOptions(batch=0),
    ):
        with pytest.raises(UsageError, match="G90"):
            bad()


@pytest.mark.parametrize("columns", [{"gap": [0.5]}, {"lane": np.array(["left"])}, {"over": [True]}])
def test_one_value_beside_many_rows_is_refused_unless_it_is_a_scalar(columns: dict[str, Any]) -> None:
    """A column of one row beside columns of n is a mistake; a number for all rows alike is said as a number."""
    rows = {name: table().column(name).to_pylist() for name in ("gap", "lane", "over")}
    with pytest.raises(DataError, match="has 1 rows, another column 25"):
        reward().score({**rows, **columns})
    ((name, value),) = columns.items()
    assert reward().score({**rows, name: value[0]}).shape == (25,)


def test_a_recording_is_scored_step_by_step(tmp_path: Path) -> None:
    obs = np.random.default_rng(0).uniform(-5, 5, (6, 2))
    acts, infos = np.array([0, 1, 1, 0]), np.array([{"k": 1}] * 4)
    np.savez(tmp_path / "a.npz", obs=obs, acts=acts, infos=infos, terminal=[True, False], indices=[1])
    columns = {"gap": "next_obs[0]", "lane": "acts", "over": "done"}
    score_file(reward(), tmp_path / "a.npz", tmp_path / "out.parquet", ScoreOptions(columns=columns))
    out = pq.read_table(tmp_path / "out.parquet")
    rows = {"gap": obs[[1, 3, 4, 5], 0], "lane": ["left", "right", "right", "left"], "over": [1, 0, 0, 0]}
    assert np.array_equal(out.column("reward").to_numpy(), reward().score(rows))
    assert out.column("episode").to_pylist() == [0, 1, 1, 1]
    assert "infos" not in out.column_names


def test_texts_are_scored_with_the_encoder_of_the_reward(tmp_path: Path) -> None:
    kind = RecordType("Emb", (Feature("e", "real", Fraction(-1), Fraction(1), None, (), 4),))
    folder = make_encoder(tmp_path / "enc")
    (tmp_path / "t.jsonl").write_text('{"text": "yes please"}\n{"text": "no"}\n')
    score_file(reward(kind), tmp_path / "t.jsonl", tmp_path / "out.parquet", ScoreOptions(encoder=folder))
    out = pq.read_table(tmp_path / "out.parquet")
    expected = reward(kind).score({"e": load_encoder(folder).encode(["yes please", "no"])})
    assert np.array_equal(out.column("reward").to_numpy(), expected)
    other = replace(reward(kind), learner=Learner("preferences", {}, 0, {"encoder": "sha256:" + "0" * 64}))
    with pytest.raises(DataError, match="another encoder"):
        score_file(other, tmp_path / "t.jsonl", tmp_path / "o.parquet", ScoreOptions(encoder=folder))


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_artifact(reward(), tmp_path / "r")
    pq.write_table(table(), tmp_path / "in.parquet")
    assert run(["score", str(tmp_path / "r"), str(tmp_path / "in.parquet"), "-o", str(tmp_path / "out.csv")]) == 0
    assert "25 rows" in capsys.readouterr().out
    assert run(["score", str(tmp_path / "r"), str(tmp_path / "in.parquet"), "-o", str(tmp_path / "out.csv")]) == 2
    capsys.readouterr()
    assert run(["export", str(tmp_path / "r"), "-o", str(tmp_path / "r.onnx")]) == 0
    assert "deviation from the deployed reward: none" in capsys.readouterr().out
    assert run(["export", str(tmp_path / "r"), "-o", str(tmp_path / "s.onnx"), "--form", "fast"]) == 2


# ── environments ───────────────────────────────────────────────────────────────────────────────
class Road(gym.Env):  # type: ignore[type-arg]
    """Moves to where the action says."""

    observation_space = gym.spaces.Dict({"at": gym.spaces.Box(-5, 5, (2,))})
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.at = np.zeros(2, np.float32)
        return {"at": self.at}, {}

    def step(self, action: Any) -> Any:
        self.at = self.at + np.float32(2 if action else -2)
        return {"at": self.at}, 1.0, bool(abs(self.at[0]) >= 4), False, {"own": True}


MAP = {"gap": "next_obs.at[1]", "lane": "acts", "over": "done"}


def test_an_environment_pays_the_reward() -> None:
    env = gymnasium_reward(Road(), reward(), MAP)
    assert isinstance(env, gym.RewardWrapper)
    env.reset(seed=0)
    for action, gap, over in ((1, 2.0, False), (1, 4.0, True)):
        _, paid, terminated, _, info = env.step(action)
        row = {"gap": [np.float32(gap)], "lane": ["right"], "over": [over]}
        assert paid == float(reward().score(row)[0])
        assert terminated is over
        assert info["rewarden"] == {"environment_reward": 1.0}
        assert info["own"]
    env.reset()
    for _ in range(2):
        env.step(0)
    with pytest.raises(DataError, match="D06"):
        env.step(0)
    env = gymnasium_reward(Road(), reward(), MAP, out_of_domain="flag")
    env.reset()
    assert [env.step(0)[4]["rewarden"]["out_of_domain"] for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize(
    "columns, words",
    [
        ({}, "gap"),
        ({**MAP, "gapp": "obs[0]"}, "did you mean gap?"),
        ({**MAP, "gap": "state[0]"}, "not said which part of a step gap is"),
    ],
)
def test_a_map_that_leaves_a_feature_out_is_refused(columns: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        gymnasium_reward(Road(), reward(), columns)


def test_several_records_are_mapped_by_name() -> None:
    state = RecordType("S", (Feature("gap", "real", Fraction(-9), Fraction(9)),))
    both = RecordType("P", (*state.features, Feature("after", "real", Fraction(-9), Fraction(9))))
    one = random_mlp(np.random.default_rng(3), both, (4,))
    two = Artifact((RewardRecord("s", state), RewardRecord("n", state)), one.graph, one.tensors, "exact")
    env = gymnasium_reward(Road(), two, {"s.gap": "obs.at[0]", "n.gap": "next_obs.at[0]"})
    env.reset()
    assert env.step(1)[1] == float(two.score({"s.gap": [0.0], "n.gap": [2.0]})[0])


def test_a_reward_net_of_imitation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a base class with the same calls: imitation 1.0.1 needs an environment of its own."""

    class RewardNet(torch.nn.Module):
        def __init__(self, observation_space: Any, action_space: Any, normalize_images: bool = True) -> None:
            super().__init__()
            assert not normalize_images

        def predict_th(self, *parts: Any) -> torch.Tensor:
            with torch.no_grad():
                found: torch.Tensor = self.forward(*self.preprocess(*parts))
            return found

        def predict(self, *parts: Any) -> np.ndarray:
            return self.predict_th(*parts).numpy()

    for name in ("imitation", "imitation.rewards"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    module = ModuleType("imitation.rewards.reward_nets")
    module.RewardNet = RewardNet  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    columns = {"gap": "obs[1]", "lane": "acts", "over": "done"}
    net = imitation_reward(reward(), Road.observation_space, Road.action_space, columns)
    assert isinstance(net, RewardNet)
    rng = np.random.default_rng(0)
    state, action, done = rng.uniform(-5, 5, (40, 2)).astype(np.float32), rng.integers(0, 2, 40), rng.random(40) < 0.5
    rows = {"gap": state[:, 1], "lane": np.array(["left", "right"])[action], "over": done}
    assert np.array_equal(net.predict(state, action, state, done), reward().score(rows))
    monkeypatch.setitem(sys.modules, module.__name__, None)
    with pytest.raises(UsageError, match="imitation is not installed"):
        imitation_reward(reward(), None, None, columns)


def test_a_reward_function_of_trl(tmp_path: Path) -> None:
    kind = RecordType("Emb", (Feature("e", "real", Fraction(-1), Fraction(1), None, (), 4),))
    artifact, encoder = reward(kind), load_encoder(make_encoder(tmp_path))
    function = trl_reward(artifact, tmp_path)
    paid = function(
        prompts=["a", "b"], completions=["yes please", [{"role": "assistant", "content": "no"}]], topic=[1, 2]
    )
    assert paid == [float(v) for v in artifact.score({"e": encoder.encode(["yes please", "no"])})]
    assert all(type(value) is float for value in paid)
    assert function.__name__.startswith("rewarden_")
    assert function(prompts=[], completions=[]) == []
    with pytest.raises(DataError, match="completion 2"):
        function(prompts=["a", "b"], completions=["yes", None])
    with pytest.raises(UsageError, match="is not made of text"):
        trl_reward(reward(RecordType("Two", (*kind.features, STEP.features[0]))), tmp_path)
