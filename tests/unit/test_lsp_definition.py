"""Where names are declared and used, and what may be renamed; `¦` marks the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewarden.lsp.definition import Place, Refused, definition, references, renamed
from rewarden.lsp.outline import outline
from rewarden.lsp.reading import Reading, read
from rewarden.spec_lang.spec import parse_spec
from tests.reference.language_page import HELPFUL, WAREHOUSE

VOCABULARY = """spec vocabulary v1
features Step {
  speed : real [m/s] in 0 .. 2
  zone  : enum {aisle, dock}
}
reward R(s: Step)
data logs: Step from "logs.csv"
param eps: real = 0.1
region fast(s: Step) = s.speed > 1 [m/s]
relation move(a: Step, b: Step) = a.zone == b.zone
"""
MAIN = """spec main v1
use "words/vocabulary.rwd" as v
must calm:
  forall s: v.Step
  given v.fast(s) and s.zone == dock
  expect v.R(s) <= v.eps
should near_logs:
  forall x: v.Step near v.logs within 5 %
  expect v.R(x) <= v.R(anchor(x)) + v.eps
should loops:
  cycle t: v.Step via v.move
  expect sum(v.R(t)) <= 0
example of calm:
  covers s = {speed = 2 [m/s], zone = dock}
"""


def marked(text: str, before: Reading | None = None) -> tuple[Reading, int]:
    return read(text.replace("¦", ""), "spec.rwd", before=before), text.index("¦")


def declared(text: str, before: Reading | None = None) -> str:
    """The line that the name at the mark leads to, from the name on."""
    reading, offset = marked(text, before)
    place = definition(reading, offset)
    if place is None:
        return ""
    assert place.file is None
    return reading.source.text[place.start :].split("\n")[0]


def in_page(needle: str, text: str = WAREHOUSE) -> str:
    plain = needle.replace("¦", "")
    assert text.count(plain) == 1, f"{plain} is ambiguous"
    return text.replace(plain, needle)


@pytest.mark.parametrize(
    ("needle", "line"),
    [
        ("given ris¦ky(a)", "risky(s: Step) = s.human_near and s.clearance < 1.0 [m]"),
        ("risky(¦a)", "a, b: Step varying speed"),
        ("a.spee¦d <=", "speed      : real [m/s] in 0 .. 2.5"),
        ("varying sp¦eed", "speed      : real [m/s] in 0 .. 2.5"),
        ("s.zone == charg¦er", "charger}"),
        ("s with {spe¦ed =", "speed      : real [m/s] in 0 .. 2.5"),
        ("expect ¦R(a) >=", f"R(s: Step){' ' * 33}# a free symbol: bound to an artifact at verification time"),
        ("quantile(R(log¦s)", 'logs: Step from "data/logs.parquet"'),
        ("s.speed > v_s¦afe", "v_safe: real [m/s] = 0.5 [m/s]"),
        ("region risky(s: St¦ep)", "Step {                                   # the reward's input, in problem units"),
        ("example of no_speed_¦bonus", "no_speed_bonus:"),
        ("covers  ¦s =", "s: Step"),
        ("{human_¦near = true", "human_near : bool"),
    ],
)  # fmt: skip
def test_a_name_leads_to_its_declaration(needle: str, line: str) -> None:
    assert declared(in_page(needle)) == line


def test_what_has_no_declaration() -> None:
    assert declared(in_page("qu¦antile(R(logs)")) == ""
    assert declared(in_page("gi¦ven risky(a)")) == ""
    assert declared(in_page("<= 0.5 [m/¦s]      #")) == ""


def test_rows_of_data() -> None:
    assert declared(in_page("H(¦p.better)", HELPFUL)) == "p in prefs"
    assert declared(in_page("forall p in pre¦fs", HELPFUL)).startswith("prefs: (better: Emb")
    assert declared(in_page("worse: Em¦b)", HELPFUL)).startswith("Emb { e:")


def test_in_an_item_that_does_not_parse() -> None:
    broken = WAREHOUSE.replace("expect R(a) >= R(b) - eps", "expect R(a) >=")
    whole = read(WAREHOUSE, "spec.rwd")
    assert declared(in_page("expect ¦R(a) >=", broken), whole).startswith("R(s: Step)")
    assert declared(in_page("a.spee¦d <=", broken), whole).startswith("speed      : real")
    assert declared(in_page("given ris¦ky(a)", broken), whole).startswith("risky(s: Step)")
    assert declared(in_page("and ¦a.speed <=", broken), whole).startswith("a, b: Step varying speed")
    assert declared(in_page("max¦ that", broken + "# max that"), whole) == ""


def test_to_an_item_that_does_not_parse() -> None:
    """Its name and features are found by their tokens."""
    whole = read(WAREHOUSE, "spec.rwd")
    broken = "# moved down\n" + WAREHOUSE.replace("payload    : real [kg] in 0 .. 60", "payload    : real [kg")
    assert declared(in_page("a.spee¦d <=", broken), whole).startswith("speed      : real")
    assert declared(in_page("region risky(s: St¦ep)", broken), whole).startswith("Step {")


# ── used files ─────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def main(tmp_path: Path) -> Reading:
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "vocabulary.rwd").write_text(VOCABULARY, encoding="utf-8")
    reading = read(MAIN, "main.rwd", path=tmp_path / "main.rwd")
    assert reading.diagnostics == ()
    return reading


def leads_to(reading: Reading, needle: str) -> Place:
    assert MAIN.count(needle.replace("¦", "")) == 1
    place = definition(reading, MAIN.index(needle.replace("¦", "")) + needle.index("¦"))
    assert place is not None
    return place


@pytest.mark.parametrize(
    ("needle", "line"),
    [
        ("forall s: v.St¦ep", "Step {"),
        ("s.zo¦ne ==", "zone  : enum {aisle, dock}"),
        ("== do¦ck", "dock}"),
        ("v.fa¦st(s)", "fast(s: Step) = s.speed > 1 [m/s]"),
        ("near v.lo¦gs", 'logs: Step from "logs.csv"'),
        ("<= v.ep¦s\nshould", "eps: real = 0.1"),
        ("via v.mo¦ve", "move(a: Step, b: Step) = a.zone == b.zone"),
        ("zo¦ne = dock}", "zone  : enum {aisle, dock}"),
    ],
)
def test_a_name_of_a_used_file_leads_there(main: Reading, needle: str, line: str, tmp_path: Path) -> None:
    place = leads_to(main, needle)
    assert place.file == tmp_path / "words" / "vocabulary.rwd"
    assert place.source.text[place.start :].split("\n")[0] == line


@pytest.mark.parametrize("needle", ["forall s: ¦v.Step", 'use "words/voc¦abulary.rwd"', "as ¦v"])
def test_an_alias_leads_to_the_file(main: Reading, needle: str, tmp_path: Path) -> None:
    place = leads_to(main, needle)
    assert (place.file, place.start) == (tmp_path / "words" / "vocabulary.rwd", 0)


def test_a_file_that_is_not_there_leads_nowhere(tmp_path: Path) -> None:
    for path in ("none.rwd", "a\\0b"):
        text = f'spec main v1\nuse "{path}" as v\n'
        assert definition(read(text, "main.rwd", path=tmp_path / "main.rwd"), text.index("as v") + 3) is None


# ── references and rename ──────────────────────────────────────────────────────────────────────
def test_references_of_a_feature_are_all_its_uses() -> None:
    reading, offset = marked(in_page("  ¦speed      :"))
    found = references(reading, offset)
    assert [o.declares for o in found].count(True) == 1
    text = WAREHOUSE
    written = text.count(".speed") + text.count("{speed") + text.count(" speed = 1") + text.count("varying speed")
    assert len(found) == written + 1


def test_a_record_is_one_of_its_own_rule() -> None:
    reading, offset = marked(in_page("risky(¦a)"))
    found = references(reading, offset)
    assert len(found) == 4
    assert reading.source.text[found[0].start : found[-1].end].count("must") == 0


def test_records_of_an_example_are_those_of_its_rule() -> None:
    reading, offset = marked(in_page("covers  ¦s ="))
    assert sum(o.declares for o in references(reading, offset)) == 1
    assert len(references(reading, offset)) == 6


@pytest.mark.parametrize(
    ("needle", "new"),
    [
        ("  ¦speed      :", "velocity"),
        ("given ris¦ky(a)", "dangerous"),
        ("region risky(s: St¦ep)", "Moment"),
        ("expect ¦R(a) >=", "Mine"),
        ("s.speed > v_s¦afe", "slow"),
        ("quantile(R(log¦s)", "rows"),
        ("s.zone == charg¦er", "charging"),
        ("example of no_speed_¦bonus", "other_name"),
        ("risky(¦a)", "first_one"),
    ],
)
def test_a_renamed_spec_means_the_same(needle: str, new: str) -> None:
    """It is checked without a finding, and renaming back gives the text again."""
    reading, offset = marked(in_page(needle))
    places = renamed(reading, offset, new)
    assert not isinstance(places, Refused)
    text, old = WAREHOUSE, WAREHOUSE[places[0].start : places[0].end]
    for place in reversed(places):
        text = text[: place.start] + new + text[place.end :]
    assert len(parse_spec(text).rules) == 5
    again = renamed(read(text, "spec.rwd"), text.index(new), old)
    assert not isinstance(again, Refused)
    assert len(again) == len(places)
    for place in reversed(again):
        text = text[: place.start] + old + text[place.end :]
    assert text == WAREHOUSE


def test_an_alias_is_renamed_wherever_it_stands(main: Reading) -> None:
    places = renamed(main, MAIN.index("as v") + 3, "words")
    assert not isinstance(places, Refused)
    text = MAIN
    for place in reversed(places):
        text = text[: place.start] + "words" + text[place.end :]
    assert text == MAIN.replace("v.", "words.").replace("as v", "as words")


@pytest.mark.parametrize(
    ("needle", "new", "reason"),
    [
        ("qu¦antile(R(logs)", "q", "word of the language"),
        ("given ris¦ky(a)", "must", "cannot be a name"),
        ("given ris¦ky(a)", "quantile", "cannot be a name"),
        ("given ris¦ky(a)", "very risky", "cannot be a name"),
        ("given ris¦ky(a)", "Base", "something else"),
        ("given ris¦ky(a)", "s", "something else"),
        ("risky(¦a)", "b", "something else"),
        ("risky(¦a)", "eps", "something else"),
        ("  ¦speed      :", "payload", "something else"),
        ("s.zone == charg¦er", "dock", "something else"),
        ("example of no_speed_¦bonus", "braking_pays", "something else"),
        ("gi¦ven risky(a)", "x", "no name"),
    ],
)
def test_what_may_not_be_renamed(needle: str, new: str, reason: str) -> None:
    reading, offset = marked(in_page(needle))
    found = renamed(reading, offset, new)
    assert isinstance(found, Refused)
    assert reason in found.reason


def test_names_of_other_files_and_broken_texts_are_not_renamed(main: Reading) -> None:
    found = renamed(main, MAIN.index("v.eps") + 2, "delta")
    assert found == Refused("v.eps is declared in another file")
    broken = renamed(*marked(in_page("given ris¦ky(a)").replace("expect R(a)", "expect (")), "dangerous")
    assert broken == Refused("the text has syntax errors: a name could be overlooked")


# ── outline ────────────────────────────────────────────────────────────────────────────────────
def test_the_outline_names_every_item() -> None:
    found = outline(read(WAREHOUSE, "spec.rwd"))
    assert [e.name for e in found] == [
        "Step", "assume s: Step", "R", "Base", "logs", "v_safe", "eps", "risky", "slow_near_people", "no_speed_bonus",
        "braking_pays", "aisle_is_irrelevant", "edit_is_local", "example of no_speed_bonus",
    ]  # fmt: skip
    assert [e.name for e in found[0].inner][:3] == ["dist_goal", "clearance", "speed"]
    assert found[0].inner[2].detail == "real [m/s] in 0 .. 2.5"
    assert found[8].detail == "must: Near a person, going faster never pays."
    text = WAREHOUSE
    assert all(text[e.name_start : e.name_end] in (e.name, e.name.split()[-1], "s") for e in found)


def test_the_outline_keeps_what_parses() -> None:
    broken = read(WAREHOUSE.replace("given risky(a) and", "given risky(a"), "spec.rwd")
    assert "slow_near_people" not in [e.name for e in outline(broken)]
    assert len(outline(broken)) == 13
