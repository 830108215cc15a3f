"""The fourth reading: the truth of a rule at given records, straight from its syntax tree.

Slow and obvious, and it shares no code with the lowering: definitions are called, not written out; records are
dictionaries; negation is `not`; units are a table of its own. Numbers are Fractions in coherent SI. A record maps
feature → value in problem units: Fraction, bool, the name of a case, or a tuple of Fractions.

`beyond` (evaluate_beyond.py), balls around data (evaluate_near.py), data rows (evaluate_data.py), traces and cycles
(evaluate_traces.py) stand beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from rewarden.spec_lang import syntax
from rewarden.spec_lang.spec import Spec
from tests.reference import evaluate_beyond, evaluate_data, evaluate_near, evaluate_traces
from tests.reference.evaluate_tree import Declared, declared
from tests.reference.evaluate_units import scale
from tests.reference.evaluate_values import Bound, Case, Irrational, Path, Row, Typed, encode, holds, local, root

__all__ = ["Case", "Evaluator", "Irrational", "Path", "Row", "Typed", "encode"]


RewardValue = Callable[[str, list[Fraction]], Fraction]  # name, encoded columns in problem units
StatisticValue = Callable[[str, str, str, Fraction | None], Fraction]  # kind, reward, data, level


@dataclass(frozen=True)
class Env:
    """What names stand for. `origin` says where the record of a definition's parameter came from: an expression in the
    caller's environment; a record of the rule itself has none, and `root` is its name among the rule's records."""

    bound: Mapping[str, Bound]
    origin: Mapping[str, tuple[syntax.Expr, Env]] = field(default_factory=dict)
    root: Mapping[str, str] = field(default_factory=dict)
    path: tuple[str, Path] | None = None  # the trace that a rule speaks of, under its name

    def with_record(self, name: str, value: Bound, root: str = "") -> Env:
        path = (name, value) if isinstance(value, Path) else self.path
        return Env({**self.bound, name: value}, self.origin, {**self.root, name: root or name}, path)


EMPTY = Env({})


@dataclass
class Evaluator:
    """`spec` is a tree's declarations, or a Spec, of which only the tree and the overridden parameters are read."""

    spec: Declared | Spec
    reward: RewardValue
    statistic: StatisticValue | None = None  # None: by definition, from `rows`
    anchors: Mapping[str, Typed] = field(default_factory=dict)
    rows: Mapping[str, Sequence[Row]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.spec, Spec):
            set_outside = {
                p.name: p.value == 1 if p.kind == "bool" else p.value for p in self.spec.params.values() if p.overridden
            }
            self.spec = declared(getattr(self.spec, "expanded", self.spec.tree), set_outside)
        self.declared: Declared = self.spec
        self.rules = self.declared.rules
        self.definitions = self.declared.definitions
        self.quantifier: syntax.Quantifier | None = None  # of the rule in hand

    # ── rules ──────────────────────────────────────────────────────────────────────────────────
    def assumed(self, records: Mapping[str, Bound]) -> bool:
        """Whether every record can occur."""
        return all(self.occurs(r) for bound in records.values() for r in _records_of(bound))

    def occurs(self, record: Typed) -> bool:
        return all(
            self.value(a.body, EMPTY.with_record(a.param.name, record))
            for a in self.declared.assumptions
            if a.param.type_name == record.type.name
        )

    def premise(self, rule: str, records: Mapping[str, Bound]) -> bool:
        """Everything that must hold before the conclusion is asked for, assumptions and data boxes aside."""
        r, env = self.rules[rule], self.environment(rule, records)
        match r.quantifier:
            case syntax.Near(away=True) as near:
                if evaluate_near.near_some(self, near, records[near.param.name]):
                    return False
            case syntax.Near() as near:
                x = records[near.param.name]
                if near.norm != "linf" and not evaluate_near.in_ball(self, near, x, self.anchors[near.param.name]):
                    return False
            case syntax.Trace(relation=relation) | syntax.Cycle(relation=relation):
                if relation is not None and not evaluate_traces.related(self, relation.name, env):
                    return False
        return r.given is None or bool(self.value(r.given, env))

    def conclusion(self, rule: str, records: Mapping[str, Bound]) -> bool:
        return bool(self.value(self.rules[rule].expect, self.environment(rule, records)))

    def environment(self, rule: str, records: Mapping[str, Bound]) -> Env:
        self.quantifier = self.rules[rule].quantifier
        env = EMPTY
        for name, bound in records.items():
            env = env.with_record(name, bound)
        return env

    # ── expressions ────────────────────────────────────────────────────────────────────────────
    def value(self, e: syntax.Expr, env: Env | Mapping[str, Bound]):
        env = env if isinstance(env, Env) else Env(env, root={n: n for n in env})
        match e:
            case syntax.Number():
                return e.value / 100 if e.percent else scale(e.unit).to_si(e.value)
            case syntax.Truth():
                return e.value
            case syntax.Name():
                return self.name(e.name, env)
            case syntax.Field():
                base = self.value(e.base, env)
                return base.members[e.name] if isinstance(base, Row) else self.feature(base, e.name)
            case syntax.Index():
                return self.value(e.base, env)[e.index]
            case syntax.Apply():
                return self.apply(e, env)
            case syntax.With():
                return self.with_updates(e, env)
            case syntax.Abs():
                return abs(self.value(e.inner, env))
            case syntax.Negate(inner=syntax.Number(percent=False) as n):
                return scale(n.unit).to_si(-n.value)
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
            case syntax.Temporal():
                return evaluate_traces.temporal(self, e, env)
        raise AssertionError(e)

    def name(self, name: str, env: Env):
        if name in env.bound:
            bound = env.bound[name]
            single = isinstance(bound, Row) and "" in bound.members
            return bound.members[""] if single else bound
        p = self.declared.params[name]
        if name in self.declared.overrides:
            outside = self.declared.overrides[name]
            if p.kind == "enum":
                return Case(outside, p.cases)
            return outside if p.kind == "bool" else scale(p.unit).to_si(Fraction(outside))
        return self.case(p.value, p.cases, EMPTY) if p.kind == "enum" else self.value(p.value, EMPTY)

    def case(self, e: syntax.Expr, among: tuple[str, ...], env: Env) -> Case:
        """Beside an enum, or given to one: a name is a case of it, or else a parameter."""
        named = isinstance(e, syntax.Name) and local(e.name) in among
        return Case(local(e.name), among) if named else self.value(e, env)

    def feature(self, record: Typed, name: str):
        f = record.type.feature(name)
        v = record.values[name]
        if f.kind == "enum":
            return Case(v, f.cases)
        if f.kind == "bool":
            return v
        unit = scale(f.unit)
        return tuple(unit.to_si(x) for x in v) if f.is_vector else unit.to_si(v)

    def with_updates(self, e: syntax.With, env: Env) -> Typed:
        base = self.value(e.base, env)
        changed = dict(base.values)
        for u in e.updates:
            f = base.type.feature(u.name)
            if f.kind == "enum":
                changed[u.name] = self.case(u.value, f.cases, env).name
                continue
            v = self.value(u.value, env)
            unit = scale(f.unit)
            if f.kind != "bool":
                v = tuple(unit.from_si(x) for x in v) if f.is_vector else unit.from_si(v)
            changed[u.name] = v
        return Typed(base.type, changed)

    def arithmetic(self, e: syntax.Arithmetic, env: Env):
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

    def compare(self, e: syntax.Compare, env: Env) -> bool:
        values = self.operands(e, env)
        return all(holds(op, a, b) for (op, _), a, b in zip(e.rest, values, values[1:], strict=False))

    def operands(self, e: syntax.Compare, env: Env) -> list:
        """The values compared; a bare name next to an enum, of a record or else a parameter, is one of its cases."""
        exprs = [e.first, *(x for _, x in e.rest)]
        values = [None if isinstance(x, syntax.Name) else self.value(x, env) for x in exprs]
        params = [self.declared.params.get(x.name) for x in exprs if isinstance(x, syntax.Name)]
        enums = [v.among for v in values if isinstance(v, Case)] + [p.cases for p in params if p and p.kind == "enum"]
        for i, x in enumerate(exprs):
            if isinstance(x, syntax.Name):
                values[i] = self.case(x, enums[0], env) if enums else self.value(x, env)
        return values

    def apply(self, e: syntax.Apply, env: Env):
        if e.function in self.declared.rewards or e.function in self.definitions:
            return self.called(e, env)
        match e.function, e.arguments:
            case "anchor", (syntax.Name(name=name),):
                return self.anchors[name]
            case "beyond", (region, rim):
                return evaluate_beyond.beyond(self, region, self.value(rim, env), env)
            case ("first" | "last") as end, _:
                return env.path[1].records[0 if end == "first" else -1]
            case "sum", (inner,):
                return evaluate_traces.total(self, inner, env)
            case (("quantile" | "mean" | "min" | "max"), (syntax.Apply() as of, *_)) if evaluate_data.over_data(
                self, of
            ):
                return evaluate_data.constant(self, e, env)
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

    def called(self, e: syntax.Apply, env: Env):
        """A reward or a definition, applied; a move of a trace fills two places."""
        if e.function in self.definitions:
            definition = self.definitions[e.function]
            return self.value(definition.body, self.inner(definition, e, env))
        return self.reward(e.function, [c for r in self.arguments(e, env) for c in encode(r)])

    def arguments(self, e: syntax.Apply, env: Env) -> list[Typed]:
        return [r for a in e.arguments for r in _records_of(self.value(a, env))]

    def inner(self, definition: syntax.Definition, e: syntax.Apply, env: Env) -> Env:
        """What a definition's parameters stand for where it is called."""
        names = [p.name for p in definition.params]
        bound = dict(zip(names, self.arguments(e, env), strict=True))
        match e.arguments:
            case (syntax.Name(name=name),) if isinstance(env.bound.get(name), tuple):
                return Env(bound, {}, dict(zip(names, env.root[name].split(" "), strict=True)))
        return Env(bound, {name: (a, env) for name, a in zip(names, e.arguments, strict=True)})

    # ── which of the rule's numbers a feature is ───────────────────────────────────────────────
    def root_of(self, e: syntax.Expr, env: Env) -> str:
        """The name of a record of the rule."""
        match e:
            case syntax.Name(name=name):
                return env.root[name]
            case syntax.Field(base=base, name=name):
                return f"{self.root_of(base, env)}.{name}"
            case syntax.Apply(function="first"):
                return f"{env.path[0]}[0]"
            case syntax.Apply(function="last"):
                return f"{env.path[0]}[{len(env.path[1].records) - 1}]"
            case syntax.Apply(function="anchor", arguments=(syntax.Name(name=name),)):
                return f"anchor({name})"
        raise AssertionError(e)

    def shared_with(self, root: str, feature: str) -> str:
        """The record whose variable this is: the second of two `varying` records has the first one's other features."""
        match self.quantifier:
            case syntax.Forall(params=(first, second), varying=[_, *_] as varying):
                if root == second.name and feature not in {v.name for v in varying}:
                    return first.name
        return root


def _records_of(bound: Bound) -> list[Typed]:
    match bound:
        case Typed():
            return [bound]
        case Path():
            return list(bound.records)
        case Row():
            return bound.records()
    return list(bound)


def _binary(op: str, x: Fraction, y: Fraction) -> Fraction:
    match op:
        case "+":
            return x + y
        case "-":
            return x - y
        case "*":
            return x * y
    return x / y
