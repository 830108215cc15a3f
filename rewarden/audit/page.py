"""A report as one HTML page that asks for nothing from anywhere: headings in order, captions and alternatives said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.resources import files

from rewarden.audit.document import (
    Block,
    Bullets,
    Cell,
    Code,
    Document,
    Heading,
    Inline,
    Lines,
    Paragraph,
    Table,
    Word,
    harmless,
    inlines,
)
from rewarden.report.markup import Html, join, tag, text
from rewarden.report.pictures import UNNAMED

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # the page asks for nothing from anywhere
_CLASSES = {"good": "proved", "bad": "violated", "open": "unknown", "plain": "none"}  # of the style sheet


def render(document: Document) -> str:
    """The page as text. The same document gives the same text."""
    folder = files("rewarden")
    style = "\n".join(
        folder.joinpath(*place).read_text(encoding="utf-8")
        for place in (("report", "style.css"), ("audit", "audit.css"))
    )
    head = tag(
        "head",
        Html('<meta charset="utf-8">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        tag("title", document.title),
        tag("style", Html(style)),
    )
    body = tag("body", tag("main", *_blocks(document.blocks), cls="audit"))
    return harmless("<!doctype html>\n" + tag("html", head, body, lang="en") + "\n")


def _blocks(blocks: Sequence[Block]) -> Iterator[Html]:
    """All of it; after what is said first, a list of what there is, and places for it to lead to."""
    places = {id(b): b.anchor or f"part-{k}" for k, b in enumerate(blocks) if isinstance(b, Heading) and b.level == 2}
    named = [replace(b, anchor=places[id(b)]) if isinstance(b, Heading) and b.level == 2 else b for b in blocks]
    first = next((k for k, b in enumerate(named) if isinstance(b, Table)), 0)
    for k, block in enumerate(named):
        if k == first:
            yield _contents([b for b in named if isinstance(b, Heading) and b.level == 2])
        yield _block(block)


def _contents(headings: Sequence[Heading]) -> Html:
    listed = (tag("li", tag("a", heading.text, href=f"#{heading.anchor}")) for heading in headings)
    return tag("nav", tag("ul", *listed), aria_label="Contents", cls="contents")


def _block(block: Block) -> Html:
    match block:
        case Heading(level, words, anchor):
            return tag(f"h{level}", words) if anchor is None else tag(f"h{level}", words, id=anchor)
        case Paragraph(parts, fine):
            return tag("p", *map(_inline, parts), cls="fine") if fine else tag("p", *map(_inline, parts))
        case Bullets(items):
            return tag("ul", *(tag("li", _cell(item)) for item in items))
        case Table():
            return _table(block)
        case Lines(caption, lines):
            rows = join(tag("span", tag("i", str(number)), text(line), cls="line") for number, line in lines)
            return tag("figure", tag("pre", rows), tag("figcaption", caption), cls="source")
    named = f'role="img" aria-label="{text(block.alt or block.says)}"'
    picture = tag("div", Html(block.svg.replace(f" {UNNAMED}", "").replace("<svg", f"<svg {named}", 1)))
    return tag("figure", picture, tag("figcaption", block.says), cls="picture")


def _table(block: Table) -> Html:
    total = sum(block.shares)
    columns = join(Html(f'<col style="width:{share / total:.1%}">') for share in block.shares)
    head = tag("tr", *(tag("th", words, scope="col") for words in block.head))
    rows = (tag("tr", *(_data(k, cell) for k, cell in enumerate(row))) for row in block.rows)
    parts = (tag("caption", block.caption), tag("colgroup", columns), tag("thead", head), tag("tbody", *rows))
    table = tag("table", *parts, cls="audit")
    if not any(isinstance(cell, Word) for row in block.rows for cell in row):
        return table
    # A verdict does not break: on a narrow screen the table scrolls by itself, by keys as well.
    return tag("div", table, cls="wide", role="region", aria_label=block.caption, tabindex="0")


def _data(place: int, cell: Cell) -> Html:
    return tag("td", _cell(cell)) if place else tag("th", _cell(cell), scope="row")


def _cell(cell: Cell) -> Html:
    return join(_inline(part) for part in inlines(cell))


def _inline(part: Inline) -> Html:
    match part:
        case Word(words):
            return tag("span", words, cls=f"badge {_CLASSES[part.standing]}")
        case Code(words):
            return tag("code", words)
    return text(part)
