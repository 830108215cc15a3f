"""Rules about traces, by unrolling: one claim for each number of steps.

A trace of up to n records is settled when every length is: proved if each is proved or has no trace that satisfies the
premise (and not all have none), violated by the first length that is. Long traces and loops are for `verifier.loops`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from rewarden.spec_lang.claim import Claim
from rewarden.spec_lang.obligation import Obligation
from rewarden.verifier.progress import Stop
from rewarden.verifier.region_words import EVERYTHING
from rewarden.verifier.unwritten import CaseProof, Unwritten
from rewarden.verifier.verdict import CERTIFIABLE, Reason, RuleResult, Verdict, Work

Decide = Callable[[Obligation], RuleResult]
UNTRIED: dict[str, Any] = {
    "verdict": Verdict.UNKNOWN, "reason": Reason.STOPPED, "coverage": 0.0, "unsettled": EVERYTHING, "left": None,
    "witness": None, "premise_witness": None, "proof": None, "claim": None, "work": Work(), "cached": False,
}  # fmt: skip


def verify_lengths(obligations: Sequence[Obligation], decide: Decide, stop: Stop) -> RuleResult:
    """The verdict on a trace rule, from those on its lengths, shortest first; stops at the first violation. Lengths
    that nobody comes to are not even bound to their rewards: that alone takes seconds where there are many records."""
    results: list[RuleResult] = []
    for obligation in obligations:
        result = replace(results[-1], **UNTRIED) if results and stop() else decide(obligation)
        if result.verdict is Verdict.VIOLATED or result.non_finite:
            reason = f"{result.reason} The trace has {obligation.case}."
            return replace(result, reason=reason, work=_work([*results, result]), proof=None, claim=None)
        results.append(result)
    last = results[-1]
    open_cases = [o.case for o, r in zip(obligations, results, strict=True) if r.verdict is Verdict.UNKNOWN]
    told = {"work": _work(results), "coverage": sum(r.coverage for r in results) / len(results)}
    told["cached"] = all(r.cached for r in results)
    if open_cases:
        unknown = [r for r in results if r.verdict is Verdict.UNKNOWN]
        first = next((r for r in unknown if r.stopped), unknown[0])  # who goes on has those lengths to settle
        reason = f"{first.reason} Open for traces of {', '.join(open_cases)}."
        return replace(first, reason=reason, proof=None, claim=None, **told)  # type: ignore[arg-type]
    proved = [r for r in results if r.verdict is Verdict.PROVED]
    if not proved:
        return replace(last, reason=f"No trace satisfies the premise. {last.reason}", claim=None, **told)  # type: ignore[arg-type]
    claim, owed = _cases(results)
    certified = CERTIFIABLE if owed is not None else "; there is no proof to certify: some length has none."
    reason = f"Proved for each length, from {obligations[0].case} to {obligations[-1].case}{certified}"
    return replace(proved[-1], reason=reason, proof=owed, claim=claim, **told)  # type: ignore[arg-type]


def _cases(results: Sequence[RuleResult]) -> tuple[Claim | None, Unwritten | None]:
    """The claims of all lengths as one, and what is owed of its proof: of a length without traces, that it has none."""
    claims = [result.claim for result in results if result.claim is not None]
    if len(claims) < len(results):
        return None, None
    parts = []
    for claim, result in zip(claims, results, strict=True):
        vacuous = result.verdict is Verdict.VACUOUS
        proof = Unwritten(result.work.boxes) if vacuous else result.proof
        if proof is None:
            return Claim.of_cases(claims), None
        parts.append(CaseProof(claim, proof, None if vacuous else result.premise_witness))
    return Claim.of_cases(claims), Unwritten(sum(result.work.boxes for result in results), cases=tuple(parts))


def _work(results: Sequence[RuleResult]) -> Work:
    total = Work()
    for result in results:
        total = total + result.work
    return total
