"""A rule's fingerprint: one name for what it claims, whatever its file looks like.

It covers the rule's name, severity and text as the printer writes it, the values of the parameters, and every
declaration that the text rests on, with the data that it names by digest. Titles, reasons, requirement ids, comments,
layout, order and other rules are no part of it, nor is the reward: the same violation by the next reward is the same.
What a text rests on is found by the names in it, which takes rather too much than too little.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from rewarden.ci.outcome import LENGTH, SCHEME
from rewarden.spec_lang.canonical import canonical_json, digest_of, rational_text
from rewarden.spec_lang.printer import print_item
from rewarden.spec_lang.spec import Spec
from rewarden.spec_lang.syntax import AssumeDecl, DataSymbol, ExampleDecl, Item, ParamDecl, RuleDecl, UseDecl

_NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")


def fingerprint(spec: Spec, rule: str) -> str:
    """`rwf1:` and 32 hexadecimal digits. Reads the data that the rule names (DataError)."""
    declared = _declared(spec)
    text = _plain(next(i for i in spec.expanded.items if isinstance(i, RuleDecl) and i.name == rule))
    needed: dict[str, list[str]] = {}
    waiting = [text]
    while waiting:
        for name in _names(waiting.pop()):
            if name in declared and name not in needed:
                needed[name] = [_said(spec, item) for item in declared[name]]
                waiting += needed[name]
    content = {
        "spec": spec.name,
        "rule": text,
        "needs": needed,
        "data": {name: _table_digest(spec, name) for name in spec.data if name in needed},
    }
    return f"{SCHEME}:{digest_of(canonical_json(content)).partition(':')[2][:LENGTH]}"


def _declared(spec: Spec) -> dict[str, list[Item]]:
    """Declarations by the name that a text reads them by; an assumption is read wherever its record type is."""
    found: dict[str, list[Item]] = {}
    for item in spec.expanded.items:
        match item:
            case RuleDecl() | ExampleDecl() | UseDecl():
                continue
            case AssumeDecl(param=param):
                found.setdefault(param.type_name, []).append(item)
            case _:
                found.setdefault(item.name, []).append(item)
    return found


def _plain(rule: RuleDecl) -> str:
    return print_item(replace(rule, title="", because=None, requirement=None, weight=None))


def _said(spec: Spec, item: Item) -> str:
    """The declaration; a parameter's with the value that it has, data without the name of their file."""
    match item:
        case ParamDecl(name=name, kind=kind, unit=unit, cases=cases):
            value = spec.params[name].value
            return f"param {name}: {kind} {unit} {cases} = {value if isinstance(value, str) else rational_text(value)}"
        case DataSymbol():
            return print_item(replace(item, path=""))
    return print_item(item)


def _names(text: str) -> Iterator[str]:
    """Names in a text, dotted ones with all their beginnings: `logs.better` rests on `logs`."""
    for found in _NAME.findall(text):
        parts = found.split(".")
        yield from (".".join(parts[: k + 1]) for k in range(len(parts)))


def _table_digest(spec: Spec, name: str) -> list[str]:
    return [spec.table(name, member).require_rows().table_digest for member, _ in spec.data[name].members]
