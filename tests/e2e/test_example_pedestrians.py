"""The pedestrians example: tracks to moments, the spec, and what happens without the data. The whole of it is slow."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rewarden.spec_lang import load_spec
from rewarden.spec_lang.format.formatter import format_text

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "pedestrians"


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, check=False)


def test_without_the_data_it_says_where_to_get_them_and_stops(tmp_path: Path) -> None:
    done = run(FOLDER / "run.py", str(tmp_path))
    assert done.returncode == 0
    assert str(tmp_path) in done.stdout
    assert "obsmat.txt" in done.stdout
    assert "https://" in done.stdout
    assert done.stderr == ""


def test_moments_by_hand(tmp_path: Path) -> None:
    """Two people 3 m apart walk towards each other at 1 and 0.5 m/s; a third stands far away."""
    tracks = [
        (f, *who)
        for f, t in ((0, 0.0), (6, 0.4), (12, 0.8))
        for who in ((1, t, 0, 0, 1 + t, 0, 0), (2, 3 - 0.5 * t, 0, 0, -0.5, 0, 0), (3, 90, 0, 0, 0, 0, 0))
    ]
    np.savetxt(tmp_path / "obsmat.txt", np.array(tracks))
    script = (
        f"import sys, json; sys.path.insert(0, {str(FOLDER)!r})\n"
        "from walks import moments\nfrom pathlib import Path\n"
        f"print(json.dumps({{k: v.tolist() for k, v in moments(Path({str(tmp_path / 'obsmat.txt')!r})).items()}}))"
    )
    (tmp_path / "ask.py").write_text(script, encoding="utf-8")
    done = run(tmp_path / "ask.py")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["episode"] == [1, 2, 1, 2]  # the last frame has no next one; nobody is near the third
    assert found["speed"] == pytest.approx([1, 0.5, 1.4, 0.5])
    assert found["gap"] == pytest.approx([3, 3, 2.4, 2.4])
    assert found["closing"] == pytest.approx([1.5, 1.5, 1.9, 1.9])
    assert found["accel"] == pytest.approx([1, 0, 1, 0])
    assert found["ahead"] == [1, 1, 1, 1]


def test_the_spec_is_formatted() -> None:
    path = FOLDER / "pedestrians.rwd"
    assert format_text(path.read_text(encoding="utf-8"), path.name) == path.read_text(encoding="utf-8")
    assert [rule.severity for rule in load_spec(path).rules] == ["must"] * 4 + ["should"]


@pytest.mark.slow
def test_the_whole_on_made_up_tracks(tmp_path: Path) -> None:
    """People on two lanes, each at a pace of their own."""
    rng = np.random.default_rng(0)
    for place in ("eth", "hotel"):
        rows = []
        for person in range(60):
            lane, pace, start = person % 2, rng.normal(1.3, 0.2), rng.integers(0, 60)
            for k in range(30):
                x = pace * 0.4 * k if lane else 15 - pace * 0.4 * k
                v = pace if lane else -pace
                rows.append((6 * (start + k), person, x, 0, lane + rng.normal(0, 0.1), v + rng.normal(0, 0.05), 0, 0.0))
        (tmp_path / f"seq_{place}").mkdir()
        np.savetxt(tmp_path / f"seq_{place}" / "obsmat.txt", np.array(sorted(rows)))
    shutil.copytree(FOLDER, tmp_path / "example", ignore=shutil.ignore_patterns("out", "__pycache__"))
    done = run(tmp_path / "example" / "run.py", str(tmp_path))
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "example" / "out" / "summary.json").read_text(encoding="utf-8"))
    assert set(summary["verdicts_after"]) == set(summary["verdicts_before"])
    assert summary["certificate"] in ("accepted", "rejected")
    assert (tmp_path / "example" / "out" / "inspection.html").is_file()
