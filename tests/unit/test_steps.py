"""Traces, cycles and rows of data: what the checker says of them, and what they are lowered to."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from rewarden.spec_lang import SpecError, parse_spec
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.evaluate import truth
from rewarden.spec_lang.obligation import Obligation, Share

HEADER = """spec walk v1
features S {
  x : real [m] in 0 .. 10
  on : bool
  where : enum {here, there}
}
features A { push : real in -1 .. 1 }
reward R(s: S)
reward M(a: S, b: S)
reward T(s: S, act: A, s2: S)
param n: int = 3
param half: real = 0.5
relation step(a: S, b: S) = |a.x - b.x| <= 1 [m]
relation push(a: A, b: A) = true
region low(s: S) = s.x < 5 [m]
let gain(a: S, b: S) = M(a, b) - R(a)
data logs: S from "logs.csv"
data pairs: (better: S, worse: S) from "pairs.csv"
data moves: (s: S, act: A, s2: S) from "moves.csv"
"""


def one(rule: str, **options: object):  # type: ignore[no-untyped-def]
    return parse_spec(HEADER + "must r:\n" + rule, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "code", "part"),
    [
        ("trace t: S within 3 steps expect R(t) > 0", "T15", "a whole trace"),
        ("trace t: S within 3 steps expect t.x > 0 [m]", "T15", "a whole trace"),
        ("trace t: S within 3 steps expect sum(R(t) + M(t)) > 0", "T16", "one record more"),
        ("trace t: S within 3 steps expect sum(R(first(t))) > 0", "T16", "does not speak of t"),
        ("trace t: S within 3 steps expect sum(sum(R(t))) > 0", "T17", "inside another"),
        ("trace t: S within 3 steps expect eventually low(t)", "T17", "of n steps"),
        ("trace t: S within 0 steps expect always low(t)", "T08", "from 1 to"),
        ("trace t: S within 2.5 steps expect always low(t)", "T08", "whole number"),
        ("trace t: S within 5000 steps expect always low(t)", "T08", "from 1 to"),
        ("trace t: S within 2 [m] steps expect always low(t)", "T01", "plain number"),
        ("trace t: S within 2 steps via stepp expect always low(t)", "N07", "did you mean step?"),
        ("trace t: S within 2 steps via low expect always low(t)", "N07", "unknown relation"),
        ("trace t: S within 2 steps via push expect always low(t)", "T14", "relates A"),
        ("trace t: S within 2 steps expect sum(R(t) discount 1.5) > 0", "T08", "discount"),
        ("trace t: S within 2 steps expect sum(R(t) discount 1 [m]) > 0", "T01", "plain number"),
        ("trace t: S within 2 steps expect sum(R(t), R(t)) > 0", "T04", "1 argument"),
        ("trace t: S within 2 steps expect first(first(t)).x > 0 [m]", "T04", "write first(t)"),
        ("cycle t: S via step expect sum(R(t)) <= 1", "T18", "one sum with 0"),
        ("cycle t: S via step expect sum(R(t)) <= 0 and true", "T18", "one sum with 0"),
        ("cycle t: S via step given low(first(t)) expect sum(R(t)) <= 0", "T18", "neither a first"),
        ("cycle t: S via step expect sum(R(t) discount 0.5) <= 0", "T18", "no first step"),
        ("cycle t: S via step given true expect sum(R(t)) <= 0", "T18", "all of its records"),
        ("forall s: S expect sum(R(s)) > 0", "T17", "outside"),
        ("forall p in logs expect share(low(p)) + 1 >= 1", "T19", "nothing else"),
        ("forall p in logs expect share(low(p)) >= 0.5 and low(p)", "T19", "nothing else"),
        ("forall p in logs expect share(low(p)) == 0.5", "T19", "by an order"),
        ("forall p in logs expect share(low(p)) >= 2", "T08", "between 0 and 1"),
        ("forall p in logs expect share(low(p)) >= 0.5 confidence 1", "T08", "0.99"),
        ("forall p in logs expect share(R(p)) >= 0.5", "T01", "predicate"),
        ("forall p in logs expect share(low(p)) >= 1 [m]", "T01", "plain number"),
        ("forall p in logs expect low(p) confidence 0.9", "T20", "share"),
        ("forall p in log expect low(p)", "N06", "did you mean logs?"),
        ("forall p in pairs expect low(p)", "T05", "takes a S"),
        ("forall p in pairs expect low(p.best)", "N02", "better"),
        ("forall p in pairs expect p.better", "T01", "predicate"),
        ("forall R in logs expect low(R)", "N10", "hide"),
        ("forall s: S near pairs within 5 % expect low(s)", "T14", "near pairs.better"),
        ("forall s: S expect R(s) > quantile(R(pairs), 0.5)", "T05", "R(pairs.better)"),
        ("forall s: S expect R(s) > mean(T(pairs))", "T05", "takes (S, A, S)"),
        ("forall s: S expect true must q: forall s: S expect true example of z: covers s = {on = true}", "N11", "z"),
        ("forall s: S expect true example of r: covers t = {on = true}", "T21", "its records are s"),
        ("forall s: S expect true example of r: covers s = {x = 20 [m]}", "T08", "0 .. 10"),
        ("forall s: S expect true example of r: covers s = {x = 1 [s]}", "U02", "write 1 [m]"),
        ("forall s: S expect true example of r: covers s = {where = her}", "N05", "did you mean here?"),
        ("forall s: S expect true example of r: covers s = {on = s.on}", "T07", "constant"),
        ("forall s: S expect true example of r: covers s = {on = true, on = true}", "T12", "twice"),
        ("forall a, b: S varying x expect true example of r: covers a = {on = true}, b = {on = false}", "T21", "same"),
        ("cycle t: S via step expect sum(R(t)) <= 0 example of r: covers t = {on = true}", "T21", "not of traces"),
        ("forall p in pairs expect low(p.better) example of r: covers p = {on = true}", "T21", "rows of several"),
        ("forall p in log expect low(p) example of r: covers p = {on = true}", "N06", "did you mean logs?"),
    ],
)
def test_refusals(rule: str, code: str, part: str) -> None:
    with pytest.raises(SpecError) as refusal:
        one(rule)
    assert code in [d.code for d in refusal.value.diagnostics]
    assert part in refusal.value.render()


def holds(obligation: Obligation, *records: tuple[object, ...]) -> tuple[bool, bool]:
    """(premise, conclusion) where R(s) = x, M(a, b) = 10 a.x + b.x, T = x − x2 + push."""

    def call(name: str, columns: tuple[Fraction, ...]) -> Fraction:
        match name:
            case "R":
                return columns[0]
            case "M":
                return 10 * columns[0] + columns[4]
            case _:
                return columns[0] - columns[5] + columns[4]

    values = [Fraction(v) for record in records for v in record]  # type: ignore[arg-type]
    return truth(obligation.premise, values, call), truth(obligation.conclusion, values, call)


def state(x: float, on: int = 0, there: int = 0) -> tuple[float, ...]:
    return (x, on, 1 - there, there)


def test_a_trace_has_an_obligation_for_each_length() -> None:
    spec = one("trace t: S within n steps via step given low(first(t)) expect sum(R(t) discount half) <= 4")
    first, second, third = spec.obligations_of("r")
    assert [o.case for o in (first, second, third)] == ["1 step", "2 steps", "3 steps"]
    assert [v.name for v in third.records] == ["t[0]", "t[1]", "t[2]"]
    assert holds(first, state(4.5)) == (True, False)
    assert holds(first, state(6)) == (False, False)
    assert holds(second, state(3), state(2)) == (True, True)  # 3 + 2/2
    assert holds(second, state(3), state(2.5)) == (True, False)
    assert holds(second, state(3), state(5)) == (False, False)  # no step is that long
    assert holds(third, state(2), state(2), state(3)) == (True, True)  # 2 + 1 + 3/4
    assert holds(third, state(2), state(3), state(3)) == (True, False)
    with pytest.raises(Unsupported, match="several lengths"):
        spec.obligation("r")
    assert spec.unrolled("r", 2) is second


def test_a_reward_of_two_records_sums_over_moves() -> None:
    spec = one("trace t: S of 3 steps expect sum(M(t)) <= sum(gain(t)) + R(first(t)) + R(last(t))")
    obligation = spec.obligation("r")
    # M sums to 12 + 23; gain to that minus R of the first two records: short by their sum, made up by first and last
    assert holds(obligation, state(1), state(2), state(3)) == (True, True)
    assert holds(obligation, state(1), state(3), state(2)) == (True, False)
    single = one("trace t: S of 1 steps expect sum(M(t)) >= 0").obligation("r")
    assert holds(single, state(1)) == (True, True)  # one record, no move: the sum is 0


def test_always_and_eventually() -> None:
    spec = one("trace t: S of 2 steps given always low(t) expect eventually (t.on and t.where == there)")
    obligation = spec.obligation("r")
    assert holds(obligation, state(1), state(2)) == (True, False)
    assert holds(obligation, state(1), state(2, 1, 1)) == (True, True)
    assert holds(obligation, state(1, 1, 0), state(2, 0, 1)) == (True, False)
    assert holds(obligation, state(7), state(2)) == (False, False)


def test_a_cycle_closes() -> None:
    spec = one("cycle t: S via step given always low(t) expect sum(M(t)) <= 0")
    with pytest.raises(Unsupported, match="every length"):
        spec.obligations_of("r")
    alone = spec.unrolled("r", 1)
    assert holds(alone, state(1)) == (True, False)
    assert holds(alone, state(0)) == (True, True)
    three = spec.unrolled("r", 3)
    assert holds(three, state(0), state(1), state(2)) == (False, False)  # from 2 back to 0 is too far
    assert holds(three, state(0), state(1), state(1)) == (True, False)


def test_rows_of_pairs_and_transitions(tmp_path: Path) -> None:
    head = "x,on,where"
    (tmp_path / "logs.csv").write_text(f"{head}\n1,true,here\n")
    (tmp_path / "pairs.csv").write_text(
        "better.x,better.on,better.where,worse.x,worse.on,worse.where\n1,true,here,2,false,there\n3,0,there,1,1,here\n"
    )
    (tmp_path / "moves.csv").write_text("s.x,s.on,s.where,act.push,s2.x,s2.on,s2.where\n1,1,here,0.5,2,0,there\n")
    spec = parse_spec(
        HEADER
        + """
