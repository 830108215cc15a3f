"""Every name in a text, and what it stands for: the ground of hover, definition, references and rename.

Read off the syntax tree, so it is exact; an item that does not parse has no names here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from rewarden.lsp.known import Records, feature_of, records_of_rule, records_written
from rewarden.lsp.reading import Reading
from rewarden.lsp.tokens import Token, item_at, path_before, tokens_of
from rewarden.lsp.words import BUILT_IN
from rewarden.spec_lang import syntax
from rewarden.spec_lang.source import Span
from rewarden.spec_lang.symbols import Symbols

Kind = Literal["declared", "feature", "case", "rule", "record", "file", "built-in"]


@dataclass(frozen=True, slots=True)
class Target:
    """What a name stands for. `owner` is the record type of a feature, `Type.feature` or a parameter of a case, and for
    a record the item that quantifies it (by its offset)."""

    kind: Kind
    name: str
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Occurrence:
    start: int
    end: int
    target: Target
    declares: bool = False


@lru_cache(maxsize=8)
def occurrences(reading: Reading) -> tuple[Occurrence, ...]:
    """In source order. Readings are values, each its own: the pointer asks again and again of the same one."""
    found: list[Occurrence] = []
    for use in reading.uses():
        found.append(Occurrence(use.name_span.start, use.name_span.end, Target("file", use.alias), True))
    aliases = frozenset(use.alias for use in reading.uses())
    for item in reading.own_items():
        found.extend(_Names(reading, aliases, item).all())
    return tuple(sorted(set(found), key=lambda o: (o.start, o.end)))


def name_at(found: tuple[Occurrence, ...], offset: int) -> Occurrence | None:
    """The name that the offset is in, or at the end of."""
    return next((o for o in found if o.start <= offset <= o.end), None)


def as_written(reading: Reading, offset: int) -> Target | None:
    """What the name at the offset seems to stand for in an item that does not parse, by the item's tokens."""
    item = item_at(reading.source.text, offset)
    index = next((k for k, t in enumerate(item.tokens) if t.start <= offset <= t.end and t.kind == "name"), None)
    path = [] if index is None else [t.text for t in path_before(item.tokens, index + 1)]
    if not path:
        return None
    records = records_written(item, reading.known)
    owner, name = records.get(".".join(path[:-1])), ".".join(path)
    if owner is not None:
        return Target("feature", path[-1], owner)
    if name in records:
        return Target("record", name, str(item.start))
    return Target("built-in" if name in BUILT_IN else "declared", name)


