"""Messages word for word: what was wrong, where, what to do."""

from __future__ import annotations

from textwrap import dedent

import pytest

from rewarden.spec_lang import SpecError, parse_spec
from rewarden.spec_lang.codes import EXPLANATIONS
from rewarden.spec_lang.diagnostics import render
from rewarden.spec_lang.errors import Diagnostic, Label
from rewarden.spec_lang.parser import parse
from rewarden.spec_lang.source import Source, Span
from tests.reference.language_page import HELPFUL, WAREHOUSE

HEAD = """spec w v1
features Step {
  speed: real [m/s] in 0 .. 2.5
  dist: real [m] in -1 .. 40
  heading: real [rad] in -3 .. 3
  temp: real [degC] in -20 .. 60
  zone: enum {aisle, dock, charger}
  wet: bool
  n: int in 0 .. 5
  e: real ^ 4 in -1 .. 1
}
reward R(s: Step)
data logs: Step from "logs.csv"
param eps: real = 0.01
"""


def errors(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "w.rwd")
    for diagnostic in caught.value.diagnostics:
        assert diagnostic.code in EXPLANATIONS
    return [render(d) for d in caught.value.diagnostics]


def only(given: str = "true", expect: str = "true", *, head: str = HEAD, forall: str = "s: Step") -> str:
    """The one error of a rule."""
    found = errors(f"{head}must a:\n  forall {forall}\n  given {given}\n  expect {expect}\n")
    assert len(found) == 1, "\n\n".join(found)
    return found[0]


def test_the_language_page_shows_this_message() -> None:
    text = WAREHOUSE[: WAREHOUSE.index("example of")].replace(
        "given risky(s) and s.speed > v_safe", "given risky(s) and s.speed > 0.5 [m]"
    )
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "warehouse.rwd")
    assert caught.value.render() == dedent("""\
        error[U02]: cannot compare m/s with m
          --> warehouse.rwd:33:24
           |
        33 |   given risky(s) and s.speed > 0.5 [m]
           |                      ^^^^^^^   ^^^^^^^ length
           |                      velocity
           = related: speed is declared real [m/s] at warehouse.rwd:6
           = help: write 0.5 [m/s]""")


def test_unknown_feature() -> None:
    assert only("s.sped > 0 [m/s]") == dedent("""\
        error[N02]: Step has no feature sped
          --> w.rwd:17:11
           |
        17 |   given s.sped > 0 [m/s]
           |           ^^^^
           = related: Step is declared at w.rwd:2
           = help: did you mean speed?""")


def test_bad_case() -> None:
    assert only("s.zone == dok") == dedent("""\
        error[N05]: zone has no case dok
          --> w.rwd:17:19
           |
        17 |   given s.zone == dok
           |                   ^^^
           = help: did you mean dock?""")


def test_missing_range() -> None:
    assert errors("spec w v1\nfeatures T {\n  load: real [kg]\n}\n") == [
        dedent("""\
        error[T02]: load has no range
         --> w.rwd:3:3
          |
        3 |   load: real [kg]
          |   ^^^^^^^^^^^^^^^
          = help: write load : real [kg] in LOW .. HIGH""")
    ]


def test_an_update_that_may_leave_its_range_names_the_missing_premise() -> None:
    assert only("s.wet", "R(s with {speed = s.speed - 0.5 [m/s]}) >= R(s)") == dedent("""\
        error[L01]: speed may leave its range 0 .. 2.5 [m/s]
          --> w.rwd:18:28
           |
        18 |   expect R(s with {speed = s.speed - 0.5 [m/s]}) >= R(s)
           |                            ^^^^^^^^^^^^^^^^^^^
           = help: add `s.speed >= 0.5 [m/s]` to `given`""")


def test_a_divisor_that_could_be_zero() -> None:
    assert only("1 [m] / s.dist > 0.1") == dedent("""\
        error[L02]: this divisor could be 0
          --> w.rwd:17:19
           |
        17 |   given 1 [m] / s.dist > 0.1
           |                 ^^^^^^
           = help: narrow the declared ranges, or divide by max(…, a positive number)""")


