"""The one structure a rule is lowered to, and that every reading interprets.

An obligation says: for every assignment of its `variables` inside their ranges (and, for rules near data, inside the
box of some instance; for rules about data, at some row) that satisfies `structure`, `assume` and `premise`, the
`conclusion` holds. Terms are exact: coefficients are rationals, features are in problem units and terms in coherent SI
units (a lowering inserts the exact conversion factors). Formulas are in negation normal form: negation has been pushed
into the atoms, which exist in a strict and a non-strict kind, so no tolerance and no margin decides truth.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.source import Span


# ── terms ──────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Const:
    value: Fraction

    def __hash__(self) -> int:
        """A fraction's own hash takes a power modulo a prime, so that it is that of an equal float: most of the time
        that terms take as keys."""
        return hash((self.value.numerator, self.value.denominator))


@dataclass(frozen=True, slots=True)
class Var:
    """The variable of that index in `Obligation.variables`, in its declared (problem) unit."""

    index: int


@dataclass(frozen=True, slots=True)
class Sum:
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Product:
    left: Term
    right: Term


@dataclass(frozen=True, slots=True)
class Quotient:
    """`left / right`; type checking has shown that the interval of `right` excludes 0."""

    left: Term
    right: Term


@dataclass(frozen=True, slots=True)
class Min:
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Max:
    """`|t|` is lowered to Max((t, -t))."""

    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Ite:
    condition: Formula
    then: Term
    otherwise: Term


@dataclass(frozen=True, slots=True)
class Sqrt:
    """Square root of a non-negative term (only l2 norms make it)."""

    term: Term


@dataclass(frozen=True, slots=True)
class Call:
    """A reward applied to records; `arguments` is the concatenation of their encoded columns (problem units)."""

    reward: str
    arguments: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Statistic:
    """A data constant, e.g. quantile(R(logs), 0.05): known once rewards are bound (language.md)."""

    kind: Literal["quantile", "mean", "min", "max"]
    reward: str
    data: str
    level: Fraction | None = None  # quantile only: the ceil(level * n)-th smallest, at least the first


Term = Const | Var | Sum | Product | Quotient | Min | Max | Ite | Sqrt | Call | Statistic


# ── formulas ───────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Atom:
    """`term > 0` when strict, else `term >= 0`."""

    term: Term
    strict: bool
    origin: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class And:
    """Conjunction; the empty one is true."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Disjunction; the empty one is false."""

    parts: tuple[Formula, ...]


Formula = Atom | And | Or

TRUE: Formula = And(())
FALSE: Formula = Or(())


# ── obligations ────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Variable:
    """One quantified number. Discrete ones (int, bool, an enum's one-hot case) take integers only."""

    record: str
    column: str
    discrete: bool
    lo: Fraction
    hi: Fraction
    unit: str | None = None

    @property
    def name(self) -> str:
        return f"{self.record}.{self.column}" if self.record else self.column


@dataclass(frozen=True, slots=True)
class RecordView:
    """A record of the rule: `variables[k]` holds encoded column k of its type.

    Records `varying f` share the variables of their other features.
    """

    name: str
    type_name: str
    variables: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RuleInfo:
    name: str
    severity: Literal["must", "should"]
    title: str
    span: Span
    weight: Fraction = Fraction(1)
    requirement: str | None = None  # id "…"
    because: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Instances:
    """The boxes of a rule `near` data: one per row, each inside the variables' own ranges.

    `anchors` is float64 [row, record column] (exact binary64 values as read from the data). A variable
    listed in `centred` lies within `radius` of its anchor value; one in `fixed` equals it (discrete
    features, and the columns of `anchor(x)`).
    """

    data: str
    anchors: NDArray[np.float64]
    centred: tuple[tuple[int, int, Fraction], ...]  # (variable, column, radius in the variable's unit)
    fixed: tuple[tuple[int, int], ...]  # (variable, column)
    themselves: bool = False  # the rule is about the rows, not about what is near them


@dataclass(frozen=True, slots=True)
class Share:
    """Instead of every row: of the rows that satisfy the premise, the part that satisfies the conclusion, compared
    with `level`. With a confidence it is a one-sided Clopper–Pearson statement about where the rows come from."""

    op: Literal["<", "<=", ">", ">="]
    level: Fraction
    confidence: Fraction | None


@dataclass(frozen=True, slots=True, eq=False)
class Obligation:
    """`case` tells the lengths of one rule about traces apart, as in "2 steps"."""

    rule: RuleInfo
    variables: tuple[Variable, ...]
    records: tuple[RecordView, ...]
    structure: Formula  # what the encoding implies: one-hot cases sum to 1
    assume: Formula
    premise: Formula
    conclusion: Formula
    instances: Instances | None = None
    share: Share | None = None
    case: str = ""

    @property
    def over_rows(self) -> bool:
        """Does it speak of the rows of data themselves, rather than of what is near them?"""
        return self.instances is not None and self.instances.themselves
