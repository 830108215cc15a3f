"""The four words, what they rest on, and their JSON form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from rewarden.spec_lang.claim import Claim
from rewarden.verifier.answer import Verdict as Verdict
from rewarden.verifier.coverage.parts import Coverage
from rewarden.verifier.nearest import NearestRow
from rewarden.verifier.region_words import Described
from rewarden.verifier.regions import OpenBoxes
from rewarden.verifier.unwritten import Unwritten
from rewarden.verifier.witness import Witness


class Reason(StrEnum):
    """Why a verdict is what it is, as a whole sentence with the way on where there is one."""

    BOUNDS = "Every box was settled by sound bounds; the proof can be certified."
    CELLS = "Every cell was settled by sound bounds; the proof can be certified."
    Z3 = "z3 refuted every violation, and bounds of parts do as well; the proof can be certified."
    WITNESS = "A record was found for which the premise is exactly true and the conclusion exactly false."
    VACUOUS = "No record satisfies the premise: the rule says nothing. z3 refuted the premise exactly."
    BUDGET = "The budget was spent before everything was settled: a larger --budget may settle the rest."
    SEARCHED = "No violation was found, and a search proves nothing: ask for the engine auto to have it settled."
    Z3_LIMIT = "z3 gave up within its resource limit: the bounds engine, or a larger limit, may settle it."
    NO_POINT = (
        "Bounds settle the conclusion, but no record was found that satisfies the premise, nor a proof that none "
        "exists: the rule may be vacuous."
    )
    NEURONS = "Every box was settled by sound bounds and signs of neurons; the proof can be certified."
    NOT_NEURONS = "Gates, smooth layers and very many cases are not for the neurons engine: ask for another."
    NEURONS_LIMIT = (
        "Signs of neurons leave something open, whatever the budget: the engine auto, or cells, cuts boxes as well."
    )
    DIFFERENCES = "Every box was settled by sound bounds of a difference; the proof can be certified."
    SLOPES = (
        "Certified slopes of the reward say that it never rises along the rule's direction. A certificate of that "
        "takes a search of its own, which may end without one."
    )
    MOVES = (
        "Certified slopes of the reward say that it changes by no more than the rule allows. A proof to certify is "
        "sought when a certificate is asked for."
    )
    FOLLOWED = (
        "The reward without its patches holds by the way it is built, and the patches keep that: none of them takes "
        "more from the one record, or gives more to the other, than the rule allows. There is no certificate of that."
    )
    NOT_DIFFERENCES = "No two calls through equally wide relus are subtracted from each other: ask for another engine."
    NOT_CELLS = "Gates, very many inputs or very many cases are not for the cells engine: ask for another."
    LP = "Proved by linear programs over the signs of neurons, each checked; the proof can be certified."
    LP_LIMIT = "The linear programs were spent, or a part is too large for them, before everything was settled."
    NOT_LP = "Very large rewards are not for the lp engine: ask for another."
    STOPPED = "Stopped before everything was settled."
    FLOAT32 = "This engine knows nothing of float32 semantics: bounds and the search for violations do."
    FLOAT32_BOUNDS = (
        "Every box was settled by sound bounds of every execution in binary32, in any order of sums; not certified."
    )
    FLOAT32_WITNESS = "A record of binary32 numbers was found at which the reward, as deployed, breaks the rule."
    SMOOTH = (
        "This engine knows piecewise linear rewards only: bounds and the search for violations know smooth ones, too."
    )
    SMOOTH_BOUNDS = "Every box was settled by sound bounds around smooth functions; the proof can be certified."
    NON_FINITE = "non-finite: the deployed reward returns infinity or NaN on a record of the rule's domain."


CERTIFIABLE = "; the proof can be certified."


def without_proof(reason: str, why: str) -> str:
    """The same reason for a verdict of which no proof could be written; said once, however often it was tried."""
    reason, _, _ = reason.partition("; no proof to certify: ")
    if reason in (Reason.SLOPES, Reason.MOVES):
        return f"{reason.partition('.')[0]}; no proof to certify: {why}."
    if reason == Reason.Z3:
        return f"z3 refuted every violation, and its word is all there is; no proof to certify: {why}."
    return f"{reason.removesuffix(CERTIFIABLE).removesuffix('.')}; no proof to certify: {why}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What was spent, in counted units."""

    points: int = 0  # evaluated by the search for violations
    boxes: int = 0  # examined by branch and bound
    z3_rlimit: int = 0  # z3 resource units
    lps: int = 0  # linear programs

    def __add__(self, other: Work) -> Work:
        return Work(
            points=self.points + other.points,
            boxes=self.boxes + other.boxes,
            z3_rlimit=self.z3_rlimit + other.z3_rlimit,
            lps=self.lps + other.lps,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RuleResult:
    """One rule's verdict. `coverage` is the settled share of the domain, 0 to 1 (1 when proved, vacuous or violated).

    `proof` is a proof object of docs/formats.md, or what one is written from when a certificate is asked for
    (`scribe.late`); None where there is none. `claim` is None where the rule has no claim form yet.
    """

    rule: str
    severity: str
    verdict: Verdict
    reason: str
    witness: Witness | None = None
    premise_witness: Witness | None = None
    coverage: float = 0.0
    proof: Mapping[str, Any] | Unwritten | None = field(default=None, repr=False)
    owed: Unwritten | None = field(default=None, repr=False)  # what `proof` was written from, where it was owed
    claim: Claim | None = field(default=None, repr=False)
    engine: str | None = None
    work: Work = Work()
    title: str = ""
    where: str | None = None  # "driving.rwd:33"
    warnings: tuple[str, ...] = ()
    non_finite: bool = False  # the deployed reward left the numbers: exit status 2
    left: OpenBoxes | None = field(default=None, repr=False)  # what is open of an unknown rule, as the engine has it
    unsettled: Described | None = None  # the same in problem units
    coverage_details: Coverage | None = field(default=None, repr=False)  # where they were asked for
    nearest: tuple[NearestRow, ...] = ()  # data rows, to the records of the witness
    cached: bool = False  # decided before, by the same verifier about the same claim
    recount: bool = False  # about rows of data, which the kernel of a certificate can count again

    @property
    def stopped(self) -> bool:
        """Whether a clock or a person ended the work on it: what more is said of that follows the words."""
        return self.verdict is Verdict.UNKNOWN and self.reason.startswith(Reason.STOPPED)

    @property
    def certifiable(self) -> bool:
        """Whether a certificate can hold evidence for the verdict: a proof, a record that breaks the rule, or rows."""
        shown = self.verdict is Verdict.VIOLATED and self.witness is not None and self.claim is not None
        return self.proof is not None or self.recount or shown

    def to_json(self) -> dict[str, Any]:
        """JSON-ready; `witness` maps record → feature → value in problem units."""
        return {
            "name": self.rule,
            "title": self.title,
            "severity": self.severity,
            "verdict": self.verdict.value,
            "reason": self.reason,
            "where": self.where,
            "witness": None if self.witness is None else self.witness.values(),
            "witness_details": None if self.witness is None else self._witness_details(self.witness),
            "premise_witness": None if self.premise_witness is None else self.premise_witness.values(),
            "coverage": self.coverage,
            "unsettled": None if self.unsettled is None else self.unsettled.to_json(),
            "coverage_details": None if self.coverage_details is None else self.coverage_details.to_json(),
            "engine": self.engine,
            "certifiable": self.certifiable,
            "work": {
                "points": self.work.points,
                "boxes": self.work.boxes,
                "z3_rlimit": self.work.z3_rlimit,
                "lps": self.work.lps,
            },
            "warnings": list(self.warnings),
            "cached": self.cached,
        }

    def _witness_details(self, witness: Witness) -> dict[str, Any]:
        return {**witness.details(), "nearest": {row.record: row.to_json() for row in self.nearest}}


@dataclass(frozen=True, slots=True, eq=False)
class VerificationResult:
    """A verdict per rule, in the order of the spec."""

    rules: tuple[RuleResult, ...]
    spec: str | None = None  # its digest
    rewards: Mapping[str, str] = field(default_factory=dict)  # name → artifact digest
    semantics: str = "real"  # or "float32": what the verdicts are about

    def __getitem__(self, rule: str) -> RuleResult:
        for result in self.rules:
            if result.rule == rule:
                return result
        raise KeyError(rule)

    def __iter__(self) -> Iterator[RuleResult]:
        return iter(self.rules)

    def __len__(self) -> int:
        return len(self.rules)

    @property
    def exit_status(self) -> int:
        """design.md, "Exit status": of `must` rules only; 2, 1, 3, 0 in that order where several apply."""
        must = [r for r in self.rules if r.severity == "must"]
        if not self.rules or any(r.non_finite for r in must):
            return 2
        if any(r.verdict in (Verdict.VIOLATED, Verdict.VACUOUS) for r in must):
            return 1
        return 3 if any(r.verdict is Verdict.UNKNOWN for r in must) else 0

    def to_json(self) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "semantics": self.semantics,
            "spec": self.spec,
            "rewards": dict(sorted(self.rewards.items())),
            "rules": [r.to_json() for r in self.rules],
        }
