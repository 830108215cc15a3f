"""Bad input: each kind gets its own code, exit status 2 and no half-written output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rewarden.cli import run
from tests.reference.cart import HEAD, PROVED, VIOLATED, write_reward, write_spec

Break = Callable[[Path], None]


def _spec(text: str) -> Break:
    return lambda folder: (folder / "cart.rwd").write_text(text, encoding="utf-8") and None


def _data(**columns: list[object]) -> Break:
    return lambda folder: pq.write_table(pa.table(columns), folder / "data" / "rows.parquet")


def _cut_tensors(folder: Path) -> None:
    path = folder / "reward" / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:-7])


def _flip_tensors(folder: Path) -> None:
    path = folder / "reward" / "tensors.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def _nan_weight(folder: Path) -> None:
    from rewarden.reward.manifest import digest_of

    path, manifest = folder / "reward" / "tensors.safetensors", folder / "reward" / "manifest.json"
    data = bytearray(path.read_bytes())
    data[-4:] = np.float32(np.nan).tobytes()
    path.write_bytes(bytes(data))
    content = json.loads(manifest.read_text())
    content["tensors"] = digest_of(bytes(data))  # a careful attacker mends the digest
    manifest.write_text(json.dumps(content, sort_keys=True, separators=(",", ":")))


def _pickled(folder: Path) -> None:
    for file in (folder / "reward").iterdir():
        file.unlink()
    (folder / "reward" / "model.pt").write_bytes(b"\x80\x04.")


def _other_schema(folder: Path) -> None:
    spec = folder / "cart.rwd"
    spec.write_text(spec.read_text().replace("in 0 .. 3", "in 0 .. 4"), encoding="utf-8")


USES_ROWS = "\nmust typical:\n  forall s: Step\n  expect R(s) <= max(R(rows)) + 20\n"
CASES: dict[str, tuple[Break, str]] = {
    "unknown field": (_spec(HEAD + PROVED.replace("R(s)", "s.sped")), "N02"),
    "unit mismatch": (_spec(HEAD + VIOLATED.replace("s.speed >= top", "s.speed >= 1 [kg]")), "U02"),
    "syntax": (_spec(HEAD + "\nmust x:\n  forall\n"), "P01"),
    "missing column": (_data(dist=[1.0], speed=[1.0]), "D"),
    "value out of range": (_data(dist=[1.0, 99.0], speed=[1.0, 1.0], busy=[True, True]), "D"),
    "missing data": (lambda folder: (folder / "data" / "rows.parquet").unlink(), "D"),
    "schema": (_other_schema, "B"),
    "truncated artifact": (_cut_tensors, "A"),
    "tampered artifact": (_flip_tensors, "A09"),
    "non-finite weight": (_nan_weight, "A"),
    "pickled model": (_pickled, "A"),
    "missing spec": (lambda folder: (folder / "cart.rwd").unlink(), "G20"),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    spec = write_spec(tmp_path, PROVED, VIOLATED, USES_ROWS)
    write_reward(tmp_path, spec)
    return tmp_path


@pytest.mark.parametrize("case", CASES)
def test_bad_input(project: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    spoil, code = CASES[case]
    spoil(project)
    before = _listing(project)
    given = [str(project / "cart.rwd"), "--reward", str(project / "reward")]
    for command in (
        ["verify", *given, "--json", str(project / "out.json"), "--html", str(project / "out.html")],
        ["verify", *given, "--certificate", str(project / "cert")],
        ["patch", *given, "-o", str(project / "patched")],
        ["certify", *given, "-o", str(project / "cert")],
    ):
        assert run(command) == 2
        out, err = capsys.readouterr()
        assert f"error[{code}" in err
        assert "Traceback" not in err
        assert "verdict" not in out
        assert _listing(project) == before


def test_each_kind_of_artifact_trouble_has_its_own_code(
    project: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    codes = set()
    kinds = ("truncated artifact", "tampered artifact", "non-finite weight", "pickled model")
    for kind in kinds:
        folder = tmp_path_factory.mktemp("copy") / "p"
        shutil.copytree(project, folder)
        CASES[kind][0](folder)
        assert run(["inspect", str(folder / "reward")]) == 2
        codes.add(capsys.readouterr().err.split("]")[0])
    assert len(codes) == len(kinds)


@pytest.mark.parametrize("content, code", [(b"\x80\x04.", "A31"), (b"PK\x03\x04", "A31"), (b"not onnx", "A30")])
def test_networks_that_are_none(project: Path, capsys: pytest.CaptureFixture[str], content: bytes, code: str) -> None:
    (project / "net.onnx").write_bytes(content)
    given = ["import", str(project / "net.onnx"), "--features", str(project / "cart.rwd")]
    assert run([*given, "-o", str(project / "new")]) == 2
    assert f"error[{code}]" in capsys.readouterr().err
    assert not (project / "new").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["verfy"],
        ["verify", "--no-such-option"],
        ["verify", "--budget", "many"],
        ["learn", "missing.toml", "-o", "x"],
        ["check-certificate", "nowhere", "--reward", "nothing"],
        ["patch"],
        ["inspect", "nowhere"],
        ["log", "nowhere"],
        ["explain", "nonsense"],
    ],
)
def test_usage_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    assert list(tmp_path.iterdir()) == []


def test_outputs_never_overwrite(project: Path) -> None:
    given = [str(project / "cart.rwd"), "--reward", str(project / "reward")]
    before = _listing(project)
    for command in (
        ["patch", *given, "-o", str(project / "data")],
        ["certify", *given, "-o", str(project / "reward")],
        ["demo", "-o", str(project)],
        ["init", str(project), "--from", str(project / "data" / "rows.parquet")],
    ):
        if command[0] == "init":
            (project / "rewarden.toml").write_text("# mine\n")
            before = _listing(project)
        assert run(command) == 2
        assert _listing(project) == before


def test_an_internal_error_is_short_and_asks_for_a_report(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr("rewarden.reward.store.load_artifact", fails)
    assert run(["inspect", str(project / "reward")]) == 5
    err = capsys.readouterr().err
    assert "please report" in err
    assert "Traceback" not in err
    assert run(["inspect", str(project / "reward"), "--debug"]) == 5
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_has_its_own_status(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rewarden.reward.store.load_artifact", interrupted)
    assert run(["inspect", str(project / "reward")]) == 130


def _listing(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_file_whose_name_is_not_text_is_told_escaped(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.rwd")
    path.write_text(
        "spec s v1\nfeatures S { x: real in 0 .. 1 }\nreward R(s: S)\nmust m:\n  forall s: S\n  expect R(s) <= 1\n"
    )
    command = [sys.executable, "-m", "rewarden", "check", os.fspath(path)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert rb"\udcff.rwd" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["inspect", "reward"]])
def test_a_disk_that_is_full_when_something_is_printed_is_no_bug(
    arguments: list[str], buffered: bool, tmp_path: Path
) -> None:
    """And is said once, whether the first flush finds out or the last."""
    write_reward(tmp_path, write_spec(tmp_path, PROVED))
    command = [sys.executable, "-m", "rewarden", *arguments]
    own = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    own |= {} if buffered else {"PYTHONUNBUFFERED": "1"}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=own
        )
    assert done.returncode == 2
    assert done.stderr.strip() == "error[G06]: what this command prints cannot be written: No space left on device"
