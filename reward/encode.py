"""Rows in problem units → encoded float32 columns, with the declared domain enforced.

A reward means what was learned only where it was declared to mean something, so a row outside is refused unless the
caller asks for it to be flagged or clipped. Only a *range* can be overridden so: text that is no case, half an int or a
missing column is a mistake under any policy.

A value that is in range but whose nearest float32 is not (0.1 is below float32(0.1)) goes to the next float32 inside:
what is executed stays in the domain that proofs are about. Ranges are compared in the precision a column is stored in,
as `spec_lang.tables` does, and errors carry its D codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import RewardRecord
from rewarden.reward.columns import features_of, full_name, read_blocks, refuse
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.features import Feature

Policy = Literal["refuse", "flag", "clip"]


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """`values` float32 [n, width]; `out_of_domain` bool [n], all False unless the policy is `flag`."""

    values: NDArray[np.float32]
    out_of_domain: NDArray[np.bool_]


def encode(records: tuple[RewardRecord, ...], rows: object, policy: Policy = "refuse") -> Encoded:
    """Encodes rows for a reward over `records`.

    `rows` is a mapping of columns (arrays, or scalars for all rows alike), a pyarrow table, a data frame, a
    `spec_lang` Table, or an array [n, width] that is encoded already. A vector feature is an array [n, size] or the
    columns `e[0]`, `e[1]`, …; a bool is a bool or 0/1; an enum is text. With several records, columns are named
    `record.feature`, or `rows` maps each record's name to rows of its own. Raises DataError: D03 to D07, D09, D13, D17.
    """
    if policy not in ("refuse", "flag", "clip"):
        raise ValueError(f"out_of_domain is 'refuse', 'flag' or 'clip', not {policy!r}")
    blocks = read_blocks(records, rows)
    lengths = [len(block.values) for block in blocks if not block.for_all]
    length = max(lengths, default=1) if all(lengths) else 0
    for block, (record, feature) in zip(blocks, features_of(records), strict=True):
        if len(block.values) != length and not block.for_all:
            where = full_name(records, record, feature)
            raise DataError(
                "D13",
                f"{where} has {len(block.values)} rows, another column {max(lengths)}",
                help="one value per row; a value for all rows alike is given as a number, not as an array of one",
            )
    values = np.empty((length, sum(f.width for _, f in features_of(records))), dtype=np.float32)
    flagged = np.zeros(length, dtype=np.bool_)
    start = 0
    for block, (record, feature) in zip(blocks, features_of(records), strict=True):
        name = full_name(records, record, feature)
        columns, outside = _in_domain(feature, block.values, block.stored, policy, name)
        values[:, start : start + feature.width] = columns
        flagged |= outside
        start += feature.width
    return Encoded(values, flagged)


def _in_domain(
    feature: Feature, block: NDArray[np.float64], stored: type[np.floating[Any]], policy: Policy, name: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The block as float32 inside the range, and which rows were outside (none but for `flag`)."""
    missing = np.isnan(block).any(axis=1)
    if policy != "flag":
        refuse("D05", name, np.flatnonzero(missing), "not a number", "fill it in or drop the row")
    if feature.kind == "bool":
        bad = ((block != 0) & (block != 1)).any(axis=1) & ~missing
        refuse("D04", name, np.flatnonzero(bad), "neither 0 nor 1", "a bool is true or false, or 0 or 1")
    if feature.kind == "int":
        bad = (np.isfinite(block) & (block != np.floor(block))).any(axis=1)
        refuse("D04", name, np.flatnonzero(bad), "not a whole number", "round it, or declare the feature real")
    with np.errstate(over="ignore"):
        lo, hi = (float(stored(float(end))) for end in (feature.lo, feature.hi))
    outside = ~((block >= lo) & (block <= hi))
    rows = np.flatnonzero(outside.any(axis=1))
    if policy == "refuse" and len(rows):
        value = block[rows[0]][outside[rows[0]]][0]
        unit = f" {feature.unit}" if feature.unit else ""
        refuse(
            "D06",
            name,
            rows,
            f"{float(value)!r}{unit} is out of the declared {_short(feature.lo)} .. {_short(feature.hi)}{unit}",
            "the reward means nothing there: correct the row or its unit, or pass out_of_domain='flag' or 'clip'",
        )
    with np.errstate(over="ignore", invalid="ignore"):
        cast = block.astype(np.float32)
    least, most = float32_range(feature.lo, feature.hi)
    inside = np.clip(cast, least, most) if least <= most else cast
    if policy != "flag":
        return inside, np.zeros(len(block), dtype=np.bool_)
    return np.where(outside, cast, inside), np.asarray(outside.any(axis=1))


def float32_range(lo: Fraction, hi: Fraction) -> tuple[np.float32, np.float32]:
    """The least and the greatest float32 in lo .. hi; the former is larger where there is none."""
    least, most = (np.float32(float(end)) for end in (lo, hi))  # schemas do not go beyond binary32
    if Fraction(float(least)) < lo:
        least = np.nextafter(least, np.float32(np.inf))
    if Fraction(float(most)) > hi:
        most = np.nextafter(most, np.float32(-np.inf))
    return least, most


def _short(number: Fraction) -> str:
    return str(number) if number.denominator == 1 else repr(float(number))
