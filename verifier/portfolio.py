"""A spec's rules to verdicts: bind each to the artifacts, decide it, and say where it came from."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.reward.tables import has_tables
from rewarden.spec_lang import Spec
from rewarden.spec_lang.claim import Claim
from rewarden.spec_lang.errors import Unsupported, UsageError
from rewarden.spec_lang.obligation import Obligation, Statistic
from rewarden.verifier.bind import bind_away, bind_obligation, check_reward, data_constants, statistics_of, symbols
from rewarden.verifier.enclosed_constants import COARSE, bind_enclosed, certifiable, constants_of
from rewarden.verifier.executed_constants import spread_words, with_constants
from rewarden.verifier.executed_truth import NonFiniteError
from rewarden.verifier.identified import warnings_of
from rewarden.verifier.kept import Keeper, KeptError, key_of, of_kept, to_kept
from rewarden.verifier.linear import program_of
from rewarden.verifier.loops.local import UNROLLED
from rewarden.verifier.nearest import nearest_rows
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.pointwise import Bound, ExecutedBound
from rewarden.verifier.program import Program
from rewarden.verifier.progress import Progress, Report, Stop, stopping, why_stopped
from rewarden.verifier.region_words import EVERYTHING, described
from rewarden.verifier.regions import Frame, Region
from rewarden.verifier.rows import verify_rows
from rewarden.verifier.saved import Saver
from rewarden.verifier.search import search
from rewarden.verifier.shortfall import measured
from rewarden.verifier.starts import Array
from rewarden.verifier.steps import verify_lengths
from rewarden.verifier.verdict import Reason, RuleResult, Verdict, VerificationResult, Work, without_proof
from rewarden.verifier.witness import Witness, with_types

if TYPE_CHECKING:
    from rewarden.verifier.engines.interface import Rows
    from rewarden.verifier.executed_rows import ExecutedConstant
    from rewarden.verifier.loops.unrolled import Unrolled

_Steps = TypeVar("_Steps", bound="Unrolled")
SEEDS = 4096  # data rows that a search starts from, at most


def verify(
    spec: Spec,
    rewards: Mapping[str, Artifact],
    options: VerifyOptions | None = None,
    *,
    rules: Sequence[str] | None = None,
    progress: Report | None = None,
    stop: Stop | None = None,
    keeper: Keeper | None = None,
    saver: Saver | None = None,
) -> VerificationResult:
    """A verdict for each rule of `spec` (or of those named in `rules`), with `rewards` bound to its symbols.

    Raises BindingError for rewards that do not fit, DataError for data that cannot be read, and UsageError for
    a rule that does not exist (G21) or a selection that is empty (G15). A rule that no engine handles is `unknown`.
    What `keeper` has kept is not decided again; torch is not even loaded where it has all. `saver` goes on from what
    was saved, and saves.
    """
    chosen = options or VerifyOptions()
    names = _selected(spec, rules)
    for name in rewards:
        check_reward(spec, name, rewards)
    rows, started, stopped = _seed_rows(spec), time.monotonic(), stopping(chosen, stop)
    results = []
    with ExitStack() as stack:
        torch = _Torch(stack, chosen.threads)
        keepers = tuple(k for k in (saver, keeper) if k is not None)
        for name in names:
            run = _Run(spec, rewards, chosen, rows, progress, stopped, started, torch, keepers, saver)
            try:
                result = run.stopped(name) if stopped() else run.rule(name)
            except Unsupported as error:
                result = run.unsupported(name, error)
            if result.stopped:
                result = replace(result, reason=f"{result.reason} {why_stopped(chosen, started)}")
            results.append(replace(result, warnings=(*result.warnings, *run.uncovered(result))))
    digests = {name: artifact.digest for name, artifact in rewards.items()}
    return VerificationResult(tuple(results), spec=spec.digest, rewards=digests, semantics=chosen.semantics)


class _Torch:
    """torch, loaded and set once it is needed (mutable). What small networks ask of it is over before several threads
    have begun: they cost five times the processor time and save none."""

    def __init__(self, stack: ExitStack, threads: int) -> None:
        self.stack, self.threads = stack, threads
        self.ready = False

    def need(self) -> None:
        if not self.ready:
            from rewarden.verifier.torch_settings import plain_torch

            self.stack.enter_context(plain_torch(self.threads))
            self.ready = True


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """One rule at a time, by the engine for its kind."""

    spec: Spec
    rewards: Mapping[str, Artifact]
    options: VerifyOptions
    rows: Rows
    progress: Report | None
    stop: Stop
    started: float
    torch: _Torch
    keepers: Sequence[Keeper]
    saver: Saver | None

    def rule(self, name: str) -> RuleResult:
        """Unsupported where nothing decides it."""
        match self.spec.rule(name).kind:
            case "rows" | "share":
                obligation = self.spec.obligation(name)
                bound = self._bound(obligation)
                return self._told(self._with_rows(verify_rows(obligation, bound), obligation, bound), obligation)
            case "trace" if self.spec.lowered[name].lengths[-1] > UNROLLED:
                obligations = self.spec.obligations_of(name)
                told = self._stepped(name)
                if self.options.coverage_budget and self._has_claims(name):
                    told = self._with_lengths(told, obligations)
                return self._told(told, *obligations)
            case "trace" if len(self.spec.lowered[name].lengths) > 1:
                obligations = self.spec.obligations_of(name)
                plain = verify_lengths(obligations, self._claim, self.stop)
                return self._told(self._with_lengths(plain, obligations), *obligations)
            case "cycle":
                return self._told(self._with_loops(self._stepped(name), name), self.spec.unrolled(name, 2))
        tabled = self.spec.by_table(name) if self.options.semantics == "real" else None
        if tabled is not None:
            return self._told(self._decided(bind_away(self.spec, *tabled, self.rewards), {}), tabled[0])
        obligation = self.spec.obligation(name)
        return self._told(self._claim(obligation, whole=True), obligation)

    def _stepped(self, name: str) -> RuleResult:
        """Loops, and traces that are long."""
        self.torch.need()
        from rewarden.verifier.loops.engine import LoopRule  # torch takes a while to import
        from rewarden.verifier.loops.traces import TraceRule

        if self.spec.rule(name).kind == "cycle":
            return self._unrolled(name, LoopRule).verdict()
        return self._unrolled(name, TraceRule).verdict()

    def _has_claims(self, name: str) -> bool:
        """Of a rule about long traces: whether its claims are of a size to be made."""
        from rewarden.verifier.loops.traces import TraceRule

        rule = self._unrolled(name, TraceRule)
        try:
            return rule.has_claim(rule.lengths[-1])
        except Unsupported:
            return True  # what making them says is as good

    def _unrolled(self, name: str, kind: type[_Steps]) -> _Steps:
        points = self.options.falsify_budget // 4
        searching = replace(self, options=replace(self.options, engine="falsify", falsify_budget=points))
        search, decide = searching._claim, self._claim
        return kind(self.spec, name, self.rewards, self.options, search, decide, self.progress, self.stop, self.saver)

    def _claim(self, obligation: Obligation, *, whole: bool = False) -> RuleResult:
        """The verdict on one obligation by way of its claim. `whole`: it is all of the rule."""
        claim, obligation, constants, executed = self._bound_claim(obligation)
        covered = whole and self.options.coverage_budget
        if constants:
            told = self._decided(claim, constants)
            spread = spread_words(executed) if told.verdict is Verdict.UNKNOWN else ()
            told = replace(told, warnings=(*told.warnings, *spread))
            if told.claim is not None and not certifiable(claim, constants):
                told = replace(told, claim=None, proof=None, reason=without_proof(told.reason, COARSE))
            return self._with_coverage(told, claim, constants) if covered else told
        told = self._kept(claim)
        statistics = partial(statistics_of, self.spec, obligation, self.rewards)
        if self.options.semantics == "real":
            told = replace(told, witness=measured(told.witness, obligation, self.rewards, statistics))
        return self._with_coverage(told, claim) if covered else told

    def _bound_claim(
        self, obligation: Obligation
    ) -> tuple[Claim, Obligation, dict[int, Fraction], dict[Statistic, ExecutedConstant]]:
        """The claim and its obligation, with a variable for each data constant that is known to some bounds only, its
        value, and those executed."""
        if self.options.semantics == "float32":
            executed = self._executed_constants(obligation)
            named, constants = with_constants(obligation, executed)
            return bind_obligation(self.spec, named, self.rewards), named, constants, executed
        claim, constants = bind_enclosed(self.spec, obligation, self.rewards)
        return claim, obligation, constants, {}

    def _kept(self, claim: Claim) -> RuleResult:
        """What was decided before, or is now and can be kept."""
        patched_near_data = any(has_tables(self.rewards[name]) for name, _ in claim.rewards)  # decided in parts
        if not self.keepers or self.options.semantics != "real" or patched_near_data:
            return self._decided(claim, {})
        for keeper in self.keepers:
            key = key_of(claim, self.options, self.rows, keeper.code)
            kept = keeper.get(key)
            if kept is None:
                continue
            try:
                found = of_kept(kept, key, claim, self.rewards, self.spec.features)
            except KeptError as error:
                keeper.damaged(key, str(error))
            else:
                return replace(found, cached=keeper.earlier)
        found = self._decided(claim, {})
        for keeper in self.keepers:
            if keeper.wants(found, self.options) and not found.non_finite:
                key = key_of(claim, self.options, self.rows, keeper.code)
                keeper.put(key, to_kept(found, key))
        return found

    def _decided(self, claim: Claim, constants: Mapping[int, Fraction]) -> RuleResult:
        """By the engines."""
        self.torch.need()
        from rewarden.verifier.decision import verify_claim

        rest, stop = _rest(self.options, self.started), self.stop
        if self.saver is not None:
            self.saver.begin(key_of(claim, self.options, self.rows, self.saver.code))
            stop = self.saver.stopping(self.stop)
        plain = verify_claim(
            claim,
            self.rewards,
            rest,
            rows=self.rows,
            progress=self.progress,
            stop=stop,
            constants=constants,
            recorded=None if self.saver is None else self.saver.recorded,
        )
        if self.saver is not None:
            if self.stop():
                self.saver.save()
            else:
                self.saver.done()
        types = self.spec.features
        witness = None if plain.witness is None else with_types(plain.witness, types)
        premise = None if plain.premise_witness is None else with_types(plain.premise_witness, types)
        unsettled = plain.unsettled
        if plain.left is not None and not constants and (frame := Frame.of(claim, types)).tellable:
            unsettled = described(Region.of_floats(frame, plain.left))
        return replace(plain, witness=witness, premise_witness=premise, left=None, unsettled=unsettled)

    def _with_rows(self, plain: RuleResult, obligation: Obligation, bound: Bound) -> RuleResult:
        """How many rows keep and break the rule."""
        if not self.options.coverage_budget or self.stop():
            return plain
        from rewarden.verifier.coverage.rows import cover_rows

        return replace(plain, coverage_details=cover_rows(obligation, bound))

    def _with_loops(self, plain: RuleResult, name: str) -> RuleResult:
        """Which records are on loops that pay, where that is asked for."""
        if not self.options.coverage_budget or self.stop():
            return plain
        from rewarden.verifier.coverage.loops import cover_loops
        from rewarden.verifier.loops.engine import LoopRule

        rule = self._unrolled(name, LoopRule)
        if rule.executed and rule.constants():
            return plain
        coverage = cover_loops(rule, plain.verdict, plain.witness, self.options.coverage_budget)
        return replace(plain, coverage_details=coverage)

    def _with_lengths(self, plain: RuleResult, obligations: Sequence[Obligation]) -> RuleResult:
        """Traces of each length, with an equal part of the boxes."""
        if not self.options.coverage_budget:
            return plain
        from rewarden.verifier.coverage.parts import joined

        cases = {}
        for obligation in obligations:
            boxes = self._boxes_for(len(obligations), len(obligation.records))
            each = replace(self, options=replace(self.options, coverage_budget=boxes))
            claim, _, constants, _ = self._bound_claim(obligation)
            told = each._with_coverage(plain, claim, constants, apart=len(obligation.records) > UNROLLED)
            if told.coverage_details is None:
                return plain
            cases[str(obligation.case)] = told.coverage_details
        return replace(plain, coverage_details=joined(cases))

    def _boxes_for(self, claims: int, records: int) -> int:
        """For one of so many claims: a box of many records takes longer."""
        return max(1, self.options.coverage_budget * UNROLLED // (claims * max(UNROLLED, records)))

    def _with_coverage(
        self,
        plain: RuleResult,
        claim: Claim,
        constants: Mapping[int, Fraction] | None = None,
        *,
        apart: bool = False,
    ) -> RuleResult:
        """What is known of the whole region; `apart`: with each call bounded by itself."""
        self.torch.need()
        from rewarden.verifier.coverage.search import cover, frame_of
        from rewarden.verifier.torch_settings import plain_torch

        def report(settled: float, boxes: int) -> None:
            if self.progress is not None:
                self.progress(Progress(claim.rule, "coverage", settled, boxes))

        if self.options.semantics == "float32":
            from rewarden.verifier.executed import compile_executed

            def compiled(some: Claim) -> Program:
                return compile_executed(some, self.rewards, constants if some is claim else None)
        else:

            def compiled(some: Claim) -> Program:
                return program_of(some, self.rewards)

        if apart:
            program = Program(claim, (), (), uncertain=tuple(constants or ()))
        elif self.options.semantics == "float32":
            program = compiled(claim)
        else:
            program = replace(compiled(claim), uncertain=tuple(constants or ()))
        frame = frame_of(program, self.spec.features)
        with plain_torch(self.options.threads):
            proved = plain.verdict is Verdict.PROVED
            budget, split = self.options.coverage_budget, compiled if apart else None
            failing = None if plain.witness is None or claim.instances is None else plain.witness.box
            coverage = cover(program, frame, budget, self.stop, report, proved=proved, compiled=split, failing=failing)
        return replace(plain, coverage_details=coverage)

    def _bound(self, obligation: Obligation) -> Bound:
        """BindingError where a reward is missing or does not fit."""
        for symbol in symbols(obligation):
            check_reward(self.spec, symbol, self.rewards)
        if self.options.semantics == "float32":
            constants = self._executed_constants(obligation)
            deployed = {statistic: constant.deployed for statistic, constant in constants.items()}
            return ExecutedBound(self.rewards, deployed, self.spec.features, constants)
        return Bound(self.rewards, constants_of(self.spec, obligation, self.rewards), self.spec.features)

    def _executed_constants(self, obligation: Obligation) -> dict[Statistic, ExecutedConstant]:
        for symbol in symbols(obligation):
            check_reward(self.spec, symbol, self.rewards)
        self.torch.need()
        from rewarden.verifier.executed_rows import executed_constants

        tables = {s: self.spec.rows(s.data).values for s in data_constants(obligation)}
        return executed_constants(self.rewards, tables)

    def _told(self, plain: RuleResult, *obligations: Obligation) -> RuleResult:
        """`obligations`: all that the rule asks, one for each length: what a reward's constant adds differs."""
        rule = obligations[-1].rule
        found = (warning for obligation in obligations for warning in warnings_of(obligation, self.rewards))
        warnings = (*plain.warnings, *dict.fromkeys(found))
        nearest = nearest_rows(self.spec, plain.witness) if plain.witness and plain.engine != "rows" else ()
        return replace(plain, title=rule.title, where=str(rule.span), warnings=warnings, nearest=nearest)

    def uncovered(self, result: RuleResult) -> tuple[str, ...]:
        """Why there is no coverage, where it was asked for."""
        if not self.options.coverage_budget or result.coverage_details is not None:
            return ()
        kind = self.spec.rule(result.rule).kind
        if self.stop():
            why = "the verification was stopped before"
        elif kind == "cycle" and self.options.semantics != "real" and data_constants(self._searchable(result.rule)[0]):
            from rewarden.verifier.loops.engine import NUMBERS

            why = NUMBERS
        elif result.engine == "search":
            why = "no engine settles a part of such a rule, so that all of its region is unsettled but for what is told"
        else:
            why = "the region has too many boxes, a feature too many cases or the rule too many min, max, |…| and if"
        return (f"no coverage: {why}",)

    def stopped(self, name: str) -> RuleResult:
        """A rule that nobody came to."""
        rule = self.spec.rule(name)
        return RuleResult(
            rule=name,
            severity=rule.severity,
            verdict=Verdict.UNKNOWN,
            reason=Reason.STOPPED,
            unsettled=EVERYTHING,
            title=rule.title,
            where=str(rule.span),
        )

    def _searchable(self, name: str) -> Sequence[Obligation]:
        """A rule's obligations; of loops there is one for each length, of which the short ones are searched."""
        if self.spec.rule(name).kind == "cycle":
            return [self.spec.unrolled(name, length) for length in (1, 2, 3)]
        return self.spec.obligations_of(name)

    def unsupported(self, name: str, error: Unsupported) -> RuleResult:
        """Unknown, unless points at random are enough to violate it."""
        rule = self.spec.rule(name)
        reason = f"no engine for this rule: {error.message}"
        found_reason = Reason.WITNESS if self.options.semantics == "real" else Reason.FLOAT32_WITNESS
        points, non_finite = 0, False
        witness: Witness | None = None
        try:
            for obligation in self._searchable(name):
                if witness is None:
                    bound = self._bound(obligation)
                    witness, found = search(
                        obligation, bound, self.options.falsify_budget, self.options.seed, self.stop
                    )
                    points += found
        except Unsupported:
            pass
        except NonFiniteError:
            non_finite = True
        ended = f"{Reason.STOPPED} There is " if self.stop() else ""
        result = RuleResult(
            rule=name,
            severity=rule.severity,
            verdict=Verdict.UNKNOWN if witness is None else Verdict.VIOLATED,
            reason=f"{ended}{reason}; {points} points were searched" if witness is None else found_reason,
            witness=witness,
            coverage=0.0 if witness is None else 1.0,
            engine="search",
            work=Work(points=points),
            unsettled=EVERYTHING if witness is None else None,
            title=rule.title,
            where=str(rule.span),
        )
        if non_finite or (witness is not None and witness.deployed == "non-finite"):
            return replace(
                result, verdict=Verdict.UNKNOWN, reason=Reason.NON_FINITE, non_finite=True, witness=None, unsettled=None
            )
        return result


