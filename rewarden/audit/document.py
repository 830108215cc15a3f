"""A report as plain values, which the page and the PDF both render: headings, paragraphs, tables, pictures."""

from __future__ import annotations

import re
from dataclasses import dataclass

_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_STANDINGS = {
    "proved": "good", "accepted": "good", "violated": "bad", "vacuous": "bad", "rejected": "bad", "unknown": "open",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Word:
    """A verdict or the like, shown in its colour: proved, violated, unknown, accepted, …"""

    text: str

    @property
    def standing(self) -> str:
        """`good`, `bad`, `open`, or `plain` for a word that is none of these."""
        return _STANDINGS.get(self.text, "plain")


@dataclass(frozen=True, slots=True)
class Code:
    """Text of a file, a name or a digest."""

    text: str


Inline = str | Word | Code
Cell = tuple[Inline, ...] | Inline


@dataclass(frozen=True, slots=True)
class Heading:
    """`level` 1 is the document's title; `anchor` names a place that others may point at."""

    level: int
    text: str
    anchor: str | None = None


@dataclass(frozen=True, slots=True)
class Paragraph:
    parts: tuple[Inline, ...]
    fine: bool = False


@dataclass(frozen=True, slots=True)
class Bullets:
    items: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Every table has a caption, for those who hear it, and a row of headings. `shares`: relative widths."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    shares: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Lines:
    """Source text with its line numbers."""

    caption: str
    lines: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG; `says` is its caption, and `alt` tells those who do not see it what it shows."""

    svg: str
    says: str
    alt: str = ""


Block = Heading | Paragraph | Bullets | Table | Lines | Picture


@dataclass(frozen=True, slots=True)
class Document:
    title: str
    blocks: tuple[Block, ...]


def inlines(cell: Cell) -> tuple[Inline, ...]:
    """A cell's parts."""
    return cell if isinstance(cell, tuple) else (cell,)


def harmless(text: str) -> str:
    """Without characters that steer a terminal or turn the direction of writing: the words are a stranger's."""
    return _STEERING.sub("\N{REPLACEMENT CHARACTER}", text)
