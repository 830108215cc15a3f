"""The language server's pure functions against any text: no exception, and every place inside the text."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewarden.lsp.completion import complete
from rewarden.lsp.definition import Refused, definition, references, renamed
from rewarden.lsp.fixes import fixes
from rewarden.lsp.formatting import formatting
from rewarden.lsp.hover import hover
from rewarden.lsp.names import occurrences
from rewarden.lsp.outline import Entry, outline
from rewarden.lsp.positions import Lines
from rewarden.lsp.reading import Reading, read
from rewarden.lsp.reports import reports
from rewarden.spec_lang import limits
from rewarden.spec_lang.parser import keywords
from tests.reference.language_page import HELPFUL, WAREHOUSE
from tests.reference.random_specs import HEADER

SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
STEPS = """spec walks v1
features Step { speed : real [m/s] in 0 .. 2.5  zone : enum {aisle, dock}  on : bool }
reward R(s: Step)
reward Q(s: Step, t: Step)
data moves: (from_: Step, to: Step) from "moves.csv"
relation move(a: Step, b: Step) = |a.speed - b.speed| <= 1 [m/s]
must no_loop:
  cycle t: Step via move
  expect sum(R(t)) <= 0
must short:
  trace t: Step within 3 steps via move
  given first(t).zone == dock and always t.on
  expect sum(Q(t) discount 0.9) <= 2 and last(t).speed <= first(t).speed + 1 [m/s]
should rows:
  forall p in moves
  given p.from_.on
  expect share(R(p.to) >= R(p.from_)) >= 0.5 confidence 0.9
"""
SPECS = [WAREHOUSE, HELPFUL, STEPS, HEADER]
WORDS = [
    *sorted(keywords()),
    "s",
    "Step",
    "speed",
    "R",
    "risky",
    "zone",
    "dock",
    "logs",
    "anchor",
    "sum",
    "0.5",
    "[m/s]",
]
PIECES = [
    *WORDS,
    *"()[]{}.,:=<>|+-*/%\"#'^&\n \t\r",
    "==",
    "..",
    "---",
    "\n---",
    "é",
    "𝔘",
    "\ud800",
    "\u2028",
    "\x00",
    "\x0b",
]
WHOLE = {text: read(text, "spec.rwd") for text in SPECS}


def examine(reading: Reading, offset: int) -> None:
    """Ask everything about one place."""
    text = reading.source.text
    size = len(text)
    for report in reports(reading):
        assert 0 <= report.start <= report.end <= size
        assert report.message
        for related in report.related:
            assert 0 <= related.start <= related.end <= len(related.source.text)
    found = complete(text, offset, reading.known)
    assert 0 <= found.start <= offset
    assert all(p.text for p in found.proposals)
    assert len({p.text for p in found.proposals}) == len(found.proposals)
    told = hover(reading, offset)
    if told is not None:
        assert 0 <= told.start <= offset <= told.end <= size
        assert told.text
    place = definition(reading, offset)
    if place is not None and place.file is None:
        assert 0 <= place.start < place.end <= size
    names = occurrences(reading)
    assert all(0 <= o.start < o.end <= size and text[o.start : o.end].isidentifier() for o in names)
    assert {o.target for o in references(reading, offset)} <= {o.target for o in names}
    change = renamed(reading, offset, "another_name")
    assert isinstance(change, Refused) or change
    for fix in fixes(reading, offset, min(offset + 5, size)):
        assert 0 <= fix.start < fix.end <= size
    contained(outline(reading), 0, size)


def contained(entries: Sequence[Entry], start: int, end: int) -> None:
    for entry in entries:
        assert start <= entry.start <= entry.name_start <= entry.name_end <= entry.end <= end
        assert entry.name
        contained(entry.inner, entry.start, entry.end)


@st.composite
def edited(draw: st.DrawFn) -> tuple[str, str]:
    """A real spec, and the same after a few edits."""
    spec = draw(st.sampled_from(SPECS))
    text = spec
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + draw(st.sampled_from([0, 1, 8, 60])))))
        text = text[:start] + "".join(draw(st.lists(st.sampled_from(PIECES), max_size=4))) + text[end:]
    return spec, text


@SETTINGS
@given(edited(), st.data())
def test_edits_of_real_specs(texts: tuple[str, str], data: st.DataObject) -> None:
    before, now = texts
    reading = read(now, "spec.rwd", before=WHOLE[before])
    for _ in range(4):
        examine(reading, data.draw(st.integers(0, len(reading.source.text))))


@SETTINGS
@given(st.sampled_from(SPECS), st.data())
def test_texts_that_end_anywhere(spec: str, data: st.DataObject) -> None:
    """The state of a text while it is written from top to bottom."""
    end = data.draw(st.integers(0, len(spec)))
    reading = read(spec[:end], "spec.rwd", before=data.draw(st.sampled_from([None, WHOLE[spec]])))
    examine(reading, len(reading.source.text))


@SETTINGS
@given(st.lists(st.sampled_from(PIECES), max_size=60).map(" ".join) | st.text(max_size=200), st.data())
def test_any_text(text: str, data: st.DataObject) -> None:
    for head in ("", "spec s v1\n"):
        reading = read(head + text, "spec.rwd")
        examine(reading, data.draw(st.integers(0, len(reading.source.text))))
        edit = formatting(reading.source.text)
        if edit is not None:
            assert 0 <= edit[0] <= edit[1] <= len(reading.source.text)


@SETTINGS
@given(st.sampled_from(SPECS), st.data())
def test_every_place_of_a_whole_spec(spec: str, data: st.DataObject) -> None:
    examine(WHOLE[spec], data.draw(st.integers(0, len(spec))))


def test_a_text_beyond_the_limit_is_one_diagnostic() -> None:
    reading = read("spec s v1\n" + "# x\n" * limits.TEXT_BYTES, "spec.rwd")
    assert [r.code for r in reports(reading)] == ["P05"]
    assert complete(reading.source.text, len(reading.source.text), reading.known).proposals == ()
    assert hover(reading, len(reading.source.text) // 2) is None


def test_deep_nesting_is_one_diagnostic() -> None:
    reading = read("spec s v1\nlet f(s: T) = " + "(" * 5000, "spec.rwd")
    assert [r.code for r in reports(reading)] == ["P06"]
    examine(reading, len(reading.source.text))


@SETTINGS
@given(
    st.text(alphabet=st.sampled_from("ab\n\r é𝔘\ud800\u2028"), max_size=40),
    st.sampled_from(["utf-8", "utf-16", "utf-32"]),
    st.integers(-2, 12),
    st.integers(-2, 50),
)
def test_any_position_has_an_offset(text: str, encoding: str, line: int, unit: int) -> None:
    lines = Lines.of(text, encoding)  # type: ignore[arg-type]
    offset = lines.offset(line, unit)
    assert 0 <= offset <= len(text)
    for k in range(len(text) + 1):
        assert lines.offset(*lines.position(k)) == k
