"""Implications between a discrete case and what else is seen with it: at a charger nobody drives fast.

Narrower values in a small part of the data are no news: any few rows have narrower values. So a bound must lie inside
of a quantile that as many rows, picked at random, would hardly ever all stay within.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.numerals import decimal
from rewarden.suggest.friendly import literal, step_above, step_below
from rewarden.suggest.relation import Relation
from rewarden.suggest.scene import Rows

LEAST_ROWS = 30  # of a case
NEWS = 0.15  # of the declared range that a bound must cut off
CHANCE = 0.001  # with which as many rows picked at random would all stay within it
SLACK = 0.02  # of the declared range, added to what was seen
_EXPECTED = 25  # rows in which two cases would meet if they had nothing to do with each other
_SHORT = 8  # characters up to which a constant is worth an equation


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    feature: str
    text: str
    negation: str
    holds: NDArray[np.bool_]


def implications(record: RecordType, rows: Rows) -> Iterator[Relation]:
    """One relation a case: everything numeric that narrows with it; and pairs of cases that exclude each other."""
    cases = [case for feature in record.features for case in _cases(record, feature, rows)]
    for case in cases:
        count = int(case.holds.sum())
        if LEAST_ROWS <= count < len(rows):
            limits = [text for feature in record.features for text in _limits(record, feature, rows, case.holds)]
            if limits:
                yield Relation(f"{case.text} implies {' and '.join(limits)}", count, worth=1.2)
    for number, one in enumerate(cases):
        for other in cases[number + 1 :]:
            if one.feature != other.feature and not (one.holds & other.holds).any():
                expected = int(one.holds.sum()) * int(other.holds.sum()) / len(rows)
                if expected >= _EXPECTED:
                    support = int((one.holds | other.holds).sum())
                    yield Relation(f"{one.text} implies {other.negation}", support, worth=1.2)


def _cases(record: RecordType, feature: Feature, rows: Rows) -> Iterator[_Case]:
    start, name = record.offset(feature.name), feature.name
    if feature.kind == "bool":
        on = rows[:, start] == 1
        yield _Case(name, f"{{s}}.{name}", f"not {{s}}.{name}", on)
        yield _Case(name, f"not {{s}}.{name}", f"{{s}}.{name}", ~on)
    elif feature.kind == "enum":
        for number, case in enumerate(feature.cases):
            column = rows[:, start + number] == 1
            yield _Case(name, f"{{s}}.{name} == {case}", f"{{s}}.{name} != {case}", column)


def _limits(record: RecordType, feature: Feature, rows: Rows, part: NDArray[np.bool_]) -> Iterator[str]:
    """The feature's bounds in a part of the rows, where they are news."""
    if feature.kind not in ("real", "int") or feature.is_vector:
        return
    values = rows[:, record.offset(feature.name)]
    inside, width = values[part], float(feature.hi - feature.lo)
    least, most = float(inside.min()), float(inside.max())
    share = CHANCE ** (1.0 / len(inside))
    low, high = (float(q) for q in np.quantile(values, (1.0 - share, share)))
    above = most < high and float(values.max()) - most >= NEWS * width
    below = least > low and least - float(values.min()) >= NEWS * width
    term = f"{{s}}.{feature.name}"
    if least == most and (above or below) and len(decimal(Fraction(least))) <= _SHORT:
        yield f"{term} == {literal(Fraction(least), feature.unit)}"
        return
    if above:
        yield f"{term} <= {literal(_at_most(most + SLACK * width, width, feature), feature.unit)}"
    if below:
        yield f"{term} >= {literal(_at_least(least - SLACK * width, width, feature), feature.unit)}"


def _at_most(value: float, width: float, feature: Feature) -> Fraction:
    return min(step_above(value, width), feature.hi)


def _at_least(value: float, width: float, feature: Feature) -> Fraction:
    return max(step_below(value, width), feature.lo)
