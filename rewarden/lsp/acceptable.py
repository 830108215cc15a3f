"""Which words the grammar itself would accept next: the parser is run up to the place and asked."""

from __future__ import annotations

from collections.abc import Iterable

from lark import UnexpectedInput
from lark.lexer import PatternStr

from rewarden.lsp.words import KEYWORDS
from rewarden.spec_lang.parser import grammar

LONGEST = 20_000  # characters before the place that the parser is run over


def terminals_after(text: str) -> frozenset[str] | None:
    """The names of the terminals that may follow the text; None where it is broken already, or very long."""
    if len(text) > LONGEST:
        return None
    parser = grammar().parse_interactive(text)
    try:
        parser.exhaust_lexer()
        return frozenset(parser.accepts())  # type: ignore[no-untyped-call]
    except UnexpectedInput:
        return None


def words_among(terminals: Iterable[str]) -> list[str]:
    """The keywords among the terminals, in the order in which a rule has them."""
    patterns = {t.name: t.pattern for t in grammar().terminals}
    found = [patterns[t].value for t in terminals if isinstance(patterns.get(t), PatternStr)]
    order = list(KEYWORDS)
    return sorted((word for word in found if word in KEYWORDS), key=order.index)
