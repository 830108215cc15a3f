"""`rewarden init` and `rewarden suggest` from the outside: on the driving data, on tables alone, on bad input."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from rewarden.cli import run
from rewarden.reward.store import save_artifact
from rewarden.spec_lang import load_spec
from tests.reference.suggesting import linear, project


@pytest.fixture(scope="module")
def driving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged spec without its assumptions and rules, its data, and a reward for speed without closing in."""
    folder = tmp_path_factory.mktemp("driving")
    (folder / "data").mkdir()
    packaged = files("rewarden.demo_data")
    for name in ("demos.parquet", "incidents.parquet"):
        (folder / "data" / name).write_bytes(packaged.joinpath(name).read_bytes())
    text = packaged.joinpath("driving.rwd").read_text(encoding="utf-8")
    features = re.search(r"features Step \{.*?\n\}", text, re.DOTALL)
    assert features is not None
    data = 'data demos: Step from "data/demos.parquet"\ndata incidents: Step from "data/incidents.parquet"'
    (folder / "driving.rwd").write_text(f"spec driving v1\n{features[0]}\nreward R(s: Step)\n{data}\n")
    spec = load_spec(folder / "driving.rwd")
    save_artifact(linear(spec, {"speed": 0.05, "closing": -0.2, "accel": 0.3}), folder / "reward")
    return folder


@pytest.fixture(scope="module")
def suggested(driving: Path) -> Path:
    out = driving / "suggested.rwd"
    assert (
        run(["suggest", str(driving / "driving.rwd"), "--reward", f"R={driving / 'reward'}", "-o", str(out), "-q"]) == 0
    )
    return out


def test_what_is_known_of_driving_is_found_again(suggested: Path) -> None:
    text = suggested.read_text(encoding="utf-8")
    assert "# assume s: Step = not s.has_lead implies s.gap == 100 [m] and s.closing == 0" in text
    assert re.search(
        r"# assume s: Step = \|s\.(steering|heading_error)\| <= \S+ \[rad\] - \S+ \[\S+\] \* s\.speed", text
    )
    assert "holds on all 9796 rows of demos, incidents" in text
    rules = {rule.name for rule in load_spec(suggested).rules}
    assert {"rises_with_speed", "falls_with_closing", "rises_with_accel", "capped_near_incidents"} <= rules
    assert any(name.startswith("capped_where_") for name in rules)
    assert any(name.startswith("ignores_") for name in rules)


def test_the_file_checks_as_it_is(suggested: Path) -> None:
    assert run(["check", str(suggested)]) == 0
    assert run(["fmt", "--check", str(suggested)]) == 0


def test_what_is_said_to_be_proved_is(suggested: Path, driving: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = suggested.read_text(encoding="utf-8")
    blocks = [block for block in text.split("\n\n") if "# proved (budget" in block]
    names = [re.search(r"^should (\w+):", block, re.MULTILINE)[1] for block in blocks]  # type: ignore[index]
    assert {"rises_with_speed", "falls_with_closing", "rises_with_accel"} <= set(names)
    rules = [part for name in names for part in ("--rule", name)]
    assert run(["verify", str(suggested), "--reward", str(driving / "reward"), *rules]) == 0
    assert f"{len(names)} proved of {len(names)} rules" in capsys.readouterr().out


def test_nothing_is_overwritten(suggested: Path, driving: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = suggested.read_bytes()
    assert run(["suggest", str(driving / "driving.rwd"), "-o", str(suggested)]) == 2
    assert "G05" in capsys.readouterr().err
    assert suggested.read_bytes() == before


def test_the_summary_has_a_line_for_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = project(tmp_path)
    save_artifact(linear(spec, {"up": 1.0}), tmp_path / "reward")
    arguments = ["suggest", str(tmp_path / "known.rwd"), "--reward", str(tmp_path / "reward")]
    assert run([*arguments, "-o", str(tmp_path / "s.rwd")]) == 0
    out, err = capsys.readouterr()
    assert re.search(r"rises_with_up +100 % +100 % +proved", out)
    assert "make it `must`" in out
    assert err == ""
    assert run(arguments) == 0  # without -o the spec itself
    assert capsys.readouterr().out == (tmp_path / "s.rwd").read_text(encoding="utf-8")


def test_a_table_alone_is_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    y = np.linspace(1, 9, 300)
    x = y * np.abs(np.sin(np.arange(300)))
    lines = "\n".join(f"{a:.6f},{b:.6f}" for a, b in zip(x, y, strict=True))
    (tmp_path / "rows.csv").write_text(f"x_m,y_m\n{lines}\n")
    assert run(["suggest", "rows.csv", "-o", "s.rwd"]) == 0
    out, err = capsys.readouterr()
    assert "0 rules to consider, 1 assumptions as comments" in out
    assert "no reward is bound" in err
    assert "# assume s: Step = s.x_m <= s.y_m" in (tmp_path / "s.rwd").read_text()
    assert run(["check", "s.rwd"]) == 0


def test_the_way_of_a_new_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    packaged = files("rewarden.demo_data").joinpath("demos.parquet").read_bytes()
    (tmp_path / "demos.parquet").write_bytes(packaged)
    assert run(["init", "--from", "demos.parquet"]) == 0
    assert run(["check"]) == 0
    assert run(["suggest", "-o", "before.rwd", "--quiet"]) == 0  # no artifact yet: assumptions alone
    spec = load_spec(tmp_path / "demos.rwd")
    save_artifact(linear(spec, {"speed": 0.05}), tmp_path / "reward")
    assert run(["suggest", "-o", "after.rwd", "--quiet"]) == 0  # rewarden.toml names the artifact
    assert [rule.name for rule in load_spec(tmp_path / "before.rwd").rules] == []
    assert "rises_with_speed" in [rule.name for rule in load_spec(tmp_path / "after.rwd").rules]
    assert run(["check", "after.rwd"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "arguments, code",
    [
        (["nothing.rwd"], "G20"),
        (["rows.csv", "--reward", "reward"], "G89"),
        (["known.rwd", "--reward", "gone"], "A01"),
        (["known.rwd", "--reward", "Q=reward"], "G72"),
        (["known.rwd", "--data", "nothing"], "G22"),
        (["known.rwd", "-o", "elsewhere/s.rwd"], "G89"),
        ([], "G71"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    save_artifact(linear(project(tmp_path), {"up": 1.0}), tmp_path / "reward")
    (tmp_path / "rows.csv").write_text("x\n1\n2\n")
    assert run(["suggest", *arguments]) == 2
    assert f"error[{code}]" in capsys.readouterr().err
