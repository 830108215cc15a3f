"""Rules that follow from others, and rules that ask nothing.

A rule follows from others if, wherever it applies, they forbid what it forbids: with rewards as uninterpreted functions
Z3 shows that its premise and the opposite of its conclusion cannot stand beside what they say of the same records
(cases.py). That is a proof; a rule that follows in a roundabout way, by records of its own, is not found.

Rules are looked at from the last to the first, and one that follows is no longer used against the others: all that are
reported can be left out together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from rewarden.spec_lang.bounds import interval
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.evaluate import value
from rewarden.spec_lang.forms import TooLarge
from rewarden.spec_lang.formulas import conjunction
from rewarden.spec_lang.obligation import TRUE, Formula, Obligation, Product, Var, Variable
from rewarden.spec_lang.sanity.cases import Case, Signature, Use, case_of, placements
from rewarden.spec_lang.sanity.edges import Mask, Sides
from rewarden.spec_lang.sanity.ground import order_of_constants
from rewarden.spec_lang.sanity.joint import Columns, Placed, applies
from rewarden.spec_lang.sanity.narrowed import Ranges, floats
from rewarden.spec_lang.sanity.prepared import Prepared
from rewarden.spec_lang.sanity.z3 import Oracle
from rewarden.spec_lang.term_walk import mentions_rewards, nodes

TOGETHER = 24
"""Placements of other rules that are used against one at once."""
INDEXED = 32
"""Lengths of a rule about traces that others may follow from."""


@dataclass(frozen=True, slots=True)
class RedundancyBudget:
    """`questions` for each rule on average, of at most `rlimit` each."""

    questions: int = 6
    rlimit: int = 400_000


@dataclass(frozen=True, slots=True)
class Redundant:
    """`by` are the rules that it follows from, none of which can be left out; none at all where it asks nothing."""

    rule: str
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FoundRedundant:
    """`undecided` are rules that the budget was too small for."""

    redundant: tuple[Redundant, ...]
    undecided: tuple[str, ...]


def find_redundant(
    rules: Sequence[Prepared], signature: Signature, oracle: Oracle, budget: RedundancyBudget
) -> FoundRedundant:
    """Which of the rules follow from others: a `must` from `must` rules only."""
    comparable = [rule for rule in rules if rule.comparable]
    search = _Search(comparable, signature, oracle, budget)
    for rule in reversed(comparable):
        by = search.follows(rule)
        if by is not None:
            search.dropped[rule.name] = by
    found = []
    for rule in comparable:
        if rule.name in search.dropped:
            by = _kept(search.dropped[rule.name], search.dropped)
            found.append(Redundant(rule.name, tuple(o.name for o in rules if o.name in by)))
    return FoundRedundant(tuple(found), tuple(reversed(search.undecided)))


def _kept(by: frozenset[str], dropped: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The same reasons, those that follow themselves replaced by their own. A rule only follows from rules that were
    still in use when it was looked at, so this ends."""
    while not by.isdisjoint(dropped):
        by = frozenset(reason for name in by for reason in dropped.get(name, {name}))
    return by


class _Index:
    """Which rules could apply to a record, judging by the boxes around their regions: arrays over all obligations."""

    def __init__(self, rules: Sequence[Prepared]) -> None:
        self.kinds = frozenset(rule.signs for rule in rules)
        self._by_type: dict[str, list[tuple[Prepared, Obligation]]] = defaultdict(list)
        boxes: dict[str, list[Sides]] = defaultdict(list)
        for rule in rules:
            for obligation, region in zip(rule.obligations[:INDEXED], rule.regions[:INDEXED], strict=True):
                if region is not None:
                    first = obligation.records[0]
                    self._by_type[first.type_name].append((rule, obligation))
                    boxes[first.type_name].append(floats([region[index] for index in first.variables]))
        self._boxes = {name: np.stack(found) for name, found in boxes.items()}

    def candidates(self, case: Case, region: Ranges | None) -> Iterator[tuple[Prepared, Obligation]]:
        """Those whose first record could be one of the case's, in its region, or at its point where that is asked
        with the region None."""
        masks: dict[str, Mask] = {}
        for type_name, columns in case.records:
            if type_name in self._boxes:
                sides = _sides(case, columns, region)
                boxes = self._boxes[type_name]
                here = ((boxes[:, :, 0] <= sides[:, 1]) & (sides[:, 0] <= boxes[:, :, 1])).all(axis=1)
                masks[type_name] = masks.get(type_name, np.zeros_like(here)) | here
        for type_name, mask in masks.items():
            for k in np.flatnonzero(mask):
                yield self._by_type[type_name][k]


