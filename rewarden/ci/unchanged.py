"""What a run has found is found again as long as nothing has changed that it was made from.

An entry is named by all that was asked: settings, options, names of files, Rewarden's own code, Python and the
packages that are installed. It lists every file that was read then, by its place and the SHA-256 of what was read; it
counts where each of them still is at that place, with these bytes. So nothing of a spec has to be parsed, and neither
numpy nor the units are loaded, to say that all is as it was.

Why it is the same answer: a verdict hangs on claim, rewards, data, options and code (`verifier/kept.py`), the words
around it on the texts. All of that is computed from what was asked and from the bytes of those files, by code that is
the same. What a clock or a person has stopped is not kept. What is said of the day (waivers, the age of a certificate)
is judged in each run. An entry is trusted like the machine, as verdicts are (`rewarden/verdict_cache.py`).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewarden.spec_lang.canonical import canonical_json, digest_of

if TYPE_CHECKING:
    from rewarden.verdict_cache import VerdictCache

VERSION = 1
MOST_FILES = 10_000  # of one entry: looking at more takes longer than it saves


@dataclass(frozen=True, slots=True)
class Read:
    """A file that was read: `digest` (hexadecimal) of what was read, or of what was there before."""

    path: Path
    digest: str


class Unchanged:
    """One entry of a cache: what was found when this was asked (`kind`: of which format the answer is)."""

    def __init__(self, kept: VerdictCache, kind: str, asked: Mapping[str, object]) -> None:
        self._kept, self._kind = kept, kind
        said = {"format": kind, "version": VERSION, "code": _code(), "python": sys.version, "installed": _installed()}
        self._key = digest_of(canonical_json({**said, "asked": _plain(asked)}))

    def get(self) -> Any | None:  # noqa: ANN401 - JSON from a file
        """What was found, where everything is as it was; None otherwise."""
        entry: Any = self._kept.get(self._key)
        if entry is None:
            return None
        try:
            content = entry["content"]
            if (entry["format"], entry["key"], entry["digest"]) != (self._kind, self._key, _digest(content)):
                raise ValueError("it is about something else")
            if len(content["files"]) > MOST_FILES:
                raise ValueError("it names too many files")
            if content["until"] is not None and time.time() > content["until"]:
                return None
            return content["found"] if all(_as_it_was(*one) for one in content["files"]) else None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self.damaged(f"{type(error).__name__}: {error}")
            return None

    def damaged(self, why: str) -> None:
        self._kept.damaged(self._key, why)

    def put(self, found: object, files: Iterable[Read], until: int | None = None) -> None:
        """Keeps it, unless a file is another by now. `until`: for how long, seconds since 1970."""
        listed: list[list[str]] = []
        for one in dict.fromkeys(files):
            now = _of_file(one.path)
            if now is None or now[1] != one.digest or len(listed) == MOST_FILES:
                return
            listed.append([os.path.abspath(one.path), *now])
        content = {"found": found, "files": listed, "until": until}
        try:
            entry = {"format": self._kind, "key": self._key, "content": content, "digest": _digest(content)}
        except UnicodeEncodeError:
            return  # a file's name that is no text
        self._kept.put(self._key, entry)


def all_files(place: Path) -> Iterator[Path]:
    """A file, or all files of a folder and below it."""
    if not place.is_dir():
        yield place
        return
    for folder, folders, files in os.walk(place):
        folders.sort()
        yield from (Path(folder) / name for name in sorted(files))


def as_it_is(path: Path) -> Read:
    """A file before somebody reads it who does not say what he has read: it counts if it is the same afterwards."""
    found = _of_file(path)
    return Read(path, "" if found is None else found[1])


def _as_it_was(path: str, real: str, digest: str) -> bool:
    return _of_file(Path(path)) == (real, digest)


def _of_file(path: Path) -> tuple[str, str] | None:
    """Where it really is, and the SHA-256 of its bytes; None for what is no regular file."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as stream:
            return os.path.realpath(path), file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def _plain(value: object) -> Any:  # noqa: ANN401 - whatever a configuration holds
    """As JSON that tells kinds apart: 1 is not "1", nor true."""
    match value:
        case None:
            return None
        case str():
            return value if value.isprintable() else ["text", os.fsencode(value).hex()]
        case bool():
            return ["bool", str(value)]
        case int() | float() | Fraction():
            return ["number", str(value)]
        case Path():
            return ["path", _plain(os.path.abspath(value))]
        case Mapping():
            return {str(name): _plain(one) for name, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
    raise TypeError(f"no setting is a {type(value).__name__}")


@cache
def _code() -> str:
    """A digest of all of Rewarden's code, and of its grammar."""
    digest = sha256()
    here = Path(__file__).parents[1]
    for folder, folders, files in os.walk(here, followlinks=True):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(name for name in files if name.endswith((".py", ".lark"))):
            data = (Path(folder) / name).read_bytes()
            digest.update(f"{Path(folder, name).relative_to(here).as_posix()}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


def _installed() -> list[str]:
    """Packages with their versions, by the names of what installers leave beside them."""
    found = set()
    for place in sys.path:
        try:
            found |= {name for name in os.listdir(place or ".") if name.endswith((".dist-info", ".egg-info"))}
        except OSError:
            continue
    return sorted(found)


def _digest(content: object) -> str:
    return digest_of(canonical_json(content))
