"""Text to syntax tree: every form of the language, and what is said about text that has no tree."""

from __future__ import annotations

from fractions import Fraction

import pytest
from lark import Lark

from rewarden.spec_lang import SpecError, limits, syntax
from rewarden.spec_lang.parser import decode, grammar, keywords, parse, parse_expression
from rewarden.spec_lang.printer import print_expression, print_spec
from rewarden.spec_lang.source import Source
from tests.reference.language_page import HELPFUL, WAREHOUSE


def expression(text: str) -> syntax.Expr:
    return parse_expression(Source("text", text))


def test_an_expression_from_outside_stands_at_its_own_place() -> None:
    found = expression("  2 * eps")
    assert (found.span.text, found.span.line, found.span.column) == ("2 * eps", 1, 3)
    assert found.span.source.text == "  2 * eps"


def codes(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse(Source("text.rwd", text))
    return [d.code for d in caught.value.diagnostics]


def test_the_grammar_has_no_conflict() -> None:
    """Strict mode refuses any shift/reduce choice and any two terminals that could match the same text."""
    text = "\n".join([*_grammar_lines()])
    Lark(text, parser="lalr", lexer="contextual", strict=True, keep_all_tokens=True, maybe_placeholders=False)


def _grammar_lines() -> list[str]:
    from importlib.resources import files

    return files("rewarden.spec_lang").joinpath("grammar.lark").read_text("utf-8").splitlines()


@pytest.mark.parametrize("text", [WAREHOUSE, HELPFUL])
def test_the_language_page_parses_and_round_trips(text: str) -> None:
    tree = parse(Source("page.rwd", text))
    assert parse(Source("again.rwd", print_spec(tree))) == tree


def test_titles_stand_above_rules() -> None:
    tree = parse(
        Source(
            "t",
            "spec s v1\nfeatures T { x: real in 0 .. 1 }\n--- Old news.\n\nlet f(t: T) = 1\n"
            "--- One.\n--- Two.\n# a remark\n\nmust a:\n  forall t: T expect t.x >= 0 - -1\n"
            "should b: forall t: T expect true\n",
        )
    )
    rules = [i for i in tree.items if isinstance(i, syntax.RuleDecl)]
    assert [r.title for r in rules] == ["One. Two.", ""]


@pytest.mark.parametrize(
    ("text", "value"), [("0.1", Fraction(1, 10)), ("1e-3", Fraction(1, 1000)), ("12.50", Fraction(25, 2)), ("7E2", 700)]
)
def test_literals_are_exact(text: str, value: Fraction) -> None:
    match expression(text):
        case syntax.Number(value=found, unit=None, percent=False):
            assert found == value
        case other:
            raise AssertionError(other)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("a implies b implies c", "a implies b implies c"),
        ("(a implies b) implies c", "(a implies b) implies c"),
        ("not a == b and c", "not a == b and c"),
        ("not (a == b and c)", "not (a == b and c)"),
        ("a or b and c", "a or b and c"),
        ("(a or b) and c", "(a or b) and c"),
        ("a - b - c", "a - b - c"),
        ("a - (b - c)", "a - (b - c)"),
        ("(a - b) - c", "(a - b) - c"),
        ("-a * b", "-a * b"),
        ("-(a * b)", "-(a * b)"),
        ("a * (b + c) / 2 [m/s]", "a * (b + c) / 2 [m/s]"),
        ("||a| - |b||", "||a| - |b||"),
        ("0<=s.x<1", "0 <= s.x < 1"),
        (
            "R(s with {speed = s.speed - 0.50 [m/s], wet = true}).x",
            "R(s with {speed = s.speed - 0.5 [m/s], wet = true}).x",
        ),
        ("(if a then b else c) + x.e[3]", "(if a then b else c) + x.e[3]"),
        ("beyond(g(s), 5 %)", "beyond(g(s), 5 %)"),
        ("sum(R(t) discount 0.9) <= 0", "sum(R(t) discount 0.9) <= 0"),
        ("always g(t) implies eventually (a or b)", "always g(t) implies eventually (a or b)"),
        ("1e30 + 1e-30 + 100000", "1e30 + 1e-30 + 100000"),
    ],
)
def test_canonical_text_has_the_fewest_parentheses(text: str, canonical: str) -> None:
    tree = expression(text)
    assert print_expression(tree).replace("1000000000000000000000000000000", "1e30") == canonical
    assert expression(print_expression(tree)) == tree


