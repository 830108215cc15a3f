"""Claims as canonical JSON and back (docs/formats.md, Claim).

The loader is strict: what it accepts is exactly what `dump_claim` writes, byte for byte, so that a claim has one text
and one digest. Unknown or missing keys, rationals not in lowest terms, unsorted or repeated indices, zero coefficients
and indices out of range are CertificateError C20.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Literal

from rewarden.spec_lang.boxes import RowBoxes
from rewarden.spec_lang.canonical import canonical_json, digest_of, parse_canonical, parse_rational, rational_text
from rewarden.spec_lang.claim import (
    Affine,
    AffineAtom,
    Box,
    Claim,
    ClaimCall,
    ClaimConstant,
    ClaimNear,
    ClaimRecord,
    ClaimRows,
    ClaimVariable,
    Clause,
)
from rewarden.spec_lang.errors import CertificateError

FORMAT, VERSION = "rewarden-claims", 1


# ── writing ────────────────────────────────────────────────────────────────────────────────────
def dump_claim(claim: Claim) -> bytes:
    """The claim's canonical JSON."""
    return canonical_json(claim_object(claim))


def claim_digest(claim: Claim) -> str:
    return digest_of(dump_claim(claim))


def claims_document(claims: Iterable[Claim], more: Iterable[Mapping[str, object]] = ()) -> bytes:
    """`claims.json`: the claims sorted by rule name, with those that are no claims of rules (`more`, as objects).
    ValueError if two have the same name."""
    objects = sorted([*map(claim_object, claims), *map(dict, more)], key=lambda claim: str(claim["rule"]))
    if len({claim["rule"] for claim in objects}) < len(objects):
        raise ValueError("two claims of the same rule")
    return canonical_json({"format": FORMAT, "format_version": VERSION, "claims": objects})


def claim_object(claim: Claim) -> dict[str, object]:
    """The claim as plain dicts and lists, ready for `canonical_json`."""
    if claim.cases:
        cases = [claim_object(case) for case in claim.cases]
        return {"rule": claim.rule, "severity": claim.severity, "cases": cases}
    return {
        "rule": claim.rule,
        "severity": claim.severity,
        "variables": [{"name": v.name, "unit": v.unit, "discrete": v.discrete} for v in claim.variables],
        "records": [{"name": r.name, "type": r.type_name, "variables": list(r.variables)} for r in claim.records],
        "rewards": dict(claim.rewards),
        "calls": [{"reward": c.reward, "arguments": [_affine_out(a) for a in c.arguments]} for c in claim.calls],
        "clauses": [[_atom_out(atom) for atom in clause] for clause in claim.clauses],
        "goals": [[_atom_out(atom) for atom in goal] for goal in claim.goals],
        "boxes": [[[rational_text(lo), rational_text(hi)] for lo, hi in box] for box in _boxes_out(claim)],
        "instances": claim.instances,
        "constants": [{"text": c.text, "data": c.data, "value": rational_text(c.value)} for c in claim.constants],
        **({} if claim.loops is None else {"loops": list(claim.loops)}),
        **({} if claim.rows is None else {"rows": _rows_out(claim.rows)}),
        **({} if claim.near is None else {"near": _near_out(claim.near)}),
    }


def _boxes_out(claim: Claim) -> Sequence[Box]:
    """Boxes around the rows of a table that is named are told by the one that they are cut by."""
    around = isinstance(claim.boxes, RowBoxes) and claim.near is not None
    return (claim.boxes.ranges,) if around and isinstance(claim.boxes, RowBoxes) else claim.boxes


def _near_out(near: ClaimNear) -> dict[str, object]:
    return {
        "inside": near.inside,
        "table": near.table,
        "count": near.count,
        "columns": list(near.columns),
        "radii": [None if radius is None else rational_text(radius) for radius in near.radii],
    }


def _rows_out(rows: ClaimRows) -> dict[str, object]:
    share = None if rows.share is None else {"op": rows.share[0], "level": rational_text(rows.share[1])}
    return {"count": rows.count, "tables": list(rows.tables), "columns": list(rows.columns), "share": share}


def shown_point(claim: Claim, box: int, point: Sequence[Fraction]) -> dict[str, object]:
    """How evidence shows a point of a claim: a witness, or the records of a loop."""
    told = [rational_text(x) for x in point]
    if claim.loops is None:
        return {"witness": {"box": box, "point": told}}
    width = len(claim.variables) // 2
    return {"loop": [told[k : k + width] for k in range(0, len(told), width)]}


def _affine_out(affine: Affine) -> dict[str, object]:
    return {
        "constant": rational_text(affine.constant),
        "variables": [[index, rational_text(c)] for index, c in affine.variables],
        "calls": [[index, rational_text(c)] for index, c in affine.calls],
    }


