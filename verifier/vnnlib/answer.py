"""A query's answer: `sat` with an exactly checked solution, `unsat` with a proof behind it, or neither.

Each group of branches with equal conditions is one claim (claims.py). `unsat` needs all of them: proved, or empty. For
a solution, the formula as it was read, not the claim, is evaluated once more, with the reward's own exact evaluation.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.vnnlib.cases import branches_of
from rewarden.verifier.vnnlib.claims import subject_of
from rewarden.verifier.vnnlib.query import Query

if TYPE_CHECKING:
    from rewarden.verifier.exact_program import Point
    from rewarden.verifier.progress import Report
    from rewarden.verifier.verdict import Work

Said = Literal["sat", "unsat", "unknown", "timeout"]


@dataclass(frozen=True, slots=True)
class Answer:
    """`inputs` and `outputs` are a solution's values, one for each unknown of the query; given for `sat` alone."""

    said: Said
    reason: str
    work: Work
    inputs: Point = ()
    outputs: Point = ()


def answer(query: Query, files: Mapping[str, Path], options: VerifyOptions, progress: Report | None = None) -> Answer:
    """Is there a solution? `files` has the network of every name that is not equal to another.

    Raises UsageError (G81, G82), Unsupported (X34 to X36), and what opening a network raises.
    """
    started = time.monotonic()
    subject = subject_of(query, files, branches_of(query))
    from rewarden.verifier.verdict import Reason, Work
    from rewarden.verifier.vnnlib.settle import Question  # numba takes a while to import: refusals do without

    work, open_reason = Work(), ""
    for claim, rows in subject.claims(branches_of(subject.asked)):
        found = Question(claim, subject.rewards, options, started, progress or (lambda _: None)).settle()
        work = work + found.work
        if found.point is not None:
            inputs, outputs = subject.solution(found.point, rows)
            return Answer("sat", str(Reason.WITNESS), work, inputs, outputs)
        if not found.refuted:
            open_reason = open_reason or str(found.reason)
            if found.reason == Reason.STOPPED:
                return Answer("timeout", str(found.reason), work)
    if open_reason:
        return Answer("unknown", open_reason, work)
    return Answer("unsat", "No input in the query's boxes is a solution.", work)
