"""A separation in words of the domain: named records in units, and what the rewards are there and elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from rewarden.spec_lang.compare.align import Aligned
from rewarden.spec_lang.compare.frame import Frame, FrameType
from rewarden.spec_lang.compare.instances import (
    calls_in,
    constants_in,
    occurs,
    quantified,
    records_of,
    split_arguments,
)
from rewarden.spec_lang.compare.model import Counted, Elsewhere, RewardAt, RowAt, Situation
from rewarden.spec_lang.compare.reward import Record, World
from rewarden.spec_lang.compare.separate import Separation
from rewarden.spec_lang.compare.share_rows import Counting
from rewarden.spec_lang.evaluate import statistic_text, value
from rewarden.spec_lang.naming import named_records
from rewarden.spec_lang.numerals import decimal
from rewarden.spec_lang.obligation import Const, Ite, Max, Min, Product, Term, Var


def situation(
    frame: Frame, domains: Mapping[str, Aligned], found: Separation, *, only_outside: bool = False
) -> Situation:
    """As the refusing rule's spec would say it; `domains` are the records of the accepting one."""
    part, values = found.point.rule, found.point.values
    spec = frame.spec(part.side)
    types = {view.name: kind for view, kind in zip(part.own.records, part.types, strict=True)}
    names = [part.records[k].name for k in quantified(part)]
    excluded = tuple(
        name
        for name, (kind, record) in zip(names, records_of(part, values), strict=True)
        if kind in domains and not occurs(domains[kind], record)
    )
    return Situation(
        refused_by=part.side,
        records=named_records(part.own, part.own_values(values), spec.features),
        units={
            view.name: {f.name: f.unit for f in spec.features[view.type_name].features} for view in part.own.records
        },
        rewards=_rewards(part, values, found.world, types, frame),
        elsewhere=tuple(_elsewhere(name, part, values, found.world, frame) for name in sorted(found.world.rewards)),
        constants=tuple((statistic_text(c), found.world.statistic(c)) for c in constants_in(part)),
        excluded=excluded,
        only_excluded=bool(excluded) and only_outside,
        case=part.own.case,
        row=_row(part, found),
        world=found.world,
    )


def count_situation(frame: Frame, found: Counting) -> Situation:
    """A share that one rule accepts and the other does not: the rewards at a few rows that are counted."""
    part = found.refusing
    types = {view.name: kind for view, kind in zip(part.own.records, part.types, strict=True)}
    assert part.own.instances is not None
    shown = {
        (call.reward, tuple(value(a, row.values) for a in call.arguments))
        for call in calls_in(part)
        for row in found.rows
    }
    return Situation(
        refused_by=part.side,
        records={},
        units={},
        rewards=(),
        elsewhere=tuple(
            Elsewhere(
                name, reward.constant, others=reward.others({record for called, record in shown if called == name})
            )
            for name, reward in sorted(found.world.rewards.items())
        ),
        constants=tuple((statistic_text(c), found.world.statistic(c)) for c in constants_in(part)),
        counted=Counted(
            part.own.instances.data,
            found.tally[0],
            found.tally[1],
            tuple(
                RowAt(row.row, row.satisfied, _rewards(part, row.values, found.world, types, frame))
                for row in found.rows
            ),
            left_open=found.verdict == "unknown",
            accepted=found.accepted[0],
            of=found.accepted[1],
        ),
        world=found.world,
    )


def _row(part: Aligned, found: Separation) -> int | None:
    if part.rows is None or not found.point.anchor:
        return None
    for row in range(len(part.rows.values)):
        if part.rows.row(row) == found.point.anchor:
            return row
    return None


def _rewards(
    part: Aligned, values: Sequence[Fraction], world: World, types: Mapping[str, FrameType], frame: Frame
) -> tuple[RewardAt, ...]:
    known = [
        (view.name, view.type_name, tuple(values[v] for v in view.variables))
        for view in (part.records[k] for k in range(len(part.records)))
    ]
    found: dict[str, RewardAt] = {}
    for call in calls_in(part):
        record = tuple(value(a, values) for a in call.arguments)
        split = split_arguments(frame, call.reward, record)
        texts = [_record_text(part, kind, columns, known, types, frame) for kind, columns in split]
        text = f"{call.reward}({', '.join(texts)})"
        found.setdefault(text, RewardAt(text, world.call(call.reward, record)))
    return tuple(sorted(found.values(), key=lambda reward: reward.call))


def _record_text(
    part: Aligned,
    kind: str,
    record: Record,
    known: Sequence[tuple[str, str, Record]],
    types: Mapping[str, FrameType],
    frame: Frame,
) -> str:
    """`a`, or `a with {speed = 0.5}`, features in the units of the side."""
    alike = [(name, columns) for name, type_name, columns in known if type_name == kind]
    for name, columns in alike:
        if columns == record:
            return name
    if not alike:
        return "…"
    name, columns = min(alike, key=lambda a: sum(x != y for x, y in zip(a[1], record, strict=True)))
    whole = types[name]
    own = next(view.type_name for view in part.own.records if view.name == name)
    updates = []
    start = 0
    places = {place.column: place for place in whole.places(part.side)}
    for feature in whole.features:
        here = range(start, start + feature.width)
        start += feature.width
        if all(record[k] == columns[k] for k in here):
            continue
        numbers = [places[k].to_own(record[k]) for k in here if k in places]
        mine = frame.spec(part.side).features[own].feature(feature.name)
        unit = f" [{mine.unit}]" if mine.unit else ""
        updates.append(f"{feature.name} = {_feature_text(mine.kind, mine.cases, numbers)}{unit}")
    return f"{name} with {{{', '.join(updates)}}}"


def _feature_text(kind: str, cases: tuple[str, ...], numbers: Sequence[Fraction]) -> str:
    if kind == "enum":
        return cases[list(numbers).index(Fraction(1))] if Fraction(1) in numbers else "?"
    if kind == "bool":
        return "true" if numbers[0] == 1 else "false"
    texts = [decimal(x) for x in numbers]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _elsewhere(name: str, part: Aligned, values: Sequence[Fraction], world: World, frame: Frame) -> Elsewhere:
    reward = world.rewards[name]
    columns = [column.name for kind in frame.signature(name) for column in kind.columns()]
    shown = {tuple(value(a, values) for a in call.arguments) for call in calls_in(part) if call.reward == name}
    others = reward.others(shown)
    slopes = [(columns[k], slope) for k, slope in reward.slopes]
    if reward.base is not None:
        slopes += _of_column(reward.base, columns)
    at_the_limit = reward.base is not None and not slopes
    return Elsewhere(name, reward.constant, tuple(slopes), at_the_limit, others)


def _of_column(base: Term, columns: Sequence[str]) -> list[tuple[str, Fraction]]:
    """A column, its opposite, or one of them cut off: `min(speed, 2)`. Or a step where a premise holds."""
    match base:
        case Var(k):
            return [(columns[k], Fraction(1))]
        case Product(Const(slope), Var(k)):
            return [(columns[k], slope)]
        case Min((inner, Const(level))) | Max((inner, Const(level))):
            ((column, slope),) = _of_column(inner, columns)
            name = "min" if isinstance(base, Min) else "max"
            return [(f"{name}({'-' if slope < 0 else ''}{column}, {_number(level)})", Fraction(1))]
        case Ite(_, Const(step), _):
            return [("(1 where a premise holds)", step)]
    return []


def _number(level: Fraction) -> str:
    """A number in a name: in full where that is short."""
    exact = decimal(level)
    return exact if len(exact) <= 12 else f"≈{float(level):.9g}"
