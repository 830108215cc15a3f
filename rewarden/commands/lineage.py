"""`rewarden inspect` and `rewarden log`: what an artifact is, and what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rewarden import exits
from rewarden.commands import options

ArtifactPath = Annotated[Path, typer.Argument(metavar="ARTIFACT", help="An artifact's folder or .rwz.")]


def inspect(artifact: ArtifactPath, json: options.JsonFile = None) -> int:
    """Say what an artifact is: its features, its network, how it was learned, its edits."""
    from rewarden.atomic import write_bytes
    from rewarden.inspection import describe
    from rewarden.output import emit
    from rewarden.reward.store import load_artifact

    loaded = load_artifact(artifact)
    emit(describe(artifact, loaded))
    if json is not None:
        # The manifest is canonical JSON already, and holds all there is to say.
        write_bytes(json, loaded.manifest_bytes)
    return exits.PROVED


def log(
    artifact: ArtifactPath,
    near: Annotated[
        list[Path] | None,
        typer.Option(
            "--in", metavar="DIR", help="Look for parents here too; repeatable. Siblings are looked at anyway."
        ),
    ] = None,
) -> int:
    """An artifact's history, newest first: what made it of its parent, and what that guarantees."""
    from rewarden.inspection import history_of, log_lines
    from rewarden.output import emit
    from rewarden.reward.store import load_artifact

    folders = [artifact.resolve().parent, *(near or ())]
    for number, entry in enumerate(history_of(load_artifact(artifact), folders)):
        emit(([""] if number else []) + log_lines(entry))
    return exits.PROVED
