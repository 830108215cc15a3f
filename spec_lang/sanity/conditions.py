"""What the conjuncts of a premise or an assumption are in its text.

A formula remembers where each of its comparisons was written, and not whether it still says the same: under `not`,
`or`, `implies`, `if` and `beyond` it says the opposite, or one of several things. There the whole condition is quoted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rewarden.spec_lang import syntax
from rewarden.spec_lang.obligation import Formula, Obligation
from rewarden.spec_lang.sanity.places import span_of, spans_of
from rewarden.spec_lang.source import Span
from rewarden.spec_lang.spec import Spec
from rewarden.spec_lang.term_walk import variables_of


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """A condition that has to be true by itself; `plain` where its comparisons do.

    `texts` are the pieces of text that its comparisons stand in: its own, and those of the definitions that it uses.
    `records` are the names that it is about.
    """

    span: Span
    plain: bool
    texts: tuple[Span, ...]
    records: frozenset[str]

    def holds(self, span: Span) -> bool:
        return any(t.source == span.source and t.start <= span.start and span.end <= t.end for t in self.texts)


def conditions_of(spec: Spec, given: syntax.Expr | None = None) -> tuple[Condition, ...]:
    """Those of a rule's premise, if there is one, and of all assumptions."""
    definitions = {item.name: item.body for item in spec.expanded.items if isinstance(item, syntax.Definition)}
    bodies = [item.body for item in spec.expanded.items if isinstance(item, syntax.AssumeDecl)]
    bodies += [given] if given is not None else []
    return tuple(condition for body in bodies for condition in _conditions(body, definitions))


def written_as(conjunct: Formula, obligation: Obligation, conditions: Sequence[Condition]) -> Span | None:
    """The text that says this conjunct; None where nothing in the spec does."""
    spans = spans_of(conjunct)
    names = [{v.name for v in obligation.records if index in v.variables} for index in variables_of(conjunct)]
    found = [c for c in conditions if all(map(c.holds, spans)) and all(not own or own & c.records for own in names)]
    if not spans or not found or any(condition.plain for condition in found):
        return span_of(conjunct)
    return found[0].span


def _conditions(body: syntax.Expr, definitions: Mapping[str, syntax.Expr]) -> Iterator[Condition]:
    stack: list[tuple[syntax.Expr, frozenset[str]]] = [(body, frozenset())]
    while stack:
        node, outer = stack.pop()
        records = outer or frozenset(found.name for found in syntax.walk(node) if isinstance(found, syntax.Name))
        match node:
            case syntax.Connective(op="and", parts=parts):
                stack += [(part, outer) for part in parts]
            case syntax.Temporal(op="always", inner=inner):
                stack.append((inner, outer))
            case syntax.Apply(function=name) if name in definitions:
                stack.append((definitions[name], records))
            case _:
                texts = tuple(_texts(node, definitions))
                yield Condition(_balanced(node.span), _is_plain(node) and len(texts) == 1, texts, records)


def _balanced(span: Span) -> Span:
    """With the parentheses at its ends: a node's own text is without those around its first or last part."""
    depth = lowest = 0
    for character in span.text:
        depth += (character == "(") - (character == ")")
        lowest = min(lowest, depth)
    text, start, end = span.source.text, span.start, span.end
    for _ in range(-lowest):
        before = text[:start].rstrip(" ")
        start = len(before) - 1 if before.endswith("(") else start
    for _ in range(depth - lowest):
        after = text[end:].lstrip()
        end = len(text) - len(after) + 1 if after.startswith(")") else end
    return Span(span.source, start, end, span.line, span.column - (span.start - start))


def _is_plain(node: syntax.Expr) -> bool:
    """A comparison of values, or a feature that is true or false by itself."""
    turned = (syntax.Compare, syntax.Not, syntax.Connective, syntax.Implies, syntax.If)
    match node:
        case syntax.Compare():
            return not any(isinstance(inner, turned) for inner in syntax.walk(node) if inner is not node)
        case syntax.Name() | syntax.Field() | syntax.Index() | syntax.Truth():
            return True
        case _:
            return False


def _texts(node: syntax.Expr, definitions: Mapping[str, syntax.Expr]) -> Iterator[Span]:
    """The node's own text and those of the definitions that it uses, each once."""
    seen: set[str] = set()
    stack = [node]
    while stack:
        part = stack.pop()
        yield part.span
        used = {found.function for found in syntax.walk(part) if isinstance(found, syntax.Apply)}
        stack += [definitions[name] for name in sorted(used - seen) if name in definitions]
        seen |= used
