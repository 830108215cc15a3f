"""Comparison of rules that read data constants is sound: held against many rewards on three records."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from itertools import product
from math import ceil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rewarden.spec_lang import load_spec
from rewarden.spec_lang.compare import reward as reward_module
from rewarden.spec_lang.compare.reward import TableReward, World
from rewarden.spec_lang.compare.specs import compare_specs
from rewarden.spec_lang.obligation import Const, Max, Min, Product, Statistic, Term, Var
from tests.reference.how_many import part_of

HEADER = """spec small v1
features S { x: int in 0 .. 2 }
reward R(s: S)
data d: S from "d.csv"
data e: S from "e.csv"
"""
Constant = tuple[str, str, Fraction]  # which one, of which data, its level
Rule = tuple[str, str, Constant, int]  # premise, comparison, what with, how much more
PREMISES = {"": lambda x: True, "given s.x > 0": lambda x: x > 0, "given s.x == 1": lambda x: x == 1}
OPS = {"<=": lambda a, b: a <= b, "<": lambda a, b: a < b, ">=": lambda a, b: a >= b}
rows = st.lists(st.integers(0, 2), min_size=1, max_size=5)
constants = st.tuples(
    st.sampled_from(["quantile", "quantile", "mean", "min", "max"]),
    st.sampled_from(["d", "d", "e"]),
    st.sampled_from([Fraction(1, 10), Fraction(1, 2), Fraction(3, 4), Fraction(1)]),
)
rules = st.tuples(
    st.sampled_from(sorted(PREMISES)), st.sampled_from(sorted(OPS)), constants, st.sampled_from([-1, 0, 0, 1])
)


def text(rule: Rule) -> str:
    premise, op, (kind, data, level), more = rule
    of = f"{kind}(R({data}), {level.numerator} / {level.denominator})" if kind == "quantile" else f"{kind}(R({data}))"
    return f"{HEADER}must rule: forall s: S {premise} expect R(s) {op} {of} + {more}\n"


def accepts(rule: Rule, r: tuple[Fraction, ...], data: dict[str, list[int]]) -> bool:
    premise, op, (kind, name, level), more = rule
    worth = sorted(r[x] for x in data[name])
    n = len(worth)
    constant = {
        "mean": sum(worth, Fraction(0)) / n,
        "min": worth[0],
        "max": worth[-1],
        "quantile": worth[max(1, ceil(level * n)) - 1],
    }[kind]
    return all(OPS[op](r[x], constant + more) for x in range(3) if PREMISES[premise](x))


@settings(max_examples=part_of(120), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows, rows, rules, rules)
def test_what_is_said_is_so(d: list[int], e: list[int], old: Rule, new: Rule) -> None:
    data = {"d": d, "e": e}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, values in data.items():
            (folder / f"{name}.csv").write_text("x\n" + "".join(f"{x}\n" for x in values), encoding="utf-8")
        for name, rule in (("old", old), ("new", new)):
            (folder / f"{name}.rwd").write_text(text(rule), encoding="utf-8")
        (change,) = compare_specs(load_spec(folder / "old.rwd"), load_spec(folder / "new.rwd")).rules
    event(change.change)
    for r in product([Fraction(k, 2) for k in range(-3, 4)], repeat=3):
        before, after = accepts(old, r, data), accepts(new, r, data)
        assert not (change.old_implies_new == "proved" and before and not after), r
        assert not (change.new_implies_old == "proved" and after and not before), r
    for shown in change.situations:
        assert shown.world is not None
        r = tuple(shown.world.call("R", (Fraction(x),)) for x in range(3))
        refusing, accepting = (old, new) if shown.refused_by == "old" else (new, old)
        assert accepts(accepting, r, data)
        assert not accepts(refusing, r, data)


columns = st.sampled_from([0, 1]).map(Var)
scaled = st.builds(lambda c, column: Product(Const(Fraction(c)), column), st.sampled_from([2, -1]), columns)
cut = st.builds(
    lambda kind, inner, c: kind((inner, Const(Fraction(c)))), st.sampled_from([Min, Max]), columns | scaled, st.just(1)
)
bases: st.SearchStrategy[Term | None] = st.none() | columns | scaled | cut
pairs = st.tuples(*[st.sampled_from([Fraction(0), Fraction(1), Fraction(-1), Fraction(5, 2)])] * 2)
others = pairs | st.just((Fraction(1, 3), Fraction(0)))


@settings(max_examples=part_of(200), deadline=None)
@given(
    st.lists(pairs, min_size=1, max_size=8),
    bases,
    st.lists(st.tuples(others, st.integers(-3, 3).map(Fraction)), max_size=3).map(tuple),
    st.sampled_from([(), ((0, Fraction(1)),)]),
)
def test_order_statistics_of_tables_are_exact(table, base, exceptions, slopes) -> None:
    reward = TableReward(Fraction(1, 2), slopes, exceptions, base)
    world = World({"R": reward}, {"d": np.array(table, dtype=np.float64)})
    for place, expected in enumerate(sorted(reward.at(row) for row in table), start=1):
        assert world.statistic(Statistic("quantile", "R", "d", Fraction(place, len(table)))) == expected


numbers = st.sampled_from([0.0, 1.0, 0.1, -0.3, 2.0**-40, -(2.0**52 + 1), 5e-324, 1e200])


@settings(max_examples=part_of(100), deadline=None)
@given(
    st.lists(pairs, min_size=1, max_size=8),
    st.dictionaries(pairs, numbers.filter(bool), min_size=1, max_size=5),
    st.sets(others, max_size=4),
)
def test_listed_numbers_are_exceptions(table, worth, shown) -> None:
    exceptions = tuple((record, Fraction(x)) for record, x in worth.items())
    written = TableReward(Fraction(0), exceptions=exceptions)
    listed = TableReward(Fraction(0), listed={np.array(r, dtype=np.float64).tobytes(): x for r, x in worth.items()})
    data = {"d": np.array(table, dtype=np.float64)}
    both = [World({"R": reward}, data) for reward in (written, listed)]
    for record in [*table, *worth, (Fraction(1, 3), Fraction(0)), (Fraction(10) ** 400, Fraction(0))]:
        assert written.at(record) == listed.at(record)
    assert written.others(shown) == listed.others(shown)
    asked = [Statistic("quantile", "R", "d", Fraction(k + 1, len(table))) for k in range(len(table))]
    for constant in [*(Statistic(kind, "R", "d", None) for kind in ("mean", "min", "max")), *asked]:
        assert both[0].statistic(constant) == both[1].statistic(constant)


def test_order_statistics_of_many_rows_make_few_of_them_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).uniform(-1, 1, (60_000, 8))
    reward = TableReward(Fraction(1), (), (((Fraction(0),) * 8, Fraction(2)),), Min((Var(3), Const(Fraction(1, 2)))))
    world = World({"R": reward}, {"d": rows})
    exactly, made = reward_module._values, list[int]()

    def counted(reward: TableReward, rows: NDArray[np.float64]) -> list[Fraction]:
        made.append(len(rows))
        return exactly(reward, rows)

    monkeypatch.setattr(reward_module, "_values", counted)
    for level in (Fraction(1, 10), Fraction(1, 2), Fraction(1)):
        assert world.statistic(Statistic("quantile", "R", "d", level)) < 2
    assert sum(made) <= 3 * (1 + len(reward.exceptions))
