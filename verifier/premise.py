"""Is there anything a rule speaks about? One exactly checked point of its premise, or an exact proof that none exists.

A search in floating point comes first, since a point well inside the premise, in float32, is the kind that a reader
understands. Then z3: over the clauses that call no reward (linear arithmetic, decided fast), and where that leaves it
open, over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from rewarden.reward.artifact import Artifact
from rewarden.verifier.deployed_program import judge_of
from rewarden.verifier.falsify import Rows, search_premise
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.program import Program
from rewarden.verifier.verdict import Work
from rewarden.verifier.witness import Witness, replay_premise
from rewarden.verifier.z3_engine import Decision, Limits, decide_premise

SEARCHED = 6_000  # points at most: a premise that is harder to hit than this is left to z3
MAX_UNSTABLE = 60  # undecided relus in a box, beyond which z3 is not asked about premises that call rewards


@dataclass(frozen=True, slots=True)
class Premise:
    """`found` comes with a witness; `empty` is an exact proof that no point satisfies the premise."""

    status: Literal["found", "empty", "open"]
    witness: Witness | None
    work: Work


def find_premise(
    program: Program,
    artifacts: Mapping[str, Artifact],
    options: VerifyOptions,
    rows: Rows | None = None,
    stop: Callable[[], bool] | None = None,
) -> Premise:
    """A point of the premise, or its refutation, or neither."""
    claim = program.claim
    if any(not clause for clause in claim.clauses):
        return Premise("empty", None, Work())
    smaller = replace(options, falsify_budget=min(SEARCHED, options.falsify_budget))
    searched = search_premise(program, artifacts, smaller, rows, stop)
    work = Work(points=searched.points)
    if searched.witness is not None:
        return Premise("found", searched.witness, work)
    if stop is not None and stop():
        return Premise("open", None, work)
    return _by_z3(program, artifacts, options, work, stop)


def _by_z3(
    program: Program,
    artifacts: Mapping[str, Artifact],
    options: VerifyOptions,
    work: Work,
    stop: Callable[[], bool] | None,
) -> Premise:
    claim, exact = program.claim, judge_of(program)
    # What z3 knows of calls is exact: that decides nothing about executed ones.
    calls = program.executed is None and any(atom.affine.calls for clause in claim.clauses for atom in clause)
    unstable = None if options.engine == "z3" else MAX_UNSTABLE
    limits = Limits(options.z3_rlimit, options.time_limit, unstable, stop)
    refuted = 0
    for box in claim.boxes:
        if stop is not None and stop():
            break
        decision: Decision | None = None
        for variables_only in (True, False) if calls else (True,):
            decision = decide_premise(program, box, limits, variables_only=variables_only)
            work = work + Work(z3_rlimit=decision.rlimit)
            if decision.status == "unsat":
                refuted += 1
                break
            if decision.point is not None:
                witness = replay_premise(claim, exact, artifacts, decision.point)
                if witness is not None:
                    return Premise("found", witness, work)
    return Premise("empty" if refuted == len(claim.boxes) else "open", None, work)
