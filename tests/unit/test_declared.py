"""Safetensors with a declared architecture, and the reading of files that strangers may have written."""

from __future__ import annotations

import json
import os
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

import rewarden as rw
from rewarden.cli import run
from rewarden.reward.agreement import evaluate, random_rows
from rewarden.reward.imports.safetensors_file import open_file, open_folder
from rewarden.spec_lang.errors import ArtifactError, RewardenError, Unsupported
from rewarden.spec_lang.features import Feature, RecordType

WIDE = RecordType("Wide", (Feature("x", "real", Fraction(-2), Fraction(2), None, (), 4),))
TOML = """
unused = ["step"]

[normaliser]
mean = "mean"
std = "std"

[[layers]]
weight = "fc1.weight"
bias = "fc1.bias"
activation = "relu"
shape = [4, 4]
residual = true

[[layers]]
weight = "fc2.weight"
transposed = true
activation = "leaky_relu"
parameter = 0.125

[[layers]]
weight = "out.weight"
bias = "out.bias"
"""


@pytest.fixture
def weights():
    torch.manual_seed(0)
    return {
        "mean": torch.randn(4),
        "std": torch.tensor([0.5, 2.0, 4.0, 1.0]),
        "fc1.weight": torch.randn(4, 4),
        "fc1.bias": torch.randn(4),
        "fc2.weight": torch.randn(4, 3),
        "out.weight": torch.randn(1, 3),
        "out.bias": torch.randn(1),
        "step": torch.tensor([7]),
    }


@pytest.fixture
def place(tmp_path, weights):
    save_file(weights, tmp_path / "net.safetensors")
    (tmp_path / "net.toml").write_text(TOML)
    return tmp_path


def test_a_declared_network_computes_what_torch_computes(place, weights):
    artifact = rw.from_safetensors(place / "net.safetensors", place / "net.toml", WIDE)
    w = weights

    def net(x):
        x = (x - w["mean"]) / w["std"]
        x = x + torch.relu(x @ w["fc1.weight"].T + w["fc1.bias"])
        return nn.functional.leaky_relu(x @ w["fc2.weight"], 0.125) @ w["out.weight"].T + w["out.bias"]

    rows = random_rows([WIDE], 100, 0)
    value, error = evaluate(artifact, rows.astype(np.float64))
    assert np.all(np.abs(net(torch.from_numpy(rows)).numpy()[:, 0] - value) <= error)
    assert artifact.learner.record["tensors that are not used"] == "step"
    assert artifact.learner.record["file"].startswith("sha256:")


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 6), st.sampled_from(["none", "relu", "tanh", "abs", "gelu", "silu", "softplus"])),
        max_size=4,
    ),
    st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    st.integers(0, 1000),
)
def test_any_depth_any_width_any_precision(tmp_path_factory, layers, dtype, seed):
    torch.manual_seed(seed)
    functions = {"none": nn.Identity(), "relu": nn.ReLU(), "tanh": nn.Tanh(), "gelu": nn.GELU(), "silu": nn.SiLU()}
    functions |= {"softplus": nn.Softplus(), "abs": torch.abs}
    held, declared, steps, width = {}, [], [], 4
    for number, (size, name) in enumerate([*layers, (1, "none")]):
        weight, bias = torch.randn(size, width).to(dtype), torch.randn(size).to(dtype)
        held |= {f"{number}.w": weight, f"{number}.b": bias}
        declared.append({"weight": f"{number}.w", "bias": f"{number}.b", "activation": name, "shape": [size, width]})
        steps.append((weight.float(), bias.float(), functions[name]))
        width = size
    folder = tmp_path_factory.mktemp("net")
    save_file(held, folder / "net.safetensors")
    (folder / "net.json").write_text(json.dumps({"layers": declared}))
    artifact = rw.from_safetensors(folder / "net.safetensors", folder / "net.json", WIDE)
    rows = random_rows([WIDE], 40, 1)
    x = torch.from_numpy(rows)
    for weight, bias, function in steps:
        x = function(x @ weight.T + bias)
    value, error = evaluate(artifact, rows.astype(np.float64))
    assert np.all(np.abs(x.numpy()[:, 0] - value) <= error)


