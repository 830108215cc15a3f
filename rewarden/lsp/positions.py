"""Positions as editors count them, and offsets as Python does.

An editor names a place by line and by code units within the line: those of UTF-16 unless both sides agree on others. A
place past the end of a line means that end, and one past the last line the end of the text, so that every position
an editor may send has an offset, and every offset a position inside the text.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal

_LONE = re.compile("[\\ud800-\\udfff]")

Encoding = Literal["utf-8", "utf-16", "utf-32"]
Position = tuple[int, int]  # line and code unit, both from 0


def normalised(text: str) -> str:
    """The text with `\\n` for every line end, and a replacement character for each half of a surrogate pair that stands
    alone (JSON can carry one, UTF-8 cannot). Lines and the places within them stay the same."""
    return _LONE.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n").replace("\r", "\n"))


@dataclass(frozen=True, slots=True)
class Lines:
    """A normalised text and where its lines start."""

    text: str
    encoding: Encoding
    starts: tuple[int, ...]

    @classmethod
    def of(cls, text: str, encoding: Encoding = "utf-16") -> Lines:
        return cls(text, encoding, (0, *(k + 1 for k, c in enumerate(text) if c == "\n")))

    def offset(self, line: int, unit: int) -> int:
        """The character at that position; a position inside a character means its start."""
        if line < 0:
            return 0
        if line >= len(self.starts):
            return len(self.text)
        start, end = self.starts[line], self._end(line)
        if self.encoding == "utf-32" or self.text[start:end].isascii():
            return min(start + max(unit, 0), end)
        for offset in range(start, end):
            unit -= self._width(self.text[offset])
            if unit < 0:
                return offset
        return end

    def position(self, offset: int) -> Position:
        offset = max(0, min(offset, len(self.text)))
        line = bisect_right(self.starts, offset) - 1
        before = self.text[self.starts[line] : offset]
        if self.encoding == "utf-32" or before.isascii():
            return line, len(before)
        return line, sum(self._width(c) for c in before)

    def _end(self, line: int) -> int:
        return self.starts[line + 1] - 1 if line + 1 < len(self.starts) else len(self.text)

    def _width(self, character: str) -> int:
        if self.encoding == "utf-16":
            return 2 if ord(character) > 0xFFFF else 1
        return len(character.encode("utf-8", errors="surrogatepass"))
