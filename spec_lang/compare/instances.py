"""A rule at given records: which of its instances speak of them, and whether one is violated there, exactly.

No Z3 here: this is the other code that confirms what Z3 found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import permutations, product
from typing import TypeVar

import numpy as np

from rewarden.spec_lang.compare.align import Aligned, Key
from rewarden.spec_lang.compare.frame import Frame
from rewarden.spec_lang.compare.rebuild import common_constant
from rewarden.spec_lang.compare.reward import Record, World
from rewarden.spec_lang.compare.terms import subterms
from rewarden.spec_lang.evaluate import truth, value
from rewarden.spec_lang.forms import ZERO
from rewarden.spec_lang.obligation import And, Call, Formula, Statistic

T = TypeVar("T")
Typed = tuple[str, T]  # the name of a frame type, and a record of it in whatever form

INSTANCES = 24  # ways to put the records of one rule into another that are tried


# ── what a rule mentions ───────────────────────────────────────────────────────────────────────
def calls_in(aligned: Aligned) -> tuple[Call, ...]:
    """Each reward's application once, in the order of the text."""
    found = (t for formula in (aligned.premise, aligned.conclusion) for t in subterms(formula))
    return tuple(dict.fromkeys(t for t in found if isinstance(t, Call)))


def constants_in(aligned: Aligned) -> tuple[Statistic, ...]:
    found = (t for formula in (aligned.premise, aligned.conclusion) for t in subterms(formula))
    return tuple(dict.fromkeys(t for t in found if isinstance(t, Statistic)))


# ── records ────────────────────────────────────────────────────────────────────────────────────
def is_anchor(aligned: Aligned, number: int) -> bool:
    """Is the record of that number the data row itself, `anchor(x)`?"""
    rows = aligned.rows
    if rows is None:
        return False
    keys = dict(rows.fixed)
    mine = [keys[v] for v in aligned.records[number].variables if v in keys]
    return bool(mine) and all(key[0] != number for key in mine)


def quantified(aligned: Aligned) -> tuple[int, ...]:
    """The numbers of the records that are not the data row."""
    return tuple(k for k in range(len(aligned.records)) if not is_anchor(aligned, k))


def records_of(aligned: Aligned, values: Sequence[T]) -> list[Typed[tuple[T, ...]]]:
    """The quantified records at values of the variables."""
    views = [aligned.records[k] for k in quantified(aligned)]
    return [(view.type_name, tuple(values[v] for v in view.variables)) for view in views]


def split_arguments(frame: Frame, reward: str, flat: Sequence[T]) -> list[Typed[tuple[T, ...]]]:
    """The records that a reward, by its common name, is applied to."""
    found: list[Typed[tuple[T, ...]]] = []
    start = 0
    for kind in frame.signature(reward):
        width = len(kind.columns())
        found.append((kind.name, tuple(flat[start : start + width])))
        start += width
    return found


def instantiations(aligned: Aligned, own: Sequence[Typed[T]], further: Sequence[Typed[T]]) -> Iterator[tuple[T, ...]]:
    """Ways to choose the rule's quantified records among given ones: in order first, then permuted, then any. Fewer
    of them the more records the rule has."""
    wanted = [aligned.records[k].type_name for k in quantified(aligned)]
    given = [*own, *(record for record in further if not any(record[1] is mine[1] for mine in own))]
    seen: set[tuple[int, ...]] = set()
    n = len(wanted)
    orders = (
        iter([tuple(range(n))] if n <= len(own) else []),
        permutations(range(len(own)), n),
        product(range(len(given)), repeat=n),
    )
    for choice in (choice for order in orders for choice in order):
        if len(seen) >= max(2, INSTANCES >> max(0, n - 2)):
            return
        if choice in seen or any(given[k][0] != kind for k, kind in zip(choice, wanted, strict=True)):
            continue
        seen.add(choice)
        yield tuple(given[k][1] for k in choice)


# ── exact truth ────────────────────────────────────────────────────────────────────────────────
def values_at(aligned: Aligned, records: Sequence[Record], anchor: Mapping[Key, Fraction]) -> list[Fraction]:
    """The variables at the quantified records; what records share is taken from the first of them."""
    found: dict[int, Fraction] = {}
    given = iter(records)
    for number, view in enumerate(aligned.records):
        record = [anchor.get((0, k), ZERO) for k in range(len(view.variables))]
        if not is_anchor(aligned, number):
            record = list(next(given))
        for variable, here in zip(view.variables, record, strict=True):
            found.setdefault(variable, here)
    return [found[k] for k in range(len(aligned.variables))]


def anchors_at(aligned: Aligned, records: Sequence[Record], limit: int) -> list[dict[Key, Fraction]]:
    """The data rows whose box holds the records, exactly; at most `limit` of them. One without entries if the rule is
    not about data."""
    rows = aligned.rows
    if rows is None:
        return [{}]
    place = {v: (n, k) for n, view in enumerate(aligned.records) for k, v in enumerate(view.variables)}
    numbers = {number: at for at, number in enumerate(quantified(aligned))}
    near = np.ones(len(rows.values), dtype=np.bool_)
    wanted: list[tuple[Key, Fraction, Fraction]] = []
    for variable, key, radius in (*rows.centred, *((v, key, ZERO) for v, key in rows.fixed)):
        number, column = place[variable]
        if number in numbers:
            wanted.append((key, records[numbers[number]][column], radius))
    for key, here, radius in wanted:
        reach = float(radius) * (1 + 1e-9) + 1e-9 * (1 + abs(float(here)))  # more than rounding: a screen
        near &= np.abs(rows.values[:, rows.keys.index(key)] - float(here)) <= reach
    found: list[dict[Key, Fraction]] = []
    for row in np.flatnonzero(near):
        anchor = anchor_of(aligned, int(row))
        if all(abs(anchor[key] - here) <= radius for key, here, radius in wanted):
            found.append(anchor)
            if len(found) == limit:
                break
    return found


