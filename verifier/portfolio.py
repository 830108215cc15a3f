"""A spec's rules to verdicts: bind each to the artifacts, decide it, and say where it came from."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang import Spec
from rewarden.spec_lang.errors import Unsupported, UsageError
from rewarden.spec_lang.obligation import Obligation
from rewarden.verifier.bind import bind_obligation, check_reward, statistics_of, symbols
from rewarden.verifier.decision import stopping, verify_claim
from rewarden.verifier.falsify import Rows
from rewarden.verifier.identified import warnings_of
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.pointwise import Bound
from rewarden.verifier.progress import Report, Stop
from rewarden.verifier.rows import verify_rows
from rewarden.verifier.search import search
from rewarden.verifier.starts import Array
from rewarden.verifier.steps import search_loops, verify_lengths
from rewarden.verifier.verdict import Reason, RuleResult, Verdict, VerificationResult, Work
from rewarden.verifier.witness import Witness, with_types

SEEDS = 4096  # data rows that a search starts from, at most


def verify(
    spec: Spec,
    rewards: Mapping[str, Artifact],
    options: VerifyOptions | None = None,
    *,
    rules: Sequence[str] | None = None,
    progress: Report | None = None,
    stop: Stop | None = None,
) -> VerificationResult:
    """A verdict for each rule of `spec` (or of those named in `rules`), with `rewards` bound to its symbols.

    Raises BindingError for rewards that do not fit, DataError for data that cannot be read, and UsageError for
    a rule that does not exist (G21) or a selection that is empty (G15). A rule that no engine handles is `unknown`.
    """
    chosen = options or VerifyOptions()
    names = _selected(spec, rules)
    for name in rewards:
        check_reward(spec, name, rewards)
    rows, stopped, started = _seed_rows(spec), stopping(chosen, stop), time.monotonic()
    results = []
    for name in names:
        run = _Run(spec, rewards, chosen, rows, progress, stopped, started)
        try:
            results.append(run.rule(name))
        except Unsupported as error:
            results.append(run.unsupported(name, error))
    digests = {name: artifact.digest for name, artifact in rewards.items()}
    return VerificationResult(tuple(results), spec=spec.digest, rewards=digests)


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

    def rule(self, name: str) -> RuleResult:
        """Unsupported where nothing decides it."""
        match self.spec.rule(name).kind:
            case "rows" | "share" if self.options.semantics == "real":
                obligation = self.spec.obligation(name)
                return self._told(verify_rows(obligation, self._bound(obligation)), obligation)
            case "trace" if len(self.spec.lowered[name].lengths) > 1:
                obligations = self.spec.obligations_of(name)
                return self._told(verify_lengths(obligations, self._claim), obligations[-1])
            case "cycle":
                searching = replace(self, options=replace(self.options, engine="bounds", budget=0))
                result = search_loops(lambda k: self.spec.unrolled(name, k), searching._claim)
                return self._told(result, self.spec.unrolled(name, 2))
        obligation = self.spec.obligation(name)
        return self._told(self._claim(obligation), obligation)

    def _claim(self, obligation: Obligation) -> RuleResult:
        """The verdict on one obligation by way of its claim."""
        claim = bind_obligation(self.spec, obligation, self.rewards)
        rest = _rest(self.options, self.started)
        plain = verify_claim(claim, self.rewards, rest, rows=self.rows, progress=self.progress, stop=self.stop)
        types = self.spec.features
        witness = None if plain.witness is None else with_types(plain.witness, types)
        premise = None if plain.premise_witness is None else with_types(plain.premise_witness, types)
        return replace(plain, witness=witness, premise_witness=premise)

    def _bound(self, obligation: Obligation) -> Bound:
        """BindingError where a reward is missing or does not fit."""
        for symbol in symbols(obligation):
            check_reward(self.spec, symbol, self.rewards)
        return Bound(self.rewards, statistics_of(self.spec, obligation, self.rewards), self.spec.features)

    def _told(self, plain: RuleResult, obligation: Obligation) -> RuleResult:
        rule = obligation.rule
        warnings = (*plain.warnings, *warnings_of(obligation, self.rewards))
        return replace(plain, title=rule.title, where=str(rule.span), warnings=warnings)

    def unsupported(self, name: str, error: Unsupported) -> RuleResult:
        """Unknown, unless points at random are enough to violate it."""
        rule = self.spec.rule(name)
        reason = f"no engine for this rule: {error.message}"
        points = 0
        witness: Witness | None = None
        try:
            for obligation in self.spec.obligations_of(name):
                if witness is None and self.options.semantics == "real":
                    bound = self._bound(obligation)
                    witness, found = search(obligation, bound, self.options.falsify_budget, self.options.seed)
                    points += found
        except Unsupported:
            pass
        result = RuleResult(
            rule=name,
            severity=rule.severity,
            verdict=Verdict.UNKNOWN if witness is None else Verdict.VIOLATED,
            reason=f"{reason}; {points} points were searched" if witness is None else Reason.WITNESS,
            witness=witness,
            coverage=0.0 if witness is None else 1.0,
            engine="search",
            work=Work(points=points),
            title=rule.title,
            where=str(rule.span),
        )
        if witness is not None and witness.deployed == "non-finite":
            return replace(result, verdict=Verdict.UNKNOWN, reason=Reason.NON_FINITE, non_finite=True, witness=None)
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
