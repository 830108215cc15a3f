"""A syntax tree as canonical text: the one layout, the fewest parentheses, no comments but titles.

`parse(print_spec(tree)) == tree` for every tree that the parser makes; the digest of a spec is taken of this text, so
that comments and layout do not change it.
"""

from __future__ import annotations

from rewarden.spec_lang import syntax
from rewarden.spec_lang.numerals import decimal

# Binding strength, from the loosest. An operand is put in parentheses where it binds more loosely than its place.
_IMPLIES, _OR, _AND, _NOT, _COMPARE, _SUM, _PRODUCT, _UNARY, _PRIMARY, _PATH = range(10)


def print_spec(tree: syntax.SpecFile) -> str:
    """The whole file, ending in a newline."""
    blocks = [f"spec {tree.name} v1", *(print_item(item) for item in tree.items)]
    return "\n\n".join(blocks) + "\n"


def print_item(item: syntax.Item) -> str:
    match item:
        case syntax.FeaturesDecl(name=name, fields=fields):
            return "\n".join([f"features {name} {{", *(f"  {_field(f)}" for f in fields), "}"])
        case syntax.AssumeDecl(param=p, body=body):
            return f"assume {p.name}: {p.type_name} = {print_expression(body)}"
        case syntax.RewardSymbol(name=name, params=params):
            return f"reward {name}({_params(params)})"
        case syntax.DataSymbol(name=name, members=(("", type_name),), path=path):
            return f"data {name}: {type_name} from {_quoted(path)}"
        case syntax.DataSymbol(name=name, members=members, path=path):
            return f"data {name}: ({', '.join(f'{m}: {t}' for m, t in members)}) from {_quoted(path)}"
        case syntax.ParamDecl(name=name, kind=kind, unit=unit, value=value, cases=cases):
            sort = _enum(cases) if kind == "enum" else f"{kind}{_unit(unit)}"
            return f"param {name}: {sort} = {print_expression(value)}"
        case syntax.Definition(kind=word, name=name, params=params, body=body):
            return f"{word} {name}({_params(params)}) = {print_expression(body)}"
        case syntax.UseDecl(path=path, alias=alias):
            return f"use {_quoted(path)} as {alias}"
        case syntax.ExampleDecl(rule=rule, cases=cases):
            return "\n".join([f"example of {rule}:", *(f"  {_case(c)}" for c in cases)])
        case syntax.RuleDecl():
            return _rule(item)


def print_expression(expr: syntax.Expr) -> str:
    return _expression(expr, _IMPLIES)


# ── declarations and rules ─────────────────────────────────────────────────────────────────────
def _field(f: syntax.FieldDecl) -> str:
    if f.kind == "enum":
        return f"{f.name}: {_enum(f.cases)}"
    size = f" ^ {f.size}" if f.size is not None else ""
    ends = f" in {decimal(f.range[0])} .. {decimal(f.range[1])}" if f.range is not None else ""
    return f"{f.name}: {f.kind}{size}{_unit(f.unit)}{ends}"


def _enum(cases: tuple[str, ...]) -> str:
    return f"enum {{{', '.join(cases)}}}"


def _params(params: tuple[syntax.Param, ...]) -> str:
    """`a, b: T, c: U`: records of one type in a row share it."""
    groups: list[tuple[list[str], str]] = []
    for p in params:
        if groups and groups[-1][1] == p.type_name:
            groups[-1][0].append(p.name)
        else:
            groups.append(([p.name], p.type_name))
    return ", ".join(f"{', '.join(names)}: {type_name}" for names, type_name in groups)


def _case(case: syntax.ExampleCase) -> str:
    return f"{case.kind} " + ", ".join(f"{b.record} = {_updates(b.updates)}" for b in case.records)


def _rule(rule: syntax.RuleDecl) -> str:
    lines = [f"--- {rule.title}"] if rule.title else []
    lines += [f"{rule.severity} {rule.name}:", f"  {_quantifier(rule.quantifier)}"]
    if rule.given is not None:
        lines.append(f"  given {print_expression(rule.given)}")
    confidence = f" confidence {print_expression(rule.confidence)}" if rule.confidence is not None else ""
    lines.append(f"  expect {print_expression(rule.expect)}{confidence}")
    if rule.weight is not None:
        lines.append(f"  weight {print_expression(rule.weight)}")
    if rule.requirement is not None:
        lines.append(f"  id {_quoted(rule.requirement)}")
    if rule.because is not None:
        lines.append(f"  because {_quoted(rule.because)}")
    return "\n".join(lines)