class _Names:
    """The names of one item."""

    def __init__(self, reading: Reading, aliases: frozenset[str], item: syntax.Item) -> None:
        self.text = reading.source.text
        self.known: Symbols = reading.known
        self.aliases = aliases
        self.item = item
        self.owner = str(item.span.start)
        self.records: Records = {}
        self.as_cases: set[int] = set()  # names that are cases, whatever else has that name: nodes by identity

    def all(self) -> Iterator[Occurrence]:
        item = self.item
        match item:
            case syntax.FeaturesDecl():
                yield from self._features(item)
            case syntax.AssumeDecl(param=p, body=body):
                yield from self._params((p,))
                yield from self._expression(body)
            case syntax.RewardSymbol(name=name, name_span=span, params=params):
                yield self._declares("declared", name, span)
                yield from self._params(params)
            case syntax.DataSymbol(name=name, name_span=span):
                yield self._declares("declared", name, span)
                yield from self._members(item)
            case syntax.ParamDecl(name=name, name_span=span, value=value):
                yield self._declares("declared", name, span)
                yield from self._listed_cases(span.end, value.span.start, item.cases, name)
                if isinstance(value, syntax.Name):
                    yield from self._case(value, name, item.cases)
                yield from self._expression(value)
            case syntax.Definition(name=name, name_span=span, params=params, body=body):
                yield self._declares("declared", name, span)
                yield from self._params(params)
                yield from self._expression(body)
            case syntax.ExampleDecl():
                yield from self._example(item)
            case syntax.RuleDecl():
                yield from self._rule(item)

    # ── declarations ───────────────────────────────────────────────────────────────────────────
    def _declares(self, kind: Kind, name: str, span: Span, owner: str = "") -> Occurrence:
        return Occurrence(span.start, span.end, Target(kind, name, owner), True)

    def _features(self, item: syntax.FeaturesDecl) -> Iterator[Occurrence]:
        yield self._declares("declared", item.name, item.name_span)
        for f in item.fields:
            yield self._declares("feature", f.name, f.name_span, item.name)
            yield from self._listed_cases(f.name_span.end, f.span.end, f.cases, f"{item.name}.{f.name}")

    def _listed_cases(self, start: int, end: int, cases: tuple[str, ...], owner: str) -> Iterator[Occurrence]:
        for token in self._tokens(start, end) if cases else ():
            if token.text in cases:
                yield Occurrence(token.start, token.end, Target("case", token.text, owner), True)

    def _params(self, params: tuple[syntax.Param, ...]) -> Iterator[Occurrence]:
        for p in params:
            self.records[p.name] = p.type_name
            yield self._declares("record", p.name, p.span, self.owner)
            yield from self._path(p.type_name, p.type_span)

    def _members(self, item: syntax.DataSymbol) -> Iterator[Occurrence]:
        """The record types of a data declaration, whose members have no spans of their own."""
        kinds = dict.fromkeys(kind for _, kind in item.members)
        tokens = self._tokens(item.name_span.end, item.span.end)
        for k, token in enumerate(tokens):
            if token.text == ":":
                path = list(_path_after(tokens, k + 1))
                if path:
                    written = ".".join(t.text for t in path)
                    kind = next((n for n in kinds if n == written or n.endswith(f".{path[-1].text}")), written)
                    yield from self._parts(kind, path)

    def _rule(self, item: syntax.RuleDecl) -> Iterator[Occurrence]:
        yield self._declares("rule", item.name, item.name_span)
        match item.quantifier:
            case syntax.Forall(params=params, varying=varying):
                yield from self._params(params)
                for name in varying:
                    yield from self._feature(params[0].type_name, name.name, name.span.start)
            case syntax.Near(param=p, data=data, radius=radius):
                yield from self._params((p,))
                yield from self._path(data.name, data.span)
                if isinstance(radius, tuple):
                    yield from self._updates(p.type_name, radius)
            case syntax.ForallRows(name=row, name_span=span, data=data):
                yield self._declares("record", row, span, self.owner)
                yield from self._path(data.name, data.span)
            case syntax.Trace(param=p, relation=relation) | syntax.Cycle(param=p, relation=relation):
                yield from self._params((p,))
                if relation is not None:
                    yield from self._path(relation.name, relation.span)
        self.records |= records_of_rule(item.quantifier, self.known)
        for expr in syntax.item_expressions(item):
            yield from self._expression(expr)

    def _example(self, item: syntax.ExampleDecl) -> Iterator[Occurrence]:
        yield Occurrence(item.name_span.start, item.name_span.end, Target("rule", item.rule))
        rule = self.known.rules.get(item.rule)
        records = {} if rule is None else records_of_rule(rule.quantifier, self.known)
        for binding in (b for case in item.cases for b in case.records):
            start = binding.span.start
            if rule is not None and binding.record in records:
                target = Target("record", binding.record, str(rule.span.start))
                yield Occurrence(start, start + len(binding.record), target)
            yield from self._updates(records.get(binding.record, ""), binding.updates)
            for update in binding.updates:
                yield from self._expression(update.value)

    # ── expressions ────────────────────────────────────────────────────────────────────────────
    def _expression(self, root: syntax.Expr) -> Iterator[Occurrence]:
        for expr in syntax.walk(root):
            match expr:
                case syntax.Name(name=name, span=span):
                    if id(expr) not in self.as_cases:
                        yield from self._path(name, span)
                case syntax.Field(base=base, name=name, name_span=span):
                    owner = self._type_of(base)
                    if owner is not None:
                        yield from self._feature(owner, name, span.start)
                case syntax.Apply(function=function, name_span=span):
                    yield from self._path(function, span)
                case syntax.With(base=base, updates=updates):
                    yield from self._updates(self._type_of(base) or "", updates)
                case syntax.Compare():
                    yield from self._cases(expr)

    def _type_of(self, expr: syntax.Expr) -> str | None:
        """The record type of an expression that is a record."""
        match expr:
            case syntax.Name(name=name):
                return self.records.get(name)
            case syntax.Field(base=syntax.Name(name=row), name=member):
                return self.records.get(f"{row}.{member}")
            case syntax.With(base=base):
                return self._type_of(base)
            case syntax.Apply(function="anchor" | "first" | "last", arguments=(only,)):
                return self._type_of(only)
        return None

    def _updates(self, owner: str, updates: tuple[syntax.Update, ...]) -> Iterator[Occurrence]:
        for update in updates:
            yield from self._feature(owner, update.name, update.span.start)
            found = feature_of(self.known, owner, update.name)
            if isinstance(update.value, syntax.Name) and found is not None:
                yield from self._case(update.value, f"{owner}.{update.name}", found.cases)

    def _cases(self, compare: syntax.Compare) -> Iterator[Occurrence]:
        operands = [compare.first, *(e for _, e in compare.rest)]
        enums: list[tuple[str, tuple[str, ...]]] = []
        for operand in operands:
            owner = self._type_of(operand.base) if isinstance(operand, syntax.Field) else None
            found = feature_of(self.known, owner, operand.name) if isinstance(operand, syntax.Field) and owner else None
            if found is not None and found.cases:
                enums.append((f"{owner}.{found.name}", found.cases))
        of_param = self.known.cases_among(operands)
        if not enums and of_param is not None:
            enums = [of_param]
        for owner, cases in enums:
            for name in (e for e in operands if isinstance(e, syntax.Name)):
                yield from self._case(name, owner, cases)

    def _case(self, name: syntax.Name, owner: str, cases: tuple[str, ...]) -> Iterator[Occurrence]:
        case = syntax.case_name(name)
        if case in cases:
            self.as_cases.add(id(name))
            yield Occurrence(name.span.start, name.span.end, Target("case", case, owner))

    def _feature(self, owner: str, name: str, start: int) -> Iterator[Occurrence]:
        if feature_of(self.known, owner, name) is not None:
            yield Occurrence(start, start + len(name), Target("feature", name, owner))

    def _path(self, name: str, span: Span) -> Iterator[Occurrence]:
        """A name as the tree has it; `v.w.Step` in the text may be another in the tree."""
        yield from self._parts(name, [t for t in self._tokens(span.start, span.end) if t.kind == "name"])

    def _parts(self, name: str, parts: list[Token]) -> Iterator[Occurrence]:
        if not parts:
            return
        if len(parts) > 1 and parts[0].text in self.aliases:
            yield Occurrence(parts[0].start, parts[0].end, Target("file", parts[0].text))
        last = parts[-1]
        if len(parts) == 1 and name in self.aliases:
            yield Occurrence(last.start, last.end, Target("file", name))
        elif len(parts) == 1 and (name in self.records or any(r.startswith(f"{name}.") for r in self.records)):
            yield Occurrence(last.start, last.end, Target("record", name, self.owner))
        elif name in self.known.declared:
            yield Occurrence(last.start, last.end, Target("declared", name))
        elif len(parts) > 1 and name.rpartition(".")[0] in self.known.data:  # the rows of one member: prefs.better
            data = name.rpartition(".")[0]
            yield Occurrence(parts[-2].start, parts[-2].end, Target("declared", data))
        elif len(parts) == 1 and name in BUILT_IN:
            yield Occurrence(last.start, last.end, Target("built-in", name))

    def _tokens(self, start: int, end: int) -> tuple[Token, ...]:
        return tuple(t for t in tokens_of(self.text, start, end) if t.kind != "comment")


def _path_after(tokens: tuple[Token, ...], start: int) -> Iterator[Token]:
    k = start
    while k < len(tokens) and tokens[k].kind == "name":
        yield tokens[k]
        if k + 1 >= len(tokens) or tokens[k + 1].text != ".":
            return
        k += 2