def test_degrees_against_radians_says_what_to_write() -> None:
    assert "= help: π has no exact fraction: write 0.523599 [rad]" in only("s.heading < 30 [deg]")
    assert "error[U03]: cannot compare rad with deg" in only("s.heading < 30 [deg]")


def test_a_syntax_error_says_what_could_stand_there() -> None:
    assert errors("spec w v1\nmust a:\n  forall s: Step\n  given s.x = 3\n  expect true\n") == [
        dedent("""\
        error[P01]: expected an operator or `expect`, found `=`
         --> w.rwd:4:13
          |
        4 |   given s.x = 3
          |             ^
          = help: equality is written ==""")
    ]


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        ("s.speed", "T01", "expected a predicate, found m/s"),
        ("s.wet + 1 > 0", "T01", "write (if … then 1 else 0)"),
        ("s > 0", "T01", "cannot compare a Step with a plain number"),
        ("s.wet < true", "T01", "predicates have no order"),
        ("s.zone < dock", "T06", "compare cases by == or !="),
        ("zone == dock", "N01", "write s.zone"),
        ("speed > 0", "N01", "write s.speed"),
        ("dock", "N01", "dock is a case of zone"),
        ("quantil(R(logs), 0.1) > 0", "N07", "did you mean quantile?"),
        ("R(t) > 0", "N01", "unknown name t"),
        ("R(s, s) > 0", "T04", "R takes 1 argument, found 2"),
        ("R(3) > 0", "T05", "R takes a Step here"),
        ("R(logs) > 0", "T01", "one value for each row"),
        ("R > 0", "T01", "write R(…)"),
        ("logs > 0", "T01", "logs is a data set"),
        ("mean(R(log)) > 0", "N06", "did you mean logs?"),
        ("quantile(R(logs), 5) > 0", "T08", "between 0 and 1"),
        ("quantile(R(logs), s.n) > 0", "T07", "must be a constant"),
        ("s.speed > 1", "U02", "write 1 [m/s]"),
        ("s.n > 1 [m]", "U02", "write 1, without a unit"),
        ("s.speed + s.dist > 0", "U02", "cannot add m/s and m"),
        ("s.dist - s.speed > 0", "U02", "cannot subtract m/s from m"),
        ("s.temp > 0", "U04", "write 0 [degC]"),
        ("s.temp + 1 [K] > 0", "U04", "only compares"),
        ("|s.temp| > 0", "U04", "only compares"),
        ("300 [K] - 290 [K] < 5 [degC]", "U04", "as a reading is 273.15 [K], as a difference 0 [K]"),
        ("5 [degC] < |300 [K] - 290 [K]|", "U04", "compare degC with K: what is computed may be a difference"),
        ("max(300 [K] - 290 [K], 0) < 5 [degC]", "U04", "may be a difference"),
        ("(if s.wet then 1 [K] - 1 [K] else 9 [K]) < 5 [degC]", "U04", "may be a difference"),
        ("s.speed * 1 [K*s/m] < 5 [degC]", "U04", "may be a difference"),
        ("s.speed > 3 [dB]", "U05", "logarithmic"),
        ("s.speed > 3 [parsnip]", "U01", "unknown unit parsnip"),
        ("s.e > 0", "T01", "cannot compare a vector of 4 with a plain number"),
        ("s.e[4] > 0", "T11", "indices run from 0 to 3"),
        ("s.n[0] > 0", "T01", "only vectors have elements"),
        ("|s.e| > 0", "T01", "use linf(v)"),
        ("l2(s.n) > 0", "T01", "l2 takes a vector"),
        ("s.e * s.e == s.e", "T01", "use dot(v, w)"),
        ("beyond(s.n * s.n > 2, 5 %)", "L03", "linear comparisons"),
        ("beyond(R(s) > 2, 5 %)", "L03", "linear comparisons"),
        ("beyond(s.wet, 0)", "T08", "5 %"),
        ("beyond(s.wet, 5)", "T08", "5 %"),
        ("anchor(s).wet", "T14", "near data"),
        ("R(s with {sped = 1 [m/s]}) > 0", "N02", "did you mean speed?"),
        ("R(s with {speed = 1}) > 0", "U02", "write 1 [m/s]"),
        ("R(s with {speed = 1}) > 0", "U02", "speed is in m/s, not a plain number"),
        ("R(s with {n = 1 [m]}) > 0", "U02", "n is a plain number, not in m"),
        ("R(s with {speed = 1 [m/s], speed = 1 [m/s]}) > 0", "T12", "updated twice"),
        ("R(s with {speed = 3 [m/s]}) > 0", "L01", "3 [m/s] is outside"),
        ("R(s with {n = s.n / 2}) > 0", "T13", "whole number"),
        ("R(s with {zone = dok}) > 0", "N05", "did you mean dock?"),
        ("R(s with {temp = 0}) > 0", "U04", "write 0 [degC]"),
        ("R(s with {wet = 1}) > 0", "T01", "wet is a predicate"),
        ("always s.wet", "T17", "outside of `trace` and `cycle`"),
        ("sum(R(s)) > 0", "T17", "outside of `trace` and `cycle`"),
        ("R(first(s)) > 0", "T17", "outside of `trace` and `cycle`"),
        ("share(s.wet) > 0.5", "T19", "expect share(q) >= 0.6"),
        ("1 / (s.n - s.n) > 0", "L02", "this divisor is 0"),
        ("1 / R(s) > 0", "L02", "not bounded"),
    ],
)
def test_refusals(given: str, code: str, words: str) -> None:
    message = only(given)
    assert message.startswith(f"error[{code}]: ")
    assert words in message


