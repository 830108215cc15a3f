"""Comparison of shares is exact: held against all rewards there are, up to their order on a few records."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from itertools import product
from math import comb
from pathlib import Path

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from rewarden.spec_lang import load_spec
from rewarden.spec_lang.compare.shares import _at_least_as_strict
from rewarden.spec_lang.compare.specs import compare_specs
from rewarden.spec_lang.obligation import Share
from rewarden.spec_lang.share_counts import enough
from tests.reference.how_many import part_of

HEADER = """spec small v1
features S { x: int in 0 .. 2 }
reward R(s: S)
data d: (a: S, b: S) from "d.csv"
"""
Row = tuple[int, int]
Asked = tuple[str, Fraction, Fraction | None]

COUNTS = {
    "R(p.a) > R(p.b)": lambda a, b, r: r[a] > r[b],
    "R(p.a) >= R(p.b)": lambda a, b, r: r[a] >= r[b],
    "R(p.a) == R(p.b) or p.a.x == 0": lambda a, b, r: r[a] == r[b] or a == 0,
    "|R(p.a) - R(p.b)| < 1 and p.b.x > 0": lambda a, b, r: r[a] == r[b] and b > 0,
}
tables = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=6)
asked = st.tuples(
    st.sampled_from(["<", "<=", ">", ">="]),
    st.sampled_from([Fraction(k, 12) for k in range(13)]),
    st.sampled_from([None, None, Fraction(1, 5), Fraction(3, 5), Fraction(9, 10)]),
)


def text(share: Asked, count: str, premise: str) -> str:
    op, level, confidence = share
    sure = "" if confidence is None else f" confidence {confidence.numerator} / {confidence.denominator}"
    level_text = f"{level.numerator} / {level.denominator}"
    return f"{HEADER}must rule: forall p in d {premise} expect share({count}) {op} {level_text}{sure}\n"


def satisfied(share: Asked, k: int, n: int) -> bool:
    op, level, confidence = share
    if n == 0:
        return True
    if confidence is None:
        return {"<": k < level * n, "<=": k <= level * n, ">": k > level * n, ">=": k >= level * n}[op]
    if op in ("<", "<="):
        k, level = n - k, 1 - level
    tail = sum(comb(n, i) * level**i * (1 - level) ** (n - i) for i in range(k, n + 1))
    if k == 0:  # the lower bound is 0
        return level == 0 and op in ("<=", ">=")
    return tail <= 1 - confidence if op in ("<=", ">=") else tail < 1 - confidence


@settings(max_examples=part_of(250), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables, asked, asked, st.sampled_from(sorted(COUNTS)), st.sampled_from(["", "given p.a.x <= p.b.x"]))
def test_the_change_is_what_all_rewards_say(rows: list[Row], old: Asked, new: Asked, count: str, premise: str) -> None:
    counted = [(a, b) for a, b in rows if not premise or a <= b]
    n = len(counted)
    counts = [sum(COUNTS[count](a, b, r) for a, b in counted) for r in product(range(3), repeat=3)]
    forth = all(satisfied(new, k, n) for k in counts if satisfied(old, k, n))
    back = all(satisfied(old, k, n) for k in counts if satisfied(new, k, n))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "d.csv").write_text("a.x,b.x\n" + "".join(f"{a},{b}\n" for a, b in rows), encoding="utf-8")
        for name, share in (("old", old), ("new", new)):
            (folder / f"{name}.rwd").write_text(text(share, count, premise), encoding="utf-8")
        (change,) = compare_specs(load_spec(folder / "old.rwd"), load_spec(folder / "new.rwd")).rules
    expected = {(True, True): "equal", (True, False): "weaker", (False, True): "stronger"}
    event(change.change)
    assert change.change == expected.get((forth, back), "disjoint")
    for shown in change.situations:
        assert shown.counted is not None
        assert shown.counted.satisfied in counts
        refusing, accepting = (old, new) if shown.refused_by == "old" else (new, old)
        assert satisfied(accepting, shown.counted.satisfied, n)
        assert not satisfied(refusing, shown.counted.satisfied, n)


ORDERED = sorted(count for count in COUNTS if "|" not in count)  # that depend on the order of rewards alone
PREMISES = {
    "": lambda a, b: True,
    "given p.a.x <= p.b.x": lambda a, b: a <= b,
    "given p.a.x > 0": lambda a, b: a > 0,
}
rule = st.tuples(asked, st.sampled_from(ORDERED), st.sampled_from(sorted(PREMISES)))


@settings(max_examples=part_of(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables, rule, rule)
def test_what_is_said_of_other_counts_is_so(
    rows: list[Row], old: tuple[Asked, str, str], new: tuple[Asked, str, str]
) -> None:
    """They count other things, of other rows."""

    def accepts(wanted: tuple[Asked, str, str], r: tuple[int, ...]) -> bool:
        share, count, premise = wanted
        counted = [(a, b) for a, b in rows if PREMISES[premise](a, b)]
        return satisfied(share, sum(COUNTS[count](a, b, r) for a, b in counted), len(counted))

    rewards = list(product(range(3), repeat=3))
    forth = all(accepts(new, r) for r in rewards if accepts(old, r))
    back = all(accepts(old, r) for r in rewards if accepts(new, r))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "d.csv").write_text("a.x,b.x\n" + "".join(f"{a},{b}\n" for a, b in rows), encoding="utf-8")
        for name, wanted in (("old", old), ("new", new)):
            (folder / f"{name}.rwd").write_text(text(*wanted), encoding="utf-8")
        (change,) = compare_specs(load_spec(folder / "old.rwd"), load_spec(folder / "new.rwd")).rules
    event(change.change)
    said = {True: "proved", False: "refuted"}
    assert (change.old_implies_new, change.new_implies_old) == (said[forth], said[back])
    for shown in change.situations:
        assert shown.world is not None
        known = shown.world.rewards.get("R")
        r = tuple(known.at((Fraction(x),)) if known is not None else Fraction(0) for x in range(3))
        refusing, accepting = (old, new) if shown.refused_by == "old" else (new, old)
        assert accepts(accepting, r)
        assert not accepts(refusing, r)


def test_a_stricter_share_is_one_that_fewer_counts_satisfy() -> None:
    """What is said for any number of rows holds for each number of them. A confidence below 1/2 asks for less than the
    share by itself: its bound is on the other side."""
    levels, sure = (
        (Fraction(1, 2), Fraction(3, 5)),
        (None, Fraction(1, 10), Fraction(2, 5), Fraction(1, 2), Fraction(9, 10)),
    )
    shares = [Share(op, level, confidence) for op in ("<", "<=", ">", ">=") for level in levels for confidence in sure]
    told, true = set(), set()
    counts = [[set(enough(share, n)) for n in range(1, 21)] for share in shares]
    for one, other in product(range(len(shares)), repeat=2):
        if _at_least_as_strict(shares[one], shares[other]):
            told.add((one, other))
        if all(few <= many for few, many in zip(counts[one], counts[other], strict=True)):
            true.add((one, other))
    assert told <= true
    assert len(told) > len(shares)
