"""What language.md says, worked out by hand: lowering and evaluator must both find what is written here.

The differential tests would not see a mistake that both readings share; these would.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction as F

import numpy as np
import pytest

from rewarden.spec_lang import parse_spec
from rewarden.spec_lang.obligation import Instances, Obligation
from rewarden.spec_lang.spec import Spec
from tests.reference import evaluate_data, evaluate_near
from tests.reference.evaluate import Evaluator
from tests.reference.evaluate_agreement import agree, assignment, in_box, named
from tests.reference.evaluate_tree import declared
from tests.reference.evaluate_values import Path, Row, Typed

HEAD = """spec hand v1
features T {
  x: real in 0 .. 10  y: real in -10 .. 10  b: bool  c: enum {p, q}  n: int in 0 .. 5  v: real ^ 2 in -4 .. 4
}
features L { d: real [m] in 0 .. 40  w: real [km/h] in 0 .. 90  k: real [degC] in -20 .. 60 }
features G { i: real [m] in 0 .. 10  j: real [cm] in 0 .. 1000  on: bool }
reward R(t: T)
reward M(a, z: T)
data d: T from "d.csv"
data g: G from "g.csv"
data pairs: (better: T, worse: T) from "pairs.csv"
relation up(a, z: T) = a.x < z.x
relation any(a, z: T) = true
"""


def reward(name: str, columns: Sequence[F]) -> F:
    """R is x; M is the second record's x minus the first's."""
    return columns[0] if name == "R" else columns[len(columns) // 2] - columns[0]


def t(x: object = 0, y: object = 0, b: bool = False, c: str = "p", n: int = 0, v: Sequence[int] = (0, 0)) -> dict:
    return {"x": F(x), "y": F(y), "b": b, "c": c, "n": F(n), "v": tuple(F(e) for e in v)}


def both(rule: str) -> tuple[Spec, Evaluator]:
    spec = parse_spec(f"{HEAD}must r:\n  {rule}\n")
    return spec, Evaluator(declared(spec.tree), reward)


ONE = [  # (rule, record s, premise, conclusion)
    ("forall s: T given s.x >= 5 expect R(s) <= 5", t(5), True, True),
    ("forall s: T given s.x > 5 expect R(s) < 5", t(5), False, False),
    ("forall s: T given 0 <= s.x < 5 != s.y expect true", t(5), False, True),
    ("forall s: T given 0 <= s.x < 6 != s.y expect true", t(5, 7), True, True),
    ("forall s: T given not s.b and s.x > 1 expect true", t(2), True, True),
    ("forall s: T given s.b implies s.b implies false expect true", t(b=True), False, True),
    ("forall s: T given (s.b implies s.b) implies false expect true", t(b=False), False, True),
    ("forall s: T given s.b implies s.b implies false expect true", t(b=False), True, True),
    ("forall s: T given false and false or true expect true", t(), True, True),
    ("forall s: T given s.c == q or s.c != q expect s.c == p", t(c="q"), True, False),
    ("forall s: T given 7 - 2 - 1 == 4 and 8 / 2 / 2 == 2 and 2 - -1 == 3 expect |s.y| >= 3", t(y=-3), True, True),
    ("forall s: T given 50 % == 1 / 2 expect min(s.x, 2, 5) + max(s.v) == 3", t(9, v=(1, -3)), True, True),
    (
        "forall s: T expect linf(s.v) == 4 and l1(s.v) == 7 and l2(s.v) == 5",
        t(v=(3, -4)),
        True,
        True,
    ),
    ("forall s: T given dot(s.v, 2 * s.v) == 50 expect true", t(v=(3, -4)), True, True),
    ("forall s: T expect (if s.n >= 2 then s.x else s.y) == 7", t(7, 1, n=2), True, True),
    ("forall s: T given s.y >= 0 expect R(s with {x = s.y, y = s.x}) == 2", t(9, 2), True, True),
    ("forall s: T given s.y >= 0 expect (s with {x = s.y, y = s.x}).y == 9", t(9, 2), True, True),
    ("forall s: T given s.x <= 5 expect R((s with {x = s.x + 1}) with {x = s.x + 3}) == 4", t(1), True, True),
    ("forall s: T expect R(s with {b = s.x > 3, x = 3}) == 3 and (s with {b = s.x > 3, x = 3}).b", t(4), True, True),
    ("forall s: T given s.n + 1 > 2 expect s.v[1] == -2 and s.v == -s.v", t(n=2, v=(0, -2)), True, False),
    # A rim is that part of Σ|aⱼ|·rangeⱼ, and it is reached exactly at its edge.
    ("forall s: T given beyond(s.x >= 5, 5 %) expect true", t(F("4.5")), True, True),
    ("forall s: T given beyond(s.x >= 5, 5 %) expect true", t(F("4.51")), False, True),
    ("forall s: T given beyond(s.x > 5 or s.b, 5 %) expect true", t(4, b=True), False, True),
    ("forall s: T given beyond(s.x > 5 and s.b, 5 %) expect true", t(9, b=False), True, True),
    ("forall s: T given beyond(s.x + s.y >= 5, 10 %) expect true", t(2), True, True),
    ("forall s: T given beyond(s.x + s.y >= 5, 10 %) expect true", t(F("2.01")), False, True),
    ("forall s: T given beyond(not (s.x < 5), 10 %) expect true", t(4), True, True),
    ("forall s: T given beyond(|s.y| <= 2, 10 %) expect true", t(y=-4), True, True),
    ("forall s: T given beyond(|s.y| <= 2, 10 %) expect true", t(y=3), False, True),
    ("forall s: T given beyond(s.x == 3, 10 %) expect true", t(4), True, True),
    ("forall s: T given beyond(s.x != 3, 10 %) expect true", t(3), False, True),
    ("forall s: T given beyond(s.n >= 3, 50 %) expect true", t(n=2), True, True),
    ("forall s: T given beyond(s.c == p and s.x >= 5, 10 %) expect true", t(4), True, True),
    ("forall s: T given beyond((if s.b then s.x else s.y) >= 5, 10 %) expect true", t(4, 9, b=True), True, True),
    ("forall s: T given beyond((s with {x = 10 - s.x}).x >= 5, 10 %) expect true", t(6), True, True),
]


@pytest.mark.parametrize("rule, record, premise, conclusion", ONE)
def test_one_record(rule: str, record: dict, premise: bool, conclusion: bool) -> None:
    spec, evaluator = both(rule)
    point = {"s": Typed(spec.features["T"], record)}
    assert agree(evaluator, "r", spec.obligation("r"), point)[1:] == (premise, conclusion)


LENGTHS = [
    ("forall s: L given s.d >= 3600 [cm] and s.w < 36 [km/h] expect true", (36, 35, 0), True),
    (
        "forall s: L given s.w == 10 [m/s] expect true",
        (0, 36, 0),
        True,
    ),
    ("forall s: L given s.d == s.w * 2 [s] expect true", (20, 36, 0), True),
    ("forall s: L given s.k == 293.15 [K] and s.k >= 68 [degF] expect true", (0, 0, 20), True),
    ("forall s: L given s.k < 0 [degC] expect true", (0, 0, 0), False),
    ("forall s: L given s.d > 0 and s.d - 1 [m] >= 0 expect true", (1, 0, 0), True),
    ("forall s: L given beyond(s.d >= 20 [m], 5 %) expect true", (18, 0, 0), True),
    ("forall s: L given beyond(s.d + s.w * 1 [s] >= 20 [m], 10 %) expect true", (5, 30, 0), True),  # 13.3 <= 20 - 6.5
    ("forall s: L given beyond(s.d + s.w * 1 [s] >= 20 [m], 10 %) expect true", (5, 31, 0), False),  # 13.6 > 20 - 6.5
]


@pytest.mark.parametrize("rule, numbers, premise", LENGTHS)
def test_units(rule: str, numbers: tuple[int, int, int], premise: bool) -> None:
    spec, evaluator = both(rule)
    point = {"s": Typed(spec.features["L"], dict(zip("dwk", map(F, numbers), strict=True)))}
    assert agree(evaluator, "r", spec.obligation("r"), point)[1] is premise


def test_varying_pairs_share_all_else_and_may_be_equal() -> None:
    spec, evaluator = both("forall a, z: T varying x, b given a.x <= z.x expect R(a) <= R(z) and a.y == z.y")
    kind = spec.features["T"]
    same = {"a": Typed(kind, t(3, 1)), "z": Typed(kind, t(3, 1))}
    other = {"a": Typed(kind, t(4, 1)), "z": Typed(kind, t(3, 1, b=True))}
    assert agree(evaluator, "r", spec.obligation("r"), same) == (True, True, True)
    assert agree(evaluator, "r", spec.obligation("r"), other) == (True, False, False)
    assert {v.name for v in spec.obligation("r").variables if v.record == "z"} == {"z.x", "z.b"}


STEPS = [  # (rule, the x of each record, premise, conclusion)
    ("trace t: T of 3 steps expect sum(R(t)) == 14", (4, 2, 8), True, True),
    ("trace t: T of 3 steps expect sum(R(t) discount 0.5) == 7", (4, 2, 8), True, True),
    ("trace t: T of 3 steps expect sum(M(t)) == 4", (4, 2, 8), True, True),
    ("trace t: T of 3 steps expect sum(M(t) discount 0.5) == 1", (4, 2, 8), True, True),
    ("trace t: T of 3 steps expect sum(2 * M(t) + 1) == 10", (4, 2, 8), True, True),
    ("trace t: T of 3 steps expect sum(t.x - first(t).x) == 2 and last(t).x == 8", (4, 2, 8), True, True),
    ("trace t: T of 1 steps expect sum(M(t)) == 0 and sum(R(t)) == 4", (4,), True, True),
    ("trace t: T of 3 steps via up expect true", (1, 2, 2), False, True),
    ("trace t: T of 3 steps via up expect true", (1, 2, 3), True, True),
    ("trace t: T of 1 steps via up expect true", (3,), True, True),
    ("trace t: T of 3 steps given always (t.x > 1) expect eventually (t.x > 7)", (4, 2, 8), True, True),
    ("trace t: T of 3 steps given always (t.x > 2) expect eventually (t.x > 8)", (4, 2, 8), False, False),
    ("trace t: T of 2 steps given always up(t) expect always (R(t) > 1)", (1, 2), True, False),
    ("trace t: T of 2 steps given always (t.x > 3) expect true", (1, 9), False, True),
    ("trace t: T of 2 steps given always (t.x > 3) or last(t).x > 3 expect true", (1, 9), True, True),
    ("cycle t: T via up expect sum(R(t)) <= 0", (3,), False, False),
    ("cycle t: T via any expect sum(R(t)) <= 0", (0,), True, True),
    ("cycle t: T via any expect sum(M(t)) == 0", (4, 2, 8), True, True),
    ("cycle t: T via any expect sum(M(t)) == 0", (5,), True, True),
    ("cycle t: T via up expect sum(R(t)) <= 0", (1, 2), False, False),
    ("cycle t: T via any given always (t.x > 0) and always (t.b) expect sum(R(t)) < 0", (1, 2), False, False),
]


@pytest.mark.parametrize("rule, numbers, premise, conclusion", STEPS)
def test_traces_and_cycles(rule: str, numbers: tuple[int, ...], premise: bool, conclusion: bool) -> None:
    spec, evaluator = both(rule)
    kind = spec.features["T"]
    path = Path(tuple(Typed(kind, t(x)) for x in numbers), closed=rule.startswith("cycle"))
    obligation = spec.unrolled("r", len(numbers))
    assert agree(evaluator, "r", obligation, {"t": path})[1:] == (premise, conclusion)


def test_lengths() -> None:
    """Within n steps are the lengths 1 to n, of n steps is n alone."""
    within, _ = both("trace t: T within 4 steps expect sum(R(t)) <= 9")
    exact, _ = both("trace t: T of 4 steps expect sum(R(t)) <= 9")
    assert [len(o.records) for o in within.obligations_of("r")] == [1, 2, 3, 4]
    assert [o.case for o in within.obligations_of("r")] == ["1 step", "2 steps", "3 steps", "4 steps"]
    assert [len(o.records) for o in exact.obligations_of("r")] == [4]


# ── near ───────────────────────────────────────────────────────────────────────────────────────
NEAR = [  # (radius, (i, j, on) of the record, inside) around (5, 500, true); i in m, j in cm
    ("1 [m]", (6, 600, True), True),
    ("1 [m]", (6, 601, True), False),
    ("1 [m] in linf", (4, 400, True), True),
    ("1 [m] in l1", (F("5.5"), 550, True), True),
    ("1 [m] in l1", (F("5.5"), 551, True), False),
    ("1 [m] in l2", (F("5.6"), 580, True), True),
    ("1 [m] in l2", (F("5.6"), 581, True), False),
    ("1 [m]", (5, 500, False), False),
    ("10 %", (6, 600, True), True),
    ("10 % in l1", (6, 501, True), False),
    ("{i = 50 [cm]}", (F("5.5"), 500, True), True),
    ("{i = 50 [cm]}", (5, 501, True), False),
    ("{i = 1 [m], j = 10 %} in l2", (F("5.6"), 580, True), True),
    ("{i = 1 [m], j = 10 %} in l2", (F("5.61"), 580, True), False),
    ("0 %", (5, 500, True), True),
    ("0 %", (5, 499, True), False),
    ("100 %", (11, 500, True), False),
]


@pytest.mark.parametrize("radius, numbers, inside", NEAR)
def test_near(radius: str, numbers: tuple, inside: bool) -> None:
    spec, evaluator = both(f"forall s: G near g within {radius} expect true")
    kind = spec.features["G"]
    here = Typed(kind, dict(zip(("i", "j", "on"), (F(numbers[0]), F(numbers[1]), numbers[2]), strict=True)))
    row = Typed(kind, {"i": F(5), "j": F(500), "on": True})
    evaluator.anchors = {"s": row}
    near = evaluator.rules["r"].quantifier
    assert evaluate_near.member(evaluator, near, here, row) is inside
    assert lowered_membership(spec, evaluator, here, row) is inside


@pytest.mark.parametrize("radius, numbers, inside", [case for case in NEAR if " in l" not in case[0]])
def test_not_near_is_its_complement(radius: str, numbers: tuple, inside: bool) -> None:
    from rewarden.spec_lang.lower import with_instances

    spec, evaluator = both(f"forall s: G not near g within {radius} expect true")
    kind = spec.features["G"]
    here = Typed(kind, dict(zip(("i", "j", "on"), (F(numbers[0]), F(numbers[1]), numbers[2]), strict=True)))
    row = Typed(kind, {"i": F(5), "j": F(500), "on": True})
    evaluator.rows = {"g": [Row({"": row})]}
    obligation = with_instances(spec.lowered["r"], np.array([[5.0, 500.0, 1.0]]))
    assert obligation.instances is None
    if evaluate_near.in_range(here):
        assert agree(evaluator, "r", obligation, {"s": here})[1] is not inside


def lowered_membership(spec: Spec, evaluator: Evaluator, here: Typed, row: Typed) -> bool:
    """In the box around the row, and in the ball that the premise holds."""
    import numpy as np

    from rewarden.spec_lang.lower import with_instances

    rows = np.array([[float(v) for v in row.values.values()]])
    obligation: Obligation = with_instances(spec.lowered["r"], rows)
    variables = assignment(obligation, named({"s": here}, evaluator.anchors))
    assert isinstance(obligation.instances, Instances)
    ball = agree(evaluator, "r", obligation, {"s": here})[1]
    return in_box(obligation.instances, 0, variables, obligation) and ball


# ── data ───────────────────────────────────────────────────────────────────────────────────────
LEVELS = [("0", 1), ("0.25", 1), ("0.26", 2), ("1 / 2", 2), ("0.51", 7), ("75 %", 7), ("0.99", 9), ("1", 9)]


@pytest.mark.parametrize("level, expected", LEVELS)
def test_quantiles(level: str, expected: int) -> None:
    """⌈q·n⌉-th smallest of 9, 1, 7, 2, at least the first."""
    spec, evaluator = both(f"forall s: T expect R(s) >= quantile(R(d), {level})")
    kind = spec.features["T"]
    evaluator.rows = {"d": [Row({"": Typed(kind, t(x))}) for x in (9, 1, 7, 2)]}
    for x, holds in ((expected, True), (expected - F(1, 9), False)):
        assert agree(evaluator, "r", spec.obligation("r"), {"s": Typed(kind, t(x))})[2] is holds


@pytest.mark.parametrize("constant, expected", [("mean(R(d))", F(19, 4)), ("min(R(d))", 1), ("max(R(d))", 9)])
def test_means_and_extremes(constant: str, expected: F) -> None:
    spec, evaluator = both(f"forall s: T expect R(s) == {constant}")
    kind = spec.features["T"]
    evaluator.rows = {"d": [Row({"": Typed(kind, t(x))}) for x in (9, 1, 7, 2)]}
    assert agree(evaluator, "r", spec.obligation("r"), {"s": Typed(kind, t(expected))})[2]


def test_rows_of_pairs() -> None:
    """A row gives its members in order to a reward of two records; constants are over all rows."""
    spec, evaluator = both(
        "forall p in pairs given p.better.b expect M(p) >= mean(M(pairs)) and R(p.better) <= max(R(pairs.worse))"
    )
    kind = spec.features["T"]
    rows = [(1, 4), (2, 3), (9, 9)]  # M: 3, 1, 0, mean 4/3; the largest worse one is 9
    found = [Row({"better": Typed(kind, t(a, b=True)), "worse": Typed(kind, t(z))}) for a, z in rows]
    evaluator.rows = {"pairs": found}
    obligation = spec.lowered["r"].obligation
    assert [agree(evaluator, "r", obligation, {"p": row})[1:] for row in found] == [
        (True, True),
        (True, False),
        (True, False),
    ]


@pytest.mark.parametrize(
    "claim, verdict",
    [
        ("share(p.x > 2) >= 0.5", "proved"),
        ("share(p.x > 2) > 0.5", "violated"),
        ("0.5 >= share(p.x > 2)", "proved"),
        ("share(p.x > 0) >= 1", "proved"),
        ("share(p.x > 0) >= 0.84 confidence 0.5", "proved"),  # 0.5^(1/4) = 0.8409
        ("share(p.x > 0) >= 0.85 confidence 0.5", "unknown"),
        ("share(p.x > 9) <= 0.16 confidence 0.5", "proved"),
        ("share(p.x > 9) >= 0.17 confidence 0.5", "violated"),  # the upper bound is 1 - 0.8409
        ("p.x > 1", "violated"),
        ("p.x >= 1", "proved"),
    ],
)
def test_shares(claim: str, verdict: str) -> None:
    """Of 9, 1, 7, 2; a fifth row does not satisfy the premise."""
    spec, evaluator = both(f"forall p in d given not p.b expect {claim}")
    kind = spec.features["T"]
    evaluator.rows = {"d": [Row({"": Typed(kind, t(x, b=x == 0))}) for x in (9, 1, 7, 2, 0)]}
    assert evaluate_data.verdict(evaluator, "r") == verdict


SPELLINGS = [
    ("linf(s.v) >= linf(r.v)", "not (linf(s.v) < linf(r.v))"),
    ("linf(s.v) >= linf(r.v)", "linf(r.v) <= linf(s.v)"),
    (
        "max(s.y - 2 * s.x, 3 * s.x + 3 * s.y) >= max(3 * s.x - 3 * s.y, 0 - s.x - 3 * s.y)",
        "not (max(s.y - 2 * s.x, 3 * s.x + 3 * s.y) < max(3 * s.x - 3 * s.y, 0 - s.x - 3 * s.y))",
    ),
    ("s.x >= 5 implies s.b", "not (s.x >= 5 and not s.b)"),
    ("(if s.b then s.x else 0) > s.y", "(s.b and s.x > s.y) or (not s.b and 0 > s.y)"),
    ("|s.y| < min(s.x, 4)", "s.y < s.x and s.y < 4 and -s.y < s.x and -s.y < 4"),
]


@pytest.mark.parametrize("one, other", SPELLINGS)
def test_beyond_is_of_the_region_and_not_of_its_spelling(one: str, other: str) -> None:
    (first, by_tree), (second, _) = (
        both(f"forall s, r: T given beyond({region}, 20 %) expect true") for region in (one, other)
    )
    kind = first.features["T"]
    vectors = ((0, 0), (1, -1), (4, -3))
    for i in range(60):
        s, r = (
            Typed(kind, t(F(5 * k % 21, 2), F(7 * k % 41 - 20, 2), b=k % 2 == 0, v=vectors[k % 3]))
            for k in (i, 3 * i + 1)
        )
        found = agree(by_tree, "r", first.obligation("r"), {"s": s, "r": r})
        evaluator = Evaluator(declared(second.tree), reward)
        assert agree(evaluator, "r", second.obligation("r"), {"s": s, "r": r}) == found
