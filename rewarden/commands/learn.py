"""`rewarden learn` and `rewarden import`: where artifacts come from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from rewarden import exits
from rewarden.commands import options


def learn(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="What to learn from what: a TOML file.")],
    out: options.OutFolder,
    seed: Annotated[int | None, typer.Option(help="Instead of the config's seed.")] = None,
    quiet: options.Quiet = False,
) -> int:
    """Learn a reward from data alone, deterministically: one seed, one digest.

    A run that is stopped on the way goes on where it was when the same command is given again.
    """
    from rewarden.atomic import require_free
    from rewarden.inspection import describe
    from rewarden.learning import learn_from
    from rewarden.output import emit
    from rewarden.progress import progress
    from rewarden.reward.store import save_artifact

    require_free(out)
    checkpoints = out.parent / f".{out.name}.learning"
    with progress(quiet) as report:
        artifact = learn_from(config, seed=seed, progress=report, checkpoints=checkpoints)
    save_artifact(artifact, out)
    shutil.rmtree(checkpoints, ignore_errors=True)
    if not quiet:
        emit(describe(out, artifact))
    return exits.PROVED


def import_network(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An ONNX network.")],
    out: options.OutFolder,
    features: Annotated[
        Path, typer.Option("--features", metavar="SPEC", help="The spec that declares what the network reads.")
    ],
    reward: Annotated[
        str | None, typer.Option("--reward", metavar="NAME", help="For which reward of the spec; by default its first.")
    ] = None,
    identified: Annotated[
        str, typer.Option(help="How far the reward is identified: exact, shift or affine.")
    ] = "exact",
    constants: Annotated[
        str, typer.Option(help="exact, or nearest: round constants without a binary32 form, such as 1/sd of a Div.")
    ] = "exact",
    quiet: options.Quiet = False,
) -> int:
    """Make an artifact of an ONNX network. Nothing is ever unpickled."""
    from rewarden.atomic import require_free
    from rewarden.inspection import describe
    from rewarden.learning import import_onnx
    from rewarden.output import emit
    from rewarden.reward.store import save_artifact

    require_free(out)
    artifact = import_onnx(file, features, reward, identified, constants)
    save_artifact(artifact, out)
    if not quiet:
        emit(describe(out, artifact))
    return exits.PROVED