@pytest.mark.parametrize("given", ["s.speed * 1 [K*s/m] < s.temp", "s.temp <= 300 [K] + 5 [K]", "s.temp > 5 [degC]"])
def test_a_feature_in_degrees_is_a_reading_whatever_it_is_compared_with(given: str) -> None:
    parse_spec(f"{HEAD}must a:\n  forall s: Step\n  given {given}\n  expect R(s) <= 1\n", "w.rwd")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("features Step { x: bool }", "N04"),
        ("features U { x: bool x: bool }", "T12"),
        ("features U { }", "T12"),
        ("features U { x: real in 3 .. 1 }", "T03"),
        ("features U { x: int in 0.5 .. 1 }", "T03"),
        ("features U { x: enum {a} }", "T12"),
        ("features U { x: enum {a, b, a} }", "T12"),
        ("reward Q(s: Stp)", "N03"),
        ("reward Q(s: Step, s: Step)", "T12"),
        ("reward min(s: Step)", "N04"),
        ('data more: Step from "../secret.csv"', "L06"),
        ('data more: Step from "/etc/passwd"', "L06"),
        ("param p: real = q param q: real = p", "N08"),
        ("let f(s: Step) = g(s) let g(s: Step) = f(s) + 1", "N08"),
        ("let f(s: Step) = f(s)", "N08"),
        ("param p: real [m] = 3", "U02"),
        ("param p: int = 0.5", "T13"),
        ("param p: bool = 1", "T01"),
        ("param p: real = 1 / 0", "L02"),
        ("param p: real ^ 3 = 0", "T22"),
        ("param p: enum {one, two} = too", "N05"),
        ("param p: real = R(s)", "T07"),
        ("region g(s: Step) = s.n", "T01"),
        ("region g(eps: Step) = eps.wet", "N10"),
        ("assume s: Step = R(s) > 0", "T09"),
        ("region g(s: Step) = R(s) > 0 assume s: Step = g(s)", "T09"),
        ("must a: forall eps: Step expect true", "N10"),
        ("must a: forall a: Step varying n expect true", "T14"),
        ("must a: forall a, b: Step varying m expect true", "N02"),
        ("must a: forall a, b: Step varying n, wet, n expect true", "T12"),
        ("must a: forall a, b: Step varying m, m, m expect true", "N02 T12 T12"),
        ("must a: forall s: Step near log within 5 % expect true", "N06"),
        ("must a: forall s: Step near logs within 0.1 expect true", "T10"),
        ("must a: forall s: Step not near logs within 0.1 expect true", "T10"),
        ("must a: forall s: Step not near logs within 5 % in l1 expect true", "T14"),
        ("must a: forall s: Step not near logs within 5 % expect R(anchor(s)) > 0", "T14"),
        ("must a: forall s: Step near logs within {speed = 1} expect true", "U02"),
        ("must a: forall s: Step near logs within {zone = 1} expect true", "T10"),
        ("must a: forall s: Step near logs within {n = -1} expect true", "T08"),
        ("must a: forall s: Step near logs within {n = 2 * 5 %} expect true", "T10"),
        ("must a: forall s: Step near logs within {n = 5 % + 5 %} expect true", "T10"),
        ("let rise(a: Step) = 9 [K] - 1 [K] must a: forall s: Step given rise(s) < 5 [degC] expect true", "U04"),
        ("must a: forall s: Step near logs within true expect true", "T01"),
        ("param on: bool = true must a: forall s: Step near logs within {n = on} expect true", "T01"),
        ("param z: enum {p, q} = p must a: forall s: Step near logs within z expect true", "T01"),
        ("must a: forall s: Step expect R(s) >= quantile(R(logs), 1 < 2)", "T01"),
        ("param z: enum {p, q} = p must a: forall s: Step given beyond(s.wet, z) expect true", "T01"),
        ("must a: forall s: Step expect true weight -1", "T08"),
        ("must a: forall s: Step expect true weight 1 [m]", "T01"),
        ("must a: forall s: Step expect true must a: forall s: Step expect true", "N04"),
        ("relation move(a: Step) = true", "T12"),
        ("relation move(a: Step, b: Step) = 1", "T01"),
        ('use "x.rwd" as x', "L07"),
    ],
)
def test_declarations(text: str, code: str) -> None:
    found = errors(f"{HEAD}{text}\n")
    assert [message[6:9] for message in found] == code.split()


