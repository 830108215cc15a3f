"""The figures for people who must qualify their tools say what they are of."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewarden import __version__
from tests.reference import confidence_page as page


def test_the_figures_say_of_which_day_commit_and_sources_they_are() -> None:
    found = page.stated(page.PAGE.read_text(encoding="utf-8"))
    assert found["version"] == __version__  # another version needs a run of its own


def test_figures_of_other_sources_are_told_apart() -> None:
    own = f"{page.BEGIN}\nRewarden 1, 2026-01-02, commit 0123456, sources {page.sources_digest()}, Python 3\n{page.END}"
    assert page.check(own) is None
    old = own.replace(page.sources_digest(), "0" * 16)
    assert "2026-01-02 and commit 0123456" in (page.check(old) or "")
    with pytest.raises(ValueError, match="do not say"):
        page.check(own.replace("commit 0123456, ", ""))


def test_the_page_is_made_of_pytests_own_account(tmp_path: Path) -> None:
    results = tmp_path / "r.xml"
    case = '<testcase classname="tests.unit.test_a" name="test_{}">{}</testcase>'
    cases = (
        case.format("a", "") + case.format("b", '<failure message="m"/>') + case.format("c", '<skipped message="m"/>')
    )
    results.write_text(
        f'<testsuites><testsuite time="3" timestamp="2026-01-02T03:04:05">{cases}</testsuite></testsuites>'
    )
    text = page.figures([results])
    assert page.stated(f"{page.BEGIN}\n{text}\n{page.END}")["day"] == "2026-01-02"
    assert "3 tests, 1 passed, 1 skipped, 1 failed; 3 s" in text
    assert "| unit | 3 | 1 | 1 | 1 |" in text
