"""What is said of a name: its declaration, where that stands, its author's comment, and what follows from it."""

from __future__ import annotations

from rewarden.lsp import describe
from rewarden.lsp.known import Records, feature_of
from rewarden.lsp.names import Target
from rewarden.lsp.reading import Reading
from rewarden.lsp.rule_class import facts_of
from rewarden.lsp.words import BUILT_IN
from rewarden.spec_lang import syntax
from rewarden.spec_lang.features import Feature
from rewarden.spec_lang.source import Span
from rewarden.spec_lang.symbols import Symbols
from rewarden.spec_lang.types import BoolType, UnknownType
from rewarden.spec_lang.units import PLAIN, Unit, UnitError, dimension_name, dimension_unit, unit


def of_target(reading: Reading, target: Target) -> str | None:
    """Markdown; None where nothing is known."""
    known = reading.known
    match target.kind:
        case "feature":
            return _feature(reading, known, target)
        case "case":
            return f"`{target.name}`: a case of `{target.owner.rpartition('.')[2]}`"
        case "declared":
            return _declared(reading, known, target.name)
        case "rule":
            return _rule(reading, known, target.name)
        case "built-in":
            return of_built_in(target.name)
        case "file":
            use = next((u for u in reading.uses() if u.alias == target.name), None)
            return None if use is None else _code(describe.declaration(use))
    return None


def of_record(name: str, in_scope: Records, reading: Reading) -> str | None:
    """Of a record that is quantified or taken, or of a row of data."""
    members = [f"{record}: {kind}" for record, kind in in_scope.items() if record.startswith(f"{name}.")]
    if members:
        return _code("\n".join(members)) + "\na row of data"
    if name not in in_scope:
        return None
    record = reading.known.records.get(in_scope[name])
    head = _code(f"{name}: {in_scope[name]}")
    if record is None:
        return head
    listed = ", ".join(f"`{f.name}`" for f in record.features[: describe.SHOWN_CASES])
    more = ", …" if len(record.features) > describe.SHOWN_CASES else ""
    return f"{head}\na record of {listed}{more}"


def of_built_in(name: str) -> str:
    return f"{_code(BUILT_IN[name].form)}\n{BUILT_IN[name].meaning}"


def of_unit(text: str) -> str | None:
    """What is in square brackets, if it is a unit."""
    try:
        found = unit(text)
    except UnitError:
        return None
    name = dimension_name(found.dimension)
    si = dimension_unit(found.dimension) if found.dimension else ""
    if found.affine:
        return f"`[{text}]`: {name}; {text} and {si} have different zeros, so such readings only compare"
    same = found.factor == 1 or not text
    factor = str(found.factor) if found.factor.denominator < 10**6 else describe.number(found.factor)
    return f"`[{text}]`: {name}" if same else f"`[{text}]`: {name}; 1 {text} = {factor} {si}"


def _feature(reading: Reading, known: Symbols, target: Target) -> str | None:
    feature = feature_of(known, target.owner, target.name)
    if feature is None:
        return None
    declared = known.fields.get((target.owner, target.name))
    comment = "" if declared is None else describe.comment_on(declared.span)
    in_si = _in_si(feature, known.units.get(feature.unit or "", PLAIN))
    where = "" if declared is None else f", declared {_place(reading, declared.name_span)}"
    head = _code(f"{feature.name} : {describe.feature(feature)}")
    return _paragraphs([head, comment, in_si, f"feature of `{target.owner}`{where}"])


def _in_si(feature: Feature, unit: Unit) -> str:
    """The range in the coherent unit, where that is another."""
    if feature.unit is None or (unit.factor == 1 and unit.offset == 0) or not unit.dimension:
        return ""
    lo, hi = (describe.number(unit.to_si(end)) for end in (feature.lo, feature.hi))
    return f"{dimension_name(unit.dimension)}: in SI from {lo} to {hi} {dimension_unit(unit.dimension)}"


def _declared(reading: Reading, known: Symbols, name: str) -> str | None:
    item: syntax.Item | None = known.rewards.get(name) or known.data.get(name) or known.params.get(name)
    item = item or known.definitions.get(name)
    span = known.declared.get(name)
    if name in known.records:
        record = known.records[name]
        head = f"features {name}  # {len(record.features)} features, {record.width} numbers when encoded"
        listed = "\n".join(f"  {f.name} : {describe.feature(f)}" for f in record.features[: describe.SHOWN_CASES])
        more = "\n  …" if len(record.features) > describe.SHOWN_CASES else ""
        lines = [_code(f"{head}\n{listed}{more}")]
    elif item is not None:
        lines = [_code(describe.declaration(item))]
    else:
        return None
    if span is not None:
        lines.append(describe.comment_on(span if item is None else item.span))
    if item is not None:
        lines.append(_of_item(reading, item))
    if span is not None:
        lines.append(f"declared {_place(reading, span)}")
    return _paragraphs(lines)


def _of_item(reading: Reading, item: syntax.Item) -> str:
    """The value of a param, the type of a definition."""
    checker, spec = reading.analysis.checker, reading.analysis.spec
    match item:
        case syntax.ParamDecl(name=name) if spec is not None and name in spec.params:
            value = spec.params[name]
            if isinstance(value.value, str):
                return f"value: {value.value}; the command line may set another"
            if value.kind == "bool":
                return f"value: {'true' if value.value else 'false'}"
            unit = f" {value.unit}" if value.unit else ""
            return f"value: {describe.number(value.value)}{unit}; the command line may set another"
        case syntax.ParamDecl(value=value):
            return f"value: `{shortened(value.span)}`"
        case syntax.Definition(name=name) if checker is not None:
            found = checker.results.get(name, UnknownType())
            return "" if isinstance(found, UnknownType | BoolType) else f"gives {found}"
    return ""


def _rule(reading: Reading, known: Symbols, name: str) -> str | None:
    rule = known.rules.get(name)
    if rule is None:
        return None
    lines = [_code(f"{rule.severity} {name}"), rule.title or describe.comment_on(rule.span)]
    lines += [f"{word}: {text}" for word, text in (("id", rule.requirement), ("because", rule.because)) if text]
    facts = facts_of(reading.analysis, name)
    if facts is not None:
        because = facts.because
        reason = "" if because is None else f", because of `{shortened(because)}` {_place(reading, because)}"
        lines.append(f"class: {facts.kind}{reason}")
        lines.append(f"decided by: {facts.engines}")
    return _paragraphs(lines)


# ── markdown ───────────────────────────────────────────────────────────────────────────────────
def _code(text: str) -> str:
    return f"```rwd\n{text}\n```"


def _paragraphs(lines: list[str]) -> str:
    return "\n\n".join(line for line in lines if line)


def _place(reading: Reading, span: Span) -> str:
    return f"on line {span.line}" if span.source is reading.source else f"at {span.source.name}:{span.line}"


def shortened(span: Span, most: int = 80) -> str:
    """The text of a span, on one line and fit for Markdown's backticks."""
    text = " ".join(span.text.split()).replace("`", "'")
    return text if len(text) <= most else f"{text[: most - 1]}…"
