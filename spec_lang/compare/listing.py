"""What two specs declare differently beside their rules: parameters, examples, rewards, definitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rewarden.spec_lang import syntax
from rewarden.spec_lang.compare.frame import partners
from rewarden.spec_lang.compare.model import ExampleChange, ParamChange, RuleChange
from rewarden.spec_lang.numerals import decimal
from rewarden.spec_lang.params import ParamValue
from rewarden.spec_lang.printer import print_expression, print_item
from rewarden.spec_lang.spec import Spec


def param_changes(old: Spec, new: Spec, rules: tuple[RuleChange, ...]) -> tuple[ParamChange, ...]:
    """Values that differ, whether the text or the command line set them, and the rules they moved."""
    found: list[ParamChange] = []
    mentions = {"old": _mentions(old), "new": _mentions(new)}
    pairs = partners(old.params, new.params)
    names: list[tuple[str | None, str | None]] = [(name, pairs.get(name)) for name in old.params]
    names += [(None, name) for name in new.params if name not in pairs.values()]
    for a, b in names:
        was, now = None if a is None else _text(old.params[a]), None if b is None else _text(new.params[b])
        if was == now:
            continue
        moved = tuple(
            rule.name
            for rule in rules
            if rule.change != "equal"
            and (
                (rule.old is not None and a in mentions["old"].get(rule.old.name, ()))
                or (rule.new is not None and b in mentions["new"].get(rule.new.name, ()))
            )
        )
        found.append(ParamChange(a or b or "", was, now, moved))
    return tuple(found)


def _text(param: ParamValue) -> str:
    if isinstance(param.value, str):
        return param.value
    if param.kind == "bool":
        return "true" if param.value else "false"
    return decimal(param.value) + (f" [{param.unit}]" if param.unit else "")


def _mentions(spec: Spec) -> dict[str, set[str]]:
    """Rule → the parameters that it mentions, by way of definitions, assumptions and other parameters too."""
    named: dict[str, syntax.Item] = {}
    assumptions: list[syntax.AssumeDecl] = []
    for item in spec.expanded.items:
        match item:
            case syntax.Definition(name=name) | syntax.ParamDecl(name=name):
                named[name] = item
            case syntax.AssumeDecl():
                assumptions.append(item)
    found: dict[str, set[str]] = {}
    for item in spec.expanded.items:
        if isinstance(item, syntax.RuleDecl):
            kinds = {kind for _, kind in spec.rule(item.name).records}
            pending: list[syntax.Item] = [item, *(a for a in assumptions if a.param.type_name in kinds)]
            seen: set[str] = set()
            while pending:
                for name in _names(pending.pop()):
                    if name in named and name not in seen:
                        seen.add(name)
                        pending.append(named[name])
            found[item.name] = seen & spec.params.keys()
    return found


def _names(item: syntax.Item) -> Iterator[str]:
    expressions = list(syntax.item_expressions(item))
    if isinstance(item, syntax.RuleDecl):
        match item.quantifier:
            case syntax.Trace(relation=syntax.Name(name=name)) | syntax.Cycle(relation=syntax.Name(name=name)):
                yield name
    for expression in expressions:
        for node in syntax.walk(expression):
            match node:
                case syntax.Name(name=name) | syntax.Apply(function=name):
                    yield name


def example_changes(old: Spec, new: Spec) -> tuple[ExampleChange, ...]:
    """Examples that only one spec has; they are tests of the spec, and one that went tests nothing any more."""
    before, after = list(_examples(old)), list(_examples(new))
    gone = [ExampleChange(rule, "old", text) for rule, text in before if (rule, text) not in after]
    return (*gone, *(ExampleChange(rule, "new", text) for rule, text in after if (rule, text) not in before))


def _examples(spec: Spec) -> Iterator[tuple[str, str]]:
    for item in spec.tree.items:
        if isinstance(item, syntax.ExampleDecl):
            for case in item.cases:
                alone = print_item(syntax.ExampleDecl(item.rule, (case,), item.span, item.name_span))
                yield item.rule, alone.partition("\n")[2].strip()


def declaration_changes(old: Spec, new: Spec) -> tuple[str, ...]:
    """Rewards, definitions and assumptions that read differently."""
    before, after = _declared(old), _declared(new)
    messages = [f"gone: {text}" for key, text in before.items() if key not in after]
    messages += [f"new: {text}" for key, text in after.items() if key not in before]
    messages += [f"was: {before[key]}\nnow: {text}" for key, text in after.items() if before.get(key, text) != text]
    return tuple(messages)


def _declared(spec: Spec) -> Mapping[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for item in spec.expanded.items:
        match item:
            case syntax.RewardSymbol(name=name):
                found["reward", name] = print_item(item)
            case syntax.Definition(name=name):
                found["definition", name] = print_item(item)
            case syntax.AssumeDecl(param=p, body=body):
                found["assume", f"{p.type_name} {print_expression(body)}"] = print_item(item)
    return found


def notes_of(old: Spec, new: Spec, before: str, after: str) -> tuple[str, ...]:
    """What else became of a rule that both specs have."""
    a, b = old.rule(before), new.rule(after)
    pairs = (
        ("severity", a.severity, b.severity),
        ("weight", decimal(a.weight), decimal(b.weight)),
        ("title", a.title, b.title),
        ("id", a.requirement or "", b.requirement or ""),
        ("because", a.because or "", b.because or ""),
    )
    return tuple(f"{what}: {_quoted(x)}, now {_quoted(y)}" for what, x, y in pairs if x != y)


def _quoted(text: str) -> str:
    return text if text.replace(".", "").isalnum() else f'"{text}"'
