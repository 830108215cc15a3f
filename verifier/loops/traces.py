"""A rule about long traces to a verdict: a search for each of a few lengths, then sums along cells for all of them.

Short traces are left to the claims of their lengths, whose proofs can be certified (`verifier.steps`); so is what the
cells leave open, as long as it is short enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.obligation import FALSE
from rewarden.verifier.bind import bind
from rewarden.verifier.inline import compile_program
from rewarden.verifier.loops.bounds import Binding
from rewarden.verifier.loops.local import CLAIMED, UNROLLED, Chain, trace_chains
from rewarden.verifier.loops.maxplus import TraceOutcome, Trellis
from rewarden.verifier.loops.partition import first_cells
from rewarden.verifier.loops.unrolled import ATOMS, Unrolled, columns_of, exact_point, total_work
from rewarden.verifier.region_words import Described
from rewarden.verifier.steps import verify_lengths
from rewarden.verifier.unwritten import CaseProof, Unwritten, no_proof
from rewarden.verifier.verdict import CERTIFIABLE, Reason, RuleResult, Verdict, Work, without_proof
from rewarden.verifier.witness import Witness, replay_premise

EASY = 4_000  # moves between cells, before anything is searched
ASCENT = 64  # records of the longest traces in which one that breaks the rule is sought by ascent
MULTIPLIED = 4096  # atoms of a claim that is multiplied out where cells have no form for it
SEARCHED = (1, 2, 3, 4, 6, 8, 12, 16)  # records of the traces that are searched by ascent


@dataclass(frozen=True, slots=True, eq=False)
class TraceRule(Unrolled):
    """A rule about traces, and how it goes about them."""

    @property
    def lengths(self) -> tuple[int, ...]:
        return self.spec.lowered[self.name].lengths

    def verdict(self) -> RuleResult:
        """Unsupported where neither cells nor claims have a form for the rule."""
        asked = self.options.semantics == "real" and self.options.engine in ("auto", "bounds")
        if self.lengths[-1] <= UNROLLED or not asked:
            return self._unrolled(self.lengths)
        try:
            lengths, chains = self._chains()
            trellis = self._trellis(chains) if chains else None
        except Unsupported:
            trellis = None
        if trellis is None:
            return self._unrolled(self.lengths)
        plain = [n for n in self.lengths if self.has_claim(n)]
        first, *others = [n for n in SEARCHED if n in plain] or plain[:1] or self.lengths[:1]
        results = [self._blank()]
        if first <= SEARCHED[-1] and plain:
            results = [self.search(self.spec.unrolled(self.name, first))]  # also for a trace of the premise
        if results[0].verdict is Verdict.VIOLATED or results[0].non_finite:
            return self._violated(results)
        outcome = trellis.run(min(EASY, self.options.budget), self.told, self.stop)
        if not all(outcome.settled):
            results += self._searched(results[0], others)
            if results[-1].verdict is Verdict.VIOLATED or results[-1].non_finite:
                return self._violated(results)
            short = self.lengths[-1] <= CLAIMED and self.has_claim(self.lengths[-1])  # then another way is left
            outcome = trellis.run(self.options.budget // (8 if short else 1), self.told, self.stop)
        return self._judged(_Settled(trellis, outcome, lengths, chains), results)

    def _blank(self) -> RuleResult:
        severity = self.spec.rule(self.name).severity
        return RuleResult(rule=self.name, severity=severity, verdict=Verdict.UNKNOWN, reason=Reason.BUDGET)

    def _unrolled(self, lengths: Sequence[int]) -> RuleResult:
        """Unsupported where the longest claim would be too large for its bounds and ascents to hear a time limit."""
        if not self.has_claim(lengths[-1], MULTIPLIED):
            raise Unsupported(
                "X03",
                f"{self.name} has more than {MULTIPLIED} atoms when its alternatives are multiplied out",
                help="fewer steps; or no min, max, |…| and if in what is summed",
            )
        if len(self.lengths) == 1:
            return self.decide(self.spec.unrolled(self.name, self.lengths[0]))
        return verify_lengths([self.spec.unrolled(self.name, n) for n in lengths], self.decide, self.stop)

    def _chains(self) -> tuple[list[int], list[Chain]]:
        """Every way to break the rule, with the length of its traces."""
        found = [(n, chain) for n in self.lengths for chain in trace_chains(self.spec.unrolled(self.name, n))]
        return [n for n, _ in found], [chain for _, chain in found]

    def _searched(self, plain: RuleResult, lengths: Sequence[int]) -> list[RuleResult]:
        """A violation at one of these lengths, the first that is found; or nothing."""
        for n in lengths:
            witness = self.seek(n, None)
            if witness is not None and witness.deployed == "non-finite":
                return [replace(plain, verdict=Verdict.UNKNOWN, reason=Reason.NON_FINITE, non_finite=True)]
            if witness is not None:
                found = replace(plain, verdict=Verdict.VIOLATED, reason=Reason.WITNESS, witness=witness)
                return [
                    replace(found, premise_witness=None, coverage=1.0, engine="search", unsettled=None, cached=False)
                ]
        return []

    def _trellis(self, chains: Sequence[Chain]) -> Trellis | None:
        longest = self.spec.unrolled(self.name, self.lengths[-1])
        columns, box = columns_of(longest)
        cells = first_cells(box, self.kind())
        if cells is None:
            return None
        statistics = self.statistics(longest)
        return Trellis(chains, cells, Binding(self.rewards, statistics, columns, box))

    # ── what came of it ────────────────────────────────────────────────────────────────────────
    def _judged(self, found: _Settled, results: list[RuleResult]) -> RuleResult:
        last = results[-1]
        work = total_work(results) + Work(boxes=found.outcome.moves)
        plain = replace(
            last, verdict=Verdict.UNKNOWN, witness=None, proof=None, claim=None, engine="loops", work=work, coverage=1.0
        )
        plain = replace(plain, unsettled=None, cached=False)  # only the search among short traces may have been
        open_ = found.open()
        for number in open_:
            if number != open_[0] and self.stop():
                break
            witness = self._concrete(found, number)
            if witness is not None and witness.deployed == "non-finite":
                return replace(plain, reason=Reason.NON_FINITE, non_finite=True)
            if witness is not None:
                told = replace(plain, verdict=Verdict.VIOLATED, reason=Reason.WITNESS, witness=witness)
                return _with_length(told, found.lengths[number])
        lengths = sorted({found.lengths[number] for number in open_})
        if lengths and lengths[-1] <= CLAIMED and self.has_claim(lengths[-1]):
            left = verify_lengths([self.spec.unrolled(self.name, n) for n in lengths], self.decide, self.stop)
            # That these lengths have no trace is no word on those that cells have settled, which may have some.
            without = left.verdict is Verdict.VACUOUS and len(lengths) < len(self.lengths)
            if left.verdict is not Verdict.PROVED and not without:
                return replace(left, work=left.work + work)
            plain, lengths, results = replace(plain, work=left.work + work), [], [*results, left]
        if lengths:
            share = 1.0 - len(lengths) / len(self.lengths)
            reason = Reason.STOPPED.value if self.stop() else Reason.BUDGET.value
            cases = f"{lengths[0]} to {lengths[-1]} steps" if len(lengths) > 1 else f"{lengths[0]} steps"
            unsettled = self._where(found)
            return replace(plain, reason=f"{reason} Open for traces of {cases}.", coverage=share, unsettled=unsettled)
        return self._proved(found, results, plain)

    def _proved(self, found: _Settled, results: Sequence[RuleResult], plain: RuleResult) -> RuleResult:
        """With a trace that satisfies the premise; or there is none."""
        examples = [r.premise_witness for r in results if r.premise_witness is not None]
        example = examples[0] if examples else self._example(found)
        if example is None and SEARCHED[-1] < self.lengths[0] <= ASCENT and self.has_claim(self.lengths[0]):
            example = self.search(self.spec.unrolled(self.name, self.lengths[0])).premise_witness
        # That no path of cells breaks the rule is no word on the premise: what it expects may leave nothing to break.
        if example is None and self._none():
            reason = "No trace satisfies the premise: there is no way from one record to the next."
            return replace(plain, verdict=Verdict.VACUOUS, reason=reason, premise_witness=None)
        example = example or self._longer()
        if example is None:
            return replace(plain, reason=Reason.STOPPED if self.stop() else Reason.NO_POINT)
        n = self.lengths
        for_each = f"for each length, from {n[0]} to {n[-1]} steps" if len(n) > 1 else f"for {n[0]} steps"
        reason = f"Proved {for_each}: bounds on {found.outcome.cells} cells, added up along the steps"
        if not self.has_claim(n[-1]):
            told = without_proof(reason, f"multiplied out, the claim has more than {ATOMS} atoms")
            return replace(plain, verdict=Verdict.PROVED, reason=told, premise_witness=example)
        owed = self._owed(example)
        if owed is None:
            told = without_proof(reason, f"claims about traces have up to {CLAIMED} records")
            return replace(plain, verdict=Verdict.PROVED, reason=told, premise_witness=example)
        proved = replace(plain, verdict=Verdict.PROVED, reason=reason + CERTIFIABLE, premise_witness=example)
        return replace(proved, claim=bind(self.spec, self.name, self.rewards), proof=owed)

    def _longer(self) -> Witness | None:
        """A trace of the premise with more records than were looked for at first: it may ask for so many."""
        for n in reversed([n for n in SEARCHED if n in self.lengths[1:] and self.has_claim(n)]):
            found = None if self.stop() else self.search(self.spec.unrolled(self.name, n)).premise_witness
            if found is not None:
                return found
        return None

    def _owed(self, example: Witness) -> Unwritten | None:
        """A proof without sums along cells, of each length anew: for short traces, and not always to be found."""
        n = self.lengths
        if n[-1] > CLAIMED:
            return None
        claims = [self.claim(length) for length in n]
        if any(no_proof(compile_program(claim, self.rewards)) is not None for claim in claims):
            return None
        if len(n) == 1:
            return Unwritten(0)
        shown = len(example.records)
        cases = [
            CaseProof(claim, Unwritten(0), example if length == shown else None)
            for length, claim in zip(n, claims, strict=True)
        ]
        return Unwritten(0, cases=tuple(cases))

    def _none(self) -> bool:
        """Is there no trace at all? Every one of them breaks a rule that nothing satisfies."""
        bare = [replace(self.spec.unrolled(self.name, n), conclusion=FALSE) for n in self.lengths]
        trellis = self._trellis([chain for obligation in bare for chain in trace_chains(obligation)])
        if trellis is None:
            return False
        return not any(trellis.run(self.options.budget // 4, self.told, self.stop).possible)

    def _example(self, found: _Settled) -> Witness | None:
        for number, n in enumerate(found.lengths):
            if found.outcome.possible[number]:
                seen = found.trellis.trace(number, self.options.seed)
                if seen is None:
                    return None
                trace = seen.records
                if not self.has_claim(n):
                    return self.point(trace, premise_only=True)
                claim = self.claim(n)
                return self.typed(replay_premise(claim, self.exact(claim), self.rewards, exact_point(trace)))
        return None

    def _concrete(self, found: _Settled, number: int) -> Witness | None:
        """A trace that breaks the rule: among points of the cells, or by ascent along the worst path of cells."""
        n = found.lengths[number]
        seen = found.trellis.trace(number, self.options.seed)
        if seen is not None and seen.promising:
            witness = self.judge(seen.records)
            if witness is not None:
                return witness
        if self.stop():
            return None
        if n <= SEARCHED[-1] and number in found.outcome.paths:
            return self.climb(*found.outcome.paths[number])
        return self.seek(n, None) if n <= ASCENT else None

    def _where(self, found: _Settled) -> Described | None:
        """Where the records of the longest open traces lie that break the rule."""
        left, number = found.outcome.left, found.outcome.longest
        where = None if left is None else self.described(left)
        if where is None or number is None:
            return None
        steps = found.lengths[number]
        return replace(where, whole=f"the records of traces of {steps} step{'s' if steps > 1 else ''}")

    def _violated(self, results: list[RuleResult]) -> RuleResult:
        result = replace(results[-1], work=results[0].work, proof=None, claim=None)
        return result if result.witness is None else _with_length(result, len(result.witness.records))


@dataclass(frozen=True, slots=True, eq=False)
class _Settled:
    trellis: Trellis
    outcome: TraceOutcome
    lengths: Sequence[int]
    chains: Sequence[Chain]

    def open(self) -> list[int]:
        return [int(k) for k in np.flatnonzero(~np.array(self.outcome.settled))]


def _with_length(result: RuleResult, length: int) -> RuleResult:
    return replace(result, reason=f"{result.reason} The trace has {length} step{'s' if length > 1 else ''}.")
