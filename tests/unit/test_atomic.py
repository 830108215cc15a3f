"""Whole outputs or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewarden.atomic import new_folder, require_free, write_bytes, write_text
from rewarden.spec_lang.errors import UsageError


def test_a_file_is_written_with_its_folders_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b.txt", "grüß\n")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "grüß\n".encode()
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_bytes(tmp_path / "x", b"old and longer")
    write_bytes(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"new"


def test_a_folder_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with new_folder(target) as scratch:
        (scratch / "one").write_text("1")
        assert not target.exists()
    assert (target / "one").read_text() == "1"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("trouble", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_nothing(tmp_path: Path, trouble: type[BaseException]) -> None:
    def half() -> None:
        with new_folder(tmp_path / "out") as scratch:
            (scratch / "half").write_text("…")
            raise trouble

    with pytest.raises(trouble):
        half()
    assert list(tmp_path.iterdir()) == []


def test_what_somebody_made_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("out", "file", "dangling"):
        with pytest.raises(UsageError, match="exists already"), new_folder(tmp_path / name):
            pytest.fail("the block must not run")
    assert (tmp_path / "out" / "precious").read_text() == "mine"


def test_an_empty_folder_is_free(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert require_free(tmp_path / "out") == tmp_path / "out"
    with new_folder(tmp_path / "out") as scratch:
        (scratch / "x").write_text("x")
    assert (tmp_path / "out" / "x").exists()


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"G06"):
        write_text(tmp_path / "file" / "below", "x")
    with pytest.raises(UsageError, match=r"G06"), new_folder(tmp_path / "file" / "below"):
        pytest.fail("the block must not run")
