"""README, "Your own network": its commands are run as they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

ROOT = Path(__file__).resolve().parents[2]


def _section() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^## Your own network$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found is not None, "README.md has no section `## Your own network`"
    return found.group(1)


def _blocks() -> list[tuple[str, str]]:
    """(language, text) of each fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", _section(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, int]]]:
    """The folder after the walk, and the exit status of each command."""
    folder = tmp_path_factory.mktemp("own")
    statuses = []
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for language, text in _blocks():
        named = re.match(r"# (\S+)\n", text)
        if language == "sh":
            for command in filter(None, text.splitlines()):
                done = subprocess.run(
                    command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False
                )
                assert done.returncode in (0, 1), f"{command}\n{done.stdout}\n{done.stderr}"
                statuses.append((command, done.returncode))
        elif named is not None:
            (folder / named.group(1)).write_text(text, encoding="utf-8")
    return folder, statuses


def test_it_ends_with_verdicts(walked: tuple[Path, list[tuple[str, int]]]) -> None:
    folder, statuses = walked
    assert any(command.startswith("rewarden verify") for command, _ in statuses)
    result = json.loads((folder / "result.json").read_text())
    assert {rule["verdict"] for rule in result["rules"]} <= {"proved", "violated"}


def test_an_onnx_file_goes_the_same_way(walked: tuple[Path, list[tuple[str, int]]], tmp_path: Path) -> None:
    folder, _ = walked
    assert "rewarden import net.onnx --features cart.rwd -o reward" in _section()
    import rewarden as rw

    reward = rw.load_reward(folder / "reward")
    names = [node for node in reward.graph.nodes if type(node).__name__ == "AffineMap"]
    weights = {name: reward.tensors[name] for node in names for name in (node.weight, node.bias)}
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    nodes, last = [], "x"
    for k, node in enumerate(names):
        out = "y" if node is names[-1] else f"h{k}"
        nodes.append(onnx.helper.make_node("Gemm", [last, node.weight, node.bias], [out], transB=1))
        if node is not names[-1]:
            nodes.append(onnx.helper.make_node("Relu", [out], [f"r{k}"]))
            last = f"r{k}"
    graph = onnx.helper.make_graph(
        nodes,
        "net",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, 3])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, 1])],
        tensors,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(tmp_path / "net.onnx"))
    from rewarden.cli import run

    spec, out = str(folder / "cart.rwd"), str(tmp_path / "reward")
    assert run(["import", str(tmp_path / "net.onnx"), "--features", spec, "-o", out]) == 0
    assert run(["verify", spec, "--reward", out, "--json", str(tmp_path / "r.json"), "-q"]) in (0, 1)
    imported = json.loads((tmp_path / "r.json").read_text())
    direct = json.loads((folder / "result.json").read_text())
    assert [r["verdict"] for r in imported["rules"]] == [r["verdict"] for r in direct["rules"]]
