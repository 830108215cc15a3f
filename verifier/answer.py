"""The four words that a verdict is. A file of its own, since who only reads verdicts needs nothing else of here."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What is known about a rule (language.md, "What a rule means")."""

    PROVED = "proved"
    VIOLATED = "violated"
    VACUOUS = "vacuous"
    UNKNOWN = "unknown"
