"""A rule with what the sanity checks need of it, worked out once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from rewarden.spec_lang.obligation import Call, Obligation, Statistic
from rewarden.spec_lang.sanity.demands import Demand, demands_of, region_of
from rewarden.spec_lang.sanity.narrowed import Ranges
from rewarden.spec_lang.sanity.vacuous import Premise, PremiseStatus
from rewarden.spec_lang.spec import Rule
from rewarden.spec_lang.term_walk import nodes

WIDEST = 2_000
"""Variables of a rule that is compared with others: wider ones would take minutes."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """`obligations` are none where the language has no finite list of them (cycles); `premises`, `regions` (a box
    around the points at which it applies) and `demands` stand beside them, demands None where one does not come apart.
    `signs` are the rewards whose values the rule bounds, from below (True) or above."""

    rule: Rule
    obligations: tuple[Obligation, ...]
    premises: tuple[Premise, ...]
    regions: tuple[Ranges | None, ...]
    demands: tuple[tuple[Demand, ...] | None, ...]
    signs: frozenset[tuple[str, bool]]

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
        """Does it say the same of every record it applies to, does it apply to any, and are they small enough?"""
        plain = bool(self.obligations) and all(o.share is None for o in self.obligations)
        small = all(len(o.variables) <= WIDEST for o in self.obligations)
        return plain and small and self.premise != "vacuous"


def prepared(rule: Rule, obligations: Sequence[Obligation], premises: Sequence[Premise]) -> Prepared:
    regions = tuple(region_of(obligation) for obligation in obligations)
    demands = tuple(demands_of(obligation, box) for obligation, box in zip(obligations, regions, strict=True))
    signs: set[tuple[str, bool]] = set()
    for obligation, own in zip(obligations, demands, strict=True):
        signs |= _both_signs(obligation) if own is None else _signs(own)
    return Prepared(rule, tuple(obligations), tuple(premises), regions, demands, frozenset(signs))


def _signs(demands: Sequence[Demand]) -> set[tuple[str, bool]]:
    return {(value.reward, c > 0) for demand in demands for literal in demand.literals for value, c in literal.values}


def _both_signs(obligation: Obligation) -> set[tuple[str, bool]]:
    formulas = (obligation.premise, obligation.conclusion)
    found = [node.reward for f in formulas for node in nodes(f) if isinstance(node, Call | Statistic)]
    return {(reward, sign) for reward in found for sign in (True, False)}
