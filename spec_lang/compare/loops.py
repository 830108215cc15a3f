"""Rules about loops of every length that sum the same but for a constant: `sum(R(t)) <= 0` against `< 0`, or against
`sum(pay(t)) <= 0` where pay is R + 1.

Both ask that Σ g over the moves of a loop is above 0 (or at least 0), for the same loops. Where one's g is λ times the
other's plus a constant c, with λ > 0, on loops of one, two and three records, the sums over n moves differ by n·c for
every n (`CYCLE_LENGTHS`), and the sign of c decides. That the one does not follow from the other is shown by a
reward whose g is one and the same number τ on every move, so that a loop of n moves sums to n·τ: again for all lengths
if it is so for one to three. And by a loop that the relation allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from rewarden.spec_lang.compare.align import Aligned, same
from rewarden.spec_lang.compare.data import Matrix
from rewarden.spec_lang.compare.fit import Point
from rewarden.spec_lang.compare.frame import Frame
from rewarden.spec_lang.compare.instances import calls_in, violated
from rewarden.spec_lang.compare.model import Entailment
from rewarden.spec_lang.compare.reward import TableReward, World
from rewarden.spec_lang.compare.separate import Separation
from rewarden.spec_lang.compare.z3 import Budget, Scope, breach
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.forms import ONE, ZERO, Form, combine, form_of
from rewarden.spec_lang.obligation import TRUE, And, Atom, Call, Term, Var

CYCLE_LENGTHS = (1, 2, 3)
"""Rules about loops that say the same of loops of one to three records are equal. Their relation is read off two
records, so it is the same. What their sums differ by, d(a, b) for each move, adds up to 0 on all such loops. So d(a, a)
is 0, d(a, b) = -d(b, a) and d(a, b) + d(b, c) = d(a, c), whence d(a, b) = f(b) - f(a) for some f: 0 on every loop."""


OTHERS = (ZERO, ONE, -ONE)  # what rewards may be that the sum does not depend on


@dataclass(frozen=True, slots=True, eq=False)
class Loops:
    """Does the one rule entail the other? If not, rewards and a loop that show it."""

    status: Entailment
    separation: Separation | None = None


@dataclass(frozen=True, slots=True)
class _Gap:
    """The weak rule's sum over n moves is `scale` times the strong one's plus n times `shift`."""

    scale: Fraction
    shift: Fraction


def loop_entails(
    frame: Frame, data: Mapping[str, Matrix], budget: Budget, strong: Sequence[Aligned], weak: Sequence[Aligned]
) -> Loops | None:
    """For the obligations of both at CYCLE_LENGTHS; None where they differ by more than constants."""
    pairs = zip(strong, weak, strict=True)
    if not all(same(replace(a, conclusion=TRUE), replace(b, conclusion=TRUE)) for a, b in pairs):
        return None
    asked, wanted = _comparisons(strong), _comparisons(weak)
    gaps = [[_gap(a, b) for a in asked] for b in wanted]
    if not asked or not wanted or any(gap is None for row in gaps for gap in row):
        return None
    follows = [any(map(_follows, row, asked, [b] * len(asked))) for row, b in zip(gaps, wanted, strict=True)]
    if all(follows):
        return Loops("proved")
    between = [-row[0].shift / row[0].scale / 2 for row in gaps if row[0] is not None]
    for each in dict.fromkeys((ZERO, *between, ONE, -ONE)):
        for others in OTHERS:
            rewards = _even(strong, asked[0], each, others)
            if rewards is None or not all(_satisfied(one, rewards) for one in asked):
                continue
            separation = _broken(weak, World(rewards, data), frame, budget)
            if separation is not None:
                return Loops("refuted", separation)
    return Loops("unknown")


@dataclass(frozen=True, slots=True)
class _Comparison:
    """A sum over a loop is above 0 if `strict`, else at least 0: the sums for each of CYCLE_LENGTHS."""

    sums: tuple[Form, ...]
    strict: bool


def _comparisons(parts: Sequence[Aligned]) -> list[_Comparison]:
    """What the conclusion is made of: one comparison, or two where it says `==`; nothing for others."""
    every = []
    for part in parts:
        atoms = part.conclusion.parts if isinstance(part.conclusion, And) else (part.conclusion,)
        every.append([(form_of(a.term), a.strict) for a in atoms if isinstance(a, Atom)])
        if len(every[-1]) < len(atoms) or len(every[-1]) != len(every[0]):
            return []
    return [_Comparison(tuple(form for form, _ in one), one[0][1]) for one in zip(*every, strict=True)]


def _follows(gap: _Gap | None, asked: _Comparison, wanted: _Comparison) -> bool:
    if gap is None or gap.scale < 0:
        return False
    return gap.shift > 0 or (gap.shift == 0 and (asked.strict or not wanted.strict))


def _broken(weak: Sequence[Aligned], world: World, frame: Frame, budget: Budget) -> Separation | None:
    """A loop that violates the weak rule with these rewards."""
    try:
        for part in weak:
            answer = breach(part, world.rewards, {}, Scope(), budget)
            if answer.values is not None and violated(part, answer.values, world, frame):
                return Separation(Point(part, answer.values), world)
    except (Unsupported, KeyError, ZeroDivisionError):
        return None  # irrational numbers, or data that was not read
    return None


def _gap(asked: _Comparison, wanted: _Comparison) -> _Gap | None:
    found: set[tuple[Fraction, Fraction]] = set()
    for length, a, b in zip(CYCLE_LENGTHS, asked.sums, wanted.sums, strict=True):
        leaf = next(iter(a.parts))
        scale = b.parts.get(leaf, ZERO) / a.parts[leaf]
        rest = b - a.scaled(scale)
        if not scale or not rest.is_constant:
            return None
        found.add((scale, rest.constant / length))
    return _Gap(*found.pop()) if len(found) == 1 else None


def _even(
    parts: Sequence[Aligned], wanted: _Comparison, each: Fraction, others: Fraction
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


def _satisfied(asked: _Comparison, rewards: Mapping[str, TableReward]) -> bool:
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
