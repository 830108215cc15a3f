"""Loops over few states: whether one rule about them entails another is decided by all of their simple loops.

Where a record is one of a few, the moves are a graph. No loop of it is bad if and only if each of its states has a
potential F by which every move alone is good enough, `pay(a, b) + F(b) - F(a) <= 0`: the longest way from a state. Of
`== 0` both of its halves have a potential of their own. So the rewards that satisfy a rule are those for which some
numbers exist, and what violates another is a simple loop of its own: one question in linear arithmetic.

`!= 0` is satisfied where the loops that share states all pay, or all cost. Irrational rewards can satisfy it otherwise,
so it is never taken to entail anything here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import islice, pairwise, product
from math import prod
from typing import Literal

import networkx as nx
import z3

from rewarden.spec_lang.compare.align import Aligned
from rewarden.spec_lang.compare.data import Matrix
from rewarden.spec_lang.compare.fit import Fitting, Point
from rewarden.spec_lang.compare.fit import Form as Shape
from rewarden.spec_lang.compare.frame import Frame
from rewarden.spec_lang.compare.instances import calls_in, constants_in, occurs, speaks_of, violated
from rewarden.spec_lang.compare.loop_sums import LoopRule, cases_of
from rewarden.spec_lang.compare.reward import Record, World
from rewarden.spec_lang.compare.separate import Separation
from rewarden.spec_lang.compare.z3 import Budget
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.evaluate import truth, value
from rewarden.spec_lang.forms import ONE, ZERO, Form, leaf
from rewarden.spec_lang.formulas import atom, conjunction
from rewarden.spec_lang.obligation import TRUE, Call, Var
from rewarden.spec_lang.z3_terms import Z3Formula, Z3Term

STATES = 6  # of a graph, whose simple loops are looked at one by one
CANDIDATES = 1_024  # choices of whole numbers, of which those that occur are the states
LOOPS = 500

Move = tuple[int, int]  # from one state to another, by number
Loop = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Demand:
    """Of every loop `sign` times its sum is above 0 if `strict`, else at least 0."""

    sign: Fraction
    strict: bool

    def met(self, total: Fraction) -> bool:
        return self.sign * total > 0 or (total == 0 and not self.strict)

    def of(self, total: Z3Term, by: Z3Term) -> Z3Formula:
        """The same in Z3; `by` is the sign there."""
        return by * total > 0 if self.strict else by * total >= 0


@dataclass(frozen=True)
class _Rule:
    """One of the two rules as a graph."""

    about: LoopRule
    move: Aligned
    pay: Form  # what a move adds to the sum
    demands: tuple[_Demand, ...]
    either: bool  # `!=`: one of the demands; else all of them
    states: tuple[Record, ...]

    @cached_property
    def moves(self) -> dict[Move, tuple[Fraction, ...]]:
        """Those that the rule speaks of, whatever its premise says of rewards, as values of the move's variables."""
        found = {}
        for a, b in product(range(len(self.states)), repeat=2):
            values = values_of(self.move, (self.states[a], self.states[b]))
            if speaks_of(self.move, values):
                found[a, b] = values
        return found

    def met(self, total: Fraction) -> bool:
        return (any if self.either else all)(demand.met(total) for demand in self.demands)


def values_of(part: Aligned, records: Sequence[Record]) -> tuple[Fraction, ...]:
    """The variables of an obligation about as many records."""
    found = [ZERO] * len(part.variables)
    for view, record in zip(part.records, records, strict=True):
        for variable, x in zip(view.variables, record, strict=True):
            found[variable] = x
    return tuple(found)


def moves_of(loop: Loop) -> list[Move]:
    return [*pairwise(loop), (loop[-1], loop[0])]


def decided(
    frame: Frame, data: Mapping[str, Matrix], budget: Budget, strong: LoopRule, weak: LoopRule
) -> Literal["proved"] | Separation | None:
    """Does the strong rule entail the weak one? Rewards and a loop that part them; None where the records are too many
    or what is asked of them is not read here."""
    try:
        states = _states(strong, weak)
        rules = [_rule(about, states) for about in (strong, weak)]
        if not states or rules[0] is None or rules[1] is None:
            return None
        return _Graph(frame, data, budget, rules[0], rules[1]).decided()
    except (Unsupported, KeyError, ZeroDivisionError):
        return None  # irrational numbers: nothing is claimed


