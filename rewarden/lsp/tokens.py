"""A text cut into tokens and items, whatever state it is in.

The parser's own lexer stops at the first mistake, and a text that somebody is typing has one most of the time. This
one never stops: what it cannot name is a mark of one character. It decides nothing about meaning.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rewarden.lsp.words import KEYWORDS
from rewarden.spec_lang.parser import ITEM_LINE

Kind = Literal["comment", "text", "unit", "number", "name", "mark"]

_TOKEN = re.compile(
    r"""(?P<comment>(?<![^\n])---[^\n]*|\#[^\n]*)
    |(?P<text>"(?:[^"\\\n]|\\[^\n])*"?)
    |(?P<unit>\[[^\]\[\n]*\])
    |(?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<mark>\.\.|[<>=!]=|\S)""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """`unit` is anything in closed square brackets: a unit, or an index."""

    kind: Kind
    text: str
    start: int
    end: int


def tokens_of(text: str, start: int = 0, end: int | None = None) -> tuple[Token, ...]:
    found = _TOKEN.finditer(text, start, len(text) if end is None else end)
    return tuple(Token(m.lastgroup, m[0], m.start(), m.end()) for m in found)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Item:
    """From an item's first word to the next item; the part before the first one begins with `spec`."""

    start: int
    end: int
    tokens: tuple[Token, ...]  # comments aside

    @property
    def word(self) -> str:
        """`must`, `let`, …; empty where the part before the first item has no word."""
        return self.tokens[0].text if self.tokens else ""

    @property
    def name(self) -> str:
        """What is declared, as far as the second word says so."""
        return self.tokens[1].text if len(self.tokens) > 1 else ""


def item_starts(text: str) -> list[int]:
    """Where items begin; 0 is where the part before the first one does."""
    return [0, *(m.start() for m in ITEM_LINE.finditer(text) if m.start())]


def item_at(text: str, offset: int) -> Item:
    """The item that holds the offset."""
    starts = item_starts(text)
    k = bisect_right(starts, offset) - 1
    end = starts[k + 1] if k + 1 < len(starts) else len(text)
    return Item(starts[k], end, tuple(t for t in tokens_of(text, starts[k], end) if t.kind != "comment"))


def inside(tokens: Sequence[Token], kind: Kind, offset: int) -> Token | None:
    """The token of that kind that the offset lies in; at its end counts unless the token is closed there."""
    for token in tokens:
        if token.kind == kind and token.start < offset <= token.end:
            closed = kind in ("text", "unit") and len(token.text) > 1 and token.text[-1] in '"]'
            if offset < token.end or not closed:
                return token
    return None


def matching(tokens: Sequence[Token], close: int) -> int | None:
    """The index of the bracket that the one at `close` closes."""
    depth = 0
    for k in range(close, -1, -1):
        if tokens[k].kind == "mark":
            depth += (tokens[k].text in (")", "}")) - (tokens[k].text in ("(", "{"))
            if depth == 0:
                return k
    return None


def path_before(tokens: Sequence[Token], end: int) -> tuple[Token, ...]:
    """The names of the dotted path that ends just before index `end`: those of `v.risky` in `v.risky (`."""
    names: list[Token] = []
    k = end - 1
    while k >= 0 and tokens[k].kind == "name" and tokens[k].text not in KEYWORDS:
        names.append(tokens[k])
        if k < 2 or tokens[k - 1].text != ".":
            break
        k -= 2
    return tuple(reversed(names))
