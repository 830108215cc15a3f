"""A rule with what the sanity checks need of it, worked out once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar, overload

from rewarden.spec_lang.obligation import Call, Obligation, Statistic
from rewarden.spec_lang.sanity.demands import Demand, demands_of, region_of
from rewarden.spec_lang.sanity.narrowed import Ranges, declared
from rewarden.spec_lang.sanity.vacuous import Premise, PremiseStatus
from rewarden.spec_lang.spec import Rule
from rewarden.spec_lang.term_walk import nodes

WIDEST = 2_000
"""Variables of a rule that is compared with others: wider ones would take minutes."""


LENGTHS = 4
"""Lengths of a rule about traces that take part in the search for clashes."""
NARROWED = 16
"""Lengths whose region is worked out; of longer traces it is all of the declared ranges, which is sound and quick."""

_T = TypeVar("_T", covariant=True)


class Lazily(Sequence[_T]):
    """A sequence whose items are made when they are first asked for: of a rule about traces within 256 steps most
    checks read a few lengths, and the longest cost the most. Mutable: what was made is kept."""

    def __init__(self, count: int, make: Callable[[int], _T]) -> None:
        self._count = count
        self._make = make
        self._made: dict[int, _T] = {}

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> _T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[_T, ...]: ...
    def __getitem__(self, index: int | slice) -> _T | tuple[_T, ...]:
        if isinstance(index, slice):
            return tuple(self[k] for k in range(*index.indices(self._count)))
        k = range(self._count)[index]  # IndexError, and negative ones from the end
        if k not in self._made:
            self._made[k] = self._make(k)
        return self._made[k]


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """`obligations` are none where the language has no finite list of them (cycles); `premises`, `regions` (a box
    around the points at which it applies) and `demands` stand beside them, demands None where one does not come apart.
    """

    rule: Rule
    obligations: Sequence[Obligation]
    premises: tuple[Premise, ...]
    regions: Sequence[Ranges | None]
    demands: Sequence[tuple[Demand, ...] | None]

    @property
    def name(self) -> str:
        return self.rule.name

    @property
    def must(self) -> bool:
        return self.rule.severity == "must"

    @property
    def points(self) -> tuple[tuple[Fraction, ...] | None, ...]:
        return tuple(premise.point for premise in self.premises)

    @property
    def premise(self) -> PremiseStatus:
        """Of the rule as a whole: a rule about traces of several lengths is vacuous if it is for every length."""
        statuses = {premise.status for premise in self.premises}
        if "satisfiable" in statuses:
            return "satisfiable"
        return "vacuous" if statuses == {"vacuous"} else "undecided"

    @property
    def comparable(self) -> bool:
        """Does it say the same of every record it applies to, does it apply to any, and are they small enough? The
        longest trace is the widest."""
        plain = bool(self.obligations) and self.obligations[0].share is None
        small = plain and len(self.obligations[-1].variables) <= WIDEST
        return small and self.premise != "vacuous"

    @property
    def signs(self) -> frozenset[tuple[str, bool]]:
        """The rewards whose values the rule bounds, from below (True) or above, in its shortest cases."""
        found: set[tuple[str, bool]] = set()
        for obligation, own in zip(self.obligations[:LENGTHS], self.demands[:LENGTHS], strict=True):
            found |= _both_signs(obligation) if own is None else _signs(own)
        return frozenset(found)


def prepared(rule: Rule, obligations: Sequence[Obligation], premises: Sequence[Premise]) -> Prepared:
    def region(k: int) -> Ranges | None:
        obligation = obligations[k]
        return region_of(obligation) if k < NARROWED else declared(obligation.variables, obligation.instances)

    count = len(obligations)
    regions = Lazily(count, region)
    demands = Lazily(count, lambda k: demands_of(obligations[k], regions[k]))
    return Prepared(rule, obligations, tuple(premises), regions, demands)


def _signs(demands: Sequence[Demand]) -> set[tuple[str, bool]]:
    return {(value.reward, c > 0) for demand in demands for literal in demand.literals for value, c in literal.values}


def _both_signs(obligation: Obligation) -> set[tuple[str, bool]]:
    formulas = (obligation.premise, obligation.conclusion)
    found = [node.reward for f in formulas for node in nodes(f) if isinstance(node, Call | Statistic)]
    return {(reward, sign) for reward in found for sign in (True, False)}