def anchor_of(aligned: Aligned, row: int) -> dict[Key, Fraction]:
    """A data row by key, exactly."""
    assert aligned.rows is not None
    return aligned.rows.row(row)


def near_row(aligned: Aligned, values: Sequence[Fraction], anchor: Mapping[Key, Fraction]) -> bool:
    """Is the point in the box around that data row? True of rules that are not about data."""
    if aligned.rows is None:
        return True
    return all(abs(values[v] - anchor.get(key, ZERO)) <= radius for v, key, radius in aligned.rows.centred) and all(
        values[v] == anchor.get(key, ZERO) for v, key in aligned.rows.fixed
    )


def called_at(aligned: Aligned, values: Sequence[Fraction]) -> list[tuple[str, Record]]:
    """What each reward is applied to at a point. Unsupported X07 for irrational arguments."""
    return [(call.reward, tuple(value(a, values) for a in call.arguments)) for call in calls_in(aligned)]


def occurs(aligned: Aligned, values: Sequence[Fraction]) -> bool:
    """Are these records that the spec has: in range, as assumed? Data rows are not asked."""
    own = aligned.own_values(values)
    obligation = aligned.own
    # A number that equals a data row's is what it is, even beyond a limit that binary64 cannot hold (boxes.py).
    fixed = set() if obligation.instances is None else {v for v, _ in obligation.instances.fixed}
    for index, (variable, here) in enumerate(zip(obligation.variables, own, strict=True)):
        if variable.discrete and here.denominator != 1:
            return False
        if index not in fixed and not variable.lo <= here <= variable.hi:
            return False
    if any(values[v] != 0 for v in absent(aligned)):
        return False
    return truth(And((obligation.structure, obligation.assume)), own)


def speaks_of(aligned: Aligned, values: Sequence[Fraction]) -> bool:
    """Can the rule be violated at the point at all: do the records occur, and is what the premise says of them alone,
    without rewards, true?"""
    plain, _ = by_rewards(aligned.own.premise)
    return occurs(aligned, values) and truth(plain, aligned.own_values(values))


def by_rewards(premise: Formula) -> tuple[Formula, Formula]:
    """The conjuncts that mention no reward, and those that do."""
    parts = premise.parts if isinstance(premise, And) else (premise,)
    rewards = [any(isinstance(t, Call | Statistic) for t in subterms(part)) for part in parts]
    plain = tuple(part for part, mentions in zip(parts, rewards, strict=True) if not mentions)
    return And(plain), And(tuple(part for part, mentions in zip(parts, rewards, strict=True) if mentions))


def absent(aligned: Aligned) -> tuple[int, ...]:
    """Variables for cases that the spec does not have: 0 wherever it speaks."""
    placed = {place.column for place in aligned.place}
    return tuple(k for k in range(len(aligned.variables)) if k not in placed)


def violated(aligned: Aligned, values: Sequence[Fraction], world: World, frame: Frame) -> bool:
    """Does the rule fail at the point, read as its own spec wrote it, for these rewards?"""
    if not occurs(aligned, values) or not _true(aligned, aligned.own.premise, values, world, frame):
        return False
    return not concludes(aligned, values, world, frame)


def concludes(aligned: Aligned, values: Sequence[Fraction], world: World, frame: Frame) -> bool:
    """Is the rule's conclusion, as its own spec wrote it, true at the point for these rewards?"""
    return _true(aligned, aligned.own.conclusion, values, world, frame)


def _true(aligned: Aligned, formula: Formula, values: Sequence[Fraction], world: World, frame: Frame) -> bool:
    def call(reward: str, arguments: tuple[Fraction, ...]) -> Fraction:
        return world.call(frame.rewards[aligned.side, reward], to_frame(aligned, frame, reward, arguments))

    def statistic(found: Statistic) -> Fraction:
        return world.statistic(common_constant(found, aligned.side, frame, aligned.data))

    return truth(formula, aligned.own_values(values), call, statistic)


def to_frame(aligned: Aligned, frame: Frame, reward: str, arguments: Sequence[Fraction]) -> Record:
    """A reward's own arguments in frame columns."""
    found: list[Fraction] = []
    start = 0
    for kind in frame.arguments(aligned.side, reward):
        columns = [ZERO] * len(kind.columns())
        for k, place in enumerate(kind.places(aligned.side)):
            columns[place.column] = place.to_frame(arguments[start + k])
        start += len(kind.places(aligned.side))
        found += columns
    return tuple(found)


def columns_in_frame(aligned: Aligned, frame: Frame, reward: str) -> tuple[int, list[int]] | None:
    """How many columns the reward has in the frame, and which of them its own are; None where a unit differs."""
    found: list[int] = []
    width = 0
    for kind in frame.arguments(aligned.side, reward):
        if not all(place.same_unit for place in kind.places(aligned.side)):
            return None
        found += [width + place.column for place in kind.places(aligned.side)]
        width += len(kind.columns())
    return width, found
