"""Where numba keeps what it has compiled: beside the sources, or in the user's cache.

Where it can write in neither (a read-only image, or an installation of another user's and no home) it refuses to
compile at all. Then it is given a folder of this process alone, which goes with it: the next one compiles again. The
folder has a name that nobody could guess, since numba runs what it finds there.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path


def ensure() -> None:
    """Call it before functions are compiled that numba is asked to keep. Changes nothing where there is a place."""
    if os.environ.get("NUMBA_CACHE_DIR") or any(map(_writable, _places())):
        return
    try:
        folder = tempfile.mkdtemp(prefix="rewarden-compiled-")
    except OSError:
        return  # there is no place at all: numba says so
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = folder  # for the processes that this one starts, too
    if "numba" in sys.modules:  # which has read the environment already
        sys.modules["numba"].config.CACHE_DIR = folder


def _places() -> list[Path]:
    beside = Path(__file__).parent / "__pycache__"
    try:
        return [beside, Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "numba"]
    except RuntimeError:  # there is no home
        return [beside]


def _writable(place: Path) -> bool:
    """Could a file be made there? Of a folder that is not there: could it be made?"""
    there = next((one for one in (place, *place.parents) if one.exists()), place)
    return os.access(there, os.W_OK | os.X_OK)
