"""`rewarden vnnlib-export`, the answers to what it writes, and `vnnlib-replay` of what others answer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from rewarden.cli import run
from tests.reference.cart import LOCAL, PROVED, SHOULD, VACUOUS, VIOLATED, write_reward, write_spec

STRICT = """
must slow_strictly:
  forall s: Step
  given s.busy and s.speed >= top
  expect R(s) <= 3
"""
FEATURES = """
must slow_cart:
  forall s: Step
  expect s.speed <= 3 [m/s]
"""
SQUARE = """
must curved:
  forall s: Step
  expect R(s) * R(s) >= 0
"""
SHARE = """
must mostly:
  forall s in rows
  expect share(R(s) <= 3) >= 0.5
"""


def project(folder: Path, *rules: str) -> list[str]:
    spec = write_spec(folder, *rules)
    return [str(spec), "--reward", str(write_reward(folder, spec))]


def exported(folder: Path, *rules: str) -> tuple[Path, dict]:
    out = folder / "out"
    assert run(["vnnlib-export", *project(folder, *rules), "-o", str(out), "-q"]) == 0
    return out, json.loads((out / "manifest.json").read_text())


def words(out: Path, entry: dict, capsys: pytest.CaptureFixture[str]) -> tuple[list[str], list[str]]:
    """The first line of the answer to each case, in 1.0 and in 2.0, by the command line."""
    said: tuple[list[str], list[str]] = ([], [])
    for case in entry["cases"]:
        networks = list(case["networks_2"].items())
        more = [text for name, file in networks[1:] for text in ("--network", f"{name}={out / file}")]
        capsys.readouterr()
        run(["vnnlib", str(out / case["network"]), str(out / case["query"]), "-q"])
        said[0].append(capsys.readouterr().out.split("\n")[0])
        run(["vnnlib", str(out / networks[0][1]), str(out / case["query_2"]), "-q", *more])
        said[1].append(capsys.readouterr().out.split("\n")[0])
    return said


def test_a_round_trip_gives_the_verdicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, manifest = exported(tmp_path, PROVED, VIOLATED, VACUOUS, SHOULD)
    found = {entry["rule"]: words(out, entry, capsys) for entry in manifest["rules"]}
    assert found["bounded"] == (["unsat"] * 2, ["unsat"] * 2)
    assert found["slow"] == (["sat"], ["sat"])
    assert found["nothing"] == ([], [])  # no case holds a record: vacuous
    assert set(found["nearer"][1]) == {"sat"}  # violated
    run(["verify", *project(tmp_path, PROVED, VIOLATED, VACUOUS, SHOULD), "-q", "--json", str(tmp_path / "v.json")])
    verdicts = {rule["name"]: rule["verdict"] for rule in json.loads((tmp_path / "v.json").read_text())["rules"]}
    assert verdicts == {"bounded": "proved", "slow": "violated", "nothing": "vacuous", "nearer": "violated"}


def test_a_patched_reward_makes_the_round_trip_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = project(tmp_path, VIOLATED)
    assert run(["patch", *arguments, "-o", str(tmp_path / "patched"), "-q"]) == 0
    out = tmp_path / "out"
    assert run(["vnnlib-export", arguments[0], "-r", str(tmp_path / "patched"), "-o", str(out)]) == 0
    (entry,) = json.loads((out / "manifest.json").read_text())["rules"]
    assert {patch["state"] for case in entry["cases"] for patch in case["patches"]} == {"flat"}
    assert set(words(out, entry, capsys)[1]) == {"unsat"}


def test_the_manifest_leads_back(tmp_path: Path) -> None:
    out, manifest = exported(tmp_path, VIOLATED)
    (entry,) = manifest["rules"]
    (case,) = entry["cases"]
    assert manifest["format"] == "rewarden-vnnlib"
    assert entry["variables"][1] == {"name": "s.speed", "unit": "m/s", "discrete": False}
    assert (entry["rule"], entry["calls"], case["discrete"]) == ("slow", ["R(s)"], {"s.busy": 1})
    assert set(manifest["networks"]) == {path.name for path in out.glob("*.onnx")}
    text = (out / case["query"]).read_text()
    assert "; X_1 is s.speed [m/s]" in text
    assert text.isascii()


def test_the_same_rules_give_the_same_bytes(tmp_path: Path) -> None:
    arguments = project(tmp_path, VIOLATED, SHOULD)
    for name in ("a", "b"):
        assert run(["vnnlib-export", *arguments, "-o", str(tmp_path / name), "-q"]) == 0
    files = [sorted(p.relative_to(tmp_path / n) for p in (tmp_path / n).rglob("*") if p.is_file()) for n in "ab"]
    assert files[0] == files[1]
    assert all((tmp_path / "a" / p).read_bytes() == (tmp_path / "b" / p).read_bytes() for p in files[0])


def test_rules_that_no_query_says_are_named_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = project(tmp_path, PROVED, FEATURES, SQUARE, SHARE)
    assert run(["vnnlib-export", *arguments, "-o", str(tmp_path / "out")]) == 3
    out = capsys.readouterr().out
    assert "bounded: 2 queries" in out
    for rule in ("slow_cart", "curved", "mostly"):
        assert f"{rule}: not written: " in out
    assert set(json.loads((tmp_path / "out" / "manifest.json").read_text())["refused"]) == {
        "slow_cart",
        "curved",
        "mostly",
    }
    assert run(["vnnlib-export", *arguments, "--rule", "bounded", "-o", str(tmp_path / "one")]) == 0


def test_what_cannot_be_exported_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = project(tmp_path, PROVED, LOCAL)
    assert run(["vnnlib-export", *arguments, "-o", str(tmp_path / "out")]) == 2  # Base is not bound
    assert not (tmp_path / "out").exists()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("")
    assert run(["vnnlib-export", *arguments, "--rule", "bounded", "-o", str(tmp_path / "taken")]) == 2
    assert "error[G05]" in capsys.readouterr().err


# ── replay ─────────────────────────────────────────────────────────────────────────────────────
FIRST = "sat\n((X_0 1.0)\n(X_1 2.9999)\n(X_2 1)\n(Y_0 7.5))\n"
SECOND = "sat\nX0 real [1,3]\n1.0\n2.9999\n1.0\nY0 real [1,1]\n7.5\n"


def replayed(out: Path, query: str, text: str, arguments: list[str]) -> int:
    (out.parent / "solution").write_text(text)
    return run(["vnnlib-replay", str(out / query), str(out.parent / "solution"), *arguments])


def test_solutions_are_judged_exactly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, manifest = exported(tmp_path, VIOLATED)
    arguments = [str(tmp_path / "cart.rwd"), "--reward", str(tmp_path / "reward")]
    case = manifest["rules"][0]["cases"][0]
    for query, text in ((case["query"], FIRST), (case["query_2"], SECOND)):
        assert replayed(out, query, text, arguments) == 1
        assert "violated: slow" in capsys.readouterr().out
    assert replayed(out, case["query"], FIRST.replace("2.9999", "0.5"), arguments) == 3
    assert "not a violation" in capsys.readouterr().out


def test_what_we_answer_replays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, manifest = exported(tmp_path, VIOLATED)
    arguments = [str(tmp_path / "cart.rwd"), "--reward", str(tmp_path / "reward")]
    case = manifest["rules"][0]["cases"][0]
    for query, network in ((case["query"], case["network"]), (case["query_2"], case["networks_2"]["N0"])):
        capsys.readouterr()
        assert run(["vnnlib", str(out / network), str(out / query), "-q"]) == 1
        assert replayed(out, query, capsys.readouterr().out, arguments) == 1


@pytest.mark.parametrize(
    "text, code",
    [
        ("sat\n((X_0 1.0)\n(X_1 2.9))", "G84"),
        ("sat\n((X_0 one)(X_1 2)(X_2 1))", "G80"),
        ("sat\n(X_0)", "G80"),
        ("unsat", "G84"),
        ("", "G84"),
        ("(" * 1000, "G80"),
        ("sat\nX real [1,3]\n1.0\n2.9", "G84"),
    ],
)
def test_solutions_that_are_none_are_status_2(tmp_path: Path, text: str, code: str, capsys) -> None:
    out, manifest = exported(tmp_path, VIOLATED)
    arguments = [str(tmp_path / "cart.rwd"), "--reward", str(tmp_path / "reward")]
    assert replayed(out, manifest["rules"][0]["cases"][0]["query"], text, arguments) == 2
    assert f"error[{code}]" in capsys.readouterr().err


def test_queries_of_something_else_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, manifest = exported(tmp_path, VIOLATED)
    case = manifest["rules"][0]["cases"][0]
    spec = tmp_path / "cart.rwd"
    other = write_reward(tmp_path, spec, "other", bias=1.0)
    assert replayed(out, case["query"], FIRST, [str(spec), "-r", str(other)]) == 2
    assert "error[G84]" in capsys.readouterr().err
    for broken in ("{}", "[" * 100_000, '{"rules": [{"cases": [{}]}]}', "null"):
        (out / "manifest.json").write_text(broken)
        assert replayed(out, case["query"], FIRST, [str(spec), "-r", str(tmp_path / "reward")]) == 2
        assert "error[G84]" in capsys.readouterr().err


def test_what_is_refused_loads_no_engine(tmp_path: Path) -> None:
    """Compilers and solvers take longer to import than a refusal may take."""
    weight = onnx.numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32), "w")
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], name="first/conv")
    tensor, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    ends = [tensor(name, kind, [1, 1, size, size]) for name, size in (("x", 3), ("y", 1))]
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], [weight])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), tmp_path / "n.onnx")
    names = [f"X_{i}" for i in range(9)]
    bounds = [f"(assert (>= {name} 0))(assert (<= {name} 1))" for name in names]
    declared = [f"(declare-const {name} Real)" for name in (*names, "Y_0")]
    (tmp_path / "q.vnnlib").write_text("\n".join([*declared, *bounds, "(assert (>= Y_0 1))"]))
    call = ["vnnlib", str(tmp_path / "n.onnx"), str(tmp_path / "q.vnnlib")]
    code = f"import sys; from rewarden.cli import run; status = run({call!r}); "
    code += "print(status, [m for m in ('torch', 'z3', 'numba', 'highspy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "2 []"
    assert "'first/conv' (Conv): convolutions" in done.stderr
    assert "verify the head over the frozen encoder's features" in done.stderr
