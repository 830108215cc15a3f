"""Waivers: what is read, what they excuse, what is said of them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from rewarden.ci.outcome import RunOutcome, Waiver
from rewarden.ci.waivers import load_waivers, waive
from rewarden.spec_lang.errors import UsageError
from tests.reference.outcomes import rule

GOOD = '[[waiver]]\nfingerprint = "rwf1:{}"\nowner = "ada"\nreason = "known"\nexpires = 2027-03-31\n'
PRINT = "a1" * 16


def _write(folder: Path, text: str) -> Path:
    (folder / "waivers.toml").write_text(text)
    return folder / "waivers.toml"


def test_a_file_of_waivers(tmp_path: Path) -> None:
    found = load_waivers(_write(tmp_path, GOOD.format(PRINT) + GOOD.format("0" * 32)))
    assert found[0] == Waiver(f"rwf1:{PRINT}", "ada", "known", date(2027, 3, 31))
    assert len(found) == 2
    assert load_waivers(_write(tmp_path, "")) == ()


@pytest.mark.parametrize(
    "text, code",
    [
        ("[[waiver", "G92"),
        ("\x00", "G92"),
        ("x = 1", "G93"),
        ("waiver = 1", "G93"),
        ("[waiver]\nowner = 'a'", "G93"),
        (GOOD.format("a1"), "G93"),
        (GOOD.format(PRINT) * 2, "G93"),
        (GOOD.format(PRINT).replace("owner", "ownr"), "G93"),
        (GOOD.format(PRINT).replace('"ada"', '" "'), "G93"),
        (GOOD.format(PRINT).replace('"known"', "3"), "G93"),
        (GOOD.format(PRINT).replace("2027-03-31", '"2027-03-31"'), "G93"),
        (GOOD.format(PRINT).replace("2027-03-31", "2027-03-31T10:00:00"), "G93"),
        (GOOD.format(PRINT).replace("expires = 2027-03-31", ""), "G93"),
    ],
)
def test_what_is_no_waiver_is_refused(tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_waivers(_write(tmp_path, text))
    assert caught.value.code == code


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_waivers(tmp_path / "none.toml")


WAIVER = Waiver(f"rwf1:{PRINT}", "ada", "known", date(2027, 3, 31))


@pytest.mark.parametrize(
    "verdict, today, excused, said",
    [
        ("violated", date(2027, 3, 31), True, ""),
        ("vacuous", date(2027, 1, 1), True, ""),
        ("violated", date(2027, 4, 1), False, "expired on 2027-03-31"),
        ("proved", date(2027, 1, 1), False, "is not needed"),
        ("unknown", date(2027, 1, 1), False, "is not needed"),
    ],
)
def test_a_waiver_excuses_until_its_day(verdict: str, today: date, excused: bool, said: str) -> None:
    (run,), notices = waive([RunOutcome("a", rules=(rule(verdict),))], [WAIVER], today)
    assert (run.rules[0].waiver is not None) == excused
    assert run.rules[0].excused == excused
    assert len(notices) == (1 if said else 0)
    assert said in "".join(notices)


def test_a_waiver_that_matches_nothing_is_told_unless_only_some_rules_were_looked_at() -> None:
    other = Waiver("rwf1:" + "0" * 32, "eve", "gone", date(2030, 1, 1))
    runs = [RunOutcome("a", rules=(rule("violated"),))]
    (run,), notices = waive(runs, [other], date(2027, 1, 1))
    assert run.rules[0].waiver is None
    assert "matches no rule" in notices[0]
    assert waive(runs, [other], date(2027, 1, 1), partly=True)[1] == ()
