"""Which method mends which rule, and all of them side by side.

`auto` takes only what is local and holds by construction: a patch on the rule's region, a threshold between two
regions. Methods that change weights move the reward elsewhere too, so they are for who asks for them by name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rewarden.editor.mend import Mender, PatchResult
from rewarden.editor.methods.region import RegionPatch
from rewarden.editor.methods.task import Edited, Method, Task, one_target
from rewarden.editor.methods.threshold import Threshold, separated
from rewarden.editor.methods.tuning import Tuning
from rewarden.editor.methods.violated import Violated
from rewarden.reward.artifact import Artifact, Edit
from rewarden.spec_lang.errors import EditError, RewardenError
from rewarden.spec_lang.spec import Spec
from rewarden.verifier.verdict import VerificationResult

if TYPE_CHECKING:
    from rewarden.editor.drift import Drift

METHODS: Mapping[str, Method] = {
    m.name: m for m in (RegionPatch(), Violated(), Threshold(), Tuning(last=True), Tuning())
}
Progress = Callable[[str, int, int], None]


def patch(
    spec: Spec,
    rewards: Mapping[str, Artifact],
    mender: Mender,
    method: str = "auto",
    rules: Sequence[str] | None = None,
    before: VerificationResult | None = None,
    progress: Progress | None = None,
) -> PatchResult:
    """Mend the failing `must` rules (or the named ones) by one method, or by the best for each (`auto`).

    Raises EditError E15 for an unknown method, EditError E10 where the rules share no reward.
    """
    if method not in ("auto", *METHODS):
        raise EditError("E15", f"no method is called {method!r}", help=f"there are: auto, {', '.join(METHODS)}")
    before = before if before is not None else mender.verify(rewards, None)
    failing = [
        r.rule for r in before.rules
        if r.verdict != "proved" and (r.severity == "must" if rules is None else r.rule in rules)
    ]  # fmt: skip
    if not failing:
        return PatchResult("", None, (), before, before)
    target = one_target(spec, rewards, failing)
    task = Task(spec, rewards, target, tuple(failing), mender, before, progress or (lambda stage, done, total: None))
    done, unmended = _mended(task, method)
    if done is None:
        return PatchResult(target, None, (), before, before, unmended)
    child, reports = done.artifact, done.reports
    after = done.after if done.after is not None else mender.verify({**rewards, target: child}, None)
    for rule in failing:
        if rule not in unmended and after[rule].verdict != "proved":
            unmended[rule] = f"still {after[rule].verdict} after the edit: {after[rule].reason}"
    broken = tuple(r.rule for r in before.rules if r.verdict == "proved" and after[r.rule].verdict != "proved")
    return PatchResult(target, child, reports, before, after, unmended, broken)


def _mended(task: Task, method: str) -> tuple[Edited | None, dict[str, str]]:
    """All edits together as one child, and why a rule could not be mended."""
    unmended: dict[str, str] = {}
    chosen: dict[str, list[str]] = {}
    for rule in task.rules:
        try:
            chosen.setdefault(_fitting(task, rule) if method == "auto" else method, []).append(rule)
        except RewardenError as error:
            unmended[rule] = error.message
    now = task
    edits: list[Edited] = []
    for name, rules in chosen.items():
        done = METHODS[name].edit(replace(now, rules=tuple(rules)))
        edits.append(done)
        now = replace(now, rewards={**now.rewards, task.target: done.artifact})
    if not edits:
        return None, unmended
    if len(edits) == 1:
        return edits[0], unmended
    made = [done.artifact.edit for done in edits if done.artifact.edit is not None]
    said = {f"{edit.kind}: {key}": text for edit in made for key, text in edit.statement.items()}
    edit = Edit("patch", ", ".join(edit.rule for edit in made), said)
    child = replace(edits[-1].artifact, parent=task.artifact.digest, edit=edit)
    return Edited(child, tuple(report for done in edits for report in done.reports)), unmended


def _fitting(task: Task, rule: str) -> str:
    """The local method whose form the rule has. Raises EditError: why a patch of its region cannot be."""
    try:
        task.bound(rule)
    except RewardenError as error:
        try:
            separated(task.claim(rule, whole=True), rule, task.target, task.ring)
        except RewardenError:
            raise error from None
        return "threshold"
    return "region"


# ── side by side ───────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Compared:
    """One method's result: `proved` of the failing rules, rules `broken`, what moved on sampled records of the domain
    and how long it took; or why it was `declined`."""

    method: str
    guarantee: str
    proved: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    drift: Drift | None = None
    patches: int = 0
    seconds: float = 0.0
    declined: str = ""


def compare(
    spec: Spec,
    rewards: Mapping[str, Artifact],
    mender: Mender,
    rules: Sequence[str] | None = None,
    before: VerificationResult | None = None,
    progress: Progress | None = None,
) -> tuple[Compared, ...]:
    """Every method by itself on the same failing rules. Nothing is written."""
    from rewarden.editor.drift import drift
    from rewarden.reward.agreement import random_rows

    before = before if before is not None else mender.verify(rewards, None)
    found = []
    for name, method in METHODS.items():
        start = time.monotonic()
        try:
            result = patch(spec, rewards, mender, name, rules, before, progress)
        except RewardenError as error:
            found.append(Compared(name, method.guarantee, declined=error.message, seconds=time.monotonic() - start))
            continue
        if result.artifact is None:
            raise EditError("E06", "no rule that was asked for fails: there is nothing to compare")
        base = rewards[result.reward]
        rows = random_rows([record.type for record in base.records], 20_000, 2)
        proved = tuple(
            r.rule for r in before.rules if r.verdict != "proved" and result.after[r.rule].verdict == "proved"
        )
        found.append(
            Compared(
                name, method.guarantee, proved, result.broken, drift(base, result.artifact, rows.astype("float64")),
                len(result.artifact.patches) - len(base.patches), time.monotonic() - start,
            )
        )  # fmt: skip
    return tuple(found)


__all__ = ["METHODS", "Compared", "Edited", "compare", "patch"]
