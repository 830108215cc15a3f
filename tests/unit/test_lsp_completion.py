"""What is proposed where; `¦` marks the cursor in a text that is usually broken there."""

from __future__ import annotations

import re

import pytest

from rewarden.lsp.completion import ITEM_WORDS, Completion, complete
from rewarden.lsp.reading import read
from rewarden.lsp.words import BUILT_IN, KEYWORDS, UNITS
from rewarden.spec_lang.parser import ITEM_LINE, keywords
from rewarden.spec_lang.symbols import BUILT_IN as DECLARED_BUILT_IN
from rewarden.spec_lang.symbols import Symbols
from rewarden.spec_lang.units import unit
from tests.reference.language_page import WAREHOUSE

PAIRS = """
features Move { thrust : real [N] in -5 .. 5 }
data pairs: (better: Step, worse: Step) from "pairs.csv"
data moves: Move from "moves.csv"
relation follows(a: Step, b: Step) = a.battery >= b.battery
"""
SPEC = WAREHOUSE + PAIRS
KNOWN = read(SPEC, "spec.rwd").known
FEATURES = ["dist_goal", "clearance", "speed", "payload", "battery", "human_near", "zone", "aisle_id"]
ZONES = ["aisle", "dock", "charger"]


def at(marked: str, known: Symbols = KNOWN) -> Completion:
    offset = marked.index("¦")
    return complete(marked.replace("¦", ""), offset, known)


def proposed(marked: str) -> list[str]:
    """At the cursor of an item that is written below the spec."""
    return [p.text for p in at(f"{SPEC}\n{marked}").proposals]


def test_the_specs_are_whole() -> None:
    assert read(SPEC, "spec.rwd").diagnostics == ()


# ── keywords ───────────────────────────────────────────────────────────────────────────────────
def test_an_empty_file_begins_with_spec() -> None:
    assert [p.text for p in at("¦").proposals] == ["spec"]
    assert [p.text for p in at("\n\nsp¦").proposals] == ["spec"]


@pytest.mark.parametrize("typed", ["¦", "mu¦", "¦must old:\n  forall s: Step\n  expect R(s) >= 0"])
def test_a_line_begins_with_an_item(typed: str) -> None:
    assert proposed(typed) == list(ITEM_WORDS)


def test_the_words_of_items_are_those_that_the_parser_looks_for() -> None:
    assert all(ITEM_LINE.match(word) for word in ITEM_WORDS)
    assert set(re.findall(r"\w+", ITEM_LINE.pattern.replace("\\b", ""))) == set(ITEM_WORDS)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("must x:\n  ¦", {"forall", "trace", "cycle"}),
        ("must x:\n  forall a, b: Step ¦", {"varying", "near", "not", "given", "expect"}),
        ("must x:\n  forall a, b: Step va¦", {"varying", "near", "not", "given", "expect"}),
        ("must x:\n  forall x: Step near logs ¦", {"within"}),
        ("must x:\n  forall x: Step not ¦", {"near"}),
        ("must x:\n  forall x: Step not near logs ¦", {"within"}),
        ("must x:\n  forall s: Step\n  given risky(s) ¦", {"expect", "and", "or", "implies", "with"}),
        ("must x:\n  forall s: Step\n  expect R(s) >= 0\n  ¦", {"weight", "id", "because", "and", "or", "implies"}),
        ("must x:\n  trace t: Step ¦", {"within", "of"}),
        ("must x:\n  trace t: Step within 3 steps ¦", {"via", "given", "expect"}),
        ("param p: ¦", {"real", "int", "bool", "enum"}),
        ("param p: real ¦", set()),
        ("features F {\n  x : ¦", {"real", "int", "bool", "enum"}),
        ("features F {\n  x : real ¦", {"in"}),
        ("example of no_speed_bonus:\n  ¦", {"covers", "ignores"}),
        ('use "a.rwd" ¦', {"as"}),
    ],
)
def test_the_keywords_that_fit(typed: str, words: set[str]) -> None:
    assert set(proposed(typed)) == words


def test_words_of_traces_are_proposed_in_traces_only() -> None:
    assert "always" not in proposed("must x:\n  forall s: Step\n  given ¦")
    assert {"always", "eventually"} <= set(proposed("must x:\n  trace t: Step of 3 steps\n  expect ¦"))
    assert "discount" in proposed("must x:\n  trace t: Step of 3 steps\n  expect sum(R(t) ¦")
    assert "confidence" in proposed("must x:\n  forall p in logs\n  expect share(risky(p)) >= 0.5 ¦")


