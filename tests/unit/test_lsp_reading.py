"""Broken texts: what is still read of them, and which item is blamed."""

from __future__ import annotations

import pytest

from rewarden.lsp.known import merged, records_written
from rewarden.lsp.reading import read
from rewarden.lsp.tokens import inside, item_at, matching, path_before, tokens_of
from rewarden.spec_lang import SpecError, limits, syntax
from rewarden.spec_lang.parser import parse, parse_partial
from rewarden.spec_lang.source import Source
from rewarden.spec_lang.symbols import Symbols
from tests.reference.language_page import HELPFUL, WAREHOUSE

HEAD = "spec s v1\n"
FINE = "param last: real = 1\n"


def partial(text: str) -> tuple[list[str], list[str]]:
    """The names of the items that are read; `place: message` of the errors."""
    tree, errors = parse_partial(Source("s.rwd", text))
    names = [] if tree is None else [getattr(item, "name", "") for item in tree.items]
    return names, [f"{d.labels[0].span.text or '-'}: {d.message}" for d in errors]


@pytest.mark.parametrize("text", [WAREHOUSE, HELPFUL])
def test_a_whole_text_is_read_as_a_whole(text: str) -> None:
    tree, errors = parse_partial(Source("s.rwd", text))
    assert errors == ()
    assert tree == parse(Source("s.rwd", text))


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ("let f(s: T) =\n", "=: this ends too early: expected an expression"),
        ("let f(s: T) = s.x +  # more\n\n--- of this\n", "+: this ends too early: expected an expression"),
        ("features T {\n  x : real\n", "real: this ends too early: expected `^`, `,`, `in`, a name, `}` or a unit"),
        ("reward R(s: T\n", "T: this ends too early: expected `,`, `.` or `)`"),
        ("must a:\n  forall s: T\n  given\n", "given: this ends too early: expected an expression"),
        ("must a:\n  forall s: T\n", "T: this ends too early: expected"),
        ("use\n", "use: this ends too early: expected a text in double quotes"),
        ("example of\n", "of: this ends too early: expected a name"),
        ('data d: T from "a.csv" "b"\n', '"b": expected a declaration or a rule'),
        ("let f(s: T) = s.x & 1\n", "&: '&' has no place here"),
    ],
)
@pytest.mark.parametrize(
    "after", [FINE, "must fine: forall s: T expect true\n" + FINE, f'use "a" as b\n{FINE}', FINE * 1]
)
def test_the_item_that_is_broken_is_blamed_and_no_other(broken: str, error: str, after: str) -> None:
    names, errors = partial(HEAD + "param first: real = 1\n" + broken + after)
    assert len(errors) == 1
    assert errors[0].startswith(error)
    assert names == partial(HEAD + "param first: real = 1\n" + after)[0]


def test_several_broken_items_are_reported_at_once() -> None:
    names, errors = partial(HEAD + "let f(s: T) =\nlet g(s: T) = (\nlet h(s: T) = 1\nmust )\n" + FINE)
    assert names == ["h", "last"]
    assert [e.split(":")[0] for e in errors] == ["=", "(", ")"]


def test_an_error_at_the_end_is_of_the_last_item() -> None:
    names, errors = partial(HEAD + FINE + "let f(s: T) =")
    assert names == ["last"]
    assert errors == ["=: the file ends too early: expected an expression"]


@pytest.mark.parametrize("text", ["", "spec", "spec s", "spec s\nlet f(s: T) = 1\n", "let f(s: T) = 1\n", "# x\n"])
def test_without_its_first_line_nothing_is_read(text: str) -> None:
    names, errors = partial(text)
    assert names == []
    assert len(errors) >= 1


def test_texts_beyond_the_limits_are_not_read() -> None:
    for text in (
        "#" * (limits.TEXT_BYTES + 1),
        HEAD + "let f(s: T) = " + "(" * 100,
        HEAD + f"param p: real = {'not ' * 90} 1",
    ):
        tree, errors = parse_partial(Source("s.rwd", text))
        assert tree is None
        assert [e.code for e in errors] in (["P05"], ["P06"])
        with pytest.raises(SpecError) as caught:
            parse(Source("s.rwd", text))
        assert caught.value.diagnostics == errors


def test_half_a_character_is_no_text() -> None:
    for text in ("\ud800", f'{HEAD}data d: T from "\udfff"'):
        tree, (error,) = parse_partial(Source("s.rwd", text))
        assert tree is None
        assert (error.code, error.labels[0].span.end) == ("P08", len(text.rstrip('"')))


def test_the_errors_of_the_part_are_those_of_the_whole() -> None:
    text = HEAD + "let f(s: T) =\nlet steps(s: T) = 1\nmust )\n"
    with pytest.raises(SpecError) as caught:
        parse(Source("s.rwd", text))
    assert caught.value.diagnostics == parse_partial(Source("s.rwd", text))[1]


