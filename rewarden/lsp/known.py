"""What the names of a text stand for: from the text as it is, and where it is broken from when it was last whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from rewarden.lsp.tokens import Item, Token
from rewarden.lsp.words import KEYWORDS
from rewarden.spec_lang import syntax
from rewarden.spec_lang.features import Feature
from rewarden.spec_lang.symbols import Symbols

T = TypeVar("T")
Records = dict[str, str]
"""Record in scope → its record type. A row of pairs is in it by member: `p.better`."""


def merged(now: Symbols | None, before: Symbols | None) -> Symbols:
    """Everything declared now, and what was declared before under other names."""
    if now is None or before is None:
        return now or before or Symbols()

    taken = now.declared

    def both(kept: Mapping[str, T], new: Mapping[str, T]) -> dict[str, T]:
        return {**{k: v for k, v in kept.items() if k not in taken}, **new}

    return Symbols(
        records=both(before.records, now.records),
        fields={**before.fields, **now.fields},
        units={**before.units, **now.units},
        rewards=both(before.rewards, now.rewards),
        data=both(before.data, now.data),
        params=both(before.params, now.params),
        definitions=both(before.definitions, now.definitions),
        rules={**before.rules, **now.rules},
        declared={**before.declared, **now.declared},
    )


def records_of_rule(quantifier: syntax.Quantifier, known: Symbols) -> Records:
    match quantifier:
        case syntax.Forall(params=params):
            return {p.name: p.type_name for p in params}
        case syntax.Near(param=p) | syntax.Trace(param=p) | syntax.Cycle(param=p):
            return {p.name: p.type_name}
        case syntax.ForallRows(name=name, data=data):
            return _rows(name, data.name, known)


def records_written(item: Item, known: Symbols) -> Records:
    """The records that an item quantifies or takes, read off its tokens: it need not be whole."""
    tokens = item.tokens
    match item.word:
        case "assume":
            return _groups(tokens, 1)
        case "let" | "region" | "relation" | "reward":
            return _groups(tokens, 3)
        case "example":
            rule = known.rules.get(tokens[2].text) if len(tokens) > 2 else None
            return {} if rule is None else records_of_rule(rule.quantifier, known)
        case "must" | "should":
            at = next((k for k, t in enumerate(tokens) if t.text in ("forall", "trace", "cycle")), len(tokens))
            if len(tokens) > at + 3 and tokens[at + 2].text == "in":
                return _rows(tokens[at + 1].text, path_at(tokens, at + 3)[0], known)
            return _groups(tokens, at + 1)
        case _:
            return {}


def path_at(tokens: Sequence[Token], start: int) -> tuple[str, int]:
    """The dotted path at that index (empty where none is), and the index after it."""
    if start >= len(tokens) or tokens[start].kind != "name":
        return "", start
    names, k = [tokens[start].text], start + 1
    while k + 1 < len(tokens) and tokens[k].text == "." and tokens[k + 1].kind == "name":
        names.append(tokens[k + 1].text)
        k += 2
    return ".".join(names), k


def _rows(name: str, data: str, known: Symbols) -> Records:
    members = known.rows_of(data) or ()
    return {f"{name}.{member}" if member else name: kind for member, kind in members}


def _groups(tokens: Sequence[Token], start: int) -> Records:
    """`a, b: T, c: U` from that index on, as far as it goes."""
    found: Records = {}
    names: list[str] = []
    k = start
    while k < len(tokens):
        token = tokens[k]
        k += 1
        if token.kind == "name" and token.text not in KEYWORDS:
            names.append(token.text)
        elif token.text == ":":
            kind, k = path_at(tokens, k)
            found |= dict.fromkeys(names, kind)
            names = []
        elif token.text != ",":
            break
    return found


def feature_of(known: Symbols, owner: str, name: str) -> Feature | None:
    record = known.records.get(owner)
    return None if record is None else next((f for f in record.features if f.name == name), None)
