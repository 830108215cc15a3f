"""A comparison as JSON: docs/schemas/compare.schema.json says what each field means."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from rewarden.spec_lang.canonical import rational_text
from rewarden.spec_lang.compare.frame import other
from rewarden.spec_lang.compare.model import (
    Comparison,
    Counted,
    DomainChange,
    Elsewhere,
    RewardAt,
    RuleChange,
    Situation,
)
from rewarden.spec_lang.source import Span
from rewarden.spec_lang.spec import Rule

SCHEMA_VERSION = 1
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def comparison_json(found: Comparison) -> dict[str, Json]:
    """Numbers are for reading, as JSON floats; each has its exact rational beside it, as text."""
    return {
        "schema_version": SCHEMA_VERSION,
        "old": {"name": found.old_name, "digest": found.old_digest},
        "new": {"name": found.new_name, "digest": found.new_digest},
        "safe": found.safe,
        "rules": [_rule(change) for change in found.rules],
        "domains": [_domain(change) for change in found.domains],
        "data": [{"name": d.name, "status": d.status, "message": d.message} for d in found.data],
        "params": [{"name": p.name, "old": p.old, "new": p.new, "moved": list(p.moved)} for p in found.params],
        "examples": [{"rule": e.rule, "side": e.side, "text": e.text} for e in found.examples],
        "declarations": list(found.declarations),
        "findings": [
            {"code": f.code, "message": f.message, "old": _place(f.old), "new": _place(f.new)} for f in found.findings
        ],
    }


def _rule(change: RuleChange) -> Json:
    return {
        "name": change.name,
        "change": change.change,
        "objectionable": change.objectionable,
        "old": _side(change.old),
        "new": _side(change.new),
        "old_implies_new": change.old_implies_new,
        "new_implies_old": change.new_implies_old,
        "by": change.by,
        "reason": change.reason,
        "notes": list(change.notes),
        "situations": [_situation(shown) for shown in change.situations],
    }


def _side(rule: Rule | None) -> Json:
    if rule is None:
        return None
    return {
        "name": rule.name,
        "severity": rule.severity,
        "title": rule.title,
        "id": rule.requirement,
        "where": _place(rule.span),
    }


def _place(span: Span | None) -> Json:
    return None if span is None else str(span)


def _situation(shown: Situation) -> Json:
    return {
        "refused_by": shown.refused_by,
        "accepted_by": other(shown.refused_by),
        "records": {name: {f: _value(v) for f, v in record.items()} for name, record in shown.records.items()},
        "exact": {name: {f: _exact(v) for f, v in record.items()} for name, record in shown.records.items()},
        "units": {name: dict(units) for name, units in shown.units.items()},
        "rewards": [_reward(r) for r in shown.rewards],
        "elsewhere": [_elsewhere(e) for e in shown.elsewhere],
        "constants": [{"text": text, "value": float(x), "exact": rational_text(x)} for text, x in shown.constants],
        "excluded": list(shown.excluded),
        "only_excluded": shown.only_excluded,
        "case": shown.case,
        "row": shown.row,
        "counted": None if shown.counted is None else _counted(shown.counted),
    }


def _counted(found: Counted) -> Json:
    return {
        "data": found.data,
        "satisfied": found.satisfied,
        "total": found.total,
        "left_open": found.left_open,
        "accepted": found.accepted,
        "of": found.of,
        "rows": [
            {"row": row.row, "satisfied": row.satisfied, "rewards": [_reward(r) for r in row.rewards]}
            for row in found.rows
        ],
    }


def _reward(r: RewardAt) -> Json:
    return {"call": r.call, "value": float(r.value), "exact": rational_text(r.value)}


def _elsewhere(e: Elsewhere) -> Json:
    return {
        "reward": e.reward,
        "constant": rational_text(e.constant),
        "slopes": {column: rational_text(slope) for column, slope in e.slopes},
        "at_the_limit": e.at_the_limit,
        "others": e.others,
    }


def _domain(change: DomainChange) -> Json:
    def record(values: Mapping[str, object] | None) -> Json:
        return None if values is None else {name: _value(value) for name, value in values.items()}

    return {
        "type": change.type_name,
        "messages": list(change.messages),
        "widened": change.widened,
        "narrowed": change.narrowed,
        "only_new": record(change.only_new),
        "only_old": record(change.only_old),
    }


def _value(value: object) -> Json:
    match value:
        case Fraction():
            return float(value)
        case tuple():
            return [_value(part) for part in value]
        case bool() | int() | str():
            return value
    raise AssertionError(f"no feature has a value of {type(value).__name__}")


def _exact(value: object) -> Json:
    match value:
        case bool() | str():
            return value
        case Fraction() | int():
            return rational_text(Fraction(value))
        case tuple():
            return [_exact(part) for part in value]
    raise AssertionError(f"no feature has a value of {type(value).__name__}")
