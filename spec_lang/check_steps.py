"""The types of what speaks of a trace or a cycle: `sum`, `always`, `eventually`, `first` and `last`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rewarden.spec_lang import syntax
from rewarden.spec_lang.scope import Scope, Steps
from rewarden.spec_lang.steps import step_uses
from rewarden.spec_lang.types import BOOL, UNKNOWN, RecordOf, Type

if TYPE_CHECKING:
    from rewarden.spec_lang.check import Checker


class StepChecks:
    def __init__(self, checker: Checker) -> None:
        self.checker = checker
        self.findings = checker.findings

    def bare(self, expr: syntax.Name, steps: Steps) -> None:
        name = steps.name
        kind = "cycle" if steps.closed else "trace"
        help = f"write sum(R({name})) or always g({name})"
        if not steps.closed:
            help = f"write first({name}), last({name}), sum(R({name})) or always g({name})"
        self.findings.add("T15", f"{name} is a whole {kind}, not a record", expr.span, help=help)

    def _inside(self, expr: syntax.Expr, word: str, scope: Scope) -> Steps | None:
        """The trace that the word speaks of; None (T17) outside of one."""
        if scope.steps is None or scope.steps.name in scope.records:
            place = "inside another of its kind" if scope.steps is not None else "outside of `trace` and `cycle`"
            self.findings.add("T17", f"`{word}` has no meaning {place}", expr.span)
            return None
        return scope.steps

    def temporal(self, expr: syntax.Temporal, scope: Scope) -> Type:
        steps = self._inside(expr, expr.op, scope)
        if steps is None:
            return BOOL
        if expr.op == "eventually" and (steps.closed or not steps.exact):
            help = "a trace that may end at once need not reach anything: write trace … of n steps"
            self.findings.add("T17", "`eventually` needs a trace of exactly n steps", expr.span, help=help)
        self.checker.predicate(expr.inner, self._step(expr.inner, steps, scope))
        return BOOL

    def _step(self, body: syntax.Expr, steps: Steps, scope: Scope) -> Scope:
        """The scope of one step; T16 where records and moves are counted together."""
        moves, records = step_uses(body, steps.name, self.checker.symbols)
        if moves and records:
            message = f"{steps.name} stands for every record here, and for every move there"
            help = "there is one record more than there are moves: use a sum for each"
            self.findings.add("T16", message, records[0].span, help=help)
        return scope.each_step()

    def sum(self, expr: syntax.Apply, scope: Scope) -> Type:
        steps = self._inside(expr, "sum", scope)
        if steps is None:
            return UNKNOWN
        if len(expr.arguments) != 1:
            self.findings.add("T04", f"sum takes 1 argument, found {len(expr.arguments)}", expr.span)
            return UNKNOWN
        body = expr.arguments[0]
        if isinstance(body, syntax.Discounted):
            self._discount(body, steps)
            body = body.inner
        inner = self._step(body, steps, scope)
        found = self.checker.measured(self.checker.plain(body, inner, "sum"), body, "sum")
        if step_uses(body, steps.name, self.checker.symbols) == ([], []):
            help = f"as in sum(R({steps.name}))"
            self.findings.add("T16", f"this sum does not speak of {steps.name}", body.span, help=help)
        return found

    def _discount(self, expr: syntax.Discounted, steps: Steps) -> None:
        if steps.closed:
            message = "a cycle has no first step, so nothing to discount from"
            self.findings.add("T18", message, expr.factor.span)
        found = self.checker.constant(expr.factor, "a discount")
        self.checker.plain_constant(found, expr.factor, "a discount")

    def end(self, expr: syntax.Apply, scope: Scope) -> Type:
        """`first(t)` and `last(t)`: records, also inside a sum."""
        outer = replace(scope, records={})
        steps = self._inside(expr, expr.function, outer)
        if steps is None:
            return UNKNOWN
        match expr.arguments:
            case (syntax.Name(name=name),) if name == steps.name:
                if steps.closed:
                    self.findings.add("T18", "a cycle has neither a first nor a last record", expr.span)
                    return UNKNOWN
                return RecordOf(steps.type_name)
        self.findings.add("T04", f"write {expr.function}({steps.name})", expr.span)
        return UNKNOWN
