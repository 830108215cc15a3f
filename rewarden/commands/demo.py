"""`rewarden demo`: the whole story on packaged real data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rewarden.commands import options


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where everything is left.")] = Path(
        "rewarden-demo"
    ),
    quiet: options.Quiet = False,
) -> int:
    """Learn, verify, patch, verify again, certify, check: on recorded motorway driving. Two minutes."""
    from rewarden.demo import run

    return run(out, quiet=quiet)
