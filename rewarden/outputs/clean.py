"""Texts from specs, for formats that do not bear every character."""

from __future__ import annotations

import re
from typing import Final

from rewarden.spec_lang.diagnostics import printable

LONGEST: Final = 4000  # characters of one text: a message is read by people
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKUP = re.compile(r"[!#$&*+.:<>@\[\\\]^_`{|}~]")


def line(text: str) -> str:
    """On one line, without control characters, and not longer than anybody reads."""
    plain = " ".join(printable(text).split())
    return plain if len(plain) <= LONGEST else plain[:LONGEST] + " …"


def lines(text: str) -> str:
    """Line breaks stay."""
    return "\n".join(printable(part).rstrip() for part in text.split("\n"))


def xml(text: str) -> str:
    """Characters that XML 1.0 has; an XML writer escapes the rest."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def markdown(text: str) -> str:
    """On one line, with nothing that Markdown, HTML or a table of GitHub's reads as its own: no markup, no mention."""
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", line(text))
