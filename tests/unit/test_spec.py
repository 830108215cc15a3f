"""`load_spec`: parameters, digests, data, and what an obligation of each quantifier looks like."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from rewarden.spec_lang import SpecError, load_spec, parse_spec
from rewarden.spec_lang.errors import DataError, UsageError
from rewarden.spec_lang.obligation import And, Atom, Call, Const, Max, Or, Product, Sum, Var
from rewarden.spec_lang.spec import Spec

F = Fraction

SPEC = """spec s v1
features Step { speed: real [km/h] in 0 .. 90 wet: bool lane: enum {left, right} n: int in 0 .. 9 }
features Other { e: real ^ 2 in -1 .. 1 }
assume s: Step = s.wet implies s.speed <= 20 [m/s]
reward R(s: Step)
reward H(o: Other)
data logs: Step from "data/logs.csv"
data pairs: (better: Step, worse: Step) from "pairs.csv"
param v: real [m/s] = 5 [m/s]
param twice: real [m/s] = 2 * v
param on: bool = true
param k: int = 3
let gain(a, b: Step) = R(a) - R(b)

--- Slower is better.
must slow:
  forall a, b: Step varying speed
  given a.speed <= b.speed and a.speed > v and on
  expect gain(a, b) >= 0
  weight k / 2
  id "SR-1" because "review"

must wet_left:
  forall s: Step
  given s.lane == left and s.lane != right and not s.wet
  expect |R(s)| <= quantile(R(logs), 5 %)
"""
NEAR = """
must near_logs:
  forall s: Step near logs within {radius}
  expect R(s) <= 1
"""


def with_data(folder: Path, rule: str, rows: str = "speed,wet,lane,n\n36,0,left,3\n72,1,right,9\n") -> Spec:
    (folder / "data").mkdir()
    (folder / "data" / "logs.csv").write_text(rows, encoding="utf-8")
    (folder / "s.rwd").write_text(SPEC + rule, encoding="utf-8")
    return load_spec(folder / "s.rwd")


def test_rules_know_what_they_mention() -> None:
    slow, wet_left = parse_spec(SPEC).rules
    assert (slow.name, slow.severity, slow.title) == ("slow", "must", "Slower is better.")
    assert (slow.rewards, slow.data) == (("R",), ())
    assert slow.records == (("a", "Step"), ("b", "Step"))
    assert (slow.weight, slow.requirement, slow.because) == (F(3, 2), "SR-1", "review")
    assert (wet_left.rewards, wet_left.data, wet_left.weight) == (("R",), ("logs",), 1)


def test_a_pair_of_records() -> None:
    obligation = parse_spec(SPEC).lowered["slow"].obligation
    assert [v.name for v in obligation.variables] == [
        "a.speed",
        "a.wet",
        "a.lane=left",
        "a.lane=right",
        "a.n",
        "b.speed",
    ]
    assert [r.variables for r in obligation.records] == [(0, 1, 2, 3, 4), (5, 1, 2, 3, 4)]
    assert [v.discrete for v in obligation.variables] == [False, True, True, True, True, False]
    speed = Product(Const(F(5, 18)), Var(0))
    other = Product(Const(F(5, 18)), Var(5))
    assert obligation.premise == And(
        (
            Atom(Sum((other, Product(Const(F(-5, 18)), Var(0)))), False),
            Atom(Sum((speed, Const(F(-5)))), True),
        )
    )
    left, right = (tuple(Var(i) for i in r.variables) for r in obligation.records)
    assert obligation.conclusion == Atom(Sum((Call("R", left), Product(Const(F(-1)), Call("R", right)))), False)
    total = Sum((Var(2), Var(3), Const(F(-1))))
    assert isinstance(obligation.structure, And)
    assert obligation.structure.parts[0] == Atom(total, False)
    assert len(obligation.structure.parts) == 2
    # one assumption about a, one about b
    wet = Atom(Product(Const(F(-1)), Var(1)), False)
    slow = [Atom(Sum((Product(Const(F(-5, 18)), Var(i)), Const(F(20)))), False) for i in (0, 5)]
    assert obligation.assume == And(tuple(Or((wet, a)) for a in slow))


def test_discrete_atoms_and_absolute_values() -> None:
    obligation = parse_spec(SPEC).lowered["wet_left"].obligation
    assert isinstance(obligation.premise, And)
    assert obligation.premise.parts == (
        Atom(Sum((Var(2), Const(F(-1)))), False),  # lane == left
        Atom(Product(Const(F(-1)), Var(3)), False),  # lane != right
        Atom(Product(Const(F(-1)), Var(1)), False),  # not wet
    )
    assert isinstance(obligation.conclusion, Atom)
    assert isinstance(obligation.conclusion.term, Sum)
    call = Call("R", tuple(Var(i) for i in range(5)))
    magnitude = obligation.conclusion.term.terms[1]
    assert magnitude == Product(Const(F(-1)), Max((call, Product(Const(F(-1)), call))))


def test_every_atom_knows_where_it_comes_from() -> None:
    spec = parse_spec(SPEC)
    premise = spec.lowered["slow"].obligation.premise
    assert isinstance(premise, And)
    texts = [p.origin.text for p in premise.parts if isinstance(p, Atom) and p.origin is not None]
    assert texts == ["a.speed <= b.speed", "a.speed > v"]


# ── parameters ─────────────────────────────────────────────────────────────────────────────────
def test_comparisons_are_quoted_with_all_their_parentheses() -> None:
    rule = """
