"""Data that are too large for memory: read a part at a time, trained on a window at a time, and the same in the end."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from rewarden.reward import scratch, streamed
from rewarden.reward.learners import source
from rewarden.reward.learners.checkpoints import Checkpoints
from rewarden.reward.learners.interface import Comparisons, Demonstrations, Judgements, Revision, Run
from rewarden.reward.learners.registry import REGISTRY
from rewarden.reward.learners.source import Streamed, chosen, dealt, hashed, rows_of
from rewarden.reward.scratch import Scratch
from rewarden.reward.segments import READERS
from rewarden.reward.streamed import read_streamed
from rewarden.spec_lang.errors import DataError
from tests.reference.small_data import RECORD, SMALL, STEP, TRAINED, comparisons, demonstrations, judgements


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is too large."""
    for module in (streamed, source):
        monkeypatch.setattr(module, "FEW_ROWS", 50)
        monkeypatch.setattr(module, "FEW_CELLS", 100)
    monkeypatch.setattr(streamed, "AT_ONCE", 3)  # 1024 rows at a time all the same
    monkeypatch.setattr(source, "SAMPLE", 100)
    monkeypatch.setattr(source, "MOST_HELD", 60)
    monkeypatch.setattr(source, "block_rows", lambda data: 32)


def columns(values: np.ndarray, prefix: str = "") -> dict[str, object]:
    return {
        f"{prefix}speed": values[:, 0],
        f"{prefix}offset": values[:, 1],
        f"{prefix}lead": values[:, 2].astype(bool),
    }


def written(path: Path, table: dict[str, object]) -> Path:
    pq.write_table(pa.table(table), path, row_group_size=700)
    return path


def pairs(answers: int = 1500) -> dict[str, object]:
    """Three steps each, so that parts break off within an answer."""
    data = comparisons(answers, steps=3)
    table: dict[str, object] = {"pair": np.repeat(np.arange(answers) * 2, 3), "step": np.tile([1, 2, 5], answers)}
    for place, prefix in enumerate(("better.", "worse.")):
        table |= columns(data.segments[:, place].reshape(-1, STEP.width), prefix)
    told = np.random.default_rng(0)
    table["tie"] = np.repeat(told.random(answers) < 0.1, 3)
    table["weight"] = np.repeat(told.integers(1, 4, answers).astype(float), 3)
    return table


def labelled(count: int = 2500) -> dict[str, object]:
    data = judgements(count)
    return columns(data.rows) | {"label": data.labels, "weight": np.ones(count)}


def holes(count: int = 2500) -> dict[str, object]:
    table = columns(demonstrations(count).rows)
    speed = np.array(table["speed"])
    speed[::7] = np.nan
    return {"speed": speed, "offset": [None if k % 11 == 0 else v for k, v in enumerate(np.array(table["offset"]))]}


# ── reading ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("name, table", [("demonstrations", holes()), ("labels", labelled()), ("preferences", pairs())])
def test_what_is_streamed_is_what_is_read_at_once(name: str, table: dict[str, object], tmp_path: Path) -> None:
    path = written(tmp_path / "data.parquet", table)
    found = read_streamed(name, path, STEP, "s", tmp_path / "laid")
    whole = READERS[name](path, STEP, "s")
    assert found is not None
    for field in fields(whole):  # type: ignore[arg-type]
        one, other = getattr(found, field.name), getattr(whole, field.name)
        if isinstance(other, np.ndarray):
            assert np.array_equal(one, other, equal_nan=other.dtype.kind == "f"), field.name
        else:
            assert one == other, field.name  # the digests of the sources among them
    assert not list((tmp_path / "laid").iterdir())  # no name, so nothing is left of it


def shuffled(table: dict[str, object]) -> dict[str, object]:
    order = np.random.default_rng(1).permutation(len(np.array(table["pair"])))
    return {name: np.array(values)[order] for name, values in table.items()}


