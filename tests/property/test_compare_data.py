"""Comparison of rules near data is sound: situations are what they say, by the slow evaluator's judgement."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from math import ceil
from pathlib import Path

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from rewarden.spec_lang import Spec, load_spec
from rewarden.spec_lang.compare.model import Situation
from rewarden.spec_lang.compare.specs import compare_specs
from tests.reference import evaluate_near
from tests.reference.evaluate import Evaluator, Typed
from tests.reference.how_many import part_of

HEADER = """spec small v1
features S { x: real in 0 .. 4  y: real in 0 .. 4  w: bool }
reward R(s: S)
data d: S from "{file}.jsonl"
"""
Row = tuple[int, int, bool]  # x and y in quarters

numbers = st.integers(0, 16)
tables = st.lists(st.tuples(numbers, numbers, st.booleans()), min_size=1, max_size=5, unique=True)
radii = st.sampled_from(["0.25", "0.5", "1", "{x = 0.5, y = 0.25}", "{x = 1}"])
norms = st.sampled_from(["", " in l1", " in l2"])
conclusions = st.sampled_from(
    [
        "R(s) <= 1",
        "R(s) < 2",
        "R(s) >= s.x",
        "|R(s) - R(anchor(s))| <= 1",
        "|R(s) - R(anchor(s))| <= 0.5",
        "R(s) <= quantile(R(d), 0.5)",
        "R(s) <= max(R(d))",
        "R(s with {w = false}) >= R(s)",
    ]
)
premises = st.sampled_from(["", "given s.w", "given s.x > s.y"])
rules = st.builds(
    lambda r, n, p, c: f"must rule: forall s: S near d within {r}{n} {p} expect {c}\n",
    radii,
    norms,
    premises,
    conclusions,
) | st.builds(lambda p, c: f"must rule: forall s: S {p} expect {c}\n", premises, st.just("R(s) <= 1"))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[str, str]:
    first = draw(rules)
    if draw(st.integers(0, 2)) == 0:
        return first, draw(rules)
    swaps = [
        ("0.25", "0.5"),
        ("0.5", "1"),
        ("1", "2"),
        ("<=", "<"),
        (" in l1", " in l2"),
        (" in l2", ""),
        ("given s.w", ""),
    ]
    old, new = draw(st.sampled_from([s for s in swaps if s[0] in first] or [("must", "must")]))
    changed = first.replace(old, new, 1)
    return (first, changed) if draw(st.booleans()) else (changed, first)


def record(row: Row) -> dict[str, object]:
    return {"x": Fraction(row[0], 4), "y": Fraction(row[1], 4), "w": row[2]}


def failures(spec: Spec, shown: Situation, rows: Sequence[Row], places: Sequence[dict[str, object]]) -> int:
    """How often the rule fails at these places, near whatever rows they lie, for the rewards of the situation."""
    kind = spec.features["S"]
    world = shown.world
    assert world is not None

    def reward(name: str, columns: list[Fraction]) -> Fraction:
        return world.call(name, tuple(columns))

    def statistic(what: str, name: str, data: str, level: Fraction | None) -> Fraction:
        values = sorted(reward(name, [Fraction(r[0], 4), Fraction(r[1], 4), Fraction(r[2])]) for r in rows)
        return values[-1] if what == "max" else values[max(1, ceil((level or 0) * len(values))) - 1]

    found = 0
    near = "near" in spec.source.text.split("must rule")[1]
    for place in places:
        here = Typed(kind, place)
        for row in rows if near else rows[:1]:
            anchor = Typed(kind, record(row))
            evaluator = Evaluator(spec, reward, statistic, {"s": anchor})
            if near and not evaluate_near.in_box(evaluator, evaluator.rules["rule"].quantifier, here, anchor):
                continue
            if evaluator.premise("rule", {"s": here}) and not evaluator.conclusion("rule", {"s": here}):
                found += 1
    return found


@settings(max_examples=part_of(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pair=pairs(), before=tables, after=tables, same=st.booleans())
def test_situations_near_data_are_what_they_say(
    pair: tuple[str, str], before: list[Row], after: list[Row], same: bool
) -> None:
    rows = {"old": before, "new": before if same else after}
    specs: dict[str, Spec] = {}
    with tempfile.TemporaryDirectory() as folder:
        for side, rule in zip(("old", "new"), pair, strict=True):
            lines = [f'{{"x": {r[0] / 4}, "y": {r[1] / 4}, "w": {str(r[2]).lower()}}}\n' for r in rows[side]]
            (Path(folder) / f"{side}.jsonl").write_text("".join(lines), encoding="utf-8")
            text = HEADER.replace("{file}", side) + rule
            (Path(folder) / f"{side}.rwd").write_text(text, encoding="utf-8")
            specs[side] = load_spec(Path(folder) / f"{side}.rwd")
        (change,) = compare_specs(specs["old"], specs["new"]).rules
    event(change.change)
    if change.change == "equal" and change.by == "text":
        assert sorted(rows["old"]) == sorted(rows["new"]) or "near" not in pair[0]
    grid = [record((x, y, w)) for x, y, w in product(range(0, 17, 2), range(0, 17, 2), (False, True))]
    for shown in change.situations:
        accepting = "old" if shown.refused_by == "new" else "new"
        here = {name: Fraction(v) if name in "xy" else v for name, v in shown.records["s"].items()}
        around = [
            dict(here, x=here["x"] + Fraction(dx, 8)) for dx in range(-8, 9) if 0 <= here["x"] + Fraction(dx, 8) <= 4
        ]
        assert failures(specs[shown.refused_by], shown, rows[shown.refused_by], [here]) > 0
        assert failures(specs[accepting], shown, rows[accepting], [here, *around, *grid]) == 0
