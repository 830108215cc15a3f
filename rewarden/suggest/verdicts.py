"""What the verifier says of the candidates, within a small budget: a draft should not take an afternoon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang import Spec
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.progress import Report
from rewarden.verifier.verdict import RuleResult

BUDGET = 2_000  # boxes
MOST_INSTANCES = 300  # rows of a rule near data: each is a box, or several, of its own
OPTIONS = VerifyOptions(budget=BUDGET, falsify_budget=4_000, z3_rlimit=200_000)


def verdicts(
    spec: Spec, rules: Sequence[str], rewards: Mapping[str, Artifact], progress: Report | None
) -> dict[str, RuleResult]:
    """By rule, for those that are quick to try."""
    from rewarden import api

    quick = [rule for rule in rules if _instances(spec, rule) <= MOST_INSTANCES]
    if not quick:
        return {}
    result = api.verify(spec, OPTIONS, rules=quick, rewards=rewards, progress=progress)
    return {found.rule: found for found in result}


def _instances(spec: Spec, rule: str) -> int:
    instances = spec.obligation(rule).instances
    return 1 if instances is None else len(instances.anchors)


def in_words(result: RuleResult | None) -> tuple[str, str]:
    """A word for the summary and a sentence for the spec."""
    if result is None:
        return "not tried", "not tried by the verifier: too many rows for a draft"
    if result.claim is None:
        return "no engine", result.reason
    match str(result.verdict):
        case "proved":
            by_z3 = ", by z3" if "z3" in (result.engine or "") else ""
            return "proved", f"proved (budget {BUDGET}{by_z3})"
        case "violated":
            by = float(result.witness.violation) if result.witness is not None else 0.0
            return "violated", f"violated: the verifier found a record that breaks it, by {by:.3g}"
        case "vacuous":
            return "vacuous", "vacuous: no record satisfies its premise"
    return "open", f"neither proved nor violated (budget {BUDGET}); settled: {100 * result.coverage:.0f} %"
