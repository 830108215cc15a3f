"""An artifact binds to a symbol only where their schemas say the same thing."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from rewarden.reward.artifact import RewardRecord
from rewarden.reward.schema import check_binding
from rewarden.spec_lang.errors import BindingError
from rewarden.spec_lang.features import Feature, RecordType

SPEED = Feature("speed", "real", Fraction(0), Fraction(5, 2), "m/s")
NEAR = Feature("near", "bool", Fraction(0), Fraction(1))
ZONE = Feature("zone", "enum", Fraction(0), Fraction(1), None, ("aisle", "dock"))
STEP = RecordType("Step", (SPEED, NEAR, ZONE))
RECORDS = (RewardRecord("s", STEP),)


def declared(*features: Feature) -> tuple[tuple[str, RecordType], ...]:
    return (("s", RecordType("Step", features)),)


def test_an_equal_schema_and_a_narrower_range_bind():
    check_binding(RECORDS, (("s", STEP),), "R")
    check_binding(RECORDS, declared(replace(SPEED, lo=Fraction(1, 3), hi=Fraction(2)), NEAR, ZONE), "R")
    check_binding(RECORDS, (("other_name", replace(STEP, name="Other")),), "R")


@pytest.mark.parametrize(
    "code, types, text",
    [
        ("B01", (("a", STEP), ("b", STEP)), "R(s: Step)"),
        ("B01", (), "takes 0"),
        ("B02", declared(SPEED, NEAR), "reads 'zone' too"),
        ("B02", declared(SPEED, NEAR, ZONE, replace(SPEED, name="gap")), "does not read 'gap'"),
        ("B03", declared(NEAR, SPEED, ZONE), "another order"),
        ("B04", declared(SPEED, replace(NEAR, kind="int"), ZONE), "declare near : bool"),
        ("B04", declared(replace(SPEED, size=3), NEAR, ZONE), "size 3"),
        ("B05", declared(replace(SPEED, unit="km/h"), NEAR, ZONE), "declare speed : real [m/s] in 0 .. 5/2"),
        ("B05", declared(replace(SPEED, unit=None), NEAR, ZONE), "no unit"),
        ("B06", declared(SPEED, NEAR, replace(ZONE, cases=("dock", "aisle"))), "enum {aisle, dock}"),
        ("B06", declared(SPEED, NEAR, replace(ZONE, cases=("aisle", "dock", "moon"))), "moon"),
        ("B07", declared(replace(SPEED, hi=Fraction(3)), NEAR, ZONE), "0 .. 5/2"),
        ("B07", declared(replace(SPEED, lo=Fraction(-1, 10**9)), NEAR, ZONE), "only covers"),
    ],
)
def test_a_misfit_is_named(code, types, text):
    with pytest.raises(BindingError) as caught:
        check_binding(RECORDS, types, "R")
    assert caught.value.code == code
    assert text in caught.value.render()
