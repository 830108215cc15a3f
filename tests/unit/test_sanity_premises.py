"""Premises that nothing satisfies, records that cannot exist: proved, and told with the clauses that clash."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewarden.spec_lang import limits, parse_spec
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.sanity.checks import Budget, check_spec
from tests.reference.sanity_specs import of, sanity


def message(folder: Path, given: str, quantifier: str = "forall s: Step") -> str:
    (found,) = of(sanity(folder, f"must r:\n  {quantifier}\n  given {given}\n  expect R(s) <= 1\n"), "S01")
    assert found.diagnostic.severity == "error"
    assert found.rules == ("r",)
    return found.diagnostic.message.removeprefix("nothing satisfies the premise of r: ")


@pytest.mark.parametrize(
    "given, why",
    [
        (
            "s.speed > 3 [m/s]",
            "`s.speed > 3 [m/s]` contradicts the range 0 .. 2.5 [m/s] of speed declared at line 5",
        ),
        ("s.busy and s.gap < 0.5 [m] and s.gap > 1 [m]", "`s.gap < 0.5 [m]` contradicts `s.gap > 1 [m]`"),
        (
            "s.zone == charger and s.speed >= 1 [m/s] and s.busy",
            "`s.zone == charger`, `s.speed >= 1 [m/s]` and the assumption "
            "`s.zone == charger implies s.speed <= 0.5 [m/s]` at line 10 exclude each other",
        ),
        ("s.lifts > 1 and s.lifts < 2", "`s.lifts > 1` contradicts `s.lifts < 2`"),
        (
            "close(s) and s.gap >= 2 [m]",
            "`s.gap < 1 [m]` contradicts `s.gap >= 2 [m]`",
        ),
        (
            "s.zone == dock and s.zone == aisle",
            "`s.zone == dock` contradicts `s.zone == aisle`",
        ),
        ("R(s) >= 1 and R(s) < 1", "`R(s) >= 1` contradicts `R(s) < 1`"),
        ("1 > 2", "a condition that is false whatever the record is never true"),
        (
            "not close(s) and s.busy and s.gap < 1 [m]",
            "`not close(s)`, `s.busy` and `s.gap < 1 [m]` exclude each other",
        ),
        ("not (s.zone == dock) and s.zone == dock", "`not (s.zone == dock)` contradicts `s.zone == dock`"),
        ("not s.busy and s.busy", "`not s.busy` contradicts `s.busy`"),
        (
            "beyond(s.gap < 1 [m], 5 %) and s.gap < 2 [m]",
            "`beyond(s.gap < 1 [m], 5 %)` contradicts `s.gap < 2 [m]`",
        ),
        (
            "(close(s) or (s.lifts > 4)) and s.gap >= 2 [m] and s.lifts < 2",
            "`close(s) or (s.lifts > 4)`, `s.gap >= 2 [m]` and `s.lifts < 2` exclude each other",
        ),
        (
            "(if s.busy then s.gap < 1 [m] else s.gap > 9 [m]) and s.gap == 5 [m]",
            "`(if s.busy then s.gap < 1 [m] else s.gap > 9 [m])` contradicts `s.gap == 5 [m]`",
        ),
        (
            "s.lifts >= 6",
            "`s.lifts >= 6` contradicts the whole numbers 0 .. 5 of lifts declared at line 6",
        ),
    ],
)
def test_the_clauses_that_clash_are_told(tmp_path: Path, given: str, why: str) -> None:
    assert message(tmp_path, given) == why


def test_a_should_rule_that_speaks_of_nothing_is_warned_of(tmp_path: Path) -> None:
    rule = "should r:\n  forall s: Step\n  given s.speed > 3 [m/s]\n  expect R(s) <= 1\n"
    found = sanity(tmp_path, rule)
    (vacuous,) = of(found, "S01")
    assert (vacuous.diagnostic.severity, found.errors) == ("warning", 0)


def test_the_clash_is_underlined_in_the_text(tmp_path: Path) -> None:
    (found,) = of(sanity(tmp_path, "must r:\n  forall s: Step\n  given s.speed > 3 [m/s]\n  expect R(s) <= 1\n"), "S01")
    assert [(label.span.text, label.text) for label in found.diagnostic.labels] == [
        ("s.speed > 3 [m/s]", ""),
        ("speed : real [m/s] in 0 .. 2.5", "the range"),
    ]


def test_a_rule_near_data_is_about_its_rows(tmp_path: Path) -> None:
    near = "forall s: Step near logs within 1 %"
    assert (
        message(tmp_path, "s.gap >= 15 [m] and s.gap <= 18 [m]", near)
        == ("`s.gap >= 15 [m]`, `s.gap <= 18 [m]` and what is near the rows of logs exclude each other")
        or message(tmp_path, "s.gap >= 15 [m] and s.gap <= 18 [m]", near) == "it contradicts its ranges and assumptions"
    )
    fine = sanity(tmp_path, f"must r:\n  {near}\n  given s.gap >= 10.3 [m] and s.gap <= 18 [m]\n  expect R(s) <= 1\n")
    assert not of(fine, "S01", "S02")


def test_what_all_records_are_near_is_told_with_the_quantifier(tmp_path: Path) -> None:
    away = "forall s: Step not near logs within {gap = 100 %, speed = 100 %, lifts = 5}"
    why = message(tmp_path, "s.busy and s.zone == aisle", away)
    assert why == "`forall s: Step not near logs`, `s.busy` and `s.zone == aisle` exclude each other"


def test_more_rows_to_be_away_from_than_can_be_said_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "d.csv").write_text("x,y\n0.25,0.5\n0.25,0.5\n0.5,0.5\n", encoding="utf-8")
    text = 'spec a v1 features S { x: real in 0 .. 1 y: real in 0 .. 1 } reward R(s: S) data d: S from "d.csv" '
    spec = parse_spec(text + "must r: forall s: S not near d within 0.1 expect R(s) <= 1", base=tmp_path)
    monkeypatch.setattr(limits, "AWAY", 8)  # two rows, two columns, two sides
    assert spec.obligation("r").premise
    monkeypatch.setattr(limits, "AWAY", 7)
    with pytest.raises(Unsupported, match=r"more than 7 comparisons, to be away from 2 rows of 2 columns") as refused:
        spec.obligation("r")
    assert refused.value.code == "X03"
    assert "at <spec>:1:" in refused.value.message
    assert "not near d" in refused.value.message
    assert refused.value.help is not None
    assert "at most 1 rows" in refused.value.help


def test_a_rule_over_rows_is_about_them(tmp_path: Path) -> None:
    rule = "must r:\n  forall p in logs\n  given p.gap == {gap} [m]\n  expect R(p) <= 1\n"
    assert of(sanity(tmp_path, rule.format(gap=11)), "S01")
    assert not of(sanity(tmp_path, rule.format(gap=10)), "S01", "S02")


def test_a_rule_about_traces_is_vacuous_if_no_length_can_occur(tmp_path: Path) -> None:
    head = "must r:\n  trace t: Step within 3 steps via move\n"
    rule = head + "  given first(t).gap {op} last(t).gap\n  expect R(last(t)) <= 1\n"
    assert of(sanity(tmp_path, rule.format(op="<")), "S01")
    assert not of(sanity(tmp_path, rule.format(op=">")), "S01", "S02")


def test_records_that_cannot_exist_are_told_once(tmp_path: Path) -> None:
    text = """spec ghosts v1
