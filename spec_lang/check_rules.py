"""Checks a whole spec: definitions in order of use, parameters, assumptions, rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard

from rewarden.spec_lang import syntax
from rewarden.spec_lang.check import Checker
from rewarden.spec_lang.diagnostics import did_you_mean
from rewarden.spec_lang.features import RecordType
from rewarden.spec_lang.findings import Findings
from rewarden.spec_lang.scope import CONSTANT, Members, Scope, Steps
from rewarden.spec_lang.source import Span
from rewarden.spec_lang.symbols import Symbols
from rewarden.spec_lang.types import UNKNOWN, BoolType, EnumType, NumberType, Type, UnknownType

TURNED: dict[syntax.CompareOp, syntax.CompareOp] = {
    "<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!=",
}  # fmt: skip


def check(symbols: Symbols, findings: Findings) -> Checker:
    """Reports every mistake of names, types and units; the checker keeps the types of the definitions."""
    checker = Checker(symbols, findings)
    for name in in_order_of_use(symbols, findings):
        if name in symbols.definitions:
            _definition(checker, symbols.definitions[name])
        else:
            _param(checker, symbols.params[name])
    for assumption in symbols.assumptions:
        scope = Scope({assumption.param.name: assumption.param.type_name}, rewards=False)
        checker.predicate(assumption.body, scope)
        for node in uses_reward(assumption.body, symbols):
            message = "an assumption says which records can occur: it cannot depend on a reward"
            findings.add("T09", message, node.span)
    for rule in (*symbols.rules.values(), *symbols.repeated):
        _rule(checker, rule)
    for example in symbols.examples:
        _example(checker, example)
    return checker


def in_order_of_use(symbols: Symbols, findings: Findings) -> list[str]:
    """Definitions and parameters, each after what it uses; N08 for those that use themselves. Iterative."""
    bodies: dict[str, syntax.Expr] = {d.name: d.body for d in symbols.definitions.values()}
    bodies |= {p.name: p.value for p in symbols.params.values()}
    used = {name: list(_uses(body, symbols.cases_of(name), symbols)) for name, body in bodies.items()}
    order: list[str] = []
    state: dict[str, str] = {}
    for root in bodies:
        stack = [(root, iter(used[root]))] if root not in state else []
        state.setdefault(root, "open")
        while stack:
            name, uses = stack[-1]
            use = next(uses, None)
            if use is None:
                stack.pop()
                state[name] = "done"
                order.append(name)
            elif use not in state:
                state[use] = "open"
                stack.append((use, iter(used[use])))
            elif state[use] == "open":
                chain = [n for n, _ in stack]
                path = " → ".join([*chain[chain.index(use) :], use])
                findings.add("N08", f"{use} is defined by itself: {path}"[:300], symbols.declared[use])
    return order


def uses_reward(expr: syntax.Expr, symbols: Symbols) -> Iterator[syntax.Expr]:
    """The applications in an expression that mention a reward by way of a definition."""
    for node in syntax.walk(expr):
        if isinstance(node, syntax.Apply) and node.function in symbols.definitions:
            seen: set[str] = set()
            pending = [node.function]
            while pending:
                name = pending.pop()
                if name in seen or name not in symbols.definitions:
                    continue
                seen.add(name)
                used = {n.function for n in syntax.walk(symbols.definitions[name].body) if isinstance(n, syntax.Apply)}
                if used & set(symbols.rewards):
                    yield node
                    break
                pending.extend(used)


def _uses(body: syntax.Expr, cases: tuple[str, ...], symbols: Symbols) -> Iterator[str]:
    """The definitions that are applied, the parameters that are named; a case may have the name of one.

    `cases`: those of an enum parameter, whose value `body` is.
    """
    as_case = {id(body)} if isinstance(body, syntax.Name) and syntax.case_name(body) in cases else set()
    for node in syntax.walk(body):
        match node:
            case syntax.Compare(first=first, rest=rest):
                operands = [first, *(e for _, e in rest)]
                _, known = symbols.cases_among(operands) or ("", ())
                as_case |= {id(e) for e in operands if isinstance(e, syntax.Name) and syntax.case_name(e) in known}
            case syntax.Apply(function=name) if name in symbols.definitions:
                yield name
            case syntax.Name(name=name) if name in symbols.params and id(node) not in as_case:
                yield name


def _definition(checker: Checker, definition: syntax.Definition) -> None:
    scope = Scope({p.name: p.type_name for p in definition.params})
    result = checker.type_of(definition.body, scope)
    if definition.kind != "let" and not isinstance(result, (BoolType, UnknownType)):
        message = f"{definition.kind} {definition.name} must be a predicate, found {result}"
        checker.findings.add("T01", message, definition.body.span, help="use `let` for a number")
        result = UNKNOWN
    checker.results[definition.name] = result


def _param(checker: Checker, param: syntax.ParamDecl) -> None:
    check_param_value(checker, param, param.value)


def check_param_value(checker: Checker, param: syntax.ParamDecl, value: syntax.Expr) -> None:
    """Whether the parameter may be given that value."""
    wanted = checker.type_of(syntax.Name(param.name, param.name_span), CONSTANT)
    if isinstance(wanted, EnumType):
        _param_case(checker, wanted, value)
        return
    found = checker.constant(value, f"the value of {param.name}")
    if isinstance(found, UnknownType):
        return
    if isinstance(wanted, NumberType) and isinstance(found, NumberType):
        checker.units.assign(param.name, wanted, found, value)
    elif type(wanted) is not type(found) and not isinstance(wanted, UnknownType):
        checker.findings.add("T01", f"{param.name} is {wanted}, found {found}", value.span)


def _param_case(checker: Checker, wanted: EnumType, value: syntax.Expr) -> None:
    """A case, or another parameter with the same cases."""
    if isinstance(value, syntax.Name):
        checker.enum_operand(value, wanted, CONSTANT)
        return
    found = checker.constant(value, f"the value of {wanted.feature}")
    if not isinstance(found, UnknownType):
        help = f"write one of its cases: {', '.join(wanted.cases[:12])}"
        checker.findings.add("T06", f"expected a case of {wanted.feature}, found {found}", value.span, help=help)


# ── rules ──────────────────────────────────────────────────────────────────────────────────────
def _rule(checker: Checker, rule: syntax.RuleDecl) -> None:
    match rule.quantifier:
        case syntax.Forall() as forall:
            scope = _forall(checker, forall)
        case syntax.Near() as near:
            scope = _near(checker, near)
        case syntax.ForallRows() as rows:
            scope = _rows(checker, rows)
        case syntax.Trace() as trace:
            scope = _trace(checker, trace)
        case syntax.Cycle() as cycle:
            scope = _cycle(checker, cycle)
            check_loop(checker, rule, cycle)
    if rule.given is not None:
        checker.predicate(rule.given, scope)
    found = share_of(rule.expect) if isinstance(rule.quantifier, syntax.ForallRows) else None
    if found is None:
        checker.predicate(rule.expect, scope)
    else:
        _share(checker, found, scope)
    if rule.confidence is not None:
        if found is None:
            message = "`confidence` belongs to a share over data"
            help = "write forall p in data … expect share(q) >= 0.6 confidence 0.99"
            checker.findings.add("T20", message, rule.confidence.span, help=help)
        checker.plain_constant(checker.constant(rule.confidence, "a confidence"), rule.confidence, "a confidence")
    if rule.weight is not None:
        checker.plain_constant(checker.constant(rule.weight, "a weight"), rule.weight, "a weight")


def _records(checker: Checker, params: tuple[syntax.Param, ...]) -> dict[str, str]:
    """The records of a quantifier: declared types, distinct names that hide nothing."""
    records: dict[str, str] = {}
    for p in params:
        record_type(checker, p.type_name, p.type_span)
        if p.name in records:
            checker.findings.add("T12", f"record {p.name} appears twice", p.span)
        hidden = checker.symbols.declared.get(p.name)
        if hidden is not None:
            related = f"{p.name} is declared at {hidden.source.name}:{hidden.line}"
            checker.findings.add("N10", f"record {p.name} would hide a declaration", p.span, related=related)
        records[p.name] = p.type_name
    return records


def record_type(checker: Checker, name: str, span: Span) -> RecordType | None:
    found = checker.symbols.records.get(name)
    if found is None:
        help = did_you_mean(name, checker.symbols.records) or "declare it with `features`"
        checker.findings.add("N03", f"unknown record type {name}", span, help=help)
    return found


def _forall(checker: Checker, forall: syntax.Forall) -> Scope:
    records = _records(checker, forall.params)
    if forall.varying:
        types = {p.type_name for p in forall.params}
        if len(forall.params) != 2 or len(types) != 1:
            help = "write forall a, b: T varying f"
            checker.findings.add("T14", "`varying` takes two records of one type", forall.span, help=help)
        else:
            named: set[str] = set()
            for name in forall.varying:
                if name.name in named:
                    checker.findings.add("T12", f"{name.name} is named twice", name.span, help="name it once")
                else:
                    checker.feature_type(next(iter(types)), name.name, name.span)
                named.add(name.name)
    return Scope(records)


def _rows(checker: Checker, rows: syntax.ForallRows) -> Scope:
    hidden = checker.symbols.declared.get(rows.name)
    if hidden is not None:
        related = f"{rows.name} is declared at {hidden.source.name}:{hidden.line}"
        checker.findings.add("N10", f"row {rows.name} would hide a declaration", rows.name_span, related=related)
    members = _data(checker, rows.data)
    match members:
        case None:
            return Scope(unknown=frozenset((rows.name,)))
        case (("", kind),):
            return Scope({rows.name: kind})
        case _:
            return Scope(rows={rows.name: members})


def _data(checker: Checker, name: syntax.Name) -> Members | None:
    members = checker.symbols.rows_of(name.name)
    if members is None:
        help = did_you_mean(name.name, checker.symbols.data) or "declare it with `data`"
        checker.findings.add("N06", f"unknown data set {name.name}", name.span, help=help)
    return members


def _trace(checker: Checker, trace: syntax.Trace) -> Scope:
    _records(checker, (trace.param,))
    checker.plain_constant(checker.constant(trace.steps, "a number of steps"), trace.steps, "a number of steps")
    if trace.relation is not None:
        _relation(checker, trace.relation, trace.param)
    return Scope(steps=Steps(trace.param.name, trace.param.type_name, closed=False, exact=trace.exact))


def _cycle(checker: Checker, cycle: syntax.Cycle) -> Scope:
    _records(checker, (cycle.param,))
    _relation(checker, cycle.relation, cycle.param)
    return Scope(steps=Steps(cycle.param.name, cycle.param.type_name, closed=True, exact=False))


def _relation(checker: Checker, name: syntax.Name, param: syntax.Param) -> None:
    found = checker.symbols.definitions.get(name.name)
    relations = [d.name for d in checker.symbols.definitions.values() if d.kind == "relation"]
    if found is None or found.kind != "relation":
        help = did_you_mean(name.name, relations) or f"declare relation {name.name}(a, b: {param.type_name}) = …"
        checker.findings.add("N07", f"unknown relation {name.name}", name.span, help=help)
    elif param.type_name in checker.symbols.records and any(p.type_name != param.type_name for p in found.params):
        message = f"{found.name} relates {found.params[0].type_name}, {param.name} is of {param.type_name}"
        checker.findings.add("T14", message, name.span)


def _example(checker: Checker, example: syntax.ExampleDecl) -> None:
    """An example's rule and records exist, its values are constants of the right type."""
    rule = checker.symbols.rules.get(example.rule)
    if rule is None:
        help = did_you_mean(example.rule, checker.symbols.rules)
        checker.findings.add("N11", f"unknown rule {example.rule}", example.name_span, help=help)
        return
    records: dict[str, str] = {}
    match rule.quantifier:
        case syntax.Forall(params=params):
            records = {p.name: p.type_name for p in params}
        case syntax.Near(param=p):
            records = {p.name: p.type_name}
        case syntax.ForallRows(name=name, data=data):
            members = checker.symbols.rows_of(data.name)
            if not members:  # no such data, which is said where the rule names them
                return
            records = {name: members[0][1]} if [member for member, _ in members] == [""] else {}
    if not records:
        message = "examples are of rules about records, not of traces and cycles, nor of rows of several records"
        checker.findings.add("T21", message, example.name_span)
        return
    for case in example.cases:
        given: set[str] = set()
        for binding in case.records:
            if binding.record in given or binding.record not in records:
                what = "given twice" if binding.record in given else f"not a record of {rule.name}"
                help = f"its records are {', '.join(records)}"
                checker.findings.add("T21", f"{binding.record} is {what}", binding.span, help=help)
                continue
            given.add(binding.record)
            _example_values(checker, records[binding.record], binding)


