"""The one format, for all specs: comments between any two tokens, any spacing, any tree.

Formatting keeps what the text means and every comment, and formatting twice changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lark import Token

from rewarden.spec_lang import SpecError
from rewarden.spec_lang.format.formatter import format_text
from rewarden.spec_lang.parser import grammar, keywords, parse
from rewarden.spec_lang.printer import print_spec
from rewarden.spec_lang.source import Source
from rewarden.spec_lang.syntax import SpecFile
from tests.property.test_parser_fuzz import HERE, items, names
from tests.reference.how_many import part_of
from tests.reference.language_page import HELPFUL, WAREHOUSE
from tests.reference.random_specs import HEADER, truths

SETTINGS = settings(max_examples=part_of(60), deadline=None, suppress_health_check=list(HealthCheck))

REST = """spec rest v1
use "vocabulary.rwd" as v
features T { x: real [m] in 0 .. 1, y: int in -1 .. 1, z: enum {a, b,}, }
reward Q(s: T, t: T)
data moves: (from_: T, to: T) from "moves.csv"
relation move(a: T, b: T) = |a.x - b.x| <= 0.1 [m]
relation same(a: T, b: T) = a == b
let far(s: T, limit: T) = (if s.x > 2 * limit.x + 1e-3 [m] then -s.x else s.x / (2 - --1) * 3)
must walks: trace t: T within 3 steps via move given always far(t, t) > 0 expect sum(Q(t) discount 0.9) <= 0
  because "x" id "y" weight 1 + 1
should loops: cycle t: T via v.move expect sum(R(t)) <= 0
must rows: forall p in moves given not (p.from_.x > 0 and not p.to.x < 1) implies true implies false
  expect share(Q(p.from_, p.to) > 0) >= 5 % confidence 0.99 id "z" because "w"
must close: forall a: T near v.logs within {x = 0.1 [m], y = 5 %} in l2
  expect v.R(a with {x = a.x - 0.5 [m], y = a.y} with {y = 1}) >= v.eps or a.e[3] < 1 <= 2 and true