def _states(strong: LoopRule, weak: LoopRule) -> tuple[Record, ...]:
    """All records of the two specs; none where there are many."""
    if strong.move is None or weak.move is None:
        return ()
    moves = (strong.move, weak.move)
    if len({view.type_name for move in moves for view in move.records}) > 1:
        return ()
    spans: list[range] = []
    for columns in zip(*(move.records[0].variables for move in moves), strict=True):
        found = [move.variables[k] for move, k in zip(moves, columns, strict=True)]
        if not all(v.discrete for v in found):
            return ()
        spans.append(range(int(min(v.lo for v in found)), int(max(v.hi for v in found)) + 1))
    if prod(map(len, spans)) > CANDIDATES:
        return ()
    records = (tuple(map(Fraction, choice)) for choice in product(*spans))
    occurring = (r for r in records if any(occurs(move, values_of(move, (r, r))) for move in moves))
    states = tuple(islice(occurring, STATES + 1))
    return states if len(states) <= STATES else ()


def _rule(about: LoopRule, states: tuple[Record, ...]) -> _Rule | None:
    move = about.move
    if move is None or constants_in(move):
        return None
    cases = cases_of([move])
    comparisons = [comparison for case in cases for comparison in case]
    if not comparisons:
        return None
    pay = comparisons[0].sums[0]
    demands = [_Demand(ONE, comparisons[0].strict)]
    for other in comparisons[1:]:  # of `==` and `!=`, which speak of one sum
        both = other.sums[0] + pay
        if not both.is_constant or both.constant != 0:
            return None
        demands.append(_Demand(-ONE, other.strict))
    return _Rule(about, move, pay, tuple(demands), len(cases) > 1, states)


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """What is known in Z3 of each move of a rule: whether the premise, as far as it is about rewards, is true of it,
    and what it adds to the sum."""

    premise: Mapping[Move, Z3Formula]
    pay: Mapping[Move, Z3Term]

    def along(self, loop: Loop) -> tuple[Z3Formula, Z3Term]:
        moves = moves_of(loop)
        return z3.And([self.premise[m] for m in moves]), z3.Sum([self.pay[m] for m in moves])


@dataclass(frozen=True, slots=True, eq=False)
class _Graph:
    frame: Frame
    data: Mapping[str, Matrix]
    budget: Budget
    strong: _Rule
    weak: _Rule

    def decided(self) -> Literal["proved"] | Separation | None:
        loops = _loops(self.weak.moves)
        if len(loops) > LOOPS:
            return None
        names = list(dict.fromkeys(call.reward for rule in (self.strong, self.weak) for call in calls_in(rule.move)))
        pays = ["pay of the strong rule", "pay of the weak rule"]  # names that no text can have
        room = Fitting(self.budget.rlimit, dict.fromkeys([*names, *pays], Shape(exceptions="all")), self.data)
        asked, wanted = (_sums(room, rule, name) for rule, name in zip((self.strong, self.weak), pays, strict=True))
        _satisfied(room, self.strong, asked)
        told = [loop for loop in loops if len(loop) <= len(self.weak.about.parts)]
        world = room.solution([_some(room, [_broken(room, self.weak, wanted, loop) for loop in told])])
        if world is not None:
            rewards = {name: reward for name, reward in world.rewards.items() if name not in pays}
            return self._checked(World(rewards, self.data), told)
        if self.strong.either:
            return None
        solver = room.solver(_any_broken(room, self.weak, wanted, loops))
        return "proved" if str(solver.check()) == "unsat" else None

    def _checked(self, world: World, told: Sequence[Loop]) -> Separation | None:
        """Once more, exactly and without Z3."""
        if not _accepts(self.strong, world):
            return None
        for loop in _loops(self.strong.moves):
            if len(loop) <= len(self.strong.about.parts) and self._violated(self.strong, loop, world):
                return None
        for loop in told:
            point = self._violated(self.weak, loop, world)
            if point is not None:
                return Separation(point, world)
        return None

    def _violated(self, rule: _Rule, loop: Loop, world: World) -> Point | None:
        part = rule.about.parts[len(loop) - 1]
        values = values_of(part, [rule.states[k] for k in loop])
        return Point(part, values) if violated(part, values, world, self.frame) else None


