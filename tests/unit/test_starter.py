"""Starter projects: what a source shows, as a spec that checks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.cli import run
from rewarden.draft.ranges import widened, widened_int
from rewarden.spec_lang import load_spec
from rewarden.spec_lang.errors import ArtifactError, RewardenError, UsageError
from rewarden.starter import write_starter
from tests.reference.cart import artifact_of, write_reward, write_spec


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_ranges_are_widened_outward(a: float, b: float) -> None:
    lo, hi = sorted((a, b))
    low, high = (float(text) for text in widened(lo, hi))
    assert low <= lo
    assert hi <= high
    assert low < high


@given(st.integers(-(2**53), 2**53), st.integers(0, 2**53))
def test_ranges_of_whole_numbers_end_in_whole_numbers(lo: int, width: int) -> None:
    hi = min(lo + width, 2**53)
    low, high = (int(text) for text in widened_int(float(lo), float(hi)))
    assert low <= lo <= hi <= high
    assert low < high


def test_round_ends_stay_round() -> None:
    assert widened(0.0, 40.0) == ("0", "40")
    assert widened(-0.487, 0.5) == ("-0.49", "0.5")
    assert widened(3.0, 3.0) == ("3", "3.1")
    assert widened(0.0, 12345.0) == ("0", "13000")
    assert widened_int(3.0, 3.0) == ("3", "4")
    assert widened_int(0.0, 12345.0) == ("0", "13000")


def test_a_network_becomes_as_many_features_as_it_has_inputs(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(linear_network(3), str(path))
    write_starter(tmp_path, path)
    assert load_spec(tmp_path / "net.rwd").features["Step"].width == 3
    assert (tmp_path / "net.rwd").read_text().count("REVIEW") >= 3


def test_a_wide_network_becomes_one_vector(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(linear_network(384), str(path))
    write_starter(tmp_path, path)
    (feature,) = load_spec(tmp_path / "net.rwd").features["Step"].features
    assert feature.size == 384


def test_what_is_no_network_is_said(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"not a network")
    with pytest.raises(ArtifactError, match="A30"):
        write_starter(tmp_path / "made", tmp_path / "net.onnx")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("identified, rule", [("exact", "|R(s)| <= 100"), ("shift", "|R(a) - R(b)| <= 100")])
def test_an_artifact_gives_its_whole_schema(tmp_path: Path, identified: str, rule: str) -> None:
    import dataclasses

    from rewarden.reward.store import save_artifact

    spec = write_spec(tmp_path)
    artifact = dataclasses.replace(artifact_of(spec), identified=identified)
    save_artifact(artifact, tmp_path / "learned")
    write_starter(tmp_path / "made", tmp_path / "learned")
    made = load_spec(tmp_path / "made" / "learned.rwd")
    assert made.features["Step"] == load_spec(spec).features["Step"]
    assert 'R = "../learned"' in (tmp_path / "made" / "rewarden.toml").read_text()
    assert rule in (tmp_path / "made" / "learned.rwd").read_text()


def test_the_project_of_an_artifact_verifies_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_reward(tmp_path, write_spec(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert run(["init", "--from", "reward", "-o", "made"]) == 0
    monkeypatch.chdir(tmp_path / "made")
    assert run(["check"]) == 0
    assert run(["verify", "--quiet"]) == 0


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "rewarden.toml").write_text("# mine\n")
    with pytest.raises(UsageError, match="G05"):
        write_starter(tmp_path, None)
    assert [p.name for p in tmp_path.iterdir()] == ["rewarden.toml"]


def test_the_command_makes_a_project_that_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["init"]) == 0
    assert run(["check"]) == 0
    assert run(["init"]) == 2
    assert run(["init", "--from", "nothing.xyz", "-o", "elsewhere"]) == 2
    assert run(["init", "--from", "gone.csv", "-o", "elsewhere"]) == 2
    assert not (tmp_path / "elsewhere").exists()


def test_a_draft_from_nothing_says_that_its_features_are_to_be_named(tmp_path: Path) -> None:
    assert run(["init", "--out", str(tmp_path)]) == 0
    (spec,) = tmp_path.glob("*.rwd")
    assert "the features are yours to name.\n" in spec.read_text()


def test_the_next_steps_name_an_artifact(tmp_path: Path) -> None:
    write_starter(tmp_path, None)
    (spec,) = tmp_path.glob("*.rwd")
    words = spec.read_text().replace("\n#   ", "")
    assert "rewarden learn" in words
    assert "rewarden import" in words
    assert "rewarden suggest" in words


def test_data_elsewhere_are_a_comment_that_says_what_to_do(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [0.0, 4.0]}), tmp_path / "rows.parquet")
    write_starter(tmp_path / "made", tmp_path / "rows.parquet")
    made = tmp_path / "made" / "rows.rwd"
    assert load_spec(made).data == {}
    assert '# data logs: Step from "rows.parquet"' in made.read_text()


cells = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(width=64),
    st.sampled_from(["left", "right", "two words", "near", "", "1", "1.5", "nan", "true", "_"]),
    st.text(max_size=4),
    st.lists(st.floats(-1, 1), max_size=3),
)
names = st.one_of(
    st.sampled_from(
        ["x", "near", "speed_mps", "e[0]", "e[1]", "e.0", "e.1", "better.x", "worse.x", "a b", "", "Größe"]
    ),
    st.text(max_size=6),
)
tables = st.dictionaries(names, st.lists(cells, min_size=1, max_size=5), max_size=6)


@settings(deadline=None)
@given(tables)
def test_whatever_a_table_holds_a_draft_checks_or_says_why_not(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, list[object]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    rows = max((len(column) for column in table.values()), default=0)
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for k in range(rows):
            line = {name: column[k % len(column)] for name, column in table.items()}
            file.write(json.dumps(line) + "\n")
    refused = _refusal(folder)
    if refused is not None:
        assert refused in {"D02", "D08", "D18", "D25"}
        assert not (folder / "rows.rwd").exists()
        return
    spec = load_spec(folder / "rows.rwd")
    for name, declaration in spec.data.items():
        for member, _ in declaration.members:
            assert spec.table(name, member).rows == rows


def _refusal(folder: Path) -> str | None:
    try:
        write_starter(folder, folder / "rows.jsonl")
    except RewardenError as error:
        return error.code
    return None


def linear_network(width: int) -> onnx.ModelProto:
    """y = relu(W x), with W a row of ones."""
    weight = onnx.numpy_helper.from_array(np.ones((width, 1), np.float32), "w")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["h"]), onnx.helper.make_node("Relu", ["h"], ["y"])],
        "net",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, width])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, 1])],
        [weight],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