def _example_values(checker: Checker, type_name: str, binding: syntax.Binding) -> None:
    seen: set[str] = set()
    for update in binding.updates:
        if update.name in seen:
            checker.findings.add("T12", f"{update.name} is given twice", update.span)
        seen.add(update.name)
        wanted = checker.feature_type(type_name, update.name, update.span)
        if isinstance(wanted, EnumType):
            if isinstance(update.value, syntax.Name):
                checker.assign(update, wanted, CONSTANT)
            else:
                checker.findings.add("T07", "write the case itself", update.value.span)
        elif not isinstance(checker.constant(update.value, f"the value of {update.name}"), UnknownType):
            checker.assign(update, wanted, CONSTANT)


def share_of(expect: syntax.Expr) -> tuple[syntax.Apply, syntax.CompareOp, syntax.Expr] | None:
    """(share(q), comparison, level) of `share(q) >= level` or `level <= share(q)`."""
    match expect:
        case syntax.Compare(first=syntax.Apply(function="share") as share, rest=((op, level),)):
            return share, op, level
        case syntax.Compare(first=level, rest=((op, syntax.Apply(function="share") as share),)):
            return share, TURNED[op], level
    return None


def _share(checker: Checker, found: tuple[syntax.Apply, syntax.CompareOp, syntax.Expr], scope: Scope) -> None:
    share, op, level = found
    if op in ("==", "!="):
        help = "write >= or <="
        checker.findings.add("T19", f"a share is compared by an order, not by {op}", share.span, help=help)
    if len(share.arguments) == 1:
        checker.predicate(share.arguments[0], scope)
    else:
        checker.findings.add("T04", f"share takes 1 argument, found {len(share.arguments)}", share.span)
    checker.plain_constant(checker.constant(level, "the level of a share"), level, "the level of a share")


