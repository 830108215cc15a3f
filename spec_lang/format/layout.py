"""A small layout algebra: text, gaps that may become line breaks, and groups that break as one.

After Wadler, "A prettier printer" (2003), with greedy choice: a group is set on one line where it fits with whatever
follows it up to the next possible break, else all of its own gaps become line breaks. Comments live in gaps. A gap with
a comment is always a line break, since a comment reaches to the end of its line, and so is every group around it.

Linear: every width is summed once, when a block is made, and looking ahead stops at the line's width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Literal

from rewarden.spec_lang.format.comments import NOTHING, Between
from rewarden.spec_lang.format.rows import Row, attach, own_lines, trailing

_ENDLESS = 1 << 30
"""The width of what cannot stand on one line."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Between two tokens: `flat`, or a line break `indent` deeper than what is around."""

    flat: str
    breaks: Literal["never", "with its group", "always"] = "never"  # without comments
    indent: int = 0
    held: Between = NOTHING
    comment_indent: int = 0  # of comments on lines of their own, beyond the indent
    blanks: bool = False  # single blank lines are kept

    @property
    def forced(self) -> bool:
        return self.breaks == "always" or bool(self.held.comments)

    @property
    def width(self) -> int:
        return _ENDLESS if self.forced else len(self.flat)


@dataclass(frozen=True, slots=True)
class Block:
    """Parts in a row. The gaps of a group break together; those of another block break with the group around it."""

    parts: tuple[Doc, ...]
    indent: int
    group: bool
    width: int  # on one line


Doc = str | Gap | Block


def block(*parts: Doc, indent: int = 0, group: bool = False) -> Block:
    return Block(parts, indent, group, min(_ENDLESS, sum(width(part) for part in parts)))


def width(doc: Doc) -> int:
    """The width on one line."""
    return len(doc) if isinstance(doc, str) else doc.width


def fits_a_line(doc: Doc) -> bool:
    """Nothing in it must be broken."""
    return width(doc) < _ENDLESS


def render(doc: Doc, limit: int) -> list[Row]:
    """The rows of a document, at most `limit` wide where its gaps allow that; comments are beyond the limit."""
    page = _Page()
    stack: list[tuple[Doc, int, bool]] = [(doc, 0, True)]  # with the indent and whether gaps around it break
    while stack:
        part, indent, broken = stack.pop()
        match part:
            case str():
                page.write(part)
            case Gap() if part.forced or (broken and part.breaks != "never"):
                page.turn(part, indent + part.indent)
            case Gap():
                page.write(part.flat)
            case Block():
                if part.group:
                    room = limit - page.column - part.width
                    broken = room < 0 or not _follows(stack, room)
                inner = indent + part.indent
                stack.extend((p, inner, broken) for p in reversed(part.parts))
    page.end()
    return page.rows


def _follows(stack: Sequence[tuple[Doc, int, bool]], room: int) -> bool:
    """Whether what stands on the stack, its end first, fits up to its first possible break."""
    ahead: list[Iterator[tuple[Doc, bool]]] = [((doc, broken) for doc, _, broken in reversed(stack))]
    while ahead and room >= 0:
        part, broken = next(ahead[-1], (None, False))
        match part:
            case None:
                ahead.pop()
            case str():
                room -= len(part)
            case Gap() if part.forced or (broken and part.breaks != "never"):
                return True
            case Gap():
                room -= len(part.flat)
            case Block():
                ahead.append(zip(part.parts, repeat(broken)))
    return room >= 0


class _Page:
    """Mutable: the rows so far and the row being written."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.column = 0
        self._pieces: list[str] = []

    def write(self, text: str) -> None:
        self._pieces.append(text)
        self.column += len(text)

    def turn(self, gap: Gap, indent: int) -> None:
        """Break the line; the gap's comments come between."""
        self.end()
        comments = gap.held.comments
        count = trailing(comments)
        attach(self.rows, comments[:count])
        self.rows.extend(own_lines(comments[count:], indent + gap.comment_indent, blanks=gap.blanks))
        if gap.blanks and gap.held.blank:
            self.rows.append(Row(""))
        self._pieces = [" " * indent]
        self.column = indent

    def end(self) -> None:
        self.rows.append(Row("".join(self._pieces)))
        self._pieces = []
