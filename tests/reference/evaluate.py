"""The fourth reading: the truth of a rule at given records, straight from its syntax tree.

Slow and obvious, and it shares no code with the lowering: definitions are called, not written out; records are
dictionaries; negation is `not`. Numbers are Fractions in coherent SI. A record maps feature → value in problem units:
Fraction, bool, the name of a case, or a tuple of Fractions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import isqrt

from rewarden.spec_lang import syntax
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.spec import Spec
from rewarden.spec_lang.units import unit_or_plain

Record = Mapping[str, object]
RewardValue = Callable[[str, list[Fraction]], Fraction]  # name, encoded columns in problem units
StatisticValue = Callable[[str, str, str, Fraction | None], Fraction]  # kind, reward, data, level


class Irrational(Exception):
    """A square root without a rational value: this point is of no use to an exact comparison."""


@dataclass(frozen=True)
class Typed:
    """A record with its type."""

    type: RecordType
    values: Record


@dataclass(frozen=True)
class Case:
    name: str


@dataclass
class Evaluator:
    spec: Spec
    reward: RewardValue
    statistic: StatisticValue
    anchors: dict[str, Typed] = field(default_factory=dict)

    def __post_init__(self) -> None:
        items = self.spec.tree.items
        self.rules = {i.name: i for i in items if isinstance(i, syntax.RuleDecl)}
        self.definitions = {i.name: i for i in items if isinstance(i, syntax.Definition)}
        self.assumptions = [i for i in items if isinstance(i, syntax.AssumeDecl)]

    # ── rules ──────────────────────────────────────────────────────────────────────────────────
    def assumed(self, records: Mapping[str, Typed]) -> bool:
        return all(
            self.value(a.body, {a.param.name: r})
            for r in records.values()
            for a in self.assumptions
            if a.param.type_name == r.type.name
        )

    def premise(self, rule: str, records: Mapping[str, Typed]) -> bool:
        given = self.rules[rule].given
        inside = self.in_ball(self.rules[rule], records)
        return inside and (given is None or bool(self.value(given, records)))

    def conclusion(self, rule: str, records: Mapping[str, Typed]) -> bool:
        return bool(self.value(self.rules[rule].expect, records))

    def in_ball(self, rule: syntax.RuleDecl, records: Mapping[str, Typed]) -> bool:
        """Whether the record of a rule near data is in the l1 or l2 ball around its anchor."""
        near = rule.quantifier
        if not isinstance(near, syntax.Near) or near.norm == "linf":
            return True
        here, there = records[near.param.name], self.anchors[near.param.name]
        total = Fraction(0)
        for f in here.type.features:
            radius = self.radius(near, f)
            if not radius:
                continue
            for x, a in zip(_elements(here.values[f.name]), _elements(there.values[f.name]), strict=True):
                step = (x - a) / radius
                total += abs(step) if near.norm == "l1" else step * step
        return total <= 1

    def radius(self, near: syntax.Near, f: Feature) -> Fraction | None:
        """In the feature's unit; None for features that equal the anchor's."""
        if isinstance(near.radius, tuple):
            given = {u.name: u.value for u in near.radius}.get(f.name)
        else:
            given = near.radius if f.kind == "real" else None
        if given is None:
            return None
        if isinstance(given, syntax.Number) and given.percent:
            return given.value / 100 * (f.hi - f.lo)
        return self.value(given, {}) / unit_or_plain(f.unit).factor

    # ── expressions ────────────────────────────────────────────────────────────────────────────
    def value(self, e: syntax.Expr, env: Mapping[str, Typed]):
        match e:
            case syntax.Number():
                return e.value / 100 if e.percent else unit_or_plain(e.unit).to_si(e.value)
            case syntax.Truth():
                return e.value
            case syntax.Name():
                return self.name(e.name, env)
            case syntax.Field():
                return self.feature(self.value(e.base, env), e.name)
            case syntax.Index():
                return self.value(e.base, env)[e.index]
            case syntax.Apply():
                return self.apply(e, env)
            case syntax.With():
                return self.with_updates(e, env)
            case syntax.Abs():
                return abs(self.value(e.inner, env))
            case syntax.Negate(inner=syntax.Number(percent=False) as n):
                return unit_or_plain(n.unit).to_si(-n.value)
            case syntax.Negate():
                v = self.value(e.inner, env)
                return tuple(-x for x in v) if isinstance(v, tuple) else -v
            case syntax.Not():
                return not self.value(e.inner, env)
            case syntax.Arithmetic():
                return self.arithmetic(e, env)
            case syntax.Compare():
                return self.compare(e, env)
            case syntax.Connective():
                values = [self.value(p, env) for p in e.parts]
                return all(values) if e.op == "and" else any(values)
            case syntax.Implies():
                return not self.value(e.premise, env) or self.value(e.conclusion, env)
            case syntax.If():
                return self.value(e.then if self.value(e.condition, env) else e.otherwise, env)
        raise AssertionError(e)

    def name(self, name: str, env: Mapping[str, Typed]):
        if name in env:
            return env[name]
        p = self.spec.params[name]
        return p.value == 1 if p.kind == "bool" else unit_or_plain(p.unit).to_si(p.value)

    def feature(self, record: Typed, name: str):
        f = record.type.feature(name)
        v = record.values[name]
        if f.kind == "enum":
            return Case(v)
        if f.kind == "bool":
            return v
        unit = unit_or_plain(f.unit)
        return tuple(unit.to_si(x) for x in v) if f.is_vector else unit.to_si(v)

    def with_updates(self, e: syntax.With, env: Mapping[str, Typed]) -> Typed:
        base = self.value(e.base, env)
        changed = dict(base.values)
        for u in e.updates:
            f = base.type.feature(u.name)
            if f.kind == "enum":
                named = isinstance(u.value, syntax.Name)
                changed[u.name] = u.value.name if named else self.value(u.value, env).name
                continue
            v = self.value(u.value, env)
            unit = unit_or_plain(f.unit)
            if f.kind != "bool":
                v = tuple(unit.from_si(x) for x in v) if f.is_vector else unit.from_si(v)
            changed[u.name] = v
        return Typed(base.type, changed)

    def arithmetic(self, e: syntax.Arithmetic, env: Mapping[str, Typed]):
        result = self.value(e.first, env)
        for op, operand in e.rest:
            v = self.value(operand, env)
            if isinstance(result, tuple) and isinstance(v, tuple):
                result = tuple(_binary(op, x, y) for x, y in zip(result, v, strict=True))
            elif isinstance(result, tuple):
                result = tuple(_binary(op, x, v) for x in result)
            elif isinstance(v, tuple):
                result = tuple(_binary(op, result, y) for y in v)
            else:
                result = _binary(op, result, v)
        return result

    def compare(self, e: syntax.Compare, env: Mapping[str, Typed]) -> bool:
        operands = [e.first, *(x for _, x in e.rest)]
        values = [None if isinstance(x, syntax.Name) else self.value(x, env) for x in operands]
        enums = any(isinstance(v, Case) for v in values)
        for i, x in enumerate(operands):
            if isinstance(x, syntax.Name):
                values[i] = Case(x.name) if enums else self.value(x, env)
        return all(_holds(op, a, b) for (op, _), a, b in zip(e.rest, values, values[1:], strict=False))

    def apply(self, e: syntax.Apply, env: Mapping[str, Typed]):
        if e.function in self.spec.rewards:
            return self.reward(e.function, [c for a in e.arguments for c in encode(self.value(a, env))])
        if e.function in self.definitions:
            d = self.definitions[e.function]
            inner = {p.name: self.value(a, env) for p, a in zip(d.params, e.arguments, strict=True)}
            return self.value(d.body, inner)
        match e.function, e.arguments:
            case "anchor", (syntax.Name(name=name),):
                return self.anchors[name]
            case "beyond", (region, rim):
                return self.beyond(region, self.value(rim, env), env)
            case ("quantile" | "mean" | "min" | "max") as kind, (
                syntax.Apply(function=reward, arguments=(syntax.Name(name=data),)),
                *level,
            ) if data in self.spec.data:
                return self.statistic(kind, reward, data, self.value(level[0], env) if level else None)
        values = [self.value(a, env) for a in e.arguments]
        flat = [x for v in values for x in (v if isinstance(v, tuple) else (v,))]
        match e.function:
            case "min":
                return min(flat)
            case "max":
                return max(flat)
            case "linf":
                return max(abs(x) for x in flat)
            case "l1":
                return sum(abs(x) for x in flat)
            case "l2":
                return root(sum(x * x for x in flat))
            case "dot":
                return sum(x * y for x, y in zip(*values, strict=True))
        raise AssertionError(e)

    # ── beyond, by its definition ──────────────────────────────────────────────────────────────
    def beyond(self, region: syntax.Expr, rim: Fraction, env: Mapping[str, Typed]) -> bool:
        """In every conjunct-polytope a discrete atom is false or a linear one fails by rim · Σ|aⱼ|·rangeⱼ.

        The coefficients of a linear atom are measured, by moving one feature at a time.
        """
        for polytope in self.disjuncts(region, True, env):
            if not any(self.fails(op, a, b, inner, rim) for op, a, b, inner in polytope):
                return False
        return True

    def disjuncts(self, e: syntax.Expr, wanted: bool, env: Mapping[str, Typed]):
        """The disjunctive normal form: a list of lists of (op, left, right, env) or ("is", truth, expr, env)."""
        match e:
            case syntax.Not():
                return self.disjuncts(e.inner, not wanted, env)
            case syntax.Implies():
                other = syntax.Connective("or", (syntax.Not(e.premise, e.span), e.conclusion), e.span)
                return self.disjuncts(other, wanted, env)
            case syntax.Connective():
                parts = [self.disjuncts(p, wanted, env) for p in e.parts]
                if (e.op == "or") == wanted:
                    return [d for part in parts for d in part]
                found = [[]]
                for part in parts:
                    found = [a + b for a in found for b in part]
                return found
            case syntax.Apply() if e.function in self.definitions:
                d = self.definitions[e.function]
                inner = {p.name: self.value(a, env) for p, a in zip(d.params, e.arguments, strict=True)}
                return self.disjuncts(d.body, wanted, inner)
            case syntax.Compare(first=left, rest=rest) if not self.discrete(e, env):
                pairs = []
                for op, right in rest:
                    pairs.append((op, left, right))
                    left = right
                if not wanted:
                    return [[(n, a, b, env)] for op, a, b in pairs for n in _opposite(op)]
                found = [[]]
                for op, a, b in pairs:
                    options = ["<", ">"] if op == "!=" else None
                    if options:
                        found = [[*d, (o, a, b, env)] for d in found for o in options]
                    else:
                        split = ["<=", ">="] if op == "==" else [op]
                        found = [d + [(o, a, b, env) for o in split] for d in found]
                return found
        return [[("is", wanted, e, env)]]

    def discrete(self, e: syntax.Compare, env: Mapping[str, Typed]) -> bool:
        operands = [e.first, *(x for _, x in e.rest)]
        values = [self.value(x, env) for x in operands if not isinstance(x, syntax.Name)]
        return any(isinstance(v, (Case, bool)) for v in values)

    def fails(self, op: str, a, b, env: Mapping[str, Typed], rim: Fraction) -> bool:
        if op == "is":
            return bool(self.value(b, env)) != a
        excess = self.margin(op, a, b, env)
        scale, linear = Fraction(0), False
        for name, record in env.items():
            for f in record.type.features:
                if f.kind in ("bool", "enum"):
                    continue
                values = _elements(record.values[f.name])
                for k in range(len(values)):
                    moved = list(values)
                    moved[k] += 1
                    changed = dict(record.values)
                    changed[f.name] = tuple(moved) if f.is_vector else moved[0]
                    there = self.margin(op, a, b, {**env, name: Typed(record.type, changed)})
                    scale += abs(there - excess) * (f.hi - f.lo)
                    linear = linear or (f.kind == "real" and there != excess)
        if scale == 0 or not linear:  # over ints alone it is discrete
            return not _holds(op, self.value(a, env), self.value(b, env))
        return excess <= -rim * scale

    def margin(self, op: str, a: syntax.Expr, b: syntax.Expr, env: Mapping[str, Typed]) -> Fraction:
        left, right = self.value(a, env), self.value(b, env)
        return right - left if op in ("<", "<=") else left - right


def encode(record: Typed) -> list[Fraction]:
    """The encoded columns: one-hot cases, 0/1 bools, the rest as it is."""
    columns: list[Fraction] = []
    for f in record.type.features:
        v = record.values[f.name]
        if f.kind == "enum":
            columns.extend(Fraction(int(c == v)) for c in f.cases)
        else:
            columns.extend(Fraction(x) for x in _elements(v))
    return columns


def root(square: Fraction) -> Fraction:
    p, q = isqrt(square.numerator), isqrt(square.denominator)
    if p * p != square.numerator or q * q != square.denominator:
        raise Irrational
    return Fraction(p, q)


def _elements(v) -> tuple[Fraction, ...]:
    return v if isinstance(v, tuple) else (Fraction(v),)


def _binary(op: str, x: Fraction, y: Fraction) -> Fraction:
    match op:
        case "+":
            return x + y
        case "-":
            return x - y
        case "*":
            return x * y
    return x / y


def _holds(op: str, a: object, b: object) -> bool:
    match op:
        case "<":
            return a < b
        case "<=":
            return a <= b
        case ">":
            return a > b
        case ">=":
            return a >= b
        case "==":
            return a == b
    return a != b


def _opposite(op: str) -> list[str]:
    return {"<": [">="], "<=": [">"], ">": ["<="], ">=": ["<"], "==": ["<", ">"], "!=": ["=="]}[op]
