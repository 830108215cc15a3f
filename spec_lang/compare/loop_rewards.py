"""A loop and rewards that one rule about loops accepts and another refuses.

That the accepting rule is satisfied on loops of every length is shown in one of two ways. By a reward whose g is one
and the same number τ on every move, so that a loop of n moves sums to n·τ: for all lengths if it is so for one to
three. Or by a potential (`moves`): a number for each record, looked for together with the rewards, such that every move
alone is good enough, which is a rule about two records like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice

from rewarden.spec_lang.compare.align import Aligned
from rewarden.spec_lang.compare.data import Matrix
from rewarden.spec_lang.compare.fit import Form as Shape
from rewarden.spec_lang.compare.fit import Point
from rewarden.spec_lang.compare.frame import Frame
from rewarden.spec_lang.compare.instances import calls_in, constants_in, records_of, violated
from rewarden.spec_lang.compare.loop_sums import CYCLE_LENGTHS, Comparison, LoopRule, cases_of
from rewarden.spec_lang.compare.loop_sums import gap_between as gap
from rewarden.spec_lang.compare.moves import potential_over, with_potentials
from rewarden.spec_lang.compare.reward import TableReward, World
from rewarden.spec_lang.compare.separate import Separation, Task, instances, search, shapes
from rewarden.spec_lang.compare.z3 import Budget, Differ, Scope, breach
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.forms import ONE, ZERO, Form, combine, form_of
from rewarden.spec_lang.obligation import Call, Term, Var

OTHERS = (ZERO, ONE, -ONE)  # what rewards may be that the sum does not depend on
SHAPES = 6  # of rewards that are tried at one loop


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    frame: Frame
    data: Mapping[str, Matrix]
    domains: Mapping[str, Aligned]  # the records of the strong rule's spec
    budget: Budget
    strong: LoopRule
    weak: LoopRule


def parted(
    frame: Frame,
    data: Mapping[str, Matrix],
    domains: Mapping[str, Aligned],
    budget: Budget,
    strong: LoopRule,
    weak: LoopRule,
) -> Separation | None:
    """Rewards that satisfy the strong rule, and a loop on which the weak one is violated; None if none were found."""
    question = _Question(frame, data, domains, budget, strong, weak)
    try:
        return _by_even_rewards(question) or _by_potentials(question)
    except (Unsupported, KeyError, ZeroDivisionError):
        return None  # irrational numbers, or data that was not read


# ── the same number for every move ─────────────────────────────────────────────────────────────
def _by_even_rewards(question: _Question) -> Separation | None:
    wanted = [comparison for case in cases_of(question.weak.parts) for comparison in case]
    for case in cases_of(question.strong.parts):
        gaps = [gap(case[0], comparison) for comparison in wanted]
        between = [-g.shift / g.scale / 2 for g in gaps if g is not None]
        for each in dict.fromkeys((ZERO, *between, ONE, -ONE)):
            for others in OTHERS:
                rewards = _even(question.strong.parts, case[0], each, others)
                if rewards is not None and all(_satisfied(one, rewards) for one in case):
                    separation = _broken(question, World(rewards, question.data))
                    if separation is not None:
                        return separation
    return None


def _broken(question: _Question, world: World) -> Separation | None:
    """A loop that violates the weak rule with these rewards."""
    for part in question.weak.parts:
        if not all(call.reward in world.rewards for call in calls_in(part)):
            continue
        constants = {c: world.statistic(c) for c in constants_in(part)}
        answer = breach(part, world.rewards, constants, Scope(), question.budget)
        if answer.values is not None and violated(part, answer.values, world, question.frame):
            return Separation(Point(part, answer.values), world)
    return None


def _even(
    parts: Sequence[Aligned], wanted: Comparison, each: Fraction, others: Fraction
) -> dict[str, TableReward] | None:
    """Rewards, affine in the features, for which the sum over one move is `each`; None if none was found. Those that
    need not be chosen for it, such as what a premise reads, are `others`."""
    once = wanted.sums[0]
    calls = {call: c for call, c in once.parts.items() if isinstance(call, Call)}
    names = list(dict.fromkeys(call.reward for part in parts for call in calls_in(part)))
    rewards = dict.fromkeys(names, TableReward(others))
    weight = {name: sum((c for call, c in calls.items() if call.reward == name), ZERO) for name in names}
    paying = next((name for name in names if weight[name]), None)
    if paying is None:
        return rewards
    call = next(call for call in calls if call.reward == paying)
    by = -1 / weight[paying]
    slopes = [(_place(call, leaf), c * by) for leaf, c in once.parts.items() if not isinstance(leaf, Call)]
    if any(place is None for place, _ in slopes):
        return None
    columns = tuple((place, c) for place, c in slopes if place is not None)
    rest = sum((others * weight[name] for name in names if name != paying), once.constant)
    return rewards | {paying: TableReward((each - rest) / weight[paying], columns)}


def _satisfied(asked: Comparison, rewards: Mapping[str, TableReward]) -> bool:
    """Is the sum over n moves n times one number, which is large enough? Then it is for loops of every length."""
    levels = set()
    for length, form in zip(CYCLE_LENGTHS, asked.sums, strict=True):
        worth = combine((_worth(leaf, rewards), c) for leaf, c in form.parts.items()).shifted(form.constant)
        if not worth.is_constant:
            return False
        levels.add(worth.constant / length)
    return len(levels) == 1 and (min(levels) > 0 or (min(levels) == 0 and not asked.strict))


def _place(call: Call, leaf: Term) -> int | None:
    """The column of the reward that reads this variable."""
    return call.arguments.index(leaf) if isinstance(leaf, Var) and leaf in call.arguments else None


def _worth(leaf: Term, rewards: Mapping[str, TableReward]) -> Form:
    """What a part of the sum comes to with these rewards, as a form over the variables."""
    if not isinstance(leaf, Call):
        return form_of(leaf)
    reward = rewards[leaf.reward]
    slopes = ((form_of(leaf.arguments[k]), slope) for k, slope in reward.slopes)
    return combine([*slopes, (Form(reward.constant, {}), ONE)])


# ── a potential ────────────────────────────────────────────────────────────────────────────────
def _by_potentials(question: _Question) -> Separation | None:
    strong = question.strong.move
    if strong is None or not cases_of([strong]):
        return None
    alone_enough = with_potentials(strong, question.frame)
    for point in _loops(question):
        for alone in alone_enough:
            separation = _at_loop(question, strong, alone, point)
            if separation is not None:
                return separation
    return None


def _loops(question: _Question) -> Iterator[Point]:
    """Loops on which the weak rule fails for some rewards, and no loop of the strong rule over the same records: first
    those that both specs speak of, off the ends of ranges; then any."""
    differ = Differ(question.frame, question.data, question.budget)
    for scope in (Scope(inside=question.domains, interior=True), Scope(inside=question.domains), Scope()):
        for part in question.weak.parts:
            answer = differ.ask(part, question.strong.parts, scope)
            if answer.values is not None:
                yield Point(part, answer.values)


def _at_loop(question: _Question, move: Aligned, alone: Aligned, point: Point) -> Separation | None:
    """Rewards that violate the weak rule on this loop, with a potential by which every move of the strong one is good
    enough."""
    task = Task(question.frame, question.data, question.weak.parts, (alone,), question.budget)
    whole = replace(task, accepting=question.strong.parts)
    respected = instances(task, point.rule, point.values)
    here = tuple(respected)
    loops = instances(whole, point.rule, point.values)
    for shape in islice(_shapes(whole, move, point), SHAPES):
        world = search(task, point, here, respected, shape)
        if world is not None:
            name = potential_over(move.types[0].name)
            told = World({n: reward for n, reward in world.rewards.items() if n != name}, question.data)
            if not any(violated(loop.rule, loop.values, told, question.frame) for loop in loops):
                return Separation(point, told)
    return None


def _shapes(whole: Task, move: Aligned, point: Point) -> Iterator[dict[str, Shape]]:
    """Rewards of any of the usual forms, with a potential that is 0 but at the records of the loop."""
    records = tuple(dict.fromkeys(record for _, record in records_of(point.rule, point.values)))
    name = potential_over(move.types[0].name)
    for shape in shapes(whole):
        yield {**shape, name: Shape(exceptions="none", known=records)}
