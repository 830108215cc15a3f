"""A spec's rules to verdicts: bind each to the artifacts, decide it, and say where it came from."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.errors import Unsupported, UsageError
from rewarden.spec_lang.obligation import Obligation
from rewarden.verifier.bind import bind_obligation, check_reward
from rewarden.verifier.decision import stopping, verify_claim
from rewarden.verifier.falsify import Rows
from rewarden.verifier.identified import warnings_of
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.progress import Report, Stop
from rewarden.verifier.starts import Array
from rewarden.verifier.verdict import RuleResult, Verdict, VerificationResult

if TYPE_CHECKING:
    from rewarden.spec_lang import Spec

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
        try:
            obligation = spec.obligation(name)
            claim = bind_obligation(spec, obligation, rewards)
            plain = verify_claim(claim, rewards, _rest(chosen, started), rows=rows, progress=progress, stop=stopped)
            results.append(_with_provenance(plain, obligation, rewards))
        except Unsupported as error:
            results.append(_unsupported(spec, name, error))
    digests = {name: artifact.digest for name, artifact in rewards.items()}
    return VerificationResult(tuple(results), spec=spec.digest, rewards=digests)


def _rest(options: VerifyOptions, started: float) -> VerifyOptions:
    """The options with what is left of the time limit."""
    if options.time_limit is None:
        return options
    return replace(options, time_limit=max(1e-3, options.time_limit - (time.monotonic() - started)))


def _unsupported(spec: Spec, name: str, error: Unsupported) -> RuleResult:
    rule = next(r for r in spec.rules if r.name == name)
    reason = f"no engine for this rule: {error.message}"
    return RuleResult(
        rule=name,
        severity=rule.severity,
        verdict=Verdict.UNKNOWN,
        reason=reason,
        title=rule.title,
        where=str(rule.span),
    )


def _with_provenance(plain: RuleResult, obligation: Obligation, rewards: Mapping[str, Artifact]) -> RuleResult:
    rule = obligation.rule
    return replace(plain, title=rule.title, where=str(rule.span), warnings=warnings_of(obligation, rewards))


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
