"""Positions in code units and offsets in characters."""

from __future__ import annotations

import pytest

from rewarden.lsp.positions import Lines, normalised

TEXT = "a é𝔘b\n\nlast"


@pytest.mark.parametrize(
    ("encoding", "units"),
    [("utf-16", [0, 1, 2, 3, 5, 6]), ("utf-8", [0, 1, 2, 4, 8, 9]), ("utf-32", [0, 1, 2, 3, 4, 5])],
)
def test_a_line_is_counted_in_the_units_agreed_on(encoding: str, units: list[int]) -> None:
    lines = Lines.of(TEXT, encoding)  # type: ignore[arg-type]
    assert [lines.position(k)[1] for k in range(6)] == units
    assert [lines.offset(0, unit) for unit in units] == [0, 1, 2, 3, 4, 5]


def test_lines() -> None:
    lines = Lines.of(TEXT)
    assert [lines.position(k) for k in (5, 6, 7, 11)] == [(0, 6), (1, 0), (2, 0), (2, 4)]
    assert lines.offset(1, 0) == 6
    assert lines.offset(2, 4) == 11


def test_places_outside_the_text_mean_the_nearest_inside() -> None:
    lines = Lines.of(TEXT)
    assert lines.offset(0, 99) == 5
    assert lines.offset(1, 3) == 6
    assert lines.offset(7, 0) == 11
    assert lines.offset(-1, 3) == 0
    assert lines.position(99) == (2, 4)
    assert lines.position(-5) == (0, 0)


def test_a_place_within_a_character_means_its_start() -> None:
    assert Lines.of(TEXT).offset(0, 4) == 3


def test_line_ends_of_all_kinds_count_once() -> None:
    assert normalised("a\r\nb\rc\nd") == "a\nb\nc\nd"


def test_half_a_character_is_replaced_by_one_as_wide() -> None:
    odd = "a\ud800b"
    assert normalised(odd) == "a\ufffdb"
    for encoding in ("utf-8", "utf-16", "utf-32"):
        widths = [Lines.of(text, encoding).position(2) for text in (odd, normalised(odd))]  # type: ignore[arg-type]
        assert widths[0] == widths[1]