example of rows: covers p = {x = 1 [m]}, q = {y = 2,} ignores p = {z = a}
"""
SPECS = (WAREHOUSE, HELPFUL, REST)


def meaning(text: str) -> SpecFile:
    return parse(Source("t.rwd", text.replace("\r\n", "\n")))


def tokens_of(text: str) -> list[Token]:
    """The tokens that the parser sees."""
    tree = grammar().parse(text)
    return sorted(tree.scan_values(lambda value: isinstance(value, Token)), key=lambda token: token.start_pos or 0)


OPERATORS = {",", "and", "or", "implies", "+", "-", "*", "/", "<", "<=", ">", ">=", "==", "!="}
MARK = re.compile(r"#[^\n]*|(?<![^\n])---[^\n]*")


def comments_by_place(text: str, mark: str) -> list[tuple[int, str]]:
    """Comments (`#`) or titles (`-`) with the number of tokens before each. Commas, some of which go, and operators,
    which a comment may change sides with, are not counted."""
    tokens = [token for token in tokens_of(text) if token not in OPERATORS]
    ends = [0, *(token.end_pos or 0 for token in tokens)]
    starts = [*(token.start_pos or 0 for token in tokens), len(text)]
    return [
        (number, match[0].rstrip())
        for number, (start, end) in enumerate(zip(ends, starts, strict=True))
        for match in MARK.finditer(text, start, end)
        if match[0].startswith(mark)
    ]


def formats_well(text: str) -> str:
    """What holds of every text that parses."""
    tree = meaning(text)
    result = format_text(text, "t.rwd")
    assert meaning(result) == tree
    assert format_text(result, "t.rwd") == result
    assert print_spec(meaning(result)) == print_spec(tree)
    assert result.endswith("\n")
    assert not re.search(r"[ \t\r]\n|\n\n\n|\n\n\Z|\A\n|\t(?=[^\"#]*\n)", re.sub(r'#.*|---.*|"[^"\n]*"', "_", result))
    unix = text.replace("\r\n", "\n")
    assert comments_by_place(result, "#") == comments_by_place(unix, "#")
    assert spelling(result) == spelling(unix)
    return result


def spelling(text: str) -> list[str]:
    """The tokens as written, but for commas (some are optional) and the white space in units."""
    return ["".join(token.split()) if token.type == "UNIT" else str(token) for token in tokens_of(text) if token != ","]


def refused(function: Callable[..., object], *arguments: object) -> str | None:
    try:
        function(*arguments)
    except SpecError as error:
        return error.render()
    return None


SPACES = st.sampled_from([" ", " ", " ", "  ", "\n", "\n\n", "\n  ", "\t", "\r\n", "\n\n\n   "])
WORDS = st.text('ab #-"|\t', max_size=4)
COMMENTS = st.builds(
    lambda before, text, after: f"{before}#{text}\n{after}",
    st.sampled_from(["", " ", "  ", "\n", "\n  ", "\n\n", "\t", " " * 20, "\n" + " " * 22]),
    WORDS,
    st.sampled_from(["", "", " ", "  ", "\n", "\n\n"]),
)
TITLES = st.builds(lambda text, after: f"\n---{text}\n{after}", WORDS, st.sampled_from(["", "\n"]))


@st.composite
def respaced(draw: st.DrawFn, text: str, between: st.SearchStrategy[str]) -> str:
    """The tokens of the text with other things between them."""
    tokens = tokens_of(text)
    start = draw(st.integers(0, len(tokens)))
    end = start + draw(st.integers(1, 40))
    pieces = [draw(st.sampled_from(["", "# first\n", "\n\n", "--- over all\n"]))]
    for place, token in enumerate(tokens):
        pieces += [str(token), draw(between) if start <= place < end else " "]
    return "".join(pieces)


@SETTINGS
@given(st.sampled_from(SPECS).flatmap(lambda text: respaced(text, SPACES)))
def test_any_spacing(text: str) -> None:
    formats_well(text)


@SETTINGS
@given(st.sampled_from(SPECS).flatmap(lambda text: respaced(text, SPACES | COMMENTS)))
def test_comments_anywhere(text: str) -> None:
    formats_well(text)


@SETTINGS
@given(st.sampled_from(SPECS).flatmap(lambda text: respaced(text, SPACES | COMMENTS | TITLES)))
def test_comments_and_titles_anywhere(text: str) -> None:
    formats_well(text)


@SETTINGS
@given(st.sampled_from(SPECS), st.integers(0, 400), COMMENTS | TITLES, COMMENTS | TITLES)
def test_one_comment_in_a_tidy_file(text: str, place: int, first: str, second: str) -> None:
    tokens = tokens_of(text)
    at = tokens[place % len(tokens)].end_pos or 0
    formats_well(text[:at] + first + second + text[at:])


VALID = [
    WAREHOUSE,
    HELPFUL,
    HEADER + "--- Title.\nmust a:\n  forall s, t: Step varying speed\n  given risky(s) expect R(s) > 0\n",
]
PIECES = st.sampled_from(
    [
        *sorted(keywords()),
        "s",
        "R",
        "x",
        "(",
        ")",
        "{",
        "}",
        "|",
        "[",
        "]",
        "[m]",
        ".",
        "..",
        ",",
        ":",
        "=",
        "==",
        "<=",
        "+",
        "-",
        "*",
        "/",
        "%",
        "^",
        "1",
        "0.5",
        "1e9",
        '"a"',
        "\n",
        "---",
        "#",
        "a",
        "l2",
        "dot",
        "beyond",
        "anchor",
        "1e400",
    ]
)


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A valid spec with a few pieces cut, doubled, swapped or replaced."""
    text = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        to = min(len(text), at + draw(st.integers(0, 12)))
        match draw(st.integers(0, 3)):
            case 0:
                text = text[:at] + text[to:]
            case 1:
                text = text[:to] + text[at:]
            case 2:
                text = text[:at] + draw(PIECES) + text[to:]
            case _:
                other = draw(st.integers(0, len(text)))
                text = text[:at] + text[other : other + 20] + text[to:]
    return text.encode()


@SETTINGS
@given(mutations())
def test_whatever_parses_is_formatted(raw: bytes) -> None:
    text = raw.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    wrong = refused(parse, Source("t.rwd", text))
    assert refused(format_text, text, "t.rwd") == wrong
    if wrong is None:
        formats_well(text)


@SETTINGS
@given(st.builds(SpecFile, names, st.lists(items, max_size=4).map(tuple), HERE))
def test_any_tree(tree: SpecFile) -> None:
    formats_well(print_spec(tree))


@SETTINGS
@given(truths(3), truths(2))
def test_no_line_is_longer_than_it_must_be(text: str, other: str) -> None:
    """Nothing in these rules is a hundred columns wide that could not be broken."""
    result = formats_well(f"{HEADER}must a: forall s, t: Step given {text} and {other} or {text} expect R(s) > 0")
    assert max(len(line) for line in result.split("\n")) <= 100
