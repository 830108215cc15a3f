"""The demo, whole, once: the story's facts are read off the files that it leaves."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

ROOT = Path(__file__).resolve().parents[2]
REWARDS = (("R", "patched"), ("D", "reward-demos"), ("Base", "reward"))


def _rewarden(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rewarden", *arguments], capture_output=True, text=True, check=False, cwd=cwd
    )


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The demo's folder and what it printed."""
    out = tmp_path_factory.mktemp("demo") / "out"
    done = _rewarden("demo", "--out", str(out))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stderr == ""
    return out, done.stdout


def _rules(folder: Path, name: str) -> dict[str, dict[str, Any]]:
    result = json.loads((folder / name).read_text())
    jsonschema.validate(result, json.loads((ROOT / "docs" / "schemas" / "result.schema.json").read_text()))
    return {rule["name"]: rule for rule in result["rules"]}


def _certificate(folder: Path, certificate: Path) -> list[str]:
    rewards = [a for name, place in REWARDS for a in ("--reward", f"{name}={folder / place}")]
    return ["check-certificate", str(certificate), "--spec", str(folder / "driving.rwd"), *rewards]


def test_it_leaves_what_the_design_says(demo: tuple[Path, str]) -> None:
    out, said = demo
    for name in ("driving.rwd", "before.json", "after.json", "report.html"):
        assert (out / name).is_file()
    for name in ("reward", "reward-demos", "patched"):
        assert {p.name for p in (out / name).iterdir()} == {"manifest.json", "tensors.safetensors"}
    assert (out / "certificate" / "claims.json").is_file()
    assert not [p for p in out.iterdir() if ".part-" in p.name]
    assert str(out.resolve() / "report.html") in said


def test_the_story(demo: tuple[Path, str]) -> None:
    out, _ = demo
    before, after = _rules(out, "before.json"), _rules(out, "after.json")
    assert len(before) >= 6
    assert {rule["verdict"] for rule in before.values()} >= {"proved", "violated"}
    mended = [n for n, r in before.items() if r["verdict"] == "violated" and after[n]["verdict"] == "proved"]
    assert mended
    witness = before[mended[0]]["witness"]["s"]
    assert set(witness) >= {"speed", "gap", "closing", "lane"}
    assert all(rule["verdict"] == "proved" for rule in after.values() if rule["severity"] == "must")
    assert after["edit_is_local"]["verdict"] == "proved"
    kept = [name for name, rule in before.items() if rule["verdict"] == "proved"]
    assert all(after[name]["verdict"] == "proved" for name in kept)


def test_the_verdicts_can_be_had_again_from_the_files(demo: tuple[Path, str], tmp_path: Path) -> None:
    out, _ = demo
    rule = next(name for name, rule in _rules(out, "before.json").items() if rule["verdict"] == "violated")
    again = tmp_path / "again.json"
    done = _rewarden(
        "verify", str(out / "driving.rwd"), "--reward", str(out / "reward"), "--rule", rule, "--json", str(again)
    )
    assert done.returncode == 1
    assert json.loads(again.read_text())["rules"][0] == _rules(out, "before.json")[rule]


def test_its_certificate_was_checked(demo: tuple[Path, str]) -> None:
    """The demo does both: in a process that has neither torch nor z3, and with a copy that is not the same."""
    _, said = demo
    assert re.search(r"^ *accepted: \d+ of \d+ claims proved$", said, re.MULTILINE)
    assert "imported in this process: neither torch nor z3" in said
    assert re.search(r"one byte of proofs/\S+ flipped in a copy: rejected", said)


def test_another_reward_is_rejected(demo: tuple[Path, str]) -> None:
    out, _ = demo
    swapped = [
        a.replace("R=" + str(out / "patched"), "R=" + str(out / "reward"))
        for a in _certificate(out, out / "certificate")
    ]
    assert _rewarden(*swapped, "--tier", "float64").returncode == 4  # quicker, and refused for what it is about


@pytest.mark.slow
def test_the_certificate_is_accepted_without_torch_and_z3(demo: tuple[Path, str]) -> None:
    out, _ = demo
    code = (
        "import sys\nfrom rewarden.cli import run\nstatus = run(sys.argv[1:])\n"
        "assert not {'torch', 'z3'} & set(sys.modules)\nsys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *_certificate(out, out / "certificate")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "accepted" in done.stdout
    assert "byte for byte" in done.stdout


@pytest.mark.slow
def test_the_kernel_alone_accepts_it(demo: tuple[Path, str]) -> None:
    out, _ = demo
    rewards = [a for name, place in REWARDS for a in ("--reward", f"{name}={out / place}")]
    done = subprocess.run(
        [sys.executable, "-m", "rewarden.certificate.check", str(out / "certificate"), *rewards],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "text: not checked" in done.stdout
    assert "signature: not checked" in done.stdout


@pytest.mark.slow
def test_a_flipped_byte_is_rejected(demo: tuple[Path, str], tmp_path: Path) -> None:
    import shutil

    out, _ = demo
    copy = tmp_path / "certificate"
    shutil.copytree(out / "certificate", copy)
    proof = sorted((copy / "proofs").iterdir())[0]
    data = bytearray(proof.read_bytes())
    data[len(data) // 3] ^= 4
    proof.write_bytes(bytes(data))
    assert _rewarden(*_certificate(out, copy)).returncode == 4


def test_the_report_is_one_self_contained_file(demo: tuple[Path, str]) -> None:
    out, _ = demo
    page = (out / "report.html").read_text()
    assert not re.search(r"https?:|//[a-z]+\.|@import|<script|<link|src=\"(?!data:)", page)
    assert not re.search(r'(?<!xlink:)href="(?!#|data:)', page)
    assert not re.search(r"url\((?!#)", page)
    for rule in _rules(out, "after.json").values():
        assert f'id="rule-{rule["name"]}"' in page
    assert page.count("<svg") >= 4
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


def test_it_replaces_a_former_demo_and_nothing_else(demo: tuple[Path, str], tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    done = _rewarden("demo", "--out", str(tmp_path))
    assert done.returncode == 2
    assert "error[G05]" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_the_folder_is_a_project(demo: tuple[Path, str]) -> None:
    out, _ = demo
    assert _rewarden("check", cwd=out).returncode == 0
    log = _rewarden("log", "patched", cwd=out)
    assert log.returncode == 0
    assert "learned by preferences" in log.stdout