# ── readings ───────────────────────────────────────────────────────────────────────────────────
def test_a_broken_text_is_judged_by_its_syntax_only() -> None:
    """What is missing from the broken item is no mistake of the others."""
    reading = read(WAREHOUSE.replace("region risky(s: Step) =", "region risky(s: Step)"), "s.rwd")
    assert {d.code for d in reading.diagnostics} == {"P01"}
    assert "risky" not in reading.known.definitions
    assert "R" in reading.known.rewards


def test_a_use_that_fails_leaves_the_names_of_the_text() -> None:
    reading = read(f'{HEAD}use "gone.rwd" as g\nfeatures T {{ x : real in 0 .. 1 }}\n', "s.rwd")
    assert [d.code for d in reading.diagnostics] == ["L07"]
    assert "T" in reading.known.records
    assert [u.alias for u in reading.uses()] == ["g"]


def test_what_was_known_is_kept_until_the_text_is_whole_again() -> None:
    whole = read(WAREHOUSE, "s.rwd")
    once = read(WAREHOUSE.replace("param  eps: real = 0.01", "param  eps: real ="), "s.rwd", before=whole)
    twice = read(WAREHOUSE.replace("param  eps: real = 0.01", "param  eps"), "s.rwd", before=once)
    assert "eps" in twice.known.params
    assert twice.whole is whole.whole
    again = read(WAREHOUSE.replace("param  eps: real = 0.01", ""), "s.rwd", before=twice)
    assert "eps" not in again.known.params


def test_a_name_that_changed_its_kind_is_of_the_new_kind() -> None:
    before = read(f"{HEAD}param a: real = 1\nparam b: real = 2\n", "s.rwd").known
    now = read(f"{HEAD}features a {{ x : bool }}\n", "s.rwd").known
    both = merged(now, before)
    assert set(both.params) == {"b"}
    assert set(both.records) == {"a"}
    assert merged(None, None) == Symbols()
    assert merged(None, before) is before


# ── tokens ─────────────────────────────────────────────────────────────────────────────────────
def test_tokens_of_anything() -> None:
    text = '--- t\nlet f_1(s: T) = 1.5e3 [m/s] <= s.x "a\\"b" # c\n"open'
    assert " ".join(t.kind for t in tokens_of(text)) == (
        "comment name name mark name mark name mark mark number unit mark name mark name text comment text"
    )
    assert [t.text for t in tokens_of(text)] == [
        "--- t", "let", "f_1", "(", "s", ":", "T", ")", "=", "1.5e3", "[m/s]", "<=", "s", ".", "x",
        '"a\\"b"', "# c", '"open',
    ]  # fmt: skip


def test_an_item_is_found_by_any_place_in_it() -> None:
    text = f"{HEAD}# x\nlet f(s: T) = 1\nmust a:\n  forall s: T\n"
    assert item_at(text, 3).word == "spec"
    assert item_at(text, text.index("1\nmust")).word == "let"
    assert item_at(text, len(text)).word == "must"
    assert item_at("", 0).word == ""


def test_inside_a_text_until_it_is_closed() -> None:
    tokens = tokens_of('a "b" # c')
    assert inside(tokens, "text", 2) is None
    assert inside(tokens, "text", 4) is not None
    assert inside(tokens, "text", 5) is None
    assert inside(tokens, "comment", 9) is not None
    assert inside(tokens_of('a "b'), "text", 4) is not None


def test_brackets_and_paths() -> None:
    tokens = tokens_of("given v.f((a.b), c)")
    assert matching(tokens, len(tokens) - 1) == 4
    assert matching(tokens_of("a)"), 1) is None
    assert [t.text for t in path_before(tokens, 4)] == ["v", "f"]
    assert path_before(tokens, 1) == ()


def test_records_of_items_that_are_not_whole() -> None:
    known = read(HELPFUL + 'data near_by: (a: Emb, b: Emb) from "n.csv"\n', "s.rwd").known

    def records(text: str) -> dict[str, str]:
        return records_written(item_at(text, 0), known)

    assert records("must x:\n forall a, b: Emb, c: v.T varying (((") == {"a": "Emb", "b": "Emb", "c": "v.T"}
    assert records("must x: trace t: Emb within") == {"t": "Emb"}
    assert records("must x: forall p in prefs given") == {"p.better": "Emb", "p.worse": "Emb"}
    assert records("must x: forall p in refusals") == {"p": "Emb"}
    assert records("must x: forall p in nothing") == {}
    assert records("assume e: Emb = e.") == {"e": "Emb"}
    assert records("let f(a: Emb, b") == {"a": "Emb"}
    assert records("example of people_agree: covers") == {"p.better": "Emb", "p.worse": "Emb"}
    assert records("must") == records("features T {") == records("") == {}


def test_the_tree_of_the_own_items() -> None:
    reading = read(WAREHOUSE, "s.rwd")
    assert [type(i) for i in reading.own_items()][:2] == [syntax.FeaturesDecl, syntax.AssumeDecl]
