"""An artifact's history: each edit's child names its parent by digest, so artifacts form chains as commits do.

A line is told by manifests alone (`steps_of`): each of a thousand artifacts holds all patches below it, and to load
them all would take the square of what one takes. What is needed whole is loaded by `at_hand`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rewarden.reward.artifact import Artifact, Edit, Learner
from rewarden.reward.manifest import parse_manifest, said_in
from rewarden.reward.store import MANIFEST, SUFFIX, load_artifact, read_manifest
from rewarden.spec_lang.canonical import digest_of
from rewarden.spec_lang.errors import ArtifactError


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One step of a history; `artifact` is None where only the digest is known (the parent is not at hand). `places`:
    where it may lie."""

    digest: str
    artifact: Artifact | None
    places: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a history as its manifest tells it; `known` unless no manifest of that digest is at hand. `places`:
    where the artifact may lie."""

    digest: str
    learner: Learner | None = None
    edit: Edit | None = None
    parent: str | None = None
    known: bool = True
    places: tuple[Path, ...] = field(default=(), compare=False)

    @classmethod
    def of(cls, artifact: Artifact, places: tuple[Path, ...] = ()) -> Step:
        return cls(artifact.digest, artifact.learner, artifact.edit, artifact.parent, places=places)


def history(artifact: Artifact, ancestors: Iterable[Artifact] = ()) -> tuple[Entry, ...]:
    """The artifact, its parent, its parent's parent, … as far as `ancestors` reach; the last entry has either no
    parent or no artifact. A digest cannot be made to name its own descendant, so the walk ends."""
    known = {a.digest: a for a in ancestors}
    entries = [Entry(artifact.digest, artifact)]
    while (current := entries[-1].artifact) is not None and current.parent is not None:
        entries.append(Entry(current.parent, known.get(current.parent)))
    return tuple(entries)


def line_of(artifact: Artifact, folders: Iterable[Path], most: int | None = None) -> tuple[Entry, ...]:
    """As `history`, of what lies in the folders, `most` entries of it, all loaded. Only the line itself is loaded."""
    places = _by_digest(folders)
    entries = [Entry(artifact.digest, artifact, tuple(places.get(artifact.digest, ())))]
    while (current := entries[-1].artifact) is not None and current.parent is not None:
        if most is not None and len(entries) >= most:
            break
        there = tuple(places.get(current.parent, ()))
        entries.append(Entry(current.parent, at_hand(current.parent, there), there))
    return tuple(entries)


def steps_of(artifact: Artifact, folders: Iterable[Path]) -> Iterator[Step]:
    """As `line_of`, read off manifests alone: the last step may be one that is not `known`."""
    places = _by_digest(folders)
    step = Step.of(artifact, tuple(places.get(artifact.digest, ())))
    yield step
    while step.known and step.parent is not None:
        step = _told(step.parent, tuple(places.get(step.parent, ())))
        yield step


def at_hand(digest: str, places: Iterable[Path]) -> Artifact | None:
    """The first sound artifact of that digest."""
    for path in places:
        try:
            artifact = load_artifact(path)
        except ArtifactError:
            continue
        if artifact.digest == digest:
            return artifact
    return None


def _by_digest(folders: Iterable[Path]) -> dict[str, list[Path]]:
    places: dict[str, list[Path]] = {}
    for folder in folders:
        for digest, path in _places_in(folder):
            places.setdefault(digest, []).append(path)
    return places


def _told(digest: str, places: tuple[Path, ...]) -> Step:
    for path in places:
        try:
            data = read_manifest(path)
            if digest_of(data) == digest:
                return Step(digest, *said_in(parse_manifest(data)), places=places)
        except ArtifactError:
            continue
    return Step(digest, known=False)


def _places_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Digests and places of what may be artifacts: a digest is that of the manifest."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(".") or not (path.suffix == SUFFIX or (path / MANIFEST).is_file()):
            continue
        try:
            yield digest_of(read_manifest(path)), path
        except ArtifactError:
            continue
