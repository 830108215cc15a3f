"""The types of applications: rewards, definitions and the built-in functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from rewarden.spec_lang import syntax, units
from rewarden.spec_lang.diagnostics import did_you_mean
from rewarden.spec_lang.scope import Scope
from rewarden.spec_lang.steps import is_move
from rewarden.spec_lang.types import (
    BOOL,
    PLAIN_NUMBER,
    UNKNOWN,
    ZERO,
    NumberType,
    RecordOf,
    RowOf,
    Type,
    UnknownType,
    derived,
)

if TYPE_CHECKING:
    from rewarden.spec_lang.check import Checker


class FunctionChecks:
    """One method per function; `checker` types the arguments."""

    def __init__(self, checker: Checker) -> None:
        self.checker = checker
        self.symbols = checker.symbols
        self.findings = checker.findings

    def apply(self, expr: syntax.Apply, scope: Scope) -> Type:
        name = expr.function
        s = self.symbols
        if name in s.rewards:
            return self._reward(expr, scope)
        if name in s.definitions:
            self._arguments(expr, s.definitions[name].params, scope)
            return self.checker.results.get(name, UNKNOWN)
        built_in: dict[str, Callable[[syntax.Apply, Scope], Type]] = {
            "min": self._extremum,
            "max": self._extremum,
            "linf": self._norm,
            "l1": self._norm,
            "l2": self._norm,
            "dot": self._dot,
            "mean": self._statistic,
            "quantile": self._statistic,
            "beyond": self._beyond,
            "anchor": self._anchor,
            "sum": self.checker.steps.sum,
            "first": self.checker.steps.end,
            "last": self.checker.steps.end,
            "share": self._share,
        }
        if name in built_in:
            return built_in[name](expr, scope)
        self.findings.add("N07", f"unknown function {name}", expr.name_span, help=did_you_mean(name, s.functions()))
        return UNKNOWN

    def _count(self, expr: syntax.Apply, count: int, form: str) -> bool:
        if len(expr.arguments) == count:
            return True
        number = f"{count} argument" + ("" if count == 1 else "s")
        message = f"{expr.function} takes {number}, found {len(expr.arguments)}"
        self.findings.add("T04", message, expr.span, help=f"write {form}")
        return False

    def _reward(self, expr: syntax.Apply, scope: Scope) -> Type:
        symbol = self.symbols.rewards[expr.function]
        if not scope.rewards:
            message = f"reward {expr.function} has no place here"
            self.findings.add("T09", message, expr.span, help="assumptions and constants speak of features only")
            return UNKNOWN
        data = [d for a in expr.arguments if (d := self.data_name(a)) is not None]
        if data and data[0] not in scope.records:
            help = f"write quantile({expr.function}({data[0]}), 0.05), mean, min or max of it"
            self.findings.add("T01", "this is one value for each row of the data", expr.span, help=help)
            return UNKNOWN
        self._arguments(expr, symbol.params, scope)
        return PLAIN_NUMBER

    def data_name(self, expr: syntax.Expr) -> str | None:
        """`logs`, or `prefs.better` for one member's rows."""
        name = syntax.dotted(expr)
        return name if name is not None and self.symbols.rows_of(name) is not None else None

    def _arguments(self, expr: syntax.Apply, params: tuple[syntax.Param, ...], scope: Scope) -> None:
        form = f"{expr.function}({', '.join(f'{p.name}: {p.type_name}' for p in params)})"
        steps = scope.steps
        if steps is not None and steps.name in scope.records and is_move(expr, steps.name, self.symbols):
            params = params[:1] if params[0].type_name == params[1].type_name else params
        found = [self.checker.type_of(a, scope) for a in expr.arguments]
        match found:
            case [RowOf(members=members)] if tuple(kind for _, kind in members) == tuple(p.type_name for p in params):
                return
        if not self._count(expr, len(params), form):
            return
        for argument, wanted, given in zip(expr.arguments, params, found, strict=True):
            if isinstance(given, UnknownType) or given == RecordOf(wanted.type_name):
                continue
            kinds = {wanted.type_name, *((given.type_name,) if isinstance(given, RecordOf) else ())}
            if not kinds <= set(self.symbols.records):
                continue  # N03 has been said
            message = f"{expr.function} takes a {wanted.type_name} here, found {given}"
            self.findings.add("T05", message, argument.span, help=f"it is declared {form}")

    def _extremum(self, expr: syntax.Apply, scope: Scope) -> Type:
        match expr.arguments:
            case (syntax.Apply(function=name, arguments=(over,)),) if (
                name in self.symbols.rewards and self.data_name(over) is not None
            ):
                return self._statistic(expr, scope)
            case ():
                self.findings.add("T04", f"{expr.function} needs arguments", expr.span, help="write min(a, b)")
                return UNKNOWN
        if len(expr.arguments) == 1:
            only = expr.arguments[0]
            found = self.checker.measured(self.checker.number(only, scope), only, expr.function)
            return found if isinstance(found, UnknownType) else replace(found, affine=False, size=1)
        first = expr.arguments[0]
        left = self.checker.measured(self.checker.plain(first, scope, expr.function), first, expr.function)
        for argument in expr.arguments[1:]:
            right = self.checker.measured(self.checker.plain(argument, scope, expr.function), argument, expr.function)
            if isinstance(left, UnknownType) or isinstance(right, UnknownType):
                left = UNKNOWN
            else:
                left = self.checker.units.join(left, right, first, argument, "compare")
        return left

    def _vector(self, expr: syntax.Expr, scope: Scope, what: str) -> NumberType | UnknownType:
        found = self.checker.measured(self.checker.number(expr, scope), expr, what)
        if isinstance(found, NumberType) and found.size == 1:
            help = "write |x| for a number" if what != "dot" else None
            self.findings.add("T01", f"{what} takes a vector, found {found}", expr.span, help=help)
            return UNKNOWN
        return found

    def _norm(self, expr: syntax.Apply, scope: Scope) -> Type:
        if not self._count(expr, 1, f"{expr.function}(v)"):
            return UNKNOWN
        found = self._vector(expr.arguments[0], scope, expr.function)
        return found if isinstance(found, UnknownType) else replace(found, affine=False, size=1, computed=True)

    def _dot(self, expr: syntax.Apply, scope: Scope) -> Type:
        if not self._count(expr, 2, "dot(v, w)"):
            return UNKNOWN
        left, right = (self._vector(a, scope, "dot") for a in expr.arguments)
        if isinstance(left, UnknownType) or isinstance(right, UnknownType):
            return UNKNOWN
        if left.size != right.size:
            self.findings.add("T01", f"dot of {left} and {right}", expr.span)
            return UNKNOWN
        if left.dimension is None or right.dimension is None:
            return ZERO
        return derived(units.multiply(left.dimension, right.dimension))

    def _statistic(self, expr: syntax.Apply, scope: Scope) -> Type:
        name = expr.function
        form = "quantile(R(d), 0.05)" if name == "quantile" else f"{name}(R(d))"
        if not self._count(expr, 2 if name == "quantile" else 1, form):
            return UNKNOWN
        match expr.arguments[0]:
            case syntax.Apply(function=reward, arguments=(over,)) if (
                reward in self.symbols.rewards and syntax.dotted(over) is not None
            ):
                self._data_constant(expr, reward, over, scope)
            case other:
                message = f"{name} is taken of a reward over a data set"
                self.findings.add("T01", message, other.span, help=f"write {form}, d a declared data set")
        if name == "quantile":
            self._fraction(expr.arguments[1], "a quantile's level")
        return PLAIN_NUMBER

    def _data_constant(self, expr: syntax.Apply, reward: str, over: syntax.Expr, scope: Scope) -> None:
        s = self.symbols
        if not scope.rewards:
            self.findings.add("T09", f"reward {reward} has no place here", expr.span)
        data = syntax.dotted(over) or ""
        members = s.rows_of(data)
        if members is None:
            self.findings.add("N06", f"unknown data set {data}", over.span, help=did_you_mean(data, s.data))
            return
        wanted = tuple(p.type_name for p in s.rewards[reward].params)
        found = tuple(type_name for _, type_name in members)
        if wanted != found:
            message = f"{reward} takes ({', '.join(wanted)}), the rows of {data} are ({', '.join(found)})"
            help = None
            if len(wanted) == 1 and wanted[0] in found:
                help = f"name the member: {reward}({data}.{members[found.index(wanted[0])][0]})"
            self.findings.add("T05", message, over.span, help=help)

    def _share(self, expr: syntax.Apply, scope: Scope) -> Type:
        help = "the whole conclusion of a rule over data: expect share(q) >= 0.6"
        self.findings.add("T19", "a share is compared with a constant, and nothing else", expr.span, help=help)
        return UNKNOWN

    def _beyond(self, expr: syntax.Apply, scope: Scope) -> Type:
        if not self._count(expr, 2, "beyond(g(s), 5 %)"):
            return UNKNOWN
        self.checker.predicate(expr.arguments[0], scope)
        self._fraction(expr.arguments[1], "the rim's width")
        return BOOL

    def _anchor(self, expr: syntax.Apply, scope: Scope) -> Type:
        if not self._count(expr, 1, "anchor(x)"):
            return UNKNOWN
        match expr.arguments[0]:
            case syntax.Name(name=name) if name in scope.anchored:
                return RecordOf(scope.records[name])
        help = "it is the data row of x in `forall x: T near d within r`"
        self.findings.add("T14", "anchor is taken of the record of a rule near data", expr.span, help=help)
        return UNKNOWN

    def _fraction(self, expr: syntax.Expr, what: str) -> None:
        found = self.checker.constant(expr, what)
        if not isinstance(found, UnknownType) and not (isinstance(found, NumberType) and not found.dimension):
            self.findings.add("T01", f"{what} is a plain number or a percentage, found {found}", expr.span)
