"""rewarden.toml: strict keys, exact numbers, paths relative to the file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from rewarden.config import Config, find_config, load_config
from rewarden.spec_lang.errors import UsageError

FULL = """
specs = ["driving.rwd"]
[rewards]
R = "reward/"
[params]
eps = 0.02
v_safe = "0.5 [m/s]"
flag = true
[verify]
engine = "bounds"
budget = 1000
timeout = 2.5
[patch]
ring = 5
"""


def _write(folder: Path, text: str, name: str = "rewarden.toml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_everything_is_read(tmp_path: Path) -> None:
    config = load_config(_write(tmp_path, FULL))
    assert config.specs == (tmp_path / "driving.rwd",)
    assert config.rewards == {"R": tmp_path / "reward"}
    assert config.params == {"eps": Fraction(1, 50), "v_safe": "0.5 [m/s]", "flag": True}
    assert config.verify == {"engine": "bounds", "budget": 1000, "timeout": Fraction(5, 2)}
    assert config.patch == {"ring": 5}


def test_it_is_found_upwards_and_in_pyproject(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_config(below).path != tmp_path / "pyproject.toml"
    _write(tmp_path, '[tool.rewarden]\nspecs = ["x.rwd"]\n[tool.other]\nx = 1\n', "pyproject.toml")
    assert find_config(below).specs == (tmp_path / "x.rwd",)
    _write(tmp_path / "a", 'specs = ["y.rwd"]\n')
    assert find_config(below).specs == (tmp_path / "a" / "y.rwd",)


def test_a_pyproject_without_our_table_is_passed_over(tmp_path: Path) -> None:
    _write(tmp_path, '[project]\nname = "x"\n', "pyproject.toml")
    assert find_config(tmp_path) == Config() or find_config(tmp_path).path not in (tmp_path / "pyproject.toml",)


@pytest.mark.parametrize(
    "text, code, hint",
    [
        ("spec = []", "G02", "specs"),
        ("[verify]\nbudgets = 3", "G02", "budget"),
        ("[patch]\nrings = 3", "G02", "ring"),
        ('specs = "x.rwd"', "G03", ""),
        ('rewards = "R"', "G03", ""),
        ("[rewards]\nR = 3", "G03", ""),
        ("[verify]\nbudget = 1.5", "G03", ""),
        ("[verify]\nbudget = true", "G03", ""),
        ("[params]\nx = [1]", "G03", ""),
        ("specs = [", "G01", ""),
        ("specs = " + "[" * 100_000, "G01", ""),
        ("[params]\nx = nan", "G01", ""),
    ],
)
def test_mistakes_are_errors_with_help(tmp_path: Path, text: str, code: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_config(_write(tmp_path, text))
    assert caught.value.code == code
    assert hint in caught.value.render()
    assert "rewarden.toml" in caught.value.message
