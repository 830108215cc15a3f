"""`sum`, `always`, `eventually`, `first` and `last` of a trace or cycle with a given number of records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from rewarden.spec_lang import syntax
from rewarden.spec_lang.forms import Form, combine
from rewarden.spec_lang.formulas import conjunction, disjunction
from rewarden.spec_lang.obligation import Formula
from rewarden.spec_lang.steps import over_moves
from rewarden.spec_lang.values import Names, RecordValue, StepsValue

if TYPE_CHECKING:
    from rewarden.spec_lang.lower_expressions import Lowering


def temporal(lowering: Lowering, expr: syntax.Temporal, names: Names) -> Formula:
    parts = [lowering.formula(expr.inner, step) for step in _steps(lowering, expr.inner, names)]
    return conjunction(parts) if expr.op == "always" else disjunction(parts)


def summed(lowering: Lowering, expr: syntax.Apply, names: Names) -> Form:
    """Σ over records, or over moves where the body speaks of them; the i-th term times γ to the i."""
    body, factor = expr.arguments[0], Fraction(1)
    if isinstance(body, syntax.Discounted):
        factor = _discount(lowering, body.factor)
        body = body.inner
    terms = [lowering.number(body, step) for step in _steps(lowering, body, names)]
    return combine((term, factor**i) for i, term in enumerate(terms))


def end(expr: syntax.Apply, names: Names) -> RecordValue:
    steps = _of(names)
    return steps.records[0 if expr.function == "first" else -1]


def _of(names: Names) -> StepsValue:
    assert names.steps is not None, "type checking leaves these to traces and cycles"
    return names.steps


def _steps(lowering: Lowering, body: syntax.Expr, names: Names) -> Iterator[Names]:
    """The names for each record in turn, or for each move."""
    steps = _of(names)
    if over_moves(body, steps.name, lowering.symbols):
        for here, after in steps.moves():
            yield replace(names, records={**names.records, steps.name: here}, after=after)
    else:
        for here in steps.records:
            yield replace(names, records={**names.records, steps.name: here})


def _discount(lowering: Lowering, expr: syntax.Expr) -> Fraction:
    factor = lowering.constant(expr)
    if not 0 < factor <= 1:
        help = "a discount lies above 0 and is at most 1, as in 0.95"
        lowering.context.findings.add("T08", "a discount out of 0 .. 1", expr.span, help=help)
        return Fraction(1)
    return factor
