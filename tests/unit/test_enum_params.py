"""`param home: enum {aisle, dock, charger} = dock`: a case that the command line may set."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from rewarden.cli import run
from rewarden.lsp.completion import complete
from rewarden.lsp.definition import Refused, definition, references, renamed
from rewarden.lsp.hover import hover
from rewarden.lsp.reading import read
from rewarden.spec_lang.compare.specs import compare_specs
from rewarden.spec_lang.errors import SpecError
from rewarden.spec_lang.format.formatter import format_text
from rewarden.spec_lang.parser import parse
from rewarden.spec_lang.printer import print_spec
from rewarden.spec_lang.source import Source
from rewarden.spec_lang.spec import load_spec, parse_spec

HEAD = """spec depot v1

features Step {
  dist  : real [m] in 0 .. 40
  zone  : enum {aisle, dock, charger}
  other : enum {aisle, dock, charger}
  light : enum {red, green}
}
reward R(s: Step)
"""
PARAMS = """
param home: enum {aisle, dock, charger} = dock
param away: enum {aisle, dock, charger} = home
param same: bool = home == away != charger
param eps: real = (if home == dock then 1 else 2)
"""
RULES = """
assume s: Step = s.other == HOME implies s.dist <= 10 [m]
region at_home(s: Step) = s.zone == HOME
let place(s: Step) = (if HOME == s.zone then 1 else 2)

must a:
  forall s: Step
  given at_home(s) or s.zone != AWAY
  expect R(s with {zone = HOME, other = AWAY}) >= R(s) - place(s)

must b:
  forall s: Step
  given s.zone == HOME == s.other
  expect R(s) <= 1 or (s.light == red and HOME != AWAY)

example of b:
  covers s = {zone = HOME, other = HOME}
  ignores s = {zone = aisle}
