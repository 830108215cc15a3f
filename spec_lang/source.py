"""Source text and spans in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Source:
    """A spec's text under the name that messages show."""

    name: str
    text: str = field(repr=False)

    def line(self, number: int) -> str:
        """The 1-based line, without its newline; empty past the end."""
        lines = self.text.split("\n")
        return lines[number - 1] if 1 <= number <= len(lines) else ""


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start..end` (end excluded) of a source; `line` and `column` are 1-based."""

    source: Source = field(repr=False)
    start: int
    end: int
    line: int
    column: int

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    def to(self, other: Span) -> Span:
        """From the start of this one to the end of the other."""
        return Span(self.source, self.start, max(self.end, other.end), self.line, self.column)

    def balanced(self) -> Span:
        """With the parentheses around its ends that it cuts in two, as from a to b in `(a) < (b)`."""
        depth = lowest = 0
        for mark in re.findall(r"#.*|[()]", self.text):
            depth += {"(": 1, ")": -1}.get(mark, 0)
            lowest = min(lowest, depth)
        text, start, end = self.source.text, self.start, self.end
        for _ in range(-lowest):
            place = _beside(text, start - 1, -1)
            start = place if text[place : place + 1] == "(" else start
        for _ in range(depth - lowest):
            place = _beside(text, end, 1)
            end = place + 1 if text[place : place + 1] == ")" else end
        lines = text.count("\n", start, self.start)
        column = start - text.rfind("\n", 0, start) if lines else self.column - (self.start - start)
        return Span(self.source, start, end, self.line - lines, column)

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"


def _beside(text: str, place: int, step: int) -> int:
    """The next character that is no white space, from `place` in steps of 1 or -1."""
    while 0 <= place < len(text) and text[place].isspace():
        place += step
    return max(place, 0)
