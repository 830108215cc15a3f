"""The type, unit and interval of any expression of a text.

Types are the checker's. Intervals are those of `spec_lang.bounds` over the lowered expression, by the features' ranges
alone: what a premise adds is left out, so they hold wherever the expression stands. They need types that are right,
so there is none while the text has other than lowering errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from rewarden.lsp import describe
from rewarden.lsp.known import records_of_rule
from rewarden.lsp.reading import Reading
from rewarden.spec_lang import bounds, forms, syntax
from rewarden.spec_lang.check import Checker
from rewarden.spec_lang.errors import SpecError
from rewarden.spec_lang.findings import Findings
from rewarden.spec_lang.forms import Form, TooLarge
from rewarden.spec_lang.lower import Domain, quantify
from rewarden.spec_lang.lower_expressions import Lowering
from rewarden.spec_lang.params import evaluate
from rewarden.spec_lang.scope import CONSTANT, Scope, Steps
from rewarden.spec_lang.symbols import Symbols
from rewarden.spec_lang.types import EnumType, NumberType, RecordOf, Type, UnknownType
from rewarden.spec_lang.units import dimension_name, unit_or_plain
from rewarden.spec_lang.values import Context, Names, RecordValue, RowValue, Vector

_OF_STEPS = ("sum", "first", "last", "share")  # of a whole trace or of all rows: no one record to take ranges of
Place = tuple[syntax.Item, tuple[syntax.Expr, ...]]
"""An item, and the expressions in it that hold an offset, from the outermost."""


def place_at(reading: Reading, offset: int) -> Place | None:
    for item in reading.own_items():
        for root in syntax.item_expressions(item):
            if root.span.start <= offset <= root.span.end:
                return item, tuple(_path(root, offset))
    return None


def _path(root: syntax.Expr, offset: int) -> Iterator[syntax.Expr]:
    node: syntax.Expr | None = root
    while node is not None:
        yield node
        inner = [c for c in syntax.children(node) if c.span.start <= offset <= c.span.end]
        node = next((c for c in inner if offset < c.span.end), inner[0] if inner else None)


def type_of(reading: Reading, place: Place) -> Type | None:
    """The type of the innermost expression; None where the checker has none for it."""
    item, path = place
    symbols, checker = reading.analysis.symbols, reading.analysis.checker
    if symbols is None or checker is None:
        return None
    typing = Checker(symbols, Findings(limit=None))
    typing.results = checker.results
    scope = _scope(item, symbols)
    if scope.steps is not None and any(_each_step(outer) for outer in path[:-1]):
        scope = scope.each_step()
    found = typing.type_of(path[-1], scope)
    return None if isinstance(found, UnknownType) else found


def type_text(found: Type) -> str:
    match found:
        case NumberType(size=size, unit=unit) if found.dimension:
            vector = f"a vector of {size}, " if size > 1 else ""
            return f"{vector}{dimension_name(found.dimension)} [{unit}]"
        case EnumType(feature=feature, cases=cases):
            return f"one of the {len(cases)} cases of {feature}"
        case RecordOf(type_name=name):
            return f"a record of type {name}"
        case _:
            return str(found)


def interval_text(reading: Reading, place: Place, found: Type) -> str | None:
    """`from 0 to 2.5 m/s`; None for what is no number, or not bounded by the ranges."""
    if not isinstance(found, NumberType):
        return None
    ends = interval(reading, place)
    if ends is None or ends == (None, None):
        return None
    unit = unit_or_plain(found.unit or None)
    lo, hi = (None if end is None else describe.number(unit.from_si(end)) for end in ends)
    name = f" {found.unit}" if found.unit else ""
    if lo is None or hi is None:
        return f"at most {hi}{name}" if lo is None else f"at least {lo}{name}"
    return f"always {lo}{name}" if ends[0] == ends[1] else f"from {lo} to {hi}{name}"


def interval(reading: Reading, place: Place) -> bounds.Interval | None:
    """Of the innermost expression, in coherent SI; of a vector, that of all its elements."""
    item, path = place
    symbols, checker = reading.analysis.symbols, reading.analysis.checker
    wrong = any(d.severity == "error" and d.code[0] != "L" for d in reading.analysis.diagnostics)
    if symbols is None or checker is None or wrong:
        return None
    if any(isinstance(e, syntax.Apply) and e.function in _OF_STEPS for e in syntax.walk(path[-1])):
        return None
    try:
        domain = quantify(_as_rule(item), symbols)
        params, _ = evaluate(checker, {}, Findings(limit=None))
        context = Context(symbols, params, Findings(limit=None), domain.variables, domain.bits)
        value = Lowering(context).value(path[-1], _names(item, domain, symbols))
    except (TooLarge, SpecError):
        return None
    elements = value.elements if isinstance(value, Vector) else (value,) if isinstance(value, Form) else ()
    if not elements:
        return None
    ends = [bounds.of_form(form, context.ranges) for form in elements]
    lo, hi = _least([lo for lo, _ in ends]), _greatest([hi for _, hi in ends])
    return (max(lo or Fraction(0), Fraction(0)) if _is_size(path[-1]) else lo), hi


def _is_size(expr: syntax.Expr) -> bool:
    """Absolute values and norms are never negative, which the bounds of a maximum do not see."""
    return isinstance(expr, syntax.Abs) or (isinstance(expr, syntax.Apply) and expr.function in ("linf", "l1", "l2"))


def _least(ends: list[Fraction | None]) -> Fraction | None:
    known = [e for e in ends if e is not None]
    return min(known) if len(known) == len(ends) else None


def _greatest(ends: list[Fraction | None]) -> Fraction | None:
    known = [e for e in ends if e is not None]
    return max(known) if len(known) == len(ends) else None


# ── what is in scope ───────────────────────────────────────────────────────────────────────────
def _scope(item: syntax.Item, symbols: Symbols) -> Scope:
    match item:
        case syntax.AssumeDecl(param=p):
            return Scope({p.name: p.type_name}, rewards=False)
        case syntax.Definition(params=params):
            return Scope({p.name: p.type_name for p in params})
        case syntax.RuleDecl(quantifier=syntax.Near(param=p, away=False)):
            return Scope({p.name: p.type_name}, anchored=frozenset((p.name,)))
        case syntax.RuleDecl(quantifier=syntax.Trace(param=p, exact=exact)):
            return Scope(steps=Steps(p.name, p.type_name, closed=False, exact=exact))
        case syntax.RuleDecl(quantifier=syntax.Cycle(param=p)):
            return Scope(steps=Steps(p.name, p.type_name, closed=True, exact=False))
        case syntax.RuleDecl(quantifier=syntax.ForallRows(name=name, data=data)):
            members = symbols.rows_of(data.name) or ()
            single = len(members) == 1 and not members[0][0]
            return Scope({name: members[0][1]}) if single else Scope(rows={name: members})
        case syntax.RuleDecl(quantifier=quantifier):
            return Scope(records_of_rule(quantifier, symbols))
        case _:
            return CONSTANT


def _each_step(outer: syntax.Expr) -> bool:
    return isinstance(outer, syntax.Temporal) or (isinstance(outer, syntax.Apply) and outer.function == "sum")


def _as_rule(item: syntax.Item) -> syntax.RuleDecl:
    """The item as a rule about the records that it takes."""
    if isinstance(item, syntax.RuleDecl):
        return item
    params: tuple[syntax.Param, ...] = ()
    match item:
        case syntax.AssumeDecl(param=p):
            params = (p,)
        case syntax.Definition(params=several):
            params = several
    everything = syntax.Truth(True, item.span)
    quantifier = syntax.Forall(params, (), item.span)
    return syntax.RuleDecl("must", "_", "", quantifier, None, everything, None, None, None, None, item.span, item.span)


def _names(item: syntax.Item, domain: Domain, symbols: Symbols) -> Names:
    """The records of the domain under the names that the expression has for them."""
    records = {
        view.name: RecordValue(symbols.records[view.type_name], tuple(forms.variable(i) for i in view.variables))
        for view in domain.records
    }
    quantifier = item.quantifier if isinstance(item, syntax.RuleDecl) else None
    match quantifier:
        case syntax.Trace(param=p) | syntax.Cycle(param=p):
            return Names({p.name: next(iter(records.values()))})
        case syntax.ForallRows(name=name) if name not in records:
            members = {view.removeprefix(f"{name}."): value for view, value in records.items()}
            return Names(rows={name: RowValue(members)})
        case syntax.Near(param=p) if domain.anchor is not None:
            return Names(records, {p.name: records[domain.anchor.name]})
    return Names(records)
