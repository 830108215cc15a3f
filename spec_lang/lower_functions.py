"""Rewards, definitions and built-in functions, applied: one function each."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from rewarden.spec_lang import forms, syntax
from rewarden.spec_lang.beyond import NotLinear, beyond
from rewarden.spec_lang.forms import ONE, Form, combine
from rewarden.spec_lang.lower_steps import end, summed
from rewarden.spec_lang.obligation import TRUE, Call, Formula, Max, Min, Statistic
from rewarden.spec_lang.steps import is_move
from rewarden.spec_lang.values import Names, RecordValue, RowValue, Value, Vector

if TYPE_CHECKING:
    from rewarden.spec_lang.lower_expressions import Lowering


def applied(lowering: Lowering, expr: syntax.Apply, names: Names) -> Value:
    """The value of an application whose types have been checked."""
    name = expr.function
    symbols = lowering.symbols
    if name in symbols.rewards:
        arguments = _records(lowering, expr, names)
        lowering.context.spend(sum(len(a.columns) for a in arguments))
        columns = [c for a in arguments for c in a.columns]
        return forms.leaf(Call(name, tuple(c.term() for c in columns)), *columns)
    if name in symbols.definitions:
        definition = symbols.definitions[name]
        given = _records(lowering, expr, names)
        inner = Names({p.name: v for p, v in zip(definition.params, given, strict=True)})
        return lowering.value(definition.body, inner)
    match name:
        case "sum":
            return summed(lowering, expr, names)
        case "first" | "last":
            return end(expr, names)
        case "anchor":
            assert isinstance(expr.arguments[0], syntax.Name)
            return names.anchors[expr.arguments[0].name]
        case "beyond":
            return _beyond(lowering, expr, names)
        case "quantile" | "mean":
            return _statistic(lowering, expr)
        case "min" | "max" if _over_data(lowering, expr):
            return _statistic(lowering, expr)
        case "min" | "max":
            values = [lowering.value(a, names) for a in expr.arguments]
            single = [f for v in values for f in (v.elements if isinstance(v, Vector) else (v,))]
            return forms.extremum(Min if name == "min" else Max, [f for f in single if isinstance(f, Form)])
        case "dot":
            left, right = (_vector(lowering, a, names) for a in expr.arguments)
            return combine((forms.product(a, b), ONE) for a, b in zip(left, right, strict=True))
        case _:
            return _norm(name, _vector(lowering, expr.arguments[0], names))


def _records(lowering: Lowering, expr: syntax.Apply, names: Names) -> list[RecordValue]:
    """The arguments as records: a row of pairs gives its members, the variable of a trace a move where two are due."""
    values = [lowering.value(a, names) for a in expr.arguments]
    match values:
        case [RowValue(members=members)]:
            return list(members.values())
    records = [v for v in values if isinstance(v, RecordValue)]
    assert len(records) == len(values), "type checking leaves records where records belong"
    if names.steps is not None and names.after is not None and is_move(expr, names.steps.name, lowering.symbols):
        records.append(names.after)
    return records


def _vector(lowering: Lowering, expr: syntax.Expr, names: Names) -> tuple[Form, ...]:
    found = lowering.value(expr, names)
    assert isinstance(found, Vector)
    lowering.context.spend(len(found.elements))
    return found.elements


def _norm(name: str, elements: tuple[Form, ...]) -> Form:
    match name:
        case "linf":
            return forms.extremum(Max, [f for e in elements for f in (e, -e)])
        case "l1":
            return combine((forms.absolute(e), ONE) for e in elements)
        case _:
            return forms.square_root(combine((forms.product(e, e), ONE) for e in elements))


# ── data constants ─────────────────────────────────────────────────────────────────────────────
def _over_data(lowering: Lowering, expr: syntax.Apply) -> bool:
    match expr.arguments:
        case (syntax.Apply(function=reward, arguments=(over,)),) if reward in lowering.symbols.rewards:
            name = syntax.dotted(over)
            return name is not None and lowering.symbols.rows_of(name) is not None
    return False


def _statistic(lowering: Lowering, expr: syntax.Apply) -> Form:
    inner = expr.arguments[0]
    assert isinstance(inner, syntax.Apply)
    data = syntax.dotted(inner.arguments[0])
    assert data is not None
    match expr.function:
        case "quantile":
            level = _level(lowering, expr.arguments[1])
            return forms.leaf(Statistic("quantile", inner.function, data, level))
        case "mean" | "min" | "max" as kind:
            return forms.leaf(Statistic(kind, inner.function, data))
    raise AssertionError(expr.function)


def _level(lowering: Lowering, expr: syntax.Expr) -> Fraction:
    level = lowering.constant(expr)
    if not 0 <= level <= 1:
        help = "a level lies between 0 and 1, as in 0.05 or 5 %"
        lowering.context.findings.add("T08", "a quantile's level out of 0 .. 1", expr.span, help=help)
    return level


# ── locality ───────────────────────────────────────────────────────────────────────────────────
def _beyond(lowering: Lowering, expr: syntax.Apply, names: Names) -> Formula:
    context = lowering.context
    region = lowering.formula(expr.arguments[0], names)
    rim = lowering.constant(expr.arguments[1])
    if not 0 < rim <= 1:
        help = "the rim is a part of each range, as in 5 %"
        context.findings.add("T08", "a rim's width out of 0 .. 100 %", expr.arguments[1].span, help=help)
        return TRUE
    try:
        return beyond(region, rim, context.variables, context.bits)
    except NotLinear as error:
        message = "`beyond` needs linear comparisons and discrete conditions"
        help = "products of features, l2, rewards and data constants have no polytopes"
        context.findings.add("L03", message, error.origin or expr.span, help=help)
        return TRUE
