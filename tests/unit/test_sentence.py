from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from rewarden.spec_lang import load_spec
from rewarden.spec_lang.claims import claim_of
from rewarden.spec_lang.obligation import FALSE, TRUE, And, Call, Const, Or, Sum
from rewarden.spec_lang.sentence import number_text, sentence
from tests.reference.warehouse import (
    CLEARANCE,
    DIGESTS,
    DOCK,
    HUMAN,
    POOR_DAY,
    R_OF_S,
    SPEED,
    F,
    at_least,
    at_most,
    braking_pays,
    near_logs,
    no_speed_bonus,
    one_record,
    slow_near_people,
    times,
)

VECTORS = """spec v v1
features V { e : real ^ 10 [m] in -1 .. 1   k : int ^ 9 in 0 .. 3   two : real ^ 2 in 0 .. 1 }
reward R(s: V)
data d: V from "d.npz"
must wide: forall s: V expect R(s) <= 2
must rows: forall s in d expect share(R(s) > 1) >= 0.5
"""


def read(obligation, poor_day="31/100"):
    return sentence(claim_of(obligation, rewards=DIGESTS, statistics={POOR_DAY: F(poor_day)}, data_digests=DIGESTS))


DOMAIN = (
    "For every s in Step with s.zone one of aisle, dock, charger, s.clearance in 0 .. 5 m, s.speed in 0 .. 2.5 m/s, "
    "s.human_near 0 or 1: "
)
ASSUMED = "(s.zone is not charger or s.speed <= 0.5 m/s)"


def test_a_bound_in_a_region():
    assert read(no_speed_bonus()) == (
        f"{DOMAIN}if {ASSUMED} and s.human_near = 1 and s.clearance < 1 m and s.speed > 0.5 m/s then R(s) <= 0.31. "
        "Here 0.31 is quantile(R(logs), 1/20)."
    )


def test_inexact_numbers_say_so():
    assert "R(s) <= ≈ 0.1." in read(no_speed_bonus(), str(Fraction(0.1)))


def test_what_if():
    assert read(braking_pays()).endswith("then R(s with {speed = s.speed - 0.5}) >= R(s).")


def test_pairs_say_what_they_share():
    text = read(slow_near_people())
    assert text.startswith("For every a, b in Step (equal but for speed) with a.zone one of aisle, dock, charger, ")
    assert "a.speed [m/s] <= b.speed [m/s] then R(a) >= R(b) - 0.01." in text


def test_near_data():
    text = read(near_logs(np.array([[1.0, 0.1, 1, 0, 1, 0], [2.0, 0.2, 0, 1, 0, 0]])))
    assert text.startswith("For every s in Step in one of the 2 boxes around the rows of logs with ")
    assert read(near_logs(np.array([[1.0, 0.1, 1, 0, 1, 0]]))).startswith("For every s in Step in the box around")


def test_equations_units_and_cases():
    base = Call("Base", R_OF_S.arguments)
    same = And((at_least(R_OF_S, base), at_most(R_OF_S, base)))
    assert read(one_record(at_least(DOCK, Const(F(1))), same)).endswith(" and s.zone is dock then R(s) = Base(s).")
    exactly = And((at_least(SPEED, Const(F(1))), at_most(SPEED, Const(F(1)))))
    assert "s.speed = 1 m/s" in read(one_record(exactly, TRUE))
    mixed = at_least(Sum((times(2, CLEARANCE), times("-2/3", SPEED))), Const(F(1)), strict=True)
    assert read(one_record(mixed, TRUE)).endswith("and s.speed [m/s] < 3·s.clearance [m] - 1.5 then true.")
    off = at_most(HUMAN, Const(F(0)))
    assert "s.human_near = 0" in read(one_record(off, TRUE))


def test_half_of_one_hot_is_not_taken_for_the_whole():
    complete = no_speed_bonus()
    assert isinstance(complete.structure, And)
    for part in complete.structure.parts:
        text = read(replace(complete, structure=part))
        assert "one of aisle" not in text
        assert "s.zone=aisle 0 or 1" in text
        assert "s.zone=aisle + s.zone=dock + s.zone=charger" in text


def test_nothing_is_left_out():
    assert read(one_record(FALSE, FALSE)).endswith("if false then false.")
    either = Or((at_least(R_OF_S, Const(F(1))), at_most(SPEED, Const(F(1)))))
    assert read(one_record(TRUE, either)).endswith("then R(s) >= 1 or s.speed <= 1 m/s.")
    both = And((either, at_most(R_OF_S, Const(F(2)))))
    assert read(one_record(TRUE, both)).endswith("then (R(s) >= 1 or s.speed <= 1 m/s) and R(s) <= 2.")


def test_calls_that_repeat_no_record_are_written_out():
    odd = Call("R", tuple(Const(F(k)) for k in range(6)))
    assert "R(0, 1, 2, 3, 4, 5) >= 0" in read(one_record(TRUE, at_least(odd, Const(F(0)))))


@pytest.mark.parametrize(
    "value, text",
    [
        ("0", "0"),
        ("-7", "-7"),
        ("31/100", "0.31"),
        ("-1/8", "-0.125"),
        ("1/3", "1/3"),
        ("1234567/1000", "1234.567"),
        (Fraction(0.1), "≈ 0.1"),
        ("1234567/999983", "≈ 1.23459"),
        (Fraction(1, 10**30), "≈ 1e-30"),
        (Fraction(10**400, 3), "≈ 10^399"),
        (-Fraction(10**400, 3), "≈ -10^399"),
    ],
)
def test_numbers(value, text):
    assert number_text(Fraction(value)) == text


def test_the_numbers_of_a_vector_are_told_as_one_where_they_are_alike(tmp_path: Path) -> None:
    """A reward over a text's vector has hundreds of them. Where one has another range, all are told."""
    (tmp_path / "v.rwd").write_text(VECTORS)
    np.savez(tmp_path / "d.npz", e=np.zeros((2, 10)), k=np.zeros((2, 9), np.int64), two=np.zeros((2, 2)))
    spec = load_spec(tmp_path / "v.rwd")
    wide, rows = (
        sentence(claim_of(spec.obligation(name), rewards={"R": "a"}, statistics={}, data_digests={}, tables=tables))
        for name, tables in (("wide", None), ("rows", {"d": ("b",)}))
    )
    assert wide == (
        "For every s in V with s.e[0] … s.e[9] (10 numbers) each in -1 .. 1 m, "
        "s.k[0] … s.k[8] (9 whole numbers) each in 0 .. 3, s.two[0] in 0 .. 1, s.two[1] in 0 .. 1: R(s) <= 2."
    )
    assert rows == "Of the 2 rows of d: the share for which R(s) > 1 is >= 0.5."
