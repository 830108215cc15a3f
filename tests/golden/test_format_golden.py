"""The one format, word for word: a change of these files is a change of how everybody's specs look."""

from __future__ import annotations

from pathlib import Path

from rewarden.spec_lang.format.formatter import format_text

FOLDER = Path(__file__).parent / "format"


def test_before_and_after() -> None:
    before, after = (FOLDER.joinpath(name).read_text(encoding="utf-8") for name in ("before.rwd", "after.rwd"))
    assert format_text(before) == after
    assert format_text(after) == after
