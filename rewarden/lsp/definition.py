"""From a name to where it is declared, to all its uses, and to another name."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

from rewarden.lsp.names import Occurrence, Target, as_written, name_at, occurrences
from rewarden.lsp.reading import Reading
from rewarden.lsp.tokens import item_at, item_starts, tokens_of
from rewarden.spec_lang import syntax
from rewarden.spec_lang.parser import keywords
from rewarden.spec_lang.source import Source, Span
from rewarden.spec_lang.symbols import BUILT_IN, Symbols

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Place:
    """Characters of a text: this one's (`file` None), or those of a file that it uses."""

    file: Path | None
    source: Source
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a name cannot be changed."""

    reason: str


def definition(reading: Reading, offset: int) -> Place | None:
    """Where the name at the offset is declared."""
    found = occurrences(reading)
    name = name_at(found, offset)
    target = name.target if name is not None else as_written(reading, offset)
    use = next((u for u in reading.uses() if u.span.start <= offset <= u.span.end), None)
    if target is not None and target.kind == "file":
        use = next((u for u in reading.uses() if u.alias == target.name), None)
    if use is not None:
        return _used_file(reading, use)
    if target is None:
        return None
    own = next((o for o in found if o.declares and o.target == target), None)
    if own is not None:
        return Place(None, reading.source, own.start, own.end)
    return _declared(reading, target) or _written(reading, target)


def references(reading: Reading, offset: int) -> tuple[Occurrence, ...]:
    """All places of this text that speak of what the name at the offset stands for."""
    found = occurrences(reading)
    name = name_at(found, offset)
    return () if name is None else tuple(o for o in found if _same(reading.known, o.target, name.target))


def renamed(reading: Reading, offset: int, new: str | None = None) -> tuple[Occurrence, ...] | Refused:
    """The places to change; `new` None asks only whether there is anything that may be renamed."""
    if not reading.parses:
        return Refused("the text has syntax errors: a name could be overlooked")
    places = references(reading, offset)
    if not places:
        return Refused("this is no name that the spec declares")
    target = places[0].target
    if target.kind == "built-in":
        return Refused(f"{target.name} is a word of the language")
    if target.kind != "file" and not any(o.declares for o in places):
        return Refused(f"{target.name} is declared in another file")
    if new is not None:
        if not _NAME.fullmatch(new) or new in keywords() or new in BUILT_IN:
            return Refused(f"{new!r:.40} cannot be a name")
        if new != target.name and _taken(reading, target, new):
            return Refused(f"{new} is the name of something else already")
    return places


def _same(known: Symbols, one: Target, other: Target) -> bool:
    """Enums with the same cases are compared and assigned to each other: a case of one is that case of all."""
    if one.kind == "case" and other.kind == "case" and one.name == other.name and one.owner != other.owner:
        return _cases(known, one.owner) == _cases(known, other.owner)
    return one == other


def _cases(known: Symbols, owner: str) -> tuple[str, ...]:
    declared = known.fields.get(_feature(owner))
    return known.cases_of(owner) if declared is None else declared.cases


def _feature(owner: str) -> tuple[str, str]:
    kind, _, feature = owner.rpartition(".")
    return kind, feature


def _taken(reading: Reading, target: Target, new: str) -> bool:
    """Would the new name meet another of its kind, or hide one?"""
    names = [o.target for o in occurrences(reading)]
    if target.kind == "case":
        cases = _cases(reading.known, target.owner)
        params = [p.rpartition(".")[2] for p in reading.known.params if reading.known.cases_of(p) == cases]
        return new in (*cases, *params)
    if target.kind == "feature":
        return any(t.kind == target.kind and t.owner == target.owner and t.name == new for t in names)
    if target.kind == "rule":
        return new in reading.known.rules
    if new in reading.known.cases_of(target.name):  # beside an enum, a name is a case before it is a parameter
        return True
    in_item = target.owner if target.kind == "record" else None
    records = any(t.kind == "record" and t.name == new and in_item in (None, t.owner) for t in names)
    return records or new in reading.known.declared or any(use.alias == new for use in reading.uses())


# ── where ──────────────────────────────────────────────────────────────────────────────────────
def _declared(reading: Reading, target: Target) -> Place | None:
    """In this text as it is, or in a used file."""
    span = _span_of(reading.known, target)
    if span is None or span.source is reading.source:
        return None if span is None else Place(None, span.source, span.start, span.end)
    file = reading.file_of(span.source)
    if file is None or span.source.name == reading.source.name:
        return None  # of this text when it was last whole
    return Place(file, span.source, span.start, span.end)


def _span_of(known: Symbols, target: Target) -> Span | None:
    match target.kind:
        case "declared":
            return known.declared.get(target.name)
        case "rule" if target.name in known.rules:
            return known.rules[target.name].name_span
        case "feature" if (target.owner, target.name) in known.fields:
            return known.fields[target.owner, target.name].name_span
        case "case":
            declared = known.fields.get(_feature(target.owner)) or known.params.get(target.owner)
            return None if declared is None else _case_span(declared.span, target.name)
    return None


def _written(reading: Reading, target: Target) -> Place | None:
    """In an item of this text that does not parse, by its tokens."""
    text = reading.source.text
    if target.kind == "record":
        tokens = item_at(text, int(target.owner)).tokens[2:]
        first = next((t for t in tokens if t.text == target.name), None)
        return None if first is None else Place(None, reading.source, first.start, first.end)
    wanted = target.owner if target.kind == "feature" else target.name
    for start in item_starts(text):
        tokens = item_at(text, start).tokens
        if (
            len(tokens) < 2
            or tokens[1].text != wanted
            or (tokens[0].text in ("must", "should")) != (target.kind == "rule")
        ):
            continue
        found = tokens[1]
        if target.kind == "feature":
            pairs = itertools.pairwise(tokens)
            named = [a for a, b in pairs if a.text == target.name and b.text == ":"]
            if tokens[0].text != "features" or not named:
                continue
            found = named[0]
        return Place(None, reading.source, found.start, found.end)
    return None


def _case_span(field: Span, case: str) -> Span:
    for token in tokens_of(field.source.text, field.start, field.end):
        if token.text == case and token.start > field.start:
            return Span(field.source, token.start, token.end, field.line, field.column)
    return field


def _used_file(reading: Reading, use: syntax.UseDecl) -> Place | None:
    if reading.folder is None:
        return None
    try:
        file = (reading.folder / use.path).resolve()
        return Place(file, Source(use.path, ""), 0, 0) if file.is_file() else None
    except (OSError, ValueError):
        return None
