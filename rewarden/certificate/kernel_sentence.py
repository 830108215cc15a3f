"""Certificate kernel, part 6: a claim as a sentence.

What was checked is the claim, so the kernel says the claim, in full and in its own words. Nothing here decides
anything. Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from rewarden.certificate.kernel_program import Affine
from rewarden.certificate.kernel_proof import Atom, Claim, Clause


def sentence(claim: Claim) -> str:
    """E.g. `must slow: for all s.speed in [0, 5/2] m/s: if s.speed > 1/2, then 3/10 - R(s) >= 0.`"""
    calls = [_call(claim, name, arguments) for name, arguments in claim.calls]
    premise = "".join(f" if {_conjunction(claim, calls, claim.clauses)}," for _ in claim.clauses[:1])
    goals = _conjunction(claim, calls, claim.goals) if claim.goals else "nothing more is asked"
    return f"{claim.severity} {claim.rule}: for all {_domain(claim)}:{premise} then {goals}."


def _domain(claim: Claim) -> str:
    parts = []
    for k, name in enumerate(claim.names):
        ends = {box[k] for box in claim.boxes}
        unit = f" {claim.units[k]}" if claim.units[k] else ""
        whole = "whole number " if claim.discrete[k] else ""
        if len(ends) == 1:
            ((low, high),) = ends
            parts.append(f"{whole}{name} in [{number(low)}, {number(high)}]{unit}")
        else:
            parts.append(f"{whole}{name} in its bounds{unit}")
    text = ", ".join(parts)
    if len(claim.boxes) == 1:
        return text
    of = f" of {claim.instances}" if claim.instances else ""
    return f"{text}, in each of the {len(claim.boxes)} boxes{of} that claims.json lists"


def _conjunction(claim: Claim, calls: Sequence[str], clauses: Sequence[Clause]) -> str:
    texts = [" or ".join(_atom(claim, calls, atom) for atom in clause) or "false" for clause in clauses]
    return " and ".join(f"({t})" if " or " in t and len(texts) > 1 else t for t in texts)


def _atom(claim: Claim, calls: Sequence[str], atom: Atom) -> str:
    return f"{_form(claim, calls, atom.form)} {'>' if atom.strict else '>='} 0"


def _call(claim: Claim, reward: str, arguments: tuple[Affine, ...]) -> str:
    """R(s) where the arguments are exactly the variables of a record, else with every argument spelled out."""
    plain = tuple(a.variables[0][0] if _is_variable(a) else -1 for a in arguments)
    for split in ((r, *more) for r in claim.records for more in ((), *((q,) for q in claim.records))):
        if plain == tuple(k for _, variables in split for k in variables):
            return f"{reward}({', '.join(name for name, _ in split)})"
    return f"{reward}({', '.join(_form(claim, (), a) for a in arguments)})"


def _is_variable(form: Affine) -> bool:
    return form.constant == 0 and form.bottom == 1 and len(form.variables) == 1 and form.variables[0][1] == 1


def _form(claim: Claim, calls: Sequence[str], form: Affine) -> str:
    terms = [(Fraction(c, form.bottom), claim.names[k]) for k, c in form.variables]
    terms += [(Fraction(c, form.bottom), calls[k]) for k, c in form.calls]
    if form.constant or not terms:
        terms.append((Fraction(form.constant, form.bottom), ""))
    out = ""
    for c, name in terms:
        size = number(abs(c)) if not name else name if abs(c) == 1 else f"{number(abs(c))}·{name}"
        out += (" - " if c < 0 else " + ") + size if out else ("-" if c < 0 else "") + size
    return out


def number(x: Fraction) -> str:
    """Exact: an integer, a short decimal where there is one, else p/q."""
    for places in range(1, 10):
        if x.denominator != 1 and (x * 10**places).denominator == 1:
            sign, digits = (
                "-" if x < 0 else "",
                str(abs(x.numerator) * 10**places // x.denominator).rjust(places + 1, "0"),
            )
            return f"{sign}{digits[:-places]}.{digits[-places:]}"
    return str(x)
