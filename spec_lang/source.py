"""Source text and spans in it."""

from __future__ import annotations

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

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"
