"""What a reviewer must not miss, with stable codes: S20 to S29."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rewarden.spec_lang.compare.data import DataChange
from rewarden.spec_lang.compare.model import DomainChange, ExampleChange, Finding, ParamChange, RuleChange
from rewarden.spec_lang.source import Span
from rewarden.spec_lang.spec import Spec


def findings_of(
    rules: Sequence[RuleChange],
    domains: Sequence[DomainChange],
    data: Sequence[DataChange],
    params: Sequence[ParamChange],
    examples: Sequence[ExampleChange],
    old: Spec,
    new: Spec,
) -> tuple[Finding, ...]:
    """Rules first, worst first; then what the rules rest on."""
    return (
        *(finding for change in rules for finding in _rule(change)),
        *(finding for change in domains for finding in _domain(change)),
        *_data(data, old, new),
        *_params(params),
        *(Finding("S29", f"an example of {e.rule} is gone: {e.text}") for e in examples if e.side == "old"),
    )


def _rule(change: RuleChange) -> Iterator[Finding]:
    where = (None if change.old is None else change.old.span, None if change.new is None else change.new.span)
    severity = change.old.severity if change.old is not None else ""
    match change.change:
        case "weaker":
            yield Finding("S20", f"{severity} {change.name} is weaker", *where)
        case "weaker_or_equal":
            yield Finding("S20", f"{severity} {change.name} is weaker, unless it is equal", *where)
        case "removed":
            yield Finding("S21", f"{severity} {change.name} is gone", *where)
        case "disjoint":
            yield Finding("S22", f"{severity} {change.name} is another rule: neither implies the other", *where)
        case "undecided":
            yield Finding("S23", f"{severity} {change.name}: {change.reason}", *where)
    if change.severity_lowered:
        yield Finding("S24", f"{change.name} was a must, and is a should", *where)


def _domain(change: DomainChange) -> Iterator[Finding]:
    name = change.type_name
    if change.widened == "proved":
        yield Finding("S25", f"NEW speaks of records of {name} that OLD excludes")
    if change.narrowed == "proved":
        yield Finding("S26", f"NEW excludes records of {name} that OLD speaks of")
    if "unknown" in (change.widened, change.narrowed):
        yield Finding("S23", f"{name}: {'; '.join(change.messages) or 'the assumptions are not compared'}")


def _data(changes: Sequence[DataChange], old: Spec, new: Spec) -> Iterator[Finding]:
    words = {"changed": "holds other rows", "removed": "is gone", "unread": "could not be compared"}
    for change in changes:
        if change.status in words:
            message = f"data {change.name} {words[change.status]}: {change.message}"
            yield Finding("S27", message, _span(old, change.name), _span(new, change.name))


def _span(spec: Spec, data: str) -> Span | None:
    return spec.data[data].span if data in spec.data else None


def _params(changes: Sequence[ParamChange]) -> Iterator[Finding]:
    for change in changes:
        if change.old is not None and change.new is not None:
            moved = f", which moved {', '.join(change.moved)}" if change.moved else ""
            yield Finding("S28", f"param {change.name} was {change.old}, and is {change.new}{moved}")
