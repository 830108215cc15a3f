"""An outcome as JUnit XML: a suite for each spec, a case for each rule.

What the exit status rests on is a failure (broken) or an error (open, or unusable); what is broken or open and counts
for nothing is skipped, with the reason.
"""

from __future__ import annotations

from io import BytesIO

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from rewarden.ci.outcome import Finding, Outcome, RuleOutcome, RunOutcome, Trouble
from rewarden.outputs.clean import line, xml
from rewarden.outputs.words import details, failing, standing, trouble_lines


def bytes_of(outcome: Outcome) -> bytes:
    """UTF-8, with its declaration."""
    document = JUnitXml("rewarden")
    for run in outcome.runs:
        document.add_testsuite(_suite(run, outcome.fail_on))
    if outcome.troubles:
        suite = TestSuite("rewarden")
        suite.add_testcases([_broken(trouble, "rewarden") for trouble in outcome.troubles])
        document.add_testsuite(suite)
    document.update_statistics()  # type: ignore[no-untyped-call]
    written = BytesIO()
    document.write(written, pretty=True)
    return written.getvalue()


def _suite(run: RunOutcome, fail_on: str) -> TestSuite:
    suite = TestSuite(xml(run.file))
    about = run.spec or run.file
    suite.add_testcases([_case(rule, about, fail_on) for rule in run.rules])
    suite.add_testcases([_broken(finding, about) for finding in run.findings if finding.severity == "error"])
    suite.add_testcases([_broken(trouble, about) for trouble in run.troubles])
    return suite


def _case(rule: RuleOutcome, about: str, fail_on: str) -> TestCase:
    told = rule.result
    verdict = told.verdict.value
    case = TestCase(xml(told.rule), xml(about))
    if verdict == "proved":
        return case
    said = f"{verdict}: {line(told.title) or told.rule}"
    if failing(rule, fail_on):
        broken = Failure(xml(said), verdict) if rule.broken else Error(xml(said), "inconclusive")
        broken.text = xml("\n".join([f"at {rule.place}", *details(rule), rule.fingerprint]))
        case.result = [broken]
    else:
        case.result = [Skipped(xml(f"{said}: {line(standing(rule, fail_on))}"), verdict)]
    return case


def _broken(said: Finding | Trouble, about: str) -> TestCase:
    """Something that is wrong with a spec, or on the way to it, as a case of its own."""
    case = TestCase(xml(f"{said.code} at {said.place}" if said.place is not None else said.code), xml(about))
    found = Failure if isinstance(said, Finding) else Error
    result = found(xml(line(said.message)), said.code)
    result.text = xml("\n".join(trouble_lines(said)))
    case.result = [result]
    return case
