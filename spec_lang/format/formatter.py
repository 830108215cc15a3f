"""The one format of specs: `rewarden fmt`, and the language server's.

What the author decides is kept: the order of everything, comments and titles between the tokens that they stand
between, single blank lines, parentheses, the spelling of numbers, and the column of comments that stand in one already.
What is left (spaces, line breaks, alignment, optional commas) has one answer. The tokens themselves are never touched,
so that the text means what it meant: `parse(format_text(text)) == parse(text)`, and formatting twice changes nothing.

In order: `format_comments` (what stands between tokens), `layout` (groups and gaps), `format_tree` and `format_items`
(the layout of each construct), `format_rows` (trailing comments in columns). Here: items one below the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from lark import Token, Tree

from rewarden.spec_lang.format import items as format_items
from rewarden.spec_lang.format.comments import Between, Comment, between
from rewarden.spec_lang.format.layout import render
from rewarden.spec_lang.format.rows import WIDTH, Row, attach, text_of, trailing
from rewarden.spec_lang.format.tree import TreeLayout, tokens
from rewarden.spec_lang.parser import grammar, parse
from rewarden.spec_lang.source import Source

_DECLARATIONS = {"reward", "data", "param"}
_RULES = {"must", "should", "example"}  # blank lines stand around these
_APART = _RULES | {"spec"}  # and one below these
_DEFINITIONS = {"let", "region", "relation"}
_RAGGED = 16
"""Definitions are aligned at `=` unless the widest head is more than this wider than the narrowest."""


def format_text(text: str, name: str = "<spec>") -> str:
    """The spec in the one format; SpecError (under that name) where the text does not parse."""
    source = Source(name, text.replace("\r\n", "\n").replace("\r", "\n"))
    parse(source)  # refuses what the grammar alone does not
    tree = grammar().parse(source.text)
    held, rest = _between_tokens(source.text, tree)
    layout = TreeLayout(held)
    items = _items(layout, tree)
    rows: list[Row] = []
    for number, item in enumerate(items, 1):
        attach(rows, item.opening.trailing)
        rows += item.opening.rows
        laid = format_items.item_layout(layout, item.tree, pad_word=item.pad_word, pad_equals=item.pad_equals)
        own = render(laid, WIDTH)
        if item.word == "features":
            own[1:-1] = [replace(row, table=number) for row in own[1:-1]]
        rows += own
    ending = _opening(rest, items[-1].word, None)
    attach(rows, ending.trailing)
    return text_of([*rows, *ending.rows])


# ── between items ──────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class _Opening:
    """What comes between two items: comments behind the first, then rows; `blank` says that one of those is blank."""

    trailing: tuple[Comment, ...]
    rows: tuple[Row, ...]

    @property
    def blank(self) -> bool:
        return any(row.code == "" for row in self.rows)


@dataclass(frozen=True, slots=True)
class _Item:
    tree: Tree[Token]
    word: str  # that it begins with
    opening: _Opening
    pad_word: int = 0
    pad_equals: int = 0


def _between_tokens(text: str, tree: Tree[Token]) -> tuple[dict[int, Between], Between]:
    """What stands before each token, by the token's position, and what stands behind the last one."""
    held: dict[int, Between] = {}
    end = 0
    for token in tokens(tree):
        start = token.start_pos or 0
        if start - end > 1:  # a single character between two tokens is no comment
            held[start] = between(text, end, start)
        end = token.end_pos or 0
    return held, between(text, end, len(text))


def _opening(held: Between, above: str | None, below: str | None) -> _Opening:
    """What comes between items that begin with the words `above` and `below` (None: the file's ends)."""
    count = trailing(held.comments)
    comments = list(held.comments[count:])
    rows = []
    if above in _RULES:  # a comment at the end of a rule belongs to the rule
        while comments and comments[0].indented and not comments[0].blank:
            rows.append(Row("  " + comments.pop(0).text))
    blanks = [comment.blank for comment in comments] + [held.blank]
    if below in _RULES:  # a title stands directly above its rule
        titled = next((k for k, comment in enumerate(comments) if comment.title), len(comments))
        blanks[titled + 1 :] = [False] * (len(comments) - titled)
    if below is None:
        blanks[-1] = False
    if above is None:
        blanks[0] = False
    if (above in _APART and (comments or below)) or below in _RULES:
        blanks[0] = blanks[0] or not any(blanks)
    for comment, blank in zip(comments, blanks, strict=False):
        rows += [Row("")] * blank + [Row(comment.text)]
    return _Opening(held.comments[:count], (*rows, *[Row("")] * blanks[-1]))


def _items(layout: TreeLayout, tree: Tree[Token]) -> list[_Item]:
    """The items with what comes before each, aligned with their neighbours."""
    items: list[_Item] = []
    for node in tree.children:
        assert isinstance(node, Tree), "a spec is made of items"
        word = format_items.kind(node)
        above = items[-1].word if items else None
        items.append(_Item(node, word, _opening(layout.before(node), above, word)))
    paragraphs: list[list[_Item]] = []
    for item in items:
        if item.opening.blank or not paragraphs:
            paragraphs.append([])
        paragraphs[-1].append(item)
    return [item for paragraph in paragraphs for item in _paragraph(layout, paragraph)]


def _paragraph(layout: TreeLayout, items: list[_Item]) -> Iterator[_Item]:
    """Items without a blank line between them. Rewards, data and parameters among themselves have their names below
    each other; neighbouring definitions of a kind have their `=` so."""
    words = {item.word for item in items}
    if words <= _DECLARATIONS:
        longest = max(len(word) for word in words)
        yield from (replace(item, pad_word=longest - len(item.word)) for item in items)
        return
    for on_a_line, group in groupby(items, lambda item: item.word if _on_a_line(layout, item) else None):
        run = list(group)
        yield from _aligned(layout, run) if on_a_line else run


def _on_a_line(layout: TreeLayout, item: _Item) -> bool:
    return item.word in _DEFINITIONS and format_items.item_layout(layout, item.tree).width <= WIDTH


def _aligned(layout: TreeLayout, run: list[_Item]) -> list[_Item]:
    """The definitions with their `=` below each other, where that makes no line too long and no gap too wide."""
    heads = [format_items.head_width(layout, item.tree) for item in run]
    pads = [max(heads) - head for head in heads]
    totals = [format_items.item_layout(layout, item.tree).width for item in run]
    if max(pads) > _RAGGED or any(total + pad > WIDTH for total, pad in zip(totals, pads, strict=True)):
        return run
    return [replace(item, pad_equals=pad) for item, pad in zip(run, pads, strict=True)]