def _sides(case: Case, columns: Columns, region: Ranges | None) -> Sides:
    """A box around one of the case's records."""
    if region is None:
        assert case.point is not None
        point = case.point
        return floats([(x, x) for x in (value(column, point) for column in columns)])
    return floats([interval(column, lambda index: region[index]) for column in columns])


class _Search:
    """Mutable: the questions that are left, and the rules that others are no longer compared with."""

    def __init__(
        self, rules: Sequence[Prepared], signature: Signature, oracle: Oracle, budget: RedundancyBudget
    ) -> None:
        self.index = _Index(rules)
        self.signature = signature
        self.oracle = oracle
        self.left = budget.questions * len(rules)
        self.rlimit = budget.rlimit
        self.undecided: list[str] = []
        self.dropped: dict[str, frozenset[str]] = {}
        self._closures: dict[frozenset[tuple[str, bool]], frozenset[tuple[str, bool]]] = {}

    def follows(self, rule: Prepared) -> frozenset[str] | None:
        """The names of rules that it follows from; None where that was not shown."""
        by: frozenset[str] = frozenset()
        for obligation, point, region in zip(rule.obligations, rule.points, rule.regions, strict=True):
            if region is None:
                continue  # it never applies
            try:
                found = self._case_follows(rule, case_of(obligation, point, self.signature), region)
            except (TooLarge, Unsupported):
                found = None
            if found is None:
                return None
            by |= found
        return by

    def _case_follows(self, rule: Prepared, case: Case, region: Ranges) -> frozenset[str] | None:
        if case.point is not None and not self._there(rule, case):
            return None
        uses = list(islice(self._uses(rule, replace(case, point=None), region), TOGETHER))
        wrong = case.wrong()
        says = [(use.rule, use.says(case)) for use in uses]
        if self._question(rule, case.joint, [wrong, *(formula for _, formula in says)]) != "unsat":
            return None
        names = list(dict.fromkeys(use.rule for use in uses))
        for name in tuple(names):
            fewer = [formula for other, formula in says if other in names and other != name]
            if self._question(rule, case.joint, [wrong, *fewer]) == "unsat":
                names.remove(name)
        kept = [formula for name, formula in says if name in names]
        if any(_has_products(formula) for formula in kept) and self._nobody(rule, case, kept):
            return None
        return frozenset(names)

    def _nobody(self, rule: Prepared, case: Case, says: Sequence[Formula]) -> bool:
        """Can no reward meet the others where the rule applies, as far as is known? Then everything follows, and it is
        they that want mending."""
        here = applies(Placed(case.rule, tuple(map(Var, range(len(case.rule.variables)))), TRUE), case.joint)
        return self._question(rule, case.joint, [here, *says]) != "sat"

    def _uses(self, rule: Prepared, case: Case, region: Ranges | None) -> Iterator[Use]:
        signs = self._related(rule.signs)
        for other, obligation in self.index.candidates(case, region):
            counts = other is not rule and rule.must <= other.must and other.name not in self.dropped
            if counts and signs & other.signs:
                yield from placements(case, other.name, obligation)

    def _related(self, signs: frozenset[tuple[str, bool]]) -> frozenset[tuple[str, bool]]:
        """Those of other rewards too, that rules tie to these: R == Base carries a bound from one to the other."""
        if signs not in self._closures:
            found, before = signs, frozenset[tuple[str, bool]]()
            while found != before:
                before = found
                found = found.union(*(kind for kind in self.index.kinds if kind & found))
            self._closures[signs] = found
        return self._closures[signs]

    def _there(self, rule: Prepared, case: Case) -> bool:
        """Does it follow at one point, at least, as far as other rules are known there? A cheap no for nearly all."""
        uses = list(islice(self._uses(rule, case, None), TOGETHER))
        if any(use.values is None for use in uses):
            return True
        ground = [case.wrong_there(), *(use.says_there() for use in uses)]
        return self._question(rule, (), ground) != "sat"

    def _question(self, rule: Prepared, variables: Sequence[Variable], parts: Sequence[Formula]) -> str:
        """Undecided goes down as such, unless it only leaves a longer list of reasons."""
        self.left -= 1
        whole = conjunction([*parts, order_of_constants(parts)])
        status = self.oracle.ask(variables, whole, self.rlimit).status if self.left >= 0 else "unknown"
        if status == "unknown" and rule.name not in self.undecided:
            self.undecided.append(rule.name)
        return status


def _has_products(formula: Formula) -> bool:
    """Of rewards, which no walk along edges finds contradictions of."""
    return any(
        isinstance(n, Product) and mentions_rewards(n.right) and mentions_rewards(n.left) for n in nodes(formula)
    )
