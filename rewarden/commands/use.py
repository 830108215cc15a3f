"""`rewarden score` and `rewarden export`: a reward in use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from rewarden import exits
from rewarden.commands import options


def score(
    artifact: Annotated[Path, typer.Argument(metavar="ARTIFACT", help="A folder or a .rwz.")],
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="Rows in problem units; Parquet is streamed.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="A .parquet or .csv file to make.")],
    out_of_domain: Annotated[
        str, typer.Option(help="refuse rows out of the declared domain, flag them, or clip them to it.")
    ] = "refuse",
    column: Annotated[str, typer.Option(help="What the column of rewards is called.")] = "reward",
    batch: Annotated[int, typer.Option(help="Rows at a time.")] = 65_536,
    map: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="NAME=COLUMN", help="Which column a feature is, such as gap='obs\\[0]'."),
    ] = None,
    encoder: Annotated[
        Path | None, typer.Option("--encoder", metavar="DIR", help="For rows of text: the encoder's folder.")
    ] = None,
    quiet: options.Quiet = False,
) -> int:
    """Write the table with the reward of each row beside it."""
    from rewarden.output import emit
    from rewarden.reward.store import load_artifact
    from rewarden.scoring import ScoreOptions, score_file
    from rewarden.text.tables import views_given

    policy = cast(Literal["refuse", "flag", "clip"], out_of_domain)
    chosen = ScoreOptions(policy, column, batch, views_given(map or (), "--map"), encoder)
    scored = score_file(load_artifact(artifact), table, out, chosen)
    if not quiet:
        outside = f", {scored.outside} of them out of the declared domain" if scored.outside else ""
        emit([f"wrote {out}: {scored.rows} rows{outside}"])
    return exits.PROVED


def export(
    artifact: Annotated[Path, typer.Argument(metavar="ARTIFACT", help="A folder or a .rwz.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="An ONNX file to make.")],
    form: Annotated[
        str, typer.Option(help="bits: the deployed reward to the last bit; gemm: matrix products, faster.")
    ] = "bits",
    quiet: options.Quiet = False,
) -> int:
    """Write the reward as an ONNX network to be run: normaliser and patches inside, its deviation stated."""
    from rewarden.atomic import require_free, write_bytes
    from rewarden.output import emit
    from rewarden.reward.onnx_deployed import deployed_onnx
    from rewarden.reward.store import load_artifact
    from rewarden.spec_lang.errors import UsageError

    if form not in ("bits", "gemm"):
        raise UsageError("G90", f"--form {form}: bits or gemm")
    require_free(out)
    found = deployed_onnx(load_artifact(artifact), cast(Literal["bits", "gemm"], form))
    write_bytes(out, found.model)
    if not quiet:
        emit([f"wrote {out}", f"deviation from the deployed reward: {found.deviation}"])
    return exits.PROVED