def test_all_errors_are_reported_at_once_in_source_order() -> None:
    text = f"{HEAD}must a:\n  forall s: Step\n  given s.sped > 1 [m/s] and s.zone == dok\n  expect Q(s) > s.dist\n"
    assert [m[6:9] for m in errors(text)] == ["N02", "N05", "N07"]


@pytest.mark.parametrize("text", [WAREHOUSE, HELPFUL])
def test_the_language_page_checks(text: str) -> None:
    assert len(parse_spec(text).rules) >= 3


def test_rendering_survives_hostile_text() -> None:
    line = "\x1b[31m\t" + "x" * 5000
    source = Source("evil\n.rwd", line)
    text = render(Diagnostic("P02", "m\x1b", (Label(Span(source, 4000, 4003, 1, 4001), "here\n"),)))
    assert "\x1b" not in text
    assert all(len(row) < 200 for row in text.splitlines())
    assert "^^^ here" in text
    assert render(Diagnostic("N09", "no place", (), help="none")) == "error[N09]: no place\n   = help: none"


def test_labels_on_several_lines() -> None:
    source = Source("a.rwd", "one\ntwo\n")
    spans = (Label(Span(source, 4, 7, 2, 1), "second"), Label(Span(source, 0, 3, 1, 1), "first"))
    assert render(Diagnostic("N04", "twice", spans)) == dedent("""\
        error[N04]: twice
         --> a.rwd:2:1
          |
        1 | one
          | ^^^ first
        2 | two
          | ^^^ second""")


def test_empty_source() -> None:
    with pytest.raises(SpecError) as caught:
        parse(Source("empty.rwd", ""))
    assert caught.value.render().startswith("error[P01]: the file ends too early: expected `spec`")
