"""Rules over rows of data: every row is judged exactly, so the answer is always a verdict.

Without `share` every row that satisfies the premise has to satisfy the conclusion. With it k of n such rows do, and
k/n is compared with the level, or else the one-sided bound of Clopper and Pearson is (`spec_lang/share_counts.py`).
That rows are independent is then an assumption, and is printed.

Under float32 semantics a row is judged as deployed, which is one legal execution: what that breaks is broken. What it
keeps is proved only if bounds of all executions keep it too; rows for which they do not may leave the rule unknown.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.deployed import forward
from rewarden.reward.tables import has_tables
from rewarden.spec_lang.claims import claim_of
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.obligation import Obligation, Share, Var
from rewarden.spec_lang.share_counts import judged
from rewarden.verifier.executed_truth import NonFiniteError
from rewarden.verifier.pointwise import Bound, ExecutedBound, Rows, calls_of, whole_premise, witness_at
from rewarden.verifier.verdict import Reason, RuleResult, Verdict, Work

INDEPENDENT = "The confidence assumes that the rows are independent draws of what it is about."


def verify_rows(obligation: Obligation, bound: Bound) -> RuleResult:
    """The verdict on a rule over data rows (`obligation.over_rows`), exact."""
    rows = rows_of(obligation)
    if isinstance(bound, ExecutedBound):
        try:
            return _executed(obligation, bound, rows)
        except NonFiniteError:
            return _result(obligation, Verdict.UNKNOWN, Reason.NON_FINITE, rows, non_finite=True)
    result = _exact(obligation, bound, rows)
    decided = result.verdict in (Verdict.PROVED, Verdict.VIOLATED)
    return replace(result, recount=decided and _countable(obligation, bound))


def _countable(obligation: Obligation, bound: Bound) -> bool:
    """Can the kernel of a certificate count again? It knows linear rules, no confidence, no constants but rationals."""
    used = [bound.artifacts[call.reward] for call in calls_of(obligation)]
    exact = {statistic: value for statistic, value in bound.statistics.items() if isinstance(value, Fraction)}
    if len(exact) < len(bound.statistics) or any(has_tables(artifact) for artifact in used):
        return False
    assert obligation.instances is not None
    try:
        claim_of(
            obligation,
            rewards=dict.fromkeys(bound.artifacts, ""),
            statistics=exact,
            data_digests={statistic.data: "" for statistic in exact},
            tables={obligation.instances.data: ()},
        )
    except Unsupported:
        return False
    return True


def _exact(obligation: Obligation, bound: Bound, rows: Rows) -> RuleResult:
    holding = bound.holds(whole_premise(obligation), rows)
    if not holding.any():
        reason = f"None of the {len(rows)} rows satisfies the premise: the rule says nothing."
        return _result(obligation, Verdict.VACUOUS, reason, rows)
    counted = np.flatnonzero(holding)
    if not _finite(obligation, bound, rows[counted]):
        return _result(obligation, Verdict.UNKNOWN, Reason.NON_FINITE, rows, non_finite=True)
    good = bound.holds(obligation.conclusion, rows[counted])
    k, n = int(good.sum()), len(counted)
    if obligation.share is not None:
        return _shared(obligation, obligation.share, k, n, rows)
    if k == n:
        reason = f"Each of the {n} rows that satisfy the premise was judged exactly."
        first = witness_at(obligation, bound, rows[counted[0]], premise_only=True, number=int(counted[0]))
        return _result(obligation, Verdict.PROVED, reason, rows, premise_witness=first)
    worst = int(counted[np.flatnonzero(~good)[0]])
    witness = witness_at(obligation, bound, rows[worst], premise_only=False, number=worst)
    assert witness is not None, "the row was judged exactly a moment ago"
    fail = "fails" if n - k == 1 else "fail"
    reason = f"{n - k} of {n} rows {fail}; the first is row {worst + 1} of {_data(obligation)}."
    return _result(obligation, Verdict.VIOLATED, reason, rows, witness=witness)


# ── as executed ────────────────────────────────────────────────────────────────────────────────
def _executed(obligation: Obligation, bound: ExecutedBound, rows: Rows) -> RuleResult:
    """float32 semantics. `premise` and `kept` are 1 or −1 where every execution agrees, else 0."""
    whole = whole_premise(obligation)
    premise = bound.settled(whole, rows)
    if (premise < 0).all():
        reason = f"None of the {len(rows)} rows satisfies the premise: the rule says nothing."
        return _result(obligation, Verdict.VACUOUS, reason, rows)
    holding = bound.holds(whole, rows)
    counted = np.flatnonzero(holding)
    good = bound.holds(obligation.conclusion, rows[counted])
    possible = np.flatnonzero(premise >= 0)
    premise, kept = premise[possible], bound.settled(obligation.conclusion, rows[possible])
    if obligation.share is not None:
        return _executed_share(obligation, obligation.share, (int(good.sum()), len(counted)), (premise, kept), rows)
    if not good.all():
        worst = int(counted[np.flatnonzero(~good)[0]])
        witness = witness_at(obligation, bound, rows[worst], premise_only=False, number=worst)
        failing = len(good) - int(good.sum())
        reason = (
            f"{failing} of {len(counted)} rows fail as deployed; the first is row {worst + 1} of {_data(obligation)}."
        )
        return _result(obligation, Verdict.VIOLATED, reason, rows, witness=witness)
    loose = int((kept <= 0).sum())
    if loose or not len(counted):
        reason = f"As deployed no row fails; for {loose} of {len(possible)}, executions in another order might."
        return _result(obligation, Verdict.UNKNOWN, reason, rows)
    first = witness_at(obligation, bound, rows[counted[0]], premise_only=True, number=int(counted[0]))
    reason = f"Each of the {len(possible)} rows that may satisfy the premise keeps it in every execution in binary32."
    return _result(obligation, Verdict.PROVED, reason, rows, premise_witness=first)


def _executed_share(
    obligation: Obligation,
    share: Share,
    deployed: tuple[int, int],
    rows_settled: tuple[NDArray[np.int8], NDArray[np.int8]],
    rows: Rows,
) -> RuleResult:
    """Violated by the deployed counts; proved if the least favourable counts that executions may give prove it."""
    premise, kept = rows_settled
    k, n = deployed
    if share.op in (">", ">="):  # sure successes, and everything that may be a failure
        least = int(((premise > 0) & (kept > 0)).sum())
        worst = least, least + int((kept <= 0).sum())
    else:  # everything that may be a success, and sure failures
        most = int((kept >= 0).sum())
        worst = most, most + int(((premise > 0) & (kept < 0)).sum())
    found = f"{k} of {n} rows of {_data(obligation)} satisfy it as deployed"
    warnings = (INDEPENDENT,) if share.confidence is not None else ()
    if n and judged(share, k, n) == "violated":
        return _result(obligation, Verdict.VIOLATED, f"{found}, which refutes it.", rows, warnings=warnings)
    if n and worst[1] and judged(share, *worst) == "proved":
        reason = f"{found}; in every execution in binary32 the counts are enough."
        return _result(obligation, Verdict.PROVED, reason, rows, warnings=warnings)
    reason = f"{found}; {worst[0]} of {worst[1]} is the least favourable that other executions might give."
    return _result(obligation, Verdict.UNKNOWN, reason, rows, warnings=warnings)


def rows_of(obligation: Obligation) -> Rows:
    """float64 [row, variable]: the data's rows, each column at its variable."""
    assert obligation.instances is not None
    rows = np.zeros((len(obligation.instances.anchors), len(obligation.variables)))
    for variable, column in obligation.instances.fixed:
        rows[:, variable] = obligation.instances.anchors[:, column]
    return rows