@pytest.mark.parametrize(
    "change",
    [
        shuffled,
        lambda table: {name: np.array(values)[:-1] for name, values in table.items()},
        lambda table: table | {"tie": np.arange(len(np.array(table["pair"]))) == 4},
        lambda table: table | {"annotator": np.array(["ann"] * len(np.array(table["pair"])))},
    ],
    ids=["not in order", "cut off", "a tie within an answer", "text"],
)
def test_what_cannot_be_streamed_is_left_to_be_read_at_once(change, tmp_path: Path) -> None:
    assert read_streamed("preferences", written(tmp_path / "p.parquet", change(pairs())), STEP, "s", None) is None


def test_small_and_damaged_files_are_left_to_be_read_at_once(tmp_path: Path) -> None:
    assert read_streamed("labels", written(tmp_path / "few.parquet", labelled(40)), STEP, "s", None) is None
    assert read_streamed("labels", tmp_path / "none.parquet", STEP, "s", None) is None
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    assert read_streamed("labels", tmp_path / "cut.parquet", STEP, "s", None) is None


def test_errors_name_the_row_of_the_file(tmp_path: Path) -> None:
    table = labelled()
    speed = np.array(table["speed"])
    speed[2041] = 41.0
    path = written(tmp_path / "l.parquet", table | {"speed": speed})
    with pytest.raises(DataError, match=r"row 2042 of l\.parquet"):
        read_streamed("labels", path, STEP, "s", None)


def test_a_disk_that_is_full_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch.tempfile, "TemporaryFile", lambda buffering, dir: open("/dev/full", "w+b", 0))  # noqa: SIM115
    laid = Scratch(3, tmp_path)
    with pytest.raises(DataError, match="No space left") as caught:
        laid.append(np.zeros((10_000, 3)))
    assert caught.value.code == "D39"


# ── learning ───────────────────────────────────────────────────────────────────────────────────
def enlarged(name: str) -> tuple[object, object]:
    data, options = SMALL[name]
    match data:
        case Demonstrations():
            data = demonstrations(900)
        case Judgements():
            data = judgements(900)
        case Comparisons():
            data = comparisons(900)
        case Revision():
            data = Revision(data.artifact, comparisons(900, seed=5))
    return data, replace(options, epochs=4)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", TRAINED)
