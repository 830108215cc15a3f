"""`rewarden init`: a project to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rewarden import exits


def init(
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="DATA|NET|SPACE",
            help="Take the features from a table, an ONNX network, an artifact, gym:ENVIRONMENT or module:space.",
        ),
    ] = None,
    folder: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where; by default here.")] = Path(),
) -> int:
    """Write rewarden.toml and a starter spec to review. Never overwrites."""
    from rewarden.output import emit
    from rewarden.starter import write_starter

    made = write_starter(folder, source)
    emit([f"wrote {path}" for path in made])
    emit(["next: review the ranges, add units and rules, then `rewarden check`"])
    return exits.PROVED
