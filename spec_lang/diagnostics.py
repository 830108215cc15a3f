"""Diagnostics as text: code, place, the lines with their underlines, a related place, the way out.

The form is language.md's, plain text without colour:

    error[U02]: cannot compare m/s with m
      --> warehouse.rwd:33:24
       |
    33 |   given risky(s) and s.speed > 0.5 [m]
       |                      ^^^^^^^   ^^^^^^^ length
       |                      velocity
       = help: write 0.5 [m/s]

The place names the last part of a dotted path (the field that was looked up), while the whole path is
underlined. Text from the file is shown with control characters replaced: a spec cannot steer a terminal.
"""

from __future__ import annotations

from difflib import get_close_matches
from heapq import nsmallest
from typing import TYPE_CHECKING

from rewarden.spec_lang.source import Span

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rewarden.spec_lang.errors import Diagnostic, Label

WINDOW = 160
"""Characters of a source line that are shown; longer lines are cut around the underlines."""
_LONGEST, _COMPARED = 80, 200  # characters, and names of the nearest lengths, that "did you mean" looks at


def render(diagnostic: Diagnostic) -> str:
    """The diagnostic in the form above; lines carry no trailing white space, no final newline."""
    lines = [f"{diagnostic.severity}[{diagnostic.code}]: {printable(diagnostic.message)}"]
    width = 2
    if diagnostic.labels:
        numbers = sorted({label.span.line for label in diagnostic.labels})
        width = len(str(numbers[-1]))
        lines.append(f"{' ' * width}--> {place(diagnostic.labels[0].span)}")
        lines.append(f"{' ' * width} |")
        for number in numbers:
            lines.extend(_snippet(number, [d for d in diagnostic.labels if d.span.line == number], width))
    if diagnostic.related is not None:
        lines.append(f"{' ' * width} = related: {printable(diagnostic.related)}")
    if diagnostic.help is not None:
        lines.append(f"{' ' * width} = help: {printable(diagnostic.help)}")
    return "\n".join(line.rstrip() for line in lines)


def place(span: Span) -> str:
    """`file:line:column`, at the last name of a dotted path."""
    text = span.text
    column = span.column
    if "\n" not in text and all(part.isidentifier() for part in text.split(".")):
        column += text.rfind(".") + 1
    return f"{printable(span.source.name)}:{span.line}:{column}"


def printable(text: str) -> str:
    """The text with control characters and line breaks replaced."""
    return "".join(c if c.isprintable() else " " if c in "\t\r\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """`did you mean speed?`, or None when nothing known is close."""
    if len(name) > _LONGEST:
        return None
    near = nsmallest(_COMPARED, {k for k in known if len(k) <= _LONGEST}, key=lambda k: (abs(len(k) - len(name)), k))
    close = get_close_matches(name, sorted(near), n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else None


def _snippet(number: int, labels: list[Label], width: int) -> list[str]:
    """One source line, a row of underlines ending in the last label's text, then one row per other text."""
    line = labels[0].span.source.line(number)
    ends = [(d.span.column - 1, _end_column(d.span, line), d.text) for d in labels]
    ends.sort()
    shift = 0
    if len(line) > WINDOW:
        shift = max(0, min(ends[0][0] - WINDOW // 4, len(line) - WINDOW))
        line = line[shift : shift + WINDOW]
    ends = [(max(0, a - shift), max(1, min(b - shift, WINDOW)), text) for a, b, text in ends if a - shift < WINDOW]
    marks = [" "] * max(b for _, b, _ in ends)
    for a, b, _ in ends:
        marks[a : max(b, a + 1)] = "^" * (max(b, a + 1) - a)
    gutter = f"{' ' * width} | "
    rows = [f"{number:>{width}} | {printable(line)}", f"{gutter}{''.join(marks)} {printable(ends[-1][2])}"]
    rows.extend(f"{gutter}{' ' * a}{printable(text)}" for a, _, text in ends[-2::-1] if text)
    return rows


def _end_column(span: Span, line: str) -> int:
    """0-based end of the span on its first line."""
    first = span.text.split("\n", 1)[0]
    return min(span.column - 1 + max(1, len(first)), max(len(line), span.column))
