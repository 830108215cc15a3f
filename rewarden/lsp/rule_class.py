"""How hard a rule is, the expression that makes it so, and which engines can decide it: told without any reward."""

from __future__ import annotations

from dataclasses import dataclass

from rewarden.spec_lang.analysis import Analysis
from rewarden.spec_lang.classify import classify
from rewarden.spec_lang.engines import engines_of
from rewarden.spec_lang.lower import Lowered
from rewarden.spec_lang.obligation import Obligation
from rewarden.spec_lang.source import Span

_ENGINES = {"bounds": "bounds", "z3": "Z3", "rows": "evaluating every row"}


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """`because` is the expression that put the rule into its class, where one did."""

    kind: str
    because: Span | None
    engines: str


def facts_of(analysis: Analysis, rule: str) -> RuleFacts | None:
    """None while the spec has errors. No data are read."""
    lowered = None if analysis.spec is None else analysis.spec.lowered.get(rule)
    if lowered is None:
        return None
    obligation = _largest(lowered)
    kind, because = classify(obligation)
    match lowered.kind:
        case "rows" | "share":
            name, reason = "data", None
        case "near" if lowered.away is None:
            name, reason = f"data, {kind}", because
        case "trace" | "cycle":
            name, reason = f"trace, {kind}", because
        case _:
            name, reason = kind, because
    found = engines_of(lowered.kind, (obligation,))
    engines = " and ".join(_ENGINES.get(engine, engine) for engine in found.names)
    told = engines or f"a search for violations only; no engine proves it: {found.reason}"
    return RuleFacts(name, None if reason is None or reason == lowered.info.span else reason, told)


def _largest(lowered: Lowered) -> Obligation:
    """Of the lengths of a trace the longest; of a cycle, which has any length, one of two records."""
    if lowered.unroll is None:
        return lowered.obligation
    return lowered.unroll(max(lowered.lengths, default=2))
