"""`rewarden inspect`: what an artifact is, and how good."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rewarden import exits
from rewarden.commands import options
from rewarden.commands.lineage import ArtifactPath


def inspect(
    artifact: ArtifactPath,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="FILE", help="Judge it by a table: pairs, rankings, labels or demonstrations."),
    ] = None,
    map: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="NAME=COLUMN", help="Which column of it a feature is, such as gap='obs\\[0]'."),
    ] = None,
    encoder: Annotated[
        Path | None, typer.Option("--encoder", metavar="DIR", help="For rows of text: the encoder's folder.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="OTHER", help="How far from another artifact: EPIC, and DARD where it can."),
    ] = None,
    effects: Annotated[
        bool, typer.Option("--effects", help="Certify what each feature does to the reward; --html does so too.")
    ] = False,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="FEATURE=LO..HI", help="Effects there only; repeatable. Cases: lane=left."),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option("--noise", metavar="SHARES", help="Learn again with labels turned round, as in 0,0.1,0.2."),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            "--baseline", metavar="COLUMN", help="A rule to beat: more (or less) of better.COLUMN, worse.COLUMN."
        ),
    ] = None,
    witness: Annotated[
        Path | None,
        typer.Option("--witness", metavar="JSON", help="A verification's result: the data nearest to its witnesses."),
    ] = None,
    actions: Annotated[
        str | None, typer.Option("--actions", metavar="FEATURES", help="For --against: features that are actions.")
    ] = None,
    discount: Annotated[float, typer.Option(help="For --against.")] = 0.99,
    budget: Annotated[
        int | None, typer.Option(help="Cells or boxes for each certified end.", show_default="3000")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page to read.")] = None,
    json: options.JsonFile = None,
    quiet: options.Quiet = False,
) -> int:
    """Say what an artifact is, and how good: features, network, how it was learned, its edits; with --data how often it
    is right on rows that it never saw, whether its margins mean what they say and what trivial rule it beats."""
    from rewarden.inspection import describe
    from rewarden.output import emit
    from rewarden.reward.store import load_artifact

    loaded = load_artifact(artifact)
    lines = describe(artifact, loaded)
    if not any((data, against, map, encoder, effects, where, noise, baseline, witness, html, json)):
        emit(lines)  # what needs no arithmetic loads none
        return exits.PROVED
    from rewarden import jobs
    from rewarden.judging.words import lines_of
    from rewarden.output import put_json
    from rewarden.progress import progress
    from rewarden.text.tables import views_given

    with progress(quiet) as report:
        told = jobs.inspect(
            loaded,
            data,
            against=None if against is None else load_artifact(against),
            effects=effects,
            where=where or (),
            noise=() if noise is None else _shares(noise),
            baselines=baseline or (),
            witness=witness,
            actions=() if actions is None else [name.strip() for name in actions.split(",")],
            discount=discount,
            budget=budget,
            columns=views_given(map or (), "--map"),
            encoder=encoder,
            html=html,
            title=artifact.name,
            progress=report,
        )
    emit([*lines, *lines_of(told)])
    if json is not None:
        put_json(told.to_json(), json)
    return exits.PROVED


def _shares(text: str) -> list[float]:
    from rewarden.spec_lang.errors import UsageError

    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError("G42", f"--noise {text} is no list of shares", help="write numbers, as in 0,0.1,0.2") from None
