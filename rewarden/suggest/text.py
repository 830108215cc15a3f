"""The commented spec: candidates with their figures, assumptions to uncomment, and what to make of both."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rewarden.output import paint
from rewarden.spec_lang.format.formatter import format_text
from rewarden.spec_lang.numerals import decimal
from rewarden.suggest.candidate import Candidate
from rewarden.suggest.correlations import Assumption
from rewarden.suggest.figures import Tally
from rewarden.suggest.friendly import above, share_text, short

WIDTH = 110


@dataclass(frozen=True, slots=True, eq=False)
class Suggestion:
    """A candidate and how well it holds: on the rows that it was looked for on, on points of its domain, for the
    verifier."""

    candidate: Candidate
    on_rows: Tally
    on_points: Tally
    verdict: str
    verdict_text: str
    example: str = ""  # where it fails worst, among rows and points
    warnings: tuple[str, ...] = ()


def spec_text(header: str, origin: str, suggestions: Sequence[Suggestion], assumptions: Sequence[Assumption]) -> str:
    """The whole file, in the one format: declarations as they were, then what is suggested."""
    first, _, rest = header.partition("\n")
    blocks = [f"{first}\n\n" + _comment(_INTRODUCTION.format(origin=origin)), rest.strip("\n")]
    if assumptions:
        blocks.append(_comment(_ASSUMING))
        blocks += [_assumption(assumption) for assumption in assumptions]
    blocks += [f"{_figures(suggestion)}\n{suggestion.candidate.text()}" for suggestion in suggestions]
    return format_text("\n\n".join(block for block in blocks if block) + "\n")


_INTRODUCTION = (
    "Suggestions of `rewarden suggest`, from {origin}. They say how the reward and the data are, not how they should "
    "be: keep a rule that you mean, correct its numbers, make it `must`, give it an id, and delete the others. Counts "
    "are exact; counts on points and rows are no proof."
)
_ASSUMING = (
    "Relations that all recorded rows satisfy. An assumption narrows every proof to records that satisfy it: uncomment "
    "one only if it is true of everything that can occur, not just of what was recorded."
)


def _assumption(assumption: Assumption) -> str:
    return "\n".join([*(_comment(line) for line in assumption.lines), f"# {assumption.text}"])


def _figures(suggestion: Suggestion) -> str:
    candidate = suggestion.candidate
    lines = [_comment(remark) for remark in candidate.remarks]
    if suggestion.on_rows.count:
        lines.append(_comment(f"{held_text(suggestion.on_rows)} {candidate.looked_at}"))
    lines.append(_comment(f"{held_text(suggestion.on_points)} points of its domain"))
    worst = min(suggestion.on_rows.worst, suggestion.on_points.worst)
    if not (_everywhere(suggestion.on_rows) and _everywhere(suggestion.on_points)) and worst < 0:
        lines.append(_comment(f"fails by {short(-worst)} at most there{suggestion.example}"))
        if candidate.slack is not None and -worst <= candidate.slack_worth:
            lines.append(_comment(f"loosened, it holds there: expect {candidate.slack.format(decimal(above(-worst)))}"))
    lines.append(_comment(suggestion.verdict_text))
    lines += [_comment(f"warning: {warning}") for warning in suggestion.warnings]
    return "\n".join(lines)


def held_text(tally: Tally) -> str:
    """`holds on 1998 of 2000 (99.9 %)`."""
    if tally.count == 0:
        return "not tried on any"
    open_text = f", {tally.undecided} undecided" if tally.undecided else ""
    return f"holds on {tally.held} of {tally.count} ({share_text(tally.held, tally.count)}{open_text})"


def _everywhere(tally: Tally) -> bool:
    return tally.count == 0 or tally.everywhere


def _comment(text: str) -> str:
    wrapped = textwrap.wrap(text, WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"# {line}" for line in wrapped)


def summary_lines(suggestions: Sequence[Suggestion], assumptions: Sequence[Assumption]) -> list[str]:
    """For the terminal: a line for each, figures first."""
    lines: list[str] = []
    rows = [(s.candidate.name, _brief(s.on_rows), _brief(s.on_points), s.verdict) for s in suggestions]
    if rows:
        heads = ("rule", "rows", "points", "verifier")
        widths = [max(len(head), *(len(row[k]) for row in rows)) for k, head in enumerate(heads)]
        table = [heads, *rows]
        for number, row in enumerate(table):
            cells = [row[0].ljust(widths[0]), row[1].rjust(widths[1]), row[2].rjust(widths[2])]
            last = row[3] if number == 0 else paint(row[3], row[3])
            lines.append("  ".join(["", *cells, last]))
    lines += [f"  {assumption.text}" for assumption in assumptions]
    return lines


def _brief(tally: Tally) -> str:
    return share_text(tally.held, tally.count) if tally.count else "-"