def _finite(obligation: Obligation, bound: Bound, rows: Rows) -> bool:
    """Does every reward that is applied to records as they are return a number on them, as deployed?"""
    for call in calls_of(obligation):
        indices = [t.index for t in call.arguments if isinstance(t, Var)]
        if len(indices) < len(call.arguments):
            continue
        with np.errstate(over="ignore"):
            columns = np.ascontiguousarray(rows[:, indices], dtype=np.float32)
        if not np.isfinite(forward(bound.artifacts[call.reward], columns)).all():
            return False
    return True


def _data(obligation: Obligation) -> str:
    assert obligation.instances is not None
    return obligation.instances.data


# ── shares ─────────────────────────────────────────────────────────────────────────────────────
def _shared(obligation: Obligation, share: Share, k: int, n: int, rows: Rows) -> RuleResult:
    found = f"{k} of {n} rows of {_data(obligation)} satisfy it ({k / n:.4g})"
    verdict = Verdict(judged(share, k, n))
    if share.confidence is None:
        return _result(obligation, verdict, f"{found}, exactly counted.", rows)
    words = {
        Verdict.PROVED: "which is enough",
        Verdict.VIOLATED: "which refutes it",
        Verdict.UNKNOWN: "which decides it neither way",
    }
    level = f"at confidence {float(share.confidence):.4g}"
    reason = f"{found}, {words[verdict]} {level} (one-sided Clopper–Pearson, if the rows are independent draws)."
    return _result(obligation, verdict, reason, rows, warnings=(INDEPENDENT,))


def _result(obligation: Obligation, verdict: Verdict, reason: str, rows: Rows, **details: object) -> RuleResult:
    rule = obligation.rule
    return RuleResult(
        rule=rule.name,
        severity=rule.severity,
        verdict=verdict,
        reason=reason,
        coverage=0.0 if verdict is Verdict.UNKNOWN else 1.0,
        engine="rows",
        work=Work(points=len(rows)),
        **details,  # type: ignore[arg-type]
    )
