"""Where there is no place for compiled code to be kept, it is compiled all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rewarden.verifier import compiled_cache

CODE = """
import numba.core.caching as caching
from rewarden.verifier import compiled_cache
caching.CacheImpl._locator_classes = [caching.UserProvidedCacheLocator]  # numba finds nothing that it may write to
compiled_cache._writable = lambda place: False  # and neither do we
import rewarden.verifier.wide.passes, os
print(os.environ["NUMBA_CACHE_DIR"], os.path.isdir(os.environ["NUMBA_CACHE_DIR"]))
"""


def test_without_a_place_there_is_one_for_the_process_alone(tmp_path: Path) -> None:
    told = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"} | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        check=True,
        env=told,
        cwd=Path(__file__).parents[2],
    )
    folder, there = done.stdout.split()
    assert (Path(folder).parent, there) == (tmp_path, "True")
    assert list(tmp_path.iterdir()) == [], "it is gone with the process"


def test_a_place_is_a_folder_that_can_be_made(tmp_path: Path) -> None:
    assert compiled_cache._writable(tmp_path / "home" / ".cache" / "numba")


def test_nothing_is_changed_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(compiled_cache, "_writable", lambda place: place.name == "numba")
    compiled_cache.ensure()
    assert "NUMBA_CACHE_DIR" not in os.environ