def test_from_the_command_line(place, capsys):
    (place / "net.rwd").write_text(
        "spec net v1\n\nfeatures Wide {\n  x : real ^ 4 in -2 .. 2\n}\n\nreward R(s: Wide)\n"
    )
    usual = ["import", str(place / "net.safetensors"), "--features", str(place / "net.rwd")]
    assert run([*usual, "-o", str(place / "a")]) == 2
    assert "G36" in capsys.readouterr().err
    assert run([*usual, "-o", str(place / "a"), "--architecture", str(place / "net.toml")]) == 0
    assert "import from safetensors" in capsys.readouterr().out.replace("imported from", "import from")
    assert run([*usual, "-o", str(place / "b"), "--architecture", str(place / "net.toml"), "--output", "0"]) == 2
    assert "G37" in capsys.readouterr().err


def test_bare_tensors_are_refused_before_anything_is_read(place, capsys):
    missing = ["--features", str(place / "there_is_none.rwd"), "-o", str(place / "a")]
    assert run(["import", str(place / "net.safetensors"), *missing]) == 2
    assert "G36" in capsys.readouterr().err


def test_a_convolution_is_named_with_the_way_out(tmp_path):
    save_file({"c.weight": torch.randn(4, 1, 3, 3)}, tmp_path / "net.safetensors")
    (tmp_path / "net.toml").write_text('[[layers]]\nweight = "c.weight"\n')
    with pytest.raises(
        Unsupported, match=r"layer 0 \(c\.weight\).*convolutions and pooling are not supported"
    ) as caught:
        rw.from_safetensors(tmp_path / "net.safetensors", tmp_path / "net.toml", WIDE)
    assert "frozen encoder's features" in str(caught.value)


WRONG = {
    "a tensor left over": ('unused = ["step"]', "", "A34", "says nothing"),
    "a tensor that is not there": ("fc1.bias", "fc1.offset", "A34", "fc1.bias"),
    "unused that is not there": ('["step"]', '["step", "epoch"]', "A34", "epoch"),
    "used and unused": ('["step"]', '["step", "mean"]', "A34", "mean"),
    "another shape": ("shape = [4, 4]", "shape = [4, 5]", "X20", "not as declared"),
    "not transposed": ("transposed = true\n", "", "X20", "transposed = true"),
    "an unknown activation": ('"relu"', '"swoosh"', "A37", "swoosh"),
    "an unknown key": ("residual", "skip", "A37", "skip"),
    "a normaliser of both kinds": ('std = "std"', 'scale = "std"', "A37", "scale"),
    "no TOML": ("[normaliser]", "[normaliser", "A37", "TOML"),
    "a shape that is none": ("shape = [4, 4]", 'shape = "4x4"', "A37", "shape"),
    "several columns": ('[[layers]]\nweight = "out.weight"\nbias = "out.bias"\n', "", "A34", "out"),
}


@pytest.mark.parametrize("name", WRONG)
def test_declarations_that_make_no_sense(place, name):
    old, new, code, words = WRONG[name]
    assert old in TOML
    (place / "net.toml").write_text(TOML.replace(old, new))
    with pytest.raises(RewardenError, match=words) as caught:
        rw.from_safetensors(place / "net.safetensors", place / "net.toml", WIDE)
    assert caught.value.code == code


def test_a_spread_that_rounds_is_said_to(place, weights):
    weights["std"] = torch.tensor([0.3, 2.0, 4.0, 1.0])
    save_file(weights, place / "net.safetensors")
    with pytest.raises(Unsupported, match="normaliser"):
        rw.from_safetensors(place / "net.safetensors", place / "net.toml", WIDE)
    rw.from_safetensors(place / "net.safetensors", place / "net.toml", WIDE, constants="nearest")


def test_one_of_several_outputs(place, weights):
    weights["out.weight"], weights["out.bias"] = torch.randn(2, 3), torch.randn(2)
    save_file(weights, place / "net.safetensors")
    with pytest.raises(Unsupported, match="2 columns"):
        rw.from_safetensors(place / "net.safetensors", place / "net.toml", WIDE)
    (place / "net.toml").write_text("output = 1\n" + TOML)
    one = rw.from_safetensors(place / "net.safetensors", place / "net.toml", WIDE)
    weights["out.weight"], weights["out.bias"] = weights["out.weight"][1:].clone(), weights["out.bias"][1:].clone()
    save_file(weights, place / "net.safetensors")
    (place / "net.toml").write_text(TOML)
    other = rw.from_safetensors(place / "net.safetensors", place / "net.toml", WIDE)
    rows = random_rows([WIDE], 50, 2)
    assert np.array_equal(one.score(rows), other.score(rows))


