"""What is told where the pointer rests; `¦` marks the place."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from rewarden.lsp import describe
from rewarden.lsp.hover import hover
from rewarden.lsp.reading import Reading, read
from rewarden.spec_lang.codes import EXPLANATIONS
from tests.reference.language_page import HELPFUL, WAREHOUSE

CAR = """spec car v1

# What is known of one moment.
features Step {
  # over ground
  speed : real [km/h] in 0 .. 36
  temp  : real [degC] in -20 .. 40  # of the road
  lanes : int in 1 .. 4
  wet   : bool
  e     : real ^ 3 [cm] in -1 .. 2
}
reward R(s: Step)
reward Q(s: Step, t: Step)  # of a move
data logs: Step from "logs.csv"
data pairs: (better: Step, worse: Step) from "pairs.csv"
param slow: real [km/h] = 9 [km/h]  # a jogger
param sure: bool = true
# How far it gets
# in a while.
let reach(s: Step) = s.speed * 2 [s]
region fast(s: Step) = s.speed > slow
relation move(a: Step, b: Step) = |a.speed - b.speed| <= 1 [m/s]

--- Fast is not good.
must slower:
  forall a, b: Step varying speed
  given a.speed <= b.speed / 2
  expect R(a) >= R(b)
  id "S-1" because "the law"
must curved:
  forall s: Step
  given s.speed * s.speed <= 4 [m^2/s^2]
  expect R(s) <= 1
must paid:
  cycle t: Step via move
  expect sum(R(t)) <= 0
must walk:
  trace t: Step within 2 steps via move
  given always t.speed + 1 [m/s] >= 2 [m/s]
  expect sum(Q(t)) <= 1
must people:
  forall p in pairs
  expect share(R(p.better) > R(p.worse)) >= 0.6
should calm:
  forall x: Step near logs within 1 %
  expect R(x) <= R(anchor(x)) + 0.5
