"""Is there a reward that satisfies all must rules? A proof by example of two levels or more.

Where no constant does, because some rules ask for more than others allow elsewhere, the next simplest rewards are one
low constant, raised exactly where a rule asks for more; or one high constant, lowered where a rule allows only less.
All rewards over the same records are taken equal. Data constants of such a reward are computed from the rows, exactly.
Whether it meets a demand is decided by intervals where no step is near the demand's records, and by Z3 elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np

from rewarden.spec_lang.bounds import interval
from rewarden.spec_lang.clauses import negate
from rewarden.spec_lang.evaluate import truth_of_rows
from rewarden.spec_lang.forms import Form, combine, constant, extremum, form_of, leaf
from rewarden.spec_lang.formulas import atom, conjunction
from rewarden.spec_lang.obligation import Call, Const, Formula, Ite, Max, Min, Statistic, Term, Var
from rewarden.spec_lang.sanity.demands import Demand, Literal, Value
from rewarden.spec_lang.sanity.edges import Sides, box_of
from rewarden.spec_lang.sanity.joint import in_hull, substituted
from rewarden.spec_lang.sanity.z3 import Oracle
from rewarden.spec_lang.spec import Spec

STRICTLY = Fraction(1, 8)
"""How far beyond a strict bound a step goes."""
BASES = 5
QUESTIONS = 200


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """`level` in the region of a rule about records of these types: a formula over their columns as variables 0, 1, …,
    and a box around it."""

    rule: str
    types: tuple[str, ...]
    region: Formula
    box: Sides
    level: Fraction


@dataclass(frozen=True, slots=True, eq=False)
class SteppedReward:
    """`base`, and in regions of steps the highest of their levels if `raised`, else the lowest."""

    base: Fraction
    raised: bool
    steps: tuple[Step, ...]


def stepped_reward(spec: Spec, demands: Sequence[Demand], oracle: Oracle, rlimit: int) -> SteppedReward | None:
    """One that meets every demand; None where none was found."""
    left = [QUESTIONS]
    for raised in (True, False):
        steps = [step for demand in demands for step in _steps(spec, demand, raised)]
        for base in _bases(demands, raised):
            kept = tuple(s for s in steps if (s.level > base if raised else s.level < base))
            found = SteppedReward(base, raised, kept)
            if kept and _Meets(spec, found, oracle, rlimit, left).all(demands):
                return found
    return None


def _bases(demands: Sequence[Demand], raised: bool) -> list[Fraction]:
    """Levels that rules name as bounds from the other side, which most of the domain may have to keep; 0 first."""
    bounds = {level for demand in demands for _, level, lower in _bounds(demand) if lower != raised}
    return list(dict.fromkeys([Fraction(0), *sorted(bounds, reverse=not raised)]))[:BASES]


def _bounds(demand: Demand) -> Iterator[tuple[Call, Fraction, bool]]:
    """(call, level, whether from below) where the demand bounds one value by features."""
    if len(demand.literals) == 1 and demand.box is not None and len(demand.literals[0].values) == 1:
        box = demand.box
        (literal,) = demand.literals
        ((value, c),) = literal.values
        least, _ = interval(literal.rest, lambda index: box[index])
        if isinstance(value, Call) and least is not None:
            beyond = STRICTLY if literal.strict else Fraction(0)
            yield value, -least / c + (beyond if c > 0 else -beyond), c > 0


def _steps(spec: Spec, demand: Demand, raised: bool) -> Iterator[Step]:
    """The region of a bound on the reward of the rule's own records, as they are."""
    rule = demand.obligation
    for call, level, lower in _bounds(demand):
        places = {term.index: k for k, term in enumerate(call.arguments) if isinstance(term, Var)}
        if lower == raised and rule.instances is None and len(places) == len(call.arguments) == len(rule.variables):
            columns = tuple(Var(places[index]) for index in range(len(rule.variables)))
            types = tuple(kind for _, kind in spec.rewards[call.reward].params)
            assert demand.box is not None
            yield Step(rule.rule.name, types, substituted(demand.guard, columns), box_of(call, demand.box), level)


