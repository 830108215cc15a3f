"""The figures in docs/tool-confidence.md, from a run of the tests.

    .venv/bin/python -m tests.reference.confidence_page RESULTS.xml [MORE.xml …]
    .venv/bin/python -m tests.reference.confidence_page --check

RESULTS.xml is pytest's --junit-xml: the figures are counted, nobody keeps them by hand. They are written with the day,
the commit and a digest of the sources that they are of, so that nobody can take figures of other sources for those of
these: `--check` says whether they are, with exit status 1 where not. Make the page right after the run.
"""

from __future__ import annotations

import hashlib
import platform
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from rewarden import __version__

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tool-confidence.md"
PURPOSES = {
    "architecture": "who may import whom, error codes, the public interface, the size of the kernel",
    "unit": "one part at a time, defects that were found, bad input",
    "property": "laws over random cases (hypothesis): exact against deployed, patches, histories, comparisons",
    "differential": "two implementations against each other: engines, kernel and prover, the language and a slow "
    "evaluator, parsers, Z3",
    "soundness": "wrong verdicts looked for: random networks judged by Z3 and by enumeration, rounding, attacks from "
    "papers, forged and mutated proofs",
    "golden": "texts that must not change by accident",
    "e2e": "whole commands and the demo, the pages' examples, real tools (pytest, pre-commit)",
    "imitation": "another library's own reward networks (in an environment of its own)",
}
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
SOURCES = ("spec_lang", "reward", "verifier", "editor", "rewarden", "tests")
FORM = re.compile(
    r"^Rewarden (?P<version>\S+), (?P<day>\d{4}-\d\d-\d\d), "
    r"commit (?P<commit>[0-9a-f]{7,40}|unknown)(?: with changes)?, "
    r"sources (?P<sources>[0-9a-f]{16}), Python ",
    re.MULTILINE,
)


def sources_digest() -> str:
    """16 hexadecimal digits over all Python files and grammars of Rewarden and of its tests, with their names."""
    digest = hashlib.sha256()
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".lark") and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(ROOT).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def stated(text: str) -> re.Match[str]:
    """What the page says its figures are of. ValueError where it does not say it."""
    found = FORM.search(text.partition(BEGIN)[2].partition(END)[0])
    if found is None:
        raise ValueError("the figures do not say of which day, commit and sources they are")
    return found


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changes = " with changes" if git("status", "--porcelain", *SOURCES) else ""
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + changes


def figures(results: Sequence[Path]) -> str:
    """The lines between the marks, from one or several runs; a test in several of them counts as in the last."""
    cases: dict[str, str] = {}
    seconds = 0.0
    when = ""
    for path in results:
        for suite in ET.parse(path).getroot().iter("testsuite"):
            seconds += float(suite.get("time", "0"))
            when = max(when, suite.get("timestamp", "")[:10])
        for case in ET.parse(path).getroot().iter("testcase"):
            outcome = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
            cases[f"{case.get('classname')}::{case.get('name')}"] = outcome
    by_purpose: dict[str, Counter[str]] = defaultdict(Counter)
    for name, outcome in cases.items():
        by_purpose[name.split(".")[1] if name.startswith("tests.") else "other"][outcome] += 1
    total = Counter(cases.values())
    rows = [
        f"| {purpose} | {sum(found.values())} | {found['passed']} | {found['skipped']} | "
        f"{found['failure'] + found['error']} | {PURPOSES.get(purpose, '')} |"
        for purpose, found in sorted(by_purpose.items())
    ]
    lines = [
        f"Rewarden {__version__}, {when}, commit {_commit()}, sources {sources_digest()}, "
        f"Python {platform.python_version()}, torch {version('torch')}, "
        f"z3-solver {version('z3-solver')}, on {platform.machine()}: {len(cases):,} tests, {total['passed']:,} passed, "
        f"{total['skipped']} skipped, {total['failure'] + total['error']} failed; {seconds:,.0f} s of wall-clock time.",
        "",
        "| purpose | tests | passed | skipped | failed | what it is for |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
    ]
    return "\n".join(lines)


def check(text: str) -> str | None:
    """What is wrong with the figures, in a sentence; None where they are of these very sources."""
    found = stated(text)
    if found["sources"] == sources_digest():
        return None
    return (
        f"the figures of {PAGE.name} are of {found['day']} and commit {found['commit']}; the sources are others now:"
        " run the tests with --junit-xml and make the page again"
    )


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    if sys.argv[1:] == ["--check"]:
        wrong = check(text)
        print(wrong or f"the figures of {PAGE.name} are of these very sources")
        sys.exit(wrong is not None)
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    PAGE.write_text(
        f"{before}{BEGIN}\n{figures([Path(name) for name in sys.argv[1:]])}\n{END}{after}", encoding="utf-8"
    )
