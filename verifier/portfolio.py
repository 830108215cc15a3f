"""Which engine when: the order in which a rule is decided, the same every time.

premise (is there anything to speak of?) → search for a violation → bounds with branch and bound → z3 on what is small.
Each step either ends the matter or leaves it to the next; the budgets are counted in work, and a time limit only stops.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.claim import Claim
from rewarden.spec_lang.errors import BindingError, Unsupported, UsageError
from rewarden.spec_lang.obligation import Obligation
from rewarden.verifier.bind import bind_obligation, check_reward
from rewarden.verifier.branch import prove
from rewarden.verifier.exact_program import ExactProgram
from rewarden.verifier.falsify import Rows, falsify
from rewarden.verifier.identified import warnings_of
from rewarden.verifier.inline import compile_program
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.premise import Premise, find_premise
from rewarden.verifier.program import Program
from rewarden.verifier.progress import Progress, Report, Stop
from rewarden.verifier.verdict import Reason, RuleResult, Verdict, VerificationResult, Work
from rewarden.verifier.witness import Witness, replay
from rewarden.verifier.z3_engine import Limits, decide_box

if TYPE_CHECKING:
    from rewarden.spec_lang import Spec

SEEDS = 4096  # data rows that a search starts from, at most
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

    def result(self, verdict: Verdict, reason: str, **details: Any) -> RuleResult:  # noqa: ANN401 - RuleResult's own
        return RuleResult(
            rule=self.claim.rule,
            severity=self.claim.severity,
            verdict=verdict,
            reason=reason,
            claim=self.claim,
            **details,
        )


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

    Raises BindingError for rewards that do not fit, DataError for data that cannot be read, and UsageError (G11) for
    a rule that does not exist or a selection that is empty. A rule that no engine handles is `unknown`.
    """
    chosen = options or VerifyOptions()
    names = _selected(spec, rules)
    for name in rewards:
        check_reward(spec, name, rewards)
    stopping = _stopping(chosen, stop)
    rows = _seed_rows(spec)
    with _threads(chosen.threads):
        results = tuple(_verify_rule(spec, name, rewards, chosen, rows, progress, stopping) for name in names)
    digests = {name: artifact.digest for name, artifact in rewards.items()}
    return VerificationResult(results, spec=spec.digest, rewards=digests)


def verify_claim(
    claim: Claim,
    artifacts: Mapping[str, Artifact],
    options: VerifyOptions | None = None,
    *,
    rows: Rows | None = None,
    progress: Report | None = None,
    stop: Stop | None = None,
) -> RuleResult:
    """The verdict on one claim. Raises BindingError (B30–B32) where the artifacts are not those that it names."""
    chosen = options or VerifyOptions()
    for name, digest in claim.rewards:
        if name in artifacts and artifacts[name].digest != digest:
            raise BindingError("B32", f"the claim is about another artifact than the one bound to {name}")
    with _threads(chosen.threads):
        task = _Task(
            claim,
            compile_program(claim, artifacts),
            artifacts,
            chosen,
            rows or {},
            progress or (lambda _: None),
            _stopping(chosen, stop),
        )
        result = _decide(task)
    task.report(Progress(claim.rule, "done", result.coverage))
    return result


# ── one rule ───────────────────────────────────────────────────────────────────────────────────
def _verify_rule(
    spec: Spec,
    name: str,
    rewards: Mapping[str, Artifact],
    options: VerifyOptions,
    rows: Rows,
    progress: Report | None,
    stop: Stop,
) -> RuleResult:
    rule = next(r for r in spec.rules if r.name == name)
    try:
        obligation = spec.obligation(name)
        claim = bind_obligation(spec, obligation, rewards)
        plain = verify_claim(claim, rewards, options, rows=rows, progress=progress, stop=stop)
    except Unsupported as error:
        reason = f"no engine for this rule: {error.message}"
        return RuleResult(rule=name, severity=rule.severity, verdict=Verdict.UNKNOWN, reason=reason)
    return _with_provenance(plain, obligation, rewards)


