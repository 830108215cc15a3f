"""Verdicts kept from run to run: one file each, named by all that decided it.

A key names claim, rewards, data, options and the verifier's own code by digest (`verifier/kept.py`), and the packages
that decide with it by their versions, so an entry is never out of date: an edit of a rule, of a reward or of Rewarden,
or a z3 in which an error was mended, makes another key, a comment does not. Entries are
written whole; those that cannot be used are told of and written anew. The oldest go when there are too many: it is
`rewarden/verdicts` in $XDG_CACHE_HOME, or in ~/.cache. It is trusted like the machine: who can write there can as well
write Rewarden. A certificate does not rest on it, since its proofs are recomputed.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rewarden import __version__
from rewarden.atomic import write_bytes
from rewarden.spec_lang.errors import UsageError

if TYPE_CHECKING:
    from rewarden.verifier.options import VerifyOptions
    from rewarden.verifier.verdict import RuleResult

MOST: Final = 2**28  # bytes of all entries
LARGEST: Final = 2**25  # bytes of one: a proof that is larger takes less long to find than to look after
ROOMS: Final = ("spec_lang", "reward", "verifier")  # whose code decides
LIBRARIES: Final = ("highspy", "numba", "numpy", "python-flint", "torch", "z3-solver")  # whose numbers count


def default_folder() -> Path:
    """Where the command line keeps verdicts."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home and Path(home).is_absolute() else Path.home() / ".cache") / "rewarden" / "verdicts"


@cache
def code_digest() -> str:
    """Rewarden's version, and a digest of the code that decides and of the versions of what it calls."""
    digest = hashlib.sha256(repr((sys.version, *map(_version, LIBRARIES))).encode())
    here = Path(__file__).parent
    for room in ROOMS:
        for path in sorted((here / room).rglob("*.py")):
            digest.update(path.relative_to(here).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{__version__}+{digest.hexdigest()}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


class VerdictCache:
    """A folder of verdicts. `note` is told of entries that cannot be used."""

    earlier = True

    def __init__(self, folder: Path, note: Callable[[str], None] = lambda text: None) -> None:
        self.folder, self.note = folder, note

    @cached_property
    def code(self) -> str:
        return code_digest()

    def wants(self, result: RuleResult, options: VerifyOptions) -> bool:
        """Nothing that a clock or a person has stopped."""
        from rewarden.verifier.kept import lasting

        return lasting(result, options)

    def get(self, key: str) -> object | None:
        """What is kept under a key, unread; None where nothing is."""
        path = self._path(key)
        try:
            if path.stat().st_size > LARGEST:
                raise ValueError("it is too large")
            data = path.read_bytes()
            kept: object = json.loads(data)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            self.damaged(key, str(error))
            return None
        with suppress(OSError):
            os.utime(path)  # the last to go
        return kept

    def put(self, key: str, kept: dict[str, Any]) -> None:
        """Keeps a verdict. A folder that cannot be written keeps none, and says so."""
        data = json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()
        if len(data) > LARGEST:
            return
        try:
            write_bytes(self._path(key), data)
            self._shrink()
        except (OSError, UsageError) as error:
            self.note(f"note: verdicts are not kept: {error}")

    def damaged(self, key: str, why: str) -> None:
        self.note(f"note: a kept verdict is ignored, and decided anew: {self._path(key).name}: {why}")

    def _path(self, key: str) -> Path:
        return self.folder / f"{key.removeprefix('sha256:')}.json"

    def _shrink(self) -> None:
        """Drops the entries that were not used for the longest time."""
        entries = []
        for path in self.folder.glob("*.json"):
            try:
                told = path.stat()
            except FileNotFoundError:
                continue
            entries.append((told.st_mtime_ns, path, told.st_size))
        total = sum(size for *_, size in entries)
        for _, path, size in sorted(entries):
            if total <= MOST:
                break
            path.unlink(missing_ok=True)
            total -= size
