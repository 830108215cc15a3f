"""`rewarden patch`: edit until the failing rules are proved, or say why not."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewarden import exits
from rewarden.commands import options

if TYPE_CHECKING:
    from rewarden.binding import Bound
    from rewarden.editor.compare import Compared
    from rewarden.editor.effect import Effect
    from rewarden.editor.mend import PatchResult
    from rewarden.editor.patch import PatchOptions
    from rewarden.verifier.options import VerifyOptions


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Where the methods' table goes."""

    json: Path | None
    html: Path | None
    quiet: bool


def patch(
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="A folder to make; not with --compare.")
    ] = None,
    spec: options.SpecFile = None,
    reward: options.Rewards = None,
    rule: options.Rules = None,
    param: options.Params = None,
    allow: options.Allow = None,
    ring: Annotated[
        str | None, typer.Option(help="Width of the rim, in percent of each feature's range.", show_default="5")
    ] = None,
    method: Annotated[
        str, typer.Option(help="auto, or one of those that --compare lists: see docs/editing.md.")
    ] = "auto",
    compare: Annotated[
        bool, typer.Option("--compare", help="Try every method by itself, tell them side by side, write nothing.")
    ] = False,
    budget: options.Budget = None,
    timeout: options.Timeout = None,
    accept_broken: Annotated[
        bool, typer.Option("--accept-broken", help="Write the patch though it breaks rules that were proved.")
    ] = False,
    json: options.JsonFile = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a report to read.")] = None,
    quiet: options.Quiet = False,
) -> int:
    """Mend the failing rules: by patches in their regions and nowhere else, where that can be."""
    from rewarden import api
    from rewarden.atomic import require_free, write_text
    from rewarden.binding import Asked, bind, patch_options, verify_options
    from rewarden.output import emit, note, result_lines
    from rewarden.progress import per_rule, progress
    from rewarden.results import result_text
    from rewarden.spec_lang.errors import EditError, UsageError

    bound = bind(Asked(spec, reward or (), param or (), rule or (), allow or ()))
    chosen = verify_options(bound.config, {"budget": budget, "timeout": timeout})
    if compare:
        return _compared(_Comparison(json, html, quiet), bound, chosen, patch_options(bound.config, ring))
    if out is None:
        raise UsageError("G24", "no folder is named to write to", help="add -o DIR, or --compare to write nothing")
    require_free(out)
    try:
        with progress(quiet) as report:
            result = api.patch(
                bound.spec,
                patch_options(bound.config, ring),
                verify_options=chosen,
                rules=bound.rules,
                method=method,
                progress=per_rule(report),
                rewards=bound.rewards,
            )
    except EditError as error:
        if error.code != "E39":
            raise
        emit(["nothing is written: " + error.message, f"  {error.help}"])
        return exits.INCONCLUSIVE
    if not quiet:
        emit(_told(result))
    for name, reason in result.unmended.items():
        note(f"{name} cannot be patched: {reason}")
    if result.artifact is None:
        return result.before.exit_status if result.unmended else exits.PROVED
    if result.broken and not accept_broken:
        emit(
            [
                f"not written: this patch would break {', '.join(result.broken)}, proved before",
                *(f"  {clash}" for clash in result.clashes),
                "  --accept-broken writes it all the same; --rule patches for fewer rules; --ring narrows the rim",
            ]
        )
        return exits.VIOLATED
    written = _written(result, out)
    if not quiet or json is not None or html is not None:
        from rewarden.editor.effect import effects

        did = effects(bound.spec, bound.rewards, result)
        if not quiet:
            emit(["", *result_lines(result.after), "", *_effect_lines(did), *written])
        if json is not None:
            told = {name: one.to_json() for name, one in did.items()}
            write_text(json, result_text(result.after, {"edit": told[result.reward], "edits": told}))
        if html is not None:
            write_text(html, _page(bound, result, did))
    return exits.worst([result.after.exit_status, exits.VIOLATED if result.broken else exits.PROVED])


def _page(bound: Bound, result: PatchResult, did: Mapping[str, Effect]) -> str:
    from rewarden.report import Story, render

    return render(
        Story(
            title=f"Edit for {bound.spec_path.name}",
            spec=bound.spec,
            result=result.after,
            rewards={**bound.rewards, **result.artifacts},
            before=result.before,
            rewards_before=bound.rewards,
            edits=result.edits,
            effects=did,
        )
    )


def _effect_lines(did: Mapping[str, Effect]) -> list[str]:
    """What the edit did to each reward; of several, with their names."""
    if len(did) == 1:
        return [line for one in did.values() for line in one.lines]
    return [f"{name}: {line}" for name, one in did.items() for line in one.lines]


def _written(result: PatchResult, out: Path) -> list[str]:
    """One edited reward as the folder itself; several within it, each by its name."""
    from rewarden import api
    from rewarden.atomic import new_folder

    assert result.artifact is not None
    if not result.others:
        api.save_reward(result.artifact, out)
        return [f"wrote {out}, {result.artifact.digest}"]
    with new_folder(out) as scratch:
        for name, artifact in result.artifacts.items():
            api.save_reward(artifact, scratch / name)
    return [f"wrote {out / name}, {artifact.digest}" for name, artifact in result.artifacts.items()]


def _compared(asked: _Comparison, bound: Bound, chosen: VerifyOptions, patching: PatchOptions) -> int:
    """The table, of the methods that have finished where Ctrl-C came before the others."""
    from rewarden import api, comparing
    from rewarden.atomic import write_bytes, write_text
    from rewarden.editor.methods.choose import METHODS
    from rewarden.output import emit, note
    from rewarden.progress import per_rule, progress
    from rewarden.side_by_side import page, table_lines
    from rewarden.spec_lang.canonical import canonical_json

    done: list[Compared] = []
    with progress(asked.quiet) as report, suppress(KeyboardInterrupt):
        api.compare_patches(
            bound.spec,
            patching,
            verify_options=chosen,
            rules=bound.rules,
            progress=per_rule(report),
            keep=comparing.folder(),
            each=done.append,
            rewards=bound.rewards,
        )
    told = {one.method: one for one in done}
    found = [told.get(name) or comparing.open_method(name, "interrupted") for name in METHODS]
    emit(table_lines(found))
    if any(one.open for one in found):
        note("what has finished is kept: the same command goes on with the others")
    if asked.json is not None:
        methods = [one.to_json() for one in found]
        write_bytes(asked.json, canonical_json({"schema_version": 2, "methods": methods}))
    if asked.html is not None:
        write_text(asked.html, page(f"Methods for {bound.spec_path.name}", found))
    if len(done) < len(METHODS):
        return exits.INTERRUPTED
    return exits.INCONCLUSIVE if any(one.open for one in found) else exits.PROVED


def _told(result: PatchResult) -> list[str]:
    from rewarden.output import number

    lines = []
    for edit in result.edits:
        for fact in edit.patches:
            lines.append(
                f"{fact.kind} on {edit.reward} for {edit.rule}: at {number(float(fact.level))}, "
                f"slope {number(float(fact.slope))} a ring width"
            )
        edited = result.artifacts.get(edit.reward)
        said = None if edited is None else edited.edit
        if not edit.patches and said is not None:
            fix = next((text for key, text in said.statement.items() if key.endswith(f"{edit.rule}.fix")), "")
            lines.append(f"{said.kind} on {edit.reward} for {edit.rule}" + (f": {fix}" if fix else ""))
    if not lines and not result.unmended:
        lines.append("nothing to patch: no rule asked for fails")
    return lines
