"""Certificate kernel: the claims in words. Nothing here decides anything.

What was checked is the claim, so the kernel says the claim, in its own words; of many boxes, or of many clauses of one
kind, it says how many, and that `claims.json` lists them. Names are the issuer's: one that might be read as something
else stands in quotes. Standard library only.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from rewarden.certificate.kernel_artifact import Reward
from rewarden.certificate.kernel_claim import Atom, Claim
from rewarden.certificate.kernel_program import Affine

MAX_SHOWN = 14_000  # bits of a number
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.=\[\]]*", re.ASCII)  # not to be taken for words of the sentence, or numbers
_UNIT = re.compile(r"(1/)?[A-Za-z%°µΩ€][A-Za-z0-9_%°µΩ€·*/^²³().-]*")  # nor for a factor
SHOWN = 3  # clauses of the kind that `not near` has: a claim about data has thousands


def accounts(rewards: Mapping[str, Reward]) -> dict[str, str]:
    """What each reward comes from by its manifest, as far as that is what it should be: edit, parent and tables. A
    parent that was read as well is called by its name."""
    names: dict[object, str] = {reward.digest: name for name, reward in rewards.items()}
    found: dict[str, str] = {}
    for name, reward in rewards.items():
        edit, parent, data = (reward.lineage[key] for key in ("edit", "parent", "data"))
        kind = edit.get("kind") if isinstance(edit, dict) else None
        said = [f"made by {word(kind)}"] if isinstance(kind, str) and kind.isprintable() and len(kind) < 100 else []
        if _is_digest(parent):
            said.append(f"from {parent}" + (f" (which is {word(names[parent])})" if parent in names else ""))
        tables = [entry.get("table") for entry in data if isinstance(entry, dict)] if isinstance(data, list) else []
        known = ", ".join(str(table) for table in tables if _is_digest(table))
        said += [f"learned from {known}"] if known else []
        found |= {name: ", ".join(said)} if said else {}
    return found


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"sha256:[0-9a-f]{64}", value, re.ASCII) is not None


def sentence(claim: Claim, rewards: Mapping[str, Reward] | None = None) -> str:
    """E.g. `must slow: for all s.speed in [0, 5/2] m/s: if s.speed > 1/2, then 3/10 - R(s) >= 0.` Where a record calls
    the columns of one of the rewards otherwise than that does, it is said which of them is which."""
    count = Counter(claim.names)
    names = tuple(name if count[name] == 1 else f"{name}#{k + 1}" for k, name in enumerate(claim.names))
    stated, claim = claim, _quoted(replace(claim, names=names))
    if claim.lineage is not None:
        from rewarden.certificate.kernel_lineage import told

        return told(claim)
    if claim.cases:
        return " ".join(sentence(case, rewards) for case in claim.cases)
    records = {variables: name for name, variables in reversed(claim.records)}
    calls = [_call(claim, stated, records, k, rewards or {}) for k in range(len(claim.calls))]
    if claim.loops is not None:
        return _of_loops(claim, calls, stated)
    if claim.rows is not None:
        return _of_rows(claim, calls)
    premise = f" if {_all(claim, calls, claim.clauses)}," if claim.clauses else ""
    goals = _all(claim, calls, claim.goals) if claim.goals else "nothing more is asked"
    near = f", {_near(claim)}" if claim.near is not None else ""
    return f"{claim.severity} {claim.rule}: for all {_domain(claim)}{near}:{premise} then {goals}."


def _quoted(claim: Claim) -> Claim:
    """With names in quotes that could be taken for something else than a name: they are the issuer's."""
    return replace(
        claim,
        rule=word(claim.rule) if claim.lineage is None else claim.rule,
        names=tuple(map(word, claim.names)),
        units=tuple(None if unit is None else word(unit, _UNIT) for unit in claim.units),
        records=_own(claim),
        calls=tuple((word(name), arguments) for name, arguments in claim.calls),
        instances=None if claim.instances is None else word(claim.instances),
    )


