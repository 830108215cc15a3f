"""Linear relations between two numbers: one below a line in the other, within a band around it, one below the other;
and pairs that lie on a circle, as sine and cosine do.

Lines are edges of the hull of the data, rounded so that every row stays on its side. Unrelated numbers have corners
that no row reaches, too: so a line must cut off well more of the domain than it does when one of the columns is
shuffled, and more so than lucky shuffled columns do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations
from math import log, sqrt

import numpy as np

from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.numerals import decimal
from rewarden.spec_lang.units import unit
from rewarden.suggest.friendly import above, below, literal, nearest, step_above, step_below
from rewarden.suggest.hull import upper_slopes
from rewarden.suggest.relation import Relation
from rewarden.suggest.scene import Rows

PAIRS = 60  # of numbers that are looked at, the most correlated first
NEWS = 0.05  # of the box around the data that a line must cut off beyond what it does on shuffled data
TICKS = 48  # of that box, on either side
SLACK = 0.01  # of a range, added to what was seen
SHUFFLES = 3
LAW = 1.3  # worth of `one is at most the other` over a fitted line
_KINDS = 4  # of correlation: of values, of sizes, and of either one with the size of the other
_CIRCLE = 0.05  # how far from 1 squares may add up to


@dataclass(frozen=True, slots=True, eq=False)
class _Number:
    """A numeric feature, or the absolute value of one, over the rows; `width` is that of the declared range."""

    text: str
    unit: str | None
    width: float
    rows: Rows

    def ticks(self) -> Rows:
        """Values evenly spaced over those of the rows."""
        return np.linspace(float(self.rows.min()), float(self.rows.max()), TICKS)


@dataclass(frozen=True, slots=True)
class _Line:
    """y <= slope·x + offset (or >=, for `sign` −1), and the share that it cuts off of the box around the data: what it
    does to the rest of the declared ranges, any narrower range would do."""

    slope: Fraction
    offset: Fraction
    sign: int
    cut: float


def bands(record: RecordType, rows: Rows) -> Iterator[Relation]:
    """The most telling relation of each pair, where there is one."""
    numbers = [_number(record, feature, rows) for feature in record.features if _fits(record, feature, rows)]
    pairs = _most_correlated(numbers)
    halves = {pair: [*_halves(*pair), *_halves(*reversed(pair))] for pair in pairs}
    # With many pairs, some line cuts off much by chance alone: what lucky shuffled columns do is no news.
    lucks = [half.luck for found in halves.values() for half in found]
    luck = float(np.quantile(lucks, 0.95)) if lucks else 0.0
    for pair in pairs:
        x, y = pair
        circle = _circle(x, y)
        if circle is not None:
            yield circle
            continue
        found = [found for found in (_order(x, y), _order(y, x), _band(x, y)) if found is not None]
        found += [(half.cut, half.relation) for half in halves[pair] if half.gain >= luck + NEWS]
        if found:
            yield max(found, key=lambda entry: entry[0])[1]


def _fits(record: RecordType, feature: Feature, rows: Rows) -> bool:
    """A number that varies and whose unit has no offset: readings in °C cannot be added."""
    if feature.kind not in ("real", "int") or feature.is_vector:
        return False
    column = rows[:, record.offset(feature.name)]
    return bool(column.min() < column.max()) and not (feature.unit is not None and unit(feature.unit).affine)


def _number(record: RecordType, feature: Feature, rows: Rows) -> _Number:
    width = float(feature.hi - feature.lo)
    return _Number(f"{{s}}.{feature.name}", feature.unit, width, rows[:, record.offset(feature.name)])


def _most_correlated(numbers: list[_Number]) -> list[tuple[_Number, _Number]]:
    """The pairs with the strongest correlation of values or of sizes; not those that the strongest of as many unrelated
    pairs would be expected to reach."""
    if len(numbers) < 2:
        return []
    columns = np.stack([n.rows for n in numbers])
    sizes = np.abs(columns - np.median(columns, axis=1, keepdims=True))
    with np.errstate(all="ignore"):
        table = np.abs(np.nan_to_num(np.corrcoef(np.concatenate([columns, sizes]))))
    count = len(numbers)
    quarters = (table[:count, :count], table[:count, count:], table[count:, :count], table[count:, count:])
    strength = np.maximum.reduce(quarters)
    pairs = sorted(combinations(range(count), 2), key=lambda p: (-strength[p], p))
    chance = sqrt(
        2.0 * log(2.0 * _KINDS * len(pairs)) / len(numbers[0].rows)
    )  # of the largest of Gaussian correlations
    return [(numbers[i], numbers[j]) for i, j in pairs[:PAIRS] if strength[i, j] > chance]


# ── lines ──────────────────────────────────────────────────────────────────────────────────────
def _order(x: _Number, y: _Number) -> tuple[float, Relation] | None:
    """y is never more than x."""
    if x.unit != y.unit or not bool((y.rows <= x.rows).all()):
        return None
    cut = float(np.mean(y.ticks()[:, None] > x.ticks()))
    shuffled = float(np.mean(_shuffled(y.rows, 0) > x.rows))  # how often it would fail if the two were unrelated
    if cut < NEWS or shuffled < NEWS:
        return None
    return cut * LAW, Relation(f"{y.text} <= {x.text}", len(x.rows), worth=LAW)


@dataclass(frozen=True, slots=True, eq=False)
class _Half:
    """A line with the data on one side: what it cuts off, how much more that is than on shuffled data, and how much one
    shuffle exceeds the others in the same way."""

    cut: float
    gain: float
    luck: float
    relation: Relation


def _halves(x: _Number, y: _Number) -> Iterator[_Half]:
    """y is at most a line in x, or at least, or its size is at most one."""
    tries = [(y, 1), (y, -1)]
    if y.rows.min() < 0 < y.rows.max():
        tries.append((replace(y, text=f"|{y.text}|", width=y.width / 2, rows=np.abs(y.rows)), 1))
    for target, sign in tries:
        best = _best_line(x, target, sign)
        if best is None:
            continue
        shuffled = [_best_line(x, replace(target, rows=_shuffled(target.rows, k)), sign) for k in range(SHUFFLES)]
        chance = sorted(0.0 if line is None else line.cut for line in shuffled)
        text = f"{target.text} {'<=' if sign > 0 else '>='} {_line_text(best, x, target)}"
        yield _Half(best.cut, best.cut - chance[-1], chance[-1] - chance[-2], Relation(text, len(x.rows)))


def _best_line(x: _Number, y: _Number, sign: int) -> _Line | None:
    """The hull edge that cuts off most."""
    lines = (_line(x, y, sign * slope, sign) for slope in upper_slopes(x.rows, sign * y.rows))
    return max((line for line in lines if line is not None), key=lambda line: line.cut, default=None)


def _line(x: _Number, y: _Number, slope: float, sign: int) -> _Line | None:
    """Through the data's edge with that slope, a little outside of it, in round numbers."""
    if not abs(slope) * x.width > 1e-3 * y.width:
        return None  # level: that is a range, not a relation
    a = nearest(slope)
    beyond = y.rows - float(a) * x.rows
    edge = float(beyond.max()) + SLACK * y.width if sign > 0 else float(beyond.min()) - SLACK * y.width
    offset = step_above(edge, y.width) if sign > 0 else step_below(edge, y.width)
    cut = float(np.mean(sign * (y.ticks()[:, None] - float(a) * x.ticks() - float(offset)) > 0))
    return _Line(a, offset, sign, cut)


