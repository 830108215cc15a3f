"""What stands in a spec and does nothing: features that no rule reads, declarations that nothing uses.

A rule reads a feature if a condition mentions it, if its records may differ in it (`varying`), if `with` changes it, or
if it takes part in being near data. Handing a whole record to a reward is not reading it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rewarden.spec_lang import syntax
from rewarden.spec_lang.obligation import (
    And,
    Atom,
    Call,
    Formula,
    Ite,
    Max,
    Min,
    Obligation,
    Or,
    Product,
    Quotient,
    Sqrt,
    Sum,
    Term,
    Var,
)
from rewarden.spec_lang.source import Span
from rewarden.spec_lang.spec import Spec


@dataclass(frozen=True, slots=True)
class Unused:
    kind: str
    name: str
    span: Span


def unread_features(spec: Spec, obligations: Sequence[Obligation]) -> dict[str, tuple[str, ...]]:
    """Record type → its features, in order, that none of these rules or their assumptions reads. A type of which
    nothing is read is left out: its records are taken as wholes."""
    read: dict[str, set[str]] = {name: set() for name in spec.features}
    for obligation in obligations:
        for type_name, feature in _read(spec, obligation):
            read[type_name].add(feature)
    found = {}
    for name, record in spec.features.items():
        unread = tuple(f.name for f in record.features if f.name not in read[name])
        if unread and read[name]:
            found[name] = unread
    return found


def _read(spec: Spec, obligation: Obligation) -> Iterator[tuple[str, str]]:
    """(type, feature) of everything that this obligation reads."""
    place: dict[int, tuple[str, str]] = {}
    for view in obligation.records:
        for index, column in zip(view.variables, spec.features[view.type_name].columns(), strict=True):
            place[index] = (view.type_name, column.feature)
    read: set[int] = set()
    for formula in (obligation.assume, obligation.premise, obligation.conclusion):
        for call, index in _mentions(formula):
            if call is None:
                read.add(index)
    read |= _varying(obligation)
    if obligation.instances is not None and not obligation.over_rows:
        read |= {index for index, _, _ in obligation.instances.centred} | {i for i, _ in obligation.instances.fixed}
    yield from (place[index] for index in sorted(read))
    for formula in (obligation.premise, obligation.conclusion):
        yield from _changed(spec, formula, place)


def _mentions(what: Term | Formula) -> Iterator[tuple[Call | None, int]]:
    """Variables, with the call to which one is handed as it is, if it is."""
    stack: list[tuple[Call | None, Term | Formula]] = [(None, what)]
    while stack:
        call, node = stack.pop()
        if isinstance(node, Var):
            yield call, node.index
        elif isinstance(node, Call):
            stack += [(node if isinstance(argument, Var) else None, argument) for argument in node.arguments]
        else:
            stack += [(None, child) for child in _children(node)]


def _changed(spec: Spec, formula: Formula, place: dict[int, tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Columns of the records that rewards are applied to which are not the same column of a quantified record."""
    stack: list[Term | Formula] = [formula]
    while stack:
        node = stack.pop()
        if isinstance(node, Call):
            kinds = [kind for _, kind in spec.rewards[node.reward].params]
            columns = [(kind, column.feature) for kind in kinds for column in spec.features[kind].columns()]
            for argument, column in zip(node.arguments, columns, strict=True):
                if not (isinstance(argument, Var) and place[argument.index] == column):
                    yield column
                    yield from (place[index] for _, index in _mentions(argument))
        stack += _children(node)


def _children(node: Term | Formula) -> tuple[Term | Formula, ...]:
    match node:
        case And(parts) | Or(parts):
            return parts
        case Sum(terms) | Min(terms) | Max(terms) | Call(_, terms):
            return terms
        case Product(left, right) | Quotient(left, right):
            return left, right
        case Sqrt(inner) | Atom(inner):
            return (inner,)
        case Ite(condition, then, otherwise):
            return condition, then, otherwise
        case _:
            return ()


def _varying(obligation: Obligation) -> set[int]:
    """Variables of records that share others: those in which the records may differ."""
    found: set[int] = set()
    for k, first in enumerate(obligation.records):
        for second in obligation.records[k + 1 :]:
            shared = set(first.variables) & set(second.variables)
            if shared:
                found |= (set(first.variables) | set(second.variables)) - shared
    return found


# ── declarations ───────────────────────────────────────────────────────────────────────────────
def unused_declarations(spec: Spec) -> tuple[Unused, ...]:
    """Of the file itself, in source order; none of a file without rules, which is there for others to use."""
    if not any(isinstance(item, syntax.RuleDecl) for item in spec.tree.items):
        return ()
    used = {name for item in spec.expanded.items if item.span.source == spec.source for name in _names(item)}
    written = used.union(
        *(_names(item) for item in spec.tree.items)
    )  # by the alias that stands there: a file may have two
    prefixes = {name.partition(".")[0] for name in written if "." in name}
    found = []
    for item in spec.tree.items:
        match item:
            case syntax.UseDecl(alias=name) if name not in prefixes:
                found.append(Unused("use", name, item.name_span))
            case syntax.FeaturesDecl(name=name) if name not in used:
                found.append(Unused("features", name, item.name_span))
            case syntax.RewardSymbol(name=name) if name not in used:
                found.append(Unused("reward", name, item.name_span))
            case syntax.DataSymbol(name=name) if name not in used and name not in prefixes:
                found.append(Unused("data", name, item.name_span))
            case syntax.ParamDecl(name=name) if name not in used:
                found.append(Unused("param", name, item.name_span))
            case syntax.Definition(name=name) if name not in used:
                found.append(Unused(item.kind, name, item.name_span))
    return tuple(found)


def _names(item: syntax.Item) -> Iterator[str]:
    """The names of declarations that an item mentions (and others, such as those of its records)."""
    for expr in syntax.item_expressions(item):
        for node in syntax.walk(expr):
            match node:
                case syntax.Name(name=name) | syntax.Apply(function=name):
                    yield name
                case syntax.Field():
                    yield syntax.dotted(node) or ""
    match item:
        case syntax.AssumeDecl(param=param):
            yield param.type_name
        case syntax.RewardSymbol(params=params) | syntax.Definition(params=params):
            yield from (p.type_name for p in params)
        case syntax.DataSymbol(members=members):
            yield from (kind for _, kind in members)
        case syntax.RuleDecl(quantifier=quantifier):
            yield from _quantifier_names(quantifier)


def _quantifier_names(quantifier: syntax.Quantifier) -> Iterator[str]:
    match quantifier:
        case syntax.Forall(params=params):
            yield from (p.type_name for p in params)
        case syntax.Near(param=param, data=data):
            yield from (param.type_name, data.name)
        case syntax.ForallRows(data=data):
            yield data.name
        case syntax.Trace(param=param, relation=relation):
            yield param.type_name
            if relation is not None:
                yield relation.name
        case syntax.Cycle(param=param, relation=relation):
            yield from (param.type_name, relation.name)
