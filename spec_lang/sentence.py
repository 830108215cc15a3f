"""A claim as one English sentence, for the reviewer who signs it.

It is made from the claim alone (what is proved), not from the spec's text, and it leaves nothing out: ranges and boxes,
every clause, every goal. Numbers are short decimals where that is exact, else a ratio of small integers, else ≈ six
digits; a threshold on one variable carries its unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from rewarden.spec_lang.boxes import hull
from rewarden.spec_lang.claim import Affine, AffineAtom, Box, Claim, ClaimCall, ClaimNear, ClaimRecord, Clause

_EXACT_DIGITS = 12  # a decimal with more significant digits than this is no longer readable as exact
_SMALL_RATIO = 1000
SHOWN = 8  # numbers of a vector that are told one by one


def sentence(claim: Claim) -> str:
    """`For every s in Step with s.speed in 0 .. 2.5 m/s, …: if … and … then R(s) <= 0.31.`"""
    one_hot, conditions = _without_one_hot(claim)
    premise, goals = _conjunction_text(claim, conditions), _conjunction_text(claim, claim.goals)
    body = f"if {premise} then {goals}" if conditions else goals
    known = "; ".join(f"{number_text(c.value)} is {'the ' * (' end of ' in c.text)}{c.text}" for c in claim.constants)
    ending = f" Here {known}." if known else ""
    if claim.rows is None:
        return f"For every {_domain_text(claim, one_hot)}: {body}.{ending}"
    rows = f"the {claim.rows.count} rows of {claim.instances}"
    if claim.rows.share is None:
        return f"For each of {rows}: {body}.{ending}"
    relation, level = claim.rows.share
    where = f" for which {premise}" if conditions else ""
    return f"Of {rows}{where}: the share for which {goals} is {relation} {number_text(level)}.{ending}"


def number_text(value: Fraction) -> str:
    """0.31, -2, 1/3, or ≈ 0.314159."""
    twos, rest = _divided_out(value.denominator, 2)
    fives, rest = _divided_out(rest, 5)
    places = max(twos, fives)
    if rest == 1 and len(str(abs(value.numerator) * 10**places // value.denominator)) <= _EXACT_DIGITS >= places:
        return _decimal(value, places)
    if value.denominator <= _SMALL_RATIO and abs(value.numerator) <= _SMALL_RATIO:
        return str(value)
    return f"≈ {_approximate(value)}"


def _divided_out(number: int, prime: int) -> tuple[int, int]:
    """(how often the prime divides the number, what is left)."""
    count = 0
    while number % prime == 0:
        number, count = number // prime, count + 1
    return count, number


def _decimal(value: Fraction, places: int) -> str:
    if places == 0:
        return str(value.numerator)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[:-places]}.{digits[-places:]}"


def _approximate(value: Fraction) -> str:
    try:
        return f"{float(value):.6g}"
    except OverflowError:
        return f"{'-' if value < 0 else ''}10^{len(str(abs(value.numerator) // value.denominator)) - 1}"


# ── the domain ─────────────────────────────────────────────────────────────────────────────────
def _domain_text(claim: Claim, one_hot: Sequence[tuple[int, ...]]) -> str:
    by_type: dict[str, list[str]] = {}
    for record in claim.records:
        by_type.setdefault(record.type_name, []).append(record.name)
    text = " and every ".join(f"{', '.join(names)} in {type_name}" for type_name, names in by_type.items())
    text += "".join(_shared_text(claim, left, right) for left, right in _pairs(claim.records))
    if claim.near is not None:
        text += _near_text(claim, claim.near)
    elif claim.instances is not None:
        count = len(claim.boxes)
        text += f" in {'the box' if count == 1 else f'one of the {count} boxes'} around the rows of {claim.instances}"
    cases = {index for group in one_hot for index in group}
    ranges = [_group_text(claim, group) for group in one_hot]
    ranges += _ranges(claim, [index for index in range(len(claim.variables)) if index not in cases])
    return f"{text} with {', '.join(ranges)}" if ranges else text


def _near_text(claim: Claim, near: ClaimNear) -> str:
    """Where the rows are named by their table: ` near none of the 90 rows of logs (within 0.1 m in s.x)`."""
    groups = dict[str, dict[str, None]]()  # of a vector, and of an enum's cases, all have one radius
    for index, radius in enumerate(near.radii):
        reach = "with the same" if radius is None else f"within {number_text(radius)}{_unit(claim, index)} in"
        feature = claim.variables[index].name.partition("=")[0].partition("[")[0]
        groups.setdefault(reach, {})[feature] = None
    told = " and ".join(f"{reach} {', '.join(names)}" for reach, names in groups.items())
    return f" near {'one' if near.inside else 'none'} of the {near.count} rows of {claim.instances} ({told})"


def _pairs(records: Sequence[ClaimRecord]) -> list[tuple[ClaimRecord, ClaimRecord]]:
    return [(a, b) for k, a in enumerate(records) for b in records[k + 1 :] if a.type_name == b.type_name]


def _shared_text(claim: Claim, left: ClaimRecord, right: ClaimRecord) -> str:
    pairs = list(zip(left.variables, right.variables, strict=False))
    own = [_column(claim, a) for a, b in pairs if a != b]
    if len(own) == len(pairs):
        return ""
    features = list(dict.fromkeys(column.partition("=")[0].partition("[")[0] for column in own))
    return f" (equal but for {', '.join(features)})" if features else " (equal)"


def _ranges(claim: Claim, indices: Sequence[int]) -> list[str]:
    """One text for each variable, and for the numbers of a vector one for all that have the same range; near data,
    where the ranges are no more than what the boxes lie in, one for all of them."""
    ends, groups = hull(claim.boxes), dict[object, list[int]]()
    for index in indices:
        variable = claim.variables[index]
        base, bracket, _ = variable.name.rpartition("[")
        around = claim.instances is not None and (claim.near is None or claim.near.inside)
        where = None if around else ends[index]
        groups.setdefault((base, where) if bracket else index, []).append(index)
    return [
        _vector_text(claim, group, ends)
        if len(group) > SHOWN and group[-1] - group[0] < len(group)
        else ", ".join(_range_text(claim, k) for k in group)
        for group in groups.values()
    ]


def _vector_text(claim: Claim, group: Sequence[int], ends: Box) -> str:
    lo, hi = min(ends[k][0] for k in group), max(ends[k][1] for k in group)
    first, last = claim.variables[group[0]].name, claim.variables[group[-1]].name
    numbers = "whole numbers" if claim.variables[group[0]].discrete else "numbers"
    reach = f"{number_text(lo)} .. {number_text(hi)}{_unit(claim, group[0])}"
    return f"{first} … {last} ({len(group)} {numbers}) each in {reach}"


def _range_text(claim: Claim, index: int) -> str:
    variable = claim.variables[index]
    lo, hi = hull(claim.boxes)[index]
    if variable.discrete and lo == 0 and hi == 1:
        return f"{variable.name} 0 or 1"
    whole = " whole" if variable.discrete else ""
    if lo == hi:
        return f"{variable.name} = {number_text(lo)}{_unit(claim, index)}"
    return f"{variable.name}{whole} in {number_text(lo)} .. {number_text(hi)}{_unit(claim, index)}"


def _group_text(claim: Claim, group: tuple[int, ...]) -> str:
    feature = claim.variables[group[0]].name.partition("=")[0]
    return f"{feature} one of {', '.join(_case(claim, index) for index in group)}"


def _without_one_hot(claim: Claim) -> tuple[list[tuple[int, ...]], list[Clause]]:
    """The enums whose cases are said to sum to 1 by two clauses of the claim, and the other clauses.

    A group counts only if both clauses stand there exactly, so that nothing is hidden that the claim does not say.
    """
    groups: dict[str, list[int]] = {}
    for index, variable in enumerate(claim.variables):
        feature, equals, _ = variable.name.partition("=")
        if equals and variable.discrete:
            groups.setdefault(feature, []).append(index)
    said: list[tuple[int, ...]] = []
    clauses = list(claim.clauses)
    for group in map(tuple, groups.values()):
        at_least = (AffineAtom(Affine(Fraction(-1), tuple((index, Fraction(1)) for index in group)), False),)
        at_most = (AffineAtom(Affine(Fraction(1), tuple((index, Fraction(-1)) for index in group)), False),)
        in_0_1 = all(_in_0_1(claim, index) for index in group)
        if at_least in clauses and at_most in clauses and in_0_1:
            said.append(group)
            clauses = [clause for clause in clauses if clause not in (at_least, at_most)]
    return said, clauses


def _in_0_1(claim: Claim, index: int) -> bool:
    """A case of an enum in a row of data is 0 or 1: such rows are read by their record type."""
    if claim.rows is not None:
        return "=" in claim.variables[index].name
    lo, hi = hull(claim.boxes)[index]
    return lo >= 0 and hi <= 1


# ── clauses and atoms ──────────────────────────────────────────────────────────────────────────
def _conjunction_text(claim: Claim, clauses: Sequence[Clause]) -> str:
    """All clauses; `t >= 0` and `t <= 0` are read together as an equation."""
    texts: list[str] = []
    equal: set[Clause] = set()
    for clause in clauses:
        opposite = _opposite(clause)
        if clause in equal:
            continue
        if opposite is not None and opposite in clauses:
            equal.add(opposite)
            texts.append(_equation_text(claim, clause[0]))
        else:
            texts.append(_clause_text(claim, clause, bare=len(clauses) == 1))
    return " and ".join(texts) or "true"


def _opposite(clause: Clause) -> Clause | None:
    """`-t >= 0` of a clause that says `t >= 0` and nothing else."""
    if len(clause) != 1 or clause[0].strict:
        return None
    affine = clause[0].affine
    variables = tuple((index, -c) for index, c in affine.variables)
    calls = tuple((index, -c) for index, c in affine.calls)
    return (AffineAtom(Affine(-affine.constant, variables, calls), False),)


def _equation_text(claim: Claim, atom: AffineAtom) -> str:
    left, right, constant, _ = _solved(claim, atom.affine)
    if not atom.affine.calls and len(atom.affine.variables) == 1:
        unit = _unit(claim, atom.affine.variables[0][0])
        return f"{claim.variables[atom.affine.variables[0][0]].name} = {number_text(constant)}{unit}"
    return f"{_sum_text(left, Fraction(0))} = {_sum_text(right, constant)}"


def _clause_text(claim: Claim, clause: Clause, *, bare: bool) -> str:
    if not clause:
        return "false"
    text = " or ".join(_atom_text(claim, atom) for atom in clause)
    return f"({text})" if len(clause) > 1 and not bare else text


def _atom_text(claim: Claim, atom: AffineAtom) -> str:
    """The atom solved for its leading term: calls on the left where there are any, the constant on the right."""
    affine = atom.affine
    if not affine.calls and len(affine.variables) == 1:
        return _threshold_text(claim, atom)
    left, right, constant, flipped = _solved(claim, affine)
    relation = ("<" if flipped else ">") + ("" if atom.strict else "=")
    return f"{_sum_text(left, Fraction(0))} {relation} {_sum_text(right, constant)}"


Terms = list[tuple[Fraction, str]]


def _solved(claim: Claim, affine: Affine) -> tuple[Terms, Terms, Fraction, bool]:
    """Positive terms for the left side, positive terms and the constant for the right, and whether >= became <=.

    Scaled so that 1 is the coefficient of the first call, or of the variable which makes the numbers shortest.
    """
    leading = affine.calls[0][1] if affine.calls else _shortest_scale(affine)
    terms = [(c / leading, _call_text(claim, claim.calls[index])) for index, c in affine.calls]
    terms += [(c / leading, _quantity(claim, index)) for index, c in affine.variables]
    left = [(c, text) for c, text in terms if c > 0]
    right = [(-c, text) for c, text in terms if c < 0]
    return left, right, -affine.constant / leading, leading < 0


def _shortest_scale(affine: Affine) -> Fraction:
    """The variable's coefficient by which to divide, so that the fewest digits are shown and the fewest are lost."""

    def length(leading: Fraction) -> tuple[int, int]:
        texts = [number_text(abs(c / leading)) for c in (affine.constant, *(c for _, c in affine.variables))]
        return sum("≈" in text for text in texts), sum(map(len, texts))

    # min keeps the first of equals, so the answer is a function of the claim alone.
    return min((c for _, c in affine.variables), key=length, default=Fraction(1))