must r: forall s: Step
  given (s.n + 1) >= (2) and ((0)
    <  # of them
    ((s.n)) <= (3 - s.n))
  expect (-1) * (R(s)) <= (s.n)
"""
    obligation = parse_spec(SPEC + rule).obligation("r")
    parts = [*obligation.premise.parts, obligation.conclusion] if isinstance(obligation.premise, And) else []
    origins = [p.origin for p in parts if isinstance(p, Atom) and p.origin is not None]
    assert [" ".join(o.text.split()) for o in origins] == [
        "(s.n + 1) >= (2)",
        "(0) < # of them ((s.n))",
        "((s.n)) <= (3 - s.n)",
        "(-1) * (R(s)) <= (s.n)",
    ]
    for origin in origins:
        line = origin.source.line(origin.line)
        assert line[origin.column - 1 :].startswith(origin.text.split("\n")[0])


def test_parameters_are_exact_and_follow_each_other() -> None:
    spec = parse_spec(SPEC)
    assert {p.name: p.value for p in spec.params.values()} == {"v": 5, "twice": 10, "on": 1, "k": 3}
    changed = parse_spec(SPEC, params={"v": 0.1, "on": False})
    assert changed.params["v"].value == F(1, 10)
    assert changed.params["twice"].value == F(1, 5)
    assert changed.params["v"].overridden
    assert not changed.params["twice"].overridden
    assert parse_spec(SPEC, params={"v": "36 [km/h]"}).params["v"].value == 10
    assert parse_spec(SPEC, params={"v": -2}).params["v"].value == -2


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"w": 1}, "N09"),
        ({"v": "1"}, "U02"),
        ({"v": "1 [m]"}, "U02"),
        ({"v": "k [m/s]"}, "P01"),
        ({"v": "twice"}, "T07"),
        ({"v": "("}, "P01"),
        ({"v": "1 [m/s] param q: real = 3"}, "P01"),
        ({"v": True}, "T01"),
        ({"v": float("nan")}, "T01"),
        ({"v": None}, "T01"),
        ({"on": 1}, "T01"),
        ({"k": 0.5}, "T13"),
        ({"k": "1e9999"}, "P07"),
    ],
)
def test_parameters_from_outside_are_checked(given: dict[str, object], code: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(SPEC, params=given)
    assert caught.value.code == code
    assert caught.value.render()


def test_the_digest_names_the_meaning() -> None:
    digest = parse_spec(SPEC).digest
    assert digest.startswith("sha256:")
    assert (
        parse_spec(
            SPEC.replace("\n", " # remark\n").replace("--- Slower is better. # remark", "--- Slower is better.")
        ).digest
        == digest
    )
    assert parse_spec(SPEC.replace("a.speed > v", "(a.speed)   >  v"), "other name").digest == digest
    assert parse_spec(SPEC.replace("a.speed > v", "a.speed >= v")).digest != digest
    assert parse_spec(SPEC, params={"v": 6}).digest != digest
    assert parse_spec(SPEC, params={"v": 5}).digest == digest


# ── data ───────────────────────────────────────────────────────────────────────────────────────
def test_near_data(tmp_path: Path) -> None:
    obligation = with_data(tmp_path, NEAR.format(radius="5 %")).obligation("near_logs")
    assert obligation.instances is not None
    np.testing.assert_array_equal(obligation.instances.anchors, [[36, 0, 1, 0, 3], [72, 1, 0, 1, 9]])
    assert obligation.instances.centred == ((0, 0, F(9, 2)),)
    assert obligation.instances.fixed == ((1, 1), (2, 2), (3, 3), (4, 4))
    assert obligation.instances.data == "logs"
    assert len(obligation.records) == 1


@pytest.mark.parametrize(
    ("radius", "centred"),
    [
        ("1 [m/s]", ((0, 0, F(18, 5)),)),
        ("v", ((0, 0, F(18)),)),
        ("{speed = 10 %, n = 2}", ((0, 0, F(9)), (4, 4, F(2)))),
        ("{n = 1}", ((4, 4, F(1)),)),
        ("0", ()),
    ],
)
def test_the_forms_of_a_radius(tmp_path: Path, radius: str, centred: tuple[tuple[int, int, Fraction], ...]) -> None:
    spec = with_data(tmp_path, NEAR.format(radius=radius))
    instances = spec.obligation("near_logs").instances
    assert instances is not None
    assert instances.centred == centred
    assert len(instances.centred) + len(instances.fixed) == 5


def test_an_anchor_is_a_fixed_record(tmp_path: Path) -> None:
    rule = "must steady: forall s: Step near logs within 5 % expect |R(s) - R(anchor(s))| <= 1\n"
    obligation = with_data(tmp_path, rule).obligation("steady")
    assert [r.name for r in obligation.records] == ["s", "anchor(s)"]
    assert obligation.instances is not None
    assert obligation.instances.fixed[-5:] == ((5, 0), (6, 1), (7, 2), (8, 3), (9, 4))
    assert obligation.premise == And(())
    ball = with_data_rule(tmp_path, rule.replace("5 %", "5 % in l1"))
    assert isinstance(ball.lowered["steady"].obligation.premise, Atom)


def with_data_rule(folder: Path, rule: str) -> Spec:
    (folder / "t.rwd").write_text(SPEC + rule, encoding="utf-8")
    return load_spec(folder / "t.rwd")


def test_data_is_checked_against_assumptions(tmp_path: Path) -> None:
    spec = with_data(tmp_path, "", "speed,wet,lane,n\n36,0,left,3\n80,1,right,9\n")
    with pytest.raises(DataError) as caught:
        spec.table("logs")
    assert caught.value.code == "D14"


def test_tables_are_read_once(tmp_path: Path) -> None:
    spec = with_data(tmp_path, "")
    assert spec.table("logs") is spec.table("logs")
    (tmp_path / "pairs.csv").write_text(
        "better.speed,better.wet,better.lane,better.n,worse.speed,worse.wet,worse.lane,worse.n\n1,0,left,1,2,0,left,2\n",
        encoding="utf-8",
    )
    assert spec.table("pairs", "worse").values[0, 0] == 2
    with pytest.raises(UsageError):
        spec.table("pairs")
    with pytest.raises(UsageError):
        spec.table("nothing")


def test_data_does_not_leave_the_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    inside = tmp_path / "inside"
    inside.mkdir()
    spec = with_data(inside, "")
    (inside / "data" / "logs.csv").rename(outside / "logs.csv")
    (inside / "data" / "logs.csv").symlink_to(outside / "logs.csv")
    with pytest.raises(UsageError) as caught:
        spec.table("logs")
    assert caught.value.code == "G23"


def test_missing_things(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_spec(tmp_path / "none.rwd")
    assert caught.value.code == "G20"
    with pytest.raises(UsageError):
        load_spec(tmp_path)
    spec = parse_spec(SPEC)
    with pytest.raises(UsageError) as caught:
        spec.rule("slo")
    assert caught.value.help == "did you mean slow?"
    with pytest.raises(UsageError):
        spec.table("logs")  # no folder to look in


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, rewarden.spec_lang as s; assert 'torch' not in sys.modules and 'z3' not in sys.modules;"
        "s.parse_spec('spec s v1'); assert not {'torch', 'z3', 'pint'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ── premises that `with` relies on ─────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "given",
    [
        "s.speed >= 1 [m/s]",
        "s.speed > 3.6 [km/h]",
        "s.speed - 1 [m/s] >= 0",
        "s.wet and (s.lane == left or true) and s.speed >= 2 [m/s]",
        "(s.wet and s.speed >= 1 [m/s]) or (s.n > 3 and s.speed >= 50 [km/h])",
        "|s.speed - 50 [km/h]| <= 10 [km/h]",
        "s.speed >= s.n * 1 [m/s] and s.n > 0",
        "s.speed >= t.speed and t.speed >= 1 [m/s]",
        "2 * s.speed - t.speed >= 3 [m/s] and t.speed >= 0 and t.speed + s.speed >= 1 [m/s]",
        "s.n < 0",
    ],
)
def test_premises_that_suffice(given: str) -> None:
    rule = f"must a: forall s, t: Step given {given} expect R(s with {{speed = s.speed - 1 [m/s]}}) >= R(s)\n"
    assert len(parse_spec(SPEC + rule).rules) == 3


@pytest.mark.parametrize(
    "given",
    [
        "s.speed >= 0.99 [m/s]",
        "t.speed >= 1 [m/s]",
        "s.speed >= 1 [m/s] or s.wet",
        "not (s.speed >= 1 [m/s])",
        "R(s) > 0",
        "R(s with {speed = s.speed - 1 [m/s]}) > 0 and s.speed >= 1 [m/s]",
    ],
)
def test_premises_that_do_not(given: str) -> None:
    rule = f"must a: forall s, t: Step given {given} expect R(s with {{speed = s.speed - 1 [m/s]}}) >= R(s)\n"
    with pytest.raises(SpecError) as caught:
        parse_spec(SPEC + rule)
    assert caught.value.code == "L01"
    assert "`s.speed >= 3.6 [km/h]`" in caught.value.render()


def test_assumptions_count_as_premises() -> None:
    rule = "must a: forall s: Step given s.wet expect R(s with {speed = s.speed + 5 [m/s]}) >= R(s)\n"
    assert len(parse_spec(SPEC + rule).rules) == 3