def _own(claim: Claim) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The records that have exactly the variables that are called after them, in order; others are not named."""
    called: dict[str, list[int]] = {}
    for k, name in enumerate(claim.names):
        for end in [m.start() for m in re.finditer(r"\.", name)][:2]:  # s.speed is of s; p.better.speed of p.better
            called.setdefault(name[:end], []).append(k)
    return tuple((name, variables) for name, variables in claim.records if called.get(name) == list(variables))


def word(text: str, plain: re.Pattern[str] = _PLAIN) -> str:
    return text if plain.fullmatch(text) else json.dumps(text)


def _of_loops(claim: Claim, calls: Sequence[str], stated: Claim) -> str:
    """E.g. `… round every loop of records with t[0].x in [0, 1]: the sum over its steps of -R(t[0], t[1]) is >= 0.`"""
    from rewarden.certificate.kernel_loops import sums_of, width

    rise = 2 * width(stated)  # refused, if it is no such claim: whatever its records are called
    here, there = (word(name) for name, _ in claim.records) if len(claim.records) == 2 else ("one", "the next")
    premise = f" if at each step, from {here} to {there}, {_all(claim, calls, claim.clauses)}," if claim.clauses else ""
    told = []
    for goals in sums_of(claim):
        added = dict(goals[0][0].form.variables).get(rise) if len(goals) == 1 and len(goals[0]) == 1 else None
        if added is None:
            told.append(f"there are rises that add up to 0 with which at each step {_all(claim, calls, goals)}")
        else:
            ((form, strict),) = goals[0]
            form = form._replace(variables=tuple(v for v in form.variables if v[0] != rise))
            told.append(f"the sum over its steps of {_form(claim, calls, form)} is {'>' if strict else '>='} 0")
    records = _domain(claim, rise // 2)
    sums = " and ".join(told) or "nothing more is asked"
    return f"{claim.severity} {claim.rule}: round every loop of records, each with {records}:{premise} then {sums}."


def _of_rows(claim: Claim, calls: Sequence[str]) -> str:
    """E.g. `must near: for each of the 60 rows of demos (bundled table sha256:…): then R(s) >= 0.`"""
    assert claim.rows is not None
    share = claim.rows["share"]
    tables = f"bundled table{'s' * (len(claim.rows['tables']) > 1)} {', '.join(claim.rows['tables'])}"
    tables = f"{tables}, {_columns(claim.rows['columns'])}"
    rows = f"{claim.rows['count']} rows of {claim.instances or 'data'} ({tables})"
    premise = f" if {_all(claim, calls, claim.clauses)}," if claim.clauses else ""
    goals = _all(claim, calls, claim.goals) if claim.goals else "nothing more is asked"
    if share is None:
        return f"{claim.severity} {claim.rule}: for each of the {rows}:{premise} then {goals}."
    where = f" at which {_all(claim, calls, claim.clauses)}" if claim.clauses else ""
    told = f"of those of the {rows}{where}, the share at which {goals}"
    return f"{claim.severity} {claim.rule}: {told}, is {share['op']} {number(share['level'])}."


def _domain(claim: Claim, count: int | None = None) -> str:
    parts = []
    for k, (name, unit, whole) in list(enumerate(zip(claim.names, claim.units, claim.discrete, strict=True)))[:count]:
        ends = {f"[{number(box[k][0])}, {number(box[k][1])}]" for box in claim.boxes}
        where = ends.pop() if len(ends) == 1 else "its bounds"
        parts.append(f"{'whole number ' if whole else ''}{name} in {where}{f' {unit}' if unit else ''}")
    if len(claim.boxes) != 1:
        of = f" of {claim.instances}" if claim.instances else ""
        parts.append(f"in each of the {len(claim.boxes)} boxes{of} that claims.json lists")
    return ", ".join(parts)


def _near(claim: Claim) -> str:
    """E.g. `that are near none of the 90 rows of logs (bundled table sha256:…), which is within 0.1 of it in s.x`"""
    near, names = claim.near, dict[Fraction | None, list[str]]()
    for name, radius in zip(claim.names, near["radii"], strict=True):
        names.setdefault(radius, []).append(name)
    told = [f"{'as it is' if r is None else f'within {number(r)} of it'} in {', '.join(n)}" for r, n in names.items()]
    table = f"bundled table {near['table']}, {_columns(near['columns'])}"
    rows = f"{near['count']} rows of {claim.instances or 'data'} ({table})"
    return f"that are near {'one' if near['inside'] else 'none'} of the {rows}, which is {' and '.join(told)}"


def _columns(columns: Sequence[int]) -> str:
    """Which of a table the variables are read from, in their order; the first is 1."""
    return f"columns {', '.join(str(c + 1) for c in columns)}"


def _all(claim: Claim, calls: Sequence[str], clauses: Sequence[Sequence[Atom]]) -> str:
    away = [c for c in clauses if len(c) > 1 and all(len(a.form.variables) == 1 and not a.form.calls for a in c)]
    if len(away) > SHOWN:
        told = set(map(id, away))
        rest = [clause for clause in clauses if id(clause) not in told]
        from rewarden.certificate.kernel_table import outside

        return " and ".join(([_all(claim, calls, rest)] if rest else []) + [outside(claim, away)])
    each = [[f"{_form(claim, calls, a.form)} {'>' if a.strict else '>='} 0" for a in clause] for clause in clauses]
    texts = [" or ".join(atoms) or "false" for atoms in each]
    return " and ".join(f"({t})" if " or " in t and len(texts) > 1 else t for t in texts)


def _call(
    claim: Claim, stated: Claim, records: Mapping[tuple[int, ...], str], call: int, rewards: Mapping[str, Reward]
) -> str:
    """R(s) where the arguments are exactly the variables of a record, called as the reward calls its columns, else with
    every argument spelled out."""
    reward, arguments = claim.calls[call]
    plain = tuple(next((k for k, x in a.variables if a == Affine(0, ((k, 1),), (), 1)), -1) for a in arguments)
    lengths = [len(plain), *sorted({len(variables) for variables in records})]
    ways = [(plain[:n], plain[n:])[: 1 + (n < len(plain))] for n in lengths]
    parts = next((way for way in ways if all(part in records for part in way)), None)
    if parts is None:
        return f"{reward}({', '.join(_form(claim, (), a) for a in arguments)})"
    own, about = [stated.names[k][len(records[part]) + 1 :] for part in parts for k in part], stated.calls[call][0]
    columns = _columns_of(rewards[about]) if about in rewards else own
    if columns == own:
        return f"{reward}({', '.join(word(records[part]) for part in parts)})"
    return f"{reward}({', '.join(f'{word(c)} = {claim.names[k]}' for c, k in zip(columns, plain, strict=False))})"


def _columns_of(reward: Reward) -> list[str]:
    """As the reward itself calls them; `?` what is no text."""
    found: list[str] = []
    for feature in (feature for record in reward.lineage["records"] for feature in record["features"]):
        name, *cases = (text if isinstance(text, str) else "?" for text in (feature["name"], *feature["cases"]))
        if feature["kind"] == "enum":
            found += [f"{name}={case}" for case in cases]
        else:
            found += [name] if feature["size"] == 1 else [f"{name}[{k}]" for k in range(feature["size"])]
    return found


def _form(claim: Claim, calls: Sequence[str], form: Affine) -> str:
    terms = [(c, claim.names[k]) for k, c in form.variables] + [(c, calls[k]) for k, c in form.calls]
    out = ""
    for c, name in [*terms, (form.constant, "")] if form.constant or not terms else terms:
        size = number(Fraction(abs(c), form.bottom))
        term = f"{size}·{name}" if name and size != "1" else name or size
        out += (f" {'-' if c < 0 else '+'} " if out else "-" * (c < 0)) + term
    return out


def number(x: Fraction) -> str:
    """Exact: an integer, a short decimal where there is one, else p/q; of too many digits, that."""
    if (bits := max(x.numerator.bit_length(), x.denominator.bit_length())) > MAX_SHOWN:
        return f"(a number of {bits} bits)"
    for places in range(1, 10):
        if x.denominator != 1 and 10**places % x.denominator == 0:
            digits = str(abs(x.numerator) * 10**places // x.denominator).rjust(places + 1, "0")
            return f"{'-' if x < 0 else ''}{digits[:-places]}.{digits[-places:]}"
    return str(x)
