"""Rules about rows of data, or a share of them, against others: held against many rewards on three records."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction
from itertools import product
from math import ceil
from pathlib import Path

import pytest

from rewarden.spec_lang import load_spec
from rewarden.spec_lang.compare.specs import compare_specs

HEADER = """spec small v1
features S { x: int in 0 .. 2 }
reward R(s: S)
data d: S from "d.csv"
data e: S from "e.csv"
"""
Worth = tuple[Fraction, ...]  # of the records 0, 1 and 2
CONSTANTS = {
    "0": lambda r, rows: Fraction(0),
    "quantile(R(e), 0.5)": lambda r, rows: sorted(r[x] for x in rows)[ceil(len(rows) / 2) - 1],
    "mean(R(e))": lambda r, rows: sum((r[x] for x in rows), Fraction(0)) / len(rows),
    "max(R(e))": lambda r, rows: max(r[x] for x in rows),
}
PREMISES = {"": lambda x: True, "given p.x > 0": lambda x: x > 0}
OPS = {"<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b}
SHARES = {"share": (Fraction(1, 2), Fraction(3, 4), Fraction(1, 4)), "all": (), "records": (), "pairs": ()}
Rule = tuple[str, str, str, str, str, Fraction]  # the kind, the data, premise, comparison, constant, level


def text(rule: Rule) -> str:
    kind, data, premise, op, constant, level = rule
    q = f"R(p) {op} {constant}"
    body = {
        "share": f"forall p in {data} {premise} expect share({q}) >= {level.numerator} / {level.denominator}",
        "all": f"forall p in {data} {premise} expect {q}",
        "records": f"forall p: S {premise} expect {q}",
        "pairs": f"forall p, t: S {premise} expect R(p) {op} R(t)",
    }[kind]
    return f"{HEADER}must rule: {body}\n"


def accepts(rule: Rule, r: Worth, data: dict[str, list[int]]) -> bool:
    kind, name, premise, op, constant, level = rule
    if kind == "pairs":
        return all(OPS[op](r[a], r[b]) for a, b in product(range(3), repeat=2) if PREMISES[premise](a))
    rows = range(3) if kind == "records" else data[name]
    with_what = CONSTANTS[constant](r, data["e"])
    holds = [OPS[op](r[x], with_what) for x in rows if PREMISES[premise](x)]
    return sum(holds) >= (level if kind == "share" else 1) * len(holds)


def random_rule(generator: random.Random, kind: str) -> Rule:
    level = generator.choice(SHARES[kind] or (Fraction(1),))
    pick = (generator.choice(list(choices)) for choices in ("dde", PREMISES, OPS, CONSTANTS))
    data, premise, op, constant = pick
    return kind, data, premise, op, constant, level


@pytest.mark.parametrize(
    "kinds", [("share", "records"), ("share", "all"), ("share", "pairs"), ("all", "all"), ("all", "records")]
)
def test_what_is_said_is_so(kinds: tuple[str, str], tmp_path: Path) -> None:
    generator = random.Random("-".join(kinds))
    changes: Counter[str] = Counter()
    rewards = list(product([Fraction(k, 2) for k in range(-3, 4)], repeat=3))
    for _ in range(12):
        rules = [random_rule(generator, kind) for kind in kinds]
        generator.shuffle(rules)
        data = {name: [generator.randrange(3) for _ in range(generator.randint(1, 5))] for name in "de"}
        for name, values in data.items():
            (tmp_path / f"{name}.csv").write_text("x\n" + "".join(f"{x}\n" for x in values), encoding="utf-8")
        for name, rule in zip(("old", "new"), rules, strict=True):
            (tmp_path / f"{name}.rwd").write_text(text(rule), encoding="utf-8")
        (change,) = compare_specs(load_spec(tmp_path / "old.rwd"), load_spec(tmp_path / "new.rwd")).rules
        changes[change.change] += 1
        old, new = rules
        for r in rewards:
            before, after = accepts(old, r, data), accepts(new, r, data)
            assert not (change.old_implies_new == "proved" and before and not after), (text(old), text(new), data, r)
            assert not (change.new_implies_old == "proved" and after and not before), (text(old), text(new), data, r)
        for shown in change.situations:
            assert shown.world is not None
            known = shown.world.rewards.get("R")
            r = tuple(Fraction(0) if known is None else known.at((Fraction(x),)) for x in range(3))
            refusing, accepting = (old, new) if shown.refused_by == "old" else (new, old)
            assert accepts(accepting, r, data)
            assert not accepts(refusing, r, data)
    decided = {"equal", "weaker", "stronger", "disjoint"}
    assert sum(changes[c] for c in decided) > 10, changes
