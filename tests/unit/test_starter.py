"""Starter projects: what a table or a network shows, as a spec that parses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewarden.cli import run
from rewarden.spec_lang import load_spec
from rewarden.spec_lang.errors import UsageError
from rewarden.starter import widened, write_starter


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_ranges_are_widened_outward(lo: float, width: float) -> None:
    hi = lo + width
    low, high = (float(text) for text in widened(lo, hi))
    assert low <= lo
    assert hi <= high
    assert low < high


def test_round_ends_stay_round() -> None:
    assert widened(0.0, 40.0) == ("0", "40")
    assert widened(-0.487, 0.5) == ("-0.49", "0.5")
    assert widened(3.0, 3.0) == ("3", "3.1")
    assert widened(0.0, 12345.0) == ("0", "13000")


def test_a_table_becomes_features_that_check(tmp_path: Path) -> None:
    table = pa.table(
        {
            "speed": [1.5, 30.25],
            "count": [2, 9],
            "busy": [True, False],
            "lane": ["left", "right"],
            "note": ["not a word that", "a spec can use"],
            "bad name": [1.0, 2.0],
            "near": [1.0, 2.0],
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    write_starter(tmp_path, tmp_path / "rows.parquet")
    spec = load_spec(tmp_path / "rows.rwd")
    kinds = {f.name: f.kind for f in spec.features["Step"].features}
    assert kinds == {"speed": "real", "count": "int", "busy": "bool", "lane": "enum"}
    assert len(spec.table("rows").values) == 2
    text = (tmp_path / "rows.rwd").read_text()
    assert "left out: note" in text
    assert "left out: bad name" in text


def test_pairs_become_one_record_type(tmp_path: Path) -> None:
    pq.write_table(pa.table({"better.x": [0.0], "worse.x": [4.0]}), tmp_path / "pairs.parquet")
    write_starter(tmp_path, tmp_path / "pairs.parquet")
    feature = load_spec(tmp_path / "pairs.rwd").features["Step"].feature("x")
    assert (feature.lo, feature.hi) == (0, 4)


def test_a_network_becomes_as_many_features_as_it_has_inputs(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(linear_network(3), str(path))
    write_starter(tmp_path, path)
    assert load_spec(tmp_path / "net.rwd").features["Step"].width == 3


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
    assert run(["init", "--from", "nothing.xyz", "elsewhere"]) == 2


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
