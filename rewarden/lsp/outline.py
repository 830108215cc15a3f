"""The items of a text, for an editor's outline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rewarden.lsp import describe
from rewarden.lsp.reading import Reading
from rewarden.spec_lang import syntax
from rewarden.spec_lang.source import Span

Kind = Literal["features", "feature", "assume", "reward", "data", "param", "definition", "use", "example", "rule"]


@dataclass(frozen=True, slots=True)
class Entry:
    """`start..end` is the whole item, `name_start..name_end` a part of it."""

    name: str
    detail: str
    kind: Kind
    start: int
    end: int
    name_start: int
    name_end: int
    inner: tuple[Entry, ...] = ()


def outline(reading: Reading) -> tuple[Entry, ...]:
    """In source order; what does not parse is missing."""
    tree = reading.analysis.tree
    return tuple(_entry(item) for item in (tree.items if tree is not None else ()))


def _entry(item: syntax.Item) -> Entry:
    match item:
        case syntax.FeaturesDecl(name=name, fields=fields):
            inner = tuple(_feature(f) for f in fields)
            return _made(name, "features", "features", item.span, item.name_span, inner)
        case syntax.AssumeDecl(param=p):
            return _made(f"assume {p.name}: {p.type_name}", "", "assume", item.span, p.span)
        case syntax.RewardSymbol(name=name):
            return _made(name, "reward", "reward", item.span, item.name_span)
        case syntax.DataSymbol(name=name, path=path):
            return _made(name, f"data from {path}", "data", item.span, item.name_span)
        case syntax.ParamDecl(name=name):
            return _made(name, "param", "param", item.span, item.name_span)
        case syntax.Definition(name=name, kind=word):
            return _made(name, word, "definition", item.span, item.name_span)
        case syntax.UseDecl(alias=alias, path=path):
            return _made(alias, f"use {path}", "use", item.span, item.name_span)
        case syntax.ExampleDecl(rule=rule):
            return _made(f"example of {rule}", "", "example", item.span, item.name_span)
        case syntax.RuleDecl(name=name, severity=word, title=title):
            return _made(name, f"{word}: {title}" if title else word, "rule", item.span, item.name_span)


def _feature(field: syntax.FieldDecl) -> Entry:
    size = f" ^ {field.size}" if field.size else ""
    unit = f" [{field.unit}]" if field.unit else ""
    ends = "" if field.range is None else f" in {describe.number(field.range[0])} .. {describe.number(field.range[1])}"
    return _made(field.name, f"{field.kind}{size}{unit}{ends}", "feature", field.span, field.name_span)


def _made(name: str, detail: str, kind: Kind, span: Span, named: Span, inner: tuple[Entry, ...] = ()) -> Entry:
    start, end = min(span.start, named.start), max(span.end, named.end)
    return Entry(name, detail, kind, start, end, named.start, named.end, inner)
