"""The claims of single lengths behind a rule about loops or traces: how concrete records become a witness.

A loop or trace that is found anywhere is replayed exactly in the unrolled claim of its length before anyone is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang import Spec
from rewarden.spec_lang.boxes import boxes_of
from rewarden.spec_lang.claim import Box, Claim, ClaimVariable
from rewarden.spec_lang.clauses import atoms_at_most
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.features import RecordType
from rewarden.spec_lang.linear_form import Gathering
from rewarden.spec_lang.obligation import Obligation, Statistic
from rewarden.verifier.bind import bind_obligation, data_constants, statistics_of
from rewarden.verifier.exact_program import ExactProgram
from rewarden.verifier.falsify import falsify
from rewarden.verifier.inline import compile_program
from rewarden.verifier.loops.partition import Array, Cells
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.pointwise import Bound, whole_premise, witness_at
from rewarden.verifier.progress import Progress, Report, Stop
from rewarden.verifier.region_words import Described, described
from rewarden.verifier.regions import Frame, OpenBoxes, Region
from rewarden.verifier.search import in_domain
from rewarden.verifier.shortfall import measured
from rewarden.verifier.verdict import RuleResult, Work
from rewarden.verifier.witness import Witness, replay, with_types

if TYPE_CHECKING:
    from rewarden.verifier.saved import Saver

CLIMB = 2_000  # points that one ascent in a cycle of cells may evaluate
SEEK = 8_000  # and one among all loops of a number of records
ATOMS = 640  # of a claim, multiplied out: a minimum in a sum over n records makes 2^n, each with n calls

Decide = Callable[[Obligation], RuleResult]


@dataclass(frozen=True, slots=True, eq=False)
class Unrolled:
    """A rule about loops or traces and its rewards. `search` looks for a violation in the obligation of one length and
    proves nothing; `decide` does all that there is to do."""

    spec: Spec
    name: str
    rewards: Mapping[str, Artifact]
    options: VerifyOptions
    search: Decide
    decide: Decide
    report: Report | None
    stop: Stop
    saver: Saver | None = None

    def kind(self) -> RecordType:
        return self.spec.features[self.spec.unrolled(self.name, 1).records[0].type_name]

    def told(self, settled: float, moves: int) -> None:
        if self.report is not None:
            self.report(Progress(self.name, "bounds", settled, moves))

    def statistics(self, obligation: Obligation) -> dict[Statistic, Fraction]:
        """The data constants. Unsupported X14 where one is of a smooth reward, and so no rational number."""
        for constant in data_constants(obligation):
            if self.rewards[constant.reward].smooth:
                raise Unsupported("X14", f"{self.name}: a data constant of a smooth reward, in a rule about steps")
        return statistics_of(self.spec, obligation, self.rewards)

    def claim(self, length: int) -> Claim:
        return bind_obligation(self.spec, self.spec.unrolled(self.name, length), self.rewards)

    def has_claim(self, length: int, most: int = ATOMS) -> bool:
        """Whether the claim of that many records is of a size to be made: else records are judged one by one."""
        obligation = self.spec.unrolled(self.name, length)
        gathering = Gathering(self.statistics(obligation))
        return sum(atoms_at_most(f, gathering) for f in (whole_premise(obligation), obligation.conclusion)) <= most

    def point(self, records: Array, *, premise_only: bool) -> Witness | None:
        """Records that break the rule (or satisfy its premise), judged exactly by the rule itself, without a claim."""
        obligation, row = self.spec.unrolled(self.name, len(records)), records.reshape(-1)
        if not in_domain(obligation, row):
            return None
        bound = Bound(self.rewards, self.statistics(obligation), self.spec.features)
        return witness_at(obligation, bound, row, premise_only=premise_only)

    def judge(self, loop: Array) -> Witness | None:
        if not self.has_claim(len(loop)):
            return self.point(loop, premise_only=False)
        claim = self.claim(len(loop))
        return self.typed(replay(claim, self.exact(claim), self.rewards, exact_point(loop)))

    def climb(self, lo: Array, hi: Array) -> Witness | None:
        """By ascent, within a cycle of cells."""
        if not self.has_claim(len(lo)):
            return None
        claim = self.claim(len(lo))
        box = within(claim.boxes[0], lo.reshape(-1), hi.reshape(-1))
        if box is None:
            return None
        return self._ascend(claim, replace(claim, boxes=(box,)), CLIMB, None)

    def seek(self, length: int, points: Array | None) -> Witness | None:
        """By ascent, among all loops or traces of that many records; `points` are records to start from."""
        if not self.has_claim(length):
            return None
        claim = self.claim(length)
        return self._ascend(claim, claim, SEEK, None if points is None else {claim.records[0].type_name: points})

    def _ascend(self, claim: Claim, where: Claim, budget: int, rows: Mapping[str, Array] | None) -> Witness | None:
        options = replace(self.options, falsify_budget=min(budget, self.options.falsify_budget))
        found = falsify(compile_program(where, self.rewards), self.rewards, options, rows, self.stop).witness
        return None if found is None else self.typed(replay(claim, self.exact(claim), self.rewards, found.point))

    def described(self, left: Cells) -> Described | None:
        """The records of cells, in problem units."""
        frame = Frame.of(self.claim(1), self.spec.features)
        if not frame.tellable:
            return None
        return described(Region.of_floats(frame, OpenBoxes(np.zeros(len(left), np.int64), left.lo, left.hi)))

    def exact(self, claim: Claim) -> ExactProgram:
        return ExactProgram(compile_program(claim, self.rewards))

    def typed(self, witness: Witness | None) -> Witness | None:
        if witness is None:
            return None
        obligation = self.spec.unrolled(self.name, len(witness.records))
        if self.options.semantics == "real":
            witness = measured(witness, obligation, self.rewards, partial(self.statistics, obligation)) or witness
        return with_types(witness, self.spec.features)


def columns_of(obligation: Obligation) -> tuple[tuple[ClaimVariable, ...], Box]:
    """The columns of the first record, and its box."""
    view = obligation.records[0]
    variables = [obligation.variables[i] for i in view.variables]
    box = boxes_of(obligation)[0]
    columns = tuple(ClaimVariable(v.column, v.unit, v.discrete) for v in variables)
    return columns, tuple(box[i] for i in view.variables)


def exact_point(records: Array) -> tuple[Fraction, ...]:
    return tuple(Fraction(float(x)) for x in records.reshape(-1))


def within(box: Box, lo: Array, hi: Array) -> Box | None:
    """The part of the box between lo and hi; None if there is none."""
    bounds = [
        (max(a, Fraction(float(low))), min(b, Fraction(float(high))))
        for (a, b), low, high in zip(box, lo.tolist(), hi.tolist(), strict=True)
    ]
    return tuple(bounds) if all(a <= b for a, b in bounds) else None


def total_work(results: Sequence[RuleResult]) -> Work:
    total = Work()
    for result in results:
        total = total + result.work
    return total
