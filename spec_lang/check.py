"""The type and unit of every expression; all mistakes are reported, none stops the walk.

A mistake gives the expression type UNKNOWN, which silences what would only follow from it.
"""

from __future__ import annotations

from dataclasses import replace

from rewarden.spec_lang import syntax, units
from rewarden.spec_lang.check_functions import FunctionChecks
from rewarden.spec_lang.check_steps import StepChecks
from rewarden.spec_lang.check_units import UnitMessages
from rewarden.spec_lang.diagnostics import did_you_mean
from rewarden.spec_lang.findings import Findings
from rewarden.spec_lang.scope import CONSTANT, Scope
from rewarden.spec_lang.source import Span
from rewarden.spec_lang.symbols import Symbols
from rewarden.spec_lang.types import (
    BOOL,
    PLAIN_NUMBER,
    UNKNOWN,
    ZERO,
    BoolType,
    EnumType,
    NumberType,
    RecordOf,
    RowOf,
    Type,
    UnknownType,
    derived,
    number_in,
    type_of_feature,
)


class Checker:
    """Types expressions. Definitions are typed once; `check_rules.py` drives it."""

    def __init__(self, symbols: Symbols, findings: Findings) -> None:
        self.symbols = symbols
        self.findings = findings
        self.units = UnitMessages(symbols, findings)
        self.results: dict[str, Type] = {}  # of definitions
        self.functions = FunctionChecks(self)
        self.steps = StepChecks(self)

    def type_of(self, expr: syntax.Expr, scope: Scope) -> Type:
        match expr:
            case syntax.Number():
                return self._literal(expr)
            case syntax.Truth():
                return BOOL
            case syntax.Name():
                return self._name(expr, scope)
            case syntax.Field():
                return self._field(expr, scope)
            case syntax.Index():
                return self._index(expr, scope)
            case syntax.Apply():
                return self.functions.apply(expr, scope)
            case syntax.With():
                return self._with(expr, scope)
            case syntax.Abs(inner=inner):
                return _computed(self.measured(self.plain(inner, scope, "|…|"), inner, "|…|"))
            case syntax.Negate(inner=syntax.Number() as literal):
                return self._literal(literal)  # -5 [degC] is a reading, not a computation
            case syntax.Negate(inner=inner):
                return _computed(self.measured(self.number(inner, scope), inner, "-"))
            case syntax.Not(inner=inner):
                self.predicate(inner, scope)
                return BOOL
            case syntax.Arithmetic():
                return self._arithmetic(expr, scope)
            case syntax.Compare():
                return self._compare(expr, scope)
            case syntax.Connective(parts=parts):
                for part in parts:
                    self.predicate(part, scope)
                return BOOL
            case syntax.Implies(premise=premise, conclusion=conclusion):
                self.predicate(premise, scope)
                self.predicate(conclusion, scope)
                return BOOL
            case syntax.If():
                return self._if(expr, scope)
            case syntax.Temporal():
                return self.steps.temporal(expr, scope)
            case syntax.Discounted():
                help = "write sum(R(t) discount 0.9)"
                self.findings.add("T17", "`discount` belongs into a trace's sum", expr.span, help=help)
                return UNKNOWN

    # ── what a place demands ───────────────────────────────────────────────────────────────────
    def predicate(self, expr: syntax.Expr, scope: Scope) -> None:
        found = self.type_of(expr, scope)
        if not isinstance(found, (BoolType, UnknownType)):
            help = "compare it with something" if isinstance(found, NumberType) else None
            self.findings.add("T01", f"expected a predicate, found {found}", expr.span, help=help)

    def number(self, expr: syntax.Expr, scope: Scope) -> NumberType | UnknownType:
        """A number or a vector."""
        found = self.type_of(expr, scope)
        if isinstance(found, (NumberType, UnknownType)):
            return found
        help = "write (if … then 1 else 0)" if isinstance(found, BoolType) else None
        if isinstance(found, RecordOf):
            help = "name one of its features"
        if isinstance(found, RowOf):
            help = "name one of its members"
        self.findings.add("T01", f"expected a number, found {found}", expr.span, help=help)
        return UNKNOWN

    def plain(self, expr: syntax.Expr, scope: Scope, what: str) -> NumberType | UnknownType:
        """A single number."""
        found = self.number(expr, scope)
        if isinstance(found, NumberType) and found.size > 1:
            help = "use linf(v), l1(v), l2(v), dot(v, w) or an index"
            self.findings.add("T01", f"{what} takes a number, found {found}", expr.span, help=help)
            return UNKNOWN
        return found

    def measured(self, found: NumberType | UnknownType, expr: syntax.Expr, what: str) -> NumberType | UnknownType:
        """Refuses readings with an offset, which only compare."""
        if isinstance(found, NumberType) and found.affine:
            self.units.affine(found, expr.span, what)
            return UNKNOWN
        return found

    # ── leaves ─────────────────────────────────────────────────────────────────────────────────
    def _literal(self, expr: syntax.Number) -> Type:
        if expr.unit is None:
            return ZERO if expr.value == 0 and not expr.percent else PLAIN_NUMBER
        known = self.units.unit(expr.unit, expr.span)
        return UNKNOWN if known is None else number_in(known, expr.unit)

    def _name(self, expr: syntax.Name, scope: Scope) -> Type:
        s = self.symbols
        name = expr.name
        if name in scope.records:
            return RecordOf(scope.records[name])
        if name in scope.rows:
            return RowOf(scope.rows[name])
        if name in scope.unknown:
            return UNKNOWN
        if scope.steps is not None and name == scope.steps.name:
            self.steps.bare(expr, scope.steps)
            return UNKNOWN
        if name in s.params:
            p = s.params[name]
            known = self.units.unit(p.unit, p.unit_span or p.span)
            if p.kind == "bool":
                return BOOL
            if p.kind == "enum":
                return EnumType(name, s.cases_of(name))
            return UNKNOWN if known is None else number_in(known, p.unit)
        if name in s.rewards or name in s.definitions:
            self.findings.add("T01", f"{name} needs its records", expr.span, help=f"write {name}(…)")
        elif name in s.data:
            help = f"write quantile(R({name}), 0.05), mean, min or max, or `near {name}` in a rule"
            self.findings.add("T01", f"{name} is a data set, not a value", expr.span, help=help)
        else:
            cases = [f.name for r in s.records.values() for f in r.features if name in f.cases]
            cases += [p for p in s.params if name in s.cases_of(p)]
            known_names = (*scope.records, *s.params, *s.functions(), *s.data)
            advice = did_you_mean(name, known_names)
            if cases:
                advice = f"{name} is a case of {cases[0]}: compare it with that by == or !="
            owner, found = self._bare_feature(name, scope)
            if found is not None:
                advice = f"write {owner}.{name}"
            self.findings.add("N01", f"unknown name {name}", expr.span, help=advice)
        return UNKNOWN

    def _bare_feature(self, name: str, scope: Scope) -> tuple[str, Type | None]:
        """The record in scope whose feature an undeclared name is, and its type."""
        if name in scope.records or name in self.symbols.declared:
            return "", None
        for record, type_name in scope.records.items():
            known = self.symbols.records.get(type_name)
            for f in known.features if known is not None else ():
                if f.name == name:
                    return record, type_of_feature(f, self.symbols.unit_of(f))
        return "", None

    def _field(self, expr: syntax.Field, scope: Scope) -> Type:
        base = self.type_of(expr.base, scope)
        if isinstance(base, UnknownType):
            return UNKNOWN
        if isinstance(base, RowOf):
            return self._member(base, expr)
        if not isinstance(base, RecordOf):
            self.findings.add("T01", f"{base} has no features", expr.span)
            return UNKNOWN
        return self.feature_type(base.type_name, expr.name, expr.name_span)

    def _member(self, row: RowOf, expr: syntax.Field) -> Type:
        members = dict(row.members)
        if expr.name in members:
            return RecordOf(members[expr.name])
        help = did_you_mean(expr.name, members) or f"its members are {', '.join(members)}"
        self.findings.add("N02", f"{row} has no member {expr.name}", expr.name_span, help=help)
        return UNKNOWN

    def feature_type(self, type_name: str, name: str, span: Span) -> Type:
        """The type of a feature; N02 where there is none."""
        record = self.symbols.records.get(type_name)
        if record is None:
            return UNKNOWN
        known = {f.name: f for f in record.features}
        if name not in known:
            declared = self.symbols.declared[type_name]
            related = f"{type_name} is declared at {declared.source.name}:{declared.line}"
            help = did_you_mean(name, known) or f"the features are {', '.join(list(known)[:12])}"
            self.findings.add("N02", f"{type_name} has no feature {name}", span, related=related, help=help)
            return UNKNOWN
        return type_of_feature(known[name], self.symbols.unit_of(known[name]))

    def _index(self, expr: syntax.Index, scope: Scope) -> Type:
        base = self.type_of(expr.base, scope)
        if isinstance(base, UnknownType):
            return UNKNOWN
        if not isinstance(base, NumberType) or base.size == 1:
            self.findings.add("T01", f"only vectors have elements, this is {base}", expr.span)
            return UNKNOWN
        if expr.index >= base.size:
            help = f"indices run from 0 to {base.size - 1}"
            self.findings.add("T11", f"index {expr.index} of a vector of {base.size}", expr.span, help=help)
        return replace(base, size=1)

    # ── composites ─────────────────────────────────────────────────────────────────────────────
    def _with(self, expr: syntax.With, scope: Scope) -> Type:
        base = self.type_of(expr.base, scope)
        if not isinstance(base, (RecordOf, UnknownType)):
            self.findings.add("T01", f"`with` changes a record, this is {base}", expr.base.span)
        seen: set[str] = set()
        for update in expr.updates:
            if update.name in seen:
                self.findings.add("T12", f"{update.name} is updated twice", update.span)
            seen.add(update.name)
            if isinstance(base, RecordOf):
                wanted = self.feature_type(base.type_name, update.name, update.span)
                self.assign(update, wanted, scope)
        return base if isinstance(base, RecordOf) else UNKNOWN

    def assign(self, update: syntax.Update, wanted: Type, scope: Scope) -> None:
        """Whether a feature may be given the value."""
        if isinstance(wanted, EnumType):
            self.enum_operand(update.value, wanted, scope)
            return
        found = self.type_of(update.value, scope)
        if isinstance(found, UnknownType) or isinstance(wanted, UnknownType):
            return
        if type(found) is not type(wanted):
            self.findings.add("T01", f"{update.name} is {wanted}, found {found}", update.value.span)
        elif isinstance(found, NumberType) and isinstance(wanted, NumberType):
            if found.size != wanted.size:
                self.findings.add("T01", f"{update.name} is {wanted}, found {found}", update.value.span)
            else:
                self.units.assign(update.name, wanted, found, update.value)

    def _if(self, expr: syntax.If, scope: Scope) -> Type:
        self.predicate(expr.condition, scope)
        then, otherwise = self.type_of(expr.then, scope), self.type_of(expr.otherwise, scope)
        if isinstance(then, UnknownType) or isinstance(otherwise, UnknownType):
            return UNKNOWN
        if isinstance(then, NumberType) and isinstance(otherwise, NumberType) and then.size == otherwise.size:
            return self.units.join(then, otherwise, expr.then, expr.otherwise, "choose between")
        if isinstance(then, BoolType) and isinstance(otherwise, BoolType):
            return BOOL
        message = f"the branches must both be numbers or both predicates, found {then} and {otherwise}"
        self.findings.add("T01", message, expr.span)
        return UNKNOWN

    def _arithmetic(self, expr: syntax.Arithmetic, scope: Scope) -> Type:
        left = self.measured(self.number(expr.first, scope), expr.first, expr.rest[0][0])
        done: syntax.Expr = expr.first
        for op, operand in expr.rest:
            right = self.measured(self.number(operand, scope), operand, op)
            if isinstance(left, UnknownType) or isinstance(right, UnknownType):
                left = UNKNOWN
            elif op in "+-":
                if left.size != right.size:
                    self.findings.add("T01", f"cannot combine {left} and {right}", operand.span)
                    left = UNKNOWN
                else:
                    verb = "add" if op == "+" else "subtract"
                    left = self.units.join(left, right, done, operand, verb)
            else:
                left = self._product(op, left, right, operand)
            done = operand if left is UNKNOWN else done
        return left

    def _product(self, op: str, left: NumberType, right: NumberType, operand: syntax.Expr) -> NumberType | UnknownType:
        if (left.size > 1 and right.size > 1) or (op == "/" and right.size > 1):
            help = "use dot(v, w), or write it element by element"
            self.findings.add("T01", f"`{op}` with {right}", operand.span, help=help)
            return UNKNOWN
        size = max(left.size, right.size)
        if left.dimension is None or (right.dimension is None and op == "*"):
            return derived(None, size)  # zero times anything is zero in any unit
        if right.dimension is None:
            return derived(left.dimension, size)  # a division by 0, which the lowering refuses
        return derived(units.multiply(left.dimension, right.dimension, 1 if op == "*" else -1), size)

    # ── comparisons ────────────────────────────────────────────────────────────────────────────
    def _compare(self, expr: syntax.Compare, scope: Scope) -> Type:
        operands = [expr.first, *(e for _, e in expr.rest)]
        typed = {id(e): self.type_of(e, scope) for e in operands if not isinstance(e, syntax.Name)}
        enums = [t for t in typed.values() if isinstance(t, EnumType)]
        of_param = self.symbols.cases_among(operands)
        for e in operands:
            if isinstance(e, syntax.Name) and not enums:  # `zone == dock` for `s.zone == dock`: one mistake, not two
                if of_param is not None and e.name in of_param[1]:
                    continue
                _, found = self._bare_feature(e.name, scope)
                if isinstance(found, EnumType):
                    self.type_of(e, scope)
                    return BOOL
        if not enums and of_param is not None:
            enums = [EnumType(*of_param)]
        for e in operands:
            if isinstance(e, syntax.Name):
                typed[id(e)] = self._case(e, enums[0]) if enums else self.type_of(e, scope)
        left = expr.first
        for op, right in expr.rest:
            self._pair(op, left, right, typed[id(left)], typed[id(right)])
            left = right
        return BOOL

    def _pair(self, op: str, a: syntax.Expr, b: syntax.Expr, left: Type, right: Type) -> None:
        if isinstance(left, UnknownType) or isinstance(right, UnknownType):
            return
        if isinstance(left, NumberType) and isinstance(right, NumberType):
            if left.size != right.size or (left.size > 1 and op not in ("==", "!=")):
                help = "compare norms, as in linf(v - w) <= 0.1" if max(left.size, right.size) > 1 else None
                self.findings.add("T01", f"cannot compare {left} with {right} by {op}", b.span, help=help)
            else:
                self.units.compare(left, right, a, b)
        elif isinstance(left, EnumType) and isinstance(right, EnumType):
            if op not in ("==", "!="):
                self.findings.add("T06", f"cases have no order: {op}", b.span, help="compare cases by == or !=")
            elif left.cases != right.cases:
                help = _difference(left, right)
                self.findings.add("T06", f"{left} and {right} have different cases", b.span, help=help)
        elif isinstance(left, BoolType) and isinstance(right, BoolType):
            if op not in ("==", "!="):
                self.findings.add("T01", f"predicates have no order: {op}", b.span, help="write implies, == or !=")
        else:
            self.findings.add("T01", f"cannot compare {left} with {right}", b.span)

    def _case(self, expr: syntax.Name, enum: EnumType) -> Type:
        """A name beside an enum: one of its cases, else an enum parameter."""
        case = syntax.case_name(expr)
        if case in enum.cases:
            return enum
        cases = self.symbols.cases_of(expr.name)
        if cases:
            return EnumType(expr.name, cases)
        same = (p for p in self.symbols.params if self.symbols.cases_of(p) == enum.cases)
        help = did_you_mean(case, (*enum.cases, *same)) or f"the cases are {', '.join(enum.cases[:12])}"
        self.findings.add("N05", f"{enum.feature} has no case {case}", expr.span, help=help)
        return UNKNOWN

    def enum_operand(self, expr: syntax.Expr, enum: EnumType, scope: Scope) -> None:
        """T06 for what cannot be given to a feature or parameter with those cases."""
        found = self._case(expr, enum) if isinstance(expr, syntax.Name) else self.type_of(expr, scope)
        if isinstance(found, UnknownType):
            return
        if not isinstance(found, EnumType) or found.cases != enum.cases:
            help = _difference(enum, found) if isinstance(found, EnumType) else None
            self.findings.add("T06", f"expected a case of {enum.feature}, found {found}", expr.span, help=help)

    def plain_constant(self, found: Type, expr: syntax.Expr, what: str) -> None:
        """T01 for a constant that is not a number without unit."""
        if not isinstance(found, UnknownType) and not (isinstance(found, NumberType) and not found.dimension):
            self.findings.add("T01", f"{what} is a plain number, found {found}", expr.span)

    def constant(self, expr: syntax.Expr, what: str) -> Type:
        """The type of an expression of numbers and parameters only; T07 for anything else."""
        compared = self._compared_with_cases(expr)
        for node in syntax.walk(expr):
            if id(node) in compared:
                continue
            match node:
                case syntax.Name(name=name) if name in self.symbols.params:
                    continue
                case (
                    syntax.Number()
                    | syntax.Truth()
                    | syntax.Abs()
                    | syntax.Negate()
                    | syntax.Not()
                    | syntax.Arithmetic()
                    | syntax.Compare()
                    | syntax.Connective()
                    | syntax.Implies()
                    | syntax.If()
                ):
                    continue
                case syntax.Apply(function="min" | "max"):
                    continue
                case syntax.Name(name=name) if name not in self.symbols.declared:
                    help = did_you_mean(name, self.symbols.params)
                    self.findings.add("N01", f"unknown name {name}", node.span, help=help)
                    return UNKNOWN
            help = "numbers, params, arithmetic, min, max and if only"
            self.findings.add("T07", f"{what} must be a constant", node.span, help=help)
            return UNKNOWN
        return self.type_of(expr, CONSTANT)

    def _compared_with_cases(self, expr: syntax.Expr) -> set[int]:
        """The names beside an enum parameter, as in `home == dock`: cases, by identity."""
        found: set[int] = set()
        for node in syntax.walk(expr):
            if isinstance(node, syntax.Compare):
                operands = [node.first, *(e for _, e in node.rest)]
                if self.symbols.cases_among(operands) is not None:
                    found |= {id(e) for e in operands if isinstance(e, syntax.Name)}
        return found


def _difference(a: EnumType, b: EnumType) -> str:
    """What to do about two enums that should have the same cases."""
    if set(a.cases) == set(b.cases):
        return f"write the cases of {b.feature} in the order of {a.feature}'s"
    parts = []
    for one, other in ((a, b), (b, a)):
        missing = [c for c in one.cases if c not in other.cases]
        if missing:
            more = ", …" if len(missing) > 6 else ""
            parts.append(f"{other.feature} lacks {', '.join(missing[:6])}{more}")
    return "; ".join(parts)


def _computed(found: NumberType | UnknownType) -> NumberType | UnknownType:
    return replace(found, computed=True) if isinstance(found, NumberType) else found