def check_loop(checker: Checker, rule: syntax.RuleDecl, cycle: syntax.Cycle) -> None:
    """T18 unless a cycle's rule has the one form that has a meaning for loops of every length."""
    match rule.expect:
        case (
            syntax.Compare(first=syntax.Apply(function="sum"), rest=((_, syntax.Number(value=zero)),))
            | syntax.Compare(first=syntax.Number(value=zero), rest=((_, syntax.Apply(function="sum")),))
        ) if zero == 0:
            pass
        case _:
            name = cycle.param.name
            message = "the conclusion about a cycle compares one sum with 0"
            help = f"write expect sum(R({name})) <= 0: no loop pays"
            checker.findings.add("T18", message, rule.expect.span, help=help)
    parts = rule.given.parts if isinstance(rule.given, syntax.Connective) and rule.given.op == "and" else (rule.given,)
    for part in parts:
        if part is not None and not (isinstance(part, syntax.Temporal) and part.op == "always"):
            message = "the premise about a cycle holds for all of its records"
            checker.findings.add("T18", message, part.span, help=f"write given always g({cycle.param.name})")


def _near(checker: Checker, near: syntax.Near) -> Scope:
    records = _records(checker, (near.param,))
    scope = Scope(records, anchored=frozenset() if near.away else frozenset(records))
    members = _data(checker, near.data)
    if members is not None and (len(members) != 1 or members[0][1] != near.param.type_name):
        rows = ", ".join(type_name for _, type_name in members)
        message = f"the rows of {near.data.name} are ({rows}), {near.param.name} is a {near.param.type_name}"
        help = None
        if len(members) > 1:
            help = f"name the member: near {near.data.name}.{members[0][0]}"
        checker.findings.add("T14", message, near.data.span, help=help)
    record = checker.symbols.records.get(near.param.type_name)
    if record is not None:
        _radius(checker, near, record)
    return scope