def _line_text(line: _Line, x: _Number, y: _Number) -> str:
    """`0.5 [1/s] * s.gap + 3 [m]`, in the fewest words."""
    slope = abs(line.slope)
    factor = "" if slope == 1 and x.unit == y.unit else f"{literal(slope, _quotient(y.unit, x.unit))} * "
    term = f"{factor}{x.text}"
    offset = literal(abs(line.offset), y.unit)
    if line.slope < 0:
        return f"{literal(line.offset, y.unit)} - {term}" if line.offset else f"-({term})"
    if line.offset == 0:
        return term
    return f"{term} {'+' if line.offset > 0 else '-'} {offset}"


def _quotient(above_line: str | None, below_line: str | None) -> str | None:
    """The unit of a slope."""
    if above_line == below_line:
        return None
    if below_line is None:
        return above_line
    below = below_line if below_line.isidentifier() else f"({below_line})"
    return f"{above_line or '1'}/{below}"


def _band(x: _Number, y: _Number) -> tuple[float, Relation] | None:
    """y lies within a band around a line in x, by least squares."""
    lines = _band_lines(x, y)
    if lines is None:
        return None
    upper, lower = lines
    cut = upper.cut + lower.cut
    if cut < max(_band_cut(x, replace(y, rows=_shuffled(y.rows, k))) for k in range(SHUFFLES)) + NEWS:
        return None
    term = _line_text(_Line(abs(upper.slope), Fraction(0), 1, 0.0), x, y)
    difference = f"{y.text} {'-' if upper.slope > 0 else '+'} {term}"
    body = f"{literal(lower.offset, y.unit)} <= {difference} <= {literal(upper.offset, y.unit)}"
    return cut, Relation(body, len(x.rows))


def _band_lines(x: _Number, y: _Number) -> tuple[_Line, _Line] | None:
    centred = x.rows - x.rows.mean()
    slope = float((centred * (y.rows - y.rows.mean())).sum() / (centred**2).sum())
    upper, lower = _line(x, y, slope, 1), _line(x, y, slope, -1)
    return None if upper is None or lower is None else (upper, lower)


def _band_cut(x: _Number, y: _Number) -> float:
    lines = _band_lines(x, y)
    return 0.0 if lines is None else lines[0].cut + lines[1].cut


def _shuffled(values: Rows, number: int) -> Rows:
    """The same values in another order, the same for every such number."""
    return np.random.default_rng(number).permutation(values)


# ── circles ────────────────────────────────────────────────────────────────────────────────────
def _circle(x: _Number, y: _Number) -> Relation | None:
    """Sine and cosine: |x| + |y| lies between 1 and the root of 2 on the circle, which is a relation in linear pieces.
    The squares themselves would be beyond what the engines can use."""
    if x.unit is not None or y.unit is not None:
        return None
    squares = x.rows**2 + y.rows**2
    turns = min(float(np.ptp(x.rows)), float(np.ptp(y.rows)))
    if float(np.abs(squares - 1.0).max()) > _CIRCLE or turns < 0.5:
        return None
    sums = np.abs(x.rows) + np.abs(y.rows)
    low, high = below(min(float(sums.min()), 1.0) - 1e-6, 3), above(max(float(sums.max()), sqrt(2.0)) + 1e-6, 3)
    slack = above(float(np.abs(squares - 1.0).max()) + 1e-6, 1)
    remark = f"their squares add up to 1 within {decimal(slack)}, as of sine and cosine: said in linear pieces"
    body = f"{decimal(low)} <= |{x.text}| + |{y.text}| <= {decimal(high)}"
    return Relation(body, len(x.rows), worth=2.0, remarks=(remark,))
