"""Which method mends which rule.

`auto` takes only what is local: a patch on the rule's region, a threshold between two regions, levels between several
rewards, an envelope or a slope in the rule's region. Methods that change weights move the reward elsewhere too, so they
are for who asks for them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from rewarden.editor.mend import Mender, PatchResult
from rewarden.editor.methods.clashing import Clash, clashes
from rewarden.editor.methods.envelope import Envelope
from rewarden.editor.methods.levels import Levels, compared
from rewarden.editor.methods.pairs import Coupled, coupled
from rewarden.editor.methods.quadratic import LastLayer
from rewarden.editor.methods.region import RegionPatch
from rewarden.editor.methods.slope import Slope
from rewarden.editor.methods.task import Edited, Method, Task, one_target
from rewarden.editor.methods.threshold import Threshold, separated
from rewarden.editor.methods.together import least_moving
from rewarden.editor.methods.tuning import Tuning
from rewarden.editor.methods.violated import Violated
from rewarden.editor.statement import of_several
from rewarden.reward.artifact import Artifact, Edit
from rewarden.spec_lang.errors import EditError, RewardenError
from rewarden.spec_lang.spec import Spec
from rewarden.verifier.verdict import Verdict, VerificationResult

METHODS: Mapping[str, Method] = {
    m.name: m for m in (RegionPatch(), Violated(), Threshold(), Levels(), Envelope(), Slope(), LastLayer(), Tuning())
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
    *,
    apart: bool = False,
) -> PatchResult:
    """Mend the failing `must` rules (or the named ones) by one method, or by the best for each (`auto`). `apart`: rules
    that the one method is not for are told as unmended, and the others mended, as `auto` does.

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
    standing = [r.rule for r in before.rules if r.severity == "must" and r.verdict == "proved"]
    found = tuple(clashes(task, (*failing, *standing)))
    told = tuple(f"{' and '.join(clash.rules)}: {clash.words}" for clash in found)
    done, unmended = _mended(task, method, found, apart or method == "auto")
    if done is None:
        return PatchResult(target, None, (), before, before, unmended, clashes=told)
    after = _after(task, done)
    lost = [rule for rule in failing if rule not in unmended and after[rule].verdict != "proved"]
    flat = [rule for rule in lost if method == "auto" and len(failing) > 1 and _is_step(task, rule)]
    if flat:  # a patch over a step is flat where the rule asks for a difference: a threshold leaves it room
        again, why = _mended(task, method, found, True, flat)
        if again is not None:
            done, unmended, after = again, why, _after(task, again)
            lost = [rule for rule in failing if rule not in unmended and after[rule].verdict != "proved"]
    for rule in lost:
        unmended[rule] = f"still {after[rule].verdict} after the edit: {after[rule].reason}"
    broken = tuple(r.rule for r in before.rules if r.verdict == "proved" and after[r.rule].verdict != "proved")
    name = done.reward or target
    return PatchResult(name, done.artifact, done.reports, before, after, unmended, broken, done.others, told)


def _after(task: Task, done: Edited) -> VerificationResult:
    """What verification says of all rules after the edit."""
    return done.after if done.after is not None else task.mender.verify(task.after(done).rewards, None)


def _mended(
    task: Task, method: str, found: Sequence[Clash], apart: bool, held: Sequence[str] = ()
) -> tuple[Edited | None, dict[str, str]]:
    """All edits together as one child, and why a rule could not be mended; raised at once, unless `apart`. Rules that
    are `held` are so by a threshold."""
    unmended: dict[str, str] = {}
    chosen: dict[str, list[str]] = {}
    for clash in found:
        if set(clash.rules) <= set(task.rules):  # an edit may break one that holds, and says so
            unmended |= dict.fromkeys(clash.rules, clash.words)
    for rule in task.rules:
        if rule in unmended:
            continue
        if task.before[rule].verdict is Verdict.VACUOUS:
            unmended[rule] = f"the region of rule {rule} is empty: there is nothing to patch"
            continue
        try:
            fitting = "threshold" if rule in held else _fitting(task, rule) if method == "auto" else method
            chosen.setdefault(fitting, []).append(rule)
        except RewardenError as error:
            unmended[rule] = _told(error)
    if method == "auto":
        _beside_envelopes(task, chosen)
    now = task
    edits: list[Edited] = []
    # corrections are built in beneath patches, so they come first; region patches see what the others have left
    names = sorted(chosen, key=lambda name: (name not in ("envelope", "slope"), name == "region"))
    waiting = [(name, tuple(chosen[name])) for name in names]
    while waiting:
        name, rules = waiting.pop(0)
        beside = tuple(rule for some in chosen.values() for rule in some if rule not in rules)
        try:
            part = replace(now, rules=rules, partial=bool(edits or waiting), beside=beside)
            done = least_moving(part) if (method, name) == ("auto", "slope") else METHODS[name].edit(part)
        except EditError as error:
            if not apart:
                raise
            if (method, name) == ("auto", "slope") and len(rules) == 1 and _fits(partial(_separated, task, rules[0])):
                waiting.append(("threshold", rules))  # it moves more than a correction would, if one could be made
            elif len(rules) == 1:
                unmended[rules[0]] = _told(error)
            waiting = [*((name, (rule,)) for rule in rules if len(rules) > 1), *waiting]  # the others can be mended
            continue
        edits.append(done)
        now = now.after(done)
    if not edits:
        return None, unmended
    return (edits[0] if len(edits) == 1 else _joined(task, edits)), unmended  # an edit alone may have been verified