# ── hostile files ──────────────────────────────────────────────────────────────────────────────
def forged(path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(shape, start, stop, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


FORGED = {
    "a header beyond the end": ({}, b"", 1 << 40),
    "a header of everything": ({}, b"", 1 << 20),
    "a shape that is larger than the file": ({"a": entry([1 << 30, 1 << 10], 0, 1 << 42)}, b"0000", None),
    "a shape that is not its bytes": ({"a": entry([3], 0, 4)}, b"0000", None),
    "two that overlap": ({"a": entry([1], 0, 4), "b": entry([1], 2, 6)}, b"000000", None),
    "a gap": ({"a": entry([1], 4, 8)}, b"00000000", None),
    "bytes left over": ({"a": entry([1], 0, 4)}, b"00000000", None),
    "a negative size": ({"a": entry([-1], 0, -4)}, b"", None),
    "a size that is true": ({"a": entry([True], 0, 4)}, b"0000", None),
    "an unknown type": ({"a": entry([1], 0, 4, "F7")}, b"0000", None),
    "too many dims": ({"a": entry([1] * 99, 0, 4)}, b"0000", None),
    "a key too many": ({"a": {**entry([1], 0, 4), "code": "x"}}, b"0000", None),
    "no object": (b"[1, 2]", b"", None),
    "nested without end": (b'{"a":' * 50_000, b"", None),
    "the same name twice": (b'{"a": {}, "a": {}}', b"", None),
    "offsets that are texts": ({"a": {"dtype": "F32", "shape": [1], "data_offsets": ["0", "4"]}}, b"0000", None),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_headers(tmp_path, name):
    header, data, length = FORGED[name]
    with pytest.raises(ArtifactError) as caught:
        open_file(forged(tmp_path / "net.safetensors", header, data, length))
    assert caught.value.code in ("A30", "A35")
    assert caught.value.help


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_files_are_errors_of_ours_or_are_read(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("net")
    save_file({"w": torch.ones(2, 3), "b": torch.zeros(2)}, folder / "net.safetensors")
    content = bytearray((folder / "net.safetensors").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / "net.safetensors").write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        found = open_file(folder / "net.safetensors")
        read = [found.read(name) for name in found.entries]
    except ArtifactError as error:
        read, told = [], error
        assert told.code in ("A18", "A30", "A31", "A35")
    assert sum(array.size for array in read) <= len(content)


def test_pipes_and_devices_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "net.safetensors")
    with pytest.raises(ArtifactError, match="not a regular file"):
        open_file(tmp_path / "net.safetensors")


# ── shards ─────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def shards(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "model-1.safetensors")
    save_file({"b": torch.zeros(3)}, tmp_path / "model-2.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    return tmp_path


def test_shards_are_one_set_of_tensors(shards):
    found = open_folder(shards)
    assert found.read("a").tolist() == [1.0, 1.0]
    assert found.shape("b") == (3,)
    assert [path.name for path in found.files] == ["model-1.safetensors", "model-2.safetensors"]


INDEXES = {
    "out of the folder": {"a": "../model-1.safetensors", "b": "model-2.safetensors"},
    "absolute": {"a": "/etc/model.safetensors"},
    "by a backslash": {"a": "..\\model-1.safetensors"},
    "a name that is none": {"a": ".."},
    "another kind of file": {"a": "model.bin"},
    "a file that is not there": {"a": "model-3.safetensors"},
    "in the other file": {"a": "model-2.safetensors", "b": "model-1.safetensors"},
    "one too many": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-2.safetensors"},
    "one not told": {"a": "model-1.safetensors", "d": "model-2.safetensors"},
    "numbers": {"a": 1},
    "nothing": {},
    "thousands of files": {str(k): f"{k}.safetensors" for k in range(2000)},
}


@pytest.mark.parametrize("name", INDEXES)
def test_hostile_indexes(shards, name):
    (shards / "model.safetensors.index.json").write_text(json.dumps({"weight_map": INDEXES[name]}))
    with pytest.raises(ArtifactError) as caught:
        open_folder(shards)
    assert caught.value.code in ("A30", "A36")
