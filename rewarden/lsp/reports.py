"""Diagnostics as an editor shows them: a place in this text, a message, related places.

What is wrong in a used file is reported at the `use` that leads to it, with the file as a related place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rewarden.lsp.reading import Reading
from rewarden.spec_lang import syntax
from rewarden.spec_lang.diagnostics import place, printable
from rewarden.spec_lang.errors import Diagnostic
from rewarden.spec_lang.source import Source, Span

_NAMED_PLACE = re.compile(r" at (?P<file>[^:\n]+):(?P<line>[0-9]+)$")


@dataclass(frozen=True, slots=True)
class Related:
    """Characters of a source, this text's own or a used file's, and what is said of them."""

    source: Source
    start: int
    end: int
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """`start..end` lies in the text that was read."""

    start: int
    end: int
    severity: str
    code: str
    message: str
    related: tuple[Related, ...]


def reports(reading: Reading) -> tuple[Report, ...]:
    return tuple(_report(reading, d) for d in reading.diagnostics)


def _report(reading: Reading, d: Diagnostic) -> Report:
    message = printable(d.message) + (f"\nhelp: {printable(d.help)}" if d.help else "")
    related = [Related(x.span.source, x.span.start, x.span.end, x.text) for x in d.labels if x.text]
    related += _named_place(reading, d)
    if not d.labels:
        return Report(*_visible(reading.source.text, 0, 0), d.severity, d.code, message, tuple(related))
    span = d.labels[0].span
    if span.source is not reading.source:
        message = f"{place(span)}: {message}"
        related.insert(0, Related(span.source, span.start, span.end, printable(d.message)))
        use = _use_of(reading, span.source)
        start, end = (0, 0) if use is None else (use.span.start, use.span.end)
    else:
        start, end = span.start, span.end
    return Report(*_visible(reading.source.text, start, end), d.severity, d.code, message, tuple(related))


def _visible(text: str, start: int, end: int) -> tuple[int, int]:
    """The same characters; where there are none, the one after or before them on the line."""
    start = max(0, min(start, len(text)))
    end = max(start, min(end, len(text)))
    if start < end:
        return start, end
    if start < len(text) and text[start] != "\n":
        return start, start + 1
    return (start - 1, start) if start and text[start - 1] != "\n" else (start, start)


def _use_of(reading: Reading, source: Source) -> syntax.UseDecl | None:
    """The `use` of that file, or the first one: the file may be used by a used one."""
    uses = list(reading.uses())
    file = reading.file_of(source)
    if file is None or reading.folder is None:
        return uses[0] if uses else None
    for use in uses:
        try:
            if (reading.folder / use.path).resolve() == file.resolve():
                return use
        except (OSError, ValueError):
            continue
    return uses[0] if uses else None


def _named_place(reading: Reading, d: Diagnostic) -> Iterator[Related]:
    """`speed is declared real [m/s] at warehouse.rwd:6`, as a place to go to."""
    named = _NAMED_PLACE.search(d.related or "")
    if d.related is None or named is None:
        return
    declared = (span for span in (*reading.known.declared.values(), *_label_spans(d)))
    sources = (reading.source, *(span.source for span in declared))
    source = next((s for s in sources if s.name == named["file"]), None)
    if source is None:
        return
    lines = source.text.split("\n")
    number = min(int(named["line"][:9]), len(lines)) - 1
    start = sum(len(line) + 1 for line in lines[:number])
    bare = lines[number].rstrip()
    indent = len(bare) - len(bare.lstrip())
    yield Related(source, start + indent, start + len(bare), printable(d.related[: named.start()]))


def _label_spans(d: Diagnostic) -> Iterator[Span]:
    return (label.span for label in d.labels)