@pytest.mark.parametrize(
    "text",
    [
        "(-1) * (x) <= s.z * (s.n + (2))",
        "(a) and ((b)) or (c)",
        "not (a)",
        "-(x)",
        "|(x) - (y)|",
        "(s).speed + (e)[2]",
        "(s) with {speed = (1)}",
        "((a) implies (b))",
    ],
)
def test_what_is_built_from_parentheses_has_them_in_its_span(text: str) -> None:
    found = expression(text).span.text
    assert found == (text[1:-1] if text.startswith("((") else text)
    assert found.count("(") == found.count(")")


def test_spans_underline_what_they_name() -> None:
    tree = parse(Source("w.rwd", WAREHOUSE))
    rule = next(i for i in tree.items if isinstance(i, syntax.RuleDecl))
    assert rule.given is not None
    assert rule.given.span.text == "risky(a) and a.speed <= b.speed"
    assert (rule.given.span.line, rule.given.span.column) == (26, 9)
    assert [n.span.text for n in syntax.walk(rule.given)][:3] == [rule.given.span.text, "risky(a)", "a"]


def test_near_forms() -> None:
    head = 'spec s v1 features T { x: real in 0 .. 1 } reward R(t: T) data d: T from "d.csv" '
    for radius in ("0.1", "r", "5 %", "{x = 0.1, y = 5 %}"):
        for norm in ("", " in l1", " in l2", " in linf"):
            tree = parse(Source("n", f"{head}must a: forall t: T near d within {radius}{norm} expect R(t) > 0"))
            rule = tree.items[-1]
            assert isinstance(rule, syntax.RuleDecl)
            assert isinstance(rule.quantifier, syntax.Near)
            assert rule.quantifier.norm == (norm.removeprefix(" in ") or "linf")


def test_forms_of_the_next_version_parse() -> None:
    text = """spec s v1
use "base.rwd" as base
features T { x: real in 0 .. 1 }
relation move(a, b: T) = a.x <= b.x
must t1: trace t: T within 5 steps via move expect sum(R(t) discount 0.9) <= 3
must t2: trace t: T of 5 steps expect always g(t) or first(t).x > last(t).x
must c: cycle t: T via move expect sum(R(t)) <= 0
must p: forall p in prefs expect share(H(p.better) > H(p.worse)) >= 0.6 confidence 0.99
example of t1: covers s = {x = 1}, t = {x = 0} ignores s = {x = 0}
"""
    tree = parse(Source("later", text))
    assert parse(Source("again", print_spec(tree))) == tree
    assert len(tree.items) == 8


# ── refusals ───────────────────────────────────────────────────────────────────────────────────
def test_every_syntax_error_of_a_file_is_reported_at_once() -> None:
    text = "spec s v1\nfeatures T { x real }\nreward R(s T)\nparam p: real = 3\nmust a:\n  forall s: T\n  expect\n"
    assert codes(text) == ["P01", "P01", "P01"]


