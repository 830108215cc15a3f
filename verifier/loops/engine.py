"""A rule about loops of every length to a verdict: short loops first, then the graph of cells.

The short ones are searched by unrolling, which finds the plainest witness there is. The graph of cells then proves that
no loop pays, or comes back with a longer one; either is replayed exactly in the unrolled claim of its length before
anyone is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from rewarden.spec_lang.claim_json import claim_digest
from rewarden.spec_lang.clauses import negate
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.obligation import And, Atom, Or
from rewarden.verifier.bind import bind_loops, data_constants
from rewarden.verifier.inline import compile_program
from rewarden.verifier.loops.abstraction import Abstraction, LoopOutcome, Search
from rewarden.verifier.loops.bounds import Binding, MoveBounds
from rewarden.verifier.loops.local import LOOP, loop_step, loop_sums
from rewarden.verifier.loops.partition import Array, Cells, first_cells
from rewarden.verifier.loops.unrolled import Unrolled, columns_of, exact_point, total_work
from rewarden.verifier.progress import Stop
from rewarden.verifier.unwritten import Unwritten, no_proof
from rewarden.verifier.verdict import CERTIFIABLE, Reason, RuleResult, Verdict, Work, without_proof
from rewarden.verifier.witness import Witness, replay_premise

SHORT = 3  # records of the longest loop that is searched by unrolling
EACH = without_proof(
    "Proved for loops of every length: no step adds anything by itself", "it has no potentials to write down"
)
NUMBERS = (
    "data constants of loops are known in real semantics only: ask for --semantics real, or write the number itself "
    "into the rule"
)


@dataclass(frozen=True, slots=True, eq=False)
class LoopRule(Unrolled):
    """A rule about cycles, and how it goes about them."""

    def verdict(self) -> RuleResult:
        """Unsupported where the rule has no form that can be bounded, or too wide a range of whole numbers."""
        told, outcomes = self._decided()
        return self._certifiable(told, outcomes) if self.options.semantics == "real" else told

    def _decided(self) -> tuple[RuleResult, Sequence[LoopOutcome]]:
        results: list[RuleResult] = []
        for length in range(1, SHORT + 1):
            result = self.search(self.spec.unrolled(self.name, length))
            results.append(result)
            if result.verdict is Verdict.VIOLATED or result.non_finite:
                return replace(_paying(result, length), work=total_work(results)), ()
        if self.options.engine not in ("auto", "bounds"):
            return self._searched(results, "ask for the engine auto."), ()
        if self.executed and self.constants():
            return self._searched(results, f"{NUMBERS}."), ()
        examples = [r.premise_witness for r in results if r.premise_witness is not None]
        if self.saver is not None:
            # The claim names all that bounds rest on: data may have become others since.
            self.saver.begin(f"loops of {self.name}: {claim_digest(self.claim(LOOP))}")
        outcomes, found = self._by_cells(examples[0] if examples else None)
        if self.saver is not None:
            if self.stop():
                self.saver.save()
            else:
                self.saver.done()
        plain = replace(results[-1], work=total_work(results))
        if outcomes[-1].status == "unknown" and not (self.executed or self.stop()) and found.example is not None:
            each = self._each()
            plain = replace(plain, work=plain.work + each.work)
            if each.verdict is Verdict.PROVED:
                told = self._told(outcomes, found, plain)
                return replace(told, verdict=Verdict.PROVED, reason=EACH, coverage=1.0, unsettled=None), ()
        return self._told(outcomes, found, plain), outcomes

    def _each(self) -> RuleResult:
        """Of any two records that a step joins: that it adds nothing. Then no loop does, whatever its length: where it
        breaks the rule, all of its steps satisfy the facts and the cases of one sum, and some step leaves less than
        that sum may (0, or a little more where 0 breaks the rule). Bounds of cells lose this by their own rounding
        where some step adds 0 exactly; a rule about two records is decided without loss."""
        facts, sums = loop_sums(self.spec.unrolled(self.name, LOOP))
        kept = [Or((*map(negate, part.cases), Atom(part.margin, part.strict))) for part in sums]
        pair = self.spec.unrolled(self.name, 2)
        return self.decide(replace(pair, premise=And(facts), conclusion=And(tuple(kept))))

    def _searched(self, results: Sequence[RuleResult], more: str) -> RuleResult:
        reason = Reason.STOPPED if self.stop() else f"Loops of up to {SHORT} records were searched; {more}"
        plain = replace(results[-1], verdict=Verdict.UNKNOWN, reason=reason, coverage=0.0, engine="search")
        return replace(plain, witness=None, proof=None, claim=None, cached=False, work=total_work(results))

    # ── the graph of cells ─────────────────────────────────────────────────────────────────────
    def _by_cells(self, example: Witness | None) -> tuple[list[LoopOutcome], _Examples]:
        """An outcome for each conjunct of the conclusion, up to the first that is not proved; a loop of the premise."""
        found = _Examples(self, example)
        outcomes: list[LoopOutcome] = []
        left = self.options.budget
        for bounds, weak in self.bounds():  # at least one
            cells = first_cells(bounds.box, self.kind())
            if cells is None:
                raise Unsupported("X14", f"{self.name}: whole numbers beyond 2^52 cannot be told apart in cells")
            search = self._search(found)
            outcome = self.going_on(Abstraction(bounds, cells, weak, search, self.options.seed), found).run(left)
            outcomes.append(outcome)
            left -= outcome.moves
            if outcome.status != "proved":
                break
            if len(outcomes) == 1 and found.example is None:
                found.none = self._none(bounds, cells, found)
        return outcomes, found

    def _search(self, found: _Examples) -> Search:
        """Loops that are found are judged exactly. As executed none is looked for beyond the short ones."""
        if self.executed:
            return Search(_nothing, _nothing, _nothing, lambda loop: False, self.told, self.saving())
        return Search(self.judge, self.climb, self.seek, found.look, self.told, self.saving())

    def _none(self, bounds: MoveBounds, cells: Cells, found: _Examples) -> bool:
        """Is there no loop at all? Every move counts as paying, and a loop of the premise as a witness."""

        def judge(loop: Array) -> Witness | None:
            found.look(loop)
            return found.example

        search = Search(judge, _nothing, _nothing, lambda loop: False, self.told, self.saving())
        found_out = self.going_on(Abstraction(bounds, cells, False, search, self.options.seed, bare=True), found)
        return found_out.run(self.options.budget // 4).status == "empty"

    def saving(self) -> Stop:
        return self.stop if self.saver is None else self.saver.stopping(self.stop)

    def going_on(self, graph: Abstraction, found: _Examples) -> Abstraction:
        """From where it was saved, if it was. The loop that satisfies the premise is kept with it."""
        if self.saver is None:
            return graph
        from rewarden.verifier.saved_loops import mark_in, mark_out
        from rewarden.verifier.saved_search import Snapshot

        def out() -> Snapshot | None:
            saved = None if graph.mark is None else mark_out(graph.mark)
            return saved if saved is None else Snapshot({**saved.told, "example": found.told()}, saved.arrays)

        def back(saved: Snapshot) -> None:
            mark_in(graph, saved)
            found.again(saved.told.get("example"))

        self.saver.attached(out, back)
        return graph

    def bounds(self) -> list[tuple[MoveBounds, bool]]:
        """Each conjunct of the conclusion, bound to its rewards; and whether a sum of 0 breaks it. Unsupported X14 for
        data constants as executed: they are no numbers."""
        if self.executed and self.constants():
            raise Unsupported("X14", f"{self.name}: a data constant in a rule about loops, as executed")
        loop = self.spec.unrolled(self.name, LOOP)
        statistics = self.statistics(loop)
        return [
            (MoveBounds(step, step.record, Binding(self.rewards, statistics, *columns_of(loop), self.executed)), weak)
            for step, weak in loop_step(loop)
        ]

    @property
    def executed(self) -> bool:
        return self.options.semantics != "real"

    def constants(self) -> bool:
        """Does the rule read data constants?"""
        return bool(data_constants(self.spec.unrolled(self.name, LOOP)))

    def _certifiable(self, told: RuleResult, outcomes: Sequence[LoopOutcome]) -> RuleResult:
        """With the claim about loops, where the rule has one; a proof of it is owed, and written if it is asked for."""
        try:
            claim = bind_loops(self.spec, self.name, self.rewards)
        except Unsupported as error:
            proved = told.verdict is Verdict.PROVED
            return replace(told, reason=without_proof(told.reason, error.message)) if proved else told
        program = compile_program(claim, self.rewards)
        if told.verdict is not Verdict.PROVED:
            return replace(told, claim=claim)
        assert claim.loops is not None, "it is a claim about loops"
        if not outcomes:  # by single steps
            return replace(told, claim=claim)
        owed = Unwritten(told.work.boxes, loops=tuple(outcomes[: len(claim.loops)]))
        refused = no_proof(program)
        if refused is not None:
            return replace(told, claim=claim, reason=without_proof(told.reason, refused))
        return replace(told, claim=claim, proof=owed)

    # ── words ──────────────────────────────────────────────────────────────────────────────────
    def _told(self, outcomes: Sequence[LoopOutcome], found: _Examples, plain: RuleResult) -> RuleResult:
        last, example = outcomes[-1], found.example
        cells = sum(len(part.cells) for outcome in outcomes for part in outcome.parts)
        plain = replace(
            plain,
            verdict=Verdict.UNKNOWN,
            witness=None,
            premise_witness=example,
            coverage=last.settled,
            proof=None,
            claim=None,
            engine="loops",
            unsettled=None,
            cached=False,  # only the search among short loops may have been
            work=plain.work + Work(boxes=sum(outcome.moves for outcome in outcomes)),
        )
        match last.status:
            case "violated":
                witness = last.witness
                assert isinstance(witness, Witness)
                if witness.deployed == "non-finite":
                    return replace(plain, reason=Reason.NON_FINITE, non_finite=True)
                paid = replace(plain, verdict=Verdict.VIOLATED, reason=Reason.WITNESS, witness=witness)
                return _paying(replace(paid, premise_witness=None, coverage=1.0), len(witness.records))
            case "empty" | "proved" if last.status == "empty" or found.none:
                reason = "No loop satisfies the premise: its moves never lead back to where they started."
                return replace(plain, verdict=Verdict.VACUOUS, reason=reason, coverage=1.0, premise_witness=None)
            case "proved" if example is None:
                return replace(plain, reason=Reason.NO_POINT, coverage=1.0)
            case "proved":
                told = f"{_potentials(cells)} that every move raises by at least what it adds"
                reason = f"Proved for loops of every length: {told}{CERTIFIABLE}"
                if self.executed:
                    reason = f"Proved for loops of every length, in every execution in binary32: {told}; not certified."
                return replace(plain, verdict=Verdict.PROVED, reason=reason)
        reason = Reason.STOPPED.value if self.stop() else Reason.BUDGET.value
        reason = f"{reason} {last.settled:.1%} of the cells lie on no loop that could pay."
        return replace(plain, reason=reason, unsettled=None if last.left is None else self.described(last.left))


@dataclass(slots=True, eq=False)
class _Examples:
    """A loop that satisfies the premise (mutable: looked for until there is one)."""

    rule: LoopRule
    example: Witness | None
    none: bool = False  # proved that there is none

    def look(self, loop: Array | None) -> bool:
        """Is one still wanted? Takes `loop`, if it is one."""
        if self.example is None and loop is not None and not self.rule.executed:
            self.example = self._loop(exact_point(loop))
        return self.example is None

    def told(self) -> list[str] | None:
        """The loop, exactly."""
        return None if self.example is None else [str(x) for x in self.example.point]

    def again(self, told: object) -> None:
        """A loop that was told; StateError for what is none."""
        from rewarden.verifier.saved_search import StateError

        if told is None or self.example is not None:
            return
        try:
            assert isinstance(told, list)
            found = self._loop(tuple(Fraction(x) for x in told))
        except (AssertionError, ArithmeticError, TypeError, ValueError, Unsupported) as error:
            raise StateError(f"a loop is none: {error}") from error
        if found is None:
            raise StateError("a loop does not satisfy the premise")
        self.example = found

    def _loop(self, point: tuple[Fraction, ...]) -> Witness | None:
        """The loop, if it satisfies the premise."""
        length = len(point) // len(self.rule.claim(1).variables)
        if not self.rule.has_claim(length):
            records = np.array([float(x) for x in point]).reshape(length, -1)
            return self.rule.point(records, premise_only=True)
        claim = self.rule.claim(length)
        return self.rule.typed(replay_premise(claim, self.rule.exact(claim), self.rule.rewards, point))


def _nothing(*where: object) -> None:
    """No witness."""


def _potentials(cells: int) -> str:
    return f"{cells} cells have potentials" if cells != 1 else "all records have a potential"


def _paying(result: RuleResult, length: int) -> RuleResult:
    reason = f"{result.reason} The loop has {length} step{'s' if length > 1 else ''}."
    return replace(result, reason=reason, proof=None, claim=None)
