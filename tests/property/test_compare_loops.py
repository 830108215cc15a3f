"""Comparison of rules about loops is sound: held against all loops of a world of two records, and many rewards."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction
from itertools import product

import pytest

from rewarden.spec_lang import parse_spec
from rewarden.spec_lang.compare.reward import World
from rewarden.spec_lang.compare.specs import compare_specs
from tests.reference.how_many import ALL

HEADER = """spec small v1
features S { x: int in 0 .. 1 }
reward R(s: S)
reward M(a: S, b: S)
"""
RELATIONS = {
    "0 <= a.x + b.x": lambda a, b: True,
    "a.x != b.x": lambda a, b: a != b,
    "a.x <= b.x": lambda a, b: a <= b,
    "a.x < b.x": lambda a, b: a < b,
    "a.x == 1 and b.x == 1": lambda a, b: a == b == 1,
}
BODIES = {
    "R(a)": lambda a, b, r, m: r[a],
    "M(a, b)": lambda a, b, r, m: m[a][b],
    "2 * M(a, b)": lambda a, b, r, m: 2 * m[a][b],
    "R(b)": lambda a, b, r, m: r[b],
    "M(a, b) + b.x - a.x": lambda a, b, r, m: m[a][b] + b - a,
    "M(a, b) - b.x": lambda a, b, r, m: m[a][b] - b,
    "M(a, b) - M(b, a)": lambda a, b, r, m: m[a][b] - m[b][a],
}
LOOPS = [loop for n in (1, 2) for loop in product((0, 1), repeat=n)]  # all others are made of these
PREMISES = {
    "": lambda a, r: True,
    "given always t.x == 1": lambda a, r: a == 1,
    "given always R(t) >= 0": lambda a, r: r[a] >= 0,
}
OPS = ("<=", "<", ">=", "==", "!=")
VALUES = (Fraction(-1), Fraction(-1, 2), Fraction(0), Fraction(1, 2), Fraction(1))
Rule = tuple[str, int, str]  # what is summed, a constant more, the comparison with 0
Allowed = tuple[str, str]  # the relation and the premise


def text(allowed: Allowed, rule: Rule) -> str:
    (relation, premise), (body, more, op) = allowed, rule
    pay = f"let pay(a: S, b: S) = {body} + {more}\n"
    loop = (
        f"relation move(a: S, b: S) = {relation}\nmust rule: cycle t: S via move {premise} expect sum(pay(t)) {op} 0\n"
    )
    return HEADER + pay + loop


def accepts(allowed: Allowed, rule: Rule, r: tuple[Fraction, ...], m: list[tuple[Fraction, ...]]) -> bool:
    relation, premise = RELATIONS[allowed[0]], PREMISES[allowed[1]]
    body, more, op = rule
    paid: dict[tuple[int, ...], Fraction] = {}
    for loop in LOOPS:
        moves = list(zip(loop, (*loop[1:], loop[0]), strict=True))
        if all(relation(a, b) and premise(a, r) for a, b in moves):
            paid[loop] = sum((BODIES[body](a, b, r, m) + more for a, b in moves), Fraction(0))
    if op == "!=":  # loops that meet, of which one pays and one costs, make up a loop that sums to 0
        meeting = [list(paid.values())] if any(len(set(loop)) == 2 for loop in paid) else [[x] for x in paid.values()]
        return all(all(x > 0 for x in sums) or all(x < 0 for x in sums) for sums in meeting)
    return all({"<=": x <= 0, "<": x < 0, ">=": x >= 0, "==": x == 0}[op] for x in paid.values())


def worth(world: World, name: str, *record: int) -> Fraction:
    return world.rewards[name].at(tuple(map(Fraction, record))) if name in world.rewards else Fraction(0)


def check(olds: tuple[Allowed, Rule], news: tuple[Allowed, Rule], generator: random.Random) -> str:
    """What the comparison says of the two is so for every reward that is tried; what it says."""
    (change,) = compare_specs(parse_spec(text(*olds)), parse_spec(text(*news))).rules
    for _ in range(30):
        r = (generator.choice(VALUES), generator.choice(VALUES))
        m = [(generator.choice(VALUES), generator.choice(VALUES)) for _ in range(2)]
        before, after = accepts(*olds, r, m), accepts(*news, r, m)
        assert not (change.old_implies_new == "proved" and before and not after)
        assert not (change.new_implies_old == "proved" and after and not before)
    for shown in change.situations:
        assert shown.world is not None
        assert not any("potential" in name for name in shown.world.rewards)
        r = (worth(shown.world, "R", 0), worth(shown.world, "R", 1))
        m = [(worth(shown.world, "M", a, 0), worth(shown.world, "M", a, 1)) for a in (0, 1)]
        refusing, accepting = (olds, news) if shown.refused_by == "old" else (news, olds)
        assert accepts(*accepting, r, m)
        assert not accepts(*refusing, r, m)
    return change.change


@pytest.mark.parametrize("relation", RELATIONS)
def test_what_is_said_of_loops_is_true(relation: str) -> None:
    generator = random.Random(relation)
    changes: Counter[str] = Counter()
    for _ in range(24 if ALL else 16):
        old: Rule = (generator.choice(list(BODIES)), generator.choice((-1, 0, 0, 1)), generator.choice(OPS))
        new: Rule = (old[0], generator.choice((-1, 0, 0, 1)), generator.choice(OPS))
        if generator.random() < 0.2:
            new = (generator.choice(list(BODIES)), *new[1:])
        changes[check(((relation, ""), old), ((relation, ""), new), generator)] += 1
    assert changes["equal"] >= 1
    assert relation == "a.x < b.x" or min(changes["weaker"], changes["stronger"]) >= 1
    assert not changes["undecided"]


@pytest.mark.parametrize("seed", range(4 if ALL else 2))
def test_other_loops_are_compared_truthfully(seed: int) -> None:
    generator = random.Random(seed)
    changes: Counter[str] = Counter()
    for _ in range(16):
        allowed = [(generator.choice(list(RELATIONS)), generator.choice(list(PREMISES))) for _ in range(2)]
        body, more = generator.choice(list(BODIES)), generator.choice((-1, 0, 0, 0, 1))
        ops = generator.choice([("<=", "<="), ("<=", "<="), ("<=", "<"), ("==", "<="), ("!=", "!="), ("!=", "<")])
        old, new = ((where, (body, more, op)) for where, op in zip(allowed, ops, strict=True))
        changes[check(old, new, generator)] += 1
    decided = {"equal", "weaker", "stronger", "disjoint"}
    assert sum(changes[c] for c in decided) >= 15, changes
