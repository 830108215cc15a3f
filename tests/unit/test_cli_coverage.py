"""Coverage, what is open, and Ctrl-C, on the command line and in the report."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import rewarden as rw
import rewarden.progress
from rewarden.cli import run
from rewarden.verifier.progress import Progress
from tests.reference.cart import PROVED, SHOULD, VIOLATED, write_reward, write_spec

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "schemas" / "result.schema.json"
LEVEL = """
must level:
  forall s: Step
  given s.speed == top
  expect R(s) <= 100
"""


def _call(folder: Path, *rules: str) -> list[str]:
    spec = write_spec(folder, *rules)
    return ["verify", str(spec), "--reward", str(write_reward(folder, spec)), "--json", str(folder / "r.json")]


def _rules(folder: Path) -> dict[str, dict[str, Any]]:
    told = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    jsonschema.validate(told, json.loads(SCHEMA.read_text(encoding="utf-8")))
    return {rule["name"]: rule for rule in told["rules"]}


def test_coverage_in_words_json_and_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "r.html"
    call = [*_call(tmp_path, PROVED, VIOLATED, SHOULD), "--coverage", "--coverage-budget", "200", "--html", str(page)]
    assert run(call) == 1
    out = capsys.readouterr().out
    assert "of the declared region: proved 100 %, violated 0 %, outside the premise 0 %, unsettled 0 %" in out
    assert "the rule fails in" in out
    rules = _rules(tmp_path)
    for rule in rules.values():
        details = rule["coverage_details"]
        assert sum(Fraction(s["exact"]) for s in details["shares"].values()) == 1
        for slices in details["slices"].values():
            for one in slices:
                assert sum(Fraction(s["exact"]) for s in one["shares"].values()) == 1
    slow = rules["slow"]["coverage_details"]
    # busy and 2 .. 3 of 0 .. 3 m/s
    assert Fraction(slow["premise"]["at_least"]) == Fraction(1, 6) == Fraction(slow["premise"]["at_most"])
    assert slow["violated"]["boxes"][0]["sides"]["busy"] == ["true"]
    text = page.read_text(encoding="utf-8")
    assert text.count("How much of the region") == 3
    assert "Where it fails" in text
    assert re.search(r'<span class="violated" style="width:\d', text)


def test_without_being_asked_nothing_is_said(tmp_path: Path) -> None:
    run(_call(tmp_path, PROVED, VIOLATED))
    assert all(rule["coverage_details"] is None for rule in _rules(tmp_path).values())


def test_a_premise_without_volume_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*_call(tmp_path, LEVEL), "--coverage"]) == 0
    assert "the premise leaves no volume of the region" in capsys.readouterr().out


CORNER = """
must corner:
  forall s: Step
  given s.speed <= 0.001 [m/s] and s.busy
  expect R(s) <= -100
"""


def test_a_slice_that_the_premise_hardly_enters_is_not_told_to_be_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run([*_call(tmp_path, CORNER), "--coverage"])
    rows = [re.split(r"  +", line.strip()) for line in capsys.readouterr().out.splitlines() if " %  " in line]
    fails = [row for row in rows if row[-3] != "0 %"]
    assert fails
    assert all(row[-2] != "100 %" for row in fails)  # outside of the premise, but not all of it


def test_coverage_from_python_and_with_kept_verdicts(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, PROVED, VIOLATED)
    reward = rw.load_reward(write_reward(tmp_path, spec))
    runs = [rw.verify(rw.load_spec(spec), R=reward, coverage=True, cache=tmp_path / "kept") for _ in range(2)]
    assert [rule.cached for rule in runs[1]] == [True, True]
    first, second = (result["slow"].coverage_details for result in runs)
    assert first.to_json() == second.to_json()
    assert rw.verify(rw.load_spec(spec), R=reward)["slow"].coverage_details is None


def test_a_budget_of_coverage_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    assert run([*_call(tmp_path, PROVED), "--coverage-budget", "-1"]) == 2


def test_a_witness_is_told_with_the_nearest_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(_call(tmp_path, VIOLATED))
    assert re.search(r"nearest data row: row \d+ of rows, ", capsys.readouterr().out)
    nearest = _rules(tmp_path)["slow"]["witness_details"]["nearest"]["s"]
    assert nearest["data"] == "rows"
    assert nearest["row"] >= 1


# ── stopping ───────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Presses Ctrl-C once a phase of the second rule has begun."""

    def at(phase: str) -> None:
        def told(report: object) -> Callable[[Progress], None]:
            def progress(now: Progress) -> None:
                if (now.rule, now.phase) == ("nearer", phase):
                    os.kill(os.getpid(), signal.SIGINT)

            return progress

        monkeypatch.setattr(rewarden.progress, "per_rule", told)

    return at


@pytest.mark.parametrize("phase", ["premise", "search"])
def test_ctrl_c_keeps_what_is_settled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], interrupted: Callable[[str], None], phase: str
) -> None:
    interrupted(phase)
    before = signal.getsignal(signal.SIGINT)
    # once before the search begins and once after: two of them would leave at once
    assert run([*_call(tmp_path, PROVED, SHOULD, VIOLATED), "--no-cache"]) == 130
    assert signal.getsignal(signal.SIGINT) is before
    out, err = capsys.readouterr()
    assert "stopping" in err
    assert "1 proved" in out
    rules = _rules(tmp_path)
    assert rules["bounded"]["verdict"] == "proved"
    assert rules["slow"]["verdict"] == "unknown"
    assert rules["slow"]["reason"] == "Stopped before everything was settled. It was asked to stop."


def test_a_stopped_run_issues_no_certificate(tmp_path: Path, interrupted: Callable[[str], None]) -> None:
    interrupted("premise")
    folder = tmp_path / "certificate"
    assert run([*_call(tmp_path, PROVED, SHOULD), "--no-cache", "--certificate", str(folder)]) == 130
    assert not folder.exists()


def test_a_time_limit_ends_with_status_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*_call(tmp_path, PROVED, VIOLATED), "--timeout", "1e-9"]) == 3
    assert "2 unknown of 2 rules" in capsys.readouterr().out
