"""A claim: an obligation in the normal form that is proved, certified and checked.

For every instance box and every point of it (integers where `discrete`), if each of `clauses` has a true
atom, then each of `goals` has a true atom. Atoms are affine over variables and calls; a call's arguments are
affine over variables. All numbers are exact rationals. docs/formats.md gives the canonical JSON.

A claim about rows of data (`rows` is not None) has no boxes: it says this at the rows, or at some share of them.

A claim about loops (`loops` is not None) has two records of one kind, a step from the first to the second, and a last
variable `rise`: round every loop whose steps satisfy the clauses there are rises that add up to 0 and with which the
goals hold at every step; for each of its sums, which `loops` goals belong to, by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Affine:
    """constant + Σ coefficient·variable + Σ coefficient·call, both sorted by index, no zero coefficients."""

    constant: Fraction
    variables: tuple[tuple[int, Fraction], ...] = ()
    calls: tuple[tuple[int, Fraction], ...] = ()


@dataclass(frozen=True, slots=True)
class AffineAtom:
    """`affine > 0` when strict, else `affine >= 0`."""

    affine: Affine
    strict: bool


Clause = tuple[AffineAtom, ...]  # a disjunction


@dataclass(frozen=True, slots=True)
class ClaimVariable:
    name: str  # "a.speed", "s.lane=left"
    unit: str | None
    discrete: bool


@dataclass(frozen=True, slots=True)
class ClaimCall:
    reward: str
    arguments: tuple[Affine, ...]  # one per encoded column; variables only


@dataclass(frozen=True, slots=True)
class ClaimRecord:
    name: str
    type_name: str
    variables: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ClaimConstant:
    """A data constant that went into the atoms; listed so that a reader sees where a number came from."""

    text: str  # "quantile(R(demos), 1/20)"
    data: str  # digest of the canonical table
    value: Fraction


@dataclass(frozen=True, slots=True)
class ClaimRows:
    """The rows of data that a claim is about, in place of boxes: those of the tables side by side."""

    count: int
    tables: tuple[str, ...]  # digests of the canonical tables
    columns: tuple[int, ...]  # of each variable
    share: tuple[Literal["<", "<=", ">", ">="], Fraction] | None  # what part of the rows, where it is not all


@dataclass(frozen=True, slots=True)
class ClaimNear:
    """What a claim says by the rows of a table, rather than by a box or a clause for each: its boxes are those around
    the rows (`inside`), or its premise says besides that a point is in none of them."""

    inside: bool
    table: str  # digest of the canonical table
    count: int
    columns: tuple[int, ...]  # of each variable
    radii: tuple[Fraction | None, ...]  # of each variable; None: it has the row's value
    rows: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)  # [row, variable], where at hand


Box = tuple[tuple[Fraction, Fraction], ...]  # (lo, hi) per variable


@dataclass(frozen=True, slots=True)
class Claim:
    rule: str
    severity: Literal["must", "should"]
    variables: tuple[ClaimVariable, ...]
    records: tuple[ClaimRecord, ...]
    rewards: tuple[tuple[str, str], ...]  # name → artifact digest, sorted by name
    calls: tuple[ClaimCall, ...]
    clauses: tuple[Clause, ...]
    goals: tuple[Clause, ...]
    boxes: Sequence[Box]  # one for a plain rule, one per data row for a rule near data
    constants: tuple[ClaimConstant, ...] = ()
    instances: str | None = None  # "logs": the data the boxes were made from
    loops: tuple[int, ...] | None = None  # of a claim about loops: how many goals belong to each sum, in order
    rows: ClaimRows | None = None  # of a claim about rows of data, which has no boxes
    near: ClaimNear | None = None  # where rows are named by their table: what boxes or clauses there are besides
    cases: tuple[Claim, ...] = ()  # of a claim that says several, one for each length of traces: nothing else counts

    @staticmethod
    def of_cases(cases: Sequence[Claim]) -> Claim:
        """All of these, which are of one rule, as one claim."""
        rewards = tuple(sorted({pair for case in cases for pair in case.rewards}))
        constants = tuple(dict.fromkeys(constant for case in cases for constant in case.constants))
        first = cases[0]
        return Claim(first.rule, first.severity, (), (), rewards, (), (), (), (), constants, cases=tuple(cases))
