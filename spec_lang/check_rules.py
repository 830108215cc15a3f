"""Checks a whole spec: definitions in order of use, parameters, assumptions, rules."""

from __future__ import annotations

from collections.abc import Iterator

from rewarden.spec_lang import syntax
from rewarden.spec_lang.check import Checker
from rewarden.spec_lang.diagnostics import did_you_mean
from rewarden.spec_lang.features import RecordType
from rewarden.spec_lang.findings import Findings
from rewarden.spec_lang.scope import CONSTANT, Scope
from rewarden.spec_lang.source import Span
from rewarden.spec_lang.symbols import Symbols
from rewarden.spec_lang.types import UNKNOWN, BoolType, NumberType, Type, UnknownType


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
    return checker


def in_order_of_use(symbols: Symbols, findings: Findings) -> list[str]:
    """Definitions and parameters, each after what it uses; N08 for those that use themselves. Iterative."""
    bodies: dict[str, syntax.Expr] = {d.name: d.body for d in symbols.definitions.values()}
    bodies |= {p.name: p.value for p in symbols.params.values()}
    order: list[str] = []
    state: dict[str, str] = {}
    for root in bodies:
        stack = [(root, iter(list(_uses(bodies[root], bodies))))] if root not in state else []
        state.setdefault(root, "open")
        while stack:
            name, uses = stack[-1]
            used = next(uses, None)
            if used is None:
                stack.pop()
                state[name] = "done"
                order.append(name)
            elif used not in state:
                state[used] = "open"
                stack.append((used, iter(list(_uses(bodies[used], bodies)))))
            elif state[used] == "open":
                chain = [n for n, _ in stack]
                path = " → ".join([*chain[chain.index(used) :], used])
                findings.add("N08", f"{used} is defined by itself: {path}"[:300], symbols.declared[used])
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


def _uses(expr: syntax.Expr, known: dict[str, syntax.Expr]) -> Iterator[str]:
    for node in syntax.walk(expr):
        match node:
            case syntax.Apply(function=name) | syntax.Name(name=name) if name in known:
                yield name


def _definition(checker: Checker, definition: syntax.Definition) -> None:
    scope = Scope({p.name: p.type_name for p in definition.params})
    result = checker.type_of(definition.body, scope)
    if definition.kind == "region" and not isinstance(result, (BoolType, UnknownType)):
        message = f"region {definition.name} must be a predicate, found {result}"
        checker.findings.add("T01", message, definition.body.span, help="use `let` for a number")
        result = UNKNOWN
    checker.results[definition.name] = result


def _param(checker: Checker, param: syntax.ParamDecl) -> None:
    found = checker.constant(param.value, f"the value of {param.name}")
    check_param_type(checker, param, found, param.value)


def check_param_type(checker: Checker, param: syntax.ParamDecl, found: Type, value: syntax.Expr) -> None:
    """Whether a value of that type may be given to the parameter."""
    if isinstance(found, UnknownType):
        return
    wanted = checker.type_of(syntax.Name(param.name, param.name_span), CONSTANT)
    if isinstance(wanted, NumberType) and isinstance(found, NumberType):
        checker.units.assign(param.name, wanted, found, value)
    elif type(wanted) is not type(found) and not isinstance(wanted, UnknownType):
        checker.findings.add("T01", f"{param.name} is {wanted}, found {found}", value.span)


# ── rules ──────────────────────────────────────────────────────────────────────────────────────
def _rule(checker: Checker, rule: syntax.RuleDecl) -> None:
    match rule.quantifier:
        case syntax.Forall() as forall:
            scope = _forall(checker, forall)
        case syntax.Near() as near:
            scope = _near(checker, near)
        case syntax.ForallRows() | syntax.Trace() | syntax.Cycle() as later:
            what = {syntax.ForallRows: "forall … in data", syntax.Trace: "trace", syntax.Cycle: "cycle"}[type(later)]
            help = "this version checks `forall` over records, `varying` and `near`"
            checker.findings.add("L04", f"`{what}` is not yet supported", later.span, help=help)
            return
    if rule.given is not None:
        checker.predicate(rule.given, scope)
    checker.predicate(rule.expect, scope)
    if rule.confidence is not None:
        message = "`confidence` belongs to a share over data, which is not yet supported"
        checker.findings.add("L04", message, rule.confidence.span)
    if rule.weight is not None:
        found = checker.constant(rule.weight, "a weight")
        if not isinstance(found, UnknownType) and not (isinstance(found, NumberType) and not found.dimension):
            checker.findings.add("T01", f"a weight is a plain number, found {found}", rule.weight.span)


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
            for name in forall.varying:
                checker.feature_type(next(iter(types)), name.name, name.span)
    return Scope(records)


def _near(checker: Checker, near: syntax.Near) -> Scope:
    records = _records(checker, (near.param,))
    scope = Scope(records, anchored=frozenset(records))
    data = checker.symbols.data.get(near.data.name)
    if data is None:
        help = did_you_mean(near.data.name, checker.symbols.data) or "declare it with `data`"
        checker.findings.add("N06", f"unknown data set {near.data.name}", near.data.span, help=help)
    elif len(data.members) != 1 or data.members[0][1] != near.param.type_name:
        rows = ", ".join(type_name for _, type_name in data.members)
        message = f"the rows of {data.name} are ({rows}), {near.param.name} is a {near.param.type_name}"
        checker.findings.add("T14", message, near.data.span)
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
    if is_percentage(near.radius) or not isinstance(found, NumberType):
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
    if not isinstance(wanted, NumberType) or not isinstance(found, NumberType):
        checker.findings.add("T10", f"{name} has no radius: it is {wanted}", value.span)
        return
    # A radius is a difference: that of readings in °C is one in K, which has °C's factor and no offset.
    plain = NumberType(wanted.dimension, "K" if wanted.affine else wanted.unit)
    if found.affine:
        checker.units.affine(found, value.span, "radius")
    else:
        checker.units.assign(name, plain, NumberType(found.dimension, found.unit), value)


def is_percentage(expr: syntax.Expr) -> bool:
    """`5 %` as a radius means that part of each feature's range."""
    return isinstance(expr, syntax.Number) and expr.percent
