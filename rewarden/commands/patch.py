"""`rewarden patch`: edit until the failing rules are proved, or say why not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewarden import exits
from rewarden.commands import options

if TYPE_CHECKING:
    from rewarden.binding import Bound
    from rewarden.editor.effect import Effect
    from rewarden.editor.mend import PatchResult
    from rewarden.editor.methods.choose import Compared
    from rewarden.editor.patch import PatchOptions
    from rewarden.editor.steepness import Steepness
    from rewarden.verifier.options import VerifyOptions


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
    from rewarden.spec_lang.errors import UsageError

    bound = bind(Asked(spec, reward or (), param or (), rule or (), allow or ()))
    chosen = verify_options(bound.config, {"budget": budget, "timeout": timeout})
    if compare:
        return _compared(bound, chosen, patch_options(bound.config, ring), quiet, json)
    if out is None:
        raise UsageError("G24", "no folder is named to write to", help="add -o DIR, or --compare to write nothing")
    require_free(out)
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
            steep = [rim.words for rims in _rims(bound, result).values() for rim in rims]
            emit(["", *result_lines(result.after), "", *_effect_lines(did), *steep, *written])
        if json is not None:
            told = {name: one.to_json() for name, one in did.items()}
            for name, rims in _rims(bound, result).items():
                told[name]["patches"] = [rim.to_json() for rim in rims]
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


def _rims(bound: Bound, result: PatchResult) -> dict[str, tuple[Steepness, ...]]:
    """How steep the rims of the new patches are, by reward."""
    from rewarden.editor.steepness import steepness

    return {name: steepness(artifact, len(bound.rewards[name].patches)) for name, artifact in result.artifacts.items()}


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


def _compared(bound: Bound, chosen: VerifyOptions, patching: PatchOptions, quiet: bool, json: Path | None) -> int:
    from rewarden import api
    from rewarden.output import emit, number
    from rewarden.progress import per_rule, progress

    with progress(quiet) as report:
        found = api.compare_patches(
            bound.spec,
            patching,
            verify_options=chosen,
            rules=bound.rules,
            progress=per_rule(report),
            rewards=bound.rewards,
        )
    lines = []
    for one in found:
        lines.append(f"{one.method}: {one.guarantee}")
        if one.declined:
            lines.append(f"  not here: {one.declined}")
            continue
        assert one.drift is not None
        lines.append(
            f"  proved now: {', '.join(one.proved) or 'none'}"
            + (f"; broken: {', '.join(one.broken)}" * bool(one.broken))
        )
        share = one.drift.changed / max(one.drift.rows, 1)
        lines.append(
            f"  of {one.drift.rows} sampled records {share:.1%} changed, by {number(one.drift.mean)} in the mean over "
            f"all and {number(one.drift.largest)} at most; {one.patches} patches; {one.seconds:.1f} s"
        )
    emit(lines)
    if json is not None:
        from rewarden.atomic import write_bytes
        from rewarden.spec_lang.canonical import canonical_json

        write_bytes(json, canonical_json({"schema_version": 1, "methods": [_compared_json(one) for one in found]}))
    return exits.PROVED


def _compared_json(one: Compared) -> dict[str, object]:
    drift = None
    if one.drift is not None:
        drift = {
            "rows": one.drift.rows,
            "changed": one.drift.changed,
            "largest": repr(one.drift.largest),
            "mean": repr(one.drift.mean),
        }
    return {
        "method": one.method,
        "guarantee": one.guarantee,
        "declined": one.declined or None,
        "proved": list(one.proved),
        "broken": list(one.broken),
        "patches": one.patches,
        "drift": drift,
        "seconds": repr(round(one.seconds, 3)),
    }


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
