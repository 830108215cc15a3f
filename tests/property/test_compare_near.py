"""Comparison of rules near data that read data constants is sound: held against many rewards on seven cells."""

from __future__ import annotations

import operator
import random
from collections.abc import Callable
from fractions import Fraction
from math import ceil
from pathlib import Path

import pytest

from rewarden.spec_lang import parse_spec
from rewarden.spec_lang.compare.specs import compare_specs

HEADER = """spec small v1
features S { x: real in 0 .. 3 }
reward R(s: S)
data d: S from "d.csv"
data e: S from "e.csv"
"""
CELLS = [Fraction(k, 2) for k in range(7)]  # whole numbers, and between them one number for all
OPS = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, "==": operator.eq}
Reward = dict[Fraction, Fraction]


def constant(kind: str, rows: list[int], r: Reward) -> Fraction:
    worth = sorted(r[Fraction(x)] for x in rows)
    if kind == "mean":
        return sum(worth, Fraction(0)) / len(worth)
    return {"min": worth[0], "max": worth[-1], "quantile": worth[ceil(len(worth) / 2) - 1]}[kind]


def some_rule(generator: random.Random, data: dict[str, list[int]]) -> tuple[str, Callable[[Reward], bool]]:
    """Its text, and whether it accepts a reward that is constant between whole numbers."""
    where, radius = generator.choice("ddde"), generator.choice([0, 1, 1, 2])
    op, more = generator.choice(list(OPS)), generator.choice([0, 0, 0, 1, -1])
    kind, source = generator.choice(["max", "min", "mean", "quantile"]), generator.choice("dde")
    anchored = generator.random() < 0.3
    level = ", 0.5" if kind == "quantile" else ""
    most = f"{kind}(R({source}){level}) + {more}" + " + R(anchor(s))" * anchored

    def accepts(r: Reward) -> bool:
        limit = constant(kind, data[source], r) + more
        near = ((s, Fraction(row)) for row in data[where] for s in CELLS if abs(s - row) <= radius)
        return all(OPS[op](r[s], limit + (r[row] if anchored else 0)) for s, row in near)

    return f"must rule: forall s: S near {where} within {radius} expect R(s) {op} {most}\n", accepts


@pytest.mark.parametrize("seed", range(3))
def test_what_is_said_near_data_is_so(seed: int, tmp_path: Path) -> None:
    generator = random.Random(f"near {seed}")
    decided = 0
    for _ in range(4):
        data = {name: [generator.randrange(4) for _ in range(generator.randint(1, 4))] for name in "de"}
        for name, rows in data.items():
            (tmp_path / f"{name}.csv").write_text("\n".join(["x", *map(str, rows)]) + "\n")
        (old, accepted_before), (new, accepted_now) = (some_rule(generator, data) for _ in range(2))
        before_and_now = (parse_spec(HEADER + old, base=tmp_path), parse_spec(HEADER + new, base=tmp_path))
        (change,) = compare_specs(*before_and_now).rules
        for _ in range(400):
            some = [Fraction(generator.randint(-2, 2), 2) for _ in range(generator.choice([1, 2, 3]))]
            r = {x: generator.choice(some) for x in CELLS}
            before, now = accepted_before(r), accepted_now(r)
            assert not (change.old_implies_new == "proved" and before and not now)
            assert not (change.new_implies_old == "proved" and now and not before)
        for shown in change.situations:
            assert shown.world is not None
            reward = shown.world.rewards["R"]
            r = {x: reward.at((x,)) for x in CELLS}
            assert (accepted_before if shown.refused_by == "new" else accepted_now)(r)
        decided += "unknown" not in (change.old_implies_new, change.new_implies_old)
    assert decided >= 3
