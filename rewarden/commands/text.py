"""`rewarden encode`: texts → a table that a spec can name as data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rewarden import exits
from rewarden.commands import options


def encode(
    texts: Annotated[
        Path, typer.Argument(metavar="TEXTS", help="chosen and rejected, text, messages, or prompt and completion.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="A Parquet file to make.")],
    encoder: Annotated[Path, typer.Option("--encoder", metavar="DIR", help="The encoder's folder.")],
    features: Annotated[Path, typer.Option("--features", metavar="SPEC", help="The spec that declares the features.")],
    type: Annotated[str | None, typer.Option("--type", metavar="NAME", help="Which of its record types.")] = None,
    view: Annotated[
        list[str] | None,
        typer.Option("--view", metavar="NAME=PART", help="Which part a feature is, such as e=whole or n=reply.words."),
    ] = None,
    keep: Annotated[str, typer.Option(help="Of a text too long for the encoder: its end, or its start.")] = "end",
    quiet: options.Quiet = False,
) -> int:
    """Make a table of features from texts, with an encoder on this machine. Nothing is downloaded."""
    from rewarden.output import emit
    from rewarden.progress import progress
    from rewarden.text.tables import encode_file, views_given

    views = views_given(view or ())
    with progress(quiet) as report:
        said = encode_file(texts, out, encoder, (features, type), views, keep, report)
    if not quiet:
        emit(said)
    return exits.PROVED