def _loops(moves: Mapping[Move, object]) -> list[Loop]:
    """The simple loops of a graph, short ones first; one more than LOOPS where there are more."""
    graph = nx.DiGraph(list(moves))
    return sorted(map(tuple, islice(nx.simple_cycles(graph), LOOPS + 1)), key=lambda loop: (len(loop), loop))


def _sums(room: Fitting, rule: _Rule, name: str) -> _Sums:
    move = rule.move
    call = Call(name, tuple(map(Var, range(len(move.variables)))))
    away = rule.pay - leaf(call)
    defined = replace(move, premise=TRUE, conclusion=conjunction([atom(x, False, None) for x in (away, -away)]))
    premise: dict[Move, Z3Formula] = {}
    pay: dict[Move, Z3Term] = {}
    for pair, values in rule.moves.items():
        premise[pair] = room.said(move, values)[0]
        room.add(room.said(defined, values)[1])
        pay[pair] = room.reward(name, [room.number(x) for x in values])
    return _Sums(premise, pay)


def _satisfied(room: Fitting, rule: _Rule, sums: _Sums) -> None:
    """There are potentials: no loop of the rule is bad."""
    states = range(len(rule.states))
    for demand in rule.demands if not rule.either else ():
        above = [room.fresh("potential") for _ in states]
        by = room.number(demand.sign)
        for (a, b), premise in sums.premise.items():
            room.add(z3.Implies(premise, demand.of(sums.pay[a, b] + by * (above[b] - above[a]), by)))
    if rule.either:
        _all_pay_or_cost(room, rule, sums)


def _all_pay_or_cost(room: Fitting, rule: _Rule, sums: _Sums) -> None:
    """Of states that can be reached from each other, either all loops pay or all cost. A level tells which can: no move
    leads to a higher one, and one that leads to a lower one is part of no loop."""
    states = range(len(rule.states))
    above, level, paying = ([room.fresh(name) for _ in states] for name in ("potential", "level", "paying"))
    for (a, b), premise in sums.premise.items():
        gain = sums.pay[a, b] + above[b] - above[a]
        pays = z3.And(paying[a] > 0, paying[b] > 0, gain > 0)
        costs = z3.And(paying[a] < 0, paying[b] < 0, gain < 0)
        room.add(z3.Implies(premise, z3.Or(level[b] < level[a], z3.And(level[b] == level[a], z3.Or(pays, costs)))))


def _broken(room: Fitting, rule: _Rule, sums: _Sums, loop: Loop) -> Z3Formula:
    """The loop is one of the rule's, and violates it."""
    premise, total = sums.along(loop)
    met = [demand.of(total, room.number(demand.sign)) for demand in rule.demands]
    return z3.And(premise, z3.Not(z3.Or(met) if rule.either else z3.And(met)))


def _any_broken(room: Fitting, rule: _Rule, sums: _Sums, loops: Sequence[Loop]) -> list[Z3Formula]:
    """True wherever some loop of any length violates the rule. For `!=` more than that: a loop that sums to 0 is made
    of simple ones, of which not all pay and not all cost."""
    if not rule.either:
        return [_some(room, [_broken(room, rule, sums, loop) for loop in loops])]
    along = [sums.along(loop) for loop in loops]
    return [_some(room, [z3.And(premise, by * total <= 0) for premise, total in along]) for by in (1, -1)]


def _some(room: Fitting, found: Sequence[Z3Formula]) -> Z3Formula:
    return z3.Or([z3.BoolVal(False, room.context), *found])


def _accepts(rule: _Rule, world: World) -> bool:
    """Do these rewards satisfy the rule, on every simple loop and, for `!=`, on all that are made of these?"""
    move = rule.move
    paid = {
        pair: value(rule.pay.term(), values, world.call)
        for pair, values in rule.moves.items()
        if truth(move.premise, values, world.call)
    }
    totals = {loop: sum((paid[m] for m in moves_of(loop)), ZERO) for loop in _loops(paid)}
    if len(totals) > LOOPS or not all(map(rule.met, totals.values())):
        return False
    if not rule.either:
        return True
    together = nx.strongly_connected_components(nx.DiGraph(list(paid)))
    return all(len({total > 0 for loop, total in totals.items() if loop[0] in states}) <= 1 for states in together)
