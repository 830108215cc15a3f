"""`rewarden show`, `diff`, `revert`, `squash`, `merge` and `bake`: an artifact's edits as a history."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewarden import exits
from rewarden.commands import options
from rewarden.commands.lineage import ArtifactPath

if TYPE_CHECKING:
    from rewarden.editor.history.merge import Conflict
    from rewarden.history import Difference
    from rewarden.reward.artifact import Artifact

Near = Annotated[
    list[Path] | None,
    typer.Option("--in", metavar="DIR", help="Look for ancestors here too; repeatable. Siblings are looked at anyway."),
]
SpecToKeep = Annotated[
    Path | None, typer.Option("--spec", metavar="SPEC", help="Verify this spec's rules before and after.")
]
RewardName = Annotated[
    str | None,
    typer.Option("--reward", metavar="NAME", help="Which reward of the spec it is.", show_default="its first"),
]
AcceptBroken = Annotated[
    bool, typer.Option("--accept-broken", help="Write it though rules that were proved are not any more.")
]


def show(
    artifact: ArtifactPath,
    edit: Annotated[
        str, typer.Argument(metavar="EDIT", help="Its number in the log (0: newest), digest, or rule.")
    ] = "0",
    near: Near = None,
    spec: Annotated[
        Path | None,
        typer.Option("--spec", metavar="FILE", help="Write what it promises as a spec, to verify and to certify."),
    ] = None,
) -> int:
    """One edit: what it promises, and what it added to its parent."""
    from rewarden.editor.history.chain import added
    from rewarden.history import chain_of, wanted
    from rewarden.inspection import log_lines, patch_lines
    from rewarden.output import emit
    from rewarden.spec_lang.errors import EditError

    chain = chain_of(artifact, near or (), wanted(edit))
    number = chain.number(edit)
    child = chain.load(number)
    lines = log_lines(chain.steps[number])
    try:
        patches = added(child, chain.parent(number))
    except EditError as error:
        patches = ()
        lines.append(f"  {error.message}")
    for patch in patches:
        lines += patch_lines(child, patch)
    if spec is not None:
        from rewarden.atomic import write_bytes
        from rewarden.promises import promise

        rows = spec.with_name(f"{spec.stem}.rows.jsonl")
        told = promise(child, chain.parent(number), rows.name)
        if told.rows is not None:
            write_bytes(rows, told.rows.encode())
            lines.append(f"wrote {rows}")
        write_bytes(spec, told.text.encode())
        lines += [f"wrote {spec}", f"  rewarden verify {spec} --reward R=EDITED --reward Before=PARENT"]
    emit(lines)
    return exits.PROVED


def diff(
    one: Annotated[Path, typer.Argument(metavar="A", help="An artifact.")],
    other: Annotated[Path, typer.Argument(metavar="B", help="Another version of it.")],
    budget: options.Budget = None,
    timeout: options.Timeout = None,
    json: options.JsonFile = None,
    quiet: options.Quiet = False,
) -> int:
    """Where two artifacts differ, as regions and amounts, proved: not sampled."""
    from dataclasses import replace

    from rewarden.history import difference
    from rewarden.output import emit, put_json
    from rewarden.progress import per_rule, progress
    from rewarden.reward.store import load_artifact
    from rewarden.verifier.options import VerifyOptions

    chosen = VerifyOptions()
    chosen = chosen if budget is None else replace(chosen, budget=budget)
    chosen = chosen if timeout is None else replace(chosen, time_limit=timeout)
    with progress(quiet) as report:
        found = difference(load_artifact(one), load_artifact(other), chosen, per_rule(report))
    if json is not None:
        put_json(_difference_json(found), json)
    if not quiet:
        emit(_difference_lines(found))
    return exits.PROVED


def revert(
    artifact: ArtifactPath,
    out: options.OutFolder,
    edit: Annotated[
        str, typer.Option(metavar="EDIT", help="Its number in the log (0: newest), digest, or rule.")
    ] = "0",
    near: Near = None,
    spec: SpecToKeep = None,
    reward: RewardName = None,
    accept_broken: AcceptBroken = False,
    rows_come_back: Annotated[
        bool, typer.Option("--rows-come-back", help="Take back an unlearning: the reward knows its rows again.")
    ] = False,
) -> int:
    """Take one edit back. The newest gives its parent, byte for byte; later edits are made again on top."""
    from rewarden.editor.history.chain import described, forgets
    from rewarden.editor.history.revert import revert as reverting
    from rewarden.editor.reach import understood
    from rewarden.history import chain_of, wanted
    from rewarden.output import emit
    from rewarden.verifier.extremum import certified_extremum

    chain = chain_of(artifact, near or (), wanted(edit))
    done = reverting(chain, chain.number(edit), understood(certified_extremum), rows_come_back=rows_come_back)
    lines = [f"reverted {described(done.undone)}"]
    if forgets(done.undone):
        lines.append("  what it had made the reward forget, the reward knows again")
    lines += [f"  made again: {described(later)}" for later in done.replayed]
    emit(lines)
    return _written(chain.load(0), done.artifact, out, spec, reward, accept_broken)


def squash(
    artifact: ArtifactPath,
    out: options.OutFolder,
    count: Annotated[int, typer.Option(min=0, help="How many of the newest edits.", show_default="all")] = 0,
    near: Near = None,
) -> int:
    """Several edits as one, without patches that do nothing any more: the same reward, bit for bit."""
    from rewarden.editor.history.squash import squash as squashing
    from rewarden.history import chain_of
    from rewarden.output import emit

    chain = chain_of(artifact, near or (), count + 1 if count else None)
    edits = sum(step.edit is not None for step in chain.steps)
    done = squashing(chain, count or max(edits, 1))
    lines = [f"{done.edits} edits as one"]
    lines += [f"  left out: the {patch.kind} for {patch.rule}, which another covers" for patch in done.dropped]
    emit(lines)
    return _written(chain.load(0), done.artifact, out, None, None, True)


def merge(
    one: Annotated[Path, typer.Argument(metavar="A", help="An artifact.")],
    other: Annotated[Path, typer.Argument(metavar="B", help="Another line of edits of the same ancestor.")],
    out: options.OutFolder,
    near: Near = None,
    spec: SpecToKeep = None,
    reward: RewardName = None,
    accept_broken: AcceptBroken = False,
) -> int:
    """Two lines of edits as one, or a situation in which they cannot both hold."""
    from rewarden.editor.history.merge import merge as merging
    from rewarden.editor.reach import understood
    from rewarden.history import chain_of
    from rewarden.output import emit
    from rewarden.verifier.extremum import certified_extremum

    first, second = chain_of(one, near or ()), chain_of(other, near or ())
    done = merging(first, second, understood(certified_extremum))
    if done.artifact is None:
        lines = [f"not merged: {len(done.conflicts)} pairs of edits cannot both hold"]
        for conflict in done.conflicts:
            lines += _conflict_lines(done.ancestor, conflict)
        emit(lines)
        return exits.VIOLATED
    assert done.artifact.edit is not None
    emit([f"merged {done.artifact.edit.statement['merged']}"])
    return _written(first.load(0), done.artifact, out, spec, reward, accept_broken)


def bake(
    artifact: ArtifactPath,
    out: options.OutFolder,
    spec: Annotated[Path, typer.Option("--spec", metavar="SPEC", help="The rules that must still hold.")],
    reward: RewardName = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of training.")] = 2000,
    accept_broken: AcceptBroken = False,
    quiet: options.Quiet = False,
) -> int:
    """Learn the stack of patches into a plain network of the same shape, and verify that."""
    from rewarden.editor.history.bake import BakeOptions
    from rewarden.editor.history.bake import bake as baking
    from rewarden.output import emit, number
    from rewarden.progress import progress
    from rewarden.reward.store import load_artifact

    loaded = load_artifact(artifact)
    with progress(quiet) as report:
        done = baking(loaded, BakeOptions(steps=steps), lambda k, n: report("baking", k, n, ""))
    far, typical = number(done.largest), number(done.mean)
    emit([f"baked: differs from the patched reward by {far} at most on sampled points, {typical} in the mean"])
    if done.mean > done.beneath:
        emit([
            f"  that is more than the network without its patches does, {number(done.beneath)}: it learned levels "
            f"at the cost of the rest; more --steps than {steps}, or a larger network, may have room for both"
        ])  # fmt: skip
    more = f"  more --steps than {steps} may keep them"
    return _written(loaded, done.artifact, out, spec, reward, accept_broken, more)


# ── shared ─────────────────────────────────────────────────────────────────────────────────────
def _written(
    before: Artifact,
    after: Artifact,
    out: Path,
    spec: Path | None,
    reward: str | None,
    accept_broken: bool,
    *more: str,
) -> int:
    """Verify where a spec is given, and write unless a rule that was proved is lost; `more` is said then."""
    from rewarden import api
    from rewarden.atomic import require_free
    from rewarden.history import still_holds
    from rewarden.output import emit, result_lines

    require_free(out)
    status = exits.PROVED
    if spec is not None:
        result, lost = still_holds(spec, before, after, reward)
        emit(["", *result_lines(result)])
        if lost and not accept_broken:
            ways = [*more, "  --accept-broken writes it all the same"]
            emit([f"not written: not proved any more: {', '.join(lost)}", *ways])
            return exits.VIOLATED
        status = exits.VIOLATED if lost else exits.PROVED
    api.save_reward(after, out)
    emit([f"wrote {out}, {after.digest}"])
    return status


def _conflict_lines(ancestor: Artifact, conflict: Conflict) -> list[str]:
    from rewarden.history import situation
    from rewarden.output import number, value_text

    one, other = conflict.one, conflict.other
    words = {"ceiling": "at most", "floor": "at least"}
    if conflict.demanded:
        why = (
            f"{one.rule} holds the reward {words[one.kind]} {number(float(one.level))}, {other.rule} "
            f"{words[other.kind]} {number(float(other.level))}, at the same place"
        )
    else:
        why = f"the rim of the edit for {other.rule} reaches into the region of {one.rule}: a narrower --ring may help"
    lines = [f"  {why}, such as"]
    for param, values in situation(ancestor, conflict.point).items():
        lines.append(f"    {param}: " + ", ".join(f"{name} = {value_text(value)}" for name, value in values.items()))
    return lines


def _difference_lines(found: Difference) -> list[str]:
    from rewarden.coverage_lines import difference_lines
    from rewarden.output import number, witness_lines

    if found.same:
        return ["the same reward: equal network, equal patches, equal weights"]
    assert found.identical is not None
    result = found.identical["same"]
    if result.verdict == "proved":
        return ["proved: the two give the same reward everywhere"]
    lines = [
        "proved: they differ nowhere by more than " + number(float(found.most))
        if found.most is not None
        else "no bound of the difference was proved",
        f"largest difference among sampled records: {number(found.sampled)}",
        "where, proved:",
    ]
    details = result.coverage_details
    if details is not None:
        lines += [f"  {line}" for line in difference_lines(details)]
    if result.witness is not None:
        shown = (line.replace("the conclusion fails by", "they differ by") for line in witness_lines(result.witness))
        lines += ["for example", *(f"  {line}" for line in shown)]
    return lines


def _difference_json(found: Difference) -> dict[str, object]:
    result = None if found.identical is None else found.identical["same"]
    details = None if result is None else result.coverage_details
    return {
        "schema_version": 1,
        "same": found.same,
        "equal_everywhere": True if found.same else None if result is None else result.verdict.value,
        "at_most": None if found.most is None else str(found.most),
        "sampled": repr(found.sampled),
        "coverage": None if details is None else details.to_json(),
    }
