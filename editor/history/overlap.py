"""Where two patches meet, decided exactly by linear arithmetic (Z3), with a situation to show for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import z3
from numpy.typing import NDArray

from rewarden.editor.history.stored import Stored
from rewarden.reward.artifact import RewardRecord
from rewarden.spec_lang.errors import EditError

Point = tuple[Fraction, ...]
MOST_MEETINGS = 1000  # pairs of boxes, each decided by itself


@dataclass(frozen=True, slots=True)
class Columns:
    """The encoded columns of some records as Z3 terms, and what they must satisfy to be records at all."""

    terms: tuple[z3.ArithRef, ...]
    domain: tuple[z3.BoolRef, ...]

    @classmethod
    def of(cls, records: Sequence[RewardRecord]) -> Columns:
        terms: list[z3.ArithRef] = []
        domain: list[z3.BoolRef] = []
        for record in records:
            for feature in record.type.features:
                start = len(terms)
                for _ in range(feature.width):
                    name = f"x{len(terms)}"
                    terms.append(z3.Real(name) if feature.kind == "real" else z3.Int(name))
                own = terms[start:]
                lo, hi = (Fraction(0), Fraction(1)) if feature.kind in ("bool", "enum") else (feature.lo, feature.hi)
                domain += [c for x in own for c in (x >= _number(lo), x <= _number(hi))]
                if feature.kind == "enum":
                    domain.append(z3.Sum(own) == 1)
        return cls(tuple(terms), tuple(domain))


def clash(one: Stored, other: Stored, columns: Columns) -> Point | None:
    """A point at which both are flat and demand opposite things: no reward can give both."""
    if one.kind == other.kind or one.sign * one.level >= one.sign * other.level:
        return None
    if one.boxes > 1 or other.boxes > 1:
        return _of_parts(one, other, columns, clash, flat=True)
    # ĝ <= −δ implies g <= 0: the point is in both regions, however rows were rounded. A row of discrete columns is
    # about 0 or less, or about 2 or more: ĝ <= δ says the same of it.
    inside = [
        row <= _number(p.delta if _discrete(coefficients, columns) else -p.delta)
        for p in (one, other)
        for row, (coefficients, _) in zip(_rows(p, columns), p.exact_rows(), strict=True)
    ]
    return _point(inside, columns)


def _discrete(coefficients: Sequence[Fraction], columns: Columns) -> bool:
    return all(z3.is_int(x) for a, x in zip(coefficients, columns.terms, strict=True) if a)


def touching(one: Stored, other: Stored, columns: Columns) -> Point | None:
    """A point of both closed regions, up to the rounding of rows (ĝ <= δ of both)."""
    if one.boxes > 1 or other.boxes > 1:
        return _of_parts(one, other, columns, touching, flat=True)
    return _point([row <= _number(p.delta) for p in (one, other) for row in _rows(p, columns)], columns)


def broken(first: Stored, later: Stored, columns: Columns) -> Point | None:
    """A point of `first`'s region (ĝ <= δ holds it) at which `later`, put on top, may push the reward beyond its level.

    `later`, of the other kind, holds the reward at least (for a ceiling `first`) at level − slope·max(0, ĝ − δ) where
    ĝ < 1. That exceeds the level of `first` iff level_later does and, for every row, level − slope·(row − δ) does. A
    millionth of the numbers involved is added for what they round as deployed.
    """
    if first.kind == later.kind:
        return None
    sign = first.sign
    if sign * later.level <= sign * first.level:
        return None
    if first.boxes > 1 or later.boxes > 1:
        return _of_parts(first, later, columns, broken)
    rounding = (abs(later.level) + abs(first.level) + later.slope) / 2**20
    height = _number(sign * (later.level - first.level) + rounding)
    terms = [row <= _number(first.delta) for row in _rows(first, columns)]
    for row in _rows(later, columns):
        terms += [row < 1, height > _number(later.slope) * (row - _number(later.delta))]
    return _point(terms, columns)


def near_each_other(one: Sequence[Stored], other: Sequence[Stored]) -> Iterator[tuple[int, int]]:
    """Pairs of the two lists of which one may act somewhere in the other's region, as far as rows of one column tell.
    Of all other pairs there is nothing to decide."""
    around = [[(lo.min(axis=0), hi.max(axis=0)) for lo, hi in (_around(p, 1.0) for p in side)] for side in (one, other)]
    if not one or not other:
        return
    low, high = (np.array([ends[k] for ends in around[1]]) for k in (0, 1))
    for j, (lo, hi) in enumerate(around[0]):
        for k in np.flatnonzero(((low <= hi) & (high >= lo)).all(axis=1)).tolist():
            yield j, k


def _of_parts(
    one: Stored,
    other: Stored,
    columns: Columns,
    meets: Callable[[Stored, Stored, Columns], Point | None],
    flat: bool = False,
) -> Point | None:
    """The same of patches near data: of each two of their boxes that come near each other, or (`flat`) meet without
    their rims. EditError E33 where these are too many to be looked at."""
    mine, theirs = (_around(p, float(p.delta) if flat else 1.0) for p in (one, other))
    asked = 0
    for j, (lo, hi) in enumerate(zip(*mine, strict=True)):
        near = np.arange(len(theirs[0]))
        for low, high, least, most in zip(theirs[0].T, theirs[1].T, lo, hi, strict=True):
            near = near[(low[near] <= most) & (high[near] >= least)]
            if not len(near):
                break
        asked += len(near)
        if asked > MOST_MEETINGS:
            raise EditError(
                "E33",
                f"more than {MOST_MEETINGS} boxes of the patches for {one.rule} and {other.rule} come near each other",
                help="patch the second rule on the artifact that has the first, which verifies both",
            )
        for k in near.tolist():
            point = meets(one.part(j), other.part(k), columns)
            if point is not None:
                return point
    return None


def _around(patch: Stored, level: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """lo, hi [boxes, width] around where each box's ĝ is at most `level`."""
    offsets, rows = np.atleast_2d(patch.offsets).astype(np.float64), patch.rows.astype(np.float64)
    lo, hi = np.full((len(offsets), rows.shape[1]), -np.inf), np.full((len(offsets), rows.shape[1]), np.inf)
    for i, row in enumerate(rows):
        used = np.flatnonzero(row)
        if len(used) == 1:
            j = int(used[0])
            edge = (level + offsets[:, i] + (1.0 + np.abs(offsets[:, i])) * 2.0**-40) / row[j]
            if row[j] > 0:
                hi[:, j] = np.minimum(hi[:, j], edge)
            else:
                lo[:, j] = np.maximum(lo[:, j], edge)
    return lo, hi


def _rows(patch: Stored, columns: Columns) -> list[z3.ArithRef]:
    found = []
    for row, offset in patch.exact_rows():
        parts = [_number(a) * x for a, x in zip(row, columns.terms, strict=True) if a]
        found.append(z3.Sum([*parts, -_number(offset)]))
    return found


def _number(value: Fraction) -> z3.RatNumRef:
    return z3.RealVal(f"{value.numerator}/{value.denominator}")


def _point(terms: Sequence[z3.BoolRef], columns: Columns) -> Point | None:
    solver = z3.SolverFor("QF_LIRA")
    solver.add(*columns.domain, *terms)
    if solver.check() != z3.sat:
        assert solver.check() == z3.unsat, "linear arithmetic over few bounded variables is decided"
        return None
    model = solver.model()
    values = []
    for term in columns.terms:
        value = model.eval(term, model_completion=True)
        text = str(value.as_fraction() if isinstance(value, z3.RatNumRef) else value.as_long())
        values.append(Fraction(text))
    return tuple(values)
