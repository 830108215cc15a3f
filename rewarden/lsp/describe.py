"""Declarations in a line, and what their authors wrote above them."""

from __future__ import annotations

from decimal import Context, Decimal, localcontext
from fractions import Fraction

from rewarden.spec_lang import syntax
from rewarden.spec_lang.features import Feature
from rewarden.spec_lang.numerals import decimal
from rewarden.spec_lang.source import Span

SHOWN_CASES = 12
SHOWN_DIGITS = 14


def number(value: Fraction) -> str:
    """Exactly where that is short, else rounded and marked as such."""
    if Fraction(round(value, SHOWN_DIGITS)) == value and abs(value) < 10**SHOWN_DIGITS:
        return decimal(value)
    with localcontext(Context(prec=6)):
        return f"≈ {(Decimal(value.numerator) / Decimal(value.denominator)).normalize():g}"


def feature(found: Feature) -> str:
    """`real [m/s] in 0 .. 2.5`, as it is declared."""
    match found.kind:
        case "bool":
            return "bool"
        case "enum":
            return _enum(found.cases)
    size = f" ^ {found.size}" if found.is_vector else ""
    return f"{found.kind}{size}{_unit(found.unit)} in {number(found.lo)} .. {number(found.hi)}"


def declaration(item: syntax.Item) -> str:
    """The item's head: its name and what it takes."""
    match item:
        case syntax.FeaturesDecl(name=name, fields=fields):
            count = len(fields)
            return f"features {name}  # {count} feature{'' if count == 1 else 's'}"
        case syntax.AssumeDecl(param=p):
            return f"assume {p.name}: {p.type_name}"
        case syntax.RewardSymbol(name=name, params=params):
            return f"reward {name}({_params(params)})"
        case syntax.DataSymbol(name=name, members=members, path=path):
            return f'data {name}: {_members(members)} from "{path}"'
        case syntax.ParamDecl(name=name, kind=kind, unit=unit, cases=cases):
            return f"param {name}: {_enum(cases) if kind == 'enum' else kind + _unit(unit)}"
        case syntax.Definition(kind=word, name=name, params=params):
            return f"{word} {name}({_params(params)})"
        case syntax.UseDecl(path=path, alias=alias):
            return f'use "{path}" as {alias}'
        case syntax.ExampleDecl(rule=rule):
            return f"example of {rule}"
        case syntax.RuleDecl(severity=word, name=name):
            return f"{word} {name}"


def comment_on(span: Span) -> str:
    """The `---` or `#` lines directly above a declaration; else the comment that follows it on its line."""
    lines = span.source.text.split("\n")
    at = span.line - 1
    found: list[str] = []
    for line in reversed(lines[:at]):
        bare = line.strip()
        if line.startswith("---"):
            found.append(line[3:].strip())
        elif bare.startswith("#"):
            found.append(bare.lstrip("#").strip())
        else:
            break
    text = "\n".join(line for line in reversed(found) if line)
    if text or not 0 <= at < len(lines):
        return text
    rest = lines[at][span.column - 1 :]
    return _after_hash(rest)


def _after_hash(line: str) -> str:
    """The comment in a line, if it has one outside a text."""
    quoted = False
    for k, character in enumerate(line):
        if character == '"':
            quoted = not quoted
        elif character == "#" and not quoted:
            return line[k:].lstrip("#").strip()
    return ""


def _members(members: tuple[tuple[str, str], ...]) -> str:
    if len(members) == 1 and not members[0][0]:
        return members[0][1]
    return f"({', '.join(f'{name}: {kind}' for name, kind in members)})"


def _params(params: tuple[syntax.Param, ...]) -> str:
    return ", ".join(f"{p.name}: {p.type_name}" for p in params)


def _enum(cases: tuple[str, ...]) -> str:
    more = ", …" if len(cases) > SHOWN_CASES else ""
    return f"enum {{{', '.join(cases[:SHOWN_CASES])}{more}}}"


def _unit(unit: str | None) -> str:
    return "" if unit is None else f" [{unit}]"