def _threshold_text(claim: Claim, atom: AffineAtom) -> str:
    """c·x + d ⋈ 0 as `x >= -d/c unit`; cases by name, switches as = 0 and = 1."""
    index, coefficient = atom.affine.variables[0]
    bound = -atom.affine.constant / coefficient
    upper = coefficient < 0
    variable = claim.variables[index]
    if variable.discrete and _in_0_1(claim, index):
        must_be = _switch(bound, upper=upper, strict=atom.strict)
        if must_be is not None and "=" in variable.name:
            return f"{variable.name.partition('=')[0]} is {'' if must_be else 'not '}{_case(claim, index)}"
        if must_be is not None:
            return f"{variable.name} = {int(must_be)}"
    relation = ("<" if upper else ">") + ("" if atom.strict else "=")
    return f"{variable.name} {relation} {number_text(bound)}{_unit(claim, index)}"


def _switch(bound: Fraction, *, upper: bool, strict: bool) -> bool | None:
    """The only value of a 0/1 variable that satisfies the threshold, if it is one value."""
    allowed = []
    for value in (0, 1):
        margin = (bound - value) if upper else (value - bound)
        if margin > 0 or (margin == 0 and not strict):
            allowed.append(bool(value))
    return allowed[0] if len(allowed) == 1 else None


