"""Where a spec says things: from features, assumptions, rules and formulas back to lines of text, and into words."""

from __future__ import annotations

from dataclasses import dataclass

from rewarden.spec_lang import syntax
from rewarden.spec_lang.errors import Label
from rewarden.spec_lang.obligation import Atom, Formula
from rewarden.spec_lang.source import Span
from rewarden.spec_lang.spec import Spec
from rewarden.spec_lang.term_walk import nodes

LONGEST = 90
"""Characters of a quoted clause."""


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """`fields` by (record type, feature), `rules` by name."""

    fields: dict[tuple[str, str], syntax.FieldDecl]
    types: dict[str, syntax.FeaturesDecl]
    rules: dict[str, syntax.RuleDecl]

    @classmethod
    def of(cls, spec: Spec) -> Places:
        items = spec.expanded.items
        types = {item.name: item for item in items if isinstance(item, syntax.FeaturesDecl)}
        return cls(
            fields={(item.name, f.name): f for item in types.values() for f in item.fields},
            types=types,
            rules={item.name: item for item in items if isinstance(item, syntax.RuleDecl)},
        )


def spans_of(formula: Formula) -> tuple[Span, ...]:
    """Where its comparisons were written, each once, in source order within a file."""
    found = {node.origin: None for node in nodes(formula) if isinstance(node, Atom) and node.origin is not None}
    return tuple(sorted(found, key=lambda span: (span.source.name, span.start)))


def span_of(formula: Formula) -> Span | None:
    """From its first to its last comparison, if that is one piece of text; else the first of them."""
    spans = spans_of(formula)
    if not spans:
        return None
    whole = spans[0].to(spans[-1])
    one_piece = all(span.source == whole.source for span in spans) and len(whole.text) <= LONGEST
    return whole if one_piece and "\n\n" not in whole.text else spans[0]


def quoted(span: Span) -> str:
    """The text on one line, without comments, cut where it is long."""
    lines = (line.split("#", 1)[0] for line in span.text.split("\n"))
    text = " ".join(" ".join(lines).split())
    return f"`{text}`" if len(text) <= LONGEST else f"`{text[: LONGEST - 1]}…`"


def line(span: Span, home: Span) -> str:
    """`line 6`, or `vocabulary.rwd:6` where that is another file than `home`'s."""
    if span.source.name == home.source.name:
        return f"line {span.line}"
    return f"{span.source.name}:{span.line}"


def labels(home: Span, marked: list[tuple[Span, str]]) -> tuple[Label, ...]:
    """Those that stand in the file of `home`, each place once; `home` itself where there is none."""
    found: dict[tuple[int, int], Label] = {}
    for span, text in marked:
        if span.source.name == home.source.name:
            found.setdefault((span.start, span.end), Label(span, text))
    return tuple(found.values()) or (Label(home),)


def listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