def _atom_out(atom: AffineAtom) -> dict[str, object]:
    return {"affine": _affine_out(atom.affine), "strict": atom.strict}


# ── reading ────────────────────────────────────────────────────────────────────────────────────
def load_claim(data: bytes) -> Claim:
    """The claim of that canonical text. CertificateError C20 where anything deviates from the format."""
    return claim_of_object(_parsed(data))


def load_claims(data: bytes) -> tuple[Claim, ...]:
    """The claims of a `claims.json`. CertificateError C20 where anything deviates from the format."""
    document = _keys(_parsed(data), "the document", "format", "format_version", "claims")
    if document["format"] != FORMAT or document["format_version"] != VERSION:
        raise _malformed("the document", f"its format is not {FORMAT} {VERSION}")
    claims = tuple(claim_of_object(item) for item in _list(document["claims"], "claims"))
    rules = [claim.rule for claim in claims]
    if rules != sorted(set(rules)):
        raise _malformed("claims", "they are not sorted by rule, each once")
    return claims


def claim_of_object(value: object) -> Claim:
    """The claim of an already parsed JSON object. CertificateError C20 where anything deviates from the format."""
    if not isinstance(value, dict) or "cases" not in value:
        return _plain(value)
    o = _keys(value, "the claim", "rule", "severity", "cases")
    cases = [_plain(item) for item in _list(o["cases"], "cases")]
    if not cases or any((c.rule, c.severity, c.loops, c.rows) != (o["rule"], o["severity"], None, None) for c in cases):
        raise _malformed("cases", "there are none, or not of this rule")
    found = Claim.of_cases(cases)
    if len({name for name, _ in found.rewards}) != len(found.rewards):
        raise _malformed("cases", "they are about different rewards")
    return found


def _plain(value: object) -> Claim:
    keys = ("rule", "severity", "variables", "records", "rewards", "calls", "clauses", "goals", "boxes")
    more = [key for key in ("loops", "rows", "near") if isinstance(value, dict) and key in value]
    o = _keys(value, "the claim", *keys, "instances", "constants", *more[:1])
    variables = tuple(_variable(item) for item in _list(o["variables"], "variables"))
    width = len(variables)
    rewards = o["rewards"]
    if not isinstance(rewards, dict):
        raise _malformed("rewards", "not an object")
    calls = tuple(_call(item, width, rewards) for item in _list(o["calls"], "calls"))
    boxes = tuple(_box(item, variables) for item in _list(o["boxes"], "boxes"))
    if bool(boxes) == ("rows" in o):
        raise _malformed("boxes", "there are none, or there are some beside rows")
    if "near" in o and len(boxes) != 1:
        raise _malformed("boxes", "there is not one, beside the rows of a table")
    return Claim(
        rule=_text(o["rule"], "rule"),
        severity=_severity(o["severity"]),
        variables=variables,
        records=tuple(_record(item, width) for item in _list(o["records"], "records")),
        rewards=tuple((name, _text(rewards[name], "rewards")) for name in sorted(rewards)),
        calls=calls,
        clauses=_clauses(o["clauses"], "clauses", width, len(calls)),
        goals=_clauses(o["goals"], "goals", width, len(calls)),
        boxes=boxes,
        constants=tuple(_constant(item) for item in _list(o["constants"], "constants")),
        instances=_optional_text(o["instances"], "instances"),
        loops=tuple(_index(n, 2**20, "loops") for n in _list(o["loops"], "loops")) if "loops" in o else None,
        rows=_rows(o["rows"], width) if "rows" in o else None,
        near=_near(o["near"], width) if "near" in o else None,
    )


def _near(value: object, width: int) -> ClaimNear:
    o = _keys(value, "near", "inside", "table", "count", "columns", "radii")
    columns = tuple(_index(item, 2**24, "near") for item in _list(o["columns"], "near"))
    radii = tuple(None if item is None else _rational(item, "near") for item in _list(o["radii"], "near"))
    if len(columns) != width or len(radii) != width or any(r is not None and r < 0 for r in radii):
        raise _malformed("near", "not one column and one radius for each variable, none of them less than 0")
    count = _index(o["count"], 2**24 + 1, "near")
    return ClaimNear(_flag(o["inside"], "near"), _text(o["table"], "near"), count, columns, radii)


def _rows(value: object, width: int) -> ClaimRows:
    o = _keys(value, "rows", "count", "tables", "columns", "share")
    columns = tuple(_index(item, 2**24, "rows") for item in _list(o["columns"], "rows"))
    tables = tuple(_text(item, "rows") for item in _list(o["tables"], "rows"))
    if len(columns) != width or not tables:
        raise _malformed("rows", "there is no table, or not one column for each variable")
    return ClaimRows(_index(o["count"], 2**24 + 1, "rows"), tables, columns, _share(o["share"]))


