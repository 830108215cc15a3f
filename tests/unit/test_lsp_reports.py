"""Diagnostics as the editor gets them, the edits that mend them, and the format."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewarden.lsp.documents import Documents, Text
from rewarden.lsp.fixes import fixes
from rewarden.lsp.formatting import formatting
from rewarden.lsp.reading import Reading, read
from rewarden.lsp.reports import Report, reports
from rewarden.spec_lang.errors import Diagnostic, Label
from rewarden.spec_lang.source import Source, Span
from tests.reference.language_page import WAREHOUSE

HEAD = "spec s v1\nfeatures Step {\n  speed : real [m/s] in 0 .. 2\n  zone : enum {aisle, dock}\n}\nreward R(s: Step)\n"


def of(body: str) -> tuple[Reading, tuple[Report, ...]]:
    reading = read(HEAD + body, "spec.rwd")
    return reading, reports(reading)


def underlined(reading: Reading, report: Report) -> str:
    return reading.source.text[report.start : report.end]


def test_a_right_spec_has_none() -> None:
    assert reports(read(WAREHOUSE, "spec.rwd")) == ()


def test_all_errors_come_in_one_go() -> None:
    reading, found = of("must a:\n  forall s: Stp\n  expect R(s) >= 0\nlet f(s: Step) = s.sped\nparam p: real = q\n")
    assert [(r.code, underlined(reading, r)) for r in found] == [("N03", "Stp"), ("N02", "sped"), ("N01", "q")]
    broken, found = of("let f(s: Step) = \nlet g(s: Step) = s.speed +\nlet h(s: Step) = s.speed\nmust )\n")
    assert [r.code for r in found] == ["P01"] * 3
    assert broken.known.definitions.keys() == {"h"}


def test_a_report_has_help_labels_and_the_related_place() -> None:
    reading, (report,) = of("let f(s: Step) = s.speed > 1 [m]\n")
    assert report.code == "U02"
    assert report.severity == "error"
    assert report.message == "cannot compare m/s with m\nhelp: write 1 [m/s]"
    text = reading.source.text
    assert [(text[r.start : r.end], r.message) for r in report.related] == [
        ("s.speed", "velocity"),
        ("1 [m]", "length"),
        ("speed : real [m/s] in 0 .. 2", "speed is declared real [m/s]"),
    ]
    assert all(r.source is reading.source for r in report.related)


def test_an_empty_span_is_made_visible() -> None:
    reading, (report,) = of("let f(s: Step) = s.speed +")
    assert underlined(reading, report) == "+"
    assert [(r.start, r.end) for r in reports(read("", "spec.rwd"))] == [(0, 0)]
    (first,) = reports(read("x", "spec.rwd"))
    assert (first.start, first.end) == (0, 1)


def test_a_warning_is_a_warning_and_what_has_no_place_stands_at_the_top() -> None:
    source = Source("spec.rwd", "spec s v1\n")
    reading = read(source.text, source.name)
    span = Span(reading.source, 5, 6, 1, 6)
    found = (Diagnostic("N01", "odd", (Label(span),), severity="warning"), Diagnostic("N01", "lost", ()))
    object.__setattr__(reading, "diagnostics", found)
    assert [(r.severity, r.start, r.end) for r in reports(reading)] == [("warning", 5, 6), ("error", 0, 1)]


# ── used files ─────────────────────────────────────────────────────────────────────────────────
MAIN = 'spec main v1\nuse "fine.rwd" as f\nuse "vocab.rwd" as v\nmust m:\n  forall s: v.Step\n  expect v.R(s) >= 0\n'


def test_errors_of_a_used_file_stand_at_its_use(tmp_path: Path) -> None:
    (tmp_path / "fine.rwd").write_text("spec fine v1\nparam one: real = 1\n", encoding="utf-8")
    used = tmp_path / "vocab.rwd"
    used.write_text(HEAD + "let f(s: Step) = s.speed > 1 [m]\n", encoding="utf-8")
    reading = read(MAIN, "main.rwd", path=tmp_path / "main.rwd")
    (report,) = reports(reading)
    assert underlined(reading, report) == 'use "vocab.rwd" as v'
    assert report.code == "U02"
    assert report.message.startswith("vocab.rwd:7:20: cannot compare m/s with m")
    first = report.related[0]
    assert reading.file_of(first.source) == used
    assert first.source.text[first.start : first.end] == "s.speed"

    used.write_text(HEAD + "let f(s: Step) = \n", encoding="utf-8")
    found = reports(read(MAIN, "main.rwd", path=tmp_path / "main.rwd"))
    assert {r.code for r in found} >= {"P01", "L07"}
    assert {MAIN[r.start : r.end] for r in found} == {'use "vocab.rwd" as v'}


def test_a_file_of_a_used_file_stands_at_the_first_use(tmp_path: Path) -> None:
    (tmp_path / "fine.rwd").write_text('spec fine v1\nuse "deep.rwd" as d\n', encoding="utf-8")
    (tmp_path / "deep.rwd").write_text("spec deep v1\nlet f(s: Stp) = 1\n", encoding="utf-8")
    (tmp_path / "vocab.rwd").write_text(HEAD, encoding="utf-8")
    found = reports(read(MAIN, "main.rwd", path=tmp_path / "main.rwd"))
    assert {MAIN[r.start : r.end] for r in found} == {'use "fine.rwd" as f'}


def test_used_files_are_read_from_the_editor_where_they_are_open(tmp_path: Path) -> None:
    (tmp_path / "fine.rwd").write_text("spec fine v1\n", encoding="utf-8")
    used = tmp_path / "vocab.rwd"
    used.write_text(HEAD, encoding="utf-8")
    documents = Documents()
    documents.put("file:main", Text(MAIN, tmp_path / "main.rwd"))
    first = documents.read("file:main")
    assert first is not None
    assert first.diagnostics == ()
    assert documents.using_others() == ("file:main",)

    documents.put("file:vocab", Text(HEAD.replace("reward R", "reward Q"), used))
    assert documents.current("file:main") is None
    second = documents.read("file:main")
    assert second is not None
    assert [d.code for d in second.diagnostics] == ["N07"]
    assert documents.current("file:main") is second
    assert documents.latest("file:main") is second

    documents.remove("file:vocab")
    third = documents.read("file:main")
    assert third is not None
    assert third.diagnostics == ()


def test_a_text_is_read_once() -> None:
    documents = Documents()
    documents.put("untitled:1", Text(HEAD, None))
    first = documents.read("untitled:1")
    documents.put("untitled:2", Text(HEAD, None))
    assert documents.read("untitled:1") is first
    documents.put("untitled:1", Text(HEAD, None))
    assert documents.read("untitled:1") is not first
    documents.remove("untitled:1")
    assert documents.read("untitled:1") is None
    assert documents.latest("untitled:1") is None


def test_a_text_without_a_folder_says_so_of_its_uses() -> None:
    assert {r.code for r in reports(read(MAIN, "untitled"))} == {"L07"}


# ── fixes ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("let f(s: Step) = s.sped\n", "let f(s: Step) = s.speed\n"),
        ("let f(s: Stepp) = 1\n", "let f(s: Step) = 1\n"),
        ("let f(s: Step) = speed\n", "let f(s: Step) = s.speed\n"),
        ("let f(s: Step) = s.zone == dok\n", "let f(s: Step) = s.zone == dock\n"),
        ("param eps: real = 1\nparam p: real = epss + 1\n", "param eps: real = 1\nparam p: real = eps + 1\n"),
        ("let f(s: Step) = s.speed > 1 [m]\n", "let f(s: Step) = s.speed > 1 [m/s]\n"),
        ("let f(s: Step) = 0.5 [kg] < s.speed\n", "let f(s: Step) = 0.5 [m/s] < s.speed\n"),
        ("param p: real [m] = 3\n", "param p: real [m] = 3 [m]\n"),
        ("param p: real = 3 [m]\n", "param p: real = 3\n"),
        ("must a:\n  forall s: Step\n  expect linff(s) = 0\n", "must a:\n  forall s: Step\n  expect linff(s) == 0\n"),
        ("must a:\n  forall s: Step\n  expect Rr(s) >= 0\n", "must a:\n  forall s: Step\n  expect R(s) >= 0\n"),
    ],
)
def test_what_is_certain_is_offered(wrong: str, right: str) -> None:
    reading, (report,) = of(wrong)
    (fix,) = fixes(reading, report.start, report.end)
    text = reading.source.text
    assert text[: fix.start] + fix.text + text[fix.end :] == HEAD + right
    assert fix.diagnostic.code not in [r.code for r in of(right)[1]]


@pytest.mark.parametrize(
    "wrong",
    [
        "let f(s: Step) = s.length\n",
        "let f(s: Step) = s.speed > R(s)\n",
        "features F { x : real }\n",
        "let f(s: Step) = \n",
    ],
)
def test_what_is_not_certain_is_not_offered(wrong: str) -> None:
    reading, found = of(wrong)
    assert found
    assert fixes(reading, 0, len(reading.source.text)) == ()


def test_a_fix_belongs_to_its_place() -> None:
    reading, (report,) = of("let f(s: Step) = s.sped\n")
    assert fixes(reading, report.end + 1, report.end + 1) == ()
    assert len(fixes(reading, report.end, report.end)) == 1


def test_the_version_of_the_language_is_mended() -> None:
    reading = read("spec s v2\n", "spec.rwd")
    (fix,) = fixes(reading, 8, 8)
    assert (fix.start, fix.end, fix.text) == (7, 9, "v1")


# ── the format ─────────────────────────────────────────────────────────────────────────────────
def test_the_format_is_that_of_the_formatter_by_an_edit_of_the_lines_that_differ() -> None:
    from rewarden.spec_lang.format.formatter import format_text

    for text in (HEAD, WAREHOUSE, HEAD + "let   f(s:Step)=1\n# end\n", HEAD.rstrip(), f"\n\n{HEAD}\n\n"):
        edit = formatting(text)
        new = text if edit is None else text[: edit[0]] + edit[2] + text[edit[1] :]
        assert new == format_text(text)
        assert formatting(new) is None
    mended = format_text(HEAD + "let f(s: Step) = 1\n")
    edit = formatting(mended.replace("let f(s: Step) =", "let   f(s:Step)="))
    assert edit is not None
    assert edit[2] == "let f(s: Step) = 1\n"


def test_what_does_not_parse_is_left_alone() -> None:
    assert formatting(HEAD + "let f(s: Step) =\n") is None
