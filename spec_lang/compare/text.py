"""A comparison as text for the review of a pull request: what protects less comes first, each with its situation.

Records are written as the language writes them, `b = a with {speed = 1.5 [m/s]}`, so that they can go into an example.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from fractions import Fraction
from textwrap import wrap

from rewarden.spec_lang.compare.frame import other
from rewarden.spec_lang.compare.model import (
    CHANGES,
    Change,
    Comparison,
    Counted,
    DomainChange,
    Elsewhere,
    RuleChange,
    Situation,
)
from rewarden.spec_lang.diagnostics import printable
from rewarden.spec_lang.naming import FeatureValue
from rewarden.spec_lang.numerals import decimal

WIDTH = 110
LONG = 14  # characters of an exact number, beyond which its nearest decimal is shown
ELEMENTS = 8  # of a vector
ROWS = 3  # that satisfy a share, and that do not

_HEADS: dict[Change, str] = {
    "removed": "REMOVED: NEW does not ask for it any more",
    "weaker": "WEAKER: NEW accepts rewards that OLD refuses",
    "disjoint": "DISJOINT: each accepts rewards that the other refuses",
    "weaker_or_equal": "NOT STRONGER: NEW accepts all that OLD accepts, perhaps more",
    "undecided": "UNDECIDED",
    "stronger": "STRONGER: NEW refuses rewards that OLD accepts",
    "stronger_or_equal": "NOT WEAKER: NEW accepts no more than OLD, perhaps less",
    "added": "ADDED",
    "equal": "EQUAL",
}


def comparison_lines(found: Comparison) -> list[str]:
    """All of it; equal rules are listed by name only."""
    counts = Counter(change.change for change in found.rules)
    words = ", ".join(f"{counts[c]} {c.replace('_', ' ')}" for c in CHANGES if counts[c]) or "no rules"
    lines = [f"{found.old_name} → {found.new_name}: {words}"]
    for kind in CHANGES:
        changes = [change for change in found.rules if change.change == kind]
        if changes:
            lines += ["", _HEADS[kind]]
        if kind == "equal":
            plain = [change.name for change in changes if not change.notes and not change.renamed]
            changes = [change for change in changes if change.notes or change.renamed]
            lines += wrap(", ".join(plain), WIDTH, initial_indent="  ", subsequent_indent="  ")
        for change in changes:
            lines += _rule(change)
    return lines + list(_declared(found)) + _findings(found)


# ── rules ──────────────────────────────────────────────────────────────────────────────────────
def _rule(change: RuleChange) -> Iterator[str]:
    rule = change.new or change.old
    assert rule is not None
    places = " → ".join(f"{side.span}" for side in (change.old, change.new) if side is not None)
    renamed = f" (was {change.old.name})" if change.renamed and change.old is not None else ""
    yield f"  {rule.severity} {change.name}{renamed}  {places}"
    if rule.title:
        yield from wrap(printable(rule.title), WIDTH, initial_indent="    ", subsequent_indent="    ")
    for note in change.notes:
        yield f"    {printable(note)}"
    if change.reason:
        yield from wrap(change.reason, WIDTH, initial_indent="    ", subsequent_indent="    ")
    for shown in change.situations:
        yield from _situation(shown)


def _situation(shown: Situation) -> Iterator[str]:
    accepting, refusing = other(shown.refused_by).upper(), shown.refused_by.upper()
    if shown.counted is not None:
        yield from _count(shown, shown.counted)
        return
    where = f" ({shown.case})" if shown.case else ""
    if shown.row is not None:
        where = f" (near row {shown.row + 1} of the data)" if len(shown.records) > 1 or not where else where
    yield f"    {refusing} refuses, {accepting} accepts{where}:"
    known: dict[str, Mapping[str, FeatureValue]] = {}
    for name, record in shown.records.items():
        yield from _wrapped(f"{name} = {_record(record, shown.units[name], known)}")
        known[name] = record
    values = [f"{r.call} = {number_text(r.value)}" for r in shown.rewards]
    values += [f"{text} = {number_text(x)}" for text, x in shown.constants]
    yield from _wrapped(
        "with " + ", ".join(values) + "; elsewhere " + ", ".join(_elsewhere(e) for e in shown.elsewhere)
    )
    if shown.excluded:
        only = "; they differ for such records only" if shown.only_excluded else ""
        gone = " and ".join(shown.excluded)
        yield from _wrapped(f"({accepting} excludes {gone}: out of its ranges or assumptions{only})")


def _count(shown: Situation, counted: Counted) -> Iterator[str]:
    """How many rows satisfy it, and the rewards in the first of those that do and that do not."""
    accepting, refusing = other(shown.refused_by).upper(), shown.refused_by.upper()
    refuses = "leaves it open" if counted.left_open else "refuses"
    of = f"{counted.satisfied} of {counted.total} rows of {counted.data}"
    alike = (counted.accepted, counted.of) == (counted.satisfied, counted.total)
    there = "" if alike else f", and {counted.accepted} of {counted.of} what {accepting} counts"
    yield f"    {refusing} {refuses}, {accepting} accepts, where {of} satisfy it{there}:"
    for so, words in ((True, "satisfied"), (False, "not satisfied")):
        rows = [row for row in counted.rows if row.satisfied == so]
        for row in rows[:ROWS]:
            values = ", ".join(f"{r.call} = {number_text(r.value)}" for r in row.rewards)
            yield from _wrapped(f"row {row.row + 1}: {values}: {words}")
        more = (counted.satisfied if so else counted.total - counted.satisfied) - len(rows[:ROWS])
        if more > 0:
            yield f"      and {more} more rows: {words}"
    constants = [f"{text} = {number_text(x)}" for text, x in shown.constants]
    yield from _wrapped(", ".join([*constants, *(f"elsewhere {_elsewhere(e)}" for e in shown.elsewhere)]))


def _wrapped(text: str) -> list[str]:
    return wrap(
        text,
        WIDTH,
        initial_indent="      ",
        subsequent_indent="        ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _record(
    record: Mapping[str, FeatureValue], units: Mapping[str, str | None], known: Mapping[str, Mapping[str, FeatureValue]]
) -> str:
    """As a difference from an earlier record of the same features, where that is shorter."""
    for name, before in known.items():
        changed = {f: v for f, v in record.items() if before.get(f) != v}
        if before.keys() == record.keys() and len(changed) < len(record):
            return f"{name} with {_updates(changed, units)}" if changed else name
    return _updates(record, units)


def _updates(record: Mapping[str, FeatureValue], units: Mapping[str, str | None]) -> str:
    texts = (f"{f} = {value_text(v)}{f' [{units[f]}]' if units.get(f) else ''}" for f, v in record.items())
    return f"{{{', '.join(texts)}}}"


def value_text(value: FeatureValue) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case Fraction() | int():
            return number_text(Fraction(value))
        case tuple():
            if len(set(value)) == 1:
                return f"[{number_text(Fraction(value[0]))} everywhere]"
            shown = ", ".join(number_text(Fraction(x)) for x in value[:ELEMENTS])
            return f"[{shown}{f', … {len(value)} in all' if len(value) > ELEMENTS else ''}]"
        case _:
            return value


def number_text(value: Fraction) -> str:
    """Exactly where that is short; else the binary64 number that it is, or after ≈ the nearest."""
    exact = decimal(value)
    if len(exact) <= LONG:
        return exact
    nearest = float(value)
    return repr(nearest) if Fraction(nearest) == value else f"≈{nearest:.9g}"


def _elsewhere(e: Elsewhere) -> str:
    parts = [_scaled(column, slope) for column, slope in e.slopes]
    if e.at_the_limit:
        parts.append("what the rule compares it with")
    if e.constant or not parts:
        parts.append(number_text(e.constant))
    others = f" (but for {e.others} records)" if e.others else ""
    return f"{e.reward} = {' + '.join(parts)}{others}"


def _scaled(column: str, slope: Fraction) -> str:
    if abs(slope) == 1:
        return column if slope > 0 else f"-{column}"
    return f"{number_text(slope)} · {column}"


# ── the rest ───────────────────────────────────────────────────────────────────────────────────
def _declared(found: Comparison) -> Iterator[str]:
    for domain in found.domains:
        yield ""
        yield from _domain(domain)
    if found.params:
        yield ""
        yield "PARAMETERS"
        for p in found.params:
            moved = f"; it moved {', '.join(p.moved)}" if p.moved else ""
            yield f"  {p.name}: {p.old or 'new'} → {p.new or 'gone'}{moved}"
    if found.data:
        yield ""
        yield "DATA"
        yield from (f"  {d.name}: {d.status}: {printable(d.message)}" for d in found.data)
    if found.declarations:
        yield ""
        yield "DECLARATIONS"
        for text in found.declarations:
            yield from (f"  {line}" for line in text.split("\n"))
    if found.examples:
        yield ""
        yield "EXAMPLES"
        sides = {"old": "gone", "new": "new"}
        yield from (f"  {sides[e.side]}: {e.rule} {printable(e.text)}" for e in found.examples)


def _domain(change: DomainChange) -> Iterator[str]:
    yield f"RECORDS of {change.type_name}"
    yield from (f"  {message}" for message in change.messages)
    for words, record in (("only in NEW", change.only_new), ("only in OLD", change.only_old)):
        if record is not None:
            yield from _wrapped(f"{words}, for example {_updates(record, change.units)}")


def _findings(found: Comparison) -> list[str]:
    if not found.findings:
        return []
    return ["", "FINDINGS", *(f"  {f.code}: {printable(f.message)}" for f in found.findings)]
