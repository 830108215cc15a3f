"""`rewarden unlearn`: a reward that no longer knows some of its rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewarden import exits
from rewarden.commands import options
from rewarden.commands.lineage import ArtifactPath

if TYPE_CHECKING:
    from rewarden.unlearning import Unlearned


TOLD = ("rows", "road", "forgotten", "left", "epsilon", "delta")  # of a statement: in the first line, or in "budget"


def unlearn(
    artifact: ArtifactPath,
    forget: Annotated[
        Path, typer.Option(metavar="FILE", help="A table with a column id, or rows as they stand in the data.")
    ],
    config: Annotated[Path, typer.Option(metavar="CONFIG", help="The TOML file that the reward was learned with.")],
    out: options.OutFolder,
    road: Annotated[
        str | None, typer.Option(help="exact, certified or approximate.", show_default="the best there is")
    ] = None,
    spec: Annotated[
        Path | None,
        typer.Option(
            metavar="SPEC", help="Name rules anchored to forgotten rows, of this spec.", show_default="CONFIG's"
        ),
    ] = None,
    audit: Annotated[
        bool, typer.Option("--audit", help="Learn an oracle without the rows, and tell what differs.")
    ] = False,
    strangers: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Rows that nobody learned from: the audit attacks membership too."),
    ] = None,
    shadows: Annotated[int, typer.Option(min=4, max=256, help="Rewards learned for that attack.")] = 16,
    near: Annotated[
        list[Path] | None,
        typer.Option(
            "--in", metavar="DIR", help="Look for ancestors here too; repeatable. Siblings are looked at anyway."
        ),
    ] = None,
    json: options.JsonFile = None,
    quiet: options.Quiet = False,
) -> int:
    """Make a reward forget rows that it was learned from, and say what that guarantees.

    Exact where it was learned in shards, certified for the learner head, else approximate, which guarantees nothing.
    The exit status is 1 where an audit has failed; the reward is written all the same.
    """
    from rewarden.output import emit
    from rewarden.progress import progress
    from rewarden.unlearning import Asked
    from rewarden.unlearning import unlearn as forgetting

    audit = audit or strangers is not None
    asked = Asked(artifact, config, forget, out, road, spec, audit, strangers, shadows, tuple(near or ()))
    with progress(quiet) as report:
        found = forgetting(asked, report)
    if json is not None:
        from rewarden.atomic import write_bytes
        from rewarden.spec_lang.canonical import canonical_json

        write_bytes(json, canonical_json(_as_json(found)))
    if not quiet:
        emit([*_told(found), "", f"wrote {out}, {found.artifact.digest}"])
    return exits.VIOLATED if found.audit is not None and found.audit.faults else exits.PROVED


def _told(found: Unlearned) -> list[str]:
    missing = f", of which {found.missing} not among the data" if found.missing else ""
    asked = f"{found.asked} ids or rows asked for{missing}"
    lines = [f"{found.road}: {found.forgotten} rows forgotten ({asked}), {found.left} left"]
    lines += [f"  {name}: {text}" for name, text in found.statement.items() if name not in TOLD]
    if found.twins:
        lines.append(f"{found.twins} rows that stay say the same as forgotten ones, under other ids")
    for item in found.anchored:
        rules = ", ".join(item.rules) or "no rule"
        lines.append(f"data {item.data} of the spec holds {item.rows} rows with forgotten records; read by {rules}")
        if item.patches:
            what = (
                ", gone with the old weights" if found.road != "approximate" else ": revert them, and make them again"
            )
            lines.append(f"  edits made from it: {', '.join(item.patches)}{what}")
    if found.patches_at:
        gone = ", gone with the old weights" if found.road != "approximate" else ": revert them"
        lines.append(f"patches near data with a box around forgotten records: {', '.join(found.patches_at)}{gone}")
    if found.levels_of_other_data:
        rules = ", ".join(found.levels_of_other_data)
        lines.append(
            f"edits whose levels came of data that are not the spec's any more, of these rows perhaps: {rules}"
        )
    if found.edits_gone:
        lines.append(f"edits are gone with the old weights: {', '.join(found.edits_gone)}; verify and patch again")
    lines += found.effect.lines
    if found.audit is not None:
        lines += _audited(found)
    return lines


def _audited(found: Unlearned) -> list[str]:
    from rewarden.output import number

    audit = found.audit
    assert audit is not None
    lines = ["audit"]
    same = "the same tensors, byte for byte" if audit.gap.equal else "other tensors"
    lines.append(
        f"  against an oracle that never saw the rows: {same}; rewards differ by {number(audit.gap.largest)} at "
        f"most, {number(audit.gap.mean)} in the mean ({number(audit.gap_before.mean)} before)"
    )
    if audit.retained is not None:
        lines.append(f"  rows that stay, right: {audit.retained[0]:.4f} before, {audit.retained[1]:.4f} after")
    for name, attack in (("before", audit.before), ("after", audit.after)):
        if attack is not None:
            lines.append(
                f"  membership attack {name}: AUC {attack.auc:.3f} (0.5 is a coin; by chance {attack.chance:.2g}), "
                f"{attack.found:.1%} of {attack.rows} found where at most 5 % of {attack.strangers} strangers are, "
                f"{attack.shadows} shadows"
            )
    lines += [f"  {note}" for note in audit.notes]
    lines += [f"  FAILED: {fault}" for fault in audit.faults]
    return lines


def _as_json(found: Unlearned) -> dict[str, object]:
    """Reward figures as text, so that no number is rounded in passing."""
    from rewarden.spec_lang.canonical import floats_as_text

    audit = found.audit
    return {
        "schema_version": 1,
        "road": found.road,
        "asked": found.asked,
        "missing": found.missing,
        "forgotten": found.forgotten,
        "left": found.left,
        "artifact": found.artifact.digest,
        "parent": found.artifact.parent,
        "twins": found.twins,
        "effect": floats_as_text(found.effect.to_json()),
        "statement": dict(found.statement),
        "anchored": [
            {"data": a.data, "rows": a.rows, "rules": list(a.rules), "patches": list(a.patches)} for a in found.anchored
        ],
        "patches_at": list(found.patches_at),
        "edits_gone": list(found.edits_gone),
        "levels_of_other_data": list(found.levels_of_other_data),
        "audit": None
        if audit is None
        else {
            "oracle": {
                "equal": audit.gap.equal,
                "largest": repr(audit.gap.largest),
                "mean": repr(audit.gap.mean),
                "mean_before": repr(audit.gap_before.mean),
            },
            "faults": list(audit.faults),
            "notes": list(audit.notes),
            "retained": None if audit.retained is None else [repr(share) for share in audit.retained],
            "membership": [
                None
                if a is None
                else {
                    "auc": repr(a.auc),
                    "chance": repr(a.chance),
                    "found": repr(a.found),
                    "rows": a.rows,
                    "strangers": a.strangers,
                    "shadows": a.shadows,
                }
                for a in (audit.before, audit.after)
            ],
        },
    }