def _quantifier(q: syntax.Quantifier) -> str:
    match q:
        case syntax.Forall(params=params, varying=varying):
            tail = f" varying {', '.join(v.name for v in varying)}" if varying else ""
            return f"forall {_params(params)}{tail}"
        case syntax.Near(param=p, data=data, radius=radius, norm=norm, away=away):
            size = _updates(radius) if isinstance(radius, tuple) else print_expression(radius)
            tail = "" if norm == "linf" else f" in {norm}"
            word = "not near" if away else "near"
            return f"forall {p.name}: {p.type_name} {word} {data.name} within {size}{tail}"
        case syntax.ForallRows(name=name, data=data):
            return f"forall {name} in {data.name}"
        case syntax.Trace(param=p, exact=exact, steps=steps, relation=relation):
            via = f" via {relation.name}" if relation is not None else ""
            word = "of" if exact else "within"
            return f"trace {p.name}: {p.type_name} {word} {print_expression(steps)} steps{via}"
        case syntax.Cycle(param=p, relation=relation):
            return f"cycle {p.name}: {p.type_name} via {relation.name}"


# ── expressions ────────────────────────────────────────────────────────────────────────────────
def _expression(expr: syntax.Expr, place: int) -> str:
    level, text = _leveled(expr)
    return f"({text})" if level < place else text


def _leveled(expr: syntax.Expr) -> tuple[int, str]:
    """How strongly the expression binds, and its text."""
    match expr:
        case syntax.Number(value=value, unit=unit, percent=percent):
            return _PRIMARY, f"{decimal(value)}{' %' if percent else ''}{_unit(unit)}"
        case syntax.Truth(value=truth):
            return _PATH, "true" if truth else "false"
        case syntax.Name(name=name):
            return _PATH, name
        case syntax.Field(base=base, name=name):
            return _PATH, f"{_expression(base, _PATH)}.{name}"
        case syntax.Index(base=base, index=index):
            return _PATH, f"{_expression(base, _PATH)}[{index}]"
        case syntax.Apply(function=function, arguments=arguments):
            return _PATH, f"{function}({', '.join(_argument(a) for a in arguments)})"
        case syntax.With(base=base, updates=updates):
            return _PATH, f"{_expression(base, _PATH)} with {_updates(updates)}"
        case syntax.If(condition=c, then=then, otherwise=otherwise):
            parts = (_expression(e, _IMPLIES) for e in (c, then, otherwise))
            return _PATH, "(if {} then {} else {})".format(*parts)
        case syntax.Abs(inner=inner):
            return _PRIMARY, f"|{_expression(inner, _IMPLIES)}|"
        case syntax.Negate(inner=inner):
            return _UNARY, f"-{_expression(inner, _UNARY)}"
        case syntax.Not(inner=inner):
            return _NOT, f"not {_expression(inner, _NOT)}"
        case syntax.Temporal(op=word, inner=inner):
            return _NOT, f"{word} {_expression(inner, _NOT)}"
        case syntax.Discounted():
            return _IMPLIES, _argument(expr)
        case _:
            return _chain(expr)


def _chain(expr: syntax.Expr) -> tuple[int, str]:
    match expr:
        case syntax.Arithmetic(first=first, rest=rest):
            level = _SUM if rest[0][0] in "+-" else _PRODUCT
            tail = "".join(f" {op} {_expression(e, level + 1)}" for op, e in rest)
            return level, _expression(first, level + 1) + tail
        case syntax.Compare(first=first, rest=chain):
            tail = "".join(f" {op} {_expression(e, _SUM)}" for op, e in chain)
            return _COMPARE, _expression(first, _SUM) + tail
        case syntax.Connective(op=word, parts=parts):
            level = _OR if word == "or" else _AND
            return level, f" {word} ".join(_expression(p, level + 1) for p in parts)
        case syntax.Implies(premise=premise, conclusion=conclusion):
            return _IMPLIES, f"{_expression(premise, _OR)} implies {_expression(conclusion, _IMPLIES)}"
    raise AssertionError(f"unforeseen expression {type(expr).__name__}")


def _argument(expr: syntax.Expr) -> str:
    if isinstance(expr, syntax.Discounted):
        return f"{print_expression(expr.inner)} discount {print_expression(expr.factor)}"
    return print_expression(expr)


def _updates(updates: tuple[syntax.Update, ...]) -> str:
    return f"{{{', '.join(f'{u.name} = {print_expression(u.value)}' for u in updates)}}}"


def _unit(unit: str | None) -> str:
    return "" if unit is None else f" [{unit}]"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
