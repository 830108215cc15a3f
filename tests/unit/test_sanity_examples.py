"""Examples are decided for every completion, and one that fails is shown."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from tests.reference.sanity_specs import of, sanity

RULE = "must r:\n  forall s: Step\n  given close(s) and s.speed > 1 [m/s]\n  expect R(s) <= 0\n"


def codes(folder: Path, case: str, rule: str = RULE) -> list[str]:
    return [f.diagnostic.code for f in of(sanity(folder, f"{rule}example of r:\n  {case}\n"), "S09", "S10", "S11")]


@pytest.mark.parametrize(
    "case, expected",
    [
        ("covers s = {busy = true, gap = 0.4 [m], speed = 2 [m/s]}", []),
        ("covers s = {busy = true, gap = 0.4 [m]}", ["S09"]),
        ("ignores s = {gap = 1 [m]}", []),
        ("ignores s = {gap = 0.99 [m]}", ["S09"]),
        ("ignores s = {zone = charger}", []),  # an assumption keeps the speed down
        ("covers s = {zone = charger, speed = 2 [m/s]}", ["S10"]),
        ("ignores s = {zone = charger, speed = 2 [m/s]}", ["S10"]),
    ],
)
def test_examples_of_a_rule_about_records(tmp_path: Path, case: str, expected: list[str]) -> None:
    assert codes(tmp_path, case) == expected


def test_the_completion_that_fails_is_shown(tmp_path: Path) -> None:
    found = sanity(tmp_path, f"{RULE}example of r:\n  covers s = {{busy = true, gap = 0.4 [m]}}\n")
    (example,) = of(found, "S09")
    assert example.diagnostic.severity == "error"
    (record,) = example.records
    assert record.columns[0] == Fraction(2, 5)
    assert record.columns[1] <= 1
    assert (
        "r is said to cover this, but its premise fails at s = {gap = 0.4 [m], speed = " in example.diagnostic.message
    )
    assert example.diagnostic.labels[0].span.text.startswith("covers s =")


def test_an_impossible_example_names_the_assumption(tmp_path: Path) -> None:
    found = sanity(tmp_path, f"{RULE}example of r:\n  covers s = {{zone = charger, speed = 2 [m/s]}}\n")
    (example,) = of(found, "S10")
    assert "the assumption `s.zone == charger implies s.speed <= 0.5 [m/s]` at line 10" in example.diagnostic.message


@pytest.mark.parametrize(
    "case, expected",
    [
        ("covers s = {gap = 10 [m], speed = 2 [m/s], lifts = 1, busy = false, zone = dock}", []),
        ("covers s = {gap = 10.3 [m], speed = 2 [m/s], lifts = 1, busy = false, zone = dock}", []),
        ("covers s = {gap = 10.5 [m], speed = 2 [m/s], lifts = 1, busy = false, zone = dock}", ["S09"]),
        ("ignores s = {gap = 15 [m]}", []),
        ("ignores s = {gap = 10 [m]}", ["S09"]),
        ("ignores s = {gap = 10 [m], lifts = 0}", []),
    ],
)
@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_examples_of_a_rule_near_data(tmp_path: Path, case: str, expected: list[str], norm: str) -> None:
    near = f"must r:\n  forall s: Step near logs within {{gap = 0.4 [m], speed = 0.1 [m/s], lifts = 0}} in {norm}\n"
    if norm == "l1":
        near = "must r:\n  forall s: Step near logs within 1 % in l1\n"
    assert codes(tmp_path, case, f"{near}  expect R(s) <= 0\n") == expected


@pytest.mark.parametrize(
    "case, expected",
    [
        ("covers p = {gap = 10 [m]}", []),
        ("covers p = {busy = true}", ["S09"]),
        ("ignores p = {gap = 0.5 [m]}", []),
        ("ignores p = {busy = false}", ["S09"]),
        ("ignores p = {gap = 11 [m]}", ["S10"]),
    ],
)
def test_examples_of_a_rule_over_rows(tmp_path: Path, case: str, expected: list[str]) -> None:
    rule = "must r:\n  forall p in logs\n  given p.gap >= 5 [m] and not p.busy\n  expect R(p) <= 0\n"
    assert codes(tmp_path, case, rule) == expected


def test_two_records(tmp_path: Path) -> None:
    rule = "must r:\n  forall a, b: Step varying speed\n  given a.speed < b.speed\n  expect R(a) >= R(b)\n"
    assert codes(tmp_path, "covers a = {speed = 1 [m/s]}, b = {speed = 2 [m/s]}", rule) == []
    assert codes(tmp_path, "ignores a = {speed = 2 [m/s]}, b = {speed = 2 [m/s]}", rule) == []
    assert codes(tmp_path, "covers a = {speed = 2 [m/s]}, b = {speed = 2 [m/s]}", rule) == ["S09"]
