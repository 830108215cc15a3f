"""A query's answer: `sat` with an exactly checked solution, `unsat` with a proof behind it, or neither.

Each group of branches with equal conditions is one claim (claims.py), and goes through the same engines as a rule.
`unsat` needs all of them: proved, or empty. For a solution, the formula as it was read, not the claim, is evaluated
once more, with the reward's own exact evaluation.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from rewarden.verifier.decision import verify_claim
from rewarden.verifier.exact_program import Point
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.progress import Report
from rewarden.verifier.verdict import Reason, RuleResult, Verdict, Work
from rewarden.verifier.vnnlib.cases import branches_of
from rewarden.verifier.vnnlib.claims import subject_of
from rewarden.verifier.vnnlib.query import Query

Said = Literal["sat", "unsat", "unknown", "timeout"]


@dataclass(frozen=True, slots=True)
class Answer:
    """`inputs` and `outputs` are a solution's values, one for each unknown of the query; given for `sat` alone."""

    said: Said
    reason: str
    inputs: Point = ()
    outputs: Point = ()
    work: Work = field(default_factory=Work)


def answer(query: Query, files: Mapping[str, Path], options: VerifyOptions, progress: Report | None = None) -> Answer:
    """Is there a solution? `files` has the network of every name that is not equal to another.

    Raises UsageError (G81, G82), Unsupported (X34 to X36), and what opening a network raises.
    """
    started = time.monotonic()
    subject = subject_of(query, files, branches_of(query))
    work, open_reason = Work(), ""
    for claim, rows in subject.claims(branches_of(subject.asked)):
        result = verify_claim(claim, subject.rewards, _first(_rest(options, started)), progress=progress)
        work = work + result.work
        if result.verdict is Verdict.UNKNOWN and not _refuted(result) and result.reason != Reason.STOPPED:
            result = verify_claim(claim, subject.rewards, _rest(options, started), progress=progress)
            work = work + result.work
        if result.witness is not None and result.verdict is Verdict.VIOLATED:
            inputs, outputs = subject.solution(result.witness.point, rows)
            return Answer("sat", str(result.reason), inputs, outputs, work)
        if not _refuted(result):
            open_reason = open_reason or str(result.reason)
            if result.reason == Reason.STOPPED:
                return Answer("timeout", str(result.reason), work=work)
    if open_reason:
        return Answer("unknown", open_reason, work=work)
    return Answer("unsat", "No input in the query's boxes is a solution.", work=work)


def _refuted(result: RuleResult) -> bool:
    """No solution: the claim is proved, speaks of nothing, or holds whether it speaks of anything or not."""
    settled = result.reason == Reason.NO_POINT and result.coverage == 1.0
    return result.verdict in (Verdict.PROVED, Verdict.VACUOUS) or settled


def _first(options: VerifyOptions) -> VerifyOptions:
    """Nobody certifies an answer, so the engine that is fast comes before those whose proofs can be certified."""
    return replace(options, engine="cells") if options.engine == "auto" else options


def _rest(options: VerifyOptions, started: float) -> VerifyOptions:
    if options.time_limit is None:
        return options
    return replace(options, time_limit=max(1e-3, options.time_limit - (time.monotonic() - started)))