def _sum_text(terms: Sequence[tuple[Fraction, str]], constant: Fraction) -> str:
    parts = [text if c == 1 else f"{number_text(c)}·{text}" for c, text in terms]
    text = " + ".join(parts)
    if not parts:
        return number_text(constant)
    if constant == 0:
        return text
    return f"{text} {'+' if constant > 0 else '-'} {number_text(abs(constant))}"


def _call_text(claim: Claim, call: ClaimCall) -> str:
    """`R(a)`, `R(s with {speed = s.speed - 0.5})`, or all arguments in full where no record fits."""
    parts: list[str] = []
    position = 0
    while position < len(call.arguments):
        record = _closest_record(claim, call.arguments[position:])
        if record is None:
            parts += [_affine_text(claim, argument) for argument in call.arguments[position:]]
            break
        parts.append(_record_text(claim, record, call.arguments[position:]))
        position += len(record.variables)
    return f"{call.reward}({', '.join(parts)})"


def _closest_record(claim: Claim, arguments: Sequence[Affine]) -> ClaimRecord | None:
    """The record whose own variables the arguments repeat most, if they repeat any."""
    best: ClaimRecord | None = None
    most = 0
    for record in claim.records:
        if len(record.variables) <= len(arguments):
            same = sum(map(_is_variable, arguments, record.variables))
            if same > most:
                best, most = record, same
    return best


