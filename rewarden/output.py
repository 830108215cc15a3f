"""What the commands print: verdicts per rule, witnesses as named features with units.

Plain text, coloured on a terminal only (and not where NO_COLOR is set). The functions make lines; `emit` prints them.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from rewarden.atomic import write_text
from rewarden.spec_lang.diagnostics import printable

if TYPE_CHECKING:
    from rewarden.text.told import TextTold
    from rewarden.verifier.nearest import Difference, NearestRow
    from rewarden.verifier.verdict import RuleResult, VerificationResult
    from rewarden.verifier.witness import Witness

_T = TypeVar("_T")

STDOUT: Final = Path("-")
"""What names standard output where a file is asked for. What is written there is all that is: no words beside it."""

LONG: Final = 16
"""Numbers of a vector that are shown one by one; JSON has all."""

_COLOURS: Final = {
    "proved": "32",
    "accepted": "32",
    "violated": "31",
    "rejected": "31",
    "vacuous": "31",
    "unknown": "33",
    "faint": "2",
    "strong": "1",
}


def paint(text: str, style: str) -> str:
    """`text` in the colour of that word, where stdout is a terminal."""
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ or style not in _COLOURS:
        return text
    return f"\033[{_COLOURS[style]}m{text}\033[0m"


def emit(lines: Iterable[str]) -> None:
    """Print lines to stdout."""
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


def put_json(value: object, file: Path) -> None:
    """Write JSON to a file, or to stdout for `-`."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if file == STDOUT:
        sys.stdout.buffer.write(text.encode("utf-8"))
        sys.stdout.flush()
    else:
        write_text(file, text)


def note(text: str) -> None:
    """Say something that is not a result: to stderr, without characters that command a terminal."""
    sys.stderr.write("\n".join(printable(line) for line in text.split("\n")) + "\n")


def short(digest: str) -> str:
    """The first characters of a digest, enough to tell artifacts apart by eye."""
    return digest[: len("sha256:") + 12]


def number(value: float) -> str:
    """Six significant digits, never in scientific notation for everyday sizes."""
    return f"{value:.6g}"


def header_lines(spec: Path, spec_digest: str, rewards: Mapping[str, tuple[Path, str]]) -> list[str]:
    """What is being looked at; `rewards` maps name to (place, digest)."""
    rows = [("spec", "", str(spec), short(spec_digest))]
    rows += [("reward", name, str(place), short(digest)) for name, (place, digest) in rewards.items()]
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    return ["  ".join([r[0].ljust(widths[0]), r[1].ljust(widths[1]), r[2].ljust(widths[2]), r[3]]) for r in rows]


def result_lines(result: VerificationResult, *, quiet: bool = False, witnesses: bool = True) -> list[str]:
    """A line per rule, with title, and reason and witness below those that are not proved."""
    shown = [r for r in result.rules if not (quiet and str(r.verdict) == "proved")]
    width = max((len(r.rule) for r in shown), default=0)
    texts: Mapping[str, TextTold] = getattr(result, "texts", {})
    lines: list[str] = []
    for rule in shown:
        lines += _rule_lines(rule, width, witnesses)
        if rule.rule in texts and witnesses:
            told = texts[rule.rule].lines(violated=str(rule.verdict) == "violated")
            lines += [" " * 10 + printable(line) for line in told]
    if not quiet:
        lines += ["", summary(result.rules)]
        kept = sum(r.cached for r in result.rules)
        if kept:
            lines.append(f"{kept} of these verdicts {'is' if kept == 1 else 'are'} from earlier runs (--no-cache)")
    return lines


def summary(rules: Sequence[RuleResult]) -> str:
    """`5 proved, 1 violated of 6 rules; 4 of 5 must rules proved`."""
    counts = Counter(str(r.verdict) for r in rules)
    words = ", ".join(f"{counts[v]} {v}" for v in ("proved", "violated", "vacuous", "unknown") if counts[v])
    must = [r for r in rules if r.severity == "must"]
    proved = sum(str(r.verdict) == "proved" for r in must)
    noun = "rule" if len(rules) == 1 else "rules"
    return f"{words or 'nothing'} of {len(rules)} {noun}; {proved} of {len(must)} must rules proved"


