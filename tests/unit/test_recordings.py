"""Recordings of others read as columns, by one check: imitation's trajectories, Minari's folders, HDF5, flat arrays."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from rewarden.reward.data.opening import open_data
from rewarden.reward.segments import read_demonstrations, read_judgements
from rewarden.spec_lang.errors import DataError, UsageError
from rewarden.spec_lang.features import Feature, RecordType

STEP = RecordType(
    "Step",
    (
        Feature("gap", "real", Fraction(-1), Fraction(1)),
        Feature("after", "real", Fraction(-1), Fraction(1)),
        Feature("lane", "enum", Fraction(0), Fraction(1), None, ("left", "middle", "right")),
        Feature("over", "bool", Fraction(0), Fraction(1)),
    ),
)
STATE = RecordType("State", (Feature("gap", "real", Fraction(-1), Fraction(1)),))
COLUMNS = {"gap": "obs[0]", "after": "next_obs[1]", "lane": "acts", "over": "done"}
LENGTHS = (5, 1, 3)


def episodes() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [
        {
            "obs": rng.uniform(-1, 1, (n + 1, 2)).astype(np.float32),
            "acts": rng.integers(0, 3, n),
            "rews": rng.normal(size=n).astype(np.float32),
            "terminal": k != 1,
        }
        for k, n in enumerate(LENGTHS)
    ]


def expected() -> np.ndarray:
    rows = []
    for e in episodes():
        over = np.zeros(len(e["acts"]))
        over[-1] = e["terminal"]
        rows.append(np.column_stack([e["obs"][:-1, 0], e["obs"][1:, 1], np.eye(3)[e["acts"]], over]))
    return np.concatenate(rows)


def imitation_npz(folder: Path, **changed: Any) -> Path:
    """As imitation before 1.0 wrote them; `infos` are pickled."""
    every = episodes()
    arrays = {
        "obs": np.concatenate([e["obs"] for e in every]),
        "acts": np.concatenate([e["acts"] for e in every]),
        "infos": np.array([{"k": k} for k in range(sum(LENGTHS))]),
        "rews": np.concatenate([e["rews"] for e in every]),
        "terminal": np.array([e["terminal"] for e in every]),
        "indices": np.cumsum(LENGTHS)[:-1],
    }
    np.savez(folder / "demos.npz", **{k: v for k, v in (arrays | changed).items() if v is not None})
    return folder / "demos.npz"


def columns_of(every: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "obs": [e["obs"].tolist() for e in every],
        "acts": [e["acts"].tolist() for e in every],
        "infos": [["{}"] * len(e["acts"]) for e in every],
        "terminal": [e["terminal"] for e in every],
        "rews": [e["rews"].tolist() for e in every],
    }


def saved_dataset(folder: Path) -> Path:
    """As Hugging Face's datasets save what imitation 1.0 makes: an Arrow stream, named in state.json."""
    place = folder / "demos"
    place.mkdir()
    table = pa.table(columns_of(episodes()))
    for number, part in enumerate((table.slice(0, 2), table.slice(2))):
        with pa.OSFile(str(place / f"data-{number}.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as out:
            out.write_table(part)
    (place / "state.json").write_text(json.dumps({"_data_files": [{"filename": f"data-{k}.arrow"} for k in range(2)]}))
    (place / "dataset_info.json").write_text("{}")
    return place


def rows_parquet(folder: Path) -> Path:
    pq.write_table(pa.table(columns_of(episodes())), folder / "rows.parquet")
    return folder / "rows.parquet"


def rows_json(folder: Path) -> Path:
    table = columns_of(episodes())
    lines = [json.dumps({name: table[name][k] for name in table}) for k in range(len(LENGTHS))]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    return folder / "rows.jsonl"


def metadata(folder: Path, **changed: Any) -> None:
    said = {"total_episodes": len(LENGTHS), "total_steps": sum(LENGTHS), "data_format": "hdf5"}
    (folder / "metadata.json").write_text(json.dumps(said | changed))


def ends(e: dict[str, Any]) -> dict[str, np.ndarray]:
    done = np.zeros(len(e["acts"]), np.bool_)
    done[-1] = e["terminal"]
    return {"terminations": done, "truncations": np.zeros(len(done), np.bool_)}


def minari_hdf5(folder: Path) -> Path:
    data = folder / "set" / "data"
    data.mkdir(parents=True)
    metadata(data)
    with h5py.File(data / "main_data.hdf5", "w") as file:
        for k, e in enumerate(episodes()):
            group = file.create_group(f"episode_{k}")
            group["observations"], group["actions"], group["rewards"] = e["obs"], e["acts"], e["rews"]
            group["infos/note"] = np.array([b"text"] * len(e["acts"]))
            for name, values in ends(e).items():
                group[name] = values
    return folder / "set"


def minari_arrow(folder: Path) -> Path:
    """The last row of an episode pads all but the observations."""
    data = folder / "set" / "data"
    for k, e in enumerate(episodes()):
        (data / str(k)).mkdir(parents=True)
        flat = pa.array(e["obs"].reshape(-1))
        table = pa.table(
            {
                "observations": pa.FixedSizeListArray.from_arrays(flat, 2),
                "actions": np.append(e["acts"], 0),
                "rewards": np.append(e["rews"], 0),
                **{name: np.append(values, False) for name, values in ends(e).items()},
            }
        )
        feather.write_feather(table, data / str(k) / "part-0.arrow", compression="uncompressed")
        (data / str(k) / "metadata.json").write_text("{}")
    metadata(data)
    return folder / "set"


def flat_hdf5(folder: Path) -> Path:
    """Flat arrays, with lengths and returns as Gymnasium's RecordEpisodeStatistics has them."""
    every = episodes()
    with h5py.File(folder / "flat.h5", "w") as file:
        file["observations"] = np.concatenate([e["obs"][:-1] for e in every])
        file["next_observations"] = np.concatenate([e["obs"][1:] for e in every])
        file["actions"] = np.concatenate([e["acts"] for e in every])
        file["rewards"] = np.concatenate([e["rews"] for e in every])
        file["terminals"] = np.concatenate([ends(e)["terminations"] for e in every])
        file["l"] = np.array(LENGTHS)
        file["r"] = np.array([e["rews"].sum() for e in every])
        file["t"] = np.ones(3)
        file["note"] = b"not a column"
    return folder / "flat.h5"


FORMS = [imitation_npz, saved_dataset, rows_parquet, rows_json, minari_hdf5, minari_arrow, flat_hdf5]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_holds_the_same_rows(form: Any, tmp_path: Path) -> None:
    data = read_demonstrations(open_data(form(tmp_path), STEP, COLUMNS), STEP)
    assert np.array_equal(data.rows, expected())
    assert data.sources[0].bytes_digest.startswith("sha256:")


@pytest.mark.parametrize("form", [form for form in FORMS if form is not flat_hdf5])
def test_states_alone_keep_the_last_one(form: Any, tmp_path: Path) -> None:
    data = read_demonstrations(open_data(form(tmp_path), STATE, {"gap": "obs[0]"}), STATE)
    assert np.array_equal(data.rows[:, 0], np.concatenate([e["obs"][:, 0] for e in episodes()]))


def test_the_names_of_the_file_work_too(tmp_path: Path) -> None:
    theirs = {"gap": "observations[0]", "after": "next_observations[1]", "lane": "actions", "over": "terminals"}
    data = read_demonstrations(open_data(flat_hdf5(tmp_path), STEP, theirs), STEP)
    assert np.array_equal(data.rows, expected())


def test_rewards_and_returns_are_labels(tmp_path: Path) -> None:
    path = flat_hdf5(tmp_path)
    rewards = read_judgements(open_data(path, STATE, {"gap": "obs[0]", "label": "rews"}), STATE)
    assert np.array_equal(rewards.labels, np.concatenate([e["rews"] for e in episodes()]).astype(np.float64))
    returns = read_judgements(open_data(path, STATE, {"gap": "obs[0]", "label": "return"}), STATE)
    assert np.allclose(returns.labels[:5], episodes()[0]["rews"].sum())


def test_episodes_end_where_it_is_said(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz", obs=np.zeros((6, 1)), acts=np.zeros(6), terminals=[0, 0, 1, 0, 0, 0], timeouts=np.eye(6)[4]
    )
    file = open_data(tmp_path / "a.npz", STATE, {"gap": "obs[0]"}).file
    assert file.read("episode").tolist() == [0, 0, 0, 1, 1, 2]
    assert file.read("step").tolist() == [0, 1, 2, 0, 1, 0]
    assert file.place is not None
    assert file.place(4) == "episode 2, step 2"


def test_a_value_out_of_range_is_told_with_row_episode_and_step(tmp_path: Path) -> None:
    every = np.concatenate([e["obs"] for e in episodes()])
    every[8, 0] = 7.0
    source = open_data(imitation_npz(tmp_path, obs=every), STEP, COLUMNS)
    with pytest.raises(
        DataError, match=r"column gap, row 7 \(episode 3, step 1\) of demos.npz: 7.0 is out of the range"
    ):
        read_demonstrations(source, STEP)


def error_of(path: Path, columns: dict[str, str] | None = None) -> DataError | UsageError:
    with pytest.raises((DataError, UsageError)) as caught:
        read_demonstrations(open_data(path, STEP, columns or COLUMNS), STEP)
    return caught.value


@pytest.mark.parametrize(
    "changed, code, words",
    [
        ({"acts": np.zeros(8)}, "D30", "rows, but the episodes have 8 steps"),
        ({"indices": np.array([9, 1])}, "D30", "do not begin in order"),
        ({"indices": None, "l": np.array([2**62] * 4 + [9])}, "D30", "episode 1 is said to have 4611686018427387904"),
        ({"indices": np.array([0.5, 1.0])}, "D30", "whole numbers"),
        ({"terminal": np.array([True])}, "D30", "says of 1 episodes"),
        ({"rews": np.zeros(4)}, "D30", "rews has 4 rows"),
        ({"obs": np.zeros((5, 2))}, "D30", "obs has 5 rows"),
        ({"obs": np.array([{"x": 1}] * 12)}, "D10", "pickled"),
        ({"acts": np.full(9, 3)}, "D07", "lane, row 1: 3 is no case of 3"),
        ({"acts": np.append(np.full(8, 0.5), np.nan)}, "D07", "lane, row 1: 0.5 is no case of 3"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path: Path, changed: dict[str, Any], code: str, words: str) -> None:
    error = error_of(imitation_npz(tmp_path, **changed))
    assert (error.code, words in error.render()) == (code, True), error.render()


@pytest.mark.parametrize("form", [imitation_npz, saved_dataset, rows_json])
def test_infos_are_never_read(form: Any, tmp_path: Path) -> None:
    error = error_of(form(tmp_path), {**COLUMNS, "gap": "infos"})
    assert error.code == "D10"


def test_a_pickle_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "demos.pkl").write_bytes(b"\x80\x04")
    error = error_of(tmp_path / "demos.pkl")
    assert error.code == "D10"
    assert "numpy.savez" in str(error.help)


def test_returns_that_are_no_sums_are_refused(tmp_path: Path) -> None:
    path = flat_hdf5(tmp_path)
    with h5py.File(path, "a") as file:
        file["r"][1] += 1.0
    assert "episode 2 of flat.h5 is said to return" in error_of(path).message


@pytest.mark.parametrize("key", ["total_episodes", "total_steps"])
@pytest.mark.parametrize("form", [minari_hdf5, minari_arrow])
def test_a_dataset_that_lies_about_its_size_is_refused(tmp_path: Path, form: Any, key: str) -> None:
    folder = form(tmp_path)
    metadata(folder / "data", **{key: 77})
    error = error_of(folder)
    assert error.code == "D30"
    assert "77" in error.message


def test_a_missing_episode_is_told(tmp_path: Path) -> None:
    folder = minari_hdf5(tmp_path)
    with h5py.File(folder / "data" / "main_data.hdf5", "a") as file:
        del file["episode_1"]
    assert "has no episode_1" in error_of(folder).message


def test_links_out_of_an_hdf5_file_are_not_followed(tmp_path: Path) -> None:
    path = flat_hdf5(tmp_path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = np.zeros((9, 2))
    with h5py.File(path, "a") as file:
        del file["observations"]
        file["observations"] = h5py.ExternalLink("other.h5", "/secret")
    error = error_of(path)
    assert error.code in ("D02", "D03")


@pytest.mark.parametrize(
    "columns, code, words",
    [
        ({**COLUMNS, "gap": "obs[5]"}, "D09", "obs has 2 cells"),
        ({**COLUMNS, "gap": "obz[0]"}, "D03", "did you mean obs?"),
        ({**COLUMNS, "gab": "obs[0]"}, "G12", "did you mean gap?"),
        ({}, "D03", "has no column"),
    ],
)
def test_a_map_that_fits_nothing_is_told(tmp_path: Path, columns: dict[str, str], code: str, words: str) -> None:
    path = imitation_npz(tmp_path)
    with pytest.raises((DataError, UsageError)) as caught:
        read_demonstrations(open_data(path, STEP, columns), STEP) if columns else open_data(
            path, STEP, {"gap": "state"}
        )
    assert caught.value.code == code
    assert words in caught.value.render()


def test_folders_and_files_that_are_nothing_known(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert error_of(tmp_path / "empty").code == "D02"
    assert error_of(tmp_path / "no.h5").code in ("D01", "D02")
    (tmp_path / "no.hdf5").write_bytes(b"nothing of the kind")
    assert error_of(tmp_path / "no.hdf5").code == "D02"
    place = saved_dataset(tmp_path)
    (place / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../secret.arrow"}]}))
    assert error_of(place).code == "D01"
    (place / "state.json").write_text("[]")
    assert error_of(place).code == "D02"


def test_a_plain_table_is_still_a_table(tmp_path: Path) -> None:
    pq.write_table(pa.table({"g": [0.5, 0.25], "v": [[0.1, 0.2], [0.3, 0.4]]}), tmp_path / "t.parquet")
    data = read_demonstrations(open_data(tmp_path / "t.parquet", STATE, {"gap": "v[1]"}), STATE)
    assert data.rows[:, 0].tolist() == [0.2, 0.4]


CASE = RecordType("Case", (Feature("lane", "enum", Fraction(0), Fraction(1), None, ("left", "right")),))


def rowwise(folder: Path, values: list[Any]) -> Path:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps({"acts": value}) + "\n" for value in values))
    return path


def test_discrete_actions_may_be_stored_as_floats(tmp_path: Path) -> None:
    """Beside a throttle in one array, the lane is a float; in JSON lines it may be missing."""
    np.savez(tmp_path / "a.npz", acts=np.array([[0.5, 1.0], [0.1, 0.0]]))
    data = read_demonstrations(open_data(tmp_path / "a.npz", CASE, {"lane": "acts[1]"}), CASE)
    assert data.rows.tolist() == [[0, 1], [1, 0]]
    mixed = read_demonstrations(
        open_data(rowwise(tmp_path, [[0.5, 1.0], [0.1, None]]), CASE, {"lane": "acts[1]"}), CASE
    )
    assert mixed.rows[0].tolist() == [0, 1]
    assert np.isnan(mixed.rows[1]).all()


@pytest.mark.parametrize("value", [2.0, -1.0, 0.5])
def test_a_number_that_no_case_has_is_told_with_its_row(tmp_path: Path, value: float) -> None:
    np.savez(tmp_path / "a.npz", acts=np.array([0.0, value]))
    with pytest.raises(DataError, match=rf"a\.npz, column lane, row 2: {value:g} is no case of 2") as caught:
        read_demonstrations(open_data(tmp_path / "a.npz", CASE, {"lane": "acts"}), CASE)
    assert caught.value.code == "D07"
