"""`rewarden log`: what became of an artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rewarden import exits

ArtifactPath = Annotated[Path, typer.Argument(metavar="ARTIFACT", help="An artifact's folder or .rwz.")]


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
    from rewarden.inspection import log_lines
    from rewarden.output import emit
    from rewarden.reward.lineage import steps_of
    from rewarden.reward.store import load_artifact

    folders = [artifact.resolve().parent, *(near or ())]
    for number, step in enumerate(steps_of(load_artifact(artifact), folders)):
        first, *rest = log_lines(step)
        named = f"{first}  edit {number}" if step.edit is not None else first  # by which others call it
        emit([*([""] if number else []), named, *rest])
    return exits.PROVED
