"""An artifact's history: each edit's child names its parent by digest, so artifacts form chains as commits do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rewarden.reward.artifact import Artifact
from rewarden.reward.store import MANIFEST, SUFFIX, load_artifact
from rewarden.spec_lang.canonical import digest_of
from rewarden.spec_lang.errors import ArtifactError

MOST_BYTES = 1 << 28  # of a manifest that is looked at


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One step of a history; `artifact` is None where only the digest is known (the parent is not at hand)."""

    digest: str
    artifact: Artifact | None


def history(artifact: Artifact, ancestors: Iterable[Artifact] = ()) -> tuple[Entry, ...]:
    """The artifact, its parent, its parent's parent, … as far as `ancestors` reach; the last entry has either no
    parent or no artifact. A digest cannot be made to name its own descendant, so the walk ends."""
    known = {a.digest: a for a in ancestors}
    entries = [Entry(artifact.digest, artifact)]
    while (current := entries[-1].artifact) is not None and current.parent is not None:
        entries.append(Entry(current.parent, known.get(current.parent)))
    return tuple(entries)


def line_of(artifact: Artifact, folders: Iterable[Path], most: int | None = None) -> tuple[Entry, ...]:
    """As `history`, of what lies in the folders, `most` entries of it. Only the line itself is loaded: a long line's
    artifacts each hold all patches below them."""
    places: dict[str, list[Path]] = {}
    for folder in folders:
        for digest, path in _places_in(folder):
            places.setdefault(digest, []).append(path)
    entries = [Entry(artifact.digest, artifact)]
    while (current := entries[-1].artifact) is not None and current.parent is not None:
        if most is not None and len(entries) >= most:
            break
        entries.append(Entry(current.parent, _found(current.parent, places.get(current.parent, ()))))
    return tuple(entries)


def _found(digest: str, places: Iterable[Path]) -> Artifact | None:
    """The first sound one of that digest."""
    for path in places:
        try:
            artifact = load_artifact(path)
        except ArtifactError:
            continue
        if artifact.digest == digest:
            return artifact
    return None


def _places_in(folder: Path) -> Iterable[tuple[str, Path]]:
    """Digests and places of what may be artifacts: a digest is that of the manifest."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith("."):
            continue
        if path.suffix == SUFFIX:
            try:
                yield load_artifact(path).digest, path
            except ArtifactError:
                continue
        elif (manifest := path / MANIFEST).is_file() and manifest.stat().st_size <= MOST_BYTES:
            try:
                yield digest_of(manifest.read_bytes()), path
            except OSError:
                continue
