"""The summary that a person reads: stable, so that two runs on the same inputs can be compared line by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from rewarden import exits
from rewarden.ci.outcome import Finding, Outcome, RuleOutcome, RunOutcome, Trouble
from rewarden.ci.policy import rule_status
from rewarden.ci.told import KeptResult
from rewarden.output import nearest_lines, paint, short, witness_lines
from rewarden.outputs.clean import line

STATUSES = {
    exits.PROVED: "nothing that counts is broken or open",
    exits.VIOLATED: "a rule that counts is broken, or a spec contradicts itself",
    exits.UNUSABLE: "something cannot be used as it is",
    exits.INCONCLUSIVE: "a rule that counts is neither proved nor violated",
    exits.REJECTED: "a certificate was not accepted",
    exits.INTERNAL: "Rewarden itself has failed",
    exits.INTERRUPTED: "interrupted",
}
_PAD = " " * 10


def summary_lines(outcome: Outcome, *, quiet: bool = False) -> list[str]:
    """`quiet`: only what needs attention."""
    found: list[str] = []
    for run in outcome.runs:
        told = list(_run_lines(run, outcome, quiet))
        found += [*told, ""] if told else []
    found += [f"note: {line(notice)}" for notice in outcome.notices]
    if not quiet or outcome.status:
        found += [counts(outcome), f"status {outcome.status}: {STATUSES[outcome.status]}"]
    return found


def error_lines(outcome: Outcome) -> list[str]:
    """What could not be done, in full: for stderr, whatever else is shown."""
    return [text for trouble in outcome.all_troubles() for text in trouble_lines(trouble)]


def counts(outcome: Outcome) -> str:
    """`5 proved, 1 violated (1 waived) of 6 rules in 2 specs`."""
    rules = list(outcome.rules())
    by_verdict = Counter(rule.result.verdict.value for rule in rules)
    words = ", ".join(f"{by_verdict[v]} {v}" for v in ("proved", "violated", "vacuous", "unknown") if by_verdict[v])
    waived = sum(rule.waiver is not None for rule in rules)
    known = sum(rule.known and rule.waiver is None for rule in rules)
    excused = [f"{count} {word}" for count, word in ((waived, "waived"), (known, "known")) if count]
    more = f" ({', '.join(excused)})" if excused else ""
    specs = len({run.file for run in outcome.runs})
    return f"{words or 'nothing'}{more} of {_many(len(rules), 'rule')} in {_many(specs, 'spec')}"


def standing(rule: RuleOutcome, fail_on: str) -> str:
    """In words, how the rule bears on the exit status; empty where it is proved."""
    if rule.waiver is not None:
        waiver = rule.waiver
        return f"waived by {waiver.owner} until {waiver.expires.isoformat()}: {waiver.reason}"
    if rule.excused:
        return "known from the baseline"
    if rule.result.verdict.value == "proved":
        return ""
    return "" if failing(rule, fail_on) else "does not count: a should rule"


def failing(rule: RuleOutcome, fail_on: str) -> bool:
    """Whether the exit status rests on it."""
    match fail_on:
        case "must" | "should" | "unknown":
            return rule_status(rule, fail_on) != exits.PROVED
    raise AssertionError(f"no threshold is called {fail_on}")


def details(rule: RuleOutcome) -> list[str]:
    """Why, and the record for which the rule fails: of text a text, where one is known, and not its vector."""
    result = rule.result
    if isinstance(result, KeptResult):
        return list(result.details)
    told = [] if rule.text is None else rule.text.lines(violated=result.verdict.value == "violated")
    if result.witness is None:
        return [line(result.reason), *map(line, told)]
    found = [line(text) for text in told] + witness_lines(result.witness, vectors=rule.text is None)
    for row in result.nearest:
        found += nearest_lines(row, len(result.nearest) > 1)
    return [line_ for text in found for line_ in text.split("\n")]


def trouble_lines(trouble: Trouble | Finding) -> list[str]:
    """As compilers say it: what, where, and the way out."""
    word = trouble.severity if isinstance(trouble, Finding) else "error"
    where = f"{line(str(trouble.place))}: " if trouble.place is not None else ""
    found = [f"{where}{word}[{trouble.code}]: {line(trouble.message)}"]
    return [*found, f"   = help: {line(trouble.help)}"] if trouble.help else found


def _run_lines(run: RunOutcome, outcome: Outcome, quiet: bool) -> Iterator[str]:
    if not quiet:
        about = [run.file, *([short(run.digest)] if run.digest else [])]
        about += [f"{name} = {place} {short(digest)}" for name, (place, digest) in (run.rewards or {}).items()]
        about += ["float32"] if run.semantics == "float32" else []
        yield "  ".join(line(text) for text in about)
    if run.troubles:
        yield f"{'unusable'.ljust(8)}  {line(run.file)}: {', '.join(dict.fromkeys(t.code for t in run.troubles))}"
    for finding in run.findings:
        if not quiet or finding.severity == "error":
            yield from trouble_lines(finding)
    shown = [rule for rule in run.rules if not quiet or failing(rule, outcome.fail_on)]
    width = max((len(rule.result.rule) for rule in shown), default=0)
    for rule in shown:
        yield from _rule_lines(rule, width, outcome.fail_on)


def _rule_lines(rule: RuleOutcome, width: int, fail_on: str) -> Iterable[str]:
    result = rule.result
    verdict = result.verdict.value
    head = f"{paint(verdict.ljust(8), verdict)}  {result.severity.ljust(6)}  {result.rule.ljust(width)}"
    yield f"{head}  {line(result.title)}".rstrip()
    if verdict != "proved":
        yield f"{_PAD}at {line(str(rule.place))}"
        yield from (_PAD + text for text in details(rule))
    if rule.broken:
        yield f"{_PAD}{rule.fingerprint}"
    how = standing(rule, fail_on)
    if how:
        yield _PAD + line(how)
    yield from (f"{_PAD}warning: {line(warning)}" for warning in result.warnings)


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
