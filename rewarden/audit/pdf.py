"""A report on paper, by Typst: the same blocks as the page, tagged for those who hear it.

Words go to Typst as data, never as markup, and it is given no file system and no network.
"""

from __future__ import annotations

import json
import re
import unicodedata
from importlib.resources import files
from typing import Any

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
    inlines,
)
from rewarden.spec_lang.errors import UsageError

_TURNS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def paper(document: Document) -> bytes:
    """The PDF. UsageError G45 where Typst is not installed."""
    try:
        import typst
    except ImportError:
        raise UsageError(
            "G45", "a PDF needs the package typst, which is not installed", help="pip install 'rewarden[pdf]'"
        ) from None
    template = files("rewarden.audit").joinpath("audit.typ").read_bytes()
    told = {"title": document.title.strip() or "report", "blocks": [_block(block) for block in document.blocks]}
    inputs = {"document": _printable(json.dumps(told, ensure_ascii=False))}
    try:
        made = typst.compile(template, format="pdf", sys_inputs=inputs, pdf_standards=["ua-1"])
    except typst.TypstError:  # a letter that no font here has: shown as a box, which PDF/UA does not allow
        made = typst.compile(template, format="pdf", sys_inputs=inputs)
    assert isinstance(made, bytes)
    return made


def _printable(text: str) -> str:
    """Without the marks that turn the direction of writing, which would let words pass for others."""
    return "".join(c for c in text if unicodedata.bidirectional(c) not in _TURNS)


def _block(block: Block) -> dict[str, Any]:
    match block:
        case Heading(level, text, _):
            return {"kind": "heading", "level": level, "text": text or "–"}
        case Paragraph(parts, fine):
            return {"kind": "paragraph", "parts": _parts(parts), "fine": fine}
        case Bullets(items):
            return {"kind": "bullets", "items": [_parts(item) for item in items]}
        case Lines(caption, lines):
            rows = [{"number": number, "text": text} for number, text in lines]
            return {"kind": "lines", "caption": caption, "lines": rows}
        case Table(caption, head, rows, shares):
            cells = [[{"parts": _parts(cell)} for cell in row] for row in rows]
            widths = shares or (1,) * len(head)
            return {"kind": "table", "caption": caption, "head": list(head), "rows": cells, "shares": list(widths)}
    return {
        "kind": "picture",
        "svg": block.svg,
        "says": block.says,
        "alt": block.alt or block.says,
        "width": _width(block.svg),
    }


def _width(svg: str) -> int:
    """Percent of the line: a picture that is not much wider than high would fill the page."""
    box = re.search(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"', svg)
    return 55 if box is not None and float(box[1]) < 1.7 * float(box[2]) else 100


def _parts(cell: Cell) -> list[dict[str, str]]:
    return [_inline(part) for part in inlines(cell)]


def _inline(part: Inline) -> dict[str, str]:
    match part:
        case Word(text):
            return {"kind": "word", "text": text, "colour": part.standing}
        case Code(text):
            return {"kind": "code", "text": text}
    return {"kind": "text", "text": part}