@pytest.mark.parametrize(
    ("wrong", "code", "words"),
    [
        ("must a:\n  forall s: T\n  expects R(s) > 0\n", "P01", "did you mean expect?"),
        ("must a:\n  forall s: T\n  givens.b\n  expect R(s) > 0\n", "P01", "found `givens`"),
        ("must a:\n  forall s: T\n  expect s.b ands.b\n", "P01", "found `ands`"),
        ("must a:\n  foralls: T\n  expect R(s) > 0\n", "P01", "did you mean forall?"),
        ("must a:\n  forall s: T near logs within1\n  expect R(s) > 0\n", "P01", "found `within1`"),
        ("musta:\n  forall s: T\n  expect R(s) > 0\n", "P01", "found `musta`"),
        ("must a:\n  forall s: T\n  expect R(s) > 0\n  weight2\n", "P01", "found `weight2`"),
        ("Features U { x: bool }\n", "P01", "did you mean features?"),
        ("must a:\n  forall s: T\n  expect s.b == not s.b\n", "P03", "write it in parentheses: (not …)"),
        ("must a:\n  forall s: T\n  expect if s.b then s.b else s.b\n", "P03", "(if c then x else y)"),
        ("features U { x: real [m] in 0 [cm] .. 5 }\n", "P01", "in its feature's own unit"),
        ("features U { x: real [m] in 0 .. 1e3 [m] }\n", "P01", "in its feature's own unit"),
        ("features U { x: real in 0 .. inf }\n", "P01", "finite numbers"),
    ],
)
def test_words_are_read_whole(wrong: str, code: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(Source("s.rwd", f"spec s v1\nfeatures T {{ b: bool }}\nreward R(s: T)\n{wrong}"))
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert words in f"{found.message} {found.help}"


@pytest.mark.parametrize("word", ["in", "given", "id", "weight", "and", "steps"])
def test_keywords_are_reserved(word: str) -> None:
    assert word in keywords()
    assert codes(f"spec s v1\nfeatures T {{\n  {word} : bool\n}}\n") == ["P03"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("spec s v2", "P04"),
        ("spec s v1 param p: real = 1e9999", "P07"),
        ("spec s v1 param p: real = 1e99999999999999999999", "P07"),
        (f"spec s v1 param p: real = {'9' * 5000}", "P07"),
        ("spec s v1 features T { x: real ^ 1 in 0 .. 1 }", "P09"),
        ("spec s v1 features T { x: real ^ 2.5 in 0 .. 1 }", "P09"),
        ("spec s v1 features T { x: real ^ 999999999 in 0 .. 1 }", "P09"),
        ("spec s v1 param p: real = x[1.5]", "P10"),
        ("spec s v1 param p: real = 'a'", "P02"),
        ("spec s v1 param p: real = 1 $ 2", "P02"),
        ('spec s v1 use "a\\n" as b', "P02"),
        ("", "P01"),
        ("spec", "P01"),
        ("features T { x: bool }", "P01"),
    ],
)
def test_refusals(text: str, code: str) -> None:
    assert codes(text) == [code]


@pytest.mark.parametrize(
    "deep",
    [
        "(" * 5000 + "1" + ")" * 5000,
        "(" * 100 + "1" + ")" * 100,
        "|" * 300 + "1" + "|" * 300,
        "-" * 3000 + "1",
        "not " * 3000 + "true",
        "a implies " * 3000 + "a",
        "f(" * 3000,
        "a" + " with {x = 1}" * 3000,
    ],
)
def test_depth_is_limited(deep: str) -> None:
    assert codes(f"spec s v1\nparam p: real = {deep}\n") == ["P06"]


def test_long_flat_chains_are_fine() -> None:
    tree = parse(Source("t", "spec s v1 param p: real = " + " + ".join(["1"] * 5000)))
    assert parse(Source("t", print_spec(tree))) == tree


def test_bytes() -> None:
    assert decode(b"\xef\xbb\xbfspec s v1\r\n", "x").text == "spec s v1\n"
    with pytest.raises(SpecError) as caught:
        decode(b"spec s v1\n# \xff\xfe\n", "x.rwd")
    assert caught.value.render().splitlines()[:2] == ["error[P08]: this is not UTF-8 text", " --> x.rwd:2:3"]
    with pytest.raises(SpecError) as caught:
        decode(b" " * (limits.TEXT_BYTES + 1), "x.rwd")
    assert caught.value.code == "P05"


def test_the_grammar_is_built_once() -> None:
    assert grammar() is grammar()