def _record_text(claim: Claim, record: ClaimRecord, arguments: Sequence[Affine]) -> str:
    updates = [
        f"{_column(claim, index)} = {_affine_text(claim, argument)}"
        for index, argument in zip(record.variables, arguments, strict=False)
        if not _is_variable(argument, index)
    ]
    return f"{record.name} with {{{', '.join(updates)}}}" if updates else record.name


def _is_variable(affine: Affine, index: int) -> bool:
    return affine == Affine(Fraction(0), ((index, Fraction(1)),))


def _affine_text(claim: Claim, affine: Affine) -> str:
    positive = [(c, claim.variables[index].name) for index, c in affine.variables if c > 0]
    negative = [(-c, claim.variables[index].name) for index, c in affine.variables if c < 0]
    text = _sum_text(positive, affine.constant)
    return text + "".join(f" - {_sum_text([term], Fraction(0))}" for term in negative)


def _quantity(claim: Claim, index: int) -> str:
    """A variable in a comparison of several, with its unit, since the coefficients depend on it."""
    unit = claim.variables[index].unit
    return claim.variables[index].name + (f" [{unit}]" if unit else "")


def _unit(claim: Claim, index: int) -> str:
    unit = claim.variables[index].unit
    return f" {unit}" if unit else ""


def _column(claim: Claim, index: int) -> str:
    return claim.variables[index].name.partition(".")[2]


def _case(claim: Claim, index: int) -> str:
    return claim.variables[index].name.partition("=")[2]