features G { x: real in 0 .. 1  y: real in 0 .. 1 }
assume g: G = g.x >= g.y + 0.5
assume g: G = g.y >= 0.75
reward R(g: G)
must a: forall g: G expect R(g) <= 1
must b: forall g: G given g.x > 0.1 expect R(g) <= 1
"""
    found = check_spec(parse_spec(text, "ghosts.rwd"))
    (one,) = of(found, "S01", "S08")
    assert one.diagnostic.code == "S08"
    assert "`g.x >= g.y + 0.5` at line 3" in one.diagnostic.message
    assert "`g.y >= 0.75` at line 4" in one.diagnostic.message
    assert "the range 0 .. 1 of x" in one.diagnostic.message


def test_what_the_budget_leaves_open_is_said_to_be_open(tmp_path: Path) -> None:
    first, second = "s.speed * s.speed * s.gap * 1 [s^2/m^3] == 1.7", "s.speed * s.gap * s.gap * 1 [s/m^3] == 5.3"
    rule = f"must r:\n  forall s: Step\n  given {first} and {second} and s.gap < 3 [m]\n  expect R(s) <= 1\n"
    found = sanity(tmp_path, rule, Budget(premise=50))
    (open_,) = of(found, "S01", "S02")
    assert open_.diagnostic.code == "S02"
    assert open_.diagnostic.severity == "warning"
    assert found.rules[0].premise == "undecided"
    assert found.rules[0].rule_class == "polynomial"
    assert found.rules[0].engines.names == ()
    assert "multiplies two quantities that both vary" in found.rules[0].engines.reason