def _beside_envelopes(task: Task, chosen: dict[str, list[str]]) -> None:
    """A known step moves less than a threshold. But with an envelope on top, which the others of its kind may get, its
    proof has to look at all copies of the network: so there it is a threshold, which holds by construction."""
    steps = [rule for rule in chosen.get("slope", ()) if _is_step(task, rule)]
    if len(chosen.get("slope", ())) > len(steps) > 0:
        chosen["slope"] = [rule for rule in chosen["slope"] if rule not in steps]
        chosen.setdefault("threshold", []).extend(steps)


def _is_step(task: Task, rule: str) -> bool:
    """Whether a threshold would do as well as what is for records that move together."""
    return _moving_together(task, rule) is not None and _fits(partial(_separated, task, rule))


def _told(error: RewardenError) -> str:
    """With the way out, where there is one."""
    return f"{error.message} ({error.help})" if error.help else error.message


def _joined(task: Task, edits: Sequence[Edited]) -> Edited:
    """Several edits, one on top of the other, as one edit of each reward."""
    stacked: dict[str, list[Artifact]] = {}
    for done in edits:
        for name, artifact in {done.reward or task.target: done.artifact, **done.others}.items():
            stacked.setdefault(name, []).append(artifact)
    children = {name: _one_edit(task.rewards[name], line) for name, line in stacked.items()}
    first = task.target if task.target in children else next(iter(children))
    reports = tuple(report for done in edits for report in done.reports)
    return Edited(children.pop(first), reports, others=children, reward=first)  # verified anew, by its own name


def _one_edit(parent: Artifact, line: Sequence[Artifact]) -> Artifact:
    made = [artifact.edit for artifact in line if artifact.edit is not None]
    if len(made) == 1:
        edit = made[0]
    else:
        said = {f"{edit.kind}: {key}": text for edit in made for key, text in edit.statement.items()}
        rules = ", ".join(edit.rule for edit in made)
        edit = Edit("patch", rules, of_several(said, rules.split(", ")))
    return replace(line[-1], parent=parent.digest, edit=edit)


def _fitting(task: Task, rule: str) -> str:
    """The local method whose form the rule has. Raises EditError: why a patch of its region cannot be."""
    try:
        task.bounds(rule)
    except RewardenError as error:
        if _fits(lambda: _separated(task, rule, sharing=False)):
            return "threshold"
        if _fits(lambda: compared(task.claim(rule, whole=True), rule, task.ring)):
            return "levels"
        together = _moving_together(task, rule)
        if together is not None and together.polytopes:
            return "slope"
        if _fits(lambda: _separated(task, rule)):
            return "threshold"  # one for all that the records share: it moves more than what moves with them
        if together is not None:
            raise EditError(
                "E12",
                f"rule {rule} speaks of all records, so that there is no outside to leave alone, and auto takes local "
                "edits alone: --method envelope or --method slope moves the reward everywhere",
                help="name one of these, or state where the rule is to hold (given …)",
            ) from None
        raise error from None
    return "region"


def _separated(task: Task, rule: str, *, sharing: bool = True) -> None:
    separated(task.claim(rule, whole=True), rule, task.target, task.ring, sharing=sharing)


def _moving_together(task: Task, rule: str) -> Coupled | None:
    """None where the rule is not about two records that move together."""
    try:
        return coupled(task.claim(rule, whole=True), rule, task.target, task.ring)
    except RewardenError:
        return None


def _fits(form: Callable[[], object]) -> bool:
    try:
        form()
    except RewardenError:
        return False
    return True


__all__ = ["METHODS", "Edited", "patch"]