def _rule_lines(rule: RuleResult, width: int, witnesses: bool) -> list[str]:
    verdict = str(rule.verdict)
    head = f"{paint(verdict.ljust(8), verdict)}  {rule.severity.ljust(6)}  {rule.rule.ljust(width)}"
    lines = [f"{head}  {printable(rule.title)}".rstrip()]
    pad = " " * 10
    if verdict == "unknown":
        lines.append(f"{pad}{rule.reason} Settled: {rule.coverage:.1%}." if rule.coverage else f"{pad}{rule.reason}")
        lines += [f"{pad}open: {line}" for line in _open_lines(rule)]
    elif verdict == "vacuous":
        lines.append(pad + rule.reason)
    if verdict == "violated" and witnesses:
        if rule.where:
            lines.append(f"{pad}{paint('at ' + rule.where, 'faint')}")
        if rule.witness is not None:
            lines += [pad + line for line in witness_lines(rule.witness)]
        lines += [pad + line for row in rule.nearest for line in nearest_lines(row, len(rule.nearest) > 1)]
    if rule.coverage_details is not None:
        from rewarden.coverage_lines import coverage_lines

        lines += [pad + line for line in coverage_lines(rule.coverage_details)]
    lines += [f"{pad}warning: {warning}" for warning in rule.warnings]
    return lines


def _open_lines(rule: RuleResult) -> list[str]:
    """Where a rule is open; its coverage, where there is one, says so too."""
    return rule.unsettled.lines() if rule.unsettled is not None and rule.coverage_details is None else []


def witness_lines(witness: Witness, *, vectors: bool = True) -> list[str]:
    """The record(s) as a small table, the rewards there, and by how much the conclusion fails.

    Without `vectors` they are left out: where they stand for texts, and the texts are shown.
    """
    rows = [
        (record.name if first else "", feature.name, value_text(feature.value), feature.unit or "")
        for record in witness.records
        for first, feature in _firsts([f for f in record.features if vectors or not isinstance(f.value, tuple)])
    ]
    widths = [max((len(row[k]) for row in rows), default=0) for k in range(3)]
    lines = [
        f"{name.ljust(widths[0])}  {feature.ljust(widths[1])}  {value.rjust(widths[2])} {unit}".rstrip()
        for name, feature, value, unit in rows
    ]
    for call in witness.calls:
        how = "exactly" if call.radius == 0 else "enclosed"
        lines.append(f"{call.text} = {number(float(call.exact))} {how}, {number(call.deployed)} as deployed")
    if witness.violation > 0:
        lines.append(f"the conclusion fails by {number(float(witness.violation))}")
    elif witness.goal is not None:
        lines.append("the conclusion fails by a tie: it asks for a strict inequality")
    return lines


def nearest_lines(row: NearestRow, several: bool) -> list[str]:
    """The data row that is nearest to a record of the witness, and what sets them apart."""
    name = f"{row.data}, {row.member}" if row.member else row.data
    what = f"nearest to {row.record}" if several else "nearest data row"
    if row.distance == 0:
        return [f"{what}: row {row.row} of {name}, which is the same"]
    apart = f"{100 * float(row.distance):.2g} % of a range apart, on average"
    differs = ", ".join(_difference(d) for d in row.differs)
    return [f"{what}: row {row.row} of {name}, {apart}: {differs}"]


def _difference(apart: Difference) -> str:
    unit = f" {apart.unit}" if apart.unit else ""
    if isinstance(apart.here, tuple):
        return f"{apart.feature} {100 * float(apart.apart):.2g} %"
    return f"{apart.feature} {value_text(apart.there)}{unit} there"


def value_text(value: object) -> str:
    """A feature's value as a person writes it."""
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return number(value)
        case tuple() | list() if len(value) > LONG:
            first = ", ".join(value_text(v) for v in value[:4])
            return f"[{first}, … {len(value)} numbers]"
        case tuple() | list():
            return "[" + ", ".join(value_text(v) for v in value) + "]"
        case _:
            return str(value)


def _firsts(items: Iterable[_T]) -> Iterable[tuple[bool, _T]]:
    return ((index == 0, item) for index, item in enumerate(items))
