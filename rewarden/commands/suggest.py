"""`rewarden suggest`: candidate rules, for an expert to edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewarden import exits
from rewarden.commands import options

if TYPE_CHECKING:
    from rewarden.reward.artifact import Artifact
    from rewarden.spec_lang import Spec


def suggest(
    spec: Annotated[
        Path | None,
        typer.Argument(metavar="SPEC|DATA", help="The spec; or a table, whose features are drafted as by init."),
    ] = None,
    reward: options.Rewards = None,
    data: Annotated[
        list[str] | None, typer.Option("--data", metavar="NAME", help="Only this data set of the spec; repeatable.")
    ] = None,
    incidents: Annotated[
        list[str] | None,
        typer.Option(
            "--incidents", metavar="NAME", help="A data set of what must not pay; by default those named like it."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Where to write; by default stdout.")
    ] = None,
    quiet: options.Quiet = False,
) -> int:
    """Draft rules and assumptions from a learned reward and data, each with how well it holds."""
    from rewarden.output import emit, note
    from rewarden.progress import progress
    from rewarden.suggest.drafting import suggest as draft
    from rewarden.suggest.text import summary_lines

    loaded, path, rewards = _asked(spec, reward or ())
    if out is not None:
        _require_place(out, path, loaded)
    with progress(quiet) as report:
        found = draft(loaded, rewards, data=data or (), incidents=incidents or (), progress=report)
    if out is None:
        emit(found.text.splitlines())
    else:
        from rewarden.atomic import write_text

        write_text(out, found.text)
    if not quiet:
        for line in found.notes:
            note(f"note: {line}")
    if out is not None and not quiet:
        counts = f"{len(found.rules)} rules to consider, {len(found.assumptions)} assumptions as comments"
        emit([f"{out}: {counts}", *summary_lines(found.rules, found.assumptions)])
        emit(["next: keep what you mean, correct its numbers, make it `must`; delete the rest"])
    return exits.PROVED


def _asked(path: Path | None, rewards: Sequence[str]) -> tuple[Spec, Path, Mapping[str, Artifact]]:
    """The spec, where it is, and the rewards that were named or that the configuration has made already."""
    from rewarden.binding import Asked, bind, load_asked_spec
    from rewarden.draft.tables import SUFFIXES
    from rewarden.spec_lang.errors import UsageError

    if path is not None and path.suffix.lower() in SUFFIXES:
        if rewards:
            help = f"write a spec of the table first: rewarden init --from {path}"
            raise UsageError("G89", "a reward is bound to a spec, and only a table is named", help=help)
        return _drafted(path), path, {}
    asked = Asked(path, rewards)
    if rewards or _configured(path):
        bound = bind(asked)
        return bound.spec, bound.spec_path, bound.rewards
    loaded, place = load_asked_spec(asked)
    return loaded, place, {}


def _configured(path: Path | None) -> bool:
    """Does the configuration name artifacts for this spec, and are they all there?"""
    from rewarden.config import find_config

    config = find_config()
    ours = path is None or any(path.resolve() == own.resolve() for own in config.specs)
    return ours and bool(config.rewards) and all(place.exists() for place in config.rewards.values())


def _drafted(table: Path) -> Spec:
    """The starter spec of a table, unwritten."""
    from rewarden.draft.tables import from_table
    from rewarden.spec_lang import parse_spec
    from rewarden.starter import spec_name, spec_text

    folder = table.resolve().parent
    return parse_spec(spec_text(spec_name(table, folder), from_table(table), folder), table.name, base=folder)


def _require_place(out: Path, spec: Path, loaded: Spec) -> None:
    """Free, and where the spec's relative paths still lead to its data and the files that it uses."""
    from rewarden.atomic import require_free
    from rewarden.spec_lang import syntax
    from rewarden.spec_lang.errors import UsageError

    require_free(out)
    relative = loaded.data or any(isinstance(item, syntax.UseDecl) for item in loaded.tree.items)
    if relative and out.resolve().parent != spec.resolve().parent:
        help = f"write it beside {spec.name}: -o {spec.parent / out.name}"
        raise UsageError("G89", f"the paths in {spec.name} would lead nowhere from {out.parent}", help=help)
