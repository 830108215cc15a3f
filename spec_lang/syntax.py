"""The syntax tree of a spec: what the text says, before any name has been looked up.

All nodes are frozen. Spans take no part in equality, so that two texts that differ in layout only
have equal trees (`printer.py` relies on it). Chains such as `a + b - c` and `0 <= x < 1` are flat:
only real nesting makes a tree deep, and the parser bounds that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from rewarden.spec_lang.source import Span


# ── expressions ────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Number:
    """A literal, exactly. `5 %` is Number(5, percent=True) and means 1/20."""

    value: Fraction
    unit: str | None
    percent: bool
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Truth:
    """`true` or `false`."""

    value: bool
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Name:
    """A record variable, a parameter, a data set or an enum's case: types decide."""

    name: str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Field:
    base: Expr
    name: str
    span: Span = field(compare=False, repr=False)
    name_span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Index:
    base: Expr
    index: int
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Apply:
    """A reward, a definition or a built-in function, applied."""

    function: str
    arguments: tuple[Expr, ...]
    span: Span = field(compare=False, repr=False)
    name_span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Update:
    name: str
    value: Expr
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class With:
    base: Expr
    updates: tuple[Update, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Abs:
    inner: Expr
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Negate:
    inner: Expr
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Not:
    inner: Expr
    span: Span = field(compare=False, repr=False)


ArithmeticOp = Literal["+", "-", "*", "/"]
CompareOp = Literal["<", "<=", ">", ">=", "==", "!="]


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """A flat chain of `+ -` or of `* /`, applied from the left."""

    first: Expr
    rest: tuple[tuple[ArithmeticOp, Expr], ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Compare:
    """`a < b <= c` says `a < b and b <= c`."""

    first: Expr
    rest: tuple[tuple[CompareOp, Expr], ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Connective:
    op: Literal["and", "or"]
    parts: tuple[Expr, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Implies:
    premise: Expr
    conclusion: Expr
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class If:
    condition: Expr
    then: Expr
    otherwise: Expr
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Discounted:
    """`R(t) discount γ`, inside a trace's sum."""

    inner: Expr
    factor: Expr
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Temporal:
    op: Literal["always", "eventually"]
    inner: Expr
    span: Span = field(compare=False, repr=False)


Expr = (
    Number
    | Truth
    | Name
    | Field
    | Index
    | Apply
    | With
    | Abs
    | Negate
    | Not
    | Arithmetic
    | Compare
    | Connective
    | Implies
    | If
    | Discounted
    | Temporal
)


def children(expr: Expr) -> Iterator[Expr]:
    """The direct subexpressions, in source order."""
    match expr:
        case Number() | Truth() | Name():
            return
        case Field(base=base) | Index(base=base):
            yield base
        case Apply(arguments=parts) | Connective(parts=parts):
            yield from parts
        case With(base=base, updates=updates):
            yield base
            yield from (u.value for u in updates)
        case Abs(inner=inner) | Negate(inner=inner) | Not(inner=inner) | Temporal(inner=inner):
            yield inner
        case Arithmetic(first=first, rest=rest):
            yield first
            yield from (e for _, e in rest)
        case Compare(first=first, rest=chain):
            yield first
            yield from (e for _, e in chain)
        case Implies(premise=a, conclusion=b) | Discounted(inner=a, factor=b):
            yield a
            yield b
        case If(condition=c, then=a, otherwise=b):
            yield c
            yield a
            yield b


def walk(expr: Expr) -> Iterator[Expr]:
    """Every subexpression, parents first; iterative, so that depth cannot overflow the stack."""
    stack = [expr]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(tuple(children(node))))


def dotted(expr: Expr) -> str | None:
    """`v.risky` of a name or a path of names; None for anything else."""
    parts: list[str] = []
    while isinstance(expr, Field):
        parts.append(expr.name)
        expr = expr.base
    if not isinstance(expr, Name):
        return None
    return ".".join([expr.name, *reversed(parts)])


def case_name(name: Name) -> str:
    """An enum's case, compared or assigned: cases have no prefix, even where a used file declares such a name."""
    return name.name.rpartition(".")[2]


# ── declarations ───────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class FieldDecl:
    name: str
    kind: Literal["real", "int", "bool", "enum"]
    size: int | None  # vectors only
    unit: str | None
    range: tuple[Fraction, Fraction] | None
    cases: tuple[str, ...]
    span: Span = field(compare=False, repr=False)
    name_span: Span = field(compare=False, repr=False)
    unit_span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class FeaturesDecl:
    name: str
    fields: tuple[FieldDecl, ...]
    span: Span = field(compare=False, repr=False)
    name_span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Param:
    """`x: T` of a reward, a definition, an assumption or a quantifier."""

    name: str
    type_name: str
    span: Span = field(compare=False, repr=False)
    type_span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class AssumeDecl:
    param: Param
    body: Expr
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class RewardSymbol:
    name: str
    params: tuple[Param, ...]
    span: Span = field(compare=False, repr=False)
    name_span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class DataSymbol:
    """`data d: T from …` has one nameless member; the pair form names each."""

    name: str
    members: tuple[tuple[str, str], ...]  # (member name or "", record type)
    path: str
    span: Span = field(compare=False, repr=False)
    name_span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ParamDecl:
    name: str
    kind: Literal["real", "int", "bool", "enum"]
    unit: str | None
    value: Expr
    span: Span = field(compare=False, repr=False)
    name_span: Span = field(compare=False, repr=False)
    unit_span: Span | None = field(default=None, compare=False, repr=False)
    cases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Definition:
    kind: Literal["let", "region", "relation"]
    name: str
    params: tuple[Param, ...]
    body: Expr
    span: Span = field(compare=False, repr=False)
    name_span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class UseDecl:
    """`use "file" as name`: the file's declarations, under `name.`"""

    path: str
    alias: str
    span: Span = field(compare=False, repr=False)
    name_span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Binding:
    """`s = {speed = 1 [m/s]}`: what an example says of one record; features not named are free."""

    record: str
    updates: tuple[Update, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ExampleCase:
    kind: Literal["covers", "ignores"]
    records: tuple[Binding, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ExampleDecl:
    rule: str
    cases: tuple[ExampleCase, ...]
    span: Span = field(compare=False, repr=False)
    name_span: Span = field(compare=False, repr=False)


# ── rules ──────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Forall:
    """Every record, or every tuple of records; `varying` is empty unless written."""

    params: tuple[Param, ...]
    varying: tuple[Name, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Near:
    """`forall x: T near d within r in norm`; a radius is one for all, or one per feature. `away`: `not near`, every
    record that is within the radius of no row."""

    param: Param
    data: Name
    radius: Expr | tuple[Update, ...]
    norm: Literal["linf", "l1", "l2"]
    span: Span = field(compare=False, repr=False)
    away: bool = False


@dataclass(frozen=True, slots=True)
class ForallRows:
    name: str
    data: Name
    span: Span = field(compare=False, repr=False)
    name_span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Trace:
    param: Param
    exact: bool  # `of n steps`, else `within n steps`
    steps: Expr
    relation: Name | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Cycle:
    param: Param
    relation: Name
    span: Span = field(compare=False, repr=False)


Quantifier = Forall | Near | ForallRows | Trace | Cycle


@dataclass(frozen=True, slots=True)
class RuleDecl:
    severity: Literal["must", "should"]
    name: str
    title: str
    quantifier: Quantifier
    given: Expr | None
    expect: Expr
    confidence: Expr | None
    weight: Expr | None
    requirement: str | None
    because: str | None
    span: Span = field(compare=False, repr=False)
    name_span: Span = field(compare=False, repr=False)


Item = FeaturesDecl | AssumeDecl | RewardSymbol | DataSymbol | ParamDecl | Definition | UseDecl | ExampleDecl | RuleDecl


@dataclass(frozen=True, slots=True)
class SpecFile:
    name: str
    items: tuple[Item, ...]
    span: Span = field(compare=False, repr=False)


def item_expressions(item: Item) -> tuple[Expr, ...]:
    """The expressions written directly in an item."""
    match item:
        case AssumeDecl(body=body) | Definition(body=body):
            return (body,)
        case ParamDecl(value=value):
            return (value,)
        case ExampleDecl(cases=cases):
            return tuple(u.value for c in cases for b in c.records for u in b.updates)
        case RuleDecl():
            found = [e for e in (item.given, item.expect, item.confidence, item.weight) if e is not None]
            match item.quantifier:
                case Near(radius=tuple() as updates):
                    found.extend(u.value for u in updates)
                case Near(radius=radius) if not isinstance(radius, tuple):
                    found.append(radius)
                case Trace(steps=steps):
                    found.append(steps)
            return tuple(found)
        case _:
            return ()
