"""The unknowns of a query in the words of the rule: what the comments of a query, and its manifest, call them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from rewarden.spec_lang.claim import Affine, Claim, ClaimCall
from rewarden.verifier.vnnlib.functionals import Functional
from rewarden.verifier.vnnlib.numerals import short_decimal
from rewarden.verifier.vnnlib.wiring import Joint, plain_variable


def comment(text: str) -> str:
    """One line of comment, in ASCII: some readers take nothing else."""
    plain = text.encode("ascii", "backslashreplace").decode("ascii")
    return "; " + "".join(c if c.isprintable() else " " for c in plain)


def variable_text(claim: Claim, index: int) -> str:
    """`s.speed [m/s]`."""
    variable = claim.variables[index]
    return variable.name if variable.unit is None else f"{variable.name} [{variable.unit}]"


def affine_text(claim: Claim, row: Affine) -> str:
    """`s.speed - 0.1`, in the variables' units."""
    text = _sum_text([(claim.variables[index].name, coefficient) for index, coefficient in row.variables])
    if row.constant == 0 and text:
        return text
    if not text:
        return _number(row.constant)
    return f"{text} {'-' if row.constant < 0 else '+'} {_number(abs(row.constant))}"


def call_text(claim: Claim, call: ClaimCall) -> str:
    """`R(a)`, `R(a, b)`, or `R(s with speed = s.speed - 1.0)`."""
    parts, start = [], 0
    while start < len(call.arguments):
        text, width = _record_text(claim, call.arguments[start:])
        parts.append(text)
        start += width
    return f"{call.reward}({', '.join(parts)})"


def functional_text(joint: Joint, functional: Functional) -> str:
    """`39.0*s.speed + 5000.0*s.steering`, `R(a) - R(b)`; extras in brackets."""
    claim = joint.claim
    names = [*(v.name for v in claim.variables), *(f"({affine_text(claim, row)})" for row in joint.extras)]
    calls = [(call_text(claim, claim.calls[k]), c) for k, c in functional.calls]
    return _sum_text([*calls, *((names[i], c) for i, c in functional.variables)])


def _sum_text(terms: Sequence[tuple[str, Fraction]]) -> str:
    text = ""
    for name, coefficient in terms:
        size = abs(coefficient)
        sign = "-" if coefficient < 0 else "+"
        text += f" {sign} " if text else sign.replace("+", "")
        text += name if size == 1 else f"{_number(size)}*{name}"
    return text


def _record_text(claim: Claim, rows: Sequence[Affine]) -> tuple[str, int]:
    """The record that the next columns are, or are nearest to, and its width."""
    plain = [plain_variable(row) for row in rows]
    best, agreeing = None, 0
    for record in claim.records:
        same = sum(a == b for a, b in zip(plain, record.variables, strict=False))
        if len(record.variables) <= len(rows) and same > agreeing:
            best, agreeing = record, same
    if best is None:
        return "...", len(rows)
    changed = [
        f"{claim.variables[own].name.partition('.')[2]} = {affine_text(claim, row)}"
        for own, row in zip(best.variables, rows, strict=False)
        if plain_variable(row) != own
    ]
    return (f"{best.name} with {', '.join(changed)}" if changed else best.name), len(best.variables)


def _number(value: Fraction) -> str:
    return short_decimal(value) or f"{value.numerator}/{value.denominator}"
