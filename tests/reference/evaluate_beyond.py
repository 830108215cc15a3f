"""`beyond(g, p %)` by its definition, at one point: in every conjunct-polytope of g, a discrete atom is false or a
linear atom fails by at least p % of Σ|aⱼ|·rangeⱼ.

The region is written out here: numbers become sums of the rule's own variables and of choices (max, min, if), and every
choice is made in each way that its sign allows. What `with` or a definition's parameter stands for is followed back to
the rule's records, so that the coefficients are those of the variables that the rule quantifies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from rewarden.spec_lang import syntax
from tests.reference.evaluate_units import scale
from tests.reference.evaluate_values import Case, Typed, elements, holds

if TYPE_CHECKING:
    from tests.reference.evaluate import Env, Evaluator


class NotLinear(Exception):
    """The region has a comparison that is neither linear nor discrete."""


@dataclass(frozen=True)
class Symbol:
    """One number that the rule quantifies, with its value at the point, in problem units."""

    name: str
    discrete: bool
    lo: Fraction
    hi: Fraction
    value: Fraction


Dnf = list[list[Any]]  # of atoms: True, False, or (Number without choices, strict), which says > 0 or >= 0
TRUTH: Dnf = [[]]
FALSITY: Dnf = []


@dataclass(frozen=True)
class Number:
    """constant + Σ coefficient·symbol + Σ coefficient·choice."""

    constant: Fraction = Fraction(0)
    linear: dict[Symbol, Fraction] = field(default_factory=dict)
    choices: tuple[tuple[Fraction, Choice], ...] = ()

    def __add__(self, other: Number) -> Number:
        linear = dict(self.linear)
        for s, c in other.linear.items():
            linear[s] = linear.get(s, Fraction(0)) + c
        kept = {s: c for s, c in linear.items() if c}
        return Number(self.constant + other.constant, kept, self.choices + other.choices)

    def times(self, by: Fraction) -> Number:
        choices = tuple((c * by, k) for c, k in self.choices) if by else ()
        return Number(self.constant * by, {s: c * by for s, c in self.linear.items() if by}, choices)

    def shifted(self, by: Fraction) -> Number:
        return self + Number(by)

    @property
    def plain(self) -> bool:
        return not self.linear and not self.choices

    def value(self) -> Fraction:
        return self.constant + sum((c * s.value for s, c in self.linear.items()), Fraction(0))


@dataclass(frozen=True, eq=False)
class Choice:
    """max or min of the options, or the first of two where a condition holds, else the second."""

    kind: str
    options: tuple[Number, ...]
    condition: Callable[[bool], Dnf] | None = None  # the condition, or its negation


@dataclass(frozen=True)
class Symbolic:
    """A record: feature → what its value is. A bool is its own normal form, wanted true or false."""

    features: dict[str, Any]


def beyond(evaluator: Evaluator, region: syntax.Expr, rim: Fraction, env: Env) -> bool:
    return all(any(_fails(atom, rim) for atom in polytope) for polytope in _Region(evaluator).normal(region, True, env))


def _fails(atom: Any, rim: Fraction) -> bool:
    if isinstance(atom, bool):
        return not atom
    number, strict = atom
    exactly = not (number.value() > 0 if strict else number.value() >= 0)
    if all(s.discrete for s in number.linear):
        return exactly
    margin = rim * sum(abs(c) * (s.hi - s.lo) for s, c in number.linear.items())
    return number.value() <= -margin if margin else exactly


def _both(a: Dnf, b: Dnf) -> Dnf:
    return [p + q for p in a for q in b]


def _positive(number: Number, strict: bool) -> Dnf:
    """number > 0 or >= 0, without choices.

    Alternatives (max with a positive sign, min with a negative one, if) come before what must hold in each case: the
    region is a union of polytopes, whichever way round it is written.
    """
    if not number.choices:
        return [[(number, strict)]]
    at = next((i for i, c in enumerate(number.choices) if _alternative(c)), 0)
    c, choice = number.choices[at]
    others = Number(number.constant, number.linear, number.choices[:at] + number.choices[at + 1 :])
    found = [_positive(others + option.times(c), strict) for option in choice.options]
    if choice.kind == "if":
        return _both(choice.condition(True), found[0]) + _both(choice.condition(False), found[1])
    if _alternative((c, choice)):
        return [p for part in found for p in part]
    whole = TRUTH
    for part in found:
        whole = _both(whole, part)
    return whole


def _alternative(part: tuple[Fraction, Choice]) -> bool:
    c, choice = part
    return choice.kind == "if" or (choice.kind == "max") == (c > 0)


def _compared(op: str, a: Number, b: Number) -> Dnf:
    less, more = b + a.times(Fraction(-1)), a + b.times(Fraction(-1))
    match op:
        case "<" | "<=":
            return _positive(less, op == "<")
        case ">" | ">=":
            return _positive(more, op == ">")
        case "==":
            return _both(_positive(more, False), _positive(less, False))
    return _positive(more, True) + _positive(less, True)


OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}


@dataclass
class _Region:
    evaluator: Evaluator

    # ── predicates ─────────────────────────────────────────────────────────────────────────────
    def normal(self, e: syntax.Expr, wanted: bool, env: Env) -> Dnf:
        """The disjunctive normal form of the predicate, or of its negation."""
        match e:
            case syntax.Truth() | syntax.Name():
                return TRUTH if self.evaluator.value(e, env) == wanted else FALSITY
            case syntax.Not():
                return self.normal(e.inner, not wanted, env)
            case syntax.Implies():
                return self.either([(e.premise, False), (e.conclusion, True)], wanted, env)
            case syntax.Connective():
                parts = [(p, True) for p in e.parts]
                if e.op == "or":
                    return self.either(parts, wanted, env)
                return self.either([(p, False) for p in e.parts], not wanted, env)
            case syntax.If():
                holds, not_ = self.normal(e.condition, True, env), self.normal(e.condition, False, env)
                then, otherwise = self.normal(e.then, wanted, env), self.normal(e.otherwise, wanted, env)
                if wanted:
                    return _both(holds, then) + _both(not_, otherwise)
                return _both(not_ + then, holds + otherwise)
            case syntax.Compare():
                return self.chain(e, wanted, env)
            case syntax.Field():
                return self.record(e.base, env).features[e.name](wanted)
            case syntax.Apply() if e.function in self.evaluator.definitions:
                return self.normal(*self.body(e, wanted, env))
        return [[bool(self.evaluator.value(e, env)) == wanted]]

    def either(self, parts: list[tuple[syntax.Expr, bool]], wanted: bool, env: Env) -> Dnf:
        """Some part (or its negation) holds; or, where that is not wanted, none does."""
        if wanted:
            return [p for e, positive in parts for p in self.normal(e, positive, env)]
        found = TRUTH
        for e, positive in parts:
            found = _both(found, self.normal(e, not positive, env))
        return found

    def body(self, e: syntax.Apply, wanted: bool, env: Env) -> tuple[syntax.Expr, bool, Env]:
        definition = self.evaluator.definitions[e.function]
        return definition.body, wanted, self.evaluator.inner(definition, e, env)

    def chain(self, e: syntax.Compare, wanted: bool, env: Env) -> Dnf:
        operands = [e.first, *(x for _, x in e.rest)]
        values = self.evaluator.operands(e, env)
        found = TRUTH if wanted else FALSITY
        for (op, _), i in zip(e.rest, range(len(values)), strict=False):
            pair = self.pair(op if wanted else OPPOSITE[op], operands[i : i + 2], values[i : i + 2], env)
            found = _both(found, pair) if wanted else found + pair
        return found

    def pair(self, op: str, operands: list[syntax.Expr], values: list[Any], env: Env) -> Dnf:
        match values:
            case [Case(), Case()]:
                return [[holds(op, *values)]]
            case [bool(), bool()]:
                (p, not_p), (q, not_q) = ((self.normal(x, True, env), self.normal(x, False, env)) for x in operands)
                return _both(not_p + q, p + not_q) if op == "==" else _both(p, not_q) + _both(q, not_p)
            case [tuple(), tuple()]:
                pairs = zip(*(self.vector(x, env) for x in operands), strict=True)
                found = TRUTH if op == "==" else FALSITY
                for a, b in pairs:
                    found = _both(found, _compared(op, a, b)) if op == "==" else found + _compared(op, a, b)
                return found
        return _compared(op, self.number(operands[0], env), self.number(operands[1], env))

    # ── records ────────────────────────────────────────────────────────────────────────────────
    def record(self, e: syntax.Expr, env: Env) -> Symbolic:
        match e:
            case syntax.Name(name=name) if name in env.origin:
                return self.record(*env.origin[name])
            case syntax.With():
                return self.updated(e, env)
        typed = self.evaluator.value(e, env)
        return self.quantified(self.evaluator.root_of(e, env), typed)

    def quantified(self, root: str, record: Typed) -> Symbolic:
        """A record that the rule itself speaks of: every feature is a variable."""
        found: dict[str, Any] = {}
        for f in record.type.features:
            value = record.values[f.name]
            if f.kind == "bool":
                found[f.name] = _fixed(value)
            elif f.kind != "enum":
                unit = scale(f.unit)
                owner = self.evaluator.shared_with(root, f.name)
                symbols = [
                    Symbol(f"{owner}.{f.name}[{k}]", f.kind == "int", f.lo, f.hi, x)
                    for k, x in enumerate(elements(value))
                ]
                numbers = [Number(unit.offset, {s: unit.factor}) for s in symbols]
                found[f.name] = numbers if f.is_vector else numbers[0]
        return Symbolic(found)

    def updated(self, e: syntax.With, env: Env) -> Symbolic:
        record_type = self.evaluator.value(e.base, env).type
        found = dict(self.record(e.base, env).features)
        for u in e.updates:
            f = record_type.feature(u.name)
            if f.kind == "bool":
                found[u.name] = lambda wanted, value=u.value: self.normal(value, wanted, env)
            elif f.is_vector:
                found[u.name] = self.vector(u.value, env)
            elif f.kind != "enum":
                found[u.name] = self.number(u.value, env)
        return Symbolic(found)

    # ── numbers ────────────────────────────────────────────────────────────────────────────────
    def number(self, e: syntax.Expr, env: Env) -> Number:
        found = self.numeric(e, env)
        assert isinstance(found, Number)
        return found

    def vector(self, e: syntax.Expr, env: Env) -> list[Number]:
        found = self.numeric(e, env)
        assert isinstance(found, list)
        return found

    def numeric(self, e: syntax.Expr, env: Env) -> Number | list[Number]:
        match e:
            case syntax.Negate(inner=syntax.Number()) | syntax.Number() | syntax.Name():
                return Number(self.evaluator.value(e, env))
            case syntax.Field():
                return self.record(e.base, env).features[e.name]
            case syntax.Index():
                return self.vector(e.base, env)[e.index]
            case syntax.Negate():
                return _each(lambda n: n.times(Fraction(-1)), self.numeric(e.inner, env))
            case syntax.Abs():
                return _size(self.number(e.inner, env))
            case syntax.Arithmetic():
                result = self.numeric(e.first, env)
                for op, operand in e.rest:
                    result = _binary(op, result, self.numeric(operand, env))
                return result
            case syntax.If():
                then, otherwise = self.numeric(e.then, env), self.numeric(e.otherwise, env)
                if isinstance(then, list):
                    return [self.choice(e.condition, a, b, env) for a, b in zip(then, otherwise, strict=True)]
                return self.choice(e.condition, then, otherwise, env)
            case syntax.Apply():
                return self.applied(e, env)
        raise NotLinear

    def choice(self, condition: syntax.Expr, a: Number, b: Number, env: Env) -> Number:
        whether = self.normal(condition, True, env)
        if whether in (TRUTH, FALSITY):
            return a if whether == TRUTH else b
        made = Choice("if", (a, b), lambda wanted: self.normal(condition, wanted, env))
        return Number(choices=((Fraction(1), made),))

    def applied(self, e: syntax.Apply, env: Env) -> Number | list[Number]:
        if e.function in self.evaluator.definitions:
            body, _, inner = self.body(e, True, env)
            return self.numeric(body, inner)
        if e.function not in ("min", "max", "linf", "l1", "dot"):
            raise NotLinear
        given = [self.numeric(a, env) for a in e.arguments]
        flat = [n for g in given for n in (g if isinstance(g, list) else [g])]
        match e.function:
            case "min" | "max" | "linf" if all(n.plain for n in flat):
                return Number(self.evaluator.value(e, env))
            case "min" | "max":
                return Number(choices=((Fraction(1), Choice(e.function, tuple(flat))),))
            case "linf":
                return Number(choices=((Fraction(1), Choice("max", tuple(s for n in flat for s in _signs(n)))),))
            case "l1":
                return sum((_size(n) for n in flat), Number())
        return sum((_binary("*", a, b) for a, b in zip(*given, strict=True)), Number())


def _fixed(value: bool) -> Callable[[bool], Dnf]:
    return lambda wanted: [[value == wanted]]


def _signs(n: Number) -> tuple[Number, Number]:
    return n, n.times(Fraction(-1))


def _size(n: Number) -> Number:
    if n.plain:
        return Number(abs(n.constant))
    return Number(choices=((Fraction(1), Choice("max", _signs(n))),))


def _each(apply: Callable[[Number], Number], n: Number | list[Number]) -> Number | list[Number]:
    return [apply(x) for x in n] if isinstance(n, list) else apply(n)


def _binary(op: str, a: Any, b: Any) -> Any:
    if isinstance(a, list) and isinstance(b, list):
        return [_binary(op, x, y) for x, y in zip(a, b, strict=True)]
    if isinstance(a, list) or isinstance(b, list):
        return [_binary(op, x, b) for x in a] if isinstance(a, list) else [_binary(op, a, y) for y in b]
    if op in "+-":
        return a + (b if op == "+" else b.times(Fraction(-1)))
    if op == "*" and a.plain:
        return b.times(a.constant)
    if b.plain and (op == "*" or b.constant):
        return a.times(b.constant if op == "*" else 1 / b.constant)
    raise NotLinear
