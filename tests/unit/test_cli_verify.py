"""The command line on a tiny project: verdicts, exit statuses, files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from rewarden.cli import run
from tests.reference.cart import (
    HEAD,
    LOCAL,
    PROVED,
    SHOULD,
    VACUOUS,
    VIOLATED,
    write_reward,
    write_spec,
)

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "schemas" / "result.schema.json"


def _project(folder: Path, *rules: str) -> tuple[str, str]:
    spec = write_spec(folder, *rules)
    return str(spec), str(write_reward(folder, spec))


@pytest.mark.parametrize(
    "rules, status",
    [
        ([PROVED], 0),
        ([PROVED, VIOLATED], 1),
        ([PROVED, VACUOUS], 1),
        ([PROVED, SHOULD], 0),
        ([PROVED, LOCAL], 3),
        ([VIOLATED, LOCAL], 1),
    ],
)
def test_exit_statuses(tmp_path: Path, rules: list[str], status: int) -> None:
    spec, reward = _project(tmp_path, *rules)
    assert run(["verify", spec, "--reward", reward]) == status


def test_text_names_features_units_and_the_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, reward = _project(tmp_path, PROVED, VIOLATED, SHOULD)
    run(["verify", spec, "--reward", f"R={reward}"])
    out, err = capsys.readouterr()
    assert err == ""
    assert "\033" not in out
    assert re.search(r"violated\s+must\s+slow\s+Fast is never worth more than three\.", out)
    assert re.search(r"speed\s+[23](\.\d+)? m/s", out)
    assert re.search(r"busy\s+true", out)
    assert "cart.rwd:20" in out
    assert "1 proved, 2 violated of 3 rules; 1 of 2 must rules proved" in out


def test_json_follows_the_published_schema(tmp_path: Path) -> None:
    spec, reward = _project(tmp_path, PROVED, VIOLATED, SHOULD, VACUOUS, LOCAL)
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file in files:
        run(["verify", spec, "--reward", reward, "--json", str(file), "--quiet", "--no-cache"])
    assert files[0].read_bytes() == files[1].read_bytes()
    result = json.loads(files[0].read_text())
    jsonschema.validate(result, json.loads(SCHEMA.read_text()))
    verdicts = {rule["name"]: rule["verdict"] for rule in result["rules"]}
    assert verdicts == {
        "bounded": "proved", "slow": "violated", "nearer": "violated", "nothing": "vacuous", "local": "unknown"
    }  # fmt: skip
    witness = next(rule["witness"] for rule in result["rules"] if rule["name"] == "slow")
    assert witness["s"]["busy"] is True
    assert 2 <= witness["s"]["speed"] <= 3
    local = next(rule for rule in result["rules"] if rule["name"] == "local")
    assert local["reason"] == "reward Base is not bound"


def test_params_and_rules_are_chosen_on_the_command_line(tmp_path: Path) -> None:
    spec, reward = _project(tmp_path, PROVED, VIOLATED)
    verify = ["verify", spec, "--reward", reward]
    assert run([*verify, "--rule", "bounded"]) == 0
    assert run([*verify, "--rule", "slow"]) == 1
    assert run([*verify, "--rule", "slow", "--param", "top=3.5 [m/s]"]) == 1  # vacuous
    assert run([*verify, "--rule", "slwo"]) == 2
    assert run([*verify, "--param", "top"]) == 2
    assert run([*verify, "--param", "topp=1"]) == 2
    assert run([*verify, "--engine", "magic"]) == 2


def test_unnamed_artifacts_bind_in_the_order_of_declaration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, reward = _project(tmp_path, LOCAL)
    other = str(write_reward(tmp_path, Path(spec), "other", bias=1.0))
    assert run(["verify", spec, "-r", reward, "-r", reward]) == 0
    assert run(["verify", spec, "-r", f"Base={other}", "-r", reward]) == 1
    capsys.readouterr()
    assert run(["verify", spec, "-r", reward, "-r", reward, "-r", reward]) == 2
    assert run(["verify", spec, "-r", f"R={reward}", "-r", f"R={reward}"]) == 2
    assert run(["verify", spec, "-r", f"Bsae={reward}"]) == 2
    assert "did you mean Base?" in capsys.readouterr().err


def test_without_arguments_the_configuration_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _project(tmp_path, VIOLATED)
    text = 'specs = ["cart.rwd"]\n[rewards]\nR = "reward"\n[params]\ntop = "1 [m/s]"\n[verify]\nbudget = 1000\n'
    (tmp_path / "rewarden.toml").write_text(text)
    below = tmp_path / "deep" / "er"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert run(["check"]) == 0
    assert run(["verify", "--json", "out.json"]) == 1
    assert json.loads((below / "out.json").read_text())["rules"][0]["witness"]["s"]["speed"] >= 1


def test_falsify_finds_and_never_proves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, reward = _project(tmp_path, PROVED, VIOLATED)
    assert run(["falsify", spec, "--reward", reward]) == 1
    assert run(["falsify", spec, "--reward", reward, "--rule", "bounded"]) == 0
    assert "proves nothing" in capsys.readouterr().out


def test_quiet_shows_only_what_needs_attention(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, reward = _project(tmp_path, PROVED, VIOLATED)
    assert run(["verify", spec, "--reward", reward, "--rule", "bounded", "-q"]) == 0
    assert capsys.readouterr().out == ""
    assert run(["verify", spec, "--reward", reward, "-q"]) == 1
    out = capsys.readouterr().out
    assert "bounded" not in out
    assert "slow" in out


def test_a_report_and_a_certificate_of_one_verification(tmp_path: Path) -> None:
    spec, reward = _project(tmp_path, PROVED, VIOLATED, SHOULD)
    html, folder = tmp_path / "r.html", tmp_path / "cert"
    assert run(["verify", spec, "-r", reward, "--html", str(html), "--certificate", str(folder)]) == 1
    text = html.read_text()
    assert "Fast is never worth more than three." in text
    assert "http:" not in text
    assert "https:" not in text
    assert (
        run(["check-certificate", str(folder), "--reward", reward, "--spec", spec, "--allow-unchecked"]) == 4
    )  # torch is loaded here


def test_the_spec_check_reports_every_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = write_spec(tmp_path, PROVED.replace("R(s)", "R(s) + s.sped"), VIOLATED.replace("top", "3 [kg]"))
    assert run(["check", str(spec)]) == 2
    err = capsys.readouterr().err
    assert "did you mean speed" in err
    assert "error[U" in err
    assert run(["check", str(write_spec(tmp_path, PROVED, name="fine.rwd")), str(spec)]) == 2
    assert run(["explain", "u02"]) == 0
    assert run(["explain", "Z99"]) == 2


def test_inspect_and_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, reward = _project(tmp_path, VIOLATED)
    out = tmp_path / "patched"
    assert run(["patch", spec, "--reward", reward, "-o", str(out)]) == 0
    assert run(["verify", spec, "--reward", str(out)]) == 0
    capsys.readouterr()
    assert run(["inspect", str(out), "--json", str(tmp_path / "m.json")]) == 0
    told = capsys.readouterr().out
    assert "ceiling" in told
    assert "0 .. 10" in told
    inspected = json.loads((tmp_path / "m.json").read_text())
    assert inspected["manifest"] == json.loads((out / "manifest.json").read_text())
    assert run(["log", str(out)]) == 0
    told = capsys.readouterr().out
    assert "patch for slow" in told
    assert "imported" in told
    assert [line.partition("  ")[2] for line in told.splitlines() if line.startswith("sha256:")] == ["edit 0", ""]


def test_a_patch_that_breaks_a_proved_rule_is_announced_and_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    floor = "\nmust rich:\n  forall s: Step\n  given s.speed >= 2.5 [m/s] and s.busy\n  expect R(s) >= 4\n"
    spec, reward = _project(tmp_path, VIOLATED, floor)
    out = tmp_path / "patched"
    assert run(["patch", spec, "--reward", reward, "--rule", "slow", "-o", str(out)]) == 1
    assert "rich" in capsys.readouterr().out
    assert not out.exists()
    assert run(["patch", spec, "--reward", reward, "--rule", "slow", "-o", str(out), "--accept-broken"]) == 1
    assert (out / "manifest.json").is_file()


def test_nothing_to_patch(tmp_path: Path) -> None:
    spec, reward = _project(tmp_path, PROVED)
    assert run(["patch", spec, "--reward", reward, "-o", str(tmp_path / "p")]) == 0
    assert not (tmp_path / "p").exists()


def test_no_rule_is_a_usage_error(tmp_path: Path) -> None:
    spec, reward = _project(tmp_path)
    assert run(["verify", spec, "--reward", reward]) == 2
    assert HEAD.startswith("spec cart")