def _with_provenance(plain: RuleResult, obligation: Obligation, rewards: Mapping[str, Artifact]) -> RuleResult:
    rule = obligation.rule
    return replace(plain, title=rule.title, where=str(rule.span), warnings=warnings_of(obligation, rewards))


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
    """Bounds, then z3, as the options and the size allow."""
    settled = 0.0
    reason = str(Reason.Z3_LIMIT)
    if task.options.engine != "z3":
        outcome = prove(task.program, task.claim, task.options, _bounds_report(task), task.stop)
        work = work + Work(boxes=outcome.boxes)
        exact = ExactProgram(task.program)
        for point in outcome.points:
            witness = replay(task.claim, exact, task.artifacts, point)
            if witness is not None:
                return _violated(task, witness, "bounds", work)
        if outcome.status == "proved":
            return _proved(task, premise, "bounds", outcome.proof, work)
        settled = float(outcome.settled)
        reason = str(Reason.BUDGET)
    if task.options.engine != "bounds" and not task.stop():
        result = _by_z3(task, premise, work)
        if result.verdict is not Verdict.UNKNOWN or task.options.engine == "z3":
            return result
        work = result.work
    if task.stop():
        reason = str(Reason.STOPPED)
    return task.result(
        Verdict.UNKNOWN,
        reason,
        coverage=settled,
        premise_witness=premise.witness,
        engine=task.options.engine,
        work=work,
    )


def _by_z3(task: _Task, premise: Premise, work: Work) -> RuleResult:
    """Every box and goal as one query each. Unasked, only where there are few and small ones."""
    claim, options = task.claim, task.options
    queries = [(box, goal) for box in range(len(claim.boxes)) for goal in range(len(claim.goals))]
    asked = options.engine == "z3"
    limits = Limits(options.z3_rlimit, options.time_limit, None if asked else AUTO_UNSTABLE)
    settled = 0
    for number, (box, goal) in enumerate(queries if asked or len(queries) <= AUTO_QUERIES else []):
        if task.stop():
            break
        task.report(Progress(claim.rule, "z3", settled / len(queries), number))
        decision = decide_box(task.program, goal, claim.boxes[box], limits)
        work = work + Work(z3_rlimit=decision.rlimit)
        if decision.point is not None:
            witness = replay(claim, task.program, task.artifacts, decision.point)
            if witness is not None:
                return _violated(task, witness, "z3", work)
        settled += decision.status == "unsat"
        if decision.status != "unsat" and not asked:
            break
    if settled == len(queries):
        return _proved(task, premise, "z3", None, work)
    return task.result(
        Verdict.UNKNOWN,
        Reason.STOPPED if task.stop() else Reason.Z3_LIMIT,
        coverage=settled / len(queries),
        premise_witness=premise.witness,
        engine="z3",
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
        Reason.BOUNDS if engine == "bounds" else Reason.Z3,
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


# ── around the rules ───────────────────────────────────────────────────────────────────────────
def _selected(spec: Spec, rules: Sequence[str] | None) -> tuple[str, ...]:
    """The rules to verify, in the order of the spec."""
    known = tuple(rule.name for rule in spec.rules)
    if rules is None:
        wanted = known
    else:
        missing = [name for name in rules if name not in known]
        if missing:
            raise UsageError("G11", f"the spec has no rule {missing[0]}", help=f"its rules: {', '.join(known)}")
        wanted = tuple(name for name in known if name in rules)
    if not wanted:
        raise UsageError("G11", "no rule is selected", help="name one of the spec's rules, or none to verify all")
    return wanted


def _seed_rows(spec: Spec) -> Rows:
    """Data rows by record type, for searches to start from: evenly spaced ones, where there are many."""
    tables: dict[str, list[np.ndarray[Any, np.dtype[np.float64]]]] = {}
    for name in spec.data:
        table = spec.table(name)
        step = max(1, -(-table.rows // SEEDS))
        tables.setdefault(table.record_type.name, []).append(table.values[::step])
    return {kind: np.concatenate(parts) for kind, parts in tables.items()}


def _bounds_report(task: _Task) -> Report:
    return task.report


def _stopping(options: VerifyOptions, stop: Stop | None) -> Stop:
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
