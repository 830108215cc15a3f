"""Edits that a diagnostic's help spells out, where what to replace by what is certain."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rewarden.lsp.reading import Reading
from rewarden.spec_lang.errors import Diagnostic
from rewarden.spec_lang.source import Span

_PATH = re.compile(r"[A-Za-z_]\w*(?:\s*\.\s*[A-Za-z_]\w*)*")
_LITERAL = re.compile(r"[0-9][0-9.eE+-]*\s*(?:%|\[[^\]\n]*\])?")
_MEANT = re.compile(r"did you mean ([A-Za-z_][\w.]*)\?")
_QUANTITY = re.compile(r"write ([0-9][0-9.eE+-]*(?: \[[^\]\n]+\])?)(?:, without a unit)?")
_FEATURE = re.compile(r"write ([A-Za-z_]\w*\.[A-Za-z_]\w*)")


@dataclass(frozen=True, slots=True)
class Fix:
    """Replace `start..end` by `text`."""

    diagnostic: Diagnostic
    title: str
    start: int
    end: int
    text: str


def fixes(reading: Reading, start: int, end: int) -> tuple[Fix, ...]:
    """For the diagnostics that touch `start..end`."""
    found = []
    for d in reading.diagnostics:
        spans = [x.span for x in d.labels if x.span.source is reading.source]
        if spans and any(s.start <= end and start <= s.end for s in spans):
            found += [Fix(d, f"Write {text}", a, b, text) for a, b, text in _edits(d, spans)]
    return tuple(found)


def _edits(d: Diagnostic, spans: list[Span]) -> Iterator[tuple[int, int, str]]:
    help = d.help or ""
    first = spans[0]
    if (meant := _MEANT.fullmatch(help)) and _PATH.fullmatch(first.text):
        last = re.search(r"\w+$", first.text)
        whole = "." in meant[1] or last is None
        yield (first.start if whole or last is None else first.start + last.start()), first.end, meant[1]
    elif (feature := _FEATURE.fullmatch(help)) and first.text == feature[1].partition(".")[2]:
        yield first.start, first.end, feature[1]
    elif quantity := _QUANTITY.fullmatch(help):
        literals = [s for s in spans if _LITERAL.fullmatch(s.text)]
        if len(literals) == 1:
            yield literals[0].start, literals[0].end, quantity[1]
    elif (help == "equality is written ==" and first.text == "=") or (help == "write v1" and d.code == "P04"):
        yield first.start, first.end, help.rpartition(" ")[2]