def _radius(checker: Checker, near: syntax.Near, record: RecordType) -> None:
    if isinstance(near.radius, tuple):
        seen: set[str] = set()
        for update in near.radius:
            if update.name in seen:
                checker.findings.add("T12", f"the radius of {update.name} is given twice", update.span)
            seen.add(update.name)
            wanted = checker.feature_type(record.name, update.name, update.span)
            _feature_radius(checker, update.name, wanted, update.value)
        return
    found = checker.constant(near.radius, "a radius")
    if _hidden_percentage(checker, near.radius):
        return
    if is_percentage(near.radius) or not _is_number(found, near.radius, checker):
        return
    reals = [f for f in record.features if f.kind == "real"]
    if not reals:
        checker.findings.add("T10", f"{record.name} has no real feature to vary", near.radius.span)
    kinds = {checker.symbols.unit_of(f).dimension for f in reals}
    if len(kinds) > 1:
        help = "write `within 5 %`, or one radius per feature: within {speed = 0.1 [m/s], clearance = 5 %}"
        message = f"the features of {record.name} have different units: one number cannot be the radius of all"
        checker.findings.add("T10", message, near.radius.span, help=help)
        return
    for f in reals[:1]:
        _feature_radius(checker, f.name, checker.feature_type(record.name, f.name, near.span), near.radius)