"""
SPEC = HEAD + PARAMS + RULES.replace("HOME", "home").replace("AWAY", "away")


def plain(home: str, away: str) -> str:
    return HEAD + RULES.replace(" HOME != AWAY", f" {'true' if home != away else 'false'}").replace(
        "HOME", home
    ).replace("AWAY", away)


# ── meaning ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("params", "home", "away"),
    [
        ({}, "dock", "dock"),
        ({"home": "charger"}, "charger", "charger"),
        ({"home": " charger "}, "charger", "charger"),
        ({"away": "aisle"}, "dock", "aisle"),
        ({"away": "dock", "home": "aisle"}, "aisle", "dock"),
    ],
)
def test_a_rule_means_what_it_means_with_the_case_written_out(params: dict[str, str], home: str, away: str) -> None:
    spec, same = parse_spec(SPEC, params=params), parse_spec(plain(home, away))
    for rule in ("a", "b"):
        mine, plain_one = spec.obligation(rule), same.obligation(rule)
        for part in ("variables", "records", "structure", "assume", "premise", "conclusion", "instances"):
            assert getattr(mine, part) == getattr(plain_one, part)
    assert [(e.kind, e.values) for e in spec.examples] == [(e.kind, e.values) for e in same.examples]
    assert spec.assumptions == same.assumptions
    assert spec.params["home"].value == home
    assert spec.params["home"].overridden == ("home" in params)
    assert spec.params["away"].value == away
    assert spec.params["same"].value == int(home == away != "charger")
    assert spec.params["eps"].value == (1 if home == "dock" else 2)


def test_the_value_is_part_of_what_a_spec_is() -> None:
    assert parse_spec(SPEC).digest != parse_spec(SPEC, params={"home": "aisle"}).digest


def test_a_case_may_have_the_name_of_another_parameter() -> None:
    """Beside an enum a name is a case first; so a parameter of another kind changes nothing."""
    text = f"{HEAD}param dock: real = 1\nparam aisle: enum {{red, green}} = red\n"
    text += "param home: enum {aisle, dock, charger} = dock\nparam b: bool = home == dock\n"
    text += "region dock_it(s: Step) = s.zone == dock or s.zone == aisle or s.light == aisle\n"
    text += "must a: forall s: Step given dock_it(s) expect R(s) >= dock\n"
    spec = parse_spec(text)
    assert spec.params["home"].value == "dock"
    assert spec.params["b"].value == 1


def test_a_region_may_have_the_name_of_a_case() -> None:
    text = f"{HEAD}region dock(s: Step) = s.zone == dock\nmust a: forall s: Step given dock(s) expect R(s) >= 0\n"
    assert parse_spec(text).rule("a").name == "a"


def test_a_used_file_keeps_its_cases(tmp_path: Path) -> None:
    (tmp_path / "words.rwd").write_text(
        HEAD.replace("depot", "words") + PARAMS + "region g(s: Step) = s.zone == home\n"
    )
    (tmp_path / "main.rwd").write_text(
        'spec main v1\nuse "words.rwd" as w\nparam mine: enum {aisle, dock, charger} = w.home\n'
        "must a: forall s: w.Step given w.g(s) and s.zone != w.away expect w.R(s with {zone = mine}) >= 0\n"
    )
    spec = load_spec(tmp_path / "main.rwd")
    assert spec.params["mine"].value == "dock"
    spec = load_spec(tmp_path / "main.rwd", params={"w.home": "aisle"})
    assert [spec.params[name].value for name in ("w.home", "w.away", "mine")] == ["aisle"] * 3


# ── refusals ───────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("text", "code", "help"),
    [
        ("param p: enum {a, bee} = be", "N05", "did you mean bee?"),
        ("param p: enum {a, b} = eps", "N05", "the cases are a, b"),
        ("param p: enum {a, b} = 3", "T06", "write one of its cases: a, b"),
        ("param p: enum {a, b} = home", "T06", "home lacks a, b; p lacks aisle, dock, charger"),
        ("param p: enum {dock, aisle, charger} = home", "T06", "write the cases of home in the order of p's"),
        ("param p: enum {a} = a", "T12", "name at least two different cases"),
        ("param p: enum {a, b, a} = a", "T12", "name at least two different cases"),
        ("param a: enum {a, b} = b", "N10", "choose another name for the param"),
        ("param p: real = home", "T01", ""),
        ("param p: bool = home == chargr", "N05", "did you mean charger?"),
        ("param p: bool = home < dock", "T06", "compare cases by == or !="),
        ("param p: enum {a, b} = q param q: enum {a, b} = p", "N08", ""),
        ("param p: real ^ 3 [m] = 0", "T22", "declare one param per element"),
        ("region g(s: Step) = s.zone == hoome", "N05", "did you mean home?"),
        ("region g(s: Step) = s.zone == eps", "N05", "the cases are aisle, dock, charger"),
        ("region g(s: Step) = s.light == home", "T06", "home lacks red, green; light lacks aisle, dock, charger"),
        ("region g(s: Step) = zone == home", "N01", "write s.zone"),
        ("region g(s: Step) = home", "T01", ""),
        ("must m: forall s: Step expect R(s with {light = home}) >= 0", "T06", "home lacks red, green"),
        ("must m: forall s: Step expect R(s) >= home", "T01", ""),
    ],
)
def test_refusals(text: str, code: str, help: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(f"{HEAD}{PARAMS}{text}\n")
    assert [d.code for d in caught.value.diagnostics] == [code]
    assert (caught.value.diagnostics[0].help or "").startswith(help)


@pytest.mark.parametrize(
    ("value", "code", "help"),
    [
        ("chargr", "N05", "did you mean charger?"),
        ("away", "N05", "the cases are aisle, dock, charger"),
        ("away == dock", "T07", "write one of its cases: aisle, dock, charger"),
        ("3 [m]", "T06", "write one of its cases: aisle, dock, charger"),
        ("", "T01", "give one of its cases: aisle, dock, charger"),
        (" ", "T01", "give one of its cases: aisle, dock, charger"),
        ("must", "P03", ""),
        (True, "T06", "write one of its cases: aisle, dock, charger"),
        (3, "T06", "write one of its cases: aisle, dock, charger"),
        (None, "T01", "give one of its cases: aisle, dock, charger"),
    ],
)
def test_values_from_outside_that_are_no_case(value: object, code: str, help: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(SPEC, params={"home": value})
    assert {d.code for d in caught.value.diagnostics} == {code}
    assert (caught.value.diagnostics[0].help or "").startswith(help)


def test_an_unknown_case_is_shown_in_its_place() -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(f"{HEAD}param home: enum {{aisle, dock, charger}} = chargr\n", "depot.rwd")
    assert caught.value.render() == dedent("""\
        error[N05]: home has no case chargr
          --> depot.rwd:10:45
           |
        10 | param home: enum {aisle, dock, charger} = chargr
           |                                           ^^^^^^
           = help: did you mean charger?""").replace("10:45", "10:43")


# ── the command line ───────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("by", ["flag", "file"])
def test_set_from_the_command_line_and_the_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    text = SPEC.replace("ignores s = {zone = aisle}", "ignores s = {zone = dock}")
    (tmp_path / "depot.rwd").write_text(text)
    (tmp_path / "rewarden.toml").write_text('specs = ["depot.rwd"]\n' + '[params]\nhome = "aisle"\n' * (by == "file"))
    monkeypatch.chdir(tmp_path)
    given = ["--param", "home=aisle"] * (by == "flag")
    assert run(["check", *given]) == 0
    capsys.readouterr()
    assert run(["check", "--param", "home=dock"]) != 0  # the example is of another place
    assert "S09" in capsys.readouterr().out
    assert run(["check", "--param", "home=dok"]) == 2
    assert "= help: did you mean dock?" in capsys.readouterr().err


def test_a_changed_case_is_told_with_the_rules_that_it_moves() -> None:
    found = compare_specs(parse_spec(SPEC), parse_spec(SPEC, params={"away": "charger"}))
    assert [(p.name, p.old, p.new) for p in found.params] == [
        ("away", "dock", "charger"),
        ("same", "true", "false"),
    ]
    assert "S28" in {f.code for f in found.findings}
    assert {"a", "b"} <= set(found.params[0].moved)


def test_a_set_case_survives_features_that_only_one_spec_has() -> None:
    old, new = SPEC, SPEC.replace("  light :", "  wet : bool\n  light :")
    found = compare_specs(parse_spec(old, params={"home": "aisle"}), parse_spec(new, params={"home": "aisle"}))
    assert {c.name: c.change for c in found.rules} == {"a": "equal", "b": "equal"}


# ── text ───────────────────────────────────────────────────────────────────────────────────────
def test_printed_and_formatted() -> None:
    tree = parse(Source("depot.rwd", SPEC))
    assert "param home: enum {aisle, dock, charger} = dock\n" in print_spec(tree)
    assert parse(Source("depot.rwd", print_spec(tree))) == tree
    assert format_text("spec s v1\nparam  p :enum{a,b ,}=a\n") == "spec s v1\n\nparam p: enum {a, b} = a\n"
    long = f"param p: enum {{{', '.join('case_number_' + str(k) for k in range(12))}}} = case_number_3"
    formatted = format_text(f"spec s v1\n{long}\n")
    assert format_text(formatted) == formatted
    assert max(map(len, formatted.splitlines())) <= 120
    assert parse(Source("s.rwd", formatted)) == parse(Source("s.rwd", f"spec s v1\n{long}"))


# ── the language server ────────────────────────────────────────────────────────────────────────
def proposed(marked: str) -> list[str]:
    text = f"{SPEC}\n{marked}"
    return [p.text for p in complete(text.replace("¦", ""), text.index("¦"), read(SPEC, "depot.rwd").known).proposals]


CASES = ["aisle", "dock", "charger"]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("region x(s: Step) = s.zone == ¦", [*CASES, "home", "away"]),
        ("region x(s: Step) = home == ¦", [*CASES, "away"]),
        ("param p: bool = away != c¦", [*CASES, "home"]),
        ("region x(s: Step) = s.light == ¦", ["red", "green"]),
        ("must x:\n  forall s: Step\n  expect R(s with {zone = ¦", [*CASES, "home", "away"]),
        ("param p: enum {aisle, dock, charger} = ¦", [*CASES, "home", "away"]),
        ("param p: enum {one, two} = ¦", ["one", "two"]),
        ("param p: enum {aisle, ¦", []),
        ("param p: real = enum ¦", []),
    ],
)
def test_completion(typed: str, expected: list[str]) -> None:
    assert [p for p in proposed(typed) if p in (*expected, *CASES, "red", "one", "home", "away")] == expected


def test_hover_tells_cases_and_value() -> None:
    reading = read(SPEC, "depot.rwd")
    found = hover(reading, SPEC.index("s.zone == home") + 11)
    assert found is not None
    assert "param home: enum {aisle, dock, charger}" in found.text
    assert "value: dock; the command line may set another" in found.text
    case = hover(reading, SPEC.index("= dock\n") + 3)
    assert case is not None
    assert "`dock`: a case of `home`" in case.text


def test_definition_of_a_case_and_of_a_parameter() -> None:
    reading = read(SPEC, "depot.rwd")
    place = definition(reading, SPEC.index("= dock\n") + 3)
    assert place is not None
    assert SPEC[place.start :].startswith("dock, charger} = dock")
    place = definition(reading, SPEC.index("{zone = home") + 9)
    assert place is not None
    assert SPEC[place.start :].startswith("home: enum")


def test_a_case_is_renamed_in_all_enums_that_share_it() -> None:
    reading = read(SPEC, "depot.rwd")
    places = renamed(reading, SPEC.index("{zone = aisle}") + 9, "lane")
    assert not isinstance(places, Refused)
    text = SPEC
    for place in reversed(places):
        text = text[: place.start] + "lane" + text[place.end :]
    assert "aisle" not in text
    assert len(parse_spec(text).rules) == 2
    assert len(references(reading, SPEC.index("aisle"))) == len(places)


@pytest.mark.parametrize(("at", "new"), [("param home", "charger"), ("= dock\n", "home"), ("= dock\n", "aisle")])
def test_renaming_that_would_change_the_meaning_is_refused(at: str, new: str) -> None:
    found = renamed(read(SPEC, "depot.rwd"), SPEC.index(at) + len(at) - 1, new)
    assert isinstance(found, Refused)
