"""What an engine is given, and what it answers.

A run goes on where it stopped: `go(n)` spends up to n units of the engine's own work and tells what is known then. An
engine that was given parts of a claim answers for those parts. Nothing depends on time but when `task.stop` says so.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.claim import Box, Claim
from rewarden.verifier.decided_gates import Decided, ungated
from rewarden.verifier.deployed_program import Judge, judge_of
from rewarden.verifier.exact_program import Point
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.program import Program
from rewarden.verifier.progress import Phase, Progress, Report, Stop
from rewarden.verifier.regions import OpenBoxes
from rewarden.verifier.trail import Trail
from rewarden.verifier.verdict import Reason, Work
from rewarden.verifier.witness import Witness, replay

Rows = Mapping[str, NDArray[np.float64]]  # record type → encoded rows in problem units [row, column]


@dataclass(frozen=True, slots=True)
class Part:
    """Of goal `goal`: its points in `box` (part of box `instance` of the claim) at which the atoms `facts` hold."""

    goal: int
    instance: int
    box: Box
    facts: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, eq=False)
class Task:
    """One claim on its way to a verdict. `rows` are data that searches start from."""

    claim: Claim
    program: Program
    artifacts: Mapping[str, Artifact]
    options: VerifyOptions
    rows: Rows
    report: Report
    stop: Stop
    started: float

    @cached_property
    def slim(self) -> Decided:
        """The program without patches that are open all over the claim's boxes: the same function there."""
        return ungated(self.program)

    @cached_property
    def judge(self) -> Judge:
        return judge_of(self.program)

    def replay(self, point: Point) -> Witness | None:
        """The witness that an exact point is, if it violates the claim."""
        return replay(self.claim, self.judge, self.artifacts, point)

    def seconds_left(self) -> float | None:
        """Of the time limit, for engines that cannot be asked to stop; at least a thousandth."""
        limit = self.options.time_limit
        return None if limit is None else max(1e-3, limit - (time.monotonic() - self.started))

    def progress(self, phase: Phase, settled: float = 0.0, work: int = 0) -> None:
        self.report(Progress(self.claim.rule, phase, settled, work))

    def everything(self) -> list[Part]:
        """The claim as parts: each goal on each box."""
        claim = self.claim
        return [Part(goal, i, box) for goal in range(len(claim.goals)) for i, box in enumerate(claim.boxes)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What a run knows by now.

    `proved` holds for all that the run was given; `violated` comes with an exactly checked `witness`. `settled` is a
    share, 0 to 1. `left`: what is open, all of it; None where an engine cannot say, and then it is everything.
    `region`: all that is open, too, for people to read; `boxes` where that is too much: the numbers of the claim's
    boxes that are open. `proof` is a proof object of docs/formats.md, from engines that write one; `trail` what others
    have kept of their tree. `work` is what this call of `go` has spent.
    """

    status: Literal["proved", "violated", "open"]
    reason: Reason
    work: Work
    settled: float = 0.0
    witness: Witness | None = None
    proof: dict[str, Any] | None = None
    trail: Trail | None = None
    left: tuple[Part, ...] | None = None
    region: OpenBoxes | None = None
    boxes: tuple[int, ...] | None = None


class Run(Protocol):
    """One engine at work on one claim (mutable)."""

    def go(self, work: int) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class Declined:
    """The engine has nothing to say about such claims."""

    reason: Reason
