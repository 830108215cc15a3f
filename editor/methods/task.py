"""What a method of mending is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Protocol

from rewarden.editor.mend import EditReport, Mender, bounds_for
from rewarden.editor.patch import ExtremumBound
from rewarden.editor.region import Bound, premise_only
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.claim import Claim
from rewarden.spec_lang.errors import EditError, RewardenError
from rewarden.spec_lang.spec import Spec
from rewarden.verifier.bind import bind_obligation
from rewarden.verifier.verdict import VerificationResult


@dataclass(frozen=True, slots=True)
class Task:
    """`rules` fail and are to be mended by changing the reward `target`; `before` is the verification that says so.
    `progress` is told (stage, done, total). `partial`: other edits are joined with this one, and all rules verified
    then, so that there is no need to verify more than its own. `beside`: rules that are mended as well, by others."""

    spec: Spec
    rewards: Mapping[str, Artifact]
    target: str
    rules: tuple[str, ...]
    mender: Mender
    before: VerificationResult
    progress: Callable[[str, int, int], None] = field(default=lambda stage, done, total: None)
    partial: bool = False
    beside: tuple[str, ...] = ()

    @property
    def artifact(self) -> Artifact:
        return self.rewards[self.target]

    def claim(self, rule: str, rewards: Mapping[str, Artifact] | None = None, *, whole: bool = False) -> Claim:
        """The rule's claim about the rewards; `whole` leaves structure and assumptions out, as patches do."""
        obligation = self.spec.obligation(rule)
        return bind_obligation(self.spec, premise_only(obligation) if whole else obligation, rewards or self.rewards)

    def bounds(self, rule: str, rewards: Mapping[str, Artifact] | None = None) -> tuple[Bound, ...]:
        """Raises EditError where the rule is no bounds of one record."""
        return bounds_for(self.spec, rewards or self.rewards, rule, self.mender.options)

    @property
    def ring(self) -> Fraction:
        return self.mender.options.ring

    def after(self, done: Edited) -> Task:
        """The task with the edit made."""
        rewards = {**self.rewards, done.reward or self.target: done.artifact, **done.others}
        return replace(
            self, rewards=rewards, mender=replace(self.mender, extremum=done.extremum or self.mender.extremum)
        )


@dataclass(frozen=True, slots=True)
class Edited:
    """A child of the task's artifact, or of the reward called `reward`; `after` where all rules have been verified of
    it already. `others`: children of further rewards, by name, without which the edit is nothing. `extremum`: bounds
    that know the child better than by its nodes, for edits on top of it."""

    artifact: Artifact
    reports: tuple[EditReport, ...]
    after: VerificationResult | None = None
    others: Mapping[str, Artifact] = field(default_factory=dict)
    reward: str = ""
    extremum: ExtremumBound | None = None


class Method(Protocol):
    """`edit` raises EditError where the method has nothing to offer for one of the rules."""

    @property
    def name(self) -> str: ...

    @property
    def guarantee(self) -> str: ...

    def edit(self, task: Task) -> Edited: ...


def one_target(spec: Spec, rewards: Mapping[str, Artifact], rules: Sequence[str]) -> str:
    """The reward that all the rules call (data constants aside); the first declared, of several. EditError E10."""
    called = {rule: _called(spec, rewards, rule) for rule in rules}
    shared = [name for name in spec.rewards if all(name in names for names in called.values())]
    if not shared:
        listing = ", ".join(f"{rule} ({', '.join(sorted(names))})" for rule, names in called.items())
        raise EditError("E10", f"the failing rules bound several rewards: {listing}", help="name rules with --rule")
    return shared[0]


def _called(spec: Spec, rewards: Mapping[str, Artifact], rule: str) -> set[str]:
    try:
        return {call.reward for call in bind_obligation(spec, spec.obligation(rule), rewards).calls}
    except RewardenError:  # a rule without a claim: loops, shares
        return set(spec.rule(rule).rewards)