def _feature_radius(checker: Checker, name: str, wanted: Type, value: syntax.Expr) -> None:
    found = checker.constant(value, "a radius")
    if isinstance(wanted, UnknownType) or isinstance(found, UnknownType) or is_percentage(value):
        return
    if _hidden_percentage(checker, value):
        return
    if not isinstance(wanted, NumberType):
        checker.findings.add("T10", f"{name} has no radius: it is {wanted}", value.span)
        return
    if not _is_number(found, value, checker):
        return
    # A radius is a difference: that of readings in °C is one in K, which has °C's factor and no offset.
    plain = NumberType(wanted.dimension, "K" if wanted.affine else wanted.unit)
    if found.affine:
        checker.units.affine(found, value.span, "radius")
    else:
        checker.units.assign(name, plain, NumberType(found.dimension, found.unit), value)


def _is_number(found: Type, radius: syntax.Expr, checker: Checker) -> TypeGuard[NumberType]:
    """T01 for what is something else, and known."""
    if not isinstance(found, NumberType | UnknownType):
        checker.findings.add("T01", f"a radius is a number, found {found}", radius.span)
    return isinstance(found, NumberType)


def _hidden_percentage(checker: Checker, radius: syntax.Expr) -> bool:
    """Is a percentage written within a larger radius (T10)? `2 * 5 %` would be the number 0.1, not a part of a range.
    A parameter is the number that it is declared to be, however that was written."""
    hidden = [] if is_percentage(radius) else [e for e in syntax.walk(radius) if is_percentage(e)]
    if hidden:
        message = "a percentage of each range stands alone"
        help = "work it out, as in `within 10 %`, or write a number without %"
        checker.findings.add("T10", message, hidden[0].span, help=help)
    return bool(hidden)


def is_percentage(expr: syntax.Expr) -> bool:
    """`5 %` as a radius means that part of each feature's range."""
    return isinstance(expr, syntax.Number) and expr.percent
