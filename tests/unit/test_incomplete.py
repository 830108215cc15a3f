"""Demonstrations with holes, without actions, in any order."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rewarden.reward.artifact import RewardRecord
from rewarden.reward.deployed import forward
from rewarden.reward.figures import auc
from rewarden.reward.learners.autoencoders import Autoencoders
from rewarden.reward.learners.interface import Demonstrations, Run
from rewarden.reward.learners.options import AutoencoderOptions
from rewarden.reward.segments import read_demonstrations
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.features import Feature, RecordType

STEP = RecordType(
    "Step",
    (
        Feature("speed", "real", Fraction(0), Fraction(40), "m/s"),
        Feature("gap", "real", Fraction(0), Fraction(100), "m"),
        Feature("pose", "real", Fraction(-1), Fraction(1), None, (), 2),
        Feature("count", "int", Fraction(2), Fraction(9)),
        Feature("lead", "bool", Fraction(0), Fraction(1)),
        Feature("lane", "enum", Fraction(0), Fraction(1), None, ("right", "left")),
    ),
)
RECORD = RewardRecord("s", STEP)
SMALL = AutoencoderOptions(experts=2, hidden=8, code=2, epochs=25, warm_up=6, batch=64)


def rows(count: int = 500) -> np.ndarray:
    """Drivers who keep a two-second gap."""
    rng = np.random.default_rng(5)
    speed = rng.uniform(5, 35, count)
    gap = np.clip(2 * speed + rng.normal(0, 2, count), 0, 100)
    right = (speed < 20).astype(float)
    pose = np.stack([np.zeros(count), speed / 40], axis=1)
    return np.column_stack([speed, gap, pose, np.full(count, 4.0), np.ones(count), right, 1 - right])


def shuffled(values: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(6)
    return np.column_stack([rng.permutation(values[:, :1]), rng.permutation(values[:, 1:])])


@pytest.mark.parametrize("error", ["l1", "linf"])
def test_rows_with_holes_teach_nearly_as_well(error: str) -> None:
    values = rows()
    holes = np.random.default_rng(0).random(values.shape) < 0.15
    holes[:, 7] = holes[:, 6]
    holes[:, 3] = holes[:, 2]
    data = Demonstrations(RECORD, np.where(holes, np.nan, values))
    options = AutoencoderOptions(experts=2, hidden=8, code=2, epochs=25, warm_up=6, batch=64, error=error)
    artifact = Autoencoders().fit(data, options, Run(1))
    good, bad = (forward(artifact, v.astype(np.float32)).astype(float) for v in (values, shuffled(values)))
    assert auc(good, bad) > 0.8
    assert artifact.learner is not None
    assert artifact.learner.record["values missing"].startswith("0.1")


def test_a_feature_that_is_never_observed_is_not_read() -> None:
    values = rows()
    data = values.copy()
    data[:, 4] = np.nan
    artifact = Autoencoders().fit(Demonstrations(RECORD, data), SMALL, Run(1))
    assert artifact.learner is not None
    assert artifact.learner.record["never observed, and not read"] == "count"
    for value in (2.0, 9.0):
        moved = values.copy()
        moved[:, 4] = value
        same = forward(artifact, moved.astype(np.float32)) == forward(artifact, values.astype(np.float32))
        assert same.all()


def test_order_carries_nothing() -> None:
    """Frames in another order give another run of the same quality: nothing of a trajectory is used."""
    values = rows()
    other = values[np.random.default_rng(3).permutation(len(values))]
    scores = []
    for data in (values, other):
        artifact = Autoencoders().fit(Demonstrations(RECORD, data), SMALL, Run(1))
        good, bad = (forward(artifact, v.astype(np.float32)).astype(float) for v in (values, shuffled(values)))
        scores.append(auc(good, bad))
    assert min(scores) > 0.9


def test_a_row_that_holds_nothing_is_refused() -> None:
    data = rows()
    data[41] = np.nan
    with pytest.raises(DataError, match="row 42") as caught:
        Autoencoders().fit(Demonstrations(RECORD, data), SMALL, Run(1))
    assert caught.value.code == "D23"


def test_early_stopping_goes_by_rows_that_are_not_learned_from() -> None:
    options = AutoencoderOptions(experts=2, hidden=8, code=2, epochs=200, warm_up=2, batch=64, patience=3)
    artifact = Autoencoders().fit(Demonstrations(RECORD, rows()), options, Run(1))
    assert artifact.learner is not None
    assert int(artifact.learner.record["epochs"]) < 200
    assert int(artifact.learner.record["validation rows"]) == 50


# ── files ──────────────────────────────────────────────────────────────────────────────────────
COLUMNS: dict[str, object] = {
    "speed": [10.0, None, 30.0],
    "gap": pa.array([20.0, 40.0, 100.0], pa.float32()),
    "pose": [[0.0, 0.1], None, [0.5, 1.0]],
    "count": [2, 3, None],
    "lead": [True, None, False],
    "lane": [None, "left", "right"],
}


def written(folder: Path, **changes: object) -> Path:
    columns = {k: v for k, v in (COLUMNS | changes).items() if v is not None}
    pq.write_table(pa.table(columns), folder / "d.parquet")
    return folder / "d.parquet"


def test_holes_of_every_kind_are_read(tmp_path: Path) -> None:
    values = read_demonstrations(written(tmp_path), STEP).rows
    n = np.nan
    expected = [[10, 20, 0, 0.1, 2, 1, n, n], [n, 40, n, n, 3, n, 0, 1], [30, 100, 0.5, 1, n, 0, 1, 0]]
    assert np.array_equal(values, np.array(expected), equal_nan=True)


def test_whole_columns_may_be_missing(tmp_path: Path) -> None:
    values = read_demonstrations(written(tmp_path, count=None, lane=None), STEP).rows
    assert np.isnan(values[:, [4, 6, 7]]).all()
    (tmp_path / "d.csv").write_text("speed,gap\n1,2\n,3\nnan,4\n")
    values = read_demonstrations(tmp_path / "d.csv", STEP).rows
    assert np.array_equal(values[:, :2], [[1, 2], [np.nan, 3], [np.nan, 4]], equal_nan=True)


@pytest.mark.parametrize(
    "changes, code, words",
    [
        ({"speed": [10.0, None, 41.0]}, "D06", "row 3"),
        ({"count": [2, None, 2.5]}, "D04", "row 3"),
        ({"lane": [None, "lefft", "right"]}, "D07", "did you mean left"),
        ({"speed": None, "sped": [1.0, 2.0, 3.0]}, "D03", "did you mean sped"),
        (dict.fromkeys(COLUMNS) | {"other": [1, 2, 3]}, "D03", "no value of any feature"),
        ({"speed": [None, float("inf"), 1.0]}, "D05", "row 2"),
    ],
)
def test_what_is_there_is_still_checked(tmp_path: Path, changes: dict[str, object], code: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read_demonstrations(written(tmp_path, **changes), STEP)
    assert caught.value.code == code


def test_a_table_without_holes_is_read_as_any_other(tmp_path: Path) -> None:
    whole = {"speed": [1.0], "gap": [2.0], "pose": [[0.0, 1.0]], "count": [4], "lead": [True], "lane": ["left"]}
    pq.write_table(pa.table(whole), tmp_path / "w.parquet")
    data = read_demonstrations(tmp_path / "w.parquet", STEP)
    assert data.rows.tolist() == [[1, 2, 0, 1, 4, 1, 0, 1]]
    pq.write_table(pa.table(whole).slice(0, 0), tmp_path / "empty.parquet")
    with pytest.raises(DataError) as caught:
        read_demonstrations(tmp_path / "empty.parquet", STEP)
    assert caught.value.code == "D08"
