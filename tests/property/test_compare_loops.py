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
OPS = ("<=", "<", ">=", "==")
VALUES = (Fraction(-1), Fraction(-1, 2), Fraction(0), Fraction(1, 2), Fraction(1))
Rule = tuple[str, int, str]  # what is summed, a constant more, the comparison with 0


def text(relation: str, rule: Rule) -> str:
    body, more, op = rule
    pay = f"let pay(a: S, b: S) = {body} + {more}\n"
    loop = f"relation move(a: S, b: S) = {relation}\nmust rule: cycle t: S via move expect sum(pay(t)) {op} 0\n"
    return HEADER + pay + loop


def accepts(relation: str, rule: Rule, r: tuple[Fraction, ...], m: list[tuple[Fraction, ...]]) -> bool:
    body, more, op = rule
    for loop in LOOPS:
        moves = list(zip(loop, (*loop[1:], loop[0]), strict=True))
        if all(RELATIONS[relation](a, b) for a, b in moves):
            paid = sum((BODIES[body](a, b, r, m) + more for a, b in moves), Fraction(0))
            if not {"<=": paid <= 0, "<": paid < 0, ">=": paid >= 0, "==": paid == 0}[op]:
                return False
    return True


def worth(world: World, name: str, *record: int) -> Fraction:
    return world.rewards[name].at(tuple(map(Fraction, record))) if name in world.rewards else Fraction(0)


@pytest.mark.parametrize("relation", RELATIONS)
def test_what_is_said_of_loops_is_true(relation: str) -> None:
    generator = random.Random(relation)
    changes: Counter[str] = Counter()
    for _ in range(100):
        old: Rule = (generator.choice(list(BODIES)), generator.choice((-1, 0, 0, 1)), generator.choice(OPS))
        new: Rule = (old[0], generator.choice((-1, 0, 0, 1)), generator.choice(OPS))
        if generator.random() < 0.2:
            new = (generator.choice(list(BODIES)), *new[1:])
        (change,) = compare_specs(parse_spec(text(relation, old)), parse_spec(text(relation, new))).rules
        changes[change.change] += 1
        for _ in range(20):
            r = (generator.choice(VALUES), generator.choice(VALUES))
            m = [(generator.choice(VALUES), generator.choice(VALUES)) for _ in range(2)]
            before, after = accepts(relation, old, r, m), accepts(relation, new, r, m)
            assert not (change.old_implies_new == "proved" and before and not after)
            assert not (change.new_implies_old == "proved" and after and not before)
        for shown in change.situations:
            assert shown.world is not None
            r = (worth(shown.world, "R", 0), worth(shown.world, "R", 1))
            m = [(worth(shown.world, "M", a, 0), worth(shown.world, "M", a, 1)) for a in (0, 1)]
            refusing, accepting = (old, new) if shown.refused_by == "old" else (new, old)
            assert accepts(relation, accepting, r, m)
            assert not accepts(relation, refusing, r, m)
    assert changes["equal"] >= 3
    assert relation == "a.x < b.x" or min(changes["weaker"], changes["stronger"]) >= 3