def _rest(options: VerifyOptions, started: float) -> VerifyOptions:
    """The options with what is left of the time limit."""
    if options.time_limit is None:
        return options
    return replace(options, time_limit=max(1e-3, options.time_limit - (time.monotonic() - started)))


def _selected(spec: Spec, rules: Sequence[str] | None) -> tuple[str, ...]:
    """The rules to verify, in the order of the spec."""
    known = tuple(rule.name for rule in spec.rules)
    if rules is None:
        wanted = known
    else:
        missing = [name for name in rules if name not in known]
        if missing:
            raise UsageError("G21", f"the spec has no rule {missing[0]}", help=f"its rules: {', '.join(known)}")
        wanted = tuple(name for name in known if name in rules)
    if not wanted:
        raise UsageError("G15", "no rule is selected", help="name one of the spec's rules, or none to verify all")
    return wanted


def _seed_rows(spec: Spec) -> Rows:
    """Data rows by record type, for searches to start from: evenly spaced ones, where there are many. A spec without
    a folder has no data to read."""
    tables: dict[str, list[Array]] = {}
    for name, declaration in spec.data.items() if spec.base is not None else ():
        for member, _ in declaration.members:
            table = spec.table(name, member)
            step = max(1, -(-table.rows // SEEDS))
            tables.setdefault(table.record_type.name, []).append(table.values[::step])
    return {kind: np.concatenate(parts) for kind, parts in tables.items()}
