"""Patch a reward until the failing rules are proved, or say why not.

Data constants are taken anew after every patch (language.md): a ceiling lowers some rows of the data, which can lower a
quantile that another rule compares with. Rules are therefore patched in the order of their levels, each with the
constants of the reward as patched so far, then everything is verified again, and rules that still fail get another
round. A ceiling at level c for `R(s) <= quantile(R(d), q)` cannot defeat itself: it moves no row below c, so the
new quantile is at least c.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from rewarden.editor.anchor import anchored
from rewarden.editor.patch import ExtremumBound, PatchFacts, PatchOptions, apply_patch
from rewarden.editor.region import Bound, bounds_of, premise_only
from rewarden.reward.artifact import Artifact, Edit
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.obligation import TRUE, And, Formula, Obligation
from rewarden.spec_lang.spec import Spec
from rewarden.verifier.bind import bind_obligation
from rewarden.verifier.verdict import VerificationResult

Verify = Callable[[Mapping[str, Artifact], Sequence[str] | None], VerificationResult]
MOST_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class EditReport:
    """The patches made for one rule."""

    rule: str
    reward: str
    patches: tuple[PatchFacts, ...]


@dataclass(frozen=True, slots=True)
class PatchResult:
    """`artifact` is the edited reward (None when nothing was edited); `reward` its name in the spec; `others` are
    further rewards that were edited with it, by name: a rule between several rewards may need more than one.

    `unmended` gives the reason per failing rule that no patch could mend; `broken` names rules that were proved
    before and are not proved after: look at it before the artifact replaces its parent. `clashes` are pairs of rules,
    failing or proved before, that no reward can satisfy together, each with a record at which they disagree.
    """

    reward: str
    artifact: Artifact | None
    edits: tuple[EditReport, ...]
    before: VerificationResult
    after: VerificationResult
    unmended: Mapping[str, str] = field(default_factory=dict)
    broken: tuple[str, ...] = ()
    others: Mapping[str, Artifact] = field(default_factory=dict)
    clashes: tuple[str, ...] = ()

    @property
    def artifacts(self) -> dict[str, Artifact]:
        """All edited rewards, by name."""
        return {} if self.artifact is None else {self.reward: self.artifact, **self.others}


@dataclass(frozen=True, slots=True)
class Mender:
    """What mending needs from outside: how to verify, and how to bound a reward over a box."""

    verify: Verify
    extremum: ExtremumBound
    options: PatchOptions = field(default_factory=PatchOptions)


def bounds_for(spec: Spec, rewards: Mapping[str, Artifact], rule: str, options: PatchOptions) -> tuple[Bound, ...]:
    """What the rule asks of one record, and where. Raises EditError where that is nothing that patches can hold."""
    obligation = premise_only(spec.obligation(rule))
    try:
        claim = bind_obligation(spec, obligation, rewards)
    except Unsupported:
        if obligation.instances is None:
            raise
        obligation = replace(obligation, premise=_bindable(spec, obligation, rewards))
        claim = bind_obligation(spec, obligation, rewards)
    found = bounds_of(obligation, claim, options.ring)
    return tuple(
        replace(bound, anchor=anchored(spec, obligation, rewards, bound.reward, bound.level)) for bound in found
    )


def _bindable(spec: Spec, obligation: Obligation, rewards: Mapping[str, Artifact]) -> Formula:
    """Of a premise near data the parts that can be bound. A ball around a row cannot, and the box around it is patched
    in its place; what the rule says of the record itself narrows that all the same."""
    kept = []
    for part in obligation.premise.parts if isinstance(obligation.premise, And) else (obligation.premise,):
        try:
            bind_obligation(spec, replace(obligation, premise=part, conclusion=TRUE), rewards)
        except Unsupported:
            continue
        kept.append(part)
    return And(tuple(kept))


def patched_in_rounds(
    spec: Spec,
    rewards: Mapping[str, Artifact],
    target: str,
    failing: list[str],
    mender: Mender,
    *,
    partial: bool = False,
) -> tuple[Artifact, tuple[EditReport, ...], VerificationResult]:
    """Patches on the regions of the failing rules, verified, until none fails or the rounds are over. The result is
    about all rules, or, `partial`, about these alone. A rule of which verification was stopped gets no other round."""
    parent = rewards[target]
    child, reports = parent, list[EditReport]()
    made: list[tuple[str, Bound, Mapping[str, str]]] = []
    pending = failing
    for _ in range(MOST_ROUNDS):
        left: set[tuple[str, int]] | None = None
        while left is None or left:
            now = {**rewards, target: child}
            bounds = {rule: bounds_for(spec, now, rule, mender.options) for rule in pending}
            every = {(rule, k): bound for rule, some in bounds.items() for k, bound in enumerate(some)}
            left = set(every) if left is None else left
            rule, part = min(left, key=lambda at: (_height(every[at]), at))
            bound, several = every[rule, part], len(bounds[rule]) > 1
            child, facts = apply_patch(child, bound, mender.extremum)
            assert child.edit is not None
            made.append((f"{rule}.{bound.kind}" if several else rule, bound, child.edit.statement))
            reports.append(EditReport(rule, bound.reward, facts))
            left.remove((rule, part))
        edit = Edit("patch", ", ".join(dict.fromkeys(r.rule for r in reports)), _statement(made))
        child = replace(child, parent=parent.digest, edit=edit)
        after = mender.verify({**rewards, target: child}, failing)
        pending = [rule for rule in failing if after[rule].verdict != "proved" and not after[rule].stopped]
        if not pending:
            break
    if not partial:
        after = _of_all(spec, after, {**rewards, target: child}, mender)
    return child, tuple(reports), after


def _of_all(
    spec: Spec, known: VerificationResult, rewards: Mapping[str, Artifact], mender: Mender
) -> VerificationResult:
    """The result of all rules, of which some are known."""
    found = {rule.rule: rule for rule in known.rules}
    rest = [rule.name for rule in spec.rules if rule.name not in found]
    if not rest:
        return known
    whole = mender.verify(rewards, rest)
    found |= {rule.rule: rule for rule in whole.rules}
    return replace(whole, rules=tuple(found[rule.name] for rule in spec.rules))


def _height(bound: Bound) -> Fraction:
    return bound.level if bound.kind == "ceiling" else -bound.level


def _statement(made: Sequence[tuple[str, Bound, Mapping[str, str]]]) -> dict[str, str]:
    """What the patches together guarantee of the child against the parent of the first, in the order they were made.

    A later ceiling keeps what an earlier ceiling fixed, but a later floor may raise the reward there (its ring reaches
    into the other region), and the other way round: then only a new verification says whether the rule holds. Beyond
    the ring of one rule the patch of another may act, so locality is about all of them together.
    """
    found: dict[str, str] = {}
    for number, (name, bound, said) in enumerate(made):
        found |= {f"{name}.{key}": text for key, text in said.items()}
        if any(later.kind != bound.kind for _, later, _ in made[number + 1 :]):
            del found[f"{name}.fix"]
    names = list(dict.fromkeys(name for name, _, _ in made))
    rules = list(dict.fromkeys(bound.rule for _, bound, _ in made))
    if len(names) > 1:
        for name in names:
            del found[f"{name}.locality"]
        found["locality"] = (
            f"beyond the rings of all of these rules ({', '.join(rules)}) the reward is that of the parent, bit for bit"
        )
    return found
