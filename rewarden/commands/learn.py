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
    from rewarden.reward.learn_config import load_learn_config
    from rewarden.reward.store import save_artifact
    from rewarden.unlearning import training_of

    require_free(out)
    # what a reward was learned in shards from is kept: rows are forgotten with it
    kept = load_learn_config(config).shards is not None
    checkpoints = training_of(out) if kept else out.parent / f".{out.name}.learning"
    with progress(quiet) as report:
        artifact = learn_from(config, seed=seed, progress=report, checkpoints=checkpoints)
    save_artifact(artifact, out)
    if not kept:
        shutil.rmtree(checkpoints, ignore_errors=True)
    if not quiet:
        emit(describe(out, artifact))
    return exits.PROVED


def import_network(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="An ONNX network, a .pt2 archive, a safetensors file, or the folder of a sequence classifier.",
        ),
    ],
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
    architecture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The layers of a safetensors file, or of a classifier's head: TOML or JSON."),
    ] = None,
    adapter: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="A LoRA adapter on a classifier; several, in their order.")
    ] = None,
    output: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which of a classifier's outputs: its number or label.")
    ] = None,
    outputs: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="All outputs, by names of the spec's rewards, in order: DIR/A, DIR/B, … share one network.",
        ),
    ] = None,
    quiet: options.Quiet = False,
) -> int:
    """Make an artifact of a network that was made elsewhere. Nothing is ever unpickled."""
    from rewarden import importing
    from rewarden.atomic import new_folder, require_free

    require_free(out)
    chosen = importing.ImportOptions(reward, identified, constants, architecture, tuple(adapter or ()), output)
    if outputs is not None:
        found = importing.import_outputs(file, features, chosen, outputs)
        from rewarden.output import emit
        from rewarden.reward.store import save_artifact

        with new_folder(out) as scratch:
            for name, artifact in found.items():
                save_artifact(artifact, scratch / name)
        if not quiet:
            emit([f"wrote {out / name}, {artifact.digest}" for name, artifact in found.items()])
        return exits.PROVED
    artifact = importing.import_network(file, features, chosen)
    from rewarden.inspection import describe
    from rewarden.output import emit
    from rewarden.reward.store import save_artifact

    save_artifact(artifact, out)
    if not quiet:
        emit(describe(out, artifact))
    return exits.PROVED
