"""An artifact's history: each edit's child names its parent by digest, so artifacts form chains as commits do."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rewarden.reward.artifact import Artifact
from rewarden.reward.store import MANIFEST, SUFFIX, load_artifact
from rewarden.spec_lang.errors import ArtifactError


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


def artifacts_in(folder: str | os.PathLike[str]) -> tuple[Artifact, ...]:
    """Every sound artifact that lies directly in a folder (folders with a manifest, and `.rwz` files), by name.

    Others are passed over: a history is looked for among whatever lies about.
    """
    found = []
    for path in sorted(Path(folder).iterdir()):
        if path.name.startswith("."):  # what an interrupted save has left
            continue
        if path.suffix == SUFFIX or (path / MANIFEST).is_file():
            try:
                found.append(load_artifact(path))
            except ArtifactError:
                continue
    return tuple(found)