def test_a_stopped_run_on_large_data_ends_in_the_same_bytes(name: str, tmp_path: Path) -> None:
    data, options = enlarged(name)
    learner = REGISTRY[name].learner()
    whole = learner.fit(data, options, Run(3))
    assert whole.learner is not None
    assert "by a hash of their content" in whole.learner.record["calibrated on"]
    kept = Checkpoints(tmp_path / "c", seconds=0.0)

    def stop(stage: str, done: int, total: int, note: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learner.fit(data, options, Run(3, progress=stop, checkpoints=kept))
    seen: list[int] = []
    again = learner.fit(data, options, Run(3, progress=lambda s, d, t, n: seen.append(d), checkpoints=kept))
    assert again.digest == whole.digest
    assert seen[0] == 3


def test_rows_on_disk_teach_what_rows_in_memory_do(tmp_path: Path) -> None:
    data, options = enlarged("labels")
    assert isinstance(data, Judgements)
    laid = Scratch(STEP.width, tmp_path)
    laid.append(data.rows)
    mapped = replace(data, rows=laid.mapped(STEP.width))
    learner = REGISTRY["labels"].learner()
    assert learner.fit(mapped, options, Run(1)).digest == learner.fit(data, options, Run(1)).digest


def test_large_data_are_learned_as_well_as_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    data, options = judgements(3000), replace(SMALL["labels"][1], epochs=12)  # type: ignore[call-arg]
    learner = REGISTRY["labels"].learner()
    large = learner.fit(data, options, Run(2))
    monkeypatch.setattr(source, "FEW_ROWS", 10**9)
    small = learner.fit(data, options, Run(2))
    name = "root mean squared error, held out"
    one, other = (float(found.learner.record[name]) for found in (large, small))  # type: ignore[union-attr]
    assert one < 1.5 * other


def test_an_epoch_has_every_training_row_once_and_no_other() -> None:
    data = judgements(900)
    numbered = replace(data, labels=np.arange(900.0))
    generator = torch.Generator().manual_seed(0)
    found = dealt(Run(1), numbered, (0.1, 0.15), generator, lambda some: (some.rows, {}))
    read = found.source(torch.empty(0), lambda some: torch.from_numpy(some.labels))
    assert isinstance(read, Streamed)
    one, other = (torch.cat(list(read.batches(32, generator))).tolist() for _ in range(2))
    assert sorted(one) == sorted(other)
    assert one != other  # another order each time
    held = set(np.concatenate([found.data.labels[part.numpy()] for part in found.parts[1:]]).tolist())
    assert len(one) == len(read) == found.counts[0]
    assert not held & set(one)
    assert set(one) | held == set(range(900))
    sampled = found.data.labels[found.parts[0].numpy()].tolist()
    assert set(sampled) <= set(one)
    assert 40 < len(sampled) < 200


def test_equal_rows_and_a_question_asked_twice_are_in_one_part() -> None:
    data = comparisons(300)
    twice = replace(data, segments=np.concatenate([data.segments, data.segments[:, ::-1]]))
    found = dealt(Run(1), twice, (0.2, 0.2), torch.Generator(), lambda some: (some.segments, {}))
    sides = [{np.sort(s, axis=0).tobytes() for s in found.data.segments[part.numpy()]} for part in found.parts]
    assert not sides[1] & sides[2]
    assert not sides[0] & (sides[1] | sides[2])
    for part in found.parts:
        assert len(part) == 2 * len({np.sort(s, axis=0).tobytes() for s in found.data.segments[part.numpy()]})


def test_one_row_ten_thousand_times_is_refused_and_held_in_bounds() -> None:
    data = demonstrations(60)
    many = replace(data, rows=np.repeat(data.rows[:1], 10_000, axis=0))
    with pytest.raises(DataError) as caught:
        REGISTRY["autoencoders"].learner().fit(many, SMALL["autoencoders"][1], Run(0))
    assert caught.value.code == "D20"
    some = replace(data, rows=np.repeat(data.rows, 500, axis=0))
    found = dealt(Run(0), some, (0.2,), torch.Generator(), lambda part: (part.rows, {}))
    assert rows_of(found.data) <= 2 * 100 + 2 * 60


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_broken_numbers_are_refused_by_their_row(value: float) -> None:
    data = judgements(900)
    broken = data.rows.copy()
    broken[777, 1] = value
    with pytest.raises(DataError, match="row 778") as caught:
        REGISTRY["labels"].learner().fit(replace(data, rows=broken), SMALL["labels"][1], Run(0))
    assert caught.value.code == "D05"


def test_hashes_are_of_the_numbers_and_the_seed() -> None:
    rows = np.random.default_rng(0).normal(size=(2000, 3))
    assert np.array_equal(hashed(rows, 1), hashed(rows.copy(), 1))
    assert not np.array_equal(hashed(rows, 1), hashed(rows, 2))
    assert len(np.unique(hashed(rows, 1))) == 2000
    assert np.array_equal(hashed(np.array([[0.0]]), 5), hashed(np.array([[-0.0]]), 5))
    shares = (hashed(rows, 3) >> np.uint64(11)).astype(float) * 2.0**-53
    assert abs(shares.mean() - 0.5) < 0.03


def test_rows_that_are_chosen_are_in_memory(tmp_path: Path) -> None:
    laid = Scratch(STEP.width, tmp_path)
    laid.append(judgements(100).rows)
    data = Demonstrations(RECORD, laid.mapped(STEP.width))
    assert type(chosen(data, np.array([3, 5])).rows) is np.ndarray
