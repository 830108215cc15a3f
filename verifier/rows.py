"""Rules over rows of data: every row is judged exactly, so the answer is always a verdict.

Without `share` every row that satisfies the premise has to satisfy the conclusion. With it k of n such rows do, and
k/n is compared with the level, or else the one-sided bound of Clopper and Pearson is (`spec_lang/share_counts.py`).
That rows are independent is then an assumption, and is printed.
"""

from __future__ import annotations

import numpy as np

from rewarden.reward.deployed import forward
from rewarden.spec_lang.obligation import Obligation, Share, Var
from rewarden.spec_lang.share_counts import judged
from rewarden.verifier.pointwise import Bound, Rows, calls_of, whole_premise, witness_at
from rewarden.verifier.verdict import Reason, RuleResult, Verdict, Work

INDEPENDENT = "The confidence assumes that the rows are independent draws of what it is about."


def verify_rows(obligation: Obligation, bound: Bound) -> RuleResult:
    """The verdict on a rule over data rows (`obligation.over_rows`), exact."""
    rows = rows_of(obligation)
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
    level = f"{float(share.confidence):.4g}"
    reason = f"{found}, {words[verdict]} at confidence {level} (one-sided Clopper–Pearson)."
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