def test_every_word_of_the_language_is_explained() -> None:
    assert set(KEYWORDS) == keywords()
    assert set(BUILT_IN) == set(DECLARED_BUILT_IN)
    assert all(b.form.startswith(f"{name}(") for name, b in BUILT_IN.items())
    texts = [*KEYWORDS.values(), *(b.meaning for b in BUILT_IN.values())]
    assert [text for text in texts if not re.fullmatch(r"[A-Z].{10,}[.]", text)] == []


# ── names ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("must x:\n  forall a, b: ¦", ["Step", "Move"]),
        ("must x:\n  forall a, b: St¦", ["Step", "Move"]),
        ("region q(s: ¦", ["Step", "Move"]),
        ("reward Q(s: Step, m: ¦", ["Step", "Move"]),
        ("data d: ¦", ["Step", "Move"]),
        ("must x:\n  forall x: Step near ¦", ["logs", "pairs", "moves"]),
        ("must x:\n  forall p in ¦", ["logs", "pairs", "moves"]),
        ("must x:\n  forall x: Step near logs within 5 % in ¦", ["linf", "l1", "l2"]),
        ("must x:\n  cycle t: Step via ¦", ["follows"]),
        ("must x:\n  forall a, b: Step varying ¦", FEATURES),
        ("must x:\n  forall a, b: Step varying speed, ¦", FEATURES),
        ("example of no_speed_bonus:\n  covers ¦", ["s"]),
        ("let ¦", []),
        ("must ¦", []),
        ("must x:\n  forall ¦", []),
        ("features ¦", []),
        ("features F {\n  ¦", []),
    ],
)
def test_the_names_that_fit(typed: str, names: list[str]) -> None:
    assert proposed(typed) == names


def test_an_expression_takes_records_definitions_rewards_params_and_functions() -> None:
    found = proposed("must x:\n  forall a, b: Step\n  given ¦")
    assert found[:8] == ["a", "b", "risky", "follows", "R", "Base", "v_safe", "eps"]
    assert set(BUILT_IN) <= set(found)
    assert "logs" not in found
    assert "true" in found


def test_a_reward_is_applied_to_records_or_data() -> None:
    assert proposed("must x:\n  forall s: Step\n  expect R(s) <= quantile(R(¦")[:4] == ["s", "logs", "pairs", "moves"]


def test_assumptions_speak_of_no_reward() -> None:
    found = proposed("assume s: Step = ¦")
    assert "s" in found
    assert "R" not in found


def test_a_parameter_is_made_of_parameters() -> None:
    assert proposed("param p: real = ¦")[:2] == ["v_safe", "eps"]
    assert "s" not in proposed("param p: real = ¦")


def test_rules_to_give_examples_of() -> None:
    assert "no_speed_bonus" in proposed("example of ¦")


@pytest.mark.parametrize(
    "typed",
    [
        "must x:\n  forall s: Step\n  given s.¦",
        "must x:\n  forall s: Step\n  given s.sp¦ and risky(s)\n  expect R(s) >= 0",
        "must x:\n  forall s: Step\n  given ((( s.¦",
        "must x:\n  forall s: Step\n  given & nonsense ]] s.¦",
        "must x:\n  forall x: Step near logs within 5 %\n  expect R(x) >= R(anchor(x)) and anchor(x).¦",
        "must x:\n  trace t: Step within 3 steps\n  expect first(t).¦",
        "must x:\n  forall s: Step\n  expect (s with {speed = 1 [m/s]}).¦",
        "must x:\n  forall s: Step\n  expect s with {speed = 1 [m/s]}.¦",
        "must x:\n  forall p in pairs\n  expect p.better.¦",
        "must x:\n  forall s: Step\n  expect R(s with {¦",
        "must x:\n  forall s: Step\n  expect R(s with {speed = 0, ¦",
        "must x:\n  forall x: Step near logs within {¦",
        "example of no_speed_bonus:\n  covers s = {¦",
        "let f(q: Step, m: Move) = q.¦",
        "assume s: Step = s.¦",
    ],
)
def test_features_of_a_record(typed: str) -> None:
    assert proposed(typed) == FEATURES


def test_a_record_has_the_features_of_its_own_type() -> None:
    assert proposed("let f(q: Step, m: Move) = m.¦") == ["thrust"]
    assert proposed("let f(q: Step, m: Nowhere) = m.¦") == []
    assert proposed("let f(q: Step) = R(q).¦") == []


def test_members_of_a_row() -> None:
    assert proposed("must x:\n  forall p in pairs\n  expect p.¦") == ["better", "worse"]


def test_a_feature_shows_its_type_unit_range_and_comment() -> None:
    typed = SPEC.replace("speed      : real", "# how fast\n  speed      : real") + "\nlet f(s: Step) = s.¦"
    found = {p.text: p for p in at(typed, read(typed.replace("¦", "speed"), "spec.rwd").known).proposals}
    assert found["speed"].detail == "real [m/s] in 0 .. 2.5"
    assert found["speed"].meaning == "how fast"
    assert found["zone"].detail == "enum {aisle, dock, charger}"
    assert found["aisle_id"].detail == "real ^ 8 in 0 .. 1"
    assert found["human_near"].detail == "bool"


