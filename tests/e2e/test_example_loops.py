"""The loops example: its small worlds, from labels to verdicts. `make example-loops` runs them all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rewarden.certificate.check import check
from rewarden.spec_lang import load_spec
from rewarden.spec_lang.format.formatter import format_text

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "loops"


def run(out: Path, *worlds: str) -> dict[str, dict[str, dict[str, object]]]:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "run.py"), "--out", str(out), *worlds],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "a round" in done.stdout
    return json.loads((out / "summary.json").read_text())  # type: ignore[no-any-return]


def test_the_cleaner(tmp_path: Path) -> None:
    found = run(tmp_path, "cleaner")["cleaner"]
    loop, paid = found["naive"]["loop"], found["naive"]["paid"]
    assert isinstance(loop, list)
    assert isinstance(paid, list)
    assert len(loop) == 4
    assert {record["dirt"] + record["bag"] for record in loop} == {loop[0]["dirt"] + loop[0]["bag"]}
    assert sum(paid) > 2.5
    assert [found[which]["verdict"] for which in ("mended", "locked")] == ["proved", "proved"]
    report = check(tmp_path / "cleaner-certificate", {"R": tmp_path / "cleaner-mended"})
    assert report.accepted
    assert "round every loop" in report.claims[0].sentence


@pytest.mark.slow
def test_the_boat_and_the_bicycle(tmp_path: Path) -> None:
    found = run(tmp_path, "boat", "bicycle")
    for world in ("boat", "bicycle"):
        assert (found[world]["naive"]["verdict"], found[world]["mended"]["verdict"]) == ("violated", "proved")


@pytest.mark.parametrize("name", ["boat", "bicycle", "cleaner"])
def test_the_rules_are_sound_and_formatted(name: str) -> None:
    path = FOLDER / f"{name}.rwd"
    assert load_spec(path).rules
    assert format_text(path.read_text(), path.name) == path.read_text()
