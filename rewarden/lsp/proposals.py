"""What completion may propose: the declared names, each with its declaration in a line and its author's comment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from rewarden.lsp import describe
from rewarden.lsp.known import Records
from rewarden.lsp.words import BUILT_IN, KEYWORDS
from rewarden.spec_lang.features import Feature
from rewarden.spec_lang.symbols import Symbols

Kind = Literal[
    "keyword", "record type", "feature", "case", "reward", "data", "param", "definition", "record", "built-in", "unit",
    "rule", "file",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Proposal:
    """`text` is what is written; `detail` fits on the same line, `meaning` is a sentence or more."""

    text: str
    kind: Kind
    detail: str = ""
    meaning: str = ""


def features(known: Symbols, owner: str) -> list[Proposal]:
    record = known.records.get(owner)
    if record is None:
        return []
    comments = {name: describe.comment_on(f.span) for (kind, name), f in known.fields.items() if kind == owner}
    return [Proposal(f.name, "feature", describe.feature(f), comments.get(f.name, "")) for f in record.features]


def cases(known: Symbols, owner: str, cases: tuple[str, ...]) -> list[Proposal]:
    """The cases of an enum, and the parameters that are one of the same."""
    same = [p for p in params(known) if cases and p.text != owner and known.cases_of(p.text) == cases]
    return [*(Proposal(case, "case", f"a case of {owner}") for case in cases), *same]


def cases_of(known: Symbols, feature: Feature | None) -> list[Proposal]:
    return [] if feature is None else cases(known, feature.name, feature.cases)


def records(in_scope: Records) -> list[Proposal]:
    return [Proposal(name.split(".")[0], "record", kind) for name, kind in in_scope.items()]


def types(known: Symbols) -> list[Proposal]:
    return [
        Proposal(name, "record type", f"{len(record.features)} features", _comment(known, name))
        for name, record in known.records.items()
    ]


def data(known: Symbols) -> list[Proposal]:
    return [Proposal(n, "data", describe.declaration(d), _comment(known, n)) for n, d in known.data.items()]


def params(known: Symbols) -> list[Proposal]:
    return [Proposal(n, "param", describe.declaration(p), _comment(known, n)) for n, p in known.params.items()]


def rewards(known: Symbols) -> list[Proposal]:
    return [Proposal(n, "reward", describe.declaration(r), _comment(known, n)) for n, r in known.rewards.items()]


def definitions(known: Symbols) -> list[Proposal]:
    """Definitions, regions and relations."""
    found = known.definitions.items()
    return [Proposal(n, "definition", describe.declaration(d), _comment(known, n)) for n, d in found]


def relations(known: Symbols) -> list[Proposal]:
    return [p for p in definitions(known) if known.definitions[p.text].kind == "relation"]


def rules(known: Symbols) -> list[Proposal]:
    return [Proposal(r.name, "rule", r.severity, r.title) for r in known.rules.values()]


def built_in(names: Iterable[str] = BUILT_IN) -> list[Proposal]:
    return [Proposal(name, "built-in", BUILT_IN[name].form, BUILT_IN[name].meaning) for name in names]


def keywords(words: Iterable[str]) -> list[Proposal]:
    return [Proposal(word, "keyword", "", KEYWORDS[word]) for word in words]


def distinct(proposals: Iterable[Proposal]) -> tuple[Proposal, ...]:
    """The first of each text."""
    return tuple({p.text: p for p in reversed(list(proposals))}.values())[::-1]


def _comment(known: Symbols, name: str) -> str:
    span = known.declared.get(name)
    return "" if span is None else describe.comment_on(span)
