"""Must rules that no reward satisfies, found by their instances at a few records: products of rewards, and loops.

Rules that do not come apart into demands, such as `R(a) * R(b) <= -1`, have no edges to walk along. So records are
chosen instead: those of the rule in question, and for a rule about pairs one more, at which as many other rules apply
as can be made to, one after the other; first where a factor that reads features is 0. Every rule is then taken at these
records, in every order, and what all of them say there is a question about finitely many numbers, the values of the
rewards: linear, or polynomial where rewards are multiplied. A core of it is a clash.

Nothing found proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, islice

from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.evaluate import truth, value
from rewarden.spec_lang.forms import TooLarge, form_of
from rewarden.spec_lang.formulas import conjunction
from rewarden.spec_lang.obligation import (
    TRUE,
    Call,
    Const,
    Formula,
    Obligation,
    Product,
    Statistic,
    Var,
    Variable,
)
from rewarden.spec_lang.sanity.cases import Case, Signature, Use, case_of, in_step, placements
from rewarden.spec_lang.sanity.clash import Asked, Clash
from rewarden.spec_lang.sanity.demands import Literal, demands_of, parted, region_of
from rewarden.spec_lang.sanity.ground import Instance, instance, order_of_constants
from rewarden.spec_lang.sanity.joint import Placed, applies, same
from rewarden.spec_lang.sanity.values import with_values
from rewarden.spec_lang.sanity.z3 import Oracle
from rewarden.spec_lang.term_walk import mentions_rewards, nodes

TOGETHER = 24
"""Placements of rules that are looked at together."""
OWN = 9
"""Of them, at most so many of the rule in question itself."""
STARTS = 6
"""Of them, those which are tried first in turn."""
FACTORS = 4


@dataclass(frozen=True, slots=True)
class GroundBudget:
    """`questions` to Z3 in all, of at most `rlimit` each."""

    questions: int = 160
    rlimit: int = 200_000


def ground_clashes(
    subjects: Sequence[Obligation],
    rules: Sequence[Obligation],
    signature: Signature,
    oracle: Oracle,
    budget: GroundBudget,
) -> tuple[Clash, ...]:
    """Clashes of each subject with itself and the rules, which are all that must hold."""
    search = _Search([*rules], signature, oracle, budget)
    found: list[Clash] = []
    for subject in subjects:
        if any(subject.rule.name in clash.rules for clash in found):
            continue
        try:
            clash = search.clash_of(subject)
        except (TooLarge, Unsupported):
            continue
        if clash is not None and not any(set(known.rules) <= set(clash.rules) for known in found):
            found.append(clash)
    return tuple(found)


class _Search:
    """Mutable: the questions that are left."""

    def __init__(self, rules: list[Obligation], signature: Signature, oracle: Oracle, budget: GroundBudget) -> None:
        self.rules = rules
        self.signature = signature
        self.oracle = oracle
        self.left = budget.questions
        self.rlimit = budget.rlimit

    def clash_of(self, subject: Obligation) -> Clash | None:
        """Of the rule alone, if there is one; else with others."""
        cases = list(_cases(subject, self.signature))
        alone = [(case, list(_own(subject, case))) for case in cases]
        together = ((case, list(islice(self._uses(subject, case), TOGETHER))) for case in cases)
        for case, uses in chain(alone, together):
            for point in self._points(case, uses):
                clash = self._at(uses, point)
                if clash is not None:
                    return clash
        return None

    def _uses(self, subject: Obligation, case: Case) -> Iterator[Use]:
        """The subject first, then rules about the same rewards, and about those that these are compared with. Of many
        records there are so many placements that the shortest come first, after those in step with the subject."""
        related = self._related(subject)
        yield from islice(_own(subject, case), OWN)
        for rule in related:
            if len(rule.records) == len(subject.records) > 2:
                yield from in_step(case, rule.rule.name, rule)
        for rule in sorted(related, key=lambda rule: len(rule.records)):
            yield from placements(case, rule.rule.name, rule)

    def _related(self, subject: Obligation) -> list[Obligation]:
        found: list[Obligation] = []
        rewards = _rewards(subject)
        left = [rule for rule in self.rules if rule is not subject]
        while near := [rule for rule in left if _rewards(rule) & rewards]:
            rewards = rewards.union(*map(_rewards, near))
            found += near
            left = [rule for rule in left if rule not in near]
        return found

    # ── where as many rules apply as can be ────────────────────────────────────────────────────
    def _points(self, case: Case, uses: Sequence[Use]) -> Iterator[tuple[Fraction, ...]]:
        own = Placed(case.rule, tuple(map(Var, range(len(case.rule.variables)))), TRUE)
        here = _speaks(own, case)
        regions = [_speaks(use.at, case) for use in uses]
        seen: set[tuple[Fraction, ...]] = set()
        for special in (TRUE, *islice(_zero_factors(case.rule), FACTORS)):
            for start in range(min(STARTS, max(1, len(uses)))):
                point = self._greedy(case, conjunction([here, special]), [*regions[start:], *regions[:start]])
                if point is None:
                    break
                if point not in seen:
                    seen.add(point)
                    yield point

    def _greedy(self, case: Case, formula: Formula, regions: Sequence[Formula]) -> tuple[Fraction, ...] | None:
        point = self._ask(case.joint, formula)
        for region in regions:
            if point is None:
                return None
            more = conjunction([formula, region])
            found = point if truth(region, point) else self._ask(case.joint, more)
            if found is not None:
                point, formula = found, more
        return point

    def _ask(self, variables: Sequence[Variable], formula: Formula) -> tuple[Fraction, ...] | None:
        self.left -= 1
        return self.oracle.ask(variables, formula, self.rlimit).point if self.left >= 0 else None

    # ── what the rules say there ───────────────────────────────────────────────────────────────
    def _at(self, uses: Sequence[Use], point: tuple[Fraction, ...]) -> Clash | None:
        found: dict[tuple[int, tuple[Fraction, ...]], Instance] = {}
        for use in uses:
            if truth(use.at.equal, point):
                values = tuple(value(column, point) for column in use.at.columns)
                here = instance(use.at.obligation, values)
                if here is not None:
                    found.setdefault((id(use.at.obligation), values), here)
        core = self._core(list(found.values()))
        return None if core is None else Clash(tuple(Asked(one, _literals(one)) for one in core))

    def _core(self, instances: list[Instance]) -> list[Instance] | None:
        """Those that contradict each other, whatever the rewards, as few as the budget finds."""
        self.left -= 1
        if self.left < 0 or not instances:
            return None
        says = [one.says for one in instances]
        variables, parts = with_values([*says, order_of_constants(says)])
        core = self.oracle.core(variables, parts, self.rlimit)
        return None if core is None else [instances[k] for k in core if k < len(instances)]


def _cases(subject: Obligation, signature: Signature) -> Iterator[Case]:
    """The rule at its own records; if it is about two of one type, at these and a third."""
    case = case_of(subject, None, signature)
    yield case
    kinds = [view.type_name for view in subject.records]
    if len(kinds) == 2 and kinds[0] == kinds[1] and subject.instances is None:
        view = subject.records[0]
        third = tuple(replace(subject.variables[index], record="third") for index in view.variables)
        columns = tuple(Var(len(case.joint) + k) for k in range(len(third)))
        yield replace(case, joint=(*case.joint, *third), records=(*case.records, (kinds[0], columns)))


def _own(subject: Obligation, case: Case) -> Iterator[Use]:
    yield from in_step(case, subject.rule.name, subject)
    yield from placements(case, subject.rule.name, subject)


def _speaks(at: Placed, case: Case) -> Formula:
    """Where the rule applies, as far as features tell."""
    plain = replace(at.obligation, premise=conjunction(parted(at.obligation.premise)[0]))
    return applies(replace(at, obligation=plain), case.joint)


def _zero_factors(rule: Obligation) -> Iterator[Formula]:
    """Where a factor of a reward is 0 that reads features."""
    for node in chain(nodes(rule.conclusion), nodes(rule.premise)):
        match node:
            case Product(left, right) if mentions_rewards(left) != mentions_rewards(right):
                factor = right if mentions_rewards(left) else left
                if not form_of(factor).is_constant:
                    yield same(factor, Const(Fraction(0)))


def _rewards(rule: Obligation) -> frozenset[str]:
    both = chain(nodes(rule.premise), nodes(rule.conclusion))
    return frozenset(node.reward for node in both if isinstance(node, Call | Statistic))


def _literals(one: Instance) -> tuple[Literal, ...]:
    """What the rule asks at these records, where that is one comparison of rewards or a choice of them."""
    assert one.values is not None
    values = one.values
    demands = demands_of(one.obligation, region_of(one.obligation)) or ()
    asked = [demand.literals for demand in demands if demand.literals and truth(demand.guard, values)]
    return asked[0] if len(asked) == 1 else ()
