"""What is shown where the pointer rests: of a name, an expression, a keyword, a unit, and of what is wrong there.

Names and expressions come from the syntax tree. In an item that does not parse, the names are looked up as they are
written, among the records that the item's tokens show.
"""

from __future__ import annotations

from dataclasses import dataclass

from rewarden.codes import explanations
from rewarden.lsp import meaning
from rewarden.lsp.expressions import Place, interval_text, place_at, type_of, type_text
from rewarden.lsp.known import records_written
from rewarden.lsp.names import Target, as_written, name_at, occurrences
from rewarden.lsp.reading import Reading
from rewarden.lsp.tokens import Token, item_at
from rewarden.lsp.words import KEYWORDS
from rewarden.spec_lang import syntax


@dataclass(frozen=True, slots=True)
class Hover:
    """Markdown about the characters from `start` to `end`."""

    start: int
    end: int
    text: str


def hover(reading: Reading, offset: int) -> Hover | None:
    blocks: list[str] = []
    span: tuple[int, int] | None = None
    item = item_at(reading.source.text, offset)
    token = next((t for t in item.tokens if t.start <= offset < t.end + (t.kind == "name")), None)
    if token is not None and token.kind != "text":
        span, blocks = _about(reading, offset, token)
    for d in reading.diagnostics:
        for label in d.labels[:1]:
            if label.span.source is reading.source and label.span.start <= offset <= label.span.end:
                span = span or (label.span.start, label.span.end)
                explained = explanations().get(d.code, "")
                blocks.append(f"**{d.code}** {explained}")
    if span is None or not blocks:
        return None
    return Hover(*span, "\n\n---\n\n".join(dict.fromkeys(blocks)))


def _about(reading: Reading, offset: int, token: Token) -> tuple[tuple[int, int], list[str]]:
    """What is underlined, and what is said of it."""
    span = (token.start, token.end)
    if token.kind == "unit":
        return span, _said(meaning.of_unit(" ".join(token.text[1:-1].split())))
    if token.kind == "name" and token.text in KEYWORDS:
        return span, [f"**{token.text}**: {KEYWORDS[token.text]}"]
    name = name_at(occurrences(reading), offset) if token.kind == "name" else None
    place = place_at(reading, offset)
    if name is not None:
        applied = place is not None and isinstance(place[1][-1], syntax.Apply)
        expression = _expression(reading, place) if applied else None
        return (name.start, name.end), _said(_name(reading, name.target, name.start), expression)
    expression = _expression(reading, place)
    if place is not None and expression is not None:
        return (place[1][-1].span.start, place[1][-1].span.end), [expression]
    target = as_written(reading, offset) if token.kind == "name" else None
    return span, _said(None if target is None else _name(reading, target, token.start))


def _said(*blocks: str | None) -> list[str]:
    return [block for block in blocks if block]


def _name(reading: Reading, target: Target, offset: int) -> str | None:
    if target.kind != "record":
        return meaning.of_target(reading, target)
    return meaning.of_record(target.name, records_written(item_at(reading.source.text, offset), reading.known), reading)


def _expression(reading: Reading, place: Place | None) -> str | None:
    """The type and interval of the innermost expression."""
    found = None if place is None else type_of(reading, place)
    if place is None or found is None:
        return None
    interval = interval_text(reading, place, found)
    text = f"`{meaning.shortened(place[1][-1].span)}`: {type_text(found)}"
    return f"{text}, {interval}" if interval else text
