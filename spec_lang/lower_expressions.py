"""Checked expressions to terms and formulas: definitions written out, units converted, all numbers exact.

A number becomes a `Form` in coherent SI, a predicate a formula in negation normal form, a record its encoded columns
in problem units. What types cannot show is checked here: divisors, `with` updates (in `updates.py`), sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from rewarden.spec_lang import bounds, forms, limits, syntax
from rewarden.spec_lang.features import Feature
from rewarden.spec_lang.forms import ONE, Form, TooLarge, combine, constant
from rewarden.spec_lang.formulas import atom, conjunction, disjunction, literal, negate
from rewarden.spec_lang.lower_functions import applied
from rewarden.spec_lang.lower_steps import temporal
from rewarden.spec_lang.obligation import FALSE, TRUE, And, Atom, Const, Formula, Ite, Or, Var
from rewarden.spec_lang.source import Span
from rewarden.spec_lang.units import unit_or_plain
from rewarden.spec_lang.updates import updated
from rewarden.spec_lang.values import Context, EnumValue, Names, RecordValue, Value, Vector, case_value


class Lowering:
    """Lowers expressions of one rule (or constants). TooLarge where a limit is met."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.symbols = context.symbols

    # ── by kind of result ──────────────────────────────────────────────────────────────────────
    def number(self, expr: syntax.Expr, names: Names) -> Form:
        found = self.value(expr, names)
        assert isinstance(found, Form), "type checking leaves numbers where numbers belong"
        return found

    def formula(self, expr: syntax.Expr, names: Names) -> Formula:
        found = self.value(expr, names)
        assert isinstance(found, (And, Or, Atom)), "type checking leaves predicates where predicates belong"
        return found

    def record(self, expr: syntax.Expr, names: Names) -> RecordValue:
        found = self.value(expr, names)
        assert isinstance(found, RecordValue), "type checking leaves records where records belong"
        return found

    def negated(self, formula: Formula) -> Formula:
        self.context.spend(_effort(formula))
        return negate(formula, self.context.bits)

    # ── expressions ────────────────────────────────────────────────────────────────────────────
    def value(self, expr: syntax.Expr, names: Names) -> Value:
        context = self.context
        context.spend(1)
        context.depth += 1
        if context.depth > limits.EXPANSION_DEPTH:
            raise TooLarge("definitions are nested too deeply")
        try:
            return self._value(expr, names)
        finally:
            context.depth -= 1

    def _value(self, expr: syntax.Expr, names: Names) -> Value:
        match expr:
            case syntax.Number(value=value, unit=unit, percent=percent):
                return constant(value / 100 if percent else unit_or_plain(unit).to_si(value))
            case syntax.Truth(value=truth):
                return TRUE if truth else FALSE
            case syntax.Name(name=name):
                return self._name(name, names)
            case syntax.Field(base=syntax.Name(name=row), name=member) if row in names.rows:
                return names.rows[row].members[member]
            case syntax.Field(base=base, name=name):
                record = self.record(base, names)
                return self.feature(record, record.type.feature(name), expr.span)
            case syntax.Index(base=base, index=index):
                vector = self.value(base, names)
                assert isinstance(vector, Vector)
                return vector.elements[index]
            case syntax.Apply():
                return applied(self, expr, names)
            case syntax.With():
                return updated(self, expr, names)
            case syntax.Abs(inner=inner):
                return forms.absolute(self.number(inner, names))
            case syntax.Negate(inner=syntax.Number(value=value, unit=unit, percent=False)):
                return constant(unit_or_plain(unit).to_si(-value))
            case syntax.Negate(inner=inner):
                return self._each(lambda f: -f, self.value(inner, names))
            case syntax.Not(inner=inner):
                return self.negated(self.formula(inner, names))
            case syntax.Arithmetic():
                return self._sum(expr, names) if expr.rest[0][0] in "+-" else self._product(expr, names)
            case syntax.Compare():
                return self._compare(expr, names)
            case syntax.Connective(op=op, parts=parts):
                found = [self.formula(p, names) for p in parts]
                return conjunction(found) if op == "and" else disjunction(found)
            case syntax.Implies(premise=premise, conclusion=conclusion):
                return disjunction([self.negated(self.formula(premise, names)), self.formula(conclusion, names)])
            case syntax.If():
                return self._if(expr, names)
            case syntax.Temporal():
                return temporal(self, expr, names)
        raise AssertionError(f"type checking leaves no {type(expr).__name__}")

    def _name(self, name: str, names: Names) -> Value:
        if name in names.records:
            return names.records[name]
        if name in names.rows:
            return names.rows[name]
        value = self.context.params[name]
        match self.symbols.params[name].kind:
            case "bool":
                return TRUE if value else FALSE
            case "enum":
                cases = self.symbols.cases_of(name)
                return case_value(cases[int(value)], cases)
        return constant(value)

    def among(self, expr: syntax.Expr, cases: tuple[str, ...], names: Names) -> EnumValue:
        """What stands beside an enum, or is given to one: a name is one of its cases before it is a parameter."""
        if isinstance(expr, syntax.Name) and syntax.case_name(expr) in cases:
            return case_value(syntax.case_name(expr), cases)
        found = self.value(expr, names)
        assert isinstance(found, EnumValue), "type checking leaves cases where cases belong"
        return found

    def feature(self, record: RecordValue, feature: Feature, origin: Span | None) -> Value:
        """A feature's value: numbers in coherent SI."""
        columns = record.of(feature)
        self.context.spend(len(columns))
        match feature.kind:
            case "bool":
                return self.truth(columns[0], origin)
            case "enum":
                return EnumValue(feature.cases, columns)
        unit = self.symbols.unit_of(feature)
        values = tuple(c.scaled(unit.factor).shifted(unit.offset) for c in columns)
        return Vector(values) if feature.is_vector else values[0]

    def truth(self, column: Form, origin: Span | None) -> Formula:
        """`column` is 1, where it can only be 0 or 1."""
        if column.is_constant:
            return TRUE if column.constant == 1 else FALSE
        match list(column.parts.items()):
            case [(Var(index=index), c)] if c == 1 and column.constant == 0:
                return literal(index, True, origin)
            case [(Var(index=index), c)] if c == -1 and column.constant == 1:
                return literal(index, False, origin)
            case [(Ite(condition=condition, then=Const() as then, otherwise=Const() as other), c)]:
                if c == 1 and column.constant == 0 and then.value == 1 and other.value == 0:
                    return condition
        return atom(column.shifted(-ONE), False, origin)

    def _each(self, apply: Callable[[Form], Form], value: Value) -> Value:
        if isinstance(value, Vector):
            self.context.spend(len(value.elements))
            return Vector(tuple(apply(f) for f in value.elements))
        assert isinstance(value, Form)
        return apply(value)

    def _sum(self, expr: syntax.Arithmetic, names: Names) -> Value:
        values = [(self.value(expr.first, names), ONE)]
        values.extend((self.value(e, names), ONE if op == "+" else -ONE) for op, e in expr.rest)
        if isinstance(values[0][0], Vector):
            columns = zip(*(v.elements for v, _ in values if isinstance(v, Vector)), strict=True)
            return Vector(tuple(combine(zip(c, (s for _, s in values), strict=True)) for c in columns))
        return combine((v, s) for v, s in values if isinstance(v, Form))

    def _product(self, expr: syntax.Arithmetic, names: Names) -> Value:
        result = self.value(expr.first, names)
        for op, operand in expr.rest:
            right = self.value(operand, names)
            if isinstance(right, Vector):  # only number * vector
                assert isinstance(result, Form)
                left = result
                result = self._each(lambda f, left=left: forms.product(left, f), right)  # type: ignore[misc]
            elif op == "*":
                assert isinstance(right, Form)
                result = self._each(lambda f, right=right: forms.product(f, right), result)  # type: ignore[misc]
            else:
                assert isinstance(right, Form)
                divisor = self._divisor(right, operand.span)
                result = self._each(lambda f, by=divisor: forms.quotient(f, by), result)  # type: ignore[misc]
        return result

    def _divisor(self, divisor: Form, span: Span) -> Form:
        """The divisor if it cannot be 0; else L02, and 1 in its place."""
        lo, hi = bounds.of_form(divisor, self.context.ranges)
        if lo is None or hi is None or lo <= 0 <= hi:
            message = "this divisor is 0" if divisor.is_constant else "this divisor could be 0"
            help = "narrow the declared ranges, or divide by max(…, a positive number)"
            if lo is None or hi is None:
                help = "rewards and data constants are not bounded: multiply instead of dividing"
            self.context.findings.add("L02", message, span, help=help)
            return constant(1)
        return divisor

    def _if(self, expr: syntax.If, names: Names) -> Value:
        condition = self.formula(expr.condition, names)
        then, otherwise = self.value(expr.then, names), self.value(expr.otherwise, names)
        if condition in (TRUE, FALSE):
            return then if condition == TRUE else otherwise
        if isinstance(then, (And, Or, Atom)) and isinstance(otherwise, (And, Or, Atom)):
            refused = self.negated(condition)
            return disjunction([conjunction([condition, then]), conjunction([refused, otherwise])])
        if isinstance(then, Vector) and isinstance(otherwise, Vector):
            self.context.spend(len(then.elements))
            pairs = zip(then.elements, otherwise.elements, strict=True)
            return Vector(tuple(_choice(condition, a, b) for a, b in pairs))
        assert isinstance(then, Form)
        assert isinstance(otherwise, Form)
        return _choice(condition, then, otherwise)

    # ── comparisons ────────────────────────────────────────────────────────────────────────────
    def _compare(self, expr: syntax.Compare, names: Names) -> Formula:
        operands = [expr.first, *(e for _, e in expr.rest)]
        values: dict[int, Value] = {id(e): self.value(e, names) for e in operands if not isinstance(e, syntax.Name)}
        _, cases = self.symbols.cases_among(operands) or ("", ())
        cases = next((v.cases for v in values.values() if isinstance(v, EnumValue)), cases)
        for e in operands:
            if isinstance(e, syntax.Name):
                values[id(e)] = self.among(e, cases, names) if cases else self.value(e, names)
        parts: list[Formula] = []
        left = expr.first
        for op, right in expr.rest:
            origin = left.span.to(right.span).balanced()
            parts.append(self._pair(op, values[id(left)], values[id(right)], origin))
            left = right
        return conjunction(parts)

    def _pair(self, op: syntax.CompareOp, left: Value, right: Value, origin: Span) -> Formula:
        if isinstance(left, Form) and isinstance(right, Form):
            return _numbers(op, left, right, origin)
        if isinstance(left, Vector) and isinstance(right, Vector):
            pairs = zip(left.elements, right.elements, strict=True)
            equal = conjunction(_numbers("==", a, b, origin) for a, b in pairs)
        elif isinstance(left, EnumValue) and isinstance(right, EnumValue):
            equal = self._same_case(left, right, origin)
        else:
            assert isinstance(left, (And, Or, Atom))
            assert isinstance(right, (And, Or, Atom))
            equal = TRUE
            if left != right:
                either = disjunction([self.negated(left), right])
                equal = conjunction([either, disjunction([left, self.negated(right)])])
        return equal if op == "==" else self.negated(equal)

    def _same_case(self, left: EnumValue, right: EnumValue, origin: Span) -> Formula:
        if all(
            a.constant == b.constant and a.parts == b.parts for a, b in zip(left.columns, right.columns, strict=True)
        ):
            return TRUE
        self.context.spend(len(left.columns))
        pairs = zip(left.columns, right.columns, strict=True)
        return disjunction(conjunction([self.truth(a, origin), self.truth(b, origin)]) for a, b in pairs)

    def constant(self, expr: syntax.Expr) -> Fraction:
        """The value of a constant expression, in coherent SI."""
        found = self.number(expr, Names())
        assert found.is_constant, "constants mention numbers and parameters only"
        return found.constant


def _effort(formula: Formula) -> int:
    """Of negating it, in terms written out: an atom is taken apart and built again."""
    return 10 if isinstance(formula, Atom) else 1 + sum(map(_effort, formula.parts))


def _choice(condition: Formula, then: Form, otherwise: Form) -> Form:
    if then.is_constant and otherwise.is_constant and then.constant == otherwise.constant:
        return then
    return forms.leaf(Ite(condition, then.term(), otherwise.term()), then, otherwise)


def _numbers(op: syntax.CompareOp, left: Form, right: Form, origin: Span) -> Formula:
    match op:
        case "<":
            return atom(right - left, True, origin)
        case "<=":
            return atom(right - left, False, origin)
        case ">":
            return atom(left - right, True, origin)
        case ">=":
            return atom(left - right, False, origin)
        case "==":
            return conjunction([atom(left - right, False, origin), atom(right - left, False, origin)])
        case "!=":
            return disjunction([atom(left - right, True, origin), atom(right - left, True, origin)])
