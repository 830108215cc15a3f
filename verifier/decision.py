"""One claim to one verdict: which engine when, the same every time.

premise (is there anything to speak of?) → search for a violation → bounds with branch and bound, whose proofs can be
certified → cells, which settle what is close → z3 on what is small.
Each step either ends the matter or leaves it to the next; the budgets are counted in work, and a time limit only stops.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.claim import Box, Claim
from rewarden.spec_lang.errors import BindingError
from rewarden.verifier.branch import REPORTED, BranchOutcome, prove
from rewarden.verifier.exact_program import ExactProgram, Point
from rewarden.verifier.falsify import Rows, falsify
from rewarden.verifier.inline import compile_program
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.premise import Premise, find_premise
from rewarden.verifier.program import Program
from rewarden.verifier.progress import Progress, Report, Stop
from rewarden.verifier.verdict import Reason, RuleResult, Verdict, Work
from rewarden.verifier.witness import Witness, replay
from rewarden.verifier.z3_engine import Limits, decide_box

AUTO_UNSTABLE = 40  # undecided relus up to which z3 is tried unasked: beyond, it rarely returns within its limit
AUTO_QUERIES = 64  # boxes times goals, likewise


@dataclass(frozen=True, slots=True)
class _Task:
    """One claim on its way to a verdict."""

    claim: Claim
    program: Program
    artifacts: Mapping[str, Artifact]
    options: VerifyOptions
    rows: Rows
    report: Report
    stop: Stop
    started: float

    def seconds_left(self) -> float | None:
        """Of the time limit, for engines that cannot be asked to stop; at least a thousandth."""
        limit = self.options.time_limit
        return None if limit is None else max(1e-3, limit - (time.monotonic() - self.started))

    def result(self, verdict: Verdict, reason: str, **details: Any) -> RuleResult:  # noqa: ANN401 - RuleResult's own
        return RuleResult(
            rule=self.claim.rule,
            severity=self.claim.severity,
            verdict=verdict,
            reason=reason,
            claim=self.claim,
            **details,
        )


def verify_claim(
    claim: Claim,
    artifacts: Mapping[str, Artifact],
    options: VerifyOptions | None = None,
    *,
    rows: Rows | None = None,
    progress: Report | None = None,
    stop: Stop | None = None,
) -> RuleResult:
    """The verdict on one claim; `rows` (record type → encoded rows) are data that the search starts from.

    Raises BindingError (B30–B32) where the artifacts are not those that the claim names.
    """
    for name, digest in claim.rewards:
        if name in artifacts and artifacts[name].digest != digest:
            raise BindingError("B32", f"the claim is about another artifact than the one bound to {name}")
    chosen, report = options or VerifyOptions(), progress or _silent
    program = compile_program(claim, artifacts)
    with _threads(chosen.threads):
        result = _decide(
            _Task(claim, program, artifacts, chosen, rows or {}, report, stopping(chosen, stop), time.monotonic())
        )
    report(Progress(claim.rule, "done", result.coverage))
    return result


def _silent(progress: Progress) -> None:
    """Nobody is told."""


# ── the steps ──────────────────────────────────────────────────────────────────────────────────
def _decide(task: _Task) -> RuleResult:
    if task.options.semantics == "float32":
        return task.result(Verdict.UNKNOWN, Reason.FLOAT32)
    task.report(Progress(task.claim.rule, "premise"))
    premise = find_premise(task.program, task.artifacts, task.options, task.rows, task.stop)
    if premise.status == "empty":
        return task.result(Verdict.VACUOUS, Reason.VACUOUS, coverage=1.0, engine="z3", work=premise.work)
    if premise.witness is not None and premise.witness.deployed == "non-finite":
        return _non_finite(task, premise.work)
    task.report(Progress(task.claim.rule, "search"))
    found = falsify(task.program, task.artifacts, task.options, task.rows, task.stop)
    work = premise.work + Work(points=found.points)
    if found.witness is not None:
        return _violated(task, found.witness, "search", work)
    return _prove(task, premise, work)


def _prove(task: _Task, premise: Premise, work: Work) -> RuleResult:
    """Bounds, then z3 on what they leave open; or z3 alone, on everything."""
    if task.options.engine == "z3":
        return _by_z3(task, premise, work, _Open(_everything(task.claim), "z3", 0.0, Reason.Z3_LIMIT))
    if task.options.engine == "cells":
        return _by_cells(task, premise, work, None)
    outcome = prove(task.program, task.claim, task.options, task.report, task.stop)
    work = work + Work(boxes=outcome.boxes)
    exact = ExactProgram(task.program)
    for point in outcome.points:
        witness = replay(task.claim, exact, task.artifacts, point)
        if witness is not None:
            return _violated(task, witness, "bounds", work)
    if outcome.status == "proved":
        return _proved(task, premise, "bounds", outcome.proof, work)
    if task.options.engine == "auto" and not task.stop():
        return _by_cells(task, premise, work, outcome)
    return _rest_by_z3(task, premise, work, outcome)


def _by_cells(task: _Task, premise: Premise, work: Work, before: BranchOutcome | None) -> RuleResult:
    """The cells engine, alone or after bounds; what it leaves open too is for z3, if bounds came before."""
    from rewarden.verifier.cells.engine import decide  # numba takes a while to import

    exact = ExactProgram(task.program)

    def violates(point: Point) -> bool:
        return replay(task.claim, exact, task.artifacts, point) is not None

    def report(share: float, boxes: int) -> None:
        task.report(Progress(task.claim.rule, "cells", share, boxes))

    outcome = decide(task.program, task.options.budget, violates, report, task.stop)
    if outcome is not None:
        work = work + Work(boxes=outcome.boxes)
        if outcome.status == "proved":
            return _proved(task, premise, "cells", None, work)
        witness = None if outcome.point is None else replay(task.claim, exact, task.artifacts, outcome.point)
        if witness is not None:
            return _violated(task, witness, "cells", work)
    if before is not None:
        return _rest_by_z3(task, premise, work, before)
    return task.result(
        Verdict.UNKNOWN,
        Reason.NOT_CELLS if outcome is None else Reason.STOPPED if task.stop() else Reason.BUDGET,
        premise_witness=premise.witness,
        engine="cells",
        work=work,
    )


def _rest_by_z3(task: _Task, premise: Premise, work: Work, outcome: BranchOutcome) -> RuleResult:
    parts = _left_for_z3(task, outcome)
    engine = "bounds and z3" if parts else "bounds"
    return _by_z3(task, premise, work, _Open(parts, engine, float(outcome.settled), Reason.BUDGET))


@dataclass(frozen=True, slots=True)
class _Open:
    """What is unsettled: `parts` (goal, box, facts) for z3, which together are all of it, or none. `settled` is the
    share settled so far, `reason` why the rest is not."""

    parts: Sequence[tuple[int, Box, Sequence[tuple[int, int]]]]
    engine: str
    settled: float
    reason: Reason


def _everything(claim: Claim) -> list[tuple[int, Box, tuple[tuple[int, int], ...]]]:
    return [(goal, box, ()) for goal in range(len(claim.goals)) for box in claim.boxes]


def _left_for_z3(task: _Task, outcome: BranchOutcome) -> Sequence[tuple[int, Box, Sequence[tuple[int, int]]]]:
    """What bounds left open, if it is few enough boxes that z3 may be asked unasked; else everything, likewise."""
    if task.options.engine == "bounds":
        return ()
    # A frontier as long as the engine reports may have been cut: then its boxes are not all that is open.
    if 0 < len(outcome.frontier) <= min(AUTO_QUERIES, REPORTED - 1):
        return [(part.goal, part.box, part.facts) for part in outcome.frontier]
    whole = _everything(task.claim)
    return whole if len(whole) <= AUTO_QUERIES else ()


def _by_z3(task: _Task, premise: Premise, work: Work, left: _Open) -> RuleResult:
    """Each open part as one query. Unasked (engine auto), only small parts are tried, and only while all succeed."""
    asked = task.options.engine == "z3"
    refuted, before = 0, work.z3_rlimit
    for number, (goal, box, facts) in enumerate(left.parts):
        if task.stop():
            break
        share = left.settled + (1.0 - left.settled) * refuted / len(left.parts)
        task.report(Progress(task.claim.rule, "z3", share, number))
        limits = Limits(task.options.z3_rlimit, task.seconds_left(), None if asked else AUTO_UNSTABLE)
        decision = decide_box(task.program, goal, box, limits, facts)
        work = work + Work(z3_rlimit=decision.rlimit)
        if decision.point is not None:
            witness = replay(task.claim, task.program, task.artifacts, decision.point)
            if witness is not None:
                return _violated(task, witness, "z3", work)
        if decision.status == "unsat":
            refuted += 1
        elif not asked:
            break
    if refuted == len(left.parts) and (left.parts or asked):
        return _proved(task, premise, left.engine, None, work)
    return task.result(
        Verdict.UNKNOWN,
        Reason.STOPPED if task.stop() else left.reason,
        coverage=left.settled if not asked else refuted / len(left.parts),
        premise_witness=premise.witness,
        engine=left.engine if asked or work.z3_rlimit > before else "bounds",
        work=work,
    )


# ── verdicts ───────────────────────────────────────────────────────────────────────────────────
def _violated(task: _Task, witness: Witness, engine: str, work: Work) -> RuleResult:
    if witness.deployed == "non-finite":
        return _non_finite(task, work)
    return task.result(Verdict.VIOLATED, Reason.WITNESS, witness=witness, coverage=1.0, engine=engine, work=work)


def _non_finite(task: _Task, work: Work) -> RuleResult:
    return task.result(Verdict.UNKNOWN, Reason.NON_FINITE, non_finite=True, work=work)


def _proved(task: _Task, premise: Premise, engine: str, proof: Mapping[str, Any] | None, work: Work) -> RuleResult:
    """`proved` needs a checked point of the premise as well; without one the verdict is unknown."""
    if premise.witness is None:
        return task.result(Verdict.UNKNOWN, Reason.NO_POINT, coverage=1.0, engine=engine, work=work)
    complete = None if proof is None else {**proof, "witness": proof_witness(premise.witness)}
    return task.result(
        Verdict.PROVED,
        {"bounds": Reason.BOUNDS, "cells": Reason.CELLS}.get(engine, Reason.Z3),
        premise_witness=premise.witness,
        coverage=1.0,
        proof=complete,
        engine=engine,
        work=work,
    )


def proof_witness(witness: Witness) -> dict[str, Any]:
    """The `witness` of a proof object: a box number and a rational per variable (docs/formats.md, Proof)."""
    return {"box": witness.box, "point": [_rational(x) for x in witness.point]}


def _rational(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{value.numerator}/{value.denominator}"


# ── stopping, and torch's threads ──────────────────────────────────────────────────────────────
def stopping(options: VerifyOptions, stop: Stop | None) -> Stop:
    """The caller's stop, or the time limit from now on."""
    deadline = None if options.time_limit is None else time.monotonic() + options.time_limit

    def stopped() -> bool:
        return (stop is not None and stop()) or (deadline is not None and time.monotonic() > deadline)

    return stopped


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """torch's threads, set for a while: the search's sums are reproducible only for a fixed number of them."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