def _share(value: object) -> tuple[Literal["<", "<=", ">", ">="], Fraction] | None:
    if value is None:
        return None
    o = _keys(value, "a share", "op", "level")
    match o["op"]:
        case "<" | "<=" | ">" | ">=" as op:
            return op, _rational(o["level"], "a share")
        case _:
            raise _malformed("a share", "it is not compared")


def _parsed(data: bytes) -> object:
    try:
        return parse_canonical(data)
    except (ValueError, RecursionError) as error:
        raise _malformed("the text", str(error)) from error


def _variable(value: object) -> ClaimVariable:
    o = _keys(value, "a variable", "name", "unit", "discrete")
    return ClaimVariable(_text(o["name"], "name"), _optional_text(o["unit"], "unit"), _flag(o["discrete"], "discrete"))


def _record(value: object, width: int) -> ClaimRecord:
    o = _keys(value, "a record", "name", "type", "variables")
    indices = tuple(_index(item, width, "a record") for item in _list(o["variables"], "variables"))
    return ClaimRecord(_text(o["name"], "name"), _text(o["type"], "type"), indices)


def _call(value: object, width: int, rewards: dict[str, object]) -> ClaimCall:
    o = _keys(value, "a call", "reward", "arguments")
    reward = _text(o["reward"], "reward")
    if reward not in rewards:
        raise _malformed("a call", f"no digest is given for the reward {reward}")
    return ClaimCall(reward, tuple(_affine(item, width, 0) for item in _list(o["arguments"], "arguments")))


def _clauses(value: object, where: str, width: int, calls: int) -> tuple[Clause, ...]:
    return tuple(tuple(_atom(item, width, calls) for item in _list(clause, where)) for clause in _list(value, where))


def _atom(value: object, width: int, calls: int) -> AffineAtom:
    o = _keys(value, "an atom", "affine", "strict")
    return AffineAtom(_affine(o["affine"], width, calls), _flag(o["strict"], "strict"))


def _affine(value: object, width: int, calls: int) -> Affine:
    o = _keys(value, "an affine form", "constant", "variables", "calls")
    return Affine(
        _rational(o["constant"], "constant"),
        _coefficients(o["variables"], width),
        _coefficients(o["calls"], calls),
    )


def _coefficients(value: object, limit: int) -> tuple[tuple[int, Fraction], ...]:
    found = []
    last = -1
    for item in _list(value, "an affine form"):
        pair = _list(item, "a coefficient")
        if len(pair) != 2:
            raise _malformed("a coefficient", "it is not [index, rational]")
        index, coefficient = _index(pair[0], limit, "a coefficient"), _rational(pair[1], "a coefficient")
        if index <= last or coefficient == 0:
            raise _malformed("an affine form", "indices must ascend and coefficients not be 0")
        last = index
        found.append((index, coefficient))
    return tuple(found)


def _box(value: object, variables: tuple[ClaimVariable, ...]) -> Box:
    sides = [_list(side, "a box") for side in _list(value, "a box")]
    if len(sides) != len(variables) or any(len(side) != 2 for side in sides):
        raise _malformed("a box", "it does not hold one [lo, hi] per variable")
    box = tuple((_rational(lo, "a box"), _rational(hi, "a box")) for lo, hi in sides)
    for variable, (lo, hi) in zip(variables, box, strict=True):
        if lo > hi or (variable.discrete and not lo.denominator == hi.denominator == 1):
            raise _malformed("a box", f"the bounds of {variable.name} are not a range of its values")
    return box


def _constant(value: object) -> ClaimConstant:
    o = _keys(value, "a constant", "text", "data", "value")
    return ClaimConstant(_text(o["text"], "text"), _text(o["data"], "data"), _rational(o["value"], "value"))


# ── JSON values of one kind ────────────────────────────────────────────────────────────────────
def _keys(value: object, where: str, *keys: str) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != set(keys):
        raise _malformed(where, f"its keys must be exactly {', '.join(keys)}")
    return value


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _malformed(where, "not a list")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise _malformed(where, "not text")
    return value


def _optional_text(value: object, where: str) -> str | None:
    return None if value is None else _text(value, where)


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise _malformed(where, "not true or false")
    return value


def _index(value: object, limit: int, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < limit:
        raise _malformed(where, f"{value!r} is not an index below {limit}")
    return value


def _severity(value: object) -> Literal["must", "should"]:
    match value:
        case "must" | "should":
            return value
        case _:
            raise _malformed("severity", "neither must nor should")


def _rational(value: object, where: str) -> Fraction:
    try:
        return parse_rational(value)
    except ValueError as error:
        raise _malformed(where, str(error)) from error


def _malformed(where: str, what: str) -> CertificateError:
    return CertificateError("C20", f"malformed claim: {where}: {what}", help="issue the certificate again")