"""


def told(marked: str, before: Reading | None = None) -> str:
    offset = marked.index("¦")
    reading = read(marked.replace("¦", ""), "car.rwd", before=before)
    found = hover(reading, offset)
    if found is None:
        return ""
    assert found.start <= offset <= found.end
    return found.text


def of(needle: str, text: str = CAR) -> str:
    """At the place that `¦` marks in the needle."""
    plain = needle.replace("¦", "")
    assert text.count(plain) == 1, f"{plain} is ambiguous"
    return told(text.replace(plain, needle))


def test_the_specs_are_whole() -> None:
    assert read(CAR, "car.rwd").diagnostics == ()


# ── names ──────────────────────────────────────────────────────────────────────────────────────
def test_a_feature() -> None:
    for needle in ("  ¦speed : real", "b.sp¦eed / 2", "varying spee¦d", "b.speed¦ / 2"):
        found = of(needle)
        assert "speed : real [km/h] in 0 .. 36" in found
        assert "over ground" in found
        assert "velocity: in SI from 0 to 10 m/s" in found
        assert "feature of `Step`, declared on line 6" in found


def test_a_feature_with_an_offset_unit_and_a_comment_behind_it() -> None:
    found = of("  te¦mp  :")
    assert "in SI from 253.15 to 313.15 K" in found
    assert "of the road" in found


def test_a_feature_in_coherent_units_is_told_once() -> None:
    assert "in SI" not in told(WAREHOUSE.replace("s.clearance < 1.0", "s.clear¦ance < 1.0"))


def test_a_case() -> None:
    assert told(WAREHOUSE.replace("s.zone == charger", "s.zone == char¦ger")) == "`charger`: a case of `zone`"


def test_a_record_type() -> None:
    found = of("region fast(s: S¦tep)")
    assert "features Step  # 5 features, 7 numbers when encoded" in found
    assert "  lanes : int in 1 .. 4" in found
    assert "What is known of one moment." in found
    assert "declared on line 4" in found


def test_a_record() -> None:
    assert "a: Step" in of("given ¦a.speed <=")
    assert "p.better: Step" in of("R(¦p.better)")
    assert "a row of data" in of("R(¦p.better)")


def test_a_reward_and_its_application() -> None:
    found = of("sum(¦Q(t))")
    assert "reward Q(s: Step, t: Step)" in found
    assert "of a move" in found
    assert "`R(a)`: a plain number" in of("expect ¦R(a) >= R(b)")


def test_a_param_has_its_value() -> None:
    found = of("s.speed > slo¦w")
    assert "param slow: real [km/h]" in found
    assert "a jogger" in found
    assert "value: 9 km/h" in found
    assert "value: true" in of("param su¦re")
    wrong = CAR.replace("near logs", "near lags")
    assert "value: `9 [km/h]`" in told(wrong.replace("speed > slow", "speed > slo¦w"))


def test_a_definition_has_its_comment_and_what_it_gives() -> None:
    found = of("let re¦ach")
    assert "let reach(s: Step)" in found
    assert "How far it gets\nin a while." in found
    assert "gives m" in found


def test_data_and_relations() -> None:
    assert 'data logs: Step from "logs.csv"' in of("near log¦s")
    assert "relation move(a: Step, b: Step)" in of("cycle t: Step via mo¦ve")


def test_built_in_functions_and_keywords() -> None:
    assert "The data row that the record" in of("anch¦or(x)")
    assert of("for¦all a, b") == "**forall**: The rule is about every record, every pair, or every row of data."


# ── rules ──────────────────────────────────────────────────────────────────────────────────────
def test_a_rule_has_title_id_class_and_engines() -> None:
    found = of("must slo¦wer")
    assert "Fast is not good." in found
    assert "id: S-1" in found
    assert "because: the law" in found
    assert "class: linear, because of `a.speed <= b.speed / 2` on line 27" in found
    assert "decided by: bounds and Z3" in found


def test_the_expression_that_makes_a_rule_hard_is_named() -> None:
    found = of("must cur¦ved")
    assert "class: polynomial, because of `s.speed * s.speed <= 4 [m^2/s^2]`" in found
    assert "no engine proves it: `s.speed * s.speed <= 4 [m^2/s^2]`" in found
    assert "multiplies two quantities that both vary" in found


@pytest.mark.parametrize(
    ("needle", "kind", "engines"),
    [
        (
            "must pa¦id",
            "class: trace, linear",
            "decided by: loops",
        ),
        ("must wa¦lk", "class: trace, linear", "decided by: bounds and Z3"),
        ("must peo¦ple", "class: data\n", "decided by: evaluating every row"),
        ("should ca¦lm", "class: data, box", "decided by: bounds and Z3"),
    ],
)
def test_the_class_of_every_kind_of_rule(needle: str, kind: str, engines: str) -> None:
    found = of(needle)
    assert kind in found
    assert engines in found


def test_a_rule_not_near_data_is_one_about_records() -> None:
    away = CAR.replace("x: Step near logs", "x: Step not near logs").replace("R(anchor(x)) + ", "")
    found = told(away.replace("should calm", "should ca¦lm"))
    assert "class: box\n" in found
    assert "decided by: bounds and Z3" in found


def test_a_rule_of_a_broken_spec_has_no_class_yet() -> None:
    found = told(CAR.replace("must slower", "must slo¦wer").replace("near logs", "near lags"))
    assert "Fast is not good." in found
    assert "class" not in found


# ── expressions ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("needle", "text"),
    [
        ("b.speed ¦/ 2", "`b.speed / 2`: velocity [m/s], from 0 to 5 m/s"),
        ("s.speed ¦* s.speed", "`s.speed * s.speed`: m^2/s^2 [m^2/s^2], from 0 to 100 m^2/s^2"),
        ("s.speed ¦* 2 [s]", "`s.speed * 2 [s]`: length [m], from 0 to 20 m"),
        ("¦|a.speed - b.speed|", "`|a.speed - b.speed|`: velocity [km/h], from 0 to 36 km/h"),
        ("|a.speed ¦- b.speed|", "`a.speed - b.speed`: velocity [km/h], from -36 to 36 km/h"),
        ("t.speed ¦+ 1 [m/s]", "`t.speed + 1 [m/s]`: velocity [m/s], from 1 to 11 m/s"),
        ("given a.speed ¦<= b.speed", "`a.speed <= b.speed / 2`: a predicate"),
        ("R(anchor(x)) ¦+ 0.5", "`R(anchor(x)) + 0.5`: a plain number"),
        ("¦9 [km/h]", "`9 [km/h]`: velocity [km/h], always 9 km/h"),
    ],
)
def test_the_type_unit_and_interval_of_an_expression(needle: str, text: str) -> None:
    assert of(needle) == text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("s.e¦ - s.e", "e : real ^ 3 [cm]"),
        ("s.e ¦- s.e", "a vector of 3, length [cm], always 0 cm"),
        ("linf¦(s.e)", "`linf(s.e)`: length [cm], from 0 to 2 cm"),
        ("(if s.wet then 1 else s.lanes) ¦* 3", "a plain number, from 3 to 12"),
        ("min(s.lanes, 2) ¦- 1", "a plain number, from 0 to 1"),
        ("1 ¦/ s.lanes", "a plain number, from 0.25 to 1"),
        ("max(R(s), 0) ¦+ 1", "a plain number, at least 1"),
        ("reach(s) ¦/ 1 [m]", "a plain number, from 0 to 20"),
        ("(s with {lanes = 4}).lanes ¦+ s.lanes", "a plain number, from 5 to 8"),
        ("s.lanes ¦- s.lanes", "a plain number, always 0"),
        ("s.lanes ¦* 1e300 * 1e300", "a plain number, from ≈ 1e+600 to ≈ 4e+600"),
    ],
)
def test_intervals_of_other_expressions(body: str, text: str) -> None:
    assert text in told(f"{CAR}\nlet other(s: Step) = {body}\n")


def test_an_interval_needs_right_types_but_not_a_right_spec() -> None:
    """Where a `with` or a divisor is refused, the interval is what one wants to see."""
    found = told(f"{CAR}\nlet other(s: Step) = 1 / (s.lanes ¦- 2)\nmust o:\n forall s: Step\n expect other(s) >= 0\n")
    assert "`s.lanes - 2`: a plain number, from -1 to 2" in found
    assert "**L02**" in found
    other = told(f"{CAR}\nlet other(s: Step) = s.lanes ¦- 2\nlet wrong(s: Step) = s.lanes + s.speed\n")
    assert other == "`s.lanes - 2`: a plain number"


def test_units() -> None:
    assert of("4 [m^¦2/s^2]") == "`[m^2/s^2]`: m^2/s^2"
    assert of("slow: real [k¦m/h]") == "`[km/h]`: velocity; 1 km/h = 5/18 m/s"
    assert "different zeros" in of("real [de¦gC]")
    assert "1 % = 1/100" in told(f"{CAR}\nparam half: real [%¦] = 50 [%]\n")


# ── what is wrong ──────────────────────────────────────────────────────────────────────────────
def test_the_code_of_a_diagnostic_is_explained() -> None:
    found = told(CAR.replace("given a.speed <= b.speed / 2", "given a.sp¦ed <= b.speed / 2"))
    assert found == f"**N02** {EXPLANATIONS['N02']}"


def test_a_name_in_an_item_that_does_not_parse() -> None:
    whole = read(CAR, "car.rwd")
    broken = CAR.replace("expect R(a) >= R(b)\n", "expect R(a) >= \n")
    assert "speed : real [km/h]" in told(broken.replace("given a.speed", "given a.spe¦ed"), whole)
    assert "a: Step" in told(broken.replace("given a.speed", "given ¦a.speed"), whole)
    assert "reward R(s: Step)" in told(broken.replace("expect R(a)", "expect ¦R(a)"), whole)
    assert "features Step" in told(
        broken.replace("must slower:\n  forall a, b: Step", "must slower:\n  forall a, b: St¦ep")
    )


def test_names_of_an_item_that_is_broken_now_are_remembered() -> None:
    whole = read(CAR, "car.rwd")
    broken = CAR.replace("wet   : bool", "wet   : boo")
    assert "speed : real [km/h]" in told(broken.replace("given a.speed", "given a.spe¦ed"), whole)
    assert "speed : real [km/h]" not in told(broken.replace("given a.speed", "given a.spe¦ed"))


def test_nothing_is_told_of_nothing() -> None:
    assert told(CAR.replace("spec car", "spec c¦ar")) == ""
    assert told(CAR.replace("of the road", "of th¦e road")) == ""
    assert told(CAR.replace("the law", "the l¦aw")) == ""


def test_what_a_used_file_declares(tmp_path: Path) -> None:
    (tmp_path / "car.rwd").write_text(CAR, encoding="utf-8")
    text = 'spec main v1\nuse "car.rwd" as c\nmust m:\n  forall s: c.Step\n  given s.speed > c.slow expect c.R(s) < 0\n'
    reading = read(text, "main.rwd", path=tmp_path / "main.rwd")
    assert reading.diagnostics == ()

    def there(needle: str) -> str:
        found = hover(reading, text.index(needle.replace("¦", "")) + needle.index("¦"))
        return "" if found is None else found.text

    assert "declared at car.rwd:6" in there("s.spe¦ed")
    assert "value: 9 km/h" in there("c.slo¦w")
    assert "declared at car.rwd:4" in there("c.St¦ep")
    assert 'use "car.rwd" as c' in there("¦c.Step")


def test_long_and_inexact_numbers_are_marked() -> None:
    third = read("spec s v1\nparam p: real = 1 / 3\n", "s.rwd")
    found = hover(third, third.source.text.index("p:"))
    assert found is not None
    assert "value: ≈ 0.333333" in found.text


def test_the_longest_numbers() -> None:
    assert describe.number(Fraction(10**400)) == "≈ 1e+400"
    assert describe.number(-Fraction(10**400)) == "≈ -1e+400"
    assert describe.number(Fraction(25, 2)) == "12.5"


def test_the_other_page_of_the_language() -> None:
    assert "class: data, polynomial" in told(HELPFUL.replace("should steady", "should ste¦ady"))
    assert "`H(p.better)`: a plain number" in told(HELPFUL.replace("share(H(p.better)", "share(¦H(p.better)"))