must ranked: forall p in pairs given p.better.on expect share(R(p.better) > R(p.worse)) >= half confidence 99 %
must worse: forall w in pairs.worse expect low(w)
must moved: forall m in moves expect T(m) == T(m.s, m.act, m.s2) and M(m.s, m.s2) > 0
must at_most: forall p in pairs expect 0.9 > share(low(p.better))
must close: forall s: S near pairs.better within 5 % expect R(s) <= quantile(T(moves), 0.5)
""",
        base=tmp_path,
    )
    ranked = spec.obligation("ranked")
    assert ranked.share == Share(">=", Fraction(1, 2), Fraction(99, 100))
    assert ranked.over_rows
    assert ranked.instances is not None
    assert ranked.instances.anchors.tolist() == [[1, 1, 1, 0, 2, 0, 0, 1], [3, 0, 0, 1, 1, 1, 1, 0]]
    assert holds(ranked, ranked.instances.anchors[0]) == (True, False)
    assert [v.name for v in ranked.records] == ["p.better", "p.worse"]
    assert spec.obligation("at_most").share == Share("<", Fraction(9, 10), None)
    moved = spec.obligation("moved")
    assert moved.instances is not None
    assert holds(moved, moved.instances.anchors[0]) == (True, True)
    close = spec.obligation("close")
    assert not close.over_rows
    assert [spec.rule(r.name).kind for r in spec.rules] == ["share", "rows", "rows", "share", "near"]
    assert spec.rule("worse").data == ("pairs",)
    assert spec.rows("pairs").digest != spec.rows("pairs.better").digest


def test_examples_give_variables_their_values() -> None:
    spec = one(
        "forall a, b: S varying x given low(a) expect true\n"
        "example of r: covers a = {x = 100 [cm], where = there}, b = {x = 2 * n * 1 [m], where = there}\n"
        "  ignores b = {on = true}"
    )
    covers, ignores = spec.examples
    assert dict(covers.values) == {0: 1, 2: 0, 3: 1, 4: 6}
    assert (covers.kind, covers.rule, ignores.kind) == ("covers", "r", "ignores")
    assert dict(ignores.values) == {1: 1}


def test_a_magnitude_is_never_negative() -> None:
    assert one("forall a, b: S expect R(a) / (|a.x - b.x| + 1 [m]) > 0 / 1 [m]").rules
    with pytest.raises(SpecError, match="could be 0"):
        one("forall a, b: S expect R(a) / |a.x - b.x| > 0 / 1 [m]")
