"""The driving example: its spec on the packaged tables; the whole of it is slow."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from rewarden.reward.learn_config import load_learn_config
from rewarden.spec_lang import load_spec
from rewarden.spec_lang.format.formatter import format_text

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "driving"


def copied(tmp_path: Path) -> Path:
    """The example in a folder of its own, so that nobody's results are overwritten."""
    return Path(shutil.copytree(FOLDER, tmp_path / "driving", ignore=shutil.ignore_patterns("out")))


def test_the_spec_and_the_config_fit_the_packaged_data(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    path = folder / "driving.rwd"
    assert format_text(path.read_text(encoding="utf-8"), path.name) == path.read_text(encoding="utf-8")
    (folder / "out" / "data").mkdir(parents=True)
    for name in ("demos.parquet", "preferences.parquet"):
        (folder / "out" / "data" / name).write_bytes(files("rewarden.demo_data").joinpath(name).read_bytes())
    spec = load_spec(path)
    assert spec.table("demos").rows == 9600
    assert load_learn_config(folder / "learn.toml").data.is_file()
    demo = load_spec(Path(str(files("rewarden.demo_data").joinpath("driving.rwd"))))
    assert demo.features["Step"].features == spec.features["Step"].features, "one record type, as in the demo"


@pytest.mark.slow
def test_all_of_it(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    done = subprocess.run(
        [sys.executable, str(folder / "run.py")], capture_output=True, text=True, check=False, timeout=1800
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads((folder / "out" / "summary.json").read_text(encoding="utf-8"))
    assert summary["must_proved_after"] == "4 of 4"
    assert summary["certificate"] == "accepted"
    assert all(verdict == "beats" for _, verdict in summary["held_out"]["trivial_rules"].values())
