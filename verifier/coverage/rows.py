"""How much of a rule about rows of data: of how many rows the conclusion holds, and of which it does not.

A row is *proved* where it keeps the conclusion, *violated* where it breaks it, *outside* where the premise does not
hold of it. Shares are counts of rows, and in real semantics none is unsettled. Under float32 semantics a row is told by
what all its executions do.

Where few rows fail each of them is told, and else the one box that holds them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import inf, nextafter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.claim import Claim, ClaimRecord, ClaimVariable
from rewarden.spec_lang.features import RecordType
from rewarden.spec_lang.obligation import Obligation
from rewarden.verifier.coverage.parts import (
    ELEMENTS,
    STATUSES,
    VARYING,
    Coverage,
    Slice,
    bin_words,
    bins_of,
)
from rewarden.verifier.pointwise import Bound, ExecutedBound, Rows, whole_premise
from rewarden.verifier.region_words import FEATURES, TOLD, Described, Part, side_json, side_words
from rewarden.verifier.regions import Dimension, Frame, Side
from rewarden.verifier.rows import rows_of

PROVED, VIOLATED, OUTSIDE, OPEN = range(len(STATUSES))
LISTED = 12  # numbers of rows that are told of one box
Marks = NDArray[np.int8]
Counts = NDArray[np.int64]


def cover_rows(obligation: Obligation, bound: Bound) -> Coverage:
    """What is known of every row, of which there is at least one."""
    rows = rows_of(obligation)
    status, holding = _statuses(obligation, bound, rows)
    found = _Rows(_frame(obligation, bound.types), rows, status, _data(obligation))
    counts = np.bincount(found.status, minlength=len(STATUSES))
    shares = {status: Fraction(int(count), len(rows)) for status, count in zip(STATUSES, counts, strict=True)}
    return Coverage(
        shares,
        Fraction(int(holding.sum()), len(rows)),
        len(rows),
        {},
        found.slices(),
        found.described(VIOLATED),
        found.described(OPEN),
        of="rows of data",
    )


def _statuses(obligation: Obligation, bound: Bound, rows: Rows) -> tuple[Marks, NDArray[np.bool_]]:
    """Of each row, and whether the premise is known to hold of it."""
    found = np.full(len(rows), OPEN, dtype=np.int8)
    if isinstance(bound, ExecutedBound):
        premise = bound.settled(whole_premise(obligation), rows)
        found[premise < 0] = OUTSIDE
        possible = np.flatnonzero(premise >= 0)
        kept = bound.settled(obligation.conclusion, rows[possible])
        found[possible[kept > 0]] = PROVED
        found[possible[(kept < 0) & (premise[possible] > 0)]] = VIOLATED
        return found, premise > 0
    holding = bound.holds(whole_premise(obligation), rows)
    found[~holding] = OUTSIDE
    counted = np.flatnonzero(holding)
    found[counted] = np.where(bound.holds(obligation.conclusion, rows[counted]), PROVED, VIOLATED)
    return found, holding


def _frame(obligation: Obligation, types: Mapping[str, RecordType]) -> Frame:
    """The features of a row, as regions have them."""
    claim = Claim(
        obligation.rule.name,
        obligation.rule.severity,
        tuple(ClaimVariable(v.name, v.unit, v.discrete) for v in obligation.variables),
        tuple(ClaimRecord(view.name, view.type_name, view.variables) for view in obligation.records),
        (), (), (), (), (),
    )  # fmt: skip
    return Frame.of(claim, types)


def _data(obligation: Obligation) -> str:
    assert obligation.instances is not None
    return obligation.instances.data


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Rows of the data, and the status of each."""

    frame: Frame
    rows: Rows
    status: Marks
    data: str
    hulls: dict[int, Side | int] = field(default_factory=dict)

    def side(self, dimension: Dimension, some: NDArray[np.int64]) -> Side | int:
        """What these rows hold of a feature."""
        columns = self.rows[np.ix_(some, np.array(dimension.variables))]
        if dimension.kind == "enum":
            return sum(1 << k for k in np.flatnonzero(columns.any(axis=0)).tolist())
        least, most = Fraction(float(columns.min())), Fraction(float(columns.max()))
        if dimension.kind == "bool":
            return sum(1 << k for k in (0, 1) if k in (least, most))
        return (least, most + 1) if dimension.kind == "int" else (least, most)

    # ── slices ─────────────────────────────────────────────────────────────────────────────────
    def slices(self) -> dict[str, tuple[Slice, ...]]:
        """Shares of the rows in each part of what the data hold of a feature; of long vectors the elements along which
        violations vary most, and else what is open."""
        found: dict[int, tuple[Sequence[Side | int], Counts]] = {}
        everything = np.arange(len(self.rows))
        for d, dimension in enumerate(self.frame.dimensions):
            bins = bins_of(dimension, self.side(dimension, everything))
            if len(bins) >= 2:
                found[d] = bins, self._counts(dimension, bins)
        elements = [d for d in found if self.frame.dimensions[d].vector]
        if len(elements) > ELEMENTS:
            kept = sorted(elements, key=lambda d: (*(-spread for spread in _spreads(found[d][1])), d))[:ELEMENTS]
            found = {d: one for d, one in found.items() if d in kept or not self.frame.dimensions[d].vector}
        return {self.frame.label(self.frame.dimensions[d]): self._told(d, *one) for d, one in found.items()}

    def _counts(self, dimension: Dimension, bins: Sequence[Side | int]) -> Counts:
        """[bin, status]: how many rows."""
        if dimension.is_number:
            edges = np.array([_at_least(side[0]) for side in bins[1:] if not isinstance(side, int)])
            where = np.searchsorted(edges, self.rows[:, dimension.variables[0]], side="right")
        else:
            columns = self.rows[:, dimension.variables]
            case = columns.argmax(axis=1) if dimension.kind == "enum" else columns[:, 0].astype(np.int64)
            place = {side: k for k, side in enumerate(bins)}
            where = np.array([place[1 << k] for k in case.tolist()])
        width = len(STATUSES)
        return np.bincount(where * width + self.status, minlength=len(bins) * width).reshape(len(bins), width)

    def _told(self, d: int, bins: Sequence[Side | int], counts: Counts) -> tuple[Slice, ...]:
        dimension = self.frame.dimensions[d]
        return tuple(
            Slice(
                bin_words(dimension, one),
                side_json(dimension, one),
                {status: Fraction(n, sum(row)) for status, n in zip(STATUSES, row, strict=True)},
            )
            for one, row in zip(bins, counts.tolist(), strict=True)
            if sum(row)
        )

    # ── in words ───────────────────────────────────────────────────────────────────────────────
    def described(self, status: int) -> Described:
        """The rows of that status one by one, or where they are many the box that they lie in."""
        some = np.flatnonzero(self.status == status)
        groups = [some] if len(some) > TOLD else [some[k : k + 1] for k in range(len(some))]
        return Described(tuple(self._part(group) for group in groups), len(groups), f"the rows of {self.data}")

    def _part(self, some: NDArray[np.int64]) -> Part:
        words: list[str] = []
        told: dict[str, Any] = {}
        everything = np.arange(len(self.rows))
        for d, dimension in enumerate(self.frame.dimensions):
            side = self.side(dimension, some)
            if len(some) > 1:
                if d not in self.hulls:
                    self.hulls[d] = self.side(dimension, everything)
                if side == self.hulls[d]:
                    continue
            label = self.frame.label(dimension)
            words.append(f"{label} {side_words(dimension, side)}")
            told[label] = side_json(dimension, side)
        if len(words) > FEATURES:
            words = [*words[:FEATURES], f"and {len(words) - FEATURES} more features"]
        where = ", ".join(words) or "anything that the data hold"
        share = Fraction(len(some), len(self.rows))
        return Part(f"{_numbers(some)}: {where}", told, share, int(some[0]))


def _numbers(some: NDArray[np.int64]) -> str:
    """`row 3`, or `rows 3, 7, 12 and 9 more`; the first is 1."""
    told = [str(k + 1) for k in some[:LISTED].tolist()]
    if len(some) > LISTED:
        return f"rows {', '.join(told)} and {len(some) - LISTED} more"
    return f"rows {', '.join(told)}" if len(some) > 1 else f"row {told[0]}"


def _at_least(edge: Fraction) -> float:
    """The smallest binary64 number that is no less: rows are told apart by it exactly."""
    near = float(edge)
    return near if near >= edge else nextafter(near, inf)


def _spreads(counts: Counts) -> tuple[float, float]:
    """By how much the shares of violated and of open rows vary from bin to bin."""
    totals = counts.sum(axis=1)
    shares = counts[totals > 0] / totals[totals > 0][:, None]
    violated, unsettled = (float(np.ptp(shares[:, STATUSES.index(status)])) for status in VARYING)
    return round(violated, 12), round(unsettled, 12)
