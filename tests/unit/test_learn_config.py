"""The learn config and the data behind it: strict keys, helpful refusals, and a run from files to an artifact."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rewarden.reward.artifact import RewardRecord
from rewarden.reward.learn_config import learn, load_learn_config, parse_learn_config
from rewarden.reward.learners.interface import Run
from rewarden.reward.learners.options import AutoencoderOptions, PreferenceOptions
from rewarden.reward.segments import read_comparisons, read_demonstrations
from rewarden.spec_lang.errors import DataError, UsageError
from rewarden.spec_lang.features import Feature, RecordType

STEP = RecordType(
    "Step",
    (
        Feature("speed", "real", Fraction(0), Fraction(40), "m/s"),
        Feature("lead", "bool", Fraction(0), Fraction(1)),
        Feature("lane", "enum", Fraction(0), Fraction(1), None, ("right", "left")),
    ),
)
CONFIG = """
[data]
demonstrations = "demos.parquet"
[features]
spec = "driving.rwd"
type = "Step"
[learner]
name = "autoencoders"
seed = 7
[learner.options]
experts = 2
hidden = 4
code = 2
epochs = 2
warm_up = 1
learning_rate = 1
"""


def columns(prefix: str, count: int, rng: np.random.Generator) -> dict[str, pa.Array]:
    return {
        f"{prefix}speed": pa.array(rng.uniform(0, 40, count)),
        f"{prefix}lead": pa.array(rng.random(count) < 0.5),
        f"{prefix}lane": pa.array(rng.choice(["right", "left"], count)),
    }


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    pq.write_table(pa.table(columns("", 60, rng)), tmp_path / "demos.parquet")
    pairs = {"pair": pa.array(np.repeat(np.arange(30), 3)), "step": pa.array(np.tile([0, 1, 2], 30))}
    pairs |= columns("better.", 90, rng) | columns("worse.", 90, rng)
    table = pa.table(pairs)
    pq.write_table(table.take(pa.array(rng.permutation(90))), tmp_path / "pairs.parquet")
    pq.write_table(table.slice(0, 88), tmp_path / "short.parquet")
    pq.write_table(pa.concat_tables([table.slice(0, 87), table.slice(0, 3)]), tmp_path / "twice.parquet")
    (tmp_path / "learn.toml").write_text(CONFIG)
    return tmp_path


def test_a_config_is_read_with_paths_relative_to_it(folder):
    config = load_learn_config(folder / "learn.toml")
    assert config.data == folder / "demos.parquet"
    assert config.spec == folder / "driving.rwd"
    assert (config.type_name, config.param, config.seed) == ("Step", "s", 7)
    assert config.options == AutoencoderOptions(experts=2, hidden=4, code=2, epochs=2, warm_up=1, learning_rate=1.0)


def test_from_files_to_an_artifact(folder):
    config = load_learn_config(folder / "learn.toml")
    artifact = learn(config, STEP)
    assert artifact.learner is not None
    assert artifact.learner.seed == 7
    source = artifact.data[0]
    assert (source.name, source.rows) == ("demos", 60)
    assert source.bytes_digest.startswith("sha256:")
    assert artifact.records == (RewardRecord("s", STEP),)
    assert learn(config, STEP).digest == artifact.digest
    assert learn(config, STEP, Run(8)).learner.seed == 8


def test_preferences_from_files(folder):
    text = CONFIG.replace('demonstrations = "demos', 'preferences = "pairs').replace("autoencoders", "preferences")
    text = text.split("[learner.options]")[0] + "[learner.options]\nhidden = 4\nepochs = 2\n"
    (folder / "learn.toml").write_text(text)
    config = load_learn_config(folder / "learn.toml")
    assert config.options == PreferenceOptions(hidden=4, epochs=2)
    artifact = learn(config, STEP)
    assert artifact.identified == "shift"
    assert [source.name for source in artifact.data] == ["pairs.better", "pairs.worse"]


def test_segments_are_grouped_by_pair_and_ordered_by_step(folder):
    data = read_comparisons(folder / "pairs.parquet", STEP)
    assert data.segments.shape == (30, 2, 3, STEP.width)
    rng = np.random.default_rng(0)
    columns("", 60, rng)
    better, worse = columns("better.", 90, rng), columns("worse.", 90, rng)
    assert np.array_equal(data.segments[:, 0, :, 0].reshape(-1), better["better.speed"].to_numpy())
    assert np.array_equal(data.segments[:, 1, :, 0].reshape(-1), worse["worse.speed"].to_numpy())


@pytest.mark.parametrize(
    "name, words", [("short", r"row 88: pair 29 has 1 steps, pair 0 has 3"), ("twice", r"rows [\d, ]+: pair 0")]
)
def test_uneven_pairs_are_refused(folder, name, words):
    with pytest.raises(DataError, match=words) as caught:
        read_comparisons(folder / f"{name}.parquet", STEP)
    assert caught.value.code == "D21"


def test_data_that_lack_a_column_are_refused(folder):
    with pytest.raises(DataError) as caught:
        read_demonstrations(folder / "pairs.parquet", STEP)
    assert caught.value.code == "D03"


def edited(**changes: object) -> dict[str, object]:
    content: dict[str, dict[str, object]] = {
        "data": {"demonstrations": "d.parquet"},
        "features": {"spec": "s.rwd"},
        "learner": {"name": "autoencoders"},
    }
    return content | changes


@pytest.mark.parametrize(
    "changes, code, words, help",
    [
        ({"learning": {}}, "G11", "no key 'learning'", "learner"),
        ({"learner": {"name": "autoencoder"}}, "G11", "no learner", "did you mean autoencoders?"),
        ({"learner": {"name": "autoencoders", "sed": 3}}, "G11", "'sed'", "did you mean seed?"),
        ({"learner": {"name": "autoencoders", "options": {"expert": 3}}}, "G11", "'expert'", "did you mean experts?"),
        ({"learner": {"name": "autoencoders", "options": {"experts": 2.5}}}, "G12", "whole number", "default is 4"),
        ({"learner": {"name": "autoencoders", "options": {"experts": True}}}, "G12", "whole number", ""),
        ({"learner": {"name": "autoencoders", "options": {"experts": -1}}}, "G12", "not positive", ""),
        ({"learner": {"name": "autoencoders", "options": 3}}, "G12", "not a section", "[learner.options]"),
        ({"learner": {"name": "autoencoders", "seed": -1}}, "G12", "not a seed", "whole number"),
        ({"learner": {"name": "autoencoders", "seed": 2**70}}, "G12", "not a seed", ""),
        ({"learner": {}}, "G13", "lacks name", "write name"),
        ({"learner": {"name": "preferences"}}, "G13", "needs preferences", "preferences ="),
        ({"data": {}}, "G13", "needs demonstrations", ""),
        ({"data": {"demonstrations": "a", "preferences": "b"}}, "G12", "does not learn from preferences", "drop"),
        ({"data": {"demonstration": "a"}}, "G11", "'demonstration'", "did you mean demonstrations?"),
        ({"features": {"spec": 3}}, "G12", "not text", ""),
        ({"features": {"type": "Step"}}, "G13", "lacks spec", ""),
        ({"features": 3}, "G12", "not a section", "[features]"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, changes, code, words, help):
    with pytest.raises(UsageError) as caught:
        parse_learn_config(edited(**changes), tmp_path)
    assert caught.value.code == code
    assert words in caught.value.message
    assert help in (caught.value.help or "")


def test_a_missing_section(tmp_path):
    with pytest.raises(UsageError, match=r"no \[data\]"):
        parse_learn_config({}, tmp_path)


def test_files_that_are_not_configs(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        load_learn_config(tmp_path / "none.toml")
    for content in (b"[data", b"\xff\xfe"):
        (tmp_path / "bad.toml").write_bytes(content)
        with pytest.raises(UsageError, match="not TOML") as caught:
            load_learn_config(tmp_path / "bad.toml")
        assert caught.value.code == "G10"


def test_the_page_names_every_option_with_its_default() -> None:
    """A reader of docs/learning.md needs no source."""
    from dataclasses import fields
    from pathlib import Path

    from rewarden.reward.learners import options

    page = (Path(__file__).parents[2] / "docs" / "learning.md").read_text(encoding="utf-8")
    table = page.partition("## Options")[2].partition("## Data")[0]
    named = {line.split("|")[1].strip(" `"): line for line in table.splitlines() if line.startswith("| `")}
    learners = [options.AutoencoderOptions, options.PaperOptions, options.EnergyOptions, options.PreferenceOptions]
    learners += [options.LabelOptions, options.UpdateOptions, options.CorrectionOptions, options.HeadOptions]
    for field in (field for learner in learners for field in fields(learner)):
        shown = f"{field.default:g}" if isinstance(field.default, float) else str(field.default or "none")
        assert field.name in named, field.name
        assert shown in named[field.name] or field.default in (0, ()), field.name
    assert set(named) == {field.name for learner in learners for field in fields(learner)}
