"""`rewarden patch`: edit until the failing rules are proved, or say why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rewarden import exits
from rewarden.commands import options

if TYPE_CHECKING:
    from rewarden.editor.mend import PatchResult


def patch(
    out: options.OutFolder,
    spec: options.SpecFile = None,
    reward: options.Rewards = None,
    rule: options.Rules = None,
    param: options.Params = None,
    allow: options.Allow = None,
    ring: Annotated[
        str | None, typer.Option(help="Width of the rim, in percent of each feature's range.", show_default="5")
    ] = None,
    budget: options.Budget = None,
    timeout: options.Timeout = None,
    accept_broken: Annotated[
        bool, typer.Option("--accept-broken", help="Write the patch though it breaks rules that were proved.")
    ] = False,
    json: options.JsonFile = None,
    quiet: options.Quiet = False,
) -> int:
    """Hold the reward at the bound of each failing rule, in its region and nowhere else."""
    from rewarden import api
    from rewarden.atomic import require_free
    from rewarden.binding import Asked, bind, patch_options, verify_options
    from rewarden.output import emit, note, result_lines
    from rewarden.progress import per_rule, progress
    from rewarden.results import write_result

    bound = bind(Asked(spec, reward or (), param or (), rule or (), allow or ()))
    chosen = verify_options(bound.config, {"budget": budget, "timeout": timeout})
    require_free(out)
    with progress(quiet) as report:
        result = api.patch(
            bound.spec,
            patch_options(bound.config, ring),
            verify_options=chosen,
            rules=bound.rules,
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
                "  --accept-broken writes it all the same; --rule patches for fewer rules; --ring narrows the rim",
            ]
        )
        return exits.VIOLATED
    api.save_reward(result.artifact, out)
    if not quiet:
        emit(["", *result_lines(result.after), "", f"wrote {out}, {result.artifact.digest}"])
    if json is not None:
        write_result(result.after, json)
    return exits.worst([result.after.exit_status, exits.VIOLATED if result.broken else exits.PROVED])


def _told(result: PatchResult) -> list[str]:
    from rewarden.output import number

    lines = []
    for edit in result.edits:
        for fact in edit.patches:
            lines.append(
                f"{fact.kind} on {edit.reward} for {edit.rule}: at {number(float(fact.level))}, "
                f"slope {number(float(fact.slope))} a ring width"
            )
    if not lines and not result.unmended:
        lines.append("nothing to patch: no rule asked for fails")
    return lines
