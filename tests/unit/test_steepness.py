"""Rims are no steeper than is said, along each column."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from rewarden.cli import run as cli
from rewarden.editor.steepness import Steepness, steepness
from rewarden.reward.deployed import forward
from rewarden.reward.store import load_artifact, save_artifact
from tests.unit.test_methods import CAPPED, network, rows


def test_a_rim_is_no_steeper_than_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_artifact(network(), tmp_path / "r")
    (tmp_path / "s.rwd").write_text(CAPPED)
    told = str(tmp_path / "e.json")
    places = [str(tmp_path / "s.rwd"), "--reward", str(tmp_path / "r"), "-o", str(tmp_path / "o")]
    assert cli(["patch", *places, "--json", told]) == 0
    assert "the rim of capped's ceiling rises by at most" in capsys.readouterr().out
    (patch,) = json.loads(Path(told).read_text())["edit"]["patches"]
    child = load_artifact(tmp_path / "o")
    (rim,) = steepness(child)
    assert patch == rim.to_json()
    assert list(rim.lipschitz) == ["gap"]
    gap = np.linspace(4.0, 4.5, 100, dtype=np.float32)
    lines = rows(60)
    lines = np.repeat(lines, len(gap), axis=0)
    lines[:, 1] = np.tile(gap, 60)
    old, new = (forward(one, lines).astype(float).reshape(60, -1) for one in (network(), child))
    steps, own = (np.abs(np.diff(values)) / np.diff(gap.astype(float)) for values in (new, old))
    assert (new != old).any()
    assert (steps <= np.maximum(own.max(), float(rim.lipschitz["gap"])) + 1e-3).all()
    assert steps.max() > 0.5 * float(rim.lipschitz["gap"])


def test_many_columns_are_told_in_one_line() -> None:
    lipschitz = {f"e[{k}]": Fraction(2) for k in range(300)} | {f"x{k}": Fraction(k, 10) for k in range(9)}
    units = dict.fromkeys(lipschitz) | {"x8": "m"}
    words = Steepness("capped", "ceiling", Fraction(0), Fraction(1), lipschitz, units).words
    assert "2 a unit of e[0] … e[299] (300 columns), 0.8 a m of x8, " in words
    assert words.endswith("less in 2 more")
