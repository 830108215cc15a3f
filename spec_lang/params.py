"""The values of a spec's parameters: declared, or set from outside under the same types and units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from rewarden.spec_lang import syntax
from rewarden.spec_lang.check import Checker
from rewarden.spec_lang.check_rules import check_param_value, in_order_of_use
from rewarden.spec_lang.diagnostics import did_you_mean
from rewarden.spec_lang.errors import SpecError
from rewarden.spec_lang.findings import Findings
from rewarden.spec_lang.forms import TooLarge
from rewarden.spec_lang.lower_expressions import Lowering
from rewarden.spec_lang.numerals import decimal
from rewarden.spec_lang.obligation import TRUE
from rewarden.spec_lang.parser import parse_expression
from rewarden.spec_lang.source import Source, Span
from rewarden.spec_lang.units import unit_or_plain
from rewarden.spec_lang.values import Context, Names


@dataclass(frozen=True, slots=True)
class ParamValue:
    """`value` is exact, in the declared unit; a bool is 0 or 1, of an enum it is the name of the case."""

    name: str
    kind: str
    unit: str | None
    value: Fraction | str
    overridden: bool


def overrides(checker: Checker, given: Mapping[str, object], findings: Findings) -> dict[str, syntax.Expr]:
    """The expressions that replace declared ones. Text is read as in a spec, so a unit is required where one is
    declared; a Python number is taken in the declared unit. N09, T01, U codes."""
    params = checker.symbols.params
    found: dict[str, syntax.Expr] = {}
    for name, value in given.items():
        source = Source("params", f"{name} = {value}"[:200])
        whole = Span(source, 0, len(source.text), 1, 1)
        if name not in params:
            message = f"the spec has no parameter {name}"
            findings.add("N09", message, Span(source, 0, len(name), 1, 1), help=did_you_mean(name, params))
            continue
        expr = _expression(params[name], value, whole, findings)
        if expr is not None and (_is_case(params[name], expr) or _names_nothing(params[name], expr, findings)):
            check_param_value(checker, params[name], expr)
            found[name] = expr
    return found


def _expression(declared: syntax.ParamDecl, value: object, whole: Span, findings: Findings) -> syntax.Expr | None:
    help = 'give a number, or text as in the spec: "0.5 [m/s]"'
    if declared.kind == "enum":
        help = f"give one of its cases: {', '.join(declared.cases[:12])}"
    match value:
        case bool():
            return syntax.Truth(value, whole)
        case str() if not value.strip():
            findings.add("T01", f"no value is given for {declared.name}", whole, help=help)
            return None
        case str():
            try:
                return parse_expression(Source(f"param {declared.name}", value))
            except SpecError as error:
                for d in error.diagnostics:
                    findings.add(d.code, d.message, d.labels, help=d.help)
                return None
        case int() | Fraction():
            return _signed(Fraction(value), declared, whole)
        case float() if math.isfinite(value):
            # The shortest decimal that names the float is what its author wrote: 0.02 means 1/50.
            return _signed(Fraction(repr(float(value))), declared, whole)  # of numpy.float64 too
    findings.add("T01", f"{declared.name} cannot be {value!r}"[:120], whole, help=help)
    return None


def _is_case(declared: syntax.ParamDecl, expr: syntax.Expr) -> bool:
    return isinstance(expr, syntax.Name) and expr.name in declared.cases


def _names_nothing(declared: syntax.ParamDecl, expr: syntax.Expr, findings: Findings) -> bool:
    used = [n for n in syntax.walk(expr) if isinstance(n, syntax.Name)]
    for node in used:
        if declared.kind == "enum" and node is expr:
            help = did_you_mean(node.name, declared.cases) or f"the cases are {', '.join(declared.cases[:12])}"
            findings.add("N05", f"{declared.name} has no case {node.name}", node.span, help=help)
            continue
        help = "write a number; parameters may refer to each other in the spec only"
        if declared.kind == "enum":
            help = f"write one of its cases: {', '.join(declared.cases[:12])}"
        findings.add("T07", f"the value of {declared.name} from outside mentions {node.name}", node.span, help=help)
    return not used


def _signed(value: Fraction, declared: syntax.ParamDecl, whole: Span) -> syntax.Expr:
    literal = syntax.Number(abs(value), declared.unit, False, whole)
    return syntax.Negate(literal, whole) if value < 0 else literal


def evaluate(
    checker: Checker, replaced: Mapping[str, syntax.Expr], findings: Findings
) -> tuple[dict[str, Fraction], dict[str, ParamValue]]:
    """All values, in coherent SI (a case by its number) and in declared units; each after those it uses."""
    symbols = checker.symbols
    si: dict[str, Fraction] = {}
    shown: dict[str, ParamValue] = {}
    for name in (*replaced, *in_order_of_use(symbols, findings)):
        # Overrides first: they mention no parameters.
        declared = symbols.params.get(name)
        if declared is None or name in si:
            continue
        si[name] = _value(declared, replaced.get(name, declared.value), checker, si, findings)
        value = si[name] if declared.kind == "bool" else unit_or_plain(declared.unit).from_si(si[name])
        if declared.kind == "int" and value.denominator != 1:
            message = f"{name} is an int, this is {decimal(value)}"
            findings.add("T13", message, replaced.get(name, declared.value).span)
        told = symbols.cases_of(name)[int(value)] if declared.kind == "enum" else value
        shown[name] = ParamValue(name, declared.kind, declared.unit, told, name in replaced)
    return si, shown


def _value(
    declared: syntax.ParamDecl, expr: syntax.Expr, checker: Checker, si: Mapping[str, Fraction], findings: Findings
) -> Fraction:
    lowering = Lowering(Context(checker.symbols, si, findings))
    try:
        if declared.kind == "bool":
            return Fraction(int(lowering.formula(expr, Names()) == TRUE))
        if declared.kind == "enum":
            found = lowering.among(expr, checker.symbols.cases_of(declared.name), Names())
            return Fraction(next(k for k, column in enumerate(found.columns) if column.constant == 1))
        return lowering.constant(expr)
    except TooLarge as error:
        findings.add("L05", str(error), expr.span)
        return Fraction(0)
