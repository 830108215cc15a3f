"""What an import says of itself in the manifest: what it was made of, by digest, and how it is meant.

It stands where a learner's record stands, under a name that begins with `import from`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from rewarden.reward.artifact import Learner
from rewarden.reward.imports.safe_files import opened

PREFIX = "import from "
_CHUNK = 1 << 20


def imported(what: str, record: Mapping[str, str], options: Mapping[str, str] | None = None) -> Learner:
    """The record of an import; `options` are what its caller chose."""
    return Learner(PREFIX + what, dict(options or {}), 0, dict(record))


def source_of(learner: Learner) -> str | None:
    """What an import was made of, in words; None for a reward that was learned."""
    return learner.name.removeprefix(PREFIX) if learner.name.startswith(PREFIX) else None


def digest_of_file(path: Path) -> str:
    """`sha256:…` of a file's bytes."""
    return digest_of_files([path])


def digest_of_files(paths: Sequence[Path]) -> str:
    """`sha256:…` of one file's bytes, or of the lines `digest  name` of several, by name: what `sha256sum` prints."""
    found = {path.name: _sha256(path) for path in paths}
    if len(paths) == 1:
        return "sha256:" + next(iter(found.values()))
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(found.items()))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with opened(path) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
