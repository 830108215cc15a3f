"""`s with {speed = …}`: simultaneous updates that are shown to stay in range, or refused with the missing premise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewarden.spec_lang import bounds, syntax
from rewarden.spec_lang.features import Feature
from rewarden.spec_lang.forms import Form, form_of
from rewarden.spec_lang.numerals import decimal
from rewarden.spec_lang.obligation import And, Atom, Const, Ite, Max, Min, Or, Product, Sum, Term, Var
from rewarden.spec_lang.values import Names, RecordValue, Vector, column_of

if TYPE_CHECKING:
    from rewarden.spec_lang.lower_expressions import Lowering


def updated(lowering: Lowering, expr: syntax.With, names: Names) -> RecordValue:
    """The record with its updates, all read from the record as it was. Reports L01 and T13."""
    base = lowering.record(expr.base, names)
    columns = list(base.columns)
    for update in expr.updates:
        feature = base.type.feature(update.name)
        start = base.type.offset(update.name)
        columns[start : start + feature.width] = _columns(lowering, update, feature, names)
    return RecordValue(base.type, tuple(columns))


def _columns(lowering: Lowering, update: syntax.Update, feature: Feature, names: Names) -> tuple[Form, ...]:
    """The new encoded columns, in problem units."""
    if feature.kind == "enum":
        return lowering.among(update.value, feature.cases, names).columns
    match lowering.value(update.value, names):
        case And() | Or() | Atom() as formula:
            return (column_of(formula, lowering.context.bits),)
        case Vector(elements=elements):
            values = elements
        case Form() as single:
            values = (single,)
        case other:
            raise AssertionError(f"type checking leaves no {type(other).__name__} here")
    unit = lowering.symbols.unit_of(feature)
    found = tuple(v.shifted(-unit.offset).scaled(1 / unit.factor) for v in values)
    for value in found:
        _check(lowering, update, feature, value)
    return found


def _check(lowering: Lowering, update: syntax.Update, feature: Feature, value: Form) -> None:
    context = lowering.context
    if feature.kind == "int" and not _whole(value, lowering):
        message = f"{feature.name} is an int, and this need not be a whole number"
        context.findings.add("T13", message, update.value.span)
    unit = f" [{feature.unit}]" if feature.unit else ""
    sides = (
        (value.shifted(-feature.lo), ">=", feature.lo),
        ((-value).shifted(feature.hi), "<=", feature.hi),
    )
    for slack, op, end in sides:
        if bounds.at_least_zero(slack, context.premise, context.variables, context.bits):
            continue
        message = f"{feature.name} may leave its range {decimal(feature.lo)} .. {decimal(feature.hi)}{unit}"
        if value.is_constant:
            help = f"{decimal(value.constant)}{unit} is outside"
        else:
            help = f"add {_premise(lowering, update, slack, op, f'{decimal(end)}{unit}')} to `given`"
        context.findings.add("L01", message, update.value.span, help=help)
        return


def _premise(lowering: Lowering, update: syntax.Update, slack: Form, op: str, end: str) -> str:
    """The condition that is missing, solved for the variable where there is only one."""
    match list(slack.parts.items()):
        case [(Var(index=index), c)]:
            v = lowering.context.variables[index]
            value = decimal(-slack.constant / c)
            unit = f" [{v.unit}]" if v.unit else ""
            return f"`{v.name} {'>=' if c > 0 else '<='} {value}{unit}`"
    text = " ".join(update.value.span.text.split())
    return f"`{text} {op} {end}`"


def _whole(value: Form, lowering: Lowering) -> bool:
    """Whether the value is shown to be an integer."""
    return value.constant.denominator == 1 and all(
        c.denominator == 1 and _whole_term(t, lowering) for t, c in value.parts.items()
    )


def _whole_term(term: Term, lowering: Lowering) -> bool:
    match term:
        case Const(value=value):
            return value.denominator == 1
        case Var(index=index):
            return lowering.context.variables[index].discrete
        case Min(terms=terms) | Max(terms=terms):
            return all(_whole_term(t, lowering) for t in terms)
        case Sum() | Product(left=Const()):
            return _whole(form_of(term), lowering)
        case Product(left=left, right=right) | Ite(then=left, otherwise=right):
            return _whole_term(left, lowering) and _whole_term(right, lowering)
        case _:
            return False