class _Meets:
    """Does one stepped reward meet demands? Mutable: its values at rows of data, and the questions left."""

    def __init__(self, spec: Spec, reward: SteppedReward, oracle: Oracle, rlimit: int, left: list[int]) -> None:
        self.spec = spec
        self.reward = reward
        self.oracle = oracle
        self.rlimit = rlimit
        self.left = left
        self._levels: dict[tuple[tuple[str, ...], str], list[Fraction]] = {}

    def all(self, demands: Sequence[Demand]) -> bool:
        open_ = [demand for demand in demands if not self._by_intervals(demand)]
        return all(self._by_z3(demand) for demand in open_)

    def _by_intervals(self, demand: Demand) -> bool:
        box = demand.box
        if box is None:
            return True
        for literal in demand.literals:
            if not any(isinstance(v, Call) and self._near(demand, v) for v, _ in literal.values):
                least, _ = interval(self._form(demand, literal).term(), lambda index: box[index])
                if least is not None and (least > 0 or (least == 0 and not literal.strict)):
                    return True
        return False

    def _by_z3(self, demand: Demand) -> bool:
        if self.left[0] <= 0:
            return False
        self.left[0] -= 1
        fails = [negate(atom(self._form(demand, lit), lit.strict, None)) for lit in demand.literals]
        whole = conjunction([demand.guard, *fails])
        return self.oracle.ask(in_hull(demand.obligation), whole, self.rlimit).status == "unsat"

    def _form(self, demand: Demand, literal: Literal) -> Form:
        """The literal's left side with this reward put in."""
        values = [(self._value(demand, v), c) for v, c in literal.values]
        return combine([*values, (form_of(literal.rest), Fraction(1))])

    def _value(self, demand: Demand, value: Value) -> Form:
        if isinstance(value, Statistic):
            return constant(self._constant(value))
        base = constant(self.reward.base)
        steps = [self._stepped(step, value.arguments) for step in self._near(demand, value)]
        return extremum(Max if self.reward.raised else Min, [base, *steps]) if steps else base

    def _stepped(self, step: Step, columns: tuple[Term, ...]) -> Form:
        return leaf(Ite(substituted(step.region, columns), Const(step.level), Const(self.reward.base)))

    def _near(self, demand: Demand, call: Call) -> list[Step]:
        """The steps that the call's record could be on."""
        assert demand.box is not None
        box, types = box_of(call, demand.box), self._types(call.reward)
        return [
            step
            for step in self.reward.steps
            if step.types == types
            and (np.maximum(step.box[:, 0], box[:, 0]) <= np.minimum(step.box[:, 1], box[:, 1])).all()
        ]

    def _types(self, reward: str) -> tuple[str, ...]:
        return tuple(kind for _, kind in self.spec.rewards[reward].params)

    def _constant(self, statistic: Statistic) -> Fraction:
        """The data constant of this reward, from its level at every row."""
        key = (self._types(statistic.reward), statistic.data)
        if key not in self._levels:
            rows = self.spec.rows(statistic.data).values
            levels = np.full(len(rows), self.reward.base, dtype=object)
            steps = [step for step in self.reward.steps if step.types == key[0]]
            for step in sorted(steps, key=lambda step: step.level, reverse=not self.reward.raised):
                levels[truth_of_rows(step.region, rows)] = step.level
            self._levels[key] = sorted(levels.tolist())
        return _of(statistic, self._levels[key])


def _of(statistic: Statistic, ordered: Sequence[Fraction]) -> Fraction:
    match statistic.kind:
        case "mean":
            return sum(ordered, Fraction(0)) / len(ordered)
        case "min":
            return ordered[0]
        case "max":
            return ordered[-1]
        case "quantile":
            assert statistic.level is not None
            return ordered[max(1, ceil(statistic.level * len(ordered))) - 1]