@pytest.mark.parametrize(
    "typed",
    [
        "must x:\n  forall s: Step\n  given s.zone == ¦",
        "must x:\n  forall s: Step\n  given s.zone != d¦ and risky(s)\n  expect R(s) >= 0",
        "must x:\n  forall x: Step near logs within 5 %\n  given anchor(x).zone == ¦",
        "must x:\n  forall s: Step\n  expect R(s with {zone = ¦",
        "example of no_speed_bonus:\n  covers s = {speed = 1 [m/s], zone = ¦",
    ],
)
def test_cases_of_an_enum(typed: str) -> None:
    assert proposed(typed) == ZONES


def test_no_case_is_proposed_beside_a_number() -> None:
    assert not set(ZONES) & set(proposed("must x:\n  forall s: Step\n  given s.speed == ¦"))


# ── units ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "typed",
    [
        "must x:\n  forall s: Step\n  given s.speed > 0.5 [¦",
        "param p: real [¦",
        "features F {\n  x : int [¦]",
        "let f(s: Step) = 1 [ m¦]",
    ],
)
def test_units_those_of_the_file_first(typed: str) -> None:
    found = proposed(typed)
    assert found[:3] == ["m", "m/s", "kg"]
    assert set(UNITS) <= set(found)


def test_a_unit_that_is_begun_is_carried_on() -> None:
    found = at(f"{SPEC}\nparam p: real [kg*¦]")
    assert found.proposals[0].text == "kg*m"
    assert f"{SPEC}\nparam p: real ["[found.start - 1] == "["


def test_every_unit_proposed_is_one() -> None:
    assert all(unit(text) for text in UNITS)


def test_an_index_is_no_unit() -> None:
    assert proposed("let f(s: Step) = s.aisle_id[¦") == []


# ── nothing ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "typed",
    [
        "# a rem¦",
        "--- a tit¦",
        'must x:\n  forall s: Step\n  expect R(s) >= 0 because "it m¦',
        "let f(s: Step) = 1.¦",
        "let f(s: Step) = 12¦",
    ],
)
def test_no_proposals_in_remarks_texts_and_numbers(typed: str) -> None:
    assert proposed(typed) == []


def test_the_word_before_the_cursor_is_replaced() -> None:
    found = at(f"{SPEC}\nmust x:\n  forall s: Step\n  given s.spe¦")
    assert found.start == len(f"{SPEC}\nmust x:\n  forall s: Step\n  given s.")


# ── used files, broken texts ───────────────────────────────────────────────────────────────────
def test_names_of_a_used_file_are_those_that_fit_the_place(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("specs")
    (folder / "vocab.rwd").write_text(SPEC, encoding="utf-8")
    head = 'spec main v1\nuse "vocab.rwd" as v\n'
    known = read(head, "main.rwd", path=folder / "main.rwd").known

    def after(typed: str) -> list[str]:
        return [p.text for p in at(head + typed, known).proposals]

    assert after("must x:\n  forall s: v.¦") == ["Step", "Move"]
    assert after("must x:\n  forall s: ¦") == ["v.Step", "v.Move"]
    assert after("must x:\n  forall x: v.Step near v.¦") == ["logs", "pairs", "moves"]
    assert after("must x:\n  cycle t: v.Step via v.¦") == ["follows"]
    assert after("must x:\n  forall s: v.Step\n  given v.¦") == ["risky", "follows", "R", "Base", "v_safe", "eps"]
    assert after("must x:\n  forall s: v.Step\n  given s.¦") == FEATURES


def test_an_item_that_is_broken_now_is_remembered() -> None:
    whole = read(SPEC, "spec.rwd")
    broken = read(SPEC.replace("payload    : real [kg]", "payload    : real [kg"), "spec.rwd", before=whole)
    assert not broken.parses
    again = read(SPEC.replace("payload    : real [kg]", "payload    : re"), "spec.rwd", before=broken)
    typed = again.source.text + "\nlet f(s: Step) = s.¦"
    assert [p.text for p in at(typed, again.known).proposals] == FEATURES
    assert read(again.source.text, "spec.rwd").known.records.keys() == {"Move"}


def test_a_declaration_that_is_gone_is_forgotten() -> None:
    whole = read(SPEC, "spec.rwd")
    without = read(SPEC.replace("param  eps: real = 0.01\n", ""), "spec.rwd", before=whole)
    assert without.parses
    assert "eps" not in without.known.params
